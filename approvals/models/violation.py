"""Rules that a request broke, as they were reported, and what its target said when it was read."""

from __future__ import annotations

from django.db import models
from django.db.models import Q

from approvals.models.case import Case
from approvals.models.request import ActionRequest
from governance.models import Agent, Person


class Violation(models.Model):
    """One report that a request breaks a rule: by a check of the policy, by an agent, or by a person.

    It hangs from the case it opened or joined. Without one it came when nothing could be
    blocked any more, or a run has yet to stop for it: `settled_at` says that nothing is left to do.
    """

    request = models.ForeignKey(ActionRequest, models.PROTECT, related_name="violations")
    case = models.ForeignKey(Case, models.PROTECT, null=True, blank=True, related_name="violations")
    check_key = models.SlugField(max_length=60, blank=True)  # "": somebody's own words
    check_revision = models.PositiveIntegerField(default=0)
    check_name = models.CharField(max_length=200, blank=True)
    expression_hash = models.CharField(max_length=64, blank=True)
    text = models.CharField(max_length=1000)  # what is wrong, in a sentence
    facts = models.JSONField(
        default=list, blank=True
    )  # [{"name": "facts.credit_limit", "value": "10,000.00 USD"}]
    by_agent = models.ForeignKey(Agent, models.PROTECT, null=True, blank=True, related_name="+")
    by_person = models.ForeignKey(Person, models.PROTECT, null=True, blank=True, related_name="+")
    at = models.DateTimeField()
    settled_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        constraints = [
            models.CheckConstraint(
                name="violation_by_one_at_most",
                condition=Q(by_agent__isnull=True) | Q(by_person__isnull=True),
            ),
            # Nobody's words and no rule: nothing that compliance could rule on.
            models.CheckConstraint(
                name="violation_says_what",
                condition=~Q(text="")
                & (~Q(check_key="") | Q(by_agent__isnull=False) | Q(by_person__isnull=False)),
            ),
        ]
        indexes = [
            # approvals.sweeps.block_what_was_reported
            models.Index(
                name="violation_unsettled",
                fields=["request"],
                condition=Q(case__isnull=True, settled_at__isnull=True),
            ),
        ]

    def __str__(self) -> str:
        return f"{self.check_key or 'a report'} on {self.request_id}"


class RecordRead(models.Model):
    """One record of the target as the worker last read it for a request that waits."""

    request = models.ForeignKey(ActionRequest, models.PROTECT, related_name="records_read")
    record = models.CharField(max_length=300)  # its key in the target
    version = models.CharField(max_length=120, blank=True)
    state = models.JSONField(null=True, blank=True)  # null: it is not there
    read_at = models.DateTimeField()

    class Meta:
        constraints = [
            models.UniqueConstraint(name="record_read_once", fields=["request", "record"])
        ]

    def __str__(self) -> str:
        return f"{self.record} for {self.request_id}"
