"""Vendors, bills, payments, credit memos, purchase orders."""

from __future__ import annotations

from typing import Any

from demo_target import books, fields, money
from demo_target.books import PAYABLES, Line
from demo_target.calls import Answer, Call
from demo_target.refusals import Refusal, unknown
from demo_target.store import Tx

# --- What is asked ----------------------------------------------------------------------------


def read_vendor(tx: Tx, call: Call) -> Answer:
    """GET /vendors/{name}: balance, credit limit, open bills. One never heard of is owed nothing."""
    row = tx.one("SELECT * FROM vendors WHERE key = ?", fields.fold(call.parts[0]))
    if row is None:
        return Answer({**money.balance({}), "credit_limit": None, "open_bills": []}, version=0)
    limit = row["credit_limit"]
    bills = tx.all(
        f"SELECT number, currency, total - {_PAID} AS open FROM bills"
        " WHERE vendor = ? AND booked AND open > 0 ORDER BY id",
        row["id"],
    )
    return Answer(
        {
            **money.balance(books.owed(tx, row["id"])),
            "credit_limit": None if limit is None else money.shown(limit, money.BASE),
            "open_bills": [
                {"invoice": each["number"], "open": money.amount(each["open"], each["currency"])}
                for each in bills
            ],
        },
        version=row["version"],
    )


def read_bill(tx: Tx, call: Call) -> Answer:
    """GET /bills/{vendor}/{invoice}."""
    row = tx.one(
        f"SELECT bills.*, {_PAID} AS paid FROM bills JOIN vendors ON vendors.id = bills.vendor"
        " WHERE vendors.key = ? AND bills.key = ?",
        *map(fields.fold, call.parts),
    )
    if row is None:
        raise unknown("There is no such bill.")
    total, code = row["total"], row["currency"]
    return Answer({
        "invoice": row["number"],
        "total": None if total is None else money.amount(total, code),
        "paid": money.amount(row["paid"], code),
        "open": None if total is None else money.amount(total - row["paid"], code),
    })  # fmt: skip


def read_payment(tx: Tx, call: Call) -> Answer:
    """GET /payments/{reference}."""
    row = _payment(tx, call.parts[0])
    return Answer(_said(row))


def read_memo(tx: Tx, call: Call) -> Answer:
    """GET /credit-memos/{reference}."""
    row = tx.one("SELECT * FROM credit_memos WHERE id = ?", _number(call.parts[0], "CM-"))
    if row is None:
        raise unknown("There is no such credit memo.")
    return Answer({
        "reference": f"CM-{1000 + row['id']}",
        "payment": f"PAY-{1000 + row['payment']}",
        "amount": money.amount(row["amount"], row["currency"]),
        "reason": row["reason"],
    })  # fmt: skip


def read_purchase_order(tx: Tx, call: Call) -> Answer:
    """GET /purchase-orders/{order}."""
    row = tx.one(
        "SELECT purchase_orders.*, vendors.name AS vendor_name FROM purchase_orders"
        " JOIN vendors ON vendors.id = vendor WHERE purchase_orders.key = ?",
        fields.fold(call.parts[0]),
    )
    if row is None:
        raise unknown("There is no such purchase order.")
    return Answer(
        {
            "order": row["number"],
            "vendor": row["vendor_name"],
            "item": row["item"],
            "quantity": row["quantity"],
            "delivery_date": row["delivery_date"],
            "amount": money.amount(row["amount"], row["currency"]),
            "state": row["state"],
        },
        version=row["version"],
    )


# --- What is done -----------------------------------------------------------------------------


def enter_bill(tx: Tx, call: Call) -> Answer:
    """POST /bills: {vendor, invoice, amount}. Debit expenses, credit payables."""
    units, code = fields.amount(call.body)
    vendor = vendor_of(tx, fields.text(call.body, "vendor"))
    call.expect(vendor["version"])
    number = fields.text(call.body, "invoice", 60)
    if tx.one(
        "SELECT 1 FROM bills WHERE vendor = ? AND key = ?", vendor["id"], fields.fold(number)
    ):
        raise Refusal(409, "known_bill", f"{number} of {vendor['name']} is in the books already.")
    bill = tx.run(
        "INSERT INTO bills (vendor, key, number, currency, total, booked) VALUES (?, ?, ?, ?, ?, 1)",
        vendor["id"], fields.fold(number), number, code, units,
    )  # fmt: skip
    owing = Line(PAYABLES, credit=units, vendor=vendor["id"])
    books.post(tx, "bill", code, Line("expenses", debit=units), owing)
    _touch(tx, vendor["id"])
    return Answer({"reference": f"BILL-{1000 + bill}", "invoice": number}, status=201)


