"""The weekly figures over the API: the same numbers as `/metrics/`, from the same functions."""

from __future__ import annotations

from typing import Any

from drf_spectacular.utils import OpenApiResponse, extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from approvals.api.permissions import IsPerson
from approvals.api.shapes import Problem
from approvals.api.views import Api
from approvals.services.submission import Malformed
from governance import clock
from governance.metrics import access, figures, weeks
from governance.metrics.figures import By, Figure, Kind, Line, Row

PROBLEM = OpenApiResponse(Problem, description="A problem document (RFC 9457).")
KEYS = [kind.key for kind in figures.KINDS]
UNITS = ("percent", "seconds", "count")


class Asked(serializers.Serializer[Any]):
    week = serializers.RegexField(
        r"^\d{4}-W\d{2}$",
        required=False,
        help_text="An ISO week in UTC, 2026-W47. This one by default.",
    )
    by = serializers.ChoiceField(
        [str(By.DEPARTMENT), str(By.ACTION), str(By.PATH)], required=False,
        help_text="Break this week's figures down.",
    )  # fmt: skip


class TargetShape(serializers.Serializer[Any]):
    sign = serializers.ChoiceField(["<", ">", "="])
    limit = serializers.IntegerField(help_text="In the figure's unit.")


class LeftOut(serializers.Serializer[Any]):
    absent = serializers.IntegerField()
    withdrawn = serializers.IntegerField()
    lapsed = serializers.IntegerField()


class FigureShape(serializers.Serializer[Any]):
    week = serializers.CharField()
    value = serializers.DecimalField(
        max_digits=20, decimal_places=2, allow_null=True,
        help_text="Percent, mean seconds, or a count. null: nothing was counted.",
    )  # fmt: skip
    median_s = serializers.IntegerField(
        allow_null=True, help_text="Of times, at most a minute too low."
    )
    met = serializers.BooleanField(allow_null=True)
    hits = serializers.IntegerField()
    counted = serializers.IntegerField()
    left_out = LeftOut()


class LineShape(serializers.Serializer[Any]):
    key = serializers.ChoiceField(KEYS)
    name = serializers.CharField()
    unit = serializers.ChoiceField(UNITS)
    target = TargetShape(allow_null=True)
    this_week = FigureShape()
    weeks = FigureShape(many=True, help_text="Thirteen, the oldest first.")


class SplitFigure(FigureShape):
    key = serializers.ChoiceField(KEYS)


class Split(serializers.Serializer[Any]):
    value = serializers.CharField(allow_blank=True)
    name = serializers.CharField()
    figures = SplitFigure(many=True)


class MetricsShape(serializers.Serializer[Any]):
    week = serializers.CharField()
    counted_at = serializers.DateTimeField(allow_null=True)
    uncounted = serializers.IntegerField(
        help_text="Requests that are in no figure: their record is broken."
    )
    metrics = LineShape(many=True)
    breakdown = Split(many=True)


class Metrics(Api):
    permission_classes = [IsPerson]

    @extend_schema(
        operation_id="metrics",
        parameters=[Asked],
        responses={200: MetricsShape, 400: PROBLEM, 401: PROBLEM, 403: PROBLEM, 422: PROBLEM},
    )
    def get(self, request: Request) -> Response:
        """Return the weekly figures with targets and thirteen weeks. For auditors and policy administrators."""
        access.demand_reader(request.user)
        week, by = _given(request)
        rows = figures.breakdown(week, by) if by else []
        standing = figures.standing()
        return Response(
            {
                "week": weeks.name_of(week),
                "counted_at": standing.counted_at,
                "uncounted": standing.uncounted,
                "metrics": [_line(line) for line in figures.lines(week)],
                "breakdown": [_row(row) for row in rows],
            }
        )


def _given(request: Request) -> tuple[Any, By | None]:
    """Return the week and the breakdown asked for. Raises Malformed, naming what is at fault."""
    sent = request.query_params
    errors = {str(key)[:60]: "Unknown." for key in sent.keys() - Asked().fields.keys()}
    errors |= {str(key)[:60]: "Say it once." for key, said in sent.lists() if len(said) > 1}
    form = Asked(data={key: value for key, value in sent.items() if value != ""})
    if not form.is_valid():
        errors |= {key: " ".join(map(str, found)) for key, found in form.errors.items()}
    week = weeks.week_of(clock.now())
    if not errors and "week" in form.validated_data:
        named = weeks.read(form.validated_data["week"])
        if named is None or not figures.EARLIEST <= named <= week:
            errors["week"] = "There is no such week, or it has not begun."
        else:
            week = named
    if errors:
        raise Malformed("Mend these parameters and ask again.", errors=errors)
    by = form.validated_data.get("by")
    return week, By(by) if by else None


def _line(line: Line) -> dict[str, Any]:
    kind: Kind = line.kind
    return {
        "key": kind.key,
        "name": kind.name,
        "unit": kind.unit,
        "target": kind.target._asdict() if kind.target else None,
        "this_week": _figure(line.this),
        "weeks": [_figure(each) for each in line.figures],
    }


def _figure(figure: Figure) -> dict[str, Any]:
    sums = figure.sums
    return {
        "week": weeks.name_of(figure.week),
        "value": None if figure.value is None else str(figure.value),
        "median_s": figure.median_s,
        "met": figure.met,
        "hits": sums.hits,
        "counted": figure.of,
        "left_out": {"absent": sums.absent, "withdrawn": sums.withdrawn, "lapsed": sums.lapsed},
    }


def _row(row: Row) -> dict[str, Any]:
    return {
        "value": row.value,
        "name": row.name,
        "figures": [{"key": each.kind.key, **_figure(each)} for each in row.figures],
    }
