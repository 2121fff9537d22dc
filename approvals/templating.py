"""Keys and titles made from a payload: `{/json/pointer}` and `{amount}`, nothing else.

Not a template language: an action type's templates are data, and what fills
them comes from an agent.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any
from urllib.parse import quote

from jsonpointer import JsonPointer, JsonPointerException

_PLACE = re.compile(r"\{([^{}]*)\}")
_VALUE = "[A-Za-z0-9_.~%-]*"  # percent-encoded, and nothing left as it is
_MISSING = object()
# Of how the letter before them is drawn; and the grapheme joiner, which is not drawn at all.
_SELECTORS = frozenset(map(chr, [0x034F, *range(0xFE00, 0xFE10), *range(0xE0100, 0xE01F0)]))


def at_pointer(document: Any, pointer: str) -> Any:
    """Return what a JSON pointer (RFC 6901) finds, or None where there is nothing."""
    try:
        found = _pointer(pointer).resolve(document, _MISSING)
    except JsonPointerException:
        return None
    return None if found is _MISSING else found


@lru_cache(maxsize=1024)  # they stand in action types, of which there are few
def _pointer(pointer: str) -> JsonPointer:
    return JsonPointer(pointer)


def key(template: str, payload: Mapping[str, Any]) -> str:
    """Fill a key template. Every value is percent-encoded, so that "a/b" + "c" is never "a" + "b/c".

    Spelling makes no other document: "INV-7", "inv-7 " and its full-width form
    are one, or a careless agent could have one invoice paid twice. What the
    payload leaves out stands as nothing.
    """
    return _fill(template, lambda name: quote(same(_text(at_pointer(payload, name))), safe=""))


def pattern(template: str) -> str:
    """Return the regular expression of all that `key` can make of a template."""
    parts = _PLACE.split(template)  # every second one is a place
    return "".join(_VALUE if n % 2 else re.escape(part) for n, part in enumerate(parts))


def exact(template: str, payload: Mapping[str, Any]) -> str:
    """Fill the key of a target's record: percent-encoded likewise, and spelled as the payload spells it."""
    return _fill(template, lambda name: quote(_text(at_pointer(payload, name)), safe=""))


def same(text: str) -> str:
    """Return what is equal for all spellings of a name: NFKC, case folded, white space single.

    What nobody sees makes no other name either: format and control characters,
    and variation selectors, are left out.
    """
    if text.isascii() and text.isprintable():
        return " ".join(text.lower().split())
    folded = unicodedata.normalize("NFKC", text).casefold()
    seen = "".join(each for each in folded if each.isspace() or not _is_unseen(each))
    return " ".join(unicodedata.normalize("NFKC", seen).split())


def _is_unseen(letter: str) -> bool:
    return unicodedata.category(letter) in ("Cf", "Cc") or letter in _SELECTORS


def title(template: str, payload: Mapping[str, Any], *, amount: str) -> str:
    """Fill a title for people to read; the caller makes it safe to show."""
    return _fill(
        template, lambda name: amount if name == "amount" else _text(at_pointer(payload, name))
    )


def _fill(template: str, value_of: Callable[[str], str]) -> str:
    return _PLACE.sub(lambda place: value_of(place.group(1)), template)


def _text(value: Any) -> str:
    return "" if value is None else str(value)
