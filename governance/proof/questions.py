"""What a request of each class may have to ask of the router: on which rungs, after which decisions. Pure.

Classes that put the same question share it: severity and impact, and whatever
else routing does not read, make no new one. Who decided before is taken as the
worst choice; why so few choices are enough is in ADR 0053.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal
from typing import NamedTuple

from governance import ladder, wording
from governance.decision_tree import ENTERS_AT
from governance.proof.bands import Stretch
from governance.proof.findings import Finding
from governance.proof.world import Calendar, Kind, World, subject_of
from governance.routing import (
    SIGNATURES,
    History,
    Limit,
    Offices,
    Passed,
    People,
    Routing,
    Row,
    Subject,
    candidates,
    hindrance,
    route,
)
from governance.vocabulary import ExceptionType, Level, Path

KEY_LENGTH = 180  # an alert's key has the version's number before it
NOBODY = 0  # in the place of an owner whom no rung leads to: all those are one
Rung = tuple[Path, Level]


@dataclass(frozen=True, slots=True, eq=False)
class Question:
    """On these rungs, in their order: is anybody asked?

    Attributes:
        key: the same in every version for the same class.
        about: the same for all that differ only in who decided before.
        what: completes "nobody can …".
        people: primary keys of all whose absence may change the answer.
        target: who is on call for it is read at each instant; "" = nobody is needed.
        waiver: the answer takes two signatures.
        executives: named for L4, of a critical process.
    """

    key: str
    about: str
    what: str
    rungs: tuple[Rung, ...]
    row: Row
    subject: Subject
    policy: int
    people: frozenset[int]
    history: History = field(default_factory=History)
    offices: Offices = field(default_factory=Offices)
    target: str = ""
    waiver: bool = False
    executives: tuple[int, ...] = ()

    def put(
        self, calendar: Calendar, *, acts_for: int | None = None, signer: int | None = None
    ) -> Answer:
        """Put it to the router as things stand.

        Args:
            acts_for: whom the agent acts for.
            signer: who has signed already, where it takes two.
        """
        subject = self.subject if acts_for is None else replace(self.subject, on_behalf_of=acts_for)
        offices, history = self.offices, self.history
        if self.target:
            offices = replace(offices, on_call=calendar.on_call(self.target))
        if signer is not None:
            history = replace(history, signers=frozenset({signer}))
        passed: list[Passed] = []
        for path, level in self.rungs:
            found = _route(path, level, self, subject, calendar.people, history, offices, calendar)
            if found.opens:
                return Answer(found, tuple(passed))
            passed += found.passed_over
        return Answer(None, tuple(passed))

    def overrides(self, calendar: Calendar) -> bool:
        """Whether an executive could be asked, where nobody below is."""
        if not self.executives:
            return False
        offices = replace(self.offices, executives=self.executives)
        path = self.rungs[-1][0]
        found = _route(
            path, Level.L4, self, self.subject, calendar.people, self.history, offices, calendar
        )
        return found.opens


class Answer(NamedTuple):
    """The first rung that opens, and who was passed over on those before it."""

    opens: Routing | None
    passed: tuple[Passed, ...]


def _route(
    path: Path,
    level: Level,
    question: Question,
    subject: Subject,
    people: People,
    history: History,
    offices: Offices,
    calendar: Calendar,
) -> Routing:
    return route(
        path,
        level,
        row=question.row,
        subject=subject,
        people=people,
        history=history,
        now=calendar.now,
        policy=question.policy,
        offices=offices,
    )


def questions(
    world: World, parts: Iterable[Stretch]
) -> tuple[list[Question], list[Finding], list[tuple[Stretch, int]]]:
    """Return every question, the warnings about noes that nobody may look at again, and the classes."""
    asking = _Asking(world)
    for part in parts:
        for owner in sorted(world.owners.get((part.row.department, part.kind.key), {NOBODY})):
            asking.add(part, owner)
    return list(asking.found.values()), list(asking.warnings.values()), asking.classes


class _Asking:
    """Gathers the questions of one class after another, each once."""

    def __init__(self, world: World) -> None:
        self.world, self.policy = world, world.policy
        self.found: dict[object, Question] = {}
        self.warnings: dict[str, Finding] = {}
        self.classes: list[tuple[Stretch, int]] = []
        everyone = world.people.by_pk.values()
        limits = [(each.limit_currency, each.limit) for each in everyone if each.limit is not None]
        self._limits: dict[str, list[Decimal]] = {}
        for currency, limit in limits:
            self._limits.setdefault(currency, []).append(limit)
        self._enough: dict[object, bool] = {}
        self._approved: dict[object, list[tuple[int, ...]]] = {}

    def add(self, part: Stretch, owner: int) -> None:
        self.classes.append((part, owner))
        self._timeout(part, owner)
        if not part.kind.first_no_is_final:
            self._rejection(part, owner)
        self._violation(part, owner)
        self._failure(part, owner)
        if part.kind.resource_key:
            self._conflict(part, owner)

    # --- The five paths ---

    def _timeout(self, part: Stretch, owner: int) -> None:
        """The first ask, and what silence leads to. Where the first ask opens, the rest does not matter here."""
        row = part.row
        rungs = (
            (Path.APPROVAL, Level.L0),
            *_rungs(Path.TIMEOUT, ladder.rungs(Path.TIMEOUT, critical=False)[0]),
        )
        people = self._named(rungs, part, Offices())
        owner = owner if owner in people else NOBODY
        amount = part.highest(max(self._limits.get(row.currency, [Decimal(0)])))
        executives = self.policy.executives_for(row) if part.kind.critical else ()
        self._keep(
            ("timeout", row.pk, amount, owner, executives),
            part, owner, "timeout", f"decide on {_requests(part, amount)}", rungs, amount, people,
            executives=executives,
        )  # fmt: skip

    def _rejection(self, part: Stretch, owner: int) -> None:
        """A no, by whoever may say one that is not final, and then those who look at it once more."""
        row = part.row
        head = self.policy.heads.get(row.department)
        offices = Offices(head=() if head is None else (head,))
        every = _rungs(Path.REJECTION, Level.L2)
        people = self._named(every, part, offices)
        first = self._named(((Path.APPROVAL, Level.L0), (Path.TIMEOUT, Level.L2)), part, offices)
        first_owner = owner if owner in people | first else NOBODY
        starts = self._starts(part.kind)
        for amount in self._amounts(part, people | first):
            subject = self._subject(part, amount, first_owner)
            for no in sorted(first):
                person = self.world.people.by_pk[no]
                if hindrance(person, subject=subject, history=History(), now=self.world.now):
                    continue  # they are never asked, so never say it
                limit = None if person.limit is None else Limit(person.limit, person.limit_currency)
                history = History(deciders=frozenset({no}), at_least=limit)
                # Of the whole house, in which the owner may be one of those who could.
                theirs = replace(subject, agent_owner=owner)
                if not self._may_be_looked_at(theirs, history, row.quorum):
                    self._stands(part, no)
                    continue
                for start, when in starts.items():
                    self._keep(
                        ("rejection", row.pk, amount, first_owner, no, start),
                        part, first_owner, f"rejection|{person.username}|{start}",
                        f"look again at a no of {_the(self.world, no)}{when}, on"
                        f" {_requests(part, amount)}",
                        _rungs(Path.REJECTION, start), amount, people,
                        history=history, offices=offices,
                    )  # fmt: skip

    def _violation(self, part: Stretch, owner: int) -> None:
        """Compliance rules, without those who approved it; a waiver takes two of them."""
        policy, row = self.policy, part.row
        offices = Offices(
            compliance=policy.compliance, head_of_compliance=policy.head_of_compliance
        )
        rungs = _rungs(Path.POLICY_VIOLATION, Level.L2)
        people = self._named(rungs, part, offices)
        owner = owner if owner in people else NOBODY
        # Of low amounts most people may have approved it.
        amount = part.low
        subject = self._subject(part, amount, owner)
        may_approve = sorted(
            pk
            for pk in people & self._approvers(part)
            if not hindrance(
                self.world.people.by_pk[pk], subject=subject, history=History(), now=self.world.now
            )
        )
        for approvers in self._worst_approvers(may_approve, people - {owner}, row.quorum):
            after = f" of what {_all(self.world, approvers)} approved" if approvers else ""
            named = "+".join(sorted(self.world.people.by_pk[pk].username for pk in approvers))
            self._keep(
                ("violation", owner, approvers),
                part, owner, f"violation|{named}".strip("|"), f"rule on a policy violation{after}",
                rungs, amount, people, offices=offices, waiver=True, wide=True,
                history=History(approvers=frozenset(approvers)),
            )  # fmt: skip

    def _worst_approvers(
        self, may_approve: Sequence[int], people: frozenset[int], most: int
    ) -> Iterable[tuple[int, ...]]:
        """Return for each instant that matters one choice of approvers that leaves the fewest to rule.

        Whoever is there is as good as another, so that none but the first are taken: of many people
        all choices would be more than can be counted. An instant matters if it may leave fewer than
        two who sign, or three of whom the agent may act for one.
        """
        same = (tuple(may_approve), people, most)
        if same not in self._approved:
            chosen = {tuple(may_approve[:most])}
            for there in self._who_is_there(people):
                if len(there) - most <= SIGNATURES:
                    chosen.add(tuple([pk for pk in may_approve if pk in there][:most]))
            self._approved[same] = sorted(chosen)
        return self._approved[same]

    def _who_is_there(self, people: frozenset[int]) -> Iterator[set[int]]:
        """Yield who of these people is there and enabled, at each instant at which it changes."""
        enabled = {pk for pk in people if self.world.people.by_pk[pk].enabled}
        gone = [each for each in self.world.away if each.person in enabled]
        for at in {self.world.now, *(at for each in gone for at in (each.starts, each.ends))}:
            yield enabled - {each.person for each in gone if each.starts <= at < each.ends}

    def _failure(self, part: Stretch, owner: int) -> None:
        """Those on call, for what fails in the target and for what cannot be undone: people are asked alike."""
        target = part.kind.target
        if not target:
            return
        shifts = [each.person for each in self.world.shifts if each.target == target]
        offices = Offices(on_call=self.policy.on_call_for(target, shifts))
        rungs = _rungs(Path.SYSTEM_FAILURE, Level.L2)
        people = self._named(rungs, part, offices)
        owner = owner if owner in people else NOBODY
        self._keep(
            ("failure", owner, target),
            part, owner, f"system_failure|{target}",
            f"see to a failure of the target {target}", rungs, part.low, people,
            target=target, wide=True,
        )  # fmt: skip

    def _conflict(self, part: Stretch, owner: int) -> None:
        """The owner of the record, without whoever stands behind another request for it."""
        rungs = _rungs(Path.CONFLICT, Level.L2)
        for holder in self._record_owners(part.kind):
            offices = Offices(owner=() if holder is None else (holder,))
            fits = " that no owner's pattern fits" if holder is None and self.policy.owners else ""
            people = self._named(rungs, part, offices)
            own = owner if owner in people else NOBODY
            for other in {None, *(self._other_owners() & people)}:
                beside = frozenset() if other is None else frozenset({other})
                against = (
                    "" if other is None else f" with a request of {_the(self.world, other)}'s agent"
                )
                who = (
                    self.world.people.by_pk[holder].username if holder in people and holder else ""
                )
                them = self.world.people.by_pk[other].username if other is not None else ""
                self._keep(
                    ("conflict", own, holder, other),
                    part, own, f"conflict|{who}|{them}".strip("|"),
                    f"rule on a conflict{against} over the same record{fits}",
                    rungs, part.low, people,
                    offices=offices, history=History(beside=beside), wide=True,
                )  # fmt: skip

    # --- What the paths share ---

    def _keep(
        self,
        same: object,
        part: Stretch,
        owner: int,
        path: str,
        what: str,
        rungs: tuple[Rung, ...],
        amount: Decimal | None,
        people: frozenset[int],
        *,
        wide: bool = False,
        history: History | None = None,
        offices: Offices | None = None,
        target: str = "",
        waiver: bool = False,
        executives: tuple[int, ...] = (),
    ) -> None:
        """Keep a question, unless one with the same answer is kept already.

        Args:
            same: equal for questions with the same answer.
            path: begins its key.
            wide: the row does not matter to it.
        """
        if same in self.found:
            return
        row = part.row
        scope = "" if wide else f"|{scope_of(self.world, row)}"
        by = f"|{self.world.people.by_pk[owner].username}" if owner else ""
        whose = f", asked for by {_the(self.world, owner)}'s agent" if owner else ""
        self.found[same] = Question(
            key=f"{path}{scope}{by}"[:KEY_LENGTH],
            about=f"{path.partition('|')[0]}{scope}{by}"[:KEY_LENGTH],
            what=what + whose,
            rungs=rungs,
            row=row,
            subject=self._subject(part, amount, owner),
            policy=self.policy.number,
            people=people,
            history=history or History(),
            offices=offices or Offices(),
            target=target,
            waiver=waiver,
            executives=executives,
        )

    def _subject(self, part: Stretch, amount: Decimal | None, owner: int) -> Subject:
        return subject_of(
            self.world, part.kind, part.row, amount=amount, owner=owner, acts_for=None
        )

    def _named(self, rungs: Iterable[Rung], part: Stretch, offices: Offices) -> frozenset[int]:
        """Return everybody whom the router may come to on these rungs."""
        subject = self._subject(part, part.low, NOBODY)
        return frozenset(
            pk
            for path, level in rungs
            for pk, _ in candidates(
                path, level, part.row, self.world.people, History(), subject,
                self.policy.number, offices,
            )
        )  # fmt: skip

    def _approvers(self, part: Stretch) -> frozenset[int]:
        """Return everybody who may have approved it, on any rung."""
        head = self.policy.heads.get(part.row.department)
        offices = Offices(
            head=() if head is None else (head,),
            executives=self.policy.executives_for(part.row) if part.kind.critical else (),
        )
        return self._named(leave_rungs(critical=part.kind.critical), part, offices)

    def _amounts(self, part: Stretch, people: frozenset[int]) -> Sequence[Decimal | None]:
        """Return the amounts at which somebody's limit begins to be too low: between them nothing changes."""
        top = part.highest(max(self._limits.get(part.row.currency, [Decimal(0)])))
        if top is None or part.low is None:
            return [None]
        limits = {
            each.limit
            for each in (self.world.people.by_pk[pk] for pk in people)
            if each.limit is not None and each.limit_currency == part.row.currency
        }
        return sorted({top, *(limit for limit in limits if part.low <= limit < top)})

    def _starts(self, kind: Kind) -> dict[Level, str]:
        """Return the rungs at which a no may enter its path, by its severity, and how that is said."""
        responses = {
            cell.response
            for severity in kind.severities
            for impact in kind.impacts
            if (cell := self.policy.cells.get((ExceptionType.REJECTION, severity, impact)))
        }
        starts = (
            ladder.first_rung(Path.REJECTION, at_least=ENTERS_AT[each], critical=False)
            for each in responses
        )
        said = {Level.L2: "", Level.L3: " that goes straight to the head of the department"}
        return {start: said[start] for start in starts if start is not None}

    def _may_be_looked_at(self, subject: Subject, history: History, needed: int) -> bool:
        """Whether the whole house has people enough with the authority to look at a no once more."""
        same = (subject.amount, subject.currency, subject.agent_owner, history.deciders, needed)
        if same not in self._enough:
            able = 0
            for person in self.world.people.by_pk.values():
                able += (
                    hindrance(person, subject=subject, history=history, now=self.world.now) is None
                )
                if able >= needed:
                    break
            self._enough[same] = able >= needed
        return self._enough[same]

    def _stands(self, part: Stretch, no: int) -> None:
        person = self.world.people.by_pk[no]
        key = f"final_no|{scope_of(self.world, part.row)}|{person.username}"[:KEY_LENGTH]
        self.warnings.setdefault(
            key,
            Finding(
                key,
                f"A no of the {person.name} on {_requests(part, None)} stands: too few others have"
                " at least their limit.",
                "final_no",
                part.row.number,
            ),
        )

    def _record_owners(self, kind: Kind) -> list[int | None]:
        """Return whoever may own a record of this kind: of each pattern that its key may fit, and of none."""
        stem = kind.resource_key.partition("{")[0]
        found: set[int | None] = set()
        for pattern, person in self.policy.owners.items():
            fixed = pattern.partition("*")[0].partition("?")[0].partition("[")[0]
            if fixed.startswith(stem) or stem.startswith(fixed):
                found.add(person)
        everything = any(pattern in ("", "*") for pattern in self.policy.owners)
        if not everything and self.policy.owner_of(stem + "x") is None:
            found.add(None)
        return sorted(found, key=lambda pk: pk or 0)

    def _other_owners(self) -> frozenset[int]:
        """Return whoever owns an agent that may ask for something that competes."""
        return frozenset(
            owner
            for (_, key), owners in self.world.owners.items()
            if key in self.world.kinds and self.world.kinds[key].resource_key
            for owner in owners
        )


