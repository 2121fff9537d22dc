"""Says what a request is about, who was asked, and what comes next. Pure: a packet in, words out.

Everything an agent wrote goes through `wording.plain` here, so that templates
only escape it. Rungs that lie ahead are routed by the same functions that will
route them, over the people as they are now.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta, tzinfo
from decimal import Decimal, InvalidOperation
from typing import Any

from approvals.models import ActionRequest, Ask, Case, Decision, Notice, Step
from approvals.packets import Packet
from approvals.services.escalate import subject_of
from approvals.templating import at_pointer
from governance import ladder, wording
from governance.decision_tree import ENTERS_AT
from governance.ladder import BEGIN_WITHIN, BEGIN_WITHIN_PERSON_PRESENT
from governance.models import ActionType, Person
from governance.routing import hindrance, route
from governance.vocabulary import (
    ExceptionType,
    Impact,
    Level,
    Path,
    Response,
    RuleSource,
    Severity,
    Verdict,
)

S = ActionRequest.State
TITLE_LENGTH = 300
LABEL_LENGTH = 60
VALUE_LENGTH = 600
REASON_LENGTH = 4000
NAMES_SHOWN = 4
FACTS_SHOWN = 24
# The ladder that is drawn: the first ask, and the timeout path above it.
DRAWN = (Path.APPROVAL, Path.TIMEOUT)
_DATE = re.compile(r"\d{4}-\d{2}-\d{2}")

# In a head: what a rung is called. The vocabulary names them for those who edit policy.
LEVEL_WORDS = {
    Level.L0: "First approver",
    Level.L1: "Asked again",
    Level.L2: "Delegate",
    Level.L3: "Management",
    Level.L4: "Emergency bypass",
}
RESPONSES = {
    Response.ASK_AGAIN_EXTENDED: "ask the same people again, with twice the window",
    Response.ASK_AGAIN: "ask the same people again",
    Response.DELEGATE: "ask a delegate",
    Response.ALTERNATE: "ask an alternate approver",
    Response.DEPARTMENT_HEAD: "ask the department head, with full context",
    Response.HOLD: "hold every party and ask the owner of the record",
    Response.RETRY: "retry with growing pauses",
    Response.RETRY_TELL_ONCALL: "retry, and tell whoever is on call",
    Response.ONCALL: "ask whoever is on call",
    Response.ASK_COMPLIANCE: "block it and ask compliance",
}
SOURCES = {
    RuleSource.RUNBOOK: "The runbook says so.",
    RuleSource.OURS: "The runbook is silent here; this is the product's own rule.",
    RuleSource.LOCAL: "This rule was edited here.",
}
DID = {Verdict.APPROVE: "approved", Verdict.REJECT: "rejected"}
VIA_WORDS = {Notice.Via.EMAIL: ("mail", "E-mail"), Notice.Via.APPRISE: ("smartphone", "Message")}


@dataclass(frozen=True, slots=True)
class Fact:
    """One thing the action type has shown. `missing`: the payload does not say it."""

    label: str
    value: str
    missing: bool = False


@dataclass(frozen=True, slots=True)
class Ahead:
    """A rung not reached yet, as things stand: who would be asked, or why it does not open."""

    level: Level
    opens: bool
    since: datetime
    window: timedelta = timedelta(0)
    people: tuple[int, ...] = ()
    names: tuple[str, ...] = ()
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Rung:
    """One step of the staircase. `kind` is past, here, next, shut or end."""

    kind: str
    top: str
    icon: str
    who: str
    end: str
    since: datetime | None = None
    until: datetime | None = None
    window: timedelta | None = None
    share: float = 100.0


@dataclass(frozen=True, slots=True)
class Sent:
    """One way something reached somebody, or did not."""

    icon: str
    words: str


@dataclass(frozen=True, slots=True)
class Reached:
    """What became of one ask. `who` only where several were asked at once."""

    who: str
    sent: tuple[Sent, ...]


@dataclass(frozen=True, slots=True)
class Entry:
    """One thing that happened."""

    at: datetime
    title: str
    words: str = ""
    reached: tuple[Reached, ...] = ()
    passed: tuple[str, ...] = ()
    quote: str = ""
    source: str = ""
    source_words: str = ""
    is_here: bool = False
    is_bad: bool = False


@dataclass(frozen=True, slots=True)
class Holds:
    """What holds now, for those who do not decide. `kind` is a note's."""

    kind: str
    lead: str
    text: str


@dataclass(frozen=True, slots=True)
class Story:
    """One request, told to one reader at one instant."""

    ref: str
    title: str
    lead: str
    path: str
    level: int
    level_word: str
    state_words: str
    state_kind: str
    state_icon: str
    amount: Decimal | None
    currency: str
    facts: tuple[Fact, ...]
    reason: tuple[str, ...]
    source_url: str
    source_words: str
    why_head: str
    why: tuple[str, ...]
    passed_over: tuple[tuple[str, str], ...]
    rungs: tuple[Rung, ...]
    rungs_words: str
    chain: tuple[Entry, ...]
    due_at: datetime | None
    opened_at: datetime | None
    passed: str  # what the clock says at zero
    started: str
    derivation: str
    nothing_head: str
    nothing: tuple[str, ...]
    can_decide: bool
    holds: Holds
    thing: str  # "the payment"
    approve_words: str  # what a yes leads to
    of_amount: str  # " of $12,000.00", or nothing
    nothing_done: str  # "nothing is paid"
    severities: tuple[tuple[str, str, str], ...]
    undo: str
    undo_how: str
    undo_limits: str
    digest: str
    digest_short: str


def tell(packet: Packet, *, reader: Person, now: datetime, zone: tzinfo) -> Story:
    """Return the story of a request for one reader, in their zone.

    Args:
        packet: with what was sent, if the chain is to say it.
        now: business time, UTC.
    """
    return _Teller(packet, reader, now, zone).story()


# --- What lists need of it ---


def sub_line(packet: Packet, *, reader: Person, now: datetime, zone: tzinfo) -> str:
    """Say on one line what the title leaves out, and who was silent for how long."""
    teller = _Teller(packet, reader, now, zone)
    parts = [*teller.first_facts(), *teller.silent()]
    return " · ".join(part for part in parts if part)


