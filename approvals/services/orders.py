"""People order that what was done be undone. Whoever runs the request carries it out.

Nothing here moves the request: an order is a row, read between units by the
runner and found by the sweeps. Source: DESIGN 5.
"""

from __future__ import annotations

from datetime import datetime
from typing import NamedTuple

from django.db import transaction

from approvals import notifying
from approvals.locks import lock_request
from approvals.models import ActionRequest, Order
from approvals.services.writes import Writes
from approvals.undoing import (
    OF_A_REVIEW,
    Circle,
    circle_of,
    may_confirm,
    moot,
    open_claim,
    open_rollback,
    waits_for_second,
    why_not_confirm,
    why_not_order,
)
from governance import actors, tables, wording
from governance.errors import NotNow, NotYours, TooLate, Unprocessable
from governance.ladder import SECOND_WITHIN
from governance.ledger import Act
from governance.models import Person
from governance.wake import wake_clock

REASON_LENGTH = 2000
S = ActionRequest.State
NOTHING_STORED = "Your order was not recorded."


class Ordered(NamedTuple):
    """What came of an order.

    Attributes:
        accepted: it stands as this person ordered it: HTTP 202. Otherwise there
            is nothing to wait for from them.
        words: the answer, said to them.
    """

    order: Order
    request: ActionRequest
    accepted: bool
    words: str


@transaction.atomic
def order_rollback(
    *, ref: str, actor: Person, now: datetime, reason: str = "", shown: str | None = None
) -> Ordered:
    """Order that a request be rolled back, or confirm somebody else's order.

    On a financial action a second person confirms within four hours, else the
    order lapses; on others it takes effect at once. Where nothing is left to
    undo, or it is being undone already, the order is kept, closed, and says so.
    Idempotent: ordering again, or confirming what is confirmed, changes nothing.

    Args:
        reason: why, for an order; kept in the record with a confirmation, where
            it may be left out.
        shown: the key of the order that the actor was shown, "" for none; another
            one that stands is refused. None: not asked, as over the API.

    Raises:
        NotFound: there is no such request.
        NotYours: the actor may not order it, or not confirm it.
        NotNow: it is stranded: people clean up by hand; or another order stands than was shown.
        TooLate: the order has lapsed, to the instant.
        Unprocessable: no reason, or too long a one.
    """
    reason = reason.strip()
    if len(reason) > REASON_LENGTH:
        raise Unprocessable(f"A reason has at most {REASON_LENGTH:,} characters.")
    request = lock_request(ref, and_resource=True)
    circle = circle_of(request)
    order = open_rollback(request)
    if shown is not None and shown != (str(order.pk) if order is not None else ""):
        raise NotNow(
            f"Somebody ordered or closed one meanwhile. Look at it first. {NOTHING_STORED}"
        )
    waits = order is not None and waits_for_second(order)
    if order is not None and order.confirmed_by_id == actor.pk:
        return Ordered(order, request, False, _stands(order, actor, now))
    _may(circle, actor, order if waits else None)
    if request.state == S.STRANDED:
        raise NotNow(
            f"{ref} could not be undone and is cleaned up by hand: its review says what is left. "
            f"{NOTHING_STORED}"
        )
    claim = open_claim(request)
    if claim is not None:
        raise NotNow(
            f"The {claim.person} has {ref} in hand, so nothing else is done with it until they give "
            f"it back or somebody takes it over. {NOTHING_STORED}"
        )
    act = Act(now=now, actor=actors.person(actor))
    writes = Writes(acts=[act])
    outcome = moot(request)
    if outcome is not None:
        return _keep_closed(request, order if waits else None, outcome, actor, reason, act, writes)
    if order is None:
        return _place(request, circle, actor, reason, act, writes)
    if not waits:
        return Ordered(order, request, False, _stands(order, actor, now))
    if order.due_at is not None and now >= order.due_at:
        raise TooLate(
            f"The order lapsed at {_clock(order.due_at, actor, now)}: nobody confirmed it in "
            f"{wording.span(order.due_at - order.ordered_at)}. Order it anew in a moment. {NOTHING_STORED}"
        )
    if order.ordered_by_id == actor.pk:
        return Ordered(order, request, True, _waits(order, circle, actor, now))
    return _confirm(request, order, actor, reason, act, writes)


def _may(circle: Circle, actor: Person, waiting: Order | None) -> None:
    """Raise NotYours with the reason, where the actor may neither order nor, if one waits, confirm."""
    why = why_not_order(circle, actor.pk)
    if waiting is not None and waiting.review_id is not None:
        why = OF_A_REVIEW
    elif waiting is not None and waiting.ordered_by_id != actor.pk:
        why = why_not_confirm(circle, actor.pk, orderer=waiting.ordered_by_id)
    if not actor.is_active:
        why = "This account is disabled."
    if why is not None:
        raise NotYours(f"{why} {NOTHING_STORED}")


