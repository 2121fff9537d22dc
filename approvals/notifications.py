"""The outbox: takes notices that are due, sends them, and writes down what came of it.

Each is put off before it is tried, in a transaction of its own; then sent with no
transaction open; then marked. A worker that dies between sending and marking
leaves a notice that is sent again, with the same Message-ID or webhook-id. All
that a notice says is read again at each try: what is no longer true is dropped.
"""

from __future__ import annotations

import logging
import queue
import random
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial

from django.db import InterfaceError, OperationalError, transaction
from django.db.models import Exists, OuterRef, Q, QuerySet

from approvals.channels import ChannelDown, NotTaken, Refused, Unsendable, chat, mail, webhook
from approvals.channels.words import words_for
from approvals.locks import lock_request
from approvals.models import ActionRequest, Ask, Notice
from approvals.services.alerts import close_in, raise_in
from governance import actors, bulk, logs, wording
from governance.claims import claim
from governance.ledger import Act
from governance.models import ContactChannel
from governance.reads import NOW, Given, Read
from governance.vocabulary import Chain

logger = logging.getLogger("recourse.notices")

ACTOR = "courier"
AT_ONCE = 16  # sent side by side, so that a slow receiver holds up nobody else
PATIENCE_S = 15.0  # then whoever has not answered is left behind, and tried again
LEASE_S = 60.0  # while one courier tries a notice, no other takes it
FIRST_WAIT_S, LONGEST_WAIT_S = 5.0, 600.0
TRIES = 8  # about ten minutes
WEBHOOK_TRIES = 12  # about fifty minutes
JITTER = 0.2  # so that what failed together is not tried together
ERROR_LENGTH = 300  # of Notice.last_error

Technical = Callable[[float], timedelta]  # real seconds in, business span out: clock.technical
Send = Callable[[], None]
N = Notice.State
ENDED = {
    N.DELIVERED: "notice.delivered",
    N.DROPPED: "notice.dropped",
    N.REFUSED: "notice.refused",
    N.FAILED: "notice.failed",
}


class _OutOfTries(NotTaken):
    """It was taken up as often as it may be, and never came to an end."""


class _Untrue(Exception):
    """What the notice says is no longer so, or nobody is there to read it."""


@dataclass(frozen=True)
class _Try:
    """One notice as it was when it was put off: what marking it is about."""

    pk: int
    attempt: int
    ref: str | None
    via: str
    address: str  # of a person's channel; blank for the rest


@dataclass(frozen=True)
class _Answer:
    """What came of one try."""

    of: _Try
    host: str  # whom to call if it is down; blank where it never came so far
    problem: Exception | None


def real_seconds(seconds: float) -> timedelta:
    """Return the span itself: business time runs as the wall's, outside the demo."""
    return timedelta(seconds=seconds)


def deliver_due(
    *,
    now: datetime,
    limit: int = 100,
    technical: Technical = real_seconds,
    signed_at: datetime | None = None,
) -> int:
    """Try the notices that are due: deliver them, drop them, or put them off.

    Safe to run from any number of processes at once. Call it outside any
    transaction: it makes its own, and none is open while it sends.

    Args:
        now: business time.
        limit: of notices taken up in this call.
        technical: gives the business span of real seconds; `clock.technical` at the edge.
        signed_at: real time, for webhooks' signatures; `now` by default.

    Returns how many notices were taken up; 0 means that none was due.
    """
    taken = 0
    while taken < limit:
        tries = _put_off(now=now, limit=min(AT_ONCE, limit - taken), technical=technical)
        if not tries:
            break
        taken += len(tries)
        _deliver(tries, now=now, technical=technical, signed_at=signed_at or now)
    return taken


