"""Asking people on a rung, and what becomes of an ask: passed over, handed over, asked again.

Each function takes a `Climb`, moves its locked request in memory and leaves the
rows with its `Writes`; the caller settles and saves.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime
from typing import TYPE_CHECKING

from approvals import notifying
from approvals.models import ActionRequest, Ask, Step
from approvals.services import alerts
from governance import ladder, wording
from governance.routing import Asked, Candidate, Passed, Routing, Subject, Why, route
from governance.vocabulary import Level, Path, Verdict

if TYPE_CHECKING:
    from approvals.services.escalate import Climb

WHY_LENGTH = 300


def subject_of(request: ActionRequest) -> Subject:
    """Return what routing knows of a request, its action type and agent loaded."""
    return Subject(
        department=request.department_id,
        action=request.action_type.key,
        action_name=request.action_type.name,
        amount=request.routed_amount,
        currency=request.currency,
        agent_owner=request.agent.owner_id,
        on_behalf_of=request.on_behalf_of_id,
    )


def pass_over(climb: Climb, gone: Iterable[Passed], *, only_for_reachable: bool = False) -> bool:
    """People who were asked cannot answer any more: ask the next ones, on the same clock, or climb.

    Args:
        gone: who, and why.
        only_for_reachable: change nothing unless somebody reachable takes every place.

    Returns whether anything changed.
    """
    step = climb.waiting()
    why = {passed.person: passed for passed in gone}
    kept = [ask for ask in climb.asks if ask.due_at and ask.person_id not in why]
    # Whoever has it in hand has not answered yet: if they go, somebody takes their place.
    decided = sum(
        each.step_id == step.pk and each.verdict != Verdict.BY_HAND for each in climb.decisions
    )
    wanted = step.needed - decided - len(kept)
    # Somebody passed over before may be asked again: back from an absence, or, though no
    # channel reaches them, because nobody else is left.
    out = {*why, *(ask.person_id for ask in kept), *climb.handed.by}
    spent = {pk: Passed(pk, Why.NOBODY, "") for pk in out}
    found = find(climb, Path(step.path), Level(step.level), spent=spent, have=len(kept))
    taking = found.asked[: max(wanted, 0)]
    enough = len(taking) >= wanted
    if step.path == Path.POLICY_VIOLATION:
        enough = bool(kept or taking)  # one person can say no, so that the rung is not given up
    if only_for_reachable and not (enough and all(asked.reachable for asked in taking)):
        return False
    for ask in climb.asks:
        if ask.due_at and ask.person_id in why:
            _pass_ask(climb, ask, why[ask.person_id])
    record_passed(climb, step, found.passed_over)
    if enough:
        for place, asked in enumerate(taking, start=len(climb.asks)):
            put_to(climb, step, asked, place)
            climb.act.record(
                climb.request, "ask.opened", path=step.path, level=step.level,
                asked=climb.username(asked.person), reachable=asked.reachable,
                instead_of=[climb.username(pk) for pk in why],
            )  # fmt: skip
        return True
    step.pass_over(now=climb.now)
    climb.act.record(climb.request, "step.passed_over", path=step.path, level=step.level)
    climb.put_away()
    climb.leave(Path(step.path), Level(step.level), since=climb.now, absent=True)
    return True


def hand_over(climb: Climb, ask: Ask, to: Candidate, note: str) -> None:
    """Whoever was asked gives it to somebody else, on the clock that runs.

    Args:
        ask: theirs, which is open.
        to: somebody who may answer in their place, and was not asked on this step.
    """
    step, by = climb.waiting(), climb.people.by_pk[ask.person_id]
    ask.due_at = ask.next_ping_at = None
    ask.passed_over_at, ask.passed_over_reason = climb.now, f"handed it over to the {to.name}"
    climb.writes.passed_asks.append(ask)
    said = f": “{note.rstrip('.')}”" if note else ""
    why = wording.plain(f"one to whom the {by.name} handed this over{said}", WHY_LENGTH)
    given = put_to(climb, step, Asked(to.pk, why, to.reachable), len(climb.asks))
    given.handed_over_from = ask
    climb.act.record(
        climb.request, "ask.handed_over", path=step.path, level=step.level,
        person=climb.username(ask.person_id), to=climb.username(to.pk), reachable=to.reachable,
        note=note,
    )  # fmt: skip


def find(
    climb: Climb, path: Path, level: Level, *, spent: dict[int, Passed] | None = None, have: int = 0
) -> Routing:
    history = replace(
        climb.history,
        approvals=climb.approvals + have,
        spent=spent or {},
        beside=climb.beside if path == Path.CONFLICT else frozenset(),
        barred=climb.barred if level == Level.L4 else {},
        approvers=climb.ruled.approvers if path == Path.POLICY_VIOLATION else frozenset(),
        signers=climb.ruled.signers if path == Path.POLICY_VIOLATION else frozenset(),
    )
    return route(
        path,
        level,
        row=climb.row,
        subject=subject_of(climb.request),
        people=climb.people,
        history=history,
        now=climb.now,
        policy=climb.policy.number,
        offices=climb.offices,
    )


def put_to(climb: Climb, step: Step, asked: Asked, place: int) -> Ask:
    """Ask one person on a step: on a row of their own, or on the one that passed them over before."""
    ask = next((each for each in climb.asks if each.person_id == asked.person), None)
    if ask is None:
        ask = Ask(step=step, person_id=asked.person, path=step.path)
        climb.asks.append(ask)
        climb.writes.asks.append(ask)
    else:
        ask.passed_over_at, ask.passed_over_reason = None, ""
        climb.writes.reopened_asks.append(ask)
    ask.why, ask.position = asked.why, place
    ask.asked_at, ask.due_at = climb.now, step.due_at
    ask.next_ping_at = first_ping(climb, step, ask)
    ask.unreachable_at = None if asked.reachable else climb.now
    climb.everybody_asked.add(asked.person)
    notifying.asked(climb.writes, ask, climb.request, climb.people, now=climb.now)
    if not asked.reachable:
        name = climb.people.by_pk[asked.person].name
        climb.writes.alerts.append(alerts.unreachable(climb.request, name, now=climb.now))
    return ask


def first_ping(climb: Climb, step: Step, ask: Ask) -> datetime | None:
    """Return when somebody is pinged next on a rung that pings, counted from the rung's opening or from now."""
    # Who takes a place while the rung is open has the first wait of their own.
    begins = step.opened_at if step.pk is None else climb.now
    at = begins + ladder.ping_wait(step.window, ask.pings)
    pings = step.level == Level.L1 and step.due_at is not None and at < step.due_at
    return at if pings else None


def _pass_ask(climb: Climb, ask: Ask, passed: Passed) -> None:
    ask.due_at = ask.next_ping_at = None
    ask.passed_over_at, ask.passed_over_reason = climb.now, passed.why
    climb.writes.passed_asks.append(ask)
    climb.act.record(
        climb.request, "ask.passed_over", person=climb.username(ask.person_id), reason=passed.why
    )


def record_passed(climb: Climb, step: Step, passed_over: Iterable[Passed]) -> None:
    """Keep why others were not asked, once each; those already on the step say it themselves."""
    known = {ask.person_id for ask in climb.asks if ask.step is step}
    passed = [
        Ask(
            step=step,
            person_id=each.person,
            path=step.path,
            passed_over_at=climb.now,
            passed_over_reason=each.why,
        )
        for each in {each.person: each for each in passed_over}.values()
        if each.person not in known
    ]
    climb.asks += passed
    climb.writes.asks += passed
