"""`manage.py audit`: look for everything that should not exist. Exit 0 = clean."""

from __future__ import annotations

import sys
from typing import Any

from django.core.management.base import BaseCommand

from approvals import auditing
from governance import clock


class Command(BaseCommand):
    help = "Run every audit and say what was found, a line each. Exit 0 = clean."

    def handle(self, *args: Any, **options: Any) -> None:
        standing = auditing.run(now=clock.now())
        for finding in standing:
            self.stdout.write(f"{finding.audit}: {finding.text}")
        self.stdout.write(f"{len(auditing.all_audits())} audits, {len(standing)} findings")
        if standing:
            sys.exit(1)
