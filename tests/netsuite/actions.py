"""The three action types on NetSuite, as a company would configure them."""

from __future__ import annotations

from governance.models import ActionType

TARGET = "netsuite"


def _value(expression):
    return {"$eval": expression}


def _applied(amount):
    """What is applied to the bill of the payload."""
    line = {"doc": {"id": _value("payload.bill")}, "apply": True, "amount": amount}
    return {"items": [line]}


ENTITY = {"id": _value("payload.vendor")}
LINES = {"items": [{"amount": _value("amount")}]}

PAYMENT = {
    "target": TARGET,
    "units": [
        {
            "name": "Pay bill ${payload.bill}",
            "undo_name": "Vendor credit for bill ${payload.bill}",
            "amount": _value("payload.amount"),
            "record": "netsuite:vendorBill:{/bill}",
            "create": {
                "type": "vendorPayment",
                "fields": {
                    "entity": ENTITY,
                    "memo": "Paid by Recourse",
                    "apply": _applied(_value("amount")),
                },
            },
        }
    ],
    "reversals": {
        "vendor_credit": {
            "type": "vendorCredit",
            "from": _value("payload.bill"),
            "fields": {"memo": "Takes back ${receipt.reference}"},
        }
    },
    "basis": ["netsuite:vendorBill:{/bill}"],
}
TRANSFORMED = {
    **PAYMENT,
    "units": [
        {
            **PAYMENT["units"][0],
            "create": {
                "type": "vendorPayment",
                "from": _value("payload.bill"),
                "fields": {"apply": _applied(_value("amount"))},
            },
        }
    ],
}
BILL = {
    "target": TARGET,
    "units": [
        {
            "name": "Enter bill ${payload.invoice}",
            "undo_name": "Vendor credit for bill ${payload.invoice}",
            "amount": _value("payload.amount"),
            "create": {
                "type": "vendorBill",
                "fields": {"entity": ENTITY, "tranId": _value("payload.invoice"), "expense": LINES},
            },
        }
    ],
    "reversals": {
        "vendor_credit": {
            "type": "vendorCredit",
            "from": _value("receipt.data.id"),
            "fields": {"memo": "Takes back ${receipt.reference}"},
        }
    },
}
CREDIT = {
    "target": TARGET,
    "units": [
        {
            "name": "Credit from ${payload.vendor}",
            "undo_name": "Bill against the credit",
            "amount": _value("payload.amount"),
            "create": {"type": "vendorCredit", "fields": {"entity": ENTITY, "expense": LINES}},
        }
    ],
    "reversals": {"vendor_bill": {"type": "vendorBill", "fields": {"entity": ENTITY, "expense": LINES}}},
}  # fmt: skip
CODES = {
    "vendor_payment": "vendor_credit",
    "vendor_bill": "vendor_credit",
    "vendor_credit": "vendor_bill",
}
CONFIGS = {"vendor_payment": PAYMENT, "vendor_bill": BILL, "vendor_credit": CREDIT}


def payload(*, vendor="7", bill="417", invoice="INV-88213", amount="12000.00"):
    """Return what an agent asks for."""
    return {
        "vendor": vendor, "bill": bill, "invoice": invoice,
        "amount": {"value": amount, "currency": "USD"},
    }  # fmt: skip


def action_type(key="vendor_payment", *, config=None, **over):
    """Return an action type that is not stored; `over` replaces parts of its payload."""
    return ActionType(**fields(key, config=config, **over))


def fields(key="vendor_payment", *, config=None, **over):
    """Return what makes an action type of the catalogue one on NetSuite."""
    return {
        "key": key,
        "connector": "netsuite",
        "connector_config": CONFIGS[key] if config is None else config,
        "reversal": ActionType.Reversal.COMPENSATE,
        "reversal_code": CODES[key],
        "snapshot_plan": ["netsuite:vendorBill:{/bill}", "netsuite:vendor:{/vendor}"],
        "amount_pointer": "/amount",
        "business_key": "netsuite:{/bill}:{/invoice}:{/amount/value}",
        "example": {"payload": payload(**over)},
    }
