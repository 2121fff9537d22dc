"""Takes up one request after the other. Any number of workers may do so at once."""

from __future__ import annotations

import logging
import traceback

from django.db import InterfaceError, OperationalError

from approvals.batches import park
from approvals.models import ActionRequest
from approvals.services.alerts import sound
from governance import logs, wording
from rollback import selectors
from rollback.models import Direction
from rollback.services import by_hand, execute, recover
from rollback.services.hands import Hands
from rollback.services.reading import read_for
from rollback.services.runs import Lease, take

log = logging.getLogger("recourse.runner")


def run_all(hands: Hands) -> int:
    """Carry out and undo what is due, until nothing is or it is enough. Returns how many were taken up."""
    taken = 0
    while not hands.enough():
        # One of each in turn: neither what is to be done nor what is to be read waits for all of the other.
        found = read_next(hands) + run_next(hands)
        if not found:
            break
        taken += found
    return taken


def read_next(hands: Hands) -> bool:
    """Read the target for one request. Returns whether there was something.

    Raises OperationalError and InterfaceError, as `run_next`.
    """
    for pk in selectors.readable(hands.now(), lot=hands.chance()):
        try:
            if read_for(pk, hands):
                return True
        except (OperationalError, InterfaceError):
            raise
        except Exception as problem:  # noqa: BLE001 - one that cannot be read must not stop the others
            _tell_of_defect(pk, problem, hands)
    return False


def run_next(hands: Hands) -> bool:
    """Take up one request and bring it as far as it goes. Returns whether there was something.

    Raises OperationalError and InterfaceError: the database is away, which is
    no request's fault, and its lease runs out.
    """
    for pk in selectors.runnable(hands.now(), lot=hands.chance()):
        try:
            lease = take(pk, worker=hands.worker, now=hands.now(), technical=hands.technical)
        except (OperationalError, InterfaceError):
            raise
        except Exception as problem:  # noqa: BLE001 - one that cannot be taken must not stop the others
            park(pk, problem, sweep="take", now=hands.now())
            continue
        if lease is not None:
            with logs.about(ref=lease.ref):
                log.info("%s run taken up, attempt %s", lease.direction, lease.attempt)
                _run(lease, hands)
            return True
    return False


def _tell_of_defect(pk: int, problem: Exception, hands: Hands) -> None:
    """Raise an alert. The request is not parked: people who are asked about it lose no time by it."""
    request = ActionRequest.objects.get(pk=pk)
    said = wording.defect(problem)
    where = "".join(traceback.format_tb(problem.__traceback__))
    with logs.about(ref=request.ref):
        log.error("reading for %s failed: %s\n%s", request.ref, said, where)
    sound(
        by="worker", kind="run.defect", key=f"read {request.ref}", now=hands.now(), request=request,
        text=f"Reading the target for {request.ref} failed by a defect: {said}",
    )  # fmt: skip


def _run(lease: Lease, hands: Hands) -> None:
    try:
        if lease.only_asks:
            by_hand.ask_first(lease, hands)
        elif lease.direction == Direction.UNDO:
            recover.take_back(lease, hands)
        else:
            execute.carry_out(lease, hands)
    except (OperationalError, InterfaceError):
        raise
    except Exception as problem:  # noqa: BLE001 - a defect: it ends in a case and in an alert
        said = wording.defect(problem)
        # Without its message: PostgreSQL quotes the whole row in it, payload and all.
        where = "".join(traceback.format_tb(problem.__traceback__))
        log.error("%s of %s failed: %s\n%s", lease.direction, lease.ref, said, where)
        sound(
            by="worker", kind="run.defect", key=lease.ref, now=hands.now(),
            request=ActionRequest.objects.get(ref=lease.ref),
            text=f"The {lease.direction} run of {lease.ref} failed by a defect: {said}",
        )  # fmt: skip
        if lease.only_asks:
            by_hand.asked(lease, hands, said=said)
        elif lease.direction == Direction.UNDO:
            recover.fail(lease, hands, said)
        else:
            execute.fail(lease, hands, said)
