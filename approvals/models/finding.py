"""What went wrong, where a person will see it."""

from __future__ import annotations

from django.db import models
from django.db.models import Q

from approvals.models.request import ActionRequest
from governance.models import Person


class Alert(models.Model):
    """Something an operator must look at. Raised once while it stands."""

    kind = models.CharField(max_length=60)  # "request.expired", "no-route", "sweep.failed"
    key = models.CharField(max_length=200)  # what it is about; one open alert a (kind, key)
    text = models.CharField(max_length=500)
    request = models.ForeignKey(
        ActionRequest, models.PROTECT, null=True, blank=True, related_name="alerts"
    )
    raised_at = models.DateTimeField()
    told_at = models.DateTimeField(null=True, blank=True)  # operators, through their channels
    acknowledged_by = models.ForeignKey(
        Person, models.PROTECT, null=True, blank=True, related_name="+"
    )
    acknowledged_at = models.DateTimeField(null=True, blank=True)
    closed_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(
                name="alert_one_open", fields=["kind", "key"], condition=Q(closed_at__isnull=True)
            ),
        ]
        indexes = [
            models.Index(
                name="alert_open", fields=["-raised_at"], condition=Q(closed_at__isnull=True)
            ),
            # approvals.sweeps.tell_of_alerts
            models.Index(name="alert_untold", fields=["id"], condition=Q(told_at__isnull=True)),
        ]

    def __str__(self) -> str:
        return f"{self.kind}: {self.text}"


class Finding(models.Model):
    """Something that should not exist, found by an audit. Each counts as a silent failure."""

    audit = models.CharField(max_length=60)
    key = models.CharField(max_length=200)
    text = models.CharField(max_length=500)
    facts = models.JSONField(default=dict, blank=True)
    request = models.ForeignKey(
        ActionRequest, models.PROTECT, null=True, blank=True, related_name="findings"
    )
    alert = models.ForeignKey(Alert, models.PROTECT, related_name="findings")
    found_at = models.DateTimeField()
    cleared_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(
                name="finding_one_open",
                fields=["audit", "key"],
                condition=Q(cleared_at__isnull=True),
            ),
        ]
        indexes = [
            # approvals.selectors.past_findings
            models.Index(
                name="finding_past",
                fields=["-cleared_at", "-id"],
                condition=Q(cleared_at__isnull=False),
            ),
        ]

    def __str__(self) -> str:
        return f"{self.audit}: {self.text}"
