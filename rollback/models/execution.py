"""Runs and the units they send. A unit that is `done` is its own checkpoint."""

from __future__ import annotations

from datetime import datetime

from django.db import models
from django.db.models import Q
from django_fsm import FSMField, transition

from approvals.models import ActionRequest
from governance.models.states import Stateful, known_states


class Direction(models.TextChoices):
    FORWARD = "forward"
    UNDO = "undo"


class RunState(models.TextChoices):
    RUNNING = "running"
    FINISHED = "finished"
    FAILED = "failed"
    LOST = "lost"  # its lease ran out and another worker went on


class Run(Stateful, models.Model):
    """One lease of one worker on one request. Its lease, token and deadline are on the request row."""

    State = RunState

    request = models.ForeignKey(ActionRequest, models.PROTECT, related_name="runs")
    direction = models.CharField(max_length=7, choices=Direction.choices)
    attempt = models.PositiveIntegerField()
    token = models.UUIDField()
    worker = models.CharField(max_length=120)
    state = FSMField(default=State.RUNNING, choices=State.choices, protected=True)
    started_at = models.DateTimeField()
    ended_at = models.DateTimeField(null=True, blank=True)
    error = models.CharField(max_length=500, blank=True)

    class Meta:
        constraints = [
            known_states("run_known_state", RunState.values),
            # 6. Never two at once, forward or undo.
            models.UniqueConstraint(
                name="run_one_running_a_request", fields=["request"], condition=Q(state="running")
            ),
            models.UniqueConstraint(
                name="run_attempt_once", fields=["request", "direction", "attempt"]
            ),
        ]

    def __str__(self) -> str:
        return f"{self.direction} run {self.attempt} of {self.request_id} ({self.state})"

    @transition(state, source=State.RUNNING, target=State.FINISHED)
    def finish(self, *, now: datetime) -> None:
        """It did what it came for."""
        self.ended_at = now

    @transition(state, source=State.RUNNING, target=State.FAILED)
    def fail(self, *, now: datetime, error: str) -> None:
        """The target, or a check, stopped it."""
        self.ended_at = now
        self.error = error

    @transition(state, source=State.RUNNING, target=State.LOST)
    def lose(self, *, now: datetime) -> None:
        """Its worker fell silent past the lease."""
        self.ended_at = now


class UnitState(models.TextChoices):
    PLANNED = "planned"
    SENT = "sent"  # the intent: committed before the call
    DONE = "done"  # the checkpoint
    NOT_DONE = "not_done", "Not done"
    UNKNOWN = "unknown"
    REVERSED = "reversed"


TRIES_KEPT = 20
ERROR_LENGTH = 500


