"""One person: what they may decide, when they are away, and the forms that ask for a change of it."""

from __future__ import annotations

from typing import Any

from django.contrib import messages
from django.http import Http404, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_POST, require_safe

from governance import clock, wording
from governance.errors import Refused
from governance.models import PeopleChange, Person, Role, RosterShift
from governance.services.people import ask_for_change
from governance.services.people.absences import standing_absences
from governance.services.people.kinds import KINDS, Subject, limit, written
from governance.services.people.standing import (
    is_administrator,
    may_enter_absences_of,
    sees_everybody,
)
from governance.views.people import days
from governance.views.people.edge import PersonRequest, person_or_404, place
from governance.views.people.everybody import ASKED, ended_changes, limit_of, waiting_changes
from governance.views.people.forms import (
    EnabledForm,
    LimitForm,
    ManagerForm,
    ReasonForm,
    RolesForm,
    choices_of,
)

K = PeopleChange.Kind
SHIFTS_SHOWN = 10
FORMS: dict[str, type[ReasonForm]] = {
    K.LIMIT: LimitForm,
    K.ROLES: RolesForm,
    K.MANAGER: ManagerForm,
    K.ENABLED: EnabledForm,
}


@require_safe
def person(request: PersonRequest, username: str) -> HttpResponse:
    """Show somebody to themselves, to who looks after them, and to who oversees. To others: 404."""
    return _page(request, person_or_404(request.user, username))


@require_POST
def ask(request: PersonRequest, username: str, kind: str) -> HttpResponse:
    """Ask for a change of somebody. What cannot be is said at its field, and what was typed stays."""
    found = person_or_404(request.user, username)
    if kind not in FORMS:
        raise Http404("no such change")
    form = FORMS[kind](request.POST)
    status = 422
    if form.is_valid():
        try:
            ask_for_change(
                kind=kind,
                actor=request.user,
                person=found.pk,
                becomes=_value(kind, form.cleaned_data),
                reason=form.cleaned_data["reason"],
                seen=request.POST.get("seen", ""),
                now=clock.now(),
            )
        except Refused as refused:
            status = place(form, refused)
        else:
            messages.success(request, ASKED)
            return redirect("governance:person", found.username)
    return _page(request, found, typed=(kind, form), status=status)


def _value(kind: str, given: dict[str, Any]) -> Any:
    match kind:
        case K.LIMIT:
            return limit(given["amount"], given["currency"])
        case K.ROLES:
            return sorted(given["roles"])
        case K.MANAGER:
            return given["manager"] or None
    return given["enabled"] == "on"


def _page(
    request: PersonRequest,
    found: Person,
    *,
    typed: tuple[str, ReasonForm] | None = None,
    status: int = 200,
) -> HttpResponse:
    reader, now = request.user, clock.now()
    zone = found.zone
    may_ask = is_administrator(reader)
    forms = {kind: form() for kind, form in FORMS.items()}
    if typed is not None:
        forms[typed[0]] = typed[1]
    shifts = RosterShift.objects.filter(person=found, ends_at__gt=now).order_by("starts_at", "pk")
    oversees = sees_everybody(reader)
    context: dict[str, Any] = {
        "here": "people",
        "found": found,
        "is_me": found.pk == reader.pk,
        "limit": limit_of(found),
        "roles": list(found.roles.order_by("name", "key")),
        "zone_is": wording.zone_word(now, zone),
        "reports": list(found.reports.filter(is_active=True).order_by("name", "pk")),
        "agents": list(found.agents.order_by("name")),
        "absences": [
            (
                each,
                days.spoken(each.starts_at, each.ends_at, zone=zone, now=now),
                each.starts_at <= now,
            )
            for each in standing_absences(found, now)
        ],
        "may_enter": may_enter_absences_of(reader, found),
        "shifts": [
            (each, days.spoken(each.starts_at, each.ends_at, zone=zone, now=now))
            for each in shifts[:SHIFTS_SHOWN]
        ],
        "oversees": oversees,
        "waiting": waiting_changes(reader, person=found) if oversees else [],
        "ended": ended_changes(PeopleChange.objects.filter(person=found)) if oversees else [],
        "may_ask": may_ask,
        "typed": typed[0] if typed is not None else "",
        "status_error": _head_error(typed),
    }
    if may_ask:
        context |= _asking(found, forms, typed)
    return render(request, "people/person.html", context, status=status)


def _asking(
    found: Person, forms: dict[str, ReasonForm], typed: tuple[str, ReasonForm] | None
) -> dict[str, Any]:
    """Return the forms with what they begin with: the value now, or what was typed."""
    subject = Subject(person=found)
    now = {kind: KINDS[kind].read(subject, None) for kind in FORMS}
    begin: dict[str, Any] = {
        "amount": (now[K.LIMIT] or {}).get("amount", ""),
        "currency": (now[K.LIMIT] or {}).get("currency", ""),
        "chosen_roles": now[K.ROLES],
        "manager": now[K.MANAGER] or "",
        "enabled": "on" if now[K.ENABLED] else "off",
        "reason": "",
        "seen": {kind: written(value) for kind, value in now.items()},
    }
    if typed is not None:
        data: Any = typed[1].data
        begin |= {
            name: data.get(name, "") for name in ("amount", "currency") if typed[0] == K.LIMIT
        }
        begin |= {"manager": data.get("manager", "")} if typed[0] == K.MANAGER else {}
        begin |= {"enabled": data.get("enabled", "")} if typed[0] == K.ENABLED else {}
        begin |= {"chosen_roles": data.getlist("roles")} if typed[0] == K.ROLES else {}
        begin["reason"] = data.get("reason", "")
    managers = Person.objects.filter(is_active=True).exclude(pk=found.pk).order_by("name", "pk")
    return {
        "forms": forms,
        "begin": begin,
        "all_roles": list(Role.objects.order_by("name", "key")),
        "managers": choices_of(managers),
    }


def _head_error(typed: tuple[str, ReasonForm] | None) -> str:
    errors = typed[1].non_field_errors() if typed is not None else []
    return str(errors[0]) if errors else ""
