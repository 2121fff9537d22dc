"""The drills of an action type, one of them with its evidence, and having one done now."""

from __future__ import annotations

from typing import Any

from django.contrib import messages
from django.http import Http404, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.views.decorators.http import require_POST, require_safe

from governance import clock
from governance.errors import Refused
from governance.models import ActionType
from rollback.catalogue import drilled
from rollback.catalogue.edge import LAST_NUMBER, ActionsRequest, for_readers, versions_or_404
from rollback.models import Drill
from rollback.services import drill as services

SHOWN = 100
PULSE_S = 2


@require_safe
@for_readers
def drills(request: ActionsRequest, key: str) -> HttpResponse:
    """List the drills of all versions of an action type, the last first."""
    return render(request, "actions/drills.html", _list_of(request, key))


@require_POST
@for_readers
def drill_now(request: ActionsRequest, key: str) -> HttpResponse:
    """Have it drilled by the next worker, and open the drill. 403 or 409 for a refusal, said on the list."""
    kind = _in_use(versions_or_404(key))
    try:
        drill = services.ask(
            action_type=kind.pk, actor=request.user, now=clock.now(), technical=clock.technical
        )
    except Refused as refusal:
        context = _list_of(request, key) | {"refusal": refusal}
        return render(request, "actions/drills.html", context, status=refusal.status)
    messages.success(request, "It is rehearsed as soon as a worker is free.")
    return redirect("rollback:drill", pk=drill.pk)


@require_safe
@for_readers
def drill(request: ActionsRequest, pk: int) -> HttpResponse:
    """Show one drill. While it is under way its part is asked for again, and answered 204 until it has changed."""
    if pk > LAST_NUMBER:
        raise Http404("no such drill")
    found = get_object_or_404(Drill.objects.select_related("action_type", "asked_by"), pk=pk)
    stamp = f"{len(found.evidence)}-{found.outcome or bool(found.lease_until)}"
    if not request.htmx or request.htmx.history_restore_request:
        return render(request, "actions/drill.html", _context(request, found, stamp))
    if request.GET.get("known") == stamp:
        return HttpResponse(status=204)
    return render(request, "actions/drill.html#now", _context(request, found, stamp))


def _context(request: ActionsRequest, found: Drill, stamp: str) -> dict[str, Any]:
    now = clock.now()
    return {
        "here": "actions",
        "drill": found,
        "kind": found.action_type,
        "pill": drilled.pill_of(found),
        "lead": drilled.lead_of(found, now=now),
        "lines": drilled.lines_of(found),
        "how": drilled.how_compared(found),
        "signature": None if found.is_open else drilled.signature_of(found),
        "stamp": stamp,
        "pulse_s": PULSE_S if found.is_open else None,
        "now": now,
    }


def _list_of(request: ActionsRequest, key: str) -> dict[str, Any]:
    now = clock.now()
    versions = versions_or_404(key)
    kind = _in_use(versions)
    rows = Drill.objects.filter(action_type__in=versions).select_related("action_type", "asked_by")
    found = list(rows.defer("evidence").order_by("-started_at", "-pk")[:SHOWN])
    rehearsed = Drill.objects.filter(action_type=kind, passed=True).exists()
    running = next(
        (each for each in found if each.is_open and each.action_type_id == kind.pk), None
    )
    return {
        "here": "actions",
        "kind": kind,
        "standing": drilled.standing_of(kind, rehearsed=rehearsed, now=now),
        "rehearsed": rehearsed,
        "due_at": kind.drill_due_at,
        "missing": services.why_not(kind),
        "may_ask": services.may_ask(request.user),
        "running": running,
        "lines": [(each, drilled.pill_of(each)) for each in found],
        "url": reverse("rollback:drill-now", args=[key]),
        "now": now,
    }


def _in_use(versions: list[ActionType]) -> ActionType:
    """Return the version in production; where none is, the last that is not retired, or the last."""
    states = ActionType.State
    for state in (states.PRODUCTION, states.TESTED, states.DRAFT):
        for each in versions:
            if each.state == state:
                return each
    return versions[0]