def passed_words(packet: Packet, *, reader: Person, now: datetime) -> str:
    """Say what a clock says at zero: "Passed on to the Controller"."""
    return _Teller(packet, reader, now, now.tzinfo or reader.zone).passed_on()


def waits_for(packet: Packet, *, reader: Person) -> str:
    """Say who is asked now: "the Controller", "you and the CFO"; nothing if nobody is."""
    return _the([ask.person for ask in packet.asked], reader)


def became(packet: Packet, *, reader: Person, now: datetime, zone: tzinfo) -> str:
    """Say what became of a request that is no longer with this reader: "Controller approved it at 09:45"."""
    teller = _Teller(packet, reader, now, zone)
    request = packet.request
    if packet.decisions and (request.state in (S.APPROVED, S.REJECTED) or not packet.asked):
        last = packet.decisions[-1]
        who = "You" if last.person_id == reader.pk else str(last.person)
        return f"{who} {_did(last)} it at {teller.at(last.at)}"
    if packet.asked:
        own = next((each for each in packet.decisions if each.person_id == reader.pk), None)
        if own is not None:
            return f"You {_did(own)} it at {teller.at(own.at)}; more signatures are needed"
        return f"Passed on to {waits_for(packet, reader=reader)}"
    if request.ended_at is not None:
        return f"{_ended_word(request)} at {teller.at(request.ended_at)}"
    return request.get_state_display()


def where_due_comes_from(packet: Packet, *, now: datetime, zone: tzinfo) -> str:
    """Say why a request's clock runs out when it does, for those who watch all of them."""
    request, step = packet.request, packet.waiting

    def at(instant: datetime) -> str:
        return wording.at(instant, now=now, zone=zone)

    if request.state == S.APPROVED and request.approved_at is not None:
        within = wording.span(_begin_within(request))
        return f"Approved at {at(request.approved_at)}: must begin within {within}"
    if step is not None:
        window = wording.span(step.window)
        path = wording.SIGNS[step.path].word.lower()
        if step.path == Path.APPROVAL:
            return (
                f"L0, the SLA of {request.action_type.name.lower()}s:"
                f" {window} from {at(step.opened_at)}"
            )
        return (
            f"L{step.level} of the {path} path: {window} from {at(step.opened_at)},"
            f" policy {packet.policy.number}"
        )
    return f"{request.get_state_display()}, and no step waits"


# --- What lies ahead ---


def ahead_of(packet: Packet, *, now: datetime) -> tuple[list[Ahead], datetime | None]:
    """Return the rungs not reached yet, lowest first, and when the last of them is over.

    Nothing for a request on which no step of the drawn ladder waits.
    """
    request, step = packet.request, packet.waiting
    if step is None or step.due_at is None or step.path not in DRAWN:
        return [], None
    enters, response = Level(step.level), _response(packet)
    if step.path == Path.APPROVAL:
        enters = ENTERS_AT[response]
    found: list[Ahead] = []
    since = step.due_at
    for level in (Level.L1, Level.L2, Level.L3, Level.L4):
        if level <= step.level:
            continue
        if step.path == Path.APPROVAL and level < enters:
            why = (
                f"Left out: {request.severity} severity and {request.impact} impact"
                f" go to L{enters:d} at once"
            )
            found.append(Ahead(level, False, since, reason=why))
        elif level > ladder.HIGHEST_OPEN:
            found.append(Ahead(level, False, since, reason=_why_no_bypass(request.action_type)))
        else:
            rung = _rung_ahead(packet, level, response, since, now)
            found.append(rung)
            since += rung.window
    return found, since


def _rung_ahead(
    packet: Packet, level: Level, response: Response, since: datetime, now: datetime
) -> Ahead:
    request = packet.request
    routing = route(
        Path.TIMEOUT,
        level,
        row=packet.policy.rows[request.matrix_row_id],
        subject=subject_of(request),
        people=packet.people,
        history=packet.history,
        now=now,
        policy=packet.policy.number,
    )
    if not routing.opens:
        return Ahead(level, False, since, reason="Nobody can be asked here, as things stand")
    window = packet.policy.windows.get((Path.TIMEOUT, level), timedelta(0))
    pks = tuple(asked.person for asked in routing.asked)
    names = tuple(packet.people.by_pk[pk].name for pk in pks)
    return Ahead(level, True, since, ladder.granted(window, response, level), pks, names)


def _response(packet: Packet) -> Response:
    case = next((each for each in packet.cases if each.exception == ExceptionType.TIMEOUT), None)
    if case is not None:
        return Response(case.response)
    request = packet.request
    cell = ExceptionType.TIMEOUT, Severity(request.severity), Impact(request.impact)
    return packet.policy.cells[cell].response


def _why_no_bypass(action: ActionType) -> str:
    if not action.is_critical:
        return f"{_plural(action.name)} are not a critical process"
    return "Nobody is named yet who may bypass"


# --- The teller ---


