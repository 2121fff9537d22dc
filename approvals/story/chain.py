"""What happened, in its order: each ask, each decision, and the end."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime

from approvals.models import (
    ActionRequest,
    Ask,
    Case,
    ConflictParty,
    Decision,
    Notice,
    Order,
    Question,
    Step,
    Violation,
)
from approvals.story.payload import REASON_LENGTH
from approvals.story.reading import Reading
from approvals.story.shapes import Entry, Reached, Sent
from approvals.story.words import (
    NAMES_SHOWN,
    asked_names,
    did,
    passed_over_because,
    so_it_stands,
    the,
    upper_first,
)
from approvals.undoing import waits_for_second
from governance import ladder, wording
from governance.vocabulary import ExceptionType, Level, Path, Response, RuleSource, Verdict

S = ActionRequest.State
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
ENDS = {
    S.COMPLETED: ("Carried out", False),
    S.COMPLETED_MANUALLY: ("Finished by hand", False),
    S.ROLLED_BACK: ("Undone: nothing of it is left in the target", False),
    S.STRANDED: ("Half done and not undone, and nobody answered", True),
    S.DENIED: ("Compliance denied it", True),
}
ORDERED: dict[str, str] = {
    Order.Outcome.JOINED: "It was being undone already.",
    Order.Outcome.NOTHING_TO_DO: "Nothing of it was in the target.",
}
AFTER_DECISIONS = 100
AFTER_WHAT_IT_FOLLOWED = (
    ExceptionType.SYSTEM_FAILURE, ExceptionType.REJECTION, ExceptionType.POLICY_VIOLATION,
)  # fmt: skip
HOW_IT_CAME = {
    Decision.Via.API: "Through the API.",
    Decision.Via.BULK: "One of several, approved together from one page.",
}
VIA_WORDS = {Notice.Via.EMAIL: ("mail", "E-mail"), Notice.Via.APPRISE: ("smartphone", "Message")}


def chain(reading: Reading) -> tuple[Entry, ...]:
    """Return all that happened, oldest first."""
    request = reading.request
    entries: list[tuple[datetime, int, Entry]] = []

    def add(rank: int, entry: Entry) -> None:
        entries.append((entry.at, rank, entry))

    first = reading.first_step
    if first is None or first.began == Step.Began.RELEASED:
        first = None  # it was held from its beginning
        add(0, Entry(request.submitted_at, f"{request.agent.name} asked for this"))
    # At one instant: what failed, and who is asked after a no, comes after what it followed.
    for case in reading.packet.cases:
        after = case.exception in AFTER_WHAT_IT_FOLLOWED
        add(10 + AFTER_DECISIONS * after, _case_entry(reading, case))
    for n, step in enumerate(reading.packet.steps):
        after = step.path in (*AFTER_WHAT_IT_FOLLOWED, Path.UNDO)
        rank = 20 + n + AFTER_DECISIONS * after
        add(rank, _step_entry(reading, step, is_first=step is first))
        for entry in _later_asks(reading, step):
            add(rank + 1, entry)
    for decision in reading.packet.decisions:
        add(60, _decision_entry(reading, decision))
    for violation in reading.packet.violations:
        add(5 + AFTER_DECISIONS, _violation_entry(reading, violation))
    for party in reading.packet.held:
        for entry in _held_entries(reading, party):
            add(80, entry)
    for question in reading.packet.questions:
        for entry in _question_entries(reading, question):
            add(65, entry)
    for order in reading.packet.orders:
        for entry in _order_entries(reading, order):
            add(70, entry)
    end = _end_entry(reading)
    if end is not None:
        add(2 * AFTER_DECISIONS, end)
    return tuple(entry for _, _, entry in sorted(entries, key=lambda each: each[:2]))


def _case_entry(reading: Reading, case: Case) -> Entry:
    kind = (
        wording.SIGNS[case.exception].word.lower()
        if case.exception in wording.SIGNS
        else case.exception
    )
    first = reading.first_step
    if case.exception == ExceptionType.TIMEOUT and first is not None and not case.absent:
        title = f"No answer in {wording.span(first.window)}: a timeout case was opened"
    elif case.absent:
        title = f"Nobody first asked can decide: a {kind} case was opened"
    else:
        title = f"A {kind} case was opened"
    says = RESPONSES.get(Response(case.response), case.response)
    words = f"{upper_first(case.severity)} severity, {case.impact} impact. The decision tree says: {says}."
    source = RuleSource(case.source)
    letter = {RuleSource.RUNBOOK: "R", RuleSource.OURS: "O", RuleSource.LOCAL: "L"}[source]
    return Entry(case.opened_at, title, words, source=letter, source_words=SOURCES[source])


def _step_entry(reading: Reading, step: Step, *, is_first: bool) -> Entry:
    asks = reading.packet.asks.get(step.pk, ())
    at_once = [ask for ask in asks if ask.asked_at and not _came_later(ask, step)]
    over = tuple(
        wording.plain(
            f"Passed over: {'you' if ask.person_id == reading.reader.pk else ask.person}"
            f" {passed_over_because(ask, reading.reader)}.",
            300,
        )
        for ask in asks
        if ask.passed_over_at and not ask.asked_at
    )
    level = f"(L{step.level})"
    lead = f"{reading.request.agent.name} asked for this; " if is_first else ""
    is_here = step.state == Step.State.WAITING
    if (Path(step.path), Level(step.level)) in ladder.AUTOMATIC:
        tries = "It is tried again by itself" if is_here else "It was tried again by itself"
        return Entry(step.opened_at, f"{tries} {level}", is_here=is_here)
    if step.state == Step.State.PASSED_OVER and not at_once:
        title = f"{lead}nobody could be asked {level}" if lead else f"Nobody could be asked {level}"
        return Entry(step.opened_at, title, passed=over, is_here=is_here)
    who = asked_names(at_once, reading.reader)
    were = "were" if len(at_once) > 1 or who == "you" else "was"
    again = " again" if step.path == Path.TIMEOUT and step.level == Level.L1 else ""
    still = (
        "Still no answer: " if not lead and step.began == Step.Began.EXPIRED and not again else ""
    )
    words = ""
    if step.began == Step.Began.LATE:
        words = "The clock stood still for a while, so this window began in full when it ran again."
    title = f"{lead}{still}{who} {were} asked{again} {level}"
    return Entry(
        step.opened_at,
        title if lead or still else upper_first(title),
        words,
        reached=tuple(_reached(reading, ask, alone=len(at_once) == 1) for ask in at_once),
        passed=over,
        is_here=is_here,
    )


def _later_asks(reading: Reading, step: Step) -> Iterable[Entry]:
    for ask in reading.packet.asks.get(step.pk, ()):
        if ask.asked_at and _came_later(ask, step):
            who = asked_names([ask], reading.reader)
            yield Entry(
                ask.asked_at,
                upper_first(
                    f"{who} {'were' if who == 'you' else 'was'} asked instead (L{step.level})"
                ),
                reached=(_reached(reading, ask, alone=True),),
            )
        if ask.asked_at and ask.passed_over_at and ask.pk in reading.packet.given_away:
            who = upper_first(asked_names([ask], reading.reader))
            yield Entry(
                ask.passed_over_at,
                f"{who} {wording.plain(ask.passed_over_reason, 200)} (L{step.level})",
            )
        elif ask.asked_at and ask.passed_over_at:
            you = ask.person_id == reading.reader.pk
            who = "You were" if you else f"{ask.person} was"
            words = f"{'You' if you else ask.person} {passed_over_because(ask, reading.reader)}."
            yield Entry(
                ask.passed_over_at,
                f"{who} passed over (L{step.level})",
                wording.plain(words, 300),
            )


def _came_later(ask: Ask, step: Step) -> bool:
    """Whether somebody was asked in another's place, after the rung had opened."""
    after = ask.asked_at is not None and ask.asked_at > step.opened_at and ask.position > 0
    return after or ask.handed_over_from_id is not None


