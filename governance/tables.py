"""Loads what routing reads: a policy version's tables, and the people as they are now."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from fnmatch import fnmatchcase
from functools import lru_cache
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

from django.db.models import (
    BigIntegerField,
    DateTimeField,
    Expression,
    FilteredRelation,
    Max,
    OuterRef,
    Q,
    QuerySet,
    Subquery,
)

from governance.models import (
    Absence,
    Appointment,
    DecisionCell,
    Department,
    MatrixRow,
    PathWindow,
    Person,
    PolicyCheck,
    PolicyVersion,
    RosterShift,
)
from governance.models.policy import NEVER_IN_FORCE
from governance.reads import Given, GivenKeys, Read
from governance.routing import Candidate, Channel, People, Row, Who
from governance.vocabulary import ExceptionType, Impact, Level, Path, Response, RuleSource, Severity


@dataclass(frozen=True, slots=True)
class Answer:
    """One cell of the decision tree."""

    response: Response
    source: RuleSource


@dataclass(frozen=True, slots=True)
class Check:
    """A rule of the policy, in CEL. A waiver silences one key at one revision."""

    key: str
    revision: int
    name: str
    action: str  # an action type's key; "" = any
    reads_target: bool  # it speaks of facts of the target, which only the worker can read
    expression: str
    expression_hash: str
    on_break: str  # told to compliance when it breaks


@dataclass(frozen=True, slots=True)
class Policy:
    """A policy version as routing and the ladder read it. Immutable, as the version is."""

    pk: int
    number: int
    rows: dict[int, Row]
    windows: dict[tuple[Path, Level], timedelta]
    cells: dict[tuple[ExceptionType, Severity, Impact], Answer]
    queue_cap: timedelta
    on_call_fallback: dict[str, int]  # by target: a person's primary key
    heads: dict[int, int]  # by department: a person's primary key
    owners: dict[str, int]  # of resources, by a pattern of their keys: a person's primary key
    executives: tuple[int, ...]  # who may bypass, in their order
    reviewers: tuple[int, ...]  # who looks at what they did
    compliance: tuple[int, ...] = ()  # people's primary keys, without the head's
    head_of_compliance: tuple[int, ...] = ()  # at most one
    checks: tuple[Check, ...] = ()

    def checks_of(self, action: str, *, reads_target: bool) -> list[Check]:
        """Return the rules for an action type, by its key: over what was asked, or over the target."""
        return [
            each
            for each in self.checks
            if each.action in ("", action) and each.reads_target == reads_target
        ]

    def owner_of(self, resource: str) -> int | None:
        """Return who owns a resource, by its key: of the patterns it fits, the longest names them."""
        fitting = [pattern for pattern in self.owners if fnmatchcase(resource, pattern or "*")]
        return self.owners[max(fitting, key=lambda each: (len(each), each))] if fitting else None

    def on_call_for(self, target: str, on_shift: Iterable[int]) -> tuple[int, ...]:
        """Return who is on call for a target, by primary key: those on shift, and then the fallback."""
        fallback = self.on_call_fallback.get(target)
        return tuple(dict.fromkeys([*on_shift, *([] if fallback is None else [fallback])]))

    def executives_for(self, row: Row) -> tuple[int, ...]:
        """Return who may override for a row of the matrix, by primary key: the row's own first."""
        own = () if row.executive is None else (row.executive,)
        return tuple(dict.fromkeys((*own, *self.executives)))


@lru_cache(maxsize=64)
def policy(version: int) -> Policy:
    """Return the tables of a version that is or was active, by primary key.

    Cached for the life of the process: such a version never changes.

    Raises ValueError for a draft, which does, and for one that was discarded.
    """
    found = PolicyVersion.objects.get(pk=version)
    if found.state in NEVER_IN_FORCE:
        what = "a draft" if found.state == PolicyVersion.State.DRAFT else "discarded"
        raise ValueError(f"policy {found.number} is {what}; nothing is routed by it")
    return load(found)


