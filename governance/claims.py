"""How any sweep takes rows that no other worker is holding."""

from __future__ import annotations

from typing import TypeVar

from django.db import connection
from django.db.models import Model, QuerySet

M = TypeVar("M", bound=Model)


def claim(rows: QuerySet[M], *, limit: int) -> list[M]:
    """Lock up to `limit` rows until the transaction ends, skipping held ones.

    Order `rows` first: a sweep without an order starves the oldest row. Read
    again, under the lock, anything `rows` was joined to: the join was made
    before the lock was held. On SQLite the transaction itself is the lock.

    Raises RuntimeError outside a transaction, where the lock would be let go
    before the caller could use it.
    """
    if not connection.in_atomic_block:
        raise RuntimeError("claim() needs an open transaction")
    return list(rows.select_for_update(skip_locked=True, of=("self",), no_key=True)[:limit])
