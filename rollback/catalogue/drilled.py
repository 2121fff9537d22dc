"""How a drill is shown: what was tried at each point, what was compared, and whether it is what was signed."""

from __future__ import annotations

from datetime import datetime
from typing import Any, NamedTuple

from approvals.models import ActionRequest
from governance import wording
from governance.ladder import DRILL_COUNTS_FOR
from governance.models import ActionType
from rollback import evidence
from rollback.models import Drill, Recovery
from rollback.rehearsal.play import DIFFERS, NOT_RUN, NOT_UNDONE
from rollback.rehearsal.points import Point, points_of, words_of
from rollback.rehearsal.verdict import leaves

FIELDS_SHOWN = 80  # of one record
VALUE_LENGTH = 200
Outcome = Drill.Outcome
PILLS = {
    Outcome.PASSED: ("good", "check"),
    Outcome.DIFFERS: ("bad", "git-compare"),
    Outcome.NOT_UNDONE: ("bad", "x"),
    Outcome.NOT_RUN: ("warn", "triangle-alert"),
    Outcome.GIVEN_UP: ("warn", "hourglass"),
}
# Forward and undo, in the words of the panel.
STATES = {
    "planned": "not sent", "sent": "sent", "done": "done", "not_done": "not done",
    "unknown": "not known", "reversed": "taken back",
}  # fmt: skip
ENDED = {value: str(label).lower() for value, label in ActionRequest.State.choices}
CALLS = {"read": "Read", "send": "Send", "probe": "Ask by key"}
HOW = {
    Recovery.Pattern.COMPENSATE: "Each record that was there must hold the same, sums compared as sums. What"
    " was not there may stay as the document of what was taken back, but not as the failure left it.",
    Recovery.Pattern.RESTORE: "Each record must hold exactly what the snapshot holds.",
}


class Field(NamedTuple):
    """One place in a record, three times."""

    name: str
    before: str
    left: str
    after: str
    differs: bool
    changed: bool  # by what was done


class Record(NamedTuple):
    name: str
    fields: list[Field]
    more: int  # fields that are not shown


class Line(NamedTuple):
    """One point of a drill, rehearsed or not yet."""

    number: int
    words: str
    pill: tuple[str, str, str]
    said: str
    entry: dict[str, Any]  # {} while it waits
    units: list[dict[str, Any]]
    calls: list[tuple[str, str, str]]
    records: list[Record]
    ended: str  # in which state its request did
    is_open: bool  # shown at once


def pill_of(drill: Drill) -> tuple[str, str, str]:
    """Return words, kind and shape of a drill's pill."""
    if drill.is_open:
        begun = drill.lease_until is not None or drill.evidence
        return ("Under way", "open", "loader") if begun else ("Waits for a worker", "open", "clock")
    return (str(drill.get_outcome_display()), *PILLS[Outcome(drill.outcome)])


def lead_of(drill: Drill, *, now: datetime) -> tuple[str, str, str]:
    """Return what stands over a drill: the kind of note, its first words, and the rest."""
    if drill.is_open:
        done = f"{len(drill.evidence)} of {wording.plural(drill.points, 'point')}"
        return "info", "Under way.", f"{done} rehearsed. If it does not end in time, it fails."
    if drill.passed:
        return "good", "It can be undone.", _counts(drill, now)
    if drill.outcome in (Outcome.DIFFERS, Outcome.NOT_UNDONE):
        rest = (
            "From then on each request takes somebody present."
            if drill.action_type.needs_drills
            else ""
        )
        return "bad", f"{drill.get_outcome_display()}.", f"{drill.said} {rest}".strip()
    return (
        "warn",
        f"{drill.get_outcome_display()}.",
        f"{drill.said} The last one that passed goes on counting.",
    )


def _counts(drill: Drill, now: datetime) -> str:
    if drill.ended_at is None:
        return ""
    until = drill.ended_at + DRILL_COUNTS_FOR
    verb = "counts" if until > now else "counted"
    days = DRILL_COUNTS_FOR.days
    return f"At each of {wording.plural(drill.points, 'point')} all was as before. It {verb} for {days} days."


