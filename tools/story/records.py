"""The systems of record that a story of a payment may be told on, read behind the product's back."""

from __future__ import annotations

from collections.abc import Collection
from decimal import Decimal
from typing import Protocol

from tools.demo import Demo
from tools.story.telling import Target
from tools.tryton.books import Books


class Record(Protocol):
    """What the story of the payment asks of a system of record. Amounts are in US dollars."""

    key: str  # how records of it begin
    memo: str  # what the reversal of a payment is called
    after_undo: str  # what is seen of the payables once the payment is taken back

    def payables(self) -> Decimal:
        """Return what is owed to all vendors."""

    def owed_to(self, vendor: str) -> Decimal:
        """Return what is owed to one vendor."""

    def balanced(self) -> bool:
        """Whether debits are credits."""

    def payments(self, key: str) -> int:
        """Return how often was paid under this key of ours."""

    def memos(self, amount: Decimal) -> int:
        """Return how many reversals of payments over this amount are in the books, done and not begun."""

    def effects(self) -> int:
        """Return how much was done since the beginning, under whatever key."""

    def known(self, keys: Collection[str]) -> set[str]:
        """Return those of our keys under which something was done."""

    def owed_after_undo(self, before: Decimal, amount: Decimal) -> Decimal:
        """Return what is owed once the payment is taken back, if `before` was owed before it."""


def record_of(demo: Demo) -> Record:
    """Return what the payments of this demo are entered in."""
    return InErp(demo.erp_books()) if demo.on_erp else InTarget(demo)


class InTarget:
    """The demo's own ledger. Its credit memo stands in the payables for what was paid."""

    key = "demo"
    memo = "Credit memo"
    after_undo = "payables are as before the payment"

    def __init__(self, demo: Demo) -> None:
        self._target = Target(demo.target["url"], demo.target["token"])

    def payables(self) -> Decimal:
        return Decimal(self._target.get("/books")["payables"])

    def owed_to(self, vendor: str) -> Decimal:
        return Decimal(self._target.get(f"/vendors/{vendor}")["balance"])

    def balanced(self) -> bool:
        found: bool = self._target.get("/books")["balanced"]
        return found

    def payments(self, key: str) -> int:
        return sum(
            each["key"] == key and each["path"] == "/payments" for each in self._target.operations()
        )

    def memos(self, amount: Decimal) -> int:
        return sum(each["path"] == "/credit-memos" for each in self._target.operations())

    def effects(self) -> int:
        return len(self._target.operations())

    def known(self, keys: Collection[str]) -> set[str]:
        return {each["key"] for each in self._target.operations()} & {*keys}

    def owed_after_undo(self, before: Decimal, amount: Decimal) -> Decimal:
        return before


class InErp:
    """Tryton. The invoice stays paid; the credit note, which is open, says that the vendor owes it back."""

    key = "tryton"
    memo = "Credit note"
    after_undo = "payables are less by the payment and by what the vendor now owes back"

    def __init__(self, books: Books) -> None:
        self._books = books
        self._moves_before = len(self._moves())

    def payables(self) -> Decimal:
        return self._books.payables()

    def owed_to(self, vendor: str) -> Decimal:
        return self._books.owed_to(vendor)

    def balanced(self) -> bool:
        return self._books.balanced() and not self._books.drafts()

    def payments(self, key: str) -> int:
        return sum(key in _words(each) for each in self._books.payments())

    def memos(self, amount: Decimal) -> int:
        notes = self._books.rpc.rows(
            "account.invoice",
            [("type", "=", "in"), ("state", "=", "posted"), ("untaxed_amount", "=", -amount)],
            ["id"],
        )
        return len(notes)

    def effects(self) -> int:
        return len(self._moves()) - self._moves_before

    def known(self, keys: Collection[str]) -> set[str]:
        invoices = self._books.rpc.rows(
            "account.invoice", [], ["description", "comment", "reference"]
        )
        texts = [*invoices, *self._moves()]
        return set().union(*map(_words, texts)) & {*keys}

    def owed_after_undo(self, before: Decimal, amount: Decimal) -> Decimal:
        return before - 2 * amount

    def _moves(self) -> list[dict[str, object]]:
        return self._books.rpc.rows("account.move", [], ["description"])


def _words(row: dict[str, object]) -> set[str]:
    """Return the words of all texts of a row. Our keys have no spaces."""
    return {word for value in row.values() if isinstance(value, str) for word in value.split()}
