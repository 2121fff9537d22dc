"""What a state is called, and the pill it is shown in."""

from __future__ import annotations

from approvals.models import ActionRequest
from approvals.story.reading import Reading

S = ActionRequest.State


def state_pill(request: ActionRequest, *, is_mine: bool = False) -> tuple[str, str, str]:
    """Return how a state is shown: words, kind and shape of its pill."""
    if request.state == S.PENDING:
        return ("Waiting for you", "open", "clock") if is_mine else ("Pending", "", "clock")
    words = str(request.get_state_display())
    if request.state == S.APPROVED:
        return "Approved, not begun", "good", "check"
    if request.state in (S.COMPLETED, S.COMPLETED_MANUALLY):
        return words, "good", "check"
    if request.state in (S.REJECTED, S.DENIED):
        return words, "bad", "x"
    if request.state == S.EXPIRED:
        return ("Lapsed" if request.end_reason == "lapsed" else words), "bad", "hourglass"
    if request.state == S.STRANDED:
        return words, "bad", "triangle-alert"
    if request.state in (S.BLOCKED, S.HELD, S.TROUBLED):
        return words, "warn", "pause"
    return words, "", "circle-dashed"


def state_of(reading: Reading) -> tuple[str, str, str]:
    """Return how the state is shown to this reader: words, kind and shape of its pill."""
    request = reading.request
    if request.state == S.PENDING:
        if reading.mine is not None:
            return (
                ("Passing on", "", "hourglass")
                if reading.over
                else ("Waiting for you", "open", "clock")
            )
        who = reading.who_is_asked
        return (f"With {who}" if who else "Pending", "", "clock")
    return state_pill(request)


def ended_word(request: ActionRequest) -> str:
    """Say how a request ended."""
    if request.state == S.EXPIRED:
        return "Lapsed" if request.end_reason == "lapsed" else "Closed as expired"
    if request.state == S.WITHDRAWN:
        return "Withdrawn by the agent"
    return str(request.get_state_display())
