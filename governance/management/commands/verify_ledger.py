"""`manage.py verify_ledger`: is the record what was written?"""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from governance import clock
from governance.verify import Totals, findings


class Command(BaseCommand):
    help = "Read the whole ledger and say where it was changed. Exit 0: clean. Exit 1: it was."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--json", action="store_true", help="one JSON document instead of lines"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        totals = Totals()
        # Read to its end before a word is written: whoever reads that may take their time, and the
        # database ends a transaction that idles.
        found = list(findings(clock.now(), totals))
        if options["json"]:
            report = {
                "clean": not found,
                **asdict(totals),
                "findings": [f._asdict() for f in found],
            }
            self.stdout.write(json.dumps(report, indent=2))
        else:
            for finding in found:
                self.stdout.write(str(finding))
            self.stdout.write(
                f"{totals.events} events in {totals.chains} chains, {totals.seals} seals:"
                f" {len(found) or 'no'} findings"
            )
        if found:
            raise CommandError(f"The ledger is not what was written: {len(found)} findings.")
