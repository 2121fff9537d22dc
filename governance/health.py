"""Three answers for machines: up, able to serve, and whether all is well. Public; they tell no secrets.

Nothing here writes, and each answer costs a fixed number of queries.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from functools import cache
from typing import Any

from django.conf import settings
from django.contrib.auth.decorators import login_not_required
from django.db import Error, connection
from django.db.migrations.loader import MigrationLoader
from django.db.migrations.recorder import MigrationRecorder
from django.db.models import Count, Max, Q
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.utils.module_loading import import_string
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from governance import clock, signs
from governance.models import (
    AuditEvent,
    Heartbeat,
    PolicyFinding,
    PolicyVersion,
    Seal,
    SealedEvent,
)
from governance.policy_watch import SIGN

# Real seconds without a sign of life after which something is bad.
CLOCK_S = 30  # beats every second, also between the batches of a long round
WORKER_S = 90  # beats every few seconds; the watchdog repairs a hang within its patience of 75
SCHEDULE_S = 200  # once a minute, found within half a minute; one may be lost with a worker
SEAL_S = 180  # a seal a minute, where there is something to seal


@login_not_required
@never_cache
@require_safe
def healthz(request: HttpRequest) -> HttpResponse:
    """Say that this process runs. Asks nobody."""
    return HttpResponse("up\n", content_type="text/plain")


@login_not_required
@never_cache
@require_safe
def readyz(request: HttpRequest) -> HttpResponse:
    """Say whether this process can serve: 503 without the database, or with migrations to be applied."""
    try:
        missing = _unapplied()
    except Error:
        return HttpResponse(
            "The database does not answer.\n", status=503, content_type="text/plain"
        )
    if missing:
        text = f"{len(missing)} migrations are to be applied: {', '.join(missing)}.\n"
        return HttpResponse(text, status=503, content_type="text/plain")
    return HttpResponse("ready\n", content_type="text/plain")


@login_not_required
@never_cache
@require_safe
def status(request: HttpRequest) -> HttpResponse:
    """Say whether all is well, and if not, what is bad: 200 with `ok` true or false, 503 without the database."""
    try:
        parts = _parts(clock.now())
    except Error:
        facts: dict[str, Any] = {"ok": False, "database": {"ok": False}}
        return JsonResponse(facts, status=503)
    return JsonResponse({"ok": all(part["ok"] for part in parts.values()), **parts})


def _parts(now: datetime) -> dict[str, dict[str, Any]]:
    beats = {beat.name: beat for beat in Heartbeat.objects.all()}
    failures = import_string(settings.RECOURSE_OPEN_FINDINGS)()
    standing = Q(findings__weight=PolicyFinding.Weight.HOLE, findings__gone_at__isnull=True)
    policy = PolicyVersion.objects.aggregate(
        version=Max("number", filter=Q(state=PolicyVersion.State.ACTIVE)),
        holes=Count("findings", filter=standing, distinct=True),
    )
    return {
        "clock": _clock(beats.get("clock"), now),
        "worker": _worker(beats, now),
        "policy": {
            "ok": policy["version"] is not None and policy["holes"] == 0,
            **policy,
            "checked_age_s": _age(beats.get(SIGN), now),
        },
        "silent_failures": {"ok": failures == 0, "open": failures},
        "seals": _seals(now),
    }


def _clock(beat: Heartbeat | None, now: datetime) -> dict[str, Any]:
    failing = len(beat.facts.get("failing", [])) if beat else 0
    return {
        "ok": _fresh(beat, CLOCK_S, now) and failing == 0,
        "age_s": _age(beat, now),
        "failing": failing,
    }


def _worker(beats: dict[str, Heartbeat], now: datetime) -> dict[str, Any]:
    """Judge by the workers that beat, and by the sweeps their schedule owes once the first has run for long enough."""
    own = {name: beat for name, beat in beats.items() if name.split()[0] == signs.WORKER}
    last = max(own.values(), key=lambda beat: beat.beat_at, default=None)
    alive = [name for name, beat in own.items() if _fresh(beat, WORKER_S, now)]
    watchdogs = [
        beats[name]
        for name in (each.replace(signs.WORKER, signs.WATCHDOG, 1) for each in alive)
        if name in beats
    ]
    schedule = beats.get("schedule")
    since = [datetime.fromisoformat(each.facts["since"]) for each in watchdogs]
    young = bool(since) and now - min(since) < clock.technical(SCHEDULE_S)
    return {
        "ok": bool(alive) and (young or _fresh(schedule, SCHEDULE_S, now)),
        "running": len(alive),
        "age_s": _age(last, now),
        "schedule_age_s": _age(schedule, now),
        "restarts": sum(each.facts["restarts"] for each in watchdogs),
    }


def _seals(now: datetime) -> dict[str, Any]:
    """Judge by the oldest event after the last sealed one: a quiet house has nothing to seal."""
    last = Seal.objects.order_by("number").last()
    leaf = SealedEvent.objects.filter(seal=last, position=last.size - 1).first() if last else None
    covered = leaf.event_id if leaf else 0
    waiting = AuditEvent.objects.filter(pk__gt=covered).order_by("pk").values_list("at", flat=True)
    since = waiting.first()
    return {
        "ok": since is None or now - since <= clock.technical(SEAL_S),
        "age_s": _real_seconds(now - last.sealed_at) if last else None,
        "waiting_s": _real_seconds(now - since) if since else 0,
    }


def _fresh(beat: Heartbeat | None, within_s: float, now: datetime) -> bool:
    return beat is not None and now - beat.beat_at <= clock.technical(within_s)


def _age(beat: Heartbeat | None, now: datetime) -> int | None:
    return _real_seconds(now - beat.beat_at) if beat else None


def _real_seconds(span: timedelta) -> int:
    return max(0, int(span.total_seconds() / clock.speed()))


def _unapplied() -> list[str]:
    """Return our migrations that the database lacks. One it has and we do not is a newer neighbour's."""
    connection.ensure_connection()
    applied = MigrationRecorder(connection).applied_migrations()
    return [f"{app}.{name}" for app, name in _migrations() if (app, name) not in applied]


@cache
def _migrations() -> list[tuple[str, str]]:
    loader = MigrationLoader(None)
    # The ends only: what an end depends on was applied before it.
    return sorted(loader.graph.leaf_nodes())
