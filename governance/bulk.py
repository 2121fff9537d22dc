"""Fast writes, for sweeps and for the ledger: many rows, few statements.

The caller has called the transitions, holds the locks and has a transaction
open; nothing here runs a `save()`, a signal or an `auto_now`.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import date, datetime, timedelta
from decimal import Decimal
from functools import lru_cache
from operator import attrgetter
from types import MappingProxyType
from typing import Any
from uuid import UUID

from django.db import connection, connections, transaction
from django.db.models import BigIntegerField, Expression, Field, ForeignKey, Model

from governance.prepared import PLACE, Prepared
from governance.reads import Given, Statement

Expecting = tuple[str, Any]
NOTHING: Mapping[Any, Any] = MappingProxyType({})


class LostUpdate(Exception):
    """A row to be written was not as it was read. Roll back, and read again."""


def insert(objs: Sequence[Model]) -> None:
    """Insert new objects of one model, whose table is its own.

    Their primary keys are not fetched: an object given without one must not be
    used again. Either all of them have one or none has.

    Raises:
        IntegrityError, DataError: as `save()` would.
        ValueError: some have a primary key and some have none.
    """
    if not objs:
        return
    model = type(objs[0])
    fields: list[Field[Any, Any]] = list(model._meta.concrete_fields)
    unset = sum(obj.pk is None for obj in objs)
    if unset == len(objs):
        fields.remove(model._meta.pk)
    elif unset:
        raise ValueError(f"{unset} of {len(objs)} {model._meta.verbose_name_plural} have no pk")
    names = [field.attname for field in fields]
    insert_rows(model, names, map(_getter(tuple(names)), objs))


def inserting_missing(model: type[Model], *names: str) -> Statement:
    """Return what inserts a row with these values, each `Given` by its field's name, unless it is there.

    It finds the new row's key, or nothing. A row that another transaction is
    inserting is waited for.
    """
    return Statement(
        lambda: (
            f"INSERT INTO {_table(model)} ({_columns(_field(model, name) for name in names)})"
            f" VALUES {_holders(names)}"
            f" ON CONFLICT DO NOTHING RETURNING {_column(model._meta.pk)}"
        ),
        *(Given(name, _field(model, name)) for name in names),
        prepared=True,
    )


class NextKey(Expression):
    """In a query: one key drawn from a table's sequence. NULL on SQLite, which has none."""

    def __init__(self, model: type[Model]) -> None:
        super().__init__(output_field=BigIntegerField())
        self.model = model

    def as_sql(self, compiler: Any, connection: Any) -> tuple[str, Any]:
        if connection.vendor != "postgresql":
            return "NULL", ()
        return f"nextval('{_sequence(self.model)}')", ()


def give_keys(objs: Iterable[Model], *, drawn: Mapping[type[Model], int] = NOTHING) -> None:
    """Give new objects their keys before the insert, so that others can point at them.

    Of one model or of several; those that have one keep it. From the sequences
    on PostgreSQL, in one query; on SQLite, where the open transaction is the
    only writer, the next free ones.

    Args:
        drawn: a key of each of some models, drawn before: see `NextKey`.
    """
    new: dict[type[Model], list[Model]] = defaultdict(list)
    for obj in objs:
        if obj.pk is None:
            new[type(obj)].append(obj)
    for model, key in drawn.items():
        if new[model]:
            new[model].pop(0).pk = key
    new = {model: some for model, some in new.items() if some}
    if not new:
        return
    if connection.vendor == "postgresql":
        keys = _from_sequences(new)
    else:
        keys = [key for model, some in new.items() for key in _next_free(model, len(some))]
    for obj, key in zip((obj for some in new.values() for obj in some), keys, strict=True):
        obj.pk = key


def _from_sequences(new: dict[type[Model], list[Model]]) -> list[int]:
    drawn = " UNION ALL ".join(
        f"SELECT {place}, nextval('{_sequence(model)}') FROM generate_series(1, {len(objs)})"
        if len(objs) > 1
        else f"SELECT {place}, nextval('{_sequence(model)}')"
        for place, (model, objs) in enumerate(new.items())
    )
    with connection.cursor() as cursor:
        cursor.execute(drawn)
        return [key for _, key in sorted(cursor.fetchall())]


