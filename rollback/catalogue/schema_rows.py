"""A JSON Schema as a table that people read: field, what it is, whether it must be there, an example."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, NamedTuple

from approvals.templating import at_pointer
from governance.definitions.payload_schema import resolved
from governance.definitions.shape import END

DEEPEST = 6
TYPES = {
    "string": "text",
    "integer": "whole number",
    "number": "number",
    "boolean": "yes or no",
    "array": "list",
    "object": "group",
    "null": "nothing",
}
LENGTH = 160  # of an example
KNOWN = frozenset({
    "$schema", "$defs", "$ref", "title", "description", "type", "properties", "required", "items",
    "additionalProperties", "enum", "const", "minLength", "maxLength", "minimum", "maximum",
    "exclusiveMinimum", "exclusiveMaximum", "multipleOf", "minItems", "maxItems", "uniqueItems",
    "pattern", "format", "default", "examples",
})  # fmt: skip


class SchemaRow(NamedTuple):
    """One field of a payload."""

    name: str
    pointer: str
    depth: int  # 0 for those of the payload itself
    kind: str  # "text", "list of groups"
    rules: tuple[str, ...]  # "1 to 120 characters"
    form: str  # a regular expression, "" where there is none
    about: str
    is_required: bool
    example: str


def rows(schema: dict[str, Any], example: Any) -> list[SchemaRow]:
    """Return the fields that a schema names, those of a group right after it."""
    return list(_fields(schema, schema, example, "", 0))


def is_closed(schema: dict[str, Any]) -> bool:
    """Whether what the schema does not name is refused."""
    return schema.get("additionalProperties") is False


def _fields(
    whole: dict[str, Any], part: Any, example: Any, at: str, depth: int
) -> Iterator[SchemaRow]:
    part = _followed(whole, part)
    if not isinstance(part, dict) or depth > DEEPEST:
        return
    needed = part.get("required", ())
    for name, field in part.get("properties", {}).items():
        pointer = f"{at}/{name.replace('~', '~0').replace('/', '~1')}"
        yield _row(whole, field, name, pointer, depth, name in needed, example)
        yield from _fields(whole, field, example, pointer, depth + 1)
        inner = _followed(whole, field)
        if isinstance(inner, dict) and isinstance(inner.get("items"), dict):
            yield from _fields(whole, inner["items"], example, f"{pointer}/0", depth + 1)


def _row(
    whole: dict[str, Any],
    field: Any,
    name: str,
    pointer: str,
    depth: int,
    is_required: bool,
    example: Any,
) -> SchemaRow:
    found = _followed(whole, field)
    found = found if isinstance(found, dict) else {}
    pattern = str(found.get("pattern", "")).removesuffix(END)
    shown = at_pointer(example, pointer)
    return SchemaRow(
        name,
        pointer,
        depth,
        _kind(whole, found),
        tuple(_rules(found)),
        "" if pattern in (r"\S", "") else pattern,
        str(found.get("description") or found.get("title") or ""),
        is_required,
        "" if isinstance(shown, dict | list) else _said(shown),
    )


def _kind(whole: dict[str, Any], found: dict[str, Any]) -> str:
    if "enum" in found or "const" in found:
        return "a choice"
    said = found.get("type")
    if isinstance(said, list):
        return " or ".join(TYPES.get(each, str(each)) for each in said)
    if said == "array":
        inner = _followed(whole, found.get("items"))
        kinds = inner.get("type", "") if isinstance(inner, dict) else ""
        of = TYPES.get(kinds, "") if isinstance(kinds, str) else ""
        return f"list of {of}s" if of in ("group", "whole number", "number") else "list"
    if said is None:
        return "one of several forms" if set(found) & {"anyOf", "oneOf"} else "anything"
    return TYPES.get(said, str(said))


def _rules(found: dict[str, Any]) -> Iterator[str]:
    if "enum" in found:
        yield f"one of {', '.join(_said(each) for each in found['enum'])}"
    if "const" in found:
        yield f"always {_said(found['const'])}"
    yield from _range(found, "minLength", "maxLength", "character")
    yield from _range(found, "minItems", "maxItems", "entry", "entries")
    yield from _range(found, "minimum", "maximum", "")
    if found.get("pattern") == r"\S":
        yield "not blank"
    if "format" in found:
        yield f"a {found['format']}"
    if "exclusiveMinimum" in found:
        yield f"more than {found['exclusiveMinimum']}"
    if "exclusiveMaximum" in found:
        yield f"less than {found['exclusiveMaximum']}"
    if "multipleOf" in found:
        yield f"a multiple of {found['multipleOf']}"
    if found.get("uniqueItems"):
        yield "each once"
    if set(found) - KNOWN:
        yield "and more, see the schema itself"


def _range(found: dict[str, Any], low: str, high: str, noun: str, many: str = "") -> Iterator[str]:
    least, most = found.get(low), found.get(high)
    nouns = f" {many or noun + 's'}" if noun else ""
    if least is not None and most is not None:
        one = f"exactly {most:,}" if least == most else f"{least:,} to {most:,}"
        yield f"{one}{nouns if most != 1 or not noun else f' {noun}'}"
    elif most is not None:
        yield f"at most {most:,}{nouns}"
    elif least is not None:
        yield f"at least {least:,}{nouns if least != 1 or not noun else f' {noun}'}"


def _said(value: Any) -> str:
    if value is None:
        return ""
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= LENGTH else f"{text[: LENGTH - 1]}…"


def _followed(whole: dict[str, Any], part: Any) -> Any:
    for _ in range(DEEPEST):
        if not isinstance(part, dict) or not isinstance(part.get("$ref"), str):
            return part
        part = resolved(whole, part["$ref"])
    return None
