"""Tokens of agents and people: told once, kept as prefix and digest.

`rc_<prefix>_<secret>`: the prefix finds the row, the secret is compared by its
SHA-256 in constant time. Instants of tokens are real time, whatever the demo's clock.
Whoever issues one is on record, with the prefix and never with the token.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from collections.abc import Sequence
from datetime import datetime

from django.db import transaction

from governance import actors
from governance.ledger import Act
from governance.models import Agent, AgentCredential, Person, PersonalToken
from governance.models.people import Token, default_scopes
from governance.vocabulary import Chain

FORM = re.compile(r"rc_(?P<prefix>[0-9a-f]{12})_(?P<secret>[A-Za-z0-9_-]{43})")


@transaction.atomic
def issue_agent_token(
    agent: Agent,
    *,
    departments: Sequence[str],
    actions: Sequence[str],
    now: datetime,
    scopes: Sequence[str] | None = None,
    expires_at: datetime | None = None,
    act: Act | None = None,
) -> tuple[str, AgentCredential]:
    """Return a new token and the credential it is for. The token cannot be told again.

    Args:
        departments, actions: keys; what is not listed is refused.
        now, expires_at: real time, aware.
        act: of which it is a part, for the caller to write; one from the console by default.
    """
    token, prefix, digest = _fresh()
    credential = AgentCredential.objects.create(
        agent=agent,
        prefix=prefix,
        digest=digest,
        departments=list(departments),
        actions=list(actions),
        scopes=list(scopes) if scopes is not None else default_scopes(),
        created_at=now,
        expires_at=expires_at,
    )
    own = act or Act(now=now, actor=actors.CONSOLE)
    own.record_named(
        Chain.PEOPLE, "credential.issued", agent=agent.name, prefix=prefix,
        departments=credential.departments, actions=credential.actions, scopes=credential.scopes,
    )  # fmt: skip
    if act is None:
        own.write()
    return token, credential


@transaction.atomic
def issue_personal_token(
    person: Person, *, now: datetime, expires_at: datetime | None = None
) -> tuple[str, PersonalToken]:
    """Return a new token of a person, and its row."""
    token, prefix, digest = _fresh()
    row = PersonalToken.objects.create(
        person=person, prefix=prefix, digest=digest, created_at=now, expires_at=expires_at
    )
    act = Act(now=now, actor=actors.CONSOLE)
    act.record_named(
        Chain.PEOPLE, "personal_token.issued", person=actors.person(person), prefix=prefix
    )
    act.write()
    return token, row


def prefix_of(token: str) -> str | None:
    """Return the prefix of a token, or None if it does not have a token's form."""
    found = FORM.fullmatch(token)
    return found["prefix"] if found else None


def is_good(row: Token, token: str, *, now: datetime) -> bool:
    """Whether `token` is this row's, and the row is in force at `now` (real time)."""
    same = hmac.compare_digest(row.digest, _digest(token))
    in_force = row.disabled_at is None and (row.expires_at is None or now < row.expires_at)
    return same and in_force


def _fresh() -> tuple[str, str, str]:
    prefix = secrets.token_hex(6)
    token = f"rc_{prefix}_{secrets.token_urlsafe(32)}"
    return token, prefix, _digest(token)


def _digest(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()
