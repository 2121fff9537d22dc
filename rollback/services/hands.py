"""What a run needs of the world: the time, chance, and how to reach targets. Tests give their own."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

from approvals.models import ActionRequest
from governance.models import ActionType
from rollback.connectors import registry
from rollback.connectors.base import Action, CannotRun, Connector
from rollback.models import Unit


def connector_of(action_type: ActionType) -> Connector:
    """Return an action type's connector.

    Raises CannotRun if there is none.
    """
    try:
        return registry.connector_for(action_type)
    except LookupError as problem:
        raise CannotRun(str(problem.args[0])) from problem


def _never() -> bool:
    return False


def _nothing(point: str, unit: Unit) -> None:
    pass


@dataclass(frozen=True)
class Hands:
    """One worker's.

    Attributes:
        now: business time, read afresh for each transaction: calls lie between them.
        technical: the business span in which so many real seconds pass.
        connector_for: the connector of an action type; CannotRun if there is none.
        chance: at least 0, below 1.
        enough: asked between units; true hands the request back to the next task.
        at: told at the edges of each call, "before_send" and "after_send".
    """

    worker: str
    now: Callable[[], datetime]
    technical: Callable[[float], timedelta]
    connector_for: Callable[[ActionType], Connector] = connector_of
    action_of: Callable[[ActionRequest], Action] = registry.action_of
    chance: Callable[[], float] = random.random
    enough: Callable[[], bool] = _never
    at: Callable[[str, Unit], None] = _nothing