def load(version: PolicyVersion) -> Policy:
    """Read a version's tables, draft or not."""
    rows = (
        MatrixRow.objects.filter(version=version)
        .select_related("department")
        .prefetch_related("delegates")
    )
    departments = dict(Department.objects.values_list("key", "pk"))
    return Policy(
        pk=version.pk,
        number=version.number,
        rows={row.pk: _row(row) for row in rows},
        windows={
            (Path(path), Level(level)): window
            for path, level, window in PathWindow.objects.filter(version=version).values_list(
                "path", "level", "window"
            )
        },
        cells={
            (ExceptionType(exception), Severity(severity), Impact(impact)): Answer(
                Response(response), RuleSource(source)
            )
            for exception, severity, impact, response, source in DecisionCell.objects.filter(
                version=version
            ).values_list("exception", "severity", "impact", "response", "source")
        },
        queue_cap=version.queue_cap,
        on_call_fallback=_appointed(version, Appointment.Office.ONCALL_FALLBACK),
        heads={
            departments[key]: person
            for key, person in _appointed(version, Appointment.Office.DEPARTMENT_HEAD).items()
            if key in departments
        },
        owners=_appointed(version, Appointment.Office.RESOURCE_OWNER),
        executives=_holders(version, Appointment.Office.EXECUTIVE),
        reviewers=_holders(version, Appointment.Office.REVIEWER),
        compliance=_holders(version, Appointment.Office.COMPLIANCE),
        head_of_compliance=_holders(version, Appointment.Office.HEAD_OF_COMPLIANCE),
        checks=tuple(map(_check, PolicyCheck.objects.filter(version=version).order_by("key"))),
    )


def _holders(version: PolicyVersion, office: str) -> tuple[int, ...]:
    """Return everybody who holds an office, in the order of their entry."""
    held = Appointment.objects.filter(version=version, office=office).order_by("pk")
    return tuple(dict.fromkeys(held.values_list("person_id", flat=True)))


def _appointed(version: PolicyVersion, office: str) -> dict[str, int]:
    """Return who holds an office, by what it is held for."""
    held = Appointment.objects.filter(version=version, office=office)
    return dict(held.values_list("scope", "person_id"))


def _check(check: PolicyCheck) -> Check:
    return Check(
        key=check.key,
        revision=check.revision,
        name=check.name,
        action=check.action,
        reads_target=check.reads == PolicyCheck.Reads.TARGET,
        expression=check.expression,
        expression_hash=check.expression_hash,
        on_break=check.on_break,
    )


def active_policy() -> Policy | None:
    """Return the tables of the active version, None if there is none."""
    found = PolicyVersion.objects.filter(state=PolicyVersion.State.ACTIVE).values_list("pk").first()
    return policy(found[0]) if found is not None else None


def rules_for(own: int, action: str, *, reads_target: bool) -> list[Check]:
    """Return the rules that hold for a request of this action: its own version's, and the active one's.

    A rule that stands in both is asked once. One that changed between them is asked
    as it was and as it is: a request keeps its version, and the active one also counts.

    Args:
        own: primary key of the version it was routed by.
        reads_target: see `Policy.checks_of`.
    """
    found = policy(own).checks_of(action, reads_target=reads_target)
    active = active_policy()
    if active is None or active.pk == own:
        return found
    known = {(each.key, each.revision) for each in found}
    more = active.checks_of(action, reads_target=reads_target)
    return found + [each for each in more if (each.key, each.revision) not in known]


def _row(row: MatrixRow) -> Row:
    return Row(
        pk=row.pk,
        number=row.number,
        department=row.department_id,
        department_name=row.department.name,
        action=row.action,
        currency=row.currency,
        amount_from=row.amount_from,
        amount_to=row.amount_to,
        approver=_who(row.approver_role_id, row.approver_person_id),
        delegates=tuple(_who(each.role_id, each.person_id) for each in row.delegates.all()),
        quorum=row.quorum,
        executive=row.executive_id,
    )


def _who(role: int | None, person: int | None) -> Who:
    if person is not None:
        return Who("person", person)
    if role is not None:
        return Who("role", role)
    raise ValueError("a name in the matrix is a role or a person")


def on_call(targets: Iterable[str], *, now: datetime) -> dict[str, list[int]]:
    """Return who is on shift for each of these targets, read live; the first to have begun first."""
    found: dict[str, list[int]] = {target: [] for target in targets}
    shifts = RosterShift.objects.filter(target__in=found, starts_at__lte=now, ends_at__gt=now)
    for target, person in shifts.order_by("starts_at", "pk").values_list("target", "person_id"):
        if person not in found[target]:
            found[target].append(person)
    return found


def people_for(rows: Iterable[Row], *, also: Iterable[int] = (), now: datetime) -> People:
    """Return everyone these matrix rows may lead to, as they are at `now`.

    That is: the people and role holders they name, `also`, and the reporting
    line above each. One query, whatever the number of rows.
    """
    named = named_by(rows, also=also)
    if not named.roles and not named.first:
        return People({}, {})
    return people_of(read_people(**named._asdict(), now=now), named)


