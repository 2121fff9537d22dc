"""Who may take the evidence of a request or a review away, and the record of it."""

from __future__ import annotations

from datetime import datetime

from django.db import transaction

from approvals.locks import lock_request
from approvals.models import ActionRequest, Review
from approvals.pack_parts import subject_of_request, subject_of_review
from approvals.services.reviews import lock_review, may_see
from governance import actors
from governance.errors import NotFound, NotYours
from governance.evidence import Subject
from governance.ledger import Act
from governance.models import Person
from governance.vocabulary import Duty

MAY_TAKE_ALL = (Duty.AUDITOR, Duty.COMPLIANCE)
BY_COMMAND = "manage.py"  # the actor, where somebody at the machine makes one


def may_take(person: Person) -> bool:
    """Whether somebody may have the evidence of any request: auditors and compliance."""
    return person.has_duty(*MAY_TAKE_ALL)


@transaction.atomic
def pack_request(*, ref: str, actor: Person | None, now: datetime) -> Subject:
    """Record that a pack of a request is made, and return what it is about. The caller builds it.

    Args:
        actor: None for whoever works at the machine itself.

    Raises:
        NotYours: the actor is neither an auditor nor of compliance.
        NotFound: there is no such request.
    """
    if actor is not None and not may_take(actor):
        raise NotYours("Auditors and compliance take evidence of requests. Nothing was made.")
    request = lock_request(ref)
    _record(request, None, actor, now)
    return subject_of_request(request)


@transaction.atomic
def pack_review(*, review: int, actor: Person | None, now: datetime) -> Subject:
    """Record that a pack of a review is made: for whom may see the review. As for a request.

    Raises NotFound: there is no such review, or it is not theirs to see.
    """
    seen = Review.objects.filter(pk=review)
    if actor is not None and not seen.filter(may_see(actor)).exists():
        raise NotFound("There is no such review.")
    request, found = lock_review(review)
    _record(request, found, actor, now)
    return subject_of_review(found)


def _record(
    request: ActionRequest, review: Review | None, actor: Person | None, now: datetime
) -> None:
    act = Act(now=now, actor=BY_COMMAND if actor is None else actors.person(actor))
    facts = {} if review is None else {"review": review.pk, "of": review.kind}
    act.record(request, "evidence.packed", **facts)
    request.save(update_fields=["chain_length", "chain_hash"])
    act.write()
