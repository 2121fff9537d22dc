"""What a configuration may say, as a schema: a misspelt key is found at start, not at the first call."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from jsonschema import Draft202012Validator

from rollback.connectors.http.shape import FACT
from rollback.connectors.tryton.operations import OPERATIONS
from rollback.connectors.tryton.records import KINDS

RECORD = {
    "type": "object",
    "additionalProperties": False,
    "required": ["prefix", "kind"],
    "properties": {
        "prefix": {"type": "string", "minLength": 1},
        "kind": {"enum": list(KINDS)},
        "by": {"enum": ["name", "code"]},  # how parties are called in the record's key
        "account": {"type": "string", "minLength": 1},  # its code, for the kind `account`
    },
    "if": {"properties": {"kind": {"const": "account"}}},
    "then": {"required": ["account"]},
    "else": {"properties": {"account": False}},
}
CONFIG = {
    "type": "object",
    "additionalProperties": False,
    "required": ["target", "units"],
    "properties": {
        "target": {"type": "string", "pattern": r"^[a-z][a-z0-9_-]{0,59}(?![\s\S])"},
        "units": {"type": ["array", "object"]},
        "reversals": {"type": "object", "additionalProperties": {"type": "object"}},
        "records": {"type": "array", "items": RECORD},
        # Read for a request that waits: the records its approval rests on, and what rules speak of.
        "basis": {"type": "array", "minItems": 1, "items": {"type": "string", "minLength": 1}},
        "facts": {
            "type": "object",
            "propertyNames": {"pattern": r"^[a-z][a-z0-9_]{0,59}(?![\s\S])"},
            "additionalProperties": FACT,
        },
    },
}
_config = Draft202012Validator(CONFIG)
_bodies = {name: Draft202012Validator(each.schema) for name, each in OPERATIONS.items()}


def complaints(config: Mapping[str, Any]) -> Iterator[str]:
    """Yield what the schema does not take, a sentence each."""
    for error in _config.iter_errors(config):
        place = "/".join(str(each) for each in error.absolute_path)
        yield f"Its connector's configuration{f', {place},' if place else ''} is wrong: {error.message}."


def operations_in(template: Any) -> frozenset[str]:
    """Return the operations that a template names, wherever in it they stand."""
    match template:
        case dict():
            named = template.get("operation")
            here = {named} & set(OPERATIONS) if isinstance(named, str) else set()
            return frozenset(here).union(*map(operations_in, template.values()))
        case list():
            return frozenset().union(*map(operations_in, template))
    return frozenset()


def body_of(value: Any, *, known: frozenset[str]) -> dict[str, Any]:
    """Return a unit's body.

    Args:
        known: the operations that the configuration names: `probe` looks for what these do.

    Raises ValueError if it is none that can be sent.
    """
    name = value.get("operation") if isinstance(value, dict) else None
    if name not in OPERATIONS:
        raise ValueError(f"The operation of a unit is one of {', '.join(OPERATIONS)}.")
    if name not in known:
        raise ValueError(f"The template must name the operation {name} itself.")
    for error in _bodies[name].iter_errors(value):
        place = "/".join(str(each) for each in error.absolute_path)
        raise ValueError(f"{name}{f', {place},' if place else ''} is wrong: {error.message}.")
    body: dict[str, Any] = value
    OPERATIONS[name].check(body)
    return body
