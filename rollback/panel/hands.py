"""Who says how a failure goes on, who has it in hand, and what was ordered: and why the reader may not."""

from __future__ import annotations

from approvals import undoing
from approvals.models import ActionRequest, Ask, Order, Step
from approvals.services.mending import VERDICTS
from governance import wording
from governance.routing import MENDS
from governance.vocabulary import Path, Verdict
from rollback.panel.reading import Reading, name_of
from rollback.panel.shapes import Hands, Told

S = ActionRequest.State
CONTROLS = {
    Verdict.RETRY: ("rotate-ccw", "Try it again now"),
    Verdict.ROLL_BACK: ("undo-2", "Roll it back"),
    Verdict.BY_HAND: ("hand", "Finish it by hand"),
}


def hands(reading: Reading) -> Hands:
    """Return it for a request that failed or is being undone; nothing for others."""
    request = reading.request
    if request.state not in (S.TROUBLED, S.ROLLING_BACK):
        return Hands()
    step = Step.objects.filter(request=request, state=Step.State.WAITING, path__in=MENDS).first()
    told = (*_in_hand(reading), *_ordered(reading))
    if step is None:
        return Hands(told=told)
    asks = list(Ask.objects.filter(step=step, due_at__isnull=False).select_related("person"))
    controls = tuple(CONTROLS[verdict] for verdict in VERDICTS[Path(step.path)])
    if any(ask.person_id == reading.reader.pk for ask in asks):
        return Hands(told=told, is_asked=True)
    return Hands(told=told, controls=controls, why_not=_why_not(reading, step, asks))


def _why_not(reading: Reading, step: Step, asks: list[Ask]) -> str:
    until = f" until {reading.at(step.due_at)}" if step.due_at is not None else ""
    if not asks:
        return f"It is tried again by itself{until}. After that whoever is on call is asked."
    names = " and ".join(f"the {name_of(ask.person)}" for ask in asks)
    are = "are" if len(asks) > 1 else "is"
    return f"{names[:1].upper()}{names[1:]} {are} asked how it goes on{until}, and nobody else."


def _in_hand(reading: Reading) -> tuple[Told, ...]:
    claim = undoing.open_claim(reading.request)
    if claim is None:
        return ()
    has = "have" if claim.person_id == reading.reader.pk else "has"
    lead = f"{reading.the(claim.person)} {has} it in hand since {reading.at(claim.claimed_at)}."
    words = (
        "It is finished, and waits for a second person to confirm it."
        if claim.finished_at is not None
        else "Nothing is sent by itself until it is finished or given back."
    )
    return (Told("warn", lead, words),)


def _ordered(reading: Reading) -> tuple[Told, ...]:
    """Say what waits for the call that is under way."""
    kinds = (Order.Kind.RETRY, Order.Kind.BY_HAND)
    found = []
    for order in Order.objects.filter(
        request=reading.request, kind__in=kinds, closed_at__isnull=True
    ).select_related("ordered_by"):
        by = reading.the(order.ordered_by) if order.ordered_by is not None else "Somebody"
        if order.kind == Order.Kind.RETRY:
            lead = f"{by} ordered another attempt at {reading.at_seconds(order.ordered_at)}."
            found.append(Told("info", lead, "It begins when the call under way is over."))
        elif order.due_at is not None and order.due_at > reading.now:
            lead = "The target is asked what became of units that were not answered."
            until = wording.at(order.due_at, now=reading.now, zone=reading.zone, seconds=True)
            found.append(Told("info", lead, f"After {until} at the latest a person says so."))
    return tuple(found)
