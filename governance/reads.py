"""Queries that are the same each time but for their values: built and compiled once.

Building a query costs the ORM more than the database takes to answer it. What
every submission and every sweep asks is written as a query all the same, with a
`Given` where a value is to stand:

    by_prefix = Read(lambda: Token.objects.filter(prefix=Given("prefix", CharField())).values_list("pk"))
    by_prefix(prefix="a1b2")
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, ClassVar, Generic, TypeVar

from django.db import connection
from django.db.models import (
    BigIntegerField,
    DateTimeField,
    Expression,
    Field,
    ForeignObject,
    Lookup,
    Model,
    QuerySet,
)
from django.db.models.query import get_related_populators

from governance.prepared import PLACE, Prepared

M = TypeVar("M", bound=Model)
R = TypeVar("R")


class Given(Expression):
    """The place of one value, which each run of the query brings."""

    def __init__(self, name: str, field: Field[Any, Any]) -> None:
        super().__init__(output_field=field)
        self.name = name

    def as_sql(self, compiler: Any, connection: Any) -> tuple[str, Any]:
        return "%s", (self,)

    def prepared(self, value: Any) -> Any:
        """Return a value as the database's driver wants it."""
        return self.output_field.get_db_prep_value(value, connection)


class GivenKeys(Given):
    """The place of any number of integer keys: `filter(pk__among=GivenKeys("keys"))`.

    Not `in`: of a SELECT that makes rows of an array PostgreSQL's planner knows
    nothing, and read a million rows to find one; the elements of an array it counts.
    """

    AMONG: ClassVar = {
        "postgresql": "{} = ANY(%s::bigint[])",
        "sqlite": "{} IN (SELECT value FROM json_each(%s))",
    }

    def __init__(self, name: str) -> None:
        super().__init__(name, BigIntegerField())

    def among(self, column: str) -> str:
        """Return the SQL that a column's value is one of them, with one place to fill."""
        return str(self.AMONG[connection.vendor]).format(column)

    def prepared(self, value: Iterable[int]) -> Any:
        keys = ",".join(map(str, sorted(value)))  # an array's text: the driver is slow with lists
        return f"{{{keys}}}" if connection.vendor == "postgresql" else f"[{keys}]"


@ForeignObject.register_lookup
@Field.register_lookup
class Among(Lookup):
    """A column whose value is one of the keys given."""

    lookup_name = "among"
    rhs: GivenKeys

    def as_sql(self, compiler: Any, connection: Any) -> tuple[str, Any]:
        column, parameters = self.process_lhs(compiler, connection)
        return self.rhs.among(column), (*parameters, self.rhs)


NOW = Given("now", DateTimeField())  # the instant that nearly every sweep is given


@dataclass
class _Compiled:
    """A query as one database is sent it, and how its rows become Python's values."""

    sql: str
    parameters: tuple[Any, ...]
    converters: list[tuple[int, Any, Any]]
    select: Any  # the compiler's: its columns, and which of them make which object
    klass_info: Any
    prepared: Prepared | None = None  # what `sql` executes

    @classmethod
    def of(cls, rows: QuerySet[Any, Any]) -> _Compiled:
        compiler = rows.query.get_compiler(connection=connection)
        sql, parameters = compiler.as_sql()
        found = compiler.get_converters([column for column, *_ in compiler.select])
        converters = [(place, functions, column) for place, (functions, column) in found.items()]
        return cls(sql, tuple(parameters), converters, compiler.select, compiler.klass_info)

    def made_ready(self) -> _Compiled:
        """Return the same, parsed and planned once for each connection. On SQLite it is as it was."""
        if connection.vendor != "postgresql":
            return self
        places = tuple(p for p in self.parameters if isinstance(p, Given))
        statement = Prepared.of(
            self.sql, [PLACE if isinstance(p, Given) else p for p in self.parameters]
        )
        return replace(self, sql=statement.execute, parameters=places, prepared=statement)

    def known(self) -> str:
        """Return the SQL to send over the connection that is open, which knows what it speaks of."""
        if self.prepared is not None:
            self.prepared.make_known()
        return self.sql

    def bound(self, values: Mapping[str, Any]) -> list[Any]:
        """Return the parameters, each value in its place, as the driver wants them."""
        return [p.prepared(values[p.name]) if isinstance(p, Given) else p for p in self.parameters]

    def converted(self, found: Iterable[Sequence[Any]]) -> list[list[Any]]:
        """Return the driver's rows with Python's values in them."""
        rows = [list(row) for row in found]
        for place, functions, expression in self.converters:
            for row in rows:
                for convert in functions:
                    row[place] = convert(row[place], expression, connection)
        return rows

    @cached_property
    def maker(self) -> tuple[Any, list[str], slice, list[Any]]:
        """Return the model, the attributes of an object and where they stand, and what loads its relations."""
        own = self.klass_info["select_fields"]
        place = slice(own[0], own[-1] + 1)
        names = [column.target.attname for column, *_ in self.select[place]]
        # The stubs describe a later Django, which takes one argument more.
        related = get_related_populators(self.klass_info, self.select, connection.alias)  # type: ignore[call-arg]
        return self.klass_info["model"], names, place, related


