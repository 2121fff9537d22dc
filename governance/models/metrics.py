"""What was counted, week by week: derived from the ledger, and made anew from it at any time.

`governance.metrics.keeping` writes here and nothing else does.
"""

from __future__ import annotations

from django.db import models
from django.db.models import Q

from governance.vocabulary import Level


class Metric(models.TextChoices):
    """Source: DESIGN 6, "Metrics"."""

    ESCALATION = "escalation", "Escalation rate"
    RESOLUTION = "resolution", "Time to resolution"
    ROLLBACK = "rollback", "Rollback success"
    SILENT = "silent", "Silent failures"
    BYPASS = "bypass", "Emergency bypasses"
    UNATTENDED = "unattended", "L1 resolved without a person"
    ASKED_AGAIN = "again", "Timeouts answered at L1"  # no target: it is shown beside the last


class Measure(models.Model):
    """One thing that was counted: the event that ended it, and as what it counts."""

    class Outcome(models.TextChoices):
        """Hits over hits and misses is the rate. The others are counted beside it."""

        HIT = "hit"
        MISS = "miss"
        ABSENT = "absent"
        WITHDRAWN = "withdrawn"
        LAPSED = "lapsed"

    # The event that ended it.
    chain = models.CharField(max_length=40)
    seq = models.PositiveIntegerField()
    at = models.DateTimeField()
    week = models.DateField()  # the Monday of `at`'s ISO week, in UTC

    metric = models.CharField(max_length=10, choices=Metric.choices)
    outcome = models.CharField(max_length=9, choices=Outcome.choices)
    request = models.CharField(max_length=40, blank=True)  # its ref
    department = models.CharField(max_length=60, blank=True)  # its key
    action = models.CharField(max_length=60, blank=True)  # its key
    path = models.CharField(max_length=20, blank=True)
    level = models.PositiveSmallIntegerField(choices=Level.choices, default=Level.L0)  # reached
    seconds = models.PositiveBigIntegerField(null=True, blank=True)  # of a case, opened to resolved
    facts = models.JSONField(default=dict, blank=True)  # what a list of cases and a cause need

    class Meta:
        constraints = [
            # Nothing counts twice towards one metric.
            models.UniqueConstraint(name="measure_once", fields=["chain", "seq", "metric"]),
            models.CheckConstraint(
                name="measure_known_metric", condition=Q(metric__in=Metric.values)
            ),
            models.CheckConstraint(
                name="measure_of_a_case_has_its_time",
                condition=Q(metric=Metric.RESOLUTION, seconds__isnull=False)
                | (~Q(metric=Metric.RESOLUTION) & Q(seconds__isnull=True)),
            ),
        ]
        indexes = [
            # governance.metrics.cases, by keyset: all of a week, and those of one outcome
            models.Index(name="measure_of_week", fields=["metric", "week", "-at", "-id"]),
            models.Index(
                name="measure_of_outcome", fields=["metric", "week", "outcome", "-at", "-id"]
            ),
        ]

    def __str__(self) -> str:
        return f"{self.metric} {self.outcome}: {self.chain} {self.seq}"


class WeeklyRollup(models.Model):
    """What one metric came to in one week: in all, or in one department, action or path."""

    class By(models.TextChoices):
        ALL = "all"
        DEPARTMENT = "department"
        ACTION = "action"
        PATH = "path"

    week = models.DateField()  # a Monday
    metric = models.CharField(max_length=10, choices=Metric.choices)
    by = models.CharField(max_length=10, choices=By.choices)
    value = models.CharField(
        max_length=60, blank=True
    )  # the department's or action's key, the path
    # The highest level of the cases; of every other metric L0.
    level = models.PositiveSmallIntegerField(choices=Level.choices, default=Level.L0)

    hits = models.PositiveBigIntegerField(default=0)
    misses = models.PositiveBigIntegerField(default=0)
    absent = models.PositiveBigIntegerField(default=0)
    withdrawn = models.PositiveBigIntegerField(default=0)
    lapsed = models.PositiveBigIntegerField(default=0)
    seconds = models.PositiveBigIntegerField(default=0)  # of hits and misses together
    # Of hits and misses: how many took so many whole minutes, {"72": 3}. A median needs it.
    minutes = models.JSONField(default=dict, blank=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(
                name="rollup_once", fields=["week", "by", "metric", "value", "level"]
            ),
            models.CheckConstraint(
                name="rollup_of_all_has_no_value",
                condition=Q(by="all", value="") | ~Q(by="all"),
            ),
        ]

    def __str__(self) -> str:
        return f"{self.metric} of {self.week}, {self.by} {self.value}"


class MetricsMark(models.Model):
    """Up to where the ledger is counted: one row, whose lock makes counters come one after the other."""

    id = models.PositiveSmallIntegerField(primary_key=True, default=1)
    seal = models.PositiveBigIntegerField(default=0)  # number of the last seal that was begun
    leaves = models.PositiveBigIntegerField(default=0)  # of it that are counted
    counted_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        constraints = [
            models.CheckConstraint(name="metrics_mark_is_one", condition=Q(id=1)),
        ]

    def __str__(self) -> str:
        return f"seal {self.seal}, {self.leaves} leaves"


class Uncounted(models.Model):
    """A request whose record is broken: nothing of it is in any figure until it is counted again."""

    chain = models.CharField(max_length=40)  # its request's ref
    why = models.CharField(max_length=300)
    found_at = models.DateTimeField()

    class Meta:
        constraints = [
            models.UniqueConstraint(name="uncounted_once", fields=["chain"]),
        ]

    def __str__(self) -> str:
        return f"{self.chain}: {self.why}"