def _reached(reading: Reading, ask: Ask, *, alone: bool) -> Reached:
    sent = [Sent("inbox", "In the inbox")]
    by_via: dict[str, list[Notice]] = {}
    for notice in reading.packet.sent.get(ask.pk, ()):
        by_via.setdefault(notice.via, []).append(notice)
    for via, notices in by_via.items():
        if via in VIA_WORDS:
            icon, word = VIA_WORDS[Notice.Via(via)]
            sent.append(Sent(icon, _delivery(reading, word, notices)))
    if ask.unreachable_at:
        sent.append(Sent("user-x", "No other channel reaches them"))
    if ask.seen_at:
        sent.append(Sent("eye", f"Seen {reading.at(ask.seen_at)}"))
    elif ask.asked_at:
        sent.append(Sent("eye-off", "Not seen"))
    who = "" if alone else ("You" if ask.person_id == reading.reader.pk else str(ask.person))
    return Reached(who, tuple(sent))


def _delivery(reading: Reading, word: str, notices: Sequence[Notice]) -> str:
    times = [reading.at(each.delivered_at) for each in notices if each.delivered_at]
    shown = times if len(times) <= NAMES_SHOWN else [times[0], f"{len(times) - 2} more", times[-1]]
    if times:
        return f"{word} delivered {', '.join(shown)}"
    last = notices[-1]
    if last.state == Notice.State.WAITING:
        return f"{word} on its way"
    return f"{word} not delivered"


