"""The units of a request: planned once, then each sent under its own key and checkpointed.

Every function here is one transaction, made by whoever holds the lease. Between
the intent and the checkpoint stands the call, which is not here.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from django.db.models import CharField, QuerySet

from approvals.models import ActionRequest, Claim
from governance import commitments
from governance.ledger import Act
from governance.reads import Given, ReadObjects
from rollback.connectors.base import CallFailed, Json, OutcomeUnknown, Plan, Reading, Receipt
from rollback.models import Direction, Snapshot, Unit
from rollback.services.runs import Hold, Lease, Technical, holding

State = Unit.State
MAY_HAVE_EFFECTS = (State.SENT, State.UNKNOWN, State.DONE)
UNANSWERED = (State.SENT, State.UNKNOWN)
CHANGED = (
    "state",
    "sent_at",
    "attempts",
    "done_at",
    "receipt",
    "in_doubt",
    "probed",
    "by_hand",
    "error",
    "tries",
)


def of(lease: Lease, direction: Direction) -> list[Unit]:
    """Return the units of one direction in the order they are sent: an undo takes the last one first."""
    return _in_order[direction](ref=lease.ref, direction=direction)


def _units(order: str) -> QuerySet[Unit]:
    rows: QuerySet[Unit] = Unit.objects.filter(
        request__ref=Given("ref", CharField()), direction=Given("direction", CharField())
    )
    return rows.select_related("reverses").order_by(order)


_in_order: dict[Direction, ReadObjects[Unit]] = {
    Direction.FORWARD: ReadObjects(lambda: _units("position"), prepared=True),
    Direction.UNDO: ReadObjects(lambda: _units("-position"), prepared=True),
}


def plan(lease: Lease, plans: Sequence[Plan], *, now: datetime) -> None:
    """Write down what will be sent, and beside each unit the reversal that would take it back.

    Does nothing if it is written down already.
    """
    with holding(lease, now=now) as hold:
        plan_under_lock(hold.request, hold.act, plans)


def plan_under_lock(request: ActionRequest, act: Act, plans: Sequence[Plan]) -> None:
    """Likewise, for whoever holds the request's lock and saves it."""
    if Unit.objects.filter(request=request).exists():
        return
    request.generation = _generation(request)
    ActionRequest.objects.filter(pk=request.pk).update(generation=request.generation)
    for position, each in enumerate(plans, start=1):
        unit = Unit.objects.create(
            request=request,
            direction=Direction.FORWARD,
            position=position,
            key=f"{request.business_key}~{request.generation}/{position}",
            name=each.name[:200],
            record=each.record,
            amount=each.amount,
            currency=each.currency,
            body=each.body,
        )
        if each.undo_name:
            Unit.objects.create(
                request=request,
                direction=Direction.UNDO,
                position=position,
                key=f"{request.business_key}~{request.generation}/undo/{position}",
                name=each.undo_name[:200],
                record=each.record,
                amount=each.amount,
                currency=each.currency,
                body={},
                reverses=unit,
            )
    act.record(
        request, "units.planned", units=[each.name for each in plans],
        staged=[each.undo_name for each in plans if each.undo_name],
        generation=request.generation,
    )  # fmt: skip


def _generation(request: ActionRequest) -> int:
    """Return how many earlier requests of this business key ever had effects: their keys are spent."""
    return spent(request.business_key, but=request.pk)


def spent(business_key: str, *, but: int | None = None) -> int:
    """Return how many requests of a business key ever had effects, one of them left out."""
    same = ActionRequest.objects.filter(business_key=business_key, had_effects=True)
    found: int = same.exclude(pk=but).count()
    return found


def snapshot(
    lease: Lease, record: str, reading: Reading | None, *, now: datetime, technical: Technical
) -> None:
    """Keep the state of one record that will be touched, before the first write. Prolongs the lease."""
    with holding(lease, now=now, renew=technical) as hold:
        taken = Snapshot.objects.create(
            request=hold.request,
            record=record,
            version=reading.version[:120] if reading else "",
            before=reading.state if reading else None,
            taken_at=now,
            salt=commitments.new_salt(),
        )
        hold.act.record(
            hold.request, "snapshot.taken", record=record, version=taken.version,
            state=taken.digest_of("before"),
        )  # fmt: skip


def intend(
    lease: Lease, unit: Unit, *, now: datetime, technical: Technical, body: Json | None = None
) -> None:
    """Commit the intent to send one unit. After this it may have effects, whatever happens next.

    Args:
        body: of a reversal, as it will be sent.

    Raises Fenced, Stopped.
    """
    with holding(lease, now=now, renew=technical, to_send=True) as hold:
        if body is not None:
            unit.body = body
        unit.send(now=now)
        unit.save(update_fields=[*CHANGED, "body"])
        request = hold.request
        request.has_effects = request.had_effects = True
        hold.act.record(
            request, "unit.sent", unit=unit.position, direction=unit.direction, key=unit.key,
            attempt=unit.attempts, body_digest=_body_digest(request, unit),
        )  # fmt: skip


def _body_digest(request: ActionRequest, unit: Unit) -> str:
    """Return what the record says of a body, from which nobody guesses a field that evidence leaves out."""
    what = f"{unit.direction} {unit.position}"
    return commitments.blinded(unit.body, salt=request.salt, what=what)


