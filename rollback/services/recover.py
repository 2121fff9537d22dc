"""Take back what was done: compensate or restore, the last unit first, each under its own key."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple

from approvals.models import ActionRequest, Decision, Order
from approvals.services import endings, failures
from approvals.services.escalate import Climb
from governance.vocabulary import Path, Verdict
from rollback.connectors.base import Action, CallFailed, CannotRun, Connector, Json, Rejected
from rollback.models import Direction, Recovery, Snapshot, Unit
from rollback.patterns import LONGEST_WAIT_S, Drift, choose, compare, wait_s
from rollback.selectors import orders_to_undo
from rollback.services import units
from rollback.services.execute import (
    TO_SEND,
    Unanswerable,
    answer_open_intents,
    give_back,
    send,
)
from rollback.services.hands import Hands
from rollback.services.runs import Fenced, Lease, Stopped, ending, finish, holding, renew

S = ActionRequest.State
State = Unit.State


LEFT = "leave"  # how a plan takes back what somebody else has touched: not at all


class NeedsAPerson(Exception):
    """It cannot be undone by itself; the sentence says why."""


class Back(NamedTuple):
    """What puts one unit back: a body to send, nothing to do, or what somebody else has touched."""

    body: Json | None = None
    version: str = ""
    nothing: bool = False
    drift: Sequence[Drift] = ()


def take_back(lease: Lease, hands: Hands) -> None:
    """Undo what a request did, as far as nobody else has touched it.

    Ends with nothing of it left, with the next attempt, or with somebody asked;
    a lost lease ends it in silence, since another worker has it.

    Args:
        lease: of an undo, taken by this worker.
    """
    try:
        all_back = _units(lease, hands)
    except Fenced:
        return
    except Stopped:
        _stop(lease, hands)
    except CallFailed as problem:
        hopeless = isinstance(problem, Rejected) and not _may_have_changed(lease)
        fail(lease, hands, problem.said, asked_s=problem.retry_after_s, person=hopeless)
    except (NeedsAPerson, Unanswerable, CannotRun) as problem:
        fail(lease, hands, str(problem), person=True)
    else:
        if all_back:
            _end(lease, hands)
        else:
            give_back(lease, hands)


def _units(lease: Lease, hands: Hands) -> bool:
    """Send the reversals that are missing. Returns False if the time is up.

    Raises NeedsAPerson for what is left when all else is done, and Stopped where
    it may send nothing more.
    """
    request = ActionRequest.objects.select_related("action_type", "agent").get(ref=lease.ref)
    connector = hands.connector_for(request.action_type)
    recovery = _recovery(lease, now=hands.now())
    answer_open_intents(lease, hands, connector, Direction.FORWARD)
    answer_open_intents(lease, hands, connector, Direction.UNDO)
    pattern = _plan(lease, recovery, now=hands.now())
    action = hands.action_of(request)
    stuck: list[str] = []
    for unit in reversed(units.of(lease, Direction.FORWARD)):
        if unit.state != State.DONE or _left_lately(recovery, unit, hands):
            continue
        if hands.enough():
            return False
        if unit.by_hand:
            stuck.append(f"“{unit.name}” was done by hand, so a person takes it back.")
            continue
        reversal = Unit.objects.select_related("reverses").filter(reverses=unit).first()
        if pattern is None or reversal is None:
            stuck.append(f"There is no way back for “{unit.name}”.")
            continue
        try:
            renew(lease, now=hands.now(), technical=hands.technical)
            back = _back(pattern, connector, action, unit, reversal, request)
        except NeedsAPerson as problem:
            stuck.append(str(problem))
            continue
        if back.nothing:
            units.reverse_without_sending(lease, unit, now=hands.now())
        elif back.body is None:
            _leave(lease, recovery, unit, back.drift, now=hands.now())
        elif reversal.state in TO_SEND:
            units.intend(
                lease, reversal, now=hands.now(), technical=hands.technical, body=back.body
            )
            send(lease, hands, connector, reversal, version=back.version)
        else:
            raise RuntimeError(f"{reversal} although its unit is {unit.state}")
    done = {
        unit.position for unit in units.of(lease, Direction.FORWARD) if unit.state == State.DONE
    }
    left = [line for line in recovery.plan if line["how"] == LEFT and line["unit"] in done]
    if left:
        records = ", ".join(dict.fromkeys(str(line.get("record", line["name"])) for line in left))
        stuck.append(f"Somebody else has changed {records} since. It was left as it is.")
    if stuck:
        raise NeedsAPerson(" ".join(stuck))
    return True


def _back(
    pattern: Recovery.Pattern,
    connector: Connector,
    action: Action,
    unit: Unit,
    reversal: Unit,
    request: ActionRequest,
) -> Back:
    if pattern == Recovery.Pattern.COMPENSATE:
        try:
            return Back(connector.reversal(action, unit.body, unit.receipt or {}))
        except ValueError as problem:
            raise NeedsAPerson(str(problem)) from problem
    snapshot = Snapshot.objects.filter(request=request, record=unit.record).first()
    if snapshot is None:
        raise NeedsAPerson(f"There is no snapshot of {unit.record or unit.name}.")
    reading = connector.read(unit.record)
    found = compare(
        unit.record,
        now=reading.state if reading else None,
        left=snapshot.after,
        before=snapshot.before,
    )
    if found.drift and snapshot.before is not None:
        return Back(drift=found.drift)
    # As before, and it may be by our own hand: then the same key again says so, and changes nothing.
    if found.nothing_to_do and reversal.state not in units.UNANSWERED:
        return Back(nothing=True)
    if snapshot.before is None:
        raise NeedsAPerson(
            f"{unit.record} was not there before, and nothing here takes a record away again."
        )
    try:
        body = connector.restoration(unit.record, snapshot.before)
    except ValueError as problem:
        raise NeedsAPerson(str(problem)) from problem
    return Back(body, version=reading.version if reading else "")


def _may_have_changed(lease: Lease) -> bool:
    """Whether a refused write may mean that the record moved since it was compared: look again then."""
    recovery = Recovery.objects.filter(request__ref=lease.ref, state=Recovery.State.RUNNING).first()
    restoring = recovery is not None and recovery.pattern == Recovery.Pattern.RESTORE
    return restoring and recovery is not None and recovery.attempts <= 1


def _recovery(lease: Lease, *, now: datetime) -> Recovery:
    """Return the recovery that this undo is, made if its path ended without one."""
    with holding(lease, now=now) as hold:
        request = hold.request
        for retry in Recovery.objects.filter(
            request=request, pattern=Recovery.Pattern.RETRY, state=Recovery.State.RUNNING
        ):
            retry.fail(now=now)
            retry.save()
            hold.act.record(request, "recovery.failed", **retry.told())
        standing: Recovery | None = Recovery.objects.filter(
            request=request,
            state__in=[Recovery.State.ORDERED, Recovery.State.PLANNED, Recovery.State.RUNNING],
        ).first()
        if standing is not None:
            return standing
        order = orders_to_undo().filter(request=request).first()
        recovery: Recovery = Recovery.objects.create(
            request=request,
            order=order,
            reason=(order.reason if order else "")[:300],
            ordered_at=order.ordered_at if order else now,
            due_at=request.run_deadline,
        )
        hold.act.record(request, "recovery.ordered", reason=recovery.reason)
        return recovery


def _plan(lease: Lease, recovery: Recovery, *, now: datetime) -> Recovery.Pattern | None:
    """Choose the pattern, once what was done is certain, and write down what will be taken back."""
    with holding(lease, now=now) as hold:
        request = hold.request
        pattern = choose(undoing=True, reversal=request.action_type.reversal)
        if recovery.state == Recovery.State.ORDERED:
            how = {None: LEFT, Recovery.Pattern.RESTORE: "restore"}.get(pattern, "reverse")
            recovery.plan = [
                {"unit": unit.position, "name": unit.name, "how": how}
                for unit in reversed(units.of(lease, Direction.FORWARD))
                if unit.state == State.DONE
            ]
            recovery.plan_it(pattern=str(pattern or ""))
            hold.act.record(request, "recovery.planned", pattern=pattern, plan=recovery.plan)
        if recovery.state == Recovery.State.PLANNED:
            recovery.begin()
        recovery.due_at = request.run_deadline or recovery.due_at
        recovery.attempts += 1
        recovery.save()
        hold.act.record(request, "recovery.attempted", pattern=pattern, attempts=recovery.attempts)
        return pattern


def _leave(
    lease: Lease, recovery: Recovery, unit: Unit, drift: Sequence[Drift], *, now: datetime
) -> None:
    """Note what somebody else has changed in the record of one unit, which is left as it is."""
    with holding(lease, now=now) as hold:
        others = [each for each in recovery.drift if each.get("record") != unit.record]
        recovery.drift = [*others, *(each._asdict() for each in drift)]
        line = {
            "unit": unit.position,
            "name": unit.name,
            "record": unit.record,
            "how": LEFT,
            "at": now.isoformat(),
        }
        recovery.plan = [line if each["unit"] == unit.position else each for each in recovery.plan]
        recovery.save(update_fields=["drift", "plan"])
        hold.act.record(
            hold.request, "recovery.drift", unit=unit.position, record=unit.record,
            fields=[each.field for each in drift],
        )  # fmt: skip


def _left_lately(recovery: Recovery, unit: Unit, hands: Hands) -> bool:
    """Whether this attempt, which may be several runs, has compared the unit's record already."""
    line: Json = next((each for each in recovery.plan if each["unit"] == unit.position), {})
    if "at" not in line:
        return False
    noted = datetime.fromisoformat(line["at"])
    return hands.now() < noted + hands.technical(LONGEST_WAIT_S)


