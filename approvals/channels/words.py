"""What a notice says, whatever carries it. Read again at each try, so that it is true when it arrives.

All that an agent wrote goes through `said`; what is left is ours. Links open the
page and decide nothing.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta, tzinfo
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from django.conf import settings

from approvals.models import ActionRequest, Ask, Notice, Step
from approvals.services.decide import DID
from approvals.templating import at_pointer
from governance import ladder, tables, wording
from governance.decision_tree import ENTERS_AT
from governance.models import MatrixDelegate, Person
from governance.routing import MENDS
from governance.vocabulary import (
    ExceptionType,
    Impact,
    Level,
    Path,
    Response,
    Severity,
    Verdict,
)

TITLE_LENGTH = 120
VALUE_LENGTH = 200
WHY_LENGTH = 300
WORDS_LENGTH = 600  # of the agent's reason
FACTS_SHOWN = 12
NAMES_SHOWN = 5

# What a person is told when a request they know of went on. Keys are Notice.facts["what"].
TOLD = {
    "approved": "It was approved.",
    "rejected": "It was rejected. Nothing is carried out.",
    "rejected_in_silence": "Somebody said no, and too few of those asked after that said yes. Nothing is carried out.",
    "expired": "Nobody decided in time, so it ended. Nothing is carried out.",
    "lapsed": "It was approved and did not begin in time, so it ended. Nothing is carried out.",
    "failed": "The target did not take it in time, so it ended. Nothing was done.",
    "held": "Another request wants the same record, so it is held until whoever owns the record rules on it.",
    "joined": "Another request joined the conflict that you were asked to rule on. Look at it before you rule.",
    "refused": "Whoever owns its record ruled against it, so it ended. Nothing is carried out.",
    "queued_in_vain": "Those before it in the queue for its record took too long, so it ended. Nothing is carried out.",
    "basis_changed": "It was held after its approval, and its record may have changed. It ended; nothing is done.",
    "failing": "It failed in the target. Nothing is done twice; if it does not pass, people are asked how it goes on.",
    "taken_over": "Somebody else took over what you had in hand.",
    "by_hand_waits": "It was finished by hand and waits for a second person. You may be that person.",
    "done_by_hand": "A person finished it by hand in the target.",
    "undone_by_hand": "A person saw to it by hand: nothing of it is left in the target.",
    "recovered": "It failed at first, was tried again, and is done.",
    "rolled_back": "What was done is undone. Nothing of it is left in the target.",
    "stranded": "It is half done, could not be undone, and has to be cleaned up by hand.",
    "answered": "The agent answered what you asked it. The clock has run on.",
    "blocked": "It breaks a rule, so it is blocked until compliance has ruled on it.",
    "violation_joined": "Another report came in on what you were asked to rule on. Look at it before you rule.",
    "violation_after": "A rule was broken by something that had ended. A review was opened.",
    "denied": "Compliance denied it. Nothing more is carried out.",
    "denied_in_silence": "It broke a rule, and compliance did not answer in time, so it was denied.",
    "change_requested": "Compliance asks for a change, so it ended. The agent may ask anew.",
    "waived": "Compliance lets it pass. It goes on where it stood.",
    "withdrawn": "The agent withdrew it. Nothing is carried out.",
    "review_asked": "You are asked to review what was done. The page has the whole chain and the policy of that day.",
    "review_reminder": "Half of the time for your review is over, and no finding is recorded.",
    "review_overdue": "A review is overdue, and you stand above whoever was asked before. It is yours now.",
    "review_passed_on": "Your review is overdue. Whoever stands above you was asked.",
    "review_still_yours": "Your review is overdue, and nobody above you may take it. It stays yours.",
    "review_found": "The review of it is closed. Its page says what was found.",
    "review_policy": "A review found that the policy must change. Its page says what was found.",
    "review_second": "A review ordered that it be rolled back, and waits for a second reviewer: you may be that.",
    "cleanup_second": "Somebody says that what was left half done is settled, and waits for a second person.",
    "cleaned_up": "What was left half done is settled in the target, and two people said so.",
    "passed_over": "You were passed over, and somebody else was asked.",
    "rollback_waits": "A rollback was ordered and waits for a second person. You may be that person.",
    "rollback_confirmed": "The rollback you ordered was confirmed.",
    "rollback_lapsed": "Nobody confirmed the rollback you ordered in time. Nothing was undone.",
}


@dataclass(frozen=True)
class Words:
    """One message to one person, in words. Templates and chats draw from it and from nothing else."""

    kind: str  # a Notice.Kind
    name: str  # of the reader
    url: str  # opens the page; "" for what has none
    ref: str = ""
    title: str = ""
    amount: str = ""
    facts: list[tuple[str, str]] = field(default_factory=list)
    agent: str = ""
    on_behalf_of: str = ""
    department: str = ""
    reason: str = ""  # the agent's own
    why: str = ""  # why this reader
    with_others: str = ""
    left: str = ""
    until: str = ""  # with its zone
    window: str = ""
    needed_by: str = ""  # of a request in a hurry, with its zone
    if_nobody: list[str] = field(default_factory=list)
    before: list[str] = field(default_factory=list)  # who was asked, and what came of it
    urgent: bool = False
    what: str = ""  # of a told or an alert, one sentence


def words_for(notice: Notice, *, now: datetime) -> Words:
    """Say what this notice has to tell, as things are now.

    Args:
        notice: with person; for a request's also request (action type, agent,
            department, on_behalf_of) and, if it has one, ask and step.
        now: business time.
    """
    person, request = notice.person, notice.request
    if person is None:
        raise ValueError(f"notice {notice.pk} is for nobody")
    name = said(str(person), TITLE_LENGTH)
    if request is None:
        url = settings.SITE_URL + str(notice.facts.get("page", ""))
        return Words(notice.kind, name, url, urgent=notice.urgent, what=_what(notice))
    common: dict[str, Any] = {
        "kind": notice.kind,
        "name": name,
        "url": page_of(request),
        "ref": request.ref,
        "title": said(request.title, TITLE_LENGTH),
        "amount": wording.money(request.amount, request.currency),
        "facts": _facts(request),
        "agent": request.agent.name,
        "on_behalf_of": said(str(request.on_behalf_of or ""), TITLE_LENGTH),
        "department": request.department.name,
        "urgent": notice.urgent,
    }
    if notice.ask is None:
        return Words(**common, what=_what(notice))
    return Words(
        **common,
        reason=said(request.justification, WORDS_LENGTH),
        **_asking(notice.ask, request, person, now),
    )


def said(text: str, limit: int) -> str:
    """Quote what somebody else wrote: one plain line, in which no mail client finds a link to draw."""
    line = wording.plain(text, limit)
    return line.replace("://", "[:]//").replace("www.", "www[.]")


def page_of(request: ActionRequest) -> str:
    """Return the address of a request's page. It is pinned: mails of last year still open it."""
    return f"{settings.SITE_URL}/requests/{request.ref}/"


