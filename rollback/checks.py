"""What must hold before anything runs: every reversal that is promised can be carried out.

`web`, `clock`, `worker` and every command refuse to start otherwise. Only
`migrate` goes on, for what it brings may be the repair.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.core.checks import CheckMessage, Error, register
from django.db import Error as DatabaseError

from governance.models import ActionType
from rollback.connectors import registry

LIVE = (ActionType.State.TESTED, ActionType.State.PRODUCTION)


def action_types_can_run_and_be_undone(
    *, databases: Sequence[str] | None = None, **options: Any
) -> list[CheckMessage]:
    """Try every live action type's connector on its example. Nothing is called.

    Says nothing while the tables are not there or the database is away, which
    `/readyz` tells, nor to `migrate`: it alone names databases.
    """
    if databases is not None:
        return []
    try:
        live = list(ActionType.objects.filter(state__in=LIVE).order_by("key", "version"))
    except DatabaseError:
        return []
    return [
        Error(
            f"{action_type}: {problem}",
            hint="Retire this version of the action type, or mend its connector.",
            id="rollback.E001",
        )
        for action_type in live
        for problem in registry.problems(action_type)
    ]


def install() -> None:
    """Have Django run the checks of this package."""
    register(action_types_can_run_and_be_undone)
