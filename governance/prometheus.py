"""`/metrics/prometheus`: what stands in rows, for whoever watches from outside. Closed unless a token opens it.

Nothing is counted in memory: each answer is read from the database, so that it is the
same whichever process gives it, and nothing is lost with one.
"""

from __future__ import annotations

import hmac
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from typing import NamedTuple

from django.conf import settings
from django.contrib.auth.decorators import login_not_required
from django.db import Error
from django.http import HttpRequest, HttpResponse
from django.utils.module_loading import import_string
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.exposition import CONTENT_TYPE_LATEST

from governance import clock
from governance.metrics.figures import standing
from governance.metrics.weeks import week_of
from governance.models import AuditEvent, Heartbeat, Seal, SealedEvent, TaskAttempt, WeeklyRollup

WAITING_AT_MOST = 100_000  # events counted that no seal covers; there are more where it says so


class Gauge(NamedTuple):
    """One thing to be watched, as `settings.RECOURSE_GAUGES` yield it."""

    name: str  # without "recourse_"
    help: str
    labels: tuple[str, ...]
    values: Mapping[tuple[str, ...], float]


class _Rows:
    """A collector that reads when it is asked."""

    def __init__(self, now: datetime) -> None:
        self._now = now

    def collect(self) -> Iterator[GaugeMetricFamily]:
        for gauge in gauges(self._now):
            family = GaugeMetricFamily(f"recourse_{gauge.name}", gauge.help, labels=gauge.labels)
            for labels, value in sorted(gauge.values.items()):
                family.add_metric(labels, value)
            yield family


def gauges(now: datetime) -> Iterator[Gauge]:
    """Yield everything there is to watch, of all packages."""
    for name in settings.RECOURSE_GAUGES:
        found: Iterable[Gauge] = import_string(name)(now)
        yield from found


def own(now: datetime) -> Iterator[Gauge]:
    """Yield what this package has: silence, seals, signs of life, and the week's figures. Ages are real seconds."""
    failures = import_string(settings.RECOURSE_OPEN_FINDINGS)()
    yield Gauge("silent_failures_open", "Findings of audits that stand.", (), {(): failures})
    beats = Heartbeat.objects.values_list("name", "beat_at")
    yield Gauge(
        "heartbeat_age_seconds",
        "Real seconds since each part last showed life.",
        ("name",),
        {(name,): real_s(now, at) for name, at in beats if not name.endswith("-asked")},
    )
    yield from _seals(now)
    dropped = TaskAttempt.objects.filter(dropped_at__isnull=False).count()
    yield Gauge(
        "tasks_dropped", "Tasks that were given up because they kill workers.", (), {(): dropped}
    )
    yield from _week(now)


def _seals(now: datetime) -> Iterator[Gauge]:
    last = Seal.objects.order_by("number").last()
    leaf = SealedEvent.objects.filter(seal=last, position=last.size - 1).first() if last else None
    above = AuditEvent.objects.filter(pk__gt=leaf.event_id if leaf else 0).order_by("pk")
    waiting = above[:WAITING_AT_MOST].count()
    since = above.values_list("at", flat=True).first()
    yield Gauge(
        "seals_waiting_events", f"Events after the last seal, {WAITING_AT_MOST} at most.", (),
        {(): waiting},
    )  # fmt: skip
    yield Gauge(
        "seals_waiting_seconds", "Real seconds that the first of them waits.", (),
        {(): real_s(now, since) if since else 0},
    )  # fmt: skip


def _week(now: datetime) -> Iterator[Gauge]:
    counted: dict[tuple[str, ...], float] = {}
    seconds: dict[tuple[str, ...], float] = {}
    for row in WeeklyRollup.objects.filter(week=week_of(now), by=WeeklyRollup.By.ALL).defer(
        "minutes"
    ):
        level = f"L{row.level}"
        for outcome in ("hits", "misses", "absent", "withdrawn", "lapsed"):
            counted[row.metric, level, outcome] = float(getattr(row, outcome))
        if row.seconds:
            seconds[row.metric, level] = float(row.seconds)
    yield Gauge(
        "week_counted", "What ended in this ISO week (UTC), by metric, level and outcome.",
        ("metric", "level", "outcome"), counted,
    )  # fmt: skip
    yield Gauge(
        "week_seconds", "Seconds that the cases counted took, together.", ("metric", "level"),
        seconds,
    )  # fmt: skip
    at = standing().counted_at
    if at is not None:
        yield Gauge(
            "metrics_age_seconds", "Real seconds since the ledger was last counted.", (),
            {(): real_s(now, at)},
        )  # fmt: skip


def real_s(now: datetime, since: datetime) -> float:
    """Return how many real seconds have passed; in production, business seconds are real ones."""
    return max(0.0, (now - since).total_seconds() / clock.speed())


@login_not_required
@never_cache
@require_safe
def prometheus(request: HttpRequest) -> HttpResponse:
    """Answer Prometheus. 404 where no token is set, 401 without it, 503 without the database."""
    token = settings.METRICS_TOKEN
    if not token:
        return _plain("Not found: no METRICS_TOKEN is set.\n", 404)
    given = request.headers.get("Authorization", "")
    if not hmac.compare_digest(given.encode(), f"Bearer {token}".encode()):
        response = _plain("A bearer token is needed.\n", 401)
        response.headers["WWW-Authenticate"] = 'Bearer realm="recourse-metrics"'
        return response
    registry = CollectorRegistry()
    try:
        registry.register(_Rows(clock.now()))
        return HttpResponse(generate_latest(registry), content_type=CONTENT_TYPE_LATEST)
    except Error:
        return _plain("The database does not answer.\n", 503)


def _plain(text: str, status: int) -> HttpResponse:
    return HttpResponse(text, status=status, content_type="text/plain")