def due_notices(now: datetime | Given) -> QuerySet[Notice]:
    """Return the notices that may be tried now.

    Webhooks of one request go strictly by number: a higher one waits until the
    lower ones are delivered or given up.
    """
    lower = Notice.objects.filter(
        request=OuterRef("request"),
        via=Notice.Via.WEBHOOK,
        number__lt=OuterRef("number"),
        next_attempt_at__isnull=False,
    )
    out_of_turn = Q(via=Notice.Via.WEBHOOK) & Exists(lower)
    return Notice.objects.filter(next_attempt_at__lte=now).exclude(out_of_turn)


read_first_due = Read(lambda: due_notices(NOW).values_list("pk")[:1])


def wait_s(attempt: int, *, spread: float) -> float:
    """Return the real seconds to wait after try number `attempt`: 5, 10, 20 … at most 600.

    Args:
        spread: -1.0 to 1.0; moves the wait by up to a fifth.
    """
    return min(FIRST_WAIT_S * 2.0 ** (attempt - 1), LONGEST_WAIT_S) * (1 + JITTER * spread)


@transaction.atomic
def _put_off(*, now: datetime, limit: int, technical: Technical) -> list[_Try]:
    due = due_notices(now).order_by("next_attempt_at", "pk")
    # People first: an agent's receiver, however slow and however many, delays no ask.
    taken = claim(due.exclude(via=Notice.Via.WEBHOOK), limit=limit)
    if len(taken) < limit:
        taken += claim(due.filter(via=Notice.Via.WEBHOOK), limit=limit - len(taken))
    for notice in taken:
        notice.attempts += 1
        notice.next_attempt_at = now + technical(max(LEASE_S, _wait_s(notice.attempts)))
    bulk.save_differing(
        Notice, taken, ["attempts", "next_attempt_at"], expecting=("state", N.WAITING)
    )
    return list(_tries(taken))


def _tries(taken: Sequence[Notice]) -> Iterator[_Try]:
    refs = dict(
        ActionRequest.objects.filter(pk__in={each.request_id for each in taken}).values_list(
            "pk", "ref"
        )
    )
    addresses = dict(
        ContactChannel.objects.filter(pk__in={each.channel_id for each in taken}).values_list(
            "pk", "address"
        )
    )
    for each in taken:
        ref = None if each.request_id is None else refs[each.request_id]
        address = addresses.get(each.channel_id or 0, "")
        yield _Try(each.pk, each.attempts, ref, each.via, address)


# --- Sending -----------------------------------------------------------------------------------


def _deliver(
    tries: Sequence[_Try], *, now: datetime, technical: Technical, signed_at: datetime
) -> None:
    """Send all of these side by side, and mark each as its answer comes in."""
    answers: queue.SimpleQueue[_Answer] = queue.SimpleQueue()
    waiting = {each.pk: _Answer(each, "", None) for each in tries}
    rows = Notice.objects.select_related(
        "request__action_type", "request__agent", "request__department", "request__on_behalf_of",
        "ask__step", "person", "channel",
    ).in_bulk(list(waiting))  # fmt: skip
    for each in tries:
        try:
            host, send = _ready(rows[each.pk], each, now=now, signed_at=signed_at)
        except (OperationalError, InterfaceError):
            raise  # the database is away, which is no notice's fault
        except Exception as problem:  # noqa: BLE001 - whatever it is, it ends in this notice's row
            answers.put(_Answer(each, "", problem))
            continue
        late = ChannelDown(f"No answer within {PATIENCE_S:g} s.", code="none")
        waiting[each.pk] = _Answer(each, host, late)
        threading.Thread(target=_try, args=(send, each, host, answers), daemon=True).start()
    deadline = time.monotonic() + PATIENCE_S
    unmarked: Exception | None = None
    while waiting:
        try:
            answer = answers.get(timeout=max(deadline - time.monotonic(), 0))
        except queue.Empty:
            answer = next(iter(waiting.values()))  # whose problem is that it is late
        if waiting.pop(answer.of.pk, None) is None:
            continue  # it was given up a moment ago
        try:
            with logs.about(**({"ref": answer.of.ref} if answer.of.ref else {})):
                _mark(answer, now=now, technical=technical)
        except Exception as problem:  # noqa: BLE001 - raised below, once its neighbours are marked
            unmarked = problem
    if unmarked is not None:
        raise unmarked


