"""An agent asks leave to act: one request, however often and however simultaneously it asks."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import datetime
from decimal import Decimal
from functools import lru_cache
from typing import Any, NamedTuple, TypeVar

from django.db import IntegrityError, transaction
from django.db.models import CharField, Model, QuerySet, Subquery

from approvals import checks, templating
from approvals.locks import lock_resources
from approvals.models import OPEN, ActionRequest, Ask, Resource, Step
from approvals.models.request import WITHOUT_EFFECTS
from approvals.services import alerts, conflicts, submission, sums, violations
from approvals.services.escalate import Climb
from approvals.services.gather import look_all_the_way_up
from approvals.services.submission import Asked, Money
from approvals.services.writes import Writes
from governance import actors, bulk, canonical, cel, commitments, ladder, tables, wording
from governance.errors import (
    DuplicateEffect,
    KeyReused,
    NoRoute,
    NotYours,
    Refused,
    Unprocessable,
)
from governance.ledger import Act
from governance.models import ActionType, AgentCredential, Department, Person
from governance.reads import Given, Read, together
from governance.routing import People, Subject, Unroutable, match
from governance.vocabulary import Chain, Impact, Scope, Severity
from governance.wake import wake_clock

Choice = TypeVar("Choice", Severity, Impact)
VERSIONS_TRIED = 3  # of an action type that goes into production while it is asked for
DRAWN = (ActionRequest, Step, Ask)  # what every submission adds at least one of
COUNTERPARTY_LENGTH = 200  # those that are alike as far as this are summed together
ONE_LIVE_EFFECT = ("request_one_live_effect", "approvals_actionrequest.business_key")


class NotAllowed(NotYours):
    """The credential does not cover this."""

    problem, title = "not-allowed", "Not covered by this credential"


class UnknownAction(Unprocessable):
    """No such action in production."""

    problem, title = "unknown-action", "No such action"


class Submitted(NamedTuple):
    request: ActionRequest
    created: bool  # False for a replay of the same key and body


def submit(
    *,
    credential: AgentCredential,
    policy: int | None,
    idempotency_key: str,
    body: object,
    now: datetime,
) -> Submitted:
    """Take one submission: check it, route it, ask the first people, all or nothing.

    Idempotent by (agent, `idempotency_key`): the same body again returns the
    same request, whatever has become of it since.

    Args:
        credential: with its agent loaded; authenticated by the caller.
        policy: primary key of the active policy version, if there is one.
        body: parsed JSON, nothing of it checked.

    Raises:
        KeyReused: the key came with another body before.
        DuplicateEffect: a live request has the same business key.
        NoRoute: no row of the matrix covers it; an alert is raised too.
        NotAllowed, Unprocessable: as their texts say.
    """
    if not submission.KEY.fullmatch(idempotency_key):
        raise submission.Malformed(
            "Send the header Idempotency-Key, 1 to 200 visible ASCII characters, another one for each request."
        )
    body_hash = canonical.digest(body)
    try:
        asked = submission.read(body)
        request = _take(credential, policy, asked, key=idempotency_key, hashed=body_hash, now=now)
    except (IntegrityError, Refused) as problem:
        # The key is looked up last, so that the first time costs nothing more. A replay is
        # answered as before even if it could not be asked for today.
        first = (
            ActionRequest.objects.filter(agent=credential.agent, idempotency_key=idempotency_key)
            .select_related("action_type")
            .first()
        )
        if first is None:
            if isinstance(problem, NoRoute) and policy is not None:
                _alert_no_route(asked, problem.detail, now)
            if isinstance(problem, IntegrityError):
                found = _look_up(asked.action, asked.department)
                _refuse_duplicate(problem, _draft(credential, policy, asked, found, now))
            raise
        if first.body_hash != body_hash:
            raise KeyReused(
                f"This key was sent before with another body, for {first.ref}. Use a new key.",
                ref=first.ref,
            ) from problem
        return Submitted(first, created=False)
    return Submitted(request, created=True)


def _take(
    credential: AgentCredential,
    policy: int | None,
    asked: Asked,
    *,
    key: str,
    hashed: str,
    now: datetime,
) -> ActionRequest:
    """Store a submission under the version that was in production the last time, if it still is.

    That is looked at in the trip that stores it. Where it is not so any more, or
    where by that version it would be refused, it is looked up afresh.
    """
    for _ in range(VERSIONS_TRIED):
        known = _lately(asked.action, asked.department)
        try:
            draft = _draft(credential, policy, asked, known, now)
            return _store(draft, idempotency_key=key, body_hash=hashed, now=now)
        except Outdated:
            _lately.cache_clear()
        except Refused:
            if _look_up(asked.action, asked.department) == known:
                raise
            _lately.cache_clear()
    raise Outdated(f"{asked.action} is in production in another version each time it is looked at")


class Outdated(Exception):
    """Another version of the action type is in production than the one a draft was made by."""


class InProduction(NamedTuple):
    """What is in production for an action and a department, by primary keys."""

    version: int
    department: int | None


def _look_up(action: str, department: str) -> InProduction:
    """Return what is in production now. Raises UnknownAction."""
    for found in _read_in_production(action=action, department=department):
        return InProduction(*found[:2])
    raise UnknownAction(
        f"No action {wording.plain(action, 60)} is in production. See /api/v1/actions/."
    )


@lru_cache(maxsize=256)
def _lately(action: str, department: str) -> InProduction:
    """Return what was in production when this was first asked for, or last turned out to be."""
    return _look_up(action, department)


@dataclass(frozen=True, slots=True)
class Draft:
    """A submission that may be asked for, with what it was resolved to."""

    credential: AgentCredential
    asked: Asked
    action: ActionType
    department: int
    money: Money | None
    on_behalf_of: Person | None
    supersedes: ActionRequest | None
    severity: Severity
    impact: Impact
    resource_key: str
    business_key: str
    counterparty: str
    policy: tables.Policy
    row: int
    routed: Decimal | None  # the amount, or its sum with what was asked for the counterparty before
    salt: str = field(default_factory=commitments.new_salt)

    @property
    def is_summed(self) -> bool:
        return self.money is not None and self.counterparty != ""

    def subject(self, amount: Decimal | None) -> Subject:
        """Return what routing knows of it, if it is routed by this amount."""
        return Subject(
            department=self.department,
            action=self.action.key,
            action_name=self.action.name,
            amount=amount,
            currency=self.money.currency if self.money else "",
            agent_owner=self.credential.agent.owner_id,
            on_behalf_of=self.on_behalf_of.pk if self.on_behalf_of else None,
        )

    def digest(self) -> str:
        """Return the SHA-256 that every decision names. Source: DESIGN 5, "What was shown is what runs".

        Raises Unprocessable for a payload that has no canonical form.
        """
        hidden = self.action.redacted_in("payload")
        return canonical.digest({
            "action": self.action.key,
            "version": self.action.version,
            "payload": commitments.committed(self.asked.payload, hidden, salt=self.salt),
            "amount": str(self.money.value) if self.money else None,
            "currency": self.money.currency if self.money else None,
            "department": self.asked.department,
            "resource": self.resource_key or None,
            "business_key": self.business_key,
            "agent": self.credential.agent.name,
            "on_behalf_of": self.on_behalf_of.username if self.on_behalf_of else None,
            "severity": self.severity.value,
            "impact": self.impact.value,
        })  # fmt: skip


def _draft(
    credential: AgentCredential,
    policy: int | None,
    asked: Asked,
    found: InProduction,
    now: datetime,
) -> Draft:
    """Resolve a submission, or refuse it. Reads only."""
    if Scope.SUBMIT not in credential.scopes:
        raise NotAllowed("This credential may not submit requests.")
    if asked.action not in credential.actions:
        raise NotAllowed(
            f"This credential may not ask for {asked.action}.", allowed=credential.actions
        )
    if asked.department not in credential.departments:
        raise NotAllowed(
            f"This credential may not ask in department {wording.plain(asked.department, 60)}.",
            allowed=credential.departments,
        )
    version, department = found
    if department is None:
        raise Unprocessable(f"There is no department {asked.department}.")
    action = submission.action_type(version)
    _check_urgency(credential, asked, now)
    submission.check_payload(action, asked.payload)
    money = submission.amount_of(action, asked.payload)
    keys = submission.keys_of(action, asked.payload, money)
    on_behalf_of = _person(asked.on_behalf_of)
    severity = _at_least(Severity(action.severity), asked.severity)
    impact = _at_least(submission.impact_of(action, money), asked.impact)
    if policy is None:
        raise NoRoute("No policy is active: nobody is named to decide anything.")
    draft = Draft(
        credential, asked, action, department, money, on_behalf_of,
        _superseded(asked.supersedes, credential), severity, impact,
        keys.resource, keys.business, _counterparty(action, asked.payload), tables.policy(policy),
        row=0, routed=money.value if money else None,
    )  # fmt: skip
    return replace(draft, row=_match(draft, draft.routed))


def _match(draft: Draft, amount: Decimal | None) -> int:
    """Return the primary key of the matrix row for this amount. Raises NoRoute."""
    try:
        return match(draft.policy.rows.values(), draft.subject(amount)).pk
    except Unroutable as problem:
        raise NoRoute(str(problem)) from problem


def _with(draft: Draft, before: sums.Before) -> Draft:
    """Return the draft routed by its sum with what was asked for its counterparty before.

    Raises NoRoute.
    """
    if not before.number or draft.routed is None:
        return draft
    total = (draft.routed + before.total).quantize(draft.routed)
    try:
        return replace(draft, row=_match(draft, total), routed=total)
    except NoRoute as problem:
        others = wording.plural(before.number, "other request")
        raise NoRoute(
            f"With {others} to this counterparty within 24 h it is routed by their sum. {problem.detail}"
        ) from problem


def _in_production() -> QuerySet[ActionType, tuple[Any, ...]]:
    department = Department.objects.filter(key=Given("department", CharField())).values("pk")
    rows: QuerySet[ActionType, tuple[Any, ...]] = ActionType.objects.filter(
        key=Given("action", CharField()), state=ActionType.State.PRODUCTION
    ).values_list("pk", Subquery(department), "drill_due_at", *map(bulk.NextKey, DRAWN))
    return rows


# (action, department) -> at most one pair of keys, until when its drill counts, and keys for new rows
_read_in_production = Read(_in_production, prepared=True)


@transaction.atomic
def _store(draft: Draft, *, idempotency_key: str, body_hash: str, now: datetime) -> ActionRequest:
    """Insert the request and everything its first rung needs.

    The request goes in first, so that the unique keys find a replay or a
    duplicate before anything else is written.

    Raises IntegrityError or DuplicateEffect for those.
    """
    arrival = _arrive(draft, now)
    if arrival.before.number:
        draft, arrival = _arrive_together(draft, arrival, now)
    request = _row(draft, idempotency_key=idempotency_key, body_hash=body_hash, now=now)
    request.person_present = draft.action.takes_a_person(now, drill_due_at=arrival.drill_due_at)
    act = Act(
        now=now,
        actor=actors.agent(draft.credential.agent),
        on_behalf_of=actors.person(draft.on_behalf_of) if draft.on_behalf_of else "",
    )
    writes = Writes(acts=[act])
    act.record(
        request, "request.submitted", action=draft.action.key, version=draft.action.version,
        digest=request.digest, title=request.title, amount=request.amount, currency=request.currency,
        department=draft.asked.department, business_key=request.business_key,
        resource=draft.resource_key, severity=draft.severity, impact=draft.impact,
        policy=draft.policy.number, matrix_row=draft.policy.rows[draft.row].number,
        credential=draft.credential.prefix, justification=request.justification,
    )  # fmt: skip
    if request.needed_by is not None:
        act.record(
            request, "request.hurried", needed_by=request.needed_by,
            credential=draft.credential.prefix,
        )  # fmt: skip
    if arrival.before.number:
        act.record(
            request, "request.summed", routed_amount=request.routed_amount,
            currency=request.currency, others=arrival.before.number,
        )  # fmt: skip
    if draft.resource_key:
        request.resource = _locked_resource(draft.resource_key, arrival.resource)
    climb = Climb(
        request=request, policy=draft.policy, people=arrival.people, act=act, writes=writes
    )
    broken = _broken(draft, request)
    others = [] if broken or arrival.resource is not None else _others(request)
    if broken:
        violations.found_broken(climb, broken)  # it takes part in no conflict while it is blocked
    elif others:
        _meet(climb, others, draft.resource_key)
    else:
        climb.open_first(lambda: look_all_the_way_up(climb))
    climb.settle()
    new = [request, *writes.cases, *writes.steps, *writes.asks]
    bulk.give_keys(new, drawn=arrival.keys)
    with bulk.in_one_go():
        bulk.insert([request])
        writes.save()
    if conflicts.follow(writes, now=now, new=request):
        request = ActionRequest.objects.select_related("action_type", "agent", "department").get(
            pk=request.pk
        )
    if request.due_at is not None:
        wake_clock(request.due_at)
    return request


def _broken(draft: Draft, request: ActionRequest) -> list[checks.Broken]:
    """Return the rules over what was asked that do not hold. Nothing is read for it."""
    rules = draft.policy.checks_of(draft.action.key, reads_target=False)
    if not rules:
        return []
    asked = checks.Asked(
        action=draft.action.key,
        department=draft.asked.department,
        severity=draft.severity.value,
        impact=draft.impact.value,
        amount=cel.minor(draft.money.value, draft.money.currency) if draft.money else None,
        currency=draft.money.currency if draft.money else "",
        counterparty=request.counterparty,
        agent=draft.credential.agent.name,
    )
    return checks.ask_all(rules, payload=draft.asked.payload, asked=asked)


def _others(request: ActionRequest) -> list[ActionRequest]:
    """Return those that want the same record, locked as it is, oldest first.

    Raises DuplicateEffect.
    """
    if request.resource_id is None:
        return []
    live = conflicts.wanting(request.resource_id).select_related("agent", "action_type")
    others = list(live.select_for_update(no_key=True, of=("self",)).order_by("pk"))
    for each in others:
        if each.business_key == request.business_key:
            raise _duplicate_of(each)  # no conflict, but the same thing asked for twice
    return others


def _meet(climb: Climb, others: list[ActionRequest], resource: str) -> None:
    owner = climb.policy.owner_of(resource)
    look_all_the_way_up(climb, owner=() if owner is None else (owner,))
    conflicts.meet(climb, others)


def _row(draft: Draft, *, idempotency_key: str, body_hash: str, now: datetime) -> ActionRequest:
    asked, money = draft.asked, draft.money
    row: ActionRequest = ActionRequest(
        agent=draft.credential.agent,
        credential=draft.credential,
        idempotency_key=idempotency_key,
        body_hash=body_hash,
        action_type=draft.action,
        department_id=draft.department,
        payload=asked.payload,
        title=submission.title_of(draft.action, asked.payload, money),
        amount=money.value if money else None,
        currency=money.currency if money else "",
        counterparty=draft.counterparty,
        business_key=draft.business_key,
        severity=draft.severity,
        impact=draft.impact,
        on_behalf_of=draft.on_behalf_of,
        digest=draft.digest(),
        salt=draft.salt,
        justification=asked.justification,
        source_run_id=asked.run_id,
        source_url=asked.source_url,
        callback_url=asked.callback_url,
        needed_by=asked.needed_by,
        supersedes=draft.supersedes,
        policy_id=draft.policy.pk,
        matrix_row_id=draft.row,
        routed_amount=draft.routed,
        quorum=draft.policy.rows[draft.row].quorum,
        read_due_at=now if _is_read(draft) else None,
        submitted_at=now,
    )
    return row


def _is_read(draft: Draft) -> bool:
    """Whether the worker reads the target for it: its basis, or the facts that rules speak of."""
    config = draft.action.connector_config
    if "basis" in config:
        return True
    return "facts" in config and bool(draft.policy.checks_of(draft.action.key, reads_target=True))


class Arrival(NamedTuple):
    """What is read and locked in the first trip of a submission."""

    people: People
    before: sums.Before  # to the same counterparty
    resource: int | None  # primary key, if it was made just now
    drill_due_at: datetime | None  # of the action type, as it is now
    keys: dict[type[Model], int]  # one drawn for each of these models, on PostgreSQL


_insert_resource = bulk.inserting_missing(Resource, "key")


def _arrive(draft: Draft, now: datetime) -> Arrival:
    """Look once more at what is in production, read who is named first, take the sum, make the Resource.

    One trip. The sum's row is locked before the Resource: see `approvals.locks`.

    Raises Outdated.
    """
    approver = draft.policy.rows[draft.row].approver
    queries = [_read_in_production, tables.read_named[approver.kind]]
    if draft.is_summed:
        queries += sums.QUERIES
    if draft.resource_key:
        queries.append(_insert_resource)
    in_production, people, *rest = together(
        *queries, action=draft.action.key, department=draft.asked.department,
        key=draft.resource_key, now=now, named=approver.pk,
        owner=draft.credential.agent.owner_id, counterparty=draft.counterparty,
        currency=draft.money.currency if draft.money else "", since=sums.since(now),
        business_key=draft.business_key,
    )  # fmt: skip
    if [found[:2] for found in in_production] != [(draft.action.pk, draft.department)]:
        raise Outdated(f"{draft.action} is not in production any more")
    made = rest[-1] if draft.resource_key else []
    drill_due_at, *drawn = in_production[0][2:]
    keys = zip(DRAWN, drawn, strict=True)
    return Arrival(
        tables.people_of(people, tables.one_named(approver)),
        sums.read(rest[len(sums.QUERIES) - 1]) if draft.is_summed else sums.NOTHING_BEFORE,
        made[0][0] if made else None,
        drill_due_at,
        {model: key for model, key in keys if key is not None},
    )


def _arrive_together(draft: Draft, arrival: Arrival, now: datetime) -> tuple[Draft, Arrival]:
    """Route it by the sum. Where that is another matrix row, whom it names first is read: one trip more.

    Raises NoRoute.
    """
    summed = _with(draft, arrival.before)
    if summed.row == draft.row:
        return summed, arrival
    approver = summed.policy.rows[summed.row].approver
    found = tables.read_named[approver.kind](now=now, named=approver.pk)
    people = tables.people_of(found, tables.one_named(approver))
    return summed, arrival._replace(people=people)


def _locked_resource(key: str, made: int | None) -> Resource:
    """Return the Resource of this key with its lock held."""
    if made is not None:
        return Resource(pk=made, key=key)  # nobody else can see it before we commit, nor lock it
    resource: Resource = Resource.objects.get(key=key)
    lock_resources([resource.pk])
    return resource


def _counterparty(action: ActionType, payload: dict[str, Any]) -> str:
    if not action.counterparty_pointer:
        return ""
    found = templating.at_pointer(payload, action.counterparty_pointer)
    return templating.same(str(found or ""))[:COUNTERPARTY_LENGTH]


def _check_urgency(credential: AgentCredential, asked: Asked, now: datetime) -> None:
    if asked.needed_by is None:
        return
    if Scope.URGENT not in credential.scopes:
        raise NotAllowed("This credential may not set needed_by: it lacks the scope urgent.")
    if asked.needed_by <= now:
        raise Unprocessable("needed_by has passed.")
    if asked.needed_by > now + ladder.NEEDED_WITHIN:
        raise Unprocessable(
            f"needed_by is more than {wording.span(ladder.NEEDED_WITHIN)} ahead. What is needed later is in no hurry."
        )


def _person(name: str) -> Person | None:
    if not name:
        return None
    found = Person.objects.filter(username=name, is_active=True).first()
    if found is None:
        found = Person.objects.filter(email__iexact=name, is_active=True).first()
    if found is None:
        raise Unprocessable("on_behalf_of is nobody's user name or e-mail address here.")
    return found


def _superseded(ref: str, credential: AgentCredential) -> ActionRequest | None:
    if not ref:
        return None
    found: ActionRequest | None = ActionRequest.objects.filter(
        ref=ref, agent=credential.agent
    ).first()
    if found is None:
        raise Unprocessable("supersedes names no request of this agent.")
    if found.state in OPEN:
        raise Unprocessable(
            f"{ref} is still {found.get_state_display().lower()}; withdraw it first."
        )
    return found


def _at_least(own: Choice, asked: Choice | None) -> Choice:
    """Return the graver of the two: an agent may raise what the action type says, never lower it."""
    grave = list(type(own))
    return max(own, asked or own, key=grave.index)


def _alert_no_route(asked: Asked, text: str, now: datetime) -> None:
    matter = f"{asked.department} {asked.action}"
    alerts.sound(by="submission", kind="no-route", key=matter, text=f"Refused: {text}", now=now)


def _refuse_duplicate(problem: IntegrityError, draft: Draft) -> None:
    """Say who was first, where the database found a duplicate effect. Anything else is a defect."""
    # Named by its constraint on PostgreSQL, by its column on SQLite.
    if not any(name in str(problem) for name in ONE_LIVE_EFFECT):
        return
    live = (
        ActionRequest.objects.filter(business_key=draft.business_key)
        .exclude(state__in=WITHOUT_EFFECTS)
        .first()
    )
    if live is not None:
        raise _duplicate_of(live) from problem
    raise DuplicateEffect(
        "A request for this ended at this very moment. Send yours again."
    ) from problem


def _duplicate_of(live: ActionRequest) -> DuplicateEffect:
    return DuplicateEffect(
        f"{live.ref} already asks for this and is {live.get_state_display().lower()}.", ref=live.ref
    )


def record_refusal(*, actor: str, refusal: Refused, facts: dict[str, Any], now: datetime) -> None:
    """Keep what was refused in the ledger: the only trace a refused submission leaves."""
    with transaction.atomic():
        act = Act(now=now, actor=actor)
        act.record_named(
            Chain.SYSTEM, "submission.refused", problem=refusal.problem,
            detail=wording.plain(refusal.detail, 300), **facts,
        )  # fmt: skip
        act.write()