def standing_of(action_type: ActionType, *, rehearsed: bool, now: datetime) -> tuple[str, str, str]:
    """Return what holds for an action type: the kind of note, its first words, and the rest.

    Args:
        rehearsed: a drill of it has passed. One that was seeded has some time for its first.
    """
    due = action_type.drill_due_at
    if action_type.reversal == ActionType.Reversal.NONE:
        return (
            "warn",
            "It cannot be undone.",
            "There is nothing to rehearse: each request takes somebody present.",
        )
    if due is not None and due > now:
        return ("good", "Rehearsed.", "") if rehearsed else ("warn", "Never rehearsed.", "")
    if action_type.needs_drills:
        never = "No drill has passed lately" if due is not None else "No drill has passed"
        return "bad", "Overdue.", f"{never}, so each request for it takes somebody present."
    return "info", "Not rehearsed lately.", "It moves no money, so requests go on as before."


def lines_of(drill: Drill) -> list[Line]:
    """Return every point of a drill in its order, with the evidence of those rehearsed."""
    entries = {(each["unit"], each["at"]): each for each in drill.evidence}
    return [
        _line(number, point, drill.units, entries.get((point.unit, point.at)))
        for number, point in enumerate(points_of(drill.units), start=1)
    ]


def signature_of(drill: Drill) -> tuple[str, str]:
    """Return whether a drill that ended is what was signed: the kind of note, and the words."""
    flaw = evidence.flaw_of(drill)
    if flaw:
        return "bad", f"This drill {flaw}." if flaw.startswith("was ") else f"It {flaw}."
    return "good", f"Signed with key {drill.key_id}, and unchanged since."


def how_compared(drill: Drill) -> str:
    pattern = drill.action_type.reversal
    return HOW.get(Recovery.Pattern(pattern), "") if pattern in Recovery.Pattern.values else ""


def _line(number: int, point: Point, units: int, entry: dict[str, Any] | None) -> Line:
    words = words_of(point, units)
    if entry is None:
        waits = ("Waits", "", "circle-dashed")
        return Line(number, words, waits, "", {}, [], [], [], "", is_open=False)
    outcome = Outcome(entry["outcome"])
    return Line(
        number,
        words,
        (str(outcome.label), *PILLS[outcome]),
        str(entry.get("said", "")),
        entry,
        [
            {**each, "words": STATES.get(each["state"], each["state"])}
            for each in entry.get("units", [])
        ],
        [
            (CALLS.get(each["call"], each["call"]), each["of"], each["answer"])
            for each in entry.get("calls", [])
        ],
        [_record(each, entry.get("differences", [])) for each in entry.get("records", [])],
        ENDED.get(entry.get("ended", ""), "before anything was done"),
        is_open=entry["outcome"] in (DIFFERS, NOT_UNDONE, NOT_RUN),
    )


def _record(record: dict[str, Any], differences: list[dict[str, Any]]) -> Record:
    states = [dict(leaves(record[name])) for name in ("before", "left", "after")]
    wrong = {each["field"] for each in differences if each["record"] == record["record"]}
    names = sorted(
        {name for state in states for name, value in state.items() if name or value} | wrong
    )
    fields = [
        Field(
            name or "all of it",
            before=_shown(states[0], name),
            left=_shown(states[1], name),
            after=_shown(states[2], name),
            differs=name in wrong,
            changed=states[0].get(name) != states[1].get(name),
        )
        for name in names
    ]
    fields.sort(key=lambda each: (not each.differs, not each.changed))
    return Record(record["record"], fields[:FIELDS_SHOWN], max(len(fields) - FIELDS_SHOWN, 0))


def _shown(state: dict[str, Any], name: str) -> str:
    if name not in state or (name == "" and state[name] is None):
        return "-"
    value = state[name]
    if value is None:
        return "nothing"
    return wording.plain(str(value), VALUE_LENGTH) or "“”"
