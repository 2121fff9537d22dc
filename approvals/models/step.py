"""The rungs a request stood on, the people asked on them, and what they said."""

from __future__ import annotations

from datetime import datetime, timedelta

from django.db import models
from django.db.models import Q
from django_fsm import FSMField, transition

from approvals.models.request import ActionRequest
from approvals.models.review import Review
from governance.models import Person
from governance.models.states import Stateful, known_states
from governance.vocabulary import Level, Path, Severity, Verdict


class StepState(models.TextChoices):
    WAITING = "waiting"
    SUSPENDED = "suspended"
    ANSWERED = "answered"
    EXPIRED = "expired"
    PASSED_OVER = "passed_over", "Passed over"
    SUPERSEDED = "superseded"


class Step(Stateful, models.Model):
    """One rung that one request stood on: since when, until when, what came of it."""

    State = StepState

    class Began(models.TextChoices):
        """Why the clock started when it did."""

        SUBMITTED = "submitted", "when the request came in"
        EXPIRED = "expired", "when the time before it was over"
        PASSED_OVER = "passed_over", "at once, as nobody could be asked before"
        LATE = "late", "when the clock ran again after an outage"
        OPENED = "opened", "when the case was opened"
        RELEASED = "released", "when it was held no longer"

    # Found by `step_no_rung_twice`.
    request = models.ForeignKey(ActionRequest, models.PROTECT, db_index=False, related_name="steps")
    case = models.ForeignKey(
        "approvals.Case", models.PROTECT, null=True, blank=True, related_name="steps"
    )
    path = models.CharField(max_length=20, choices=Path.choices)
    level = models.PositiveSmallIntegerField(choices=Level.choices)
    state = FSMField(default=State.WAITING, choices=State.choices, protected=True)
    needed = models.PositiveSmallIntegerField(default=1)  # approvals still missing when it opened
    window = models.DurationField()  # as granted; zero where it was passed over
    began = models.CharField(max_length=12, choices=Began.choices)
    opened_at = models.DateTimeField()
    due_at = models.DateTimeField(null=True, blank=True)
    remaining = models.DurationField(null=True, blank=True)  # kept while suspended
    closed_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        constraints = [
            known_states("step_known_state", StepState.values),
            models.CheckConstraint(name="step_known_path", condition=Q(path__in=Path.values)),
            models.CheckConstraint(name="step_known_level", condition=Q(level__in=Level.values)),
            # 1. "Escalation cannot stall": a rung that waits has a clock, a suspended one what is left of it.
            models.CheckConstraint(
                name="step_waiting_has_a_clock",
                condition=Q(state="waiting", due_at__isnull=False, remaining__isnull=True)
                | Q(state="suspended", due_at__isnull=True, remaining__isnull=False)
                | Q(
                    state__in=["answered", "expired", "passed_over", "superseded"],
                    remaining__isnull=True,
                ),
            ),
            # 2. One voice at a time; no rung twice.
            models.UniqueConstraint(
                name="step_one_waiting_a_request", fields=["request"], condition=Q(state="waiting")
            ),
            models.UniqueConstraint(name="step_no_rung_twice", fields=["request", "path", "level"]),
        ]

    def __str__(self) -> str:
        return f"{self.path} L{self.level} of {self.request_id} ({self.state})"

    @transition(state, source=State.WAITING, target=State.ANSWERED)
    def answer(self, *, now: datetime) -> None:
        """It was decided in time."""
        self.closed_at = now

    @transition(state, source=State.WAITING, target=State.EXPIRED)
    def expire(self, *, now: datetime) -> None:
        """The clock ran out first."""
        self.closed_at = now

    @transition(state, source=State.WAITING, target=State.PASSED_OVER)
    def pass_over(self, *, now: datetime) -> None:
        """Nobody on this rung can be asked."""
        self.closed_at = now

    @transition(state, source=State.WAITING, target=State.SUSPENDED)
    def suspend(self, *, now: datetime) -> None:
        """A conflict or a violation speaks first; what is left of the time is kept."""
        if self.due_at is None:
            raise ValueError("a step that waits without a clock cannot be suspended")
        self.remaining = max(self.due_at - now, timedelta(0))
        self.due_at = None

    @transition(state, source=State.SUSPENDED, target=State.WAITING)
    def resume(self, *, now: datetime) -> None:
        """The interruption is over; the clock runs on with what was left."""
        if self.remaining is None:
            raise ValueError("a suspended step without remaining time cannot resume")
        self.due_at = now + self.remaining
        self.remaining = None

    @transition(state, source=[State.WAITING, State.SUSPENDED], target=State.SUPERSEDED)
    def supersede(self, *, now: datetime) -> None:
        """The request went on without it."""
        self.closed_at = now
        self.remaining = None