class _Teller:
    def __init__(self, packet: Packet, reader: Person, now: datetime, zone: tzinfo) -> None:
        self.packet, self.reader, self.now, self.zone = packet, reader, now, zone
        self.request = packet.request
        self.step = packet.waiting
        self.ahead, self.ends_at = ahead_of(packet, now=now)
        self.mine = next((ask for ask in packet.asked if ask.person_id == reader.pk), None)

    # Words of the house

    def at(self, instant: datetime) -> str:
        return wording.at(instant, now=self.now, zone=self.zone)

    def at_seconds(self, instant: datetime) -> str:
        return wording.at(instant, now=self.now, zone=self.zone, seconds=True)

    @property
    def over(self) -> bool:
        """The clock has run out, and the sweep has not come yet."""
        return (
            self.step is not None and self.step.due_at is not None and self.now >= self.step.due_at
        )

    @property
    def nothing_done(self) -> str:
        return nothing_done(self.request.action_type)

    # The parts

    def story(self) -> Story:
        request, step = self.request, self.step
        action = request.action_type
        last = self.packet.steps[-1] if self.packet.steps else None
        shown = step or last
        state_words, state_kind, state_icon = self.state()
        due_at, opened_at = self.clock()
        head, why = self.why()
        derivation = self.derivation()
        return Story(
            ref=request.ref,
            title=title_of(request),
            lead=self.lead(),
            path=shown.path if shown else Path.APPROVAL,
            level=shown.level if shown else Level.L0,
            level_word=LEVEL_WORDS[Level(shown.level)] if shown else "",
            state_words=state_words,
            state_kind=state_kind,
            state_icon=state_icon,
            amount=request.amount,
            currency=request.currency,
            facts=facts_of(request),
            reason=_paragraphs(request.justification),
            source_url=_safe_url(request.source_url),
            source_words=_source_words(request),
            why_head=head,
            why=why,
            passed_over=self.passed_over(),
            rungs=self.rungs(),
            rungs_words=self.rungs_words(),
            chain=self.chain(),
            due_at=due_at,
            opened_at=opened_at,
            passed=self.passed_on(),
            started=self.started(),
            derivation=derivation,
            nothing_head=self.nothing_head(),
            nothing=self.nothing(),
            can_decide=self.can_decide(),
            holds=self.holds(),
            thing=f"the {action.name.lower().split()[-1]}" if action.name.split() else "it",
            approve_words=(
                "It may then be carried out, once, and must begin within"
                f" {wording.span(_begin_within(request))}"
            ),
            of_amount=(
                f" of {wording.money(request.amount, request.currency)}" if request.amount else ""
            ),
            nothing_done=self.nothing_done,
            severities=_severities(request),
            undo=action.reversal_words,
            undo_how=_undo_how(action),
            undo_limits=(
                "This cannot be undone. What is done stays done."
                if action.reversal == ActionType.Reversal.NONE
                else ""
            ),
            digest=request.digest,
            digest_short=_short(request.digest),
        )

    def can_decide(self) -> bool:
        return (
            self.mine is not None
            and not self.over
            and not self.request.person_present
            and self.hindrance() is None
        )

    def hindrance(self) -> str | None:
        """Why the reader, who was asked, may no longer decide: a limit may have been lowered since."""
        candidate = self.packet.people.by_pk.get(self.reader.pk)
        if candidate is None:
            return None
        found = hindrance(
            candidate,
            subject=subject_of(self.request),
            deciders=self.packet.history.deciders,
            now=self.now,
        )
        return found.why if found is not None and found.code != "away" else None

    def clock(self) -> tuple[datetime | None, datetime | None]:
        if self.step is not None and self.step.due_at is not None:
            return self.step.due_at, self.step.opened_at
        if self.request.state == S.APPROVED and self.request.approved_at is not None:
            return self.request.due_at, self.request.approved_at
        return None, None

    def state(self) -> tuple[str, str, str]:
        request = self.request
        if request.state == S.PENDING:
            if self.mine is not None:
                return (
                    ("Passing on", "", "hourglass")
                    if self.over
                    else ("Waiting for you", "open", "clock")
                )
            who = _the([ask.person for ask in self.packet.asked], self.reader)
            return (f"With {who}" if who else "Pending", "", "clock")
        return state_pill(request)

    # Why it is here

    def lead(self) -> str:
        request = self.request
        behalf = (
            f", on behalf of {_the([request.on_behalf_of], self.reader)}"
            if request.on_behalf_of
            else ""
        )
        asks = f"{request.agent.name} asks for this in {request.department.name.lower()}{behalf}."
        if not self.packet.steps:
            return asks
        return f"{asks} {self._how_it_went()}"

    def _how_it_went(self) -> str:
        request = self.request
        silence = self._silence()
        if self.step is not None:
            who = _the([ask.person for ask in self.packet.asked], self.reader)
            if not who:
                return silence
            are = "are" if who.startswith("you") or " and " in who else "is"
            if not silence:
                return f"{_upper(who)} {are} the first asked."
            if self.step.level == Level.L1 and self.step.path == Path.TIMEOUT:
                return f"{silence}, so {who} {are} asked again."
            role = {Level.L2: " as delegate", Level.L3: " as management"}.get(
                Level(self.step.level), ""
            )
            return f"{silence}, so {who} {are} asked{role}."
        last = self.packet.decisions[-1] if self.packet.decisions else None
        if request.state in (S.APPROVED, S.REJECTED) and last is not None:
            who = _the([last.person], self.reader)
            words = f"{_upper(who)} {_did(last)} it at {self.at(last.at)}."
            return f"{silence}. {words}" if silence else words
        if request.state == S.EXPIRED and request.end_reason == "lapsed" and last is not None:
            who = _the([last.person], self.reader)
            return f"{_upper(who)} approved it at {self.at(last.at)}, and nothing began it in time."
        if request.state == S.EXPIRED and request.ended_at:
            return f"Nobody decided, so it was closed at {self.at(request.ended_at)}."
        if request.ended_at:
            return f"{_ended_word(request)} at {self.at(request.ended_at)}."
        return f"It is {request.get_state_display().lower()}."

    def _silence(self) -> str:
        """Say who did not answer before, without a full stop: "The Finance Manager was asked at …"."""
        asked: dict[tuple[int, ...], list[Step]] = {}
        people: dict[tuple[int, ...], list[Person]] = {}
        gone: list[str] = []
        for step in self.packet.steps:
            if step.state == Step.State.EXPIRED:
                silent = self._silent_on(step)
                if silent:
                    key = tuple(person.pk for person in silent)
                    asked.setdefault(key, []).append(step)
                    people[key] = silent
            elif step.state == Step.State.PASSED_OVER:
                gone += [
                    f"{_the([ask.person], self.reader)} {_second(ask, self.reader)}"
                    for ask in self.packet.asks.get(step.pk, ())
                ][:2]
        said = []
        for key, steps in asked.items():
            who = _the(people[key], self.reader)
            was = "were" if who.startswith("you") or len(key) > 1 else "was"
            has = "have" if was == "were" else "has"
            times = " and again at ".join(self.at(step.opened_at) for step in steps)
            said.append(f"{who} {was} asked at {times} and {has} not answered")
        return _upper(", ".join([*dict.fromkeys(gone), *said]))

    def _silent_on(self, step: Step) -> list[Person]:
        decided = {each.person_id for each in self.packet.decisions if each.step_id == step.pk}
        return [
            ask.person
            for ask in self.packet.asks.get(step.pk, ())
            if ask.asked_at and not ask.passed_over_at and ask.person_id not in decided
        ]

    def first_facts(self) -> list[str]:
        title = title_of(self.request)
        told = [
            f"{fact.label} {fact.value}" if fact.value[:1].isdigit() else fact.value
            for fact in facts_of(self.request)
            if not fact.missing and fact.value not in title
        ]
        return told[: 1 if self.packet.cases else 2]

    def silent(self) -> list[str]:
        """Say who was silent before whoever is asked now, and for how long."""
        step = self.step
        if step is None:
            return []
        if step.path == Path.TIMEOUT and step.level == Level.L1:
            first = next((each for each in self.packet.steps if each.path == Path.APPROVAL), None)
            if first is not None and self.mine is not None and first.state == Step.State.EXPIRED:
                return [f"you did not answer in {wording.span(first.window)}"]
        silent: dict[int, Person] = {}
        since: datetime | None = None
        for each in self.packet.steps:
            if each.state != Step.State.EXPIRED or each.pk == step.pk:
                continue
            for person in self._silent_on(each):
                silent[person.pk] = person
                since = since or each.opened_at
        if silent and since is not None:
            names = _names([str(person) for person in silent.values()])
            return [f"{names} silent for {wording.span(step.opened_at - since)}"]
        gone = [
            f"{ask.person} {ask.passed_over_reason}"
            for each in self.packet.steps
            if each.state == Step.State.PASSED_OVER
            for ask in self.packet.asks.get(each.pk, ())
        ]
        return [wording.plain(gone[0], 120)] if gone else []

    def why(self) -> tuple[str, tuple[str, ...]]:
        if self.mine is not None:
            return "Why you", tuple(self._why_of(self.mine))
        if self.packet.asked:
            lines = [
                f"{_upper(_the([ask.person], self.reader))} is the {_person_words(ask.why)}."
                for ask in self.packet.asked
                if ask.why
            ]
            return "Why them" if len(
                lines
            ) > 1 else f"Why {_the([self.packet.asked[0].person], self.reader)}", tuple(lines)
        own = self._own_last()
        if own is not None and own.asked_at and own.why:
            return "Why you", (f"You were asked as the {_person_words(own.why)}.",)
        last = self.packet.steps[-1] if self.packet.steps else None
        asks = self.packet.asks.get(last.pk, ()) if last is not None else ()
        asked = [ask for ask in asks if ask.asked_at and ask.why]
        lines = [
            f"{_upper(_the([ask.person], self.reader))} was asked as the {_person_words(ask.why)}."
            for ask in asked
        ]
        return "Why them" if len(lines) > 1 else "Who decides", tuple(lines)

    def _why_of(self, ask: Ask) -> Iterable[str]:
        if ask.why:
            yield f"You are the {_person_words(ask.why)}."
        limit = self.reader.limit_amount
        if limit is not None:
            yield f"Your own limit is {wording.money(limit, self.reader.limit_currency)}."
        request = self.request
        if request.routed_amount is not None and request.routed_amount != request.amount:
            total = wording.money(request.routed_amount, request.currency)
            yield f"It was routed by {total}, the sum to this counterparty within 24 h."
        others = [each.person for each in self.packet.asked if each.person_id != self.reader.pk]
        if others:
            yield f"{_upper(_the(others, self.reader))} {'are' if len(others) > 1 else 'is'} asked with you."
        if request.quorum > 1:
            have = self.packet.history.approvals
            yield f"It takes {request.quorum} approvals; {have} {'is' if have == 1 else 'are'} given."

    def _own_last(self) -> Ask | None:
        own = [
            ask
            for step in self.packet.steps
            for ask in self.packet.asks.get(step.pk, ())
            if ask.person_id == self.reader.pk
        ]
        return own[-1] if own else None

    def passed_over(self) -> tuple[tuple[str, str], ...]:
        found: dict[int, tuple[str, str]] = {}
        for step in self.packet.steps:
            for ask in self.packet.asks.get(step.pk, ()):
                if ask.passed_over_at:
                    name = "You" if ask.person_id == self.reader.pk else str(ask.person)
                    found[ask.person_id] = (name, _second(ask, self.reader))
        return tuple(found.values())

    # The ladder

    def rungs(self) -> tuple[Rung, ...]:
        by_level = {Level(step.level): step for step in self.packet.steps if step.path in DRAWN}
        ahead = {rung.level: rung for rung in self.ahead}
        found = []
        for level in Level:
            step = by_level.get(level)
            if step is not None:
                found.append(self._rung_of(step))
            elif level in ahead:
                found.append(self._rung_ahead(ahead[level], first=self._is_first(ahead[level])))
            elif level == Level.L4 and not self.request.action_type.is_critical:
                found.append(
                    self._shut(level, "Not open", _why_no_bypass(self.request.action_type))
                )
            else:
                found.append(self._shut(level, "Not reached", ""))
        return (*found, self._end_rung())

    def _is_first(self, rung: Ahead) -> bool:
        return next((each for each in self.ahead if each.opens), None) is rung

    def _rung_of(self, step: Step) -> Rung:
        asks = self.packet.asks.get(step.pk, ())
        asked = [ask.person for ask in asks if ask.asked_at and not ask.passed_over_at]
        names = _names([str(person) for person in asked])
        top = f"L{step.level}"
        if step.state == Step.State.WAITING and step.due_at is not None:
            if any(person.pk == self.reader.pk for person in asked):
                others = [str(person) for person in asked if person.pk != self.reader.pk]
                names = f"You, {self.reader}" + (f" and {_names(others)}" if others else "")
            share = wording.share_left(step.due_at, step.opened_at, self.now)
            left = self.passed_on() if self.over else wording.span(step.due_at - self.now)
            return Rung("here", top, "", names, left, step.opened_at, step.due_at, share=share)
        if step.state == Step.State.PASSED_OVER:
            why = next(
                (f"{ask.person} {ask.passed_over_reason}" for ask in asks), "Nobody can be asked"
            )
            return Rung(
                "shut", top, "user-x", "Passed over", wording.plain(why, 120), step.opened_at
            )
        icon, end = self._how_it_ended(step, asks)
        return Rung("past", top, icon, names, end, step.opened_at, step.closed_at)

    def _how_it_ended(self, step: Step, asks: Sequence[Ask]) -> tuple[str, str]:
        own = [each for each in self.packet.decisions if each.step_id == step.pk]
        if step.state == Step.State.ANSWERED and own:
            last = own[-1]
            several = sum(ask.asked_at is not None for ask in asks) > 1
            who = f" by {_the([last.person], self.reader)}" if several else ""
            return (
                "check" if last.verdict == Verdict.APPROVE else "x"
            ), f"{_upper(_did(last))}{who}"
        if step.state == Step.State.EXPIRED:
            pings = max((ask.pings for ask in asks), default=0)
            if pings:
                return "hourglass", f"Pinged {_times(pings)}, no answer"
            return "hourglass", f"No answer in {wording.span(step.window)}"
        if step.state == Step.State.SUSPENDED:
            return "pause", "Paused; its time is kept"
        return "circle-dashed", "Ended with the request"

    def _rung_ahead(self, rung: Ahead, *, first: bool) -> Rung:
        top = f"L{rung.level:d}"
        if not rung.opens:
            who = "Left out" if rung.reason.startswith("Left out") else "Not open"
            return self._shut(rung.level, who, _upper(rung.reason.removeprefix("Left out: ")))
        names = _names(
            [
                "You" if pk == self.reader.pk else name
                for pk, name in zip(rung.people, rung.names, strict=True)
            ]
        )
        end = f"Asked at {self.at(rung.since)} if " + (
            ("you do not answer" if self.mine else "nobody answers")
            if first
            else "nobody has answered"
        )
        return Rung("next", top, "", names, end, window=rung.window)

    @staticmethod
    def _shut(level: Level, who: str, end: str) -> Rung:
        return Rung("shut", f"L{level:d}", "lock", who, end)

    def _end_rung(self) -> Rung:
        request = self.request
        nothing = _upper(self.nothing_done)
        if request.state == S.PENDING:
            return Rung(
                "end",
                "End",
                "circle-dashed",
                "Closed as expired",
                f"{nothing}; silence never approves",
                self.ends_at,
            )
        if request.state == S.APPROVED:
            by = (
                f"Begins by {self.at(request.due_at)}, else {self.nothing_done}"
                if request.due_at
                else ""
            )
            return Rung("end", "End", "circle-check", "Approved", by, request.approved_at)
        words = _ended_word(request)
        good = request.state in (S.COMPLETED, S.COMPLETED_MANUALLY)
        icon = "circle-check" if good else "circle-dashed"
        end = "" if good or request.is_open or request.has_effects else nothing
        return Rung("end", "End", icon, words, end, request.ended_at)

    def rungs_words(self) -> str:
        parts = [f"Timeout path, policy {self.packet.policy.number}"]
        parts.append(f"all times {wording.zone_word(self.now, self.zone)}")
        if self.ends_at is not None:
            parts.append(f"worst case ends {self.at(self.ends_at)}")
        return " · ".join(parts)

    # The deadline

    def started(self) -> str:
        step = self.step
        if step is None or step.due_at is None:
            if self.request.state == S.APPROVED and self.request.approved_at:
                within = wording.span(_begin_within(self.request))
                return f"It has {within} to begin, from {self.at(self.request.approved_at)}."
            return ""
        whose = "Your" if self.mine else "Their"
        return f"{whose} {wording.span(step.due_at - step.opened_at)} started at {self.at(step.opened_at)}."

    def derivation(self) -> str:
        step = self.step
        if step is None or step.due_at is None:
            return ""
        window = wording.span(step.window)
        began = Step.Began(step.began).label
        if step.path == Path.APPROVAL:
            names = f"the SLA of {_plural(self.request.action_type.name).lower()}"
        else:
            path = wording.SIGNS[step.path].word.lower()
            names = f"the window of L{step.level} on the {path} path, policy {self.packet.policy.number}"
            plain = self.packet.policy.windows.get((Path(step.path), Level(step.level)))
            if plain is not None and step.window != plain:
                names += f", {wording.span(plain)}, twice, as the decision tree says"
        return (
            f"{window} is {names}. It began at {self.at_seconds(step.opened_at)}, {began}, and ends at"
            f" {self.at_seconds(step.due_at)}. Windows run day and night."
        )

    def nothing_head(self) -> str:
        if self.request.state == S.APPROVED:
            return "If nothing begins it,"
        return "If you do nothing," if self.mine else "If nobody answers,"

    def nothing(self) -> tuple[str, ...]:
        """Say what happens then, in at most three steps; the first goes on after `nothing_head`."""
        step, request = self.step, self.request
        if step is None or step.due_at is None or self.ends_at is None:
            if request.state == S.APPROVED and request.due_at:
                return (f"it ends at {self.at(request.due_at)} and {self.nothing_done}.",)
            return ()
        opening = [rung for rung in self.ahead if rung.opens]
        end = self.at(self.ends_at)
        if not opening:
            return (f"it closes at {end} and {self.nothing_done}.",)
        said = []
        for n, rung in enumerate(opening[:2]):
            who = self._who_next(rung)
            when = self.at(rung.since)
            said.append(f"{who} at {when}." if n == 0 else f"Then {who} at {when}.")
        said.append(f"If nobody decides by {end}, it closes and {self.nothing_done}.")
        return tuple(said)

    def _who_next(self, rung: Ahead) -> str:
        now_asked = {ask.person_id for ask in self.packet.asked}
        who = self._names_ahead(rung)
        are = "are" if who.startswith("you") or len(rung.people) > 1 else "is"
        return f"{who} {are} asked{' again' if set(rung.people) <= now_asked else ''}"

    def _names_ahead(self, rung: Ahead) -> str:
        names = [
            "you" if pk == self.reader.pk else f"the {name}"
            for pk, name in zip(rung.people, rung.names, strict=True)
        ]
        return _names(sorted(names, key=lambda name: name != "you"))

    def passed_on(self) -> str:
        if self.request.state == S.APPROVED:
            return "Lapsed"
        rung = next((each for each in self.ahead if each.opens), None)
        if rung is None:
            return f"Closed, {self.nothing_done}" if self.ends_at else "Passed on"
        if set(rung.people) <= {ask.person_id for ask in self.packet.asked}:
            who = self._names_ahead(rung)
            return f"{_upper(who)} {'are' if who.startswith('you') or len(rung.people) > 1 else 'is'} asked again"
        return f"Passed on to {self._names_ahead(rung)}"

    # What holds now

    def holds(self) -> Holds:
        request, step = self.request, self.step
        if self.mine is not None and step is not None and step.due_at is not None:
            if self.over:
                return Holds(
                    "warn",
                    f"The window closed at {self.at_seconds(step.due_at)}.",
                    f"{self.passed_on()} at any moment.",
                )
            if request.person_present:
                return Holds(
                    "warn",
                    "This cannot be undone, so it takes a person present.",
                    "A fresh log-in in person is not available yet, so nobody can decide on this page.",
                )
            obstacle = self.hindrance()
            if obstacle is not None:
                return Holds(
                    "warn", f"You {_to_you(obstacle)}.", "So you may no longer decide on this."
                )
        own = next(
            (each for each in reversed(self.packet.decisions) if each.person_id == self.reader.pk),
            None,
        )
        if request.state == S.PENDING:
            return self._holds_pending(own)
        last = self.packet.decisions[-1] if self.packet.decisions else None
        if request.state == S.APPROVED and last is not None:
            return Holds(
                "good",
                f"{_upper(_the([last.person], self.reader))} approved this at {self.at_seconds(last.at)}.",
                "Nothing has begun it yet.",
            )
        if request.state == S.REJECTED and last is not None:
            return Holds(
                "bad",
                f"{_upper(_the([last.person], self.reader))} rejected this at {self.at_seconds(last.at)}.",
                f"It has ended, and {self.nothing_done}. The agent may ask again with a new request.",
            )
        if request.state == S.EXPIRED and request.ended_at:
            if request.end_reason == "lapsed":
                words = (
                    f"It was approved, and nothing began it by {self.at_seconds(request.ended_at)}."
                )
            else:
                words = f"Nobody decided by {self.at_seconds(request.ended_at)}."
            return Holds(
                "bad", words, f"It has ended, and {self.nothing_done}. Silence never approves."
            )
        if request.state == S.WITHDRAWN and request.ended_at:
            return Holds(
                "info",
                f"The agent withdrew this at {self.at_seconds(request.ended_at)}.",
                f"It has ended, and {self.nothing_done}.",
            )
        return Holds(
            "info",
            f"It is {request.get_state_display().lower()}.",
            "Nobody is asked to approve it now.",
        )

    def _holds_pending(self, own: Decision | None) -> Holds:
        who = _the([ask.person for ask in self.packet.asked], self.reader)
        step = self.step
        until = f" until {self.at(step.due_at)}" if step is not None and step.due_at else ""
        waits = f"It waits for {who}{until}." if who else "Nobody is asked at this moment."
        if own is not None:
            missing = self.request.quorum - self.packet.history.approvals
            more = (
                f"{wording.plural(missing, 'more approval')} {'is' if missing == 1 else 'are'} needed. "
                if missing > 0
                else ""
            )
            return Holds(
                "good", f"You {_did(own)} this at {self.at_seconds(own.at)}.", f"{more}{waits}"
            )
        last = self._own_last()
        if last is not None and last.passed_over_at:
            return Holds(
                "info", "You were passed over.", f"You {_second(last, self.reader)}. {waits}"
            )
        if (
            last is not None
            and last.asked_at
            and last.step_id in {each.pk for each in self.packet.steps}
        ):
            mine = next(each for each in self.packet.steps if each.pk == last.step_id)
            if mine.closed_at is not None:
                return Holds(
                    "info", f"Your window closed at {self.at_seconds(mine.closed_at)}.", waits
                )
        return Holds("info", "You are not asked to decide this.", waits)

    # The chain

    def chain(self) -> tuple[Entry, ...]:
        request = self.request
        entries: list[tuple[datetime, int, Entry]] = []

        def add(rank: int, entry: Entry) -> None:
            entries.append((entry.at, rank, entry))

        first = next((step for step in self.packet.steps if step.path == Path.APPROVAL), None)
        if first is None:
            add(0, Entry(request.submitted_at, f"{request.agent.name} asked for this"))
        for case in self.packet.cases:
            add(10, self._case_entry(case))
        for n, step in enumerate(self.packet.steps):
            add(20 + n, self._step_entry(step, is_first=step is first))
            for entry in self._later_asks(step):
                add(21 + n, entry)
        for decision in self.packet.decisions:
            add(60, self._decision_entry(decision))
        end = self._end_entry()
        if end is not None:
            add(90, end)
        return tuple(entry for _, _, entry in sorted(entries, key=lambda each: each[:2]))

    def _case_entry(self, case: Case) -> Entry:
        kind = (
            wording.SIGNS[case.exception].word.lower()
            if case.exception in wording.SIGNS
            else case.exception
        )
        first = next((step for step in self.packet.steps if step.path == Path.APPROVAL), None)
        if case.exception == ExceptionType.TIMEOUT and first is not None and not case.absent:
            title = f"No answer in {wording.span(first.window)}: a timeout case was opened"
        elif case.absent:
            title = f"Nobody first asked can decide: a {kind} case was opened"
        else:
            title = f"A {kind} case was opened"
        says = RESPONSES.get(Response(case.response), case.response)
        words = f"{_upper(case.severity)} severity, {case.impact} impact. The decision tree says: {says}."
        source = RuleSource(case.source)
        letter = {RuleSource.RUNBOOK: "R", RuleSource.OURS: "O", RuleSource.LOCAL: "L"}[source]
        return Entry(case.opened_at, title, words, source=letter, source_words=SOURCES[source])

    def _step_entry(self, step: Step, *, is_first: bool) -> Entry:
        asks = self.packet.asks.get(step.pk, ())
        at_once = [ask for ask in asks if ask.asked_at and not self._came_later(ask, step)]
        over = tuple(
            wording.plain(
                f"Passed over: {'you' if ask.person_id == self.reader.pk else ask.person}"
                f" {_second(ask, self.reader)}.",
                300,
            )
            for ask in asks
            if ask.passed_over_at and not ask.asked_at
        )
        level = f"(L{step.level})"
        lead = f"{self.request.agent.name} asked for this; " if is_first else ""
        is_here = step.state == Step.State.WAITING
        if step.state == Step.State.PASSED_OVER and not at_once:
            title = (
                f"{lead}nobody could be asked {level}" if lead else f"Nobody could be asked {level}"
            )
            return Entry(step.opened_at, title, passed=over, is_here=is_here)
        who = _asked_names(at_once, self.reader)
        were = "were" if len(at_once) > 1 or who == "you" else "was"
        again = " again" if step.path == Path.TIMEOUT and step.level == Level.L1 else ""
        still = (
            "Still no answer: "
            if not lead and step.began == Step.Began.EXPIRED and not again
            else ""
        )
        words = ""
        if step.began == Step.Began.LATE:
            words = (
                "The clock stood still for a while, so this window began in full when it ran again."
            )
        title = f"{lead}{still}{who} {were} asked{again} {level}"
        return Entry(
            step.opened_at,
            title if lead or still else _upper(title),
            words,
            reached=tuple(self._reached(ask, alone=len(at_once) == 1) for ask in at_once),
            passed=over,
            is_here=is_here,
        )

    @staticmethod
    def _came_later(ask: Ask, step: Step) -> bool:
        """Whether somebody was asked in another's place, after the rung had opened."""
        return ask.asked_at is not None and ask.asked_at > step.opened_at and ask.position > 0

    def _later_asks(self, step: Step) -> Iterable[Entry]:
        for ask in self.packet.asks.get(step.pk, ()):
            if ask.asked_at and self._came_later(ask, step):
                who = _asked_names([ask], self.reader)
                yield Entry(
                    ask.asked_at,
                    _upper(
                        f"{who} {'were' if who == 'you' else 'was'} asked instead (L{step.level})"
                    ),
                    reached=(self._reached(ask, alone=True),),
                )
            if ask.asked_at and ask.passed_over_at:
                you = ask.person_id == self.reader.pk
                who = "You were" if you else f"{ask.person} was"
                words = f"{'You' if you else ask.person} {_second(ask, self.reader)}."
                yield Entry(
                    ask.passed_over_at,
                    f"{who} passed over (L{step.level})",
                    wording.plain(words, 300),
                )

    def _reached(self, ask: Ask, *, alone: bool) -> Reached:
        sent = [Sent("inbox", "In the inbox")]
        by_via: dict[str, list[Notice]] = {}
        for notice in self.packet.sent.get(ask.pk, ()):
            by_via.setdefault(notice.via, []).append(notice)
        for via, notices in by_via.items():
            if via in VIA_WORDS:
                icon, word = VIA_WORDS[Notice.Via(via)]
                sent.append(Sent(icon, self._delivery(word, notices)))
        if ask.unreachable_at:
            sent.append(Sent("user-x", "No other channel reaches them"))
        if ask.seen_at:
            sent.append(Sent("eye", f"Seen {self.at(ask.seen_at)}"))
        elif ask.asked_at:
            sent.append(Sent("eye-off", "Not seen"))
        who = "" if alone else ("You" if ask.person_id == self.reader.pk else str(ask.person))
        return Reached(who, tuple(sent))

    def _delivery(self, word: str, notices: Sequence[Notice]) -> str:
        times = [self.at(each.delivered_at) for each in notices if each.delivered_at]
        shown = (
            times if len(times) <= NAMES_SHOWN else [times[0], f"{len(times) - 2} more", times[-1]]
        )
        if times:
            return f"{word} delivered {', '.join(shown)}"
        last = notices[-1]
        if last.state == Notice.State.WAITING:
            return f"{word} on its way"
        return f"{word} not delivered"

    def _decision_entry(self, decision: Decision) -> Entry:
        step = next((each for each in self.packet.steps if each.pk == decision.step_id), None)
        you = decision.person_id == self.reader.pk
        level = f" (L{step.level})" if step is not None else ""
        words = ""
        if decision.verdict == Verdict.REJECT and decision.severity:
            words = f"A {decision.severity} objection."
        if decision.via == Decision.Via.API:
            words = f"{words} Through the API.".strip()
        return Entry(
            decision.at,
            f"{'You' if you else decision.person} {_did(decision)}{level}",
            words,
            quote=wording.plain(decision.note, REASON_LENGTH),
            is_bad=decision.verdict == Verdict.REJECT,
        )

    def _end_entry(self) -> Entry | None:
        request = self.request
        nothing = f"{_upper(self.nothing_done)}."
        if request.ended_at is None:
            return None
        if request.state == S.EXPIRED and request.end_reason == "lapsed":
            return Entry(
                request.ended_at,
                "Approved, and nothing began it in time: closed",
                nothing,
                is_bad=True,
            )
        if request.state == S.EXPIRED:
            return Entry(
                request.ended_at, "Nobody decided: closed as expired",
                f"{nothing} Silence never approves.", is_bad=True,
            )  # fmt: skip
        if request.state == S.REJECTED:
            return Entry(request.ended_at, "Closed as rejected", nothing, is_bad=True)
        if request.state == S.WITHDRAWN:
            return Entry(request.ended_at, f"{request.agent.name} withdrew it", nothing)
        return Entry(request.ended_at, f"Closed: {request.get_state_display().lower()}")