def check_point(
    lease: Lease, unit: Unit, receipt: Receipt, *, now: datetime, probed: bool = False
) -> None:
    """Commit that the target has it. A valid lease may do so in any state: it is its own answer."""
    with holding(lease, now=now) as hold:
        stored: Json = {"reference": receipt.reference, "data": receipt.data}
        if receipt.left is not None:
            stored["version"] = receipt.left.version
        unit.check_point(now=now, receipt=stored, probed=probed)
        unit.save(update_fields=[*CHANGED, "body"])
        hold.act.record(
            hold.request, "unit.done", unit=unit.position, direction=unit.direction, key=unit.key,
            reference=receipt.reference, probed=probed,
        )  # fmt: skip
        if unit.direction == Direction.UNDO and unit.reverses is not None:
            # Its record may have been seen as before while this answer was on its way.
            if unit.reverses.state == State.DONE:
                _reverse(hold, unit.reverses, now)
        elif receipt.left is not None and unit.record:
            _left(hold, unit.record, receipt.left, now)


def reverse_without_sending(lease: Lease, unit: Unit, *, now: datetime) -> None:
    """Note that a done unit needs no reversal: its record is as it was before."""
    with holding(lease, now=now) as hold:
        _reverse(hold, unit, now)


def keep_as_left(
    lease: Lease, record: str, reading: Reading | None, *, now: datetime, technical: Technical
) -> None:
    """Keep how a record stands after the last write, where no answer of a write has said so."""
    with holding(lease, now=now, renew=technical) as hold:
        _left(hold, record, reading, now)


def not_compared(lease: Lease, record: str, said: str, *, now: datetime) -> None:
    """Keep that a record could not be read once more after the last write, and why."""
    with holding(lease, now=now) as hold:
        hold.act.record(hold.request, "snapshot.not_compared", record=record, said=said)


def failed(lease: Lease, unit: Unit, problem: CallFailed, *, now: datetime) -> None:
    """Commit what is certain after a call without a receipt: not done, or unknown."""
    with holding(lease, now=now) as hold:
        mark(hold.request, unit, problem, now=now)
        hold.act.record(
            hold.request, "unit.failed", unit=unit.position, direction=unit.direction,
            key=unit.key, said=problem.said, state=unit.state,
        )  # fmt: skip


def mark(request: ActionRequest, unit: Unit, problem: CallFailed, *, now: datetime) -> None:
    """Move a sent unit to what is certain, and the request's effects with it. Under the request's lock.

    A refusal says nothing of an earlier send of the same unit that was never
    answered: that one may still be under way, so the doubt stays.
    """
    if isinstance(problem, OutcomeUnknown) or unit.in_doubt:
        unit.lose_track(now=now, error=problem.said)
    else:
        unit.miss(now=now, error=problem.said)
    unit.save(update_fields=[*CHANGED, "body"])
    note_effects(request)


def lost_track(lease: Lease, unit: Unit, *, now: datetime) -> None:
    """Note that a dead worker's intent has no answer; it may be sent again under the same key."""
    with holding(lease, now=now) as hold:
        unit.lose_track(now=now, error="Its worker fell silent before the answer was stored.")
        unit.save(update_fields=[*CHANGED, "body"])
        hold.act.record(
            hold.request, "unit.lost_track", unit=unit.position, direction=unit.direction,
            key=unit.key,
        )  # fmt: skip


def known_not_done(lease: Lease, unit: Unit, *, now: datetime) -> None:
    """Commit that the target was asked by key and does not know it."""
    with holding(lease, now=now) as hold:
        unit.miss(now=now, error="Asked by key: the target does not know it, so it was not done.")
        unit.save(update_fields=[*CHANGED, "body"])
        note_effects(hold.request)
        hold.act.record(
            hold.request, "unit.not_done", unit=unit.position, direction=unit.direction,
            key=unit.key, probed=True,
        )  # fmt: skip


def note_effects(request: ActionRequest) -> None:
    """Have the request say whether anything of it may be in the target. Under its lock; the caller saves.

    While somebody has it in hand, something may be.
    """
    ours = Unit.objects.filter(
        request=request, direction=Direction.FORWARD, state__in=MAY_HAVE_EFFECTS
    )
    request.has_effects = (
        ours.exists() or Claim.objects.filter(request=request, closed_at__isnull=True).exists()
    )


def _reverse(hold: Hold, unit: Unit, now: datetime) -> None:
    unit.be_reversed(now=now)
    unit.save(update_fields=["state", "reversed_at"])
    note_effects(hold.request)
    hold.act.record(hold.request, "unit.reversed", unit=unit.position, key=unit.key)


def _left(hold: Hold, record: str, reading: Reading | None, now: datetime) -> None:
    snapshot = Snapshot.objects.filter(request=hold.request, record=record).first()
    if snapshot is None:
        return  # a unit may write a record of which no state is kept
    snapshot.after, snapshot.left_at = (reading.state if reading else {}), now
    snapshot.salt = snapshot.salt or commitments.new_salt()  # taken before there were any
    snapshot.save(update_fields=["after", "left_at", "salt"])
    hold.act.record(
        hold.request, "snapshot.compared", record=record, state=snapshot.digest_of("after")
    )
