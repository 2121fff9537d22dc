"""The schema of a payload: what it may not hold, and what a JSON pointer leads to in it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

from jsonpointer import JsonPointer, JsonPointerException
from jsonschema import Draft202012Validator
from jsonschema.exceptions import SchemaError

from governance.definitions.shape import DIALECT

DEPTH = 40  # references followed to one place
ELSEWHERE = ("$id", "$anchor", "$dynamicRef", "$dynamicAnchor", "$vocabulary")


class Wrong(NamedTuple):
    place: str  # JSON pointer into the schema
    words: str


class Found(NamedTuple):
    """What stands at a pointer into a payload."""

    schema: dict[str, Any] | bool
    is_required: bool  # every payload has it


def wrongs(schema: dict[str, Any]) -> Iterator[Wrong]:
    """Yield what keeps a schema from being taken.

    A reference may only lead into the same document: another would have the
    validator fetch an address that somebody typed.
    """
    said = schema.get("$schema", DIALECT)
    if said != DIALECT:
        yield Wrong("/$schema", f"JSON Schema 2020-12 is taken: {DIALECT}")
    if schema.get("type") != "object":
        yield Wrong("/type", "A payload is an object: say “object”.")
    yield from _references(schema, schema, "")
    try:
        Draft202012Validator.check_schema(schema)
    except SchemaError as problem:
        yield Wrong(_pointer(problem.absolute_path), problem.message[:300])
    except RecursionError:
        yield Wrong("", "It is nested too deeply.")


def _references(whole: dict[str, Any], part: Any, at: str) -> Iterator[Wrong]:
    if isinstance(part, list):
        for n, each in enumerate(part):
            yield from _references(whole, each, f"{at}/{n}")
        return
    if not isinstance(part, dict):
        return
    for name, value in part.items():
        place = f"{at}/{_escaped(name)}"
        if name == "$ref" and isinstance(value, str):
            if value != "#" and not value.startswith("#/"):
                yield Wrong(place, "A reference leads into this schema: it begins with “#/”.")
            elif not isinstance(resolved(whole, value), dict | bool):
                yield Wrong(place, "There is nothing at this place in the schema.")
        elif name in ELSEWHERE and isinstance(value, str | dict) and not _is_a_name(at):
            yield Wrong(place, "It is not taken here: a schema stands for itself.")
        else:
            yield from _references(whole, value, place)


def _is_a_name(at: str) -> bool:
    """Whether the keys of what stands here are names of properties, and no words of JSON Schema."""
    return at.rpartition("/")[2] in ("properties", "$defs", "patternProperties")


def resolved(whole: dict[str, Any], reference: str) -> Any:
    """Return what a reference into the same document leads to, None if nothing."""
    try:
        return JsonPointer(reference.removeprefix("#")).resolve(whole, None)
    except JsonPointerException:
        return None


def at(schema: dict[str, Any], pointer: str) -> Found | None:
    """Return what a JSON pointer into a payload leads to; None where the schema does not name it.

    Followed are `properties`, `items`, `prefixItems` and references; what stands
    under a choice (`anyOf`, `oneOf`) counts as not named, for a payload may lack it.
    """
    try:
        steps = JsonPointer(pointer).parts
    except JsonPointerException:
        return None
    here: Any = schema
    required = True
    for step in steps:
        here = _followed(schema, here)
        if not isinstance(here, dict):
            return None
        properties = here.get("properties", {})
        if step in properties:
            required = required and step in here.get("required", ())
            here = properties[step]
        elif step.isdigit() and here.get("type") == "array":
            items = here.get("prefixItems", [])
            first = int(step) < here.get("minItems", 0)
            required = required and first
            here = items[int(step)] if int(step) < len(items) else here.get("items")
        else:
            return None
    here = _followed(schema, here)
    return Found(here, required) if isinstance(here, dict | bool) else None


def _followed(whole: dict[str, Any], part: Any) -> Any:
    for _ in range(DEPTH):
        if not isinstance(part, dict) or not isinstance(part.get("$ref"), str):
            return part
        part = resolved(whole, part["$ref"])
    return None


def _pointer(path: Any) -> str:
    return "".join(f"/{_escaped(str(each))}" for each in path)


def _escaped(name: str) -> str:
    return name.replace("~", "~0").replace("/", "~1")
