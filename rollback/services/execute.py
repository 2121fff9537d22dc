"""Carry out an approved request so that a crash at any line can be resumed.

Intent, commit; call; checkpoint, commit. What a dead worker left open is asked
of the target by its key before anything is sent again.
"""

from __future__ import annotations

from datetime import datetime
from functools import partial
from uuid import uuid4

from approvals.checks import Broken
from approvals.digests import digest_of
from approvals.models import ActionRequest, Order
from approvals.services import endings, failures, violations
from approvals.services.escalate import Climb
from governance.ladder import RUN_WITHIN
from governance.models import ActionType
from governance.vocabulary import Level, Path
from rollback.connectors.base import (
    CallFailed,
    CannotRun,
    Connector,
    NotDone,
    OutcomeUnknown,
    Rejected,
)
from rollback.connectors.registry import records_of
from rollback.models import Direction, Recovery, Unit
from rollback.patterns import choose, wait_s
from rollback.services import before, units
from rollback.services.hands import Hands
from rollback.services.runs import (
    CALL_S,
    LEASE_S,
    Fenced,
    Lease,
    Stopped,
    ending,
    finish,
    hand_back,
    orders_of,
    renew,
)

S = ActionRequest.State
State = Unit.State
TO_SEND = (State.PLANNED, State.NOT_DONE, State.UNKNOWN)
# Real seconds from an intent after which no call for it can be under way: it may begin late in
# its lease, and takes as long as a call may.
LATE_CALL_S = LEASE_S + CALL_S


class Unanswerable(Exception):
    """An intent whose outcome the target cannot be asked about. Only a person can say."""


def carry_out(lease: Lease, hands: Hands) -> None:
    """Do every unit that has no checkpoint yet, in order, and complete the request.

    Whatever goes wrong ends in rows: a failure in a case and the next attempt,
    an order in what it orders, a lost lease in nothing, since another worker
    has it.

    Args:
        lease: forward, taken by this worker.
    """
    try:
        stopped = _units(lease, hands)
    except Fenced:
        return  # whoever took over has noted that this run is lost
    except CallFailed as problem:
        fail(
            lease,
            hands,
            problem.said,
            asked_s=problem.retry_after_s,
            hopeless=isinstance(problem, Rejected),
        )
    except Unanswerable as problem:
        fail(lease, hands, str(problem), hopeless=True, only_a_person=True)
    except CannotRun as problem:
        fail(lease, hands, str(problem), hopeless=True)
    except before.Forbidden as problem:
        _stop_for_rules(lease, hands, problem.broken)
    except before.BasisChanged:
        _end_on_another_basis(lease, hands)
    else:
        if stopped:
            _end(lease, hands)
        else:
            give_back(lease, hands)


def give_back(lease: Lease, hands: Hands) -> None:
    """Leave the rest to the next task, unless somebody else has it already."""
    try:
        hand_back(lease, now=hands.now())
    except Fenced:
        return  # whoever took over has noted that this run is lost


def _units(lease: Lease, hands: Hands) -> bool:
    """Send what is missing. Returns True when all is done or an order comes first, False if the time is up."""
    request = _request(lease)
    connector = hands.connector_for(request.action_type)
    if not units.of(lease, Direction.FORWARD):
        _check(request)
        before.first(request, connector)
        try:
            plans = connector.units(hands.action_of(request))
        except ValueError as problem:
            raise CannotRun(str(problem)) from problem
        units.plan(lease, plans, now=hands.now())
    answer_open_intents(lease, hands, connector, Direction.FORWARD)
    if not _snapshot(lease, hands, connector, request):
        return False
    for unit in units.of(lease, Direction.FORWARD):
        if unit.state not in TO_SEND:
            continue
        if hands.enough():
            return False
        before.each(
            request,
            connector,
            renew=partial(renew, lease, now=hands.now(), technical=hands.technical),
        )
        try:
            units.intend(lease, unit, now=hands.now(), technical=hands.technical)
        except Stopped:
            return True
        send(lease, hands, connector, unit, version=_version(request, connector, unit))
    _keep_as_left(lease, hands, connector, request)
    return True


def send(
    lease: Lease, hands: Hands, connector: Connector, unit: Unit, *, version: str = ""
) -> None:
    """Call the target for one unit whose intent is committed, and commit what came of it.

    Raises CallFailed, after what is certain about the unit is stored; Fenced,
    also where so much of the lease is gone that the call might outlive it.
    """
    hands.at("before_send", unit)
    if unit.sent_at is None or hands.now() >= unit.sent_at + hands.technical(LEASE_S - CALL_S):
        raise Fenced(f"the lease of {lease.ref} may end before the call does")
    try:
        receipt = connector.send(unit.body, key=unit.key, version=version)
    except CallFailed as problem:
        units.failed(lease, unit, problem, now=hands.now())
        if unit.in_doubt and isinstance(problem, Rejected):
            # It may have been refused because an earlier send of it is still under way.
            raise OutcomeUnknown(problem.said) from problem
        raise
    hands.at("after_send", unit)
    units.check_point(lease, unit, receipt, now=hands.now())


