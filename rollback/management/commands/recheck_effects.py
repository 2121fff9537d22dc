"""`manage.py recheck_effects`: after a restore, ask the targets again what they did."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand

from rollback.models import Unit


class Command(BaseCommand):
    help = (
        "Have the audit of effects ask each target again about every unit that was ever sent, whether "
        "it was asked before or not. For a database that was restored. Prints how many."
    )

    def handle(self, *args: Any, **options: Any) -> None:
        again = Unit.objects.filter(sent_at__isnull=False).update(audited_at=None)
        self.stdout.write(
            f"{again} units will be asked about, as far as their requests have ended."
        )
