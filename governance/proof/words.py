"""How the proof says what it found: one sentence, with roles, rows and dates. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from governance import wording
from governance.proof.findings import Finding
from governance.routing import Passed, People, Why
from governance.vocabulary import Path

if TYPE_CHECKING:
    from governance.proof.questions import Question
    from governance.proof.world import World

NAMED = 4  # of those passed over; the others are counted
DAY = timedelta(days=1)
# What is missing where nobody was even looked at.
UNNAMED = {
    Path.APPROVAL: "no approver, no delegate and nobody above them is there",
    Path.TIMEOUT: "no approver, no delegate and nobody above them is there",
    Path.REJECTION: "no delegate and no head of the department is named",
    Path.CONFLICT: "no owner of the record is named",
    Path.POLICY_VIOLATION: "nobody is named for compliance",
    Path.SYSTEM_FAILURE: "nobody is on call and no fallback is named",
}


def nobody(question: Question, passed: Iterable[Passed], world: World, *, second: bool) -> Finding:
    """Say that nobody is asked, and why not those who were looked at."""
    who = (
        "nobody else can sign, as it takes two to waive, where one can" if second else "nobody can"
    )
    why = _why(passed, question, world)
    return Finding(
        question.key,
        f"{who} {question.what}: {why}.",
        "second_signer" if second else "path",
        question.row.number if "(matrix row" in question.what else None,
    )


def _why(passed: Iterable[Passed], question: Question, world: World) -> str:
    reasons: dict[str, list[str]] = {}
    for each in {each.person: each for each in passed}.values():
        # Until when stands before the sentence, where everybody's absences are put together.
        said_why = "is away" if each.code == Why.AWAY else each.why
        reasons.setdefault(said_why, []).append(f"the {world.people.by_pk[each.person].name}")
    if not reasons:
        return UNNAMED[question.rungs[-1][0]]
    said = [
        f"{_and(names)} {_many(why, len(names))}" for why, names in list(reasons.items())[:NAMED]
    ]
    left = sum(len(names) for names in list(reasons.values())[NAMED:])
    if left:
        said.append(f"{wording.plural(left, 'other', 'others')} cannot either")
    return "; ".join(said)


def one_only(question: Question, person: int, *, key: str, people: People) -> Finding:
    name = people.by_pk[person].name
    return Finding(
        key,
        f"without the {name} nobody can {question.what}; nor if the agent acts for them.",
        "one_person",
        question.row.number if "(matrix row" in question.what else None,
    )


def at_the_top(question: Question, *, key: str) -> Finding:
    return Finding(
        key,
        f"an executive would be the first to be asked to {question.what}.",
        "l4_first",
        question.row.number,
    )


def gap(target: str, fallback: str, *, key: str) -> Finding:
    return Finding(
        key, f"nobody is on shift for the target {target}, and the {fallback} is asked.", "gap"
    )


def dated(finding: Finding, *, since: datetime, until: datetime | None, now: datetime) -> Finding:
    """Put the span before a sentence: "12 Dec to 24 Dec 2026: nobody can …"."""
    said = span(since, until)
    if since == now:
        said = "At any time" if until is None else f"Until {_minute(until.astimezone(UTC))}"
    sentence = f"{said}: {finding.sentence}"
    return replace(finding, sentence=sentence, since=since, until=until)


def span(since: datetime, until: datetime | None) -> str:
    """Say a span in UTC: by days if both ends are midnights, else to the minute."""
    since = since.astimezone(UTC)
    if until is None:
        return f"From {_minute(since)} on"
    until = until.astimezone(UTC)
    if _is_midnight(since) and _is_midnight(until):
        last = until - DAY
        if last.date() == since.date():
            return f"On {_day(since)}"
        if (since.year, since.month) == (last.year, last.month):
            return f"{since.day} to {_day(last)}"
        return f"{_day(since)} to {_day(last)}"
    if since.date() == until.date():
        return f"{_day(since)}, {since:%H:%M} to {until:%H:%M} UTC"
    return f"{_minute(since)} to {_minute(until)}"


def _is_midnight(instant: datetime) -> bool:
    return (instant.hour, instant.minute, instant.second) == (0, 0, 0)


def _day(instant: datetime) -> str:
    return f"{instant.day}{wording.NBSP}{instant:%b}{wording.NBSP}{instant.year}"


def _minute(instant: datetime) -> str:
    return f"{_day(instant)} {instant:%H:%M} UTC"


def _and(names: list[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def _many(why: str, count: int) -> str:
    """Say of several what was said of one."""
    if count == 1:
        return why
    first, space, rest = why.partition(" ")
    plural = {"is": "are", "has": "have", "owns": "own", "stands": "stand"}
    return plural.get(first, first) + space + rest
