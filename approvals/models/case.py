"""Exceptions, the parties to a conflict, and what compliance let pass."""

from __future__ import annotations

from datetime import datetime

from django.db import models
from django.db.models import Q
from django_fsm import FSMField, transition

from approvals.models.request import ActionRequest
from governance.models import Person
from governance.models.states import Stateful, known_states
from governance.vocabulary import ExceptionType, Impact, Level, Response, RuleSource, Severity


class CaseState(models.TextChoices):
    OPEN = "open"
    RESOLVED = "resolved"


class Case(Stateful, models.Model):
    """One exception: its kind, the rule that answered it, how it ended. Severity and impact are fixed at opening."""

    State = CaseState

    class Outcome(models.TextChoices):
        APPROVED = "approved"
        REJECTED = "rejected"
        DENIED = "denied"
        EXPIRED = "expired"
        WITHDRAWN = "withdrawn"
        WAIVED = "waived"
        RULED = "ruled"
        LEFT = "left"
        RECOVERED = "recovered"
        BY_HAND = "by_hand"
        ROLLED_BACK = "rolled_back"
        STRANDED = "stranded"
        CHANGE_REQUESTED = "change_requested"

    request = models.ForeignKey(ActionRequest, models.PROTECT, related_name="cases")
    exception = models.CharField(max_length=20, choices=ExceptionType.choices)
    severity = models.CharField(max_length=6, choices=Severity.choices)
    impact = models.CharField(max_length=6, choices=Impact.choices)
    response = models.CharField(max_length=20, choices=Response.choices)
    source = models.CharField(max_length=5, choices=RuleSource.choices)
    reason = models.CharField(max_length=300)  # in a sentence
    facts = models.JSONField(default=dict, blank=True)  # broken checks, the target's answer
    highest_level = models.PositiveSmallIntegerField(choices=Level.choices)
    absent = models.BooleanField(
        default=False
    )  # opened by a known absence; left out of times to resolve
    state = FSMField(default=State.OPEN, choices=State.choices, protected=True)
    outcome = models.CharField(max_length=20, choices=Outcome.choices, blank=True)
    opened_at = models.DateTimeField()
    resolved_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        constraints = [
            known_states("case_known_state", CaseState.values),
            models.CheckConstraint(
                name="case_resolved_has_an_outcome",
                condition=Q(state="open", outcome="", resolved_at__isnull=True)
                | (Q(state="resolved", resolved_at__isnull=False) & ~Q(outcome="")),
            ),
            models.UniqueConstraint(
                name="case_one_open_a_kind",
                fields=["request", "exception"],
                condition=Q(state="open"),
            ),
        ]

    def __str__(self) -> str:
        return f"{self.exception} of {self.request_id} ({self.outcome or self.state})"

    @transition(state, source=State.OPEN, target=State.RESOLVED)
    def resolve(self, *, outcome: str, now: datetime) -> None:
        """Somebody decided, or its path came to its end."""
        self.outcome = outcome
        self.resolved_at = now


class ConflictParty(models.Model):
    """One request that wants the record a conflict is about, and what the ruling made of it."""

    class Role(models.TextChoices):
        CARRIER = "carrier", "Newcomer that carries the case"
        NEWCOMER = "newcomer"
        EARLIER = "earlier"

    class Ruling(models.TextChoices):
        FIRST = "first", "Goes on"
        QUEUED = "queued"
        REFUSED = "refused"

    case = models.ForeignKey(Case, models.PROTECT, related_name="parties")
    request = models.ForeignKey(ActionRequest, models.PROTECT, related_name="conflicts")
    role = models.CharField(max_length=8, choices=Role.choices)
    joined_at = models.DateTimeField()
    was_held = models.BooleanField(default=False)
    ruling = models.CharField(max_length=7, choices=Ruling.choices, blank=True)
    position = models.PositiveSmallIntegerField(null=True, blank=True)  # in the queue
    # Unless it carries the case, whose steps have the clock: until when it waits for the case's end,
    # and once queued, for those before it.
    held_until = models.DateTimeField(null=True, blank=True)
    left_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(name="conflict_party_once", fields=["case", "request"]),
            models.UniqueConstraint(
                name="conflict_one_carrier", fields=["case"], condition=Q(role="carrier")
            ),
            models.UniqueConstraint(
                name="conflict_one_wait_a_request",
                fields=["request"],
                condition=Q(was_held=True, left_at__isnull=True),
            ),
        ]

    def __str__(self) -> str:
        return f"{self.role} {self.request_id} in case {self.case_id}"


class Waiver(models.Model):
    """One signature of compliance that silences one check at one revision for one digest."""

    case = models.ForeignKey(Case, models.PROTECT, related_name="waivers")
    request = models.ForeignKey(ActionRequest, models.PROTECT, related_name="waivers")
    check_key = models.SlugField(max_length=60)
    check_revision = models.PositiveIntegerField()
    digest = models.CharField(max_length=64)
    person = models.ForeignKey(Person, models.PROTECT, related_name="+")
    at = models.DateTimeField()

    class Meta:
        constraints = [
            models.UniqueConstraint(
                name="waiver_once_a_person",
                fields=["request", "check_key", "check_revision", "person"],
            ),
        ]

    def __str__(self) -> str:
        return f"{self.check_key} r{self.check_revision} by {self.person_id}"
