"""Which connector an action type names, and what it is told of a request."""

from __future__ import annotations

from django.utils.module_loading import import_string

from approvals.models import ActionRequest
from governance.models import ActionType
from rollback.connectors.base import Action, Connector

# By the name in ActionType.connector: a class whose instances are made from an ActionType.
KINDS = {"http": "rollback.connectors.http.HttpConnector"}


def connector_for(action_type: ActionType) -> Connector:
    """Return the connector of an action type. Nothing is called.

    Raises LookupError if no connector of that name exists.
    """
    kind = KINDS.get(action_type.connector)
    if kind is None:
        raise LookupError(f"There is no connector “{action_type.connector}”.")
    found: Connector = import_string(kind)(action_type)
    return found


def action_of(request: ActionRequest) -> Action:
    """Return what was approved, as its connector needs it."""
    return Action(
        key=request.action_type.key,
        payload=request.payload,
        amount=request.amount,
        currency=request.currency,
        business_key=request.business_key,
    )
