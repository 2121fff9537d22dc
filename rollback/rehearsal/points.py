"""Where a rehearsal is made to fail: before and after each unit's call, and not before all of it is done. Pure."""

from __future__ import annotations

from typing import NamedTuple

BEFORE_SEND = "before_send"  # the worker dies with the intent stored and nothing sent
AFTER_SEND = "after_send"  # it dies with the unit in the target, and the answer lost
END = "end"  # it does all of it, and then that is found to be wrong


class Point(NamedTuple):
    """One failure. `unit` counts from 1; at the end it is the last."""

    unit: int
    at: str


def points_of(units: int) -> list[Point]:
    """Return every point of an action of so many units, in the order in which they lie."""
    return [
        *(Point(unit, at) for unit in range(1, units + 1) for at in (BEFORE_SEND, AFTER_SEND)),
        Point(units, END),
    ]


def words_of(point: Point, units: int) -> str:
    """Say what happens there: "Unit 3 of 5: the answer was lost"."""
    if point.at == END:
        return (
            f"All {units} units done, then found to be wrong"
            if units > 1
            else "Done, then found to be wrong"
        )
    what = {BEFORE_SEND: "the worker died before the call", AFTER_SEND: "the answer was lost"}
    return f"Unit {point.unit} of {units}: {what[point.at]}"
