"""What the pages of the catalogue show, as plain shapes. Nothing here reads a request or the clock."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any, NamedTuple

from approvals import templating
from governance import wording
from governance.errors import Unprocessable
from governance.models import ActionChange, ActionType
from rollback.connectors import registry
from rollback.connectors.base import Call
from rollback.dry_run import Trial, try_out
from rollback.models import Drill
from rollback.readiness import Facts, Gate, drill_due_at, unmet
from rollback.services.units import spent

T = ActionType.State
# By state: the word of its pill, its kind, its shape.
STATES = {
    T.DRAFT: ("Draft", "warn", "circle-dashed"),
    T.TESTED: ("Tested", "open", "shield-check"),
    T.PRODUCTION: ("In production", "good", "check"),
    T.RETIRED: ("Retired", "", "history"),
}
# By state, what a version may become by two people, and in words.
NEXT = {T.DRAFT: T.TESTED, T.TESTED: T.PRODUCTION, T.PRODUCTION: T.RETIRED}
BECOMES = {
    T.TESTED: (
        "Mark it as tested",
        "From then on its undo is rehearsed on schedule. No agent can ask for it yet.",
    ),
    T.PRODUCTION: (
        "Put it into production",
        "From then on agents may ask for it. The version before it is retired in the same act; what"
        " is in flight goes on with the version it has.",
    ),
    T.RETIRED: (
        "Retire it",
        "From then on agents can no longer ask for it. What is in flight goes on.",
    ),
}
DRILLS_SHOWN = 5


class Light(NamedTuple):
    """Whether a version is ready for what comes next, in one line."""

    kind: str  # good, warn, bad or ""
    words: str
    missing: list[str]  # a sentence for each gate that is shut
    next: str  # the state it is asked about; "" for a retired one


def light_of(action_type: ActionType, found: Sequence[Gate]) -> Light:
    """Return the light of a version: the gates before its next state; of one in production, those of today."""
    state = T(action_type.state)
    if state == T.RETIRED:
        return Light("", "No agent can ask for it", [], "")
    goal = T.TESTED if state == T.DRAFT else T.PRODUCTION
    missing = unmet(found, goal)
    is_one = len(missing) == 1
    things = "thing is" if is_one else "things are"
    if state == T.PRODUCTION:
        if not missing:
            return Light("good", "Ready", missing, goal)
        return Light(
            "warn",
            f"{len(missing)} {things} not as {'it' if is_one else 'they'} should be",
            missing,
            goal,
        )
    to = "to be tested" if goal == T.TESTED else "for production"
    if not missing:
        return Light("good", f"Ready {to}", missing, goal)
    return Light("bad", f"{len(missing)} {things} missing {to}", missing, goal)


class DrillLine(NamedTuple):
    drill: Drill
    words: str
    pill: tuple[str, str, str]
    due_at: datetime | None  # until when it counts; None if it does not


def drill_lines(action_type: ActionType, *, now: datetime) -> list[DrillLine]:
    """Return the last drills of a version, the newest first."""
    rows = Drill.objects.filter(action_type=action_type).order_by("-started_at", "-pk")
    return [_drill_line(each, now) for each in rows[:DRILLS_SHOWN]]


def _drill_line(drill: Drill, now: datetime) -> DrillLine:
    if drill.passed is None:
        words = f"{len(drill.evidence)} of {wording.plural(drill.points, 'point')}"
        return DrillLine(drill, words, ("Under way", "open", "play"), None)
    if not drill.passed:
        words = drill.get_outcome_display() or "Failed"
        return DrillLine(drill, drill.said, (words, "bad", "x"), None)
    due = drill_due_at(drill.ended_at) if drill.ended_at else None
    if due is not None and due <= now:
        return DrillLine(drill, "", ("Passed, overdue", "warn", "history"), due)
    words = f"Failed at {wording.plural(drill.points, 'point')} in turn, and undone at each"
    return DrillLine(drill, words, ("Passed", "good", "check"), due)


class KeyLine(NamedTuple):
    """One key template, and what it comes to for the example."""

    words: str
    template: str
    example: str
    about: str


def key_lines(action_type: ActionType, trial: Trial | None) -> list[KeyLine]:
    return [
        KeyLine(
            "Resource",
            action_type.resource_key,
            trial.resource_key if trial else "",
            "Requests for one resource compete: the second is held until its owner has ruled."
            if action_type.resource_key
            else "It competes with nothing.",
        ),
        KeyLine(
            "Business key",
            action_type.business_key,
            trial.business_key if trial else "",
            "One live request a key; every unit is sent under it. Spelling makes no other key.",
        ),
    ]


class ShownCall(NamedTuple):
    """One call, as people read it."""

    method: str
    address: str
    headers: tuple[tuple[str, str], ...]
    body: str  # JSON, indented; "" without one
    about: str


def shown_call(call: Call) -> ShownCall:
    body = "" if call.body is None else json.dumps(call.body, indent=2, ensure_ascii=False)
    return ShownCall(call.method, call.address, tuple(call.headers.items()), body, call.about)


class ShownUnit(NamedTuple):
    n: int
    name: str
    key: str
    record: str
    amount: str
    calls: list[ShownCall]
    undo_name: str
    undo_key: str
    undo_calls: list[ShownCall]
    undo_why_not: str


def shown_units(trial: Trial) -> list[ShownUnit]:
    found = []
    for each in trial.units:
        plan, undo = each.plan, each.undo
        amount = wording.money(plan.amount, plan.currency) if plan.amount is not None else ""
        found.append(
            ShownUnit(
                each.n,
                plan.name,
                each.key,
                plan.record,
                amount,
                [shown_call(call) for call in each.calls],
                undo.name if undo else "",
                undo.key if undo else "",
                [shown_call(call) for call in undo.calls] if undo else [],
                undo.why_not if undo else "",
            )
        )
    return found


class ShownRead(NamedTuple):
    record: str
    why: str
    calls: list[ShownCall]


def shown_reads(trial: Trial) -> list[ShownRead]:
    return [
        ShownRead(each.record, why_read(each.why), [shown_call(call) for call in each.calls])
        for each in trial.reads
    ]


def why_read(reasons: Sequence[str]) -> str:
    """Say what a record is read for."""
    said = []
    if "basis" in reasons:
        said.append("the approval rests on it")
    facts = [each for each in reasons if each not in ("basis", "snapshot")]
    if facts:
        said.append(f"rules speak of {', '.join(facts)}")
    if "snapshot" in reasons:
        said.append("snapshot before the first write")
    text = "; ".join(said)
    return text[:1].upper() + text[1:]


def example_trial(facts: Facts) -> tuple[Trial | None, str]:
    """Return what a version's example comes to; None where that cannot be said yet, and why."""
    if facts.problems or facts.off_example:
        return None, "Not known before the gates above are met."
    action_type = facts.action_type
    connector = registry.connector_for(action_type)
    payload: dict[str, Any] = action_type.example.get("payload", {})
    try:
        return try_out(action_type, payload, connector, generation_of=spent), ""
    except Unprocessable as refused:
        return None, refused.detail


