"""What a payload would come to: the exact calls, their keys, their reversals, and what is read first.

Pure: nothing is called and nothing is stored. It is made with the code that
submission and the worker use, so that it cannot say what they would not do.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from approvals import templating
from approvals.checks import basis_of, records_to_read
from approvals.services import submission
from governance.errors import Unprocessable
from governance.models import ActionType
from governance.vocabulary import Impact
from rollback.connectors.base import AS_READ, Action, Call, Connector, Json, Plan
from rollback.connectors.registry import records_of


class CannotTry(Unprocessable):
    """This payload comes to no calls."""

    problem, title = "cannot-try", "No calls can be made of this"


class Undo(NamedTuple):
    """How one unit would be taken back."""

    name: str
    key: str
    calls: Sequence[Call]
    why_not: str = ""  # why its call is not known before


class TriedUnit(NamedTuple):
    n: int
    plan: Plan
    key: str
    calls: Sequence[Call]
    undo: Undo | None  # None: nothing takes it back


class Look(NamedTuple):
    """One record that is read."""

    record: str
    calls: Sequence[Call]
    why: tuple[str, ...]  # "snapshot", "basis", and the names of facts


class Trial(NamedTuple):
    title: str
    money: submission.Money | None
    impact: Impact
    resource_key: str
    business_key: str
    generation: int
    reads: Sequence[Look]
    units: Sequence[TriedUnit]


def try_out(
    action_type: ActionType,
    payload: Json,
    connector: Connector,
    *,
    generation_of: Callable[[str], int],
) -> Trial:
    """Return what this payload would come to, were it approved now.

    Args:
        generation_of: how many requests of a business key had effects before.

    Raises:
        PayloadOffSchema: with every place that does not fit.
        BadAmount: its amount is none.
        Unprocessable: it has no key.
        CannotTry: the connector can make no calls of it. The sentence says why.
    """
    submission.check_payload(action_type, payload)
    money = submission.amount_of(action_type, payload)
    keys = submission.keys_of(action_type, payload, money)
    generation = generation_of(keys.business)
    action = Action(
        key=action_type.key,
        payload=payload,
        amount=money.value if money else None,
        currency=money.currency if money else "",
        business_key=keys.business,
    )
    prefix = f"{keys.business}~{generation}"
    try:
        reads = _reads(action_type, payload, connector)
        units = [
            _unit(n, plan, action_type, action, connector, prefix)
            for n, plan in enumerate(connector.units(action), start=1)
        ]
    except ValueError as problem:
        raise CannotTry(str(problem)) from problem
    return Trial(
        submission.title_of(action_type, payload, money),
        money,
        submission.impact_of(action_type, money),
        keys.resource,
        keys.business,
        generation,
        reads,
        units,
    )


def _unit(
    n: int,
    plan: Plan,
    action_type: ActionType,
    action: Action,
    connector: Connector,
    prefix: str,
) -> TriedUnit:
    key = f"{prefix}/{n}"
    version = AS_READ if connector.gives.optimistic_locking and plan.record else ""
    calls = connector.calls(plan.body, key=key, version=version)
    undo = _undo(n, plan, action_type, action, connector, prefix) if plan.undo_name else None
    return TriedUnit(n, plan, key, calls, undo)


def _undo(
    n: int,
    plan: Plan,
    action_type: ActionType,
    action: Action,
    connector: Connector,
    prefix: str,
) -> Undo:
    key = f"{prefix}/undo/{n}"
    restores = action_type.reversal == ActionType.Reversal.RESTORE
    try:
        if restores:
            body = connector.restoration(plan.record, connector.specimen_of(plan.record))
        else:
            receipt = connector.specimen(plan.body)
            if receipt is None:
                return Undo(plan.undo_name, key, (), "It is made of what the target answers.")
            body = connector.reversal(action, plan.body, receipt)
        version = AS_READ if restores and connector.gives.optimistic_locking else ""
        calls = connector.calls(body, key=key, version=version)
    except ValueError as problem:
        return Undo(plan.undo_name, key, (), f"It cannot be shown before: {problem}")
    return Undo(plan.undo_name, key, calls)


def _reads(action_type: ActionType, payload: Json, connector: Connector) -> list[Look]:
    why: dict[str, list[str]] = {}
    for record in basis_of(action_type, payload):
        why.setdefault(record, []).append("basis")
    for record in records_to_read(action_type, payload, with_facts=True):
        names = _facts_in(action_type, payload, record)
        why.setdefault(record, []).extend(names)
    for record in records_of(action_type.snapshot_plan, payload):
        why.setdefault(record, []).append("snapshot")
    return [
        Look(record, connector.calls_to_read(record), tuple(reasons))
        for record, reasons in why.items()
    ]


def _facts_in(action_type: ActionType, payload: Json, record: str) -> list[str]:
    declared = action_type.connector_config.get("facts", {})
    return [
        name
        for name, each in declared.items()
        if templating.exact(each["record"], payload) == record
    ]
