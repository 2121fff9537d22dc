"""How well it goes: six figures a week, what stands behind each, as a page, as files, and on one sheet of paper."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any
from urllib.parse import urlencode

from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from django.shortcuts import render
from django.utils.dateparse import parse_datetime
from django.views.decorators.http import require_safe

from governance import clock
from governance.drafting.sheet import escaped
from governance.errors import NotYours
from governance.metrics import access, cases, causes, figures, page, weeks
from governance.metrics.figures import KINDS, TILES, By
from governance.models import Metric

STANDS_STILL_S = 600.0  # real seconds without a count, after which the page says so
FILE = "text/csv; charset=utf-8"
BREAKDOWNS = {By.DEPARTMENT: "Department", By.ACTION: "Action", By.PATH: "Path"}
NAMES = {By.DEPARTMENT: "department", By.ACTION: "action", By.PATH: "path"}


@dataclass(frozen=True, slots=True)
class Asked:
    """What an address asks for. What it does not say, or says wrongly, is what one comes for."""

    week: date
    metric: str
    part: cases.Part
    by: str  # whose cases: of which department, action or path
    of: str
    split: str  # into what the figures are broken down
    after: tuple[datetime, int] | None

    @classmethod
    def read(cls, request: HttpRequest, *, now: datetime) -> Asked:
        given = request.GET
        this = weeks.week_of(now)
        week = weeks.read(given.get("week", "")) or this
        metric = given.get("metric", "")
        metric = metric if metric in Metric.values else ""
        by, split = given.get("by", ""), given.get("split", "")
        return cls(
            week=min(max(week, figures.EARLIEST), this),
            metric=metric,
            part=cases.part_of(metric or Metric.ESCALATION, given.get("show", "")),
            by=by if by in NAMES else "",
            of=given.get("of", "")[:60].replace("\0", "") if by in NAMES else "",
            split=split if split in BREAKDOWNS else "",
            after=_read_cursor(given.get("after", "")),
        )

    def picking(self, metric: str) -> Asked:
        """Return the same of another metric, unless one was named."""
        if self.metric:
            return self
        part = cases.part_of(metric, "")
        return Asked(self.week, metric, part, self.by, self.of, self.split, self.after)

    @property
    def chosen(self) -> cases.Chosen:
        return cases.Chosen(self.metric, self.week, self.part, self.by, self.of)

    def query(self, **other: str) -> str:
        """Return the address's query with some of it changed; what is blank is left out."""
        own = {
            "metric": self.metric, "week": weeks.name_of(self.week), "show": self.part.key,
            "by": self.by, "of": self.of, "split": self.split,
        } | other  # fmt: skip
        kept = {name: value for name, value in own.items() if value or (name == "of" and own["by"])}
        return urlencode(kept)


def _reader(request: HttpRequest) -> None:
    try:
        access.demand_reader(request.user)
    except NotYours as refused:
        raise PermissionDenied(refused.detail) from refused


@require_safe
def metrics(request: HttpRequest) -> HttpResponse:
    """Six figures with targets and thirteen weeks, and the cases behind one. For auditors and administrators."""
    _reader(request)
    now = clock.now()
    asked = Asked.read(request, now=now)
    standing = figures.standing()
    found = figures.lines(asked.week)
    lines = {line.kind: line for line in found}
    asked = asked.picking(_first_missed(lines))
    why = causes.causes(
        line.this for line in found if line.kind.target is not None and line.this.met is False
    )
    by = By(asked.split) if asked.split else None
    rows, last = cases.page(asked.chosen, asked.after)
    names = figures.names_of(By(asked.by)) if asked.by else {}
    context: dict[str, Any] = {
        "here": "metrics",
        "now": now,
        "standing": standing,
        "stands_still": _stands_still(standing, now),
        "headline": page.headline(lines, asked.week, so_far=asked.week == weeks.week_of(now)),
        "tiles": page.tiles(lines, picked=asked.metric),
        "weeks": weeks.up_to(asked.week),
        "week_rows": page.week_rows(found),
        "chart": page.chart(_line_of(lines, asked.metric)),
        "picked": Metric(asked.metric).label,
        "causes": [(figure.kind.name, cause) for figure, cause in why],
        "splits": [("", "All"), *((str(key), word) for key, word in BREAKDOWNS.items())],
        "split": asked.split,
        "split_rows": page.breakdown_rows(figures.breakdown(asked.week, by, TILES), asked.split)
        if by
        else [],
        "split_name": BREAKDOWNS[by] if by else "",
        "split_heads": [kind.name for kind in TILES],
        "rows": rows,
        "count": f"{cases.count(asked.chosen):,}",
        "counted": f"{cases.counted(asked.chosen):,}" if asked.part.is_counted else "",
        "parts": [
            (part, asked.query(show=part.key), part == asked.part)
            for part in cases.PARTS[asked.metric]
        ],
        "part": asked.part,
        "is_first": asked.after is None,
        "more": asked.query(after=_cursor_of(*last)) if last else "",
        "metric": asked.metric,
        "week_name": weeks.name_of(asked.week),
        "of": names.get(asked.of, asked.of) or "None" if asked.by else "",
        "of_by": NAMES[By(asked.by)] if asked.by else "",
        "without_of": asked.query(by="", of=""),
        "query_of_split": {key: asked.query(split=key) for key in ("", *map(str, BREAKDOWNS))},
        "earlier": asked.query(week=weeks.name_of(asked.week - timedelta(weeks=1))),
        "later": asked.query(week=weeks.name_of(asked.week + timedelta(weeks=1)))
        if asked.week < weeks.week_of(now)
        else "",
        "cases_query": asked.query(split=""),
    }
    return render(request, "metrics/metrics.html", context)


