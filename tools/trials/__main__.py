"""Interrupt what the worker does at every point, and see that it always ends the same.

make crash-sweep                  the worker is killed; on the demo's target
make crash-sweep ARGS="--only payment --points sent"
make two-of-everything            two of each process under load, killed in turns; on PostgreSQL
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import tempfile
import time
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING

from tools.postgres import fresh_database, is_postgres

if TYPE_CHECKING:
    from tools.trials.scenarios import Scenario
    from tools.trials.targets import Target


def main(arguments: list[str] | None = None) -> int:
    """Return 0 if nothing failed, and all that was counted and chosen was run."""
    options = read_options(arguments)

    def stop(signum: int, frame: FrameType | None) -> None:
        raise SystemExit(128 + signum)

    for signum in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(signum, stop)
    with tempfile.TemporaryDirectory(prefix="recourse-trials-") as directory:
        os.environ |= {"RECOURSE_PROFILE": "demo", "RECOURSE_VAR": directory}
        if options.sweep == "two":
            return two(options, Path(directory))
        os.environ["DJANGO_SETTINGS_MODULE"] = "tools.trials.settings"
        import django

        django.setup()
        return (crash if options.sweep == "crash" else faults)(options, Path(directory))


def read_options(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m tools.trials", description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    parser.add_argument("sweep", choices=("crash", "faults", "two"))
    parser.add_argument("--target", choices=("demo", "tryton"), default="demo")
    parser.add_argument("--only", metavar="SCENARIO", default="", help="payment, five or blind")
    parser.add_argument("--points", metavar="WORDS", default="", help="only those named so: undo")
    parser.add_argument("--faults", metavar="NAMES", default="", help="only these: lost,late")
    parser.add_argument("--seconds", type=float, default=300, help="of load, for two: 300")
    parser.add_argument("--budget", metavar="SECONDS", type=float, default=float("inf"))
    parser.add_argument(
        "--connector", metavar="NAME", default="rollback.services.hands.connector_of",
        help="a function that returns an action type's connector: one that is broken, say",
    )  # fmt: skip
    return parser.parse_args(arguments)


def crash(options: argparse.Namespace, directory: Path) -> int:
    """Run the crash sweep and print what came of it."""
    from django.utils.module_loading import import_string

    from tools.trials.crash import sweep
    from tools.trials.databases import Databases
    from tools.trials.stage import Stage

    databases = Databases(directory)
    started = time.monotonic()
    counted = run = failed = 0
    say(f"crash sweep, {options.target} target, {databases.kind}")
    with target_of(options.target, directory) as target:
        stage = Stage(databases, target, connector_for=import_string(options.connector))
        for scenario in chosen_of(options):
            for count in sweep(
                stage, scenario, chosen=lambda point: options.points in point, say=say
            ):
                counted, run = counted + count.counted, run + count.run
                failed += len(count.failures)
                say(
                    f"{count.scenario.name}, {count.direction}: {count.counted} points counted,"
                    f" {count.run} run, {count.to_people} put to a person,"
                    f" {len(count.failures)} failed,"
                    f" {count.mean_s:.2f} s a point, the longest {count.longest_s:.2f} s"
                )
    say(
        f"{counted} points counted, {run} points run, {failed} failures,"
        f" in {time.monotonic() - started:.0f} s"
    )
    whole = counted == run or bool(options.points)
    return 0 if run and whole and not failed else 1


def faults(options: argparse.Namespace, directory: Path) -> int:
    """Run the fault sweep and print what came of it."""
    from django.utils.module_loading import import_string

    from tools.trials.databases import Databases
    from tools.trials.faults import sweep
    from tools.trials.proxy import FAULTS, NotInstalled, Proxy
    from tools.trials.stage import Stage

    databases = Databases(directory)
    started = time.monotonic()
    wanted = options.faults.split(",") if options.faults else list(FAULTS)
    calls = run = failed = to_people = 0

    def chosen(n: int, fault: str) -> bool:
        return fault in wanted and time.monotonic() - started < options.budget

    say(f"fault sweep, {options.target} target, {databases.kind}: {', '.join(wanted)}")
    try:
        with target_of(options.target, directory) as target, Proxy(directory, target) as proxy:
            stage = Stage(databases, target, connector_for=import_string(options.connector))
            for scenario in chosen_of(options):
                for count in sweep(stage, proxy, scenario, chosen=chosen, say=say):
                    calls, run = calls + count.calls, run + count.run
                    to_people += count.to_people
                    failed += len(count.failures)
                    say(
                        f"{count.scenario.name}, {count.direction}: {count.calls} calls counted,"
                        f" {count.run} runs, {count.to_people} put to a person,"
                        f" {len(count.failures)} failed,"
                        f" {count.seconds / max(count.run, 1):.2f} s a run"
                    )
    except NotInstalled as problem:
        say(f"{problem}.")
        return 3
    say(
        f"{calls} calls counted, {len(wanted)} faults: {calls * len(wanted)} runs to make, {run} runs,"
        f" {to_people} put to a person, {failed} failures, in {time.monotonic() - started:.0f} s"
    )
    whole = run == calls * len(wanted) or options.budget < float("inf")
    return 0 if run and whole and not failed else 1


def two(options: argparse.Namespace, directory: Path) -> int:
    """Run two of everything, on a database of its own beside the one that DATABASE_URL names."""
    given = os.environ.get("DATABASE_URL", "")
    if not is_postgres(given):
        say("Several of each process share a PostgreSQL: python tools/postgres.py run -- …")
        return 3
    with fresh_database(given) as url:
        os.environ |= {"DATABASE_URL": url, "DJANGO_SETTINGS_MODULE": "governance.settings"}
        import django

        django.setup()
        from django.db import connections

        from tools.trials import two as everything

        try:
            return everything.main(url=url, seconds=options.seconds, directory=directory, say=say)
        finally:
            connections.close_all()


def chosen_of(options: argparse.Namespace) -> list[Scenario]:
    """Return what is tried: on a real ERP, which can be asked by key, nothing blind."""
    from tools.trials.scenarios import BLIND, ORDER, PAYMENT

    found = (PAYMENT, ORDER) if options.target == "tryton" else (PAYMENT, ORDER, BLIND)
    return [each for each in found if each.name.startswith(options.only)]


def target_of(name: str, directory: Path) -> Target:
    """Return a target that is not started yet."""
    from tools.trials.targets.demo import DemoTarget
    from tools.trials.targets.tryton import TrytonTarget

    return TrytonTarget(directory) if name == "tryton" else DemoTarget(directory)


def say(line: str) -> None:
    print(line, flush=True)


if __name__ == "__main__":
    sys.exit(main())
