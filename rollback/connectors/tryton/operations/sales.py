"""A sale, line by line. Each line's note is the mark of the unit that entered it, then of the one that took it away."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import Any

from rollback.connectors.base import Json, Receipt, Rejected
from rollback.connectors.tryton import keys, wire
from rollback.connectors.tryton.asking import Ask, Asks, only_if
from rollback.connectors.tryton.operations import lookups
from rollback.connectors.tryton.operations.base import Listed, Operation, done
from rollback.connectors.tryton.operations.lookups import Row

SALE, LINE = "sale.sale", "sale.line"
LINE_FIELDS = ("note", "quantity", "sale", "sale.state", "sale.description", "_timestamp")
A_LINE: Row = {
    "id": "{id of the line}",
    "note": None,
    "quantity": Decimal(1),
    "sale": "{id of the sale}",
    "sale.": {"state": "draft", "description": None},
    "_timestamp": "{its version}",
}
PRICE_DIGITS = Decimal("0.0001")  # Tryton's own for a price of one
CENT = Decimal("0.01")


def _line(marked: str, *, about: str, well: Sequence[Row] = ()) -> Asks[Row | None]:
    """Return the line with this mark."""
    found = yield from lookups.marked(LINE, "note", marked, [], LINE_FIELDS, about=about, well=well)
    return found


def _receipt(line: Row) -> Receipt:
    return Receipt(
        f"sale {line['sale']}, line {line['id']}", {"sale": line["sale"], "line": line["id"]}
    )


# --- Enter a line -------------------------------------------------------------------------------


def find_entered(key: str) -> Asks[Receipt | None]:
    """Return the line that was entered under this key, also if it was taken away since."""
    line = yield from _line(keys.mark(keys.ENTER, key), about="Ask for the line by its key")
    return None if line is None else _receipt(line)


def price_of(body: Json) -> Decimal:
    """Return the price of one. Raises ValueError if no price comes to the line's amount."""
    amount, quantity = lookups.amount_of(body), Decimal(body["quantity"])
    price = (amount / quantity).quantize(PRICE_DIGITS)
    if (price * quantity).quantize(CENT) != amount:
        raise ValueError(f"No price with four decimals comes to {amount} for {quantity}.")
    return price


def enter(body: Json, key: str, version: str) -> Asks[Receipt]:
    """Add a line to the open sale of this order; the first line opens it."""
    price = price_of(body)
    customer = lookups.words(body["party"])
    open_sale: Row = {
        "id": "{id of the sale}",
        "state": "draft",
        "currency.": {"code": body["amount"]["currency"]},
        "_timestamp": "{its version}",
    }
    sales = yield from lookups.rows(
        SALE,
        [
            ["reference", "=", body["order"]],
            ["state", "!=", "cancelled"],
            *lookups.by(body["party"], "party."),
        ],
        ["state", "currency.code", "_timestamp"],
        about=f"Look up sale {body['order']}",
        well=[] if body["opens"] else [open_sale],
    )
    known = yield from find_entered(key)
    if known is not None:
        return known
    product = yield from lookups.only(
        "product.product",
        lookups.by(body["product"]),
        ["sale_uom", "default_uom"],
        what=f"the product {lookups.words(body['product'])}",
        well={
            "id": f"{{id of {lookups.words(body['product'])}}}",
            "sale_uom": "{its unit}",
            "default_uom": "{its unit}",
        },
    )
    line = {
        "type": "line",
        "product": product["id"],
        "unit": product["sale_uom"] or product["default_uom"],
        "description": body["description"],
        "quantity": body["quantity"],
        "unit_price": wire.number(price),
        "note": keys.mark(keys.ENTER, key),
    }
    if sales:
        yield from _add(sales, line, body)
    elif body["opens"]:
        yield from _open(body, key, line, customer)
    else:
        raise Rejected(f"Sale {body['order']} of {customer} is not there any more.")
    marked = keys.mark(keys.ENTER, key)
    entered = yield from _line(marked, about="Read the line", well=[{**A_LINE, "note": marked}])
    return done(None if entered is None else _receipt(entered), "Tryton said yes")


def _add(sales: list[Row], line: Json, body: Json) -> Asks[None]:
    if len(sales) > 1:
        raise Rejected(f"There are several sales {body['order']}.")
    (sale,) = sales
    if sale["state"] != "draft":
        raise Rejected(f"Sale {body['order']} is {sale['state']}, so it takes no more lines.")
    if sale["currency."]["code"] != body["amount"]["currency"]:
        raise Rejected(f"Sale {body['order']} is in {sale['currency.']['code']}.")
    yield Ask(
        f"model.{SALE}.write",
        ([sale["id"]], {"lines": [["create", [line]]]}),
        about=f"Add the line to sale {body['order']}",
        context=only_if(SALE, sale),
        effect=True,
    )