class Unit(Stateful, models.Model):
    """The smallest piece of an action sent to a target under its own key."""

    State = UnitState

    request = models.ForeignKey(ActionRequest, models.PROTECT, related_name="units")
    direction = models.CharField(max_length=7, choices=Direction.choices)
    position = models.PositiveIntegerField()
    key = models.CharField(max_length=500)  # "<business key>~<generation>/<n>"
    name = models.CharField(max_length=200)
    record = models.CharField(max_length=300, blank=True)  # the snapshot's record that it writes
    amount = models.DecimalField(max_digits=20, decimal_places=4, null=True, blank=True)
    currency = models.CharField(max_length=3, blank=True)  # ISO 4217
    body = models.JSONField()  # the connector's own; of a reversal, written when it is sent
    reverses = models.OneToOneField(
        "self", models.PROTECT, null=True, blank=True, related_name="reversal"
    )
    state = FSMField(default=State.PLANNED, choices=State.choices, protected=True)
    attempts = models.PositiveIntegerField(default=0)
    sent_at = models.DateTimeField(null=True, blank=True)
    done_at = models.DateTimeField(null=True, blank=True)
    reversed_at = models.DateTimeField(null=True, blank=True)
    receipt = models.JSONField(null=True, blank=True)  # {"reference": ..., "data": ...}
    in_doubt = models.BooleanField(
        default=False
    )  # a send of it was never answered, nor settled since
    probed = models.BooleanField(default=False)  # the answer was lost, and the target asked by key
    by_hand = models.BooleanField(default=False)  # its state is what a person says, not the target
    error = models.CharField(max_length=500, blank=True)
    tries = models.JSONField(
        default=list, blank=True
    )  # that failed: [{"at": ISO 8601, "said": "503 ..."}], the last TRIES_KEPT
    audited_at = models.DateTimeField(
        null=True, blank=True
    )  # its request had ended, and the target was asked by key

    class Meta:
        constraints = [
            known_states("unit_known_state", UnitState.values),
            # 6. One checkpoint a (request, direction, unit), one unit a key.
            models.UniqueConstraint(name="unit_once", fields=["request", "direction", "position"]),
            # What was never sent has spent no key: the next request of its effect sends the same one.
            models.UniqueConstraint(
                name="unit_key_once", fields=["key"], condition=Q(sent_at__isnull=False)
            ),
            models.CheckConstraint(
                name="unit_done_has_a_checkpoint",
                condition=~Q(state__in=["done", "reversed"])
                | Q(done_at__isnull=False, receipt__isnull=False),
            ),
        ]
        indexes = [
            # rollback.audits.effects
            models.Index(
                name="unit_unaudited", fields=["id"], condition=Q(audited_at__isnull=True)
            ),
        ]

    def __str__(self) -> str:
        return f"{self.direction} {self.position} of {self.request_id} ({self.state})"

    @transition(state, source=[State.PLANNED, State.NOT_DONE, State.UNKNOWN], target=State.SENT)
    def send(self, *, now: datetime) -> None:
        """The intent is about to be committed, and the call to be made."""
        self.sent_at = now
        self.attempts += 1
        self.by_hand = False

    @transition(state, source=[State.SENT, State.UNKNOWN], target=State.DONE)
    def check_point(self, *, now: datetime, receipt: object, probed: bool = False) -> None:
        """The target has it."""
        self.done_at = now
        self.receipt = receipt
        self.probed = probed
        self.in_doubt = self.by_hand = False

    @transition(state, source=[State.SENT, State.UNKNOWN], target=State.NOT_DONE)
    def miss(self, *, now: datetime, error: str) -> None:
        """The target does not have it, and says so."""
        self.in_doubt = False
        self._tried(now, error)

    @transition(state, source=State.SENT, target=State.UNKNOWN)
    def lose_track(self, *, now: datetime, error: str) -> None:
        """No answer came; only the target, or a person, can tell."""
        self.in_doubt = True
        self._tried(now, error)

    def _tried(self, now: datetime, error: str) -> None:
        self.error = error[:ERROR_LENGTH]
        self.tries = [*self.tries, {"at": now.isoformat(), "said": self.error}][-TRIES_KEPT:]

    @transition(
        state, source=[State.PLANNED, State.SENT, State.UNKNOWN, State.NOT_DONE], target=State.DONE
    )
    def be_done_by_hand(self, *, now: datetime, reference: str) -> None:
        """A person did it in the target, or found it there."""
        self.done_at = now
        self.receipt = {"reference": reference, "data": {}}
        self.by_hand, self.in_doubt = True, False

    @transition(state, source=[State.SENT, State.UNKNOWN], target=State.NOT_DONE)
    def be_missed_by_hand(self, *, now: datetime) -> None:
        """A person looked in the target, and it is not there."""
        self.by_hand, self.in_doubt = True, False
        self._tried(now, "A person looked: it is not in the target.")

    @transition(state, source=State.DONE, target=State.REVERSED)
    def be_reversed_by_hand(self, *, now: datetime) -> None:
        """A person took it back in the target, or found that it is not there any more."""
        self.reversed_at = now
        self.by_hand = True

    @transition(state, source=State.DONE, target=State.REVERSED)
    def be_reversed(self, *, now: datetime) -> None:
        """Its reversal is done and checkpointed."""
        self.reversed_at = now
