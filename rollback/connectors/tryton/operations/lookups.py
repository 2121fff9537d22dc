"""Rows by the names and codes that people know them by. Ids are Tryton's own, and in no configuration."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

from rollback.connectors.base import Json, OutcomeUnknown, Rejected
from rollback.connectors.tryton import keys, wire
from rollback.connectors.tryton.asking import Ask, Asks

Row = Mapping[str, Any]
PAGE = 500  # rows of one answer, where there may be any number
NAMED: Json = {  # a row, by what people call it
    "type": "object",
    "minProperties": 1,
    "maxProperties": 1,
    "additionalProperties": False,
    "properties": {
        "name": {"type": "string", "minLength": 1},
        "code": {"type": "string", "minLength": 1},
    },
}
MONEY: Json = {
    "type": "object",
    "additionalProperties": False,
    "required": ["value", "currency"],
    "properties": {
        "value": {"type": "string", "pattern": r"^[0-9]+(\.[0-9]+)?(?![\s\S])"},
        "currency": {"type": "string", "pattern": r"^[A-Z]{3}(?![\s\S])"},
    },
}
DAY: Json = {"type": "string", "pattern": r"^[0-9]{4}-[0-9]{2}-[0-9]{2}(?![\s\S])"}
# Of a row that an answer named: Tryton's number, or what stands for it where nobody was asked.
ID: Json = {"type": ["integer", "string"]}
TEXT: Json = {"type": "string", "minLength": 1}


def schema(required: Mapping[str, Json], optional: Mapping[str, Json] | None = None) -> Json:
    """Return the JSON Schema of an operation's arguments. Nothing but these is taken."""
    return {
        "type": "object",
        "additionalProperties": False,
        "required": ["operation", *required],
        "properties": {"operation": TEXT, **required, **(optional or {})},
    }


def rows(
    model: str,
    domain: Sequence[Any],
    fields: Sequence[str],
    *,
    about: str,
    well: Sequence[Row] = (),
    most: int = 2,
    order: Sequence[Sequence[str]] = (("id", "ASC"),),
    context: Mapping[str, Any] | None = None,
) -> Asks[list[Row]]:
    """Return the rows that fit, the oldest first.

    Raises OutcomeUnknown if the answer is no list of rows.
    """
    found = yield Ask(
        f"model.{model}.search_read",
        (list(domain), 0, most, [list(each) for each in order], list(fields)),
        about=about,
        well=list(well),
        context=context or {},
    )
    if not isinstance(found, list) or not all(isinstance(row, dict) for row in found):
        raise OutcomeUnknown(f"{about}: the answer is no list of rows.")
    return found


def every(
    model: str,
    domain: Sequence[Any],
    fields: Sequence[str],
    *,
    about: str,
    well: Sequence[Row] = (),
) -> Asks[list[Row]]:
    """Return all rows that fit, however many, the oldest first. Raises OutcomeUnknown as `rows`."""
    page = yield from rows(model, domain, fields, about=about, well=well, most=PAGE)
    found = list(page)
    while len(page) == PAGE:
        after = [list(domain), ["id", ">", page[-1]["id"]]]
        page = yield from rows(model, after, fields, about=about, most=PAGE)
        found += page
    return found


def marked(
    model: str,
    field: str,
    mark: str,
    domain: Sequence[Any],
    fields: Sequence[str],
    *,
    about: str,
    well: Sequence[Row] = (),
) -> Asks[Row | None]:
    """Return the oldest row with our mark in a text of it; None if no row has it."""
    found = yield from every(
        model, [*domain, [field, "like", keys.anywhere(mark)]], fields, about=about, well=well
    )
    return keys.first(found, field, mark)


def one(
    model: str,
    domain: Sequence[Any],
    fields: Sequence[str],
    *,
    what: str,
    well: Row,
) -> Asks[Row | None]:
    """Return the one row that fits, None if there is none.

    Args:
        what: for people, with what it is looked up by: "the vendor Northwind Paper".

    Raises Rejected if there are several.
    """
    found = yield from rows(model, domain, fields, about=f"Look up {what}", well=[well])
    if len(found) > 1:
        raise Rejected(f"In Tryton several rows are {what}.")
    return found[0] if found else None


def only(
    model: str,
    domain: Sequence[Any],
    fields: Sequence[str],
    *,
    what: str,
    well: Row,
) -> Asks[Row]:
    """Return the one row that fits, as `one`. Raises Rejected if there is none, or several."""
    found = yield from one(model, domain, fields, what=what, well=well)
    if found is None:
        raise Rejected(f"In Tryton nothing is {what}.")
    return found


def by(named: Mapping[str, str], place: str = "") -> list[Any]:
    """Return the domain of a row by its name or its code, where `place` leads to it: "party."."""
    return [[f"{place}{field}", "=", value] for field, value in named.items()]


def words(named: Mapping[str, str]) -> str:
    """Return the name or code itself."""
    return next(iter(named.values()))


def currency(code: str) -> Asks[Row]:
    """Return a currency by its ISO code."""
    found = yield from only(
        "currency.currency",
        [["code", "=", code]],
        ["code"],
        what=f"the currency {code}",
        well={"id": f"{{id of {code}}}", "code": code},
    )
    return found


def today() -> Asks[Any]:
    """Return Tryton's own day, as it takes days. Connectors know no time."""
    found = yield Ask("model.ir.date.today", (), about="Ask for the day", well="2026-01-31")
    return wire.day(found)


def money(value: Decimal, code: str) -> dict[str, str]:
    """Write an amount as payloads have it."""
    return {"value": f"{value:f}", "currency": code}


def amount_of(body: Json) -> Decimal:
    """Return the amount that an operation is about."""
    return Decimal(body["amount"]["value"])
