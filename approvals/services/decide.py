"""A person answers the step that waits on them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime

from django.db import transaction
from django.db.models import Q

from approvals import notifying
from approvals.locks import lock_request
from approvals.models import ActionRequest, Ask, Case, Decision, Order, Step
from approvals.services import bypass, conflicts, endings
from approvals.services.asking import subject_of
from approvals.services.escalate import Climb
from approvals.services.gather import climbs
from approvals.services.writes import Writes
from governance import actors, bulk, stepup, wording
from governance.errors import (
    AlreadyDecided,
    DigestChanged,
    KeyHeld,
    NotFound,
    NotNow,
    NotYours,
    TooLate,
    Unprocessable,
)
from governance.models import ActionType, Person
from governance.routing import GIVES_LEAVE, hindrance
from governance.stepup import Presence
from governance.vocabulary import Level, Severity, Verdict
from governance.wake import wake_clock

NOTE_LENGTH = 4000
ANSWERS = (Verdict.APPROVE, Verdict.REJECT)
DID = {
    Verdict.APPROVE: "approved",
    Verdict.REJECT: "rejected",
    Verdict.RULE: "ruled on",
    Verdict.DENY: "denied",
    Verdict.WAIVE: "signed a waiver for",
    Verdict.CHANGE_REQUESTED: "asked for a change of",
    Verdict.RETRY: "ordered another attempt of",
    Verdict.ROLL_BACK: "ordered the undoing of",
    Verdict.BY_HAND: "took over",
}


@transaction.atomic
def decide(
    *,
    ref: str,
    actor: Person,
    verdict: str,
    digest: str,
    now: datetime,
    note: str = "",
    severity: str = "",
    via: str = Decision.Via.PAGE,
    presence: Presence | None = None,
) -> ActionRequest:
    """Answer the step that waits on `actor`, and move the request on.

    An approval counts towards the request's quorum, over all its steps. One no
    answers the step: the first opens the rejection path, the second ends it, as
    does any from L3 up, and the first where the action type says so.

    Args:
        digest: the one the person saw; another one is refused.
        severity: of an objection; at least the request's own, which is the default.
        presence: the second factor that the actor gave for this request a moment ago, if
            they did. L4 approves with one, and a note; so is what cannot be undone.

    Raises:
        NoSecondFactor, StepUpNeeded: there is none where one is needed.
        AlreadyDecided: someone was faster, or the request has ended.
        TooLate: the actor was asked, and the clock ran out before this call.
        NotYours: the actor is not asked, or may no longer decide.
        DigestChanged: the digest is not the request's.
        KeyHeld: approved, it would act on a record another request may be acting on.
        Unprocessable: no such verdict here.
    """
    if verdict not in ANSWERS:
        raise Unprocessable(f"Say {' or '.join(ANSWERS)}.")
    note = checked_note(note)
    request = lock_request(ref, and_resource=True)
    writes = Writes()
    (climb,) = climbs([request], writes, actor=actors.person(actor), now=now)
    step = step_of(climb, actor, now)
    if step.path not in GIVES_LEAVE:
        raise NotNow(
            "Nobody asks for leave on this step, so there is nothing to approve or reject. "
            "Your decision was not recorded."
        )
    if digest != request.digest:
        raise DigestChanged(
            "This is not what the page showed you. Open the request again and look before you decide."
        )
    still_may(climb, actor)
    approving = verdict == Verdict.APPROVE
    override = bypass.sign(
        climb, step, actor=actor, presence=presence, note=note, harmless=not approving,
        replaced=max(request.quorum - climb.approvals, 1),
    )  # fmt: skip
    if request.person_present and approving:
        given = stepup.required(presence, actor=actor, matter=request.ref)
        override = override._replace(reauthenticated_at=given.at)
    decision = Decision(
        step=step,
        request=request,
        person=actor,
        verdict=verdict,
        note=note,
        digest=digest,
        severity=_severity(request, severity) if verdict == Verdict.REJECT else "",
        via=via,
        at=now,
        **override._asdict(),
    )
    climb.decisions = [*climb.decisions, decision]
    writes.decisions.append(decision)
    climb.act.record(
        request, "step.decided", path=step.path, level=step.level, verdict=verdict, digest=digest,
        severity=decision.severity, note=note, via=via, bypass=decision.is_bypass,
        reauthenticated_at=decision.reauthenticated_at,
        first_asked=[_username(climb, pk) for pk in climb.first_asked],
    )  # fmt: skip
    if verdict == Verdict.REJECT:
        _say_no(climb, step, decision)
    elif override.is_bypass or climb.approvals >= request.quorum:
        _say_yes(climb, step)
    else:
        wait_for_more(climb, actor)
    climb.settle()
    conflicts.save(writes, now=now)
    # What was approved is called to the worker at once, not at its deadline.
    wake_clock(now if request.state == ActionRequest.State.APPROVED else request.due_at)
    return request


def step_of(climb: Climb, actor: Person, now: datetime) -> Step:
    """Return the step that waits on this person, or say why none does."""
    request, step = climb.request, climb.step
    open_ask = next((ask for ask in climb.asks if ask.person_id == actor.pk and ask.due_at), None)
    if step is not None and step.due_at is not None and open_ask is not None:
        if now >= step.due_at:
            raise _too_late(step.due_at, actor, now)
        return step
    asked = (
        Ask.objects.filter(step__request=request, person=actor)
        .exclude(asked_at__isnull=True)
        .select_related("step")
        .order_by("pk")
        .last()
    )
    if asked is None:
        raise NotYours("You are not asked about this request, so your decision was not recorded.")
    if any(
        each.person_id == actor.pk and each.step_id == asked.step_id for each in climb.decisions
    ):
        raise AlreadyDecided("You have decided on this already. Your first decision stands.")
    if asked.passed_over_at is not None and (
        Ask.objects.filter(step=asked.step_id, handed_over_from=asked).exists()
    ):
        raise NotYours(f"You {asked.passed_over_reason}. Your decision was not recorded.")
    if asked.passed_over_at is not None:
        raise NotYours(
            f"You were passed over, as the record says: you {_second_person(asked.passed_over_reason)}. "
            "Your decision was not recorded."
        )
    answered = next((each for each in climb.decisions if each.step_id == asked.step_id), None)
    if answered is not None:
        raise _faster(answered, actor, now)
    if asked.step.state == Step.State.EXPIRED and asked.step.due_at is not None:
        raise _too_late(asked.step.due_at, actor, now, climb)
    raise NotNow(
        f"The request is {request.get_state_display().lower()}: {request.end_reason or 'nobody is asked'}. "
        "Your decision was not recorded."
    )


def checked_note(note: str) -> str:
    """Return the note without space around it. Raises Unprocessable if it is too long."""
    if len(note) > NOTE_LENGTH:
        raise Unprocessable(f"A note has at most {NOTE_LENGTH} characters.")
    return note.strip()


def still_may(
    climb: Climb, actor: Person, *, deciding: bool = True, overriding: bool = True
) -> None:
    """Look again, under the lock, at what routing looked at: a limit may have been lowered since.

    Args:
        overriding: at L4 it overrides what came before, so that the debt rule counts. What
            somebody has in hand already, they go on with.

    Raises NotYours.
    """
    candidate = climb.people.by_pk.get(actor.pk)
    if candidate is None:
        raise NotFound(f"There is no {actor.name} any more.")
    # Being back early from an absence is no obstacle; the one who was away is here.
    here = replace(candidate, away_until=None)
    history = climb.history if overriding else replace(climb.history, barred={})
    found = hindrance(
        here, subject=subject_of(climb.request), history=history, now=climb.now,
        deciding=deciding,
    )  # fmt: skip
    if found is not None:
        raise NotYours(f"You {_second_person(found.why)}. Your decision was not recorded.")


def _say_yes(climb: Climb, step: Step) -> None:
    request = climb.request
    if request.resource_id is not None:
        _keep_off(request)
    _answer(climb, step)
    request.approve(now=climb.now)
    climb.act.record(
        request, "request.approved", approvals=climb.approvals, quorum=request.quorum,
        level=step.level, path=step.path,
    )  # fmt: skip
    climb.resolve_case(Case.Outcome.APPROVED)
    _tell(climb, "approved")


def _keep_off(request: ActionRequest) -> None:
    """Refuse what would act on a record that another request holds, or that is to be undone first.

    The Resource is locked, so that none of this changes before the approval is stored.
    """
    same = ActionRequest.objects.filter(resource=request.resource_id).exclude(pk=request.pk)
    other = same.filter(holds_key=True).first()
    if other is not None:
        raise KeyHeld(
            f"{other.ref} is {other.get_state_display().lower()} on the same record. "
            "Your decision was not recorded; decide again when that one has ended.",
            ref=other.ref,
        )
    to_undo = Order.objects.filter(
        Q(needs_second=False) | Q(confirmed_at__isnull=False),
        kind=Order.Kind.ROLL_BACK,
        closed_at__isnull=True,
        request__in=same,
        request__has_effects=True,
    )
    first = to_undo.select_related("request").first()
    if first is not None:
        raise KeyHeld(
            f"{first.request.ref} is to be rolled back on the same record first. "
            "Your decision was not recorded; decide again when that is done.",
            ref=first.request.ref,
        )


def is_final(action: ActionType, before: Sequence[Decision], step: Step | None) -> bool:
    """Return whether a no on this step ends the request: the second one, any from L3 up, or as the type says.

    Args:
        before: the noes that came before it.
    """
    return action.first_no_is_final or bool(before) or (step is not None and step.level >= Level.L3)


def _say_no(climb: Climb, step: Step, decision: Decision) -> None:
    _answer(climb, step)
    before = [
        each for each in climb.decisions if each.verdict == Verdict.REJECT and each is not decision
    ]
    if is_final(climb.request.action_type, before, step):
        endings.reject(climb, "rejected", by=decision.person_id)
    else:
        climb.object(decision, Level(step.level))


def _answer(climb: Climb, step: Step) -> None:
    step.answer(now=climb.now)
    climb.writes.closed_steps.append(step)
    climb.step = None


def wait_for_more(climb: Climb, actor: Person) -> None:
    """One signature of several: the step waits on, but no longer on this person."""
    for ask in climb.asks:
        if ask.person_id == actor.pk:
            ask.due_at = ask.next_ping_at = None
            bulk.save_alike(Ask, [ask], ["due_at", "next_ping_at"])


def _tell(climb: Climb, what: str) -> None:
    """Tell the agent, and everyone who was asked before and did not approve: whoever said no among them."""
    approvers = {each.person_id for each in climb.decisions if each.verdict == Verdict.APPROVE}
    notifying.told(
        climb.writes,
        climb.everybody_asked - approvers,
        climb.request,
        climb.people,
        what=what,
        now=climb.now,
    )
    notifying.state_changed(climb.writes, climb.request, now=climb.now)


def _severity(request: ActionRequest, asked: str) -> str:
    """Return the objection's severity: the person's choice, never below the request's."""
    if asked and asked not in Severity.values:
        raise Unprocessable(f"Say how serious it is: {', '.join(Severity.values)}.")
    grave = Severity.values
    return max(asked or request.severity, request.severity, key=grave.index)


