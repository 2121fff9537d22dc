"""Statements that PostgreSQL parses once for each connection, and plans once if that costs no more.

For what every submission asks and writes: planning it anew took longer than
doing it. `EXECUTE` is a statement like any other, so that several go in one trip.
A connection must stay with its client: see docs/operations.md.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Any
from weakref import WeakKeyDictionary

from django.db import connection
from django.db.backends.postgresql.psycopg_any import mogrify

PLACE = object()  # among parameters: each run brings a value


@dataclass(frozen=True, slots=True)
class Prepared:
    """One statement under a name. What is the same each time stands in its text.

    Attributes:
        execute: the SQL that runs it, with a place for each value.
    """

    name: str
    prepare: str
    execute: str

    @classmethod
    def of(cls, sql: str, parameters: Sequence[Any]) -> Prepared:
        """Return it for SQL with a place for each parameter: PLACE, or what is the same each time."""
        values = sum(each is PLACE for each in parameters)
        numbers = iter(range(1, values + 1))
        text = sql % tuple(
            f"${next(numbers)}" if each is PLACE else mogrify("%s", [each], connection)
            for each in parameters
        )
        name = f"recourse_{sha256(text.encode()).hexdigest()[:20]}"
        places = f"({', '.join(['%s'] * values)})" if values else ""
        return cls(name, f"PREPARE {name} AS {text}", f"EXECUTE {name}{places}")

    def make_known(self) -> None:
        """Prepare it on the open connection, unless it is. That stays, whatever becomes of the transaction."""
        raw = connection.connection
        known = _known.setdefault(raw, set())
        if self.name not in known:
            # Not by Django's cursor: no query of whoever counts them, and one trip in its life.
            with connection.wrap_database_errors:
                raw.execute(self.prepare)
            known.add(self.name)


_known: WeakKeyDictionary[Any, set[str]] = WeakKeyDictionary()  # names, by the driver's connection
