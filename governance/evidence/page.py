"""The page of a pack that people read and print. It needs nothing beside itself, and runs nothing."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from django.template.loader import render_to_string

from governance import wording
from governance.events import sentence_of
from governance.evidence.parts import Claim, Section, Subject
from governance.evidence.record import Record

FACT = 2_000  # characters of one fact; the whole of it is in events.json
TEXT = 300


class Told(NamedTuple):
    """What the page tells."""

    subject: Subject
    head: dict[str, Any]  # pack.json, without the claims
    record: Record
    sections: Sequence[Section]
    claims: Sequence[Claim]
    files: Sequence[tuple[str, str]]  # name, SHA-256 in hex


class _Line(NamedTuple):
    place: str
    at: str
    kind: str
    sentence: str
    by: str
    facts: list[tuple[str, str]]
    seal: str


def page(told: Told) -> str:
    """Return the page as HTML. What agents, targets and people wrote stands in it as text."""
    context = {
        "subject": told.subject,
        "head": told.head,
        "made_at": shown_instant(told.head["made"]["at"]),
        "sections": [each for each in told.sections if not each.is_background],
        "background": [each for each in told.sections if each.is_background],
        "claims": told.claims,
        "events": list(_lines(told)),
        "seals": [
            {**each, "sealed_at": shown_instant(each["sealed_at"])}
            for each in told.record.seals
            if "signature" in each
        ],
        "links": sum("signature" not in each for each in told.record.seals),
        "keys": told.record.keys,
        "files": told.files,
    }
    text: str = render_to_string("evidence/index.html", context)
    return text


def shown_instant(text: str) -> str:
    """Write an instant of the record for people: to the second, in UTC."""
    return f"{text[:10]} {text[11:19]} UTC"


def shown(value: Any, limit: int = FACT) -> str:
    """Write a JSON value as one line of text that no sender can bend."""
    if value is None:
        return "none"
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return wording.plain(text, limit)


def _lines(told: Told) -> Iterator[_Line]:
    for each in told.record.events:
        own = each["chain"] == told.subject.ref
        proof = each["proof"]
        behalf = f" for {each['on_behalf_of']}" if each["on_behalf_of"] else ""
        yield _Line(
            place=str(each["seq"]) if own else f"{each['chain']} {each['seq']}",
            at=shown_instant(each["at"]),
            kind=each["kind"],
            sentence=sentence_of(each["kind"]),
            by=shown(f"{each['actor']}{behalf}", TEXT),
            facts=[(name, shown(fact)) for name, fact in each["facts"].items()],
            seal="not yet" if proof is None else str(proof["seal"]),
        )
