"""Somebody looked. Kept because "delivered, and not seen" and "seen, and not answered" are different silences."""

from __future__ import annotations

from datetime import datetime

from django.db import transaction

from approvals.locks import lock_request
from approvals.models import Ask, Notice
from governance import actors
from governance.ledger import Act
from governance.models import Person
from governance.vocabulary import Chain

REFS_KEPT = 20  # in the record of one look at many notices


@transaction.atomic
def see_request(*, ref: str, actor: Person, now: datetime) -> bool:
    """Keep that a person who is asked has seen the request, and what they were told of it.

    Idempotent: the first look counts, later ones change nothing. Somebody who
    is not asked leaves no trace. Returns whether anything was kept.

    Raises NotFound: there is no such request.
    """
    request = lock_request(ref)
    unseen = Ask.objects.filter(
        step__request=request, person=actor, due_at__isnull=False, seen_at__isnull=True
    ).select_related("step")
    told = Notice.objects.filter(
        request=request, person=actor, via=Notice.Via.INBOX, seen_at__isnull=True
    ).update(seen_at=now)
    act = Act(now=now, actor=actors.person(actor))
    looked = list(unseen)
    for ask in looked:
        ask.seen_at = now
        ask.save(update_fields=["seen_at"])
        act.record(request, "ask.seen", path=ask.step.path, level=ask.step.level)
    if told:
        act.record(request, "notice.seen", count=told)
    if looked or told:
        request.save(update_fields=["chain_length", "chain_hash"])
        act.write()
    return bool(looked or told)


@transaction.atomic
def see_notices(*, actor: Person, since: int, upto: int, now: datetime) -> int:
    """Keep that a person has seen what the inbox told them, from one notice to another, by primary key.

    Idempotent. Returns how many were not seen before.
    """
    unseen = Notice.objects.filter(
        person=actor, via=Notice.Via.INBOX, seen_at__isnull=True, pk__gte=since, pk__lte=upto
    )
    about = unseen.filter(request__isnull=False).order_by("-pk")
    refs = list(about.values_list("request__ref", flat=True)[:REFS_KEPT])
    count = unseen.update(seen_at=now)
    if count:
        act = Act(now=now, actor=actors.person(actor))
        act.record_named(Chain.PEOPLE, "notices.seen", count=count, requests=refs)
        act.write()
    return count
