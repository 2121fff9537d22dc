"""The demo's action types where their target is Tryton, and one that only an ERP has.

The configuration is that of the connector `tryton`; rollback/connectors/tryton says what
each part means. Payloads, people and words stay as they are.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from governance.catalogue import (
    AMOUNT,
    CATALOGUE,
    DATE,
    DOCUMENT,
    PLACES,
    fact,
    money,
    schema,
    text,
    value,
)
from governance.models import ActionType
from governance.vocabulary import Impact, Severity

TARGET = "tryton"
# What the ERP calls things. Ids are nowhere: they are looked up by these.
PAYABLE, EXPENSE, JOURNAL, PAYMENT_METHOD = "2.1.1", "5.1.1", "EXP", "Bank"


def _tryton(
    *,
    units: Any,
    reversals: dict[str, dict[str, Any]],
    records: list[dict[str, str]],
    **more: Any,
) -> dict[str, Any]:
    """Return `connector` and `connector_config` for Tryton."""
    return {
        "connector": "tryton",
        "connector_config": {
            "target": TARGET,
            "units": units,
            "reversals": reversals,
            "records": records,
            **more,
        },
    }


def _record(prefix: str, kind: str, **more: str) -> dict[str, str]:
    return {"prefix": f"{TARGET}:{prefix}", "kind": kind, **more}


def _named(expression: str) -> dict[str, Any]:
    return {"name": value(expression)}


BILLS = [
    _record("ap-balance", "account", account=PAYABLE),
    _record("vendor:", "supplier"),
    _record("vendor-bill:", "supplier_invoice"),
]
_PAYMENT = _tryton(
    units=[
        {
            "name": "Pay ${payload.invoice} to ${payload.vendor}",
            "undo_name": "Credit note for ${payload.invoice}",
            "amount": value("payload.amount"),
            "request": {
                "operation": "pay_supplier_invoice",
                "party": _named("payload.vendor"),
                "reference": value("payload.invoice"),
                "amount": value("payload.amount"),
                "date": value("payload.payment_date"),
                "payment_method": PAYMENT_METHOD,
            },
        }
    ],
    reversals={
        "credit_memo": {
            "operation": "credit_supplier_invoice",
            "invoice": value("receipt.data.invoice"),
            "amount": value("payload.amount"),
        },
        "cancel_payment": {
            "operation": "cancel_payment",
            "move": value("receipt.data.move"),
            "invoice": value("receipt.data.invoice"),
        },
    },
    records=BILLS,
    basis=["tryton:vendor-bill:{/vendor}/{/invoice}"],
)
_INVOICE = _tryton(
    units=[
        {
            "name": "Enter ${payload.invoice} of ${payload.vendor}",
            "undo_name": "Cancel the draft of ${payload.invoice}",
            "request": {
                "operation": "enter_supplier_invoice",
                "party": _named("payload.vendor"),
                "reference": value("payload.invoice"),
                "date": value("payload.invoice_date"),
                "amount": value("payload.amount"),
                "description": value("payload.description"),
                "journal": {"code": JOURNAL},
                "account": {"code": EXPENSE},
            },
        },
        {
            "name": "Post ${payload.invoice}",
            "undo_name": "Cancel ${payload.invoice}",
            "amount": value("payload.amount"),
            "request": {"operation": "post_supplier_invoice", "entered_by": 1},
        },
    ],
    reversals={
        "cancel_invoice": {
            "operation": "cancel_supplier_invoice",
            "invoice": value("receipt.data.invoice"),
        }
    },
    records=BILLS,
    basis=["tryton:vendor-bill:{/vendor}/{/invoice}"],
)
_SALE = _tryton(
    units={
        "$map": value("payload.lines"),
        "each(line, i)": {
            "name": "Line ${i + 1}: ${line.description}, ${line.quantity}",
            "undo_name": "Cancel line ${i + 1}",
            "amount": value("line.amount"),
            "request": {
                "operation": "enter_sale_line",
                "party": _named("payload.customer"),
                "order": value("payload.order"),
                "opens": value("i == 0"),
                "delivery_date": value("payload.delivery_date"),
                "product": {"code": value("line.sku")},
                "description": value("line.description"),
                "quantity": value("line.quantity"),
                "amount": value("line.amount"),
            },
        },
    },
    reversals={
        "cancel_lines": {
            "operation": "take_sale_line_away",
            "sale": value("receipt.data.sale"),
            "line": value("receipt.data.line"),
        }
    },
    records=[_record("sales-order:", "sale"), _record("customer:", "customer")],
    basis=["tryton:sales-order:{/order}"],
    facts={
        "credit_limit": {
            "record": "tryton:customer:{/customer}",
            "pointer": "/credit_limit",
            "money": "USD",
        },
        "open_orders": {
            "record": "tryton:customer:{/customer}",
            "pointer": "/open_orders/USD",
            "money": "USD",
            "default": "0.00",
        },
    },
)


def _part(pointer: str, name: str, place: str, values: Any) -> dict[str, Any]:
    """Return the unit that writes one part of a customer's record, if the payload names it."""
    return {
        "$if": f"'{pointer}' in payload",
        "then": {
            "name": name,
            "undo_name": f"Restore: {name[0].lower()}{name[1:]}",
            "record": f"tryton:customer:{{/customer}}/{place}",
            "request": {
                "operation": "update_party",
                "party": {"code": value("payload.customer")},
                "part": place,
                "values": values,
            },
        },
    }


