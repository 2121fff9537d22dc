"""Customers with their four sub-records, and sales orders line by line."""

from __future__ import annotations

import json
from typing import Any

from demo_target import books, fields, money
from demo_target.books import Line
from demo_target.calls import Answer, Call
from demo_target.refusals import Refusal, invalid, unknown
from demo_target.store import Tx

PARTS = ("billing-address", "shipping-address", "contact", "terms")
MOST_FIELDS = 20


# --- Customers --------------------------------------------------------------------------------


def read_customer(tx: Tx, call: Call) -> Answer:
    """GET /customers/{name}: credit limit and open orders. One never heard of has neither."""
    row = tx.one("SELECT * FROM customers WHERE key = ?", fields.fold(call.parts[0]))
    limit = row["credit_limit"] if row else None
    return Answer(
        {
            "credit_limit": None if limit is None else money.shown(limit, money.BASE),
            "open_orders": _shown(_ordered(tx, row["id"]) if row else {}),
        },
        version=row["version"] if row else 0,
    )


def read_part(tx: Tx, call: Call) -> Answer:
    """GET /customers/{name}/{part}. Of a customer never heard of it is empty, at version 0."""
    name, part = call.parts
    _known(part)
    row = _part(tx, name, part)
    return Answer(json.loads(row["state"]) if row else {}, version=row["version"] if row else 0)


def write_part(tx: Tx, call: Call) -> Answer:
    """PUT /customers/{name}/{part}: the whole sub-record, a flat object of texts."""
    name, part = call.parts
    _known(part)
    if len(call.body) > MOST_FIELDS:
        raise invalid(f"A sub-record has at most {MOST_FIELDS} fields.")
    if "version" in call.body:
        raise invalid("The version is ours; name the one you saw in If-Match.")
    state = {fields.text({"name": key}, "name", 40): fields.text(call.body, key, 300, default="")
             for key in call.body}  # fmt: skip
    row = _part(tx, name, part)
    call.expect(row["version"] if row else 0)
    version = row["version"] + 1 if row else 1
    tx.run(
        "INSERT INTO customer_parts VALUES (?, ?, ?, ?) ON CONFLICT (customer, part)"
        " DO UPDATE SET state = excluded.state, version = excluded.version",
        customer_of(tx, name)["id"], part, json.dumps(state), version,
    )  # fmt: skip
    change = 1001 + (tx.value("SELECT max(id) FROM operations") or 0)
    record = {**state, "version": str(version)}
    return Answer({"reference": f"CHG-{change}", "record": record}, version=version)


# --- Orders -----------------------------------------------------------------------------------


def read_order(tx: Tx, call: Call) -> Answer:
    """GET /sales-orders/{order}: its lines, and what the open ones come to."""
    row = tx.one(
        "SELECT sales_orders.*, customers.name FROM sales_orders"
        " JOIN customers ON customers.id = customer WHERE sales_orders.key = ?",
        fields.fold(call.parts[0]),
    )
    if row is None:
        raise unknown("There is no such sales order.")
    lines = tx.all("SELECT * FROM sales_lines WHERE sales_order = ? ORDER BY id", row["id"])
    return Answer(
        {
            "order": row["number"],
            "customer": row["name"],
            "delivery_date": row["delivery_date"],
            "total": _shown(_total(tx, row["id"])),
            "lines": [
                {
                    "line": each["number"],
                    "sku": each["sku"],
                    "description": each["description"],
                    "quantity": each["quantity"],
                    "amount": money.amount(each["amount"], each["currency"]),
                    "state": each["state"],
                }
                for each in lines
            ],
        },
        version=row["version"],
    )


def add_line(tx: Tx, call: Call) -> Answer:
    """POST /sales-orders/{order}/lines: {customer, delivery_date, line?, sku, …, amount}.

    The first line makes the order. A customer's open orders stay within the
    credit limit, if there is one: the check comes after the line's total.
    """
    units, code = fields.amount(call.body)
    customer = customer_of(tx, fields.text(call.body, "customer"))
    delivery = fields.day(call.body, "delivery_date")
    number = fields.text({"order": call.parts[0]}, "order", 60)
    row = _order_for(tx, number, customer, delivery, call)
    line = (
        fields.whole(call.body, "line", 1000) if "line" in call.body else _next_line(tx, row["id"])
    )
    if tx.one(
        "SELECT 1 FROM sales_lines WHERE sales_order = ? AND number = ? AND state = 'open'",
        row["id"], line,
    ):  # fmt: skip
        raise Refusal(409, "known_line", f"{row['number']} has a line {line} already.")
    tx.run(
        "INSERT INTO sales_lines"
        " (sales_order, number, sku, description, quantity, amount, currency, state)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, 'open')",
        row["id"], line, fields.text(call.body, "sku", 60), fields.text(call.body, "description"),
        fields.whole(call.body, "quantity"), units, code,
    )  # fmt: skip
    limit = customer["credit_limit"]
    ordered = _ordered(tx, customer["id"]).get(money.BASE, 0)
    if limit is not None and ordered > limit:
        raise Refusal(
            422, "credit_limit",
            f"{customer['name']} would have {money.shown(ordered, money.BASE)} on order; the limit"
            f" is {money.shown(limit, money.BASE)} {money.BASE}.",
        )  # fmt: skip
    _take_in(tx, "sales_line", code, units)
    _touch(tx, row["id"], customer["id"])
    return Answer(
        {
            "reference": f"{row['number']}/{line}",
            "order": row["number"],
            "line": line,
            "amount": money.amount(units, code),
            "total": _shown(_total(tx, row["id"])),
        },
        status=201,
    )


