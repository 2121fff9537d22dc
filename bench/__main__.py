"""Measure, and print one JSON object: `make bench`, or `python -m bench submit inbox`.

BENCH_SCALE scales all counts (1 by default: about 20 minutes on two cores). On a
PostgreSQL of its own that writes to disk, or beside the database that DATABASE_URL
names, whose server then counts; with an sqlite DATABASE_URL on SQLite, in small.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from bench.rounds import say
from tools.postgres import NotAvailable, Postgres, fresh_database

# key: goal, stretch. "<=" unless it is said otherwise.
GOALS: dict[str, tuple[float, float] | None] = {
    "submit_vs_floor": (0.7, 0.9),
    "submit_p99_vs_floor": (2, 1.2),
    "burst_p99_vs_sql": (5, 3),
    "burst_million_vs_none": (2, 1.3),
    "trickle_p50_vs_sql": (4, 2),
    "trickle_p99_ms": (250, 100),
    "inbox_million_vs_thousand": (1.3, 1.1),
    "metrics_million_vs_thousand": (3, 1.5),
    "metrics_vs_empty_page": (3, 2),
    "verify_events_vs_reading": (4, 3),
    "verify_memory_million_vs_tenth": (1.1, 1.02),
    "sealing_vs_submitting": (1, 10),
    "policy_check_s": (60, 10),
    "policy_memory_twice_vs_once": (1.2, 1.1),
    "cycle_per_s": None,
    "approve_to_completed_vs_allowed": (1, 0.7),
    "executions_per_s": None,
    "worker_memory_many_vs_few": (1.1, 1.02),
}
LONG = ("cycle", "execute")  # start every process of the demo: not for a look whether it works
MORE_IS_BETTER = {"submit_vs_floor", "sealing_vs_submitting", "cycle_per_s"}
SMOKE = 0.01  # the scale at which it is only seen to work, and the largest for SQLite


@contextmanager
def database(directory: Path) -> Iterator[str]:
    """Yield the URL of an empty database: SQLite if DATABASE_URL says so, else PostgreSQL."""
    if os.environ.get("DATABASE_URL", "").startswith("sqlite"):
        yield f"sqlite:///{directory / 'bench.sqlite3'}"
        return
    with Postgres(durable=True) as postgres, fresh_database(postgres.url) as url:
        yield url


def parts(scale: float) -> dict[str, Callable[[Any], dict[str, Any]]]:
    """Return what can be measured, by name, in the order of a run."""
    from bench import cycle, execute, inbox, metrics, policy, record, submit, sweep

    def of(count: int, least: int) -> int:
        return max(round(count * scale), least)

    rounds = 7 if scale >= 1 else 3 if scale > SMOKE else 1
    return {
        "submit": lambda world: submit.run(world, count=of(1000, 20), rounds=rounds),
        "sweep": lambda world: sweep.run(
            world,
            others=of(1_000_000, 1000),
            due=of(10_000, 100),
            trickled=of(300, 9),
            rounds=min(rounds, 5),
        ),
        "inbox": lambda world: inbox.run(
            world, few=1000, many=of(1_000_000, 1000), pages=of(20, 3), rounds=rounds
        ),
        "metrics": lambda world: metrics.run(
            world, few=1000, many=of(1_000_000, 1000), pages=of(20, 3), rounds=rounds
        ),
        "record": lambda world: record.run(
            world, events=of(1_000_000, 1000), submissions=of(1000, 20), rounds=min(rounds, 3)
        ),
        "policy": lambda world: policy.run(
            world, rows=of(200, 16), people=of(500, 40), rounds=min(rounds, 3)
        ),
        "cycle": lambda world: cycle.run(world, count=of(200, 5)),
        "execute": lambda world: execute.run(
            world, singles=of(60, 3), executions=of(10_000, 12), few=of(1000, 4)
        ),
    }


def machine(scale: float, world: Any) -> dict[str, Any]:
    """Say on what, and beside how much else, the figures were taken."""
    return {
        "scale": scale,
        "database": world.version(),
        **world.durability(),
        "cores": os.cpu_count(),
        "load_average": os.getloadavg(),
        "python": sys.version.split()[0],
    }


def judged(key: str, found: dict[str, Any]) -> dict[str, Any]:
    """Add goal and stretch to a measure, and whether they are met."""
    goal = GOALS[key]
    value = found["value"]
    if goal is None:
        return {**found, "goal": None, "stretch": None, "met": None, "stretch_met": None}
    met = [
        None if value is None else value >= each if key in MORE_IS_BETTER else value <= each
        for each in goal
    ]
    return {**found, "goal": goal[0], "stretch": goal[1], "met": met[0], "stretch_met": met[1]}


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("parts", nargs="*", help="measure only these")
    chosen = parser.parse_args().parts
    scale = float(os.environ.get("BENCH_SCALE", "1"))
    with ExitStack() as stack:
        var = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="recourse-bench-")))
        try:
            url = stack.enter_context(database(var))
        except NotAvailable as problem:
            say(f"PostgreSQL is not available because {problem}.")
            return 3
        if url.startswith("sqlite") and scale > SMOKE:
            say(f"SQLite is measured at BENCH_SCALE={SMOKE} only.")
            return 2
        os.environ |= {
            "DATABASE_URL": url,
            "DJANGO_SETTINGS_MODULE": "bench.settings",
            "RECOURSE_PROFILE": "demo",
            "RECOURSE_VAR": str(var),
        }
        import django

        django.setup()
        from bench.databases import World

        world = World(url, var)
        world.seed()
        before = machine(scale, world)
        if scale > SMOKE and "off" in world.durability().values():
            say(
                "This PostgreSQL does not write to disk before it answers: its figures say nothing."
            )
            return 2
        measures: dict[str, Any] = {}
        for name, part in parts(scale).items():
            if name in chosen or (not chosen and (name not in LONG or scale > SMOKE)):
                say(f"--- {name}, load {os.getloadavg()[0]:.1f}")
                measures |= {key: judged(key, each) for key, each in part(world).items()}
        if not chosen:
            why = "left out in small: its processes take longer to start than all the rest takes"
            left_out = {"value": None, "why": why}
            measures |= {key: judged(key, left_out) for key in GOALS if key not in measures}
        facts = {**before, "load_average_after": os.getloadavg()}
    json.dump({"machine": facts, "measures": measures}, sys.stdout, indent=2)
    sys.stdout.write("\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