def leave_rungs(*, critical: bool) -> tuple[Rung, ...]:
    """Return every rung on which somebody may approve a request."""
    found: list[Rung] = [(Path.APPROVAL, Level.L0)]
    for path in (Path.TIMEOUT, Path.REJECTION):
        found += [(path, level) for level in ladder.rungs(path, critical=critical)]
    return tuple(found)


def _rungs(path: Path, start: Level) -> tuple[Rung, ...]:
    """Return the rungs of a path from `start` to L3 on which people are asked."""
    levels = ladder.rungs(path, critical=False)
    return tuple(
        (path, level)
        for level in levels
        if level >= start and (path, level) not in ladder.AUTOMATIC
    )


def scope_of(world: World, row: Row) -> str:
    """Name a row by what it covers: its number and its primary key are another version's."""
    return f"{world.departments[row.department].key}|{row.action or '*'}|{_ends(row)}"


def _ends(row: Row) -> str:
    if row.amount_from is None:
        return "none"
    high = "" if row.amount_to is None else f"{row.amount_to.normalize():f}"
    return f"{row.currency}|{row.amount_from.normalize():f}-{high}"


def _requests(part: Stretch, amount: Decimal | None) -> str:
    """Say which requests: those of the row, at the amount at which it shows."""
    row = part.row
    band = row.band()
    top = part.high is not None and amount == part.highest(Decimal(0))
    at = "" if amount is None or top else f" (at {wording.money(amount, row.currency)})"
    return (
        f"{part.kind.name} requests {band}{at} in {row.department_name} (matrix row {row.number})"
    )


def _the(world: World, pk: int) -> str:
    return f"the {world.people.by_pk[pk].name}"


def _all(world: World, people: Iterable[int]) -> str:
    return " and ".join(_the(world, pk) for pk in people)
