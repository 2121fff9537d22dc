"""Amounts: decimal strings outside, whole minor units inside."""

from __future__ import annotations

import re
from decimal import Decimal
from typing import Any

from demo_target.refusals import invalid

BASE = "USD"  # what an answer with one amount is in
MOST = 10**15  # minor units; sums of many still fit into SQLite's 64 bits
_VALUE = re.compile(r"(0|[1-9][0-9]{0,12})(\.[0-9]{1,4})?", re.ASCII)
_CURRENCY = re.compile(r"[A-Z]{3}", re.ASCII)
_DECIMALS = {
    **dict.fromkeys(("CLP", "ISK", "JPY", "KRW", "UGX", "VND", "XAF", "XOF", "XPF"), 0),
    **dict.fromkeys(("BHD", "IQD", "JOD", "KWD", "LYD", "OMR", "TND"), 3),
}


def minor(value: Any, currency: str) -> int:
    """Read a decimal string as minor units. Refuses zero, signs, and digits the currency lacks."""
    if not isinstance(value, str) or not _VALUE.fullmatch(value):
        raise invalid('An amount is a decimal string, such as "12000.00".')
    units = Decimal(value).scaleb(_DECIMALS.get(currency, 2))
    if units != int(units):
        raise invalid(f"{value} has more decimals than {currency}.")
    if not 0 < units <= MOST:
        raise invalid("An amount is more than nothing, and less than ten trillion.")
    return int(units)


def currency(value: Any) -> str:
    """Read a currency's three letters."""
    if not isinstance(value, str) or not _CURRENCY.fullmatch(value):
        raise invalid('A currency is three capital letters, such as "USD".')
    return value


def shown(units: int, code: str) -> str:
    """Say minor units as a decimal string: "12000.00"."""
    decimals = _DECIMALS.get(code, 2)
    return f"{Decimal(units).scaleb(-decimals):.{decimals}f}"


def amount(units: int, code: str) -> dict[str, str]:
    """Say an amount as it is sent: {"value", "currency"}."""
    return {"value": shown(units, code), "currency": code}


def balance(sums: dict[str, int]) -> dict[str, Any]:
    """Say what sums to something in several currencies, the base one first.

    Currencies that come to nothing are left out, so that what was taken back
    leaves no trace in a balance.
    """
    others = {code: shown(sums[code], code) for code in sorted(sums) if code != BASE and sums[code]}
    said: dict[str, Any] = {"balance": shown(sums.get(BASE, 0), BASE), "currency": BASE}
    if others:
        said["other_currencies"] = others
    return said