@lru_cache(maxsize=128)
def _sequence(model: type[Model]) -> str:
    """Return the name of the sequence that a table's keys come from, quoted."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT pg_get_serial_sequence(%s, %s)", [model._meta.db_table, model._meta.pk.column]
        )
        (name,) = cursor.fetchone()
    return str(name)


def _next_free(model: type[Model], count: int) -> range:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT max((SELECT coalesce(max(seq), 0) FROM sqlite_sequence WHERE name = %s),"
            f" (SELECT coalesce(max({_column(model._meta.pk)}), 0) FROM {_table(model)}))",
            [model._meta.db_table],
        )
        last = cursor.fetchone()[0]
    return range(last + 1, last + 1 + count)


def link(objs: Iterable[Model], relation: str) -> None:
    """Have objects point at the key that the object they were made with was given since."""
    for obj in objs:
        parent = getattr(obj, relation)
        if parent is not None:
            setattr(obj, f"{relation}_id", parent.pk)


@contextmanager
def in_one_go() -> Iterator[None]:
    """Keep the inserts of this block, and send them together at its end, in their order.

    For an act that adds a few rows to many tables: one trip to PostgreSQL,
    where each COPY takes two. Only inserts are kept: what else the block asks or
    writes is sent at once. On SQLite, which takes one statement at a time and is
    not far away, everything is. Within another such block this one is part of it.

    Raises at the end of the block what `insert` would have raised within.
    """
    if connection.vendor != "postgresql" or _kept.get() is not None:
        yield
        return
    kept: list[tuple[Prepared, str]] = []
    token = _kept.set(kept)
    try:
        yield
    finally:
        _kept.reset(token)
    if kept:
        with connection.cursor() as cursor:
            for inserting, _ in kept:
                inserting.make_known()
            cursor.execute(
                "; ".join(inserting.execute for inserting, _ in kept), [rows for _, rows in kept]
            )


_kept: ContextVar[list[tuple[Prepared, str]] | None] = ContextVar("inserts kept", default=None)


def _as_json(
    model: type[Model], names: Sequence[str], rows: Sequence[Sequence[Any]]
) -> tuple[Prepared, str]:
    """Return an INSERT of rows, and these as its one value. A column that is NULL in all is left out."""
    used = [n for n in range(len(names)) if any(row[n] is not None for row in rows)]
    inserting, columns = _inserting_json(model, tuple(names[n] for n in used))
    objects = [{name: row[n] for name, n in zip(columns, used, strict=True)} for row in rows]
    return inserting, json.dumps(objects, default=_json)


@lru_cache(maxsize=512)
def _inserting_json(model: type[Model], names: tuple[str, ...]) -> tuple[Prepared, tuple[str, ...]]:
    """Return an INSERT of rows given as JSON, and the columns' names as they stand in it.

    One value for the driver to bind, where a row of a request alone has more than
    fifty. PostgreSQL reads them as it would read literals: what is too long is refused.
    """
    fields = [_field(model, name) for name in names]
    table, columns = _table(model), _columns(fields)
    sql = (
        f"INSERT INTO {table} ({columns})"
        f" SELECT {columns} FROM json_populate_recordset(NULL::{table}, %s)"
    )
    return Prepared.of(sql, [PLACE]), tuple(str(field.column) for field in fields)


def _json(value: Any) -> str:
    """Write what JSON has no word for as PostgreSQL reads it."""
    match value:
        case datetime() | date():
            return value.isoformat()
        case timedelta():
            return f"{value.days} days {value.seconds}.{value.microseconds:06} seconds"
        case Decimal() | UUID():
            return str(value)
    raise TypeError(f"{value!r} cannot be inserted in one go with others")


def insert_rows(model: type[Model], names: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """Insert rows given as tuples of Python values, in the order of `names`.

    `names` are field names or their `_id` forms. Fields left out take the
    database's default, not the model's. `rows` is read once, and never whole.
    """
    kept = _kept.get()
    if kept is not None:
        kept.append(_as_json(model, names, list(rows)))
        return
    fields = [_field(model, name) for name in names]
    inserting = f"{_table(model)} ({_columns(fields)})"
    prepared = _prepared(fields, rows)
    connection.validate_no_broken_transaction()  # COPY goes round the cursor that would ask
    # executemany is one statement a row: all of them or none, as with COPY.
    with transaction.atomic(savepoint=False), connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            copying = f"COPY {inserting} FROM STDIN"
            # cursor.copy is not Django's: without this the errors would be psycopg's.
            with connection.wrap_database_errors, cursor.copy(copying) as copy:
                for row in prepared:
                    copy.write_row(row)
        else:
            statement = f"INSERT INTO {inserting} VALUES {_holders(fields)}"
            cursor.executemany(statement, prepared)  # type: ignore[arg-type]  # any iterable will do


def save_alike(
    model: type[Model],
    objs: Iterable[Model],
    fields: Sequence[str],
    *,
    expecting: Expecting | None = None,
) -> None:
    """Write `fields` of rows of which many hold the same values: one UPDATE a group.

    Values must be hashable. With `expecting` a row must still hold that value
    of that field, say `("state", "waiting")`.

    Raises LostUpdate if a row is gone, does not hold what is expected, or was given twice.
    """
    own, pk = [_field(model, name) for name in fields], model._meta.pk
    groups: dict[tuple[Any, ...], list[Any]] = defaultdict(list)
    value_of = _getter(tuple(field.attname for field in own))
    for obj in objs:
        groups[value_of(obj)].append(obj.pk)
    if not groups:
        return
    conditions, expected = [], []
    if expecting:
        conditions, expected = [_field(model, expecting[0])], [expecting[1]]
    postgresql = connection.vendor == "postgresql"
    among = (
        f"= ANY(%s::{_array_type(pk)})" if postgresql else "IN (SELECT value FROM json_each(%s))"
    )
    sql = (
        f"UPDATE {_table(model)} SET {', '.join(f'{_column(field)} = %s' for field in own)}"
        f" WHERE {_column(pk)} {among}"
        + "".join(f" AND {_column(field)} = %s" for field in conditions)
    )
    with connection.cursor() as cursor:
        for values, pks in groups.items():
            (changes,) = _prepared(own, [values])
            (conditioned,) = _prepared(conditions, [expected])
            keys = [key for (key,) in _prepared([pk], [(key,) for key in pks])]
            cursor.execute(sql, [*changes, keys if postgresql else json.dumps(keys), *conditioned])
            _all_written(model, cursor.rowcount, pks)


def save_differing(
    model: type[Model],
    objs: Sequence[Model],
    fields: Sequence[str],
    *,
    expecting: Expecting | None = None,
) -> None:
    """Write `fields` of rows of which each holds its own values: one UPDATE in all.

    Raises LostUpdate as `save_alike` does. Binary fields are not supported.
    """
    if not objs:
        return
    own = [_field(model, name) for name in fields]
    every = [model._meta.pk, *own]
    rows = list(_prepared(every, map(_getter(tuple(field.attname for field in every)), objs)))
    if connection.vendor == "postgresql":
        arrays = ", ".join(f"%s::{_array_type(field)}" for field in every)
        names = ", ".join(f"v{n}" for n in range(len(every)))
        source = f"unnest({arrays}) AS new ({names})"
        value = "new.v{}".format
        parameters: list[Any] = [list(column) for column in zip(*rows, strict=True)]
    else:
        source = "json_each(%s) AS new"
        value = "new.value ->> {}".format
        parameters = [json.dumps(rows, default=_decimal)]
    table, pk = _table(model), _column(every[0])
    changes = ", ".join(f"{_column(field)} = {value(n)}" for n, field in enumerate(own, start=1))
    sql = f"UPDATE {table} SET {changes} FROM {source} WHERE {table}.{pk} = {value(0)}"
    if expecting:
        field = _field(model, expecting[0])
        sql += f" AND {table}.{_column(field)} = %s"
        parameters += next(_prepared([field], [[expecting[1]]]))
    with connection.cursor() as cursor:
        cursor.execute(sql, parameters)
        _all_written(model, cursor.rowcount, rows)


def _decimal(value: Any) -> str:
    """Write a decimal as the SQLite driver does."""
    if isinstance(value, Decimal):
        return str(value)
    raise TypeError(f"{value!r} cannot be written by save_differing on SQLite")


def _all_written(model: type[Model], written: int, wanted: Sequence[Any]) -> None:
    if written != len(wanted):
        raise LostUpdate(
            f"{written} of {len(wanted)} {model._meta.verbose_name_plural} were as read"
        )


def _field(model: type[Model], name: str) -> Field[Any, Any]:
    field = model._meta.get_field(name)
    if not (isinstance(field, Field) and field.concrete):
        raise TypeError(f"{model._meta.label}.{name} is not a column")
    return field


def _prepared(
    fields: Sequence[Field[Any, Any]], rows: Iterable[Sequence[Any]]
) -> Iterator[list[Any]]:
    """Yield rows as the database's driver wants them.

    Most values it takes as they are; to be told so by the field, value by value,
    took a fifth of a sweep.
    """
    database = connections[connection.alias]  # the proxy looks it up for each value
    plain = [_taken_as_they_are(field, connection.vendor) for field in fields]
    together = list(zip(plain, fields, strict=True))
    for row in rows:
        yield [
            value if type(value) in types else field.get_db_prep_save(value, database)
            for (types, field), value in zip(together, row, strict=True)
        ]


NONE = type(None)
PLAIN: dict[str, tuple[type, ...]] = {
    "CharField": (str,),
    "SlugField": (str,),
    "TextField": (str,),
    "BooleanField": (bool,),
    **dict.fromkeys(
        (
            "AutoField", "BigAutoField", "BigIntegerField", "IntegerField",
            "PositiveBigIntegerField", "PositiveIntegerField", "PositiveSmallIntegerField",
            "SmallIntegerField",
        ),
        (int,),
    ),
}  # fmt: skip
PLAIN_ON_POSTGRESQL: dict[str, tuple[type, ...]] = {
    "DateTimeField": (datetime,),
    "UUIDField": (UUID,),
}


@lru_cache(maxsize=512)
def _taken_as_they_are(field: Field[Any, Any], vendor: str) -> frozenset[type]:
    """Return the types whose values the driver takes for this field as they are. Exactly these, no subclass."""
    while isinstance(field, ForeignKey):
        field = field.target_field
    kind = field.get_internal_type()
    more = PLAIN_ON_POSTGRESQL.get(kind, ()) if vendor == "postgresql" else ()
    return frozenset((NONE, *PLAIN.get(kind, ()), *more))


@lru_cache(maxsize=128)
def _getter(names: tuple[str, ...]) -> Callable[[Model], tuple[Any, ...]]:
    """Return what reads these attributes of an object, as a tuple."""
    if len(names) == 1:
        return lambda obj: (getattr(obj, names[0]),)
    return attrgetter(*names)


def _array_type(field: Field[Any, Any]) -> str:
    """Return the PostgreSQL type of a list of this field's values.

    Without the length: a cast to varchar(40) cuts what is longer in silence,
    where the assignment to the column refuses it.
    """
    kind = field.rel_db_type(connection) if field.primary_key else field.db_type(connection)
    return f"{str(kind).split('(')[0]}[]"


def _table(model: type[Model]) -> str:
    return connection.ops.quote_name(model._meta.db_table)


def _columns(fields: Iterable[Field[Any, Any]]) -> str:
    return ", ".join(map(_column, fields))


def _holders(fields: Sequence[object]) -> str:
    return f"({', '.join(['%s'] * len(fields))})"


def _column(field: Field[Any, Any]) -> str:
    return connection.ops.quote_name(str(field.column))
