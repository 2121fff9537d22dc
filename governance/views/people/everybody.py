"""Everybody: who they are, what they may decide, whom they report to; and what waits for a second person."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.contrib import messages
from django.http import Http404, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_POST, require_safe

from governance import clock, wording
from governance.errors import NotFound, Refused
from governance.models import Absence, Agent, PeopleChange, Person, RosterShift
from governance.services.people import (
    ask_for_change,
    confirm_change,
    refuse_change,
    saying,
    withdraw_change,
)
from governance.services.people.changes import is_second
from governance.services.people.kinds import written
from governance.services.people.standing import is_administrator, sees_everybody, visible_to
from governance.views.people import days
from governance.views.people.edge import PersonRequest, place
from governance.views.people.forms import EndForm, OwnerForm, choices_of

K = PeopleChange.Kind
S = PeopleChange.State
ASKED = "Asked for. It holds once a second administrator has confirmed it."
OPEN_SHOWN, ENDED_SHOWN, PEOPLE_SHOWN = 50, 10, 500
# How an ended change is drawn: kind and shape of its pill.
PILLS = {
    S.CONFIRMED: ("good", "check"),
    S.REFUSED: ("bad", "x"),
    S.LAPSED: ("warn", "hourglass"),
    S.STALE: ("warn", "history"),
    S.WITHDRAWN: ("", "undo-2"),
}


@dataclass(frozen=True, slots=True)
class Waiting:
    """A change that waits, and what the reader may do about it."""

    change: PeopleChange
    words: str
    may_confirm: bool
    is_mine: bool
    form: EndForm | None  # with what was typed, where it was refused


@dataclass(frozen=True, slots=True)
class Ended:
    """A change that has ended, in words."""

    change: PeopleChange
    words: str
    pill: tuple[str, str]


@dataclass(frozen=True, slots=True)
class PersonRow:
    person: Person
    roles: str
    limit: str
    away: str  # "away until …", "from …"; "" for neither
    is_away: bool


@dataclass(frozen=True, slots=True)
class AgentRow:
    agent: Agent
    form: OwnerForm | None
    owner: str  # chosen in the form
    seen: str


@require_safe
def everybody(request: PersonRequest) -> HttpResponse:
    """List the people whom the reader may see; for those who oversee, the changes that wait, too."""
    return people_page(request)


@require_POST
def end_change(request: PersonRequest, pk: int) -> HttpResponse:
    """Confirm, refuse or withdraw a change. The status of a refusal is its own, and the page says why.

    For who oversees nobody there is no change: not even that one has ended.
    """
    if not sees_everybody(request.user):
        raise Http404("no such change")
    form, now = EndForm(request.POST, prefix=f"c{pk}"), clock.now()
    status = 422
    if form.is_valid():
        verdict, note = form.cleaned_data["verdict"], form.cleaned_data["note"]
        try:
            if verdict == "refuse":
                ended = refuse_change(change=pk, actor=request.user, note=note, now=now)
            else:
                act = confirm_change if verdict == "confirm" else withdraw_change
                ended = act(change=pk, actor=request.user, now=now)
        except NotFound as refused:
            raise Http404(refused.detail) from refused
        except Refused as refused:
            status = place(form, refused)
        else:
            now_so = "It holds from now on" if ended.state == S.CONFIRMED else "All stays as it was"
            messages.success(
                request, f"{ended.get_state_display()}: {saying.words(ended)} {now_so}."
            )
            return redirect("governance:people")
    return people_page(request, ended=(pk, form), status=status)


@require_POST
def ask_for_owner(request: PersonRequest, name: str) -> HttpResponse:
    """Ask for another owner of an agent."""
    agent = Agent.objects.filter(name=name).first()
    if agent is None or not sees_everybody(request.user):
        raise Http404("no such agent")
    form = OwnerForm(request.POST, prefix=f"g{agent.pk}")
    status = 422
    if form.is_valid():
        try:
            ask_for_change(
                kind=K.OWNER,
                actor=request.user,
                agent=agent.pk,
                becomes=form.cleaned_data["owner"],
                reason=form.cleaned_data["reason"],
                seen=request.POST.get(f"{form.prefix}-seen", ""),
                now=clock.now(),
            )
        except Refused as refused:
            status = place(form, refused)
        else:
            messages.success(request, ASKED)
            return redirect("governance:people")
    return people_page(request, owner=(agent.pk, form), status=status)


def people_page(
    request: PersonRequest,
    *,
    ended: tuple[int, EndForm] | None = None,
    owner: tuple[int, OwnerForm] | None = None,
    status: int = 200,
) -> HttpResponse:
    reader, now = request.user, clock.now()
    oversees = sees_everybody(reader)
    rows = visible_to(reader).select_related("manager", "department").prefetch_related("roles")
    people = list(rows[: PEOPLE_SHOWN + 1])
    waiting = waiting_changes(reader, ended) if oversees else []
    # What it was about may have ended meanwhile: the refusal is said at the head.
    lost = ended is not None and ended[0] not in {each.change.pk for each in waiting}
    context: dict[str, Any] = {
        "here": "people",
        "oversees": oversees,
        "may_ask": is_administrator(reader),
        "rows": _people(people[:PEOPLE_SHOWN], reader, now),
        "too_many": len(people) > PEOPLE_SHOWN,
        "most": PEOPLE_SHOWN,
        "waiting": waiting,
        "refused": _first_error(ended[1]) if ended is not None and lost else "",
        "ended": ended_changes(PeopleChange.objects.all()) if oversees else [],
        "agents": _agents(owner) if oversees else [],
        "choices": choices_of(Person.objects.filter(is_active=True).order_by("name", "pk"))
        if oversees
        else [],
        "targets": _targets() if oversees else [],
    }
    return render(request, "people/people.html", context, status=status)


def waiting_changes(
    reader: Person, ended: tuple[int, EndForm] | None = None, **of: Any
) -> list[Waiting]:
    """Return the open changes, the first to lapse first, with what the reader may do about each."""
    rows = PeopleChange.objects.filter(state=S.OPEN, **of).select_related(
        "person", "agent", "asked_by"
    )
    names, may = saying.Names.load(), is_administrator(reader)
    return [
        Waiting(
            each,
            saying.words(each, names),
            may and is_second(each, reader),
            each.asked_by_id == reader.pk,
            ended[1] if ended is not None and ended[0] == each.pk else None,
        )
        for each in rows.order_by("due_at", "pk")[:OPEN_SHOWN]
    ]


def ended_changes(rows: Any) -> list[Ended]:
    """Return the changes among these that ended last."""
    found = rows.exclude(state=S.OPEN).select_related("person", "agent", "asked_by", "ended_by")
    names = saying.Names.load()
    return [
        Ended(each, saying.words(each, names), PILLS[each.state])
        for each in found.order_by("-ended_at", "-pk")[:ENDED_SHOWN]
    ]


def limit_of(person: Person) -> str:
    """Say what somebody may approve on their own authority."""
    if person.limit_amount is None:
        return "none"
    return wording.money(person.limit_amount, person.limit_currency)


def _people(people: list[Person], reader: Person, now: datetime) -> list[PersonRow]:
    standing = Absence.objects.filter(person__in=people, cancelled_at=None, ends_at__gt=now)
    next_of: dict[int, Absence] = {}
    for each in standing.order_by("starts_at", "pk"):
        next_of.setdefault(each.person_id, each)
    return [
        PersonRow(
            person=each,
            roles=", ".join(sorted(role.name for role in each.roles.all())),
            limit=limit_of(each),
            away=_away(next_of.get(each.pk), reader, now),
            is_away=each.pk in next_of and next_of[each.pk].starts_at <= now,
        )
        for each in people
    ]


def _away(absence: Absence | None, reader: Person, now: datetime) -> str:
    if absence is None:
        return ""
    if absence.starts_at <= now:
        return f"until {wording.at(absence.ends_at, now=now, zone=reader.zone)}"
    return days.spoken(absence.starts_at, absence.ends_at, zone=reader.zone, now=now)


def _agents(owner: tuple[int, OwnerForm] | None) -> list[AgentRow]:
    rows = []
    for agent in Agent.objects.select_related("owner").order_by("name"):
        form = owner[1] if owner is not None and owner[0] == agent.pk else None
        chosen = str(form["owner"].value() or "") if form is not None else agent.owner.username
        rows.append(AgentRow(agent, form, chosen, written(agent.owner.username)))
    return rows


def _targets() -> list[str]:
    return sorted(set(RosterShift.objects.values_list("target", flat=True)))


def _first_error(form: EndForm) -> str:
    return next((str(error) for errors in form.errors.values() for error in errors), "")
