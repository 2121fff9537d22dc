"""Why is this still open? For those who oversee all requests."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any
from urllib.parse import urlencode

from django.core.exceptions import PermissionDenied
from django.db.models import Exists, OuterRef
from django.http import HttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.views.decorators.http import require_safe

from approvals import selectors, story
from approvals.channels.words import zone_of
from approvals.models import OPEN, ActionRequest, Alert, Step
from approvals.packets import Packet, packets_of
from approvals.views.edge import HtmxRequest, cursor_of, read_cursor
from governance import clock, wording
from governance.models import Person
from governance.vocabulary import Duty, Path

PAGE = 50
ALERTS_SHOWN = 20


@dataclass(frozen=True, slots=True)
class OpenRow:
    """One open request: who moves it next, when, and why then."""

    ref: str
    title: str
    path: str
    level: int | None
    state: str
    who: str
    due_at: datetime
    opened_at: datetime
    source: str
    parked_until: datetime | None
    parked_why: str


@require_safe
def open_requests(request: HtmxRequest) -> HttpResponse:
    """List every open request, the next to move first. 403 to those who do not oversee."""
    person, now = request.user, clock.now()
    if not (person.is_superuser or person.has_duty(*selectors.SEES_ALL)):
        raise PermissionDenied(
            "Operators, auditors, compliance and policy admins see all open requests."
        )
    state, path = request.GET.get("state", ""), request.GET.get("path", "")
    state = state if state in {str(each) for each in OPEN} else ""
    path = path if path in Path.values else ""
    rows = selectors.open_requests(after=read_cursor(request.GET.get("after", "")))
    if state:
        rows = rows.filter(state=state)
    if path:
        waiting = Step.objects.filter(request=OuterRef("pk"), state=Step.State.WAITING, path=path)
        rows = rows.filter(Exists(waiting))
    found = list(rows.select_related("department")[: PAGE + 1])
    shown = found[:PAGE]
    alerts = list(
        selectors.open_alerts().select_related("request", "acknowledged_by")[: ALERTS_SHOWN + 1]
    )
    parked = {alert.request_id: alert for alert in _parked_because(shown)}
    kept = {name: value for name, value in (("state", state), ("path", path)) if value}
    last = shown[-1] if shown else None
    more = len(found) > PAGE and last is not None and last.due_at is not None
    context: dict[str, Any] = {
        "here": "open",
        "now": now,
        "rows": [
            _row(packet, parked.get(packet.request.pk), person, now)
            for packet in packets_of(shown, now=now)
        ],
        "overdue": sum(1 for each in shown if each.due_at and each.due_at <= now),
        "count": wording.capped(len(found), PAGE),
        "is_filtered": bool(kept),
        "alerts": [(alert, _without_ref(alert)) for alert in alerts[:ALERTS_SHOWN]],
        "alerts_more": len(alerts) > ALERTS_SHOWN,
        "findings": selectors.open_findings(),
        "may_acknowledge": person.is_superuser or person.has_duty(Duty.OPERATOR),
        "state": state,
        "path": path,
        "states": [(str(each), ActionRequest.State(each).label) for each in OPEN],
        "paths": [(str(each), wording.SIGNS[each].word) for each in (*wording.LANES, Path.UNDO)],
        "more": urlencode(kept | {"after": cursor_of(last.due_at, last.pk)})
        if more and last is not None and last.due_at is not None
        else "",
        "first": bool(not request.GET.get("after")),
        "self": f"{reverse('approvals:open')}?{urlencode(kept)}".rstrip("?"),
    }
    return render(request, "approvals/open.html", context)


def _without_ref(alert: Alert) -> str:
    """Return an alert's words without the reference they begin with: a link says it."""
    ref = alert.request.ref if alert.request is not None else ""
    return wording.plain(alert.text.removeprefix(ref), 500)


def _parked_because(shown: list[ActionRequest]) -> list[Alert]:
    parked = [each.pk for each in shown if each.parked_until is not None]
    return list(Alert.objects.filter(request__in=parked, kind="sweep.failed").order_by("raised_at"))


def _row(packet: Packet, parked: Alert | None, person: Person, now: datetime) -> OpenRow:
    request, step = packet.request, packet.waiting
    if request.due_at is None:
        raise ValueError(f"{request.ref} is open and has no clock")
    is_parked = request.parked_until is not None and request.parked_until > now
    who = story.waits_for(packet, reader=person)
    if not who and request.state == ActionRequest.State.APPROVED:
        who = "whoever carries it out"
    return OpenRow(
        ref=request.ref,
        title=story.title_of(request),
        path=step.path if step else "",
        level=step.level if step else None,
        state=str(request.get_state_display()),
        who=who[:1].upper() + who[1:] or "Nobody",
        due_at=request.due_at,
        opened_at=step.opened_at if step else request.approved_at or request.submitted_at,
        source=story.where_due_comes_from(packet, now=now, zone=zone_of(person)),
        parked_until=request.parked_until if is_parked else None,
        parked_why=wording.plain(parked.text, 300) if is_parked and parked is not None else "",
    )
