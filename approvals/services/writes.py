"""The rows of one act, or of a whole sweep, kept in memory and written at once.

Services and sweeps move objects in memory; what they changed and what they
made is collected here, and goes out in a fixed number of statements whatever
the number of requests. Source: DESIGN 7, "How it stays fast".
"""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import dataclass, field

from approvals.models import (
    ActionRequest,
    Alert,
    Ask,
    Case,
    ConflictParty,
    Decision,
    Notice,
    Order,
    Review,
    Step,
    Violation,
)
from governance import bulk, ledger

MOVED = ("due_at", "chain_length", "chain_hash")
UNDERWAY = (
    *MOVED,
    "next_attempt_at",
    "lease_until",
    "run_token",
    "run_deadline",
    "has_effects",
    "had_effects",
)
CHANGED_STATE = (
    *UNDERWAY,
    "state",
    "state_seq",
    "approved_at",
    "ready_at",
    "blocked_from",
    "read_due_at",
    "ended_at",
    "end_reason",
    "holds_key",
    "held_once",
)
FEW = 20  # requests, up to which one trip is faster than a COPY for each table
PAUSED = ("state", "due_at", "remaining")
RULED = ("ruling", "position", "joined_at", "was_held", "held_until", "left_at")
WAITING = (ActionRequest.State.PENDING, ActionRequest.State.HELD)
REOPENED = (
    "why",
    "position",
    "asked_at",
    "due_at",
    "next_ping_at",
    "unreachable_at",
    "passed_over_at",
    "passed_over_reason",
    "handed_over_from",
)


@dataclass
class Writes:
    """What is to be written. `save` once, in the transaction that holds the requests' locks."""

    acts: list[ledger.Act] = field(default_factory=list)
    moved: dict[str, list[ActionRequest]] = field(
        default_factory=dict
    )  # by the state they came from
    closed_steps: list[Step] = field(default_factory=list)
    suspended_steps: list[Step] = field(default_factory=list)
    resumed_steps: list[Step] = field(default_factory=list)
    dropped_steps: list[Step] = field(default_factory=list)  # suspended, and never to wait again
    changed_cases: list[Case] = field(default_factory=list)
    passed_asks: list[Ask] = field(default_factory=list)
    reopened_asks: list[Ask] = field(default_factory=list)
    pinged_asks: list[Ask] = field(default_factory=list)
    cases: list[Case] = field(default_factory=list)
    steps: list[Step] = field(default_factory=list)
    asks: list[Ask] = field(default_factory=list)
    parties: list[ConflictParty] = field(default_factory=list)
    changed_parties: list[ConflictParty] = field(default_factory=list)
    decisions: list[Decision] = field(default_factory=list)
    orders: list[Order] = field(default_factory=list)
    reviews: list[Review] = field(default_factory=list)
    violations: list[Violation] = field(default_factory=list)
    taken_in: list[Violation] = field(default_factory=list)  # stored before, without a case
    notices: list[Notice] = field(default_factory=list)
    alerts: list[Alert] = field(default_factory=list)

    def move(self, request: ActionRequest, *, was: str) -> None:
        """Have the row of a locked request written; `was` is the state it was read in."""
        self.moved.setdefault(was, []).append(request)

    def save(self) -> None:
        """Write everything, parents before children, the named chains last.

        Raises LostUpdate if a row was not as it was read, and whatever the
        database says to a row it refuses. Objects must not be used after that:
        they hold the state they were to have.
        """
        for was, requests in self.moved.items():
            alive = [request for request in requests if request.state == was]
            turned = [request for request in requests if request.state != was]
            expecting = ("state", was)
            own = MOVED if was in WAITING else UNDERWAY  # what waits has no lease to write
            bulk.save_differing(ActionRequest, alive, own, expecting=expecting)
            bulk.save_differing(ActionRequest, turned, CHANGED_STATE, expecting=expecting)
        self._close()
        bulk.save_alike(
            Case,
            self.changed_cases,
            ["state", "outcome", "resolved_at", "highest_level"],
            expecting=("state", Case.State.OPEN),
        )
        few = sum(map(len, self.moved.values())) <= FEW
        with bulk.in_one_go() if few else nullcontext():
            self._insert()
            ledger.write(self.acts)

    def _close(self) -> None:
        waiting, suspended = ("state", Step.State.WAITING), ("state", Step.State.SUSPENDED)
        bulk.save_alike(Step, self.closed_steps, ["state", "closed_at"], expecting=waiting)
        bulk.save_differing(Step, self.suspended_steps, PAUSED, expecting=waiting)
        bulk.save_differing(Step, self.resumed_steps, PAUSED, expecting=suspended)
        bulk.save_differing(Step, self.dropped_steps, [*PAUSED, "closed_at"], expecting=suspended)
        bulk.save_differing(ConflictParty, self.changed_parties, RULED)
        if self.closed_steps or self.suspended_steps:
            closed = [step.pk for step in (*self.closed_steps, *self.suspended_steps)]
            Ask.objects.filter(step__in=closed, due_at__isnull=False).update(
                due_at=None, next_ping_at=None
            )
        bulk.save_alike(
            Ask,
            self.passed_asks,
            ["due_at", "next_ping_at", "passed_over_at", "passed_over_reason"],
        )
        bulk.save_differing(Ask, self.reopened_asks, REOPENED)
        bulk.save_differing(Ask, self.pinged_asks, ["pings", "next_ping_at"])

    def _insert(self) -> None:
        """Insert parents before children, each pointing at the keys its parents were given."""
        bulk.give_keys([*self.cases, *self.steps, *self.asks, *self.reviews])
        for rows, parents in (
            (self.cases, ["request"]),
            (self.steps, ["request", "case"]),
            (self.asks, ["step"]),
        ):
            for parent in parents:
                bulk.link(rows, parent)
            bulk.insert(rows)
        for parent in ("case", "request"):
            bulk.link(self.parties, parent)
        bulk.insert(self.parties)
        bulk.insert(self.reviews)
        bulk.link(self.decisions, "review")
        bulk.insert(self.decisions)
        bulk.link(self.orders, "case")
        bulk.insert(self.orders)
        for parent in ("request", "case"):
            bulk.link(self.violations, parent)
        bulk.insert(self.violations)
        bulk.link(self.taken_in, "case")
        for violation in self.taken_in:
            violation.save(update_fields=["case"])
        for parent in ("request", "ask"):
            bulk.link(self.notices, parent)
        bulk.insert(self.notices)
        bulk.link(self.alerts, "request")
        Alert.objects.bulk_create(self.alerts, ignore_conflicts=True)  # one open alert a matter