def zone_of(person: Person) -> tzinfo:
    """Return a person's zone, UTC where the name of it is not known."""
    try:
        return ZoneInfo(person.time_zone)
    except (ZoneInfoNotFoundError, ValueError):
        return ZoneInfo("UTC")  # the message names the zone, so that the fallback is seen


def _what(notice: Notice) -> str:
    what = str(notice.facts.get("text") or notice.facts.get("what") or "")
    if notice.request is not None and what in ("approved", "rejected"):
        last = notice.request.decisions.select_related("person").order_by("at", "pk").last()
        if last is not None:
            end = " Nothing is carried out." if what == "rejected" else ""
            note = f" Their note: {said(last.note, VALUE_LENGTH)}" if last.note else ""
            return f"{wording.plain(str(last.person), TITLE_LENGTH)} {what} it.{end}{note}"
    if what == "rollback_waits":
        return " ".join([TOLD[what], *_of_order(notice)])
    if what == "by_hand_waits":
        by = wording.plain(str(notice.facts.get("by", "")), TITLE_LENGTH)
        why = said(str(notice.facts.get("why", "")), VALUE_LENGTH)
        return f"{TOLD[what]} The {by} did it{f': {why}' if why else '.'}"
    if what == "failing" and notice.facts.get("why"):
        return f"{TOLD[what]} {said(str(notice.facts['why']), VALUE_LENGTH)}"
    return (
        TOLD.get(what)
        or said(what, WORDS_LENGTH)
        or "Something changed. Open the page to see what."
    )


