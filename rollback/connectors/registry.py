"""Which connector an action type names, and what it is told of a request."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from decimal import Decimal, InvalidOperation
from typing import Any

from django.utils.module_loading import import_string

from approvals import templating
from approvals.checks import records_to_read
from approvals.models import ActionRequest
from governance.definitions import secrets
from governance.models import ActionType
from rollback.connectors.base import Action, Connector, Json, Reversals

# By the name in ActionType.connector: a class whose instances are made from an ActionType.
KINDS = {
    "http": "rollback.connectors.http.HttpConnector",
    "netsuite": "rollback.connectors.netsuite.NetSuiteConnector",
    "tryton": "rollback.connectors.tryton.TrytonConnector",
}


def connector_for(action_type: ActionType) -> Connector:
    """Return the connector of an action type. Nothing is called.

    Raises LookupError if no connector of that name exists.
    """
    found: Connector = _kind(action_type)(action_type)
    return found


def problems(action_type: ActionType) -> Sequence[str]:
    """Return, in sentences, why an action type could not run or be undone. Nothing is called."""
    try:
        kind: Reversals = _kind(action_type)
    except LookupError as problem:
        return [str(problem.args[0])]
    hidden = [
        f"Its connector's configuration, {each.place}: {each.words}"
        for each in secrets.found_in(action_type.connector_config)
    ]
    if hidden:
        return hidden  # and nothing else: what a schema says of a value quotes it
    example = example_of(action_type)
    wrong: list[str] = []
    read: list[str] = []
    try:
        read = records_to_read(action_type, example.payload, with_facts=True)
    except (AttributeError, KeyError, TypeError) as problem:  # somebody's configuration, as typed
        wrong.append(f"Its basis or its facts are not of a form that can be read: {problem}.")
    found = kind.problems(
        action_type.connector_config,
        reversal=action_type.reversal,
        code=action_type.reversal_code,
        example=example,
        records=records_of(action_type.snapshot_plan, example.payload),
        read=read,
    )
    return found or wrong  # its kind says it better, as a place in the configuration


def action_of(request: ActionRequest) -> Action:
    """Return what was approved, as its connector needs it."""
    return Action(
        key=request.action_type.key,
        payload=request.payload,
        amount=request.amount,
        currency=request.currency,
        business_key=request.business_key,
    )


def records_of(plan: Sequence[str], payload: Json) -> list[str]:
    """Return the keys of a snapshot plan's records, spelled as the payload spells them."""
    return [templating.exact(template, payload) for template in plan]


def _kind(action_type: ActionType) -> Any:
    kind = KINDS.get(action_type.connector)
    if kind is None:
        raise LookupError(f"There is no connector “{action_type.connector}”.")
    return import_string(kind)


def example_of(action_type: ActionType) -> Action:
    """Return the action of a type's example, as if it had been approved."""
    example = action_type.example if isinstance(action_type.example, dict) else {}
    payload = example.get("payload", {})
    amount, currency = None, ""
    said = action_type.amount_pointer and templating.at_pointer(payload, action_type.amount_pointer)
    if isinstance(said, dict):
        # An example without an amount: a template that needs it says so.
        with contextlib.suppress(KeyError, TypeError, InvalidOperation):
            amount, currency = Decimal(said["value"]), str(said["currency"])
    return Action(
        key=action_type.key,
        payload=payload,
        amount=amount,
        currency=currency,
        business_key=templating.key(action_type.business_key, payload),
    )
