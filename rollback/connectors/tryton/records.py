"""Records as they are in Tryton now, by the kinds that a configuration names: for snapshots, bases and rules."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from typing import NamedTuple

from rollback.connectors.base import Json, Reading
from rollback.connectors.tryton.asking import Ask, Asks
from rollback.connectors.tryton.operations import invoices, lookups, parties
from rollback.connectors.tryton.operations.lookups import Row, money

COMMITTED = ("quotation", "confirmed", "processing")  # a sale that is no mere draft any more
LIMIT_FIELD = "credit_limit_amount"  # of the module account_credit_limit


class Kind(NamedTuple):
    """How one kind of record is read.

    Attributes:
        segments: what follows the prefix in a record's key, for people; how many may be missing.
        read: the entry of the configuration and the segments -> the record.
    """

    segments: Sequence[str]
    optional: int
    read: Callable[[Json, Sequence[str]], Asks[Reading | None]]


def read_account(entry: Json, segments: Sequence[str]) -> Asks[Reading | None]:
    """Return the balance of one account, as debit less credit."""
    found = yield from lookups.rows(
        "account.account",
        [["code", "=", entry["account"]]],
        ["name", "balance", "currency.code"],
        about=f"Read account {entry['account']}",
        well=[{"name": "", "balance": Decimal(0), "currency.": {"code": "USD"}}],
    )
    if not found:
        return None
    row = found[0]
    balance = money(row["balance"], row["currency."]["code"])
    return Reading({"account": row["name"], "balance": balance})


def read_supplier(entry: Json, segments: Sequence[str]) -> Asks[Reading | None]:
    """Return what a vendor is owed, and which of their invoices are open."""
    (vendor,) = segments
    party = yield from _party(entry, vendor, ["name", "payable", "_timestamp"])
    if party is None:
        return None
    found = yield from lookups.every(
        invoices.MODEL,
        [["party", "=", party["id"]], ["type", "=", "in"], ["state", "=", "posted"]],
        ["reference", "number", "amount_to_pay", "currency.code"],
        about=f"Read the open invoices of {vendor}",
    )
    return Reading(
        {
            "vendor": party["name"],
            "payable": f"{party['payable']:f}",
            "open_invoices": [
                {
                    "invoice": row["reference"] or row["number"],
                    "to_pay": money(row["amount_to_pay"], row["currency."]["code"]),
                }
                for row in found
                if row["amount_to_pay"]
            ],
        },
        str(party["_timestamp"]),
    )


def read_invoice(entry: Json, segments: Sequence[str]) -> Asks[Reading | None]:
    """Return a supplier's invoice by the supplier's own number. Cancelled ones are not there."""
    vendor, reference = segments
    found = yield from lookups.rows(
        invoices.MODEL,
        [
            ["type", "=", "in"],
            ["reference", "=", reference],
            ["state", "!=", "cancelled"],
            *lookups.by({_by(entry): vendor}, "party."),
        ],
        ["reference", "number", "state", "invoice_date", "total_amount", "amount_to_pay",
         "currency.code", "_timestamp"],
        about=f"Read invoice {reference} of {vendor}",
    )  # fmt: skip
    if not found:
        return None
    row = found[0]
    code = row["currency."]["code"]
    return Reading(
        {
            "invoice": row["reference"],
            "number": row["number"] or "",
            "state": row["state"],
            "date": row["invoice_date"] or "",
            "total": money(row["total_amount"], code),
            "to_pay": money(row["amount_to_pay"] or Decimal(0), code),
        },
        str(row["_timestamp"]),
    )


def read_sale(entry: Json, segments: Sequence[str]) -> Asks[Reading | None]:
    """Return a sale by its reference, with the lines in which something is sold. A cancelled one is not there."""
    (order,) = segments
    found = yield from lookups.rows(
        "sale.sale",
        [["reference", "=", order], ["state", "!=", "cancelled"]],
        ["reference", "state", "party.name", "shipping_date", "untaxed_amount", "currency.code",
         "_timestamp"],
        about=f"Read sale {order}",
        well=[{"id": "{id of the sale}", "reference": order, "state": "draft",
               "party.": {"name": "{its customer}"}, "shipping_date": None,
               "untaxed_amount": Decimal(0), "currency.": {"code": "USD"}, "_timestamp": ""}],
    )  # fmt: skip
    if not found:
        return None
    sale = found[0]
    code = sale["currency."]["code"]
    lines = yield from lookups.every(
        "sale.line",
        [["sale", "=", sale["id"]], ["type", "=", "line"], ["quantity", "!=", 0]],
        ["product.code", "description", "quantity", "amount"],
        about="Read its lines",
    )
    return Reading(
        {
            "order": sale["reference"],
            "state": sale["state"],
            "customer": sale["party."]["name"],
            "delivery_date": sale["shipping_date"] or "",
            "total": money(sale["untaxed_amount"], code),
            "lines": [
                {
                    "sku": (line["product."] or {}).get("code") or "",
                    "description": line["description"] or "",
                    "quantity": f"{Decimal(line['quantity']).normalize():f}",
                    "amount": money(line["amount"], code),
                }
                for line in lines
            ],
        },
        str(sale["_timestamp"]),
    )


def read_customer(entry: Json, segments: Sequence[str]) -> Asks[Reading | None]:
    """Return a customer's credit limit and what is ordered, or one part of their record."""
    customer, *rest = segments
    if rest:
        found = yield from parties.look({_by(entry): customer}, rest[0])
        return None if found is None else found.reading
    party = yield from _party(entry, customer, ["name", "code", "receivable", "_timestamp"])
    if party is None:
        return None
    limit = yield from _credit_limit(party)
    sales = yield from lookups.every(
        "sale.sale",
        [["party", "=", party["id"]], ["state", "in", ["draft", *COMMITTED]]],
        ["untaxed_amount", "currency.code"],
        about=f"Read the open orders of {customer}",
    )
    orders: dict[str, Decimal] = {}
    for sale in sales:
        code = sale["currency."]["code"]
        orders[code] = orders.get(code, Decimal(0)) + sale["untaxed_amount"]
    return Reading(
        {
            "customer": party["name"],
            "code": party["code"] or "",
            "receivable": f"{party['receivable']:f}",
            "credit_limit": limit,
            "open_orders": {code: f"{value:f}" for code, value in sorted(orders.items())},
        },
        str(party["_timestamp"]),
    )


