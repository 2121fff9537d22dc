"""From rollups to figures: rates, means, medians, targets, trends and breakdowns.

Reads rollups alone, of thirteen weeks at most: what a page costs depends on neither
the number of requests nor of measures.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from decimal import ROUND_HALF_UP, Decimal
from typing import Literal, NamedTuple

from governance.metrics import weeks
from governance.models import ActionType, Department, Metric, MetricsMark, Uncounted, WeeklyRollup
from governance.vocabulary import Level

By = WeeklyRollup.By
NAMED = 5  # of the requests that are not counted
EARLIEST = date(2000, 1, 3)  # a Monday; thirteen weeks before it are still dates
Band = Literal["", "L1-L2", "L3", "L4"]
Unit = Literal["percent", "seconds", "count"]


class Target(NamedTuple):
    """What a figure must be: below or above `limit`, in the figure's unit, or exactly it."""

    sign: Literal["<", ">", "="]
    limit: int


@dataclass(frozen=True, slots=True)
class Kind:
    """One figure: of which metric, of which levels, in what, and its target. Source: DESIGN 6."""

    metric: Metric
    unit: Unit
    target: Target | None
    band: Band = ""
    levels: tuple[int, ...] = (Level.L0,)

    @property
    def key(self) -> str:
        """Its name in addresses, files and the API: "resolution_l1_l2"."""
        return f"{self.metric}_{self.band}".lower().replace("-", "_").rstrip("_")

    @property
    def name(self) -> str:
        if not self.band:
            return str(self.metric.label)
        return f"{self.metric.label}, {self.band.replace('-', ' and ')}"


ESCALATION = Kind(Metric.ESCALATION, "percent", Target("<", 15))
LOWER = Kind(
    Metric.RESOLUTION, "seconds", Target("<", 2 * 3600), "L1-L2", (Level.L0, Level.L1, Level.L2)
)
MIDDLE = Kind(Metric.RESOLUTION, "seconds", Target("<", 8 * 3600), "L3", (Level.L3,))
UPPER = Kind(Metric.RESOLUTION, "seconds", None, "L4", (Level.L4,))
ROLLBACK = Kind(Metric.ROLLBACK, "percent", Target(">", 95))
SILENT = Kind(Metric.SILENT, "count", Target("=", 0))
BYPASS = Kind(Metric.BYPASS, "percent", Target("<", 1))
UNATTENDED = Kind(Metric.UNATTENDED, "percent", Target(">", 60))
ASKED_AGAIN = Kind(Metric.ASKED_AGAIN, "percent", None)

TILES = (ESCALATION, LOWER, ROLLBACK, SILENT, BYPASS, UNATTENDED)
KINDS = (
    ESCALATION, LOWER, MIDDLE, UPPER, ROLLBACK, SILENT, BYPASS, UNATTENDED, ASKED_AGAIN,
)  # fmt: skip
BY_KEY = {kind.key: kind for kind in KINDS}
# By path, these are shares of all that ended or was approved: those of one path are all alike.
OF_ALL = (Metric.ESCALATION, Metric.BYPASS)


@dataclass(slots=True)
class Sums:
    """Rollups added up."""

    hits: int = 0
    misses: int = 0
    absent: int = 0
    withdrawn: int = 0
    lapsed: int = 0
    seconds: int = 0
    minutes: dict[int, int] = field(default_factory=lambda: defaultdict(int))

    def add(self, row: WeeklyRollup) -> None:
        self.hits += row.hits
        self.misses += row.misses
        self.absent += row.absent
        self.withdrawn += row.withdrawn
        self.lapsed += row.lapsed
        self.seconds += row.seconds
        for minute, count in row.minutes.items():
            self.minutes[int(minute)] += count

    @property
    def counted(self) -> int:
        return self.hits + self.misses

    @property
    def left_out(self) -> dict[str, int]:
        """What is counted beside, by why, and only what there is."""
        beside = {"absent": self.absent, "withdrawn": self.withdrawn, "lapsed": self.lapsed}
        return {why: count for why, count in beside.items() if count}


def mean_s(sums: Sums) -> int | None:
    """Return the mean time in seconds, rounded down; None of nothing."""
    return sums.seconds // sums.counted if sums.counted else None


