"""The whole story of one request, as its page draws it."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime, tzinfo

from approvals.models import ActionRequest, Step
from approvals.packets import Packet
from approvals.story import aside, silence
from approvals.story.chain import chain
from approvals.story.conflict import conflict_of
from approvals.story.ladder import rungs, rungs_words
from approvals.story.lead import lead
from approvals.story.payload import facts_of, paragraphs, safe_url, source_words, title_of
from approvals.story.reading import Reading
from approvals.story.review import override_of
from approvals.story.shapes import Story
from approvals.story.states import has_execution, state_of
from approvals.story.violation import breach_of, can_report
from approvals.story.why import passed_over, why_asked
from approvals.story.words import begin_within
from governance import ladder, wording
from governance.ladder import DRILL_COUNTS_FOR
from governance.models import ActionType, Person
from governance.vocabulary import Level, Path

# In a head: what a rung is called. The vocabulary names them for those who edit policy.
LEVEL_WORDS = {
    Level.L0: "First approver",
    Level.L1: "Asked again",
    Level.L2: "Delegate",
    Level.L3: "Management",
    Level.L4: "Emergency bypass",
}
OTHERWISE = {
    (Path.SYSTEM_FAILURE, Level.L2): "On call",
    (Path.UNDO, Level.L2): "On call",
    (Path.CONFLICT, Level.L2): "Owner of the record",
    (Path.POLICY_VIOLATION, Level.L2): "Compliance",
    (Path.POLICY_VIOLATION, Level.L3): "Head of compliance",
    (Path.REJECTION, Level.L2): "Alternate approver",
    (Path.REJECTION, Level.L3): "Department head",
}


def tell(
    packet: Packet,
    *,
    reader: Person,
    now: datetime,
    zone: tzinfo,
    visible: Collection[int] = (),
) -> Story:
    """Return the story of a request for one reader, in their zone.

    Args:
        packet: with what was sent, if the chain is to say it.
        now: business time, UTC.
        visible: primary keys of other parties to its conflict that the reader may see.
    """
    reading = Reading(packet, reader, now, zone)
    request = packet.request
    action = request.action_type
    shown = reading.step or (packet.steps[-1] if packet.steps else None)
    state_words, state_kind, state_icon = state_of(reading)
    due_at, opened_at = aside.clock_of(reading)
    why_head, why = why_asked(reading)
    return Story(
        ref=request.ref,
        title=title_of(request),
        lead=lead(reading),
        path=shown.path if shown else Path.APPROVAL,
        level=shown.level if shown else Level.L0,
        level_word=_level_word(shown) if shown else "",
        state_words=state_words,
        state_kind=state_kind,
        state_icon=state_icon,
        amount=request.amount,
        currency=request.currency,
        facts=facts_of(request),
        reason=paragraphs(request.justification),
        source_url=safe_url(request.source_url),
        source_words=source_words(request),
        why_head=why_head,
        why=why,
        passed_over=passed_over(reading),
        rungs=rungs(reading),
        rungs_words=rungs_words(reading),
        chain=chain(reading),
        due_at=due_at,
        opened_at=opened_at,
        passed=silence.passed_on(reading),
        started=aside.started(reading),
        derivation=aside.derivation(reading),
        needed_by=request.needed_by if request.is_open else None,
        nothing_head=silence.nothing_head(reading),
        nothing=silence.nothing(reading),
        can_decide=aside.can_decide(reading),
        override=override_of(reading),
        may_ask=reading.mine is not None and not reading.over,
        conflict=conflict_of(reading, visible),
        breach=breach_of(reading),
        can_report=can_report(reading),
        has_execution=has_execution(request),
        holds=aside.holds(reading),
        thing=f"the {action.name.lower().split()[-1]}" if action.name.split() else "it",
        approve_words=(
            "It may then be carried out, once, and must begin within"
            f" {wording.span(begin_within(request))}"
        ),
        of_amount=(
            f" of {wording.money(request.amount, request.currency)}" if request.amount else ""
        ),
        nothing_done=reading.nothing_done,
        severities=aside.severities(reading),
        undo=action.reversal_words,
        undo_how=_undo_how(action),
        undo_limits=_undo_limits(request),
        digest=request.digest,
        digest_short=short(request.digest),
    )


def _level_word(step: Step) -> str:
    path, level = Path(step.path), Level(step.level)
    if (path, level) in ladder.AUTOMATIC:
        return "Tried again"
    return OTHERWISE.get((path, level), LEVEL_WORDS[level])


def _undo_how(action: ActionType) -> str:
    return {
        ActionType.Reversal.NONE: "Not at all",
        ActionType.Reversal.COMPENSATE: "By a reverse action",
        ActionType.Reversal.RESTORE: "From a snapshot taken before the first write",
    }[ActionType.Reversal(action.reversal)]


def _undo_limits(request: ActionRequest) -> str:
    if request.action_type.reversal == ActionType.Reversal.NONE:
        return "This cannot be undone. What is done stays done."
    if request.person_present:
        return (
            "When this was submitted, its undo had not been rehearsed within"
            f" {DRILL_COUNTS_FOR.days} days. So it takes somebody present, as what cannot be undone."
        )
    return ""


def short(digest: str) -> str:
    """Return what is shown of a digest."""
    return f"{digest[:4]} {digest[4:8]} … {digest[-4:]}"