def _of_order(notice: Notice) -> list[str]:
    """Say who ordered a rollback, why, and until when it may be confirmed."""
    facts, person = notice.facts, notice.person
    lines = [f"Ordered by the {wording.plain(str(facts.get('by', '')), TITLE_LENGTH)}."]
    if facts.get("why"):
        lines.append(f"Their reason: {said(str(facts['why']), VALUE_LENGTH)}")
    if facts.get("until") and person is not None:
        until, zone = datetime.fromisoformat(str(facts["until"])), zone_of(person)
        clock = wording.at(until, now=notice.created_at, zone=zone)
        lines.append(f"It lapses at {clock} {wording.zone_word(until, zone)}.")
    return lines


def _facts(request: ActionRequest) -> list[tuple[str, str]]:
    found = []
    for fact in request.action_type.shown_facts[:FACTS_SHOWN]:
        label = wording.plain(str(fact["label"]), 60)
        value = at_pointer(request.payload, fact["pointer"])
        found.append(
            (label, said(str(value), VALUE_LENGTH) if value not in (None, "") else "missing")
        )
    return found


def _asking(ask: Ask, request: ActionRequest, person: Person, now: datetime) -> dict[str, Any]:
    step, zone = ask.step, zone_of(person)
    if step.due_at is None:
        raise ValueError(f"{step} is asked about and has no clock")
    window = wording.span(step.due_at - step.opened_at)
    return {
        "why": said(ask.why, WHY_LENGTH),
        "with_others": _names(_others(step, person)),
        "left": wording.span(max(step.due_at - now, timedelta(0))),
        "until": f"{wording.at(step.due_at, now=now, zone=zone)} {wording.zone_word(step.due_at, zone)}",
        "window": f"Your {window} started at {wording.at(step.opened_at, now=now, zone=zone)}.",
        "needed_by": (
            f"{wording.at(request.needed_by, now=now, zone=zone)} {wording.zone_word(request.needed_by, zone)}"
            if request.needed_by is not None
            else ""
        ),
        "if_nobody": if_nobody_answers(request, step, now=now, zone=zone),
        "before": _before(request, step, now=now, zone=zone),
    }


def _others(step: Step, person: Person) -> list[str]:
    others = step.asks.filter(due_at__isnull=False).exclude(person=person)
    return [str(each.person) for each in others.select_related("person").order_by("position", "pk")]


def _names(names: list[str]) -> str:
    shown = [wording.plain(name, TITLE_LENGTH) for name in names[:NAMES_SHOWN]]
    if len(names) > NAMES_SHOWN:
        shown.append(f"{len(names) - NAMES_SHOWN} more")
    return " and ".join([", ".join(shown[:-1]), shown[-1]] if len(shown) > 1 else shown)


def _before(request: ActionRequest, step: Step, *, now: datetime, zone: tzinfo) -> list[str]:
    """Say who was asked on earlier rungs, and what came of each."""
    earlier = request.steps.exclude(pk=step.pk).filter(opened_at__lte=step.opened_at)
    lines = []
    parts = ("asks__person", "decisions__person")
    for each in earlier.prefetch_related(*parts).order_by("opened_at", "pk"):
        names = _names(
            [str(ask.person) for ask in each.asks.all() if ask.asked_at and not ask.passed_over_at]
        )
        ended = wording.at(each.closed_at, now=now, zone=zone) if each.closed_at else ""
        if each.state == Step.State.EXPIRED and names:
            lines.append(f"{names} did not answer by {ended}.")
        elif each.state == Step.State.PASSED_OVER:
            lines.append(f"L{each.level} was passed over: nobody could be asked.")
        elif each.state == Step.State.ANSWERED and names:
            lines += _answers(each, ended)
    return lines


