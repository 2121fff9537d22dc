"""What a review is about: who overrode whom, what the policy of that day said, and what happened."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from approvals.models import Case, Decision, Review, Step
from approvals.packets import Packet
from approvals.story.payload import title_of
from approvals.story.reading import Reading
from approvals.story.words import listed, upper_first
from governance import wording
from governance.ladder import AUTOMATIC, rungs
from governance.models import Person
from governance.routing import GIVES_LEAVE
from governance.vocabulary import Level, Path, Verdict

KIND_WORDS = {
    Review.Kind.BYPASS: "Bypass",
    Review.Kind.CLEANUP: "Clean-up",
    Review.Kind.VIOLATION: "Violation",
    Review.Kind.SPOT_CHECK: "Spot check",
}
ASKS = {
    Review.Kind.BYPASS: "Was it justified?",
    Review.Kind.CLEANUP: "What is left of it in the target?",
    Review.Kind.VIOLATION: "Was a rule broken, and does it matter?",
    Review.Kind.SPOT_CHECK: "Was it as it should be?",
}
MENDED = {Verdict.RETRY: "had it tried again", Verdict.BY_HAND: "took it in hand"}
AFTERWARDS = timedelta(hours=24)


@dataclass(frozen=True, slots=True)
class Compared:
    """One question, what the policy of that day says to it, what happened, and whether the two fit."""

    question: str
    policy: str
    happened: str
    fits: bool


@dataclass(frozen=True, slots=True)
class Told:
    """One review, told to one reader."""

    kind: str
    title: str
    lead: str
    quote_head: str
    quote: str
    signed: str
    rows: tuple[Compared, ...]
    nothing: str  # what silence comes to


def tell_review(reading: Reading, review: Review) -> Told:
    """Return the story of a review, in the reader's words and zone."""
    packet = reading.packet
    override = next((each for each in packet.decisions if each.review_id == review.pk), None)
    what = title_of(packet.request)
    title = what
    if override is not None:
        title = f"The {_name(override.person)} overrode {_overridden(packet, override)}: {what}"
    elif review.kind == Review.Kind.CLEANUP:
        title = f"Half done, and to be settled: {what}"
    return Told(
        kind=KIND_WORDS[Review.Kind(review.kind)],
        title=title,
        lead=f"{ASKS[Review.Kind(review.kind)]} {_lead(reading, override)}".strip(),
        quote_head=_quote_head(review, override),
        quote=wording.plain(review.reason, 4000),
        signed=_signed(reading, override) if override is not None else "",
        rows=_rows(reading, review, override) if override is not None else (),
        nothing=_nothing(reading, review),
    )


def override_of(reading: Reading) -> tuple[str, ...]:
    """Say to the executive who is asked at L4 what a yes of theirs overrides, and what follows from it."""
    step, packet = reading.step, reading.packet
    if step is None or step.level != Level.L4 or reading.mine is None:
        return ()
    names = listed(_silent(packet, before=step))
    missing = max(packet.request.quorum - packet.history.approvals, 1)
    stands = (
        "Your signature takes the place of theirs."
        if missing == 1
        else f"Your one signature takes the place of {missing}."
    )
    did_not = "did not answer in time"
    if step.path == Path.SYSTEM_FAILURE:
        did_not, stands = "did not bring it to an end", "Your answer takes the place of theirs."
    silent = f"{upper_first(names)} {did_not}." if names else "Nobody could be asked before you."
    return (
        silent,
        stands,
        "An independent review opens in the same instant and is due in 48 h."
        " If it runs over, you cannot bypass again until it is closed.",
    )


def _silent(packet: Packet, *, before: Step) -> list[str]:
    """Return who was asked the same before, and did not settle it. Of a failure nobody below L4 did."""
    paths = GIVES_LEAVE if before.path in GIVES_LEAVE else (Path(before.path),)
    people = {
        ask.person_id: f"the {_name(ask.person)}"
        for step in packet.steps
        if step.pk != before.pk and step.level < Level.L4 and step.path in paths
        for ask in packet.asks.get(step.pk, ())
        if ask.asked_at
    }
    if before.path == Path.SYSTEM_FAILURE:
        return list(people.values())
    decided = {each.person_id for each in packet.decisions}
    return [name for pk, name in people.items() if pk not in decided]


def _overridden(packet: Packet, override: Decision) -> str:
    path = Path(override.step.path)
    return {
        Path.CONFLICT: "a conflict that nobody ruled on",
        Path.SYSTEM_FAILURE: "whoever was asked about a failure",
    }.get(path, "the silence of others")


