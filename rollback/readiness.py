"""What must hold before agents may ask for an action type: its gates, each met or not, with its sentence.

Pure: facts in, gates out. Who reads the facts is `rollback.catalogue.facts`.
Source: DESIGN 5, "Readiness".
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import NamedTuple

from governance import audits, wording
from governance.ladder import DRILL_COUNTS_FOR
from governance.models import ActionType
from rollback import key_lint

T = ActionType.State
WITHOUT_A_PLAN = 2  # records that may be touched without a snapshot of them
TO_BE_TESTED = frozenset({T.TESTED, T.PRODUCTION})
TO_BE_USED = frozenset({T.PRODUCTION})


class Facts(NamedTuple):
    """What the gates are asked about."""

    action_type: ActionType
    problems: Sequence[str]  # why it could not run or be undone: `registry.problems`
    off_example: Sequence[str]  # why its example could not be submitted
    target: str  # "" where no connector says
    touched: int  # records: what it says of itself, or what its example writes, whichever is more
    drilled_at: datetime | None  # the end of its last drill that passed
    refuted_at: datetime | None  # the end of its last drill that showed the undo not to work
    why_no_drill: str  # what keeps it from being drilled, "" if nothing does
    silent_failures: int  # open, in the whole house
    looked_at: datetime | None  # when they were last looked for


class Gate(NamedTuple):
    """One thing that must hold."""

    key: str
    name: str  # "Business key"
    met: bool
    words: str  # what holds, or what is missing
    before: frozenset[str]  # what it stands before
    is_rule: bool = False  # nothing to meet: what follows for whoever approves


def gates(facts: Facts, *, now: datetime) -> list[Gate]:
    """Return all gates of a version, in the order in which they are mended."""
    return [
        _calls(facts),
        _example(facts),
        _reversal(facts),
        _business_key(facts),
        _snapshot(facts),
        _drill(facts, now),
        _silence(facts, now),
    ]


def unmet(found: Iterable[Gate], becomes: str) -> list[str]:
    """Return what is missing before a version may become this, a sentence for each gate."""
    return [
        f"{each.name}: {each.words}" for each in found if not each.met and becomes in each.before
    ]


def drill_due_at(drilled_at: datetime) -> datetime:
    """Return the instant at which a drill that passed counts no more."""
    return drilled_at + DRILL_COUNTS_FOR


def _calls(facts: Facts) -> Gate:
    words = " ".join(facts.problems) or "Its connector turns the example into calls. None was made."
    return Gate("calls", "Connector", not facts.problems, words, TO_BE_TESTED)


def _example(facts: Facts) -> Gate:
    words = " ".join(facts.off_example) or "It fits the schema, and its amount is one."
    return Gate("example", "Example", not facts.off_example, words, TO_BE_TESTED)


def _reversal(facts: Facts) -> Gate:
    action = facts.action_type
    if action.reversal == ActionType.Reversal.NONE:
        words = (
            "It cannot be undone, so a person is present every time: approved with re-authentication,"
            " begun within 15 min, never in bulk."
        )
        return Gate("reversal", "Undo", True, words, TO_BE_TESTED, is_rule=True)
    name = f"“{action.reversal_code}”"
    if facts.problems:
        words = f"Whether {name} can be carried out is not known before its connector is mended."
    else:
        words = f"{name} is there, and was made from the example."
    return Gate("reversal", "Undo", not facts.problems, words, TO_BE_TESTED)


def _business_key(facts: Facts) -> Gate:
    found = key_lint.complaints(facts.action_type, target=facts.target)
    words = " ".join(found) or "It names target, document and part, and holds no clock."
    return Gate("business_key", "Business key", not found, words, TO_BE_TESTED)


def _snapshot(facts: Facts) -> Gate:
    plan = len(facts.action_type.snapshot_plan)
    touched = wording.plural(facts.touched, "record")
    if facts.touched <= WITHOUT_A_PLAN:
        words = f"It touches {touched}; a plan is asked for above {WITHOUT_A_PLAN}."
        if plan:
            words = f"{wording.plural(plan, 'record')} are read first. {words}"
    elif plan:
        words = f"It touches {touched}; {wording.plural(plan, 'record')} are read before the first write."
    else:
        words = (
            f"It touches {touched}, and no record is read first: list them in the snapshot plan."
        )
    met = bool(plan) or facts.touched <= WITHOUT_A_PLAN
    return Gate("snapshot", "Snapshot plan", met, words, TO_BE_TESTED)


def _drill(facts: Facts, now: datetime) -> Gate:
    days = DRILL_COUNTS_FOR.days
    at, refuted = facts.drilled_at, facts.refuted_at
    if not facts.action_type.needs_drills:
        why = (
            "no money moves"
            if not facts.action_type.is_financial
            else "there is nothing to rehearse"
        )
        words = f"None is asked for: {why}."
        return Gate("drill", "Drill", True, words, TO_BE_USED)
    if refuted is not None and (at is None or at < refuted):
        words = f"The drill of {refuted:%d %b %Y} showed that its undo does not do what it says: mend it."
        return Gate("drill", "Drill", False, words, TO_BE_USED)
    if at is None:
        words = f"No drill of this version has passed. Financial actions need one in the last {days} days."
        words = f"{words} {facts.why_no_drill}".strip()
        return Gate("drill", "Drill", False, words, TO_BE_USED)
    due = drill_due_at(at)
    if due <= now:
        words = f"The last drill that passed ended on {at:%d %b %Y}, more than {days} days ago: rehearse it again."
        return Gate("drill", "Drill", False, words, TO_BE_USED)
    words = f"Passed on {at:%d %b %Y}. It counts until {due:%d %b %Y, %H:%M} UTC."
    return Gate("drill", "Drill", True, words, TO_BE_USED)


def _silence(facts: Facts, now: datetime) -> Gate:
    held = audits.why_held(findings=facts.silent_failures, looked_at=facts.looked_at, now=now)
    return Gate("silence", "Silent failures", not held, held or "None is open.", TO_BE_TESTED)
