"""How a sweep goes on when one row of its batch is bad."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta

from django.db import InterfaceError, OperationalError, transaction

from approvals.models import ActionRequest
from approvals.services.alerts import raise_alert
from governance import logs, wording
from governance.ledger import Act
from governance.vocabulary import Chain

logger = logging.getLogger("recourse.sweeps")

PARKED_FOR = timedelta(minutes=5)  # business time, before a bad row is tried again


def in_halves(
    pks: Sequence[int], work: Callable[[Sequence[int]], int], *, sweep: str, now: datetime
) -> int:
    """Do `work` on all of `pks` in one transaction; if that fails, on each half, down to the bad row.

    Each half is a new transaction that claims its rows again: after a rollback
    the objects in memory hold states that were never stored. A row that fails
    alone is pushed forward and reported, and its neighbours have moved.

    Args:
        work: atomic; takes primary keys of requests, returns how many it moved.
        sweep: its name, for the alert.

    Raises OperationalError and InterfaceError: the database is away, which is no row's fault.
    """
    if not pks:
        return 0
    try:
        return work(pks)
    except (OperationalError, InterfaceError):
        raise
    except Exception as problem:  # noqa: BLE001 - whatever it is, it ends in a row: see park
        if len(pks) == 1:
            park(pks[0], problem, sweep=sweep, now=now)
            return 0
    half = len(pks) // 2
    return in_halves(pks[:half], work, sweep=sweep, now=now) + in_halves(
        pks[half:], work, sweep=sweep, now=now
    )


@transaction.atomic
def park(pk: int, problem: Exception, *, sweep: str, now: datetime) -> None:
    """Take a request out of the sweeps for a while, and say so where an operator looks."""
    request = ActionRequest.objects.select_for_update(no_key=True, of=("self",)).get(pk=pk)
    until = now + PARKED_FOR
    ActionRequest.objects.filter(pk=pk).update(parked_until=until)
    text = f"{sweep} failed on {request.ref}: {wording.defect(problem)}"
    with logs.about(ref=request.ref):
        logger.error("%s", text)
    raise_alert(
        kind="sweep.failed", key=f"{sweep} {request.ref}", text=text, now=now, request=request
    )
    act = Act(now=now, actor="clock")
    # On the system's chain, not the request's: its own chain may be what is broken.
    act.record_named(
        Chain.SYSTEM, "request.parked", request=request.ref, sweep=sweep, until=until,
        problem=type(problem).__name__,
    )  # fmt: skip
    act.write()
