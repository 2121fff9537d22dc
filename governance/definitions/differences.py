"""What differs between two documents, down to the last leaf."""

from __future__ import annotations

import json
from typing import Any

from governance.definitions.shape import FIELDS, WORDS
from governance.drafting.shown import Difference

LENGTH = 400  # of a value that is shown
BEFORE = 40  # of what two values that are too long begin with alike
_MISSING = object()


def differences(before: dict[str, Any], after: dict[str, Any]) -> tuple[Difference, ...]:
    """Return the fields that differ, each with its places: pointer within the field, was, is."""
    found = []
    for name in FIELDS:
        was, now = before.get(name, _MISSING), after.get(name, _MISSING)
        if _same(was, now):
            continue
        leaves_before, leaves_after = dict(_leaves(was, "")), dict(_leaves(now, ""))
        places = [
            place
            for place in dict.fromkeys([*leaves_before, *leaves_after])
            if not _same(leaves_before.get(place, _MISSING), leaves_after.get(place, _MISSING))
            and not _is_filled(place, leaves_before, leaves_after)
        ]
        found.append(
            Difference(
                WORDS[name],
                "",
                tuple(
                    (place, *_cut(_said(leaves_before, place), _said(leaves_after, place)))
                    for place in places
                ),
            )
        )
    return tuple(found)


def _same(one: Any, other: Any) -> bool:
    """Whether two values are written the same: to Python `1` is `True`, and it is not in JSON."""
    if one is _MISSING or other is _MISSING:
        return one is other
    return json.dumps(one, sort_keys=True) == json.dumps(other, sort_keys=True)


def _leaves(value: Any, place: str) -> Any:
    if isinstance(value, dict) and value:
        for name, inner in value.items():
            yield from _leaves(inner, f"{place}/{name.replace('~', '~0').replace('/', '~1')}")
    elif isinstance(value, list) and value:
        for n, inner in enumerate(value):
            yield from _leaves(inner, f"{place}/{n}")
    elif value is not _MISSING:
        yield place, value


def _is_filled(place: str, *sides: dict[str, Any]) -> bool:
    """Whether what is empty on one side has leaves of its own on the other: they say it."""
    return any(each.startswith(f"{place}/") for leaves in sides for each in leaves)


def _said(leaves: dict[str, Any], place: str) -> str:
    if place not in leaves:
        return ""
    value = leaves[place]
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return text or "“”"


def _cut(was: str, now: str) -> tuple[str, str]:
    """Cut both to what can be shown, from a little before the place where they part."""
    if max(len(was), len(now)) <= LENGTH:
        return was, now
    pairs = enumerate(zip(was, now, strict=False))
    parts_at = next((n for n, (a, b) in pairs if a != b), min(len(was), len(now)))
    start = max(parts_at - BEFORE, 0)
    return _part(was, start), _part(now, start)


def _part(text: str, start: int) -> str:
    found = text[start : start + LENGTH]
    return f"{'…' if start and text else ''}{found}{'…' if len(text) > start + LENGTH else ''}"
