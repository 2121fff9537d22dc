"""What a draft would have changed: the requests of the last ninety days, routed by it and by what is in force.

Only the router is asked, at the instant of each submission, so that every number has the
requests behind it. Nothing is said of how anybody would have answered: nobody knows.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import NamedTuple

from django.conf import settings
from django.utils.module_loading import import_string

from governance import ladder
from governance.decision_tree import ENTERS_AT
from governance.models import PolicyVersion
from governance.proof.loading import world_of
from governance.proof.world import World
from governance.routing import History, Passed, Routing, Subject, Unroutable, match, route
from governance.vocabulary import ExceptionType, Impact, Level, Path, Severity

DAYS = 90


class Past(NamedTuple):
    """What is kept of a request that was made, as far as routing reads it. `asked`: names of who was asked first."""

    ref: str
    title: str
    at: datetime  # of the submission; UTC
    department: int
    action: str
    action_name: str
    amount: Decimal | None  # it was routed by
    currency: str
    agent_owner: int
    on_behalf_of: int | None
    severity: Severity
    impact: Impact
    asked: tuple[str, ...]

    @property
    def subject(self) -> Subject:
        return Subject(
            self.department, self.action, self.action_name, self.amount, self.currency,
            self.agent_owner, self.on_behalf_of,
        )  # fmt: skip


class Skipped(NamedTuple):
    """Somebody passed over before others were asked. `why` completes the name."""

    name: str
    why: str


@dataclass(frozen=True, slots=True)
class Routed:
    """How a version routes one request of the past.

    Attributes:
        row: number of the matrix row, None without one.
        level: of the first rung that asks somebody, None where none does.
        asked: primary keys, in their order.
        passed_over: on the rungs up to it.
        hole: why nobody is asked below L4, a sentence; "" where somebody is.
    """

    row: int | None
    level: Level | None
    asked: tuple[int, ...]
    passed_over: tuple[Passed, ...]
    hole: str = ""


class Change(NamedTuple):
    """A request that others would have been asked about. People by their names."""

    ref: str
    title: str
    at: datetime
    before: tuple[str, ...]  # by the version in force
    after: tuple[str, ...]  # by the draft
    then: tuple[str, ...]  # who was asked first at the time
    row_before: int | None
    row_after: int | None


class Load(NamedTuple):
    """How often one person would have been the first to be asked, and about which requests: refs."""

    username: str
    name: str
    before: tuple[str, ...]
    after: tuple[str, ...]

    @property
    def more(self) -> int:
        """How many requests more the draft puts to them; negative: fewer."""
        return len(self.after) - len(self.before)

    @property
    def less(self) -> int:
        """How many requests fewer."""
        return -self.more


class Met(NamedTuple):
    """A request that would have met a hole."""

    ref: str
    title: str
    at: datetime
    sentence: str
    is_new: bool  # the version in force has somebody asked


class PassedOver(NamedTuple):
    """A request for which somebody whom the matrix names first would have been passed over."""

    ref: str
    title: str
    at: datetime
    people: tuple[Skipped, ...]


@dataclass(frozen=True, slots=True)
class Simulation:
    """What a draft would have changed, for a page: each number is the length of a list here.

    Attributes:
        version: the draft's number; `against`: of the version in force, None without one.
        since, until: the submissions looked at. UTC.
        requests: how many they were.
        changes: whose first approvers differ, oldest first.
        load: everybody who is asked first by either, the largest difference first.
        holes: what meets a hole in the draft, oldest first.
        passed_over, passed_over_before: by the draft, and by the version in force.
    """

    version: int
    against: int | None
    since: datetime
    until: datetime
    requests: int
    changes: tuple[Change, ...]
    load: tuple[Load, ...]
    holes: tuple[Met, ...]
    passed_over: tuple[PassedOver, ...]
    passed_over_before: tuple[PassedOver, ...]

    @property
    def share_passed_over(self) -> float | None:
        """The part of the requests, 0.0 to 1.0, for which somebody is passed over; None of no request."""
        return len(self.passed_over) / self.requests if self.requests else None

    @property
    def share_passed_over_before(self) -> float | None:
        return len(self.passed_over_before) / self.requests if self.requests else None


def simulate(draft: PolicyVersion, *, now: datetime, days: int = DAYS) -> Simulation:
    """Return what a draft would have changed for the requests of the last days.

    People, limits and lines are as they are now, absences as they were entered for the time. Reads
    only, in a number of queries that does not depend on what there is.
    """
    since = now - timedelta(days=days)
    active = PolicyVersion.objects.filter(state=PolicyVersion.State.ACTIVE).first()
    past: Iterable[Past] = import_string(settings.RECOURSE_PAST_REQUESTS)(since, now)
    after = world_of(draft, now=since, days=days)
    before = world_of(active, now=since, days=days) if active is not None else None
    return replay(past, before=before, after=after)


def replay(past: Iterable[Past], *, before: World | None, after: World) -> Simulation:
    """Return what `simulate` returns, of what was read. Pure.

    Args:
        past: oldest first.
        before: of the version in force, if there is one; `after`: of the draft.
    """
    by_draft, by_active = _Replay(after), _Replay(before) if before is not None else None
    found = _Gathered()
    for each in past:
        found.requests += 1
        new = by_draft.route(each)
        old = by_active.route(each) if by_active is not None else None
        found.take(each, old, new)
    names = {
        pk: (e.username, e.name)
        for world in (before, after)
        if world
        for pk, e in world.people.by_pk.items()
    }
    return Simulation(
        version=after.policy.number,
        against=before.policy.number if before is not None else None,
        since=after.now,
        until=after.until,
        requests=found.requests,
        changes=tuple(_change(*each, names=names) for each in found.changes),
        load=tuple(_load(found, names)),
        holes=tuple(found.holes),
        passed_over=tuple(_passed(*each, names=names) for each in found.passed_over),
        passed_over_before=tuple(_passed(*each, names=names) for each in found.passed_before),
    )


Names = dict[int, tuple[str, str]]


class _Gathered:
    """The lists behind the numbers."""

    def __init__(self) -> None:
        self.requests = 0
        self.changes: list[tuple[Past, Routed | None, Routed]] = []
        self.holes: list[Met] = []
        self.passed_over: list[tuple[Past, Sequence[Passed]]] = []
        self.passed_before: list[tuple[Past, Sequence[Passed]]] = []
        self.before: dict[int, list[str]] = {}
        self.after: dict[int, list[str]] = {}

    def take(self, each: Past, old: Routed | None, new: Routed) -> None:
        if old is None or set(old.asked) != set(new.asked):
            self.changes.append((each, old, new))
        if new.hole:
            is_new = old is None or not old.hole
            self.holes.append(Met(each.ref, each.title, each.at, new.hole, is_new))
        for routed, passed, load in (
            (new, self.passed_over, self.after),
            (old, self.passed_before, self.before),
        ):
            if routed is None:
                continue
            if routed.passed_over:
                passed.append((each, routed.passed_over))
            for pk in routed.asked:
                load.setdefault(pk, []).append(each.ref)


def _change(each: Past, old: Routed | None, new: Routed, *, names: Names) -> Change:
    def said(people: Iterable[int]) -> tuple[str, ...]:
        return tuple(names[pk][1] for pk in people if pk in names)

    return Change(
        each.ref, each.title, each.at, said(old.asked if old else ()), said(new.asked),
        each.asked, old.row if old else None, new.row,
    )  # fmt: skip


def _load(found: _Gathered, names: Names) -> list[Load]:
    people = found.before.keys() | found.after.keys()
    loads = [
        Load(*names[pk], tuple(found.before.get(pk, ())), tuple(found.after.get(pk, ())))
        for pk in people
    ]
    return sorted(loads, key=lambda each: (-abs(each.more), each.username))


def _passed(each: Past, passed: Sequence[Passed], *, names: Names) -> PassedOver:
    people = {one.person: Skipped(names[one.person][1], one.why) for one in passed}
    return PassedOver(each.ref, each.title, each.at, tuple(people.values()))


class _Replay:
    """Routes requests of the past by one version, oldest first."""

    def __init__(self, world: World) -> None:
        self._world, self._calendar = world, world.calendar()
        self._edges = sorted({at for span in world.away for at in (span.starts, span.ends)})
        self._stretch = -1

    def route(self, each: Past) -> Routed:
        stretch = bisect_right(self._edges, each.at)
        if stretch != self._stretch:
            self._calendar.go_to(each.at)
            self._stretch = stretch
        try:
            row = match(self._world.policy.rows.values(), each.subject)
        except Unroutable as problem:
            return Routed(None, None, (), (), str(problem))
        passed: list[Passed] = []
        for path, level in self._rungs(each):
            found = self._ask(each, row.pk, path, level)
            passed += found.passed_over
            if found.opens:
                return Routed(
                    row.number, level, tuple(a.person for a in found.asked), tuple(passed)
                )
        why = f"Nobody whom matrix row {row.number} leads to could be asked."
        return Routed(row.number, None, (), tuple(passed), why)

    def _rungs(self, each: Past) -> Iterator[tuple[Path, Level]]:
        yield Path.APPROVAL, Level.L0
        cell = self._world.policy.cells.get((ExceptionType.TIMEOUT, each.severity, each.impact))
        enters = ENTERS_AT[cell.response] if cell is not None else Level.L1
        for level in ladder.rungs(Path.TIMEOUT, critical=False):
            if level >= enters:
                yield Path.TIMEOUT, level

    def _ask(self, each: Past, row: int, path: Path, level: Level) -> Routing:
        return route(
            path,
            level,
            row=self._world.policy.rows[row],
            subject=each.subject,
            people=self._calendar.people,
            history=History(),
            now=each.at,
            policy=self._world.policy.number,
        )
