"""What stands behind a figure: exactly the measures that were counted, a page at a time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal, InvalidOperation
from typing import NamedTuple

from django.db.models import QuerySet
from django.urls import reverse
from django.utils.http import urlencode

from governance import wording
from governance.metrics import figures, weeks
from governance.metrics.figures import By, Figure, Kind
from governance.models import ActionType, Department, Measure, Metric, Person

PAGE = 50
Outcome = Measure.Outcome
COUNTED = (Outcome.HIT, Outcome.MISS)


class Part(NamedTuple):
    """Some of what a metric counts, or counts beside."""

    key: str  # in addresses
    word: str
    outcomes: tuple[Measure.Outcome, ...]

    @property
    def is_counted(self) -> bool:
        """Whether it is some of what was counted, and not all of it nor what was left out."""
        return len(self.outcomes) == 1 and self.outcomes[0] in COUNTED

    @property
    def is_all(self) -> bool:
        return self.outcomes == COUNTED


_BESIDE = (
    Part("absent", "Began with an absence", (Outcome.ABSENT,)),
    Part("withdrawn", "Withdrawn", (Outcome.WITHDRAWN,)),
)
# By metric, what can be looked at. The first is what one comes for.
PARTS: dict[str, tuple[Part, ...]] = {
    Metric.ESCALATION: (
        Part("escalated", "Escalated", (Outcome.HIT,)),
        Part("others", "Answered by those first asked, or nobody", (Outcome.MISS,)),
        Part("all", "All that ended", COUNTED),
    ),
    Metric.RESOLUTION: (
        Part("all", "Resolved", COUNTED),
        Part("late", "Later than the target", (Outcome.MISS,)),
        *_BESIDE,
    ),
    Metric.ROLLBACK: (
        Part("failed", "Failed, or needed a person", (Outcome.MISS,)),
        Part("succeeded", "Succeeded by themselves", (Outcome.HIT,)),
        Part("all", "All that ended", COUNTED),
        Part("lapsed", "Lapsed", (Outcome.LAPSED,)),
    ),
    Metric.SILENT: (Part("all", "Found", (Outcome.HIT,)),),
    Metric.BYPASS: (
        Part("bypasses", "Bypasses", (Outcome.HIT,)),
        Part("others", "Approved below L4", (Outcome.MISS,)),
        Part("all", "All approvals", COUNTED),
    ),
    Metric.UNATTENDED: (
        Part("people", "Left to a person", (Outcome.MISS,)),
        Part("alone", "Worked without one", (Outcome.HIT,)),
        Part("all", "All that ended", COUNTED),
    ),
    Metric.ASKED_AGAIN: (
        Part("silence", "Went on without an answer", (Outcome.MISS,)),
        Part("answered", "Answered", (Outcome.HIT,)),
        Part("all", "All that ended", COUNTED),
    ),
}


@dataclass(frozen=True, slots=True)
class Chosen:
    """Whose cases are looked at."""

    kind: Kind
    week: date
    part: Part
    by: str = ""  # a WeeklyRollup.By, if only one department, action or path
    value: str = ""

    @property
    def is_of_all(self) -> bool:
        """Whether the whole of which this path's are a share is not this path's alone."""
        return self.by == By.PATH and self.kind.metric in figures.OF_ALL

    def figure(self) -> Figure:
        """Return the figure that these are counted in. One query."""
        return figures.figure(self.kind, self.week, By(self.by or By.ALL), self.value)


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


def parts_of(kind: Kind) -> tuple[Part, ...]:
    """Return what can be looked at of a figure. Where there is no target nothing is later than it."""
    parts = PARTS[kind.metric]
    return tuple(part for part in parts if part.key != "late" or kind.target is not None)


def part_of(kind: Kind, key: str) -> Part:
    """Return a part by its key; the first, if it has none of that name."""
    parts = parts_of(kind)
    return next((part for part in parts if part.key == key), parts[0])


def count(figure: Figure, part: Part) -> int:
    """Return how many of a figure are of this part."""
    if part.is_all:
        return figure.of
    sums = figure.sums
    of = {
        Outcome.HIT: sums.hits, Outcome.MISS: sums.misses, Outcome.ABSENT: sums.absent,
        Outcome.WITHDRAWN: sums.withdrawn, Outcome.LAPSED: sums.lapsed,
    }  # fmt: skip
    return sum(of[outcome] for outcome in part.outcomes)


def url_of(
    kind: Kind, week: date, *, part: str = "", by: str = "", value: str = "", because: str = ""
) -> str:
    """Return the address of a list of cases."""
    query = {"metric": kind.key, "week": weeks.name_of(week)}
    query |= {"show": part} if part else {}
    query |= {"by": by, "of": value} if by else {}
    query |= {"because": because} if because else {}
    return f"{reverse('governance:metrics')}?{urlencode(query)}#cases"


def measures(chosen: Chosen) -> QuerySet[Measure]:
    """Return them, the newest first."""
    rows = Measure.objects.filter(
        metric=chosen.kind.metric, week=chosen.week, outcome__in=chosen.part.outcomes
    )
    if chosen.by and not (chosen.is_of_all and chosen.part.is_all):
        rows = rows.filter(**{chosen.by: chosen.value})
    if chosen.kind.band:
        rows = rows.filter(level__in=chosen.kind.levels)
    return rows.order_by("-at", "-pk")


def page(
    chosen: Chosen, after: tuple[datetime, int] | None, *, size: int = PAGE
) -> tuple[list[Case], tuple[datetime, int] | None]:
    """Return some of them, and after which the next ones come; None if there are none."""
    rows = measures(chosen)
    if after is not None:
        at, pk = after
        # Not "earlier, or then and below it": an index finds where to begin by the first part alone.
        rows = rows.filter(at__lte=at).exclude(at=at, pk__gte=pk)
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
    except InvalidOperation:
        # Folding takes no such amount, so somebody wrote this row past it: it is shown as it stands.
        return wording.plain(f"{amount} {currency}", 40)


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
