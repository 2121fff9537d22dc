"""The process that carries tasks: a parent that runs the task queue's cluster and watches over it."""

from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand

from governance import clock
from governance.daemons import Life
from governance.watchdog import Watchdog, new_name


class Command(BaseCommand):
    help = (
        "Run qcluster, and restart it when its beat does not come back. "
        "Any number of these may run. SIGTERM and Ctrl-C have each request handed back after the "
        "unit it is at, let tasks finish for a while, then end it with all it started."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "--patience", type=float, default=75,
            help="seconds without a sign of life that mean a hang; more than a task's time-out (75)",
        )  # fmt: skip
        parser.add_argument("--every", type=float, default=5, help="seconds between beats (5)")
        parser.add_argument(
            "--grace",
            type=float,
            default=20,
            help="seconds a clean stop leaves to tasks under way; more than a call may take (20)",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        with Life() as life:
            Watchdog(
                life=life,
                now=clock.now,
                patience=options["patience"],
                every=options["every"],
                grace=options["grace"],
                worker=new_name(),
            ).run()
