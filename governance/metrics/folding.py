"""What of the ledger counts towards which metric. Pure: events in, measures out.

A chain is read whole, so that what is said of a request never depends on what was
said of it before, nor on how much of its chain was counted when.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Any, NamedTuple, Protocol

from governance.metrics.weeks import week_of
from governance.models.metrics import Measure, Metric
from governance.vocabulary import Level, Path

HIT, MISS = Measure.Outcome.HIT, Measure.Outcome.MISS
# Of cases, in seconds, by the highest level they reached. Source: DESIGN 6.
RESOLVE_WITHIN_S = {Level.L1: 2 * 3600, Level.L2: 2 * 3600, Level.L3: 8 * 3600}
L1_OF = {Path.SYSTEM_FAILURE: Metric.UNATTENDED, Path.TIMEOUT: Metric.ASKED_AGAIN}
NAMED_AT_MOST = 8  # people in the facts of one measure

ENDS = {
    "request.rejected",
    "request.denied",
    "request.expired",
    "request.withdrawn",
    "request.rolled_back",
    "request.stranded",
    "request.completed",
    "request.completed_manually",
}
# A chain with one of these among its new events is read anew.
TRIGGERS = ENDS | {
    "request.approved",
    "request.rolling_back",
    "case.resolved",
    "recovery.succeeded",
    "recovery.failed",
    "recovery.lapsed",
    "review.closed",
    "step.expired",
    "step.passed_over",
    "step.decided",
}
FINDING = "finding.opened"


class Told(Protocol):
    """An event as it is read here: an AuditEvent."""

    chain: str
    seq: int
    kind: str
    facts: dict[str, Any]
    at: datetime


class Counted(NamedTuple):
    """A Measure, column by column."""

    chain: str
    seq: int
    at: datetime
    week: date
    metric: str
    outcome: str
    request: str
    department: str
    action: str
    path: str
    level: int
    seconds: int | None
    facts: dict[str, Any]


@dataclass
class _Case:
    opened_at: datetime
    path: str
    expired: list[int] = field(default_factory=list)  # levels
    silent: list[str] = field(default_factory=list)  # people whose rung ran out


@dataclass
class _Request:
    """What is known of one request up to an event."""

    department: str = ""
    action: str = ""
    about: dict[str, Any] = field(default_factory=dict)  # that every list shows
    first: dict[str, None] = field(default_factory=dict)  # people asked at L0, in their order
    others: list[tuple[str, str]] = field(default_factory=list)  # (path, person), asked by a case
    asked: dict[tuple[str, int], list[str]] = field(default_factory=dict)  # by rung
    of_a_case: set[tuple[str, int]] = field(default_factory=set)  # rungs
    cases: dict[str, _Case] = field(default_factory=dict)  # open, by exception
    seen: dict[str, None] = field(default_factory=dict)  # exceptions, in their order
    unreachable: dict[str, None] = field(default_factory=dict)
    nobody_first: bool = False
    reached: int = 0
    waiting_l1: set[str] = field(default_factory=set)  # paths whose L1 is open
    undoing: bool = False
    ended: Counted | None = None
    found: list[Counted] = field(default_factory=list)

    @property
    def channels(self) -> dict[str, Any]:
        return {"unreachable": _named(self.unreachable)} if self.unreachable else {}


def measures_of(events: Iterable[Told]) -> list[Counted]:
    """Return what counts of one request's chain, given from its first event on, in order."""
    told = _Request()
    for event in events:
        _take(told, event)
    return [*told.found, told.ended] if told.ended else told.found


def measure_of_finding(event: Told, submitted: dict[str, Any] | None) -> Counted:
    """Return the silent failure that an audit's finding is.

    Args:
        submitted: facts of the first event of the request it is about; None if it is about none.
    """
    facts = submitted or {}
    audit = str(event.facts.get("audit", ""))
    text = str(event.facts.get("text", ""))
    return Counted(
        event.chain, event.seq, event.at, week_of(event.at), Metric.SILENT, HIT,
        str(event.facts.get("request") or ""), str(facts.get("department", "")),
        str(facts.get("action", "")), "", Level.L0, None, {"audit": audit, "text": text},
    )  # fmt: skip