def _decision_entry(reading: Reading, decision: Decision) -> Entry:
    step = next((each for each in reading.packet.steps if each.pk == decision.step_id), None)
    you = decision.person_id == reading.reader.pk
    level = f" (L{step.level})" if step is not None else ""
    words, verb = "", did(decision)
    if decision.verdict == Verdict.RULE:
        verb = "ruled"
        words = _ruling(decision)
    if decision.verdict == Verdict.REJECT and decision.severity:
        words = f"A {decision.severity} objection."
    words = f"{words} {HOW_IT_CAME.get(Decision.Via(decision.via), '')}".strip()
    return Entry(
        decision.at,
        f"{'You' if you else decision.person} {verb}{level}",
        words,
        quote=wording.plain(decision.note, REASON_LENGTH),
        is_bad=decision.verdict in (Verdict.REJECT, Verdict.DENY, Verdict.CHANGE_REQUESTED),
    )


def _held_entries(reading: Reading, party: ConflictParty) -> Iterable[Entry]:
    """Say since when a conflict held it, and when it went on."""
    if party.role != ConflictParty.Role.CARRIER:
        other = party.case.request.ref
        yield Entry(party.joined_at, f"It was held: {other} wants the same record")
        for ruling in reading.packet.rulings:
            if ruling.step.case_id == party.case_id:
                who = upper_first(the([ruling.person], reading.reader))
                quote = wording.plain(ruling.note, REASON_LENGTH)
                yield Entry(ruling.at, f"{who} ruled on the conflict", _ruling(ruling), quote=quote)
    went_on = party.left_at is not None and party.left_at != reading.request.ended_at
    if went_on and party.left_at is not None:
        yield Entry(party.left_at, "It was held no longer")


def _violation_entry(reading: Reading, violation: Violation) -> Entry:
    """Say who found or reported what; its facts stand in a section of their own."""
    text = wording.plain(violation.text, REASON_LENGTH)
    if violation.by_agent is not None:
        name = wording.plain(violation.by_agent.name, 80)
        return Entry(violation.at, f"{name} reported a violation", quote=text, is_bad=True)
    if violation.by_person is not None:
        who = upper_first(the([violation.by_person], reading.reader))
        return Entry(violation.at, f"{who} reported a violation", quote=text, is_bad=True)
    rule = wording.plain(violation.check_name, 120)
    return Entry(violation.at, f"A rule is broken: {rule}", text, is_bad=True)


def _ruling(decision: Decision) -> str:
    order = [wording.plain(str(ref), 20) for ref in decision.details.get("order", [])]
    refused = [wording.plain(str(ref), 20) for ref in decision.details.get("refuse", [])]
    said = f"In this order: {', '.join(order)}." if order else ""
    return f"{said} Rejected: {', '.join(refused)}.".strip() if refused else said


