"""What stands behind a figure: exactly the measures that were counted, a page at a time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from decimal import Decimal, InvalidOperation
from typing import NamedTuple

from django.db.models import Q, QuerySet

from governance import wording
from governance.models import ActionType, Department, Measure, Metric, Person, WeeklyRollup

PAGE = 50
Outcome = Measure.Outcome


class Part(NamedTuple):
    """Some of what a metric counts, or counts beside."""

    key: str  # in addresses
    word: str
    outcomes: tuple[Measure.Outcome, ...]

    @property
    def is_counted(self) -> bool:
        """Whether it is some of what was counted, and not all of it nor what was left out."""
        return len(self.outcomes) == 1 and self.outcomes[0] in (Outcome.HIT, Outcome.MISS)


_BESIDE = (
    Part("absent", "Began with an absence", (Outcome.ABSENT,)),
    Part("withdrawn", "Withdrawn", (Outcome.WITHDRAWN,)),
)
# By metric, what can be looked at. The first is what one comes for.
PARTS: dict[str, tuple[Part, ...]] = {
    Metric.ESCALATION: (
        Part("escalated", "Escalated", (Outcome.HIT,)),
        Part("others", "Answered by those first asked, or nobody", (Outcome.MISS,)),
        Part("all", "All that ended", (Outcome.HIT, Outcome.MISS)),
    ),
    Metric.RESOLUTION: (
        Part("all", "Resolved", (Outcome.HIT, Outcome.MISS)),
        Part("late", "Later than the target", (Outcome.MISS,)),
        *_BESIDE,
    ),
    Metric.ROLLBACK: (
        Part("failed", "Failed, or needed a person", (Outcome.MISS,)),
        Part("succeeded", "Succeeded by themselves", (Outcome.HIT,)),
        Part("all", "All that ended", (Outcome.HIT, Outcome.MISS)),
        Part("lapsed", "Lapsed", (Outcome.LAPSED,)),
    ),
    Metric.SILENT: (Part("all", "Found", (Outcome.HIT, Outcome.MISS)),),
    Metric.BYPASS: (
        Part("bypasses", "Bypasses", (Outcome.HIT,)),
        Part("others", "Approved below L4", (Outcome.MISS,)),
        Part("all", "All approvals", (Outcome.HIT, Outcome.MISS)),
    ),
    Metric.UNATTENDED: (
        Part("people", "Left to a person", (Outcome.MISS,)),
        Part("alone", "Worked without one", (Outcome.HIT,)),
        Part("all", "All that ended", (Outcome.HIT, Outcome.MISS)),
    ),
    Metric.ASKED_AGAIN: (
        Part("silence", "Went on without an answer", (Outcome.MISS,)),
        Part("answered", "Answered", (Outcome.HIT,)),
        Part("all", "All that ended", (Outcome.HIT, Outcome.MISS)),
    ),
}


@dataclass(frozen=True, slots=True)
class Chosen:
    """Whose cases are looked at."""

    metric: str
    week: date
    part: Part
    by: str = ""  # a WeeklyRollup.By, if only one department, action or path
    value: str = ""
    levels: tuple[int, ...] = ()  # of times: only cases that came so far


@dataclass(frozen=True, slots=True)
class Case:
    """One line of the list."""

    pk: int
    at: datetime
    ref: str
    title: str
    action: str
    department: str
    path: str
    level: int
    amount: str
    first_asked: str
    took: timedelta | None
    said: str  # how it ended, or what an audit found


def part_of(metric: str, key: str) -> Part:
    """Return a part by its key; the first, if it has none of that name."""
    parts = PARTS[metric]
    return next((part for part in parts if part.key == key), parts[0])


def count(chosen: Chosen) -> int:
    """Return how many there are, by the rollups."""
    by = chosen.by or WeeklyRollup.By.ALL
    rows = WeeklyRollup.objects.filter(
        week=chosen.week, metric=chosen.metric, by=by, value=chosen.value
    )
    if chosen.levels:
        rows = rows.filter(level__in=chosen.levels)
    field = {
        Outcome.HIT: "hits", Outcome.MISS: "misses", Outcome.ABSENT: "absent", Outcome.WITHDRAWN: "withdrawn",
        Outcome.LAPSED: "lapsed",
    }  # fmt: skip
    return sum(getattr(row, field[outcome]) for row in rows for outcome in chosen.part.outcomes)


def counted(chosen: Chosen) -> int:
    """Return how many hits and misses there are beside it, itself among them."""
    every = Part("", "", (Outcome.HIT, Outcome.MISS))
    return count(replace(chosen, part=every))


def measures(chosen: Chosen) -> QuerySet[Measure]:
    """Return them, the newest first."""
    rows = Measure.objects.filter(
        metric=chosen.metric, week=chosen.week, outcome__in=chosen.part.outcomes
    )
    if chosen.by:
        rows = rows.filter(**{chosen.by: chosen.value})
    if chosen.levels:
        rows = rows.filter(level__in=chosen.levels)
    return rows.order_by("-at", "-pk")


def page(
    chosen: Chosen, after: tuple[datetime, int] | None, *, size: int = PAGE
) -> tuple[list[Case], tuple[datetime, int] | None]:
    """Return some of them, and after which the next ones come; None if there are none."""
    rows = measures(chosen)
    if after is not None:
        at, pk = after
        rows = rows.filter(Q(at__lt=at) | Q(at=at, pk__lt=pk))
    found = list(rows[: size + 1])
    shown = found[:size]
    last = shown[-1] if len(found) > size else None
    return told(shown), (last.at, last.pk) if last is not None else None


def all_told(chosen: Chosen) -> Iterator[Case]:
    """Yield every one of them, for a file. Memory stays flat."""
    after: tuple[datetime, int] | None = None
    while True:
        some, after = page(chosen, after, size=500)
        yield from some
        if after is None:
            return


def told(rows: Sequence[Measure]) -> list[Case]:
    """Return measures as a list shows them. Three queries, however many."""
    people = {_username(who) for row in rows for who in row.facts.get("first_asked", [])}
    names = dict(Person.objects.filter(username__in=people).values_list("username", "name"))
    departments = dict(Department.objects.values_list("key", "name"))
    keys = {row.action for row in rows}
    versions = ActionType.objects.filter(key__in=keys).order_by("version")
    actions = dict(versions.values_list("key", "name"))
    return [
        Case(
            pk=row.pk,
            at=row.at,
            ref=row.request,
            title=wording.plain(str(row.facts.get("title") or ""), 120),
            action=actions.get(row.action, row.action),
            department=departments.get(row.department, row.department),
            path=row.path,
            level=row.level,
            amount=_amount(row),
            first_asked=", ".join(
                names.get(_username(who), _username(who))
                for who in row.facts.get("first_asked", [])
            ),
            took=None if row.seconds is None else timedelta(seconds=row.seconds),
            said=wording.plain(_said(row), 200),
        )
        for row in rows
    ]


def _username(who: str) -> str:
    return who.removeprefix("person:")


def _amount(row: Measure) -> str:
    amount, currency = row.facts.get("amount"), row.facts.get("currency")
    if not amount or not currency:
        return ""
    try:
        return wording.money(Decimal(amount), str(currency))
    except InvalidOperation as problem:
        raise ValueError(f"{row} has {amount!r} for an amount") from problem


_ENDED = {
    "recovery.succeeded": "Succeeded",
    "recovery.failed": "Failed",
    "recovery.lapsed": "Lapsed",
    "request.stranded": "Stranded",
    "request.completed": "It worked",
    "request.approved": "Approved",
    "step.decided": "Rejected",
    "step.expired": "The time ran out",
    "step.passed_over": "Passed over",
}


def _said(row: Measure) -> str:
    facts = row.facts
    if row.metric == Metric.SILENT:
        return f"{facts.get('audit', '')}: {facts.get('text', '')}"
    how = facts.get("how") or ""
    said = _ENDED.get(how) or str(facts.get("ended") or how.partition(".")[2])
    said = said.replace("_", " ")
    if facts.get("why"):
        said = f"{said}: {facts['why']}"
    if facts.get("needed_a_person"):
        said = f"{said}, with a person"
    return said[:1].upper() + said[1:]