# --- Small words ---


def title_of(request: ActionRequest) -> str:
    """Return the title, safe to stand on one line."""
    return wording.plain(request.title, TITLE_LENGTH) or request.ref


def state_pill(request: ActionRequest, *, is_mine: bool = False) -> tuple[str, str, str]:
    """Return how a state is shown: words, kind and shape of its pill."""
    if request.state == S.PENDING:
        return ("Waiting for you", "open", "clock") if is_mine else ("Pending", "", "clock")
    words = str(request.get_state_display())
    if request.state == S.APPROVED:
        return "Approved, not begun", "good", "check"
    if request.state in (S.COMPLETED, S.COMPLETED_MANUALLY):
        return words, "good", "check"
    if request.state in (S.REJECTED, S.DENIED):
        return words, "bad", "x"
    if request.state == S.EXPIRED:
        return ("Lapsed" if request.end_reason == "lapsed" else words), "bad", "hourglass"
    if request.state == S.STRANDED:
        return words, "bad", "triangle-alert"
    if request.state in (S.BLOCKED, S.HELD, S.TROUBLED):
        return words, "warn", "pause"
    return words, "", "circle-dashed"


def nothing_done(action: ActionType) -> str:
    """Say what silence leads to: "nothing is paid"."""
    return (
        "nothing is paid" if action.name.lower().endswith("payment") else "nothing is carried out"
    )


