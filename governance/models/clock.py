"""The demo's clock and the signs of life of every process."""

from __future__ import annotations

from django.db import models
from django.db.models import Q


class DemoClock(models.Model):
    """One row that lets the demo's business time run faster than the wall. None in production."""

    real_start = models.DateTimeField()
    business_start = models.DateTimeField()
    speed = models.FloatField()

    class Meta:
        constraints = [
            models.CheckConstraint(name="demo_clock_is_one_row", condition=Q(pk=1)),
            models.CheckConstraint(name="demo_clock_goes_forward", condition=Q(speed__gt=0)),
        ]

    def __str__(self) -> str:
        return f"{self.speed:g} business seconds a second"


class Heartbeat(models.Model):
    """When a process, or a pair of hands, last showed that it works."""

    name = models.CharField(
        max_length=40, primary_key=True
    )  # clock, worker, watchdog, schedule, audit
    beat_at = models.DateTimeField()  # business time, compared with clock.technical() spans
    facts = models.JSONField(default=dict, blank=True)

    def __str__(self) -> str:
        return f"{self.name} at {self.beat_at:%H:%M:%S}"


class TaskAttempt(models.Model):
    """A task that was begun and not yet brought to an end, and how often.

    The queue counts what fails and not what dies: a task whose worker is killed
    comes back for ever. So each delivery is counted here before any work. The
    row goes when the task succeeds; one that was dropped keeps it.
    """

    task = models.CharField(
        max_length=100, primary_key=True
    )  # the queue's id, the same on every delivery
    name = models.CharField(max_length=200)  # the function
    attempts = models.PositiveSmallIntegerField(default=0)
    first_at = models.DateTimeField()
    last_at = models.DateTimeField()
    worker = models.CharField(max_length=80, blank=True)  # name/pid of the process that has it now
    last_error = models.CharField(max_length=300, blank=True)
    dropped_at = models.DateTimeField(null=True, blank=True)

    def __str__(self) -> str:
        return f"{self.name}, attempt {self.attempts}"
