"""The demo's actions on the ERP, carried out through the connector as a worker would."""

from __future__ import annotations

from decimal import Decimal
from functools import cache
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


def owed_invoice(erp_rpc, facts, *, amount="100.00"):
    """Have an invoice of Halden Machines over this amount posted by somebody else; return its number."""
    number = fresh("HM-T")
    line = {
        "type": "line",
        "account": _id(erp_rpc, "account.account", facts["accounts"]["expense"]),
        "description": number,
        "quantity": 1,
        "unit_price": Decimal(amount),
    }
    party = _id(erp_rpc, "party.party", facts["vendors"]["Halden Machines"]["code"])
    invoice = {
        "type": "in",
        "party": party,
        "invoice_address": _address(erp_rpc, party),
        "reference": number,
        "invoice_date": _today(erp_rpc),
        "journal": _id(erp_rpc, "account.journal", facts["journals"]["expense"]),
        "account": _id(erp_rpc, "account.account", facts["accounts"]["payable"]),
        "lines": [["create", [line]]],
    }
    created = erp_rpc("model.account.invoice.create", [invoice])
    erp_rpc("model.account.invoice.post", created)
    return number


# What stays the same as long as somebody is logged in.


@cache
def _id(erp_rpc, model, code):
    (row,) = erp_rpc.rows(model, [("code", "=", code)], [])
    return row["id"]


@cache
def _address(erp_rpc, party):
    return erp_rpc.rows("party.address", [("party", "=", party)], [])[0]["id"]


@cache
def _today(erp_rpc):
    return erp_rpc("model.ir.date.today")


def payment_of(number, amount="100.00", **more):
    """Return the payload of a payment of such an invoice."""
    return {
        "vendor": "Halden Machines",
        "invoice": number,
        "amount": {"value": amount, "currency": "USD"},
        **more,
    }
