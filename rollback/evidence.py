"""The evidence of a drill: bounded, in one canonical form, signed with the key that seals the ledger."""

from __future__ import annotations

import json
from typing import Any

from governance import canonical, ledger, seals, wording
from governance.errors import Unprocessable
from rollback.models import Drill

KIND = "drill"
VERSION = 1  # of what the signature covers
STATE_LIMIT = 20_000  # characters of one record, as JSON
TEXT_LIMIT = 2_000
MOST_CALLS = 500


def storable(entry: dict[str, Any]) -> dict[str, Any]:
    """Return the evidence of one point fit to be stored and signed: what has no canonical form as text."""
    kept = {
        name: _plain(value) for name, value in entry.items() if name not in ("records", "calls")
    }
    kept["records"] = [
        {name: _bounded(value) for name, value in record.items()}
        for record in entry.get("records", [])
    ]
    kept["calls"] = _plain(entry.get("calls", [])[:MOST_CALLS])
    return kept


def statement(drill: Drill) -> dict[str, Any]:
    """Return what the signature of a drill covers: what was rehearsed, where, when, and all that was found."""
    return {
        "version": VERSION,
        "drill": drill.pk,
        "action": drill.action_type.key,
        "action_version": drill.action_type.version,
        "definition": drill.definition,
        "target": drill.target,
        "sandbox": drill.sandbox,
        "started_at": ledger.instant(drill.started_at),
        "ended_at": ledger.instant(drill.ended_at) if drill.ended_at else None,
        "units": drill.units,
        "points": drill.points,
        "passed": drill.passed,
        "outcome": drill.outcome,
        "said": drill.said,
        "evidence": drill.evidence,
    }


def sign(drill: Drill) -> None:
    """Sign a drill that has ended. The caller saves."""
    drill.evidence_hash = canonical.digest(statement(drill))
    signature = seals.sign(KIND, drill.evidence_hash)
    drill.key_id, drill.signature = signature.key_id, signature.hex


def flaw_of(drill: Drill) -> str:
    """Return what is wrong with a drill that has ended, as it is stored; "" if it is what was signed."""
    try:
        digest = canonical.digest(statement(drill))
    except Unprocessable:
        digest = ""
    if digest != drill.evidence_hash:
        return "was edited: its content does not give its hash"
    return seals.flaw_of(KIND, drill.evidence_hash, seals.Signature(drill.key_id, drill.signature))


def content_of(drill: Drill) -> list[Any]:
    """Return all that `flaw_of` looks at of a drill."""
    return [statement(drill), drill.evidence_hash, drill.key_id, drill.signature]


def _bounded(value: Any) -> Any:
    found = _plain(value)
    length = len(json.dumps(found))
    if length <= STATE_LIMIT:
        return found
    return {"too_long": f"{length} characters", "sha256": canonical.digest(found)}


def _plain(value: Any) -> Any:
    match value:
        case dict():
            return {wording.plain(str(name), 200): _plain(each) for name, each in value.items()}
        case list() | tuple():
            return [_plain(each) for each in value]
        case str():
            return wording.plain(value, TEXT_LIMIT)
        case float():
            return repr(value)
        case bool() | None:
            return value
        case int():
            return value if abs(value) <= canonical.LARGEST_INT else str(value)
    return wording.plain(str(value), TEXT_LIMIT)
