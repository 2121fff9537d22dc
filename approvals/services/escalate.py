"""How a request climbs: from its first ask to the rung that can be asked next, or to its end.

`Climb` moves one locked request in memory, by the pure tables of `governance`,
and leaves every row it made or changed with a `Writes`. Submission, the sweeps
and decisions all climb through it, so that there is one way up.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from approvals import notifying
from approvals.due import set_due
from approvals.models import ActionRequest, Ask, Case, ConflictParty, Decision, Step
from approvals.services import alerts, endings
from approvals.services.writes import Writes
from governance import ladder, wording
from governance.decision_tree import ENTERS_AT
from governance.ledger import Act
from governance.routing import (
    NOBODY_NAMED,
    Asked,
    Candidate,
    History,
    Limit,
    Offices,
    Passed,
    People,
    Routing,
    Row,
    Subject,
    Why,
    route,
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
WHY_LENGTH = 300


def subject_of(request: ActionRequest) -> Subject:
    """Return what routing knows of a request, its action type and agent loaded."""
    return Subject(
        department=request.department_id,
        action=request.action_type.key,
        action_name=request.action_type.name,
        amount=request.routed_amount,
        currency=request.currency,
        agent_owner=request.agent.owner_id,
        on_behalf_of=request.on_behalf_of_id,
    )


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


def deciders_of(decisions: Iterable[Decision]) -> frozenset[int]:
    """Return who decided on the request before. Who ruled on a conflict did not decide whether it may act."""
    return frozenset(each.person_id for each in decisions if each.verdict != Verdict.RULE)


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
    late: timedelta = timedelta(0)  # how late the clock was, where it mattered

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
        )

    @property
    def _asks_for_a_ruling(self) -> bool:
        return self.step is not None and self.step.path == Path.CONFLICT

    # --- What can happen to it ---

    def open_first(
        self, everybody: Callable[[], People], *, began: Step.Began = Step.Began.SUBMITTED
    ) -> None:
        """Ask for the first time: at submission, or when what held it from its beginning is over.

        Args:
            everybody: reads all whom the matrix row may lead to. Asked only where
                none of those first named, who are all that is known, can decide.
        """
        window = self.request.action_type.sla
        if not self._open(Path.APPROVAL, Level.L0, began, self.now, window):
            self.people = everybody()
            self._leave(Path.APPROVAL, Level.L0, since=self.now, absent=True)

    def run_out(self) -> None:
        """The waiting step's clock ran out: close it and climb."""
        step = self._waiting()
        if step.due_at is None or step.due_at > self.now:
            raise ValueError(f"{step} is not due")
        since, path, level = step.due_at, Path(step.path), Level(step.level)
        step.expire(now=self.now)
        late = self.now - since
        self.act.record(
            self.request, "step.expired", path=path, level=level, due_at=since, late_s=late
        )
        self._close_step()
        self._leave(path, level, since=since)

    def object(self, decision: Decision, level: Level) -> None:
        """Somebody said no, and others of their authority are asked: open the case, and climb its path.

        It enters at the level the tree says for the objection's severity, or at the
        rejecter's own if that is higher.
        """
        self.resolve_case(Case.Outcome.REJECTED)
        name = self.people.by_pk[decision.person_id].name
        said = f": {decision.note}" if decision.note else "."
        rung = self._open_case(
            ExceptionType.REJECTION,
            f"The {name} said no{said}",
            since=self.now,
            severity=Severity(decision.severity),
        )
        path = Path.REJECTION
        rung = ladder.first_rung(path, at_least=max(rung or level, level))
        self._climb(path, rung, since=self.now, began=Step.Began.OPENED)

    def fail(
        self,
        reason: str,
        *,
        facts: dict[str, Any],
        retry_at: datetime | None = None,
        asked: bool = False,
    ) -> None:
        """What was to be done failed: open the case, or go on with the one that is open.

        Every attempt within L1's window belongs to its step.

        Args:
            reason: a sentence, for the case.
            facts: JSON, for the case and the record.
            retry_at: when to try again. None: trying again would give the same
                answer, so that the automatic rung is left at once.
            asked: it is the target that wants to be left alone until then.
        """
        request = self.request
        if request.state != ActionRequest.State.TROUBLED:
            request.fail()
            notifying.state_changed(self.writes, request, now=self.now)
        self.act.record(request, "attempt.failed", reason=reason, retry_at=retry_at, **facts)
        step = self.step
        if step is None:
            rung = self._open_case(
                ExceptionType.SYSTEM_FAILURE, reason, since=self.now, facts=facts
            )
            self._climb(Path.SYSTEM_FAILURE, rung, since=self.now, began=Step.Began.OPENED)
            step = self.step
        if step is None:
            return  # the path was at its end
        if retry_at is None:
            step.pass_over(now=self.now)
            if step.pk is not None:
                self.writes.closed_steps.append(step)
            self.step = None
            self.act.record(
                request, "step.passed_over", path=step.path, level=step.level,
                why="trying again would give the same answer",
            )  # fmt: skip
            self._leave(Path(step.path), Level(step.level), since=self.now, absent=True)
        elif asked or (step.due_at is not None and retry_at < step.due_at):
            request.next_attempt_at = retry_at
        else:
            request.next_attempt_at = None  # the step's clock comes first

    def ask_about_undo(self, reason: str) -> None:
        """It could not be undone by itself: whoever is on call is asked, on the path `undo`."""
        if (Path.UNDO, Level.L2) not in self.used:
            self.act.record(self.request, "undo.needs_a_person", reason=reason)
        if self.step is None:
            self._climb(Path.UNDO, Level.L2, since=self.now, began=Step.Began.OPENED)

    def hold(self, *, by: str) -> None:
        """Several requests want its record: its clock stands still until somebody ruled.

        Args:
            by: ref of the newcomer that found the others.
        """
        if self.step is not None:
            self.step.suspend(now=self.now)
            self.writes.suspended_steps.append(self.step)
            self.paused, self.step = self.step, None
        self.request.hold()
        self.act.record(self.request, "request.held", by=by)
        notifying.state_changed(self.writes, self.request, now=self.now)

    def disagree(self, reason: str, facts: dict[str, Any]) -> None:
        """It came for a record that others want: open the case, and ask whoever owns the record."""
        rung = self._open_case(ExceptionType.CONFLICT, reason, since=self.now, facts=facts)
        self._climb(Path.CONFLICT, rung, since=self.now, began=Step.Began.OPENED)

    def be_ready_again(self) -> None:
        """What held it is over, and it may run as it was approved."""
        self.request.be_ready_again()
        self.act.record(self.request, "request.went_on")
        notifying.state_changed(self.writes, self.request, now=self.now)

    def wait_again(self, asks: list[Ask]) -> None:
        """What held it is over: it waits where it stood, with the time it had left, or is asked for first.

        Args:
            asks: of the step it stood on.
        """
        request, step = self.request, self.paused
        request.wait_again()
        self.act.record(request, "request.went_on")
        notifying.state_changed(self.writes, request, now=self.now)
        if step is None:
            self.open_first(lambda: self.people, began=Step.Began.RELEASED)
            return
        step.resume(now=self.now)
        self.writes.resumed_steps.append(step)
        self.step, self.asks, self.paused = step, asks, None
        decided = {each.person_id for each in self.decisions if each.step_id == step.pk}
        for ask in asks:
            if ask.asked_at and not ask.passed_over_at and ask.person_id not in decided:
                ask.due_at = step.due_at
                ask.next_ping_at = self._first_ping(step, ask)
                self.writes.reopened_asks.append(ask)
                notifying.asked(self.writes, ask, request, self.people, now=self.now)
        self.act.record(
            request, "step.resumed", path=step.path, level=step.level, due_at=step.due_at
        )

    def close_step(self, *, answered: bool) -> None:
        """The request goes on without an answer to the step that waits, or because it worked."""
        if self.step is None:
            return
        if answered:
            self.step.answer(now=self.now)
        else:
            self.step.supersede(now=self.now)
        self._close_step()

    def pass_over(self, gone: Iterable[Passed], *, only_for_reachable: bool = False) -> bool:
        """People who were asked cannot answer any more: ask the next ones, on the same clock, or climb.

        Args:
            gone: who, and why.
            only_for_reachable: change nothing unless somebody reachable takes every place.

        Returns whether anything changed.
        """
        step = self._waiting()
        why = {passed.person: passed for passed in gone}
        kept = [ask for ask in self.asks if ask.due_at and ask.person_id not in why]
        decided = sum(each.step_id == step.pk for each in self.decisions)
        wanted = step.needed - decided - len(kept)
        # Somebody passed over before may be asked again: back from an absence, or, though no
        # channel reaches them, because nobody else is left.
        out = {*why, *(ask.person_id for ask in kept), *self.handed.by}
        spent = {pk: Passed(pk, Why.NOBODY, "") for pk in out}
        found = self._route(Path(step.path), Level(step.level), spent=spent, have=len(kept))
        taking = found.asked[: max(wanted, 0)]
        enough = len(taking) >= wanted
        if only_for_reachable and not (enough and all(asked.reachable for asked in taking)):
            return False
        for ask in self.asks:
            if ask.due_at and ask.person_id in why:
                self._pass_ask(ask, why[ask.person_id])
        self._record_passed(step, found.passed_over)
        if enough:
            for place, asked in enumerate(taking, start=len(self.asks)):
                self._ask(step, asked, place)
                self.act.record(
                    self.request, "ask.opened", path=step.path, level=step.level,
                    asked=self._username(asked.person), instead_of=[self._username(pk) for pk in why],
                )  # fmt: skip
            return True
        step.pass_over(now=self.now)
        self.act.record(self.request, "step.passed_over", path=step.path, level=step.level)
        self._close_step()
        self._leave(Path(step.path), Level(step.level), since=self.now, absent=True)
        return True

    def hand_over(self, ask: Ask, to: Candidate, note: str) -> None:
        """Whoever was asked gives it to somebody else, on the clock that runs.

        Args:
            ask: theirs, which is open.
            to: somebody who may answer in their place, and was not asked on this step.
        """
        step, by = self._waiting(), self.people.by_pk[ask.person_id]
        ask.due_at = ask.next_ping_at = None
        ask.passed_over_at, ask.passed_over_reason = self.now, f"handed it over to the {to.name}"
        self.writes.passed_asks.append(ask)
        said = f": “{note.rstrip('.')}”" if note else ""
        why = wording.plain(f"one to whom the {by.name} handed this over{said}", WHY_LENGTH)
        given = self._ask(step, Asked(to.pk, why, to.reachable), len(self.asks))
        given.handed_over_from = ask
        self.act.record(
            self.request, "ask.handed_over", path=step.path, level=step.level,
            person=self._username(ask.person_id), to=self._username(to.pk), note=note,
        )  # fmt: skip

    def settle(self) -> None:
        """Have the request's row written as it now is; a new one is inserted so."""
        held_until = self.party.held_until if self.party is not None else None
        set_due(self.request, waiting=self.step, held_until=held_until)
        if self.paused is not None and not self.request.is_open:
            self.paused.supersede(now=self.now)
            self.writes.dropped_steps.append(self.paused)
            self.paused = None
        if not self.request._state.adding:
            self.writes.move(self.request, was=self.was)

    # --- The way up ---

    def _leave(self, path: Path, level: Level, *, since: datetime, absent: bool = False) -> None:
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
            rung = self._open_case(ExceptionType.TIMEOUT, reason, since=since, absent=absent)
        else:
            rung = ladder.next_rung(path, level)
        self._climb(path, rung, since=since, began=began)

    def _climb(self, path: Path, rung: Level | None, *, since: datetime, began: Step.Began) -> None:
        """Open the first rung from `rung` upwards that can be asked, or come to the path's end."""
        while rung is not None:
            if (path, rung) not in self.used:
                window = self._window(path, rung)
                start = ladder.begins_at(due_at=since, now=self.now, window=window)
                if start != since:
                    self.late, began = self.now - since, Step.Began.LATE
                if self._open(path, rung, began, start, window):
                    return
                since, began = start, Step.Began.PASSED_OVER
            rung = ladder.next_rung(path, rung)
        endings.end_of_path(self, path)

    def _open(
        self, path: Path, level: Level, began: Step.Began, since: datetime, window: timedelta
    ) -> bool:
        """Open one rung and ask its people; or record that it was passed over, and return False."""
        automatic = (path, level) in ladder.AUTOMATIC
        found = Routing((), (), 1) if automatic else self._route(path, level)
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
        self._record_passed(step, found.passed_over)
        passed = {self._username(each.person): each.why for each in found.passed_over}
        if not opens:
            self.act.record(
                self.request, "step.passed_over", path=path, level=level, passed_over=passed
            )
            return False
        self.act.record(
            self.request, "step.opened", path=path, level=level, opened_at=since,
            due_at=step.due_at, needed=found.needed, passed_over=passed,
            asked=[self._username(each.person) for each in found.asked],
        )  # fmt: skip
        for place, asked in enumerate(found.asked):
            self._ask(step, asked, place)
        if path == Path.APPROVAL:
            self.first_asked = tuple(asked.person for asked in found.asked)
        return True

    def _open_case(
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
        answer = self.policy.cells[exception, severity, Impact(request.impact)]
        level = ladder.first_rung(Path(exception.value), at_least=ENTERS_AT[answer.response])
        self.case = Case(
            request=request,
            exception=exception,
            severity=severity,
            impact=request.impact,
            response=answer.response,
            source=answer.source,
            reason=wording.plain(reason, CASE_REASON_LENGTH),
            facts=facts or {},
            highest_level=level or Level.L1,
            absent=absent,
            opened_at=since,
        )
        self.writes.cases.append(self.case)
        self._case_is_written = True
        self.act.record(
            request, "case.opened", exception=exception, severity=severity,
            impact=request.impact, response=answer.response, source=answer.source,
            original_approvers=[self._username(pk) for pk in self.first_asked],
            reason=self.case.reason,
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
            highest_level=self.case.highest_level,
        )  # fmt: skip

    # --- Small things ---

    def _route(
        self, path: Path, level: Level, *, spent: dict[int, Passed] | None = None, have: int = 0
    ) -> Routing:
        history = replace(
            self.history,
            approvals=self.approvals + have,
            spent=spent or {},
            beside=self.beside if path == Path.CONFLICT else frozenset(),
        )
        return route(
            path,
            level,
            row=self.row,
            subject=subject_of(self.request),
            people=self.people,
            history=history,
            now=self.now,
            policy=self.policy.number,
            offices=self.offices,
        )

    def _window(self, path: Path, level: Level) -> timedelta:
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

    def _ask(self, step: Step, asked: Asked, place: int) -> Ask:
        """Ask one person on a step: on a row of their own, or on the one that passed them over before."""
        ask = next((each for each in self.asks if each.person_id == asked.person), None)
        if ask is None:
            ask = Ask(step=step, person_id=asked.person, path=step.path)
            self.asks.append(ask)
            self.writes.asks.append(ask)
        else:
            ask.passed_over_at, ask.passed_over_reason = None, ""
            self.writes.reopened_asks.append(ask)
        ask.why, ask.position = asked.why, place
        ask.asked_at, ask.due_at = self.now, step.due_at
        ask.next_ping_at = self._first_ping(step, ask)
        ask.unreachable_at = None if asked.reachable else self.now
        self.everybody_asked.add(asked.person)
        notifying.asked(self.writes, ask, self.request, self.people, now=self.now)
        if not asked.reachable:
            name = self.people.by_pk[asked.person].name
            self.writes.alerts.append(alerts.unreachable(self.request, name, now=self.now))
        return ask

    def _first_ping(self, step: Step, ask: Ask) -> datetime | None:
        """Return when somebody is pinged next on a rung that pings, counted from the rung's opening or from now."""
        # Who takes a place while the rung is open has the first wait of their own.
        begins = step.opened_at if step.pk is None else self.now
        at = begins + ladder.ping_wait(step.window, ask.pings)
        pings = step.level == Level.L1 and step.due_at is not None and at < step.due_at
        return at if pings else None

    def _pass_ask(self, ask: Ask, passed: Passed) -> None:
        ask.due_at = ask.next_ping_at = None
        ask.passed_over_at, ask.passed_over_reason = self.now, passed.why
        self.writes.passed_asks.append(ask)
        self.act.record(
            self.request, "ask.passed_over", person=self._username(ask.person_id), reason=passed.why
        )

    def _record_passed(self, step: Step, passed_over: Iterable[Passed]) -> None:
        """Keep why others were not asked, once each; those already on the step say it themselves."""
        known = {ask.person_id for ask in self.asks if ask.step is step}
        passed = [
            Ask(
                step=step,
                person_id=each.person,
                path=step.path,
                passed_over_at=self.now,
                passed_over_reason=each.why,
            )
            for each in {each.person: each for each in passed_over}.values()
            if each.person not in known
        ]
        self.asks += passed
        self.writes.asks += passed

    def _close_step(self) -> None:
        self.writes.closed_steps.append(self._waiting())
        self.step = None

    def _waiting(self) -> Step:
        if self.step is None:
            raise ValueError(f"nothing waits on {self.request.ref}")
        return self.step

    def _username(self, pk: int) -> str:
        return f"person:{self.people.by_pk[pk].username}"