def _too_late(
    due_at: datetime, actor: Person, now: datetime, climb: Climb | None = None
) -> TooLate:
    late = wording.span(now - due_at)
    clock = wording.at(due_at, now=now, zone=actor.zone, seconds=True)
    after = _after(climb) if climb else "The next person is being asked."
    return TooLate(
        f"The window closed at {clock}, {late} ago. {after} Your decision was not recorded."
    )


def _after(climb: Climb) -> str:
    request = climb.request
    waiting = [climb.people.by_pk[ask.person_id].name for ask in climb.asks if ask.due_at]
    if waiting:
        return (
            f"The {' and the '.join(waiting)} {'has' if len(waiting) == 1 else 'have'} been asked."
        )
    return f"The request is {request.get_state_display().lower()}."


def _faster(decision: Decision, actor: Person, now: datetime) -> AlreadyDecided:
    clock = wording.at(decision.at, now=now, zone=actor.zone, seconds=True)
    did = DID[Verdict(decision.verdict)]
    return AlreadyDecided(
        f"The {decision.person.name} {did} this at {clock}. Your decision was not recorded.",
        decided_at=decision.at.isoformat(),
    )


def _second_person(reason: str) -> str:
    """Turn "is away until …" into words to that person."""
    for third, second in (
        ("is ", "are "),
        ("has ", "have "),
        ("owns ", "own "),
        ("could ", "could "),
        ("stands ", "stand "),
    ):
        if reason.startswith(third):
            return second + reason.removeprefix(third)
    return reason


def _username(climb: Climb, pk: int) -> str:
    return f"person:{climb.people.by_pk[pk].username}"
