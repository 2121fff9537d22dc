"""Who would get this: the ladder of a request that nobody has made, person by person.

The router is asked, as for a real one; the page, `manage.py who_decides` and the API
say what it answers.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, NamedTuple, TypeVar

from django.conf import settings
from django.utils.module_loading import import_string

from governance import ladder, wording
from governance.decision_tree import ENTERS_AT
from governance.drafting.parts import LONGEST
from governance.errors import NoRoute, NotFound, Unprocessable
from governance.models import ActionType, Agent, Department, Person, PolicyVersion
from governance.proof.loading import world_of
from governance.proof.world import Calendar, World
from governance.routing import (
    History,
    Limit,
    Offices,
    Routing,
    Row,
    Subject,
    Unroutable,
    barred,
    match,
    route,
)
from governance.vocabulary import ExceptionType, Impact, Level, Path, Response, Severity

Graded = TypeVar("Graded", Severity, Impact)
MOST_DIGITS = 16  # before the point, as the matrix has them
YEARS = range(2000, 2100)
# Days of absences and shifts read, after the first ask: L1, which may be doubled, and three rungs above.
LOOK_AHEAD = 5 * LONGEST.days
# How a path ends that nobody answers. Source: DESIGN 2.2.
ENDS = {
    Path.TIMEOUT: "it expires",
    Path.REJECTION: "it ends rejected",
    Path.CONFLICT: "the newcomer expires, and the earlier goes on",
    Path.SYSTEM_FAILURE: "what was done is undone, or it expires if nothing was",
    Path.POLICY_VIOLATION: "it is denied",
}


class Named(NamedTuple):
    """One person on one rung."""

    username: str
    name: str
    why: str  # asked: completes "You are the …"; passed over: completes the name
    code: str = ""  # of why they were passed over
    reachable: bool = True


@dataclass(frozen=True, slots=True)
class Rung:
    """One rung, as it would be if nobody below it answers.

    Attributes:
        opens_at, due_at: UTC. `due_at` is None where nobody can be asked, so that the next rung opens at once.
        automatic: the worker tries again by itself, and nobody is asked.
        needed: how many must answer.
    """

    path: Path
    level: Level
    opens_at: datetime
    due_at: datetime | None
    automatic: bool
    needed: int
    asked: tuple[Named, ...]
    passed_over: tuple[Named, ...]


@dataclass(frozen=True, slots=True)
class Ladder:
    """The whole answer.

    Attributes:
        policy, row: numbers.
        path: of the exception; `timeout` begins with the first ask.
        rungs: none where a first no is final.
        response: what the decision tree says to it.
        ends_at: when the last clock would be over. UTC.
        ends: what happens then: completes "then …".
    """

    policy: int
    row: int
    action: str
    department: str
    amount: Decimal | None
    currency: str
    severity: Severity
    impact: Impact
    path: Path
    response: Response
    at: datetime
    rungs: tuple[Rung, ...]
    ends_at: datetime
    ends: str

    @property
    def stalls(self) -> bool:
        """Whether somebody should be asked, and nobody below L4 would be."""
        below = [rung for rung in self.rungs if rung.level < Level.L4]
        return bool(below) and not any(rung.asked for rung in below)


def who_decides(
    *,
    action: str,
    department: str,
    at: datetime,
    amount: Decimal | None = None,
    currency: str = "",
    exception: ExceptionType = ExceptionType.TIMEOUT,
    severity: Severity | None = None,
    impact: Impact | None = None,
    agent: str = "",
    on_behalf_of: str = "",
    resource: str = "",
    version: int | None = None,
) -> Ladder:
    """Return who would be asked about a request that comes at `at`, rung by rung, and why not others.

    Limits, roles and lines are as they are now; absences and shifts as entered for each rung's
    instant. A rejection is taken to come from whoever is asked first, and what fails in its target to
    have been approved by them. Reads only, in a fixed number of queries.

    Args:
        action, department: keys.
        at: aware. The submission; of another exception than silence, its beginning.
        amount: what it is routed by; with `currency`, ISO 4217. None for one without an amount.
        exception: whose path is wanted.
        severity, impact: the action type's own by default, and never below it.
        agent: by name; its owner may not decide. "" = an agent of somebody nobody asks.
        on_behalf_of: user name or e-mail address of whom it acts for, who is not disabled.
        resource: key of the record, for its owner in a conflict. "" = any other's.
        version: number of a policy version, draft or not. None: the active one.

    Raises:
        NotFound: no such action in production, department, agent, person or version.
        NoRoute: no policy is active, or no row covers it, or two do.
        Unprocessable: an amount where the action has none, or the other way round; a time
            that no calendar here reaches.
        All but NoRoute name the argument at fault as `field`.
    """
    if at.year not in YEARS:
        raise Unprocessable(f"Say a time between {YEARS.start} and {YEARS.stop - 1}.", field="at")
    kind = ActionType.objects.filter(key=action, state=ActionType.State.PRODUCTION).first()
    if kind is None:
        raise NotFound(f"No action {wording.plain(action, 60)} is in production.", field="action")
    place = Department.objects.filter(key=department).first()
    if place is None:
        raise NotFound(
            f"There is no department {wording.plain(department, 60)}.", field="department"
        )
    if bool(kind.amount_pointer) != (amount is not None):
        raise Unprocessable(
            f"{kind.name} requests come {'with' if kind.amount_pointer else 'without'} an amount.",
            field="amount",
        )
    amount = None if amount is None else _exact(amount, currency)
    subject = Subject(
        department=place.pk,
        action=kind.key,
        action_name=kind.name,
        amount=amount,
        currency=currency if amount is not None else "",
        agent_owner=_owner(agent),
        on_behalf_of=_person(on_behalf_of),
    )
    days = kind.sla.days + 1 + LOOK_AHEAD
    world = world_of(_version(version), now=at.astimezone(UTC), days=days)
    try:
        row = match(world.policy.rows.values(), subject)
    except Unroutable as problem:
        raise NoRoute(str(problem)) from problem
    return _Climb(
        world=world,
        kind=kind,
        row=row,
        subject=subject,
        severity=_at_least(Severity(kind.severity), severity),
        impact=_at_least(kind.impact_for(amount, currency), impact),
        resource=resource,
    ).answer(exception, department)


@dataclass(frozen=True, slots=True)
class _Climb:
    """A request on its way up that does not exist."""

    world: World
    kind: ActionType
    row: Row
    subject: Subject
    severity: Severity
    impact: Impact
    resource: str

    def answer(self, exception: ExceptionType, department: str) -> Ladder:
        world, path = self.world, Path(exception.value)
        response = world.policy.cells[exception, self.severity, self.impact].response
        calendar, rungs = world.calendar(), []
        since, history = world.now, History()
        first = self._rung(calendar, Path.APPROVAL, Level.L0, since, history, ())
        if path == Path.TIMEOUT:
            rungs.append(first[0])
            since = first[0].due_at or since
            history = replace(history, first_asked=first[1])
        elif path == Path.REJECTION:
            history = self._after_a_no(first[1])
        below = first[1] if path in (Path.TIMEOUT, Path.SYSTEM_FAILURE) else ()
        level = self._enters(path, response)
        while level is not None:
            rung, asked = self._rung(calendar, path, level, since, history, below, response)
            rungs.append(rung)
            since, below = rung.due_at or since, (*below, *asked)
            level = ladder.next_rung(path, level, critical=self.kind.is_critical)
        return Ladder(
            world.policy.number, self.row.number, self.kind.key, department,
            self.subject.amount, self.subject.currency, self.severity, self.impact,
            path, response, world.now, tuple(rungs), since, ENDS[path],
        )  # fmt: skip

    def _enters(self, path: Path, response: Response) -> Level | None:
        """Return the rung where a path begins, None if what happened ends the request at once."""
        at_least = ENTERS_AT[response]
        if path == Path.REJECTION and self.kind.first_no_is_final:
            return None
        present = self.kind.takes_a_person(self.world.now, drill_due_at=self.kind.drill_due_at)
        if path == Path.SYSTEM_FAILURE and present:
            at_least = max(at_least, Level.L2)  # it needs a person there, who is asked at once
        return ladder.first_rung(path, at_least=at_least, critical=self.kind.is_critical)

    def _rung(
        self,
        calendar: Calendar,
        path: Path,
        level: Level,
        since: datetime,
        history: History,
        before: tuple[int, ...],
        response: Response = Response.DELEGATE,
    ) -> tuple[Rung, tuple[int, ...]]:
        """Return one rung as it would open at `since`, and whom it asks: primary keys."""
        calendar.go_to(since)
        offices = self._offices(calendar)
        if level == Level.L4:
            behind = {self.subject.agent_owner, self.subject.on_behalf_of}
            earlier = {*before, *(pk for pk in behind if pk is not None)}
            out = barred(
                offices, people=calendar.people, earlier=earlier,
                debtors=import_string(settings.RECOURSE_DEBTORS)(since),
            )  # fmt: skip
            history = replace(history, barred=out)
        automatic = (path, level) in ladder.AUTOMATIC
        found = Routing((), (), 1)
        if not automatic:
            found = route(
                path, level, row=self.row, subject=self.subject, people=calendar.people,
                history=history, now=since, policy=self.world.policy.number, offices=offices,
            )  # fmt: skip
        window = self._window(path, level, response)
        rung = Rung(
            path=path,
            level=level,
            opens_at=since,
            due_at=since + window if automatic or found.opens else None,
            automatic=automatic,
            needed=found.needed,
            asked=tuple(self._named(e.person, e.why, reachable=e.reachable) for e in found.asked),
            passed_over=tuple(
                self._named(each.person, each.why, code=each.code) for each in found.passed_over
            ),
        )
        return rung, tuple(each.person for each in found.asked)

    def _window(self, path: Path, level: Level, response: Response) -> timedelta:
        if path == Path.APPROVAL:
            return self.kind.sla
        return ladder.granted(self.world.policy.windows[path, level], response, level)

    def _offices(self, calendar: Calendar) -> Offices:
        policy, row = self.world.policy, self.row
        head, owner = policy.heads.get(row.department), policy.owner_of(self.resource)
        critical = self.kind.is_critical
        return Offices(
            head=() if head is None else (head,),
            on_call=calendar.on_call(str(self.kind.connector_config.get("target", ""))),
            owner=() if owner is None else (owner,),
            executives=policy.executives_for(row) if critical else (),
            reviewers=policy.reviewers if critical else (),
            compliance=policy.compliance,
            head_of_compliance=policy.head_of_compliance,
        )

    def _after_a_no(self, first: tuple[int, ...]) -> History:
        """Return what routing knows once the one first asked has said no."""
        if not first:
            return History()
        person = self.world.people.by_pk[first[0]]
        limit = None if person.limit is None else Limit(person.limit, person.limit_currency)
        return History(deciders=frozenset(first[:1]), at_least=limit, first_asked=first)

    def _named(self, pk: int, why: str, *, code: str = "", reachable: bool = True) -> Named:
        person = self.world.people.by_pk[pk]
        return Named(person.username, person.name, why, str(code), reachable)


def _version(number: int | None) -> PolicyVersion:
    which = {"state": PolicyVersion.State.ACTIVE} if number is None else {"number": number}
    found: PolicyVersion | None = PolicyVersion.objects.filter(**which).first()
    if found is not None:
        return found
    if number is None:
        raise NoRoute("No policy is active: nobody is named to decide anything.")
    raise NotFound(f"There is no policy {number}.", field="version")


def _exact(amount: Decimal, currency: str) -> Decimal:
    """Return the amount with its currency's decimals. Raises Unprocessable for what no request has."""
    unit = wording.unit(currency)
    if not amount.is_finite() or amount <= 0 or amount >= 10**MOST_DIGITS:
        raise Unprocessable("Say an amount of more than zero.", field="amount")
    exact = amount.quantize(unit)
    if exact != amount:
        raise Unprocessable(f"{currency} has amounts in steps of {unit}.", field="amount")
    return exact