def cancel_line(tx: Tx, call: Call) -> Answer:
    """POST /sales-orders/{order}/lines/{n}/cancel. The line stays to be seen, and counts no more."""
    order, digits = call.parts
    row = tx.one("SELECT * FROM sales_orders WHERE key = ?", fields.fold(order))
    number = int(digits) if digits.isascii() and digits.isdigit() and len(digits) < 5 else 0
    line = row and tx.one(
        "SELECT * FROM sales_lines WHERE sales_order = ? AND number = ? ORDER BY id DESC LIMIT 1",
        row["id"], number,
    )  # fmt: skip
    if row is None or line is None:
        raise unknown("There is no such line.")
    call.expect(row["version"])
    reference = f"{row['number']}/{number}"
    if line["state"] == "cancelled":
        raise Refusal(409, "already_cancelled", f"{reference} was cancelled already.")
    tx.run("UPDATE sales_lines SET state = 'cancelled' WHERE id = ?", line["id"])
    _take_in(tx, "cancelled_line", line["currency"], -line["amount"])
    _touch(tx, row["id"], row["customer"])
    return Answer({
        "reference": f"{reference}/cancelled",
        "state": "cancelled",
        "total": _shown(_total(tx, row["id"])),
    })  # fmt: skip


# --- Parts ------------------------------------------------------------------------------------


def customer_of(tx: Tx, name: str) -> Any:
    """Return a customer by name or number, entered if need be."""
    key = fields.fold(fields.text({"customer": name}, "customer"))
    row = tx.one("SELECT * FROM customers WHERE key = ?", key)
    if row is None:
        tx.run("INSERT INTO customers (key, name, version) VALUES (?, ?, 0)", key, name)
        row = tx.one("SELECT * FROM customers WHERE key = ?", key)
    return row


def _known(part: str) -> None:
    if part not in PARTS:
        raise unknown(f"A customer has {', '.join(PARTS)}, and no {part[:40]!r}.")


def _part(tx: Tx, name: str, part: str) -> Any:
    return tx.one(
        "SELECT customer_parts.* FROM customer_parts JOIN customers ON customers.id = customer"
        " WHERE customers.key = ? AND part = ?",
        fields.fold(name), part,
    )  # fmt: skip


def _order_for(tx: Tx, number: str, customer: Any, delivery: str, call: Call) -> Any:
    """Return the order, made if need be; one whose lines were all cancelled may begin anew."""
    key = fields.fold(number)
    row = tx.one("SELECT * FROM sales_orders WHERE key = ?", key)
    call.expect(row["version"] if row else 0)
    if row is not None and _total(tx, row["id"]):
        if row["customer"] != customer["id"] or row["delivery_date"] != delivery:
            raise Refusal(
                409, "other_order", f"{row['number']} is for another customer or another day."
            )
        return row
    tx.run(
        "INSERT INTO sales_orders (key, number, customer, delivery_date, version)"
        " VALUES (?, ?, ?, ?, 0) ON CONFLICT (key) DO UPDATE SET"
        " customer = excluded.customer, delivery_date = excluded.delivery_date",
        key, number, customer["id"], delivery,
    )  # fmt: skip
    return tx.one("SELECT * FROM sales_orders WHERE key = ?", key)


def _next_line(tx: Tx, order: int) -> int:
    last = tx.value("SELECT max(number) FROM sales_lines WHERE sales_order = ?", order)
    return int(last or 0) + 1


def _total(tx: Tx, order: int) -> dict[str, int]:
    rows = tx.all(
        "SELECT currency, sum(amount) FROM sales_lines"
        " WHERE sales_order = ? AND state = 'open' GROUP BY currency",
        order,
    )
    return dict(map(tuple, rows))


def _ordered(tx: Tx, customer: int) -> dict[str, int]:
    rows = tx.all(
        "SELECT currency, sum(amount) FROM sales_lines JOIN sales_orders"
        " ON sales_orders.id = sales_order WHERE customer = ? AND state = 'open' GROUP BY currency",
        customer,
    )
    return dict(map(tuple, rows))


def _shown(sums: dict[str, int]) -> dict[str, str]:
    return {code: money.shown(sums[code], code) for code in sorted(sums)}


def _take_in(tx: Tx, kind: str, code: str, units: int) -> None:
    """Post a line's amount to memorandum accounts; a negative one takes it out again."""
    more = max(units, 0), max(-units, 0)
    books.post(tx, kind, code, Line("orders_on_hand", *more), Line("goods_promised", *more[::-1]))


def _touch(tx: Tx, order: int, customer: int) -> None:
    tx.run("UPDATE sales_orders SET version = version + 1 WHERE id = ?", order)
    tx.run("UPDATE customers SET version = version + 1 WHERE id = ?", customer)
