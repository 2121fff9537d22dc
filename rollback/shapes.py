"""What the API says of runs and their units."""

from __future__ import annotations

from typing import Any

from approvals.models import ActionRequest
from rollback.models import Direction, Run, Unit


def runs_of(request: ActionRequest) -> list[dict[str, Any]]:
    """Return what was done and what was undone, in this order, each with its units. Two queries.

    A direction in which nothing ran is left out, whatever is planned for it;
    its state is that of its last attempt.
    """
    last = {run.direction: run.state for run in Run.objects.filter(request=request).order_by("pk")}
    units: dict[str, list[dict[str, Any]]] = {}
    for unit in Unit.objects.filter(request=request).order_by("position"):
        units.setdefault(unit.direction, []).append(
            {"n": unit.position, "key": unit.key, "state": unit.state}
        )
    return [
        {"kind": direction.value, "state": last[direction], "units": units.get(direction, [])}
        for direction in Direction
        if direction in last
    ]
