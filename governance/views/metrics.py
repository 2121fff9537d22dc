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
from django.http import HttpRequest, HttpResponse, QueryDict, StreamingHttpResponse
from django.shortcuts import render
from django.utils.dateparse import parse_datetime
from django.views.decorators.http import require_POST, require_safe

from governance import clock
from governance.drafting.sheet import escaped
from governance.errors import NotYours
from governance.metrics import access, cases, causes, figures, page, said, taking, weeks
from governance.metrics.causes import Sign
from governance.metrics.figures import BY_KEY, ESCALATION, KINDS, TILES, By, Kind
from governance.models import Person

STANDS_STILL_S = 600.0  # real seconds without a count, after which the page says so
FILE = "text/csv; charset=utf-8"
BREAKDOWNS = {By.DEPARTMENT: "Department", By.ACTION: "Action", By.PATH: "Path"}
LIMITS = {"<": "under", ">": "over", "=": "exactly"}  # a sign would be a formula to a spreadsheet
NAMES = {By.DEPARTMENT: "department", By.ACTION: "action", By.PATH: "path"}


class MetricsRequest(HttpRequest):
    """A request of somebody who is logged in."""

    user: Person


@dataclass(frozen=True, slots=True)
class Asked:
    """What an address asks for. What it does not say, or says wrongly, is what one comes for."""

    week: date
    kind: Kind | None
    show: str  # which part of its cases
    by: str  # whose cases: of which department, action or path
    of: str
    because: Sign | None  # only those that a cause is said of
    split: str  # into what the figures are broken down
    after: tuple[datetime, int] | None

    @classmethod
    def read(cls, given: QueryDict, *, now: datetime) -> Asked:
        this = weeks.week_of(now)
        week = weeks.read(given.get("week", "")) or this
        by, split = given.get("by", ""), given.get("split", "")
        because = Sign.read(_text(given.get("because", ""), 200))
        by = by if by in NAMES and because is None else ""
        return cls(
            week=min(max(week, figures.EARLIEST), this),
            kind=BY_KEY.get(given.get("metric", "")),
            show=given.get("show", ""),
            by=by,
            of=_text(given.get("of", ""), 60) if by else "",
            because=because,
            split=split if split in BREAKDOWNS else "",
            after=_read_cursor(given.get("after", "")),
        )

    def chosen(self, otherwise: Kind) -> cases.Chosen:
        """Return whose cases are asked for; of this figure, if none was named."""
        kind = self.kind or otherwise
        if self.because is not None:
            return causes.chosen_behind(figures.figure(kind, self.week))
        return cases.Chosen(kind, self.week, cases.part_of(kind, self.show), self.by, self.of)

    def query(self, chosen: cases.Chosen, **other: str) -> dict[str, str]:
        """Return the address's query with some of it changed; what is blank is left out."""
        own = {
            "metric": chosen.kind.key, "week": weeks.name_of(self.week), "show": chosen.part.key,
            "by": self.by, "of": self.of, "because": str(self.because or ""), "split": self.split,
        } | other  # fmt: skip
        return {name: value for name, value in own.items() if value or (name == "of" and own["by"])}


def _text(given: str, length: int) -> str:
    return given[:length].replace("\0", "")


@dataclass(frozen=True, slots=True)
class Part:
    """One way to look at the cases of a figure."""

    word: str
    count: str
    query: str
    is_here: bool


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
    asked = Asked.read(request.GET, now=now)
    standing = figures.standing()
    found = figures.lines(asked.week)
    lines = {line.kind: line for line in found}
    chosen = asked.chosen(_first_missed(found))
    kind = chosen.kind
    why = causes.causes(line.this for line in found)
    by = By(asked.split) if asked.split else None

    def query(**other: str) -> str:
        return urlencode(asked.query(chosen, **other))

    context: dict[str, Any] = {
        "here": "metrics",
        "now": now,
        "standing": standing,
        "stands_still": _stands_still(standing, now),
        "uncounted": said.uncounted(standing),
        "headline": page.headline(lines, asked.week, so_far=asked.week == weeks.week_of(now))
        if standing.anything
        else f"{weeks.words(asked.week)}.",
        "tiles": page.tiles(lines, picked=kind.metric),
        "weeks": weeks.up_to(asked.week),
        "week_rows": page.week_rows(found),
        "chart": page.chart(lines[kind]),
        "picked": kind.name,
        "causes": [(figure.kind.name, cause) for figure, cause in why],
        "splits": [("", "All"), *((str(key), word) for key, word in BREAKDOWNS.items())],
        "split": asked.split,
        "split_rows": page.breakdown_rows(figures.breakdown(asked.week, by, TILES), asked.split)
        if by
        else [],
        "split_name": BREAKDOWNS[by] if by else "",
        "split_heads": [kind.name for kind in TILES],
        "week_name": weeks.name_of(asked.week),
        "query_of_split": {key: query(split=key) for key in ("", *map(str, BREAKDOWNS))},
        "earlier": query(week=weeks.name_of(asked.week - timedelta(weeks=1)), because=""),
        "later": query(week=weeks.name_of(asked.week + timedelta(weeks=1)), because="")
        if asked.week < weeks.week_of(now)
        else "",
        **_cases(asked, chosen),
    }
    return render(request, "metrics/metrics.html", context)


