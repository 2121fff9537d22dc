"""The doing and the undoing: runs, units, snapshots, recoveries, drills, and what targets list of it."""

from __future__ import annotations

from rollback.models.drill import Drill
from rollback.models.execution import Direction, Run, Unit
from rollback.models.listing import Bookmark, Stray
from rollback.models.recovery import Recovery
from rollback.models.snapshot import Snapshot

__all__ = ["Bookmark", "Direction", "Drill", "Recovery", "Run", "Snapshot", "Stray", "Unit"]
