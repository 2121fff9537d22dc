"""On-call rosters: who is on for each target, when nobody is, and the forms that ask for other shifts."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from django.conf import settings
from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_POST, require_safe

from governance import clock, wording
from governance.errors import Refused
from governance.models import Appointment, PeopleChange, Person, PolicyVersion, RosterShift
from governance.services.people import ask_for_change
from governance.services.people.kinds import enabled, shift
from governance.services.people.rosters import away_within, gaps, shifts_of, weekly
from governance.services.people.standing import is_administrator, sees_everybody
from governance.views.people import days
from governance.views.people.edge import PersonRequest, place
from governance.views.people.everybody import ASKED, ended_changes, waiting_changes
from governance.views.people.forms import ShiftForm, TakeOutForm, choices_of

K = PeopleChange.Kind
AHEAD = timedelta(days=90)  # as far as the check of the policy looks


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a roster: a shift, or a gap."""

    span: str
    shift: RosterShift | None
    zone: str  # of its person, where it is not the reader's
    theirs: str  # the span in that zone
    is_now: bool
    away: str  # when its person is away within it
    form: TakeOutForm | None
    length: str


@dataclass(frozen=True, slots=True)
class Roster:
    """One target in the list of rosters."""

    target: str
    now_on: str
    fallback: str
    gaps: int
    first_gap: str


@require_safe
def rosters(request: PersonRequest) -> HttpResponse:
    """List the targets: who is on call now, and when nobody will be."""
    _demand_overseer(request.user)
    now, zone = clock.now(), request.user.zone
    fallbacks = _fallbacks()
    found = []
    for target in _targets():
        shifts = shifts_of(target, since=now, until=now + AHEAD)
        empty = gaps([(s.starts_at, s.ends_at) for s in shifts], since=now, until=now + AHEAD)
        on = [str(each.person) for each in shifts if each.starts_at <= now]
        first = days.spoken(*empty[0], zone=zone, now=now) if empty else ""
        found.append(Roster(target, ", ".join(on), fallbacks.get(target, ""), len(empty), first))
    context = {"here": "people", "rosters": found, "ahead": AHEAD}
    return render(request, "people/rosters.html", context)


@require_safe
def roster(request: PersonRequest, target: str) -> HttpResponse:
    """Show one target's shifts and gaps, for the next 90 days."""
    _demand_target(request.user, target)
    return _page(request, target)


@require_POST
def add_shifts(request: PersonRequest, target: str) -> HttpResponse:
    """Ask for a shift, perhaps again each week."""
    _demand_target(request.user, target)
    form = ShiftForm(request.POST)
    status = 422
    if form.is_valid():
        given = form.cleaned_data
        try:
            becomes = weekly(
                enabled(given["person"], field="person"),
                given["starts"],
                given["ends"],
                zone=ZoneInfo(given["zone"]),
                times=given["times"],
            )
            ask_for_change(
                kind=K.SHIFTS,
                actor=request.user,
                target=target,
                becomes=becomes,
                reason=given["reason"],
                now=clock.now(),
            )
        except Refused as refused:
            status = place(form, refused)
        else:
            messages.success(request, ASKED)
            return redirect("governance:roster", target)
    return _page(request, target, form=form, status=status)


@require_POST
def take_out(request: PersonRequest, target: str, pk: int) -> HttpResponse:
    """Ask that a shift goes, or ends if it runs."""
    _demand_target(request.user, target)
    row = RosterShift.objects.filter(pk=pk, target=target).select_related("person").first()
    if row is None:
        raise Http404("no such shift")
    form = TakeOutForm(request.POST, prefix=f"s{pk}")
    status = 422
    if form.is_valid():
        try:
            ask_for_change(
                kind=K.SHIFTS,
                actor=request.user,
                target=target,
                becomes=[],
                take_out=[shift(row.person, row.starts_at, row.ends_at)],
                reason=form.cleaned_data["reason"],
                now=clock.now(),
            )
        except Refused as refused:
            status = place(form, refused)
        else:
            messages.success(request, ASKED)
            return redirect("governance:roster", target)
    return _page(request, target, taken=(pk, form), status=status)


