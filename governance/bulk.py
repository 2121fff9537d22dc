"""Fast writes, for sweeps and for the ledger: many rows, few statements.

The caller has called the transitions, holds the locks and has a transaction
open; nothing here runs a `save()`, a signal or an `auto_now`.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Sequence
from decimal import Decimal
from itertools import islice
from typing import Any

from django.db import connection, transaction
from django.db.models import Field, Model

Expecting = tuple[str, Any]


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
    values = ([field.pre_save(obj, add=True) for field in fields] for obj in objs)
    insert_rows(model, [field.attname for field in fields], values)


def give_keys(objs: Sequence[Model]) -> None:
    """Give new objects of one model their keys before the insert, so that others can point at them.

    From the sequence on PostgreSQL; on SQLite, where the open transaction is
    the only writer, the next free ones.
    """
    if not objs:
        return
    model = type(objs[0])
    pk = model._meta.pk
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            cursor.execute(
                "SELECT nextval(pg_get_serial_sequence(%s, %s)) FROM generate_series(1, %s)",
                [model._meta.db_table, pk.column, len(objs)],
            )
            keys = [key for (key,) in cursor.fetchall()]
        else:
            cursor.execute(
                "SELECT max((SELECT coalesce(max(seq), 0) FROM sqlite_sequence WHERE name = %s),"
                f" (SELECT coalesce(max({_column(pk)}), 0) FROM {_table(model)}))",
                [model._meta.db_table],
            )
            last = cursor.fetchone()[0]
            keys = list(range(last + 1, last + 1 + len(objs)))
    for obj, key in zip(objs, keys, strict=True):
        obj.pk = key


def link(objs: Iterable[Model], relation: str) -> None:
    """Have objects point at the key that the object they were made with was given since."""
    for obj in objs:
        parent = getattr(obj, relation)
        if parent is not None:
            setattr(obj, f"{relation}_id", parent.pk)


def insert_rows(model: type[Model], names: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """Insert rows given as tuples of Python values, in the order of `names`.

    `names` are field names or their `_id` forms. Fields left out take the
    database's default, not the model's. `rows` is read once, and never whole.
    """
    fields = [_field(model, name) for name in names]
    columns = ", ".join(_column(field) for field in fields)
    prepared = (_prepared(fields, row) for row in rows)
    connection.validate_no_broken_transaction()  # COPY goes round the cursor that would ask
    # executemany is one statement a row: all of them or none, as with COPY.
    with transaction.atomic(savepoint=False), connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            copying = f"COPY {_table(model)} ({columns}) FROM STDIN"
            # cursor.copy is not Django's: without this the errors would be psycopg's.
            with connection.wrap_database_errors, cursor.copy(copying) as copy:
                for row in prepared:
                    copy.write_row(row)
        else:
            holders = ", ".join(["%s"] * len(fields))
            statement = f"INSERT INTO {_table(model)} ({columns}) VALUES ({holders})"
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
    attnames = [_field(model, name).attname for name in fields]
    groups: dict[tuple[Any, ...], list[Any]] = defaultdict(list)
    for obj in objs:
        groups[tuple(getattr(obj, name) for name in attnames)].append(obj.pk)
    expected = dict([expecting] if expecting else [])
    for values, pks in groups.items():
        changes = dict(zip(attnames, values, strict=True))
        # SQLite limits the variables of a statement; PostgreSQL takes all of them at once.
        at_once = connection.ops.bulk_batch_size([model._meta.pk], pks)
        remaining = iter(pks)
        while some := list(islice(remaining, at_once)):
            rows = model._base_manager.filter(pk__in=some, **expected)
            _all_written(model, rows.update(**changes), some)


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
    rows = [_prepared(every, [getattr(obj, field.attname) for field in every]) for obj in objs]
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
        parameters += _prepared([field], [expecting[1]])
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


def _prepared(fields: Sequence[Field[Any, Any]], row: Sequence[Any]) -> list[Any]:
    """Return one row as the database's driver wants it."""
    return [f.get_db_prep_save(value, connection) for f, value in zip(fields, row, strict=True)]


def _array_type(field: Field[Any, Any]) -> str:
    """Return the PostgreSQL type of a list of this field's values.

    Without the length: a cast to varchar(40) cuts what is longer in silence,
    where the assignment to the column refuses it.
    """
    kind = field.rel_db_type(connection) if field.primary_key else field.db_type(connection)
    return f"{str(kind).split('(')[0]}[]"


def _table(model: type[Model]) -> str:
    return connection.ops.quote_name(model._meta.db_table)


def _column(field: Field[Any, Any]) -> str:
    return connection.ops.quote_name(str(field.column))
