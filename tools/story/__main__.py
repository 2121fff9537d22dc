"""`make story`: start everything, tell a story, check the record, stop everything. Exit 0 only if all holds."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import django
import httpx2

from tools.demo import TARGETS, Demo, DemoError
from tools.story import bypass, conflict, payment, rejection, system_failure, undo, violation
from tools.story.telling import Telling

STORIES = {
    "payment": payment.tell,
    "rejection": rejection.tell,
    "conflict": conflict.tell,
    "bypass": bypass.tell,
    "system-failure": system_failure.tell,
    "undo": undo.tell,
    "violation": violation.tell,
}
ON_ERP = ("payment",)  # the others are told on the demo's own target, by its faults
SPEED = 60.0  # an hour is a minute: the payment takes three quarters of one
FASTER = {"bypass": 240.0}  # eight hours of silence come before the last rung
ALL = "all"
AT_ONCE = (
    2  # each has five processes of its own, which mostly wait; on a given database one at a time
)


def main() -> int:
    parser = argparse.ArgumentParser(prog="make story", description=__doc__)
    parser.add_argument(
        "story", nargs="?", default=os.environ.get("STORY") or "payment", choices=[*STORIES, ALL]
    )
    parser.add_argument("--speed", type=float, default=float(os.environ.get("SPEED") or 0))
    parser.add_argument("--target", default=os.environ.get("TARGET") or TARGETS[0])
    options = parser.parse_args()
    if options.target not in TARGETS:
        parser.error(f"TARGET is {' or '.join(TARGETS)}")
    if options.target != TARGETS[0] and options.story not in ON_ERP:
        parser.error(f"on {options.target} this story is told: {', '.join(ON_ERP)}")
    if options.story == ALL:
        return tell_all()
    speed = options.speed or FASTER.get(options.story, SPEED)
    return tell(options.story, speed, options.target)


def tell_all() -> int:
    """Tell every story, some at once, each in a process of its own with what this one was given."""

    def one(name: str) -> int:
        words = [sys.executable, "-m", "tools.story", *sys.argv[1:]]
        done = subprocess.run(
            [*(word for word in words if word != ALL), name],
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False,
        )  # fmt: skip
        print(done.stdout, flush=True)
        return done.returncode

    with ThreadPoolExecutor(1 if os.environ.get("DATABASE_URL") else AT_ONCE) as pool:
        return max(pool.map(one, STORIES))


def tell(story: str, speed: float, target: str) -> int:
    """Tell one story. Returns 0 only if every row of it holds."""
    telling = Telling()
    began = time.monotonic()
    try:
        with Demo(
            speed=speed,
            target=target,
            database_url=os.environ.get("DATABASE_URL"),
            say=lambda line: print(line, flush=True) if target != TARGETS[0] else None,
        ) as demo:
            os.environ |= demo.environment
            os.environ["DJANGO_SETTINGS_MODULE"] = "governance.settings"
            django.setup()
            print(
                f"Story {story!r} at {demo.url}, {speed:g} times as fast",
                flush=True,
            )
            try:
                STORIES[story](demo, telling)
            except (TimeoutError, RuntimeError, LookupError, httpx2.HTTPError) as problem:
                telling.row(
                    "", "the story goes on", False, otherwise=f"{type(problem).__name__}: {problem}"
                )
            if telling.failures:
                for name in ("web", "clock", "worker"):
                    print(f"--- {name}\n{demo.log(name)[-2000:]}", file=sys.stderr)
    except DemoError as problem:
        print(f"FAIL  {problem}", file=sys.stderr)
        return 1
    verdict = f"{telling.failures} rows did not hold" if telling.failures else "every row holds"
    print(f"{verdict}, in {time.monotonic() - began:.0f} s")
    return 1 if telling.failures else 0


if __name__ == "__main__":
    sys.exit(main())
