"""A company of five in an empty database: an agent asks, one approves, two order that it be undone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from approvals import templating
from approvals.models import ActionRequest
from approvals.services.decide import decide
from approvals.services.orders import order_rollback
from approvals.services.submit import submit
from governance.models import (
    ActionType,
    Agent,
    AgentCredential,
    Department,
    MatrixRow,
    Person,
    PolicyVersion,
    Role,
)
from governance.services.policy.drafts import fill
from governance.vocabulary import Duty, Scope, Verdict
from rollback.connectors.base import CannotRun, Json

PREFIX = "drill~"  # of every key that a rehearsal sends under
# What an action type is, beside what it does.
NOT_DEFINED = ("id", "state", "created_at", "drill_due_at", "entered_by")
LIMIT = Decimal(10) ** 15
WHY = "A rehearsal: what was done is found to be wrong."


def definition_of(action_type: ActionType) -> Json:
    """Return all that says what an action type does, as JSON. What is rehearsed is this."""
    found = {
        field.attname: getattr(action_type, field.attname)
        for field in ActionType._meta.concrete_fields
        if field.name not in NOT_DEFINED
    }
    return {**found, "sla": int(action_type.sla.total_seconds())}


@dataclass(frozen=True)
class Stage:
    """One action type in production, and whoever it takes to have it done and undone."""

    action_type: ActionType
    credential: AgentCredential
    policy: int  # primary key
    approver: Person
    operators: tuple[Person, ...]

    def approved(self, payload: Json, *, now: datetime) -> ActionRequest:
        """Ask for it as an agent does, and have it approved."""
        body = {
            "action": self.action_type.key,
            "department": _department(self.action_type.example),
            "payload": payload,
        }
        request = submit(
            credential=self.credential,
            policy=self.policy,
            idempotency_key=f"{PREFIX}{ActionRequest.objects.count()}",
            body=body,
            now=now,
        ).request
        return decide(
            ref=request.ref, actor=self.approver, verdict=Verdict.APPROVE, digest=request.digest,
            now=now,
        )  # fmt: skip

    def order_undo(self, ref: str, *, now: datetime) -> None:
        """Have one operator order that it be undone, and the other confirm it where that is needed."""
        for operator in self.operators[: 2 if self.action_type.is_financial else 1]:
            order_rollback(ref=ref, actor=operator, reason=WHY, now=now)


def build(definition: Mapping[str, Any], *, now: datetime) -> Stage:
    """Put an action type on stage. The database is empty."""
    example = definition["example"]
    name = _department(example)
    department = Department.objects.create(key=name, name=name)
    currency = _currency(definition)
    limit = {"limit_amount": LIMIT, "limit_currency": currency} if currency else {}
    owner, approver = _person("owner"), _person("approver", **limit)
    role = Role.objects.create(key=Duty.OPERATOR, name="Operator")
    operators = tuple(_person(name) for name in ("operator", "second_operator"))
    for each in operators:
        each.roles.add(role)
    agent = Agent.objects.create(name="agent", owner=owner)
    return Stage(
        action_type=_action_type(definition, now),
        credential=AgentCredential.objects.create(
            agent=agent, prefix="drill", digest="", created_at=now, departments=[department.key],
            actions=[definition["key"]], scopes=[Scope.SUBMIT],
        ),
        policy=_policy(department, approver, currency, now),
        approver=approver,
        operators=operators,
    )  # fmt: skip


def _action_type(definition: Mapping[str, Any], now: datetime) -> ActionType:
    """Enter it under keys of its own. That it counts as rehearsed lets it be approved without a factor."""
    action_type: ActionType = ActionType(
        **{
            **definition,
            "sla": timedelta(seconds=definition["sla"]),
            "business_key": f"{PREFIX}{definition['business_key']}",
        },
        created_at=now,
        drill_due_at=datetime.max.replace(tzinfo=now.tzinfo),
    )
    action_type.pass_tests()
    action_type.promote()
    action_type.save()
    return action_type


def _policy(department: Department, approver: Person, currency: str, now: datetime) -> int:
    policy = PolicyVersion.objects.create(number=1, created_at=now)
    fill(policy)
    MatrixRow.objects.create(
        version=policy, number=1, department=department, approver_person=approver,
        currency=currency, amount_from=0 if currency else None,
    )  # fmt: skip
    policy.activate()
    policy.activated_at, policy.activated_by = now, approver
    policy.save()
    return int(policy.pk)


def _person(username: str, **more: Any) -> Person:
    return Person.objects.create(username=username, name=username.replace("_", " "), **more)


def _department(example: Any) -> str:
    """Raises CannotRun where the example is no body of a submission."""
    name = example.get("department") if isinstance(example, dict) else None
    if not isinstance(name, str) or not isinstance(example.get("payload"), dict):
        raise CannotRun("Its example is no submission: it names no department, or has no payload.")
    return name[:60]


def _currency(definition: Mapping[str, Any]) -> str:
    pointer = definition["amount_pointer"]
    said = pointer and templating.at_pointer(definition["example"]["payload"], pointer)
    return str(said.get("currency", "")) if isinstance(said, dict) else ""
