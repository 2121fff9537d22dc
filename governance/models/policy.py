"""A policy version and its parts: who decides what, for how long, and what answers an exception."""

from __future__ import annotations

from datetime import timedelta

from django.db import models
from django.db.models import F, Q
from django_fsm import FSMField, transition

from governance.models.people import Department, Person, Role
from governance.models.states import Stateful, known_states
from governance.vocabulary import ExceptionType, Impact, Level, Path, Response, RuleSource, Severity


class PolicyVersionState(models.TextChoices):
    DRAFT = "draft"
    ACTIVE = "active"
    SUPERSEDED = "superseded"
    DISCARDED = "discarded"


NEVER_IN_FORCE = (PolicyVersionState.DRAFT, PolicyVersionState.DISCARDED)


class PolicyVersion(Stateful, models.Model):
    """The rules of one time. Immutable once active: a change is the next version."""

    State = PolicyVersionState

    number = models.PositiveIntegerField(unique=True)
    state = FSMField(default=State.DRAFT, choices=State.choices, protected=True)
    based_on = models.ForeignKey("self", models.PROTECT, null=True, blank=True, related_name="+")
    queue_cap = models.DurationField(
        default=timedelta(hours=8)
    )  # the longest a queued party is held
    created_at = models.DateTimeField()
    editors = models.ManyToManyField(Person, blank=True, related_name="+")
    revision = models.PositiveIntegerField(default=0)  # of a draft; each edit names the one it saw
    edited_at = models.DateTimeField(null=True, blank=True)
    edited_by = models.ForeignKey(Person, models.PROTECT, null=True, blank=True, related_name="+")
    activated_at = models.DateTimeField(null=True, blank=True)
    activated_by = models.ForeignKey(
        Person, models.PROTECT, null=True, blank=True, related_name="+"
    )
    discarded_at = models.DateTimeField(null=True, blank=True)
    discarded_by = models.ForeignKey(
        Person, models.PROTECT, null=True, blank=True, related_name="+"
    )

    class Meta:
        constraints = [
            models.UniqueConstraint(
                name="policy_one_active", fields=["state"], condition=Q(state="active")
            ),
            models.CheckConstraint(
                name="policy_active_since",
                condition=Q(state__in=["discarded", "draft"]) | Q(activated_at__isnull=False),
            ),
            models.CheckConstraint(
                name="policy_discarded_by_somebody",
                condition=Q(
                    state="discarded", discarded_at__isnull=False, discarded_by__isnull=False
                )
                | ~Q(state="discarded") & Q(discarded_at__isnull=True, discarded_by__isnull=True),
            ),
            known_states("policy_known_state", PolicyVersionState.values),
        ]

    def __str__(self) -> str:
        return f"policy {self.number} ({self.state})"

    @transition(state, source=State.DRAFT, target=State.ACTIVE)
    def activate(self) -> None:
        """New requests are routed by it."""

    @transition(state, source=State.ACTIVE, target=State.SUPERSEDED)
    def supersede(self) -> None:
        """The next version took over; requests in flight keep this one."""

    @transition(state, source=State.DRAFT, target=State.DISCARDED)
    def discard(self) -> None:
        """It will never be in force. It stays to be read, and its number is not used again."""


class PolicySignature(models.Model):
    """Somebody who put their name to a version, and to the holes it still has."""

    version = models.ForeignKey(PolicyVersion, models.PROTECT, related_name="signatures")
    person = models.ForeignKey(Person, models.PROTECT, related_name="+")
    holes = models.JSONField(default=list)  # what was signed: [[key, sentence], ...]
    signed_at = models.DateTimeField()

    class Meta:
        constraints = [
            models.UniqueConstraint(name="signature_once_a_person", fields=["version", "person"]),
        ]

    def __str__(self) -> str:
        return f"{self.person_id} on policy {self.version_id}"


