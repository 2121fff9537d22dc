"""Loops the clock drives for this package. Each takes `now`, does one batch, and says how many rows it moved.

What calls a target is the worker's; the sweeps only call the worker, and see to
orders and recoveries.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from datetime import datetime

from django.conf import settings
from django.db import transaction
from django.db.models import Exists, OuterRef, QuerySet

from approvals import undoing
from approvals.batches import in_halves
from approvals.due import set_due
from approvals.locks import lock_if_free, lock_request
from approvals.models import ENDED, ActionRequest, Claim, Order, Step
from approvals.models.request import WITHOUT_EFFECTS
from approvals.services import endings
from approvals.services.alerts import raise_alert
from approvals.services.gather import climbs
from approvals.services.writes import Writes
from governance import actors, calls, clock, ladder, signs
from governance.ledger import Act
from governance.reads import NOW, GivenKeys, Read, together
from rollback import selectors
from rollback.models import Recovery, Run

TASK = "rollback.tasks.run_due"
BATCH = 100
WORKER_S = 30.0  # real seconds in which a worker that works shows itself several times
S = ActionRequest.State
R = Recovery.State
OPEN = (R.ORDERED, R.PLANNED, R.RUNNING)


def call_the_worker(*, now: datetime) -> int:
    """Queue a task for each process of a worker that has something to take up. Returns how many were queued.

    A process that is at it already is passed by.

    All but one of each worker: a target that is slow to answer must not hold up notices and audits.
    """
    hands = max(settings.Q_CLUSTER["workers"] - 1, 1)
    wanted = selectors.waiting(now, most=hands)
    if wanted == hands:  # there may be more than one worker can do at a time
        hands *= max(signs.workers(now, within=clock.technical(WORKER_S)), 1)
        wanted = selectors.waiting(now, most=hands)
    queued = waiting = 0
    for mark in (f"runner-{n}" for n in range(hands)):
        if queued + waiting == wanted:
            break
        called = calls.call(TASK, mark=mark, now=now)
        queued += called
        waiting += not called and calls.waits(mark)
    return queued


def take_up_orders(*, now: datetime, limit: int = BATCH) -> int:
    """Begin what was ordered to be undone, once its key is free. Returns how many requests changed.

    While a run holds the lease it is the runner that obeys; what a person has in hand
    waits until they are done with it.
    """
    pks = [pk for (pk,) in read_to_take_up(now=now)]
    return _one_by_one(pks, _take_up, sweep="take_up_orders", now=now, limit=limit)


def _to_take_up() -> QuerySet[Order]:
    moves = (S.COMPLETED, S.COMPLETED_MANUALLY, S.TROUBLED, *WITHOUT_EFFECTS)
    holder = ActionRequest.objects.filter(resource=OuterRef("request__resource"), holds_key=True)
    held = Exists(holder.exclude(pk=OuterRef("request")))
    noted = Exists(Recovery.objects.filter(order=OuterRef("pk"), state=R.ORDERED))
    in_hand = Exists(Claim.objects.filter(request=OuterRef("request"), closed_at__isnull=True))
    return selectors.orders_to_undo().filter(
        selectors.unparked(NOW, "request__"), ~(held & noted), ~in_hand, request__state__in=moves
    )


read_to_take_up = Read(
    lambda: _to_take_up().order_by("ordered_at", "pk").values_list("request")[:BATCH]
)


@transaction.atomic
def _take_up(pk: int, now: datetime) -> int:
    ref = ActionRequest.objects.values_list("ref", flat=True).get(pk=pk)
    request = lock_request(ref, and_resource=True)
    order = selectors.orders_to_undo().filter(request=request).first()
    if order is None or undoing.open_claim(request) is not None:
        return 0
    if not request.has_effects and request.state in WITHOUT_EFFECTS:
        return _nothing_to_undo(request, order, now)
    if request.state not in (S.COMPLETED, S.COMPLETED_MANUALLY, S.TROUBLED):
        return 0
    recovery = Recovery.objects.filter(order=order, state__in=OPEN).first()
    made = recovery is None
    if recovery is None:
        _end_retry(request, now)
        recovery = Recovery.objects.create(
            request=request,
            order=order,
            reason=order.reason[:300],
            ordered_at=order.ordered_at,
            due_at=now + ladder.SECOND_WITHIN,
        )
    taken = ActionRequest.objects.filter(resource=request.resource_id, holds_key=True)
    if request.resource_id is not None and taken.exclude(pk=request.pk).exists():
        if made:
            _write(request, now, "recovery.ordered", reason=recovery.reason, waits_for="the key")
        return int(made)
    writes = Writes()
    (climb,) = climbs([request], writes, actor=actors.CLOCK, now=now)
    climb.act.record(request, "recovery.ordered", reason=recovery.reason)
    endings.undo(climb, reason=order.reason, order=order)
    climb.settle()
    writes.save()
    return 1


def lapse_recoveries(*, now: datetime, limit: int = BATCH) -> int:
    """Give up recoveries whose key never came free. Returns how many."""
    pks = [pk for (pk,) in read_lapsed(now=now)]
    return _one_by_one(pks, _lapse, sweep="lapse_recoveries", now=now, limit=limit)


read_lapsed = Read(
    lambda: (
        Recovery.objects.filter(
            selectors.unparked(NOW, "request__"), state=R.ORDERED, due_at__lte=NOW
        )
        .exclude(request__state__in=(S.ROLLING_BACK, S.STRANDED))
        .order_by("due_at", "pk")
        .values_list("request")[:BATCH]
    )
)


def close_what_ended(*, now: datetime, limit: int = BATCH) -> int:
    """Close runs and recoveries whose request has ended without them. Returns how many requests had some.

    A request may end while a worker that lost its lease is in a call, or after one died.
    """
    running, unfinished, waiting = together(read_running, read_unfinished, read_waiting)
    left = {pk for (pk,) in (*running, *unfinished)}
    keyless = {pk for (pk,) in waiting}
    if not left | keyless:
        return 0
    # What waits for its key stands while its order does; its request has ended long since.
    ended = read_ended(among=left | keyless, now=now)
    pks = [pk for pk, state in ended if pk in left or state == S.STRANDED]
    return _one_by_one(pks, _close, sweep="close_what_ended", now=now, limit=limit)


# What is open first, which is little, then its requests by key: in one query PostgreSQL, which
# cannot know that hardly any of it belongs to what has ended, may begin with all that has ended.
read_running = Read(lambda: Run.objects.filter(state=Run.State.RUNNING).values_list("request"))
read_unfinished = Read(
    lambda: Recovery.objects.filter(state__in=(R.PLANNED, R.RUNNING)).values_list("request")
)
read_waiting = Read(lambda: Recovery.objects.filter(state=R.ORDERED).values_list("request"))
read_ended = Read(
    lambda: (
        ActionRequest.objects.filter(
            selectors.unparked(NOW), pk__among=GivenKeys("among"), state__in=ENDED
        )
        .order_by("pk")
        .values_list("pk", "state")
    )
)


def let_go_of_the_silent(*, now: datetime, limit: int = BATCH) -> int:
    """End leases that ran out where people are asked, so that no other worker takes over. Returns how many."""
    pks = [pk for (pk,) in read_silent(now=now)]
    return _one_by_one(pks, _let_go, sweep="let_go_of_the_silent", now=now, limit=limit)


def _silent() -> QuerySet[ActionRequest]:
    rows: QuerySet[ActionRequest] = ActionRequest.objects.filter(
        selectors.unparked(NOW), state=S.TROUBLED, lease_until__lte=NOW
    )
    return rows


read_silent = Read(lambda: _silent().order_by("lease_until", "pk").values_list("pk")[:BATCH])


def _one_by_one(
    found: Iterable[int],
    move: Callable[[int, datetime], int],
    *,
    sweep: str,
    now: datetime,
    limit: int,
) -> int:
    """Move each request found that nobody holds, in a transaction of its own: there are few."""

    @transaction.atomic
    def work(pks: Sequence[int]) -> int:
        (pk,) = pks
        return move(pk, now) if lock_if_free(pk) else 0

    pks = list(dict.fromkeys(found))[:limit]
    return sum(in_halves([pk], work, sweep=sweep, now=now) for pk in pks)


@transaction.atomic
def _lapse(pk: int, now: datetime) -> int:
    request = _locked(pk)
    recovery = Recovery.objects.filter(request=request, state=R.ORDERED, due_at__lte=now).first()
    if recovery is None or request.state in (S.ROLLING_BACK, S.STRANDED):
        return 0
    recovery.lapse(now=now)
    recovery.save()
    if recovery.order is not None:
        recovery.order.outcome, recovery.order.closed_at = Order.Outcome.LAPSED, now
        recovery.order.save(update_fields=["outcome", "closed_at"])
    ref = request.ref
    text = f"The rollback of {ref} was ordered, and its record never came free. Nothing was undone."
    raise_alert(kind="rollback.lapsed", key=ref, text=text, now=now, request=request)
    _write(request, now, "recovery.lapsed")
    return 1


@transaction.atomic
def _close(pk: int, now: datetime) -> int:
    request = _locked(pk)
    if request.state not in ENDED:
        return 0
    for run in Run.objects.filter(request=request, state=Run.State.RUNNING):
        run.lose(now=now)
        run.save()
        _write(request, now, "run.lost", attempt=run.attempt, direction=run.direction)
    stranded = request.state == S.STRANDED
    states = OPEN if stranded else (R.PLANNED, R.RUNNING)
    for recovery in Recovery.objects.filter(request=request, state__in=states):
        recovery.needed_a_person |= stranded
        recovery.fail(now=now)
        recovery.save()
        _write(request, now, "recovery.failed", **recovery.told())
    return 1


@transaction.atomic
def _let_go(pk: int, now: datetime) -> int:
    """Its answer, if one comes at all, is asked for: whoever goes on asks the target first."""
    request = _locked(pk)
    if request.state != S.TROUBLED or request.lease_until is None or request.lease_until > now:
        return 0
    writes, act = Writes(), Act(now=now, actor=actors.CLOCK)
    writes.acts.append(act)
    for run in Run.objects.filter(request=request, state=Run.State.RUNNING):
        run.lose(now=now)
        run.save()
        act.record(request, "run.lost", attempt=run.attempt, direction=run.direction)
    request.let_go(keep_deadline=True)
    waiting = Step.objects.filter(request=request, state=Step.State.WAITING).first()
    set_due(request, waiting=waiting)
    writes.move(request, was=request.state)
    writes.save()
    return 1


def _locked(pk: int) -> ActionRequest:
    return lock_request(ActionRequest.objects.values_list("ref", flat=True).get(pk=pk))


def _nothing_to_undo(request: ActionRequest, order: Order, now: datetime) -> int:
    """It ended without effects before the order could be taken up."""
    order.outcome, order.closed_at = Order.Outcome.NOTHING_TO_DO, now
    order.save(update_fields=["outcome", "closed_at"])
    _write(request, now, "rollback.nothing_to_do")
    return 1


def _end_retry(request: ActionRequest, now: datetime) -> None:
    for retry in Recovery.objects.filter(request=request, state=R.RUNNING):
        retry.fail(now=now)
        retry.save()
        _write(request, now, "recovery.failed", **retry.told())


def _write(request: ActionRequest, now: datetime, kind: str, **facts: object) -> None:
    """Record one event of a locked request whose state does not change."""
    act = Act(now=now, actor=actors.CLOCK)
    act.record(request, kind, **facts)
    ActionRequest.objects.filter(pk=request.pk).update(
        chain_length=request.chain_length, chain_hash=request.chain_hash
    )
    act.write()
