"""Reading a body's fields. Each reader returns what it names, or refuses with a sentence."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping
from typing import Any

from demo_target import money
from demo_target.refusals import invalid

Body = Mapping[str, Any]
_DAY = re.compile(r"[0-9]{4}-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])", re.ASCII)


def fold(name: str) -> str:
    """Return what all spellings of a name share: who is called "C-1042" is "c-1042" as well."""
    folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", name).casefold())
    return " ".join(folded.split())


def text(body: Body, name: str, longest: int = 120, *, default: str | None = None) -> str:
    """Return a field as one line of text. Without a default it must be there."""
    value = body.get(name, default)
    if value is None or not isinstance(value, str):
        raise invalid(f'"{name}" is missing, or is no text.')
    if len(value) > longest:
        raise invalid(f'"{name}" is longer than {longest} characters.')
    if any(unicodedata.category(each) == "Cc" for each in value):
        raise invalid(f'"{name}" holds control characters.')
    if default is None and not fold(value):
        raise invalid(f'"{name}" is blank.')
    return value.strip()


def amount(body: Body, name: str = "amount") -> tuple[int, str]:
    """Return {"value", "currency"} as minor units and currency."""
    value = body.get(name)
    if not isinstance(value, dict):
        raise invalid(f'"{name}" is missing, or is not {{"value": "12000.00", "currency": "USD"}}.')
    code = money.currency(value.get("currency"))
    return money.minor(value.get("value"), code), code


def whole(body: Body, name: str, most: int = 1_000_000) -> int:
    """Return a whole number from 1."""
    value = body.get(name)
    if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= most:
        raise invalid(f'"{name}" is a whole number from 1 to {most}.')
    return value


def day(body: Body, name: str, *, default: str | None = None) -> str:
    """Return a day, as 2026-12-31."""
    value = body.get(name, default)
    if value == default and default is not None:
        return default
    if not isinstance(value, str) or not _DAY.fullmatch(value):
        raise invalid(f'"{name}" is a day, such as 2026-12-31.')
    return value
