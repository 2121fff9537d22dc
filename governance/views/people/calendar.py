"""Absences as a calendar, and the forms that enter, shorten and cancel them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils.dateparse import parse_datetime
from django.views.decorators.http import require_POST, require_safe

from governance import clock, wording
from governance.errors import Refused
from governance.models import Absence, Person
from governance.services.people import cancel_absence, set_absence, shorten_absence
from governance.services.people.absences import start_of
from governance.services.people.standing import absences_entered_by, visible_to
from governance.views.people import days
from governance.views.people.edge import PersonRequest, place
from governance.views.people.forms import AbsenceForm, ShortenForm, choices_of

MOST = 400  # absences of one month that are drawn


@dataclass(frozen=True, slots=True)
class Row:
    """One absence in the list under the grid."""

    absence: Absence
    span: str
    zone: str  # its person's, where it is not the reader's
    state: str  # running, ahead, over
    may_change: bool
    shorten: ShortenForm | None  # with what was typed, where it was refused
    last: str  # its last day, for the form


@require_safe
def calendar(request: PersonRequest) -> HttpResponse:
    """Show one month of absences: the reader's, and those of others that they may see."""
    return _page(request, AbsenceForm())


@require_POST
def enter(request: PersonRequest) -> HttpResponse:
    """Enter an absence, of oneself or of somebody one looks after. 422 with the form for what is to be mended."""
    form, now = AbsenceForm(request.POST), clock.now()
    status = 422
    if form.is_valid():
        whose = form.cleaned_data["person"] or request.user.username
        found = Person.objects.filter(username=whose).values_list("pk", flat=True).first()
        try:
            absence = set_absence(
                person=found or 0,
                actor=request.user,
                first=form.cleaned_data["first"],
                last=form.cleaned_data["last"],
                now=now,
            )
        except Refused as refused:
            status = place(form, refused)
        else:
            name = "You are" if absence.person_id == request.user.pk else f"{absence.person} is"
            span = days.spoken(
                absence.starts_at, absence.ends_at, zone=absence.person.zone, now=now
            )
            messages.success(request, f"{name} away: {span}.")
            return redirect(_url(absence, request.user.zone))
    return _page(request, form, status=status)


@require_POST
def shorten(request: PersonRequest, pk: int) -> HttpResponse:
    """Have an absence end on an earlier day."""
    form, now = ShortenForm(request.POST, prefix=f"a{pk}"), clock.now()
    status = 422
    if form.is_valid():
        try:
            absence = shorten_absence(
                absence=pk,
                actor=request.user,
                last=form.cleaned_data["last"],
                seen=_seen(form.cleaned_data["seen"]),
                now=now,
            )
        except Refused as refused:
            status = place(form, refused)
        else:
            span = days.spoken(
                absence.starts_at, absence.ends_at, zone=absence.person.zone, now=now
            )
            messages.success(request, f"Shortened: {span}.")
            return redirect(_url(absence, request.user.zone))
    return _page(request, AbsenceForm(), shortened=(pk, form), status=status)


@require_POST
def cancel(request: PersonRequest, pk: int) -> HttpResponse:
    """Take back an absence to come, or end one that runs."""
    try:
        absence = cancel_absence(
            absence=pk,
            actor=request.user,
            now=clock.now(),
            seen=_seen(request.POST.get(f"a{pk}-seen", "")),
        )
    except Refused as refused:
        messages.error(request, refused.detail)
        return _page(request, AbsenceForm(), status=refused.status)
    said = "It is cancelled" if absence.cancelled_at else "It ended just now"
    messages.success(request, f"{said}. Rungs that open from now on ask {absence.person} again.")
    return redirect(_url(absence, request.user.zone))


def _page(
    request: PersonRequest,
    form: AbsenceForm,
    *,
    shortened: tuple[int, ShortenForm] | None = None,
    status: int = 200,
) -> HttpResponse:
    person, now = request.user, clock.now()
    zone = person.zone
    today = now.astimezone(zone).date()
    month = days.Month.read(request.GET.get("month", ""), today=today)
    starts_at, ends_at = month.span(zone)
    weeks_from, weeks_to = _drawn(month, zone)
    seen = visible_to(person).values("pk")
    rows = Absence.objects.filter(
        person__in=seen, cancelled_at=None, starts_at__lt=weeks_to, ends_at__gt=weeks_from
    )
    drawn = list(rows.select_related("person", "set_by").order_by("starts_at", "pk")[: MOST + 1])
    mine = set(absences_entered_by(person).values_list("pk", flat=True))
    choices = choices_of(absences_entered_by(person))
    listed = [
        each for each in drawn[:MOST] if each.starts_at < ends_at and starts_at < each.ends_at
    ]
    typed = form.data if form.is_bound else {}
    context: dict[str, Any] = {
        "here": "people",
        "month": month,
        "before": month.moved(-1),
        "after": month.moved(1),
        "is_now": (month.year, month.number) == (today.year, today.month),
        "weeks": days.weeks(month, drawn[:MOST], zone=zone, now=now, reader=person.pk),
        "rows": [_row(each, person, now, each.person_id in mine, shortened) for each in listed],
        "too_many": len(drawn) > MOST,
        "most": MOST,
        "people": choices if len(choices) > 1 else [],
        "form": form,
        "whose": typed.get("person") or person.username,
        "first": typed.get("first", today.isoformat()),
        "last": typed.get("last", ""),
        "today": today,
        "self": f"{reverse('governance:absences')}?month={month}",
        "zone_name": person.time_zone,
    }
    return render(request, "people/absences.html", context, status=status)


def _drawn(month: days.Month, zone: ZoneInfo) -> tuple[datetime, datetime]:
    """Return between which instants the grid lies: whole weeks."""
    cells = days.weeks(month, [], zone=zone, now=start_of(month.first, zone), reader=0)
    last = cells[-1][-1].day + days.ONE_DAY
    return start_of(cells[0][0].day, zone), start_of(last, zone)


def _row(
    each: Absence,
    reader: Person,
    now: datetime,
    may: bool,
    shortened: tuple[int, ShortenForm] | None,
) -> Row:
    state = "over" if each.ends_at <= now else "running" if each.starts_at <= now else "ahead"
    zone = each.person.zone
    typed = shortened[1] if shortened is not None and shortened[0] == each.pk else None
    return Row(
        absence=each,
        span=days.spoken(each.starts_at, each.ends_at, zone=zone, now=now),
        zone="" if zone == reader.zone else wording.zone_word(each.starts_at, zone),
        state=state,
        may_change=may and state != "over",
        shorten=typed,
        last=str(typed["last"].value() or "")
        if typed is not None
        else days.last_day(each).isoformat(),
    )


def _url(absence: Absence, zone: ZoneInfo) -> str:
    month = f"{absence.starts_at.astimezone(zone):%Y-%m}"
    return f"{reverse('governance:absences')}?month={month}"


def _seen(text: str) -> datetime | None:
    """Read the end that a page showed. What cannot be read was never shown."""
    try:
        found = parse_datetime(text)
    except ValueError:
        return None
    return found if found is not None and found.tzinfo is not None else None
