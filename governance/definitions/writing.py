"""A version as a document."""

from __future__ import annotations

import hashlib
import json
from typing import Any

from governance.definitions.shape import ADDED_LATER, DEFAULTS, FIELDS
from governance.models import ActionType


def document_of(action_type: ActionType) -> dict[str, Any]:
    """Return what a version says, field by field in the order of the form, JSON types only."""
    found = {name: getattr(action_type, name) for name in FIELDS if name != "sla_seconds"} | {
        "sla_seconds": int(action_type.sla.total_seconds())
    }
    return {name: _plain(found[name]) for name in FIELDS}


def text_of(document: dict[str, Any]) -> str:
    """Write a document for people to edit."""
    return json.dumps(document, indent=2, ensure_ascii=False)


def digest_of(document: dict[str, Any]) -> str:
    """Return the SHA-256, in hex, by which the record names a definition: of its JSON with sorted keys."""
    text = json.dumps(as_recorded(document), sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def as_recorded(document: dict[str, Any]) -> dict[str, Any]:
    """Return what of a document its digest covers: all of it, but for newer fields that say nothing."""
    return {
        name: value
        for name, value in document.items()
        if name not in ADDED_LATER or value != DEFAULTS[name]
    }


def _plain(value: Any) -> Any:
    """Return choices as their values, tuples as lists: as the database gives them back."""
    return json.loads(json.dumps(value))
