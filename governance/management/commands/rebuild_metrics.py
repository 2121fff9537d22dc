"""`manage.py rebuild_metrics`: the weekly figures anew, from the ledger alone."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand

from governance import clock, wording
from governance.metrics import keeping


class Command(BaseCommand):
    help = (
        "Make measures and weekly rollups anew from the ledger's events, in pieces, beside whoever"
        " writes: the figures as before, or as a newer version counts them. Reads the whole ledger."
    )

    def handle(self, *args: Any, **options: Any) -> None:
        count = keeping.rebuild(now=clock.now(), actor="command:rebuild_metrics")
        self.stdout.write(f"{wording.plural(count, 'measure')} counted anew.")
