"""The form of a definition, as a schema: which fields there are, and what each may hold."""

from __future__ import annotations

from typing import Any

from governance.models import ActionType
from governance.vocabulary import Impact, Severity

DIALECT = "https://json-schema.org/draft/2020-12/schema"
END = r"(?![\s\S])"  # "$" would let a line end follow
POINTER = rf"^(/[^\x00-\x1f]*)?{END}"
PLACE = {"type": "string", "pattern": POINTER, "maxLength": 200}
KEY = rf"^[a-z][a-z0-9_-]{{0,59}}{END}"
# Addresses under /actions/ that are no action type's.
RESERVED = ("changes", "drills", "enter", "new")


def _text(longest: int, shortest: int = 0) -> dict[str, Any]:
    return {"type": "string", "minLength": shortest, "maxLength": longest}


def _choice(values: list[Any]) -> dict[str, Any]:
    return {"enum": [str(each) for each in values]}


FACT = {
    "type": "object",
    "required": ["label", "pointer"],
    "additionalProperties": False,
    "properties": {
        "label": _text(80, 1),
        "pointer": PLACE,
        "now": {
            "type": "object",
            "required": ["record", "pointer"],
            "additionalProperties": False,
            "properties": {"record": _text(300, 1), "pointer": PLACE},
        },
    },
}  # fmt: skip
BAND = {
    "type": "object",
    "required": ["from", "currency", "impact"],
    "additionalProperties": False,
    "properties": {
        "from": {"type": "string", "pattern": rf"^(0|[1-9][0-9]{{0,15}})(\.[0-9]{{1,4}})?{END}"},
        "currency": {"type": "string", "pattern": rf"^[A-Z]{{3}}{END}"},
        "impact": _choice(Impact.values),
    },
}
EXAMPLE = {
    "type": "object",
    "required": ["action", "department", "payload"],
    "additionalProperties": False,
    "properties": {
        "action": {"type": "string"},
        "department": _text(60, 1),
        "justification": _text(4000),
        "payload": {"type": "object"},
        "severity": _choice(Severity.values),
        "impact": _choice(Impact.values),
    },
}
HIDDEN_PLACES = {
    "type": "array",
    "maxItems": 50,
    "uniqueItems": True,
    "items": {**PLACE, "minLength": 2},
}
REDACTED = {
    "type": "object",
    "additionalProperties": False,
    "properties": {"payload": HIDDEN_PLACES, "records": HIDDEN_PLACES},
}
FIELDS: dict[str, dict[str, Any]] = {
    "key": {"type": "string", "pattern": KEY, "not": {"enum": list(RESERVED)}},
    "name": _text(120, 1),
    "title": _text(200, 1),
    "shown_facts": {"type": "array", "maxItems": 30, "items": FACT},
    "schema": {"type": "object"},
    "example": EXAMPLE,
    "amount_pointer": PLACE,
    "counterparty_pointer": PLACE,
    "resource_key": _text(300),
    "business_key": _text(300, 1),
    "connector": _text(60, 1),
    "connector_config": {"type": "object"},
    "snapshot_plan": {"type": "array", "maxItems": 50, "items": _text(300, 1)},
    "records_touched": {"type": "integer", "minimum": 1, "maximum": 32767},
    "reversal": _choice(ActionType.Reversal.values),
    "reversal_code": _text(60),
    "reversal_words": _text(1000),
    "sla_seconds": {"type": "integer", "minimum": 1, "maximum": 30 * 24 * 3600},
    "severity": _choice(Severity.values),
    "impact": _choice(Impact.values),
    "impact_bands": {"type": "array", "maxItems": 20, "items": BAND},
    "is_financial": {"type": "boolean"},
    "is_critical": {"type": "boolean"},
    "first_no_is_final": {"type": "boolean"},
    "redacted": REDACTED,
}
REQUIRED = (
    "key", "name", "title", "schema", "example", "business_key", "connector", "connector_config",
    "reversal", "sla_seconds", "severity", "impact", "is_financial",
)  # fmt: skip
# What a field is that is left out. Those of `REQUIRED` must be said.
DEFAULTS: dict[str, Any] = {
    "shown_facts": [],
    "amount_pointer": "",
    "counterparty_pointer": "",
    "resource_key": "",
    "snapshot_plan": [],
    "records_touched": 1,
    "reversal_code": "",
    "reversal_words": "",
    "impact_bands": [],
    "is_critical": False,
    "first_no_is_final": False,
    "redacted": {},
}
# Fields that versions were entered without. While they say nothing, the digest of a version is the one it had.
ADDED_LATER = ("redacted",)
DEFINITION: dict[str, Any] = {
    "type": "object",
    "additionalProperties": False,
    "required": list(REQUIRED),
    "properties": FIELDS,
}
WORDS = {
    "key": "Key",
    "name": "Name",
    "title": "Title",
    "shown_facts": "Facts that are shown",
    "schema": "Schema of the payload",
    "example": "Example",
    "amount_pointer": "Where the amount stands",
    "counterparty_pointer": "Where the counterparty stands",
    "resource_key": "Resource key",
    "business_key": "Business key",
    "connector": "Connector",
    "connector_config": "Its configuration",
    "snapshot_plan": "Snapshot plan",
    "records_touched": "Records it touches",
    "reversal": "Reversal",
    "reversal_code": "Name of the reversal",
    "reversal_words": "What an undo does, in words",
    "sla_seconds": "Time of the first approver, in seconds",
    "severity": "Severity",
    "impact": "Impact",
    "impact_bands": "Impact by amount",
    "is_financial": "Financial",
    "is_critical": "Critical business process",
    "first_no_is_final": "The first no is final",
    "redacted": "Left out of evidence",
}
