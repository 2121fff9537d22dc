"""A credit note over what was paid on a supplier's invoice: entered as a draft with our mark, then posted.

Not by Tryton's wizard: that makes a draft without a key, and after a lost answer
nobody could say whose it is.
"""

from __future__ import annotations

from decimal import Decimal

from rollback.connectors.base import Json, Receipt, Rejected
from rollback.connectors.tryton import keys, wire
from rollback.connectors.tryton.asking import Ask, Asks, only_if
from rollback.connectors.tryton.operations import lookups
from rollback.connectors.tryton.operations.base import Listed, Operation, done
from rollback.connectors.tryton.operations.invoices import MODEL, POSTED, is_booked
from rollback.connectors.tryton.operations.lookups import Row

LINE = "account.invoice.line"
HEADER = ("party", "company", "invoice_address", "currency", "journal", "account", "payment_term")
NOTE = ("state", "number", "total_amount", "invoice_date", "move.state", "_timestamp")
# Of a line, what its credit has in common with it. Header lines and notes are left out.
SAME = ("account", "product", "unit", "description", "sequence")
LINE_FIELDS = (*SAME, "quantity", "unit_price", "taxes")


def find_credited(key: str) -> Asks[Receipt | None]:
    """Return the credit note that was posted under this key, whatever became of it since."""
    note = yield from _note(key)
    return _receipt(note) if note is not None and is_booked(note) else None


def _note(key: str, *, well: Row | None = None) -> Asks[Row | None]:
    found = yield from lookups.rows(
        MODEL,
        [
            ["type", "=", "in"],
            ["description", "=", keys.mark(keys.CREDIT, key)],
            # Of the cancelled, those that were in the books. A draft that somebody cancelled is none.
            ["OR", ["state", "!=", "cancelled"], ["move", "!=", None]],
        ],
        NOTE,
        about="Ask for the credit note by its key" if well is None else "Read the credit note",
        well=[] if well is None else [well],
    )
    return found[0] if found else None


def _receipt(note: Row) -> Receipt:
    return Receipt(str(note["number"] or f"credit note {note['id']}"), {"invoice": note["id"]})


def credit(body: Json, key: str, version: str) -> Asks[Receipt]:
    """Credit an amount of an invoice: all of it line by line, a part of it in one line."""
    amount = lookups.amount_of(body)
    draft: Row = {
        "id": "{id of the credit note}",
        "state": "draft",
        "number": None,
        "total_amount": -amount,
        "invoice_date": "2026-01-31",
        "move.": None,
        "_timestamp": "{its version}",
    }
    note = yield from _note(key)
    if note is None:
        yield from _enter(body, key, amount)
        note = yield from _note(key, well=draft)
    if note is not None and not is_booked(note):
        if note["total_amount"] != -amount:
            raise Rejected(
                f"The credit note comes to {note['total_amount']} and not to {-amount}, so it stays a draft."
            )
        yield Ask(
            f"model.{MODEL}.post",
            ([note["id"]],),
            about="Post the credit note",
            context=only_if(MODEL, note),
            effect=True,
        )
        posted = {
            **draft,
            "state": "posted",
            "number": "{its number}",
            "move.": {"state": "posted"},
        }
        note = yield from _note(key, well=posted)
    return done(
        _receipt(note) if note is not None and is_booked(note) else None,
        "Tryton said yes",
    )


def _enter(body: Json, key: str, amount: Decimal) -> Asks[None]:
    invoice = yield from lookups.only(
        MODEL,
        [["id", "=", body["invoice"]]],
        (*HEADER, "state", "reference", "total_amount", "currency.code"),
        what="the invoice that was paid",
        well={
            **{name: f"{{its {name}}}" for name in HEADER},
            "id": body["invoice"],
            "state": "paid",
            "reference": "{its reference}",
            "total_amount": amount,
            "currency.": {"code": body["amount"]["currency"]},
        },
    )
    if invoice["state"] not in POSTED:
        raise Rejected(f"The invoice is {invoice['state']}, so there is nothing to credit.")
    if invoice["currency."]["code"] != body["amount"]["currency"]:
        raise Rejected(f"The invoice is in {invoice['currency.']['code']}.")
    if amount > invoice["total_amount"]:
        raise Rejected(f"The invoice comes to {invoice['total_amount']}, which is less.")
    lines = yield from lookups.every(
        LINE,
        [["invoice", "=", invoice["id"]], ["type", "=", "line"]],
        LINE_FIELDS,
        about="Read the invoice's lines",
        well=[
            {
                **{name: f"{{its {name}}}" for name in SAME},
                "id": "{id of its line}",
                "quantity": Decimal(1),
                "unit_price": amount,
                "taxes": [],
            }
        ],
    )
    day = yield from lookups.today()
    whole = amount == invoice["total_amount"]
    credited = [_back(line) for line in lines] if whole else [_part(lines, invoice, amount)]
    yield Ask(
        f"model.{MODEL}.create",
        (
            [
                {
                    **{name: invoice[name] for name in HEADER},
                    "type": "in",
                    "invoice_date": day,
                    "description": keys.mark(keys.CREDIT, key),
                    "lines": [["create", credited]],
                }
            ],
        ),
        about="Enter the credit note as a draft",
        well=["{id of the credit note}"],
        effect=True,
    )


def _back(line: Row) -> Json:
    """Return the line that takes one back."""
    return {
        **{name: line[name] for name in SAME},
        "type": "line",
        "quantity": -float(line["quantity"] or 0),
        "unit_price": wire.number(Decimal(line["unit_price"])),
        "taxes": [["add", line["taxes"]]] if line["taxes"] else [],
        "origin": f"{LINE},{line['id']}",
    }


def _part(lines: list[Row], invoice: Row, amount: Decimal) -> Json:
    """Return one line over a part of an invoice.

    Raises Rejected where it is not plain what to book it on.
    """
    accounts = {line["account"] for line in lines}
    if len(accounts) != 1 or any(line["taxes"] for line in lines):
        raise Rejected(
            "A part of this invoice cannot be credited: its lines have several accounts, or taxes."
        )
    return {
        "type": "line",
        "account": accounts.pop(),
        "description": f"Part of {invoice['reference'] or 'the invoice'}",
        "quantity": -1,
        "unit_price": wire.number(amount),
    }


CREDIT_INVOICE = Operation(
    lookups.schema({"invoice": lookups.ID, "amount": lookups.MONEY}),
    credit,
    find_credited,
    Listed(MODEL, "description", "write_date"),  # posting writes it; a draft alone moves no books
    goes_back_only=True,
)
