"""How a process of the worker comes to know that it is to end, while it is at something.

The task queue lets a task finish and tells it nothing. So the watchdog sends
SIGUSR1 to all of its cluster: whoever carries a task notes it, and work that
goes on from piece to piece asks between two of them. Everybody else was started
deaf to it.
"""

from __future__ import annotations

import os
import signal
from contextlib import suppress
from types import FrameType
from typing import Any

from django_q.signals import post_spawn

SIGNAL = signal.SIGUSR1

_asked = False


def asked() -> bool:
    """Whether this process is to come to an end with what it is at, and begin nothing new."""
    return _asked


def be_deaf() -> None:
    """For a process about to become a cluster, and all that it starts."""
    signal.signal(SIGNAL, signal.SIG_IGN)


def ask(group: int) -> None:
    """Tell every process of a cluster, as its group."""
    with suppress(ProcessLookupError):
        os.killpg(group, SIGNAL)


def _listen(**rest: Any) -> None:
    signal.signal(SIGNAL, _hear)


def _hear(signum: int, frame: FrameType | None) -> None:
    global _asked
    _asked = True


post_spawn.connect(_listen, dispatch_uid="governance.stopping")
