"""Who is asked next, and why not the others. Pure: tables in, answer out.

`governance.tables` loads what these functions read; nothing here touches a
database or a clock. Source: DESIGN 4, "Who is asked: the delegation matrix".
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, tzinfo
from decimal import Decimal
from enum import StrEnum
from typing import Literal, NamedTuple

from governance import wording
from governance.vocabulary import Level, Path


class Who(NamedTuple):
    """A name in the matrix: one person, or everyone who holds a role, by primary key."""

    kind: Literal["role", "person"]
    pk: int


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the matrix. An amount band is [from, to) in one currency; "" means no amount."""

    pk: int
    number: int
    department: int
    department_name: str
    action: str  # "" = any
    currency: str
    amount_from: Decimal | None
    amount_to: Decimal | None
    approver: Who
    delegates: tuple[Who, ...]
    quorum: int
    executive: int | None = None  # who may bypass for it first, by primary key

    def covers(self, subject: Subject) -> bool:
        if self.department != subject.department or self.action not in ("", subject.action):
            return False
        if self.currency != subject.currency:
            return False
        if subject.amount is None or self.amount_from is None:
            return subject.amount is None and self.amount_from is None
        return self.amount_from <= subject.amount and (
            self.amount_to is None or subject.amount < self.amount_to
        )

    def band(self) -> str:
        """Say what the row covers: "under $1,000.00", "of $1,000.00 to $10,000.00", "without an amount"."""
        if self.amount_from is None:
            return "without an amount"
        low = wording.money(self.amount_from, self.currency)
        if self.amount_to is None:
            return f"of {low} or more"
        high = wording.money(self.amount_to, self.currency)
        return f"under {high}" if self.amount_from == 0 else f"of {low} to {high}"


@dataclass(frozen=True, slots=True)
class Subject:
    """What routing knows of a request."""

    department: int
    action: str
    action_name: str
    amount: Decimal | None  # the sum it is routed by
    currency: str
    agent_owner: int
    on_behalf_of: int | None


class Channel(NamedTuple):
    """A confirmed way to reach a person besides the inbox, that does not refuse."""

    pk: int
    kind: str
    urgent_only: bool


@dataclass(frozen=True, slots=True)
class Candidate:
    """What routing knows of a person, at one instant."""

    pk: int
    username: str
    name: str
    enabled: bool
    limit: Decimal | None
    limit_currency: str
    manager: int | None
    away_until: datetime | None
    zone: tzinfo
    channels: tuple[Channel, ...]

    @property
    def reachable(self) -> bool:
        return bool(self.channels)


@dataclass(frozen=True, slots=True)
class People:
    """The people that one routing may need: by primary key, and the holders of each role in order."""

    by_pk: Mapping[int, Candidate]
    holders: Mapping[int, Sequence[int]]

    def named(self, who: Who) -> Sequence[int]:
        return (who.pk,) if who.kind == "person" else self.holders.get(who.pk, ())


class Limit(NamedTuple):
    """How far somebody's authority goes."""

    amount: Decimal
    currency: str


@dataclass(frozen=True, slots=True)
class History:
    """The chain so far: who decided, who was first asked, who may not be asked for this step again.

    `at_least` is the limit of whoever said no: nobody below them is asked after that. `beside`
    are those who may not act on another party to a conflict, so that they may not rule on any.
    `barred` are those who may not override what came before, and why: read on L4 alone.
    Of a violation: `approvers` said yes to the request, `signers` have signed the waiver already.
    """

    deciders: frozenset[int] = frozenset()
    at_least: Limit | None = None
    approvals: int = 0
    first_asked: tuple[int, ...] = ()
    spent: Mapping[int, Passed] = field(
        default_factory=dict
    )  # on this very step, already passed over
    beside: frozenset[int] = frozenset()
    barred: Mapping[int, Passed] = field(default_factory=dict)
    approvers: frozenset[int] = frozenset()
    signers: frozenset[int] = frozenset()


