"""One packet before one reader at one instant: what every part of its story is told from."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, tzinfo
from functools import cached_property

from approvals.models import ActionRequest, Ask, Step
from approvals.packets import Packet
from approvals.story.ahead import ahead_of
from approvals.story.shapes import Ahead
from approvals.story.words import nothing_done, the
from governance import ladder, wording
from governance.models import Person
from governance.routing import GIVES_LEAVE
from governance.vocabulary import Level, Path


@dataclass(frozen=True)
class Reading:
    """Who reads which packet, when, and in which zone. `now` is business time, UTC."""

    packet: Packet
    reader: Person
    now: datetime
    zone: tzinfo

    @property
    def request(self) -> ActionRequest:
        return self.packet.request

    @cached_property
    def step(self) -> Step | None:
        """The step whose clock runs, if one does."""
        return self.packet.waiting

    @cached_property
    def mine(self) -> Ask | None:
        """What the reader is asked now, if they are."""
        return next((ask for ask in self.packet.asked if ask.person_id == self.reader.pk), None)

    @property
    def own_last(self) -> Ask | None:
        """What the reader was asked, or passed over for, last."""
        own = [
            ask
            for step in self.packet.steps
            for ask in self.packet.asks.get(step.pk, ())
            if ask.person_id == self.reader.pk
        ]
        return own[-1] if own else None

    @property
    def first_step(self) -> Step | None:
        """The step on which those first asked were asked."""
        return next((step for step in self.packet.steps if step.path == Path.APPROVAL), None)

    @property
    def asks_leave(self) -> bool:
        """The step that waits asks whether it may be done. Others ask how it is to go on."""
        return self.step is not None and self.step.path in GIVES_LEAVE

    @property
    def is_automatic(self) -> bool:
        """Nobody is asked on the step that waits: it is tried again until it ends."""
        step = self.step
        return step is not None and (Path(step.path), Level(step.level)) in ladder.AUTOMATIC

    @property
    def over(self) -> bool:
        """The clock has run out, and the sweep has not come yet."""
        return (
            self.step is not None and self.step.due_at is not None and self.now >= self.step.due_at
        )

    @property
    def ahead(self) -> list[Ahead]:
        """The rungs not reached yet, lowest first."""
        return self._outlook[0]

    @property
    def next_rung(self) -> Ahead | None:
        """The rung that opens next, if nobody answers."""
        return next((rung for rung in self.ahead if rung.opens), None)

    @property
    def ends_at(self) -> datetime | None:
        """When the last rung is over, if nobody ever answers."""
        return self._outlook[1]

    @cached_property
    def _outlook(self) -> tuple[list[Ahead], datetime | None]:
        return ahead_of(self.packet, now=self.now)

    @property
    def who_is_asked(self) -> str:
        """Those asked now, the reader first: "you and the Controller"; nothing if nobody is."""
        return the([ask.person for ask in self.packet.asked], self.reader)

    @property
    def nothing_done(self) -> str:
        """What silence leads to: "nothing is paid"."""
        return nothing_done(self.request.action_type)

    def at(self, instant: datetime) -> str:
        return wording.at(instant, now=self.now, zone=self.zone)

    def at_seconds(self, instant: datetime) -> str:
        return wording.at(instant, now=self.now, zone=self.zone, seconds=True)