def facts_of(request: ActionRequest) -> tuple[Fact, ...]:
    """Return what the action type wants shown of the payload, in its order."""
    found = []
    for shown in request.action_type.shown_facts[:FACTS_SHOWN]:
        label = wording.plain(str(shown.get("label", "")), LABEL_LENGTH)
        value = said(at_pointer(request.payload, str(shown.get("pointer", ""))))
        found.append(Fact(label, value or f"Missing: {label.lower()}", missing=not value))
    return tuple(found)


def said(value: Any) -> str:
    """Say a value of a payload on one line; nothing for what is not there."""
    match value:
        case None | "" | []:
            return ""
        case dict() if not value:
            return ""
        case bool():
            return "Yes" if value else "No"
        case str():
            return wording.plain(_as_date(value), VALUE_LENGTH)
        case int():
            return f"{value:,}"
        case list() if all(isinstance(each, str | int) for each in value):
            return wording.plain(", ".join(map(str, value)), VALUE_LENGTH)
        case {"value": str(amount), "currency": str(currency)} if len(value) == 2:
            return _as_money(amount, currency)
    return wording.plain(json.dumps(value, ensure_ascii=False, sort_keys=True), VALUE_LENGTH)


def _as_date(text: str) -> str:
    if not _DATE.fullmatch(text):
        return text
    try:
        day = date.fromisoformat(text)
    except ValueError:
        return text
    return f"{day.day}{wording.NBSP}{day:%b %Y}"


