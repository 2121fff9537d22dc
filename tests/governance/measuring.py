"""Measures as the worker would have stored them, and their rollups."""

from __future__ import annotations

from datetime import timedelta
from itertools import count

from governance.metrics import keeping
from governance.metrics.folding import Counted
from governance.metrics.weeks import week_of
from governance.models import Measure, MetricsMark
from tests.factories import MONDAY_9AM

NUMBERS = count(1)


def counted(metric, outcome, times=1, *, at=MONDAY_9AM, **fields):
    """Store so many measures, a minute apart, and add them to the rollups. Returns their requests' refs."""
    sums, rows = keeping.Sums(), []
    for _ in range(times):
        number = next(NUMBERS)
        given = {
            "department": "accounts-payable", "action": "vendor_payment", "path": "timeout",
            "level": 2, "seconds": None, "facts": {}, "request": f"R-{number:04}",
        } | fields  # fmt: skip
        about = {"title": "Pay Acme", "amount": "12000.00", "currency": "USD", "matrix_row": 14}
        instant = at + timedelta(minutes=len(rows))
        row = Counted(
            chain=f"R-{number:04}", seq=9, at=instant, week=week_of(instant), metric=metric,
            outcome=outcome, **given | {"facts": about | given["facts"]},
        )  # fmt: skip
        rows.append(row)
        sums.add(row)
    Measure.objects.bulk_create([Measure(**row._asdict()) for row in rows])
    sums.save()
    MetricsMark.objects.get_or_create(id=1, defaults={"counted_at": at})
    return [row.request for row in rows]
