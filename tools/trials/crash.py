"""Kill the worker at every point of a run, one run a point, and see that each ends as if nothing had happened.

A run that nothing interrupts counts the points: just before and just after each
commit of our database, before a unit is sent, when the target has done what was
asked and we do not know yet, and when the receipt is here and not stored. Then, for
each point, on a copy of everything: a worker that is killed there with SIGKILL, and
another that goes on once the lease is over.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from datetime import datetime
from itertools import chain
from typing import Any, NamedTuple

from approvals.models import ActionRequest
from tools.trials.databases import Database
from tools.trials.forking import ChildFailed, Say
from tools.trials.life import Moment, carry_on
from tools.trials.people import see_through
from tools.trials.points import Points, Watched, watch_calls, watch_commits
from tools.trials.scenarios import BY_HAND, ENDS, FORWARD, UNDO, Scenario
from tools.trials.stage import Stage, Stand
from tools.trials.verdict import SHOWN, complaints, differences, report, told_of, unlike

Found = dict[str, Any]
COMPARED = ("state", "told", "books")


class Count(NamedTuple):
    """What came of sweeping over one scenario in one direction."""

    scenario: Scenario
    direction: str
    counted: int
    run: int
    to_people: int  # runs in which somebody had to say what became of it
    failures: list[str]
    mean_s: float  # real seconds a point
    longest_s: float


def sweep(
    stage: Stage,
    scenario: Scenario,
    *,
    chosen: Callable[[str], bool] = lambda point: True,
    say: Callable[[str], None] = lambda line: None,
) -> Iterator[Count]:
    """Sweep over doing it, then over taking it back.

    Args:
        chosen: which points are run; "undo: before the commit of …".
        say: told each failure as it is found.
    """
    start = stage.asked(scenario)
    for direction in (FORWARD, UNDO):
        if direction == UNDO:
            start = stage.ordered(start)
        points, end, wanted = _uninterrupted(stage, start, direction, scenario)
        failures: list[str] = []
        run = to_people = 0
        longest = 0.0
        began = time.monotonic()
        for n, point in enumerate(points, start=1):
            if not chosen(f"{direction}: {point}"):
                continue
            run += 1
            started = time.monotonic()
            asked, wrong = _interrupted(stage, start, direction, scenario, n, point, wanted)
            to_people += asked
            longest = max(longest, time.monotonic() - started)
            if wrong:
                title = f"{scenario.name}, {direction}, point {n}: {point}"
                failures.append("\n    ".join([title, *wrong]))
                say(failures[-1])
        mean = (time.monotonic() - began) / max(run, 1)
        yield Count(scenario, direction, len(points), run, to_people, failures, mean, longest)
        stage.databases.drop(start.database)
        start = end
    stage.databases.drop(start.database)


def _uninterrupted(
    stage: Stage, start: Stand, direction: str, scenario: Scenario
) -> tuple[list[str], Stand, Found]:
    """Return the points, how everything stands afterwards, and what every other run must come to."""
    database = stage.copy(start)
    points = stage.child(database, lambda say: _work(stage, start, Points(last_words=say))).answer
    now, found = _go_on(stage, database, start)
    wrong = list(_wrong(found, direction, scenario))
    if wrong:
        raise RuntimeError(f"Uninterrupted, it ends wrong: {'; '.join(wrong)}")
    return points, Stand(database, stage.target.keep(), start.ref, now), found


def _interrupted(
    stage: Stage,
    start: Stand,
    direction: str,
    scenario: Scenario,
    n: int,
    point: str,
    wanted: Found,
) -> tuple[bool, list[str]]:
    """Kill a worker at a point, go on, and return whether a person was needed and what is wrong afterwards."""
    database = stage.copy(start)
    try:
        died = stage.child(
            database, lambda say: _work(stage, start, Points(die_at=n, last_words=say))
        )
        if not died.killed:
            return False, ["the worker did not come to this point"]
        if died.last_words != point:
            return False, [f"here it came to another point: {died.last_words}"]
        _, found = _go_on(stage, database, start)
    except ChildFailed as problem:
        return False, [str(problem).strip().rpartition("\n")[2]]
    finally:
        stage.databases.drop(database)
    if stage.target.takes_keys and not scenario.blind:
        parts = (differences(wanted[part], found[part], part) for part in COMPARED)
        differing: Iterator[str] = chain.from_iterable(parts)
    else:
        differing = unlike(wanted, found)
    return found["asked"] > 0, [*_wrong(found, direction, scenario), *differing][:SHOWN]


def _work(stage: Stage, start: Stand, points: Points) -> list[str]:
    """In a child: be the worker, watched, until it has ended or died."""
    watch_commits(points)
    watch_calls(points)
    carry_on(
        start.ref,
        Moment(start.now),
        connector_for=lambda action_type: Watched(stage.of(action_type), points),
    )
    return points.reached


def _go_on(stage: Stage, database: Database, start: Stand) -> tuple[datetime, Found]:
    """Have a fresh worker go on until it has ended; return the time, and what it came to."""

    def work(say: Say) -> list[Any]:
        moment = Moment(start.now)

        def go_on(stop: Callable[[ActionRequest], bool]) -> None:
            carry_on(start.ref, moment, connector_for=stage.of, stop=stop)

        asked = see_through(start.ref, moment, stage.target.finish, go_on)
        found = {**report(start.ref, moment.now), "told": told_of(start.ref), "asked": asked}
        return [moment.now.isoformat(), found]

    now, found = stage.child(database, work).answer
    return datetime.fromisoformat(now), {**found, "books": stage.target.books()}


def _wrong(found: Found, direction: str, scenario: Scenario) -> Iterator[str]:
    state = found["state"]["request"]["state"]
    if state != ENDS[direction] and not (found["by_hand"] and state == BY_HAND[direction]):
        yield f"it ended {state}"
    yield from complaints(found, found["books"], keyless=scenario.blind)