def _as_money(amount: str, currency: str) -> str:
    plain = wording.plain(currency, 12)
    try:
        number = Decimal(amount)
    except InvalidOperation:
        number = Decimal("NaN")
    if number.is_finite() and abs(number) < Decimal(10) ** 20:
        return wording.money(number, plain)
    return wording.plain(f"{plain} {amount}", VALUE_LENGTH)


def _paragraphs(text: str) -> tuple[str, ...]:
    lines = [wording.plain(line, REASON_LENGTH) for line in text[: REASON_LENGTH * 2].splitlines()]
    return tuple(line for line in lines if line)


def _safe_url(url: str) -> str:
    return url if url.startswith(("https://", "http://")) else ""


def _source_words(request: ActionRequest) -> str:
    run = wording.plain(request.source_run_id, 60)
    return (
        f"Agent run {run}"
        if run
        else ("Where the agent ran" if _safe_url(request.source_url) else "")
    )


def _begin_within(request: ActionRequest) -> timedelta:
    return BEGIN_WITHIN_PERSON_PRESENT if request.person_present else BEGIN_WITHIN


def _severities(request: ActionRequest) -> tuple[tuple[str, str, str], ...]:
    """Return the choices of a no: value, words, consequence. Never below the request's own."""
    nothing = _upper(nothing_done(request.action_type))
    choices = (
        (Severity.LOW, "Low: a detail is off", f"{nothing}. The agent may mend it and ask again"),
        (
            Severity.MEDIUM,
            "Medium: I would not do this",
            f"{nothing}. Recorded as a medium objection",
        ),
        (Severity.HIGH, "High: this should be stopped", f"{nothing}. Recorded as a high objection"),
    )
    grave = Severity.values
    own = grave.index(request.severity)
    return tuple(
        (value.value, words, then) for value, words, then in choices if grave.index(value) >= own
    )


