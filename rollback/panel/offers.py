"""What the reader may do about an undo: order it, confirm somebody's order, or read why they may not."""

from __future__ import annotations

from approvals import undoing
from approvals.models import ActionRequest, Order
from governance import wording
from rollback.models import Recovery
from rollback.panel.reading import Reading, worth
from rollback.panel.shapes import Offer, Told
from rollback.panel.summary import limits

S = ActionRequest.State
REASON_LENGTH = 2000
EFFECTS_LENGTH = 600


def offer(reading: Reading) -> Offer:
    """Return what the page offers. It refuses with the sentences the service would refuse with."""
    request, order = reading.request, reading.order
    if request.state == S.STRANDED or undoing.moot(request) is not None:
        return Offer()
    words = wording.plain(request.action_type.reversal_words, EFFECTS_LENGTH)
    effects = " ".join(filter(None, [words, limits(reading)]))
    if order is None:
        why = undoing.why_not_order(reading.circle, reading.reader.pk) or ""
        button = f"Roll back {_thing(reading)}"
        return Offer("order", why, button, _question(reading), effects)
    reason = wording.plain(order.reason, REASON_LENGTH)
    by = reading.the(order.ordered_by) if order.ordered_by is not None else "The end of a path"
    lead = f"{by} ordered a rollback at {reading.at_seconds(order.ordered_at)}."
    if not undoing.waits_for_second(order):
        return Offer("stands", standing=Told("info", lead, _goes_on(reading, order)), reason=reason)
    return Offer(
        kind="confirm",
        why_not=_why_not_confirm(reading, order),
        button=f"Confirm the rollback of {_thing(reading)}",
        question=_question(reading),
        effects=effects,
        standing=Told("warn", lead, "It waits for a second person. Nothing is undone before that."),
        reason=reason,
        since=order.ordered_at,
        until=order.due_at,
        order=str(order.pk),
    )


def _why_not_confirm(reading: Reading, order: Order) -> str:
    if order.review_id is not None:
        return undoing.OF_A_REVIEW
    if order.due_at is not None and reading.now >= order.due_at:
        return "The time for a second signature is over. It can be ordered anew in a moment."
    return (
        undoing.why_not_confirm(reading.circle, reading.reader.pk, orderer=order.ordered_by_id)
        or ""
    )


def _goes_on(reading: Reading, order: Order) -> str:
    confirmed = ""
    if order.confirmed_by is not None and order.confirmed_at is not None:
        when = reading.at_seconds(order.confirmed_at)
        confirmed = f"{reading.the(order.confirmed_by)} confirmed it at {when}. "
    recovery = reading.recovery
    if recovery is not None and recovery.state == Recovery.State.ORDERED and recovery.due_at:
        return (
            f"{confirmed}It waits for the record, which another request holds, until"
            f" {reading.at(recovery.due_at)}; then it lapses."
        )
    if reading.request.state == S.EXECUTING:
        return f"{confirmed}The worker stops after the unit it is at, then what is done is undone."
    return f"{confirmed}It begins as soon as no other request holds the record."


def _thing(reading: Reading) -> str:
    """Name what would be taken back, with its amount: "the payment of $12,000.00", "3 units worth …"."""
    request, there = reading.request, reading.in_target
    if len(reading.forward) > 1 and there:
        money = worth(there)
        return wording.plural(len(there), "unit") + (f" worth {money}" if money else "")
    of = f" of {wording.money(request.amount, request.currency)}" if request.amount else ""
    words = request.action_type.name.lower().split()
    return f"the {words[-1] if words else 'action'}{of}"


def _question(reading: Reading) -> str:
    if reading.request.state == S.EXECUTING:
        return f"Stop it, and undo {_thing(reading)}?"
    return f"Undo {_thing(reading)}?"