class MatrixRow(models.Model):
    """Who decides one kind of action in one department, for one band of amounts."""

    version = models.ForeignKey(PolicyVersion, models.CASCADE, related_name="rows")
    number = models.PositiveIntegerField()  # as shown: "matrix row 14"
    department = models.ForeignKey(Department, models.PROTECT, related_name="+")
    action = models.CharField(max_length=60, blank=True)  # an action type's key; "" = any
    # Band [from, to) in one currency; no conversion. "" = requests without an amount.
    currency = models.CharField(max_length=3, blank=True)
    amount_from = models.DecimalField(max_digits=20, decimal_places=4, null=True, blank=True)
    amount_to = models.DecimalField(max_digits=20, decimal_places=4, null=True, blank=True)
    approver_role = models.ForeignKey(Role, models.PROTECT, null=True, blank=True, related_name="+")
    approver_person = models.ForeignKey(
        Person, models.PROTECT, null=True, blank=True, related_name="+"
    )
    quorum = models.PositiveSmallIntegerField(default=1)
    executive = models.ForeignKey(Person, models.PROTECT, null=True, blank=True, related_name="+")

    class Meta:
        ordering = ["number"]
        constraints = [
            models.UniqueConstraint(name="matrix_row_number_once", fields=["version", "number"]),
            models.CheckConstraint(
                name="matrix_row_has_one_approver",
                condition=Q(approver_role__isnull=True, approver_person__isnull=False)
                | Q(approver_role__isnull=False, approver_person__isnull=True),
            ),
            models.CheckConstraint(name="matrix_row_quorum", condition=Q(quorum__gte=1)),
            models.CheckConstraint(
                name="matrix_row_band",
                condition=Q(currency="", amount_from__isnull=True, amount_to__isnull=True)
                | (
                    ~Q(currency="")
                    # isnull as well as >=: a CHECK that comes to NULL lets the row pass.
                    & Q(amount_from__isnull=False, amount_from__gte=0)
                    & (Q(amount_to__isnull=True) | Q(amount_to__gt=F("amount_from")))
                ),
            ),
        ]

    def __str__(self) -> str:
        return f"row {self.number} of policy {self.version_id}"


class MatrixDelegate(models.Model):
    """Who stands in for a row's approver, in order, on their own authority."""

    row = models.ForeignKey(MatrixRow, models.CASCADE, related_name="delegates")
    position = models.PositiveSmallIntegerField()
    role = models.ForeignKey(Role, models.PROTECT, null=True, blank=True, related_name="+")
    person = models.ForeignKey(Person, models.PROTECT, null=True, blank=True, related_name="+")

    class Meta:
        ordering = ["position"]
        constraints = [
            models.UniqueConstraint(
                name="matrix_delegate_position_once", fields=["row", "position"]
            ),
            models.CheckConstraint(
                name="matrix_delegate_is_one",
                condition=Q(role__isnull=True, person__isnull=False)
                | Q(role__isnull=False, person__isnull=True),
            ),
        ]

    def __str__(self) -> str:
        return f"delegate {self.position} of {self.row_id}"


class PathWindow(models.Model):
    """How long one rung of one path waits."""

    version = models.ForeignKey(PolicyVersion, models.CASCADE, related_name="windows")
    path = models.CharField(max_length=20, choices=Path.choices)
    level = models.PositiveSmallIntegerField(choices=Level.choices)
    window = models.DurationField()  # elapsed time, day and night
    calendar = models.CharField(max_length=60, null=True, blank=True)  # noqa: DJ001 - null is "no calendar", and only that

    class Meta:
        constraints = [
            models.UniqueConstraint(name="path_window_once", fields=["version", "path", "level"]),
            models.CheckConstraint(
                name="path_window_has_a_length", condition=Q(window__gt=timedelta(0))
            ),
        ]

    def __str__(self) -> str:
        return f"{self.path} L{self.level}: {self.window}"


