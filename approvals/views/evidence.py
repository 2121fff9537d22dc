"""Evidence packs, taken from the page of a request or of a review."""

from __future__ import annotations

from collections.abc import Callable

from django.http import Http404, HttpResponse
from django.views.decorators.http import require_POST

from approvals.services.evidence import pack_request, pack_review
from approvals.views.edge import HtmxRequest, visible_or_404
from governance import actors, clock
from governance.errors import NotFound, Refused
from governance.evidence import Subject, build, name_of


@require_POST
def request_evidence(request: HtmxRequest, ref: str) -> HttpResponse:
    """Answer with the pack of a request. 403 for whoever may see it and may not take it."""
    visible_or_404(request.user, ref)
    return _answer(request, lambda: pack_request(ref=ref, actor=request.user, now=clock.now()))


@require_POST
def review_evidence(request: HtmxRequest, pk: int) -> HttpResponse:
    """Answer with the pack of a review. To whoever may not see it, it does not exist."""
    return _answer(request, lambda: pack_review(review=pk, actor=request.user, now=clock.now()))


def _answer(request: HtmxRequest, record: Callable[[], Subject]) -> HttpResponse:
    try:
        subject = record()
    except NotFound as refusal:
        raise Http404(refusal.detail) from refusal
    except Refused as refusal:
        return HttpResponse(refusal.detail, status=refusal.status, content_type="text/plain")
    content = build(subject, by=actors.person(request.user), now=clock.now())
    name = f'attachment; filename="{name_of(subject)}.zip"'
    return HttpResponse(
        content, content_type="application/zip", headers={"Content-Disposition": name}
    )
