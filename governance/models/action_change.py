"""A step in the life of an action type that somebody asked for, and that a second person confirms or not."""

from __future__ import annotations

from django.db import models
from django.db.models import F, Q
from django_fsm import FSMField, transition

from governance.models.action_type import ActionType, ActionTypeState
from governance.models.people import Person
from governance.models.states import Stateful, known_states

# What a version may become by two people. A draft is entered by one, and nobody can ask for it.
BECOMES = (ActionTypeState.TESTED, ActionTypeState.PRODUCTION, ActionTypeState.RETIRED)


class ActionChangeState(models.TextChoices):
    OPEN = "open", "Waits for a second person"
    CONFIRMED = "confirmed"
    REFUSED = "refused"
    WITHDRAWN = "withdrawn"
    LAPSED = "lapsed"
    STALE = "stale", "Out of date"


class ActionChange(Stateful, models.Model):
    """A version of an action type to be tested, put into production or retired, by two people. Nothing holds before."""

    State = ActionChangeState

    action_type = models.ForeignKey(ActionType, models.PROTECT, related_name="changes")
    becomes = models.CharField(max_length=10, choices=[(each, each.label) for each in BECOMES])
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
            known_states("action_change_known_state", ActionChangeState.values),
            known_states("action_change_known_end", BECOMES, field="becomes"),
            # "Nothing stalls": one that waits has a clock, and one that ended has an end.
            models.CheckConstraint(
                name="action_change_open_has_a_clock",
                condition=Q(state="open", due_at__isnull=False, ended_at__isnull=True)
                | (~Q(state="open") & Q(due_at__isnull=True, ended_at__isnull=False)),
            ),
            models.CheckConstraint(
                name="action_change_second_is_another",
                condition=~Q(state="confirmed")
                # isnull as well as ~: a CHECK that comes to NULL lets the row pass.
                | (Q(ended_by__isnull=False) & ~Q(ended_by=F("asked_by"))),
            ),
            models.UniqueConstraint(
                name="action_change_one_open", fields=["action_type"], condition=Q(state="open")
            ),
        ]
        indexes = [
            # governance.sweeps.lapse_action_changes
            models.Index(name="action_change_due", fields=["due_at"], condition=Q(state="open")),
        ]

    def __str__(self) -> str:
        return f"{self.action_type_id} becomes {self.becomes} ({self.state})"

    @transition(state, source=State.OPEN, target=State.CONFIRMED)
    def confirm(self) -> None:
        """A second person agreed, every gate was met, and it holds."""

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
        """What it was asked on is no longer so. All stays as it is."""
