"""Every operation of the connector, by the name that a unit's body gives it."""

from __future__ import annotations

from collections.abc import Mapping

from rollback.connectors.tryton.operations import credits, invoices, parties, payments, sales
from rollback.connectors.tryton.operations.base import Operation

OPERATIONS: Mapping[str, Operation] = {
    "enter_supplier_invoice": invoices.ENTER,
    "post_supplier_invoice": invoices.POST,
    "cancel_supplier_invoice": invoices.CANCEL,
    "pay_supplier_invoice": payments.PAY_INVOICE,
    "credit_supplier_invoice": credits.CREDIT_INVOICE,
    "cancel_payment": payments.CANCEL_PAYMENT,
    "enter_sale_line": sales.ENTER_LINE,
    "take_sale_line_away": sales.TAKE_LINE_AWAY,
    "update_party": parties.UPDATE,
}

__all__ = ["OPERATIONS", "Operation"]
