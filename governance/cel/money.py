"""Money for expressions: whole numbers of a currency's smallest unit, never fractions."""

from __future__ import annotations

from decimal import Decimal, InvalidOperation
from typing import Any

from iso4217 import Currency

from governance.cel.child import INT64

_EXPONENTS = {each.value: each.exponent for each in Currency}
MONEY = {"value", "currency"}


def minor(value: object, currency: object) -> int | None:
    """Return "12000.00" of USD as 1200000; None for what is no such sum, or too large to be one."""
    exponent = _EXPONENTS.get(str(currency))
    if not isinstance(value, str | Decimal) or exponent is None:
        return None
    try:
        scaled = Decimal(value).scaleb(exponent)
    except InvalidOperation:
        return None
    if not scaled.is_finite() or abs(scaled) > INT64 or scaled != scaled.to_integral_value():
        return None
    return int(scaled)


def major(units: int, currency: str) -> Decimal:
    """Return 1200000 of USD as 12000.00; of what is no currency, the number as it is."""
    return Decimal(units).scaleb(-(_EXPONENTS.get(currency) or 0))


def with_minor(document: Any) -> Any:
    """Return a copy in which every {"value", "currency"} also has `minor`, where it is a sum of money."""
    if isinstance(document, list):
        return [with_minor(each) for each in document]
    if not isinstance(document, dict):
        return document
    found = {name: with_minor(each) for name, each in document.items()}
    if document.keys() == MONEY:
        sum_ = minor(document["value"], document["currency"])
        if sum_ is not None:
            found["minor"] = sum_
    return found
