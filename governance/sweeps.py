"""What the clock drives in this package. The others are in the packages above; settings name all."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import datetime
from typing import Any

from django.db import transaction

from governance.claims import claim
from governance.models import ActionChange, PeopleChange
from governance.reads import NOW, Read
from governance.services.actions import lifecycle
from governance.services.people import changes

BATCH = 100


def _overdue(model: Any) -> Read:
    return Read(
        lambda: (
            model.objects.filter(state=model.State.OPEN, due_at__lte=NOW)
            .order_by("due_at", "pk")
            .values_list("pk")[:BATCH]
        )
    )


read_overdue = _overdue(PeopleChange)
read_overdue_of_actions = _overdue(ActionChange)


def lapse_changes(*, now: datetime, limit: int = BATCH) -> int:
    """End the changes of people that nobody confirmed in time, each in a transaction of its own.

    At `due_at` exactly one lapses; a confirmation at that instant is too late. One that
    fails does not stop its neighbours. Returns how many lapsed, at most `limit`.
    """
    return _lapse_each(
        read_overdue(now=now)[:limit],
        lambda pk: _lapse(PeopleChange, changes.lapse_change, pk, now),
    )


def lapse_action_changes(*, now: datetime, limit: int = BATCH) -> int:
    """End the changes of action types that nobody confirmed in time, likewise."""
    return _lapse_each(
        read_overdue_of_actions(now=now)[:limit],
        lambda pk: _lapse(ActionChange, lifecycle.lapse_change, pk, now),
    )


def _lapse_each(overdue: Iterable[tuple[int]], lapse: Callable[[int], int]) -> int:
    lapsed = 0
    failed: Exception | None = None
    for (pk,) in overdue:
        try:
            lapsed += lapse(pk)
        except (ValueError, LookupError) as problem:
            failed = problem
    if failed is not None:
        raise failed
    return lapsed


@transaction.atomic
def _lapse(model: Any, end: Callable[..., None], pk: int, now: datetime) -> int:
    still = model.objects.filter(pk=pk, state=model.State.OPEN, due_at__lte=now)
    claimed = claim(still.order_by("pk"), limit=1)
    for change in claimed:
        end(change, now=now)
    return len(claimed)
