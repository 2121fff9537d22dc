"""Values as Tryton's JSON-RPC writes them: decimals, days and instants are objects that name their class."""

from __future__ import annotations

from datetime import date, datetime
from decimal import Decimal, InvalidOperation
from typing import Any


def day(text: str) -> dict[str, Any]:
    """Write a day, "2026-12-31", as Tryton takes it. Raises ValueError if it is none."""
    found = date.fromisoformat(text)
    return {"__class__": "date", "year": found.year, "month": found.month, "day": found.day}


def instant(text: str) -> dict[str, Any]:
    """Write an instant, "2026-12-31T23:59:59.123456", as Tryton takes it: UTC, without saying so.

    Raises ValueError if it is none.
    """
    found = datetime.fromisoformat(text)
    parts = ("year", "month", "day", "hour", "minute", "second", "microsecond")
    return {"__class__": "datetime", **{part: getattr(found, part) for part in parts}}


def number(value: Decimal) -> dict[str, str]:
    """Write a decimal as Tryton takes it. Never a float: a cent would be lost on the way."""
    return {"__class__": "Decimal", "decimal": f"{value:f}"}


def read(value: Any) -> Any:
    """Return an answer with its decimals as Decimal, its days as "2026-12-31" and its instants likewise.

    Raises ValueError for what says it is one and is not.
    """
    match value:
        case {"__class__": "Decimal", "decimal": str() as text}:
            try:
                return Decimal(text)
            except InvalidOperation as problem:
                raise ValueError(f"{text!r} is no decimal") from problem
        case {"__class__": "date", "year": int() as y, "month": int() as m, "day": int() as d}:
            return date(y, m, d).isoformat()
        case {"__class__": "datetime", "year": int() as y, "month": int() as m, "day": int() as d}:
            parts = (value.get(part, 0) for part in ("hour", "minute", "second", "microsecond"))
            return datetime(y, m, d, *parts).isoformat(timespec="microseconds")  # noqa: DTZ001
        case dict():
            return {name: read(each) for name, each in value.items()}
        case list():
            return [read(each) for each in value]
    return value
