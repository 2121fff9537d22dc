"""What of the ledger counts towards which metric. Pure: events in, measures out.

A chain is read whole, so that what is said of a request never depends on what was
said of it before, nor on how much of its chain was counted when.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from decimal import Decimal, InvalidOperation
from typing import Any, NamedTuple, Protocol

from governance.metrics.weeks import week_of
from governance.models.metrics import Measure, Metric
from governance.vocabulary import Level, Path

HIT, MISS = Measure.Outcome.HIT, Measure.Outcome.MISS
# Of cases, in seconds, by the highest level they reached. Source: DESIGN 6.
RESOLVE_WITHIN_S = {Level.L1: 2 * 3600, Level.L2: 2 * 3600, Level.L3: 8 * 3600}
FOR_LEAVE = (Path.APPROVAL, Path.TIMEOUT)  # on which silence leads on to others
L1_OF = {Path.SYSTEM_FAILURE: Metric.UNATTENDED, Path.TIMEOUT: Metric.ASKED_AGAIN}
KEY_LENGTH = 60  # of a department's and an action's, as a measure holds them
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
    actor: str
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


Rung = tuple[str, int]  # path, level


@dataclass
class _Rung:
    """One rung, and who is asked on it who has neither left it nor handed it over."""

    window_s: int
    # By person, whether a channel besides the inbox reaches them; None: the event does not say.
    reached: dict[str, bool | None] = field(default_factory=dict)


@dataclass
class _Case:
    opened_at: datetime
    ran_out_before: int  # rungs of the request


@dataclass
class _Request:
    """What is known of one request up to an event."""

    department: str = ""
    action: str = ""
    about: dict[str, Any] = field(default_factory=dict)  # that every list shows
    first: dict[str, None] = field(default_factory=dict)  # people asked at L0, in their order
    # (path, person, rungs that had run out by then), asked by a case
    others: list[tuple[str, str, int]] = field(default_factory=list)
    rungs: dict[Rung, _Rung] = field(default_factory=dict)
    waiting: Rung | None = None
    of_a_case: set[Rung] = field(default_factory=set)
    ran_out: list[Rung] = field(default_factory=list)  # in their order
    heard: set[tuple[str, str]] = field(default_factory=set)  # (path, person) who said something
    cases: dict[str, _Case] = field(default_factory=dict)  # open, by exception
    nobody_first: bool = False  # L0 was passed over, and nobody was ever asked on it
    failed: bool = False  # an attempt failed while it was carried out
    withdrawn: bool = False
    reached: int = 0
    waiting_l1: set[str] = field(default_factory=set)  # paths whose L1 is open
    undoing: bool = False
    ended: Counted | None = None
    found: list[Counted] = field(default_factory=list)


def measures_of(events: Iterable[Told]) -> list[Counted]:
    """Return what counts of one request's chain, given from its first event on, in order.

    Raises KeyError, TypeError, ValueError or AttributeError for a chain that does not hold
    what its events hold.
    """
    told = _Request()
    for event in events:
        _take(told, event)
    counted = [*told.found, told.ended] if told.ended else told.found
    for each in counted:
        _check(each)
    return counted


def _check(each: Counted) -> None:
    """Raises ValueError or TypeError for what no event of ours says, and no row of a measure holds."""
    words = each.department, each.action, each.path
    if any(len(word) > KEY_LENGTH for word in words) or each.path not in ("", *Path.values):
        raise ValueError("it names a department, an action or a path that cannot be")
    Level(each.level)


def measure_of_finding(event: Told, submitted: dict[str, Any] | None) -> Counted:
    """Return the silent failure that an audit's finding is.

    Args:
        submitted: facts of the first event of the request it is about; None if it is about none.
    """
    facts, said = _facts(submitted), _facts(event.facts)
    audit, text = str(said.get("audit", "")), str(said.get("text", ""))
    return Counted(
        event.chain, event.seq, event.at, week_of(event.at), str(Metric.SILENT), str(HIT),
        str(said.get("request") or "")[:40], str(facts.get("department", ""))[:KEY_LENGTH],
        str(facts.get("action", ""))[:KEY_LENGTH], "", int(Level.L0), None, {"audit": audit, "text": text},
    )  # fmt: skip


def _facts(facts: object) -> dict[str, Any]:
    """Return the facts of an event that may be broken: it is counted all the same, by what is left of it."""
    return facts if isinstance(facts, dict) else {}


def _take(told: _Request, event: Told) -> None:
    kind, facts = event.kind, event.facts
    if kind == "request.submitted":
        told.department, told.action = facts["department"], facts["action"]
        names = ("title", "amount", "currency", "matrix_row", "policy")
        told.about = {name: facts.get(name) for name in names}
        _check_amount(facts.get("amount"))
    elif kind == "step.opened":
        _open(told, event)
    elif kind == "step.resumed":
        told.waiting = facts["path"], facts["level"]
    elif kind == "ask.unreachable":
        _waiting(told).reached[facts["person"]] = False
    elif kind == "ask.passed_over":
        _waiting(told).reached.pop(facts["person"], None)
    elif kind == "ask.opened":
        _ask(told, facts, facts["asked"], reached=facts.get("reachable"))
    elif kind == "ask.handed_over":
        _waiting(told).reached.pop(facts["person"], None)
        _ask(told, facts, facts["to"], reached=facts.get("reachable"))
    elif kind == "question.asked":
        told.heard.add((facts["path"], event.actor))
    elif kind == "attempt.failed":
        # Said by whoever carried it out; what the clock found late says nothing.
        told.failed |= "said" in facts
    elif kind == "case.opened":
        told.cases[facts["exception"]] = _Case(_instant(facts, event), len(told.ran_out))
    elif kind == "case.resolved":
        _resolve(told, event)
    elif kind in ("step.expired", "step.passed_over"):
        _close(told, event, expired=kind == "step.expired")
    elif kind == "step.decided":
        told.heard.add((facts["path"], event.actor))
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
                nobody_first=told.nobody_first, **_silence(told, told.ran_out, FOR_LEAVE),
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
        told.withdrawn |= kind == "request.withdrawn"
        _end(told, event)


def _check_amount(amount: str | None) -> None:
    """Raise ValueError for what is no amount."""
    if amount is None:
        return
    try:
        finite = Decimal(amount).is_finite()
    except InvalidOperation as problem:
        raise ValueError(f"{amount!r} is no amount") from problem
    if not finite:
        raise ValueError(f"{amount!r} is no amount")


def _open(told: _Request, event: Told) -> None:
    facts = event.facts
    path, level = facts["path"], facts["level"]
    # Events from before the fact was recorded: whatever is not the first ask had a case.
    if facts.get("in_case", path not in (Path.APPROVAL, Path.UNDO)):
        told.of_a_case.add((path, level))
        told.reached = max(told.reached, level)
    told.waiting = path, level
    told.rungs[path, level] = _Rung(_window_s(facts))
    unreached = facts.get("unreachable")
    for person in facts["asked"]:
        reached = None if unreached is None else person not in unreached
        _ask(told, facts, person, reached=reached)
    if level == Level.L1 and path in L1_OF:
        told.waiting_l1.add(path)


def _window_s(facts: dict[str, Any]) -> int:
    """Return how long a rung had when it opened; 0 if its event does not say."""
    since, until = facts.get("opened_at"), facts.get("due_at")
    if not since or not until:
        return 0
    return int((datetime.fromisoformat(until) - datetime.fromisoformat(since)).total_seconds())


def _waiting(told: _Request) -> _Rung:
    if told.waiting is None:
        raise ValueError("somebody is asked, and no rung waits")
    return told.rungs[told.waiting]


def _ask(told: _Request, facts: dict[str, Any], person: str, *, reached: bool | None) -> None:
    rung = facts["path"], facts["level"]
    told.rungs[rung].reached[person] = reached
    if rung[0] == Path.APPROVAL:
        told.first[person] = None
    elif rung in told.of_a_case:
        told.others.append((rung[0], person, len(told.ran_out)))


def _close(told: _Request, event: Told, *, expired: bool) -> None:
    path, level = event.facts["path"], event.facts["level"]
    if path == Path.APPROVAL:
        told.nobody_first |= not expired and not told.first
    if expired:
        told.ran_out.append((path, level))
    if level == Level.L1 and path in L1_OF:
        told.waiting_l1.add(path)  # passed over at once, it never waited
        _end_l1(told, event, path, answered=False)


def _silence(told: _Request, ran_out: Sequence[Rung], paths: Iterable[str]) -> dict[str, Any]:
    """Return who let a rung of these paths run out, and who may not have known of it.

    Whoever said anything on these paths, be it a question, is neither; nor is anybody of
    whom the record does not say whether a channel reached them.
    """
    heard = {person for path, person in told.heard if path in paths}
    asked = [
        (person, reached)
        for rung in ran_out
        if rung[0] in paths
        for person, reached in told.rungs[rung].reached.items()
        if person not in heard
    ]
    unreached = _named(person for person, reached in asked if reached is False)
    return {
        "let_run_out": _named(p for p, reached in asked if reached and p not in unreached),
        "inbox_alone": unreached,
    }


def _end_l1(told: _Request, event: Told, path: str, *, answered: bool) -> None:
    if path not in told.waiting_l1:
        return
    told.waiting_l1.remove(path)
    told.found.append(
        _counted(
            told, event, L1_OF[Path(path)], HIT if answered else MISS, path=path, level=Level.L1,
            first_asked=_named(told.first), how=event.kind, why=event.facts.get("why", ""),
            failed=told.failed,
        )
    )  # fmt: skip


def _end_every_l1(told: _Request, event: Told) -> None:
    """The request went on without them; what was tried again by itself may have worked."""
    worked = event.kind == "request.completed"
    for path in sorted(told.waiting_l1):
        _end_l1(told, event, path, answered=worked and path == Path.SYSTEM_FAILURE)


def _resolve(told: _Request, event: Told) -> None:
    facts = event.facts
    path = facts["exception"]
    case = told.cases.pop(path, None)
    opened_at = _instant(facts, event, case.opened_at if case else event.at)
    level = Level(facts["highest_level"])
    seconds = max(int((event.at - opened_at).total_seconds()), 0)
    outcome = HIT if seconds < RESOLVE_WITHIN_S.get(level, seconds + 1) else MISS
    # A conflict's case ends `left` when the newcomer that carried it is withdrawn.
    if told.withdrawn or facts["outcome"] == "withdrawn":
        outcome = Measure.Outcome.WITHDRAWN
    elif facts.get("absent"):
        outcome = Measure.Outcome.ABSENT
    ran_out = told.ran_out[case.ran_out_before if case else 0 :]
    told.found.append(
        _counted(
            told, event, Metric.RESOLUTION, outcome, path=path, level=level, seconds=seconds,
            ended=facts["outcome"], first_asked=_named(told.first), failed=told.failed,
            ran_out_s=sum(told.rungs[rung].window_s for rung in ran_out if rung[0] == path),
            **_silence(told, ran_out, (path,)),
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
    others = [each for each in told.others if each[1] not in told.first]
    path, _, before = others[0] if others else (Path.APPROVAL, "", 0)
    # What ran out before somebody else was asked; on another path it is not why they were.
    ran_out = told.ran_out[:before] if path == Path.TIMEOUT else []
    told.ended = _counted(
        told, event, Metric.ESCALATION, HIT if others else MISS, path=path, level=told.reached,
        first_asked=_named(told.first), nobody_first=told.nobody_first, failed=told.failed,
        ended=event.facts.get("outcome") or event.kind.partition(".")[2],
        **_silence(told, ran_out, FOR_LEAVE),
    )  # fmt: skip


def _counted(
    told: _Request, event: Told, metric: Metric, outcome: str, /, *,
    path: str, level: int = Level.L0, seconds: int | None = None, **facts: Any,
) -> Counted:  # fmt: skip
    return Counted(
        event.chain, event.seq, event.at, week_of(event.at), str(metric), str(outcome), event.chain,
        told.department, told.action, str(path), int(level), seconds, {**told.about, **facts},
    )  # fmt: skip


def _instant(facts: dict[str, Any], event: Told, otherwise: datetime | None = None) -> datetime:
    """Return since when a case stands. Events from before the fact was recorded: since their own instant."""
    said = facts.get("opened_at")
    return datetime.fromisoformat(said) if said else otherwise or event.at


def _named(people: Iterable[str]) -> Sequence[str]:
    return list(dict.fromkeys(people))[:NAMED_AT_MOST]
