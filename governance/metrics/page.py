"""Figures as pages show them: tiles, lines to be drawn, tables. Pure: figures in, words and points out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

from governance.metrics import said, weeks
from governance.metrics.cases import url_of
from governance.metrics.figures import (
    ASKED_AGAIN,
    BYPASS,
    ESCALATION,
    LOWER,
    MIDDLE,
    ROLLBACK,
    SILENT,
    TILES,
    UNATTENDED,
    Figure,
    Kind,
    Line,
    Row,
)

WIDTH, HEIGHT, EDGE = 240, 56, 4  # of a sparkline
NUMBERS = ("None", "One", "Two", "Three", "Four", "Five", "Six")
WORDS = {True: "Met", False: "Missed"}


@dataclass(frozen=True, slots=True)
class Spark:
    """A small line: runs of weeks that have a figure, single ones as dots, and the target's height."""

    runs: Sequence[str]  # points of a polyline
    dots: Sequence[tuple[float, float]]
    last: tuple[float, float] | None
    target: float | None


@dataclass(frozen=True, slots=True)
class Tile:
    """One metric: its figure, whether the target is met, and where its cases are."""

    key: str
    name: str
    value: str
    met: bool | None
    state: str  # "Met", "Missed", "L3 missed"; "" where there is nothing to say
    lines: Sequence[str]
    spark: Spark
    url: str
    is_picked: bool


@dataclass(frozen=True, slots=True)
class Cell:
    text: str
    met: bool | None
    head: str = ""
    url: str = ""


@dataclass(frozen=True, slots=True)
class ReportRow:
    """One figure on the week's sheet."""

    name: str
    target: str
    value: str
    before: str
    met: bool | None
    of: str
    left_out: str


@dataclass(frozen=True, slots=True)
class TableRow:
    name: str
    unit: str
    cells: Sequence[Cell]


def tiles(lines: Mapping[Kind, Line], *, picked: str = "") -> list[Tile]:
    """Return the six tiles, as DESIGN 6 orders them. `picked`: the metric whose cases are shown."""
    return [_tile(lines, kind, picked) for kind in TILES]


def _tile(lines: Mapping[Kind, Line], kind: Kind, picked: str) -> Tile:
    line = lines[kind]
    met = met_of(lines, kind)
    return Tile(
        key=str(kind.metric),
        name=kind.name,
        value=said.value(line.this),
        met=met,
        state=_state(lines, kind, met),
        lines=[each for each in _beside(lines, kind) if each],
        spark=spark(line),
        url=url_of(kind, line.this.week),
        is_picked=kind.metric == picked,
    )


def met_of(lines: Mapping[Kind, Line], kind: Kind) -> bool | None:
    """Return whether a tile's targets are met: times have two, and both count."""
    kinds = (LOWER, MIDDLE) if kind == LOWER else (kind,)
    found = [met for each in kinds if (met := lines[each].this.met) is not None]
    return all(found) if found else None


def _state(lines: Mapping[Kind, Line], kind: Kind, met: bool | None) -> str:
    if met is None:
        return ""
    # The figure of the tile is that of L1 and L2: the other's is in a line below it.
    if kind == LOWER and not met and lines[LOWER].this.met is not False:
        return f"{MIDDLE.band} missed"
    return WORDS[met]


def _beside(lines: Mapping[Kind, Line], kind: Kind) -> tuple[str, ...]:
    line, figure = lines[kind], lines[kind].this
    target = f"Target {said.target(kind)}"
    quarter = line.all_weeks
    if kind == ESCALATION:
        return f"{target} · {said.of(figure)}", said.change(line)
    if kind == LOWER:
        middle = lines[MIDDLE].this
        return (
            f"{target} · {said.of(figure)}",
            f"L3: {said.value(middle)}, target {said.target(MIDDLE)}",
            _left_out(lines),
        )
    if kind == ROLLBACK:
        beside = said.left_out(figure)
        weeks_ = f"{quarter.hits:,} of {quarter.counted:,} in {len(line.figures)} weeks"
        return f"{target} · {said.of(figure)}", weeks_, f"Left out: {beside}" if beside else ""
    if kind == SILENT:
        return target, _last_one(line)
    if kind == BYPASS:
        return f"{target} · {said.of(figure)}", said.change(line)
    if kind == UNATTENDED:
        again = lines[ASKED_AGAIN].this
        return (
            f"{target} · {said.of(figure)}",
            f"System failure path; timeout path, answered: {said.value(again)}",
        )
    raise LookupError(f"{kind.key} has no tile")