@require_safe
def report(request: HttpRequest) -> HttpResponse:
    """The week on one sheet of paper."""
    _reader(request)
    now = clock.now()
    asked = Asked.read(request, now=now)
    found = figures.lines(asked.week)
    lines = {line.kind: line for line in found}
    why = causes.causes(line.this for line in found)
    departments = figures.breakdown(asked.week, By.DEPARTMENT, TILES)
    context = {
        "here": "metrics",
        "now": now,
        "standing": figures.standing(),
        "week_name": weeks.name_of(asked.week),
        "words": weeks.words(asked.week),
        "so_far": asked.week == weeks.week_of(now),
        "headline": page.headline(lines, asked.week, so_far=asked.week == weeks.week_of(now)),
        "tiles": page.tiles(lines, picked=""),
        "rows": [page.report_row(line) for line in found],
        "causes": [(figure.kind.name, cause) for figure, cause in why],
        "departments": page.breakdown_rows(departments[:REPORTED], By.DEPARTMENT),
        "more_departments": max(len(departments) - REPORTED, 0),
        "heads": [kind.name for kind in TILES],
    }  # fmt: skip
    return render(request, "metrics/report.html", context)


REPORTED = 8  # departments on one sheet


@require_safe
def weeks_file(request: HttpRequest) -> StreamingHttpResponse:
    """The thirteen weeks as a file: every figure in all, and of each department, action and path."""
    _reader(request)
    asked = Asked.read(request, now=clock.now())
    name = f"recourse-metrics-{weeks.name_of(asked.week)}.csv"
    return _file(name, _week_lines(asked.week))


@require_safe
def cases_file(request: HttpRequest) -> StreamingHttpResponse:
    """The cases behind one figure as a file, all of them."""
    _reader(request)
    asked = Asked.read(request, now=clock.now()).picking(Metric.ESCALATION)
    name = f"recourse-{asked.metric}-{asked.part.key}-{weeks.name_of(asked.week)}.csv"
    return _file(name, _case_lines(asked.chosen))


def _week_lines(week: date) -> Iterator[list[str]]:
    yield [
        "week", "metric", "by", "of", "value", "unit", "target", "met", "hits", "counted",
        "median_seconds", "absent", "withdrawn", "lapsed",
    ]  # fmt: skip
    for each in weeks.up_to(week):
        for by in By:
            rows = figures.breakdown(each, by) if by != By.ALL else [_in_all(each)]
            for row in rows:
                for figure in row.figures:
                    if figure.sums.counted or figure.sums.left_out:
                        yield _figure_line(figure, by, row)


def _in_all(week: date) -> figures.Row:
    return figures.Row("", "", [line.this for line in figures.lines(week)])


def _figure_line(figure: figures.Figure, by: By, row: figures.Row) -> list[str]:
    kind, sums = figure.kind, figure.sums
    return [
        weeks.name_of(figure.week), kind.key, str(by), row.value,
        "" if figure.value is None else str(figure.value), kind.unit,
        "" if kind.target is None else f"{kind.target.sign} {kind.target.limit}",
        {True: "yes", False: "no", None: ""}[figure.met], str(sums.hits), str(figure.of),
        "" if figure.median_s is None else str(figure.median_s),
        str(sums.absent), str(sums.withdrawn), str(sums.lapsed),
    ]  # fmt: skip


def _case_lines(chosen: cases.Chosen) -> Iterator[list[str]]:
    yield [
        "ended_at", "request", "title", "path", "action", "department", "amount", "level",
        "first_asked", "seconds", "how_it_ended",
    ]  # fmt: skip
    for case in cases.all_told(chosen):
        yield [
            case.at.isoformat(), case.ref, case.title, case.path, case.action, case.department,
            case.amount, f"L{case.level}", case.first_asked,
            "" if case.took is None else str(int(case.took.total_seconds())), case.said,
        ]  # fmt: skip


def _file(name: str, lines: Iterable[list[str]]) -> StreamingHttpResponse:
    def written() -> Iterator[str]:
        for line in lines:
            out = io.StringIO(newline="")
            csv.writer(out, lineterminator="\r\n").writerow([escaped(cell) for cell in line])
            yield out.getvalue()

    return StreamingHttpResponse(
        written(),
        content_type=FILE,
        headers={"Content-Disposition": f'attachment; filename="{name}"'},
    )


def _first_missed(lines: dict[figures.Kind, figures.Line]) -> str:
    missed = (kind.metric for kind in TILES if page.met_of(lines, kind) is False)
    return str(next(missed, Metric.ESCALATION))


def _line_of(lines: dict[figures.Kind, figures.Line], metric: str) -> figures.Line:
    return lines[next(kind for kind in KINDS if kind.metric == metric)]


def _stands_still(standing: figures.Standing, now: datetime) -> bool:
    at = standing.counted_at
    return at is not None and now - at > clock.technical(STANDS_STILL_S)


def _cursor_of(at: datetime, pk: int) -> str:
    return f"{at.isoformat()}~{pk}"


def _read_cursor(text: str) -> tuple[datetime, int] | None:
    """Read what `_cursor_of` wrote. Anything else is the beginning of the list."""
    instant, _, pk = text.partition("~")
    if not (pk.isascii() and pk.isdigit() and len(pk) < 19):
        return None
    try:
        at = parse_datetime(instant.replace(" ", "+"))
        # Some instants of years 1 and 9999 are none in UTC.
        return None if at is None or at.tzinfo is None else (at.astimezone(UTC), int(pk))
    except (ValueError, OverflowError):
        return None
