"""People, what they may decide, when they are away, and how they are reached; and the agents."""

from __future__ import annotations

from zoneinfo import ZoneInfo, available_timezones

from django.contrib.auth.models import AbstractUser
from django.core.exceptions import ValidationError
from django.core.validators import MinValueValidator
from django.db import models
from django.db.models import F, Q
from django.db.models.functions import Lower

from governance.vocabulary import Scope


def known_zone(name: str) -> None:
    """Raise ValidationError unless `name` is an IANA time zone: routing and words depend on it."""
    if name not in available_timezones():
        raise ValidationError("%(name)s is not a time zone.", params={"name": name})


class Department(models.Model):
    key = models.SlugField(max_length=60, unique=True)
    name = models.CharField(max_length=120)

    def __str__(self) -> str:
        return self.name


class Role(models.Model):
    """What somebody is in the organisation. `Duty` lists those the product itself knows."""

    key = models.SlugField(max_length=60, unique=True)
    name = models.CharField(max_length=120)

    def __str__(self) -> str:
        return self.name


class Person(AbstractUser):
    """Somebody who logs in, is asked, decides, reviews or operates."""

    name = models.CharField(max_length=120)  # as shown to others
    department = models.ForeignKey(
        Department, models.PROTECT, null=True, blank=True, related_name="people"
    )
    manager = models.ForeignKey(
        "self", models.PROTECT, null=True, blank=True, related_name="reports"
    )
    roles = models.ManyToManyField(Role, blank=True, related_name="people")
    # What they may approve on their own authority. A limit in another currency counts as none.
    limit_amount = models.DecimalField(
        max_digits=20, decimal_places=4, null=True, blank=True, validators=[MinValueValidator(0)]
    )
    limit_currency = models.CharField(max_length=3, blank=True)  # ISO 4217
    time_zone = models.CharField(max_length=60, default="UTC", validators=[known_zone])  # IANA

    class Meta(AbstractUser.Meta):
        constraints = [
            models.UniqueConstraint(
                Lower("email"), name="person_email_once", condition=~Q(email="")
            ),
            models.CheckConstraint(
                name="person_limit_has_a_currency",
                condition=Q(limit_amount__isnull=True, limit_currency="")
                # isnull as well as >=: a CHECK that comes to NULL lets the row pass.
                | (Q(limit_amount__isnull=False, limit_amount__gte=0) & ~Q(limit_currency="")),
            ),
            models.CheckConstraint(
                name="person_is_not_their_own_manager",
                condition=Q(manager__isnull=True) | ~Q(manager=F("pk")),
            ),
        ]

    def __str__(self) -> str:
        return self.name or self.username

    @property
    def zone(self) -> ZoneInfo:
        """The zone this person reads times in."""
        return ZoneInfo(self.time_zone)

    def has_duty(self, *duties: str) -> bool:
        """Whether this person, if enabled, holds any of these role keys. One query for each instance."""
        if not self.is_active:
            return False
        if not hasattr(self, "_duties"):
            self._duties = frozenset(self.roles.values_list("key", flat=True))
        return not self._duties.isdisjoint(duties)


class ContactChannel(models.Model):
    """How a person is reached besides the inbox."""

    class Kind(models.TextChoices):
        EMAIL = "email"
        APPRISE = "apprise", "Chat or pager"

    person = models.ForeignKey(Person, models.CASCADE, related_name="channels")
    kind = models.CharField(max_length=10, choices=Kind.choices)
    address = models.CharField(
        max_length=500
    )  # an e-mail address, or an apprise URL (holds a secret)
    urgent_only = models.BooleanField(default=False)
    confirmed_at = models.DateTimeField(null=True, blank=True)
    # Set only by a lasting refusal of this very address. A channel that is down is an alert instead.
    refused_at = models.DateTimeField(null=True, blank=True)
    refused_reason = models.CharField(max_length=300, blank=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(
                name="channel_once_a_person", fields=["person", "kind", "address"]
            ),
        ]

    def __str__(self) -> str:
        return f"{self.get_kind_display()} of {self.person_id}"


class Absence(models.Model):
    """A span in which a person is not asked. Entered as dates in their zone, kept as UTC instants."""

    person = models.ForeignKey(Person, models.CASCADE, related_name="absences")
    starts_at = models.DateTimeField()
    ends_at = models.DateTimeField()  # half-open: back at this instant
    set_by = models.ForeignKey(Person, models.PROTECT, related_name="+")
    set_at = models.DateTimeField()
    cancelled_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        constraints = [
            models.CheckConstraint(
                name="absence_has_a_length", condition=Q(ends_at__gt=F("starts_at"))
            ),
        ]
        indexes = [
            # Serves routing and approvals.sweeps.pass_over_absent.
            models.Index(
                name="absence_standing",
                fields=["starts_at", "ends_at"],
                condition=Q(cancelled_at__isnull=True),
            ),
        ]

    def __str__(self) -> str:
        return f"{self.person_id} from {self.starts_at:%d %b} to {self.ends_at:%d %b}"


class RosterShift(models.Model):
    """Who is on call for a target, and when. The fallback is in the policy."""

    target = models.CharField(max_length=60)  # a connector's key
    person = models.ForeignKey(Person, models.PROTECT, related_name="shifts")
    starts_at = models.DateTimeField()
    ends_at = models.DateTimeField()  # half-open

    class Meta:
        constraints = [
            models.CheckConstraint(
                name="shift_has_a_length", condition=Q(ends_at__gt=F("starts_at"))
            ),
        ]
        indexes = [models.Index(name="shift_of_target", fields=["target", "starts_at"])]

    def __str__(self) -> str:
        return f"{self.target}: {self.person_id} until {self.ends_at:%d %b %H:%M}"


class Agent(models.Model):
    """A program that asks leave to act. It never decides anything."""

    name = models.SlugField(max_length=60, unique=True)
    owner = models.ForeignKey(Person, models.PROTECT, related_name="agents")
    disabled_at = models.DateTimeField(null=True, blank=True)
    webhook_key_version = models.PositiveSmallIntegerField(
        default=1
    )  # raise it to change the secret

    def __str__(self) -> str:
        return self.name


def default_scopes() -> list[str]:
    return [Scope.SUBMIT.value, Scope.READ.value, Scope.WITHDRAW.value]


class Token(models.Model):
    """A secret told once. We keep its prefix, to find it, and its SHA-256, to know it again."""

    prefix = models.CharField(max_length=16, unique=True)
    digest = models.CharField(max_length=64)
    created_at = models.DateTimeField()  # real time, like all of a token's instants
    expires_at = models.DateTimeField(null=True, blank=True)
    disabled_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        abstract = True

    def __str__(self) -> str:
        return self.prefix


class AgentCredential(Token):
    """What one agent may ask for: departments, actions and scopes, by key."""

    agent = models.ForeignKey(Agent, models.PROTECT, related_name="credentials")
    departments = models.JSONField()  # list of department keys
    actions = models.JSONField()  # list of action keys
    scopes = models.JSONField(default=default_scopes)


class PersonalToken(Token):
    """A person's own token for the API."""

    person = models.ForeignKey(Person, models.CASCADE, related_name="tokens")
