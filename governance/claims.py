"""How any sweep takes rows that no other worker is holding."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from django.db import connection
from django.db.models import Model, QuerySet

from governance.reads import ReadObjects

M = TypeVar("M", bound=Model)


def claim(rows: QuerySet[M], *, limit: int) -> list[M]:
    """Lock up to `limit` rows until the transaction ends, skipping held ones.

    Order `rows` first: a sweep without an order starves the oldest row. Read
    again, under the lock, anything `rows` was joined to: the join was made
    before the lock was held. On SQLite the transaction itself is the lock.

    Raises RuntimeError outside a transaction, where the lock would be let go
    before the caller could use it.
    """
    demand_transaction()
    return list(_locked(rows)[:limit])


class Claim(ReadObjects[M]):
    """A claim whose query is compiled once, for sweeps that run many times a second. See `claim`."""

    def __init__(self, rows: Callable[[], QuerySet[M]]) -> None:
        super().__init__(lambda: _locked(rows()))

    def __call__(self, **values: Any) -> list[M]:
        """Lock and return the rows that nobody else holds. Raises RuntimeError outside a transaction."""
        demand_transaction()
        return super().__call__(**values)


def _locked(rows: QuerySet[M]) -> QuerySet[M]:
    return rows.select_for_update(skip_locked=True, of=("self",), no_key=True)


def demand_transaction() -> None:
    """Raise RuntimeError outside a transaction, where a lock would be let go at once."""
    if not connection.in_atomic_block:
        raise RuntimeError("a claim needs an open transaction")
