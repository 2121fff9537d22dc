"""Who did it, as the record writes it."""

from __future__ import annotations

from governance.models import Agent, Person

CLOCK = "clock"
CONSOLE = "console"  # somebody with a shell on the machine


def person(who: Person) -> str:
    return f"person:{who.username}"


def agent(who: Agent) -> str:
    return f"agent:{who.name}"
