"""The demo's actions on the ERP, carried out through the connector as a worker would."""

from __future__ import annotations

import datetime
from decimal import Decimal
from itertools import count

from governance.catalogue_tryton import CATALOGUE_ON_TRYTON
from governance.models import ActionType
from rollback.connectors import registry
from rollback.connectors.base import NotDone, OutcomeUnknown

ENTRIES = {entry["key"]: entry for entry in CATALOGUE_ON_TRYTON}
FAILED = (NotDone, OutcomeUnknown)
_numbers = count(1)


def fresh(prefix):
    """Return a number that no document of this test run has yet."""
    return f"{prefix}-{next(_numbers):04d}"


class Deed:
    """One request of an action type: its units, their keys, what came of them."""

    def __init__(self, key, reversal_code="", **payload):
        entry = ENTRIES[key]
        example = {**entry["example"], "payload": {**entry["example"]["payload"], **payload}}
        code = reversal_code or entry["reversal_code"]
        action_type = ActionType(**{**entry, "example": example, "reversal_code": code})
        self.connector = registry.connector_for(action_type)
        self.action = registry.example_of(action_type)
        self.records = registry.records_of(entry["snapshot_plan"], self.action.payload)
        self.plans = list(self.connector.units(self.action))
        self.receipts = {}

    def key(self, n, undo=False):
        return f"{self.action.business_key}~0/{'undo/' if undo else ''}{n}"

    def read_all(self):
        return {record: self.connector.read(record) for record in self.records}

    def send(self, n, *, version=""):
        """Send one unit, counted from 1."""
        receipt = self.connector.send(self.plans[n - 1].body, key=self.key(n), version=version)
        self.receipts[n] = {"reference": receipt.reference, "data": receipt.data}
        return receipt

    def carry_out(self, upto=None):
        for n in range(1, (upto or len(self.plans)) + 1):
            self.send(n)
        return self

    def undo(self, n):
        """Send the reversal of one unit."""
        body = self.connector.reversal(self.action, self.plans[n - 1].body, self.receipts[n])
        return self.connector.send(body, key=self.key(n, undo=True))

    def probe(self, n, undo=False):
        return self.connector.probe(self.key(n, undo))


def owed_invoice(erp_rpc, facts, *, vendor="Halden Machines", amount="100.00", number=None):
    """Have a vendor's invoice over this amount posted by somebody else; return its number."""
    number = number or fresh("HM-T")
    (party,) = erp_rpc.rows("party.party", [("name", "=", vendor)], ["addresses"])
    account = {
        name: erp_rpc.rows("account.account", [("code", "=", facts["accounts"][name])], [])[0]["id"]
        for name in ("payable", "expense")
    }
    (journal,) = erp_rpc.rows("account.journal", [("code", "=", "EXP")], [])
    today = erp_rpc("model.ir.date.today")
    assert isinstance(today, datetime.date)
    created = erp_rpc(
        "model.account.invoice.create",
        [
            {
                "type": "in",
                "party": party["id"],
                "invoice_address": party["addresses"][0],
                "reference": number,
                "invoice_date": today,
                "journal": journal["id"],
                "account": account["payable"],
                "lines": [
                    [
                        "create",
                        [
                            {
                                "type": "line",
                                "account": account["expense"],
                                "description": number,
                                "quantity": 1,
                                "unit_price": Decimal(amount),
                            }
                        ],
                    ]
                ],
            }
        ],
    )
    erp_rpc("model.account.invoice.post", created)
    return number


def payment_of(number, amount="100.00", **more):
    """Return the payload of a payment of such an invoice."""
    return {
        "vendor": "Halden Machines",
        "invoice": number,
        "amount": {"value": amount, "currency": "USD"},
        **more,
    }
