"""Rehearsed recoveries."""

from __future__ import annotations

from django.db import models
from django.db.models import Q

from governance.models import ActionType


class Drill(models.Model):
    """A rehearsal of one action type's recovery against a non-production target, with evidence."""

    action_type = models.ForeignKey(ActionType, models.PROTECT, related_name="drills")
    target = models.CharField(max_length=60)
    started_at = models.DateTimeField()
    ended_at = models.DateTimeField(null=True, blank=True)
    passed = models.BooleanField(null=True, blank=True)
    evidence = models.JSONField(default=list)  # one entry for each unit it was failed at
    evidence_hash = models.CharField(max_length=64, blank=True)
    signature = models.CharField(max_length=128, blank=True)

    class Meta:
        constraints = [
            models.CheckConstraint(
                name="drill_passed_has_signed_evidence",
                condition=Q(passed__isnull=True)
                | (Q(ended_at__isnull=False) & ~Q(evidence_hash="") & ~Q(signature="")),
            ),
        ]

    def __str__(self) -> str:
        return f"drill of {self.action_type_id} at {self.started_at:%d %b %Y}"
