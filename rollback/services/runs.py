"""Who may act on a target for a request: one worker at a time, for as long as its lease.

The lease, its token and the deadline stand on the request row. Every write of a
run is made under that row's lock by whoever holds the token; a worker whose
lease was taken over writes nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import NamedTuple
from uuid import UUID, uuid4

from django.db import transaction
from django.db.models import Max

from approvals import notifying, undoing
from approvals.due import set_due
from approvals.locks import lock_if_free, lock_request
from approvals.models import ActionRequest, Order, Step
from approvals.services import conflicts
from approvals.services.escalate import Climb
from approvals.services.gather import climbs
from approvals.services.writes import Writes
from governance.claims import claim
from governance.ladder import RUN_WITHIN, UNDO_WITHIN
from governance.ledger import Act
from rollback import selectors
from rollback.models import Direction, Run

S = ActionRequest.State
LEASE_S = 30.0  # real seconds
CALL_S = LEASE_S / 3  # the longest a call may take, so that a lease outlives its call

Technical = Callable[[float], timedelta]


class Fenced(Exception):
    """The lease is another worker's now, or nobody's. Whoever gets this has nothing more to write."""


class Stopped(Exception):
    """The run may send nothing more: an order came first, or its leave to go on is over."""


class Lease(NamedTuple):
    """What one worker was given."""

    ref: str
    token: UUID
    run: int  # primary key
    direction: Direction
    attempt: int
    worker: str
    only_asks: bool = False  # what became of open intents, for somebody who has it in hand


@dataclass
class Hold:
    """A request under its lock, in the transaction of whoever holds the lease."""

    request: ActionRequest
    act: Act
    writes: Writes
    was: str


def take(pk: int, *, worker: str, now: datetime, technical: Technical) -> Lease | None:
    """Take up one request, if it may still be taken: begin it, try it again, or go on after a dead worker.

    Returns None if somebody else has it, if only for a moment, or nothing is to be done any more.
    """
    with transaction.atomic():
        request = _claimed(pk, now) if lock_if_free(pk) else None
        if request is None:
            return None
        was = request.state
        direction = Direction.UNDO if was == S.ROLLING_BACK else Direction.FORWARD
        writes = Writes()
        act = Act(now=now, actor=f"worker:{worker}")
        writes.acts.append(act)
        lost = Run.objects.filter(request=request, state=Run.State.RUNNING).first()
        if lost is not None:
            lost.lose(now=now)
            lost.save()
            act.record(request, "run.lost", attempt=lost.attempt, direction=lost.direction)
        waiting = Step.objects.filter(request=request, state=Step.State.WAITING).first()
        only_asks = undoing.open_claim(request) is not None
        _lease(request, waiting, direction, now, technical)
        if only_asks:
            request.next_attempt_at = request.lease_until  # another one asks if this worker dies
        if was in (S.APPROVED, S.TROUBLED) and not only_asks:
            request.begin()
            notifying.state_changed(writes, request, now=now)
        if was != S.APPROVED and not only_asks:
            _carry_out_retry(request, act)
        run = Run(
            request=request,
            direction=direction,
            attempt=_attempts(request, direction) + 1,
            token=request.run_token,
            worker=worker[:120],
            started_at=now,
        )
        run.save()
        act.record(
            request, "run.started", state=request.state, direction=direction, attempt=run.attempt,
            worker=worker, lease_until=request.lease_until, deadline=request.run_deadline,
        )  # fmt: skip
        set_due(request, waiting=waiting)
        writes.move(request, was=was)
        writes.save()
    return Lease(request.ref, run.token, run.pk, direction, run.attempt, worker, only_asks)


def _carry_out_retry(request: ActionRequest, act: Act) -> None:
    """What somebody had tried again is being tried."""
    orders = Order.objects.filter(request=request, kind=Order.Kind.RETRY, closed_at__isnull=True)
    if orders.update(outcome=Order.Outcome.CARRIED_OUT, closed_at=act.now):
        act.record(
            request, "order.closed", order=Order.Kind.RETRY, outcome=Order.Outcome.CARRIED_OUT
        )


def _claimed(pk: int, now: datetime) -> ActionRequest | None:
    for rows in (selectors.ready(now), selectors.to_go_on(now)):
        claimed = claim(
            rows.filter(pk=pk).select_related("action_type", "agent").order_by("pk"), limit=1
        )
        if claimed:
            return claimed[0]
    return None


def _lease(
    request: ActionRequest,
    waiting: Step | None,
    direction: Direction,
    now: datetime,
    technical: Technical,
) -> None:
    """Give it the lease. A deadline is kept by take-overs, and never goes past the step that waits."""
    if direction == Direction.UNDO:
        deadline = now + UNDO_WITHIN
    else:
        if request.state == S.TROUBLED:
            request.let_go()  # another attempt, with time of its own
        deadline = now + RUN_WITHIN
        if waiting is not None and waiting.due_at is not None:
            deadline = min(deadline, waiting.due_at)
    request.lease(token=uuid4(), until=now + technical(LEASE_S), deadline=deadline)


def _attempts(request: ActionRequest, direction: Direction) -> int:
    runs = Run.objects.filter(request=request, direction=direction)
    return int(runs.aggregate(last=Max("attempt"))["last"] or 0)


@contextmanager
def holding(
    lease: Lease, *, now: datetime, renew: Technical | None = None, to_send: bool = False
) -> Iterator[Hold]:
    """Hold the request's lock for one small write of a run, and store it at the end.

    Args:
        renew: given, the lease is prolonged, unless the request was moved on meanwhile:
            then only what is under way is answered.
        to_send: it is about to send something, for which the token alone is not
            enough: the request must still be in the state of its run, within its
            time, and without an order that stops it.

    Raises Fenced, and Stopped with `to_send`.
    """
    with transaction.atomic():
        request = lock_request(lease.ref)
        _fence(request, lease)
        if to_send:
            _may_send(request, lease, now)
        writes = Writes()
        act = Act(now=now, actor=f"worker:{lease.worker}")
        writes.acts.append(act)
        hold = Hold(request, act, writes, request.state)
        yield hold
        if renew is not None and request.state == _own_state(lease):
            request.lease_until = now + renew(LEASE_S)
        waiting = None
        if request.state != S.EXECUTING:
            waiting = Step.objects.filter(request=request, state=Step.State.WAITING).first()
        set_due(request, waiting=waiting)
        writes.move(request, was=hold.was)
        writes.save()


@contextmanager
def ending(lease: Lease, *, now: datetime) -> Iterator[Climb]:
    """Hold the request and its Resource for the last write of a run: it completes, fails, stops, is undone.

    The lease is let go. Raises Fenced.
    """
    with transaction.atomic():
        request = lock_request(lease.ref, and_resource=True)
        _fence(request, lease)
        writes = Writes()
        (climb,) = climbs([request], writes, actor=f"worker:{lease.worker}", now=now)
        request.let_go(keep_deadline=request.state == S.ROLLING_BACK)
        yield climb
        climb.settle()
        conflicts.save(writes, now=now)


def finish(lease: Lease, held: Hold | Climb, *, error: str = "") -> None:
    """Close the run's own row, in the transaction of whoever holds the lease."""
    run = Run.objects.get(pk=lease.run)
    if run.state != Run.State.RUNNING:
        return
    if error:
        run.fail(now=held.act.now, error=error[:500])
    else:
        run.finish(now=held.act.now)
    run.save()
    kind = "run.failed" if error else "run.finished"
    held.act.record(held.request, kind, direction=run.direction, attempt=run.attempt)


