"""What the worker does for this package. A task reads the clock and carries no truth."""

from __future__ import annotations

import time

from approvals import auditing
from approvals.notifications import AT_ONCE, PATIENCE_S, deliver_due
from governance import clock, stopping
from governance.courier import guarded

DRAIN_FOR_S = 45.0  # real seconds; below the task's time-out, which would kill the worker


@guarded
def audit() -> int:
    """Run every audit, and tell the outside if nothing was found. Returns how many findings stand."""
    standing = auditing.run(now=clock.now())
    auditing.tell_outside(standing)
    return len(standing)


@guarded
def deliver_notices() -> int:
    """Deliver what is due until nothing is, for at most 45 s. Returns how many notices were taken up.

    What is left is still due, and the next task finds it.
    """
    return drain(for_s=DRAIN_FOR_S)


def drain(*, for_s: float) -> int:
    """Deliver what is due until nothing is, or until another batch might not end within `for_s`."""
    last_start = time.monotonic() + for_s - PATIENCE_S
    total = 0
    while taken := deliver_due(
        now=clock.now(), limit=AT_ONCE, technical=clock.technical, signed_at=clock.real_now()
    ):
        total += taken
        if stopping.asked() or time.monotonic() > last_start:
            break
    return total
