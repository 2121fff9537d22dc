"""A real ERP: Tryton, as a process of its own, read past our connector by its own RPC."""

from __future__ import annotations

import re
from contextlib import closing
from decimal import Decimal
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from rollback.models import Unit
from tools.trials.targets.sqlite import pour
from tools.tryton import Books, Rpc, Tryton
from tools.tryton.serving import DATABASE

# What the connector writes beside each thing it does: a word, and the key of the unit.
MARK = re.compile(r"^(?:Enter|Post|Cancel|Pay|Credit|Update) (\S+~[0-9]+/(?:undo/)?[0-9]+)$", re.M)
POSTED = ("posted", "paid")


class TrytonTarget:
    """It runs for as long as it is entered."""

    key = "tryton"
    takes_keys = False
    patience_s = 4.0  # a wizard of it takes about one on a machine that has other work

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._erp = Tryton(directory / "erp")
        self._kept = 0

    def __enter__(self) -> Self:
        self._erp.__enter__()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._erp.__exit__(kind, error, trace)

    def address(self) -> dict[str, str]:
        return {"url": self._erp.url, "user": self._erp.user, "password": self._erp.password}

    def keep(self) -> Path:
        self._kept += 1
        kept = self._directory / f"erp-{self._kept}.kept"
        pour(self._erp.directory / DATABASE, kept)
        return kept

    def restore(self, kept: Path) -> None:
        """Under the server that runs: of what a trial writes it remembers nothing between two calls."""
        pour(kept, self._erp.directory / DATABASE)

    def books(self) -> dict[str, Any]:
        """Balances, and every document that a trial may touch, without ids and instants."""
        with closing(self._erp.rpc()) as rpc:
            books = Books(rpc, self._erp.facts)
            moves = rpc.rows("account.move", [], ["number", "description", "state"])
            invoices = rpc.rows(
                "account.invoice",
                [],
                [
                    "type",
                    "reference",
                    "number",
                    "state",
                    "total_amount",
                    "amount_to_pay",
                    "description",
                ],
            )
            sales = _sales(rpc)
            return {
                "keys": [*_keys(moves, invoices), *_keys_of_lines(sales)],
                "balanced": books.balanced(),
                "rows": {
                    "balances": {
                        name: _amount(books.balance(name)) for name in self._erp.facts["accounts"]
                    },
                    "drafts": books.drafts(),
                    "moves": [_plain(each) for each in moves],
                    "invoices": [_plain(each) for each in invoices],
                    "sales": sales,
                },
            }

    def finish(self, unit: Unit, direction: str) -> str:
        raise LookupError(f"It can be asked about {unit.key}, so nobody need be.")


def _sales(rpc: Rpc) -> list[dict[str, Any]]:
    found = rpc.rows("sale.sale", [], ["reference", "state", "description", "party.code"])
    lines = rpc.rows(
        "sale.line", [], ["sale", "product.code", "quantity", "unit_price", "note", "description"]
    )
    return [
        {
            **_plain(sale),
            "lines": [
                {name: value for name, value in _plain(line).items() if name != "sale"}
                for line in lines
                if line["sale"] == sale["id"]
            ],
        }
        for sale in found
    ]


def _keys(moves: list[dict[str, Any]], invoices: list[dict[str, Any]]) -> list[str]:
    """Return the key of each payment, cancellation and credit note that is in the books."""
    texts = [each["description"] for each in moves if each["state"] == "posted"]
    credits = [each["description"] for each in invoices if each["state"] in POSTED]
    # Tryton gives the entry of a credit note the words of the note.
    return [*marked(credits), *marked(_without(texts, credits))]


def _without(texts: list[str | None], others: list[str | None]) -> list[str | None]:
    """Return texts that are not among others."""
    return [text for text in texts if text not in others]


def _keys_of_lines(sales: list[dict[str, Any]]) -> list[str]:
    return marked([line["note"] for sale in sales for line in sale["lines"]])


def marked(texts: list[str | None]) -> list[str]:
    """Return the keys of what we wrote, of each text line by line."""
    return [key for text in texts for key in MARK.findall(text or "")]


def _plain(row: dict[str, Any]) -> dict[str, Any]:
    return {name: _amount(value) for name, value in row.items() if name != "id"}


def _amount(value: Any) -> Any:
    return f"{value:f}" if isinstance(value, Decimal) else value
