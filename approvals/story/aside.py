"""What stands beside a request: its clock, what a decision leads to, or what holds instead of one."""

from __future__ import annotations

from datetime import datetime, timedelta

from approvals.models import ActionRequest, Decision, Step
from approvals.services.asking import subject_of
from approvals.services.decide import is_final
from approvals.story.ahead import after_a_no
from approvals.story.lead import held_words
from approvals.story.reading import Reading
from approvals.story.shapes import Holds
from approvals.story.silence import passed_on
from approvals.story.states import CARRIED_OUT
from approvals.story.words import (
    begin_within,
    did,
    listed,
    nothing_done,
    passed_over_because,
    plural_of,
    so_it_stands,
    the,
    to_you,
    upper_first,
)
from governance import ladder, wording
from governance.routing import hindrance
from governance.vocabulary import Level, Path, Response, Severity, Verdict

S = ActionRequest.State


def clock_of(reading: Reading) -> tuple[datetime | None, datetime | None]:
    """Return when the clock runs out and when it began to run; nothing where none runs."""
    if reading.step is not None and reading.step.due_at is not None:
        return reading.step.due_at, reading.step.opened_at
    if reading.request.state == S.APPROVED and reading.request.approved_at is not None:
        return reading.request.due_at, reading.request.approved_at
    holder = reading.packet.holder
    if reading.request.state == S.HELD and holder is not None:
        return reading.request.due_at, holder.joined_at
    return None, None


def started(reading: Reading) -> str:
    """Say how long there is, and since when."""
    step = reading.step
    if step is None or step.due_at is None:
        if reading.request.state == S.APPROVED and reading.request.approved_at:
            within = wording.span(begin_within(reading.request))
            return f"It has {within} to begin, from {reading.at(reading.request.approved_at)}."
        if reading.request.state == S.HELD and reading.request.due_at:
            return f"It is held until {reading.at(reading.request.due_at)} at the latest."
        return ""
    if reading.is_automatic:
        window = wording.span(step.due_at - step.opened_at)
        return f"It is tried again for {window}, from {reading.at(step.opened_at)}."
    if (
        step.path != Path.CONFLICT
        and reading.packet.held
        and step.due_at - step.opened_at > step.window
    ):
        return f"The clock stood still while it was held. It runs out at {reading.at(step.due_at)}."
    whose = "Your" if reading.mine else "Their"
    return f"{whose} {wording.span(step.due_at - step.opened_at)} started at {reading.at(step.opened_at)}."


def derivation(reading: Reading) -> str:
    """Say where the length of the window comes from, and both its ends to the second."""
    step = reading.step
    if step is None or step.due_at is None:
        return ""
    window = wording.span(step.window)
    began = Step.Began(step.began).label
    longer = step.due_at - step.opened_at - step.window
    held = reading.packet.held and step.path != Path.CONFLICT and longer.total_seconds() > 0
    stood = f", stood still for {wording.span(longer)} while it was held" if held else ""
    full = _full_window(reading, step)
    if step.path == Path.APPROVAL:
        names = f"the SLA of {plural_of(reading.request.action_type.name).lower()}"
    else:
        path = wording.SIGNS[step.path].word.lower()
        names = (
            f"the window of L{step.level} on the {path} path, policy {reading.packet.policy.number}"
        )
        plain = reading.packet.policy.windows.get((Path(step.path), Level(step.level)))
        if plain is not None and full is not None and full != plain:
            names += f", {wording.span(plain)}, twice, as the decision tree says"
    needed_by = reading.request.needed_by
    if needed_by is not None and full is not None and step.window < full:
        names += f", cut from {wording.span(full)} because it is needed by {reading.at(needed_by)}"
    return (
        f"{window} is {names}. It began at {reading.at_seconds(step.opened_at)}, {began}{stood}, and ends at"
        f" {reading.at_seconds(step.due_at)}. Windows run day and night."
    )


def _full_window(reading: Reading, step: Step) -> timedelta | None:
    """Return the window of a step as it is without a hurry."""
    if step.path == Path.APPROVAL:
        return reading.request.action_type.sla
    plain = reading.packet.policy.windows.get((Path(step.path), Level(step.level)))
    case = next((each for each in reading.packet.cases if each.pk == step.case_id), None)
    if plain is None or case is None:
        return plain
    return ladder.granted(plain, Response(case.response), Level(step.level))


def can_decide(reading: Reading) -> bool:
    """Whether the reader may decide now, on this page."""
    return (
        reading.mine is not None
        and reading.asks_leave
        and not reading.over
        and _hindrance(reading) is None
    )


def _hindrance(reading: Reading) -> str | None:
    """Why the reader, who was asked, may no longer decide: a limit may have been lowered since."""
    candidate = reading.packet.people.by_pk.get(reading.reader.pk)
    if candidate is None:
        return None
    found = hindrance(
        candidate,
        subject=subject_of(reading.request),
        history=reading.packet.history,
        now=reading.now,
    )
    return found.why if found is not None and found.code != "away" else None


