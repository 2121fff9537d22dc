"""The outbox: what people and agents are told, and whether it arrived."""

from __future__ import annotations

from django.db import models
from django.db.models import Q

from approvals.models.request import ActionRequest
from approvals.models.step import Ask
from governance.models import ContactChannel, Person


class Notice(models.Model):
    """One message through one channel. Put off before each try; rendered when it is tried."""

    class Kind(models.TextChoices):
        ASKED = "asked"
        PINGED = "pinged"
        TOLD = "told"  # something that concerns them came to an end
        STATE = "state"  # a request changed its state: the agent's webhook
        ALERT = "alert"

    class Via(models.TextChoices):
        INBOX = "inbox"
        EMAIL = "email"
        APPRISE = "apprise", "Chat or pager"
        WEBHOOK = "webhook"

    class State(models.TextChoices):
        WAITING = "waiting"
        DELIVERED = "delivered"
        DROPPED = "dropped"  # no longer true when it was tried
        REFUSED = "refused"  # this address refuses for good
        FAILED = "failed"  # out of tries

    kind = models.CharField(max_length=6, choices=Kind.choices)
    via = models.CharField(max_length=7, choices=Via.choices)
    state = models.CharField(max_length=9, choices=State.choices, default=State.WAITING)
    request = models.ForeignKey(
        ActionRequest, models.PROTECT, null=True, blank=True, related_name="notices"
    )
    ask = models.ForeignKey(Ask, models.PROTECT, null=True, blank=True, related_name="notices")
    person = models.ForeignKey(
        Person, models.PROTECT, null=True, blank=True, related_name="notices"
    )
    channel = models.ForeignKey(
        ContactChannel, models.SET_NULL, null=True, blank=True, related_name="notices"
    )
    number = models.PositiveIntegerField(null=True, blank=True)  # of a webhook, a request
    facts = models.JSONField(default=dict, blank=True)  # what cannot be read again at delivery
    urgent = models.BooleanField(default=False)
    created_at = models.DateTimeField()
    attempts = models.PositiveSmallIntegerField(default=0)
    next_attempt_at = models.DateTimeField(null=True, blank=True)
    delivered_at = models.DateTimeField(null=True, blank=True)
    seen_at = models.DateTimeField(null=True, blank=True)  # inbox only
    last_error = models.CharField(max_length=300, blank=True)

    class Meta:
        constraints = [
            models.CheckConstraint(
                name="notice_waiting_has_a_next_attempt",
                condition=Q(state="waiting", next_attempt_at__isnull=False)
                | (~Q(state="waiting") & Q(next_attempt_at__isnull=True)),
            ),
            models.UniqueConstraint(
                name="notice_webhook_number_once",
                fields=["request", "number"],
                condition=Q(via="webhook"),
            ),
        ]
        indexes = [
            # approvals.notifications.deliver_due
            models.Index(
                name="notice_due",
                fields=["next_attempt_at"],
                condition=Q(next_attempt_at__isnull=False),
            ),
            # approvals.audits.notices_out_of_tries
            models.Index(name="notice_failed", fields=["id"], condition=Q(state="failed")),
            # what a person was told and has not seen
            models.Index(
                name="notice_unseen",
                fields=["person", "-id"],
                condition=Q(via="inbox", seen_at__isnull=True),
            ),
        ]

    def __str__(self) -> str:
        return f"{self.kind} through {self.via} ({self.state})"
