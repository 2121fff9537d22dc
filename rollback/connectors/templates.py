"""What connectors by configuration have in common: json-e templates, filled from an action."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal, InvalidOperation
from typing import Any, NamedTuple, Protocol

import jsone

from governance import wording
from rollback.connectors.base import Action

_BROKEN = (
    jsone.JSONTemplateError, ArithmeticError, AttributeError, LookupError, TypeError, ValueError,
    RecursionError,
)  # fmt: skip


LONGEST = (
    10_000  # entries of a range: whoever typed one more zero would have every page wait for it
)


def _range(start: int, stop: int, step: int = 1) -> list[int]:
    found = range(start, stop, step)
    if len(found) > LONGEST:
        raise ValueError(f"a range has at most {LONGEST:,} entries")
    return list(found)


class Configured(Protocol):
    """What a connector takes of an action type."""

    @property
    def connector_config(self) -> Any: ...
    @property
    def reversal(self) -> str: ...
    @property
    def reversal_code(self) -> str: ...


class Tried(NamedTuple):
    """A configuration that is tried at start, before any action type runs with it."""

    connector_config: Any
    reversal: str
    reversal_code: str


def render(template: Any, context: Mapping[str, Any], *, what: str) -> Any:
    """Fill a json-e template. Pure: `now` is taken from it.

    Raises ValueError with a sentence that names `what`.
    """
    try:
        return jsone.render(template, {**context, "now": "", "range": _range})
    except _BROKEN as problem:
        raise ValueError(f"The template of {what} cannot be filled: {problem}") from problem


def context_of(action: Action) -> dict[str, Any]:
    """Return what templates may speak of: payload, amount as digits, currency, business key."""
    amount = "" if action.amount is None else wording.figures(action.amount, action.currency)
    return {
        "payload": action.payload,
        "amount": amount.replace(",", ""),
        "currency": action.currency,
        "business_key": action.business_key,
    }


def amount_of(value: Any) -> tuple[Decimal | None, str]:
    """Read the amount of a unit: {"value", "currency"}, or None without one.

    Raises ValueError.
    """
    if value is None:
        return None, ""
    try:
        return Decimal(value["value"]), str(value["currency"])
    except (TypeError, KeyError, InvalidOperation) as problem:
        raise ValueError('A unit\'s amount is {"value", "currency"}.') from problem