def answer_open_intents(
    lease: Lease, hands: Hands, connector: Connector, direction: Direction
) -> None:
    """Settle every intent that has neither checkpoint nor refusal, before anything else is sent.

    Asked by key where the target can be asked. Where it cannot, but takes a key
    only once, the same unit may simply be sent again; otherwise a person says.

    Raises CallFailed, Unanswerable, Fenced.
    """
    for unit in units.of(lease, direction):
        if unit.state not in units.UNANSWERED:
            continue
        if connector.gives.lookup:
            receipt = connector.probe(unit.key)
            if receipt is not None:
                units.check_point(lease, unit, receipt, now=hands.now(), probed=True)
                continue
        if connector.gives.native_keys and direction == lease.direction:
            # The same key again is safe, whatever became of the first send of it.
            if unit.state == State.SENT:
                units.lost_track(lease, unit, now=hands.now())
        elif connector.gives.lookup:
            let_a_late_call_end(unit, hands)
            units.known_not_done(lease, unit, now=hands.now())
        else:
            raise Unanswerable(
                f"Whether “{unit.name}” was done is not known, and {connector.target} cannot be asked."
            )


def let_a_late_call_end(unit: Unit, hands: Hands) -> None:
    """Believe a "no" only when a call that we gave up can no longer be under way in the target.

    Raises NotDone with the time to wait.
    """
    if unit.sent_at is not None and hands.now() < unit.sent_at + hands.technical(LATE_CALL_S):
        raise NotDone("The target may still be at it.", retry_after_s=LATE_CALL_S)


def fail(
    lease: Lease,
    hands: Hands,
    said: str,
    *,
    asked_s: float | None = None,
    hopeless: bool = False,
    only_a_person: bool = False,
) -> None:
    """End this run as failed: the request is troubled, with a case and the time of its next attempt.

    Args:
        said: the target's words, or ours.
        hopeless: trying again would give the same answer.
        only_a_person: nobody but a person can say what became of a unit.
    """
    now = hands.now()
    wait = wait_s(lease.attempt, chance=hands.chance(), asked_s=asked_s)
    retry_at = None if hopeless else now + hands.technical(wait)
    try:
        with ending(lease, now=now) as climb:
            finish(lease, climb, error=said)
            orders = orders_of(climb.request)
            if climb.request.state == S.EXECUTING and not _obey(climb.request, orders):
                name = climb.request.action_type.name
                failures.fail(
                    climb,
                    f"{name} failed: {said}",
                    facts={"attempt": lease.attempt, "said": said, "hopeless": hopeless},
                    retry_at=retry_at,
                    asked=bool(asked_s),
                    only_a_person=only_a_person,
                )
                _note_retry(climb, retry_at)
            elif climb.request.state == S.EXECUTING:
                carry_out_orders(climb, orders)
            elif climb.request.is_open:
                _note_late_failure(climb, said, retry_at if asked_s else None)
    except Fenced:
        return


def _note_late_failure(climb: Climb, said: str, not_before: datetime | None) -> None:
    """The request was moved on while the call was under way: keep what the target said of it."""
    request = climb.request
    climb.act.record(request, "attempt.failed", said=said, retry_at=not_before)
    if not_before is not None and request.next_attempt_at is not None:
        request.next_attempt_at = max(request.next_attempt_at, not_before)


def _end(lease: Lease, hands: Hands) -> None:
    """Complete, unless an order comes first or the leave to go on is over."""
    now = hands.now()
    try:
        with ending(lease, now=now) as climb:
            finish(lease, climb)
            request = climb.request
            orders = orders_of(request)
            if _obey(request, orders):
                carry_out_orders(climb, orders)
            elif request.state == S.EXECUTING and _all_done(lease):
                endings.complete(climb)
                _end_retry(climb, succeeded=True)
            elif request.state == S.EXECUTING:
                failures.fail(climb, "It was not done within its time.", facts={}, retry_at=now)
    except Fenced:
        return


def _stop_for_rules(lease: Lease, hands: Hands, broken: list[Broken]) -> None:
    """Rules do not hold any more: it is blocked between two units, and compliance is asked."""
    try:
        with ending(lease, now=hands.now()) as climb:
            finish(lease, climb)
            request = climb.request
            if request.state != S.EXECUTING:
                return
            if Order.Kind.BLOCK in orders_of(request):
                violations.obey(climb)
            elif violations.found_broken(climb, broken) is None:
                # Somebody let it pass a moment ago: whoever looks next goes on.
                deadline = climb.now + RUN_WITHIN
                request.lease(token=uuid4(), until=climb.now, deadline=deadline)
    except Fenced:
        return


def _end_on_another_basis(lease: Lease, hands: Hands) -> None:
    """What was approved is not what would be done now. Nothing was done, and nothing will be."""
    try:
        with ending(lease, now=hands.now()) as climb:
            finish(lease, climb)
            if climb.request.state != S.EXECUTING:
                return
            if Order.Kind.BLOCK in orders_of(climb.request):
                violations.obey(climb)
            else:
                climb.close_step(answered=False)
                endings.expire(climb, "basis_changed")
    except Fenced:
        return


