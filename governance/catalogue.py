"""The demo's five action types, as data. Source: DESIGN 8, "demo catalogue".

Each schema is closed: what it does not name is refused. Keys take JSON pointers
into the payload, hold no clock, and name target, document and amount or part.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from governance.models import ActionType
from governance.vocabulary import Impact, Severity

DIALECT = "https://json-schema.org/draft/2020-12/schema"
END = r"(?![\s\S])"  # "$" would let a line end follow


def text(longest: int, about: str) -> dict[str, Any]:
    """Return the schema of a text that is not blank, of at most so many characters."""
    return {
        "type": "string",
        "minLength": 1,
        "maxLength": longest,
        "pattern": r"\S",
        "description": about,
    }


def _matching(pattern: str, about: str) -> dict[str, Any]:
    return {"type": "string", "pattern": f"^{pattern}{END}", "description": about}


def _object(properties: dict[str, Any], *, optional: tuple[str, ...] = ()) -> dict[str, Any]:
    return {
        "type": "object",
        "additionalProperties": False,
        "required": [name for name in properties if name not in optional],
        "properties": properties,
    }


def schema(
    title: str, properties: dict[str, Any], *, optional: tuple[str, ...] = ()
) -> dict[str, Any]:
    """Return the schema of a payload: these properties, all required but the optional ones, and no others."""
    return {"$schema": DIALECT, "title": title, **_object(properties, optional=optional)}


DATE = _matching("[0-9]{4}-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])", "A day, as 2026-03-31")
DOCUMENT = _matching("[A-Za-z0-9][A-Za-z0-9._/-]{0,39}", "Its number in the system of record")
AMOUNT = _object({
    "value": _matching(r"(0|[1-9][0-9]{0,15})(\.[0-9]{1,4})?", 'A decimal, such as "12000.00"'),
    "currency": _matching("[A-Z]{3}", "ISO 4217"),
})  # fmt: skip
ADDRESS = _object({
    "street": text(120, "Street and number"),
    "city": text(80, "City"),
    "postal_code": text(20, "Postal code"),
    "country": _matching("[A-Z]{2}", "ISO 3166-1"),
})  # fmt: skip


def money(value: str) -> dict[str, str]:
    """Return an amount in dollars, as payloads have it."""
    return {"value": value, "currency": "USD"}


def fact(label: str, pointer: str, *, now: tuple[str, str] | None = None) -> dict[str, Any]:
    """Return a fact that is shown of a payload; `now`: the record and the place where the target has it."""
    shown: dict[str, Any] = {"label": label, "pointer": pointer}
    return shown if now is None else shown | {"now": {"record": now[0], "pointer": now[1]}}


def _line(sku: str, what: str, quantity: int, amount: str) -> dict[str, Any]:
    return {"sku": sku, "description": what, "quantity": quantity, "amount": money(amount)}


_HARBOUR_STREET = {
    "street": "12 Harbour Street",
    "city": "Portland",
    "postal_code": "04101",
    "country": "US",
}

# --- How the target is spoken to ---------------------------------------------------------------
# json-e templates of the connector `http`; rollback/connectors/http/connector.py says what each
# part means. What stands in braces in `record` is filled like the snapshot plan's entries.
TARGET = "demo"


def value(expression: str) -> dict[str, Any]:
    """Return the json-e template of one value."""
    return {"$eval": expression}


def _post(*path: Any, json: dict[str, Any] | None = None) -> dict[str, Any]:
    return {"method": "POST", "path": list(path), "json": json or {}}


def _http(
    *,
    units: Any,
    reversal: tuple[str, dict[str, Any]],
    records: tuple[tuple[str, str], ...] = (),
    example_answer: dict[str, Any],
    **more: Any,
) -> dict[str, Any]:
    """Return `connector` and `connector_config` for the demo's target."""
    return {
        "connector": "http",
        "connector_config": {
            "target": TARGET,
            "gives": {"native_keys": True, "optimistic_locking": True},
            "units": units,
            "records": [{"prefix": prefix, "path": [path]} for prefix, path in records],
            "lookup": {
                "path": ["operations"],
                "query": {"key": value("key")},
                "answer": {
                    "$if": "len(answer.operations) > 0 && answer.operations[0].key == key",
                    "then": value("answer.operations[0].answer"),
                },
            },
            "listing": {
                "path": ["operations"],
                "query": {"after": value("after"), "limit": "100"},
                "first": "0",
                "effects": value("answer.operations"),
                "after": {
                    "$if": "len(answer.operations) > 0",
                    "then": value("str(answer.operations[-1].id)"),
                    "else": value("after"),
                },
                "more": value("answer.next != null"),
            },
            "reversals": dict([reversal]),
            "example_answer": example_answer,
            **more,
        },
    }


