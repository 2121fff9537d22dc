"""What people send from these pages. Errors say the mend, not the fault."""

from __future__ import annotations

import re
from datetime import datetime
from typing import Any

from django import forms

from governance.models import Person, Role
from governance.models.people import known_zone
from governance.services.people.changes import REASON_LENGTH

DAY = {
    "required": "Give a day.",
    "invalid": "Give a day as year, month and day: 2026-03-02.",
}
TIME = {
    "required": "Give a day and a time.",
    "invalid": "Give a day and a time: 2026-03-02 09:00.",
}
WHY = {
    "required": "Say why. Whoever confirms it reads this.",
    "max_length": "Keep it under %(limit_value)d characters; this one has %(show_value)d.",
}
AMOUNT = re.compile(r"-?(?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d+)?")
TIME_FORMATS = ("%Y-%m-%dT%H:%M", "%Y-%m-%d %H:%M", "%Y-%m-%dT%H:%M:%S")


class WallTime(forms.Field):
    """A day and a time on a wall, in no zone: another field says in which."""

    default_error_messages = {**TIME}

    def to_python(self, value: Any) -> datetime | None:
        if not value:
            return None
        for form in TIME_FORMATS:
            try:
                # Of which zone it is another field says.
                return datetime.strptime(value, form)  # noqa: DTZ007
            except ValueError:
                continue
        raise forms.ValidationError(self.error_messages["invalid"], code="invalid")


class AbsenceForm(forms.Form):
    """An absence of whole days. Whose it may be is the service's to say."""

    person = forms.CharField(max_length=150, required=False)
    first = forms.DateField(input_formats=["%Y-%m-%d"], error_messages=DAY)
    last = forms.DateField(input_formats=["%Y-%m-%d"], error_messages=DAY)


class ShortenForm(forms.Form):
    """Another last day of an absence, and the end that its page showed."""

    last = forms.DateField(input_formats=["%Y-%m-%d"], error_messages=DAY)
    seen = forms.CharField(max_length=40, required=False)


class ReasonForm(forms.Form):
    """What every change that takes two has: why."""

    reason = forms.CharField(max_length=REASON_LENGTH, error_messages=WHY)


class LimitForm(ReasonForm):
    amount = forms.CharField(max_length=40, required=False)
    currency = forms.CharField(max_length=3, required=False)

    def clean_amount(self) -> str:
        text = str(self.cleaned_data["amount"])
        # Elsewhere a comma is where the decimals begin: 25,00 must not become 2,500.
        if text and not (text.isascii() and AMOUNT.fullmatch(text)):
            raise forms.ValidationError("Give the amount in digits: 25000 or 25,000.00")
        return text.replace(",", "")

    def clean_currency(self) -> str:
        return str(self.cleaned_data["currency"]).upper()


class RolesForm(ReasonForm):
    roles = forms.MultipleChoiceField(
        required=False, error_messages={"invalid_choice": "Choose roles that there are."}
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        field: Any = self.fields["roles"]
        field.choices = list(Role.objects.order_by("name", "key").values_list("key", "name"))


class ManagerForm(ReasonForm):
    manager = forms.CharField(max_length=150, required=False)


class EnabledForm(ReasonForm):
    enabled = forms.ChoiceField(
        choices=[("on", "On"), ("off", "Off")],
        error_messages={"required": "Choose on or off.", "invalid_choice": "Choose on or off."},
    )


class OwnerForm(ReasonForm):
    owner = forms.CharField(max_length=150, error_messages={"required": "Choose an owner."})


class ShiftForm(ReasonForm):
    """A shift, perhaps again each week. Its times are of the zone that is chosen."""

    person = forms.CharField(max_length=150, error_messages={"required": "Choose somebody."})
    starts = WallTime()
    ends = WallTime()
    zone = forms.CharField(max_length=60, validators=[known_zone])
    times = forms.IntegerField(
        min_value=1,
        max_value=52,
        error_messages={
            "required": "Say how many weeks.",
            "invalid": "Say how many weeks, in digits.",
            "min_value": "Give at least one week.",
            "max_value": "Give at most 52 weeks.",
        },
    )


class TakeOutForm(ReasonForm):
    """That a shift goes. Which one is in the address."""


class EndForm(forms.Form):
    """What a second person says of a change, or whoever asked for it."""

    verdict = forms.ChoiceField(
        choices=[(each, each) for each in ("confirm", "refuse", "withdraw")],
        error_messages={"required": "Choose one.", "invalid_choice": "Choose one."},
    )
    note = forms.CharField(max_length=REASON_LENGTH, required=False, error_messages=WHY)


def choices_of(people: Any) -> list[tuple[str, str]]:
    """Return people to choose from: user name, and name with user name."""
    return [(each.username, _named(each)) for each in people]


def _named(person: Person) -> str:
    return f"{person} ({person.username})"
