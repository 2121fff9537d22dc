"""Tasks for the tests of the worker. They run in its processes."""

from __future__ import annotations

import os
import signal
from pathlib import Path

from governance.courier import guarded


@guarded
def note(path, word):
    """Write a line."""
    with Path(path).open("a") as file:
        file.write(f"{word}\n")


@guarded
def die(path):
    """Write a line and die, as for want of memory."""
    note(path, "dying")
    os.kill(os.getpid(), signal.SIGKILL)


@guarded
def fail():
    """Raise, as a defect does."""
    raise ValueError("a defect of ours")
