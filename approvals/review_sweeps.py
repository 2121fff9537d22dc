"""The clocks of reviews: a reminder at half time, and overdue a level of management higher, again and again.

Silence never closes one. At the top of the reporting line it stays where it is,
and is told of anew each day.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta

from django.db import transaction
from django.db.models import Exists, OuterRef, Q, QuerySet

from approvals import notifying
from approvals.batches import in_halves
from approvals.models import ActionRequest, Review
from approvals.services.alerts import close_alert, raise_alert, review_overdue
from approvals.services.reviews import AGAIN_WITHIN, around, whom_to_ask
from approvals.services.writes import Writes
from governance import actors, ladder
from governance.claims import claim
from governance.ledger import Act
from governance.reads import NOW, Read
from governance.routing import Candidate

BATCH = 500
OPEN = Q(state=Review.State.OPEN)


def _to_remind() -> QuerySet[Review]:
    rows: QuerySet[Review] = Review.objects.filter(
        OPEN, remind_at__isnull=False, remind_at__lte=NOW
    )
    return rows


def _overdue() -> QuerySet[Review]:
    rows: QuerySet[Review] = Review.objects.filter(OPEN, due_at__lte=NOW)
    return rows


read_to_remind = Read(
    lambda: _to_remind().order_by("remind_at", "pk").values_list("request")[:BATCH]
)
read_overdue = Read(lambda: _overdue().order_by("due_at", "pk").values_list("request")[:BATCH])


def remind_reviewers(*, now: datetime, limit: int = BATCH) -> int:
    """Remind whoever was asked to review, once, at half time. Returns how many requests had such a review."""
    found = list(dict.fromkeys(pk for (pk,) in read_to_remind(now=now)))[:limit]
    due = Q(remind_at__isnull=False, remind_at__lte=now)
    return _each(found, due, _remind, sweep="remind_reviewers", now=now)


def climb_overdue_reviews(*, now: datetime, limit: int = BATCH) -> int:
    """Ask whoever stands above those who did not review in time. Returns how many requests had such a review.

    The clock starts again at the instant it ran out; after an outage at `now`.
    """
    found = list(dict.fromkeys(pk for (pk,) in read_overdue(now=now)))[:limit]
    due = Q(due_at__lte=now)
    return _each(found, due, _climb, sweep="climb_overdue_reviews", now=now)


def _each(
    pks: Sequence[int],
    due: Q,
    move: Callable[[Review, Writes, Act], None],
    *,
    sweep: str,
    now: datetime,
) -> int:
    @transaction.atomic
    def work(pks: Sequence[int]) -> int:
        reviews = Review.objects.filter(OPEN, due, request=OuterRef("pk"))
        still = ActionRequest.objects.filter(Exists(reviews), pk__in=pks).select_related("agent")
        writes = Writes()
        requests = claim(still.order_by("pk"), limit=len(pks))
        for request in requests:
            act = Act(now=now, actor=actors.CLOCK)
            writes.acts.append(act)
            for review in Review.objects.filter(OPEN, due, request=request).order_by("pk"):
                review.request = request
                move(review, writes, act)
            request.save(update_fields=["chain_length", "chain_hash"])
        writes.save()
        return len(requests)

    return in_halves(pks, work, sweep=sweep, now=now)


def _remind(review: Review, writes: Writes, act: Act) -> None:
    review.remind_at = None
    review.save(update_fields=["remind_at"])
    act.record(review.request, "review.reminded", review=review.kind, due_at=review.due_at)
    if review.asked_id is not None:
        found = around(review.request, now=act.now, also={review.asked_id})
        notifying.told(
            writes, {review.asked_id}, review.request, found.people,
            what="review_reminder", now=act.now,
        )  # fmt: skip


def _climb(review: Review, writes: Writes, act: Act) -> None:
    if review.due_at is None:
        raise ValueError(f"{review} is overdue and has no clock")
    now, was = act.now, review.asked_id
    late: timedelta = now - review.due_at
    review.times_overdue += 1
    review.remind_at = None
    review.due_at = AGAIN_WITHIN + ladder.begins_at(
        due_at=review.due_at, now=now, window=AGAIN_WITHIN
    )
    found = around(review.request, now=now, also={was} if was is not None else ())
    above = whom_to_ask(found) if was is None else _above(was, found.why_not, found.people.by_pk)
    if above is not None:
        review.asked_id = above
    review.save(update_fields=["times_overdue", "remind_at", "due_at", "asked"])
    names = found.people.by_pk
    act.record(
        review.request, "review.overdue", review=review.kind, times=review.times_overdue,
        due_at=review.due_at, late_s=late,
        was=f"person:{names[was].username}" if was is not None else None,
        asked=f"person:{names[review.asked_id].username}" if review.asked_id is not None else None,
    )  # fmt: skip
    told = {was: "review_passed_on", above: "review_overdue"}
    if above is None:
        told = {was: "review_still_yours"}
    for person, what in told.items():
        if person is not None:
            notifying.told(writes, {person}, review.request, found.people, what=what, now=now)
    alert = review_overdue(review.request, review.times_overdue, now=now)
    close_alert(kind="review.overdue", key=alert.key, now=now)  # told anew each day, not once
    raise_alert(
        kind="review.overdue", key=alert.key, text=alert.text, now=now, request=review.request
    )


def _above(
    asked: int, why_not: Callable[[int], str | None], people: Mapping[int, Candidate]
) -> int | None:
    """Return the next manager above who may look at it; None at the top."""
    seen: set[int] = set()
    person = people.get(asked)
    while person is not None and person.manager is not None and person.manager not in seen:
        seen.add(person.manager)
        if why_not(person.manager) is None:
            return person.manager
        person = people.get(person.manager)
    return None
