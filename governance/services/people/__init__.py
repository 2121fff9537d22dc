"""People as they change: the only writer of absences, limits, roles, lines, owners and rosters.

What one person does alone: absences. Everything else is asked for by an
administrator and confirmed by a second one.
"""

from __future__ import annotations

from governance.services.people.absences import (
    cancel_absence,
    enter_absences,
    set_absence,
    shorten_absence,
)
from governance.services.people.changes import (
    ask_for_change,
    confirm_change,
    lapse_change,
    refuse_change,
    withdraw_change,
)

__all__ = [
    "ask_for_change",
    "cancel_absence",
    "confirm_change",
    "enter_absences",
    "lapse_change",
    "refuse_change",
    "set_absence",
    "shorten_absence",
    "withdraw_change",
]
