"""Records as they were before the first write, as we left them, and what somebody else changed since."""

from __future__ import annotations

import json
from typing import Any

from governance import wording
from rollback.panel.reading import Reading
from rollback.panel.shapes import Change, Records

SHOWN = 40
VALUE_LENGTH, NAME_LENGTH = 120, 60
Drifted = dict[str, dict[str, dict[str, Any]]]  # by record and field


def records(reading: Reading) -> Records:
    """Return the fields that we changed, and those that drifted."""
    if not reading.snapshots:
        return Records()
    drift, rows = _drift(reading), []
    for snapshot in reading.snapshots:
        before = snapshot.before if isinstance(snapshot.before, dict) else {}
        left = snapshot.after if isinstance(snapshot.after, dict) else None
        own = drift.get(snapshot.record, {})
        shown = wording.plain(snapshot.record, VALUE_LENGTH)
        # Not in the target's order: PostgreSQL keeps none within a JSON object.
        for name in sorted({*before, *(left or {}), *own}):
            if left is not None and before.get(name) == left.get(name) and name not in own:
                continue
            rows.append(
                Change(
                    record=shown,
                    field=wording.plain(str(name), NAME_LENGTH).replace("_", " "),
                    before=_value(before, name),
                    left="not written yet" if left is None else _value(left, name),
                    now=_said(own[name].get("now")) if name in own else "",
                    drift=name in own,
                )
            )
            shown = ""
    taken = min(each.taken_at for each in reading.snapshots)
    return Records(
        words=f"Read at {reading.at_seconds(taken)}, before the first write.",
        changes=tuple(rows[:SHOWN]),
        more=max(0, len(rows) - SHOWN),
        drifted=sum(row.drift for row in rows),
    )


def _drift(reading: Reading) -> Drifted:
    found: Drifted = {}
    for each in reading.recovery.drift if reading.recovery is not None else []:
        if isinstance(each, dict):
            record, name = str(each.get("record", "")), str(each.get("field", ""))
            found.setdefault(record, {})[name] = each
    return found


def _value(state: dict[str, Any], name: str) -> str:
    return _said(state[name]) if name in state else "not there"


def _said(value: object) -> str:
    match value:
        case None:
            return "nothing"
        case bool():
            return "Yes" if value else "No"
        case str():
            return wording.plain(value, VALUE_LENGTH) or "empty"
        case int() | float():
            return str(value)
    return wording.plain(json.dumps(value, ensure_ascii=False, sort_keys=True), VALUE_LENGTH)
