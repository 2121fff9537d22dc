"""Who did it, as the record writes it."""

from __future__ import annotations

from governance.models import Agent, Person

CLOCK = "clock"


def person(who: Person) -> str:
    return f"person:{who.username}"


def agent(who: Agent) -> str:
    return f"agent:{who.name}"
