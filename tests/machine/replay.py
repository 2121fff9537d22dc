"""Reads a request's chain from its first event on, and says what it must be by now."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from approvals.models import ActionRequest
from governance.models import AuditEvent

S = ActionRequest.State
# What each event says of the request's state. An event of a request that stands in neither table fails.
MOVES = {
    "request.submitted": S.PENDING,
    "request.held": S.HELD,
    "request.blocked": S.BLOCKED,
    "request.approved": S.APPROVED,
    "request.rejected": S.REJECTED,
    "request.denied": S.DENIED,
    "request.expired": S.EXPIRED,
    "request.lapsed": S.EXPIRED,
    "request.withdrawn": S.WITHDRAWN,
    "request.rolling_back": S.ROLLING_BACK,
    "request.rolled_back": S.ROLLED_BACK,
    "request.stranded": S.STRANDED,
    "request.completed": S.COMPLETED,
    "request.completed_manually": S.COMPLETED_MANUALLY,
    "attempt.failed": S.TROUBLED,
}
STAYS = {
    "request.parked",
    "request.hurried",
    "request.summed",
    "request.question_asked",
}


@dataclass
class Told:
    """What the record says of one request."""

    state: str = ""
    cases: list[tuple[str, str]] = field(default_factory=list)  # (exception, outcome), "" = open
    decisions: list[tuple[str, str, int, str]] = field(default_factory=list)
    rungs: set[tuple[str, int]] = field(default_factory=set)


def replay(events: Iterable[AuditEvent]) -> Told:
    """Go through one chain's events, in their order."""
    told = Told()
    for event in events:
        facts = event.facts
        if event.kind in MOVES:
            told.state = MOVES[event.kind]
        elif event.kind == "request.went_on":
            told.state = facts["state"]
        elif event.kind == "review.closed" and facts["review"] == "cleanup":
            told.state = facts["outcome"]
        elif event.kind == "run.started":
            told.state = facts["state"]
        elif event.kind.startswith("request.") and event.kind not in STAYS:
            raise LookupError(f"nothing says what {event.kind} means")
        elif event.kind == "case.opened":
            told.cases.append((facts["exception"], ""))
        elif event.kind == "case.resolved":
            told.cases.remove((facts["exception"], ""))
            told.cases.append((facts["exception"], facts["outcome"]))
        elif event.kind == "step.decided":
            told.decisions.append((event.actor, facts["path"], facts["level"], facts["verdict"]))
        elif event.kind in ("step.opened", "step.passed_over") and "path" in facts:
            told.rungs.add((facts["path"], facts["level"]))
    return told