class Named(NamedTuple):
    """Whom `read_people` starts from, by primary keys."""

    roles: frozenset[int]
    first: frozenset[int]


def one_named(who: Who) -> Named:
    """Return what `read_named` starts from, for one name of the matrix."""
    alone = frozenset({who.pk})
    return Named(alone, frozenset()) if who.kind == "role" else Named(frozenset(), alone)


def named_by(rows: Iterable[Row], *, also: Iterable[int] = ()) -> Named:
    """Return the roles and people that matrix rows name, and `also`."""
    named = [who for row in rows for who in (row.approver, *row.delegates)]
    return Named(
        frozenset(who.pk for who in named if who.kind == "role"),
        frozenset(who.pk for who in named if who.kind == "person") | frozenset(also),
    )


def people_of(found: Iterable[tuple[Any, ...]], named: Named) -> People:
    """Return the people that `read_people` found."""
    holders: dict[int, dict[int, None]] = defaultdict(dict)
    channels: dict[int, dict[int, Channel]] = defaultdict(dict)
    persons: dict[int, list[Any]] = {}
    # A person comes once for each of their roles with each of their channels.
    for *person, role, channel, kind, urgent in found:
        pk = person[0]
        persons[pk] = person
        if role in named.roles:
            holders[role][pk] = None
        if channel is not None:
            channels[pk][channel] = Channel(channel, kind, urgent)
    by_pk = {pk: _candidate(person, tuple(channels[pk].values())) for pk, person in persons.items()}
    return People(by_pk, {role: list(held_by) for role, held_by in holders.items()})


def _candidate(person: list[Any], channels: tuple[Channel, ...]) -> Candidate:
    pk, username, name, enabled, limit, currency, manager, away_until, zone = person
    return Candidate(
        pk, username, name, enabled, limit, currency, manager, away_until, ZoneInfo(zone), channels
    )


class _AndAbove(Expression):
    """The people given, the holders of the roles given, and everyone above them.

    UNION, not UNION ALL: a circle would end all the same.
    """

    def as_sql(self, compiler: Any, connection: Any) -> tuple[str, Any]:
        people = connection.ops.quote_name(Person._meta.db_table)
        held = connection.ops.quote_name(Person.roles.through._meta.db_table)
        first, roles = GivenKeys("first"), GivenKeys("roles")
        line = (
            f"(WITH RECURSIVE line(id, manager_id) AS ("
            f" SELECT id, manager_id FROM {people} WHERE {first.among('id')}"
            f" UNION SELECT p.id, p.manager_id FROM {held} h JOIN {people} p ON p.id = h.person_id"
            f" WHERE {roles.among('h.role_id')}"
            f" UNION SELECT p.id, p.manager_id FROM {people} p JOIN line ON p.id = line.manager_id"
            f") SELECT id FROM line)"
        )
        return line, (first, roles)


def _people(people: QuerySet[Person]) -> QuerySet[Person, tuple[Any, ...]]:
    now = Given("now", DateTimeField())
    away = (
        Absence.objects.filter(
            person=OuterRef("pk"), cancelled_at__isnull=True, starts_at__lte=now, ends_at__gt=now
        )
        .values("person")
        .annotate(until=Max("ends_at"))
        .values("until")
    )
    usable = Q(channels__confirmed_at__isnull=False, channels__refused_at__isnull=True)
    return (
        people.annotate(away_until=Subquery(away), usable=FilteredRelation("channels", condition=usable))
        .order_by("pk", "usable__pk")
        .values_list(
            "pk", "username", "name", "is_active", "limit_amount", "limit_currency",
            "manager_id", "away_until", "time_zone",
            "roles", "usable__pk", "usable__kind", "usable__urgent_only",
        )
    )  # fmt: skip


# Everyone whom matrix rows may lead to: (roles, first, now).
read_people = Read(
    lambda: _people(Person.objects.filter(pk__in=_AndAbove(output_field=BigIntegerField())))
)
# Those whom one name stands for, without anybody above them: (named, now).
NAMED = Given("named", BigIntegerField())
read_named = {
    "role": Read(lambda: _people(Person.objects.filter(roles=NAMED)), prepared=True),
    "person": Read(lambda: _people(Person.objects.filter(pk=NAMED)), prepared=True),
}