class _Query(ABC, Generic[R]):
    """One query, compiled when it is first run: once for each database."""

    def __init__(self, rows: Callable[[], QuerySet[Any, Any]], *, prepared: bool = False) -> None:
        """Nothing is built yet.

        Args:
            rows: returns a query in which `Given`s stand for values.
            prepared: PostgreSQL parses it once for each connection, and may plan it once for
                all values. For what is found by keys: where the best plan hangs on a value, leave it.
        """
        self._rows, self._prepared = rows, prepared
        self._by_vendor: dict[str, _Compiled] = {}

    def __call__(self, **values: Any) -> list[R]:
        """Return what is found, in the order of the query."""
        compiled = self.compiled
        with connection.cursor() as cursor:
            cursor.execute(compiled.known(), compiled.bound(values))
            found = cursor.fetchall()
        return self.made(compiled.converted(found))

    @property
    def compiled(self) -> _Compiled:
        found = self._by_vendor.get(connection.vendor)
        if found is None:
            found = self._compile()
            if self._prepared:
                found = found.made_ready()
            self._by_vendor[connection.vendor] = found
        return found

    def _compile(self) -> _Compiled:
        return _Compiled.of(self._rows())

    @abstractmethod
    def made(self, rows: list[list[Any]]) -> list[R]:
        """Return what rows come to."""


class Read(_Query[tuple[Any, ...]]):
    """A query for values: a `values_list`. Each row comes as Python has its values."""

    def made(self, rows: list[list[Any]]) -> list[tuple[Any, ...]]:
        return [tuple(row) for row in rows]


class Statement(Read):
    """SQL that the ORM has no words for. Each `%s` in it is the place of a `Given`, in their order."""

    def __init__(self, sql: Callable[[], str], *places: Given, prepared: bool = False) -> None:
        """Nothing is asked yet. `prepared` as for any query."""
        self._sql, self._places, self._prepared = sql, places, prepared
        self._by_vendor = {}

    def _compile(self) -> _Compiled:
        return _Compiled(self._sql(), self._places, [], None, None)


class ReadObjects(_Query[M]):
    """A query for objects of one model, with `select_related` and `defer` at most."""

    def made(self, rows: list[list[Any]]) -> list[M]:
        model, names, place, related = self.compiled.maker
        found: list[M] = []
        for row in rows:
            made = model.from_db(connection.alias, names, row[place])
            for populator in related:
                populator.populate(row, made)
            found.append(made)
        return found


def together(*queries: _Query[Any], **values: Any) -> list[list[Any]]:
    """Run several queries in one trip to the database, and return what each of them finds.

    On SQLite, which takes one statement at a time and is not far away, one by one.
    """
    if connection.vendor != "postgresql":
        return [query(**values) for query in queries]
    compiled = [query.compiled for query in queries]
    found = []
    with connection.cursor() as cursor:
        cursor.execute(
            "; ".join(each.known() for each in compiled),
            [parameter for each in compiled for parameter in each.bound(values)],
        )
        for number, each in enumerate(compiled):
            if number:
                cursor.nextset()
            found.append(each.converted(cursor.fetchall()))
    return [query.made(rows) for query, rows in zip(queries, found, strict=True)]
