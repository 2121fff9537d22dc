"""How a request climbs: from its first ask to the rung that can be asked next, or to its end.

`Climb` moves one locked request in memory, by the pure tables of `governance`,
and leaves every row it made or changed with a `Writes`. Submission, the sweeps
and decisions all climb through it, so that there is one way up.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from approvals.due import set_due
from approvals.models import ActionRequest, Ask, Case, Claim, ConflictParty, Decision, Order, Step
from approvals.services import asking, endings
from approvals.services.writes import Writes
from governance import ladder, tables, wording
from governance.decision_tree import ENTERS_AT
from governance.ledger import Act
from governance.routing import (
    NOBODY_NAMED,
    History,
    Limit,
    Offices,
    Passed,
    People,
    Routing,
    Row,
    barred,
)
from governance.tables import Policy
from governance.vocabulary import (
    ExceptionType,
    Impact,
    Level,
    Path,
    Response,
    Severity,
    Verdict,
)

CASE_REASON_LENGTH = 300


class Handed(NamedTuple):
    """Who handed a request over, on any step, and who took it over: primary keys."""

    by: frozenset[int] = frozenset()
    to: frozenset[int] = frozenset()

    @classmethod
    def of(cls, asks: Iterable[tuple[int, int, int | None]]) -> Handed:
        """Return that of asks given as (primary key, person, ask it was handed over from)."""
        asks = list(asks)
        given = {before for *_, before in asks if before is not None}
        return cls(
            frozenset(person for pk, person, _ in asks if pk in given),
            frozenset(person for _, person, before in asks if before is not None),
        )


NEVER_HANDED = Handed()
_S, _O = ActionRequest.State, Case.Outcome
# What becomes of a case that was interrupted, when its request ends without going back to it.
ENDS_CASES = {
    _S.COMPLETED: _O.RECOVERED,
    _S.COMPLETED_MANUALLY: _O.BY_HAND,
    _S.REJECTED: _O.REJECTED,
    _S.DENIED: _O.DENIED,
    _S.EXPIRED: _O.EXPIRED,
    _S.WITHDRAWN: _O.WITHDRAWN,
    _S.ROLLED_BACK: _O.ROLLED_BACK,
    _S.STRANDED: _O.STRANDED,
}
NO_LEAVE = (Verdict.RULE, Verdict.DENY, Verdict.WAIVE, Verdict.CHANGE_REQUESTED)


NOBODY: frozenset[int] = frozenset()


class Ruled(NamedTuple):
    """What of the decisions on a request matters to whoever is asked about a violation: primary keys."""

    approvers: frozenset[int] = NOBODY  # of the request
    signers: frozenset[int] = NOBODY  # of this case's waiver, on any rung

    @classmethod
    def of(cls, decisions: Iterable[Decision], case: Case | None) -> Ruled:
        """Return that of a request's decisions, and of its violation if one is open."""
        decisions = list(decisions)
        of_case = [
            each
            for each in decisions
            if each.verdict == Verdict.WAIVE
            and case is not None
            and each.details.get("case") == case.pk
        ]
        return cls(
            frozenset(each.person_id for each in decisions if each.verdict == Verdict.APPROVE),
            frozenset(each.person_id for each in of_case),
        )


def deciders_of(decisions: Iterable[Decision]) -> frozenset[int]:
    """Return who decided on the request before.

    Who ruled on a conflict, or on a violation, did not decide whether it may act.
    """
    return frozenset(each.person_id for each in decisions if each.verdict not in NO_LEAVE)


def behind_of(request: ActionRequest) -> frozenset[int]:
    """Return who stands behind a request: the owner of the agent that asks, and whom it acts for."""
    people = (request.agent.owner_id, request.on_behalf_of_id)
    return frozenset(person for person in people if person is not None)


def limit_of_noes(decisions: Iterable[Decision], people: People) -> Limit | None:
    """Return the limit of whoever said no, as it is now: after that nobody below it is asked."""
    noes = (people.by_pk[each.person_id] for each in decisions if each.verdict == Verdict.REJECT)
    limits = (Limit(no.limit, no.limit_currency) for no in noes if no.limit is not None)
    return max(limits, default=None)