def _place(
    request: ActionRequest, circle: Circle, actor: Person, reason: str, act: Act, writes: Writes
) -> Ordered:
    now = act.now
    needs_second = request.action_type.is_financial
    order = Order(
        request=request,
        kind=Order.Kind.ROLL_BACK,
        reason=_required(reason),
        ordered_by=actor,
        ordered_at=now,
        needs_second=needs_second,
        due_at=now + SECOND_WITHIN if needs_second else None,
    )
    order.save(force_insert=True)
    act.record(
        request, "rollback.ordered", reason=reason, needs_second=needs_second, due_at=order.due_at,
        state=request.state,
    )  # fmt: skip
    if needs_second:
        _tell(
            writes, request, may_confirm(circle, orderer=actor.pk), "rollback_waits", now=now,
            by=str(actor), why=reason, until=now + SECOND_WITHIN,
        )  # fmt: skip
    _write(request, writes, now)
    words = _waits(order, circle, actor, now) if needs_second else f"Ordered. {_begins(request)}"
    return Ordered(order, request, True, words)


def _confirm(
    request: ActionRequest, order: Order, actor: Person, reason: str, act: Act, writes: Writes
) -> Ordered:
    order.confirmed_by, order.confirmed_at = actor, act.now
    order.save(update_fields=["confirmed_by", "confirmed_at"])
    by = actors.person(order.ordered_by) if order.ordered_by is not None else ""
    act.record(
        request, "rollback.confirmed", ordered_by=by, ordered_at=order.ordered_at, reason=reason,
        state=request.state,
    )  # fmt: skip
    if order.ordered_by_id is not None:
        _tell(
            writes, request, {order.ordered_by_id}, "rollback_confirmed", now=act.now, by=str(actor)
        )
    _write(request, writes, act.now)
    return Ordered(order, request, False, f"Confirmed. {_begins(request)}")


def _keep_closed(
    request: ActionRequest,
    waiting: Order | None,
    outcome: str,
    actor: Person,
    reason: str,
    act: Act,
    writes: Writes,
) -> Ordered:
    """Keep an order for which there is nothing to do; one that waited is closed by this."""
    joined = outcome == Order.Outcome.JOINED
    order = waiting or Order(
        request=request,
        kind=Order.Kind.ROLL_BACK,
        reason=_required(reason),
        ordered_by=actor,
        ordered_at=act.now,
    )
    order.outcome, order.closed_at = outcome, act.now
    order.save()
    kind = "rollback.joined" if joined else "rollback.nothing_to_do"
    act.record(request, kind, reason=reason, state=request.state)
    _write(request, writes, act.now)
    words = (
        "It is being rolled back already. Your order was recorded with it."
        if joined
        else "Nothing of it is in the target, so there is nothing to undo. Your order was recorded."
    )
    return Ordered(order, request, False, words)


def _required(reason: str) -> str:
    if not reason:
        raise Unprocessable("Say why. Whoever confirms it and the auditors will read it.")
    return reason


def _tell(
    writes: Writes,
    request: ActionRequest,
    persons: frozenset[int] | set[int],
    what: str,
    *,
    now: datetime,
    by: str,
    why: str = "",
    until: datetime | None = None,
) -> None:
    people = tables.people_for((), also=persons, now=now)
    facts = {
        "by": by,
        "why": wording.plain(why, 300),
        "until": until.isoformat() if until is not None else "",
    }
    notifying.told(writes, persons, request, people, what=what, now=now, **facts)


def _write(request: ActionRequest, writes: Writes, now: datetime) -> None:
    request.save(update_fields=["chain_length", "chain_hash"])
    writes.save()
    wake_clock(now)


# --- Words ---


def _waits(order: Order, circle: Circle, actor: Person, now: datetime) -> str:
    if order.due_at is None:
        raise ValueError(f"{order} waits and has no clock")
    until = f"until {_clock(order.due_at, actor, now)}, then it lapses"
    if not may_confirm(circle, orderer=order.ordered_by_id):
        return f"Ordered. It waits for a second person {until}. Nobody else may confirm it as things stand."
    return f"Ordered. It waits for a second person {until}. Nothing is undone before that."


def _begins(request: ActionRequest) -> str:
    if request.state == S.EXECUTING:
        return "The run stops after the unit it is at, then what is done is undone."
    if not request.has_effects:
        return "Nothing of it is done yet, and nothing will be."
    return "It begins as soon as the record is free."


def _stands(order: Order, actor: Person, now: datetime) -> str:
    by = f"The {order.ordered_by}" if order.ordered_by is not None else "The end of a path"
    if order.ordered_by_id == actor.pk:
        by = "You"
    return f"{by} ordered it at {_clock(order.ordered_at, actor, now)}, and it stands. {_begins(order.request)}"


def _clock(instant: datetime, actor: Person, now: datetime) -> str:
    return wording.at(instant, now=now, zone=actor.zone, seconds=True)
