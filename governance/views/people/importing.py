"""Absences out of a calendar file: read and shown first, entered when its reader says so."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from django.contrib import messages
from django.core import signing
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_http_methods, require_POST

from governance import clock, wording
from governance.errors import Refused
from governance.services.people import enter_absences
from governance.services.people.absences import standing_absences
from governance.services.people.calendars import AHEAD, EVENTS, SIZE, Reading, read_calendar
from governance.views.people import days
from governance.views.people.edge import PersonRequest

GOOD_FOR_S = 3600  # real seconds between reading a file and taking what it says
SHOWN = 100  # events that are left out, named one by one


@require_http_methods(["GET", "HEAD", "POST"])
def read_file(request: PersonRequest) -> HttpResponse:
    """Show the form; a POST reads a file and shows what would be taken, and enters nothing. 422 for one to mend."""
    if request.method != "POST":
        return _page(request)
    given = request.FILES.get("file")
    if given is None or isinstance(given, list):
        return _page(request, error="Choose a calendar file.", status=422)
    if (given.size or 0) > SIZE:
        return _page(request, error=_TOO_LARGE, status=422)
    now, person = clock.now(), request.user
    try:
        reading = read_calendar(
            given.read(), zone=person.zone, now=now, standing=standing_absences(person, now)
        )
    except Refused as refused:
        return _page(request, error=refused.detail, status=422)
    return _page(request, reading=reading, name=given.name or "")


@require_POST
def take(request: PersonRequest) -> HttpResponse:
    """Enter what was read and ticked: all of it, or none."""
    try:
        read = signing.loads(request.POST.get("read", ""), salt=_salt(request), max_age=GOOD_FOR_S)
    except signing.BadSignature:
        return _page(request, error="Give the file again: it was read too long ago.", status=422)
    ticked = set(request.POST.getlist("take"))
    spans = [
        (datetime.fromisoformat(starts), datetime.fromisoformat(ends))
        for n, (starts, ends) in enumerate(read)
        if str(n) in ticked
    ]
    if not spans:
        return _page(request, error="Tick what to take, and give the file again.", status=422)
    try:
        entered = enter_absences(actor=request.user, spans=spans, now=clock.now())
    except Refused as refused:
        error = f"{refused.detail} Nothing was entered. Give the file again."
        return _page(request, error=error, status=refused.status)
    messages.success(request, f"Entered {wording.plural(len(entered), 'absence')}.")
    return redirect("governance:absences")


_TOO_LARGE = f"Give a file of at most {SIZE // 1024} kB."


def _salt(request: PersonRequest) -> str:
    return f"calendar of {request.user.pk}"


def _page(
    request: PersonRequest,
    *,
    reading: Reading | None = None,
    name: str = "",
    error: str = "",
    status: int = 200,
) -> HttpResponse:
    now, zone = clock.now(), request.user.zone
    context: dict[str, Any] = {
        "here": "people",
        "error": error,
        "kilobytes": SIZE // 1024,
        "events": EVENTS,
        "ahead": AHEAD,
        "zone_name": request.user.time_zone,
        "reading": reading,
        "name": wording.plain(name, 80),
    }
    if reading is not None:
        spans = [(each.starts_at.isoformat(), each.ends_at.isoformat()) for each in reading.taken]
        context |= {
            "read": signing.dumps(spans, salt=_salt(request)),
            "rows": [
                (each, days.spoken(each.starts_at, each.ends_at, zone=zone, now=now))
                for each in reading.taken
            ],
            "left_out": reading.left_out[:SHOWN],
            "left_out_more": max(len(reading.left_out) - SHOWN, 0),
        }
    return render(request, "people/import.html", context, status=status)
