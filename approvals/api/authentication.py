"""Who calls: an agent by its credential, or a person by a token of their own or a session."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from django.db import connection
from django.db.models import CharField, QuerySet, Subquery
from rest_framework.authentication import BaseAuthentication
from rest_framework.request import Request

from governance import clock
from governance.errors import Refused
from governance.models import Agent, AgentCredential, Person, PersonalToken, PolicyVersion
from governance.reads import Given, Read
from governance.services.tokens import is_good, prefix_of


class NotAuthenticated(Refused):
    """No credential, or none that is in force."""

    status, problem, title = 401, "not-authenticated", "No valid credential"
    agent = ""  # whose credential it was, for the record and never for the answer


@dataclass(frozen=True, slots=True)
class Caller:
    """An authenticated agent. Not a user: it can hold no session, role or permission."""

    credential: AgentCredential
    policy: int | None  # the active policy version, which came in the same query
    is_authenticated: bool = field(default=True, init=False)  # DRF asks


class AgentAuthentication(BaseAuthentication):
    """`Authorization: Bearer rc_…` of an agent."""

    def authenticate(self, request: Request) -> tuple[Caller, AgentCredential] | None:
        """Return the caller, or None where the header is not a bearer token of an agent.

        Raises NotAuthenticated for a token that is unknown, wrong, expired or disabled: one
        text for all, so that nobody learns which.
        """
        token = _bearer(request)
        if token is None:
            return None
        prefix = prefix_of(token)
        found, policy = _credential(prefix) if prefix else (None, None)
        if found is None:
            if prefix and PersonalToken.objects.filter(prefix=prefix).exists():
                return None  # a person's: the next class looks at it
            raise _refused()
        if not is_good(found, token, now=clock.real_now()) or found.agent.disabled_at is not None:
            raise _refused(found)
        return Caller(found, policy), found

    def authenticate_header(self, request: Request) -> str:
        return 'Bearer realm="recourse"'


class PersonalTokenAuthentication(BaseAuthentication):
    """`Authorization: Bearer rc_…` of a person."""

    def authenticate(self, request: Request) -> tuple[Person, PersonalToken] | None:
        """Return the person, or None where there is no bearer token. Raises NotAuthenticated."""
        token = _bearer(request)
        if token is None:
            return None
        found = (
            PersonalToken.objects.filter(prefix=prefix_of(token)).select_related("person").first()
        )
        if (
            found is None
            or not is_good(found, token, now=clock.real_now())
            or not found.person.is_active
        ):
            raise _refused()
        return found.person, found

    def authenticate_header(self, request: Request) -> str:
        return 'Bearer realm="recourse"'


_CREDENTIAL = [field.attname for field in AgentCredential._meta.concrete_fields]
_AGENT = [field.attname for field in Agent._meta.concrete_fields]


def _by_prefix() -> QuerySet[AgentCredential, tuple[Any, ...]]:
    active = PolicyVersion.objects.filter(state=PolicyVersion.State.ACTIVE).values("pk")
    return AgentCredential.objects.filter(prefix=Given("prefix", CharField())).values_list(
        *_CREDENTIAL, *(f"agent__{name}" for name in _AGENT), Subquery(active[:1])
    )


_read_by_prefix = Read(_by_prefix, prepared=True)


def _credential(prefix: str) -> tuple[AgentCredential | None, int | None]:
    """Return a credential with its agent, and the active policy version, all in one query."""
    for row in _read_by_prefix(prefix=prefix):
        own, agent, policy = row[: len(_CREDENTIAL)], row[len(_CREDENTIAL) : -1], row[-1]
        found = AgentCredential.from_db(connection.alias, _CREDENTIAL, own)
        found.agent = Agent.from_db(connection.alias, _AGENT, agent)
        return found, policy
    return None, None


def _bearer(request: Request) -> str | None:
    kind, _, token = request.headers.get("Authorization", "").partition(" ")
    return token.strip() if kind.lower() == "bearer" else None


def _refused(credential: AgentCredential | None = None) -> NotAuthenticated:
    refusal = NotAuthenticated("Send Authorization: Bearer with a credential that is in force.")
    refusal.agent = credential.agent.name if credential else ""
    return refusal