@dataclass
class Climb:
    """One request on its way up, with all that hangs from it. Its row is locked by the caller.

    Attributes:
        request: with `action_type` and `agent` loaded.
        was: the state the row was read in.
        step: the step that waits, if one does.
        asks: all asks of that step, those passed over among them.
        case: the open case, if there is one.
        first_asked: who was asked at L0.
    """

    request: ActionRequest
    policy: Policy
    people: People
    act: Act
    writes: Writes
    step: Step | None = None
    asks: list[Ask] = field(default_factory=list)
    case: Case | None = None
    decisions: Sequence[Decision] = ()
    first_asked: tuple[int, ...] = ()
    everybody_asked: set[int] = field(default_factory=set)
    used: frozenset[tuple[str, int]] = (
        frozenset()
    )  # (path, level) of rungs it stood on, once underway
    handed: Handed = NEVER_HANDED
    party: ConflictParty | None = None  # to the conflict that holds it, or for which it is queued
    beside: frozenset[int] = frozenset()  # who may not act on another party to that conflict
    paused: Step | None = None  # the step it stood on when the conflict came
    offices: Offices = NOBODY_NAMED  # on call for its target only once underway
    signers: frozenset[int] = frozenset()  # of orders on it
    claim: Claim | None = None  # who finishes it by hand, once underway
    debtors: frozenset[int] = (
        frozenset()
    )  # with an overdue review of a bypass; of critical ones only
    late: timedelta = timedelta(0)  # how late the clock was, where it mattered
    beneath: list[Case] = field(
        default_factory=list
    )  # open cases that were interrupted, oldest first

    def __post_init__(self) -> None:
        self.was: str = self.request.state
        self.now: datetime = self.act.now
        self._case_is_written = False

    @property
    def row(self) -> Row:
        return self.policy.rows[self.request.matrix_row_id]

    @property
    def approvals(self) -> int:
        """How many distinct people approved this digest, over all steps."""
        return len({
            each.person_id
            for each in self.decisions
            if each.verdict == Verdict.APPROVE and each.digest == self.request.digest
        })  # fmt: skip

    @property
    def history(self) -> History:
        """What routing must know of the chain so far."""
        return History(
            deciders=deciders_of(self.decisions),
            at_least=limit_of_noes(self.decisions, self.people),
            approvals=self.approvals,
            first_asked=self.first_asked,
            beside=self.beside if self._asks_for_a_ruling else frozenset(),
            barred=self.barred if self._is_at_the_top else {},
            approvers=self.ruled.approvers if self._waits_on(Path.POLICY_VIOLATION) else NOBODY,
            signers=self.ruled.signers if self._waits_on(Path.POLICY_VIOLATION) else NOBODY,
        )

    @property
    def critical(self) -> bool:
        """Whether it is of a critical process, so that its ladder has L4."""
        return self.request.action_type.is_critical

    @property
    def _is_at_the_top(self) -> bool:
        return self.step is not None and self.step.level == Level.L4

    @property
    def earlier(self) -> set[int]:
        """Who was asked, or decided, on a step before this one, or stands behind the request."""
        now, before = set[int](), self.decisions
        if self._is_at_the_top:  # they are asked; and who had it in hand may say something else
            now = {ask.person_id for ask in self.asks if ask.asked_at}
            before = [each for each in before if each.step_id != self.waiting().pk]
        return (self.everybody_asked - now) | deciders_of(before) | behind_of(self.request)

    @property
    def barred(self) -> dict[int, Passed]:
        """The executives who may not override what came before, and why."""
        return barred(self.offices, people=self.people, earlier=self.earlier, debtors=self.debtors)

    @property
    def ruled(self) -> Ruled:
        """Who approved the request, and who has signed the waiver of the violation that is open."""
        return Ruled.of(self.decisions, self.case)

    @property
    def _asks_for_a_ruling(self) -> bool:
        return self._waits_on(Path.CONFLICT)

    def _waits_on(self, path: Path) -> bool:
        return self.step is not None and self.step.path == path

    # --- What can happen to it ---

    def open_first(
        self, look_further: Callable[[], None], *, began: Step.Began = Step.Began.SUBMITTED
    ) -> None:
        """Ask for the first time: at submission, or when what held it from its beginning is over.

        Args:
            look_further: reads into it all whom the ladder may lead to. Called only where
                none of those first named, who are all that is known, can decide.
        """
        if not self._open(Path.APPROVAL, Level.L0, began, self.now):
            look_further()
            self.leave(Path.APPROVAL, Level.L0, since=self.now, absent=True)

    def run_out(self) -> None:
        """The waiting step's clock ran out: close it and climb."""
        step = self.waiting()
        if step.due_at is None or step.due_at > self.now:
            raise ValueError(f"{step} is not due")
        since, path, level = step.due_at, Path(step.path), Level(step.level)
        step.expire(now=self.now)
        late = self.now - since
        self.act.record(
            self.request, "step.expired", path=path, level=level, due_at=since, late_s=late
        )
        self.put_away()
        self.leave(path, level, since=since)

    def object(self, decision: Decision, level: Level) -> None:
        """Somebody said no, and others of their authority are asked: open the case, and climb its path.

        It enters at the level the tree says for the objection's severity, or at the
        rejecter's own if that is higher.
        """
        self.resolve_case(Case.Outcome.REJECTED)
        name = self.people.by_pk[decision.person_id].name
        said = f": {decision.note}" if decision.note else "."
        rung = self.open_case(
            ExceptionType.REJECTION,
            f"The {name} said no{said}",
            since=self.now,
            severity=Severity(decision.severity),
        )
        path = Path.REJECTION
        rung = ladder.first_rung(path, at_least=max(rung or level, level), critical=self.critical)
        self.enter(path, rung, since=self.now, began=Step.Began.OPENED)

    def close_step(self, *, answered: bool) -> None:
        """The request goes on without an answer to the step that waits, or because it worked."""
        if self.step is None:
            return
        if answered:
            self.step.answer(now=self.now)
        else:
            self.step.supersede(now=self.now)
        self.put_away()

    def settle(self) -> None:
        """Have the request's row written as it now is; a new one is inserted so."""
        held_until = self.party.held_until if self.party is not None else None
        set_due(self.request, waiting=self.step, held_until=held_until)
        if not self.request.is_open:
            self._close_beneath()
            self.give_up_paused()
            if self.was in (_S.TROUBLED, _S.BLOCKED):  # somebody may have had it tried again
                endings.close_orders(self, Order.Kind.RETRY, Order.Outcome.NOTHING_TO_DO)
        if not self.request._state.adding:
            self.writes.move(self.request, was=self.was)

    def give_up_paused(self) -> None:
        """What was paused will not go on: its step is over."""
        step, self.paused = self.paused, None
        if step is None:
            return
        step.supersede(now=self.now)
        if step in self.writes.suspended_steps:  # by this very act: it still waits as stored
            self.writes.suspended_steps.remove(step)
            self.writes.closed_steps.append(step)
        else:
            self.writes.dropped_steps.append(step)

    # --- The way up ---

    def leave(self, path: Path, level: Level, *, since: datetime, absent: bool = False) -> None:
        """A rung is over without an answer: open the next one that can be asked, or end."""
        began = Step.Began.PASSED_OVER if absent else Step.Began.EXPIRED
        rung: Level | None
        if path == Path.APPROVAL:
            reason = (
                "Nobody first asked can decide."
                if absent
                else "The first approver did not answer in time."
            )
            path = Path.TIMEOUT
            rung = self.open_case(ExceptionType.TIMEOUT, reason, since=since, absent=absent)
        else:
            rung = ladder.next_rung(path, level, critical=self.critical)
        self.enter(path, rung, since=since, began=began)

    def enter(self, path: Path, rung: Level | None, *, since: datetime, began: Step.Began) -> None:
        """Open the first rung from `rung` upwards that can be asked, or come to the path's end."""
        while rung is not None:
            if (path, rung) not in self.used:
                window = self._window(path, rung, since)
                start = ladder.begins_at(due_at=since, now=self.now, window=window)
                if start != since:
                    self.late, began = self.now - since, Step.Began.LATE
                if self._open(path, rung, began, start):
                    return
                since, began = start, Step.Began.PASSED_OVER
            rung = ladder.next_rung(path, rung, critical=self.critical)
        endings.end_of_path(self, path)

    def _open(self, path: Path, level: Level, began: Step.Began, since: datetime) -> bool:
        """Open one rung and ask its people; or record that it was passed over, and return False."""
        window, full = self._window(path, level, since), self._full_window(path, level)
        automatic = (path, level) in ladder.AUTOMATIC
        found = Routing((), (), 1) if automatic else asking.find(self, path, level)
        opens = automatic or found.opens
        step = Step(
            request=self.request,
            case=self.case,
            path=path,
            level=level,
            state=Step.State.WAITING if opens else Step.State.PASSED_OVER,
            needed=found.needed,
            window=window if opens else timedelta(0),
            began=began,
            opened_at=since,
            due_at=since + window if opens else None,
            closed_at=None if opens else since,
        )
        self.writes.steps.append(step)
        self._reach(level)
        if opens:
            self.step, self.asks = step, []
            if path == Path.SYSTEM_FAILURE and not automatic:
                self.request.next_attempt_at = None  # from here on people say how it goes on
        asking.record_passed(self, step, found.passed_over)
        passed = {self.username(each.person): each.why for each in found.passed_over}
        if not opens:
            self.act.record(
                self.request, "step.passed_over", path=path, level=level, passed_over=passed
            )
            return False
        self.act.record(
            self.request, "step.opened", path=path, level=level, opened_at=since,
            due_at=step.due_at, needed=found.needed, passed_over=passed,
            in_case=self.case is not None,
            unreachable=[self.username(each.person) for each in found.asked if not each.reachable],
            asked=[self.username(each.person) for each in found.asked],
            **({} if window == full else {"window": window, "cut_from": full}),
        )  # fmt: skip
        for place, asked in enumerate(found.asked):
            asking.put_to(self, step, asked, place)
        if path == Path.APPROVAL:
            self.first_asked = tuple(asked.person for asked in found.asked)
        return True

    def open_case(
        self,
        exception: ExceptionType,
        reason: str,
        *,
        since: datetime,
        absent: bool = False,
        severity: Severity | None = None,
        facts: dict[str, Any] | None = None,
    ) -> Level | None:
        """Open a case by the decision tree, and return the rung where it enters its path.

        Args:
            severity: of the case; the request's own by default.
        """
        request = self.request
        severity = severity or Severity(request.severity)
        if self.case is not None and self.case.state == Case.State.OPEN:
            self.beneath.append(self.case)  # interrupted; it goes on when this one is over
        answer = self.policy.cells[exception, severity, Impact(request.impact)]
        path, at_least = Path(exception.value), ENTERS_AT[answer.response]
        level = ladder.first_rung(path, at_least=at_least, critical=self.critical)
        if request.person_present and exception == ExceptionType.SYSTEM_FAILURE:
            # Nothing is tried again by itself that needs a person there: people are asked at once.
            at_least = max(at_least, Level.L2)
            level = ladder.next_rung(path, Level.L1, critical=self.critical)
        self.case = Case(
            request=request,
            exception=exception,
            severity=severity,
            impact=request.impact,
            response=answer.response,
            source=answer.source,
            reason=wording.plain(reason, CASE_REASON_LENGTH),
            facts=facts or {},
            highest_level=level or at_least,
            absent=absent,
            opened_at=since,
        )
        self.writes.cases.append(self.case)
        self._case_is_written = True
        self.act.record(
            request, "case.opened", exception=exception, severity=severity,
            impact=request.impact, response=answer.response, source=answer.source,
            original_approvers=[self.username(pk) for pk in self.first_asked],
            reason=self.case.reason, opened_at=since, absent=absent,
        )  # fmt: skip
        return level

    def resolve_case(self, outcome: Case.Outcome) -> None:
        """Close the open case, if there is one."""
        if self.case is None:
            return
        self.case.resolve(outcome=outcome, now=self.now)
        self._case_changed()
        self.act.record(
            self.request, "case.resolved", exception=self.case.exception, outcome=outcome,
            highest_level=self.case.highest_level, opened_at=self.case.opened_at,
            absent=self.case.absent,
        )  # fmt: skip

    def go_back_to_case(self) -> None:
        """What interrupted it is over: the case it interrupted, if there was one, speaks again."""
        self.case = self.beneath.pop() if self.beneath else None
        self._case_is_written = any(self.case is each for each in self.writes.changed_cases)

    def _close_beneath(self) -> None:
        """The request ended while another case spoke: those it had interrupted end with it."""
        outcome = ENDS_CASES[ActionRequest.State(self.request.state)]
        while self.case is not None:
            if self.case.state == Case.State.OPEN:
                self.resolve_case(outcome)
            self.go_back_to_case()

    # --- Small things ---

    def _window(self, path: Path, level: Level, since: datetime) -> timedelta:
        """Return the window of a rung that opens at `since`: shorter, where the request is in a hurry."""
        request = self.request
        cell = ExceptionType.TIMEOUT, Severity(request.severity), Impact(request.impact)
        return ladder.hurried(
            path,
            level,
            self._full_window(path, level),
            windows=self.policy.windows,
            after_silence=self.policy.cells[cell].response,
            since=since,
            by=request.needed_by,
            critical=self.critical,
        )

    def _full_window(self, path: Path, level: Level) -> timedelta:
        if path == Path.APPROVAL:
            return self.request.action_type.sla
        response = Response(self.case.response) if self.case else Response.DELEGATE
        return ladder.granted(self.policy.windows[path, level], response, level)

    def _reach(self, level: Level) -> None:
        if self.case is not None and self.case.highest_level < level:
            self.case.highest_level = level
            self._case_changed()

    def _case_changed(self) -> None:
        if self.case and not self._case_is_written:
            self.writes.changed_cases.append(self.case)
            self._case_is_written = True

    def call_in(self, offices: Offices) -> None:
        """Have those who hold these offices known, so that they can be asked."""
        self.offices = offices
        named = (*offices.owner, *offices.compliance, *offices.head_of_compliance)
        missing = set(named) - self.people.by_pk.keys()
        if missing:
            more = tables.people_for((), also=missing, now=self.now)
            self.people = People({**self.people.by_pk, **more.by_pk}, self.people.holders)

    def put_away(self) -> None:
        self.writes.closed_steps.append(self.waiting())
        self.step = None

    def waiting(self) -> Step:
        if self.step is None:
            raise ValueError(f"nothing waits on {self.request.ref}")
        return self.step

    def username(self, pk: int) -> str:
        return f"person:{self.people.by_pk[pk].username}"
