"""Payables as NetSuite would keep them, in memory: vendors, bills, payments, credits, with their external ids.

Of what the contract leaves open it takes the strictest reading, so that nothing
passes here by kindness.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal

BILL, PAYMENT, CREDIT, VENDOR = "vendorBill", "vendorPayment", "vendorCredit", "vendor"
MADE = (BILL, PAYMENT, CREDIT)
FIELDS = {
    BILL: {"entity", "expense", "externalId", "memo", "tranId"},
    PAYMENT: {"account", "apply", "entity", "externalId", "memo"},
    CREDIT: {"apply", "entity", "expense", "externalId", "memo"},
}
CENT = Decimal("0.01")


class Error(Exception):
    """A refusal: what becomes of it is in `o:errorDetails`."""

    def __init__(self, status, code, detail):
        super().__init__(detail)
        self.status, self.code, self.detail = status, code, detail


class Books:
    """One company's. Not safe for threads: the server lets one in at a time."""

    def __init__(self):
        self._ticks = 0
        self._next = 1000
        self.records = {each: {} for each in (*MADE, VENDOR)}
        self.external = {}  # (type, external id) -> id
        self.made = []  # [(type, id)] in their order, whoever made them

    # --- What tests set up ---

    def vendor(self, name="Northwind Paper"):
        """Enter a vendor; return their id."""
        return self._enter(VENDOR, {"companyName": name})

    def bill(self, vendor, amount, **fields):
        """Enter a bill as a person would; return its id."""
        lines = {"items": [{"amount": Decimal(amount)}]}
        return self.create(BILL, {"entity": {"id": vendor}, "expense": lines, **fields})

    def touch(self, type_, number, **fields):
        """Change a record as somebody else would."""
        self.records[type_][number].update(fields, lastModifiedDate=self._stamp())

    def owed(self, vendor):
        """What we owe a vendor: open bills less what stands open of credits."""
        bills = self._of(BILL, vendor)
        credits_ = self._of(CREDIT, vendor)
        return sum((bill["amountRemaining"] for bill in bills), Decimal()) - sum(
            (credit["unapplied"] for credit in credits_), Decimal()
        )

    def paid(self, vendor):
        """What has left the bank for a vendor."""
        return sum((each["total"] for each in self._of(PAYMENT, vendor)), Decimal())

    # --- What is asked and done ---

    def find(self, type_, name):
        """Return a record by its id, or by eid:<external id>."""
        number = name
        if name.startswith("eid:"):
            number = self.external.get((type_, name.removeprefix("eid:")), "")
        found = self.records[type_].get(number)
        if found is None:
            raise Error(
                404, "NONEXISTENT_ID", f"The record instance does not exist: {type_} {name}."
            )
        if type_ == VENDOR:
            return {**found, "balance": self.owed(number)}
        return found

    def create(self, type_, fields):
        """Make a record; return its id."""
        self._known(type_, fields)
        external = fields.get("externalId")
        if external is not None and (type_, external) in self.external:
            raise Error(400, "DUP_RCRD", f"This record already exists: {external}.")
        record = getattr(self, f"_{type_}")(fields)
        return self._enter(type_, record, external)

    def transform(self, bill, type_, fields):
        """Make a payment or a credit out of a bill; return its id."""
        found = self.find(BILL, bill)
        if type_ == PAYMENT:
            whole = [{"doc": {"id": bill}, "apply": True, "amount": found["amountRemaining"]}]
            fields = {"apply": {"items": whole}, **fields}
        elif type_ == CREDIT:
            part = min(found["amountRemaining"], found["total"])
            applied = [{"doc": {"id": bill}, "apply": True, "amount": part}] if part else []
            lines = [{"amount": found["total"]}]
            fields = {"expense": {"items": lines}, "apply": {"items": applied}, **fields}
        else:
            raise Error(400, "INVALID_TRANSFORM", f"A {BILL} does not become a {type_}.")
        return self.create(type_, {"entity": found["entity"], **fields})

    def upsert(self, type_, external, fields):
        """Make the record of this external id, or write over the one that is there; return its id."""
        number = self.external.get((type_, external))
        if number is None:
            return self.create(type_, {**fields, "externalId": external})
        self._known(type_, fields)
        self.records[type_][number].update(fields, lastModifiedDate=self._stamp())
        return number

    # --- Each type ---

    def _vendorBill(self, fields):  # noqa: N802 - the type's name
        total = _sum(fields.get("expense"), "expense")
        if not total:
            raise Error(400, "INVALID_CONTENT", "A bill needs expense.items with amounts.")
        return {
            "entity": self._entity(fields),
            "memo": fields.get("memo", ""),
            "tranId": fields.get("tranId", ""),
            "total": total,
            "amountRemaining": total,
        }

    def _vendorPayment(self, fields):  # noqa: N802 - likewise
        entity = self._entity(fields)
        total = self._apply(entity, fields.get("apply"))
        if not total:
            raise Error(400, "USER_ERROR", "A payment must apply to something that is owed.")
        return {"entity": entity, "memo": fields.get("memo", ""), "total": total}

    def _vendorCredit(self, fields):  # noqa: N802 - likewise
        entity = self._entity(fields)
        total = _sum(fields.get("expense"), "expense")
        if not total:
            raise Error(400, "INVALID_CONTENT", "A credit needs expense.items with amounts.")
        if _sum(fields.get("apply"), "apply") > total:
            raise Error(400, "USER_ERROR", "More is applied than the credit has.")
        applied = self._apply(entity, fields.get("apply"))
        return {
            "entity": entity,
            "memo": fields.get("memo", ""),
            "total": total,
            "unapplied": total - applied,
        }

    def _apply(self, entity, sublist):
        """Take what is applied off the bills, all of it or nothing; return the sum."""
        lines = [each for each in (sublist or {}).get("items", []) if each.get("apply") is True]
        bills = []
        for line in lines:
            amount = _amount(line.get("amount"), "apply")
            bill = self.find(BILL, str(line.get("doc", {}).get("id", "")))
            if bill["entity"] != entity:
                raise Error(400, "USER_ERROR", "The bill is another vendor's.")
            if amount > bill["amountRemaining"]:
                raise Error(400, "USER_ERROR", "You cannot apply more than is due.")
            bills.append((bill, amount))
        for bill, amount in bills:
            bill["amountRemaining"] -= amount
            bill["lastModifiedDate"] = self._stamp()
        return sum((amount for _, amount in bills), Decimal())

    # --- Parts ---

    def _entity(self, fields):
        entity = fields.get("entity")
        number = str(entity.get("id", "")) if isinstance(entity, dict) else ""
        if number not in self.records[VENDOR]:
            raise Error(400, "INVALID_CONTENT", "Invalid value for the field entity.")
        return {"id": number}

    def _known(self, type_, fields):
        if type_ not in FIELDS:
            raise Error(404, "NOT_FOUND", f"There is no record type {type_} to be made.")
        if not isinstance(fields, dict):
            raise Error(400, "INVALID_CONTENT", "The body is no object.")
        for name in sorted(set(fields) - FIELDS[type_]):
            raise Error(400, "INVALID_CONTENT", f"Unknown reference or property {name}.")

    def _of(self, type_, vendor):
        return [each for each in self.records[type_].values() if each["entity"]["id"] == vendor]

    def _enter(self, type_, record, external=None):
        self._next += 1
        number = str(self._next)
        kept = {**record, "id": number, "lastModifiedDate": self._stamp()}
        if external is not None:
            self.external[type_, external] = number
            kept["externalId"] = external
        self.records[type_][number] = kept
        if type_ in MADE:
            self.made.append((type_, number))
        return number

    def _stamp(self):
        self._ticks += 1
        at = datetime(2026, 3, 2, 9, 0, tzinfo=UTC) + timedelta(seconds=self._ticks)
        return at.strftime("%Y-%m-%dT%H:%M:%SZ")


def _sum(sublist, name):
    lines = (sublist or {}).get("items", [])
    return sum((_amount(each.get("amount"), name) for each in lines), Decimal())


def _amount(value, name):
    if isinstance(value, bool) or not isinstance(value, int | Decimal):
        raise Error(400, "INVALID_CONTENT", f"{name}: an amount is a number.")
    amount = Decimal(value)
    if amount < 0 or amount != amount.quantize(CENT):
        raise Error(400, "INVALID_CONTENT", f"{name}: {amount} is no amount.")
    return amount
