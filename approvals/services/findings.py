"""A reviewer says what was found; a finding may have what was done undone, with a second reviewer's word."""

from __future__ import annotations

from datetime import datetime

from django.db import transaction

from approvals import notifying
from approvals.models import ActionRequest, Order, Review
from approvals.services.alerts import close_alert
from approvals.services.reviews import (
    NOTHING_STORED,
    Around,
    around,
    bypassers_of,
    checked_words,
    keep_chain,
    lock_review,
    why_not_find,
)
from approvals.services.writes import Writes
from approvals.undoing import moot, open_rollback
from governance import actors, tables, wording
from governance.errors import AlreadyDecided, NotNow, NotYours, TooLate, Unprocessable
from governance.ladder import SECOND_WITHIN
from governance.ledger import Act
from governance.models import Appointment, Person, PolicyVersion
from governance.vocabulary import Duty
from governance.wake import wake_clock

S = Review.State
FINDINGS = (S.JUSTIFIED, S.POLICY_CHANGE, S.NOT_JUSTIFIED)


@transaction.atomic
def record_finding(
    *, review: int, actor: Person, finding: str, note: str, now: datetime, roll_back: bool = False
) -> Review:
    """Close a review with what was found. It cannot be changed later.

    Args:
        review: primary key.
        finding: one of FINDINGS.
        note: what was found; whoever overrode others and the head of compliance read it.
        roll_back: have what was done undone; of a financial action once a second
            independent reviewer confirms it here.

    Raises:
        NotFound: there is no such review.
        AlreadyDecided: somebody closed it before.
        NotYours: the actor is not asked, or not independent.
        NotNow: it is a cleanup, which ends otherwise.
        Unprocessable: no such finding; no note; or what was justified is to be undone.
    """
    if finding not in FINDINGS:
        raise Unprocessable(f"Say {', '.join(FINDINGS)}. {NOTHING_STORED}")
    note = checked_words(note, why="Say what you found.")
    if roll_back and finding == S.JUSTIFIED:
        raise Unprocessable(f"What was justified is not undone. {NOTHING_STORED}")
    request, found = lock_review(review)
    _may(found, actor, around(request, now=now, also={actor.pk}))
    move = {
        S.JUSTIFIED: found.find_justified,
        S.POLICY_CHANGE: found.find_policy_change,
        S.NOT_JUSTIFIED: found.find_not_justified,
    }
    move[S(finding)]()
    found.finding, found.orders_rollback = note, roll_back
    found.closed_by, found.closed_at, found.remind_at = actor, now, None
    found.save()
    act = Act(now=now, actor=actors.person(actor))
    writes = Writes(acts=[act])
    act.record(
        request, "review.closed", review=found.kind, opened_at=found.opened_at, finding=finding,
        note=note, roll_back=roll_back,
    )  # fmt: skip
    if roll_back:
        _order(found, request, actor, note, act, writes)
    _tell(found, request, actor, writes, now)
    close_alert(kind="review.overdue", key=request.ref, now=now)
    keep_chain(request, writes)
    wake_clock(now)
    return found


@transaction.atomic
def confirm_rollback(*, review: int, actor: Person, now: datetime) -> Review:
    """Confirm, as the second independent reviewer, what a finding ordered.

    Raises:
        NotFound: there is no such review.
        NotNow: it ordered nothing that waits.
        NotYours: the actor found it, or is no independent reviewer.
        TooLate: the order has lapsed, to the instant.
    """
    request, found = lock_review(review)
    order = open_rollback(request)
    if order is None or order.review_id != found.pk or order.confirmed_by_id is not None:
        raise NotNow(f"No rollback of this review waits for you. {NOTHING_STORED}")
    why = why_not_confirm(found, actor, around(request, now=now, also={actor.pk}))
    if why is not None:
        raise NotYours(f"{why} {NOTHING_STORED}")
    if order.due_at is not None and now >= order.due_at:
        clock = wording.at(order.due_at, now=now, zone=actor.zone, seconds=True)
        raise TooLate(f"The order lapsed at {clock}: nobody confirmed it. {NOTHING_STORED}")
    order.confirmed_by, order.confirmed_at = actor, now
    order.save(update_fields=["confirmed_by", "confirmed_at"])
    found.second_person = actor
    found.save(update_fields=["second_person"])
    act = Act(now=now, actor=actors.person(actor))
    writes = Writes(acts=[act])
    by = actors.person(order.ordered_by) if order.ordered_by is not None else ""
    act.record(
        request, "rollback.confirmed", ordered_by=by, ordered_at=order.ordered_at,
        review=found.pk, state=request.state,
    )  # fmt: skip
    if order.ordered_by_id is not None:
        people = tables.people_for((), also={order.ordered_by_id}, now=now)
        notifying.told(
            writes, {order.ordered_by_id}, request, people, what="rollback_confirmed", now=now,
            by=str(actor),
        )  # fmt: skip
    keep_chain(request, writes)
    wake_clock(now)
    return found


