"""What a pack is about, and what each package puts into it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, NamedTuple

from django.conf import settings
from django.utils.module_loading import import_string

from governance.models import AuditEvent


@dataclass(frozen=True)
class Subject:
    """One request, or one review of it."""

    kind: str  # "request" or "review"
    ref: str  # the request's, which is also the name of its chain
    title: str  # for people, in one line
    review: int | None = None  # primary key


class Event(NamedTuple):
    """Where an event stands in the record."""

    chain: str
    seq: int


class Head(NamedTuple):
    """Where the chain of a request ends, by whoever keeps count of its events."""

    length: int
    hash: str  # of its last event


class Section(NamedTuple):
    """A table of the page for people. Cells are plain text: the page escapes them."""

    title: str
    lead: str  # a sentence; "" = none
    head: Sequence[str]
    rows: Sequence[Sequence[str]]
    is_background: bool = False  # it stands after the events: the rules, not what happened
    is_told: bool = False  # by rows of the database alone: no event says so


class Standing(StrEnum):
    """How sure a reader may be of something."""

    PROVEN = "proven"  # it follows from the record
    STATED = "stated"  # a row says so, and we sign that it did
    CONTRADICTED = "contradicted"  # the record says otherwise: somebody changed a row


class Claim(NamedTuple):
    """What a reader may rely on, how far, and why not further."""

    what: str
    file: str
    standing: Standing
    why: str


@dataclass(frozen=True)
class Part:
    """One file of a pack, and how the page tells it.

    `verify.py` knows each file by its name: a new one needs a check there.
    """

    file: str  # "decisions.json"
    content: Any  # JSON
    sections: Sequence[Section] = ()
    events: Sequence[Event] = field(default=())  # of named chains, which go into the pack with it
    head: Head | None = None  # of the request's chain: one part of a pack has it


def fact(event: AuditEvent | None, name: str) -> Any:
    """Return what an event says of something; None if nothing, or if somebody put no facts there."""
    return event.facts.get(name) if event is not None and isinstance(event.facts, dict) else None


Source = Callable[[Subject], Iterable[Part]]


def parts_of(subject: Subject) -> list[Part]:
    """Return what each package has to say of it, in the order of settings.RECOURSE_EVIDENCE."""
    sources: list[Source] = [import_string(name) for name in settings.RECOURSE_EVIDENCE]
    return [part for source in sources for part in source(subject)]
