"""Delivers notices without a worker: by hand, or where django-q2 is not run."""

from __future__ import annotations

import time
from typing import Any

from django.core.management.base import BaseCommand, CommandParser
from django.db import InterfaceError, OperationalError, close_old_connections

from approvals.tasks import drain

LOOK_EVERY_S = 1.0
DRAIN_FOR_S = 45.0
DATABASE_AWAY_S = 5.0


class Command(BaseCommand):
    help = "Deliver the notices that are due, until stopped. Safe beside workers."
    requires_system_checks = []  # a page that is broken stops no delivery

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--once", action="store_true", help="Stop when nothing is due, or after a minute."
        )

    def handle(self, *args: Any, once: bool, **options: Any) -> None:
        if once:
            self.stdout.write(f"{drain(for_s=DRAIN_FOR_S)} notices taken up.")
            return
        while True:
            try:
                if not drain(for_s=DRAIN_FOR_S):
                    time.sleep(LOOK_EVERY_S)
            except (OperationalError, InterfaceError) as problem:
                # No row can be written now. The notices stand, and are due when it is back.
                self.stderr.write(f"The database is away: {type(problem).__name__}")
                close_old_connections()
                time.sleep(DATABASE_AWAY_S)