def why_not_confirm(review: Review, actor: Person, found: Around) -> str | None:
    """Return why somebody may not be the second to sign what a finding ordered, or None if they may."""
    if actor.pk == review.closed_by_id:
        return "You ordered it, so another reviewer confirms it."
    if actor.pk not in found.reviewers:
        return "Another independent reviewer confirms it."
    return why_not_find(review, actor, found)


def _may(review: Review, actor: Person, found: Around) -> None:
    if review.state != S.OPEN:
        raise AlreadyDecided(
            f"The {review.closed_by or 'reviewer'} closed this review before you. {NOTHING_STORED}"
        )
    why = why_not_find(review, actor, found)
    if why is not None:
        raise NotYours(f"{why} {NOTHING_STORED}")
    if review.kind == Review.Kind.CLEANUP:
        raise NotNow(
            "A cleanup ends with the target's reference and two people, not with a finding. "
            f"{NOTHING_STORED}"
        )


def _order(
    review: Review, request: ActionRequest, actor: Person, note: str, act: Act, writes: Writes
) -> None:
    """Order that it be undone, or join the undoing or the order that stands."""
    outcome: str | None = moot(request)
    if outcome is None and open_rollback(request) is not None:
        outcome = Order.Outcome.JOINED
    financial = request.action_type.is_financial and outcome is None
    order = Order(
        request=request,
        kind=Order.Kind.ROLL_BACK,
        reason=note,
        ordered_by=actor,
        ordered_at=act.now,
        review=review,
        needs_second=financial,
        due_at=act.now + SECOND_WITHIN if financial else None,
        outcome=outcome or "",
        closed_at=act.now if outcome is not None else None,
    )
    writes.orders.append(order)
    kinds = {
        "": "rollback.ordered",
        Order.Outcome.JOINED.value: "rollback.joined",
        Order.Outcome.NOTHING_TO_DO.value: "rollback.nothing_to_do",
    }
    act.record(
        request, kinds[outcome or ""], reason=note, review=review.kind, needs_second=financial,
        due_at=order.due_at, state=request.state,
    )  # fmt: skip
    if financial:
        found = around(request, now=act.now)
        seconds = {pk for pk in found.reviewers if pk != actor.pk and found.why_not(pk) is None}
        notifying.told(writes, seconds, request, found.people, what="review_second", now=act.now)


def _tell(
    review: Review, request: ActionRequest, actor: Person, writes: Writes, now: datetime
) -> None:
    """Tell whoever overrode others, the head of compliance, and, if the policy must change, who edits it."""
    active = PolicyVersion.State.ACTIVE
    heads = Appointment.objects.filter(
        version__state=active, office=Appointment.Office.HEAD_OF_COMPLIANCE
    )
    told = {each.pk for each in bypassers_of(review)} | set(
        heads.values_list("person_id", flat=True)
    )
    editors: set[int] = set()
    if review.state == S.POLICY_CHANGE:
        admins = Person.objects.filter(is_active=True, roles__key=Duty.POLICY_ADMIN)
        editors = set(admins.values_list("pk", flat=True))
    people = tables.people_for((), also=told | editors, now=now)
    notifying.told(
        writes, told - editors - {actor.pk}, request, people, what="review_found", now=now
    )
    notifying.told(writes, editors - {actor.pk}, request, people, what="review_policy", now=now)
