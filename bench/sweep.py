"""How late the clock is: ten thousand deadlines at one instant, and one deadline every 200 ms."""

from __future__ import annotations

import select
import time
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from django.db import connection, transaction
from django.db.models import Min

from approvals.models import ActionRequest
from bench import rows
from bench.databases import World
from bench.rounds import measure, middle, percentile, ratios, say
from governance import clock, seals, signs, ticking
from governance.models import ContactChannel, Person

FLOOR = Path(__file__).with_name("floor.sql").read_text()
EVERY = timedelta(milliseconds=200)
LEAD_S = 2.0  # from the last preparation to the first deadline
COUNTED = ("approvals_", "governance_auditevent")  # tables in which both sides must write the same

NO_FLOOR = ({}, {"why": "floor.sql is PostgreSQL's"})  # where there is one, and where not

Commits = list[tuple[datetime, int]]  # when a batch was committed, and how many had climbed by it


class Crowd:
    """One database with a number of other open requests, and an original of those that will climb."""

    def __init__(self, world: World, others: int) -> None:
        self.others = others
        self._world = world
        self._url = world.copy()
        began = time.monotonic()
        with world.entered(self._url):
            start = clock.now() - timedelta(minutes=6)
            rows.away("senior_accountant")
            self._climber = rows.original(climbed=True, now=start)
            for place, amount in enumerate(rows.AMOUNTS if others else ()):
                own = rows.original(climbed=False, amount=amount, now=clock.now())
                count = others // len(rows.AMOUNTS)
                first = clock.now() + timedelta(hours=12 + place)
                rows.copies(own, count, due_at=first, every=rows.SPREAD / max(count, 1))
            seals.seal_now(clock.now())
            rows.analyse()
        if others:
            say(f"{others} other open requests were made in {time.monotonic() - began:.0f} s")

    def run(
        self, side: Callable[[int], Commits], count: int, *, every: timedelta = timedelta(0)
    ) -> tuple[list[float], dict[str, tuple[int, int]]]:
        """Let `count` requests fall due; return how late each was moved, in s, and what was written."""
        with self._world.entered(self._url):
            lead = timedelta(seconds=LEAD_S + count / 1000)  # while they are made
            first = clock.now() + lead
            rows.copies(self._climber, count, due_at=first, every=every)
            # What the worker does each minute, for which no clock waits while there is one.
            seals.seal_now(clock.now())
            signs.beat("audit", now=clock.now())
            before = written()
            commits = side(count)
            after = written()
        done = {
            table: (new[0] - before[table][0], new[1] - before[table][1])
            for table, new in after.items()
        }
        return lateness(commits, first, every), {t: n for t, n in done.items() if any(n)}

    def close(self) -> None:
        self._world.drop(self._url)


def lateness(commits: Commits, first: datetime, every: timedelta) -> list[float]:
    """Return how late each request was, given that they move in the order of their deadlines."""
    found: list[float] = []
    for at, count in commits:
        for _ in range(count):
            found.append((at - first - len(found) * every).total_seconds())
    if min(found) < 0:
        raise RuntimeError("the first deadline passed while the requests were still being made")
    return found


def by_clock(count: int) -> Commits:
    """Run the clock process's own loop until `count` requests have climbed."""
    commits: Commits = []
    life = Until(lambda: sum(moved for _, moved in commits) >= count, seconds=120 + count / 20)

    def noting(sweep: ticking.Sweep) -> ticking.Sweep:
        def swept(*, now: datetime) -> int:
            moved = sweep(now=now)
            if moved:
                commits.append((clock.real_now(), moved))
            return moved

        return swept

    sweeps = ticking.sweeps()
    climb = "approvals.sweeps.climb_due_steps"
    sweeps[climb] = noting(sweeps[climb])
    ticking.Clock(
        life=life,  # type: ignore[arg-type]
        now=clock.now,
        sweeps=sweeps,
        next_due=ticking.next_due(),
    ).run()
    return commits


def by_sql(count: int) -> Commits:
    """Do the same by floor.sql: sleep until the next deadline, then batch by batch."""
    people = dict(Person.objects.values_list("username", "pk"))
    values = {
        "asked": people["controller"],
        "passed": people["senior_accountant"],
        "channel": ContactChannel.objects.filter(person=people["controller"]).values_list("pk")[0][
            0
        ],
    }
    commits: Commits = []
    waiting = ActionRequest.objects.filter(state=ActionRequest.State.PENDING)
    while sum(moved for _, moved in commits) < count:
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute(FLOOR, values | {"now": clock.now()})
            moved = cursor.rowcount
        if moved:
            commits.append((clock.real_now(), moved))
            continue
        due_at = waiting.aggregate(first=Min("due_at"))["first"]
        time.sleep(max((due_at - clock.now()).total_seconds(), 0))
    return commits


