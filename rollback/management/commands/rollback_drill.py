"""Rehearses undoing on sandboxes, now, and says what came of it at each point. Exit 0 only if all passed."""

from __future__ import annotations

import time
from argparse import ArgumentParser
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError
from django.db import transaction

from governance import clock
from governance.errors import Refused
from governance.models import ActionType
from rollback.driller import go_on
from rollback.models import Drill
from rollback.rehearsal.house import House
from rollback.rehearsal.points import Point, words_of
from rollback.services import drill as drills

STATES = (ActionType.State.TESTED, ActionType.State.PRODUCTION)
LOOK_EVERY_S = 0.5


class Command(BaseCommand):
    help = (
        "Rehearse the undo of an action type on its target's sandbox: fail at every point, undo, compare. "
        "Without ACTION: of every one in tested or production that can be undone."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("action", nargs="?", help="an action type's key")
        parser.add_argument(
            "--number", type=int, help="its version; the one in production by default"
        )
        parser.add_argument(
            "--where-there-is-a-sandbox",
            action="store_true",
            help="leave out, and name, what has no sandbox; otherwise that is a failure",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        kinds = _kinds(options["action"], options["number"])
        if not kinds:
            raise CommandError("There is no such action type in tested or production.")
        if options["where_there_is_a_sandbox"]:
            without = [kind for kind in kinds if drills.target_of(kind) not in settings.SANDBOXES]
            for kind in without:
                self.stdout.write(
                    f"{kind} is left out: target {drills.target_of(kind)} has no sandbox."
                )
            kinds = [kind for kind in kinds if kind not in without]
        with House() as house:
            passed = [self._drill(kind, house) for kind in kinds]
        failed = passed.count(False)
        if failed:
            raise CommandError(f"{failed} of {len(passed)} drills did not pass.")
        self.stdout.write(f"{len(passed)} passed.")

    def _drill(self, kind: ActionType, house: House) -> bool:
        self.stdout.write(f"{kind} on the sandbox of {drills.target_of(kind) or '?'}")
        try:
            with transaction.atomic():  # nobody takes it in between
                asked = drills.ask(action_type=kind.pk, now=clock.now(), technical=clock.technical)
                taken = drills.take(drill=asked.pk, now=clock.now(), technical=clock.technical)
        except Refused as refusal:
            self.stdout.write(f"  refused: {refusal.detail}")
            return False
        if taken is None:
            self.stdout.write("  a worker is at it; waiting for it")
        else:
            go_on(taken, house, now=clock.now, technical=clock.technical, tell=self._tell)
        ended = _ended(asked.pk)
        word = (
            "passed"
            if ended.passed
            else f"FAILED: {ended.get_outcome_display().lower()}. {ended.said}"
        )
        self.stdout.write(f"  {word} Evidence: drill {ended.pk}, {ended.evidence_hash[:16]}")
        return bool(ended.passed)

    def _tell(self, drill: Drill) -> None:
        entry = drill.evidence[-1]
        words = words_of(Point(entry["unit"], entry["at"]), drill.units)
        self.stdout.write(f"  {words}: {Drill.Outcome(entry['outcome']).label.lower()}")
        self.stdout.flush()


def _kinds(key: str | None, number: int | None) -> list[ActionType]:
    rows = ActionType.objects.order_by("key", "-version")
    if key is None:
        return list(rows.filter(state__in=STATES).exclude(reversal=ActionType.Reversal.NONE))
    rows = rows.filter(key=key)
    rows = rows.filter(state__in=STATES) if number is None else rows.filter(version=number)
    found = sorted(rows, key=lambda kind: kind.state != ActionType.State.PRODUCTION)
    return found[:1]


def _ended(pk: int) -> Drill:
    """Return the drill once it has ended. It has a clock, which the sweeps keep; so does this."""
    while True:
        drill = Drill.objects.select_related("action_type").get(pk=pk)
        if not drill.is_open:
            return drill
        drills.give_up(pk, clock.now())
        time.sleep(LOOK_EVERY_S)