def _try(send: Send, each: _Try, host: str, answers: queue.SimpleQueue[_Answer]) -> None:
    try:
        send()
    except Exception as problem:  # noqa: BLE001 - handed to the courier, who writes it down
        answers.put(_Answer(each, host, problem))
    else:
        answers.put(_Answer(each, host, None))


def _ready(notice: Notice, each: _Try, *, now: datetime, signed_at: datetime) -> tuple[str, Send]:
    """Read what the notice has to say; return its host and what sends it. The last look before it goes out."""
    if each.attempt > _tries_of(notice.via):
        raise _OutOfTries("The courier never came back from trying it.", code="lost")
    if notice.via == Notice.Via.INBOX:
        return "", lambda: None  # the row itself is the message
    if notice.via == Notice.Via.WEBHOOK:
        return _ready_hook(notice, signed_at=signed_at)
    person, channel = notice.person, notice.channel
    if notice.ask is not None and notice.ask.due_at is None:
        raise _Untrue("This person is no longer asked.")
    if person is None or not person.is_active:
        raise _Untrue("This person is not here any more.")
    if channel is None or channel.confirmed_at is None or channel.person_id != person.pk:
        raise _Untrue("This channel was taken away.")
    if channel.urgent_only and not notice.urgent:
        raise _Untrue("This channel is for what is urgent.")
    if channel.refused_at is not None:
        raise Refused("This address has refused before.", code="refused-before")
    words = words_for(notice, now=now)
    if notice.via == Notice.Via.EMAIL:
        return mail.host(), partial(mail.send, mail.mail(notice, words, to=channel.address))
    host = chat.host_of(channel.address)
    return host, partial(chat.send, chat.chat(words, address=channel.address))


def _ready_hook(notice: Notice, *, signed_at: datetime) -> tuple[str, Send]:
    request = notice.request
    if request is None or notice.number is None:
        raise ValueError(f"notice {notice.pk} is a webhook about nothing")
    gone = request.notices.filter(via=Notice.Via.WEBHOOK, state=N.REFUSED)
    if gone.exists():
        raise _Untrue("The receiver said that it is gone.")
    message = webhook.hook(
        agent=request.agent,
        url=request.callback_url,
        ref=request.ref,
        number=notice.number,
        state=notice.facts["state"],
        reason=notice.facts["reason"],
        question=notice.facts.get("question"),
        at=notice.created_at,
    )
    return webhook.host_of(message.url), partial(webhook.send, message, signed_at=signed_at)


# --- Writing down what came of it ---------------------------------------------------------------


@transaction.atomic
def _mark(answer: _Answer, *, now: datetime, technical: Technical) -> None:
    each, problem = answer.of, answer.problem
    request = lock_request(each.ref) if each.ref is not None else None
    rows = Notice.objects.select_related("person").select_for_update(no_key=True, of=("self",))
    notice = rows.get(pk=each.pk)
    if notice.state != N.WAITING:
        return  # a courier that took it over has marked it
    if problem is not None and notice.attempts != each.attempt:
        return  # taken over, and being tried again: that try's outcome counts
    act = Act(now=now, actor=ACTOR)
    if problem is None:
        _delivered(notice, request, act)
    elif isinstance(problem, _Untrue):
        _end(notice, N.DROPPED, str(problem), request, act)
    elif isinstance(problem, Refused):
        _refused(notice, each, problem, request, act)
    else:
        _not_taken(notice, each, problem, request, act, technical)
    notice.save(update_fields=["state", "next_attempt_at", "delivered_at", "last_error"])
    if request is not None:
        bulk.save_alike(ActionRequest, [request], ["chain_length", "chain_hash"])
    _sound_alarms(notice, answer, request, act)
    act.write()


