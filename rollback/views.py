"""What was done of a request and what is undone of it; and the order to undo it."""

from __future__ import annotations

from typing import Any

from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.http import require_POST, require_safe

from approvals import story
from approvals.channels.words import zone_of
from approvals.models import ActionRequest
from approvals.services.orders import REASON_LENGTH, order_rollback
from approvals.views.edge import HtmxRequest, visible_or_404
from governance import clock
from governance.errors import Refused, Unprocessable
from rollback.panel import panel_of

TEMPLATE = "rollback/execution.html"
CHANGED = "rc:changed"  # tells the request's page, in place, to look at the rest of itself again


@require_safe
def execution(request: HtmxRequest, ref: str) -> HttpResponse:
    """Show how it is done or undone: as a part of the request's page, or by itself.

    A page that knows the last `stamp` is answered 204 while nothing has changed.
    """
    found = visible_or_404(request.user, ref)
    context = _context(request, found)
    if not request.htmx or request.htmx.history_restore_request:
        return render(request, TEMPLATE, context)
    known = request.GET.get("known", "")
    if not known:
        return render(request, f"{TEMPLATE}#panel", context)
    if known == context["panel"].stamp:
        return HttpResponse(status=204)
    response = render(request, f"{TEMPLATE}#now", context | {"order_oob": True})
    response["HX-Trigger"] = CHANGED
    return response


@require_POST
def rollback_order(request: HtmxRequest, ref: str) -> HttpResponse:
    """Order a rollback, or confirm one. 422 for a form to mend, 403 or 409 for a refusal, said in place."""
    found = visible_or_404(request.user, ref)
    reason = request.POST.get("reason", "")
    more: dict[str, Any] = {}
    status = 200
    try:
        answer = order_rollback(
            ref=ref,
            actor=request.user,
            reason=reason,
            now=clock.now(),
            shown=request.POST.get("shown"),
        )
    except Refused as refusal:
        status = refusal.status
        mend = isinstance(refusal, Unprocessable)
        more = {"refusal": refusal, "mend": mend, "typed": reason[: 2 * REASON_LENGTH]}
    else:
        if not request.htmx:
            messages.success(request, answer.words)
            return redirect(f"{reverse('approvals:request', args=[ref])}#execution")
        more = {"stored": answer.words}
    context = _context(request, visible_or_404(request.user, found.ref)) | more
    response = render(
        request, f"{TEMPLATE}#panel" if request.htmx else TEMPLATE, context, status=status
    )
    response["HX-Trigger"] = CHANGED
    return response


def _context(request: HtmxRequest, found: ActionRequest) -> dict[str, Any]:
    now = clock.now()
    panel = panel_of(found, reader=request.user, now=now, zone=zone_of(request.user))
    return {
        "request_": found,
        "title": story.title_of(found),
        "pill": story.state_pill(found),
        "panel": panel,
        "now": now,
        "here": "inbox",
    }
