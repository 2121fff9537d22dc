"""The books on the first day."""

from __future__ import annotations

import json

from demo_target import books, fields
from demo_target.books import PAYABLES, Line
from demo_target.store import Tx

# Vendor, credit limit, open bills. Amounts in cents of a dollar.
VENDORS: tuple[tuple[str, int, tuple[tuple[str, int], ...]], ...] = (
    ("Northwind Paper", 50_000_00, (("INV-20417", 12_000_00), ("INV-20388", 3_480_00))),
    ("Contoso Packaging", 100_000_00, (("CP-5512", 7_250_00),)),
    ("Meridian Freight", 80_000_00, (("MF-2026-1187", 41_900_00),)),
    ("Lindqvist Timber", 60_000_00, (("INV-8832", 24_750_00),)),
    ("Halden Machines", 200_000_00, ()),
    ("Osprey Racking", 500_000_00, ()),
)
CUSTOMERS = (
    ("Alpine Outfitters", 5_000_000_00),
    ("Ridgeline Sports", 5_000_000_00),
    ("Pocket Cycles", 10_000_00),  # small enough to be reached
    ("C-1042", 250_000_00),
    ("C-2277", 250_000_00),
)
_OLD_MILL = {"street": "4 Old Mill Lane", "city": "Bath", "postal_code": "04530", "country": "US"}
PARTS: dict[str, dict[str, str]] = {
    "billing-address": _OLD_MILL,
    "shipping-address": {**_OLD_MILL, "street": "Dock 2, 4 Old Mill Lane"},
    "contact": {"email": "purchasing@customer.example"},
    "terms": {"payment_terms": "Net 30"},
}
CONTRACTS = (("K-2093", "Fabrikam Logistics"), ("K-2101", "Trelawney Shipping"))
CLOSED = ("2026-q1", "2026-q2")


def plant(tx: Tx) -> None:
    """Enter all of it. A store that has something in it is left as it is."""
    if tx.one("SELECT 1 FROM vendors"):
        return
    for name, limit, bills in VENDORS:
        vendor = tx.run(
            "INSERT INTO vendors (key, name, credit_limit) VALUES (?, ?, ?)",
            fields.fold(name), name, limit,
        )  # fmt: skip
        for number, units in bills:
            tx.run(
                "INSERT INTO bills (vendor, key, number, currency, total, booked)"
                " VALUES (?, ?, ?, 'USD', ?, 1)",
                vendor, fields.fold(number), number, units,
            )  # fmt: skip
            owing = Line(PAYABLES, credit=units, vendor=vendor)
            books.post(tx, "bill", "USD", Line("expenses", debit=units), owing)
    for name, limit in CUSTOMERS:
        customer = tx.run(
            "INSERT INTO customers (key, name, credit_limit) VALUES (?, ?, ?)",
            fields.fold(name), name, limit,
        )  # fmt: skip
        for part, state in PARTS.items() if name.startswith("C-") else ():
            tx.run(
                "INSERT INTO customer_parts VALUES (?, ?, ?, 1)", customer, part, json.dumps(state)
            )
    for number, customer_name in CONTRACTS:
        tx.run(
            "INSERT INTO contracts (key, number, customer) VALUES (?, ?, ?)",
            fields.fold(number), number, customer_name,
        )  # fmt: skip
        prepaid = (Line("bank", debit=400_000_00), Line("deferred_revenue", credit=400_000_00))
        books.post(tx, "prepayment", "USD", *prepaid)
    for period in CLOSED:
        tx.run("INSERT INTO periods (key, state) VALUES (?, 'closed')", period)
    books.post(
        tx, "opening", "USD", Line("bank", debit=900_000_00), Line("equity", credit=900_000_00)
    )
