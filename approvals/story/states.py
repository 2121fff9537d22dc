"""What a state is called, and the pill it is shown in."""

from __future__ import annotations

from approvals.models import ActionRequest
from approvals.story.reading import Reading

S = ActionRequest.State
PILLS = {
    S.EXECUTING: ("open", "loader"),
    S.COMPLETED: ("good", "check"),
    S.COMPLETED_MANUALLY: ("good", "check"),
    S.REJECTED: ("bad", "x"),
    S.DENIED: ("bad", "x"),
    S.TROUBLED: ("bad", "triangle-alert"),
    S.STRANDED: ("bad", "triangle-alert"),
    S.ROLLING_BACK: ("warn", "undo-2"),
    S.ROLLED_BACK: ("", "undo-2"),
    S.BLOCKED: ("warn", "pause"),
    S.HELD: ("warn", "pause"),
}
# What an expired request is called, by the reason it ended for.
EXPIRED = {
    "lapsed": "Lapsed",
    "target": "Not carried out",
    "basis_changed": "Basis changed",
    "queue": "Waited in vain",
}
# States in which something is, was or is about to be done in the target.
CARRIED_OUT = (
    S.APPROVED, S.EXECUTING, S.TROUBLED, S.ROLLING_BACK, S.COMPLETED, S.COMPLETED_MANUALLY,
    S.ROLLED_BACK, S.STRANDED,
)  # fmt: skip


def has_execution(request: ActionRequest) -> bool:
    """Whether its page has something to tell of how it is carried out."""
    interrupted = request.state in (S.BLOCKED, S.EXPIRED, S.DENIED, S.WITHDRAWN)
    return (
        request.state in CARRIED_OUT
        or request.had_effects
        or (interrupted and request.approved_at is not None)
    )


def state_pill(request: ActionRequest, *, is_mine: bool = False) -> tuple[str, str, str]:
    """Return how a state is shown: words, kind and shape of its pill."""
    if request.state == S.PENDING:
        return ("Waiting for you", "open", "clock") if is_mine else ("Pending", "", "clock")
    words = str(request.get_state_display())
    if request.state == S.APPROVED:
        return "Approved, not begun", "good", "check"
    if request.state == S.EXPIRED:
        return EXPIRED.get(request.end_reason, words), "bad", "hourglass"
    kind, icon = PILLS.get(S(request.state), ("", "circle-dashed"))
    return words, kind, icon


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
        return EXPIRED.get(request.end_reason, "Closed as expired")
    if request.state == S.WITHDRAWN:
        return "Withdrawn by the agent"
    return str(request.get_state_display())
