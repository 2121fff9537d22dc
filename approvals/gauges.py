"""What of requests, clocks, notices and reviews is watched from outside. Counted in rows when somebody asks."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Any

from django.db.models import Count, Min, QuerySet
from django_q.models import Failure

from approvals.models import OPEN, ActionRequest, Alert, Notice, Review, Step
from governance.prometheus import Gauge, real_s


def gauges(now: datetime) -> Iterator[Gauge]:
    """Yield open requests by state, clocks that are past, what was given up, and what somebody must look at."""
    states = dict.fromkeys(map(str, OPEN), 0)
    open_ = ActionRequest.objects.filter(due_at__isnull=False)
    states |= dict(
        open_.values_list("state").annotate(Count("pk")).values_list("state", "pk__count")
    )
    yield Gauge(
        "open_requests", "Requests that have not ended, by state.", ("state",),
        {(state,): count for state, count in states.items()},
    )  # fmt: skip
    parked = ActionRequest.objects.filter(parked_until__gt=now, due_at__isnull=False).count()
    yield Gauge("parked_requests", "Requests on which a sweep failed.", (), {(): parked})
    yield from _clocks(now)
    yield Gauge(
        "dead_letters", "Messages and tasks that were given up.", ("kind",),
        {
            ("notice",): Notice.objects.filter(state=Notice.State.FAILED).count(),
            ("task",): Failure.objects.count(),
        },
    )  # fmt: skip
    alerts = Alert.objects.filter(closed_at__isnull=True)
    by_kind = alerts.values_list("kind").annotate(Count("pk")).values_list("kind", "pk__count")
    yield Gauge(
        "alerts_open", "Alerts that stand, by kind.", ("kind",),
        {(kind,): count for kind, count in by_kind},
    )  # fmt: skip


def _clocks(now: datetime) -> Iterator[Gauge]:
    clocks: dict[str, QuerySet[Any]] = {
        "request": ActionRequest.objects.filter(due_at__isnull=False),
        "step": Step.objects.filter(state=Step.State.WAITING),
        "review": Review.objects.filter(state=Review.State.OPEN),
    }
    overdue: dict[tuple[str, ...], float] = {}
    oldest: dict[tuple[str, ...], float] = {}
    for kind, rows in clocks.items():
        past = rows.filter(due_at__lt=now).aggregate(count=Count("pk"), first=Min("due_at"))
        overdue[kind,] = float(past["count"])
        oldest[kind,] = real_s(now, past["first"]) if past["first"] else 0.0
    yield Gauge("overdue_clocks", "Clocks whose instant is past, by whose.", ("kind",), overdue)
    yield Gauge(
        "oldest_overdue_seconds", "Real seconds by which the oldest of them is late.", ("kind",),
        oldest,
    )  # fmt: skip
