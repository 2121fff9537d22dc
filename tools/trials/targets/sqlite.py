"""SQLite databases of targets, copied while they are open."""

from __future__ import annotations

import sqlite3
import time
from contextlib import closing
from pathlib import Path

from tools.processes import POLL_S

WITHIN_S = 30.0


def pour(source: Path, into: Path) -> None:
    """Copy a database into one that somebody may have open: they see it with their next statement."""
    deadline = time.monotonic() + WITHIN_S
    with closing(sqlite3.connect(source)) as one, closing(sqlite3.connect(into)) as other:
        while True:
            try:
                one.backup(other)
            except sqlite3.OperationalError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(POLL_S / 10)
            else:
                return
