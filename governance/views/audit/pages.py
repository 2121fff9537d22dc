"""The pages of the record. A view reads the clock, calls one service, renders one template."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlencode

from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, HttpResponseBadRequest, StreamingHttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import redirect, render
from django.utils.dateparse import parse_datetime
from django.views.decorators.http import require_POST, require_safe

from governance import clock, verifications
from governance.errors import Refused
from governance.models import Person
from governance.search import Cursor, Search
from governance.services import auditing
from governance.views.audit.exporting import TYPES, WRITERS
from governance.views.audit.forms import WITHOUT_NAME, SearchForm
from governance.views.audit.shown import rows_of
from governance.views.audit.standing import standing

PAGE = 50
FIELDS = ("who", "of", "kind", "since", "until")
CLOSED = "Auditors read the record."


class AuditRequest(HttpRequest):
    """A request of somebody who is logged in."""

    user: Person


@require_safe
def audit(request: AuditRequest) -> HttpResponse:
    """Search the record, and say when it was last verified. 403 to all but auditors; 422 for a search to mend."""
    _require(request.user)
    form, now = SearchForm(request.GET, zone=request.user.zone), clock.now()
    good = form.is_valid()
    search = form.search() if good else Search()
    after = _read_cursor(request.GET.get("after", ""))
    found = search.page(after, PAGE + 1) if good else []
    shown = found[:PAGE]
    kept = {name: request.GET[name] for name in FIELDS if request.GET.get(name)}
    more = ""
    if len(found) > PAGE:
        more = urlencode(kept | {"after": _cursor_of(Cursor(shown[-1].at, shown[-1].pk))})
    context: dict[str, Any] = {
        "here": "audit",
        "now": now,
        "form": form,
        "kept": kept,
        "rows": rows_of(shown, now=now, zone=request.user.zone),
        "first": after is None,
        "first_url": f"?{urlencode(kept)}",
        "more": more,
        "standing": standing(now),
        "without_name": WITHOUT_NAME,
    }
    return render(request, "audit/audit.html", context, status=200 if good else 422)


@require_POST
def export(request: AuditRequest) -> HttpResponseBase:
    """Send what a search finds as a file. That it was taken is in the record before its first line is sent."""
    _require(request.user)
    form, now = SearchForm(request.POST, zone=request.user.zone), clock.now()
    as_ = request.POST.get("form", "")
    if not form.is_valid() or as_ not in WRITERS:
        return HttpResponseBadRequest("Search first, then export what is found.")
    search = form.search()
    try:
        up_to = auditing.export(actor=request.user, search=search, form=as_, now=now)
    except Refused as refused:
        raise PermissionDenied(refused.detail) from refused
    answer = StreamingHttpResponse(
        WRITERS[as_](search.bounded(up_to).every()), content_type=TYPES[as_]
    )
    answer["Content-Disposition"] = f'attachment; filename="ledger-{now:%Y%m%d-%H%M%S}.{as_}"'
    return answer


@require_POST
def verify(request: AuditRequest) -> HttpResponse:
    """Have the whole record read again."""
    _require(request.user)
    try:
        verifications.ask(actor=request.user, now=clock.now())
    except verifications.UnderWay as refused:
        messages.info(request, refused.detail)
    else:
        messages.success(
            request, "The record is being read from its beginning. What is found stands here."
        )
    return redirect("governance:audit")


def _require(person: Person) -> None:
    if not auditing.may_read(person):
        raise PermissionDenied(CLOSED)


def _cursor_of(cursor: Cursor) -> str:
    return f"{cursor.at.astimezone(UTC).isoformat()}~{cursor.pk}"


def _read_cursor(text: str) -> Cursor | None:
    """Read what `_cursor_of` wrote. Anything else is the beginning of the list."""
    instant, _, pk = text.partition("~")
    if not (pk.isascii() and pk.isdigit() and len(pk) <= 18):
        return None
    try:
        at: datetime | None = parse_datetime(instant.replace(" ", "+"))
        return Cursor(at.astimezone(UTC), int(pk)) if at is not None and at.tzinfo else None
    except (ValueError, OverflowError):
        return None
