"""What a configuration may say, as a schema: a misspelt key is found at start, not at the first call."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from jsonschema import Draft202012Validator

from rollback.connectors.http.shape import FACT
from rollback.connectors.netsuite.records import MADE

CREATION = {
    "type": "object",
    "additionalProperties": False,
    "required": ["type", "fields"],
    "properties": {
        # As it stands, not a template: what was done under a key is looked for among these.
        "type": {"enum": list(MADE)},
        "from": {"type": ["string", "object"]},
        "fields": {"type": "object"},
    },
}
UNIT = {
    "type": "object",
    "additionalProperties": False,
    "required": ["name", "create"],
    "properties": {
        "name": {"type": "string", "minLength": 1},
        "undo_name": {"type": "string"},
        "amount": {"type": "object"},
        "record": {"type": "string"},
        "create": CREATION,
    },
}
CONFIG = {
    "type": "object",
    "additionalProperties": False,
    "required": ["target", "units"],
    "properties": {
        "target": {"type": "string", "pattern": r"^[a-z][a-z0-9_-]{0,59}(?![\s\S])"},
        "respond_async": {"type": "boolean"},
        "units": {"type": "array", "minItems": 1, "items": UNIT},
        "reversals": {"type": "object", "additionalProperties": CREATION},
        "basis": {"type": "array", "minItems": 1, "items": {"type": "string", "minLength": 1}},
        "facts": {
            "type": "object",
            "propertyNames": {"pattern": r"^[a-z][a-z0-9_]{0,59}(?![\s\S])"},
            "additionalProperties": FACT,
        },
    },
}
_validator = Draft202012Validator(CONFIG)


def complaints(config: Mapping[str, Any]) -> Iterator[str]:
    """Yield what the schema does not take, a sentence each."""
    for error in _validator.iter_errors(config):
        place = "/".join(str(each) for each in error.absolute_path)
        yield f"Its connector's configuration{f', {place},' if place else ''} is wrong: {error.message}."
