"""Wakes the clock for what is due before it would look again."""

from __future__ import annotations

from datetime import datetime

from django.db import connection

from governance import clock

CHANNEL = "recourse_due"
LONGEST_SLEEP_S = 1.0  # real seconds: no clock process sleeps longer, whatever it waits for


def wake_clock(due_at: datetime | None) -> None:
    """Have every clock process look again when this transaction commits, if it must.

    Call it in the transaction that writes a new `due_at`. It must only where
    that is sooner than a clock may still sleep: since none sleeps longer than
    LONGEST_SLEEP_S, what is further away is found without being told. So nothing
    about the clock has to be read or locked, and the NOTIFY, whose commits
    PostgreSQL takes one after the other, is as rare as such a deadline. Twice the
    sleep, as the transaction has yet to commit. On SQLite a clock looks again
    every LONGEST_SLEEP_S, and this does nothing.
    """
    if due_at is None or connection.vendor != "postgresql":
        return
    if due_at - clock.now() <= clock.technical(2 * LONGEST_SLEEP_S):
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_notify(%s, '')", [CHANNEL])
