"""Calls the worker when notices are due. One task drains them all: never one task a notice."""

from __future__ import annotations

from datetime import datetime

from approvals.notifications import read_first_due
from governance import calls

TASK = "approvals.tasks.deliver_notices"
MARK = "courier"


def call_the_courier(*, now: datetime) -> int:
    """Queue one delivery task, if notices are due and none is on its way. Returns 1 if it queued, else 0."""
    return calls.call(TASK, mark=MARK, now=now) if read_first_due(now=now) else 0
