"""A person finishes in the target what the runner could not, and says of each unit what became of it.

Whoever was asked has taken it in hand (`approvals.services.mending`). Nothing
they say changes a unit before it is finished or given back; on a financial
action not without a second person's word. Source: DESIGN 2.2, "System failure".
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import NamedTuple

from django.db import transaction

from approvals import notifying, undoing
from approvals.locks import lock_request
from approvals.models import ActionRequest, Claim, Order
from approvals.services import conflicts, decide, endings
from approvals.services.escalate import Climb
from approvals.services.gather import climbs
from approvals.services.writes import Writes
from governance import actors, canonical, tables, wording
from governance.errors import DigestChanged, NotNow, NotYours, Unprocessable
from governance.models import ActionType, Person
from governance.wake import wake_clock
from rollback.connectors import registry
from rollback.connectors.base import CallFailed, CannotRun, Connector, Plan
from rollback.models import Direction, Recovery, Unit
from rollback.patterns import wait_s
from rollback.services import units
from rollback.services.execute import let_a_late_call_end
from rollback.services.hands import Hands, connector_of
from rollback.services.runs import Fenced, Lease, ending, finish
from rollback.services.settle import settle_reversal

S = ActionRequest.State
U = Unit.State
DONE, NOT_DONE, UNKNOWN = Claim.Said.DONE.value, Claim.Said.NOT_DONE.value, Claim.Said.UNKNOWN.value
REFERENCE_LENGTH = 200
NOTHING_STORED = "Nothing was recorded."
# What our own record says of a unit, before anybody else says something.
RECORDED = {
    U.PLANNED: NOT_DONE, U.NOT_DONE: NOT_DONE, U.REVERSED: NOT_DONE,
    U.SENT: UNKNOWN, U.UNKNOWN: UNKNOWN, U.DONE: DONE,
}  # fmt: skip

Of = Callable[[ActionType], Connector]


class Item(NamedTuple):
    """One unit on the list: what the person says of it, or our record where they said nothing yet.

    Attributes:
        recorded: what our record says of it.
        reference: the target's.
    """

    n: int
    name: str
    state: str
    reference: str
    recorded: str


# --- What is on the list ---


def items_of(request: ActionRequest, claim: Claim, *, of: Of = connector_of) -> list[Item]:
    """Return the list of a claim, in the order of writing. One item where nothing was planned and nobody can."""
    said = {each["n"]: each for each in claim.units}
    found = [
        (unit.position, unit.name, RECORDED[U(unit.state)], _reference(unit))
        for unit in Unit.objects.filter(request=request, direction=Direction.FORWARD).order_by(
            "position"
        )
    ] or [
        (n, plan.name, NOT_DONE, "") for n, plan in enumerate(_plans(request, of), start=1)
    ] or [(1, request.title, NOT_DONE, "")]  # fmt: skip
    return [
        Item(
            n, name, said.get(n, {}).get("state", recorded),
            said.get(n, {}).get("reference", reference), recorded,
        )
        for n, name, recorded, reference in found
    ]  # fmt: skip


def stamp_of(claim: Claim, items: Sequence[Item]) -> str:
    """Name what a page shows of a claim: a form that shows something else is refused."""
    facts = {
        "claim": claim.pk,
        "recorded": [each.recorded for each in items],
        "said": claim.units,
        "reference": claim.target_reference,
        "finished": claim.finished_at.isoformat() if claim.finished_at else "",
    }
    return canonical.digest(facts)[:16]


def asked_first_until(request: ActionRequest, now: datetime) -> datetime | None:
    """Return until when the target may still be asked about open intents, before the person says anything."""
    order = Order.objects.filter(
        request=request, kind=Order.Kind.BY_HAND, closed_at__isnull=True
    ).first()
    return order.due_at if order is not None and order.due_at and order.due_at > now else None


def _plans(request: ActionRequest, of: Of) -> Sequence[Plan]:
    try:
        return of(request.action_type).units(registry.action_of(request))
    except (CannotRun, ValueError):
        return []


def _reference(unit: Unit) -> str:
    receipt = unit.receipt if unit.state == U.DONE and isinstance(unit.receipt, dict) else {}
    return wording.plain(str(receipt.get("reference") or ""), REFERENCE_LENGTH)


# --- What people do with it ---


@transaction.atomic
def note(
    *, ref: str, actor: Person, said: Sequence[dict[str, object]], shown: str, now: datetime,
    of: Of = connector_of,
) -> Claim:  # fmt: skip
    """Keep what the person says of each unit so far. What they called finished is so no longer.

    Args:
        said: [{"n": 1, "state": "done", "reference": ""}], every unit once.
        shown: `stamp_of` what they saw.

    Raises:
        NotFound: there is no such request.
        NotYours: somebody else has it in hand, or nobody.
        NotNow: the target is still being asked, or the request is blocked.
        DigestChanged: the record has moved on since the page was drawn.
        Unprocessable: not every unit once, or a unit called done without a reference.
    """
    climb, claim = _in_hand(ref, actor, now)
    _plan(climb, of)
    claim.units = _checked(climb, claim, said, shown, of)
    claim.finished_at = None
    claim.save()
    climb.act.record(climb.request, "claim.noted", units=claim.units)
    _save(climb)
    return claim


@transaction.atomic
def settle(
    *, ref: str, actor: Person, said: Sequence[dict[str, object]], reference: str, shown: str,
    now: datetime, words: str = "", of: Of = connector_of,
) -> Claim:  # fmt: skip
    """Say that it is settled: all of it is in the target, or nothing of it is.

    On a financial action it waits for a second person then; otherwise it ends.

    Args:
        reference: the target's, under which what was done, or taken back, is found.
        words: what the person did.

    Raises: as for `note`; and Unprocessable where some of it is there and some
    is not, where something is unknown, where an undo would leave something, or
    without a reference.
    """
    climb, claim = _in_hand(ref, actor, now)
    _plan(climb, of)
    claim.units = _checked(climb, claim, said, shown, of)
    reference = reference.strip()
    if not reference or len(reference) > REFERENCE_LENGTH:
        raise Unprocessable(
            "Give the target's reference, under which this is found there, in at most"
            f" {REFERENCE_LENGTH} characters. {NOTHING_STORED}"
        )
    _whole(climb, {str(each["state"]) for each in claim.units})
    claim.target_reference, claim.note = reference, decide.checked_note(words)
    claim.finished_at = now
    climb.act.record(
        climb.request, "claim.finished", units=claim.units, reference=reference, note=claim.note
    )
    if climb.request.action_type.is_financial:
        claim.save()
        circle = undoing.circle_of(climb.request)
        below = undoing.below_approvers(climb.request, circle, now=now)
        _tell_seconds(climb, undoing.may_be_second(circle, below), actor)
    else:
        _close(climb, claim)
    _save(climb)
    return claim


@transaction.atomic
def confirm(*, ref: str, actor: Person, shown: str, now: datetime, of: Of = connector_of) -> Claim:
    """Confirm, as the second person, what somebody finished by hand on a financial action.

    Raises:
        NotFound: there is no such request.
        NotYours: the actor did part of it, reports to an approver, decided before, or has no such office.
        NotNow: nothing waits for a second person.
        DigestChanged: it is no longer what the page showed.
    """
    climb = _climb(ref, actor, now)
    claim = climb.claim
    if claim is None or claim.finished_at is None:
        raise NotNow(f"Nothing waits for a second person here. {NOTHING_STORED}")
    _underway(climb)
    why = why_not_second(climb.request, actor, now=now)
    if why is not None:
        raise NotYours(f"{why} {NOTHING_STORED}")
    _same(climb, claim, shown, of)
    claim.second_person = actor
    climb.act.record(
        climb.request, "claim.confirmed", person=climb.username(claim.person_id),
        units=claim.units, reference=claim.target_reference,
    )  # fmt: skip
    _close(climb, claim)
    _save(climb)
    return claim


@transaction.atomic
def give_back(
    *, ref: str, actor: Person, now: datetime, words: str = "", of: Of = connector_of
) -> Claim:
    """Leave it to whoever is asked: it may be tried again, undone, or taken in hand anew.

    What was said of units is our record from then on, but not on a financial
    action: there it has to be as our record says, or be finished.

    Raises:
        NotFound, NotYours, NotNow: as for `note`.
        NotNow: what was said cannot stand as it is.
    """
    climb, claim = _in_hand(ref, actor, now)
    _plan(climb, of)
    items = items_of(climb.request, claim, of=of)
    _may_stand(climb.request, items)
    _apply(climb, items)
    claim.given_back_at, claim.note = now, decide.checked_note(words)
    endings.close_claim(climb, claim)
    endings.close_orders(climb, Order.Kind.BY_HAND, Order.Outcome.JOINED)
    climb.claim = None
    units.note_effects(climb.request)
    climb.act.record(climb.request, "claim.given_back", note=claim.note, units=claim.units)
    # Attempts to undo go on beside whoever is asked; nothing else is tried by itself.
    climb.request.next_attempt_at = now if climb.request.state == S.ROLLING_BACK else None
    _save(climb)
    return claim


def why_not_second(request: ActionRequest, person: Person, *, now: datetime) -> str | None:
    """Return why this person may not be the second, said to them, or None if they may."""
    if not person.is_active:
        return "This account is disabled."
    circle = undoing.circle_of(request)
    return undoing.why_not_second(
        circle, person.pk, undoing.below_approvers(request, circle, now=now)
    )


# --- The worker asks first ---


def ask_first(lease: Lease, hands: Hands) -> None:
    """Ask the target what became of open intents, for whoever has it in hand. Nothing is sent.

    A target that does not answer is asked again, for as long as the order stands.
    """
    try:
        request = ActionRequest.objects.select_related("action_type").get(ref=lease.ref)
        connector = hands.connector_for(request.action_type)
        for direction in Direction if connector.gives.lookup else ():
            for unit in units.of(lease, direction):
                if unit.state not in units.UNANSWERED:
                    continue
                receipt = connector.probe(unit.key)
                if receipt is not None:
                    units.check_point(lease, unit, receipt, now=hands.now(), probed=True)
                    continue
                let_a_late_call_end(unit, hands)
                units.known_not_done(lease, unit, now=hands.now())
    except Fenced:
        return
    except CallFailed as problem:
        asked(lease, hands, said=problem.said, asked_s=problem.retry_after_s)
    except CannotRun as problem:
        asked(lease, hands, said=str(problem))
    else:
        asked(lease, hands)


def asked(lease: Lease, hands: Hands, *, said: str = "", asked_s: float | None = None) -> None:
    """End the run that asked. The person may go on once it succeeded, or its time is over."""
    now = hands.now()
    try:
        with ending(lease, now=now) as climb:
            finish(lease, climb, error=said)
            order = Order.objects.filter(
                request=climb.request, kind=Order.Kind.BY_HAND, closed_at__isnull=True
            ).first()
            if order is None or climb.claim is None:
                return
            wait = wait_s(lease.attempt, chance=hands.chance(), asked_s=asked_s)
            again = now + hands.technical(wait)
            if said and order.due_at is not None and again < order.due_at:
                climb.request.next_attempt_at = again
                return
            outcome = Order.Outcome.FAILED if said else Order.Outcome.CARRIED_OUT
            endings.close_orders(climb, Order.Kind.BY_HAND, outcome)
            climb.request.next_attempt_at = None
    except Fenced:
        return


# --- The common way ---


def _climb(ref: str, actor: Person, now: datetime) -> Climb:
    request = lock_request(ref, and_resource=True)
    (climb,) = climbs([request], Writes(), actor=actors.person(actor), now=now)
    return climb


def _in_hand(ref: str, actor: Person, now: datetime) -> tuple[Climb, Claim]:
    climb = _climb(ref, actor, now)
    claim = climb.claim
    if claim is None:
        raise NotYours(f"You do not have it in hand. {NOTHING_STORED}")
    if claim.person_id != actor.pk:
        raise NotYours(f"The {claim.person} has it in hand. {NOTHING_STORED}")
    _underway(climb)
    decide.still_may(climb, actor, deciding=False, overriding=False)
    until = asked_first_until(climb.request, now)
    if until is not None:
        when = wording.at(until, now=now, zone=actor.zone, seconds=True)
        raise NotNow(
            "The target is being asked what became of what was sent. Say what you find there once it"
            f" has answered, or at {when} at the latest. {NOTHING_STORED}"
        )
    return climb, claim


def _underway(climb: Climb) -> None:
    if climb.request.state not in (S.TROUBLED, S.ROLLING_BACK):
        state = climb.request.get_state_display().lower()
        raise NotNow(f"It is {state}, and that comes first. {NOTHING_STORED}")


def _plan(climb: Climb, of: Of) -> None:
    """Write down the units where no worker ever did."""
    plans = _plans(climb.request, of)
    if plans:
        units.plan_under_lock(climb.request, climb.act, plans)


def _same(climb: Climb, claim: Claim, shown: str, of: Of) -> list[Item]:
    items = items_of(climb.request, claim, of=of)
    if shown != stamp_of(claim, items):
        raise DigestChanged(
            "The record has moved on since this page was drawn. Open it again and look before you go"
            f" on. {NOTHING_STORED}"
        )
    return items


def _checked(
    climb: Climb, claim: Claim, said: Sequence[dict[str, object]], shown: str, of: Of
) -> list[dict[str, object]]:
    """Return what was said of the units, in their order. Raises DigestChanged, Unprocessable."""
    items = _same(climb, claim, shown, of)
    by_n = {each.get("n"): each for each in said}
    if len(by_n) != len(said) or set(by_n) != {item.n for item in items}:
        raise Unprocessable(f"Say of each unit, once, what became of it. {NOTHING_STORED}")
    kept: list[dict[str, object]] = []
    for item in items:
        state = str(by_n[item.n].get("state", ""))
        reference = str(by_n[item.n].get("reference") or "").strip()
        if state not in Claim.Said.values:
            raise Unprocessable(
                f"Say of unit {item.n} whether it is done, not done or unknown. {NOTHING_STORED}"
            )
        if len(reference) > REFERENCE_LENGTH:
            raise Unprocessable(
                f"A reference has at most {REFERENCE_LENGTH} characters. {NOTHING_STORED}"
            )
        if state == DONE and not reference and item.recorded != DONE:
            raise Unprocessable(
                f"Give the target's reference for unit {item.n}, which you call done. {NOTHING_STORED}"
            )
        kept.append({"n": item.n, "state": state, "reference": reference})
    return kept


def _whole(climb: Climb, states: set[str]) -> None:
    """Raise Unprocessable unless what was said lets the request end."""
    if UNKNOWN in states:
        raise Unprocessable(
            "While you do not know of a unit whether it is in the target, this cannot be finished."
            f" Look there first. {NOTHING_STORED}"
        )
    if len(states) > 1:
        raise Unprocessable(
            "Part of it is in the target and part is not. Do the rest there, or take back what was"
            f" done, and then finish it. {NOTHING_STORED}"
        )
    if climb.request.state == S.ROLLING_BACK and states == {DONE}:
        raise Unprocessable(
            "It is to be undone, so it is finished when nothing of it is left in the target."
            f" {NOTHING_STORED}"
        )


def _may_stand(request: ActionRequest, items: Sequence[Item]) -> None:
    """Raise NotNow where what was said cannot be left to others as it is."""
    for item in items:
        if item.state == item.recorded:
            continue
        if request.action_type.is_financial:
            raise NotNow(
                f"Of unit {item.n} you say otherwise than the record. On a financial action that counts"
                " once a second person has confirmed it: finish it, or put it back as it was."
                f" {NOTHING_STORED}"
            )
        if item.state == UNKNOWN:
            raise NotNow(
                f"Look in the target whether unit {item.n} is there before you give this back."
                f" {NOTHING_STORED}"
            )


def _apply(climb: Climb, items: Sequence[Item]) -> None:
    """Bring the units to what the person says of them, where that differs from our record."""
    said = {item.n: item for item in items}
    request, now = climb.request, climb.now
    rows = Unit.objects.filter(request=request, direction=Direction.FORWARD)
    for unit in rows.order_by("position"):
        item = said[unit.position]
        if item.state == RECORDED[U(unit.state)]:
            continue
        if item.state == DONE and unit.state == U.REVERSED:
            raise NotNow(
                f"Unit {item.n} was taken back, and cannot be done again under this request."
                f" {NOTHING_STORED}"
            )
        if item.state == DONE:
            unit.be_done_by_hand(now=now, reference=item.reference)
        elif unit.state == U.DONE:
            unit.be_reversed_by_hand(now=now)
        else:
            unit.be_missed_by_hand(now=now)
        unit.save(update_fields=[*units.CHANGED, "reversed_at"])
        climb.act.record(
            request, "unit.said", unit=unit.position, key=unit.key, state=unit.state,
            reference=item.reference,
        )  # fmt: skip
        settle_reversal(unit, gone=item.state == NOT_DONE, now=climb.now)


def _close(climb: Climb, claim: Claim) -> None:
    """It is settled, and nobody's word is missing any more."""
    items = [
        Item(int(each["n"]), "", str(each["state"]), str(each["reference"]), "")
        for each in claim.units
    ]
    _apply(climb, items)
    endings.close_claim(climb, claim)
    climb.claim = None
    units.note_effects(climb.request)
    nothing_left = all(item.state == NOT_DONE for item in items)
    if not nothing_left:
        climb.request.has_effects = True
    undoing_it = climb.request.state == S.ROLLING_BACK
    for recovery in Recovery.objects.filter(
        request=climb.request,
        state__in=(Recovery.State.ORDERED, Recovery.State.PLANNED, Recovery.State.RUNNING),
    ):
        recovery.needed_a_person = True
        succeeded = undoing_it and recovery.state == Recovery.State.RUNNING
        if succeeded:
            recovery.succeed(now=climb.now)
        else:
            recovery.fail(now=climb.now)
        recovery.save()
        kind = "recovery.succeeded" if succeeded else "recovery.failed"
        climb.act.record(climb.request, kind, by_hand=True, **recovery.told())
    endings.by_hand(climb, nothing_left=nothing_left)


def _tell_seconds(climb: Climb, persons: frozenset[int], actor: Person) -> None:
    people = tables.people_for((), also=persons, now=climb.now)
    notifying.told(
        climb.writes, persons, climb.request, people, what="by_hand_waits", now=climb.now,
        by=str(actor), why=wording.plain(climb.claim.note if climb.claim else "", 300),
        until=climb.step.due_at.isoformat() if climb.step and climb.step.due_at else "",
    )  # fmt: skip


def _save(climb: Climb) -> None:
    climb.settle()
    conflicts.save(climb.writes, now=climb.now)
    wake_clock(climb.now)
