"""The one place that says when an open request must move next, and why then.

Each state has one source for `due_at`; an audit compares the two. Source:
DESIGN 3, "Who moves an open request, and when".
"""

from __future__ import annotations

from datetime import datetime

from approvals.models import ActionRequest, Step
from governance.ladder import BEGIN_WITHIN, BEGIN_WITHIN_PERSON_PRESENT

S = ActionRequest.State


def due_of(
    request: ActionRequest, *, waiting: Step | None, held_until: datetime | None = None
) -> datetime | None:
    """Return the instant at which the clock moves this request, or None once it has ended.

    Args:
        waiting: the step that waits, if one does.
        held_until: of a party to a conflict that carries no case: when it no longer waits for it.

    Raises:
        LookupError: an open request without a source for its clock. A defect, never data.
    """
    if not request.is_open:
        return None
    clocks = [instant for instant in _clocks(request, waiting, held_until) if instant is not None]
    if not clocks:
        raise LookupError(f"{request.ref} is {request.state} and nothing says when it moves next")
    return min(clocks)


def _clocks(
    request: ActionRequest, waiting: Step | None, held_until: datetime | None
) -> list[datetime | None]:
    asked = waiting.due_at if waiting is not None else None
    match request.state:
        case S.PENDING | S.BLOCKED:
            return [asked]
        case S.HELD:
            return [asked, held_until]
        case S.APPROVED if request.approved_at is not None:
            window = BEGIN_WITHIN_PERSON_PRESENT if request.person_present else BEGIN_WITHIN
            return [(request.ready_at or request.approved_at) + window]
        case S.EXECUTING:
            return [request.lease_until, request.run_deadline]
        case S.TROUBLED:
            # Once somebody had it tried again, that has a time of its own to begin.
            deadline = request.run_deadline if asked is None else None
            return [request.lease_until, request.next_attempt_at, deadline, asked]
        case S.ROLLING_BACK:
            # Once somebody is asked, the deadline that led there is over.
            deadline = request.run_deadline if asked is None else None
            return [request.lease_until, request.next_attempt_at, deadline, asked]
    return []


def set_due(
    request: ActionRequest, *, waiting: Step | None, held_until: datetime | None = None
) -> None:
    """Write `due_at` on the row in memory; the caller saves it in the transaction of its source."""
    request.due_at = due_of(request, waiting=waiting, held_until=held_until)