def _lead(reading: Reading, override: Decision | None) -> str:
    state = reading.request.get_state_display().lower()
    if override is None:
        return f"It is {state}."
    names = _silent(reading.packet, before=override.step)
    failed = override.step.path == Path.SYSTEM_FAILURE
    had_not = "had not brought it to an end" if failed else "had not answered"
    silent = f"{upper_first(listed(names))} {had_not}. " if names else ""
    did = MENDED.get(Verdict(override.verdict))
    what = f"The {_name(override.person)} {did}. " if did else ""
    return f"{silent}{what}It is {state}."


def _quote_head(review: Review, override: Decision | None) -> str:
    if override is not None:
        return f"What the {_name(override.person)} wrote"
    if review.opened_by is not None:
        return f"What the {_name(review.opened_by)} wants looked at"
    return "Why it is open"


def _signed(reading: Reading, override: Decision) -> str:
    parts = [reading.at_seconds(override.at)]
    if override.reauthenticated_at is not None:
        parts.append("with a second factor, given for this request")
    return " · ".join(parts)


def _rows(reading: Reading, review: Review, override: Decision) -> tuple[Compared, ...]:
    packet, request = reading.packet, reading.request
    number = packet.policy.number
    step = override.step
    path = Path(step.path)
    below = [level for level in rungs(path, critical=True) if level < Level.L4]
    stood = {Level(each.level): each for each in packet.steps if each.path == path}
    used = all(level in stood or level < min(stood, default=Level.L4) for level in below)
    first = packet.policy.rows[request.matrix_row_id].executive
    named = dict.fromkeys((first, *packet.policy.executives) if first else packet.policy.executives)
    executives = [packet.people.by_pk[pk].name for pk in named if pk in packet.people.by_pk]
    windows = ", ".join(
        f"L{level:d} for {wording.span(packet.policy.windows[path, level])}" for level in below
    )
    critical = request.action_type.is_critical
    return (
        Compared(
            "May it be overridden?",
            "Critical processes alone",
            f"{request.action_type.name} is {'one' if critical else 'none'}",
            critical,
        ),
        Compared(
            "Were the rungs below used up?",
            f"{windows}, policy {number}",
            "; ".join(
                _rung_words(reading, each) for each in stood.values() if each.level < Level.L4
            )
            or "None opened",
            used,
        ),
        Compared(
            "Who may override?",
            f"{upper_first(listed([f'the {name}' for name in executives]))}, if asked on no earlier rung",
            f"The {_name(override.person)}, {reading.at_seconds(override.at)}",
            _name(override.person) in executives,
        ),
        Compared(
            "Were they there in person?",
            "A second factor, at most 2 min before",
            "Given for this request" if override.reauthenticated_at else "Not given",
            override.reauthenticated_at is not None,
        ),
        Compared(
            "How many signatures does it take?",
            wording.plural(request.quorum, "signature") if path in GIVES_LEAVE else "One answer",
            f"One stands for {review.signatures_replaced}",
            True,
        ),
        Compared(
            "Is what ran what was shown?",
            "One digest from end to end",
            "The decision names the request's digest"
            if override.digest == request.digest
            else "The decision names another digest",
            override.digest == request.digest,
        ),
    )


def _rung_words(reading: Reading, step: Step) -> str:
    if step.state == Step.State.PASSED_OVER:
        return f"L{step.level} passed over"
    if (step.path, step.level) in AUTOMATIC:
        return f"L{step.level}: tried again by itself"
    names = [
        f"the {_name(ask.person)}" for ask in reading.packet.asks.get(step.pk, ()) if ask.asked_at
    ]
    became = step.get_state_display().lower()
    if step.state == Step.State.EXPIRED:
        became = "did not answer"
    return f"L{step.level}: {listed(names)} {became}"


def _nothing(reading: Reading, review: Review) -> str:
    if review.due_at is None:
        return ""
    again = "It stays open and red on every auditor's page."
    return f"at {reading.at(review.due_at)} it goes a management level higher. {again}"


def due_words(review: Review, now: datetime) -> str:
    """Say how long a review has run over: "Overdue 3 h"; nothing while there is time."""
    if review.due_at is None or not (review.times_overdue or review.due_at <= now):
        return ""
    first = review.due_at - AFTERWARDS * review.times_overdue
    return f"Overdue {wording.span(now - first)}"


def whose(review: Review, reader: Person) -> str:
    """Say who is asked to review it."""
    if review.asked is None:
        return "Nobody"
    return "You" if review.asked_id == reader.pk else _name(review.asked)


def path_of(packet: Packet, review: Review) -> tuple[str, int]:
    """Return the path and level that a review is about: of the override, or of the last case."""
    override = next((each for each in packet.decisions if each.review_id == review.pk), None)
    if override is not None:
        return override.step.path, override.step.level
    case: Case | None = packet.cases[-1] if packet.cases else None
    return (case.exception, case.highest_level) if case is not None else (Path.APPROVAL, Level.L0)


def _name(person: Person) -> str:
    return wording.plain(str(person), 120)
