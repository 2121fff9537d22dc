"""The rungs of each path, their default windows, and how a path ends.

Pure tables. A policy version holds its own windows, seeded from these.
Source: runbook, "Escalation Levels"; DESIGN 2.2.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta

from governance.decision_tree import ENTERS_AT
from governance.vocabulary import Level, Path, Response

MINUTES_30 = timedelta(minutes=30)
HOURS_2 = timedelta(hours=2)
HOURS_4 = timedelta(hours=4)
HOUR_1 = timedelta(hours=1)

# L0 has no window here: it is the action type's SLA.
DEFAULT_WINDOWS: dict[tuple[Path, Level], timedelta] = {
    (Path.TIMEOUT, Level.L1): MINUTES_30,
    (Path.TIMEOUT, Level.L2): HOURS_2,
    (Path.TIMEOUT, Level.L3): HOURS_4,
    (Path.TIMEOUT, Level.L4): HOUR_1,
    (Path.REJECTION, Level.L2): HOURS_2,
    (Path.REJECTION, Level.L3): HOURS_4,
    (Path.CONFLICT, Level.L2): HOURS_2,
    (Path.CONFLICT, Level.L3): HOURS_4,
    (Path.CONFLICT, Level.L4): HOUR_1,
    (Path.SYSTEM_FAILURE, Level.L1): MINUTES_30,
    (Path.SYSTEM_FAILURE, Level.L2): HOURS_2,
    (Path.SYSTEM_FAILURE, Level.L3): HOURS_4,
    (Path.SYSTEM_FAILURE, Level.L4): HOUR_1,
    (Path.POLICY_VIOLATION, Level.L2): HOURS_2,
    (Path.POLICY_VIOLATION, Level.L3): HOURS_4,
    (Path.UNDO, Level.L2): HOURS_2,
    (Path.UNDO, Level.L3): HOURS_4,
}

BEGIN_WITHIN = timedelta(minutes=30)  # an approval not begun by then is a failure
BEGIN_WITHIN_PERSON_PRESENT = timedelta(minutes=15)
_TICK = timedelta(microseconds=1)
PING_FIRST_AFTER = 6  # a sixth of the window; each wait after it is twice the one before
LATE_AFTER = (
    10  # a sweep later than a tenth of the new window: the rung begins now, and it is a finding
)

SHORTEST = timedelta(minutes=10)  # no window is cut below this
NEEDED_WITHIN = timedelta(days=7)  # how far ahead an agent may say that something is needed

UNDO_WITHIN = timedelta(minutes=30)  # an undo not done by then is somebody's to look at
READ_WITHIN = timedelta(
    minutes=30
)  # of the submission; a target that cannot be read by then is an alert
RUN_WITHIN = timedelta(minutes=30)  # from the first lease; a run not done by then is a failure
DRILL_COUNTS_FOR = timedelta(days=90)  # a rehearsed undo; then it has to be rehearsed anew
SECOND_WITHIN = timedelta(hours=4)  # an order that waits for a second person lapses then

# Rungs on which nobody is asked: the worker tries again until they end.
AUTOMATIC = frozenset({(Path.SYSTEM_FAILURE, Level.L1)})


def rungs(path: Path, *, critical: bool) -> list[Level]:
    """Return the levels of `path` that can open, lowest first.

    Args:
        critical: the action type is a critical process, which alone opens L4.
    """
    if path == Path.APPROVAL:
        return [Level.L0]
    return sorted(
        level for on, level in DEFAULT_WINDOWS if on == path and (critical or level < Level.L4)
    )


def next_rung(path: Path, level: Level, *, critical: bool) -> Level | None:
    """Return the rung above `level` on `path`, or None where the path ends."""
    return next((rung for rung in rungs(path, critical=critical) if rung > level), None)


def first_rung(path: Path, *, at_least: Level, critical: bool) -> Level | None:
    """Return where `path` begins: at the level the tree says, or the nearest that can open.

    Upwards first. Downwards where nothing above opens, so that a case is never
    left without a clock.
    """
    open_rungs = rungs(path, critical=critical)
    above = [rung for rung in open_rungs if rung >= at_least]
    return above[0] if above else (open_rungs[-1] if open_rungs else None)


def granted(window: timedelta, response: Response, level: Level) -> timedelta:
    """Return the window a rung is given: twice L1's when the tree says to ask again, extended."""
    extended = response == Response.ASK_AGAIN_EXTENDED and level == Level.L1
    return window * 2 if extended else window