def _credit_limit(party: Row) -> Asks[str | None]:
    """Return what a customer may owe; None without a limit, or where Tryton keeps none."""
    known = yield Ask(
        "model.ir.model.field.search_count",
        ([["model", "=", parties.PARTY], ["name", "=", LIMIT_FIELD]],),
        about="Ask whether Tryton keeps credit limits",
        well=1,
    )
    if not known:
        return None
    found = yield from lookups.only(
        parties.PARTY,
        [["id", "=", party["id"]]],
        [LIMIT_FIELD],
        what="the customer",
        well={LIMIT_FIELD: Decimal(0)},
    )
    limit = found[LIMIT_FIELD]
    return None if limit is None else f"{limit:f}"


def _party(entry: Json, name: str, fields: Sequence[str]) -> Asks[Row | None]:
    found = yield from lookups.one(
        parties.PARTY,
        lookups.by({_by(entry): name}),
        fields,
        what=name,
        well={
            **dict.fromkeys(fields, ""),
            "id": f"{{id of {name}}}",
            "payable": Decimal(0),
            "receivable": Decimal(0),
        },
    )
    return found


def _by(entry: Mapping[str, str]) -> str:
    return entry.get("by", "name")


KINDS: Mapping[str, Kind] = {
    "account": Kind((), 0, read_account),
    "supplier": Kind(("vendor",), 0, read_supplier),
    "supplier_invoice": Kind(("vendor", "invoice"), 0, read_invoice),
    "sale": Kind(("order",), 0, read_sale),
    "customer": Kind(("customer", "part"), 1, read_customer),
}


def segments_of(kind: str, segments: Sequence[str]) -> Sequence[str]:
    """Return the segments of a record's key. Raises ValueError if they are too few, too many or unknown."""
    wanted = KINDS[kind]
    if not len(wanted.segments) - wanted.optional <= len(segments) <= len(wanted.segments):
        raise ValueError(f"The key of a record {kind} ends in {'/'.join(wanted.segments)}.")
    if kind == "customer" and len(segments) > 1 and segments[1] not in parties.PARTS:
        raise ValueError(f"A customer's record has no part {segments[1]}.")
    return segments