def fail(
    lease: Lease, hands: Hands, said: str, *, asked_s: float | None = None, person: bool = False
) -> None:
    """End this run as failed. The next attempt has its time, or whoever is on call is asked."""
    now = hands.now()
    try:
        with ending(lease, now=now) as climb:
            finish(lease, climb, error=said)
            request = climb.request
            if request.state != S.ROLLING_BACK:
                return
            climb.act.record(
                request, "undo.failed", attempt=lease.attempt, said=said, person=person
            )
            if climb.claim is not None:
                _leave_to_whoever_has_it(climb)
                return
            if endings.close_orders(climb, Order.Kind.RETRY, Order.Outcome.CARRIED_OUT):
                request.next_attempt_at = now  # it was ordered while this one was under way
                return
            wait = wait_s(lease.attempt, chance=hands.chance(), asked_s=asked_s)
            if person or _was_ordered(climb):
                # Whoever is asked may put the target right: it is looked at again, now and then.
                wait = LONGEST_WAIT_S
                request.run_deadline = None
                failures.ask_about_undo(climb, said)
            if request.state == S.ROLLING_BACK:
                request.next_attempt_at = now + hands.technical(wait)
            if climb.step is not None or request.state == S.STRANDED:
                Recovery.objects.filter(request=request, state=Recovery.State.RUNNING).update(
                    needed_a_person=True
                )
    except Fenced:
        return