def _cases(asked: Asked, chosen: cases.Chosen) -> dict[str, Any]:
    """Return what the list of cases shows."""
    figure, part, kind = chosen.figure(), chosen.part, chosen.kind
    if asked.because is not None:
        having, among = causes.having(figure, asked.because)
        rows, last = cases.told(having), None
        count, of = len(rows), among if among == cases.count(figure, part) else 0
        head = f"The last {among:,} looked at" if among < cases.count(figure, part) else ""
    else:
        rows, last = cases.page(chosen, asked.after)
        count, head = cases.count(figure, part), ""
        of = figure.of if part.is_counted and kind.unit != "count" else 0
    names = figures.names_of(By(asked.by)) if asked.by else {}

    def query(**other: str) -> str:
        return urlencode(asked.query(chosen, split="", **other))

    return {
        "rows": rows,
        "count": f"{count:,}",
        "counted": f"{of:,}" if of else "",
        "head": head,
        "because": asked.because is not None,
        "parts": [
            Part(
                each.word, f"{cases.count(figure, each):,}", query(show=each.key, because=""),
                each == part and asked.because is None,
            )
            for each in cases.parts_of(kind)
        ],
        "bands": [
            (each.band.replace("-", " and "), query(metric=each.key, show="", because=""), each == kind)
            for each in KINDS
            if kind.band and each.metric == kind.metric
        ],
        "part": part,
        "kind": kind,
        "is_first": asked.after is None,
        "more": query(after=_cursor_of(*last)) if last else "",
        "of": names.get(asked.of, asked.of) or "None" if asked.by else "",
        "of_by": NAMES[By(asked.by)] if asked.by else "",
        # The whole of which a path's are a share is that of all paths.
        "of_all": chosen.is_of_all and part.is_all,
        "without_of": query(by="", of="", because=""),
        "fields": asked.query(chosen, split=""),
    }  # fmt: skip


@require_safe
def report(request: HttpRequest) -> HttpResponse:
    """The week on one sheet of paper."""
    _reader(request)
    now = clock.now()
    asked = Asked.read(request.GET, now=now)
    found = figures.lines(asked.week)
    lines = {line.kind: line for line in found}
    why = causes.causes(line.this for line in found)
    departments = figures.breakdown(asked.week, By.DEPARTMENT, TILES)
    standing = figures.standing()
    context = {
        "here": "metrics",
        "now": now,
        "standing": standing,
        "week_name": weeks.name_of(asked.week),
        "words": weeks.words(asked.week),
        "so_far": asked.week == weeks.week_of(now),
        "headline": page.headline(lines, asked.week, so_far=asked.week == weeks.week_of(now)),
        "tiles": page.tiles(lines),
        "uncounted": said.uncounted(standing),
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
    asked = Asked.read(request.GET, now=clock.now())
    name = f"recourse-metrics-{weeks.name_of(asked.week)}.csv"
    return _file(name, _week_lines(asked.week))


@require_POST
def cases_file(request: MetricsRequest) -> StreamingHttpResponse:
    """Send the cases behind one figure as a file. It is in the record before the first line is sent."""
    _reader(request)
    now = clock.now()
    asked = Asked.read(request.POST, now=now)
    chosen = asked.chosen(ESCALATION)
    taking.take_cases(actor=request.user, asked=asked.query(chosen, split=""), now=now)
    name = f"recourse-{chosen.kind.key}-{chosen.part.key}-{weeks.name_of(asked.week)}.csv"
    if asked.because is None:
        return _file(name, _case_lines(cases.all_told(chosen)))
    having, _ = causes.having(chosen.figure(), asked.because)
    return _file(name, _case_lines(cases.told(having)))


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
        "" if kind.target is None else f"{LIMITS[kind.target.sign]} {kind.target.limit}",
        {True: "yes", False: "no", None: ""}[figure.met], str(sums.hits), str(figure.of),
        "" if figure.median_s is None else str(figure.median_s),
        str(sums.absent), str(sums.withdrawn), str(sums.lapsed),
    ]  # fmt: skip


def _case_lines(found: Iterable[cases.Case]) -> Iterator[list[str]]:
    yield [
        "ended_at", "request", "title", "path", "action", "department", "amount", "level",
        "first_asked", "seconds", "how_it_ended",
    ]  # fmt: skip
    for case in found:
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


def _first_missed(lines: Iterable[figures.Line]) -> Kind:
    return next((line.kind for line in lines if line.this.met is False), ESCALATION)


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