def _take(told: _Request, event: Told) -> None:
    kind, facts = event.kind, event.facts
    if kind == "request.submitted":
        told.department, told.action = facts["department"], facts["action"]
        names = ("title", "amount", "currency", "matrix_row", "policy")
        told.about = {name: facts.get(name) for name in names}
    elif kind == "step.opened":
        _open(told, event)
    elif kind == "ask.unreachable":
        told.unreachable[facts["person"]] = None
    elif kind == "ask.opened":
        _ask(told, facts, facts["asked"])
    elif kind == "ask.handed_over":
        _ask(told, facts, facts["to"])
    elif kind == "case.opened":
        exception = facts["exception"]
        told.cases[exception] = _Case(_instant(facts, event), exception)
        told.seen[exception] = None
    elif kind == "case.resolved":
        _resolve(told, event)
    elif kind in ("step.expired", "step.passed_over"):
        _close(told, event, expired=kind == "step.expired")
    elif kind == "step.decided":
        if (facts["path"], facts["level"], facts["verdict"]) == (Path.TIMEOUT, Level.L1, "reject"):
            _end_l1(told, event, Path.TIMEOUT, answered=True)
    elif kind == "request.approved":
        if (facts["path"], facts["level"]) == (Path.TIMEOUT, Level.L1):
            _end_l1(told, event, Path.TIMEOUT, answered=True)
        bypass = facts["level"] == Level.L4
        told.found.append(
            _counted(
                told, event, Metric.BYPASS, HIT if bypass else MISS,
                path=facts["path"], level=facts["level"], first_asked=_named(told.first),
            )
        )  # fmt: skip
    elif kind in ("recovery.ordered", "recovery.begun"):
        told.undoing = True
    elif kind in ("recovery.succeeded", "recovery.failed", "recovery.lapsed"):
        _recovered(told, event)
    elif kind == "request.rolling_back":
        told.ended = None
        _end_every_l1(told, event)
    elif kind in ENDS or (kind == "review.closed" and facts["review"] == "cleanup"):
        _end(told, event)


def _open(told: _Request, event: Told) -> None:
    path, level = event.facts["path"], event.facts["level"]
    # Events from before the fact was recorded: whatever is not the first ask had a case.
    if event.facts.get("in_case", path not in (Path.APPROVAL, Path.UNDO)):
        told.of_a_case.add((path, level))
        told.reached = max(told.reached, level)
    for person in event.facts["asked"]:
        _ask(told, event.facts, person)
    told.unreachable |= dict.fromkeys(event.facts.get("unreachable", ()))
    if level == Level.L1 and path in L1_OF:
        told.waiting_l1.add(path)


def _ask(told: _Request, facts: dict[str, Any], person: str) -> None:
    rung = facts["path"], facts["level"]
    told.asked.setdefault(rung, []).append(person)
    if rung[0] == Path.APPROVAL:
        told.first[person] = None
    elif rung in told.of_a_case:
        told.others.append((rung[0], person))


def _close(told: _Request, event: Told, *, expired: bool) -> None:
    path, level = event.facts["path"], event.facts["level"]
    if path == Path.APPROVAL:
        told.nobody_first |= not expired
    case = told.cases.get(path)
    if expired and case is not None:
        case.expired.append(level)
        case.silent += told.asked.get((path, level), [])
    if level == Level.L1 and path in L1_OF:
        told.waiting_l1.add(path)  # passed over at once, it never waited
        _end_l1(told, event, path, answered=False)


