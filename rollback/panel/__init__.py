"""What was done of a request and what is undone of it, in words, for the panel on its page.

It reads and says; nothing here changes anything. All that a target or an agent
wrote goes through `wording.plain`, so that templates only escape it.
"""

from __future__ import annotations

from datetime import datetime, tzinfo

from approvals.models import ActionRequest
from governance.models import Person
from rollback.panel.hands import hands
from rollback.panel.lines import attempt, line
from rollback.panel.offers import offer
from rollback.panel.reading import Reading
from rollback.panel.records import records
from rollback.panel.shapes import Panel
from rollback.panel.stages import stages
from rollback.panel.summary import summary

__all__ = ["Panel", "panel_of"]

S = ActionRequest.State
SOON_S, LATER_S = 2, 20
ATTEMPTS_SHOWN = 30
HEADS = {S.ROLLING_BACK: "Undoing", S.ROLLED_BACK: "The undo", S.STRANDED: "The undo"}


def panel_of(request: ActionRequest, *, reader: Person, now: datetime, zone: tzinfo) -> Panel:
    """Return the panel of a request, in a fixed number of queries.

    Args:
        request: with `action_type`, `agent` and `department` loaded.
        now: business time, UTC.
    """
    reading = Reading(request, reader, now, zone)
    return Panel(
        stages=stages(reading),
        summary=summary(reading),
        units=tuple(line(reading, unit) for unit in reading.forward),
        staged=tuple(line(reading, unit) for unit in reading.back),
        staged_head=HEADS.get(S(request.state), "What an undo would do"),
        staged_words=(
            "The last unit first, each under its own key."
            if reading.went_back
            else "Sent only if it is ordered, the last unit first."
        ),
        is_undoing=reading.went_back,
        attempts=tuple(attempt(reading, run) for run in reading.runs[-ATTEMPTS_SHOWN:]),
        records=records(reading),
        offer=offer(reading),
        hands=hands(reading),
        pulse_s=_pulse(reading),
    )


def _pulse(reading: Reading) -> int:
    state = reading.request.state
    if state in (S.APPROVED, S.EXECUTING, S.TROUBLED, S.ROLLING_BACK):
        return SOON_S
    if state in (S.COMPLETED, S.COMPLETED_MANUALLY, S.BLOCKED):
        return SOON_S if reading.order is not None else LATER_S
    return LATER_S if state == S.STRANDED else 0
