"""Obligations with a clock that silence never closes."""

from __future__ import annotations

from django.db import models
from django.db.models import F, Q
from django_fsm import FSMField, transition

from approvals.models.request import ActionRequest
from governance.models import Person
from governance.models.states import Stateful, known_states


class ReviewState(models.TextChoices):
    OPEN = "open"
    JUSTIFIED = "justified"
    POLICY_CHANGE = "policy_change", "Justified, with a policy change"
    NOT_JUSTIFIED = "not_justified", "Not justified"
    CLEANED_UP = "cleaned_up", "Cleaned up"


class Review(Stateful, models.Model):
    """Somebody independent looks at what was done. Due in 48 h; overdue it climbs and stays red."""

    class Kind(models.TextChoices):
        BYPASS = "bypass"
        CLEANUP = "cleanup"
        VIOLATION = "violation"
        SPOT_CHECK = "spot_check", "Spot check"

    State = ReviewState

    request = models.ForeignKey(ActionRequest, models.PROTECT, related_name="reviews")
    kind = models.CharField(max_length=10, choices=Kind.choices)
    state = FSMField(default=State.OPEN, choices=State.choices, protected=True)
    opened_at = models.DateTimeField()
    opened_by = models.ForeignKey(Person, models.PROTECT, null=True, blank=True, related_name="+")
    reason = models.TextField(blank=True)
    signatures_replaced = models.PositiveSmallIntegerField(default=0)
    due_at = models.DateTimeField(null=True, blank=True)
    remind_at = models.DateTimeField(null=True, blank=True)
    times_overdue = models.PositiveSmallIntegerField(default=0)  # management levels climbed
    asked = models.ForeignKey(Person, models.PROTECT, null=True, blank=True, related_name="reviews")
    finding = models.TextField(blank=True)
    orders_rollback = models.BooleanField(default=False)
    target_reference = models.CharField(max_length=200, blank=True)
    # Of a cleanup: {"outcome": a state, "note": str}, once somebody said so.
    details = models.JSONField(default=dict, blank=True)
    said_at = models.DateTimeField(null=True, blank=True)  # a cleanup's first word
    closed_by = models.ForeignKey(Person, models.PROTECT, null=True, blank=True, related_name="+")
    second_person = models.ForeignKey(
        Person, models.PROTECT, null=True, blank=True, related_name="+"
    )
    closed_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        constraints = [
            known_states("review_known_state", ReviewState.values),
            models.CheckConstraint(
                name="review_open_has_a_clock",
                condition=Q(state="open", due_at__isnull=False, closed_at__isnull=True)
                | (~Q(state="open") & Q(closed_at__isnull=False)),
            ),
            # A cleanup ends only with the target's reference and two people.
            models.CheckConstraint(
                name="review_cleanup_needs_two",
                condition=~Q(state="cleaned_up")
                | (
                    ~Q(target_reference="")
                    & Q(closed_by__isnull=False, second_person__isnull=False)
                    & ~Q(second_person=F("closed_by"))
                ),
            ),
        ]
        indexes = [
            # approvals.review_sweeps.climb_overdue_reviews, and the queue of open ones by keyset
            models.Index(name="review_due", fields=["due_at", "id"], condition=Q(state="open")),
            # approvals.review_sweeps.remind_reviewers
            models.Index(
                name="review_due_reminder",
                fields=["remind_at"],
                condition=Q(state="open", remind_at__isnull=False),
            ),
        ]

    def __str__(self) -> str:
        return f"{self.kind} review of {self.request_id} ({self.state})"

    @transition(state, source=State.OPEN, target=State.JUSTIFIED)
    def find_justified(self) -> None:
        """It was right, and the rules are right."""

    @transition(state, source=State.OPEN, target=State.POLICY_CHANGE)
    def find_policy_change(self) -> None:
        """It was right, and the rules must change."""

    @transition(state, source=State.OPEN, target=State.NOT_JUSTIFIED)
    def find_not_justified(self) -> None:
        """It should not have been done."""

    @transition(state, source=State.OPEN, target=State.CLEANED_UP)
    def clean_up(self) -> None:
        """What was half done is settled in the target, and two people say so."""