def _part(pointer: str, name: str, place: str, body: Any) -> dict[str, Any]:
    """Return the unit that writes one of a customer's records, if the payload names it."""
    return {
        "$if": f"'{pointer}' in payload",
        "then": {
            "name": name,
            "undo_name": f"Restore: {name[0].lower()}{name[1:]}",
            "record": f"demo:customer:{{/customer}}/{place}",
            "request": {
                "method": "PUT",
                "path": ["customers", value("payload.customer"), place],
                "json": body,
            },
        },
    }


_PAYMENT = _http(
    units=[
        {
            "name": "Pay ${payload.invoice} to ${payload.vendor}",
            "undo_name": "Credit memo for ${payload.invoice}",
            "amount": value("payload.amount"),
            "request": _post("payments", json=value("payload")),
        }
    ],
    reversal=(
        "credit_memo",
        _post(
            "credit-memos",
            json={
                "payment": value("receipt.reference"),
                "amount": value("payload.amount"),
                "reason": "Payment of ${payload.invoice} taken back",
            },
        ),
    ),
    records=(
        ("demo:ap-balance", "ap-balance"),
        ("demo:vendor:", "vendors"),
        ("demo:vendor-bill:", "bills"),
    ),
    example_answer={"reference": "PAY-1001"},
    basis=["demo:vendor-bill:{/vendor}/{/invoice}"],
)
_PURCHASE = _http(
    units=[
        {
            "name": "Order ${payload.item}, ${payload.quantity}",
            "undo_name": "Cancel order ${payload.order}",
            "amount": value("payload.amount"),
            "request": _post("purchase-orders", json=value("payload")),
        }
    ],
    reversal=(
        "cancel_order",
        _post("purchase-orders", value("receipt.reference"), "cancel"),
    ),
    records=(("demo:purchase-order:", "purchase-orders"),),
    example_answer={"reference": "PO-7731"},
    basis=["demo:purchase-order:{/order}"],
)
_SALE = _http(
    units={
        "$map": value("payload.lines"),
        "each(line, i)": {
            "name": "Line ${i + 1}: ${line.description}, ${line.quantity}",
            "undo_name": "Cancel line ${i + 1}",
            "amount": value("line.amount"),
            "request": _post(
                "sales-orders",
                value("payload.order"),
                "lines",
                json={
                    "$merge": [
                        value("line"),
                        {
                            "line": value("i + 1"),
                            "customer": value("payload.customer"),
                            "delivery_date": value("payload.delivery_date"),
                        },
                    ]
                },
            ),
        },
    },
    reversal=(
        "cancel_lines",
        _post(
            "sales-orders",
            value("payload.order"),
            "lines",
            value("body.json.line"),
            "cancel",
        ),
    ),
    records=(("demo:sales-order:", "sales-orders"), ("demo:customer:", "customers")),
    example_answer={"reference": "SO-4711/1"},
    basis=["demo:sales-order:{/order}"],
    facts={
        "credit_limit": {
            "record": "demo:customer:{/customer}",
            "pointer": "/credit_limit",
            "money": "USD",
        },
        "open_orders": {
            "record": "demo:customer:{/customer}",
            "pointer": "/open_orders/USD",
            "money": "USD",
            "default": "0.00",
        },
    },
)
PLACES = ("billing-address", "shipping-address", "contact", "terms")  # of a customer's record
_CUSTOMER = _http(
    units=[
        _part("billing_address", "Billing address", "billing-address", value("payload.billing_address")),
        _part("shipping_address", "Shipping address", "shipping-address", value("payload.shipping_address")),
        _part("contact_email", "Contact", "contact", {"email": value("payload.contact_email")}),
        _part("payment_terms", "Payment terms", "terms", {"payment_terms": value("payload.payment_terms")}),
    ],
    reversal=("restore", {"method": "PUT", "path": value("path"), "json": value("state")}),
    records=(("demo:customer:", "customers"),),
    example_answer={"reference": "CHG-1001", "record": {"version": "2"}},
    left=value("answer.record"),
    basis=[f"demo:customer:{{/customer}}/{place}" for place in PLACES],
)  # fmt: skip
_REVENUE = _http(
    units=[
        {
            "name": "Recognise ${payload.period} of ${payload.contract}",
            "undo_name": "Reversing entry for ${payload.contract}",
            "amount": value("payload.amount"),
            "request": _post(
                "journal-entries",
                json={
                    "contract": value("payload.contract"),
                    "customer": value("payload.customer"),
                    "period": value("payload.period"),
                    "method": value("payload.method"),
                    "currency": value("payload.amount.currency"),
                    "lines": [
                        {"account": "deferred_revenue", "debit": value("payload.amount.value")},
                        {"account": "revenue", "credit": value("payload.amount.value")},
                    ],
                },
            ),
        }
    ],
    reversal=(
        "reverse_entry",
        _post("journal-entries", value("receipt.reference"), "reverse"),
    ),
    records=(("demo:contract:", "contracts"), ("demo:period:", "periods")),
    example_answer={"reference": "JE-1001"},
    # Not the period: every other contract's entry changes that too.
    basis=["demo:contract:{/contract}"],
)