def severities(reading: Reading) -> tuple[tuple[str, str, str], ...]:
    """Return the choices of a no: value, words, consequence. Never below the request's own."""
    choices = (
        (Severity.LOW, "Low: a detail is off"),
        (Severity.MEDIUM, "Medium: I would not do this"),
        (Severity.HIGH, "High: this should be stopped"),
    )
    grave = Severity.values
    own = grave.index(reading.request.severity)
    return tuple(
        (value.value, words, _after_a_no(reading, value))
        for value, words in choices
        if grave.index(value) >= own
    )


def _after_a_no(reading: Reading, severity: Severity) -> str:
    """Say what a no of this severity leads to: who is asked next, or that it is final."""
    request = reading.request
    nothing = upper_first(nothing_done(request.action_type))
    if is_final(request.action_type, reading.packet.noes, reading.step):
        return f"{nothing}. This no is final; the agent may ask again with a new request"
    names = after_a_no(reading.packet, reading.reader.pk, severity, now=reading.now)
    if not names:
        return f"{nothing}. Nobody else can be asked, so this no is final"
    who = listed([f"the {name}" for name in names])
    are, see, they = ("are", "see", "they say") if len(names) > 1 else ("is", "sees", "they say")
    return (
        f"{upper_first(who)} {are} asked next, and {see} your reason first."
        f" Until {they} yes, {reading.nothing_done}"
    )


def holds(reading: Reading) -> Holds:
    """Say what holds now, in place of a form."""
    request, step = reading.request, reading.step
    if reading.mine is not None and step is not None and step.due_at is not None:
        if reading.over:
            return Holds(
                "warn",
                f"The window closed at {reading.at_seconds(step.due_at)}.",
                f"{passed_on(reading)} at any moment.",
            )
        if step.path == Path.POLICY_VIOLATION:
            return _holds_blocked(reading, None)
        if not reading.asks_leave:
            return _holds_underway(reading)
        obstacle = _hindrance(reading)
        if obstacle is not None:
            return Holds("warn", f"You {to_you(obstacle)}.", "So you may no longer decide on this.")
    own = next(
        (
            each
            for each in reversed(reading.packet.decisions)
            if each.person_id == reading.reader.pk
        ),
        None,
    )
    if request.state == S.PENDING:
        return _holds_pending(reading, own)
    if request.state == S.HELD:
        return Holds("warn", "It is held.", held_words(reading))
    last = reading.packet.decisions[-1] if reading.packet.decisions else None
    no = reading.packet.noes[-1] if reading.packet.noes else None
    if request.state == S.APPROVED and last is not None:
        return Holds(
            "good",
            f"{upper_first(the([last.person], reading.reader))} approved this at {reading.at_seconds(last.at)}.",
            "It begins within seconds, unless another request holds the same record.",
        )
    if request.state in CARRIED_OUT or request.end_reason == "target":
        return _holds_underway(reading)
    if request.state == S.REJECTED and request.end_reason == "refused":
        return Holds(
            "bad",
            "The ruling on the conflict refused this.",
            f"It has ended, and {reading.nothing_done}. The agent may ask again with a new request.",
        )
    if request.state == S.REJECTED and no is not None:
        stands = f"{so_it_stands(reading.packet)} " if request.ended_at != no.at else ""
        return Holds(
            "bad",
            f"{upper_first(the([no.person], reading.reader))} rejected this at {reading.at_seconds(no.at)}.",
            f"{stands}It has ended, and {reading.nothing_done}. The agent may ask again with a new request.",
        )
    if request.state == S.EXPIRED and request.ended_at:
        ended = reading.at_seconds(request.ended_at)
        if request.end_reason == "lapsed":
            words = f"It was approved, and nothing began it by {ended}."
        elif request.end_reason == "basis_changed":
            words = f"Its record may have changed since its approval, so it ended at {ended}."
            return Holds(
                "bad", words, f"{upper_first(reading.nothing_done)}. The agent may ask again."
            )
        elif request.end_reason == "queue":
            words = f"It waited for its record in vain until {ended}."
        else:
            words = f"Nobody decided by {ended}."
        return Holds(
            "bad", words, f"It has ended, and {reading.nothing_done}. Silence never approves."
        )
    if request.state == S.BLOCKED:
        return _holds_blocked(reading, own)
    if request.state == S.DENIED:
        lead = "Compliance denied this."
        if request.end_reason == "change_requested":
            lead = "Compliance asked for a change."
        return Holds("bad", lead, f"It has ended, and {reading.nothing_done}.")
    if request.state == S.WITHDRAWN and request.ended_at:
        return Holds(
            "info",
            f"The agent withdrew this at {reading.at_seconds(request.ended_at)}.",
            f"It has ended, and {reading.nothing_done}.",
        )
    return Holds(
        "info",
        f"It is {request.get_state_display().lower()}.",
        "Nobody is asked to approve it now.",
    )