@dataclass(frozen=True, slots=True)
class Offices:
    """Whom a policy or a roster names beside the matrix, for one request: primary keys, in their order."""

    head: tuple[int, ...] = ()  # of the department
    on_call: tuple[int, ...] = ()  # for the target
    owner: tuple[int, ...] = ()  # of the resource
    executives: tuple[int, ...] = ()  # the row's own first; named for critical processes alone
    reviewers: tuple[int, ...] = ()  # of what executives override; likewise
    compliance: tuple[int, ...] = ()  # its members, without the head
    head_of_compliance: tuple[int, ...] = ()


NOBODY_NAMED = Offices()


class Why(StrEnum):
    """Why somebody was passed over, as a code beside the words."""

    DISABLED = "disabled"
    AWAY = "away"
    UNREACHABLE = "unreachable"
    LIMIT = "limit"
    OWNER = "owner"
    ON_BEHALF = "on_behalf"
    PARTY = "party"
    DECIDED = "decided"
    CHAIN = "chain"
    DEBT = "debt"
    UNREVIEWED = "unreviewed"
    APPROVED = "approved"
    SIGNED = "signed"
    NOBODY = "nobody"


class Asked(NamedTuple):
    person: int
    why: str  # completes "You are the …"
    reachable: bool


class Passed(NamedTuple):
    person: int
    code: Why
    why: str  # completes the person's name: "is away until Mon 09:00"


@dataclass(frozen=True, slots=True)
class Routing:
    """The people to ask on one rung, and everyone passed over. Short if nobody is asked."""

    asked: tuple[Asked, ...]
    passed_over: tuple[Passed, ...]
    needed: int

    @property
    def opens(self) -> bool:
        return bool(self.asked)


# The paths whose answer lets a request act. On the others people mend or put in order what others allow.
GIVES_LEAVE = (Path.APPROVAL, Path.TIMEOUT, Path.REJECTION)
SIGNATURES = 2  # of a waiver, counted over all rungs of its case

# The paths on which whoever is asked says how what was allowed goes on in the target.
MENDS = (Path.SYSTEM_FAILURE, Path.UNDO)


class Unroutable(LookupError):
    """No row of the matrix covers the request, or more than one does equally well."""


def most_specific(rows: Iterable[Row], subject: Subject) -> list[Row]:
    """Return the rows that cover it: those that name the action, or if none does those for any."""
    covering = [row for row in rows if row.covers(subject)]
    return [row for row in covering if row.action] or covering


def match(rows: Iterable[Row], subject: Subject) -> Row:
    """Return the most specific row: one that names the action before one for any.

    Raises:
        Unroutable: none covers it, or two do. The message says which.
    """
    best = most_specific(rows, subject)
    if len(best) == 1:
        return best[0]
    amount = wording.money(subject.amount, subject.currency)
    what = f"{subject.action_name} ({amount})"
    if not best:
        raise Unroutable(f"No matrix row covers {what} in this department.")
    numbers = " and ".join(str(row.number) for row in best)
    raise Unroutable(f"Matrix rows {numbers} cover {what} equally well.")


def route(
    path: Path,
    level: Level,
    *,
    row: Row,
    subject: Subject,
    people: People,
    history: History,
    now: datetime,
    policy: int,
    offices: Offices = NOBODY_NAMED,
) -> Routing:
    """Return who is asked on this rung, and everyone passed over with the reason.

    A rung asks as many people as approvals are still missing; if it cannot, it
    asks nobody and is passed over. Somebody who cannot be reached gives way to
    somebody who can; with nobody to give way to, they are asked all the same.
    Nobody beyond the last one needed is judged. Of a violation one person can
    answer with a no, so that a rung opens with fewer than a waiver takes.

    Args:
        row: the matrix row the request was routed by.
        history: the approvals so far and who was asked first.
        now: UTC, for the words of an absence only; absences are already in `people`.
        policy: the version's number, for the words.
        offices: those named beside the matrix; read where a path leads to them.
    """
    deciding = path in GIVES_LEAVE
    needed = max(row.quorum - history.approvals, 1) if deciding and level < Level.L4 else 1
    if path == Path.POLICY_VIOLATION:
        needed = max(SIGNATURES - len(history.signers), 1)
    passed: list[Passed] = list(history.spent.values())
    eligible: list[Asked] = []
    for pk, why in candidates(path, level, row, people, history, subject, policy, offices):
        if pk in history.spent:
            continue
        candidate = people.by_pk[pk]
        obstacle = hindrance(
            candidate, subject=subject, history=history, now=now, deciding=deciding
        )
        if obstacle is not None:
            passed.append(obstacle)
        else:
            eligible.append(Asked(pk, why, candidate.reachable))
        if sum(each.reachable for each in eligible) == needed:
            # Those further on are not passed over: they may be needed, and free, later on.
            break
    if len(eligible) < (1 if path == Path.POLICY_VIOLATION else needed):
        passed += [
            Passed(asked.person, Why.NOBODY, f"could be asked, but {needed} people are needed here")
            for asked in eligible
        ]
        return Routing((), tuple(passed), needed)
    # Reachable people first, each group in the matrix's order.
    chosen = sorted(eligible, key=lambda asked: not asked.reachable)[:needed]
    passed += [
        Passed(asked.person, Why.UNREACHABLE, "has no confirmed channel besides the inbox")
        for asked in eligible
        if not asked.reachable and asked not in chosen
    ]
    return Routing(tuple(chosen), tuple(passed), needed)