def _was_ordered(climb: Climb) -> bool:
    """Whether this was the attempt that somebody had made: it failed, so the path goes on."""
    ordered = Decision.objects.filter(
        request=climb.request, step__path=Path.UNDO, verdict=Verdict.RETRY
    )
    return climb.step is None and ordered.exists()


def _stop(lease: Lease, hands: Hands) -> None:
    """End a run that may send nothing more: it was moved on, or somebody has it in hand."""
    now = hands.now()
    try:
        with ending(lease, now=now) as climb:
            finish(lease, climb)
            if climb.request.state == S.ROLLING_BACK:
                _leave_to_whoever_has_it(climb)
    except Fenced:
        return


def _leave_to_whoever_has_it(climb: Climb) -> None:
    """A person finishes it. What they wait to be told of open intents is asked at once."""
    asked_first = Order.objects.filter(
        request=climb.request, kind=Order.Kind.BY_HAND, closed_at__isnull=True
    )
    climb.request.next_attempt_at = climb.now if asked_first.exists() else None


def _end(lease: Lease, hands: Hands) -> None:
    now = hands.now()
    try:
        with ending(lease, now=now) as climb:
            finish(lease, climb)
            if climb.request.state != S.ROLLING_BACK:
                return
            if climb.claim is not None:
                _leave_to_whoever_has_it(climb)
                return
            for recovery in Recovery.objects.filter(
                request=climb.request, state=Recovery.State.RUNNING
            ):
                recovery.needed_a_person |= climb.step is not None
                recovery.succeed(now=now)
                recovery.save()
                climb.act.record(
                    climb.request, "recovery.succeeded", attempts=recovery.attempts,
                    **recovery.told(),
                )  # fmt: skip
            units.note_effects(climb.request)
            if climb.request.has_effects:
                raise RuntimeError(f"{lease.ref} was to be undone, and something of it is left")
            endings.undone(climb)
    except Fenced:
        return