def _holds_blocked(reading: Reading, own: Decision | None) -> Holds:
    """Say what holds while compliance is asked."""
    request, step = reading.request, reading.step
    who = reading.who_is_asked
    until = f" until {reading.at(step.due_at)}" if step is not None and step.due_at else ""
    waits = f"It waits for {who}{until}." if who else "Compliance is asked."
    stays = " What was done stays until then." if request.has_effects else ""
    paused = any(each.state == Step.State.SUSPENDED for each in reading.packet.steps)
    kept = " Whoever was asked before keeps the time they had left." if paused else ""
    if own is not None and own.verdict == Verdict.WAIVE:
        return Holds(
            "good", f"You signed the waiver at {reading.at_seconds(own.at)}.",
            f"One more signature is needed. {waits}{stays}",
        )  # fmt: skip
    return Holds("warn", "It is blocked: a rule is broken.", f"{waits}{stays}{kept}")


def _holds_underway(reading: Reading) -> Holds:
    """Say what holds once it was approved: it is done, undone, or neither."""
    request, ended = reading.request, reading.request.ended_at
    when = f" at {reading.at_seconds(ended)}" if ended else ""
    asked = _asked_to_mend(reading)
    match request.state:
        case S.EXECUTING:
            return Holds("info", "It is being carried out.", "Nobody has to decide anything now.")
        case S.TROUBLED:
            again = "It is tried again by itself." if request.next_try_at else ""
            return Holds("bad", "It could not go on.", asked or again)
        case S.ROLLING_BACK:
            return Holds("warn", "What was done is being undone.", asked)
        case S.COMPLETED:
            return Holds(
                "good", f"It was carried out{when}.", "Each part of it has its checkpoint."
            )
        case S.COMPLETED_MANUALLY:
            return Holds("good", f"A person finished it by hand{when}.", "")
        case S.ROLLED_BACK:
            return Holds("info", f"It was undone{when}.", "Nothing of it is left in the target.")
        case S.STRANDED:
            return Holds(
                "bad",
                f"It is half done, and could not be undone{when}.",
                "Two people have to clean it up. Until then nothing else may touch the record.",
            )
        case S.EXPIRED:
            return Holds(
                "bad",
                f"The target did not take it in time, so it ended{when}.",
                f"{upper_first(reading.nothing_done)}. The agent may ask again with a new request.",
            )
    return Holds("info", f"It is {request.get_state_display().lower()}.", asked)


def _asked_to_mend(reading: Reading) -> str:
    """Say who is asked to see to it, and until when."""
    who, step = reading.who_is_asked, reading.step
    if not who or step is None or step.due_at is None:
        return ""
    are = "are" if who.startswith("you") or " and " in who else "is"
    return f"{upper_first(who)} {are} asked to see to it until {reading.at(step.due_at)}."


def _holds_pending(reading: Reading, own: Decision | None) -> Holds:
    who = reading.who_is_asked
    step = reading.step
    until = f" until {reading.at(step.due_at)}" if step is not None and step.due_at else ""
    waits = f"It waits for {who}{until}." if who else "Nobody is asked at this moment."
    if own is not None and own.verdict == Verdict.REJECT:
        return Holds(
            "info",
            f"You rejected this at {reading.at_seconds(own.at)}.",
            f"Your no stands unless somebody with your authority says yes. {waits}",
        )
    if own is not None and own.verdict != Verdict.RULE:
        missing = reading.request.quorum - reading.packet.history.approvals
        more = (
            f"{wording.plural(missing, 'more approval')} {'is' if missing == 1 else 'are'} needed. "
            if missing > 0
            else ""
        )
        return Holds(
            "good", f"You {did(own)} this at {reading.at_seconds(own.at)}.", f"{more}{waits}"
        )
    last = reading.own_last
    if last is not None and last.passed_over_at and last.pk in reading.packet.given_away:
        return Holds("good", "You handed this over.", waits)
    if last is not None and last.passed_over_at:
        return Holds(
            "info",
            "You were passed over.",
            f"You {passed_over_because(last, reading.reader)}. {waits}",
        )
    if (
        last is not None
        and last.asked_at
        and last.step_id in {each.pk for each in reading.packet.steps}
    ):
        mine = next(each for each in reading.packet.steps if each.pk == last.step_id)
        if mine.closed_at is not None:
            return Holds(
                "info", f"Your window closed at {reading.at_seconds(mine.closed_at)}.", waits
            )
    return Holds("info", "You are not asked to decide this.", waits)
