"""Changes of people in words."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from governance import wording
from governance.models import PeopleChange, Person, Role
from governance.services.people.kinds import span

S = PeopleChange.State
K = PeopleChange.Kind
SHOWN = 3  # shifts named one by one


@dataclass(frozen=True)
class Names:
    """How people and roles are called, read once for all that is said."""

    people: dict[str, str]  # by user name
    roles: dict[str, str]  # by key

    @classmethod
    def load(cls) -> Names:
        people = dict(Person.objects.values_list("username", "name"))
        return cls(people, dict(Role.objects.values_list("key", "name")))

    def person(self, username: str | None) -> str:
        """Return somebody's name with their user name, since names may be alike."""
        if username is None:
            return "nobody"
        name = self.people.get(username)
        return f"{name} ({username})" if name else username


def words(change: PeopleChange, names: Names | None = None) -> str:
    """Say what a change is, in a sentence: "Limit of Controller: from $100,000.00 to $50,000.00."

    Args:
        names: read for this one where none are given.
    """
    names = names or Names.load()
    was, becomes = change.was, change.becomes
    match change.kind:
        case K.LIMIT:
            return f"Limit of {change.person}: from {limit(was)} to {limit(becomes)}."
        case K.ROLES:
            return f"Roles of {change.person}: {_difference(was or [], becomes or [], names)}."
        case K.MANAGER:
            now, before = names.person(becomes), names.person(was)
            return f"{change.person} reports to {now}, instead of {before}."
        case K.ENABLED:
            return f"The account of {change.person} is switched {'on' if becomes else 'off'}."
        case K.OWNER:
            now, before = names.person(becomes), names.person(was)
            return f"The agent {change.agent} is owned by {now}, instead of {before}."
        case K.SHIFTS:
            return f"On call for {change.target}, {_exchange(was or [], becomes or [], names)}."
    raise ValueError(f"nobody says a change of kind {change.kind}")


def ended(change: PeopleChange) -> str:
    """Say how a change ended, in a sentence."""
    by, why = change.ended_by, f": {change.note}" if change.note else "."
    match change.state:
        case S.CONFIRMED:
            return f"{by} confirmed a change. It holds now."
        case S.REFUSED:
            return f"{by} refused the change you asked for{why}"
        case S.LAPSED:
            return "Nobody confirmed the change you asked for in time, so it lapsed."
        case S.WITHDRAWN:
            return f"{by} withdrew a change."
        case S.STALE:
            return f"The change you asked for is out of date{why}"
    raise ValueError(f"change {change.pk} has not ended")


def limit(value: dict[str, str] | None) -> str:
    return "none" if value is None else wording.money(Decimal(value["amount"]), value["currency"])


def _difference(was: Sequence[str], becomes: Sequence[str], names: Names) -> str:
    gained = [each for each in becomes if each not in was]
    lost = [each for each in was if each not in becomes]
    parts = (("gains", gained), ("loses", lost))
    return ", ".join(
        f"{verb} {', '.join(names.roles.get(each, each) for each in these)}"
        for verb, these in parts
        if these
    )


def _exchange(out: Sequence[dict[str, Any]], in_: Sequence[dict[str, Any]], names: Names) -> str:
    parts = (("out", out), ("in", in_))
    return "; ".join(f"{verb}: {_shifts(these, names)}" for verb, these in parts if these)


def _shifts(values: Sequence[dict[str, Any]], names: Names) -> str:
    said = []
    for each in values[:SHOWN]:
        starts_at, ends_at = span(each)
        who = names.person(each["person"])
        said.append(f"{who} from {_instant(starts_at)} to {_instant(ends_at)} UTC")
    if len(values) > SHOWN:
        said.append(f"{len(values) - SHOWN} more")
    return ", ".join(said)


def _instant(at: datetime) -> str:
    here = at.astimezone(UTC)
    return f"{here.day} {here:%b %Y %H:%M}"