CATALOGUE: tuple[dict[str, Any], ...] = (
    {
        "key": "vendor_payment",
        "name": "Vendor payment",
        "title": "Pay {amount} to {/vendor}",
        "shown_facts": [
            fact("Vendor", "/vendor"),
            fact("Invoice", "/invoice"),
            fact("Terms", "/terms"),
            fact("Payment date", "/payment_date"),
            fact("Instalment", "/instalment"),
        ],
        "schema": schema(
            "Vendor payment",
            {
                "vendor": text(120, "Who is paid"),
                "invoice": DOCUMENT,
                "terms": text(60, "As on the invoice"),
                "payment_date": DATE,
                "instalment": _matching("[A-Za-z0-9/-]{1,20}", "Which part, if it is paid in parts: 2/3"),
                "amount": AMOUNT,
            },
            optional=("instalment",),
        ),
        "example": {
            "action": "vendor_payment",
            "department": "accounts-payable",
            "justification": "Invoice matches the purchase order and the goods receipt; due at the end of the month.",
            "payload": {
                "vendor": "Northwind Paper",
                "invoice": "INV-20417",
                "terms": "Net 30",
                "payment_date": "2026-12-31",
                "amount": money("12000.00"),
            },
        },
        "amount_pointer": "/amount",
        "counterparty_pointer": "/vendor",
        "resource_key": "demo:vendor-bill:{/vendor}/{/invoice}",
        "business_key": "demo:{/vendor}:{/invoice}:{/instalment}",
        "snapshot_plan": ["demo:ap-balance", "demo:vendor:{/vendor}"],
        "records_touched": 2,
        "reversal": ActionType.Reversal.COMPENSATE,
        "reversal_code": "credit_memo",
        **_PAYMENT,
        "reversal_words": "A credit memo over the same amount is issued to the vendor. The money itself"
        " comes back only with the vendor's next settlement.",
        "sla": timedelta(minutes=5),
        "severity": Severity.LOW,
        "impact": Impact.MEDIUM,
        "is_financial": True,
    },
    {
        "key": "purchase_order",
        "name": "Purchase order",
        "title": "Order {/item} for {amount} from {/vendor}",
        "shown_facts": [
            fact("Vendor", "/vendor", now=("demo:purchase-order:{/order}", "/vendor")),
            fact("Order", "/order", now=("demo:purchase-order:{/order}", "/order")),
            fact("Item", "/item", now=("demo:purchase-order:{/order}", "/item")),
            fact("Quantity", "/quantity", now=("demo:purchase-order:{/order}", "/quantity")),
            fact("Delivery", "/delivery_date", now=("demo:purchase-order:{/order}", "/delivery_date")),
        ],
        "schema": schema(
            "Purchase order",
            {
                "order": DOCUMENT,
                "vendor": text(120, "Who supplies"),
                "item": text(120, "What is ordered"),
                "quantity": {"type": "integer", "minimum": 1, "maximum": 1_000_000},
                "delivery_date": DATE,
                "amount": AMOUNT,
            },
        ),
        "example": {
            "action": "purchase_order",
            "department": "procurement",
            "justification": "Stock falls below the reorder point in about three weeks.",
            "payload": {
                "order": "PO-7731",
                "vendor": "Contoso Packaging",
                "item": "Shipping cartons, medium",
                "quantity": 20000,
                "delivery_date": "2027-01-15",
                "amount": money("18500.00"),
            },
        },
        "amount_pointer": "/amount",
        "counterparty_pointer": "/vendor",
        "resource_key": "demo:purchase-order:{/order}",
        "business_key": "demo:purchase-order:{/vendor}:{/order}:{/amount/value}",
        "reversal": ActionType.Reversal.COMPENSATE,
        "reversal_code": "cancel_order",
        **_PURCHASE,
        "reversal_words": "The order is cancelled with the vendor. After dispatch a cancellation fee may be due.",
        "sla": timedelta(hours=4),
        "severity": Severity.LOW,
        "impact": Impact.MEDIUM,
        "impact_bands": [{"from": "50000.00", "currency": "USD", "impact": Impact.HIGH.value}],
        "is_financial": True,
    },
    {
        "key": "sales_order",
        "name": "Sales order",
        "title": "Enter order {/order} over {amount} for {/customer}",
        "shown_facts": [
            fact("Customer", "/customer", now=("demo:sales-order:{/order}", "/customer")),
            fact("Order", "/order", now=("demo:sales-order:{/order}", "/order")),
            fact(
                "Requested delivery",
                "/delivery_date",
                now=("demo:sales-order:{/order}", "/delivery_date"),
            ),
        ],
        "schema": schema(
            "Sales order",
            {
                "order": DOCUMENT,
                "customer": text(120, "Who buys"),
                "delivery_date": DATE,
                "lines": {
                    "type": "array",
                    "minItems": 1,
                    "maxItems": 50,
                    "items": _object({
                        "sku": DOCUMENT,
                        "description": text(120, "What is sold"),
                        "quantity": {"type": "integer", "minimum": 1, "maximum": 1_000_000},
                        "amount": AMOUNT,
                    }),
                },
                "amount": AMOUNT,
            },
        ),
        "example": {
            "action": "sales_order",
            "department": "sales",
            "justification": "Confirmed by the customer; prices are those of the frame contract.",
            "payload": {
                "order": "SO-4711",
                "customer": "Alpine Outfitters",
                "delivery_date": "2027-01-08",
                "lines": [
                    _line("TENT-2P", "Tent for two", 20, "5800.00"),
                    _line("TENT-4P", "Tent for four", 10, "4900.00"),
                    _line("BAG-0C", "Sleeping bag", 40, "4400.00"),
                    _line("STOVE-1", "Gas stove", 30, "1950.00"),
                    _line("LAMP-3", "Head lamp", 60, "1350.00"),
                ],
                "amount": money("18400.00"),
            },
        },
        "amount_pointer": "/amount",
        "counterparty_pointer": "/customer",
        "resource_key": "demo:sales-order:{/order}",
        "business_key": "demo:sales-order:{/customer}:{/order}:{/amount/value}",
        "snapshot_plan": ["demo:sales-order:{/order}", "demo:customer:{/customer}"],
        "records_touched": 6,
        "reversal": ActionType.Reversal.COMPENSATE,
        "reversal_code": "cancel_lines",
        **_SALE,
        "reversal_words": "Lines that were created are cancelled, the last first. Stock held for them is set free.",
        "sla": timedelta(hours=4),
        "severity": Severity.LOW,
        "impact": Impact.LOW,
    },
    {
        "key": "customer_update",
        "name": "Customer update",
        "title": "Change the record of customer {/customer}",
        "shown_facts": [
            fact("Customer", "/customer"),
            fact("Change", "/change_ref"),
            fact(
                "New terms",
                "/payment_terms",
                now=("demo:customer:{/customer}/terms", "/payment_terms"),
            ),
            fact(
                "New contact",
                "/contact_email",
                now=("demo:customer:{/customer}/contact", "/email"),
            ),
        ],
        "schema": schema(
            "Customer update",
            {
                "customer": DOCUMENT,
                "change_ref": DOCUMENT,
                "billing_address": ADDRESS,
                "shipping_address": ADDRESS,
                "contact_email": _matching(r"[^@\s]{1,64}@[^@\s]{1,189}", "Of the contact"),
                "payment_terms": text(60, "From now on"),
            },
        ),
        "example": {
            "action": "customer_update",
            "department": "sales",
            "justification": "The customer moved; the change was confirmed by telephone and by letter.",
            "payload": {
                "customer": "C-1042",
                "change_ref": "CHG-0311",
                "billing_address": _HARBOUR_STREET,
                "shipping_address": _HARBOUR_STREET,
                "contact_email": "orders@customer.example",
                "payment_terms": "Net 45",
            },
        },
        "resource_key": "demo:customer:{/customer}",
        "business_key": "demo:customer:{/customer}:{/change_ref}",
        "snapshot_plan": [f"demo:customer:{{/customer}}/{place}" for place in PLACES],
        "redacted": {"payload": ["/contact_email"], "records": ["/email"]},
        "records_touched": 4,
        "reversal": ActionType.Reversal.RESTORE,
        "reversal_code": "restore",
        **_CUSTOMER,
        "reversal_words": "The four records are put back as they were, unless somebody else changed them since.",
        "sla": timedelta(hours=2),
        "severity": Severity.LOW,
        "impact": Impact.LOW,
    },
    {
        "key": "revenue_recognition",
        "name": "Revenue recognition",
        "title": "Recognise {amount} of contract {/contract} in {/period}",
        "shown_facts": [
            fact("Customer", "/customer"),
            fact("Contract", "/contract"),
            fact("Period", "/period"),
            fact("Method", "/method"),
        ],
        "schema": schema(
            "Revenue recognition",
            {
                "contract": DOCUMENT,
                "customer": text(120, "Party to the contract"),
                "period": _matching("[0-9]{4}-Q[1-4]", "A fiscal quarter, as 2026-Q4"),
                "method": {"enum": ["point_in_time", "over_time"]},
                "amount": AMOUNT,
            },
        ),
        "example": {
            "action": "revenue_recognition",
            "department": "finance",
            "justification": "Acceptance was signed within the quarter; books close in two days.",
            "payload": {
                "contract": "K-2093",
                "customer": "Fabrikam Logistics",
                "period": "2026-Q4",
                "method": "over_time",
                "amount": money("84000.00"),
            },
        },
        "amount_pointer": "/amount",
        "counterparty_pointer": "/customer",
        "resource_key": "demo:contract:{/contract}",
        "business_key": "demo:revenue:{/contract}:{/period}:{/amount/value}",
        "snapshot_plan": ["demo:contract:{/contract}", "demo:period:{/period}"],
        "records_touched": 2,
        "reversal": ActionType.Reversal.COMPENSATE,
        "reversal_code": "reverse_entry",
        **_REVENUE,
        "reversal_words": "A reversing journal entry is posted in the same period, or in the next once it is closed.",
        "sla": timedelta(hours=4),
        "severity": Severity.MEDIUM,
        "impact": Impact.HIGH,
        "is_financial": True,
        "is_critical": True,
    },
)  # fmt: skip
