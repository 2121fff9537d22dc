"""What the worker does for this package. A task reads the clock and carries no truth."""

from __future__ import annotations

import os
import socket
import time

from governance import clock, stopping
from governance.courier import guarded
from rollback.driller import drill_all
from rollback.rehearsal.house import House
from rollback.runner import run_all
from rollback.services.hands import Hands

# Real seconds; a call, a read of each record and a checkpoint still fit before the task's time-out,
# which would kill the worker.
NEW_UNITS_FOR_S = 25.0
# Likewise, of a rehearsal: one that is begun takes up to half a minute.
NEW_POINTS_FOR_S = 15.0


@guarded
def run_due() -> int:
    """Carry out and undo what is due until nothing is, or for 25 s. Returns how many requests were taken up.

    What is left is still due, and the next task finds it. Asked to end, it hands back
    what it has after the unit it is at.
    """
    end = time.monotonic() + NEW_UNITS_FOR_S
    return run_all(
        Hands(
            worker=f"{socket.gethostname()}:{os.getpid()}"[:100],
            now=clock.now,
            technical=clock.technical,
            enough=lambda: stopping.asked() or time.monotonic() > end,
        )
    )


@guarded
def run_drills() -> int:
    """Rehearse what waits for it until nothing does, or for 15 s. Returns how many drills were taken up."""
    end = time.monotonic() + NEW_POINTS_FOR_S
    with House() as house:
        return drill_all(
            house,
            now=clock.now,
            technical=clock.technical,
            enough=lambda: stopping.asked() or time.monotonic() > end,
        )
