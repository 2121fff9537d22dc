"""What the clock drives in this package. The others are in the packages above; settings name all."""

from __future__ import annotations

from datetime import datetime

from django.db import transaction

from governance.claims import claim
from governance.models import PeopleChange
from governance.reads import NOW, Read
from governance.services.people.changes import lapse_change

BATCH = 100

read_overdue = Read(
    lambda: (
        PeopleChange.objects.filter(state=PeopleChange.State.OPEN, due_at__lte=NOW)
        .order_by("due_at", "pk")
        .values_list("pk")[:BATCH]
    )
)


def lapse_changes(*, now: datetime, limit: int = BATCH) -> int:
    """End the changes of people that nobody confirmed in time, each in a transaction of its own.

    At `due_at` exactly one lapses; a confirmation at that instant is too late. One that
    fails does not stop its neighbours. Returns how many lapsed, at most `limit`.
    """
    lapsed = 0
    failed: Exception | None = None
    for (pk,) in read_overdue(now=now)[:limit]:
        try:
            lapsed += _lapse(pk, now)
        except (ValueError, LookupError) as problem:
            failed = problem
    if failed is not None:
        raise failed
    return lapsed


@transaction.atomic
def _lapse(pk: int, now: datetime) -> int:
    still = PeopleChange.objects.filter(pk=pk, state=PeopleChange.State.OPEN, due_at__lte=now)
    claimed = claim(still.order_by("pk"), limit=1)
    for change in claimed:
        lapse_change(change, now=now)
    return len(claimed)
