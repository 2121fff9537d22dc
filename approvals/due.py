"""The one place that says when an open request must move next, and why then.

Each state has one source for `due_at`; an audit compares the two. Source:
DESIGN 3, "Who moves an open request, and when".
"""

from __future__ import annotations

from datetime import datetime

from approvals.models import ActionRequest, Step
from governance.ladder import BEGIN_WITHIN, BEGIN_WITHIN_PERSON_PRESENT

S = ActionRequest.State


def due_of(request: ActionRequest, *, waiting: Step | None) -> datetime | None:
    """Return the instant at which the clock moves this request, or None once it has ended.

    Args:
        waiting: the step that waits, if one does.

    Raises:
        LookupError: an open request without a source for its clock. A defect, never data.
    """
    if not request.is_open:
        return None
    if request.state == S.PENDING and waiting is not None:
        return waiting.due_at
    if request.state == S.APPROVED and request.approved_at is not None:
        window = BEGIN_WITHIN_PERSON_PRESENT if request.person_present else BEGIN_WITHIN
        return request.approved_at + window
    raise LookupError(f"{request.ref} is {request.state} and nothing says when it moves next")


def set_due(request: ActionRequest, *, waiting: Step | None) -> None:
    """Write `due_at` on the row in memory; the caller saves it in the transaction of its source."""
    request.due_at = due_of(request, waiting=waiting)
