"""The page of a pack that people read and print. It needs nothing beside itself, and runs nothing."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from django.template.loader import render_to_string

from governance import wording
from governance.events import sentence_of
from governance.evidence.parts import Claim, Section, Standing, Subject
from governance.evidence.record import Record

FACT = 2_000  # characters of one fact; the whole of it is in events.json
TEXT = 300


class Told(NamedTuple):
    """What the page tells."""

    subject: Subject
    head: dict[str, Any]  # pack.json, without the claims
    record: Record
    sections: Sequence[tuple[str, Section]]  # with the file that they tell
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
        "sections": [_shown(told, *each) for each in told.sections if not each[1].is_background],
        "background": [_shown(told, *each) for each in told.sections if each[1].is_background],
        "claims": [{**each._asdict(), "why": shown(each.why)} for each in told.claims],
        "events_are": _standing(told, "events.json"),
        "seals_are": _standing(told, "seals.json"),
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


def _shown(told: Told, file: str, section: Section) -> dict[str, Any]:
    standing = "told" if section.is_told else _standing(told, file)
    return {**section._asdict(), "standing": standing}


def _standing(told: Told, file: str) -> str:
    """Return how sure the least sure thing is that a file tells."""
    found = {claim.standing for claim in told.claims if claim.file == file}
    worst = (Standing.CONTRADICTED, Standing.STATED, Standing.PROVEN)
    return next(str(each) for each in worst if each in found)


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
            facts=_facts(each["facts"]),
            seal="not yet" if proof is None else str(proof["seal"]),
        )


def _facts(facts: Any) -> list[tuple[str, str]]:
    if not isinstance(facts, dict):  # nothing of ours wrote that
        return [("facts", shown(facts))]
    return [(shown(name, TEXT), shown(fact)) for name, fact in facts.items()]