def barred(
    offices: Offices, *, people: People, earlier: Collection[int], debtors: Collection[int]
) -> dict[int, Passed]:
    """Return the executives who may not override what came before on a request, and why.

    Args:
        earlier: who was asked on any step before this one, or stands behind the request.
        debtors: who has a review of their own bypass past its due time.
    """
    found = {}
    for pk in offices.executives:
        reviewers = (
            each for each in offices.reviewers if each in people.by_pk and each not in earlier
        )
        if pk in earlier:
            why = Why.CHAIN, "was asked before about this, so may not override it"
        elif pk in debtors:
            why = Why.DEBT, "has a review of an earlier bypass of theirs past its due time"
        elif not any(is_independent(each, of=pk, people=people) for each in reviewers):
            why = Why.UNREVIEWED, "stands above every reviewer, so that nobody could review it"
        else:
            continue
        found[pk] = Passed(pk, *why)
    return found


def is_independent(reviewer: int, *, of: int, people: People) -> bool:
    """Whether somebody is neither this person nor below them in the reporting line, and may act."""
    candidate = people.by_pk.get(reviewer)
    above = {manager for manager, _ in _upwards([reviewer], people)}
    return candidate is not None and candidate.enabled and of not in {reviewer, *above}


def hindrance(
    candidate: Candidate,
    *,
    subject: Subject,
    history: History,
    now: datetime,
    deciding: bool = True,
) -> Passed | None:
    """Return what keeps this person from acting on the request, or None. Reach is not judged here.

    Args:
        history: who decided before, and the limit of whoever said no.
        deciding: they would approve it, so that their limit counts and who decided
            before is out. Whoever is on call mends what was approved by others.
    """
    pk = candidate.pk
    if not candidate.enabled:
        return Passed(pk, Why.DISABLED, "is disabled")
    if pk == subject.agent_owner:
        return Passed(pk, Why.OWNER, "owns the agent that asks, so may not decide")
    if pk == subject.on_behalf_of:
        return Passed(pk, Why.ON_BEHALF, "is the person the agent acts for, so may not decide")
    if pk in history.beside:
        return Passed(
            pk, Why.PARTY, "stands behind another request for this record, so may not rule"
        )
    if pk in history.barred:
        return history.barred[pk]
    if pk in history.approvers:
        return Passed(pk, Why.APPROVED, "has approved this request, so may not rule on a violation")
    if pk in history.signers:
        return Passed(pk, Why.SIGNED, "has signed the waiver already")
    if deciding and pk in history.deciders:
        return Passed(pk, Why.DECIDED, "has decided on this request before")
    if candidate.away_until is not None:
        back = wording.at(candidate.away_until, now=now, zone=candidate.zone)
        return Passed(pk, Why.AWAY, f"is away until {back}")
    if deciding and subject.amount is not None:
        short = _short_of(candidate, Limit(subject.amount, subject.currency), "this amount")
        if short is not None:
            return short
    if deciding and history.at_least is not None:
        return _short_of(candidate, history.at_least, "that of whoever said no")
    return None