class Ask(models.Model):
    """One person on one step: asked, or passed over and why. Open while `due_at` is set."""

    # Found by `ask_once_a_step`.
    step = models.ForeignKey(Step, models.PROTECT, db_index=False, related_name="asks")
    person = models.ForeignKey(Person, models.PROTECT, related_name="asks")
    path = models.CharField(max_length=20, choices=Path.choices)  # its step's, which never changes
    why = models.CharField(max_length=300, blank=True)  # why this person
    position = models.PositiveSmallIntegerField(default=0)
    asked_at = models.DateTimeField(null=True, blank=True)
    due_at = models.DateTimeField(
        null=True, blank=True
    )  # its step's while open, for the inbox's order
    delivered_at = models.DateTimeField(null=True, blank=True)  # first channel that took it
    seen_at = models.DateTimeField(null=True, blank=True)
    pings = models.PositiveSmallIntegerField(default=0)
    next_ping_at = models.DateTimeField(null=True, blank=True)
    unreachable_at = models.DateTimeField(
        null=True, blank=True
    )  # asked all the same; an alert says so
    passed_over_at = models.DateTimeField(null=True, blank=True)
    passed_over_reason = models.CharField(max_length=300, blank=True)
    handed_over_from = models.ForeignKey(
        "self", models.PROTECT, null=True, blank=True, db_index=False, related_name="+"
    )

    class Meta:
        constraints = [
            models.UniqueConstraint(name="ask_once_a_step", fields=["step", "person"]),
            models.CheckConstraint(
                name="ask_open_was_asked",
                condition=Q(due_at__isnull=True)
                | Q(asked_at__isnull=False, passed_over_at__isnull=True),
            ),
            models.CheckConstraint(
                name="ask_passed_over_has_a_reason",
                condition=Q(passed_over_at__isnull=True) | ~Q(passed_over_reason=""),
            ),
            models.CheckConstraint(
                name="ask_pings_while_open",
                condition=Q(next_ping_at__isnull=True) | Q(due_at__isnull=False),
            ),
        ]
        indexes = [
            # approvals.selectors.inbox_for, a lane at a time, by keyset
            models.Index(
                name="ask_open_of_person",
                fields=["person", "path", "due_at", "id"],
                condition=Q(due_at__isnull=False),
            ),
            # approvals.sweeps.ping_again
            models.Index(
                name="ask_due_ping",
                fields=["next_ping_at"],
                condition=Q(next_ping_at__isnull=False),
            ),
        ]

    def __str__(self) -> str:
        return f"{self.person_id} on step {self.step_id}"


class Decision(models.Model):
    """One person's verdict on one step, naming the digest they saw."""

    class Via(models.TextChoices):
        PAGE = "page"
        API = "api"
        BULK = "bulk"  # one of several that were approved from one page

    step = models.ForeignKey(Step, models.PROTECT, related_name="decisions")
    request = models.ForeignKey(ActionRequest, models.PROTECT, related_name="decisions")
    person = models.ForeignKey(Person, models.PROTECT, related_name="decisions")
    verdict = models.CharField(max_length=20, choices=Verdict.choices)
    note = models.TextField(blank=True)
    digest = models.CharField(max_length=64)
    severity = models.CharField(
        max_length=6, choices=Severity.choices, blank=True
    )  # of an objection
    details = models.JSONField(default=dict, blank=True)  # a ruling's order and refusals
    via = models.CharField(max_length=4, choices=Via.choices)
    reauthenticated_at = models.DateTimeField(null=True, blank=True)  # real time
    at = models.DateTimeField()
    is_bypass = models.BooleanField(default=False)
    review = models.ForeignKey(
        Review, models.PROTECT, null=True, blank=True, related_name="decisions"
    )

    class Meta:
        constraints = [
            # 7. One voice a person a step; nobody bypasses without a review. Taking over by hand
            # is no last word: it can be given back, and then something else said.
            models.UniqueConstraint(
                name="decision_once_a_person",
                fields=["step", "person"],
                condition=~Q(verdict="by_hand"),
            ),
            models.CheckConstraint(
                name="decision_bypass_has_a_review",
                condition=Q(is_bypass=False) | Q(review__isnull=False),
            ),
            models.CheckConstraint(
                name="decision_known_verdict", condition=Q(verdict__in=Verdict.values)
            ),
        ]
        indexes = [
            # approvals.audits.bypasses_without_a_factor, each minute
            models.Index(name="decision_bypass", fields=["-id"], condition=Q(is_bypass=True)),
        ]

    def __str__(self) -> str:
        return f"{self.verdict} by {self.person_id} on step {self.step_id}"


class Question(models.Model):
    """What somebody asked the agent while they decided. It stops no clock."""

    step = models.ForeignKey(Step, models.PROTECT, related_name="questions")
    request = models.ForeignKey(ActionRequest, models.PROTECT, related_name="questions")
    person = models.ForeignKey(Person, models.PROTECT, related_name="+")
    text = models.TextField()
    asked_at = models.DateTimeField()
    answer = models.TextField(blank=True)
    answered_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        constraints = [
            models.CheckConstraint(name="question_has_text", condition=~Q(text="")),
            # An answer says something, and when.
            models.CheckConstraint(
                name="question_answer_is_whole",
                condition=Q(answer="", answered_at__isnull=True)
                | (~Q(answer="") & Q(answered_at__isnull=False)),
            ),
        ]

    def __str__(self) -> str:
        return f"question {self.pk} on {self.request_id}"
