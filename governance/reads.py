"""Queries that are the same each time but for their values: built and compiled once.

Building a query costs the ORM more than the database takes to answer it. What
every submission asks is written as a query all the same, with a `Given` where a
value is to stand:

    by_prefix = Read(lambda: Token.objects.filter(prefix=Given("prefix", CharField())).values_list("pk"))
    by_prefix(prefix="a1b2")
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, ClassVar

from django.db import connection
from django.db.models import BigIntegerField, Expression, Field, QuerySet


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
    """The place of any number of integer keys, as what follows IN."""

    IN: ClassVar = {
        "postgresql": "(SELECT unnest(%s::bigint[]))",
        "sqlite": "(SELECT value FROM json_each(%s))",
    }
    # The planner counts the elements of an array; of a SELECT it knows nothing.
    AMONG: ClassVar = {
        "postgresql": "{} = ANY(%s::bigint[])",
        "sqlite": "{} IN (SELECT value FROM json_each(%s))",
    }

    def __init__(self, name: str) -> None:
        super().__init__(name, BigIntegerField())

    def as_sql(self, compiler: Any, connection: Any) -> tuple[str, Any]:
        return self.IN[connection.vendor], (self,)

    def among(self, column: str) -> str:
        """Return the SQL that a column's value is one of them, with one place to fill."""
        return str(self.AMONG[connection.vendor]).format(column)

    def prepared(self, value: Iterable[int]) -> Any:
        keys = ",".join(map(str, sorted(value)))  # an array's text: the driver is slow with lists
        return f"{{{keys}}}" if connection.vendor == "postgresql" else f"[{keys}]"


class Read:
    """One query, compiled when it is first run."""

    def __init__(self, rows: Callable[[], QuerySet[Any, Any]]) -> None:
        """Nothing is built yet. `rows` returns a `values_list` in which `Given`s stand for values."""
        self._rows = rows
        self._compiled: dict[str, tuple[str, tuple[Any, ...], list[tuple[int, Any, Any]]]] = {}

    def __call__(self, **values: Any) -> list[tuple[Any, ...]]:
        """Return the rows, each as Python has its values, in the order of the query."""
        sql, parameters, converters = self._compiled.get(connection.vendor) or self._compile()
        bound = [p.prepared(values[p.name]) if isinstance(p, Given) else p for p in parameters]
        with connection.cursor() as cursor:
            cursor.execute(sql, bound)
            rows = [list(row) for row in cursor.fetchall()]
        for place, functions, expression in converters:
            for row in rows:
                for convert in functions:
                    row[place] = convert(row[place], expression, connection)
        return [tuple(row) for row in rows]

    def _compile(self) -> tuple[str, tuple[Any, ...], list[tuple[int, Any, Any]]]:
        compiler = self._rows().query.get_compiler(connection=connection)
        sql, parameters = compiler.as_sql()
        found = compiler.get_converters([column for column, *_ in compiler.select])
        converters = [(place, functions, column) for place, (functions, column) in found.items()]
        self._compiled[connection.vendor] = sql, tuple(parameters), converters
        return self._compiled[connection.vendor]
