"""What the worker may take up now. Selectors change nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from typing import NamedTuple

from django.db.models import BigIntegerField, Exists, OuterRef, Q, QuerySet

from approvals.models import ActionRequest, Claim, Order
from governance.reads import NOW, Given, Read

S = ActionRequest.State
LOOKED_AT = 20  # candidates at a time: others may be taken by other workers
KIND = Given("kind", BigIntegerField())  # primary key of an action type
Instant = datetime | Given
UNDERWAY = (S.EXECUTING, S.TROUBLED, S.ROLLING_BACK)


def ready(now: Instant) -> QuerySet[ActionRequest]:
    """Return requests that were approved, may begin, and still have time to."""
    rows: QuerySet[ActionRequest] = ActionRequest.objects.filter(
        unparked(now), state=S.APPROVED, due_at__gt=now
    )
    return rows


def to_go_on(now: Instant) -> QuerySet[ActionRequest]:
    """Return requests whose next attempt is due, or whose worker fell silent past its lease.

    A lease is never taken early. What a person has in hand is left alone, but for
    what they are waiting to be told of open intents.
    """
    claimed = Exists(Claim.objects.filter(request=OuterRef("pk"), closed_at__isnull=True))
    asked_first = Exists(
        Order.objects.filter(
            request=OuterRef("pk"), kind=Order.Kind.BY_HAND, closed_at__isnull=True
        )
    )
    free = Q(lease_until__isnull=True) | Q(lease_until__lte=now)
    due = Q(next_attempt_at__lte=now)
    silent = Q(next_attempt_at__isnull=True)
    rows: QuerySet[ActionRequest] = ActionRequest.objects.filter(
        unparked(now),
        free,
        Q(state=S.EXECUTING, lease_until__lte=now, run_deadline__gt=now)
        | Q(due, state=S.TROUBLED)
        | Q(due | silent, state=S.ROLLING_BACK),
        ~claimed | Q(asked_first, due),
        due_at__lte=now,
    )
    return rows


def to_read(now: Instant) -> QuerySet[ActionRequest]:
    """Return requests whose target is to be read now."""
    rows: QuerySet[ActionRequest] = ActionRequest.objects.filter(
        unparked(now), read_due_at__lte=now
    )
    return rows


class Waiting(NamedTuple):
    """Queries for what waits for a worker in one way: all of it, of which action types, and of one of them."""

    oldest: Read
    kinds: Read
    oldest_of: Read


def _waiting(rows: Callable[[], QuerySet[ActionRequest]], by: str) -> Waiting:
    def oldest(found: QuerySet[ActionRequest]) -> QuerySet[ActionRequest, tuple[int]]:
        return found.order_by(by, "pk").values_list("pk")[:LOOKED_AT]

    return Waiting(
        Read(lambda: oldest(rows())),
        Read(lambda: rows().order_by("action_type").values_list("action_type").distinct()),
        Read(lambda: oldest(rows().filter(action_type=KIND))),
    )


_TO_BEGIN = _waiting(lambda: ready(NOW), "due_at")
_TO_GO_ON = _waiting(lambda: to_go_on(NOW), "due_at")
_TO_READ = _waiting(lambda: to_read(NOW), "read_due_at")


def runnable(now: datetime, *, lot: float = 0.0) -> Iterator[int]:
    """Yield the primary keys of what a worker may take up. See `_by_lot`."""
    return _by_lot((_TO_BEGIN, _TO_GO_ON), now, lot)


def readable(now: datetime, *, lot: float = 0.0) -> Iterator[int]:
    """Yield the primary keys of those whose target is to be read. See `_by_lot`."""
    return _by_lot((_TO_READ,), now, lot)


def _by_lot(ways: Sequence[Waiting], now: datetime, lot: float) -> Iterator[int]:
    """Yield at most LOOKED_AT of each action type and each way to wait, of each what waits longest first.

    The lot says which comes first, and then come the others: neither a flood of
    approvals nor a target that lets its callers wait holds up the others,
    however many workers there are and however often they start anew.

    Args:
        lot: at least 0, below 1.
    """
    lines = [(way, kind) for way in ways for (kind,) in way.kinds(now=now)]
    first = int(lot * len(lines))
    for way, kind in lines[first:] + lines[:first]:
        for (pk,) in way.oldest_of(now=now, kind=kind):
            yield pk


def waiting(now: datetime, *, most: int) -> int:
    """Return how many wait to be taken up or read, at most so many, and at most LOOKED_AT in each way."""
    found = 0
    for way in (_TO_BEGIN, _TO_GO_ON, _TO_READ):
        found += len(way.oldest(now=now)) if found < most else 0
    return min(found, most)


def orders_to_undo() -> QuerySet[Order]:
    """Return the open orders to roll back that need nobody's word any more."""
    rows: QuerySet[Order] = Order.objects.filter(
        Q(needs_second=False) | Q(confirmed_at__isnull=False),
        kind=Order.Kind.ROLL_BACK,
        closed_at__isnull=True,
    )
    return rows


def unparked(now: Instant, prefix: str = "") -> Q:
    """Leave out requests that a sweep failed on a moment ago. `prefix` leads to the request."""
    until = f"{prefix}parked_until"
    return Q(**{f"{until}__isnull": True}) | Q(**{f"{until}__lte": now})
