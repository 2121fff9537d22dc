"""The catalogue: the kinds of write that agents may ask for."""

from __future__ import annotations

from datetime import datetime, timedelta
from decimal import Decimal

from django.db import models
from django.db.models import Q
from django_fsm import FSMField, transition

from governance.models.people import Person
from governance.models.states import Stateful, known_states
from governance.vocabulary import Impact, Severity


class ActionTypeState(models.TextChoices):
    DRAFT = "draft"
    TESTED = "tested"
    PRODUCTION = "production"
    RETIRED = "retired"


class ActionType(Stateful, models.Model):
    """One version of one kind of write. A request keeps the version it was routed by.

    What a version says never changes once it is entered: caches rely on it, and so
    does whoever reads later what was approved. A change is the next version.
    """

    State = ActionTypeState

    class Reversal(models.TextChoices):
        NONE = "none", "Cannot be undone"
        COMPENSATE = "compensate", "Compensate with a reverse action"
        RESTORE = "restore", "Restore from a snapshot"

    key = models.SlugField(max_length=60)
    version = models.PositiveIntegerField(default=1)
    state = FSMField(default=State.DRAFT, choices=State.choices, protected=True)
    name = models.CharField(max_length=120)  # "Vendor payment"
    # Templates take JSON pointers into the payload: "Pay {amount} to {/vendor/name}".
    title = models.CharField(max_length=200)  # verb, amount, counterparty
    shown_facts = models.JSONField(default=list)  # [{"label": "Vendor", "pointer": "/vendor"}]
    schema = models.JSONField()  # JSON Schema 2020-12 of the payload
    example = models.JSONField()  # a valid body for POST /api/v1/requests/
    amount_pointer = models.CharField(
        max_length=200, blank=True
    )  # to {"value", "currency"}; "" = no amount
    counterparty_pointer = models.CharField(
        max_length=200, blank=True
    )  # sums in 24 h are taken by it
    resource_key = models.CharField(
        max_length=300, blank=True
    )  # template; "" = competes with nothing
    business_key = models.CharField(
        max_length=300
    )  # template; frozen at submission, no clock in it
    connector = models.CharField(max_length=60)
    connector_config = models.JSONField(default=dict, blank=True)
    snapshot_plan = models.JSONField(
        default=list, blank=True
    )  # records to read before the first write
    records_touched = models.PositiveSmallIntegerField(default=1)
    reversal = models.CharField(max_length=12, choices=Reversal.choices, default=Reversal.NONE)
    reversal_code = models.CharField(
        max_length=60, blank=True
    )  # the reversal's name in its connector
    reversal_words = models.TextField(
        blank=True
    )  # told before approval: what an undo does, and its limits
    sla = models.DurationField(default=timedelta(hours=4))  # L0's window
    severity = models.CharField(max_length=6, choices=Severity.choices, default=Severity.LOW)
    impact = models.CharField(max_length=6, choices=Impact.choices, default=Impact.LOW)
    impact_bands = models.JSONField(
        default=list, blank=True
    )  # [{"from": "50000.00", "currency": "USD", "impact": "high"}]
    is_financial = models.BooleanField(default=False)
    is_critical = models.BooleanField(
        default=False
    )  # a critical business process: it alone opens L4
    first_no_is_final = models.BooleanField(default=False)
    # What evidence packs leave out: JSON pointers into the payload, and into each record's state.
    redacted = models.JSONField(
        default=dict, blank=True
    )  # {"payload": ["/iban"], "records": ["/bank/iban"]}
    created_at = models.DateTimeField()
    # Until when the last rehearsal of its undo counts; None: none did. Written by `rollback` alone.
    drill_due_at = models.DateTimeField(null=True, blank=True)
    entered_by = models.ForeignKey(  # None: the product's own, seeded
        Person, models.PROTECT, null=True, blank=True, related_name="+"
    )

    class Meta:
        constraints = [
            models.UniqueConstraint(name="action_type_version_once", fields=["key", "version"]),
            models.UniqueConstraint(
                name="action_type_one_in_production",
                fields=["key"],
                condition=Q(state="production"),
            ),
            models.CheckConstraint(
                name="action_type_sla_has_a_length", condition=Q(sla__gt=timedelta(0))
            ),
            known_states("action_type_known_state", ActionTypeState.values),
        ]

    def __str__(self) -> str:
        return f"{self.key} v{self.version}"

    @property
    def needs_drills(self) -> bool:
        """Whether its undo has to have been rehearsed lately. Source: DESIGN 5."""
        return self.is_financial and self.reversal != self.Reversal.NONE

    def takes_a_person(self, now: datetime, *, drill_due_at: datetime | None) -> bool:
        """Whether what is submitted now is approved by somebody present. Source: DESIGN 2.2.

        It cannot be undone, or nobody has shown lately that it can.

        Args:
            drill_due_at: as it is stored now; this object may be older than the last drill.
        """
        if self.needs_drills:
            return drill_due_at is None or drill_due_at <= now
        return self.reversal == self.Reversal.NONE

    def redacted_in(self, where: str) -> tuple[str, ...]:
        """Return what evidence leaves out of the "payload", or of "records": JSON pointers."""
        return tuple(self.redacted.get(where, ()))

    def impact_for(self, amount: Decimal | None, currency: str) -> Impact:
        """Return the impact for an amount, before an agent raises it: the gravest of the bands it reaches."""
        impacts = [Impact(self.impact)]
        for band in self.impact_bands:
            reached = amount is not None and amount >= Decimal(band["from"])
            if reached and band["currency"] == currency:
                impacts.append(Impact(band["impact"]))
        return max(impacts, key=list(Impact).index)

    @transition(state, source=State.DRAFT, target=State.TESTED)
    def pass_tests(self) -> None:
        """It can be run and undone as it is written; from now on that is rehearsed on schedule."""

    @transition(state, source=State.TESTED, target=State.PRODUCTION)
    def promote(self) -> None:
        """Agents may ask for it."""

    @transition(state, source=[State.DRAFT, State.TESTED, State.PRODUCTION], target=State.RETIRED)
    def retire(self) -> None:
        """Agents may no longer ask for it; what is in flight goes on."""