def renew(lease: Lease, *, now: datetime, technical: Technical) -> None:
    """Prolong the lease before a call that writes nothing. Raises Fenced."""
    with holding(lease, now=now, renew=technical):
        pass


def hand_back(lease: Lease, *, now: datetime) -> None:
    """Let another task go on from here: its own time is over, the request's is not."""
    with holding(lease, now=now) as hold:
        hold.request.lease_until = now
        hold.act.record(hold.request, "run.handed_back", attempt=lease.attempt)
        finish(lease, hold)


def orders_of(request: ActionRequest) -> dict[str, Order]:
    """Return the open orders that stop a run, by kind. One that waits for a second person does not yet."""
    standing = Order.objects.filter(request=request, closed_at__isnull=True)
    return {
        order.kind: order
        for order in standing
        if not order.needs_second or order.confirmed_at is not None
    }


def _fence(request: ActionRequest, lease: Lease) -> None:
    if request.run_token != lease.token:
        raise Fenced(f"{lease.ref} is another worker's")


def _own_state(lease: Lease) -> str:
    """Return the state in which a run of this direction may go on."""
    return str(S.ROLLING_BACK if lease.direction == Direction.UNDO else S.EXECUTING)


def _may_send(request: ActionRequest, lease: Lease, now: datetime) -> None:
    if request.state != _own_state(lease):
        raise Stopped(f"{lease.ref} is {request.state}")
    orders = orders_of(request)
    if Order.Kind.BY_HAND in orders:
        raise Stopped(f"somebody has {lease.ref} in hand")
    if lease.direction == Direction.UNDO:
        return
    if request.run_deadline is None or now >= request.run_deadline:
        raise Stopped(f"the time of {lease.ref} is over")
    stopping = {Order.Kind.BLOCK.value, Order.Kind.ROLL_BACK.value} & set(orders)
    if stopping:
        raise Stopped(f"{' and '.join(sorted(stopping))} was ordered")
