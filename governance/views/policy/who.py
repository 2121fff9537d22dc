"""Who would get this: a request that nobody has made, typed in, and its ladder person by person."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from typing import Any
from urllib.parse import urlencode
from zoneinfo import ZoneInfo

from django import forms
from django.core.exceptions import PermissionDenied
from django.http import HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from governance import clock
from governance.context import OVERSEERS
from governance.drafting.shown import ANSWERS
from governance.errors import NoRoute, Refused
from governance.models import ActionType, Agent, Department, MatrixRow, Person, PolicyVersion
from governance.models.people import known_zone
from governance.services.people.standing import sees_everybody
from governance.views.people.edge import place
from governance.views.people.forms import WallTime, choices_of
from governance.views.policy.edge import LAST_NUMBER, PolicyRequest, may_read
from governance.vocabulary import ExceptionType, Impact, Severity
from governance.who_decides import Ladder, who_decides

VERSIONS = 30  # to choose from, besides the one that is asked for
FEW = 6  # passed over on one rung; more are folded away
_CHOOSE = {"required": "Choose one.", "invalid_choice": "Choose one of these."}


class AskedForm(forms.Form):
    """A request that nobody has made. What is named need not exist: `who_decides` says so."""

    action = forms.CharField(max_length=60, error_messages={"required": "Choose an action."})
    department = forms.CharField(max_length=60, error_messages={"required": "Choose a department."})
    amount = forms.CharField(max_length=40, required=False)
    currency = forms.CharField(max_length=3, required=False)
    at = WallTime(required=False)
    zone = forms.CharField(max_length=60, required=False, validators=[known_zone])
    exception = forms.ChoiceField(
        choices=ExceptionType.choices, required=False, error_messages=_CHOOSE
    )
    severity = forms.ChoiceField(choices=Severity.choices, required=False, error_messages=_CHOOSE)
    impact = forms.ChoiceField(choices=Impact.choices, required=False, error_messages=_CHOOSE)
    agent = forms.CharField(max_length=60, required=False)
    on_behalf_of = forms.CharField(max_length=150, required=False)
    resource = forms.CharField(max_length=300, required=False)
    version = forms.IntegerField(
        min_value=1,
        max_value=LAST_NUMBER,
        required=False,
        error_messages=dict.fromkeys(
            ("invalid", "min_value", "max_value"), "There is no such policy."
        ),
    )

    def clean_amount(self) -> Decimal | None:
        text = "".join(self.cleaned_data["amount"].replace(",", "").split())
        try:
            return Decimal(text) if text else None
        except InvalidOperation as problem:
            raise forms.ValidationError("Give it in digits: 12000.00.") from problem

    def clean_currency(self) -> str:
        return str(self.cleaned_data["currency"]).upper()

    def clean(self) -> dict[str, Any]:
        given = self.cleaned_data
        if given.get("amount") is not None and given.get("currency") == "":
            self.add_error("currency", "Say it beside the amount: USD.")
        wall, name = given.get("at"), given.get("zone")
        if wall is not None and name is not None:
            zone = ZoneInfo(name or "UTC")
            given["at"] = at = wall.replace(tzinfo=zone)
            if 1 < wall.year < 9999 and _wall(at.astimezone(UTC), zone) != wall:
                self.add_error("at", f"The clocks of {zone} leave this time out. Give another.")
        return given

    def asked(self, *, now: datetime) -> dict[str, Any]:
        """Return what `who_decides` takes."""
        given = {**self.cleaned_data}
        del given["zone"]
        return given | {
            "at": given["at"] or now.replace(microsecond=0),  # as an address can say it
            "exception": ExceptionType(given["exception"] or ExceptionType.TIMEOUT),
            "severity": Severity(given["severity"]) if given["severity"] else None,
            "impact": Impact(given["impact"]) if given["impact"] else None,
        }


@require_safe
def who_page(request: PolicyRequest) -> HttpResponse:
    """Show the form, and with an action in the address the answer. 404 or 422 for what is to be mended.

    For those who may ask the API the same.
    """
    if not (request.user.is_superuser or request.user.has_duty(*OVERSEERS)):
        raise PermissionDenied(
            "Operators, auditors, compliance and policy administrators see this."
        )
    now, status = clock.now(), 200
    context: dict[str, Any] = {"here": "policy", "may_read": may_read(request.user), "few": FEW}
    form = AskedForm(request.GET) if "action" in request.GET else None
    if form is not None:
        status = 422
        if form.is_valid():
            try:
                found = who_decides(**form.asked(now=now))
            except NoRoute as refused:
                status, context["no_route"] = refused.status, refused.detail
            except Refused as refused:
                status = place(form, refused)
            else:
                status = 200
                context |= _answer(request, form, found)
    context |= _form(request, form)
    return render(request, "policy/who.html", context, status=status)


def _answer(request: PolicyRequest, form: AskedForm, found: Ladder) -> dict[str, Any]:
    fixed = {"at": f"{found.at.astimezone(UTC):%Y-%m-%dT%H:%M:%S}", "zone": "UTC"}
    kept = {key: value for key, value in form.data.items() if key in form.fields and value}
    kind = ActionType.objects.get(key=found.action, state=ActionType.State.PRODUCTION)
    return {
        "found": found,
        "kind": kind,
        "place": Department.objects.get(key=found.department),
        "answer": ANSWERS[found.response],
        # It stays the same tomorrow, as an empty time would not.
        "link": urlencode(kept | fixed | {"version": found.policy}),
        "names_people": sees_everybody(request.user),
    }


def _form(request: PolicyRequest, form: AskedForm | None) -> dict[str, Any]:
    """Return what there is to choose from, and what was typed."""
    typed = {name: request.GET.get(name, "") for name in AskedForm.base_fields}
    if form is None:
        typed |= {"zone": request.user.time_zone, "exception": ExceptionType.TIMEOUT.value}
        typed["currency"] = typed["currency"] or "USD"
    production = ActionType.objects.filter(state=ActionType.State.PRODUCTION)
    versions = list(
        PolicyVersion.objects.order_by("-number").values_list("number", "state")[:VERSIONS]
    )
    people = Person.objects.filter(is_active=True).order_by("name", "pk")
    rare = ("agent", "on_behalf_of", "resource")
    return {
        "form": form,
        "typed": typed,
        "wrong": {name: said[0] for name, said in form.errors.items()} if form else {},
        "rare": any(typed[name] for name in rare),
        "actions": list(production.order_by("name", "key").values_list("key", "name")),
        "departments": list(Department.objects.order_by("name").values_list("key", "name")),
        "currencies": sorted(
            set(MatrixRow.objects.exclude(currency="").values_list("currency", flat=True))
        ),
        "zones": sorted({"UTC", request.user.time_zone, typed["zone"]} - {""}),
        "exceptions": ExceptionType.choices,
        "severities": Severity.choices,
        "impacts": Impact.choices,
        "agents": list(Agent.objects.order_by("name").values_list("name", flat=True)),
        "people": choices_of(people),
        "versions": [
            (str(number), f"{number}, {PolicyVersion.State(state).label.lower()}")
            for number, state in versions
        ],
    }


def _wall(at: datetime, zone: ZoneInfo) -> datetime:
    return at.astimezone(zone).replace(tzinfo=None)
