"""What people settled by hand in a target, as the units of a request then stand."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from approvals.models import ActionRequest
from rollback.models import Direction, Unit
from rollback.services.units import UNANSWERED

U = Unit.State


def settle_units(
    request: ActionRequest, *, done: bool, reference: str, now: datetime
) -> list[dict[str, Any]]:
    """Answer for each unit that was sent: all of it is in the target, or nothing is. The request's row is locked.

    Args:
        reference: the target's, of what was done by hand; the checkpoint of what was in doubt.

    Returns:
        {"n": position, "was": state, "is": state} of each unit of the way forward that was sent.
    """
    sent = Unit.objects.select_for_update(no_key=True).filter(
        request=request, direction=Direction.FORWARD, state__in=(*UNANSWERED, U.DONE)
    )
    found = []
    for unit in sent.order_by("position"):
        was = unit.state
        if done and was != U.DONE:
            unit.be_done_by_hand(now=now, reference=reference)
        elif not done and was == U.DONE:
            unit.be_reversed_by_hand(now=now)
        elif not done:
            unit.be_missed_by_hand(now=now)
        unit.save()
        settle_reversal(unit, gone=not done, now=now)
        found.append({"n": unit.position, "was": was, "is": unit.state})
    return found


def settle_reversal(unit: Unit, *, gone: bool, now: datetime) -> None:
    """A reversal whose outcome nobody knew has the one that follows from what was said of its unit."""
    reversal = Unit.objects.filter(reverses=unit, state__in=UNANSWERED).first()
    if reversal is None:
        return
    if gone:
        reversal.be_done_by_hand(now=now, reference="")
    else:
        reversal.be_missed_by_hand(now=now)
    reversal.save()
