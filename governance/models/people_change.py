"""A change of people that somebody asked for, and that a second person confirms or not."""

from __future__ import annotations

from django.db import models
from django.db.models import F, Q
from django_fsm import FSMField, transition

from governance.models.people import Agent, Person
from governance.models.states import Stateful, known_states


class PeopleChangeState(models.TextChoices):
    OPEN = "open", "Waits for a second person"
    CONFIRMED = "confirmed"
    REFUSED = "refused"
    WITHDRAWN = "withdrawn"
    LAPSED = "lapsed"
    STALE = "stale", "Out of date"


class PeopleChangeKind(models.TextChoices):
    LIMIT = "limit"
    ROLES = "roles"
    MANAGER = "manager", "Reporting line"
    ENABLED = "enabled", "Account"
    OWNER = "owner", "Owner of an agent"
    SHIFTS = "shifts", "On-call roster"


class PeopleChange(Stateful, models.Model):
    """A change of a person, an agent's owner or a roster, which takes two people. Nothing of it holds before."""

    State = PeopleChangeState
    Kind = PeopleChangeKind

    kind = models.CharField(max_length=8, choices=Kind.choices)
    # Whose: a person, an agent, or the target of a roster.
    person = models.ForeignKey(
        Person, models.PROTECT, null=True, blank=True, related_name="changes"
    )
    agent = models.ForeignKey(Agent, models.PROTECT, null=True, blank=True, related_name="changes")
    target = models.CharField(max_length=60, blank=True)
    # As `governance.services.people.kinds` reads and writes it. Of shifts: those taken out, those put in.
    was = models.JSONField(null=True, blank=True)
    becomes = models.JSONField(null=True, blank=True)
    reason = models.CharField(max_length=300)
    state = FSMField(default=State.OPEN, choices=State.choices, protected=True)
    asked_by = models.ForeignKey(Person, models.PROTECT, related_name="+")
    asked_at = models.DateTimeField()
    due_at = models.DateTimeField(null=True, blank=True)  # lapses then, if nobody confirms it
    ended_by = models.ForeignKey(Person, models.PROTECT, null=True, blank=True, related_name="+")
    ended_at = models.DateTimeField(null=True, blank=True)
    note = models.CharField(max_length=300, blank=True)  # why it was refused, or is out of date

    class Meta:
        constraints = [
            known_states("people_change_known_state", PeopleChangeState.values),
            # "Nothing stalls": one that waits has a clock, and one that ended has an end.
            models.CheckConstraint(
                name="people_change_open_has_a_clock",
                condition=Q(state="open", due_at__isnull=False, ended_at__isnull=True)
                | (~Q(state="open") & Q(due_at__isnull=True, ended_at__isnull=False)),
            ),
            models.CheckConstraint(
                name="people_change_second_is_another",
                condition=~Q(state="confirmed")
                # isnull as well as ~: a CHECK that comes to NULL lets the row pass.
                | (
                    Q(ended_by__isnull=False)
                    & ~Q(ended_by=F("asked_by"))
                    & (Q(person__isnull=True) | ~Q(ended_by=F("person")))
                ),
            ),
            models.CheckConstraint(
                name="people_change_is_of_one",
                condition=Q(
                    kind__in=["limit", "roles", "manager", "enabled"],
                    person__isnull=False,
                    agent__isnull=True,
                    target="",
                )
                | Q(kind="owner", person__isnull=True, agent__isnull=False, target="")
                | (Q(kind="shifts", person__isnull=True, agent__isnull=True) & ~Q(target="")),
            ),
            models.UniqueConstraint(
                name="people_change_one_open_a_person",
                fields=["person", "kind"],
                condition=Q(state="open", person__isnull=False),
            ),
            models.UniqueConstraint(
                name="people_change_one_open_an_agent",
                fields=["agent"],
                condition=Q(state="open", agent__isnull=False),
            ),
        ]
        indexes = [
            # governance.sweeps.lapse_changes
            models.Index(name="people_change_due", fields=["due_at"], condition=Q(state="open")),
        ]

    def __str__(self) -> str:
        return f"{self.kind} of {self.person_id or self.agent_id or self.target} ({self.state})"

    @transition(state, source=State.OPEN, target=State.CONFIRMED)
    def confirm(self) -> None:
        """A second person agreed, and it holds."""

    @transition(state, source=State.OPEN, target=State.REFUSED)
    def refuse(self) -> None:
        """A second person said no. All stays as it was."""

    @transition(state, source=State.OPEN, target=State.WITHDRAWN)
    def withdraw(self) -> None:
        """Whoever asked for it took it back."""

    @transition(state, source=State.OPEN, target=State.LAPSED)
    def lapse(self) -> None:
        """Nobody confirmed it in time. All stays as it was."""

    @transition(state, source=State.OPEN, target=State.STALE)
    def go_stale(self) -> None:
        """What it would have changed is another by now. All stays as it is."""
