"""What an auditor looks for, as it is typed."""

from __future__ import annotations

from datetime import datetime, tzinfo
from typing import Any

from django import forms

from governance import actors
from governance.events import by_subject
from governance.models import Agent, Person
from governance.search import Search
from governance.vocabulary import Chain

WHEN = "Give a day and a time, as in 2026-03-02 09:00."
FIRST_YEAR, LAST_YEAR = 1900, 9998  # an instant beside them exists in some zones alone
FORMATS = ["%Y-%m-%dT%H:%M", "%Y-%m-%d %H:%M", "%Y-%m-%dT%H:%M:%S", "%Y-%m-%d"]
WITHOUT_NAME = (actors.CLOCK, "worker", "courier", "console", "policy-check")


class SearchForm(forms.Form):
    """All of it may be left out. Instants are in the reader's zone."""

    who = forms.CharField(max_length=120, required=False, strip=True)
    of = forms.CharField(max_length=40, required=False, strip=True)
    kind = forms.ChoiceField(
        choices=[("", "Any event"), *by_subject()],
        required=False,
        error_messages={"invalid_choice": "Choose an event from the list."},
    )
    since = forms.DateTimeField(
        input_formats=FORMATS, required=False, error_messages={"invalid": WHEN}
    )
    until = forms.DateTimeField(
        input_formats=FORMATS, required=False, error_messages={"invalid": WHEN}
    )

    def __init__(self, data: Any, *, zone: tzinfo) -> None:
        super().__init__(data)
        self.zone = zone

    def clean_who(self) -> str:
        """Return somebody as the record writes them: `person:auditor` for a user name or a whole name."""
        typed: str = self.cleaned_data["who"]
        if not typed or ":" in typed or typed in WITHOUT_NAME:
            return typed
        if Agent.objects.filter(name=typed).exists():
            return f"agent:{typed}"
        people = Person.objects.filter(username=typed) or Person.objects.filter(name__iexact=typed)
        found = list(people[:2])
        if not found:
            raise forms.ValidationError(
                "Nobody here has this user name or name, and no agent. Nor is it one of: "
                + ", ".join(WITHOUT_NAME)
                + "."
            )
        if len(found) > 1:
            raise forms.ValidationError("More than one has this name. Give the user name.")
        return actors.person(found[0])

    def clean_of(self) -> str:
        """Return the name of a chain: a request's reference in capitals, or a named chain."""
        typed: str = self.cleaned_data["of"]
        return typed.lower() if typed.lower() in Chain.values else typed.upper()

    def clean_since(self) -> datetime | None:
        return self._within_years("since")

    def clean_until(self) -> datetime | None:
        return self._within_years("until")

    def _within_years(self, name: str) -> datetime | None:
        typed: datetime | None = self.cleaned_data[name]
        if typed is not None and not FIRST_YEAR <= typed.year <= LAST_YEAR:
            raise forms.ValidationError(WHEN)
        return typed

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or {}
        since, until = self._instant("since"), self._instant("until")
        if since is not None and until is not None and until <= since:
            self.add_error("until", "Give an end that is after the beginning.")
        return cleaned

    def search(self) -> Search:
        """Return what to look for. The form is valid."""
        given = self.cleaned_data
        return Search(
            who=given["who"],
            chain=given["of"],
            kind=given["kind"],
            since=self._instant("since"),
            until=self._instant("until"),
        )

    @property
    def from_typed(self) -> str:
        """Return the beginning as a field of type `datetime-local` takes it; "" if it is to be mended."""
        return self._typed("since")

    @property
    def until_typed(self) -> str:
        """Return the end likewise."""
        return self._typed("until")

    def _typed(self, name: str) -> str:
        instant = self._instant(name)
        return f"{instant:%Y-%m-%dT%H:%M}" if instant is not None else ""

    def _instant(self, name: str) -> datetime | None:
        typed: datetime | None = self.cleaned_data.get(name)
        return typed.replace(tzinfo=self.zone) if typed is not None else None
