"""Orders that nobody confirmed in time."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from django.db import transaction
from django.db.models import Exists, OuterRef, QuerySet

from approvals import notifying
from approvals.batches import in_halves
from approvals.models import ActionRequest, Order
from approvals.services.alerts import raise_alert
from approvals.services.writes import Writes
from governance import actors, tables
from governance.claims import claim
from governance.ledger import Act
from governance.reads import NOW, Given, Read

BATCH = 500


def lapse_orders(*, now: datetime, limit: int = BATCH) -> int:
    """Close orders whose second signature did not come in time. Nothing is undone by them.

    At `due_at` exactly an order lapses; a confirmation at that instant is too late.
    Returns how many requests had one, at most `limit`.
    """
    # Parked requests too: what another sweep fails on does not keep an order from its clock.
    candidates = list(dict.fromkeys(pk for (pk,) in read_overdue(now=now)))[:limit]

    @transaction.atomic
    def work(pks: Sequence[int]) -> int:
        still = ActionRequest.objects.filter(
            Exists(overdue(now).filter(request=OuterRef("pk"))), pk__in=pks
        )
        writes = Writes()
        requests = claim(still.order_by("pk"), limit=len(pks))
        for request in requests:
            _lapse(request, writes, now)
        writes.save()
        return len(requests)

    return in_halves(candidates, work, sweep="lapse_orders", now=now)


def overdue(now: datetime | Given) -> QuerySet[Order]:
    """Return the orders whose time for a second signature is up."""
    return waiting_orders().filter(due_at__lte=now)


read_overdue = Read(lambda: overdue(NOW).order_by("due_at", "pk").values_list("request")[:BATCH])


def waiting_orders() -> QuerySet[Order]:
    """Return the orders to roll back that wait for a second signature."""
    return Order.objects.filter(
        kind=Order.Kind.ROLL_BACK,
        closed_at__isnull=True,
        needs_second=True,
        confirmed_by__isnull=True,
    )


def _lapse(request: ActionRequest, writes: Writes, now: datetime) -> None:
    act = Act(now=now, actor=actors.CLOCK)
    writes.acts.append(act)
    for order in overdue(now).filter(request=request).select_related("ordered_by"):
        order.outcome, order.closed_at = Order.Outcome.LAPSED, now
        order.save(update_fields=["outcome", "closed_at"])
        by = actors.person(order.ordered_by) if order.ordered_by is not None else ""
        act.record(
            request,
            "rollback.lapsed",
            ordered_by=by,
            ordered_at=order.ordered_at,
            due_at=order.due_at,
        )
        text = (
            f"A rollback of {request.ref} was ordered, and no second person confirmed it in time. "
            f"Nothing was undone. {request.title}"
        )
        raise_alert(kind="rollback.lapsed", key=request.ref, text=text, now=now, request=request)
        told = {order.ordered_by_id} if order.ordered_by_id is not None else set()
        people = tables.people_for((), also=told, now=now)
        notifying.told(writes, told, request, people, what="rollback_lapsed", now=now)
    request.save(update_fields=["chain_length", "chain_hash"])
