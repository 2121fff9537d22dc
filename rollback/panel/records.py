"""Records as they were before the first write, as we left them, and what somebody else changed since."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import unquote

from governance import wording
from rollback.models import Unit
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
    back = {unit.record for unit in reading.forward if unit.state == Unit.State.REVERSED}
    # Every record may have been written by a unit that names none.
    written = any(unit.state == Unit.State.DONE for unit in reading.forward)
    unread = "not read since" if written else "not written yet"
    for snapshot in reading.snapshots:
        before = snapshot.before if isinstance(snapshot.before, dict) else {}
        left = snapshot.after if isinstance(snapshot.after, dict) else None
        own = drift.get(snapshot.record, {})
        otherwise = "as before" if snapshot.record in back else "as we left it"
        shown = wording.plain(unquote(snapshot.record), VALUE_LENGTH)
        # Not in the target's order: PostgreSQL keeps none within a JSON object.
        for name in sorted({*before, *(left or {}), *own}):
            if left is not None and before.get(name) == left.get(name) and name not in own:
                continue
            rows.append(
                Change(
                    record=shown,
                    field=wording.plain(str(name), NAME_LENGTH).replace("_", " "),
                    before=_value(before, name),
                    left=(unread if left is None else _value(left, name)),
                    now=_said(own[name].get("now")) if name in own else otherwise,
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
            return wording.plain(str(value), VALUE_LENGTH)
        case {} if not value:
            return "nothing"
        case []:
            return "none"
        case list():
            return f"{len(value)} of them"
        case dict() if all(isinstance(each, str | int) for each in value.values()):
            pairs = (f"{name} {each}" for name, each in sorted(value.items()))
            return wording.plain(", ".join(pairs), VALUE_LENGTH)
    return wording.plain(json.dumps(value, ensure_ascii=False, sort_keys=True), VALUE_LENGTH)
