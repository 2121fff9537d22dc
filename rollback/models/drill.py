"""Rehearsed recoveries."""

from __future__ import annotations

from django.db import models
from django.db.models import Q

from governance.models import ActionType, Person


class Drill(models.Model):
    """A rehearsal of one action type's recovery against a non-production target, with evidence.

    Open until it ends; then it is signed, and changes no more.
    """

    class Outcome(models.TextChoices):
        PASSED = "passed"
        DIFFERS = "differs", "Not as before"
        NOT_UNDONE = "not_undone", "Not undone"
        NOT_RUN = "not_run", "Could not be run"  # the undo was not tried everywhere
        GIVEN_UP = "given_up", "Did not end in time"

    action_type = models.ForeignKey(ActionType, models.PROTECT, related_name="drills")
    target = models.CharField(max_length=60)  # whose sandbox it is
    sandbox = models.CharField(max_length=300, blank=True)  # its address
    asked_by = models.ForeignKey(  # None: the schedule, or the command
        Person, models.PROTECT, null=True, blank=True, related_name="+"
    )
    started_at = models.DateTimeField()
    units = models.PositiveSmallIntegerField(default=0)  # of its example
    points = models.PositiveSmallIntegerField(default=0)  # where it is failed, in all
    # Who is at it: one worker at a time, as long as its lease; and by when it has ended.
    token = models.UUIDField(null=True, blank=True)
    lease_until = models.DateTimeField(null=True, blank=True)
    due_at = models.DateTimeField(null=True, blank=True)
    ended_at = models.DateTimeField(null=True, blank=True)
    passed = models.BooleanField(null=True, blank=True)
    outcome = models.CharField(max_length=10, choices=Outcome.choices, blank=True)
    said = models.CharField(max_length=500, blank=True)  # why it did not pass
    definition = models.CharField(max_length=64, blank=True)  # SHA-256 of what was rehearsed
    # One entry for each point so far: see `rollback.rehearsal.play`.
    evidence = models.JSONField(default=list)
    evidence_hash = models.CharField(max_length=64, blank=True)
    signature = models.CharField(max_length=128, blank=True)
    key_id = models.CharField(max_length=16, blank=True)

    class Meta:
        constraints = [
            models.CheckConstraint(
                name="drill_passed_has_signed_evidence",
                condition=Q(passed__isnull=True)
                | (Q(ended_at__isnull=False) & ~Q(evidence_hash="") & ~Q(signature="")),
            ),
            # Nothing waits for ever.
            models.CheckConstraint(
                name="drill_open_has_a_clock",
                condition=Q(ended_at__isnull=True, due_at__isnull=False, passed__isnull=True)
                | Q(
                    ended_at__isnull=False,
                    due_at__isnull=True,
                    lease_until__isnull=True,
                    passed__isnull=False,
                ),
            ),
            models.UniqueConstraint(
                name="drill_one_open_an_action_type",
                fields=["action_type"],
                condition=Q(ended_at__isnull=True),
            ),
        ]
        indexes = [
            # rollback.drill_sweeps
            models.Index(name="drill_open", fields=["due_at"], condition=Q(ended_at__isnull=True)),
        ]

    def __str__(self) -> str:
        return f"drill of {self.action_type_id} at {self.started_at:%d %b %Y}"

    @property
    def is_open(self) -> bool:
        return self.ended_at is None
