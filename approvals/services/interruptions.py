"""What speaks before the question whether a request may act, and how it goes on afterwards.

Each function takes a `Climb`, moves its locked request in memory and leaves the
rows with its `Writes`; the caller settles and saves.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from approvals import notifying
from approvals.models import ActionRequest, Ask, Case, Step
from approvals.services import asking
from governance import ladder
from governance.vocabulary import ExceptionType, Level, Path, Verdict

if TYPE_CHECKING:
    from approvals.services.escalate import Climb

S = ActionRequest.State


def hold(climb: Climb, *, by: str) -> None:
    """Several requests want its record: its clock stands still until somebody ruled.

    Args:
        by: ref of the newcomer that found the others.
    """
    _pause(climb)
    climb.request.hold()
    climb.act.record(climb.request, "request.held", by=by)
    notifying.state_changed(climb.writes, climb.request, now=climb.now)


def disagree(climb: Climb, reason: str, facts: dict[str, Any]) -> None:
    """It came for a record that others want: open the case, and ask whoever owns the record."""
    rung = climb.open_case(ExceptionType.CONFLICT, reason, since=climb.now, facts=facts)
    climb.enter(Path.CONFLICT, rung, since=climb.now, began=Step.Began.OPENED)


def block(climb: Climb) -> None:
    """It breaks a rule: nothing is done and nobody else is asked until compliance has ruled.

    It keeps the key it had. What waited is suspended with the time it had left; if a
    conflict held it, it leaves that. Nobody may be in a call to its target for it.
    """
    request = climb.request
    if request.state == S.HELD:
        _leave_conflict(climb)
    else:
        _pause(climb)
    if request.state == S.EXECUTING:
        request.let_go()
    request.next_attempt_at = None
    request.block()
    climb.act.record(request, "request.blocked", stood=request.blocked_from)
    notifying.state_changed(climb.writes, request, now=climb.now)
    if not request._state.adding:
        rungs = Step.objects.filter(request=request.pk).values_list("path", "level")
        climb.used = climb.used | frozenset(rungs)
    policy = climb.policy
    climb.call_in(
        replace(
            climb.offices,
            compliance=policy.compliance,
            head_of_compliance=policy.head_of_compliance,
        )
    )
    told = climb.everybody_asked
    notifying.told(climb.writes, told, request, climb.people, what="blocked", now=climb.now)


def ask_compliance(climb: Climb, reason: str, facts: dict[str, Any]) -> Case:
    """Open the case of a violation on a blocked request, and ask on the first rung that was not asked yet."""
    rung = climb.open_case(ExceptionType.POLICY_VIOLATION, reason, since=climb.now, facts=facts)
    case = climb.case
    if case is None:
        raise ValueError(f"{climb.request.ref} breaks a rule, and no case says so")
    climb.enter(Path.POLICY_VIOLATION, rung, since=climb.now, began=Step.Began.OPENED)
    return case


def be_ready_again(climb: Climb) -> None:
    """What held or blocked it is over, and it may run as it was approved."""
    climb.request.be_ready_again(now=climb.now)
    climb.act.record(climb.request, "request.went_on", state=climb.request.state)
    notifying.state_changed(climb.writes, climb.request, now=climb.now)


def run_on(climb: Climb, asks: list[Ask]) -> None:
    """It was blocked while it was carried out: any worker goes on from its last checkpoint, at once.

    Args:
        asks: of the step it stood on, where it was tried again after a failure.
    """
    request, now = climb.request, climb.now
    request.let_go()
    request.begin()
    climb.act.record(request, "request.went_on", state=request.state)
    notifying.state_changed(climb.writes, request, now=now)
    _resume(climb, asks)
    deadline = now + ladder.RUN_WITHIN
    if climb.step is not None and climb.step.due_at is not None:
        deadline = min(deadline, climb.step.due_at)
    # A lease that is over: whoever looks next takes it up, as after a worker that handed it back.
    request.lease(token=uuid4(), until=now, deadline=deadline)


def fail_again(climb: Climb, asks: list[Ask]) -> None:
    """It was blocked while its target had failed: that is seen to where it stood, with the time that was left.

    Args:
        asks: of the step it stood on.
    """
    request = climb.request
    request.fail()
    climb.act.record(request, "request.went_on", state=request.state)
    notifying.state_changed(climb.writes, request, now=climb.now)
    step = climb.paused
    if step is None:  # somebody had it tried again, and it has the whole of that time anew
        request.run_deadline = climb.now + ladder.BEGIN_WITHIN
    if step is None or (Path(step.path), Level(step.level)) in ladder.AUTOMATIC:
        request.next_attempt_at = climb.now
    _resume(climb, asks)


def wait_again(climb: Climb, asks: list[Ask]) -> None:
    """What held or blocked it is over: it waits where it stood, with the time it had left, or is asked for first.

    Args:
        asks: of the step it stood on.
    """
    request = climb.request
    request.wait_again()
    climb.act.record(request, "request.went_on", state=request.state)
    notifying.state_changed(climb.writes, request, now=climb.now)
    if climb.paused is None:
        climb.open_first(lambda: None, began=Step.Began.RELEASED)
    else:
        _resume(climb, asks)


def _pause(climb: Climb) -> None:
    if climb.step is not None:
        climb.step.suspend(now=climb.now)
        climb.writes.suspended_steps.append(climb.step)
        climb.paused, climb.step, climb.asks = climb.step, None, []


def _resume(climb: Climb, asks: list[Ask]) -> None:
    step, request = climb.paused, climb.request
    if step is None:
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


def _leave_conflict(climb: Climb) -> None:
    """A violation goes before a conflict. What it carried ends `left`; the others are seen to when it is stored."""
    if climb.step is not None:  # it carries the case, which its owner was asked about
        climb.close_step(answered=False)
        climb.asks = []
    if climb.case is not None and climb.case.exception == ExceptionType.CONFLICT:
        climb.resolve_case(Case.Outcome.LEFT)
        climb.go_back_to_case()
    if climb.party is not None:
        climb.party.left_at = climb.now
        climb.writes.changed_parties.append(climb.party)
        climb.party = None
