"""The doing and the undoing: runs, units, snapshots, recoveries, drills."""

from __future__ import annotations

from rollback.models.drill import Drill
from rollback.models.execution import Direction, Run, Unit
from rollback.models.recovery import Recovery
from rollback.models.snapshot import Snapshot

__all__ = ["Direction", "Drill", "Recovery", "Run", "Snapshot", "Unit"]
