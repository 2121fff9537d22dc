"""Sums to one counterparty: what one owner's agents ask for it within 24 h is routed together.

So that nobody slips under a limit by asking for the parts. Source: DESIGN 4.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any, NamedTuple

from django.db.models import CharField, Count, DateTimeField, F, Q, QuerySet, Sum, Value

from approvals.locks import LOCKING_A_SUM, SUM_OF
from approvals.models import ActionRequest
from approvals.models.request import WITHOUT_EFFECTS
from governance.reads import Given, Read

WITHIN = timedelta(hours=24)


class Before(NamedTuple):
    """What was asked for one counterparty within 24 h before a request, in its currency."""

    number: int
    total: Decimal


NOTHING_BEFORE = Before(0, Decimal(0))


def _counted() -> QuerySet[ActionRequest, tuple[Any, ...]]:
    """All that is live or done. What came to nothing, or was undone, moves no money."""
    same = {"counterparty": SUM_OF["counterparty"], "currency": SUM_OF["currency"]}
    rows = ActionRequest.objects.filter(
        # In words that let the planner use the partial index, whatever is given.
        ~Q(counterparty=""),
        **same,
        submitted_at__gt=Given("since", DateTimeField()),
        agent__owner=SUM_OF["owner"],
    ).exclude(state__in=WITHOUT_EFFECTS)
    # The same effect asked for again is a duplicate, and refused as one.
    rows = rows.exclude(business_key=Given("business_key", CharField()))
    found: QuerySet[ActionRequest, tuple[Any, ...]] = (
        rows.order_by()
        .annotate(all_of_them=Value(1))
        .values("all_of_them")
        .annotate(number=Count("pk"), total=Sum("amount"))
        .values_list("number", "total")
    )
    return found


# In the first trip of a submission: the row is locked, and then what others stored before is seen.
QUERIES = (*LOCKING_A_SUM, Read(_counted, prepared=True))


def since(now: datetime) -> datetime:
    """Return the instant after which a request counts: one made 24 h ago to the instant does not."""
    return now - WITHIN


def read(found: Sequence[tuple[Any, ...]]) -> Before:
    """Return what the last of `QUERIES` found."""
    ((number, total),) = found or [(0, None)]
    return Before(number, total or Decimal(0))


def summed_with(request: ActionRequest) -> QuerySet[ActionRequest]:
    """Return the earlier requests that counted when this one was submitted, oldest first."""
    gone = Q(state__in=WITHOUT_EFFECTS, ended_at__lte=request.submitted_at)
    found: QuerySet[ActionRequest] = (
        ActionRequest.objects.filter(
            ~Q(counterparty=""),
            counterparty=request.counterparty,
            currency=request.currency,
            submitted_at__gt=since(request.submitted_at),
            agent__owner=request.agent.owner_id,
            pk__lt=request.pk,
            amount__isnull=False,
        )
        .exclude(gone)
        .exclude(business_key=request.business_key)
    )
    return found.order_by(F("pk").asc())