def _answers(step: Step, ended: str) -> list[str]:
    """Say what each person answered on a step that is over, a no with its reason."""
    lines = []
    for decision in step.decisions.all():
        name = wording.plain(str(decision.person), TITLE_LENGTH)
        note = f": {said(decision.note, VALUE_LENGTH)}" if decision.note else "."
        verb = "said no" if decision.verdict == Verdict.REJECT else DID[Verdict(decision.verdict)]
        lines.append(f"{name} {verb} at {ended}{note}")
    return lines


def if_nobody_answers(
    request: ActionRequest, step: Step, *, now: datetime, zone: tzinfo
) -> list[str]:
    """Say who is asked next and when, and how it ends: two sentences, the last one always there.

    Rungs on which nobody can be asked are passed over when they open, so it may
    come sooner than said; never later.
    """
    if step.due_at is None:
        raise ValueError(f"{step} has no clock")
    policy = tables.policy(request.policy_id)
    path, level = Path(step.path), Level(step.level)
    critical = request.action_type.is_critical
    response = None
    if path == Path.APPROVAL:
        path = Path.TIMEOUT
        cell = ExceptionType.TIMEOUT, Severity(request.severity), Impact(request.impact)
        response = policy.cells[cell].response if cell in policy.cells else None
        rungs = ladder.rungs(path, critical=critical)
        ahead = [each for each in rungs if response and each >= ENTERS_AT[response]]
    else:
        ahead = [each for each in ladder.rungs(path, critical=critical) if each > level]
    lines, end = [], step.due_at
    for n, each in enumerate(ahead):
        if n == 0:
            who = _next_people(request, path, each)
            lines.append(f"At {wording.at(end, now=now, zone=zone)} {who}.")
        window = policy.windows.get((path, each), timedelta(0))
        end += ladder.hurried(
            path,
            each,
            ladder.granted(window, response, each) if response else window,
            windows=policy.windows,
            after_silence=response or Response.DELEGATE,
            since=end,
            by=request.needed_by,
            critical=request.action_type.is_critical,
        )
    closing = wording.at(end, now=now, zone=zone)
    if path in MENDS:
        lines.append(f"If nobody answers at all, {_closing(request, path)} at {closing}.")
        return lines
    so = "If nobody answers at all, it ends" if lines else "It ends"
    lines.append(f"{so} at {closing}, and nothing is carried out.")
    return lines


def _closing(request: ActionRequest, path: Path) -> str:
    if path == Path.UNDO:
        return "it stays half done, for people to clean up,"
    return "what was done is undone" if request.has_effects else "it ends, with nothing done,"


def _next_people(request: ActionRequest, path: Path, level: Level) -> str:
    if path == Path.TIMEOUT and level == Level.L1:
        return "the same people are asked again"
    if path == Path.TIMEOUT and level == Level.L2:
        delegates = MatrixDelegate.objects.filter(row=request.matrix_row_id)
        named = [
            str(each.role or each.person) for each in delegates.select_related("role", "person")
        ]
        return f"the delegates are asked: {_names(named)}" if named else "the delegates are asked"
    if path == Path.REJECTION and level == Level.L3:
        return "the head of the department is asked"
    if path in MENDS and level == Level.L3:
        return "the manager of whoever is on call is asked"
    if level == Level.L3:
        return "the next management level is asked"
    if level == Level.L4:
        return "an executive is asked, who may override the others"
    return f"the next people are asked ({wording.SIGNS[path].word.lower()}, L{level})"
