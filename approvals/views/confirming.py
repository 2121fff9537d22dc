"""A decision that waits for a second factor: kept in the session until it was given, then taken."""

from __future__ import annotations

from typing import Any, NamedTuple

from django.http import HttpResponse
from django.shortcuts import redirect
from django.urls import reverse
from django_htmx.http import HttpResponseClientRedirect

from approvals.views.edge import HtmxRequest

KEPT = "waits_for_a_factor"  # in the session: one decision, on one request


class Draft(NamedTuple):
    """What somebody chose and typed on a request's page, before they confirmed that it is them.

    Attributes:
        call: what it is for, a key of `approvals.views.step_up.CALLS`.
        given: what that is called with; JSON types only.
    """

    ref: str
    call: str
    given: dict[str, Any]


def confirm_first(request: HtmxRequest, ref: str, call: str, given: dict[str, Any]) -> HttpResponse:
    """Keep what was chosen, and ask for the second factor."""
    request.session[KEPT] = Draft(ref, call, given)._asdict()
    url = reverse("approvals:request-step-up", args=[ref])
    return HttpResponseClientRedirect(url) if request.htmx else redirect(url)


def draft_for(request: HtmxRequest, ref: str) -> Draft | None:
    """Return what waits for a second factor on this request, if anything does."""
    kept = request.session.get(KEPT)
    return Draft(**kept) if kept is not None and kept["ref"] == ref else None


def forget_draft(request: HtmxRequest) -> None:
    request.session.pop(KEPT, None)
