"""What becomes of a request whose doing or undoing failed.

Each function takes a `Climb`, moves its locked request in memory and leaves the
rows with its `Writes`; the caller settles and saves.
"""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any

from approvals import notifying
from approvals.models import ActionRequest, Step
from approvals.services import asking
from governance import ladder
from governance.vocabulary import ExceptionType, Level, Path, Response, Verdict

if TYPE_CHECKING:
    from approvals.services.escalate import Climb


def fail(
    climb: Climb,
    reason: str,
    *,
    facts: dict[str, Any],
    retry_at: datetime | None = None,
    asked: bool = False,
    only_a_person: bool = False,
) -> None:
    """What was to be done failed: open the case, or go on with the one that is open.

    Every attempt within L1's window belongs to its step. What fails again after
    somebody answered goes on at the path's next rung.

    Args:
        reason: a sentence, for the case.
        facts: JSON, for the case and the record.
        retry_at: when to try again. None: trying again would give the same
            answer, so that the automatic rung is left at once.
        asked: it is the target that wants to be left alone until then.
        only_a_person: nobody but a person can say what became of it, so that a
            person is asked whatever the tree says.
    """
    request = climb.request
    if request.state != ActionRequest.State.TROUBLED:
        request.fail()
        notifying.state_changed(climb.writes, request, now=climb.now)
    climb.act.record(request, "attempt.failed", reason=reason, retry_at=retry_at, **facts)
    step = climb.step
    if step is None:
        _enter(climb, reason, facts, at_least=Level.L2 if only_a_person else Level.L1)
        step = climb.step
    if step is None:
        return  # the path was at its end
    if not _is_automatic(step):
        return  # whoever is asked says how it goes on
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


def _enter(climb: Climb, reason: str, facts: dict[str, Any], *, at_least: Level) -> None:
    """Nothing waits: open a case and enter its path, or go on with the open one where it was left."""
    path, case = Path.SYSTEM_FAILURE, climb.case
    critical = climb.request.action_type.is_critical
    rung: Level | None
    if case is None or case.exception != ExceptionType.SYSTEM_FAILURE:
        rung = climb.open_case(ExceptionType.SYSTEM_FAILURE, reason, since=climb.now, facts=facts)
        _tell(climb, reason)
    else:
        rung = ladder.first_rung(path, at_least=at_least, critical=critical)
    stood = [Level(level) for on, level in climb.used if on == path]
    if stood:
        rung = ladder.next_rung(path, max(stood), critical=critical)
    if rung is not None:
        rung = ladder.first_rung(path, at_least=max(rung, at_least), critical=critical)
    climb.enter(path, rung, since=climb.now, began=Step.Began.OPENED)


def _tell(climb: Climb, reason: str) -> None:
    """Whoever approved it is told that it failed; and whoever is on call, where the tree says so."""
    told = {each.person_id for each in climb.decisions if each.verdict == Verdict.APPROVE}
    if climb.case is not None and climb.case.response == Response.RETRY_TELL_ONCALL:
        found = asking.find(climb, Path.SYSTEM_FAILURE, Level.L2)
        told.update(asked.person for asked in found.asked)
    notifying.told(
        climb.writes, told, climb.request, climb.people, what="failing", now=climb.now, why=reason
    )


def _is_automatic(step: Step) -> bool:
    return (Path(step.path), Level(step.level)) in ladder.AUTOMATIC


def ask_about_undo(climb: Climb, reason: str) -> None:
    """It could not be undone by itself: whoever is on call is asked, on the path `undo`.

    What fails again after somebody answered goes on at the path's next rung.
    """
    if climb.step is not None:
        return
    stood = [Level(level) for on, level in climb.used if on == Path.UNDO]
    if not stood:
        climb.act.record(climb.request, "undo.needs_a_person", reason=reason)
    critical = climb.request.action_type.is_critical
    rung = ladder.next_rung(Path.UNDO, max(stood), critical=critical) if stood else Level.L2
    climb.enter(Path.UNDO, rung, since=climb.now, began=Step.Began.OPENED)
