"""Units, one line each: how it stands, under which key, what the target calls it, what was tried."""

from __future__ import annotations

from datetime import datetime

from django.utils.dateparse import parse_datetime

from approvals.models import ActionRequest
from governance import wording
from governance.models import ActionType
from rollback.models import Direction, Run, Unit
from rollback.panel.reading import IN_TARGET, Reading
from rollback.panel.shapes import Attempt, Line

S = ActionRequest.State
U = Unit.State
NAME_LENGTH, KEY_LENGTH, REFERENCE_LENGTH, SAID_LENGTH = 200, 500, 120, 200


def line(reading: Reading, unit: Unit) -> Line:
    """Return one unit as it is shown."""
    kind, icon, result = _result(reading, unit)
    how, reference = _how(unit)
    return Line(
        n=unit.position,
        name=wording.plain(unit.name, NAME_LENGTH),
        key=wording.plain(unit.key, KEY_LENGTH),
        kind=kind,
        icon=icon,
        how=how,
        reference=reference,
        result=result,
        amount=unit.amount,
        currency=unit.currency,
        tries=_tries(reading, unit),
        is_here=kind in ("here", "doubt") or (kind == "failed" and _is_tried_again(reading, unit)),
    )


def attempt(reading: Reading, run: Run) -> Attempt:
    """Return one run as it is shown."""
    what = "Undo" if run.direction == Direction.UNDO else "Forward"
    began = reading.at_seconds(run.started_at)
    times = f"{began} to {reading.at_seconds(run.ended_at)}" if run.ended_at else f"since {began}"
    icon, ended = {
        Run.State.RUNNING: ("loader", "at work"),
        Run.State.FINISHED: ("check", "did what it came for"),
        Run.State.FAILED: ("x", "stopped"),
        Run.State.LOST: ("hourglass", "fell silent, and another went on"),
    }[Run.State(run.state)]
    said = wording.plain(run.error, SAID_LENGTH)
    return Attempt(icon, f"{what}, attempt {run.attempt}: {ended}", times, said)


def _how(unit: Unit) -> tuple[str, str]:
    """Return what is certain about a unit, and the target's reference for it."""
    receipt = unit.receipt if isinstance(unit.receipt, dict) else {}
    reference = wording.plain(str(receipt.get("reference") or ""), REFERENCE_LENGTH)
    if unit.state in (U.DONE, U.REVERSED):
        if unit.probed:
            return f"answer was lost; asked by key, found{' as' if reference else ''}", reference
        verb = "undone" if unit.direction == Direction.UNDO else "created"
        return (f"{verb} as" if reference else ""), reference
    if unit.state == U.UNKNOWN:
        return "no answer came, so only the target can tell", ""
    if unit.state == U.NOT_DONE and unit.direction == Direction.UNDO:
        return "the target does not have it, so nothing was taken back", ""
    if unit.state == U.NOT_DONE:
        return "the target does not have it, so it was not written", ""
    return "", ""


def _result(reading: Reading, unit: Unit) -> tuple[str, str, str]:
    """Return how a unit stands: kind, shape and words."""
    tries = f", {wording.plural(unit.attempts, 'try', 'tries')}" if unit.attempts > 1 else ""
    match unit.state:
        case U.DONE:
            return "done", "check", _checkpoint(reading, unit)
        case U.REVERSED:
            when = f" at {reading.at_seconds(unit.reversed_at)}" if unit.reversed_at else ""
            return "reversed", "undo-2", f"Taken back{when}"
        case U.SENT:
            when = f" {reading.at_seconds(unit.sent_at)}" if unit.sent_at else ""
            return "here", "loader", f"Sent{when}, no answer yet"
        case U.UNKNOWN:
            return "doubt", "triangle-alert", f"Outcome unknown{tries}"
        case U.NOT_DONE:
            return "failed", "x", f"Failed{tries}"
    if unit.direction == Direction.UNDO:
        return _staged(reading, unit)
    over = reading.went_back or not reading.request.is_open
    return "wait", "", "Never sent" if over else "Not started"


def _staged(reading: Reading, unit: Unit) -> tuple[str, str, str]:
    """Say of a reversal that was not sent whether it will be, and why not."""
    original = next((each for each in reading.forward if each.pk == unit.reverses_id), None)
    if original is not None and original.state == U.REVERSED:
        return "kept", "check", "Not needed: the record is as it was before"
    if _planned(reading).get(unit.position) == "leave":
        return "kept", "hand", "Left for a person: somebody else changed it"
    if original is not None and original.state not in IN_TARGET:
        if reading.request.is_open and not reading.went_back:
            return "wait", "", "Staged"
        return "kept", "circle-dashed", "Nothing to take back"
    if not reading.went_back:
        restores = reading.request.action_type.reversal == ActionType.Reversal.RESTORE
        return "wait", "", "Staged, from the snapshot" if restores else "Staged"
    return "wait", "", "Not started" if reading.request.is_open else "Never sent"


def _planned(reading: Reading) -> dict[int, str]:
    """Return how the last recovery takes back each unit, by position."""
    plan = reading.recovery.plan if reading.recovery is not None else []
    return {
        each["unit"]: str(each.get("how", ""))
        for each in plan
        if isinstance(each, dict) and isinstance(each.get("unit"), int)
    }


def _checkpoint(reading: Reading, unit: Unit) -> str:
    if unit.done_at is None:
        return "Checkpoint"
    words = f"Checkpoint {reading.at_seconds(unit.done_at)}"
    if unit.probed:
        return f"{words} · after a probe"
    if unit.sent_at is not None and unit.done_at >= unit.sent_at:
        return f"{words} · {wording.duration(unit.done_at - unit.sent_at)}"
    return words


def _tries(reading: Reading, unit: Unit) -> tuple[str, ...]:
    """Say each failed try, the wait before it, and when the next one is."""
    lines: list[str] = []
    before: datetime | None = None
    for each in unit.tries if isinstance(unit.tries, list) else []:
        when = _instant(each)
        if when is None:
            continue
        waited = f", waited {wording.duration(when - before)}" if before else ""
        said = wording.plain(str(each.get("said", "")), SAID_LENGTH).rstrip(".")
        lines.append(f"{reading.at_seconds(when)} {said}{waited}")
        before = when
    if lines and _is_tried_again(reading, unit):
        following = reading.request.next_try_at
        lines.append(
            f"{reading.at_seconds(following)} the next try"
            if following is not None
            else "No further automatic try is planned"
        )
    return tuple(lines)


def _is_tried_again(reading: Reading, unit: Unit) -> bool:
    """Whether the request is still about to do what this unit did not."""
    going = S.ROLLING_BACK if unit.direction == Direction.UNDO else S.TROUBLED
    return reading.request.state == going and unit.state in (U.NOT_DONE, U.UNKNOWN)


def _instant(each: object) -> datetime | None:
    if not isinstance(each, dict):
        return None
    try:
        found = parse_datetime(str(each.get("at", "")))
    except ValueError:
        return None
    return found if found is not None and found.tzinfo is not None else None