_CUSTOMER = _tryton(
    units=[
        _part("billing_address", "Billing address", "billing-address", value("payload.billing_address")),
        _part("shipping_address", "Shipping address", "shipping-address", value("payload.shipping_address")),
        _part("contact_email", "Contact", "contact", {"email": value("payload.contact_email")}),
        _part("payment_terms", "Payment terms", "terms", {"payment_terms": value("payload.payment_terms")}),
    ],
    reversals={
        "restore": {
            "operation": "update_party",
            "party": {"code": value("path[0]")},
            "part": value("path[1]"),
            "values": value("state"),
        }
    },
    records=[_record("customer:", "customer", by="code")],
    basis=[f"tryton:customer:{{/customer}}/{place}" for place in PLACES],
)  # fmt: skip
SUPPLIER_INVOICE: dict[str, Any] = {
    "key": "supplier_invoice",
    "name": "Supplier invoice",
    "title": "Enter {/invoice} of {/vendor} over {amount}",
    "shown_facts": [
        fact("Vendor", "/vendor"),
        fact("Invoice", "/invoice"),
        fact("Invoice date", "/invoice_date"),
        fact("For", "/description"),
    ],
    "schema": schema(
        "Supplier invoice",
        {
            "vendor": text(120, "Who sent it"),
            "invoice": DOCUMENT,
            "invoice_date": DATE,
            "description": text(120, "What it is for"),
            "amount": AMOUNT,
        },
    ),
    "example": {
        "action": "supplier_invoice",
        "department": "accounts-payable",
        "justification": "Matches the purchase order and the goods receipt.",
        "payload": {
            "vendor": "Northwind Paper",
            "invoice": "INV-20533",
            "invoice_date": "2026-11-27",
            "description": "Printer paper, 40 pallets",
            "amount": money("4380.00"),
        },
    },
    "amount_pointer": "/amount",
    "counterparty_pointer": "/vendor",
    "resource_key": "tryton:vendor-bill:{/vendor}/{/invoice}",
    "business_key": "tryton:supplier-invoice:{/vendor}:{/invoice}:{/amount/value}",
    "snapshot_plan": ["tryton:ap-balance", "tryton:vendor-bill:{/vendor}/{/invoice}"],
    "records_touched": 2,
    "reversal": ActionType.Reversal.COMPENSATE,
    "reversal_code": "cancel_invoice",
    **_INVOICE,
    "reversal_words": "The invoice is cancelled: the reverse of what was posted is booked, and nothing is owed on it.",
    "sla": timedelta(hours=4),
    "severity": Severity.LOW,
    "impact": Impact.LOW,
    "is_financial": True,
}
ON_TRYTON: dict[str, dict[str, Any]] = {
    "vendor_payment": _PAYMENT,
    "sales_order": _SALE,
    "customer_update": _CUSTOMER,
}


def _moved(value: Any) -> Any:
    """Return a part of an entry with the keys of the demo's target read as keys of Tryton."""
    match value:
        case dict():
            return {name: _moved(each) for name, each in value.items()}
        case list() | tuple():
            return [_moved(each) for each in value]
        case str() if value.startswith("demo:"):
            return f"{TARGET}:{value.removeprefix('demo:')}"
    return value


KEYS = ("resource_key", "business_key", "snapshot_plan", "shown_facts")
CATALOGUE_ON_TRYTON: tuple[dict[str, Any], ...] = (
    *(
        {**entry, **{name: _moved(entry[name]) for name in KEYS if name in entry}, **ON_TRYTON[entry["key"]]}
        if entry["key"] in ON_TRYTON
        else entry
        for entry in CATALOGUE
    ),
    SUPPLIER_INVOICE,
)  # fmt: skip
