"""The process that makes time pass: every deadline, reminder and seal comes from here."""

from __future__ import annotations

from argparse import ArgumentParser
from collections import Counter
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from governance import clock, ticking
from governance.daemons import DatabaseGone, Life


class Command(BaseCommand):
    help = (
        "Run every sweep that is due, then sleep until the next is, for ever. "
        "Any number of these may run. SIGTERM and Ctrl-C end it after the sweep it is in."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        how = parser.add_mutually_exclusive_group()
        how.add_argument(
            "--once", action="store_true", help="one round, print what it moved, and end"
        )
        how.add_argument(
            "--until-idle", action="store_true", help="rounds until one moves nothing, then end"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        """Raises CommandError if a sweep failed, or the database is gone, in the bounded modes."""
        with Life() as life:
            if not (options["once"] or options["until_idle"]):
                ticking.Clock(
                    life=life,
                    now=clock.now,
                    sweeps=ticking.sweeps(),
                    next_due=ticking.next_due(),
                ).run()
                return
            hands = ticking.Hands("clock", now=clock.now, sweeps=ticking.sweeps())
            total: Counter[str] = Counter()
            try:
                while True:
                    moved = hands.round(enough=lambda: life.over)
                    total.update(moved)
                    if options["once"] or life.over or not any(moved.values()):
                        break
            except DatabaseGone as gone:
                raise CommandError(f"The database is gone: {gone}") from gone
        for name, count in total.items():
            self.stdout.write(f"{name}: {count}")
        if hands.failing:
            raise CommandError(f"Failed: {', '.join(hands.failing)}. The log has the reasons.")
