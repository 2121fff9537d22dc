"""What people told the runner to do, and work that a person took over."""

from __future__ import annotations

from django.db import models
from django.db.models import Q

from approvals.models.case import Case
from approvals.models.request import ActionRequest
from approvals.models.review import Review
from governance.models import Person


class Order(models.Model):
    """An instruction to whoever runs the request; read between units. Open until it is closed with an outcome."""

    class Kind(models.TextChoices):
        BLOCK = "block"
        ROLL_BACK = "roll_back", "Roll back"
        RETRY = "retry"
        BY_HAND = "by_hand", "By hand"

    class Outcome(models.TextChoices):
        CARRIED_OUT = "carried_out", "Carried out"
        LAPSED = "lapsed"
        JOINED = "joined"
        NOTHING_TO_DO = "nothing_to_do", "Nothing to do"
        FAILED = "failed"  # it could not be carried out, and nobody answered

    request = models.ForeignKey(ActionRequest, models.PROTECT, related_name="orders")
    kind = models.CharField(max_length=10, choices=Kind.choices)
    reason = models.TextField(blank=True)
    ordered_by = models.ForeignKey(Person, models.PROTECT, null=True, blank=True, related_name="+")
    ordered_at = models.DateTimeField()
    case = models.ForeignKey(Case, models.PROTECT, null=True, blank=True, related_name="orders")
    review = models.ForeignKey(Review, models.PROTECT, null=True, blank=True, related_name="orders")
    needs_second = models.BooleanField(default=False)
    confirmed_by = models.ForeignKey(
        Person, models.PROTECT, null=True, blank=True, related_name="+"
    )
    confirmed_at = models.DateTimeField(null=True, blank=True)
    due_at = models.DateTimeField(
        null=True, blank=True
    )  # lapses then, if it waits for a second person
    outcome = models.CharField(max_length=14, choices=Outcome.choices, blank=True)
    closed_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(
                name="order_one_open_a_kind",
                fields=["request", "kind"],
                condition=Q(closed_at__isnull=True),
            ),
            models.CheckConstraint(
                name="order_second_is_another",
                condition=Q(confirmed_by__isnull=True)
                | Q(ordered_by__isnull=True)
                | ~Q(confirmed_by=models.F("ordered_by")),
            ),
            models.CheckConstraint(
                name="order_unconfirmed_has_a_clock",
                condition=Q(needs_second=False)
                | Q(confirmed_by__isnull=False)
                | Q(due_at__isnull=False)
                | Q(closed_at__isnull=False),
            ),
        ]

    def __str__(self) -> str:
        return f"{self.kind} of {self.request_id}"


class Claim(models.Model):
    """A person finishes by hand what the runner could not. One open claim a request."""

    class Said(models.TextChoices):
        """What its person says of one unit."""

        DONE = "done", "In the target"
        NOT_DONE = "not_done", "Not in the target"
        UNKNOWN = "unknown", "Not known"

    request = models.ForeignKey(ActionRequest, models.PROTECT, related_name="claims")
    # Null where an undo that somebody ordered is finished by hand.
    case = models.ForeignKey(Case, models.PROTECT, null=True, blank=True, related_name="claims")
    person = models.ForeignKey(Person, models.PROTECT, related_name="+")
    claimed_at = models.DateTimeField()
    units = models.JSONField(
        default=list
    )  # [{"n": 1, "state": "done" | "not_done" | "unknown", "reference": ""}]
    target_reference = models.CharField(max_length=200, blank=True)
    note = models.TextField(blank=True)
    # Its person says that it is settled. On a financial action a second person confirms it.
    finished_at = models.DateTimeField(null=True, blank=True)
    second_person = models.ForeignKey(
        Person, models.PROTECT, null=True, blank=True, related_name="+"
    )
    taken_over_from = models.ForeignKey(
        "self", models.PROTECT, null=True, blank=True, related_name="+"
    )
    given_back_at = models.DateTimeField(null=True, blank=True)
    closed_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(
                name="claim_one_open_a_request",
                fields=["request"],
                condition=Q(closed_at__isnull=True),
            ),
            models.CheckConstraint(
                name="claim_second_is_another",
                condition=Q(second_person__isnull=True) | ~Q(second_person=models.F("person")),
            ),
            # Nobody finishes what cannot be found again in the target.
            models.CheckConstraint(
                name="claim_finished_has_a_reference",
                condition=Q(finished_at__isnull=True) | ~Q(target_reference=""),
            ),
            models.CheckConstraint(
                name="claim_given_back_is_closed",
                condition=Q(given_back_at__isnull=True) | Q(closed_at__isnull=False),
            ),
        ]

    def __str__(self) -> str:
        return f"{self.request_id} by {self.person_id}"
