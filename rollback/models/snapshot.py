"""The state of the records an action touches, before and after."""

from __future__ import annotations

from django.db import models

from approvals.models import ActionRequest


class Snapshot(models.Model):
    """One record as it was before the first write, and as we left it."""

    request = models.ForeignKey(ActionRequest, models.PROTECT, related_name="snapshots")
    record = models.CharField(max_length=300)  # its key in the target
    version = models.CharField(
        max_length=120, blank=True
    )  # the target's own, for optimistic locking
    before = models.JSONField(null=True, blank=True)  # null: it was not there
    taken_at = models.DateTimeField()
    after = models.JSONField(null=True, blank=True)
    left_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(name="snapshot_once_a_record", fields=["request", "record"])
        ]

    def __str__(self) -> str:
        return f"{self.record} before {self.request_id}"
