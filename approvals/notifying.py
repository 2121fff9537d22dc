"""Puts what people and agents are to be told into the outbox; `approvals.notifications` delivers it.

Nothing here sends: rows go out with the act that they tell of, or not at all.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

from approvals.models import ActionRequest, Alert, Ask, Notice, Question
from approvals.services.writes import Writes
from governance import bulk, wording
from governance.models import ContactChannel
from governance.routing import Candidate, People

TEXT_LENGTH = 500
ALERTS_EACH = 5  # new alerts in one sweep that are told of one by one


def asked(
    writes: Writes,
    ask: Ask,
    request: ActionRequest,
    people: People,
    *,
    now: datetime,
    kind: Notice.Kind = Notice.Kind.ASKED,
) -> None:
    """Tell one person, through each of their channels, that they are asked, or are still asked."""
    _through_channels(writes, people.by_pk[ask.person_id], request, kind, ask=ask, now=now)


def told(
    writes: Writes,
    persons: Iterable[int],
    request: ActionRequest,
    people: People,
    *,
    what: str,
    now: datetime,
    **facts: Any,
) -> None:
    """Tell people how a request they know of went on: in their inbox, and through their channels."""
    for person in sorted(persons):
        facts = {"what": what, **facts}
        writes.notices.append(
            Notice(
                kind=Notice.Kind.TOLD,
                via=Notice.Via.INBOX,
                state=Notice.State.DELIVERED,
                request=request,
                person_id=person,
                facts=facts,
                created_at=now,
                delivered_at=now,
            )
        )
        _through_channels(
            writes, people.by_pk[person], request, Notice.Kind.TOLD, facts=facts, now=now
        )


def tell(persons: Iterable[int], *, text: str, page: str, now: datetime) -> None:
    """Tell people something that is about no request: in their inbox, and through their channels at once.

    Args:
        persons: primary keys.
        text: whole sentences; cut where it is too long for a message.
        page: the path at which they see more.
    """
    told = sorted(set(persons))
    usable = ContactChannel.objects.filter(
        person__in=told,
        confirmed_at__isnull=False,
        refused_at__isnull=True,
        urgent_only=False,
    )
    common: dict[str, Any] = {
        "kind": Notice.Kind.TOLD,
        "facts": {"text": wording.plain(text, TEXT_LENGTH), "page": page},
        "created_at": now,
    }
    bulk.insert(
        [
            Notice(
                via=Notice.Via.INBOX,
                state=Notice.State.DELIVERED,
                person_id=person,
                delivered_at=now,
                **common,
            )
            for person in told
        ]
        + [
            Notice(
                via=channel.kind,
                person_id=channel.person_id,
                channel=channel,
                next_attempt_at=now,
                **common,
            )
            for channel in usable.order_by("pk")
        ]
    )


def state_changed(writes: Writes, request: ActionRequest, *, now: datetime) -> None:
    """Tell the agent's callback, if it gave one, that the request is in another state."""
    if not request.callback_url:
        return
    writes.notices.append(
        Notice(
            kind=Notice.Kind.STATE,
            via=Notice.Via.WEBHOOK,
            request=request,
            number=request.state_seq,
            facts={"state": str(request.state), "reason": request.end_reason},
            created_at=now,
            next_attempt_at=now,
        )
    )


def question_asked(
    writes: Writes, request: ActionRequest, question: Question, *, now: datetime
) -> None:
    """Tell the agent's callback, if it gave one, that it is asked something. It reads what with the request."""
    if not request.callback_url:
        return
    writes.notices.append(
        Notice(
            kind=Notice.Kind.STATE,
            via=Notice.Via.WEBHOOK,
            request=request,
            number=request.state_seq,
            facts={
                "state": str(request.state),
                "reason": request.end_reason,
                "question": question.pk,
            },
            created_at=now,
            next_attempt_at=now,
        )
    )


def of_alerts(
    alerts: Sequence[Alert], channels: Sequence[ContactChannel], *, now: datetime
) -> None:
    """Tell operators of new alerts, one message each; of many, one message with their number."""
    many = len(alerts) > ALERTS_EACH
    texts = [(alert.text, alert.request) for alert in alerts]
    if many:
        texts = [(f"{len(alerts)} new alerts. The first: {alerts[0].text}", None)]
    bulk.insert(
        [
            Notice(
                kind=Notice.Kind.ALERT,
                via=channel.kind,
                request=request,
                person_id=channel.person_id,
                channel=channel,
                facts={"text": text},
                urgent=True,  # so that a pager for what is urgent takes it
                created_at=now,
                next_attempt_at=now,
            )
            for text, request in texts
            for channel in channels
        ]
    )


def _through_channels(
    writes: Writes,
    person: Candidate,
    request: ActionRequest,
    kind: Notice.Kind,
    *,
    now: datetime,
    ask: Ask | None = None,
    facts: dict[str, Any] | None = None,
) -> None:
    urgent = request.needed_by is not None
    for channel in person.channels:
        if channel.urgent_only and not urgent:
            continue
        writes.notices.append(
            Notice(
                kind=kind,
                via=channel.kind,
                request=request,
                ask=ask,
                person_id=person.pk,
                channel_id=channel.pk,
                facts=facts or {},
                urgent=urgent,
                created_at=now,
                next_attempt_at=now,
            )
        )