class FactLine(NamedTuple):
    words: str
    value: str


def rules_of(action_type: ActionType) -> list[FactLine]:
    """Return how requests of this version are treated, in words."""
    bands = ", ".join(
        f"{each['impact']} from {wording.money(Decimal(each['from']), each['currency'])}"
        for each in action_type.impact_bands
    )
    impact = action_type.get_impact_display()
    yes = {True: "Yes", False: "No"}
    return [
        FactLine("First approver has", wording.span(action_type.sla)),
        FactLine("Severity, at least", action_type.get_severity_display()),
        FactLine("Impact, at least", f"{impact}, {bands}" if bands else impact),
        FactLine("Moves money", yes[action_type.is_financial]),
        FactLine("Critical process", "Yes: it may be overridden at L4" if action_type.is_critical else "No"),
        FactLine("The first no is final", yes[action_type.first_no_is_final]),
        FactLine("Amount", action_type.amount_pointer or "none"),
        FactLine("Counterparty", action_type.counterparty_pointer or "none: no sums are taken"),
        FactLine("Left out of evidence", _redacted(action_type)),
        FactLine("Title", action_type.title),
    ]  # fmt: skip


def _redacted(action_type: ActionType) -> str:
    """Say which fields evidence packs leave out: "of the payload /iban; of records /bank", and what stays."""
    found = [
        f"of {words} {', '.join(pointers)}"
        for where, words in (("payload", "the payload"), ("records", "records"))
        if (pointers := action_type.redacted_in(where))
    ]
    # What events say stays in them; a pack without its events proves nothing.
    stays = "Names of units, references and texts of the target stand in the record all the same."
    return f"{'; '.join(found)}. {stays}" if found else "nothing"


class Waiting(NamedTuple):
    """A change that waits for a second person, and what the reader may do about it."""

    change: ActionChange
    words: str
    is_mine: bool
    may_confirm: bool


def change_words(change: ActionChange) -> str:
    """Say what a change would do: "Put version 2 into production"."""
    version = change.action_type.version
    return {
        T.TESTED: f"Mark version {version} as tested",
        T.PRODUCTION: f"Put version {version} into production",
        T.RETIRED: f"Retire version {version}",
    }[T(change.becomes)]


def plan_lines(action_type: ActionType, payload: Any) -> list[tuple[str, str]]:
    """Return the snapshot plan: each template, and what it comes to for a payload."""
    return [(each, templating.exact(each, payload)) for each in action_type.snapshot_plan]