def _delivered(notice: Notice, request: ActionRequest | None, act: Act) -> None:
    notice.delivered_at = act.now
    _end(notice, N.DELIVERED, "", request, act)
    if notice.ask_id is not None:
        first = Ask.objects.filter(pk=notice.ask_id, delivered_at__isnull=True)
        first.update(delivered_at=act.now)


def _refused(
    notice: Notice, each: _Try, problem: Refused, request: ActionRequest | None, act: Act
) -> None:
    _end(notice, N.REFUSED, problem.reason, request, act, code=problem.code)
    reason = wording.plain(problem.reason, ERROR_LENGTH)
    # Only if it is still the address that was tried, and only the first time.
    channel = ContactChannel.objects.filter(
        notices=notice, address=each.address, refused_at__isnull=True
    )
    if channel.update(refused_at=act.now, refused_reason=reason):
        act.record_named(
            Chain.PEOPLE, "channel.refused", channel=notice.channel_id,
            person=_whom(notice), code=problem.code,
        )  # fmt: skip


def _not_taken(
    notice: Notice,
    each: _Try,
    problem: Exception,
    request: ActionRequest | None,
    act: Act,
    technical: Technical,
) -> None:
    if not isinstance(problem, NotTaken):
        logger.error("notice %s could not be sent", notice.pk, exc_info=problem)
    reason, code = _said(problem)
    may_go_on = not isinstance(problem, Unsendable | _OutOfTries)
    if may_go_on and each.attempt < _tries_of(notice.via):
        notice.last_error = reason
        notice.next_attempt_at = act.now + technical(_wait_s(each.attempt))
        return
    _end(notice, N.FAILED, reason, request, act, code=code)


def _end(
    notice: Notice,
    state: Notice.State,
    reason: str,
    request: ActionRequest | None,
    act: Act,
    **facts: str,
) -> None:
    notice.state = state
    notice.next_attempt_at = None
    notice.last_error = wording.plain(reason, ERROR_LENGTH)
    facts_of_it = {
        "notice": notice.pk, "kind": notice.kind, "via": notice.via, "attempts": notice.attempts,
        "person": _whom(notice), "number": notice.number, **facts,
    }  # fmt: skip
    told = {key: value for key, value in facts_of_it.items() if value is not None}
    if request is not None:
        act.record(request, ENDED[state], **told)
    else:
        act.record_named(Chain.SYSTEM, ENDED[state], **told)


def _sound_alarms(notice: Notice, answer: _Answer, request: ActionRequest | None, act: Act) -> None:
    """Raise and close what an operator must see. Before the ledger, whose heads are the last rows to be locked."""
    key = f"{notice.via}/{answer.host}"
    if answer.problem is None and answer.host:
        close_in(act, kind="channel-down", key=key)
    if isinstance(answer.problem, ChannelDown):
        text = f"{key}: {answer.problem.reason}"
        raise_in(act, kind="channel-down", key=key, text=text)
    if notice.state == N.FAILED:
        to = f" to {notice.person}" if notice.person else ""
        text = f"A message{to} was not delivered ({notice.via}): {notice.last_error}"
        # An alert that is not delivered raises one more alert, never one for each alert of alerts.
        key = "alerts" if notice.kind == Notice.Kind.ALERT else f"notice {notice.pk}"
        raise_in(act, kind="notice.failed", key=key, text=text, request=request)


def _said(problem: Exception) -> tuple[str, str]:
    if isinstance(problem, NotTaken):
        return wording.plain(problem.reason, ERROR_LENGTH), problem.code
    name = type(problem).__name__  # its message may hold what must not be shown
    return f"It could not be written or sent: {name}. This is a defect.", name


def _whom(notice: Notice) -> str | None:
    return actors.person(notice.person) if notice.person else None


def _tries_of(via: str) -> int:
    return WEBHOOK_TRIES if via == Notice.Via.WEBHOOK else TRIES


def _wait_s(attempt: int) -> float:
    return wait_s(attempt, spread=random.uniform(-1, 1))  # noqa: S311 - jitter is no secret
