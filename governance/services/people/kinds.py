"""What may be changed with a second person's word: how each is read, checked and written.

A value is JSON, in a form that is the same whenever the thing is the same, so
that a change knows whether the row has moved since it was asked for.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from datetime import datetime, timedelta
from decimal import Decimal, InvalidOperation
from itertools import pairwise
from typing import Any, NamedTuple

from iso4217 import Currency

from governance import wording
from governance.errors import Unprocessable
from governance.models import Agent, PeopleChange, Person, Role, RosterShift
from governance.services.people.standing import administrators
from governance.vocabulary import Duty

K = PeopleChange.Kind
MOST_SHIFTS = 120  # in one change: four a month and person, say, for a quarter
FURTHEST_SHIFT = timedelta(days=366)
ADMINISTRATORS_NEEDED = 2  # one who asks and one who confirms
_DIGITS, _PLACES = 20, 4  # of Person.limit_amount


class Subject(NamedTuple):
    """Whose change it is. One of the three."""

    person: Person | None = None
    agent: Agent | None = None
    target: str = ""


class How(NamedTuple):
    """How one kind is read, checked and written.

    Attributes:
        read: (subject, what was asked for) -> the value now.
        check: (subject, value before, value asked for, now): raises Unprocessable for what must not be.
        write: (subject, value before, value asked for, now), under the subject's lock.
        named: (subject, before, after) -> user names of those it is about.
    """

    read: Callable[[Subject, Any], Any]
    check: Callable[[Subject, Any, Any, datetime], None]
    write: Callable[[Subject, Any, Any, datetime], None]
    named: Callable[[Subject, Any, Any], set[str]]


def written(value: Any) -> str:
    """Write a value as text: the same whenever the value is the same."""
    return json.dumps(value, sort_keys=True)


# --- Limits ---


def limit(amount: str | Decimal | None, currency: str) -> dict[str, str] | None:
    """Return a limit as a value: its plain digits and currency; None for none.

    Raises Unprocessable: it is no amount of money that a limit can be.
    """
    if amount is None or amount == "":
        if currency:
            raise Unprocessable("Give an amount, or leave the currency empty.", field="amount")
        return None
    try:
        sum_ = Decimal(amount)
    except InvalidOperation:
        raise Unprocessable("Give the amount in digits: 25000.00", field="amount") from None
    if not sum_.is_finite() or sum_ < 0:
        raise Unprocessable("Give an amount that is not below zero.", field="amount")
    places = max(-int(sum_.as_tuple().exponent), 0)
    if places > _PLACES or sum_ >= Decimal(10) ** (_DIGITS - _PLACES):
        raise Unprocessable(
            f"Give at most {_DIGITS - _PLACES} digits and {_PLACES} decimals.", field="amount"
        )
    try:
        Currency(currency)
    except ValueError:
        raise Unprocessable(
            "Give the currency in three letters: USD, EUR, …", field="currency"
        ) from None
    return {"amount": format(sum_.normalize() + 0, "f"), "currency": currency}


def _limit_now(subject: Subject, _: Any) -> Any:
    person = _person(subject)
    return limit(person.limit_amount, person.limit_currency)


def _check_limit(subject: Subject, was: Any, becomes: Any, now: datetime) -> None:
    if becomes is None:
        return
    unit = wording.unit(becomes["currency"])
    if Decimal(becomes["amount"]) % unit:
        raise Unprocessable(
            f"Give no more decimals than {becomes['currency']} has: {unit:f} is its smallest part.",
            field="amount",
        )


def _write_limit(subject: Subject, was: Any, becomes: Any, now: datetime) -> None:
    person = _person(subject)
    person.limit_amount = None if becomes is None else Decimal(becomes["amount"])
    person.limit_currency = "" if becomes is None else becomes["currency"]
    person.save(update_fields=["limit_amount", "limit_currency"])


# --- Roles ---


def _roles_now(subject: Subject, _: Any) -> Any:
    return sorted(_person(subject).roles.values_list("key", flat=True))


def _check_roles(subject: Subject, was: Any, becomes: Any, now: datetime) -> None:
    known = set(Role.objects.filter(key__in=becomes).values_list("key", flat=True))
    if unknown := sorted(set(becomes) - known):
        raise Unprocessable(f"Choose roles that there are: {unknown[0]} is none.", field="roles")
    person = _person(subject)
    if Duty.POLICY_ADMIN not in becomes and not person.is_superuser:
        _enough_administrators_without(person, field="roles")


def _write_roles(subject: Subject, was: Any, becomes: Any, now: datetime) -> None:
    _person(subject).roles.set(Role.objects.filter(key__in=becomes))


# --- Reporting lines ---


def _manager_now(subject: Subject, _: Any) -> Any:
    manager = _person(subject).manager
    return manager.username if manager is not None else None


def _check_manager(subject: Subject, was: Any, becomes: Any, now: datetime) -> None:
    if becomes is None:
        return
    person, above = _person(subject), enabled(becomes, field="manager")
    line, seen = [str(person)], set[int]()
    while above.pk not in seen:  # a circle further up is not this change's
        seen.add(above.pk)
        line.append(str(above))
        if above.pk == person.pk:
            raise Unprocessable(
                f"Choose somebody who does not report to them: {' > '.join(line)}.", field="manager"
            )
        if above.manager is None:
            return
        above = above.manager


def _write_manager(subject: Subject, was: Any, becomes: Any, now: datetime) -> None:
    person = _person(subject)
    person.manager = None if becomes is None else Person.objects.get(username=becomes)
    person.save(update_fields=["manager"])


# --- Accounts ---


def _enabled_now(subject: Subject, _: Any) -> Any:
    return _person(subject).is_active


def _check_enabled(subject: Subject, was: Any, becomes: Any, now: datetime) -> None:
    if not becomes:
        _enough_administrators_without(_person(subject), field="enabled")


def _write_enabled(subject: Subject, was: Any, becomes: Any, now: datetime) -> None:
    person = _person(subject)
    person.is_active = becomes
    person.save(update_fields=["is_active"])


# --- Owners of agents ---


def _owner_now(subject: Subject, _: Any) -> Any:
    return _agent(subject).owner.username


def _check_owner(subject: Subject, was: Any, becomes: Any, now: datetime) -> None:
    enabled(becomes or "", field="owner")


def _write_owner(subject: Subject, was: Any, becomes: Any, now: datetime) -> None:
    agent = _agent(subject)
    agent.owner = Person.objects.get(username=becomes)
    agent.save(update_fields=["owner"])


# --- Rosters ---


def shift(person: Person, starts_at: datetime, ends_at: datetime) -> dict[str, str]:
    """Return a shift as a value."""
    return {
        "person": person.username,
        "starts_at": starts_at.isoformat(),
        "ends_at": ends_at.isoformat(),
    }


def span(value: dict[str, str]) -> tuple[datetime, datetime]:
    """Return the instants of a shift that is a value."""
    return datetime.fromisoformat(value["starts_at"]), datetime.fromisoformat(value["ends_at"])


def shift_rows(target: str, value: dict[str, str]) -> list[RosterShift]:
    """Return the shifts of a target that are as this value says: one, or none any more."""
    starts_at, ends_at = span(value)
    rows = RosterShift.objects.filter(
        target=target, person__username=value["person"], starts_at=starts_at, ends_at=ends_at
    )
    return list(rows.order_by("pk")[:1])


def _shifts_now(subject: Subject, asked: Any) -> Any:
    """Return of the shifts to be taken out those that are there."""
    return [each for each in asked if shift_rows(subject.target, each)]


def check_shifts(subject: Subject, was: Any, becomes: Any, now: datetime) -> None:
    """Check shifts to be put in. Those of several people may overlap; one person's may not."""
    if len(becomes) > MOST_SHIFTS:
        raise Unprocessable(f"Give at most {MOST_SHIFTS} shifts at once.", field="times")
    people: dict[str, list[tuple[datetime, datetime]]] = {}
    for each in becomes:
        starts_at, ends_at = span(each)
        enabled(each["person"], field="person")
        if ends_at <= starts_at:
            raise Unprocessable("Give an end that is after the beginning.", field="ends")
        if ends_at <= now:
            raise Unprocessable("Give a shift that is not over.", field="ends")
        if ends_at > now + FURTHEST_SHIFT:
            raise Unprocessable("Give shifts within a year from now.", field="times")
        people.setdefault(each["person"], []).append((starts_at, ends_at))
    for username, spans in people.items():
        rows = RosterShift.objects.filter(target=subject.target, person__username=username)
        out = [span(each) for each in was if each["person"] == username]
        there = rows.filter(ends_at__gt=now).values_list("starts_at", "ends_at")
        taken = sorted([*(each for each in there if each not in out), *spans])
        for (_, ends_at), (starts_at, _) in pairwise(taken):
            if starts_at < ends_at:
                raise Unprocessable(
                    f"Choose another time: {username} is on that roster then already.",
                    field="starts",
                )


