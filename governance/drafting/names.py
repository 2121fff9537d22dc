"""Who and what a word in a draft means, and how each is written. Read once for a page or an act.

finance_manager     the role of this key, and of this name: "Finance manager"
person:cfo          one person, by user name, where a role could stand as well
cfo                 the same, where only a person can stand
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from governance.models import ActionType, Department, Person, Role

PERSON = "person:"
_SEPARATORS = frozenset(",;:")


class Unknown(ValueError):
    """A word that means nobody and nothing here. The message is for whoever typed it."""


class Named(NamedTuple):
    """A role, or a person: exactly one of the two, by primary key."""

    role: int | None = None
    person: int | None = None


class Entry(NamedTuple):
    """One thing that can be named."""

    pk: int
    key: str
    name: str


class Kind:
    """All things of one kind, found by key, or by a name that no other of them has."""

    def __init__(self, word: str, entries: Iterable[Entry]) -> None:
        self.word = word  # "department"
        self.entries = tuple(entries)
        self.by_pk = {each.pk: each for each in self.entries}
        self.by_key = {each.key: each for each in self.entries}
        often = Counter(_folded(each.name) for each in self.entries)
        keys = {_folded(each.key) for each in self.entries}
        self._by_name = {
            _folded(each.name): each
            for each in self.entries
            if often[_folded(each.name)] == 1
            and (_folded(each.name) not in keys or _folded(each.name) == _folded(each.key))
            and not _SEPARATORS.intersection(each.name)
        }

    def find(self, text: str) -> Entry:
        """Return what this word names. Raises Unknown."""
        found = self.by_key.get(text.strip()) or self._by_name.get(_folded(text))
        if found is None:
            raise Unknown(f"There is no {self.word} {_quoted(text)}.")
        return found

    def text(self, pk: int) -> str:
        """Return the word for one of them that people read most easily and `find` understands."""
        entry = self.by_pk[pk]
        return entry.name if self._by_name.get(_folded(entry.name)) is entry else entry.key


@dataclass(frozen=True)
class Names:
    """Everything that a policy can name."""

    departments: Kind
    roles: Kind
    people: Kind  # all of them, so that a version that names somebody who left can still be read
    actions: Mapping[str, str]  # names by key, of those that are not retired
    enabled: frozenset[int]  # primary keys of people

    def department(self, text: str) -> int:
        return self.departments.find(text).pk

    def action(self, text: str) -> str:
        """Return an action type's key; "" for any."""
        text = text.strip()
        if text in ("", "any") or text in self.actions:
            return "" if text == "any" else text
        fitting = [key for key, name in self.actions.items() if _folded(name) == _folded(text)]
        if len(fitting) != 1:
            raise Unknown(f"There is no action {_quoted(text)}. Leave it empty for any.")
        return fitting[0]

    def person(self, text: str) -> int:
        """Return somebody who may be asked, by user name or name. Raises Unknown."""
        found = self.people.find(text.strip().removeprefix(PERSON))
        if found.pk not in self.enabled:
            raise Unknown(f"{found.name} is disabled, so can never be asked.")
        return found.pk

    def role_or_person(self, text: str) -> Named:
        """Return a role, or with `person:` before it a person. Raises Unknown."""
        text = text.strip()
        if text.startswith(PERSON):
            return Named(person=self.person(text))
        try:
            return Named(role=self.roles.find(text).pk)
        except Unknown as unknown:
            if text in self.people.by_key:
                raise Unknown(
                    f"There is no role {_quoted(text)}. For the person of that name write {PERSON}{text}."
                ) from unknown
            raise

    def several(self, text: str) -> list[Named]:
        """Return roles and people in their order, from words between commas or semicolons."""
        return [self.role_or_person(word) for word in words_of(text)]

    # --- Written down ---

    def action_text(self, key: str) -> str:
        """Return an action's name; "any" for any."""
        return self.actions.get(key, key) if key else "any"

    def text(self, named: Named) -> str:
        if named.person is not None:
            return f"{PERSON}{self.people.by_pk[named.person].key}"
        return self.roles.text(_there(named.role))

    def key(self, named: Named) -> str:
        if named.person is not None:
            return f"{PERSON}{self.people.by_pk[named.person].key}"
        return self.roles.by_pk[_there(named.role)].key

    def shown(self, named: Named) -> str:
        """Return a name as it is read and not typed."""
        if named.person is not None:
            return self.people.by_pk[named.person].name
        return self.roles.by_pk[_there(named.role)].name


def load() -> Names:
    """Read the names that there are now. Four queries."""
    people = list(
        Person.objects.order_by("username").values_list("pk", "username", "name", "is_active")
    )
    actions = ActionType.objects.exclude(state=ActionType.State.RETIRED).order_by("key", "version")
    return Names(
        departments=Kind("department", map(Entry._make, _keyed(Department))),
        roles=Kind("role", map(Entry._make, _keyed(Role))),
        people=Kind("person", (Entry(pk, key, name or key) for pk, key, name, _ in people)),
        actions=dict(actions.values_list("key", "name")),
        enabled=frozenset(pk for pk, _, _, active in people if active),
    )  # fmt: skip


def words_of(text: str) -> list[str]:
    """Return the words between commas, semicolons and line ends."""
    found = text.replace(";", ",").replace("\n", ",").split(",")
    return [word.strip() for word in found if word.strip()]


def _keyed(model: type[Department] | type[Role]) -> list[tuple[int, str, str]]:
    return list(model.objects.order_by("name", "pk").values_list("pk", "key", "name"))


def _folded(text: str) -> str:
    return " ".join(text.split()).casefold()


def _quoted(text: str) -> str:
    word = " ".join(text.split())
    return f"“{word[:60]}”" if word else "without a name"


def _there(pk: int | None) -> int:
    if pk is None:
        raise ValueError("a name in the matrix is a role or a person")
    return pk
