"""An agent asks leave to act: one request, however often and however simultaneously it asks."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple, TypeVar

from django.db import IntegrityError, transaction
from django.db.models import CharField, QuerySet, Subquery

from approvals import templating
from approvals.locks import lock_resources
from approvals.models import OPEN, ActionRequest, Resource
from approvals.models.request import WITHOUT_EFFECTS
from approvals.services import alerts, submission
from approvals.services.escalate import Climb
from approvals.services.submission import Asked, Money
from approvals.services.writes import Writes
from governance import actors, bulk, canonical, tables, wording
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
from governance.reads import Given, Read
from governance.routing import Subject, Unroutable, match
from governance.vocabulary import Chain, Impact, Scope, Severity
from governance.wake import wake_clock

Choice = TypeVar("Choice", Severity, Impact)
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
        draft = _draft(credential, policy, submission.read(body), now)
        request = _store(draft, idempotency_key=idempotency_key, body_hash=body_hash, now=now)
    except (IntegrityError, Refused) as problem:
        # The key is looked up last, so that the first time costs nothing more. A replay is
        # answered as before even if it could not be asked for today.
        first = ActionRequest.objects.filter(
            agent=credential.agent, idempotency_key=idempotency_key
        ).first()
        if first is None:
            _refuse(problem, draft if isinstance(problem, IntegrityError) else None, now)
            raise
        if first.body_hash != body_hash:
            raise KeyReused(
                f"This key was sent before with another body, for {first.ref}. Use a new key.",
                ref=first.ref,
            ) from problem
        return Submitted(first, created=False)
    return Submitted(request, created=True)


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
    policy: tables.Policy
    row: int

    def digest(self) -> str:
        """Return the SHA-256 that every decision names. Source: DESIGN 5, "What was shown is what runs"."""
        return canonical.digest({
            "action": self.action.key,
            "version": self.action.version,
            "payload": self.asked.payload,
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


def _draft(credential: AgentCredential, policy: int | None, asked: Asked, now: datetime) -> Draft:
    """Resolve a submission, or refuse it. Reads only."""
    if Scope.SUBMIT not in credential.scopes:
        raise NotAllowed("This credential may not submit requests.")
    in_production = _read_in_production(action=asked.action, department=asked.department)
    if not in_production:
        raise UnknownAction(
            f"No action {wording.plain(asked.action, 60)} is in production. See /api/v1/actions/."
        )
    if asked.action not in credential.actions:
        raise NotAllowed(
            f"This credential may not ask for {asked.action}.", allowed=credential.actions
        )
    if asked.department not in credential.departments:
        raise NotAllowed(
            f"This credential may not ask in department {wording.plain(asked.department, 60)}.",
            allowed=credential.departments,
        )
    ((version, department),) = in_production
    if department is None:
        raise Unprocessable(f"There is no department {asked.department}.")
    action = submission.action_type(version)
    _check_urgency(credential, asked, now)
    submission.check_payload(action, asked.payload)
    money = submission.amount_of(action, asked.payload)
    payload = submission.for_keys(action, asked.payload, money)
    business_key = templating.key(action.business_key, payload)
    resource_key = templating.key(action.resource_key, payload)
    records = [templating.exact(record, asked.payload) for record in action.snapshot_plan]
    if len(business_key) > 400 or max(map(len, [resource_key, *records])) > 300:
        raise Unprocessable("What names the record and the document is too long to be a key.")
    on_behalf_of = _person(asked.on_behalf_of)
    severity = _at_least(Severity(action.severity), asked.severity)
    impact = _at_least(submission.impact_of(action, money), asked.impact)
    if policy is None:
        raise NoRoute("No policy is active: nobody is named to decide anything.")
    rules = tables.policy(policy)
    subject = Subject(
        department=department,
        action=action.key,
        action_name=action.name,
        amount=money.value if money else None,
        currency=money.currency if money else "",
        agent_owner=credential.agent.owner_id,
        on_behalf_of=on_behalf_of.pk if on_behalf_of else None,
    )
    try:
        row = match(rules.rows.values(), subject)
    except Unroutable as problem:
        _alert_no_route(asked, str(problem), now)
        raise NoRoute(str(problem)) from problem
    return Draft(
        credential, asked, action, department, money, on_behalf_of,
        _superseded(asked.supersedes, credential), severity, impact,
        resource_key, business_key, rules, row.pk,
    )  # fmt: skip


def _in_production() -> QuerySet[ActionType, tuple[int, int | None]]:
    department = Department.objects.filter(key=Given("department", CharField())).values("pk")
    rows: QuerySet[ActionType, tuple[int, int | None]] = ActionType.objects.filter(
        key=Given("action", CharField()), state=ActionType.State.PRODUCTION
    ).values_list("pk", Subquery(department))
    return rows


_read_in_production = Read(_in_production)  # (action, department) -> at most one pair of keys


@transaction.atomic
def _store(draft: Draft, *, idempotency_key: str, body_hash: str, now: datetime) -> ActionRequest:
    """Insert the request and everything its first rung needs.

    The request goes in first, so that the unique keys find a replay or a
    duplicate before anything else is written.

    Raises IntegrityError for those.
    """
    request = _row(draft, idempotency_key=idempotency_key, body_hash=body_hash, now=now)
    people = tables.people_for([draft.policy.rows[draft.row]], now=now)
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
    if draft.resource_key:
        request.resource = _locked_resource(draft.resource_key)
    climb = Climb(request=request, policy=draft.policy, people=people, act=act, writes=writes)
    climb.open_first()
    climb.settle()
    writes.moved.clear()  # the row is inserted as it now is
    bulk.give_keys([request, *writes.cases, *writes.steps, *writes.asks])
    with bulk.in_one_go():
        bulk.insert([request])
        writes.save()
    if request.due_at is not None:
        wake_clock(request.due_at)
    return request


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
        counterparty=_counterparty(draft),
        business_key=draft.business_key,
        severity=draft.severity,
        impact=draft.impact,
        on_behalf_of=draft.on_behalf_of,
        digest=draft.digest(),
        justification=asked.justification,
        source_run_id=asked.run_id,
        source_url=asked.source_url,
        callback_url=asked.callback_url,
        needed_by=asked.needed_by,
        supersedes=draft.supersedes,
        policy_id=draft.policy.pk,
        matrix_row_id=draft.row,
        routed_amount=money.value if money else None,
        quorum=draft.policy.rows[draft.row].quorum,
        person_present=draft.action.reversal == ActionType.Reversal.NONE,
        submitted_at=now,
    )
    return row


def _locked_resource(key: str) -> Resource:
    """Return the Resource of this key, made if need be, with its lock held."""
    resource = Resource(key=key)
    if bulk.insert_missing(resource):
        return resource  # nobody else can see it before we commit, so nobody else can lock it
    resource = Resource.objects.get(key=key)
    lock_resources([resource.pk])
    return resource


def _counterparty(draft: Draft) -> str:
    if not draft.action.counterparty_pointer:
        return ""
    found = templating.at_pointer(draft.asked.payload, draft.action.counterparty_pointer)
    return templating.same(str(found or ""))[:200]


def _check_urgency(credential: AgentCredential, asked: Asked, now: datetime) -> None:
    if asked.needed_by is None:
        return
    if Scope.URGENT not in credential.scopes:
        raise NotAllowed("This credential may not set needed_by: it lacks the scope urgent.")
    if asked.needed_by <= now:
        raise Unprocessable("needed_by has passed.")
    raise submission.NotAvailable("needed_by is not acted on yet. Send the request without it.")


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
    alerts.raise_alert(
        kind="no-route", key=f"{asked.department} {asked.action}", text=f"Refused: {text}", now=now
    )


def _refuse(problem: Exception, draft: Draft | None, now: datetime) -> None:
    """Say who was first, where the database found a duplicate effect. Anything else is a defect."""
    # Named by its constraint on PostgreSQL, by its column on SQLite.
    if draft is None or not any(name in str(problem) for name in ONE_LIVE_EFFECT):
        return
    live = (
        ActionRequest.objects.filter(business_key=draft.business_key)
        .exclude(state__in=WITHOUT_EFFECTS)
        .first()
    )
    if live is not None:
        raise DuplicateEffect(
            f"{live.ref} already asks for this and is {live.get_state_display().lower()}.",
            ref=live.ref,
        ) from problem
    raise DuplicateEffect(
        "A request for this ended at this very moment. Send yours again."
    ) from problem


def record_refusal(*, actor: str, refusal: Refused, facts: dict[str, Any], now: datetime) -> None:
    """Keep what was refused in the ledger: the only trace a refused submission leaves."""
    with transaction.atomic():
        act = Act(now=now, actor=actor)
        act.record_named(
            Chain.SYSTEM, "submission.refused", problem=refusal.problem,
            detail=wording.plain(refusal.detail, 300), **facts,
        )  # fmt: skip
        act.write()