def pay(tx: Tx, call: Call) -> Answer:
    """POST /payments: {vendor, invoice, amount, instalment?, payment_date?, terms?}.

    Debit payables, credit bank. Vendor and bill are entered if they are not
    there; such a bill never stood in payables, so paying it is paying ahead,
    and a credit memo brings the vendor back to nothing.
    """
    units, code = fields.amount(call.body)
    name = fields.text(call.body, "vendor")
    number = fields.text(call.body, "invoice", 60)
    instalment = fields.text(call.body, "instalment", 20, default="")
    paid_on = fields.day(call.body, "payment_date", default="")
    terms = fields.text(call.body, "terms", 60, default="")
    vendor = vendor_of(tx, name)
    call.expect(vendor["version"])
    bill = _bill_to_pay(tx, vendor, number, units, code, whole=not instalment)
    part = fields.fold(instalment)
    if tx.one(
        "SELECT 1 FROM payments WHERE bill = ? AND instalment = ? AND credited = 0",
        bill["id"],
        part,
    ):
        what = f"Instalment {instalment} of {number}" if instalment else number
        raise Refusal(409, "already_paid", f"{what} of {vendor['name']} is paid already.")
    left = None if bill["total"] is None else bill["total"] - bill["paid"]
    if left is not None and units > left:
        raise Refusal(
            422, "exceeds_open_amount",
            f"{money.shown(units, code)} is more than the {money.shown(left, code)} {code} that"
            f" {number} of {vendor['name']} still has open.",
        )  # fmt: skip
    payment = tx.run(
        "INSERT INTO payments (bill, instalment, amount, currency, paid_on, terms)"
        " VALUES (?, ?, ?, ?, ?, ?)",
        bill["id"], part, units, code, paid_on, terms,
    )  # fmt: skip
    settled = Line(PAYABLES, debit=units, vendor=vendor["id"])
    books.post(tx, "payment", code, settled, Line("bank", credit=units))
    _touch(tx, vendor["id"])
    return Answer(
        {
            "reference": f"PAY-{1000 + payment}",
            "vendor": vendor["name"],
            "invoice": number,
            "instalment": instalment,
            "amount": money.amount(units, code),
            "open": None if left is None else money.amount(left - units, code),
        },
        status=201,
    )


def credit(tx: Tx, call: Call) -> Answer:
    """POST /credit-memos: {payment, amount, reason?}. Debit vendor refunds, credit payables.

    Always the whole payment, once. What is owed is then what it was before; the
    money itself is a claim on the vendor.
    """
    units, code = fields.amount(call.body)
    reason = fields.text(call.body, "reason", 300, default="")
    row = _payment(tx, fields.text(call.body, "payment", 40))
    reference = f"PAY-{1000 + row['id']}"
    if row["credited"]:
        raise Refusal(409, "already_credited", f"{reference} was credited already.")
    if (units, code) != (row["amount"], row["currency"]):
        was = f"{money.shown(row['amount'], row['currency'])} {row['currency']}"
        raise Refusal(
            422, "other_amount", f"{reference} was over {was}; a memo takes back all of it."
        )
    tx.run("UPDATE payments SET credited = 1 WHERE id = ?", row["id"])
    memo = tx.run(
        "INSERT INTO credit_memos (payment, amount, currency, reason) VALUES (?, ?, ?, ?)",
        row["id"], units, code, reason,
    )  # fmt: skip
    owing = Line(PAYABLES, credit=units, vendor=row["vendor"])
    books.post(tx, "credit_memo", code, Line("vendor_refunds", debit=units), owing)
    _touch(tx, row["vendor"])
    said = {"payment": reference, "amount": money.amount(units, code)}
    return Answer({"reference": f"CM-{1000 + memo}", **said}, status=201)


def order(tx: Tx, call: Call) -> Answer:
    """POST /purchase-orders: {order, vendor, item, quantity, delivery_date, amount}."""
    units, code = fields.amount(call.body)
    number = fields.text(call.body, "order", 60)
    vendor = vendor_of(tx, fields.text(call.body, "vendor"))
    row = tx.one("SELECT * FROM purchase_orders WHERE key = ?", fields.fold(number))
    call.expect(row["version"] if row else 0)
    if row is not None and row["state"] == "open":
        raise Refusal(409, "known_order", f"{number} is placed already.")
    tx.run(
        "INSERT INTO purchase_orders"
        " (key, number, vendor, item, quantity, delivery_date, amount, currency, state)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?, 'open') ON CONFLICT (key) DO UPDATE SET"
        " vendor = excluded.vendor, item = excluded.item, quantity = excluded.quantity,"
        " delivery_date = excluded.delivery_date, amount = excluded.amount,"
        " currency = excluded.currency, state = 'open', version = version + 1",
        fields.fold(number), number, vendor["id"], fields.text(call.body, "item"),
        fields.whole(call.body, "quantity"), fields.day(call.body, "delivery_date"), units, code,
    )  # fmt: skip
    _commit_to(tx, "purchase_order", code, units, vendor["id"])
    return Answer(
        {"reference": number, "state": "open", "amount": money.amount(units, code)}, status=201
    )