def carry_out_orders(climb: Climb, orders: dict[str, Order]) -> None:
    """Do what was ordered while the run held the lease. A block comes before a rollback."""
    if Order.Kind.BLOCK in orders:
        violations.obey(climb)
    elif Order.Kind.ROLL_BACK in orders:
        order = orders[Order.Kind.ROLL_BACK]
        endings.undo(climb, reason=order.reason, order=order)


def _obey(request: ActionRequest, orders: dict[str, Order]) -> bool:
    return request.state == S.EXECUTING and bool(
        {Order.Kind.BLOCK.value, Order.Kind.ROLL_BACK.value} & set(orders)
    )


def _all_done(lease: Lease) -> bool:
    return all(unit.state == State.DONE for unit in units.of(lease, Direction.FORWARD))


def _request(lease: Lease) -> ActionRequest:
    found: ActionRequest = ActionRequest.objects.select_related(
        "action_type", "agent", "department", "resource", "on_behalf_of"
    ).get(ref=lease.ref)
    return found


def _check(request: ActionRequest) -> None:
    """Look once more at what was approved, before anything is done.

    Raises CannotRun, whose words go into the case.
    """
    if digest_of(request) != request.digest:
        raise CannotRun("What would run is not what was approved: its digest differs.")
    if request.resource_id is not None and not request.holds_key:
        raise CannotRun("It does not hold the key of its record.")


def _snapshot(lease: Lease, hands: Hands, connector: Connector, request: ActionRequest) -> bool:
    """Read what is not read yet, each record under a lease of its own length. False if the time is up."""
    known = set(request.snapshots.values_list("record", flat=True))
    for record in records_of(request.action_type.snapshot_plan, request.payload):
        if record in known:
            continue
        if hands.enough():
            return False
        reading = connector.read(record)
        units.snapshot(lease, record, reading, now=hands.now(), technical=hands.technical)
    return True


def _version(request: ActionRequest, connector: Connector, unit: Unit) -> str:
    """Return the version the unit's record must still have: as we left it, or as in the snapshot."""
    if not (connector.gives.optimistic_locking and unit.record):
        return ""
    ours = Unit.objects.filter(
        request=request, direction=Direction.FORWARD, record=unit.record, state=State.DONE
    )
    last = ours.order_by("-position").first()
    if last is not None and last.receipt is not None:
        return str(last.receipt.get("version", ""))
    snapshot = request.snapshots.filter(record=unit.record).first()
    return snapshot.version if snapshot is not None else ""


def _keep_as_left(lease: Lease, hands: Hands, connector: Connector, request: ActionRequest) -> None:
    """Read the records once more for those who will look at it. What was done does not depend on it.

    Not what is restored from its snapshot: only the answer of the write itself says
    how we left it, and what stands there a moment later may be somebody else's.
    """
    if request.action_type.reversal == ActionType.Reversal.RESTORE:
        return
    for record in request.snapshots.filter(left_at__isnull=True).values_list("record", flat=True):
        if hands.enough():
            return
        try:
            reading = connector.read(record)
        except CallFailed as problem:
            units.not_compared(lease, record, problem.said, now=hands.now())
            return
        units.keep_as_left(lease, record, reading, now=hands.now(), technical=hands.technical)


def _note_retry(climb: Climb, retry_at: datetime | None) -> None:
    """Keep that it is made good by trying again, or that it no longer is."""
    request, now = climb.request, climb.now
    standing = Recovery.objects.filter(request=request, state=Recovery.State.RUNNING).first()
    if request.state != S.TROUBLED or retry_at is None:
        _end_retry(climb, succeeded=False)
    elif standing is None:
        pattern = choose(undoing=False, reversal=request.action_type.reversal)
        recovery = Recovery(
            request=request,
            reason="The target failed.",
            ordered_at=now,
            due_at=retry_at,
            attempts=1,
        )
        recovery.plan_it(pattern=str(pattern))
        recovery.begin()
        recovery.save()
        climb.act.record(request, "recovery.begun", pattern=pattern, due_at=retry_at)
    else:
        standing.attempts += 1
        standing.due_at = retry_at
        standing.save(update_fields=["attempts", "due_at"])
        climb.act.record(
            request, "recovery.attempted", pattern=standing.pattern, attempts=standing.attempts
        )


def _end_retry(climb: Climb, *, succeeded: bool) -> None:
    for recovery in Recovery.objects.filter(
        request=climb.request, pattern=Recovery.Pattern.RETRY, state=Recovery.State.RUNNING
    ):
        recovery.needed_a_person |= any(
            path == Path.SYSTEM_FAILURE and level > Level.L1 for path, level in climb.used
        )
        if succeeded:
            recovery.succeed(now=climb.now)
        else:
            recovery.fail(now=climb.now)
        recovery.save()
        kind = "recovery.succeeded" if succeeded else "recovery.failed"
        climb.act.record(climb.request, kind, **recovery.told())