def _undo_how(action: ActionType) -> str:
    return {
        ActionType.Reversal.NONE: "Not at all",
        ActionType.Reversal.COMPENSATE: "By a reverse action",
        ActionType.Reversal.RESTORE: "From a snapshot taken before the first write",
    }[ActionType.Reversal(action.reversal)]


def _short(digest: str) -> str:
    return f"{digest[:4]} {digest[4:8]} … {digest[-4:]}"


def _ended_word(request: ActionRequest) -> str:
    if request.state == S.EXPIRED:
        return "Lapsed" if request.end_reason == "lapsed" else "Closed as expired"
    if request.state == S.WITHDRAWN:
        return "Withdrawn by the agent"
    return str(request.get_state_display())


def _did(decision: Decision) -> str:
    return DID.get(
        Verdict(decision.verdict), f"answered {decision.get_verdict_display().lower()} to"
    )


def _the(people: Iterable[Person | None], reader: Person) -> str:
    """Name people in a sentence, the reader first: "you and the Controller"."""
    present = [person for person in people if person is not None]
    names = [
        "you" if each.pk == reader.pk else f"the {wording.plain(str(each), 120)}"
        for each in present
    ]
    return _names(sorted(names, key=lambda name: name != "you"))


def _asked_names(asks: Sequence[Ask], reader: Person) -> str:
    names = [
        "you" if ask.person_id == reader.pk else wording.plain(str(ask.person), 120) for ask in asks
    ]
    return _names(sorted(names, key=lambda name: name != "you"))


def _names(names: Sequence[str]) -> str:
    shown = list(names[:NAMES_SHOWN])
    if len(names) > NAMES_SHOWN:
        shown.append(f"{len(names) - NAMES_SHOWN} more")
    return " and ".join([", ".join(shown[:-1]), shown[-1]] if len(shown) > 1 else shown)


def _second(ask: Ask, reader: Person) -> str:
    reason = wording.plain(ask.passed_over_reason, 300)
    return _to_you(reason) if ask.person_id == reader.pk else reason


def _to_you(reason: str) -> str:
    for third, second in (("is ", "are "), ("has ", "have "), ("owns ", "own ")):
        if reason.startswith(third):
            return second + reason.removeprefix(third)
    return reason


def _person_words(why: str) -> str:
    return wording.plain(why, 300).rstrip(".")


def _upper(text: str) -> str:
    return text[:1].upper() + text[1:]


def _plural(name: str) -> str:
    if name.endswith("y") and name[-2:-1] not in "aeiou":
        return f"{name[:-1]}ies"
    return name if name.endswith("s") else f"{name}s"


def _times(count: int) -> str:
    return "once" if count == 1 else f"{count} times"