def _short_of(candidate: Candidate, wanted: Limit, what: str) -> Passed | None:
    """Return the obstacle if somebody's limit is below what is wanted. Another currency's counts as none."""
    if candidate.limit is None or candidate.limit_currency != wanted.currency:
        return Passed(candidate.pk, Why.LIMIT, f"has no limit in {wanted.currency}")
    if candidate.limit < wanted.amount:
        limit = wording.money(candidate.limit, candidate.limit_currency)
        return Passed(candidate.pk, Why.LIMIT, f"has a limit of {limit}, below {what}")
    return None


def candidates(
    path: Path,
    level: Level,
    row: Row,
    people: People,
    history: History,
    subject: Subject,
    policy: int,
    offices: Offices,
) -> list[tuple[int, str]]:
    """Return whom the matrix names on this rung, in order and once each, with the reason."""
    band = f"{subject.action_name.lower()}s {row.band()} in {row.department_name}"
    where = f"(matrix row {row.number}, policy {policy})"
    if level == Level.L4:
        return [
            (
                pk,
                f"executive {f'for {band} {where}' if pk == row.executive else f'(policy {policy})'}",
            )
            for pk in offices.executives
        ]
    if path == Path.APPROVAL:
        return [(pk, f"approver for {band} {where}") for pk in people.named(row.approver)]
    if path == Path.TIMEOUT and level == Level.L1:
        again = history.first_asked or people.named(row.approver)
        return [(pk, f"approver first asked, for {band} {where}") for pk in again]
    if path in (Path.TIMEOUT, Path.REJECTION) and level == Level.L2:
        named = [pk for who in row.delegates for pk in people.named(who)]
        return [
            (pk, f"{_ordinal(place)} delegate for {band} {where}")
            for place, pk in enumerate(dict.fromkeys(named))
        ]
    if path == Path.TIMEOUT and level == Level.L3:
        below = history.first_asked or people.named(row.approver)
        return [
            (pk, f"next above {_name(people, report)} in the reporting line")
            for pk, report in _upwards(below, people)
        ]
    if path == Path.REJECTION and level == Level.L3:
        department = f"head of {row.department_name} (policy {policy})"
        return [
            *((pk, department) for pk in offices.head),
            *(
                (pk, f"next above {_name(people, report)}, who heads {row.department_name}")
                for pk, report in _upwards(offices.head, people)
            ),
        ]
    if path == Path.CONFLICT and level == Level.L2:
        return [(pk, f"owner of the record (policy {policy})") for pk in offices.owner]
    if path == Path.CONFLICT and level == Level.L3:
        return [
            (pk, f"next above {_name(people, report)}, who owns the record")
            for pk, report in _upwards(offices.owner, people)
        ]
    if path == Path.POLICY_VIOLATION and level == Level.L2:
        return [(pk, f"one of compliance (policy {policy})") for pk in offices.compliance]
    if path == Path.POLICY_VIOLATION and level == Level.L3:
        return [
            *((pk, f"head of compliance (policy {policy})") for pk in offices.head_of_compliance),
            *(
                (pk, f"one of compliance besides their head (policy {policy})")
                for pk in offices.compliance
            ),
        ]
    if path in MENDS and level == Level.L2:
        return [(pk, f"one on call for the target of {band}") for pk in offices.on_call]
    if path in MENDS and level == Level.L3:
        return [
            (pk, f"next above {_name(people, report)}, who is on call, in the reporting line")
            for pk, report in _upwards(offices.on_call, people)
        ]
    raise LookupError(f"nobody is named yet on {path} L{level}")


def _upwards(below: Sequence[int], people: People) -> list[tuple[int, int]]:
    """Return managers above `below`, nearest first, once each, with the report they were reached through."""
    found: dict[int, int] = {}
    rank = list(below)
    while rank:
        above: list[int] = []
        for pk in rank:
            person = people.by_pk.get(pk)
            manager = person.manager if person else None
            if manager is not None and manager in people.by_pk and manager not in found:
                found[manager] = pk
                above.append(manager)
        rank = above
    return [(manager, report) for manager, report in found.items() if manager not in below]


def _name(people: People, pk: int) -> str:
    name = people.by_pk[pk].name
    return f"the {name}"


def _ordinal(place: int) -> str:
    words = ("first", "second", "third", "fourth", "fifth", "sixth", "seventh", "eighth")
    return words[place] if place < len(words) else f"{place + 1}th"