def median_s(minutes: Mapping[int, int]) -> int | None:
    """Return the median time in seconds, at most a minute too low; None of nothing.

    Args:
        minutes: how many took so many whole minutes.
    """
    total = sum(minutes.values())
    if not total:
        return None
    lower, upper = _nth(minutes, (total - 1) // 2), _nth(minutes, total // 2)
    return (lower + upper) * 30


def _nth(minutes: Mapping[int, int], place: int) -> int:
    for minute in sorted(minutes):
        place -= minutes[minute]
        if place < 0:
            return minute
    raise IndexError("there are fewer")


@dataclass(frozen=True, slots=True)
class Figure:
    """One figure of one week, in all or of one department, action or path."""

    kind: Kind
    week: date
    sums: Sums
    of: int  # what `sums.hits` are a share of

    @property
    def value(self) -> Decimal | None:
        """Percent, to two places; mean seconds; or a count. None where nothing was counted."""
        if self.kind.unit == "count":
            return Decimal(self.sums.hits)
        if self.kind.unit == "seconds":
            mean = mean_s(self.sums)
            return None if mean is None else Decimal(mean)
        if not self.of:
            return None
        share = Decimal(100 * self.sums.hits) / self.of
        return share.quantize(Decimal("0.01"), ROUND_HALF_UP)

    @property
    def median_s(self) -> int | None:
        return median_s(self.sums.minutes) if self.kind.unit == "seconds" else None

    @property
    def met(self) -> bool | None:
        """Whether the target is met, by whole numbers and not by what is shown; None without either."""
        target = self.kind.target
        if target is None or self.value is None:
            return None
        if self.kind.unit == "percent":
            ours, limit = 100 * self.sums.hits, target.limit * self.of
        elif self.kind.unit == "seconds":
            ours, limit = self.sums.seconds, target.limit * self.sums.counted
        else:
            ours, limit = self.sums.hits, target.limit
        return {"<": ours < limit, ">": ours > limit, "=": ours == limit}[target.sign]


@dataclass(frozen=True, slots=True)
class Line:
    """One figure over the weeks, the oldest first and the chosen week last."""

    kind: Kind
    figures: Sequence[Figure]

    @property
    def this(self) -> Figure:
        return self.figures[-1]

    @property
    def before(self) -> Figure:
        return self.figures[-2]

    @property
    def all_weeks(self) -> Sums:
        total = Sums()
        for figure in self.figures:
            _add(total, figure.sums)
        return total


@dataclass(frozen=True, slots=True)
class Row:
    """One line of a breakdown: a department, an action or a path, and its figures of one week."""

    value: str
    name: str
    figures: Sequence[Figure]


@dataclass(frozen=True, slots=True)
class Standing:
    """Up to when the ledger is counted, and what of it is not."""

    counted_at: datetime | None
    anything: bool  # whether anything was ever counted
    uncounted: int = 0  # requests whose record is broken
    some: Sequence[str] = ()  # of their refs

    @property
    def others(self) -> int:
        return self.uncounted - len(self.some)


def standing() -> Standing:
    """Return up to when the ledger is counted, what is left out, and whether it came to anything. Four queries."""
    mark = MetricsMark.objects.first()
    broken = Uncounted.objects.order_by("chain").values_list("chain", flat=True)
    return Standing(
        mark.counted_at if mark else None, WeeklyRollup.objects.exists(),
        broken.count(), list(broken[:NAMED]),
    )  # fmt: skip


def lines(week: date, kinds: Sequence[Kind] = KINDS) -> list[Line]:
    """Return each figure of the thirteen weeks up to this one. One query."""
    wanted = weeks.up_to(week)
    rows = WeeklyRollup.objects.filter(week__in=wanted, by=By.ALL)
    sums = _summed(rows)
    return [Line(kind, [_figure(kind, each, sums, "", sums) for each in wanted]) for kind in kinds]


def breakdown(week: date, by: By, kinds: Sequence[Kind] = KINDS) -> list[Row]:
    """Return the week's figures of each department, action or path that has any, by name. Two queries."""
    sums = _summed(WeeklyRollup.objects.filter(week=week, by__in=[By.ALL, by]))
    own = {key: value for key, value in sums.items() if key[3] == by}
    values = {value for _, _, _, _, value in own}
    names = names_of(by)
    rows = [
        Row(
            value,
            names.get(value, value) or "None",
            [_figure(kind, week, own, value, sums, by=by) for kind in kinds],
        )
        for value in values
    ]
    return sorted(rows, key=lambda row: (row.value == "", row.name))


def figure(kind: Kind, week: date, by: By = By.ALL, value: str = "") -> Figure:
    """Return one figure, as `lines` or `breakdown` has it. One query."""
    rows = WeeklyRollup.objects.filter(week=week, metric=kind.metric, by__in=[By.ALL, by])
    sums = _summed(rows)
    return _figure(kind, week, sums, value, sums, by=by)


def names_of(by: By) -> dict[str, str]:
    """Return the names of departments or actions by key; of paths by what they are called. One query."""
    from governance.wording import SIGNS

    if by == By.DEPARTMENT:
        return dict(Department.objects.values_list("key", "name"))
    if by == By.ACTION:
        return dict(ActionType.objects.order_by("version").values_list("key", "name"))
    return {path: sign.word for path, sign in SIGNS.items()}


_Key = tuple[date, str, int, str, str]  # week, metric, level, by, value


def _summed(rows: Iterable[WeeklyRollup]) -> dict[_Key, Sums]:
    found: dict[_Key, Sums] = defaultdict(Sums)
    for row in rows:
        found[row.week, row.metric, row.level, row.by, row.value].add(row)
    return dict(found)


def _figure(
    kind: Kind, week: date, sums: Mapping[_Key, Sums], value: str, all_sums: Mapping[_Key, Sums],
    *, by: By = By.ALL,
) -> Figure:  # fmt: skip
    total = Sums()
    for level in kind.levels:
        own = sums.get((week, kind.metric, level, by, value))
        if own is not None:
            _add(total, own)
    of = total.counted
    if by == By.PATH and kind.metric in OF_ALL:
        of = all_sums.get((week, kind.metric, Level.L0, By.ALL, ""), Sums()).counted
    return Figure(kind, week, total, of)


def _add(total: Sums, more: Sums) -> None:
    for name in ("hits", "misses", "absent", "withdrawn", "lapsed", "seconds"):
        setattr(total, name, getattr(total, name) + getattr(more, name))
    for minute, count in more.minutes.items():
        total.minutes[minute] += count