def _write_shifts(subject: Subject, was: Any, becomes: Any, now: datetime) -> None:
    for each in was:
        for row in shift_rows(subject.target, each):
            if row.starts_at < now:  # who was on call stays on record
                row.ends_at = now
                row.save(update_fields=["ends_at"])
            else:
                row.delete()
    for each in becomes:
        starts_at, ends_at = span(each)
        person = Person.objects.get(username=each["person"])
        RosterShift.objects.create(
            target=subject.target, person=person, starts_at=starts_at, ends_at=ends_at
        )


# --- Who it is about ---


def _of_person(subject: Subject, was: Any, becomes: Any) -> set[str]:
    return {_person(subject).username}


def _of_line(subject: Subject, was: Any, becomes: Any) -> set[str]:
    return _named([_person(subject).username, was, becomes])


def _of_owners(subject: Subject, was: Any, becomes: Any) -> set[str]:
    return _named([was, becomes])


def _of_shifts(subject: Subject, was: Any, becomes: Any) -> set[str]:
    return {each["person"] for each in (*was, *becomes)}


def _named(usernames: Iterable[str | None]) -> set[str]:
    return {each for each in usernames if each}


KINDS: dict[str, How] = {
    K.LIMIT: How(_limit_now, _check_limit, _write_limit, _of_person),
    K.ROLES: How(_roles_now, _check_roles, _write_roles, _of_person),
    K.MANAGER: How(_manager_now, _check_manager, _write_manager, _of_line),
    K.ENABLED: How(_enabled_now, _check_enabled, _write_enabled, _of_person),
    K.OWNER: How(_owner_now, _check_owner, _write_owner, _of_owners),
    K.SHIFTS: How(_shifts_now, check_shifts, _write_shifts, _of_shifts),
}


def enabled(username: str, *, field: str) -> Person:
    """Return an enabled person by user name. Raises Unprocessable for anything else."""
    found = Person.objects.filter(username=username, is_active=True).first()
    if found is None:
        raise Unprocessable("Choose somebody who is here and switched on.", field=field)
    return found


def _enough_administrators_without(person: Person, *, field: str) -> None:
    """Two must remain: with fewer nobody could change anything about people any more."""
    if not administrators().filter(pk=person.pk).exists():
        return
    if administrators().exclude(pk=person.pk).count() < ADMINISTRATORS_NEEDED:
        raise Unprocessable(
            "Name another administrator first: two must remain, one who asks and one who confirms.",
            field=field,
        )


def _person(subject: Subject) -> Person:
    if subject.person is None:
        raise ValueError("a change of a person without a person")
    return subject.person


def _agent(subject: Subject) -> Agent:
    if subject.agent is None:
        raise ValueError("a change of an agent without an agent")
    return subject.agent
