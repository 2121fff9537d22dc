"""How what was done is made good, as pure choices: retry, compensate, restore; and how long to wait.

Source: runbook, "Rollback Patterns"; DESIGN 5.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from governance.models import ActionType
from rollback.models import Recovery

FIRST_WAIT_S = 2.0  # real seconds before the second attempt
LONGEST_WAIT_S = 300.0
_MISSING = object()

Pattern = Recovery.Pattern
State = dict[str, Any]


def choose(*, undoing: bool, reversal: str) -> Recovery.Pattern | None:
    """Return the pattern that makes a failure or an order good; None where only a person can.

    Args:
        undoing: what was done is to be taken back; otherwise it is to go on.
        reversal: the action type's.
    """
    if not undoing:
        return Pattern.RETRY
    return {
        ActionType.Reversal.COMPENSATE: Pattern.COMPENSATE,
        ActionType.Reversal.RESTORE: Pattern.RESTORE,
    }.get(ActionType.Reversal(reversal))


def wait_s(attempt: int, *, chance: float, asked_s: float | None = None) -> float:
    """Return the real seconds to wait after failed attempt number `attempt`, from 1.

    Twice as long each time up to five minutes, of which at least half; the rest
    is chance, so that many who failed together do not come back together.

    Args:
        chance: at least 0, below 1.
        asked_s: what the target asked for. Never less than that.
    """
    longest: float = min(FIRST_WAIT_S * 2 ** (min(attempt, 20) - 1), LONGEST_WAIT_S)
    return max(longest * (0.5 + chance / 2), asked_s or 0.0)


class Drift(NamedTuple):
    """One field that somebody else has touched since we left the record."""

    record: str
    field: str
    snapshot: Any
    left: Any
    now: Any


class Comparison(NamedTuple):
    """A record now, as we left it, and in the snapshot."""

    nothing_to_do: bool  # it is as it was before
    drift: tuple[Drift, ...]

    @property
    def may_restore(self) -> bool:
        return not self.nothing_to_do and not self.drift


def compare(
    record: str, *, now: State | None, left: State | None, before: State | None
) -> Comparison:
    """Compare a record three ways: put back what nobody else touched; the rest is for a person.

    Args:
        now: as the target holds it; None if it is gone.
        left: as our write left it; None if that is not known, and then nothing
            but the snapshot itself can be told from somebody else's work.
        before: None if it was not there. Nothing here takes a record away
            again, so all that stands in one since is for a person.
    """
    if now == before or (before is None and not now):
        return Comparison(True, ())
    if before is None:
        before = left = {}
    elif now is not None and left is not None and now == left:
        return Comparison(False, ())
    ours = left if left is not None else before
    drift = tuple(
        Drift(
            record,
            name,
            before.get(name),
            None if left is None else left.get(name),
            None if now is None else now.get(name),
        )
        for name in sorted({*before, *ours, *(now or {})})
        if now is None or now.get(name, _MISSING) != ours.get(name, _MISSING)
    )
    return Comparison(False, drift)
