"""`manage.py recheck_effects`: after a restore, ask the targets again what they did."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from governance import clock
from rollback import strays
from rollback.models import Bookmark, Unit

PAGES = 100_000  # of a list: one that makes up new ones for ever comes to an end


class Command(BaseCommand):
    help = (
        "Have the audit of effects ask each target again about every unit that was ever sent, whether "
        "it was asked before or not, and read the targets' own lists of what they did to their ends, "
        "however long they are. For a database that was restored. Prints how many; exits 1 if a list "
        "was not read to its end."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--from-the-start",
            action="store_true",
            help="read the lists from their first entry: for a target that was itself restored",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        again = Unit.objects.filter(sent_at__isnull=False).update(audited_at=None)
        self.stdout.write(
            f"{again} units will be asked about, as far as their requests have ended."
        )
        if options["from_the_start"]:
            Bookmark.objects.update(after="")
        lists, unread = strays.sources()
        read = strays.read_on(lists, clock.now(), pages=PAGES)
        open_now = strays.unexplained(clock.now()).count()
        self.stdout.write(
            f"{read} entries of {len(lists)} lists were read; {open_now} effects in targets are"
            " accounted for by nothing here."
        )
        names = {(each.target, each.name) for each in lists}
        stopped = 0
        for mark in Bookmark.objects.exclude(problem="").order_by("target", "name"):
            if (mark.target, mark.name) in names:
                stopped += 1
                self.stdout.write(
                    f"{mark.target}, {mark.name}: not read to its end: {mark.problem}"
                )
        for each in unread:
            self.stdout.write(each.text)
        if stopped:
            raise CommandError(f"{stopped} of {len(lists)} lists were not read to their ends.")
        if unread:
            raise CommandError(f"The lists of {len(unread)} action types were not read.")
