"""Whether a business key names one effect and nothing else: target, document, amount or instalment, no clock.

Pure. Source: runbook, "Pattern 2: Idempotent Retries"; DESIGN 5, "Readiness".
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from approvals import templating
from governance.definitions import payload_schema
from governance.models import ActionType

_PLACE = re.compile(r"\{([^{}]*)\}")
_WORDS = re.compile(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])")
CLOCK_WORDS = frozenset({
    "at", "clock", "date", "datetime", "day", "hour", "month", "now", "time", "timestamp", "today",
    "when", "year",
})  # fmt: skip
CLOCK_FORMATS = frozenset({"date", "date-time", "time", "duration"})
_INSTANT = re.compile(r"\d{4}-\d{2}-\d{2}([Tt ].*)?|\d{2}:\d{2}(:\d{2}.*)?")


def complaints(action_type: ActionType, *, target: str) -> list[str]:
    """Return, in sentences, why an action type's business key does not name one effect.

    Args:
        target: the connector's, with which every key begins.
    """
    return list(_complaints(action_type, target))


def _complaints(action_type: ActionType, target: str) -> Iterator[str]:
    template = action_type.business_key
    places = list(dict.fromkeys(_PLACE.findall(template)))
    if target and not template.startswith(f"{target}:"):
        yield f"It does not begin with its target: write “{target}:” first."
    if "}{" in template:
        yield "Two places stand side by side: put a “:” between them, or two effects have one key."
    named = []
    for pointer in places:
        found = payload_schema.at(action_type.schema, pointer) if pointer.startswith("/") else None
        if found is None:
            yield f"{{{pointer}}} is nothing that the schema names."
        elif not _is_scalar(found.schema):
            yield f"{pointer} is neither text nor a whole number."
        elif _is_clock(pointer, found.schema, _example(action_type, pointer)):
            yield f"{pointer} is a clock: the same effect on another day would have another key."
        else:
            named.append((pointer, found.is_required))
    amount = action_type.amount_pointer and f"{action_type.amount_pointer}/"
    other = [
        (pointer, always)
        for pointer, always in named
        if pointer != action_type.counterparty_pointer
        and not (amount and pointer.startswith(amount))
    ]
    documents = [pointer for pointer, always in other if always]
    if not documents:
        yield "It names no document: a place that every payload has, besides the counterparty and the amount."
    has_amount = bool(amount) and any(pointer == f"{amount}value" for pointer, _ in named)
    if documents and not has_amount and len(other) < 2:
        what = "the amount, or which instalment" if amount else "which change of it"
        yield f"It does not say {what}: a second effect on one document would count as the first."


def _is_scalar(schema: dict[str, Any] | bool) -> bool:
    if not isinstance(schema, dict):
        return False
    said = schema.get("type")
    kinds = set(said) if isinstance(said, list) else {said}
    if said is None:
        values = schema.get("enum", [schema["const"]] if "const" in schema else [])
        return bool(values) and all(isinstance(each, str | int) for each in values)
    return kinds <= {"string", "integer", "null"} and kinds != {"null"}


def _is_clock(pointer: str, schema: dict[str, Any] | bool, example: Any) -> bool:
    last = pointer.rpartition("/")[2]
    words = {word.lower() for word in _WORDS.findall(last)}
    told = isinstance(schema, dict) and schema.get("format") in CLOCK_FORMATS
    shown = isinstance(example, str) and _INSTANT.fullmatch(example) is not None
    return told or shown or bool(words & CLOCK_WORDS)


def _example(action_type: ActionType, pointer: str) -> Any:
    example = action_type.example if isinstance(action_type.example, dict) else {}
    return templating.at_pointer(example.get("payload", {}), pointer)
