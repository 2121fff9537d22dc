"""Paying a supplier's invoice, and cancelling such a payment. Our mark is the description of the move."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rollback.connectors.base import Json, Receipt, Rejected
from rollback.connectors.tryton import keys, wire
from rollback.connectors.tryton.asking import Ask, Asks, Warned, only_if
from rollback.connectors.tryton.operations import invoices, lookups, wizards
from rollback.connectors.tryton.operations.base import Listed, Operation, done
from rollback.connectors.tryton.operations.lookups import Row

PAY, CANCEL_MOVE = "account.invoice.pay", "account.move.cancel"
MOVE, LINE = "account.move", "account.move.line"
# Cancelling a payment settles its lines with each other, and so leaves the invoice open: what we want.
MEANT = "cancel_invoice_move"
INVOICE_FIELDS = (
    "state", "number", "party", "company", "account", "currency", "currency.code", "amount_to_pay",
    "_timestamp",
)  # fmt: skip
PART = ("lines_to_pay", "amount", "currency", "company", "lines", "payment_lines", "invoice")


def _booked(marked: str, *, about: str, well: Sequence[Row] = ()) -> Asks[Row | None]:
    """Return the posted move with this mark."""
    found = yield from lookups.rows(
        MOVE,
        [["description", "=", marked], ["state", "=", "posted"]],
        ["number", "origin"],
        about=about,
        well=well,
    )
    return found[0] if found else None


def find_paid(key: str) -> Asks[Receipt | None]:
    """Return the payment that was made under this key, whatever became of it since."""
    move = yield from _booked(keys.mark(keys.PAY, key), about="Ask for the payment by its key")
    return None if move is None else _payment(move)


def _payment(move: Row) -> Receipt:
    model, _, row = str(move["origin"] or "").partition(",")
    data: Json = {"move": move["id"]}
    if model == invoices.MODEL:
        data["invoice"] = int(row) if row.isdigit() else row
    return Receipt(str(move["number"] or f"move {move['id']}"), data)


def pay(body: Json, key: str, version: str) -> Asks[Receipt]:
    """Pay an invoice, or a part of it. Refused by Tryton if somebody touched it since it was read."""
    amount = lookups.amount_of(body)
    code = body["amount"]["currency"]
    vendor, reference = lookups.words(body["party"]), body["reference"]
    # The invoice first: whoever pays it after this, under our key or not, makes its version stale.
    invoice = yield from lookups.only(
        invoices.MODEL,
        [
            ["type", "=", "in"],
            ["reference", "=", reference],
            ["state", "in", list(invoices.POSTED)],
            *lookups.by(body["party"], "party."),
        ],
        INVOICE_FIELDS,
        what=f"the posted invoice {reference} of {vendor}",
        well={
            "id": f"{{id of {reference}}}",
            "state": "posted",
            "number": "{its number}",
            "party": f"{{id of {vendor}}}",
            "company": "{id of the company}",
            "account": "{id of its account}",
            "currency": f"{{id of {code}}}",
            "currency.": {"code": code},
            "amount_to_pay": amount,
            "_timestamp": "{its version}",
        },
    )
    known = yield from find_paid(key)
    if known is not None:
        return known
    if invoice["currency."]["code"] != code:
        raise Rejected(f"{reference} is in {invoice['currency.']['code']}, not in {code}.")
    if invoice["state"] == "paid":
        raise Rejected(f"{reference} of {vendor} is paid already.")
    if amount > invoice["amount_to_pay"]:
        raise Rejected(f"Of {reference} only {invoice['amount_to_pay']} {code} is left to pay.")
    method = yield from lookups.only(
        "account.invoice.payment.method",
        [["name", "=", body["payment_method"]], ["company", "=", invoice["company"]]],
        ["name"],
        what=f"the payment method {body['payment_method']}",
        well={"id": "{id of the payment method}"},
    )
    yield from _through_the_wizard(body, key, invoice, method)
    paid = yield from _booked(
        keys.mark(keys.PAY, key),
        about="Read the payment's number",
        well=[
            {
                "id": "{id of the payment}",
                "number": "{its number}",
                "origin": f"{invoices.MODEL},{invoice['id']}",
            }
        ],
    )
    return done(None if paid is None else _payment(paid), "Tryton said yes")


def _through_the_wizard(body: Json, key: str, invoice: Row, method: Row) -> Asks[None]:
    number = yield from wizards.begin(PAY)
    form = {
        "payee": invoice["party"],
        "company": invoice["company"],
        "currency": invoice["currency"],
        "invoice_account": invoice["account"],
        "amount": wire.number(lookups.amount_of(body)),
        "date": wire.day(body["date"]),
        "payment_method": method["id"],
        "description": keys.mark(keys.PAY, key),
    }
    unchanged = only_if(invoices.MODEL, invoice)
    told = yield from wizards.run(
        PAY, number, "choice", {"start": form}, model=invoices.MODEL, row=invoice["id"],
        about=f"Pay {body['reference']}", context=unchanged,
    )  # fmt: skip
    asked = _asked(told)
    if asked is not None:
        # Less than what is left of the invoice, or of one of its instalments.
        part = {name: _sent(asked.get(name)) for name in PART}
        yield from wizards.run(
            PAY, number, "pay", {"ask": {**part, "type": "partial"}}, model=invoices.MODEL,
            row=invoice["id"], about="Say that it is a part", context=unchanged,
        )  # fmt: skip
    yield from wizards.end(PAY, number)


def _asked(told: Any) -> Mapping[str, Any] | None:
    """Return what the wizard suggests for its next form; None if it is through."""
    view = told.get("view") if isinstance(told, dict) else None
    defaults = view.get("defaults") if isinstance(view, dict) else None
    return defaults if isinstance(defaults, dict) else None


def _sent(value: Any) -> Any:
    return value if isinstance(value, int | str | list | type(None)) else wire.number(value)


# --- Cancel -------------------------------------------------------------------------------------


def find_cancelled(key: str) -> Asks[Receipt | None]:
    """Return the move that cancels a payment under this key, if the invoice is open to be paid again."""
    move = yield from _booked(
        keys.mark(keys.CANCEL, key), about="Ask for the cancellation by its key"
    )
    if move is None:
        return None
    cancelled = str(move["origin"] or "").partition(",")[2]
    left = yield from lookups.rows(
        invoices.MODEL,
        [["payment_lines.move", "=", int(cancelled) if cancelled.isdigit() else -1]],
        ["number"],
        about="Ask whether the payment still counts",
    )
    return None if left else _cancellation(move)


def _cancellation(move: Row) -> Receipt:
    return Receipt(str(move["number"] or f"move {move['id']}"), {"move": move["id"]})


def cancel(body: Json, key: str, version: str) -> Asks[Receipt]:
    """Take a payment back: settle it no more, book its reverse, and have the invoice forget it.

    Three transactions; each is looked for before it is made, so that a crash
    between them is gone on from.
    """
    known = yield from find_cancelled(key)
    if known is not None:
        return known
    lines = yield from lookups.every(
        LINE,
        [["move", "=", body["move"]]],
        ["account", "reconciliation", "party"],
        about="Read the payment's lines",
        well=[
            {
                "id": "{id of its line}",
                "account": "{id of the payable account}",
                "reconciliation": "{id of its reconciliation}",
                "party": "{id of the vendor}",
            }
        ],
    )
    if not lines:
        raise Rejected("The payment is not in Tryton any more.")
    booked = yield from _booked(
        keys.mark(keys.CANCEL, key), about="Ask for the reverse entry by its key"
    )
    if booked is None:
        yield from _settle_no_more(body, lines)
        yield from _book_reverse(body, key)
    yield from _forget(body, lines)
    booked = yield from _booked(
        keys.mark(keys.CANCEL, key),
        about="Read the reverse entry's number",
        well=[{"id": "{id of the reverse entry}", "number": "{its number}"}],
    )
    return done(None if booked is None else _cancellation(booked), "Tryton said yes")


def _settle_no_more(body: Json, lines: list[Row]) -> Asks[None]:
    invoice = yield from lookups.only(
        invoices.MODEL,
        [["id", "=", body["invoice"]]],
        ["account"],
        what="the invoice that was paid",
        well={"account": "{id of the payable account}"},
    )
    settled = [line for line in lines if line["reconciliation"] is not None]
    if any(line["account"] != invoice["account"] for line in settled):
        raise Rejected("The payment is settled with the bank, so a person takes it back.")
    if settled:
        yield Ask(
            "model.account.move.reconciliation.delete",
            ([line["reconciliation"] for line in settled],),
            about="Settle the invoice with it no more",
            effect=True,
        )


def _book_reverse(body: Json, key: str) -> Asks[None]:
    number = yield from wizards.begin(CANCEL_MOVE)
    form = {"default": {"description": keys.mark(keys.CANCEL, key), "reversal": True}}
    for _ in range(2):
        try:
            yield from wizards.run(
                CANCEL_MOVE, number, "cancel", form, model=MOVE, row=body["move"],
                about="Book the reverse of the payment",
            )  # fmt: skip
            break
        except Warned as warning:
            if warning.name.rpartition(".")[2] != MEANT:
                raise
            yield Ask(
                "model.res.user.warning.skip",
                (warning.name, False),
                about="Say that it is meant",
            )
    else:
        raise Rejected("Tryton warns of the same again, although it was told that it is meant.")
    yield from wizards.end(CANCEL_MOVE, number)


def _forget(body: Json, lines: list[Row]) -> Asks[None]:
    """Take the payment off the invoice: as long as it counts there, the invoice cannot be paid again."""
    invoice = yield from lookups.only(
        invoices.MODEL,
        [["id", "=", body["invoice"]]],
        ["payment_lines", "_timestamp"],
        what="the invoice that was paid",
        well={
            "id": body["invoice"],
            "payment_lines": [line["id"] for line in lines],
            "_timestamp": "{its version}",
        },
    )
    ours = {line["id"] for line in lines}
    counted = [each for each in invoice["payment_lines"] if each in ours]
    if counted:
        yield Ask(
            f"model.{invoices.MODEL}.write",
            ([invoice["id"]], {"payment_lines": [["remove", counted]]}),
            about="Take the payment off the invoice",
            context=only_if(invoices.MODEL, invoice),
            effect=True,
        )


BOOKED = Listed(MOVE, "description", "create_date")
PAY_INVOICE = Operation(
    lookups.schema({
        "party": lookups.NAMED,
        "reference": lookups.TEXT,
        "amount": lookups.MONEY,
        "date": lookups.DAY,
        "payment_method": lookups.TEXT,
    }),
    pay,
    find_paid,
    BOOKED,
)  # fmt: skip
CANCEL_PAYMENT = Operation(
    lookups.schema({"move": lookups.ID, "invoice": lookups.ID}),
    cancel,
    find_cancelled,
    BOOKED,
    goes_back_only=True,
)
