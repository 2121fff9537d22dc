"""Whether somebody gave their second factor a moment ago, for this matter and in this session.

allauth's own question, `did_recently_reauthenticate`, answers yes for a person
who has nothing to re-authenticate with, takes a password for enough, and knows
nothing of what it is asked about. This one reads the same records and takes
none of these for an answer. All instants here are real time: sessions are.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import NamedTuple

from allauth.account.authentication import (
    AUTHENTICATION_METHODS_SESSION_KEY,
    get_authentication_records,
)
from allauth.mfa.models import Authenticator
from django.http import HttpRequest

from governance import clock, wording
from governance.errors import Refused
from governance.models import Person

FRESH_FOR = timedelta(minutes=2)  # half-open: at this age it is too old
SET_UP_AT = "/accounts/2fa/"
# A recovery code opens the door to somebody who lost the factor. It does not stand for it.
FACTORS = (Authenticator.Type.TOTP.value, Authenticator.Type.WEBAUTHN.value)


class NoSecondFactor(Refused):
    """Asked for a second factor, of somebody who has none."""

    status, problem, title = 403, "no-second-factor", "You have no second factor"


class StepUpNeeded(Refused):
    """What is asked needs a second factor, given for it a moment ago."""

    status, problem, title = 403, "step-up-needed", "Confirm first that it is you"


class Presence(NamedTuple):
    """Somebody gave a second factor, for one matter.

    Attributes:
        person: primary key.
        matter: what it was given for: the ref of a request.
        at: when, real time.
    """

    person: int
    matter: str
    at: datetime


def has_factor(person: Person) -> bool:
    """Whether this person has set up a second factor. One query."""
    return bool(Authenticator.objects.filter(user=person, type__in=FACTORS).exists())


def presence_of(
    request: HttpRequest, *, matter: str, within: timedelta = FRESH_FOR
) -> Presence | None:
    """Return the second factor that this session's person gave for `matter`, if it is fresh.

    Only a factor that they still have counts. None for sessions without one:
    whoever goes on anyway is stopped by `required`.
    """
    person = request.user
    if not isinstance(person, Person):
        return None
    now = clock.real_now()
    for record in reversed(get_authentication_records(request, person)):
        if not _is_given_for(record, matter):
            continue
        at = datetime.fromtimestamp(record["at"], UTC)
        if abs(now - at) >= within or not _still_has(person, record["id"]):
            return None
        return Presence(person.pk, matter, at)
    return None


def required(
    presence: Presence | None,
    *,
    actor: Person,
    matter: str,
    thing: str = "request",
    so: str = "Your decision was not recorded.",
) -> Presence:
    """Return the presence, if it is this person's and was given for this matter.

    Args:
        thing: what the matter is, in a word.
        so: what holds after a refusal.

    Raises:
        NoSecondFactor: they have none to give, and are told where to set one up.
        StepUpNeeded: it was not given, or is too old. The page asks for it; a token cannot give it.
    """
    if presence is not None and (presence.person, presence.matter) == (actor.pk, matter):
        return presence
    if not has_factor(actor):
        raise NoSecondFactor(
            f"This takes a second factor, and you have none. Set one up at {SET_UP_AT}, then come back. "
            f"{so}",
            set_up=SET_UP_AT,
        )
    raise StepUpNeeded(
        f"This takes your second factor, given for this {thing} in the last {wording.span(FRESH_FOR)}. "
        f"Its page asks you for it; a token cannot give it. {so}"
    )


def keep(request: HttpRequest, *, matter: str) -> None:
    """Say what the factor that was given just now, with allauth's form, was given for."""
    records = list(get_authentication_records(request, request.user))
    records[-1] = {**records[-1], "matter": matter}
    request.session[AUTHENTICATION_METHODS_SESSION_KEY] = records


def gave_a_code(request: HttpRequest, *, within: timedelta) -> bool:
    """Whether the session's person gave a code of theirs, recovery codes among them, for whatever it was."""
    now = clock.real_now()
    return any(
        record.get("method") == "mfa"
        and record.get("reauthenticated") is True
        and abs(now - datetime.fromtimestamp(record["at"], UTC)) < within
        for record in get_authentication_records(request, request.user)
    )


def _is_given_for(record: dict[str, object], matter: str) -> bool:
    return (
        record.get("method") == "mfa"
        and record.get("type") in FACTORS
        and record.get("reauthenticated") is True
        and record.get("matter") == matter
    )


def _still_has(person: Person, factor: int) -> bool:
    return bool(Authenticator.objects.filter(pk=factor, user=person, type__in=FACTORS).exists())
