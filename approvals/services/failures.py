"""What becomes of a request whose doing or undoing failed.

Each function takes a `Climb`, moves its locked request in memory and leaves the
rows with its `Writes`; the caller settles and saves.
"""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any

from approvals import notifying
from approvals.models import ActionRequest, Step
from governance.vocabulary import ExceptionType, Level, Path

if TYPE_CHECKING:
    from approvals.services.escalate import Climb


def fail(
    climb: Climb,
    reason: str,
    *,
    facts: dict[str, Any],
    retry_at: datetime | None = None,
    asked: bool = False,
) -> None:
    """What was to be done failed: open the case, or go on with the one that is open.

    Every attempt within L1's window belongs to its step.

    Args:
        reason: a sentence, for the case.
        facts: JSON, for the case and the record.
        retry_at: when to try again. None: trying again would give the same
            answer, so that the automatic rung is left at once.
        asked: it is the target that wants to be left alone until then.
    """
    request = climb.request
    if request.state != ActionRequest.State.TROUBLED:
        request.fail()
        notifying.state_changed(climb.writes, request, now=climb.now)
    climb.act.record(request, "attempt.failed", reason=reason, retry_at=retry_at, **facts)
    step = climb.step
    if step is None:
        rung = climb.open_case(ExceptionType.SYSTEM_FAILURE, reason, since=climb.now, facts=facts)
        climb.enter(Path.SYSTEM_FAILURE, rung, since=climb.now, began=Step.Began.OPENED)
        step = climb.step
    if step is None:
        return  # the path was at its end
    if retry_at is None:
        step.pass_over(now=climb.now)
        if step.pk is not None:
            climb.writes.closed_steps.append(step)
        climb.step = None
        climb.act.record(
            request, "step.passed_over", path=step.path, level=step.level,
            why="trying again would give the same answer",
        )  # fmt: skip
        climb.leave(Path(step.path), Level(step.level), since=climb.now, absent=True)
    elif asked or (step.due_at is not None and retry_at < step.due_at):
        request.next_attempt_at = retry_at
    else:
        request.next_attempt_at = None  # the step's clock comes first


def ask_about_undo(climb: Climb, reason: str) -> None:
    """It could not be undone by itself: whoever is on call is asked, on the path `undo`."""
    if (Path.UNDO, Level.L2) not in climb.used:
        climb.act.record(climb.request, "undo.needs_a_person", reason=reason)
    if climb.step is None:
        climb.enter(Path.UNDO, Level.L2, since=climb.now, began=Step.Began.OPENED)