def _page(
    request: PersonRequest,
    target: str,
    *,
    form: ShiftForm | None = None,
    taken: tuple[int, TakeOutForm] | None = None,
    status: int = 200,
) -> HttpResponse:
    reader, now = request.user, clock.now()
    shifts = shifts_of(target, since=now, until=now + AHEAD)
    empty = gaps([(s.starts_at, s.ends_at) for s in shifts], since=now, until=now + AHEAD)
    away = away_within(shifts)
    lines = [(s.starts_at, _line(s, reader, now, away[s.pk], taken)) for s in shifts]
    lines += [(gap.starts_at, _gap(*gap, reader, now)) for gap in empty]
    lines.sort(key=lambda each: each[0])
    typed = form.data if form is not None else {}
    context: dict[str, Any] = {
        "here": "people",
        "target": target,
        "lines": [line for _, line in lines],
        "gaps": len(empty),
        "ahead": AHEAD,
        "fallback": _fallbacks().get(target, ""),
        "may_ask": is_administrator(reader),
        "waiting": waiting_changes(reader, target=target),
        "ended": ended_changes(PeopleChange.objects.filter(target=target)),
        "people": choices_of(Person.objects.filter(is_active=True).order_by("name", "pk")),
        "zones": sorted({"UTC", reader.time_zone, *_zones_of_people()}),
        "form": form,
        "typed": {
            "person": typed.get("person", ""),
            "starts": typed.get("starts", ""),
            "ends": typed.get("ends", ""),
            "zone": typed.get("zone", reader.time_zone),
            "times": typed.get("times", "1"),
            "reason": typed.get("reason", ""),
        },
    }
    return render(request, "people/roster.html", context, status=status)


def _line(
    row: RosterShift,
    reader: Person,
    now: datetime,
    away: list[Any],
    taken: tuple[int, TakeOutForm] | None,
) -> Line:
    zone = row.person.zone
    other = zone != reader.zone
    spans = [days.spoken(a.starts_at, a.ends_at, zone=reader.zone, now=now) for a in away]
    return Line(
        span=days.spoken(row.starts_at, row.ends_at, zone=reader.zone, now=now),
        shift=row,
        zone=wording.zone_word(row.starts_at, zone) if other else "",
        theirs=days.spoken(row.starts_at, row.ends_at, zone=zone, now=now) if other else "",
        is_now=row.starts_at <= now,
        away="; ".join(spans),
        form=taken[1] if taken is not None and taken[0] == row.pk else None,
        length=wording.span(row.ends_at - row.starts_at),
    )


def _gap(starts_at: datetime, ends_at: datetime, reader: Person, now: datetime) -> Line:
    return Line(
        span=days.spoken(starts_at, ends_at, zone=reader.zone, now=now),
        shift=None,
        zone="",
        theirs="",
        is_now=starts_at <= now,
        away="",
        form=None,
        length=wording.span(ends_at - starts_at),
    )


def _demand_overseer(person: Person) -> None:
    if not sees_everybody(person):
        raise PermissionDenied("Rosters are for those who oversee. Yours is on your own page.")


def _demand_target(person: Person, target: str) -> None:
    _demand_overseer(person)
    if target not in _targets():
        raise Http404("no such target")


def _targets() -> list[str]:
    """Return what there is to be on call for: what is set up, and what has a shift."""
    found = RosterShift.objects.values_list("target", flat=True).distinct()
    return sorted({*settings.TARGETS, *found})


def _fallbacks() -> dict[str, str]:
    held = Appointment.objects.filter(
        office=Appointment.Office.ONCALL_FALLBACK, version__state=PolicyVersion.State.ACTIVE
    ).select_related("person")
    return {each.scope: str(each.person) for each in held}


def _zones_of_people() -> set[str]:
    return set(Person.objects.filter(is_active=True).values_list("time_zone", flat=True))
