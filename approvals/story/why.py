"""Why somebody is asked, and why others are not."""

from __future__ import annotations

from collections.abc import Iterable

from approvals.models import Ask
from approvals.story.reading import Reading
from approvals.story.words import passed_over_because, role_words, the, upper_first
from governance import wording


def why_asked(reading: Reading) -> tuple[str, tuple[str, ...]]:
    """Return a heading, and why those asked are the ones."""
    if reading.mine is not None:
        return "Why you", tuple(_why_of(reading, reading.mine))
    if reading.packet.asked:
        lines = [
            f"{upper_first(the([ask.person], reading.reader))} is {role_words(ask.why)}."
            for ask in reading.packet.asked
            if ask.why
        ]
        first = the([reading.packet.asked[0].person], reading.reader)
        return "Why them" if len(lines) > 1 else f"Why {first}", tuple(lines)
    own = reading.own_last
    if own is not None and own.asked_at and own.why:
        return "Why you", (f"You were asked as {role_words(own.why)}.",)
    last = reading.packet.steps[-1] if reading.packet.steps else None
    asks = reading.packet.asks.get(last.pk, ()) if last is not None else ()
    asked = [ask for ask in asks if ask.asked_at and ask.why]
    lines = [
        f"{upper_first(the([ask.person], reading.reader))} was asked as {role_words(ask.why)}."
        for ask in asked
    ]
    return "Why them" if len(lines) > 1 else "Who decides", tuple(lines)


def _why_of(reading: Reading, ask: Ask) -> Iterable[str]:
    if ask.why:
        yield f"You are {role_words(ask.why)}."
    limit = reading.reader.limit_amount
    if limit is not None:
        yield f"Your own limit is {wording.money(limit, reading.reader.limit_currency)}."
    request = reading.request
    others = [each.person for each in reading.packet.asked if each.person_id != reading.reader.pk]
    if others:
        yield f"{upper_first(the(others, reading.reader))} {'are' if len(others) > 1 else 'is'} asked with you."
    if request.quorum > 1:
        have = reading.packet.history.approvals
        yield f"It takes {request.quorum} approvals; {have} {'is' if have == 1 else 'are'} given."


def passed_over(reading: Reading) -> tuple[tuple[str, str], ...]:
    """Return who was passed over and why, each person once, with the last reason."""
    found: dict[int, tuple[str, str]] = {}
    for step in reading.packet.steps:
        for ask in reading.packet.asks.get(step.pk, ()):
            if ask.passed_over_at:
                name = "You" if ask.person_id == reading.reader.pk else str(ask.person)
                found[ask.person_id] = (name, passed_over_because(ask, reading.reader))
    return tuple(found.values())
