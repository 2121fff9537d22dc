"""What a list says of a request, on one line or in one word."""

from __future__ import annotations

from datetime import UTC, datetime, tzinfo

from approvals.models import ActionRequest
from approvals.packets import Packet
from approvals.story.lead import silent_before
from approvals.story.payload import facts_of, title_of
from approvals.story.reading import Reading
from approvals.story.silence import passed_on
from approvals.story.states import ended_word
from approvals.story.words import begin_within, did, the
from governance import wording
from governance.models import Person
from governance.vocabulary import Path, Verdict

S = ActionRequest.State
UNDECIDED = (S.WITHDRAWN, S.EXPIRED, S.DENIED)  # ended, whatever somebody had said before


def sub_line(packet: Packet, *, reader: Person, now: datetime, zone: tzinfo) -> str:
    """Say on one line what the title leaves out, and who was silent for how long."""
    reading = Reading(packet, reader, now, zone)
    needed_by = packet.request.needed_by
    hurry = [f"Needed by {reading.at(needed_by)}"] if needed_by is not None else []
    parts = [*hurry, *_first_facts(reading), *silent_before(reading)]
    return " · ".join(part for part in parts if part)


def passed_words(packet: Packet, *, reader: Person, now: datetime) -> str:
    """Say what a clock says at zero: "Passed on to the Controller"."""
    return passed_on(Reading(packet, reader, now, UTC))  # it says no instant: any zone will do


def waits_for(packet: Packet, *, reader: Person) -> str:
    """Say who is asked now: "the Controller", "you and the CFO"; nothing if nobody is."""
    return the([ask.person for ask in packet.asked], reader)


def became(packet: Packet, *, reader: Person, now: datetime, zone: tzinfo) -> str:
    """Say what became of a request that is no longer with this reader: "Controller approved it at 09:45"."""
    reading = Reading(packet, reader, now, zone)
    request = packet.request
    if request.state in UNDECIDED and request.ended_at is not None:
        return f"{ended_word(request)} at {reading.at(request.ended_at)}"
    if packet.decisions and (request.state in (S.APPROVED, S.REJECTED) or not packet.asked):
        deciding = packet.noes if request.state == S.REJECTED else packet.decisions
        last = (deciding or packet.decisions)[-1]
        who = "You" if last.person_id == reader.pk else str(last.person)
        return f"{who} {did(last)} it at {reading.at(last.at)}"
    if packet.asked:
        own = next((each for each in packet.decisions if each.person_id == reader.pk), None)
        if own is not None and own.verdict == Verdict.REJECT:
            return f"You rejected it at {reading.at(own.at)}; {waits_for(packet, reader=reader)} is asked"
        if own is not None and own.verdict != Verdict.RULE:
            return f"You {did(own)} it at {reading.at(own.at)}; more signatures are needed"
        return f"Passed on to {waits_for(packet, reader=reader)}"
    if request.ended_at is not None:
        return f"{ended_word(request)} at {reading.at(request.ended_at)}"
    return request.get_state_display()


def where_due_comes_from(packet: Packet, *, now: datetime, zone: tzinfo) -> str:
    """Say why a request's clock runs out when it does, for those who watch all of them."""
    request, step = packet.request, packet.waiting

    def at(instant: datetime) -> str:
        return wording.at(instant, now=now, zone=zone)

    if request.state == S.APPROVED and request.approved_at is not None:
        within = wording.span(begin_within(request))
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
    if request.state == S.HELD:
        return "Held by a conflict over its record, until this at the latest"
    if request.state == S.EXECUTING:
        return "Its worker’s lease, or the end of its time to run"  # noqa: RUF001
    if request.state == S.TROUBLED and request.next_try_at is not None:
        return f"The next attempt, at {at(request.next_try_at)}"
    if request.state == S.ROLLING_BACK:
        return "Being undone: its worker’s lease, or the next attempt"  # noqa: RUF001
    return f"{request.get_state_display()}, and no step waits"


def _first_facts(reading: Reading) -> list[str]:
    title = title_of(reading.request)
    told = [
        f"{fact.label} {fact.value}" if fact.value[:1].isdigit() else fact.value
        for fact in facts_of(reading.request)
        if not fact.missing and fact.value not in title
    ]
    return told[: 1 if reading.packet.cases else 2]
