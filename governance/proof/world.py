"""What the proof reads: a policy, everybody it may lead to, and when they are there. Pure."""

from __future__ import annotations

import heapq
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from decimal import Decimal
from typing import NamedTuple, Protocol

from governance.routing import Candidate, People, Row, Subject
from governance.tables import Policy
from governance.vocabulary import Impact, Severity


class Away(NamedTuple):
    """An absence that stands: half-open, UTC."""

    person: int
    starts: datetime
    ends: datetime


class Shift(NamedTuple):
    """Somebody on call for a target: half-open, UTC."""

    target: str
    person: int
    starts: datetime
    ends: datetime


@dataclass(frozen=True, slots=True)
class Kind:
    """An action type in production, as far as the proof reads it."""

    key: str
    name: str
    has_amount: bool = True
    target: str = ""
    resource_key: str = ""  # a template; "" competes with nothing
    sla: timedelta = timedelta(hours=4)
    severity: Severity = Severity.LOW  # the least it may have
    impact: Impact = Impact.LOW
    critical: bool = False
    financial: bool = False
    first_no_is_final: bool = False

    @property
    def severities(self) -> list[Severity]:
        return list(Severity)[list(Severity).index(self.severity) :]

    @property
    def impacts(self) -> list[Impact]:
        return list(Impact)[list(Impact).index(self.impact) :]


class Signed(Protocol):
    """Whether somebody may order a rollback and somebody else confirm it; `approvals` has the rules."""

    def __call__(
        self,
        *,
        orderers: frozenset[int],
        head_of_compliance: int | None,
        owner: int,
        deciders: frozenset[int],
    ) -> bool: ...


class Place(NamedTuple):
    """A department: its key and its name."""

    key: str
    name: str


@dataclass(frozen=True, slots=True)
class World:
    """All that the proof of one version reads.

    Attributes:
        people: everybody the version may lead to, and those above them, none of them away.
        away: what overlaps [now, until), in any order.
        shifts: likewise; of one target the first to begin first.
        kinds: by key.
        owners: by (department, action): who owns an agent that may ask for it, by primary key.
        orderers: by department: who may order a rollback, by primary key.
        rows: primary keys of those to look at. None: all, and that every request finds its row.
    """

    policy: Policy
    people: People
    kinds: Mapping[str, Kind]
    departments: Mapping[int, Place]
    owners: Mapping[tuple[int, str], frozenset[int]]
    now: datetime
    until: datetime
    away: Sequence[Away] = ()
    shifts: Sequence[Shift] = ()
    orderers: Mapping[int, frozenset[int]] = field(default_factory=dict)
    rows: frozenset[int] | None = None
    signed_by_two: Signed | None = None

    def calendar(self) -> Calendar:
        """Return a calendar of its own, standing at `now`."""
        return Calendar(self)


class Changed(NamedTuple):
    """What an instant changed: people who left or came back, and targets whose shift did."""

    people: frozenset[int]
    targets: frozenset[str]


class Who(NamedTuple):
    """Whose edge comes next: a person's, or a target's."""

    kind: str
    pk: int
    target: str


class Calendar:
    """Who is there, at one instant after another. What it holds does not grow with the instants."""

    def __init__(self, world: World) -> None:
        self._policy = world.policy
        self._by_pk: dict[int, Candidate] = dict(world.people.by_pk)
        self._away: dict[int, list[Away]] = defaultdict(list)
        for each in world.away:
            self._away[each.person].append(each)
        self._shifts: dict[str, list[Shift]] = defaultdict(list)
        for shift in world.shifts:
            self._shifts[shift.target].append(shift)
        self._until = world.until
        self.people = People(self._by_pk, world.people.holders)
        self.now = world.now
        self._set(self._away)

    def go_to(self, instant: datetime) -> None:
        """Stand at any instant."""
        self.now = instant
        self._set(self._away)

    def on_call(self, target: str) -> tuple[int, ...]:
        """Return who is on call for a target now, as routing is told."""
        return self._policy.on_call_for(target, self.on_shift(target))

    def on_shift(self, target: str) -> list[int]:
        shifts = self._shifts.get(target, ())
        return [each.person for each in shifts if each.starts <= self.now < each.ends]

    def instants(self) -> Iterator[Changed]:
        """Go on from instant to instant at which somebody leaves or comes back, and yield what changed.

        Of each person and target only the next edge is kept.
        """
        heap = [(at, who) for who in self._spans() if (at := self._next(who)) is not None]
        heapq.heapify(heap)
        while heap:
            self.now = heap[0][0]
            at_once: list[Who] = []
            while heap and heap[0][0] == self.now:
                who = heapq.heappop(heap)[1]
                at_once.append(who)
                following = self._next(who)
                if following is not None:
                    heapq.heappush(heap, (following, who))
            people = frozenset(pk for _, pk, _ in at_once if pk)
            self._set(people)
            yield Changed(people, frozenset(target for *_, target in at_once if target))

    def _spans(self) -> Iterator[Who]:
        yield from (Who("person", pk, "") for pk in self._away)
        yield from (Who("target", 0, target) for target in self._shifts)

    def _next(self, who: Who) -> datetime | None:
        """Return the next instant at which they leave or come back, if it is before the end."""
        spans: Sequence[Away | Shift] = self._away[who.pk] if who.pk else self._shifts[who.target]
        edges = (at for span in spans for at in (span.starts, span.ends))
        return min((at for at in edges if self.now < at < self._until), default=None)

    def _set(self, people: Iterable[int]) -> None:
        """Have these people away or there, as they are now."""
        for pk in people:
            person = self._by_pk.get(pk)
            if person is not None:
                ends = (e.ends for e in self._away[pk] if e.starts <= self.now < e.ends)
                until = max(ends, default=None)
                if until != person.away_until:
                    self._by_pk[pk] = replace(person, away_until=until)


def subject_of(
    world: World, kind: Kind, row: Row, *, amount: Decimal | None, owner: int, acts_for: int | None
) -> Subject:
    """Return what routing knows of a request of this kind that the row decides."""
    return Subject(
        department=row.department,
        action=kind.key,
        action_name=kind.name,
        amount=amount,
        currency=row.currency if amount is not None else "",
        agent_owner=owner,
        on_behalf_of=acts_for,
    )
