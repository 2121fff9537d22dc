"""Duties with a clock that silence never closes. Source: DESIGN 2.2.

This opens them and says who may look at one; `findings` and `cleanups` close
them, `approvals.review_sweeps` keeps their clocks.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db import transaction
from django.db.models import Count, Q

from approvals import notifying
from approvals.locks import lock_request
from approvals.models import ActionRequest, Ask, Decision, Review
from approvals.services import alerts
from approvals.services.writes import Writes
from governance import actors, tables
from governance.errors import NotFound, NotNow, NotYours, Unprocessable
from governance.ledger import Act
from governance.models import Person
from governance.routing import People, is_independent
from governance.vocabulary import Duty

DUE_WITHIN = timedelta(hours=48)
REMIND_AFTER = timedelta(hours=24)
AGAIN_WITHIN = timedelta(hours=24)  # once overdue, for each level of management
REASON_LENGTH = 4000
COMPLETED = (ActionRequest.State.COMPLETED, ActionRequest.State.COMPLETED_MANUALLY)
NOTHING_STORED = "Nothing was recorded."


@dataclass(frozen=True, slots=True)
class Around:
    """Everybody who matters to a request's reviews, by primary key.

    Attributes:
        reviewers: those whom the request's policy names, in its order.
        chain: who was asked or decided, owns the agent, or is whom it acted for.
        bypassers: who overrode others on it.
        people: the reviewers, `also`, and the reporting lines above them.
    """

    reviewers: tuple[int, ...]
    chain: frozenset[int]
    bypassers: frozenset[int]
    people: People

    def why_not(self, person: int) -> str | None:
        """Return why somebody may not review it, completing "You …" or a name, or None if they may."""
        if person in self.bypassers:
            return "overrode others here, so somebody else reviews it"
        if person in self.chain:
            return "had a part in this request, so somebody else reviews it"
        for bypasser in self.bypassers:
            if not is_independent(person, of=bypasser, people=self.people):
                return "stands below whoever overrode others here, so somebody else reviews it"
        candidate = self.people.by_pk.get(person)
        if candidate is None or not candidate.enabled:
            return "is disabled"
        return None


def around(request: ActionRequest, *, now: datetime, also: Collection[int] = ()) -> Around:
    """Return the people around a request's reviews as they are now, in a fixed number of queries.

    Args:
        request: with `agent` loaded.
        also: primary keys of others who may have to look at it.
    """
    reviewers = tables.policy(request.policy_id).reviewers
    asked = Ask.objects.filter(step__request=request, asked_at__isnull=False)
    decided = list(Decision.objects.filter(request=request).values_list("person_id", "is_bypass"))
    chain = set(asked.values_list("person_id", flat=True)) | {person for person, _ in decided}
    chain |= {request.agent.owner_id}
    if request.on_behalf_of_id is not None:
        chain.add(request.on_behalf_of_id)
    return Around(
        reviewers=reviewers,
        chain=frozenset(chain),
        bypassers=frozenset(person for person, is_bypass in decided if is_bypass),
        people=tables.people_for((), also={*reviewers, *also}, now=now),
    )


def open_review(
    writes: Writes,
    act: Act,
    request: ActionRequest,
    kind: Review.Kind,
    reason: str,
    *,
    bypasser: int | None = None,
    replaced: int = 0,
    opened_by: Person | None = None,
) -> Review:
    """Have somebody independent look at what was done. The request's row is locked by the caller.

    Args:
        bypasser: who overrides others by the decision that this review is about, by primary
            key; their decision is not stored yet.
        replaced: how many signatures of others that one stands for.
        opened_by: the auditor who wants it looked at, if one does.
    """
    found = around(request, now=act.now)
    if bypasser is not None:
        found = Around(found.reviewers, found.chain, found.bypassers | {bypasser}, found.people)
    asked = whom_to_ask(found)
    review: Review = Review(
        request=request,
        kind=kind,
        reason=reason,
        opened_at=act.now,
        opened_by=opened_by,
        signatures_replaced=replaced,
        due_at=act.now + DUE_WITHIN,
        remind_at=act.now + REMIND_AFTER,
        asked_id=asked,
    )
    writes.reviews.append(review)
    who = f"person:{found.people.by_pk[asked].username}" if asked is not None else None
    act.record(
        request, "review.opened", review=kind, due_at=review.due_at, asked=who, reason=reason,
        replaced=replaced,
    )  # fmt: skip
    if asked is None:
        writes.alerts.append(alerts.no_reviewer(request, now=act.now))
    else:
        notifying.told(writes, {asked}, request, found.people, what="review_asked", now=act.now)
    return review


def whom_to_ask(found: Around) -> int | None:
    """Return the independent reviewer who is here and has least to look at; one who is away before nobody."""
    may = [pk for pk in found.reviewers if found.why_not(pk) is None]
    if not may:
        return None
    open_ = Review.objects.filter(asked__in=may, state=Review.State.OPEN)
    load = dict(open_.values_list("asked").annotate(Count("pk")).order_by())

    def place(pk: int) -> tuple[bool, bool, int, int]:
        person = found.people.by_pk[pk]
        away = person.away_until is not None
        return away, not person.reachable, load.get(pk, 0), found.reviewers.index(pk)

    return min(may, key=place)


# --- Who ---


def may_see(person: Person) -> Q:
    """Return which reviews a person may see: auditors and compliance all, others those they were asked about."""
    if not person.is_active:
        return Q(pk__in=[])
    if person.is_superuser or person.has_duty(Duty.AUDITOR, Duty.COMPLIANCE):
        return Q()
    return Q(asked=person) | Q(closed_by=person) | Q(second_person=person)


def why_not_find(review: Review, actor: Person, found: Around) -> str | None:
    """Return why somebody may not record a finding, said to them, or None if they may."""
    if not actor.is_active:
        return "This account is disabled."
    if review.asked_id != actor.pk and actor.pk not in found.reviewers:
        return "You are not asked to review this."
    obstacle = found.why_not(actor.pk)
    return None if obstacle is None else f"You {second_person(obstacle)}."


def second_person(words: str) -> str:
    """Turn "stands below …" into words to that person."""
    first, _, rest = words.partition(" ")
    verb = {"stands": "stand", "is": "are"}.get(first, first)
    return f"{verb} {rest}"


def lock_review(pk: int) -> tuple[ActionRequest, Review]:
    """Lock the request that a review is about, and its Resource; then read the review.

    Raises NotFound.
    """
    ref = Review.objects.filter(pk=pk).values_list("request__ref", flat=True).first()
    if ref is None:
        raise NotFound("There is no such review.")
    request = lock_request(ref, and_resource=True)
    review: Review = Review.objects.select_related("asked", "closed_by").get(pk=pk)
    review.request = request
    return request, review


def checked_words(text: str, *, why: str) -> str:
    """Return what somebody wrote without space around it. Raises Unprocessable if nothing is left, or too much."""
    text = text.strip()
    if not text:
        raise Unprocessable(f"{why} {NOTHING_STORED}")
    if len(text) > REASON_LENGTH:
        raise Unprocessable(f"Keep it under {REASON_LENGTH:,} characters. {NOTHING_STORED}")
    return text


# --- Looking at what nobody complained of ---


@transaction.atomic
def open_spot_check(*, ref: str, actor: Person, reason: str, now: datetime) -> Review:
    """Have a request that was completed looked at. An auditor may, on any; one at a time.

    Raises:
        NotYours: the actor is no auditor.
        NotNow: it is not completed, or one stands open.
        Unprocessable: no reason.
    """
    reason = checked_words(reason, why="Say what you want looked at.")
    if not actor.has_duty(Duty.AUDITOR):
        raise NotYours(f"An auditor opens spot checks. {NOTHING_STORED}")
    request = lock_request(ref)
    if request.state not in COMPLETED:
        raise NotNow(
            f"{ref} is {request.get_state_display().lower()}: only what was completed is spot-checked. "
            f"{NOTHING_STORED}"
        )
    kind = Review.Kind.SPOT_CHECK
    if Review.objects.filter(request=request, kind=kind, state=Review.State.OPEN).exists():
        raise NotNow(f"A spot check of {ref} is open already. {NOTHING_STORED}")
    act = Act(now=now, actor=actors.person(actor))
    writes = Writes(acts=[act])
    review = open_review(writes, act, request, kind, reason, opened_by=actor)
    keep_chain(request, writes)
    return review


def keep_chain(request: ActionRequest, writes: Writes) -> None:
    """Write what was recorded about a request that does not move by it."""
    request.save(update_fields=["chain_length", "chain_hash"])
    writes.save()


def bypassers_of(review: Review) -> Sequence[Person]:
    """Return who overrode others by the decision that a review is about."""
    decisions = Decision.objects.filter(review=review, is_bypass=True).select_related("person")
    return [each.person for each in decisions]