def cancel_order(tx: Tx, call: Call) -> Answer:
    """POST /purchase-orders/{order}/cancel."""
    row = tx.one("SELECT * FROM purchase_orders WHERE key = ?", fields.fold(call.parts[0]))
    if row is None:
        raise unknown("There is no such purchase order.")
    call.expect(row["version"])
    if row["state"] == "cancelled":
        raise Refusal(409, "already_cancelled", f"{row['number']} was cancelled already.")
    tx.run(
        "UPDATE purchase_orders SET state = 'cancelled', version = version + 1 WHERE id = ?",
        row["id"],
    )
    _commit_to(tx, "cancelled_order", row["currency"], -row["amount"], row["vendor"])
    return Answer({"reference": f"{row['number']}/cancelled", "state": "cancelled"})


# --- Parts ------------------------------------------------------------------------------------

_PAID = (
    "(SELECT coalesce(sum(amount), 0) FROM payments WHERE bill = bills.id AND credited = 0)"
)  # fmt: skip


def vendor_of(tx: Tx, name: str) -> Any:
    """Return a vendor by name, entered if need be."""
    key = fields.fold(name)
    row = tx.one("SELECT * FROM vendors WHERE key = ?", key)
    if row is None:
        tx.run("INSERT INTO vendors (key, name, version) VALUES (?, ?, 0)", key, name)
        row = tx.one("SELECT * FROM vendors WHERE key = ?", key)
    return row


def _bill_to_pay(tx: Tx, vendor: Any, number: str, units: int, code: str, *, whole: bool) -> Any:
    """Return the bill with what was paid of it.

    One that we know from its payments alone is as large as they say: entered
    here, or, once all of them were credited, corrected.
    """
    find = f"SELECT bills.*, {_PAID} AS paid FROM bills WHERE vendor = ? AND key = ?"
    where = (vendor["id"], fields.fold(number))
    row = tx.one(find, *where)
    total = units if whole else None
    if row is None:
        tx.run(
            "INSERT INTO bills (vendor, key, number, currency, total, booked)"
            " VALUES (?, ?, ?, ?, ?, 0)",
            *where, number, code, total,
        )  # fmt: skip
    elif not row["booked"] and not row["paid"]:
        tx.run("UPDATE bills SET total = ?, currency = ? WHERE id = ?", total, code, row["id"])
    elif row["currency"] != code:
        raise Refusal(422, "other_currency", f"{number} is in {row['currency']}.")
    return tx.one(find, *where)


def _payment(tx: Tx, reference: str) -> Any:
    row = tx.one(
        "SELECT payments.*, bills.number, bills.vendor, vendors.name FROM payments"
        " JOIN bills ON bills.id = bill JOIN vendors ON vendors.id = vendor WHERE payments.id = ?",
        _number(reference, "PAY-"),
    )
    if row is None:
        raise unknown("There is no such payment.")
    return row


def _said(row: Any) -> dict[str, Any]:
    return {
        "reference": f"PAY-{1000 + row['id']}",
        "vendor": row["name"],
        "invoice": row["number"],
        "instalment": row["instalment"],
        "amount": money.amount(row["amount"], row["currency"]),
        "payment_date": row["paid_on"],
        "credited": bool(row["credited"]),
    }


def _number(reference: str, prefix: str) -> int:
    digits = reference.upper().removeprefix(prefix)
    return int(digits) - 1000 if digits.isascii() and digits.isdigit() and len(digits) < 16 else 0


def _commit_to(tx: Tx, kind: str, code: str, units: int, vendor: int) -> None:
    """Post an order's amount to memorandum accounts; a negative one takes it out again."""
    more = max(units, 0), max(-units, 0)
    books.post(
        tx, kind, code, Line("goods_on_order", *more), Line("purchase_commitments", *more[::-1])
    )


def _touch(tx: Tx, vendor: int) -> None:
    tx.run("UPDATE vendors SET version = version + 1 WHERE id = ?", vendor)
