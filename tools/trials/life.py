"""Worker and clock in one process, on a time that moves when nothing else is left to do."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.utils.module_loading import import_string

from approvals.models import ENDED, ActionRequest
from governance.models import ActionType
from governance.ticking import IN_A_ROW
from rollback.connectors.base import Connector
from rollback.models import Unit
from rollback.runner import run_all
from rollback.services.hands import Hands, connector_of

ROUNDS = 500
IN_VAIN = 40  # rounds that move nothing and have nothing to wait for; then it is stuck
PAUSE_S = 0.05  # real; a dead worker's connection may hold its locks for a moment
INSTANTS = ("lease_until", "next_attempt_at", "read_due_at")


@dataclass
class Moment:
    """Business time: it stands still while something is done."""

    now: datetime


class Stuck(Exception):
    """Nothing moves the request any more, and no instant will."""


def carry_on(
    ref: str,
    moment: Moment,
    *,
    connector_for: Callable[[ActionType], Connector] = connector_of,
    quiet: Callable[[], None] = lambda: None,
    stop: Callable[[ActionRequest], bool] = lambda request: False,
) -> None:
    """Be the clock and the worker in turn until a request has ended.

    Time goes on to the next instant at which the worker may act, and never past
    one at which a person would be asked.

    Args:
        quiet: waits until no call can be under way in the target any more: time
            goes on by more than a call may take.
        stop: ends it early: what is left is a person's.

    Raises Stuck.
    """
    hands = Hands(
        worker=f"trial:{os.getpid()}",
        now=lambda: moment.now,
        technical=lambda seconds: timedelta(seconds=seconds),
        connector_for=connector_for,
        chance=lambda: 0.5,
    )
    in_vain, before = 0, None
    for _ in range(ROUNDS):
        sweep(moment.now)
        run_all(hands)
        request = ActionRequest.objects.get(ref=ref)
        if (request.state in ENDED and not _undo_waits(request)) or stop(request):
            return
        stands = _stand(request)
        if stands != before:
            before, in_vain = stands, 0
            continue
        instant = min(
            (at for name in INSTANTS if (at := getattr(request, name)) and at > moment.now),
            default=None,
        )
        if instant is not None:
            quiet()
            moment.now = instant
            continue
        in_vain += 1
        if in_vain > IN_VAIN:
            break
        time.sleep(PAUSE_S)
    raise Stuck(f"{ref} is {request.state}, and nothing moves it: {stands}")


def sweep(now: datetime) -> None:
    """Run every sweep of the clock, each until it finds nothing more. What fails is raised."""
    for name in settings.RECOURSE_SWEEPS:
        call = import_string(name)
        for _ in range(IN_A_ROW):
            if not call(now=now):
                break


def _undo_waits(request: ActionRequest) -> bool:
    return bool(request.orders.filter(closed_at__isnull=True).exists())


def _stand(request: ActionRequest) -> list[Any]:
    units = Unit.objects.filter(request=request).order_by("pk").values_list("state", "attempts")
    clocks = [str(getattr(request, name)) for name in INSTANTS]
    return [request.state, request.chain_length, *clocks, *units]
