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

__all__ = [
    "cancel_absence",
    "enter_absences",
    "set_absence",
    "shorten_absence",
]
