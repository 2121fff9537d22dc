"""What a process says about itself: that it works, that something failed, that it works again."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.db import transaction
from django.utils.module_loading import import_string

from governance.ledger import Act
from governance.models import Heartbeat
from governance.reads import Read
from governance.vocabulary import Chain


def beat(name: str, *, now: datetime, **facts: Any) -> None:
    """Write that `name` works, with JSON facts, over what it said before. One statement."""
    Heartbeat.objects.bulk_create(
        [Heartbeat(name=name, beat_at=now, facts=facts)],
        update_conflicts=True,
        unique_fields=["name"],
        update_fields=["beat_at", "facts"],
    )


# Of each worker, as its watchdog has named it, one of both.
WORKER, WATCHDOG = "worker", "watchdog"


def of_worker(worker: str, sign: str = WORKER) -> str:
    """Return under what name a worker shows that it works, or what its watchdog says of it."""
    return f"{sign} {worker}".rstrip()


def workers(now: datetime, *, within: timedelta) -> int:
    """Return how many workers have shown themselves in that span."""
    return sum(at > now - within for (at,) in _read_workers())


def forget_the_gone(*, before: datetime) -> None:
    """Delete the signs of workers that did not show themselves since."""
    gone = Heartbeat.objects.filter(name__startswith=f"{WORKER} ", beat_at__lt=before)
    workers = [name.removeprefix(f"{WORKER} ") for name in gone.values_list("name", flat=True)]
    names = [of_worker(worker, sign) for worker in workers for sign in (WORKER, WATCHDOG)]
    Heartbeat.objects.filter(name__in=names).delete()


_read_workers = Read(
    lambda: Heartbeat.objects.filter(name__startswith=WORKER).values_list("beat_at")
)


def alarm(*, kind: str, key: str, text: str, now: datetime) -> None:
    """Raise an alert, as `settings.RECOURSE_ALARM` does: one stands for each (kind, key)."""
    import_string(settings.RECOURSE_ALARM)(kind=kind, key=key, text=text, now=now)


def all_clear(*, kind: str, key: str, now: datetime) -> int:
    """Close the alert that stands for (kind, key), if one does: it works again. Returns how many were closed."""
    closed: int = import_string(settings.RECOURSE_ALL_CLEAR)(kind=kind, key=key, now=now)
    return closed


def tell(persons: Iterable[int], *, text: str, page: str, now: datetime) -> None:
    """Tell people something that is about no request, as `settings.RECOURSE_TELL` does, in this transaction.

    Args:
        persons: primary keys.
        text: whole sentences.
        page: the path at which they see more.
    """
    import_string(settings.RECOURSE_TELL)(persons, text=text, page=page, now=now)


@transaction.atomic
def report(
    event: str, *, by: str, kind: str, key: str, text: str, now: datetime,
    instead_of: Iterable[str] = (), **facts: Any,
) -> None:  # fmt: skip
    """Put an event of the house into the record, on its chain `system`, and raise an alert with it.

    Args:
        instead_of: kinds of alerts about the same that this one takes the place of.
    """
    act = Act(now=now, actor=by)
    _close_in(act, instead_of, key)
    alarm(kind=kind, key=key, text=text, now=now)
    act.record_named(Chain.SYSTEM, event, **facts)
    act.write()


@transaction.atomic
def works_again(*, by: str, kind: str, key: str, now: datetime, also: Iterable[str] = ()) -> int:
    """Close the alert that stands for (kind, key), and say so in the record. Returns how many: 0 if none stood.

    Args:
        also: further kinds of alerts about the same, to be closed with it.
    """
    act = Act(now=now, actor=by)
    closed = _close_in(act, (kind, *also), key)
    act.write()
    return closed


def _close_in(act: Act, kinds: Iterable[str], key: str) -> int:
    """Close alerts as part of an act, which says so of each that stood. Its head is locked after their rows."""
    count = 0
    for kind in kinds:
        closed = all_clear(kind=kind, key=key, now=act.now)
        if closed:
            act.record_named(Chain.SYSTEM, "alert.closed", alert=kind, matter=key)
        count += closed
    return count
