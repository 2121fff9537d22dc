"""Counts what should not exist among runs, units and recoveries. See `approvals.audits`."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

from approvals.audits import Audit, Found
from approvals.models import ENDED, ActionRequest
from governance import clock
from rollback.connectors import registry
from rollback.connectors.base import CallFailed
from rollback.models import Direction, Recovery, Run, Unit

SHOWN = 100
AT_ONCE = 50  # units whose effects are asked of their targets in one round
LEASE_OVERDUE_AFTER_S = 60.0  # real seconds

S = ActionRequest.State
U = Unit.State


def leases_nobody_rescued(now: datetime) -> Iterator[Found]:
    """A lease that ran out, and no worker took over."""
    overdue = ActionRequest.objects.filter(
        lease_until__lt=now - clock.technical(LEASE_OVERDUE_AFTER_S)
    )
    for pk, ref in overdue.order_by("lease_until").values_list("pk", "ref")[:SHOWN]:
        yield Found(ref, f"The worker that had {ref} fell silent, and no other took over.", pk)


def runs_without_a_lease(now: datetime) -> Iterator[Found]:
    """A run that runs on a request that has ended."""
    running = Run.objects.filter(state=Run.State.RUNNING, request__state__in=ENDED)
    for pk, request, ref in running.values_list("pk", "request", "request__ref")[:SHOWN]:
        yield Found(f"run {pk}", f"{ref} has ended, and a run of it still runs.", request)


def effects_differ(now: datetime) -> Iterator[Found]:
    """A request whose effects are not those of its units."""
    some = Unit.objects.filter(
        direction=Direction.FORWARD,
        state__in=(U.SENT, U.UNKNOWN, U.DONE),
        request__has_effects=False,
    )
    for pk, ref in some.order_by("pk").values_list("request", "request__ref").distinct()[:SHOWN]:
        yield Found(
            ref, f"{ref} says that nothing of it is in the target, and its units differ.", pk
        )


def recoveries_overdue(now: datetime) -> Iterator[Found]:
    """A recovery that is open although its request has ended."""
    left = Recovery.objects.filter(
        state__in=(Recovery.State.PLANNED, Recovery.State.RUNNING),
        request__state__in=ENDED,
        request__ended_at__lt=now - clock.technical(LEASE_OVERDUE_AFTER_S),
    )
    for pk, request, ref in left.values_list("pk", "request", "request__ref")[:SHOWN]:
        yield Found(f"recovery {pk}", f"{ref} has ended, and a recovery of it is open.", request)


def effects_without_a_checkpoint(now: datetime) -> Iterator[Found]:
    """What targets did under our keys, against our checkpoints, both ways. Each unit is asked about once.

    Only once its request has ended. A target that cannot be reached is asked in
    a later round: its units stay unaudited.
    """
    # A staged reversal that was never sent has no key that a target could know.
    unaudited = Unit.objects.filter(audited_at__isnull=True, request__state__in=ENDED).exclude(
        direction=Direction.UNDO, state=U.PLANNED
    )
    rows = unaudited.select_related("request__action_type").order_by("pk")[:AT_ONCE]
    agreed = []
    unreachable = set()
    for unit in rows:
        action_type = unit.request.action_type
        connector = registry.connector_for(action_type)
        if connector.target in unreachable or not connector.gives.lookup:
            continue
        try:
            receipt = connector.probe(unit.key)
        except CallFailed:
            unreachable.add(connector.target)
            continue
        done = unit.state in (U.DONE, U.REVERSED)
        if (receipt is not None) == done:
            agreed.append(unit.pk)
            continue
        text = (
            f"{connector.target} knows nothing of {unit.key}, which we have a checkpoint for."
            if done
            else f"{connector.target} did {unit.key}, and we have no checkpoint for it."
        )
        yield Found(f"unit {unit.pk}", text, unit.request_id)
    Unit.objects.filter(pk__in=agreed).update(audited_at=now)


AUDITS: dict[str, Audit] = {
    "leases_nobody_rescued": leases_nobody_rescued,
    "runs_without_a_lease": runs_without_a_lease,
    "effects_differ": effects_differ,
    "recoveries_overdue": recoveries_overdue,
    "effects_without_a_checkpoint": effects_without_a_checkpoint,
}
