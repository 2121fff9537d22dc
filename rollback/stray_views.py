"""Effects that nothing here accounts for, each to be seen to with words: for those who mend, and for auditors."""

from __future__ import annotations

from typing import Any

from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_POST, require_safe

from approvals import selectors
from approvals.services import dead_letters
from approvals.views.edge import HtmxRequest
from governance import clock, wording
from governance.errors import AlreadyDecided, NotFound, NotYours, Unprocessable
from rollback.models.listing import NOTE
from rollback.services import strays as services
from rollback.strays import unexplained

PAGE = 50


@require_safe
def strays(request: HtmxRequest) -> HttpResponse:
    """Show what is not settled, the oldest first. 403 to others than those who mend or audit."""
    return _page(request)


@require_POST
def settle(request: HtmxRequest, pk: int) -> HttpResponse:
    """Take somebody's word for what became of one. 422 without words, 403 to whoever may not."""
    try:
        services.settle(
            stray=pk, actor=request.user, note=request.POST.get("note", ""), now=clock.now()
        )
    except NotYours as refusal:
        return HttpResponse(refusal.detail, status=refusal.status, content_type="text/plain")
    except Unprocessable as refusal:
        return _page(request, refused=pk, refusal=refusal)
    except (AlreadyDecided, NotFound) as refusal:
        messages.error(request, refusal.detail)
    else:
        messages.success(request, "It is kept. The finding is gone within a minute.")
    return redirect("rollback:strays")


def _page(
    request: HtmxRequest, *, refused: int | None = None, refusal: Unprocessable | None = None
) -> HttpResponse:
    if not selectors.sees_findings(request.user):
        raise PermissionDenied("Operators, policy administrators and auditors see what failed.")
    now = clock.now()
    rows = unexplained(now).select_related("request")
    found = list(rows[: PAGE + 1])
    context: dict[str, Any] = {
        "here": "findings",
        "now": now,
        "strays": found[:PAGE],
        "count": wording.capped(len(found), PAGE),
        "more": len(found) > PAGE,
        "may_tend": dead_letters.may_tend(request.user),
        "refused": refused,
        "refusal": refusal,
        "typed": request.POST.get("note", ""),
        "note_length": NOTE,
    }
    return render(
        request, "rollback/strays.html", context, status=refusal.status if refusal else 200
    )