class DecisionCell(models.Model):
    """One of the 45 answers of the decision tree, as this version has it."""

    version = models.ForeignKey(PolicyVersion, models.CASCADE, related_name="cells")
    exception = models.CharField(max_length=20, choices=ExceptionType.choices)
    severity = models.CharField(max_length=6, choices=Severity.choices)
    impact = models.CharField(max_length=6, choices=Impact.choices)
    response = models.CharField(max_length=20, choices=Response.choices)
    source = models.CharField(max_length=5, choices=RuleSource.choices)

    class Meta:
        constraints = [
            models.UniqueConstraint(
                name="decision_cell_once", fields=["version", "exception", "severity", "impact"]
            ),
            # A cell may only hold a response of its own path.
            models.CheckConstraint(
                name="decision_cell_response_of_its_path",
                condition=Q(
                    exception="timeout",
                    response__in=["ask_again_extended", "ask_again", "delegate"],
                )
                | Q(exception="rejection", response__in=["alternate", "department_head"])
                | Q(exception="conflict", response="hold")
                | Q(
                    exception="system_failure",
                    response__in=["retry", "retry_tell_oncall", "oncall"],
                )
                | Q(exception="policy_violation", response="ask_compliance"),
            ),
        ]

    def __str__(self) -> str:
        return f"{self.exception} x {self.severity} x {self.impact}: {self.response}"


class PolicyCheck(models.Model):
    """A rule over payload, request and facts of the target, in CEL."""

    class Reads(models.TextChoices):
        PAYLOAD = "payload", "Payload and request, at submission"
        TARGET = "target", "Facts of the target, by the worker"

    version = models.ForeignKey(PolicyVersion, models.CASCADE, related_name="checks")
    key = models.SlugField(max_length=60)
    revision = models.PositiveIntegerField(default=1)  # a waiver silences one check at one revision
    name = models.CharField(max_length=200)
    action = models.CharField(max_length=60, blank=True)  # an action type's key; "" = any
    reads = models.CharField(max_length=8, choices=Reads.choices)
    expression = models.CharField(max_length=1000)
    expression_hash = models.CharField(max_length=64)
    on_break = models.CharField(max_length=300)  # told to compliance when it breaks

    class Meta:
        constraints = [models.UniqueConstraint(name="policy_check_once", fields=["version", "key"])]

    def __str__(self) -> str:
        return f"{self.key} r{self.revision}"


class Appointment(models.Model):
    """Who holds one office of one policy version."""

    class Office(models.TextChoices):
        DEPARTMENT_HEAD = "department_head"  # scope: a department's key
        RESOURCE_OWNER = "resource_owner"  # scope: a key pattern, longest wins; "" is the default
        ONCALL_FALLBACK = "oncall_fallback"  # scope: a target's key
        COMPLIANCE = "compliance"
        HEAD_OF_COMPLIANCE = "head_of_compliance"
        REVIEWER = "reviewer"
        EXECUTIVE = "executive"

    version = models.ForeignKey(PolicyVersion, models.CASCADE, related_name="appointments")
    office = models.CharField(max_length=20, choices=Office.choices)
    scope = models.CharField(max_length=200, blank=True)
    person = models.ForeignKey(Person, models.PROTECT, related_name="+")

    class Meta:
        constraints = [
            models.UniqueConstraint(
                name="appointment_once", fields=["version", "office", "scope", "person"]
            ),
            models.UniqueConstraint(
                name="appointment_one_holder",
                fields=["version", "office", "scope"],
                condition=Q(
                    office__in=[
                        "department_head",
                        "resource_owner",
                        "oncall_fallback",
                        "head_of_compliance",
                    ]
                ),
            ),
        ]

    def __str__(self) -> str:
        return f"{self.office} {self.scope}".strip()


class PolicyFinding(models.Model):
    """What the check that nothing can stall found in a version that is in use, from when to when."""

    SENTENCE_LENGTH = 1000

    class Weight(models.TextChoices):
        HOLE = "hole"  # somebody may be left unasked
        WARNING = "warning"

    version = models.ForeignKey(PolicyVersion, models.PROTECT, related_name="findings")
    weight = models.CharField(max_length=7, choices=Weight.choices)
    key = models.CharField(
        max_length=200
    )  # the same in every version for the same class of request
    about = models.CharField(max_length=20)  # "path", "match", "reviewer" and the like
    sentence = models.CharField(max_length=SENTENCE_LENGTH)  # the counterexample
    since = models.DateTimeField(null=True, blank=True)  # of the counterexample
    until = models.DateTimeField(null=True, blank=True)
    found_at = models.DateTimeField()
    gone_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(
                name="policy_finding_one_open",
                fields=["version", "weight", "key"],
                condition=Q(gone_at__isnull=True),
            ),
        ]

    def __str__(self) -> str:
        return self.sentence
