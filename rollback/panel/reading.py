"""One request's doing and undoing before one reader: what every part of the panel is told from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, tzinfo
from decimal import Decimal
from functools import cached_property

from approvals import undoing
from approvals.models import ActionRequest, Order
from governance import wording
from governance.models import Person
from rollback.models import Direction, Recovery, Run, Snapshot, Unit

S = ActionRequest.State
U = Unit.State
IN_TARGET = (U.DONE, U.SENT, U.UNKNOWN)  # it is there, or may be
BACKWARDS = (S.ROLLING_BACK, S.ROLLED_BACK, S.STRANDED)
NAME_LENGTH = 60


@dataclass(frozen=True)
class Reading:
    """Who reads of which request, when, and in which zone. Each part is read once.

    Attributes:
        request: with `action_type`, `agent` and `department` loaded.
        now: business time; decides only how instants are said.
    """

    request: ActionRequest
    reader: Person
    now: datetime
    zone: tzinfo

    @cached_property
    def _units(self) -> list[Unit]:
        return list(
            Unit.objects.filter(request=self.request)
            .defer("body")  # what was sent is not shown, and may be long
            .order_by("position", "pk")
        )

    @cached_property
    def forward(self) -> list[Unit]:
        """What is done, in the order of writing."""
        return [unit for unit in self._units if unit.direction == Direction.FORWARD]

    @cached_property
    def back(self) -> list[Unit]:
        """What takes it back, the last unit first."""
        return [unit for unit in reversed(self._units) if unit.direction == Direction.UNDO]

    @cached_property
    def runs(self) -> list[Run]:
        return list(Run.objects.filter(request=self.request).order_by("pk"))

    @cached_property
    def snapshots(self) -> list[Snapshot]:
        return list(Snapshot.objects.filter(request=self.request).order_by("record"))

    @cached_property
    def recovery(self) -> Recovery | None:
        """The last undoing."""
        rows = Recovery.objects.filter(request=self.request).order_by("-pk")
        found: Recovery | None = rows.first()
        return found

    @cached_property
    def order(self) -> Order | None:
        """The order to roll back that stands."""
        return undoing.open_rollback(self.request)

    @cached_property
    def circle(self) -> undoing.Circle:
        return undoing.circle_of(self.request)

    @property
    def done(self) -> list[Unit]:
        """Units that were done, whether or not they were taken back since."""
        return [unit for unit in self.forward if unit.state in (U.DONE, U.REVERSED)]

    @property
    def in_target(self) -> list[Unit]:
        return [unit for unit in self.forward if unit.state in IN_TARGET]

    @property
    def reversed(self) -> list[Unit]:
        return [unit for unit in self.forward if unit.state == U.REVERSED]

    @property
    def current(self) -> Unit | None:
        """The unit that the worker is at, or that stopped it."""
        return next((unit for unit in self.forward if unit.state not in (U.DONE, U.REVERSED)), None)

    @property
    def went_back(self) -> bool:
        return self.request.state in BACKWARDS

    def at(self, instant: datetime) -> str:
        return wording.at(instant, now=self.now, zone=self.zone)

    def at_seconds(self, instant: datetime) -> str:
        return wording.at(instant, now=self.now, zone=self.zone, seconds=True)

    def the(self, person: Person) -> str:
        """Name somebody at the head of a sentence."""
        return "You" if person.pk == self.reader.pk else f"The {name_of(person)}"


def name_of(person: Person) -> str:
    return wording.plain(str(person), NAME_LENGTH)


def worth(units: Sequence[Unit]) -> str:
    """Say what units come to together; nothing where they have no amount in common."""
    amounts = [unit.amount for unit in units if unit.amount is not None]
    currencies = {unit.currency for unit in units}
    if len(amounts) != len(units) or len(currencies) != 1 or "" in currencies:
        return ""
    return wording.money(sum(amounts, Decimal(0)), currencies.pop())