class Until:
    """The life of a clock that ends when enough was done."""

    def __init__(self, enough: Callable[[], bool], *, seconds: float) -> None:
        self._enough = enough
        self._deadline = time.monotonic() + seconds

    @property
    def over(self) -> bool:
        if time.monotonic() > self._deadline:
            raise TimeoutError("the clock did not move everything in time")
        return self._enough()

    def sleep(self, seconds: float, *, also: Sequence[Any] = ()) -> None:
        if seconds > 0:
            select.select(list(also), [], [], seconds)


def written() -> dict[str, tuple[int, int]]:
    """Return the rows inserted and updated so far, by table."""
    with connection.cursor() as cursor:
        if connection.vendor != "postgresql":
            return {}
        cursor.execute("SELECT pg_stat_force_next_flush()")
        cursor.execute("SELECT pg_stat_clear_snapshot()")
        cursor.execute("SELECT relname, n_tup_ins, n_tup_upd FROM pg_stat_user_tables")
        return {
            name: (inserted, updated)
            for name, inserted, updated in cursor.fetchall()
            if name.startswith(COUNTED)
        }


def the_same(ours: dict[str, tuple[int, int]], floor: dict[str, tuple[int, int]]) -> None:
    """Raise RuntimeError unless both sides wrote as many rows in every table."""
    if ours != floor:
        raise RuntimeError(f"not the same rows: the product wrote {ours}, floor.sql wrote {floor}")


def burst(world: World, few: Crowd, many: Crowd, *, count: int, rounds: int) -> dict[str, Any]:
    """`count` deadlines at one instant: by SQL, by the clock, and by the clock among all the others."""
    floor, ours, crowded = [], [], []
    for number in range(rounds):
        wrote: dict[str, Any] = {}
        if world.is_postgres:
            late, wrote = few.run(by_sql, count)
            floor.append(percentile(late, 0.99))
        late, wrote_ours = few.run(by_clock, count)
        ours.append(percentile(late, 0.99))
        the_same(wrote_ours, wrote)
        late, wrote_crowded = many.run(by_clock, count)
        crowded.append(percentile(late, 0.99))
        the_same(wrote_crowded, wrote)
        say(
            f"burst, round {number + 1} of {rounds}: p99 {ours[-1]:.2f} s, floor"
            f" {floor[-1] if floor else float('nan'):.2f} s, among {many.others} {crowded[-1]:.2f} s"
        )
    say(f"burst wrote {wrote_ours}")
    return {
        "burst_p99_vs_sql": measure(
            middle(ratios(ours, floor)) if floor else None, rounds=rounds, due=count,
            p99_s=middle(ours), **NO_FLOOR[not floor], floor_p99_s=middle(floor) if floor else None,
        ),
        "burst_million_vs_none": measure(
            middle(ratios(crowded, ours)), rounds=rounds, others=many.others, p99_s=middle(crowded)
        ),
    }  # fmt: skip


def trickle(world: World, many: Crowd, *, count: int, rounds: int) -> dict[str, Any]:
    """One deadline every 200 ms, `count` in all for each side, in turns."""
    each = max(count // rounds, 3)
    floor, ours, all_of_ours, all_of_floor = [], [], [], []
    for number in range(rounds):
        if world.is_postgres:
            late, _ = many.run(by_sql, each, every=EVERY)
            floor.append(percentile(late, 0.5))
            all_of_floor += late
        late, _ = many.run(by_clock, each, every=EVERY)
        ours.append(percentile(late, 0.5))
        all_of_ours += late
        say(
            f"trickle, round {number + 1} of {rounds}: p50 {ours[-1] * 1000:.1f} ms,"
            f" floor {(floor[-1] if floor else float('nan')) * 1000:.1f} ms"
        )
    return {
        "trickle_p50_vs_sql": measure(
            middle(ratios(ours, floor)) if floor else None, rounds=rounds, due=each * rounds,
            p50_ms=middle(ours) * 1000, **NO_FLOOR[not floor], floor_p50_ms=middle(floor) * 1000 if floor else None,
        ),
        "trickle_p99_ms": measure(
            percentile(all_of_ours, 0.99) * 1000, rounds=rounds, others=many.others,
            floor_p99_ms=percentile(all_of_floor, 0.99) * 1000 if floor else None,
        ),
    }  # fmt: skip


def run(world: World, *, others: int, due: int, trickled: int, rounds: int) -> dict[str, Any]:
    """Measure both, on the same two databases."""
    few, many = Crowd(world, 0), Crowd(world, others)
    try:
        return {
            **burst(world, few, many, count=due, rounds=rounds),
            **trickle(world, many, count=trickled, rounds=rounds),
        }
    finally:
        few.close()
        many.close()
