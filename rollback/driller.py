"""Has drills rehearsed, point by point: the calls lie between the transactions of `services.drill`."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from rollback.connectors.base import CannotRun
from rollback.models import Drill
from rollback.rehearsal.house import House, Silent
from rollback.rehearsal.play import NOT_RUN
from rollback.rehearsal.points import Point
from rollback.services import drill as drills
from rollback.services.runs import Technical

Tell = Callable[[Drill], None]


def _never() -> bool:
    return False


def _nobody(drill: Drill) -> None:
    pass


def drill_all(
    house: House, *, now: Callable[[], datetime], technical: Technical, enough: Callable[[], bool]
) -> int:
    """Take up one drill after the other until none waits, or it is enough. Returns how many were taken up."""
    taken_up = 0
    while not enough():
        taken = drills.take(now=now(), technical=technical)
        if taken is None:
            break
        go_on(taken, house, now=now, technical=technical, enough=enough)
        taken_up += 1
    return taken_up


def go_on(
    taken: drills.Taken,
    house: House,
    *,
    now: Callable[[], datetime],
    technical: Technical,
    enough: Callable[[], bool] = _never,
    tell: Tell = _nobody,
) -> Drill | None:
    """Rehearse what is left of a drill, and judge it. None if it is not ended: its time here is over, or it is lost.

    A point that does not come to its failure ends it: the others would not either.

    Args:
        enough: asked between points; true leaves the rest to the next worker.
        tell: told of the drill after each point.
    """
    try:
        for point in taken.left:
            if enough():
                drills.hand_back(taken)
                return None
            entry = _rehearsed(taken, point, house, now=now)
            kept = drills.keep(taken, entry, now=now(), technical=technical)
            tell(kept)
            if entry["outcome"] == NOT_RUN:
                break
        return drills.finish(taken, now=now())
    except drills.Lost:
        return None  # whoever has it goes on from what was kept


def _rehearsed(
    taken: drills.Taken, point: Point, house: House, *, now: Callable[[], datetime]
) -> dict[str, object]:
    if not taken.sandbox:
        said = f"No sandbox is configured for target {taken.drill.target} any more."
        return {**point._asdict(), "outcome": NOT_RUN, "said": said}
    try:
        return house.rehearse(
            taken.definition, point, target=taken.drill.target, sandbox=taken.sandbox, now=now()
        )
    except (Silent, CannotRun) as problem:
        return {**point._asdict(), "outcome": NOT_RUN, "said": str(problem)}
