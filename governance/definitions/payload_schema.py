"""The schema of a payload: what it may not hold, and what a JSON pointer leads to in it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, NamedTuple
from urllib.parse import unquote

from jsonpointer import JsonPointer, JsonPointerException
from jsonschema import Draft202012Validator
from jsonschema.exceptions import SchemaError

from governance.definitions.shape import DIALECT

DEPTH = 40  # references followed to one place
OFTENEST = 1_000  # schemas that one value is asked of by way of references
ELSEWHERE = ("$id", "$anchor", "$dynamicRef", "$dynamicAnchor", "$vocabulary")
# Where schemas stand within a schema. Source: JSON Schema 2020-12, 10 and 11.
OF_NAMES = ("properties", "patternProperties", "$defs", "definitions", "dependentSchemas")
OF_LISTS = ("allOf", "anyOf", "oneOf", "prefixItems")
OF_ONE = (
    "not", "if", "then", "else", "items", "contains", "additionalProperties", "propertyNames",
    "unevaluatedItems", "unevaluatedProperties", "contentSchema",
)  # fmt: skip
_INDEX = re.compile(r"0|[1-9][0-9]{0,5}")


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
    yield from _references(schema)
    try:
        Draft202012Validator.check_schema(schema)
    except SchemaError as problem:
        yield Wrong(_pointer(problem.absolute_path), problem.message[:300])
    except RecursionError:
        yield Wrong("", "It is nested too deeply.")


def _references(whole: dict[str, Any]) -> Iterator[Wrong]:
    places = dict(_places(whole, ""))
    leads = {}  # by place, where the reference that stands there leads
    for place, part in places.items():
        for name in part if isinstance(part, dict) else ():
            if name in ELSEWHERE:
                yield Wrong(f"{place}/{name}", "It is not taken here: a schema stands for itself.")
        if not isinstance(part, dict) or not isinstance(part.get("$ref"), str):
            continue
        to = part["$ref"]
        if to != "#" and not to.startswith("#/"):
            yield Wrong(f"{place}/$ref", "A reference leads into this schema: it begins with “#/”.")
        elif unquote(to[1:]) not in places:
            yield Wrong(f"{place}/$ref", "There is nothing at this place in the schema.")
        else:
            leads[place] = unquote(to[1:])
    yield from _endless(places, leads)


def _places(part: Any, at: str) -> Iterator[tuple[str, Any]]:
    """Yield every place at which a schema stands: under `properties` are names, under `const` values."""
    if not isinstance(part, dict | bool):
        return
    yield at, part
    for name, value in part.items() if isinstance(part, dict) else ():
        place = f"{at}/{name}"
        if name in OF_NAMES and isinstance(value, dict):
            for each, inner in value.items():
                yield from _places(inner, f"{place}/{_escaped(each)}")
        elif name in OF_LISTS and isinstance(value, list):
            for n, inner in enumerate(value):
                yield from _places(inner, f"{place}/{n}")
        elif name in OF_ONE:
            yield from _places(value, place)


def _endless(places: dict[str, Any], leads: dict[str, str]) -> Iterator[Wrong]:
    """Yield what would be asked of one value for ever, or too often to wait for it."""
    asked: dict[str, int] = {}  # by place, of how many schemas one value is asked there

    def count(place: str) -> int:
        if place not in asked:
            asked[place] = OFTENEST + 1  # should it lead back here
            found = 1 + sum(map(count, _of_the_same_value(place, places[place], leads)))
            asked[place] = min(found, OFTENEST + 1)
        return asked[place]

    for place in leads:
        if count(place) > OFTENEST:
            yield Wrong(
                f"{place}/$ref", "It leads back to itself, or to too many others by as many ways."
            )
            return


def _of_the_same_value(place: str, part: Any, leads: dict[str, str]) -> Iterator[str]:
    """Yield the places that are asked of the very value that this one is asked of."""
    if place in leads:
        yield leads[place]
    for name, value in part.items() if isinstance(part, dict) else ():
        if name in ("allOf", "anyOf", "oneOf") and isinstance(value, list):
            yield from (
                f"{place}/{name}/{n}"
                for n, each in enumerate(value)
                if isinstance(each, dict | bool)
            )
        elif name == "dependentSchemas" and isinstance(value, dict):
            yield from (
                f"{place}/{name}/{_escaped(each)}"
                for each, inner in value.items()
                if isinstance(inner, dict | bool)
            )
        elif name in ("not", "if", "then", "else") and isinstance(value, dict | bool):
            yield f"{place}/{name}"


def resolved(whole: dict[str, Any], reference: str) -> Any:
    """Return what a reference into the same document leads to, None if nothing."""
    try:
        return JsonPointer(unquote(reference.removeprefix("#"))).resolve(whole, None)
    except (JsonPointerException, ValueError):  # also a number of more digits than Python reads
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
        elif _INDEX.fullmatch(step) and here.get("type") == "array":
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