def _owner(agent: str) -> int:
    if not agent:
        return 0
    found = Agent.objects.filter(name=agent).values_list("owner", flat=True).first()
    if found is None:
        raise NotFound(f"There is no agent {wording.plain(agent, 60)}.", field="agent")
    return found


def _person(name: str) -> int | None:
    """Return whom a request may be on behalf of, by user name or e-mail address, as at its submission."""
    if not name:
        return None
    here = Person.objects.filter(is_active=True)
    found = here.filter(username=name).first() or here.filter(email__iexact=name).first()
    if found is None:
        raise NotFound(f"There is no person {wording.plain(name, 60)}.", field="on_behalf_of")
    return found.pk


def _at_least(own: Graded, asked: Graded | None) -> Graded:
    order = list(type(own))
    return own if asked is None else max(own, asked, key=order.index)


def document(found: Ladder) -> dict[str, Any]:
    """Return the answer as JSON has it, for the API and for `who_decides --json`: instants in ISO 8601."""
    return {
        "policy_version": found.policy,
        "matrix_row": found.row,
        "action": found.action,
        "department": found.department,
        "amount": None if found.amount is None else str(found.amount),
        "currency": found.currency,
        "severity": found.severity.value,
        "impact": found.impact.value,
        "path": found.path.value,
        "response": found.response.value,
        "at": found.at.isoformat(),
        "rungs": [
            {
                "path": rung.path.value,
                "level": int(rung.level),
                "opens_at": rung.opens_at.isoformat(),
                "due_at": None if rung.due_at is None else rung.due_at.isoformat(),
                "automatic": rung.automatic,
                "needed": rung.needed,
                "asked": [
                    {
                        "person": e.username,
                        "name": e.name,
                        "reason": e.why,
                        "reachable": e.reachable,
                    }
                    for e in rung.asked
                ],
                "passed_over": [
                    {"person": e.username, "name": e.name, "reason": e.why, "code": e.code}
                    for e in rung.passed_over
                ],
            }
            for rung in found.rungs
        ],
        "ends_at": found.ends_at.isoformat(),
        "ends": found.ends,
        "stalls": found.stalls,
    }
