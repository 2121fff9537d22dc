"""Has drills done each quarter, ends those that do not end, and says which are overdue."""

from __future__ import annotations

from datetime import datetime, timedelta
from itertools import islice

from django.conf import settings
from django.db.models import DateTimeField, Exists, OuterRef, Q, QuerySet

from approvals.models import Alert
from approvals.services.alerts import sound
from governance import actors, calls, clock, signs, wording
from governance.ladder import DRILL_COUNTS_FOR
from governance.models import ActionType
from governance.reads import NOW, Given, Read, together
from rollback.models import Drill
from rollback.services import drill as drills
from rollback.services.drill import OVERDUE

TASK = "rollback.tasks.run_drills"
MARK = "driller"
AHEAD = timedelta(
    days=14
)  # of the day on which the last one counts no more: time to mend what failed
AGAIN_AFTER = timedelta(days=1)  # one that did not pass
BATCH = 20
SCHEDULED = (ActionType.State.TESTED, ActionType.State.PRODUCTION)


def keep_drills(*, now: datetime) -> int:
    """Ask for the drills that are due, fail those whose time is over, call the worker, say what is overdue.

    Returns how many of these there were.
    """
    due, overdue, late, free, settled = together(
        read_due, read_overdue, read_late, read_free, read_settled,
        now=now, soon=now + AHEAD, lately=now - AGAIN_AFTER,
    )  # fmt: skip
    moved = sum(drills.give_up(pk, now) for (pk,) in late)
    asked = _ask([pk for (pk,) in due], now) if due and settings.SANDBOXES else 0
    moved += asked
    moved += sum(_say(pk, now) for (pk,) in overdue)
    moved += sum(
        signs.works_again(by=actors.CLOCK, kind=kind, key=key, now=now) for kind, key in settled
    )
    if free or asked:
        moved += calls.call(TASK, mark=MARK, now=now)
    return moved


def _live() -> QuerySet[ActionType]:
    rows: QuerySet[ActionType] = ActionType.objects.filter(state__in=SCHEDULED)
    return rows.exclude(reversal=ActionType.Reversal.NONE)


def _due() -> QuerySet[ActionType, tuple[int]]:
    own = Drill.objects.filter(action_type=OuterRef("pk"))
    tried = own.filter(
        Q(ended_at__isnull=True) | Q(started_at__gt=Given("lately", DateTimeField()))
    )
    soon = Q(drill_due_at__isnull=True) | Q(drill_due_at__lte=Given("soon", DateTimeField()))
    return _live().filter(soon, ~Exists(tried)).order_by("pk").values_list("pk")


def _overdue() -> QuerySet[ActionType, tuple[int]]:
    said = Alert.objects.filter(kind=OVERDUE, key=OuterRef("key"), closed_at__isnull=True)
    over = Q(drill_due_at__isnull=True) | Q(drill_due_at__lte=NOW)
    rows = _live().filter(over, ~Exists(said), is_financial=True, state=SCHEDULED[1])
    return rows.order_by("pk").values_list("pk")[:BATCH]


read_due = Read(_due)
read_overdue = Read(_overdue)
read_late = Read(
    lambda: (
        Drill.objects.filter(ended_at__isnull=True, due_at__lte=NOW)
        .order_by("due_at")
        .values_list("pk")[:BATCH]
    )
)
read_settled = Read(lambda: drills.settled(NOW)[:BATCH])
read_free = Read(lambda: drills.waiting(NOW).values_list("pk")[:1])


def _ask(pks: list[int], now: datetime) -> int:
    """Ask for those that can be drilled. What cannot is said on its page, and here once it is overdue.

    It is no fewer the next time: all of them are looked at, or they would take the turn of the others.
    """
    found = ActionType.objects.filter(pk__in=pks).order_by("pk")
    able = list(islice((kind for kind in found if not drills.why_not(kind)), BATCH))
    for kind in able:
        drills.ask(action_type=kind.pk, now=now, technical=clock.technical)
    return len(able)


def _say(pk: int, now: datetime) -> int:
    kind = ActionType.objects.get(pk=pk)
    ended = Drill.objects.filter(action_type=kind, passed__isnull=False).order_by("-pk")
    last, passed = ended.first(), ended.filter(passed=True).first()
    since = f"for {DRILL_COUNTS_FOR.days} days" if passed is not None else "yet"
    said = f"No drill of {kind} has passed {since}"
    if passed is not None and passed.ended_at and passed.ended_at > now - DRILL_COUNTS_FOR:
        said = f"A drill of {kind} showed that its undo does not work"
    text = f"{said}, so each request for it takes somebody present."
    missing = drills.why_not(kind)
    if missing:
        text += f" {missing}"
    elif last is not None and not last.passed:
        text += f" The last one: {wording.plain(last.said, 200)}"
    sound(by=actors.CLOCK, kind=OVERDUE, key=kind.key, text=text, now=now)
    return 1
