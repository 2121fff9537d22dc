"""One undoing."""

from __future__ import annotations

from datetime import datetime

from django.db import models
from django.db.models import Q
from django_fsm import FSMField, transition

from approvals.models import ActionRequest, Order
from governance.models.states import Stateful, known_states


class RecoveryState(models.TextChoices):
    ORDERED = "ordered"
    PLANNED = "planned"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    LAPSED = "lapsed"


class Recovery(Stateful, models.Model):
    """Compensate, retry or restore: how what was done is made good."""

    class Pattern(models.TextChoices):
        COMPENSATE = "compensate"
        RETRY = "retry"
        RESTORE = "restore"

    State = RecoveryState

    request = models.ForeignKey(ActionRequest, models.PROTECT, related_name="recoveries")
    order = models.ForeignKey(
        Order, models.PROTECT, null=True, blank=True, related_name="recoveries"
    )
    pattern = models.CharField(
        max_length=10, choices=Pattern.choices, blank=True
    )  # chosen when planned
    state = FSMField(default=State.ORDERED, choices=State.choices, protected=True)
    reason = models.CharField(max_length=300)
    plan = models.JSONField(default=list, blank=True)
    drift = models.JSONField(default=list, blank=True)  # fields somebody else touched since
    attempts = models.PositiveIntegerField(default=0)
    needed_a_person = models.BooleanField(default=False)
    ordered_at = models.DateTimeField()
    due_at = models.DateTimeField(null=True, blank=True)
    ended_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        constraints = [
            known_states("recovery_known_state", RecoveryState.values),
            models.CheckConstraint(
                name="recovery_open_has_a_clock",
                condition=Q(
                    state__in=["ordered", "planned", "running"],
                    due_at__isnull=False,
                    ended_at__isnull=True,
                )
                | Q(state__in=["succeeded", "failed", "lapsed"], ended_at__isnull=False),
            ),
            models.UniqueConstraint(
                name="recovery_one_open_a_request",
                fields=["request"],
                condition=Q(state__in=["ordered", "planned", "running"]),
            ),
        ]

    def __str__(self) -> str:
        return f"{self.pattern or 'recovery'} of {self.request_id} ({self.state})"

    def told(self) -> dict[str, object]:
        """Return what the record says of its end, beside how it ended."""
        return {"pattern": self.pattern, "needed_a_person": self.needed_a_person}

    @transition(state, source=State.ORDERED, target=State.PLANNED)
    def plan_it(self, *, pattern: str) -> None:
        """The pattern is chosen and what it will do is written down."""
        self.pattern = pattern

    @transition(state, source=State.PLANNED, target=State.RUNNING)
    def begin(self) -> None:
        """A worker undoes."""

    @transition(state, source=State.RUNNING, target=State.SUCCEEDED)
    def succeed(self, *, now: datetime) -> None:
        """The books are as they were."""
        self.ended_at = now
        self.due_at = None

    @transition(state, source=[State.ORDERED, State.PLANNED, State.RUNNING], target=State.FAILED)
    def fail(self, *, now: datetime) -> None:
        """It could not be undone; people are asked."""
        self.ended_at = now
        self.due_at = None

    @transition(state, source=State.ORDERED, target=State.LAPSED)
    def lapse(self, *, now: datetime) -> None:
        """Nobody confirmed it, or its key never came free."""
        self.ended_at = now
        self.due_at = None
