"""Have every call to the target fail in every way, once each, and see that the books come out right.

A run without faults counts the calls. Then one run for each call and each fault:
that call goes wrong once, the worker goes on as it does, and where it cannot decide
what became of a unit, the person who is asked looks in the target and says so.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Any, NamedTuple

from approvals.models import ActionRequest
from rollback.connectors import client
from tools.trials.databases import Database
from tools.trials.forking import ChildFailed, Say
from tools.trials.life import Moment, carry_on
from tools.trials.people import see_through
from tools.trials.proxy import FAULTS, Proxy
from tools.trials.scenarios import BY_HAND, ENDS, FORWARD, UNDO, Scenario
from tools.trials.stage import Stage, Stand
from tools.trials.verdict import SHOWN, complaints, report, unlike

Found = dict[str, Any]


class Count(NamedTuple):
    """What came of one scenario in one direction."""

    scenario: Scenario
    direction: str
    calls: int
    run: int
    to_people: int  # runs in which somebody had to say what became of it
    failures: list[str]
    seconds: float  # real, for all of its runs


def sweep(
    stage: Stage,
    proxy: Proxy,
    scenario: Scenario,
    *,
    chosen: Callable[[int, str], bool] = lambda n, fault: True,
    say: Callable[[str], None] = lambda line: None,
) -> Iterator[Count]:
    """Sweep over doing it, then over taking it back.

    Args:
        chosen: (number of the call, fault) -> whether it is run.
        say: told each failure as it is found.
    """
    start = stage.asked(scenario)
    for direction in (FORWARD, UNDO):
        if direction == UNDO:
            start = stage.ordered(start)
        started = time.monotonic()
        proxy.plan()
        database = stage.copy(start)
        now, wanted = _go(stage, proxy, database, start)
        wrong = list(_wrong(wanted, wanted, direction, scenario))
        if wrong:
            raise RuntimeError(f"Without faults, it ends wrong: {'; '.join(wrong)}")
        end = Stand(database, stage.target.keep(), start.ref, now)
        calls = proxy.calls()
        failures: list[str] = []
        run = to_people = 0
        for call in calls:
            for fault, words in FAULTS.items():
                if not chosen(call.n, fault):
                    continue
                run += 1
                asked, wrong = _failing(
                    stage, proxy, start, direction, scenario, call.n, fault, wanted
                )
                to_people += asked
                if wrong:
                    title = f"{scenario.name}, {direction}, call {call.n} ({call.what}) {words}"
                    failures.append("\n    ".join([title, *wrong]))
                    say(failures[-1])
        seconds = time.monotonic() - started
        yield Count(scenario, direction, len(calls), run, to_people, failures, seconds)
        stage.databases.drop(start.database)
        start = end
    stage.databases.drop(start.database)


def _failing(
    stage: Stage,
    proxy: Proxy,
    start: Stand,
    direction: str,
    scenario: Scenario,
    n: int,
    fault: str,
    wanted: Found,
) -> tuple[bool, list[str]]:
    """Have one call fail, and return whether a person was needed and what is wrong afterwards."""
    database = stage.copy(start)
    proxy.plan(at=n, fault=fault)
    try:
        _, found = _go(stage, proxy, database, start)
    except ChildFailed as problem:
        return False, [str(problem).strip().rpartition("\n")[2]]
    finally:
        stage.databases.drop(database)
    if fault not in {call.fault for call in proxy.calls()}:
        return False, [f"there was no call number {n}"]
    return found["asked"] > 0, list(_wrong(found, wanted, direction, scenario))[:SHOWN]


def _go(stage: Stage, proxy: Proxy, database: Database, start: Stand) -> tuple[datetime, Found]:
    """Go on to the end, through the proxy; return the time, and what it came to."""

    def work(say: Say) -> list[Any]:
        _lose_patience(stage.target.patience_s)
        moment = Moment(start.now)

        def go_on(stop: Callable[[ActionRequest], bool]) -> None:
            carry_on(start.ref, moment, connector_for=stage.of, quiet=proxy.be_quiet, stop=stop)

        asked = see_through(start.ref, moment, stage.target.finish, go_on)
        return [moment.now.isoformat(), {**report(start.ref, moment.now), "asked": asked}]

    now, found = stage.child(database, work, address=proxy.address()).answer
    return datetime.fromisoformat(now), {**found, "books": stage.target.books()}


def _lose_patience(most_s: float) -> None:
    """Wait for an answer in this process less than the product does: to be late shall not take long."""
    call = client.call

    def called(method: str, url: str, *, within_s: float = most_s, **more: Any) -> Any:
        return call(method, url, within_s=min(within_s, most_s), **more)

    client.call = called


def _wrong(found: Found, wanted: Found, direction: str, scenario: Scenario) -> Iterator[str]:
    """Yield what is wrong with how a run ended, compared with one without faults."""
    state = found["state"]["request"]["state"]
    if state != ENDS[direction] and not (found["by_hand"] and state == BY_HAND[direction]):
        yield f"it ended {state}"
    yield from complaints(found, found["books"], keyless=scenario.blind)
    yield from unlike(wanted, found)