def _open(body: Json, key: str, line: Json, customer: str) -> Asks[None]:
    party = yield from lookups.only(
        "party.party",
        lookups.by(body["party"]),
        ["customer_payment_term"],
        what=f"the customer {customer}",
        well={"id": f"{{id of {customer}}}", "customer_payment_term": "{id of its terms}"},
    )
    addresses = yield from lookups.every(
        "party.address",
        [["party", "=", party["id"]]],
        ["invoice", "delivery"],
        about=f"Look up the addresses of {customer}",
        well=[{"id": "{id of its address}", "invoice": True, "delivery": True}],
    )
    currency = yield from lookups.currency(body["amount"]["currency"])
    yield Ask(
        f"model.{SALE}.create",
        (
            [
                {
                    "party": party["id"],
                    "reference": body["order"],
                    "description": keys.mark(keys.ENTER, key),
                    "currency": currency["id"],
                    "payment_term": party["customer_payment_term"],
                    "invoice_address": _address(addresses, "invoice"),
                    "shipment_address": _address(addresses, "delivery"),
                    "shipping_date": wire.day(body["delivery_date"]),
                    "lines": [["create", [line]]],
                }
            ],
        ),
        about=f"Open sale {body['order']} with its first line",
        well=["{id of the sale}"],
        effect=True,
    )


def _address(addresses: list[Row], purpose: str) -> Any:
    """Return the address for a purpose; the first one where none is marked for it."""
    marked = [row["id"] for row in addresses if row[purpose]] or [row["id"] for row in addresses]
    return marked[0] if marked else None


# --- Take a line away ---------------------------------------------------------------------------


def find_taken_away(key: str) -> Asks[Receipt | None]:
    """Return the line that was taken away under this key, if its sale is cancelled where it was the last."""
    line = yield from _line(
        keys.mark(keys.CANCEL, key), about="Ask for the cancelled line by its key"
    )
    if line is None:
        return None
    left = yield from _left(line)
    return None if left else _receipt(line)


def take_away(body: Json, key: str, version: str) -> Asks[Receipt]:
    """Set a line to none of it. With the last line of a sale that we opened, the sale is cancelled.

    The line stays to be seen, with both marks.
    """
    line = yield from lookups.only(
        LINE,
        [["id", "=", body["line"]]],
        LINE_FIELDS,
        what="the line that was entered",
        well={**A_LINE, "sale": body["sale"]},
    )
    marked = keys.mark(keys.CANCEL, key)
    if not keys.holds(line["note"], marked):
        if line["sale."]["state"] != "draft":
            raise Rejected(
                f"The sale is {line['sale.']['state']} since, so its lines stay as they are."
            )
        yield Ask(
            f"model.{LINE}.write",
            ([line["id"]], {"quantity": 0, "note": keys.added(line["note"], marked)}),
            about="Set the line to none of it",
            context=only_if(LINE, line),
            effect=True,
        )
    empty = yield from _left(line)
    if empty:
        yield Ask(
            f"model.{SALE}.cancel",
            ([line["sale"]],),
            about="Cancel the sale, which has no lines left",
            context=only_if(SALE, empty[0]),
            effect=True,
        )
    return _receipt(line)


def _left(line: Row) -> Asks[list[Row]]:
    """Return the sale of a line if it is to be cancelled: ours, a draft still, and nothing is sold in it."""
    found = yield from lookups.rows(
        SALE,
        [
            ["id", "=", line["sale"]],
            ["state", "=", "draft"],
            ["lines", "!=", None],
        ],
        ["description", "lines.quantity", "lines.note", "_timestamp"],
        about="Ask whether its sale has lines left",
    )
    return [
        sale
        for sale in found
        if all(not each["quantity"] for each in sale["lines."])
        and any(keys.holds(each["note"], sale["description"] or "") for each in sale["lines."])
    ]


ENTER_LINE = Operation(
    lookups.schema({
        "party": lookups.NAMED,
        "order": lookups.TEXT,
        "opens": {"type": "boolean"},
        "delivery_date": lookups.DAY,
        "product": lookups.NAMED,
        "description": lookups.TEXT,
        "quantity": {"type": "integer", "minimum": 1},
        "amount": lookups.MONEY,
    }),
    enter,
    find_entered,
    Listed(LINE, "note", "create_date"),
    price_of,
)  # fmt: skip
TAKE_LINE_AWAY = Operation(
    lookups.schema({"sale": lookups.ID, "line": lookups.ID}),
    take_away,
    find_taken_away,
    Listed(LINE, "note", "write_date"),
    goes_back_only=True,
)
