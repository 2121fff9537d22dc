"""What speaks before the question whether a request may act, and how it goes on afterwards.

Each function takes a `Climb`, moves its locked request in memory and leaves the
rows with its `Writes`; the caller settles and saves.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from approvals import notifying
from approvals.models import Ask, Step
from approvals.services import asking
from governance.vocabulary import ExceptionType, Path, Verdict

if TYPE_CHECKING:
    from approvals.services.escalate import Climb


def hold(climb: Climb, *, by: str) -> None:
    """Several requests want its record: its clock stands still until somebody ruled.

    Args:
        by: ref of the newcomer that found the others.
    """
    if climb.step is not None:
        climb.step.suspend(now=climb.now)
        climb.writes.suspended_steps.append(climb.step)
        climb.paused, climb.step = climb.step, None
    climb.request.hold()
    climb.act.record(climb.request, "request.held", by=by)
    notifying.state_changed(climb.writes, climb.request, now=climb.now)


def disagree(climb: Climb, reason: str, facts: dict[str, Any]) -> None:
    """It came for a record that others want: open the case, and ask whoever owns the record."""
    rung = climb.open_case(ExceptionType.CONFLICT, reason, since=climb.now, facts=facts)
    climb.enter(Path.CONFLICT, rung, since=climb.now, began=Step.Began.OPENED)


def be_ready_again(climb: Climb) -> None:
    """What held it is over, and it may run as it was approved."""
    climb.request.be_ready_again()
    climb.act.record(climb.request, "request.went_on")
    notifying.state_changed(climb.writes, climb.request, now=climb.now)


def wait_again(climb: Climb, asks: list[Ask]) -> None:
    """What held it is over: it waits where it stood, with the time it had left, or is asked for first.

    Args:
        asks: of the step it stood on.
    """
    request, step = climb.request, climb.paused
    request.wait_again()
    climb.act.record(request, "request.went_on")
    notifying.state_changed(climb.writes, request, now=climb.now)
    if step is None:
        climb.open_first(lambda: None, began=Step.Began.RELEASED)
        return
    step.resume(now=climb.now)
    climb.writes.resumed_steps.append(step)
    climb.step, climb.asks, climb.paused = step, asks, None
    decided = {
        each.person_id
        for each in climb.decisions
        if each.step_id == step.pk and each.verdict != Verdict.BY_HAND
    }
    for ask in asks:
        if ask.asked_at and not ask.passed_over_at and ask.person_id not in decided:
            ask.due_at = step.due_at
            ask.next_ping_at = asking.first_ping(climb, step, ask)
            climb.writes.reopened_asks.append(ask)
            notifying.asked(climb.writes, ask, request, climb.people, now=climb.now)
    climb.act.record(request, "step.resumed", path=step.path, level=step.level, due_at=step.due_at)