def _end_l1(told: _Request, event: Told, path: str, *, answered: bool) -> None:
    if path not in told.waiting_l1:
        return
    told.waiting_l1.remove(path)
    told.found.append(
        _counted(
            told, event, L1_OF[Path(path)], HIT if answered else MISS, path=path, level=Level.L1,
            first_asked=_named(told.first), how=event.kind, why=event.facts.get("why", ""),
        )
    )  # fmt: skip


def _end_every_l1(told: _Request, event: Told) -> None:
    """The request went on without them; what was tried again by itself may have worked."""
    worked = event.kind == "request.completed"
    for path in sorted(told.waiting_l1):
        _end_l1(told, event, path, answered=worked and path == Path.SYSTEM_FAILURE)


def _resolve(told: _Request, event: Told) -> None:
    facts = event.facts
    case = told.cases.pop(facts["exception"], None)
    opened_at = _instant(facts, event, case.opened_at if case else event.at)
    level = Level(facts["highest_level"])
    seconds = max(int((event.at - opened_at).total_seconds()), 0)
    outcome = HIT if seconds < RESOLVE_WITHIN_S.get(level, seconds + 1) else MISS
    if facts["outcome"] == "withdrawn":
        outcome = Measure.Outcome.WITHDRAWN
    elif facts.get("absent"):
        outcome = Measure.Outcome.ABSENT
    told.found.append(
        _counted(
            told, event, Metric.RESOLUTION, outcome, path=facts["exception"], level=level,
            seconds=seconds, ended=facts["outcome"], first_asked=_named(told.first),
            expired=case.expired if case else [], silent=_named(case.silent if case else ()),
        )
    )  # fmt: skip


def _recovered(told: _Request, event: Told) -> None:
    told.undoing = False
    person = bool(event.facts.get("needed_a_person"))
    outcome = HIT if event.kind == "recovery.succeeded" and not person else MISS
    if event.kind == "recovery.lapsed":
        outcome = Measure.Outcome.LAPSED
    pattern = str(event.facts.get("pattern") or "")
    path = Path.SYSTEM_FAILURE if pattern == "retry" else Path.UNDO
    told.found.append(
        _counted(
            told, event, Metric.ROLLBACK, outcome, path=path,
            pattern=pattern, how=event.kind, needed_a_person=person,
        )
    )  # fmt: skip


def _end(told: _Request, event: Told) -> None:
    _end_every_l1(told, event)
    if event.kind == "request.stranded" and not told.undoing:
        # Half done and given up before anything was taken back: that failed as well.
        told.found.append(
            _counted(
                told, event, Metric.ROLLBACK, MISS, path=Path.UNDO,
                pattern="", how=event.kind, needed_a_person=True,
            )
        )  # fmt: skip
    others = [(path, person) for path, person in told.others if person not in told.first]
    told.ended = _counted(
        told, event, Metric.ESCALATION, HIT if others else MISS,
        path=others[0][0] if others else Path.APPROVAL, level=told.reached,
        first_asked=_named(told.first), nobody_first=told.nobody_first,
        exceptions=list(told.seen), asked=_named(person for _, person in others),
        ended=event.facts.get("outcome") or event.kind.partition(".")[2],
    )  # fmt: skip


def _counted(
    told: _Request, event: Told, metric: Metric, outcome: str, /, *,
    path: str, level: int = Level.L0, seconds: int | None = None, **facts: Any,
) -> Counted:  # fmt: skip
    return Counted(
        event.chain, event.seq, event.at, week_of(event.at), str(metric), str(outcome), event.chain,
        told.department, told.action, str(path), int(level), seconds, {**told.about, **told.channels, **facts},
    )  # fmt: skip


def _instant(facts: dict[str, Any], event: Told, otherwise: datetime | None = None) -> datetime:
    """Return since when a case stands. Events from before the fact was recorded: since their own instant."""
    said = facts.get("opened_at")
    return datetime.fromisoformat(said) if said else otherwise or event.at


def _named(people: Iterable[str]) -> Sequence[str]:
    return list(dict.fromkeys(people))[:NAMED_AT_MOST]
