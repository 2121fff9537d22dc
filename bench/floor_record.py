"""The floor under `verify_ledger`: read the same rows in the same order, and parse them. Nothing is hashed."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import datetime
from typing import Any

from django.db import connection

EVENTS = "SELECT chain, seq, kind, actor, on_behalf_of, facts, cause, at, prev_hash, hash FROM governance_auditevent"
HEADS = "SELECT ref, chain_length, chain_hash FROM approvals_actionrequest"
LEAVES = (
    "SELECT s.seal_id, s.position, e.hash FROM governance_sealedevent s"
    " JOIN governance_auditevent e ON e.id = s.event_id ORDER BY s.seal_id, s.position"
)


def read() -> int:
    """Return how many events, heads and leaves were read."""
    collate = ' COLLATE "C"' if connection.vendor == "postgresql" else ""
    count = 0
    for row in rows(f"{EVENTS} ORDER BY chain{collate}, seq"):
        facts = json.loads(row[5]) if isinstance(row[5], str) else row[5]
        at = datetime.fromisoformat(row[7]) if isinstance(row[7], str) else row[7]
        count += isinstance(facts, dict) and isinstance(at, datetime)
    count += sum(1 for _ in rows(f"{HEADS} ORDER BY ref{collate}"))
    return count + sum(1 for _ in rows(LEAVES))


def rows(sql: str) -> Iterator[tuple[Any, ...]]:
    if connection.vendor != "postgresql":
        yield from connection.cursor().execute(sql)
        return
    connection.ensure_connection()
    with connection.connection.cursor("floor", withhold=True) as cursor:
        cursor.itersize = 5000
        yield from cursor.execute(sql)
