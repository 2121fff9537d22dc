"""What the worker may take up now. Selectors change nothing."""

from __future__ import annotations

from datetime import datetime
from itertools import chain, zip_longest

from django.db.models import Exists, OuterRef, Q, QuerySet

from approvals.models import ActionRequest, Claim, Order
from governance.reads import NOW, Given, Read

S = ActionRequest.State
LOOKED_AT = 20  # candidates at a time: others may be taken by other workers
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


def runnable(now: datetime, *, limit: int, going_first: bool = False) -> list[int]:
    """Return the primary keys of what a worker may take up, at most LOOKED_AT of each kind.

    One that begins and one that goes on in turn, of each kind what waits longest first.

    Args:
        going_first: with one that goes on: an attempt that is due, what a worker left that fell silent.
    """
    kinds = [_fresh(now=now), _going(now=now)]
    if going_first:
        kinds.reverse()
    in_turn = chain.from_iterable(zip_longest(*kinds))
    return [each[0] for each in in_turn if each is not None][:limit]


def _oldest(rows: QuerySet[ActionRequest]) -> QuerySet[ActionRequest, tuple[int]]:
    return rows.order_by("due_at", "pk").values_list("pk")[:LOOKED_AT]


_fresh = Read(lambda: _oldest(ready(NOW)))
_going = Read(lambda: _oldest(to_go_on(NOW)))


def to_read(now: Instant) -> QuerySet[ActionRequest]:
    """Return requests whose target is to be read now."""
    rows: QuerySet[ActionRequest] = ActionRequest.objects.filter(
        unparked(now), read_due_at__lte=now
    )
    return rows


_unread = Read(lambda: to_read(NOW).order_by("read_due_at", "pk").values_list("pk")[:LOOKED_AT])


def readable(now: datetime, *, limit: int) -> list[int]:
    """Return the primary keys of those whose target is to be read, the first due first; at most LOOKED_AT."""
    return [pk for (pk,) in _unread(now=now)][:limit]


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
