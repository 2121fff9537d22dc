"""What people were told, and what operators look after."""

from __future__ import annotations

from django.contrib import messages
from django.core.exceptions import BadRequest
from django.http import HttpResponse
from django.shortcuts import redirect
from django.views.decorators.http import require_POST

from approvals.services.alerts import acknowledge
from approvals.services.seen import see_notices
from approvals.views.edge import HtmxRequest, read_number
from governance import clock
from governance.errors import NotFound, NotYours


@require_POST
def notices_seen(request: HtmxRequest) -> HttpResponse:
    """Mark what the inbox told as seen: the notices that were on the page, and no newer or older ones."""
    since, upto = (_key(request.POST.get(name, "")) for name in ("since", "upto"))
    see_notices(actor=request.user, since=since, upto=upto, now=clock.now())
    if request.htmx:
        return HttpResponse('<div id="told" data-live="told"></div>')
    return redirect("approvals:inbox")


@require_POST
def alert_acknowledge(request: HtmxRequest, pk: int) -> HttpResponse:
    """Keep that this operator looks after an alert."""
    try:
        alert = acknowledge(alert=pk, actor=request.user, now=clock.now())
    except NotYours as refusal:
        return HttpResponse(refusal.detail, status=refusal.status, content_type="text/plain")
    except NotFound as refusal:
        messages.error(request, refusal.detail)
        return redirect("approvals:open")
    # What tells of something past is over once it was seen; what still stands is looked after.
    lead = "You look after this now" if alert.closed_at is None else "Seen, and closed"
    messages.success(request, f"{lead}: {alert.text}")
    return redirect("approvals:open")


def _key(text: str) -> int:
    key = read_number(text)
    if key is None:
        raise BadRequest("not the key of a notice")
    return key