def cut(windows: Sequence[timedelta], *, since: datetime, by: datetime) -> list[timedelta]:
    """Return the windows still ahead, cut in proportion where together they pass `by`.

    So that the last rung opens before `by`, with its own share of the time that is
    left; none below `SHORTEST`, or below its own length if that is less. What these
    keep, the others give. Where even so the time is too short, all are that short,
    and the last rung opens as soon as it can. Once `by` has passed nothing is cut:
    there is no time to be gained, and people have theirs.

    Args:
        windows: of the rung that opens at `since`, and of those above it.

    Source: DESIGN 2.2, "In a hurry".
    """
    left = by - since
    if left <= timedelta(0) or sum(windows, timedelta(0)) <= left:
        return list(windows)
    least = [min(window, SHORTEST) for window in windows]
    if sum(least, timedelta(0)) >= left:
        return least
    given = dict(enumerate(windows))  # those that are not cut to the least
    while True:
        kept = (window for n, window in enumerate(least) if n not in given)
        share, whole = left - sum(kept, timedelta(0)), sum(given.values(), timedelta(0))
        # In whole microseconds, and rounded down: the sum never passes `by`.
        parts = {
            n: _TICK * ((window // _TICK) * (share // _TICK) // (whole // _TICK))
            for n, window in given.items()
        }
        short = [n for n, part in parts.items() if part < least[n]]
        if not short:
            return [parts.get(n, window) for n, window in enumerate(least)]
        for n in short:
            del given[n]


def hurried(
    path: Path,
    level: Level,
    window: timedelta,
    *,
    windows: Mapping[tuple[Path, Level], timedelta],
    after_silence: Response,
    since: datetime,
    by: datetime | None,
    critical: bool,
) -> timedelta:
    """Return the window of a rung that opens at `since`, for a request that is needed by `by`.

    What is still ahead of it are the rungs above it on its path; above the first
    ask those of silence, as that is what its clock leads to. Which other paths may
    come nobody knows, and none is allowed for. An undo is not hurried.

    Args:
        window: as it is without a hurry.
        windows: the policy's.
        after_silence: what the decision tree says if nobody first asked answers.
        critical: as for `rungs`.
    """
    if by is None or path == Path.UNDO:
        return window
    if path == Path.APPROVAL:
        above = [
            each
            for each in rungs(Path.TIMEOUT, critical=critical)
            if each >= ENTERS_AT[after_silence]
        ]
        path = Path.TIMEOUT
    else:
        above = [each for each in rungs(path, critical=critical) if each > level]
    ahead = [granted(windows[path, each], after_silence, each) for each in above]
    return cut([window, *ahead], since=since, by=by)[0]


def begins_at(*, due_at: datetime, now: datetime, window: timedelta) -> datetime:
    """Return when the rung after one that ran out begins.

    At the instant the time before it was over, however late the sweep; unless
    the sweep is later than a tenth of the new window, as after an outage: then
    it begins at `now`, so that whoever is asked has the time they are told.
    """
    return now if now - due_at > window / LATE_AFTER else due_at


def ping_wait(window: timedelta, pings: int) -> timedelta:
    """Return how long to wait before ping number `pings` + 1: a sixth of the window, then twice as long each time."""
    return window * (1 << pings) / PING_FIRST_AFTER