def _question_entries(reading: Reading, question: Question) -> Iterable[Entry]:
    """Say who asked the agent what, and what it answered: its words, and as such."""
    who = upper_first(the([question.person], reading.reader))
    words = "" if question.answered_at else "It has not answered. The clock runs on."
    quote = wording.plain(question.text, REASON_LENGTH)
    level = f"(L{question.step.level})"
    yield Entry(question.asked_at, f"{who} asked the agent {level}", words, quote=quote)
    if question.answered_at is not None:
        answer = wording.plain(question.answer, REASON_LENGTH)
        yield Entry(question.answered_at, f"{reading.request.agent.name} answered", quote=answer)


def _order_entries(reading: Reading, order: Order) -> Iterable[Entry]:
    """Say who ordered that it be undone, who confirmed it, and if nobody did."""
    quote = wording.plain(order.reason, REASON_LENGTH)
    if order.ordered_by is None:
        yield Entry(order.ordered_at, "At the end of its path it is undone", quote)
    else:
        who = upper_first(the([order.ordered_by], reading.reader))
        words = ORDERED.get(order.outcome, "")
        if waits_for_second(order) and order.closed_at is None and order.due_at is not None:
            words = f"A second person confirms it by {reading.at(order.due_at)}."
        yield Entry(order.ordered_at, f"{who} ordered a rollback", words, quote=quote)
    if order.confirmed_by is not None and order.confirmed_at is not None:
        who = upper_first(the([order.confirmed_by], reading.reader))
        yield Entry(order.confirmed_at, f"{who} confirmed the rollback")
    if order.outcome == Order.Outcome.LAPSED and order.closed_at is not None:
        yield Entry(
            order.closed_at,
            "Nobody confirmed the rollback in time: it lapsed",
            "Nothing was undone.",
            is_bad=True,
        )


def _end_entry(reading: Reading) -> Entry | None:
    request = reading.request
    nothing = f"{upper_first(reading.nothing_done)}."
    if request.ended_at is None:
        return None
    if request.state == S.EXPIRED and request.end_reason == "lapsed":
        return Entry(
            request.ended_at,
            "Approved, and nothing began it in time: closed",
            nothing,
            is_bad=True,
        )
    if request.state == S.EXPIRED and request.end_reason == "target":
        return Entry(
            request.ended_at, "The target did not take it in time: closed", nothing, is_bad=True
        )
    if request.state == S.EXPIRED and request.end_reason == "basis_changed":
        return Entry(
            request.ended_at, "The record may have changed since its approval: closed", nothing,
            is_bad=True,
        )  # fmt: skip
    if request.state == S.EXPIRED and request.end_reason == "queue":
        return Entry(
            request.ended_at, "It waited for its record in vain: closed", nothing, is_bad=True
        )
    if request.state == S.REJECTED and request.end_reason == "refused":
        return Entry(request.ended_at, "Refused by that ruling: closed", nothing, is_bad=True)
    if request.state == S.EXPIRED:
        return Entry(
            request.ended_at, "Nobody decided: closed as expired",
            f"{nothing} Silence never approves.", is_bad=True,
        )  # fmt: skip
    noes = [each.at for each in reading.packet.noes]
    if request.state == S.REJECTED and noes and request.ended_at not in noes:
        stands = so_it_stands(reading.packet).removesuffix(".")
        return Entry(request.ended_at, f"{stands}: closed as rejected", nothing, is_bad=True)
    if request.state == S.REJECTED:
        return Entry(request.ended_at, "Closed as rejected", nothing, is_bad=True)
    if request.state == S.WITHDRAWN:
        return Entry(request.ended_at, f"{request.agent.name} withdrew it", nothing)
    title, is_bad = ENDS.get(
        S(request.state), (f"Closed: {request.get_state_display().lower()}", False)
    )
    return Entry(request.ended_at, title, is_bad=is_bad)
