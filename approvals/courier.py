"""Calls the worker when notices are due. One task drains them all: never one task a notice."""

from __future__ import annotations

from datetime import datetime

from approvals.notifications import due_notices
from governance import calls

TASK = "approvals.tasks.deliver_notices"
MARK = "courier"


def call_the_courier(*, now: datetime) -> int:
    """Queue one delivery task, if notices are due and none is on its way. Returns 1 if it queued, else 0."""
    return calls.call(TASK, mark=MARK, now=now) if due_notices(now).exists() else 0
