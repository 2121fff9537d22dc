"""How an event is shown: its sentence, who, its facts in words, its seal, and whether it is as it was written."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, tzinfo
from typing import Any

from governance import ledger, wording
from governance.addresses import page_of_request
from governance.events import sentence_of
from governance.models import AuditEvent, Person
from governance.verify import is_intact
from governance.vocabulary import Chain

INSTANT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}\+00:00")
LONGEST = 2000  # characters of one fact; an export has all of it
MOST_FACTS = 60


@dataclass(frozen=True, slots=True)
class Fact:
    label: str
    words: str


@dataclass(frozen=True, slots=True)
class EventRow:
    """One event in words."""

    event: AuditEvent
    sentence: str
    who: str
    for_whom: str
    request_url: str  # "" for an event of a named chain
    facts: Sequence[Fact]
    intact: bool  # its content gives its hash
    seal: int | None


def rows_of(events: Sequence[AuditEvent], *, now: datetime, zone: tzinfo) -> list[EventRow]:
    """Return events in words. One query, for people's names."""
    names = _names(each for event in events for each in (event.actor, event.on_behalf_of))
    return [
        EventRow(
            event=event,
            sentence=sentence_of(event.kind),
            who=_who(event.actor, names),
            for_whom=_who(event.on_behalf_of, names),
            request_url=_page_of(event.chain),
            facts=list(facts_of(event.facts, now=now, zone=zone)),
            intact=is_intact(event),
            seal=event.sealed.seal_id if hasattr(event, "sealed") else None,
        )
        for event in events
    ]


def _page_of(chain: str) -> str:
    return "" if chain in Chain.values else page_of_request(chain)


def facts_of(facts: Any, *, now: datetime, zone: tzinfo) -> Iterator[Fact]:
    """Yield an event's facts, each with its name in words. What stands within others is named with them."""
    for n, (label, value) in enumerate(_flat("", facts)):
        if n == MOST_FACTS:
            yield Fact("more", "The export has the rest.")
            return
        yield Fact(label, _words(value, now=now, zone=zone))


def _flat(label: str, value: Any) -> Iterator[tuple[str, Any]]:
    match value:
        case dict() if value:
            for key, inner in value.items():
                name = str(key).replace("_", " ")
                yield from _flat(f"{label}, {name}" if label else name, inner)
        case list() if any(isinstance(each, dict) for each in value):
            for n, inner in enumerate(value, start=1):
                yield from _flat(f"{label} {n}", inner)
        case _ if label:
            yield label, value


def _words(value: Any, *, now: datetime, zone: tzinfo) -> str:
    match value:
        case None | "" | [] | {}:
            return "none"
        case bool():
            return "yes" if value else "no"
        case str() if INSTANT.fullmatch(value):
            try:
                at = datetime.fromisoformat(value)
            except ValueError:
                return value  # the 30th of February
            return wording.at(at, now=now, zone=zone, seconds=True)
        case list():
            return wording.plain(", ".join(_plain(each) for each in value), LONGEST)
        case _:
            return wording.plain(str(value), LONGEST)


def _plain(value: Any) -> str:
    return " ".join(_plain(each) for each in value) if isinstance(value, list) else str(value)


def _names(actors: Iterable[str]) -> dict[str, str]:
    usernames = {each.removeprefix("person:") for each in actors if each.startswith("person:")}
    found = Person.objects.filter(username__in=usernames).values_list("username", "name")
    return {f"person:{username}": name for username, name in found}


def _who(actor: str, names: dict[str, str]) -> str:
    if actor in names:
        return f"{names[actor]} ({actor.removeprefix('person:')})"
    return actor.removeprefix("person:").removeprefix("agent:")


def as_written(event: AuditEvent) -> dict[str, Any]:
    """Return an event as an export has it: everything its hash covers, its hash, and its seal."""
    sealed = event.sealed if hasattr(event, "sealed") else None
    return {
        "chain": event.chain,
        "seq": event.seq,
        "kind": event.kind,
        "says": sentence_of(event.kind),
        "actor": event.actor,
        "on_behalf_of": event.on_behalf_of,
        "facts": event.facts,
        "cause": str(event.cause),
        "at": ledger.instant(event.at),
        "prev_hash": event.prev_hash,
        "hash": event.hash,
        "seal": sealed.seal_id if sealed else None,
        "leaf": sealed.position if sealed else None,
    }
