"""What the books say, read from the ERP itself and from nothing of ours."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from tools.tryton.rpc import Rpc

LINE = "account.move.line"
INVOICE = "account.invoice"


class Books:
    """Balances and documents, by names and codes. Amounts are in the company's currency."""

    def __init__(self, rpc: Rpc, facts: dict[str, Any]) -> None:
        """`facts` names the accounts: see seed.py."""
        self.rpc = rpc
        self._accounts: dict[str, str] = facts["accounts"]

    def payables(self) -> Decimal:
        """Return what is owed to vendors."""
        return -self.balance("payable")

    def owed_to(self, vendor: str) -> Decimal:
        """Return what is owed to one vendor."""
        return -self.balance("payable", ("party.name", "=", vendor))

    def balance(self, account: str, *clauses: tuple[str, str, Any]) -> Decimal:
        """Return debit less credit of an account (`bank`, `payable`, …), over posted lines."""
        code = ("account.code", "=", self._accounts[account])
        return _balance(self._lines([code, *clauses]))

    def balanced(self) -> bool:
        """Whether debits are credits, in each posted entry by itself."""
        entries: dict[int, Decimal] = {}
        for line in self._lines([]):
            entries[line["move"]] = entries.get(line["move"], Decimal(0)) + _amount(line)
        return not any(entries.values())

    def drafts(self) -> int:
        """Return how many entries and invoices were begun and not posted."""
        moves = self.rpc("model.account.move.search_count", [("state", "=", "draft")])
        invoices = self.rpc("model.account.invoice.search_count", [("state", "=", "draft")])
        return int(moves) + int(invoices)

    def invoices(self, vendor: str, **wanted: str) -> list[dict[str, Any]]:
        """Return a vendor's invoices and credit notes, oldest first.

        Each has `reference`, `number`, `state`, `total_amount` (a credit note's is
        negative), `amount_to_pay`, `payment_lines` and more of the ERP's own fields.
        """
        clauses = [("party.name", "=", vendor), ("type", "=", "in")]
        clauses += [(name, "=", value) for name, value in wanted.items()]
        fields = [
            "reference", "number", "state", "total_amount", "amount_to_pay", "invoice_date",
            "payment_lines", "reconciled", "description", "comment",
        ]  # fmt: skip
        return self.rpc.rows(INVOICE, clauses, fields)

    def credit_notes(self, vendor: str) -> list[dict[str, Any]]:
        """Return those of `invoices` that take something back."""
        return [each for each in self.invoices(vendor) if each["total_amount"] < 0]

    def payments(self) -> list[dict[str, Any]]:
        """Return the entries of the bank's journal, oldest first: `number`, `description`, `state`, `date`."""
        return self.rpc.rows(
            "account.move",
            [("journal.code", "=", "BANK")],
            ["number", "description", "state", "date"],
        )

    def _lines(self, clauses: list[Any]) -> list[dict[str, Any]]:
        posted = ("move_state", "=", "posted")
        return self.rpc.rows(LINE, [posted, *clauses], ["debit", "credit", "move"])


def _amount(line: dict[str, Any]) -> Decimal:
    debit: Decimal = line["debit"]
    credit: Decimal = line["credit"]
    return debit - credit


def _balance(lines: list[dict[str, Any]]) -> Decimal:
    return sum(map(_amount, lines), Decimal(0))