def _left_out(lines: Mapping[Kind, Line]) -> str:
    both = Figure(LOWER, lines[LOWER].this.week, lines[LOWER].this.sums, 0)
    beside = [
        f"{band}: {words}" if band != LOWER.band else words
        for band, words in (
            (LOWER.band, said.left_out(both)), (MIDDLE.band, said.left_out(lines[MIDDLE].this)),
        )
        if words
    ]  # fmt: skip
    return f"Left out: {'; '.join(beside)}" if beside else ""


def _last_one(line: Line) -> str:
    for figure in reversed(line.figures[:-1]):
        if figure.sums.hits:
            return f"The last before in week {figure.week.isocalendar().week}"
    return f"None in the {len(line.figures) - 1} weeks before"


def headline(lines: Mapping[Kind, Line], week: date, *, so_far: bool) -> str:
    """Say the week and how many targets are met: "Week 47, …, so far. Five of six targets are met."."""
    found = [met for kind in TILES if (met := met_of(lines, kind)) is not None]
    nothing = len(TILES) - len(found)
    said_ = f"{weeks.words(week)}{', so far' if so_far else ''}."
    if sum(found) == len(found):
        which = "Every target" if not nothing else "Every target that can be told"
        said_ += f" {which} is met."
    else:
        of = NUMBERS[len(found)].lower()
        verb = "is" if sum(found) == 1 else "are"
        said_ += f" {NUMBERS[sum(found)]} of {of} targets {verb} met."
    if nothing:
        figures = "One figure has" if nothing == 1 else f"{NUMBERS[nothing]} figures have"
        said_ += f" {figures} nothing to count."
    return said_


def spark(line: Line) -> Spark:
    """Return a figure's line, scaled so that its target is always in the picture."""
    values = [None if each.value is None else float(each.value) for each in line.figures]
    known = [value for value in values if value is not None]
    target = float(line.kind.target.limit) if line.kind.target else None
    shown = known + ([target] if target is not None else [])
    top = max(shown, default=1) or 1
    bottom = min(shown, default=0) if line.kind.target and line.kind.target.sign == ">" else 0
    bottom -= (top - bottom) * 0.1 if bottom else 0
    step = (WIDTH - 2 * EDGE) / (len(values) - 1)

    def height(value: float) -> float:
        share = (value - bottom) / ((top - bottom) or 1)
        return round(HEIGHT - EDGE - share * (HEIGHT - 2 * EDGE), 1)

    runs: list[list[tuple[float, float]]] = [[]]
    for place, value in enumerate(values):
        if value is None:
            runs.append([])
        else:
            runs[-1].append((round(EDGE + place * step, 1), height(value)))
    return Spark(
        runs=[" ".join(f"{x},{y}" for x, y in run) for run in runs if len(run) > 1],
        dots=[run[0] for run in runs if len(run) == 1],
        last=runs[-1][-1] if runs[-1] else None,
        target=height(target) if target is not None else None,
    )


def chart(line: Line) -> dict[str, Any]:
    """Return what the script draws of one line; the table beside it says the same."""
    divisor = 60 if line.kind.unit == "seconds" else 1
    target = line.kind.target
    return {
        "name": line.kind.name,
        "unit": said.unit(line.kind),
        "weeks": [f"wk {each.week.isocalendar().week}" for each in line.figures],
        "values": [
            None if each.value is None else float(each.value) / divisor for each in line.figures
        ],
        "said": [said.value(each) for each in line.figures],
        "target": target.limit / divisor if target is not None else None,
        "target_said": said.target(line.kind),
    }


def week_rows(lines: Sequence[Line]) -> list[TableRow]:
    """Return the table of all weeks: a row a figure."""
    return [
        TableRow(
            line.kind.name,
            said.unit(line.kind),
            [Cell(said.bare(each), each.met) for each in line.figures],
        )
        for line in lines
    ]


def report_row(line: Line) -> ReportRow:
    """Return one line of the week's sheet."""
    this = line.this
    return ReportRow(
        line.kind.name, said.target(line.kind), said.value(this), said.value(line.before),
        this.met, said.of(this), said.left_out(this),
    )  # fmt: skip


def breakdown_rows(rows: Sequence[Row], by: str) -> list[TableRow]:
    """Return the table of a breakdown: a row a department, action or path, each figure with its cases."""
    return [
        TableRow(
            row.name,
            "",
            [
                Cell(said.value(each), each.met, each.kind.name, _cases(each, by, row.value))
                for each in row.figures
            ],
        )
        for row in rows
    ]  # fmt: skip


def _cases(figure: Figure, by: str, value: str) -> str:
    return url_of(figure.kind, figure.week, by=by, value=value) if figure.of else ""
