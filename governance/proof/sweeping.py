"""Every question at every instant at which its answer may change. Pure.

Only the answers of now and the first counterexample of each question are kept,
so that what this takes does not grow with the number of instants.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import NamedTuple

from governance.proof import words
from governance.proof.findings import Finding
from governance.proof.questions import KEY_LENGTH, Question
from governance.proof.world import Calendar, World
from governance.routing import Passed


class Stall(NamedTuple):
    """A question to which the answer is nobody, and why not those who were looked at."""

    passed: tuple[Passed, ...]
    second: bool = False  # one signs; it takes two


def stalls(question: Question, calendar: Calendar, *, acts_for: int | None = None) -> Stall | None:
    """Return why nobody is asked as things stand, or None if somebody is."""
    answer = question.put(calendar, acts_for=acts_for)
    if answer.opens is None:
        return Stall(answer.passed)
    if question.waiver:
        first = answer.opens.asked[0].person
        after = question.put(calendar, acts_for=acts_for, signer=first)
        if after.opens is None:
            return Stall(after.passed, second=True)
    return None


def hangs_on(question: Question, calendar: Calendar) -> int | None:
    """Return the one person without whom nobody is asked, if there is one: primary key."""
    opens = question.put(calendar).opens
    for each in opens.asked if opens is not None else ():
        if stalls(question, calendar, acts_for=each.person) is not None:
            return each.person
    return None


@dataclass(slots=True)
class Swept:
    """What a sweep found: the first counterexample of each question, and how many instants it took."""

    holes: list[Finding] = field(default_factory=list)
    warnings: list[Finding] = field(default_factory=list)
    instants: int = 1


def sweep(world: World, asked: Sequence[Question]) -> Swept:
    """Put every question now, and again whenever somebody it may lead to leaves or comes back."""
    calendar = world.calendar()
    of_person: dict[int, list[int]] = defaultdict(list)
    of_target: dict[str, list[int]] = defaultdict(list)
    for number, question in enumerate(asked):
        for pk in question.people:
            of_person[pk].append(number)
        if question.target:
            of_target[question.target].append(number)
    kept = _Kept(world, asked)
    kept.put(range(len(asked)), calendar)
    for target in sorted(of_target):
        kept.look_at_shift(target, calendar)
    found = Swept()
    for changed in calendar.instants():
        found.instants += 1
        again = {number for pk in changed.people for number in of_person.get(pk, ())}
        again |= {number for target in changed.targets for number in of_target.get(target, ())}
        kept.put(sorted(again), calendar)
        for target in sorted(changed.targets & of_target.keys()):
            kept.look_at_shift(target, calendar)
    found.holes, found.warnings = kept.holes.all(), kept.warnings.all()
    return found


class _First:
    """The first counterexample under each key, and the instant at which it was over."""

    def __init__(self, now: datetime) -> None:
        self._now = now
        self._open: dict[str, tuple[object, datetime, Finding]] = {}
        self._over: dict[str, Finding] = {}

    def begins(self, key: str, by: object, finding: Finding, now: datetime) -> None:
        if key not in self._open and key not in self._over:
            self._open[key] = by, now, finding

    def ends(self, key: str, by: object, now: datetime) -> None:
        """It is over, if it was this one's."""
        if key in self._open and self._open[key][0] == by:
            _, since, finding = self._open.pop(key)
            self._over[key] = words.dated(finding, since=since, until=now, now=self._now)

    def knows(self, key: str) -> bool:
        return key in self._open or key in self._over

    def is_over(self, key: str) -> bool:
        return key in self._over

    def all(self) -> list[Finding]:
        still = [
            words.dated(each, since=at, until=None, now=self._now)
            for _, at, each in self._open.values()
        ]
        return sorted([*self._over.values(), *still], key=lambda finding: finding.key)


class _Kept:
    """What stands open, and what was found first."""

    def __init__(self, world: World, asked: Sequence[Question]) -> None:
        self._world, self._asked = world, asked
        self.holes, self.warnings = _First(world.now), _First(world.now)

    def put(self, numbers: Iterable[int], calendar: Calendar) -> None:
        for number in numbers:
            question = self._asked[number]
            stall = stalls(question, calendar)
            if stall is None:
                self._is_asked(number, question, calendar)
            else:
                self._stalls(number, question, stall, calendar)

    def _is_asked(self, number: int, question: Question, calendar: Calendar) -> None:
        key, top, now = _key("one", question), _key("l4", question), calendar.now
        self.holes.ends(question.key, number, now)
        self.warnings.ends(top, number, now)
        if self.warnings.is_over(key):
            return
        one = hangs_on(question, calendar)
        if one is None:
            self.warnings.ends(key, number, now)
        else:
            said = words.one_only(question, one, key=key, people=self._world.people)
            self.warnings.begins(key, number, said, now)

    def _stalls(self, number: int, question: Question, stall: Stall, calendar: Calendar) -> None:
        self.warnings.ends(_key("one", question), number, calendar.now)
        if self.holes.knows(question.key):
            return
        said = words.nobody(question, stall.passed, self._world, second=stall.second)
        self.holes.begins(question.key, number, said, calendar.now)
        if question.overrides(calendar):
            said = words.at_the_top(question, key=_key("l4", question))
            self.warnings.begins(said.key, number, said, calendar.now)

    def look_at_shift(self, target: str, calendar: Calendar) -> None:
        """Warn of a gap in a roster that the fallback fills."""
        key = f"gap|{target}"
        if calendar.on_shift(target):
            self.warnings.ends(key, target, calendar.now)
        elif (fallback := self._world.policy.on_call_fallback.get(target)) is not None:
            said = words.gap(target, self._world.people.by_pk[fallback].name, key=key)
            self.warnings.begins(key, target, said, calendar.now)


def _key(what: str, question: Question) -> str:
    return f"{what}|{question.about}"[:KEY_LENGTH]
