"""The inbox: what waits on the reader, lane by lane, and what they watch."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal, InvalidOperation
from typing import Any
from urllib.parse import urlencode

from django.db.models import Exists, OuterRef, Q, QuerySet
from django.http import HttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.views.decorators.http import require_safe

from approvals import selectors, story
from approvals.channels.words import zone_of
from approvals.models import ActionRequest, Ask, Decision, Notice
from approvals.packets import Packet, packets_of
from approvals.services.several import why_alone
from approvals.views.edge import HtmxRequest, cursor_of, rail_of, read_cursor, visible_or_404
from approvals.views.several import kind_of
from governance import clock, wording
from governance.models import Person
from governance.vocabulary import Duty, Path
from governance.wording import LANES

PAGE = 50  # rows of a lane
KNOWN_MAX = 400  # refs a poll may name
TOLD_SHOWN = 20
COUNTED = 100
SEARCH_LENGTH = 100
_REF = re.compile(r"[A-Z0-9-]{1,16}")

HINTS = {
    Path.POLICY_VIOLATION: "A rule was broken; it is blocked until you answer",
    Path.SYSTEM_FAILURE: "The target failed; a retry is not enough",
    Path.CONFLICT: "Every side is held until you choose",
    Path.REJECTION: "Someone said no; you see their reason first",
    Path.TIMEOUT: "Somebody before you did not answer",
    Path.APPROVAL: "Nothing went wrong; you are the first asked",
    Path.UNDO: "An undo failed; somebody must finish it",
}
KEPT = {
    Path.POLICY_VIOLATION: "Compliance is asked",
    Path.SYSTEM_FAILURE: "Whoever is on call is asked",
    Path.CONFLICT: "The owner of the record is asked",
    Path.REJECTION: "Nobody said no",
    Path.TIMEOUT: "Nobody before you was silent",
    Path.APPROVAL: "No agent waits for you",
}


@dataclass(frozen=True, slots=True)
class Row:
    """One request in a list."""

    ref: str
    title: str
    sub: str
    level: int | None
    amount: Decimal | None
    currency: str
    due_at: datetime | None
    opened_at: datetime | None
    passed: str
    selected: bool = False
    kind: str = ""  # of one that may be approved together with others alike
    ended: str = ""  # what became of it, for a row that leaves


@dataclass(frozen=True, slots=True)
class Lane:
    """One lane with its rows; or the one line an empty lane keeps."""

    path: str
    sign: wording.PathSign
    count: str
    hint: str
    kept: str
    rows: tuple[Row, ...]
    more: str = ""  # the query of its next page


@dataclass(frozen=True, slots=True)
class Told:
    """Something that was told: what ended, to somebody who was asked about it; or what concerns the reader."""

    url: str
    title: str
    words: str
    at: datetime
    good: bool


@dataclass(frozen=True, slots=True)
class Filters:
    """What the address asks for."""

    watching: bool
    q: str
    lane: str
    after: tuple[datetime, int] | None
    at: str

    @classmethod
    def read(cls, request: HtmxRequest) -> Filters:
        lane = request.GET.get("lane", "")
        q = wording.plain(request.GET.get("q", ""), SEARCH_LENGTH)
        return cls(
            watching=request.GET.get("view") == "watching",
            q=q,
            lane=lane if lane in Path.values else "",
            after=read_cursor(request.GET.get("after", "")),
            at=request.GET.get("at", ""),
        )

    def query(self, **over: str) -> str:
        """Return the query that asks for the same again, with some of it changed."""
        kept = {
            "view": "watching" if self.watching else "",
            "q": self.q,
            "lane": self.lane,
            "after": cursor_of(*self.after) if self.after else "",
        }
        return urlencode({name: value for name, value in (kept | over).items() if value})


@require_safe
def inbox(request: HtmxRequest) -> HttpResponse:
    """Lanes of what waits on the reader. htmx polls, and is given the list and what stands around it."""
    now, person = clock.now(), request.user
    filters = Filters.read(request)
    lanes = _watched(person, filters, now) if filters.watching else _lanes(person, filters, now)
    rows = [row for lane in lanes for row in lane.rows]
    selected = next((row.ref for row in rows if row.ref == filters.at), rows[0].ref if rows else "")
    shown = sum(len(lane.rows) for lane in lanes)
    capped = any(lane.more for lane in lanes)
    context: dict[str, Any] = {
        "now": now,
        "here": "inbox",
        "filters": filters,
        "lanes_": lanes if rows or not filters.query() else [],
        "rows": rows,
        "selected": selected,
        "title": f"({wording.capped(shown, PAGE) if capped else shown}) Inbox"
        if shown
        else "Inbox",
        "lead": _lead(filters, rows, capped, now),
        "told": _told(person, now),
        "self": f"{reverse('approvals:inbox')}?{filters.query()}".rstrip("?"),
    }
    if not rows:
        context |= {"empty": _empty(person, filters, now), "lanes_": []}
    if request.htmx and not request.htmx.history_restore_request:
        known = request.GET.get("known", "")
        context |= {"gone": _gone(person, known, rows, now), "rail": rail_of(person, now)}
        return render(request, "approvals/inbox.html#answer", context)
    if selected:
        context |= _peek(visible_or_404(person, selected), person, now)
    return render(request, "approvals/inbox.html", context)


@require_safe
def peek(request: HtmxRequest, ref: str) -> HttpResponse:
    """The short form of one request, beside the list."""
    now = clock.now()
    found = visible_or_404(request.user, ref)
    context = _peek(found, request.user, now)
    return render(request, "approvals/peek.html", context)


def _peek(found: ActionRequest, person: Person, now: datetime) -> dict[str, Any]:
    (packet,) = packets_of([found], now=now)
    told = story.tell(packet, reader=person, now=now, zone=zone_of(person))
    return {"story": told, "request_": found, "now": now}


# --- Asked of the reader ----------------------------------------------------------------------


def _lanes(person: Person, filters: Filters, now: datetime) -> list[Lane]:
    paths = [filters.lane] if filters.lane else [*LANES, Path.UNDO]
    asks: dict[str, list[Ask]] = {}
    for path in paths:
        after = filters.after if filters.lane else None
        waiting = selectors.inbox_for(person, path, after=after)
        if filters.q:
            waiting = waiting.filter(_matching(filters.q, "step__request__"))
        asks[path] = list(waiting[: PAGE + 1])
    shown = [ask for each in asks.values() for ask in each[:PAGE]]
    packets = _packets([ask.step.request for ask in shown], now)
    return [
        _lane(Path(path), asks[path], packets, person, filters, now)
        for path in paths
        if asks[path] or path != Path.UNDO
    ]


def _lane(
    path: Path,
    asks: Sequence[Ask],
    packets: dict[int, Packet],
    person: Person,
    filters: Filters,
    now: datetime,
) -> Lane:
    shown, more = asks[:PAGE], len(asks) > PAGE
    last = shown[-1] if shown else None
    kept = KEPT.get(path, "")
    if path == Path.POLICY_VIOLATION and person.has_duty(Duty.COMPLIANCE):
        kept = "No rule is broken"
    return Lane(
        path=path,
        sign=wording.SIGNS[path],
        count=wording.capped(len(asks), PAGE),
        hint=HINTS[path],
        kept=f"Nothing here matches “{filters.q}”" if filters.q else kept,
        rows=tuple(_row(packets[ask.step.request_id], person, now, filters) for ask in shown),
        more=filters.query(lane=path, after=cursor_of(last.due_at, last.pk))
        if more and last is not None and last.due_at is not None
        else "",
    )


def _row(packet: Packet, person: Person, now: datetime, filters: Filters) -> Row:
    request, step = packet.request, packet.waiting
    last = step or (packet.steps[-1] if packet.steps else None)
    zone = zone_of(person)
    return Row(
        ref=request.ref,
        title=story.title_of(request),
        sub=story.sub_line(packet, reader=person, now=now, zone=zone),
        level=last.level if last else None,
        amount=request.amount,
        currency=request.currency,
        due_at=step.due_at if step else None,
        opened_at=step.opened_at if step else None,
        passed=story.passed_words(packet, reader=person, now=now),
        selected=request.ref == filters.at,
        kind=kind_of(request) if _may_be_picked(packet, person) else "",
    )


def _may_be_picked(packet: Packet, person: Person) -> bool:
    step = packet.waiting
    asked = any(ask.person_id == person.pk for ask in packet.asked)
    first = step is not None and step.path == Path.APPROVAL
    return asked and first and why_alone(packet.request) is None


def _packets(requests: Sequence[ActionRequest], now: datetime) -> dict[int, Packet]:
    return {packet.request.pk: packet for packet in packets_of(requests, now=now)}


def _matching(q: str, prefix: str = "") -> Q:
    """Match a title, a reference, an amount, or what the business key is made of."""
    found = Q()
    for field in ("title", "ref", "business_key"):
        found |= Q(**{f"{prefix}{field}__icontains": q})
    try:
        amount = Decimal(re.sub(r"[^\d.]", "", q))
    except InvalidOperation:
        return found
    if amount.is_finite() and 0 < amount < Decimal(10) ** 15:
        found |= Q(**{f"{prefix}amount": amount})
    return found


def _lead(filters: Filters, rows: Sequence[Row], capped: bool, now: datetime) -> str:
    if not rows:
        return (
            "Nothing matches."
            if filters.q
            else (
                "You watch nothing that is open." if filters.watching else "Nothing waits for you."
            )
        )
    count = f"More than {PAGE} requests" if capped else wording.plural(len(rows), "request")
    verb = "wait" if capped or len(rows) > 1 else "waits"
    if filters.watching:
        is_open = "are" if verb == "wait" else "is"
        return f"{count} {is_open} open and {verb} for somebody else."
    first = min((row.due_at for row in rows if row.due_at), default=None)
    soon = (
        f" The first runs out in {wording.span(max(first - now, timedelta(0)))}." if first else ""
    )
    which = (
        " match"
        if filters.q and verb == "wait"
        else " matches"
        if filters.q
        else f" {verb} for you"
    )
    return f"{count}{which}.{soon}"


# --- Watched ----------------------------------------------------------------------------------


def _watched(person: Person, filters: Filters, now: datetime) -> list[Lane]:
    """Return the open requests the reader may see and is not asked about, as one lane."""
    rows = _open_visible(person)
    if filters.q:
        rows = rows.filter(_matching(filters.q))
    if filters.after is not None:
        due_at, pk = filters.after
        rows = rows.filter(Q(due_at__gt=due_at) | Q(due_at=due_at, pk__gt=pk))
    found = list(rows.order_by("due_at", "pk")[: PAGE + 1])
    shown = found[:PAGE]
    if not shown:
        return []
    last = shown[-1]
    packets = _packets(shown, now)
    more = len(found) > PAGE and last.due_at is not None
    return [
        Lane(
            path="watching",
            sign=wording.PathSign("approval", "eye", "Watching", "Watching"),
            count=wording.capped(len(found), PAGE),
            hint="Open, and with somebody else",
            kept="",
            rows=tuple(_watched_row(packets[each.pk], person, now, filters) for each in shown),
            more=filters.query(after=cursor_of(last.due_at, last.pk))
            if more and last.due_at is not None
            else "",
        )
    ]


def _open_visible(person: Person) -> QuerySet[ActionRequest]:
    mine = Ask.objects.filter(step__request=OuterRef("pk"), person=person, due_at__isnull=False)
    return selectors.visible_to(person).filter(~Exists(mine), due_at__isnull=False)


def _watched_row(packet: Packet, person: Person, now: datetime, filters: Filters) -> Row:
    request = packet.request
    who = story.waits_for(packet, reader=person)
    with_whom = f"With {who}" if who else request.get_state_display()
    row = _row(packet, person, now, filters)
    sub = " · ".join(part for part in (with_whom, row.sub) if part)
    step = packet.waiting
    opened_at = step.opened_at if step else request.approved_at or request.submitted_at
    return Row(
        **{name: getattr(row, name) for name in ("ref", "title", "amount", "currency", "passed", "selected")},
        sub=sub, level=row.level, due_at=request.due_at, opened_at=opened_at,
    )  # fmt: skip


# --- What left the list, what was told, and what stands around --------------------------------


def _gone(person: Person, known: str, rows: Sequence[Row], now: datetime) -> list[Row]:
    """Return the rows the page still shows that no longer belong in the list, with their last words."""
    here = {row.ref for row in rows}
    refs = [ref for ref in known.split(",")[:KNOWN_MAX] if _REF.fullmatch(ref) and ref not in here]
    if not refs:
        return []
    zone = zone_of(person)
    requests = list(selectors.visible_to(person).filter(ref__in=refs))
    found = []
    for packet in packets_of(requests, now=now):
        request = packet.request
        still = any(ask.person_id == person.pk for ask in packet.asked)
        words = (
            "Still with you, further down"
            if still
            else story.became(packet, reader=person, now=now, zone=zone)
        )
        last = packet.steps[-1] if packet.steps else None
        found.append(
            Row(
                ref=request.ref, title=story.title_of(request), sub="",
                level=last.level if last else None, amount=request.amount,
                currency=request.currency, due_at=None, opened_at=None, passed="", ended=words,
            )
        )  # fmt: skip
    return found


def _told(person: Person, now: datetime) -> dict[str, Any]:
    notices = list(selectors.unseen_notices(person).filter(kind=Notice.Kind.TOLD)[: TOLD_SHOWN + 1])
    ids = [notice.request_id for notice in notices]
    decided = {
        each.request_id: each
        for each in Decision.objects.filter(request__in=ids).select_related("person").order_by("at")
    }
    return {
        "items": [
            _one_told(each, decided.get(each.request_id or 0)) for each in notices[:TOLD_SHOWN]
        ],
        "more": len(notices) > TOLD_SHOWN,
        "upto": notices[0].pk if notices else 0,
        "since": notices[:TOLD_SHOWN][-1].pk if notices else 0,
    }


def _one_told(notice: Notice, decision: Decision | None) -> Told:
    request, what = notice.request, str(notice.facts.get("what", ""))
    if request is None:
        text, page = str(notice.facts["text"]), str(notice.facts["page"])
        return Told(url=page, title="", words=text, at=notice.created_at, good=False)
    by = f"{decision.person} " if decision is not None else ""
    note = wording.plain(decision.note, 160) if decision is not None and decision.note else ""
    words = {
        "approved": f"{by}approved it" if by else "It was approved",
        "rejected": f"{by}rejected it" if by else "It was rejected",
        "rejected_in_silence": "Too few said yes after the no, so it stands",
        "expired": "Nobody decided, and it was closed",
        "lapsed": "Approved, and nothing began it in time, so it was closed",
        "withdrawn": "The agent withdrew it",
        "answered": "The agent answered what you asked it",
        "blocked": "It breaks a rule, so it is blocked until compliance has ruled",
        "violation_joined": "Another report came in on the violation you are asked about",
        "violation_after": "It broke a rule and had ended, so a review was opened",
        "denied": "Compliance denied it",
        "denied_in_silence": "It broke a rule, and compliance did not answer, so it was denied",
        "change_requested": "Compliance asked for a change, so it ended",
        "waived": "Compliance let it pass, and it goes on where it stood",
        "passed_over": "You were passed over, and somebody else was asked",
        "held": "Another request wants the same record, so it is held",
        "joined": "Another request joined the conflict you are asked about",
        "refused": "The owner of its record ruled against it",
        "queued_in_vain": "It waited for its record in vain, and was closed",
        "basis_changed": "Its record may have changed since its approval, so it was closed",
        "failed": "The target did not take it in time, so it was closed",
        "recovered": "The target failed, and it was carried out all the same",
        "rolled_back": "What was done of it was undone",
        "stranded": "It is half done and could not be undone: people clean it up",
        "rollback_waits": "A rollback was ordered and waits for a second person",
        "rollback_confirmed": "The rollback you ordered was confirmed",
        "rollback_lapsed": "Nobody confirmed the rollback you ordered, so it lapsed",
    }.get(what, "Something changed")
    return Told(
        url=reverse("approvals:request", args=[request.ref]),
        title=story.title_of(request),
        words=f"{words}: “{note}”" if note and what in ("approved", "rejected") else words,
        at=notice.created_at,
        good=what == "approved",
    )


def _empty(person: Person, filters: Filters, now: datetime) -> dict[str, str]:
    url = reverse("approvals:inbox")
    if filters.q:
        return {
            "title": f"Nothing matches “{filters.q}”",
            "text": "Looked at titles, references, amounts and what is asked for.",
            "url": f"{url}?{filters.query(q='', lane='', after='')}".rstrip("?"),
            "link": "Show everything that waits",
        }
    if filters.watching:
        return {
            "title": "Nothing is open that you may see",
            "text": "Requests you were asked about stay here until they end.",
            "url": url,
            "link": "See what is asked of you",
        }
    return {
        "title": "You are up to date",
        "text": f"{_meanwhile(person, now)} New requests appear here by themselves.",
        "url": f"{url}?view=watching",
        "link": "See what is open with others",
    }


def _meanwhile(person: Person, now: datetime) -> str:
    """Say what happened today in the reader's zone, counted from the rows."""
    today = now.astimezone(zone_of(person)).replace(hour=0, minute=0, second=0, microsecond=0)
    own = Decision.objects.filter(person=person, at__gte=today)
    mine = own[:COUNTED].count()
    ended = selectors.visible_to(person).filter(Q(ended_at__gte=today) | Q(approved_at__gte=today))
    others = ended.exclude(pk__in=own.values("request"))[:COUNTED].count()
    you = (
        f"You decided {_counted(mine, 'request')} today."
        if mine
        else "You have decided nothing yet today."
    )
    if not others:
        return you
    were = "was" if others == 1 else "were"
    return f"{you} {_counted(others, 'other')} you know of {were} decided by colleagues, or ended."


def _counted(count: int, noun: str) -> str:
    plural = wording.plural(count, noun)
    return f"{COUNTED - 1}+ {noun}s" if count >= COUNTED else plural
