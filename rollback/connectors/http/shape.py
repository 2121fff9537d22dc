"""What a configuration may say, as a schema: a misspelt key is found at start, not at the first call."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from jsonschema import Draft202012Validator

SEGMENTS = {"type": "array", "minItems": 1, "items": {"type": "string", "minLength": 1}}
RECORD = {
    "type": "object",
    "additionalProperties": False,
    "required": ["prefix", "path"],
    "properties": {"prefix": {"type": "string", "minLength": 1}, "path": SEGMENTS, "reading": {}},
}
LOOKUP = {
    "type": "object",
    "additionalProperties": False,
    "required": ["path"],
    "properties": {
        "path": {"type": "array", "minItems": 1},
        "query": {"type": "object"},
        "answer": {},
        "absent": {"type": "array", "items": {"type": "integer", "minimum": 400, "maximum": 499}},
    },
}
LISTING = {
    "type": "object",
    "additionalProperties": False,
    "required": ["path", "effects", "after", "more"],
    "properties": {
        "path": {"type": "array", "minItems": 1},
        "query": {"type": "object"},
        "first": {"type": "string"},
        "effects": {},
        "after": {},
        "more": {},
    },
}
FACT = {
    "type": "object",
    "additionalProperties": False,
    "required": ["record", "pointer"],
    "properties": {
        "record": {"type": "string", "minLength": 1},
        "pointer": {"type": "string"},
        "money": {"type": "string", "pattern": r"^[A-Z]{3}(?![\s\S])"},  # a sum in this currency
        "default": {"type": ["string", "number", "boolean"]},  # of a record that says nothing of it
    },
}
CONFIG = {
    "type": "object",
    "additionalProperties": False,
    "required": ["target", "units"],
    "properties": {
        "target": {"type": "string", "pattern": r"^[a-z][a-z0-9_-]{0,59}(?![\s\S])"},
        "gives": {
            "type": "object",
            "additionalProperties": False,
            "properties": {
                "native_keys": {"type": "boolean"},
                "optimistic_locking": {"type": "boolean"},
            },
        },
        "units": {"type": ["array", "object"]},
        "receipt": {"type": "object"},
        "left": {},
        "records": {"type": "array", "items": RECORD},
        "lookup": LOOKUP,
        "listing": LISTING,
        "reversals": {"type": "object", "additionalProperties": {"type": "object"}},
        "key_header": {"type": "string", "pattern": r"^[A-Za-z][A-Za-z0-9-]{0,59}(?![\s\S])"},
        "example_answer": {"type": "object"},
        # Read for a request that waits: the records its approval rests on, and what rules speak of.
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
