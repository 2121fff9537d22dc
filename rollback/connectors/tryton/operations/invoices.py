"""A supplier's invoice: entered as a draft, posted, and cancelled.

Entering and posting are two units, because they are two transactions in Tryton,
and a draft that nobody posts is an effect of its own.
"""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal

from rollback.connectors.base import Json, Receipt, Rejected
from rollback.connectors.tryton import keys, wire
from rollback.connectors.tryton.asking import Ask, Asks, only_if
from rollback.connectors.tryton.operations import lookups
from rollback.connectors.tryton.operations.base import Listed, Operation, done
from rollback.connectors.tryton.operations.lookups import Row

MODEL = "account.invoice"
POSTED = ("posted", "paid")
FIELDS = ("state", "number", "comment", "move.state", "_timestamp")
A_DRAFT: Row = {
    "id": "{id of the invoice}",
    "state": "draft",
    "number": None,
    "comment": None,
    "move.": None,
    "_timestamp": "{its version}",
}
A_POSTED: Row = {
    **A_DRAFT,
    "state": "posted",
    "number": "{its number}",
    "move.": {"state": "posted"},
}


def is_booked(row: Row) -> bool:
    """Whether its entry is in the books, read as `move.state`. One that is only validated has a draft of it."""
    return (row.get("move.") or {}).get("state") == "posted"


def called(row: Row, where: str) -> Receipt:
    """Return the receipt of an invoice: its number, which a draft does not have."""
    return Receipt(row["number"] or f"{where} {row['id']}", {"invoice": row["id"]})


# --- Enter --------------------------------------------------------------------------------------


def find_entered(key: str) -> Asks[Receipt | None]:
    """Return the invoice that was entered under this key, whatever became of it since."""
    found = yield from lookups.rows(
        MODEL,
        [["type", "=", "in"], ["description", "=", keys.mark(keys.ENTER, key)]],
        FIELDS,
        about="Ask for the invoice by its key",
    )
    return called(found[0], "draft") if found else None


def enter(body: Json, key: str, version: str) -> Asks[Receipt]:
    """Create the draft, with our mark as its description."""
    known = yield from find_entered(key)
    if known is not None:
        return known
    amount = lookups.amount_of(body)
    vendor = lookups.words(body["party"])
    party = yield from lookups.only(
        "party.party",
        lookups.by(body["party"]),
        ["addresses", "account_payable", "supplier_payment_term"],
        what=f"the vendor {vendor}",
        well={
            "id": f"{{id of {vendor}}}",
            "addresses": ["{id of its address}"],
            "account_payable": "{id of its account}",
            "supplier_payment_term": "{id of its terms}",
        },
    )
    if not party["addresses"]:
        raise Rejected(f"{vendor} has no address in Tryton, and an invoice needs one.")
    currency = yield from lookups.currency(body["amount"]["currency"])
    journal = yield from lookups.only(
        "account.journal",
        lookups.by(body["journal"]),
        ["name"],
        what=f"the journal {lookups.words(body['journal'])}",
        well={"id": "{id of the journal}"},
    )
    account = yield from lookups.only(
        "account.account",
        lookups.by(body["account"]),
        ["name"],
        what=f"the account {lookups.words(body['account'])}",
        well={"id": "{id of the account}"},
    )
    payable = party["account_payable"]
    if payable is None:
        payable = yield from _usual_payable()
    created = yield Ask(
        f"model.{MODEL}.create",
        (
            [
                {
                    "type": "in",
                    "party": party["id"],
                    "invoice_address": party["addresses"][0],
                    "reference": body["reference"],
                    "invoice_date": wire.day(body["date"]),
                    "currency": currency["id"],
                    "journal": journal["id"],
                    "account": payable,
                    "payment_term": party["supplier_payment_term"],
                    "description": keys.mark(keys.ENTER, key),
                    "lines": [["create", [_line(body, account, amount)]]],
                }
            ],
        ),
        about=f"Enter invoice {body['reference']} as a draft",
        well=["{id of the invoice}"],
        effect=True,
    )
    return Receipt(f"draft {created[0]}", {"invoice": created[0]})


def _line(body: Json, account: Row, amount: Decimal) -> Json:
    return {
        "type": "line",
        "account": account["id"],
        "description": body.get("description") or body["reference"],
        "quantity": 1,
        "unit_price": wire.number(amount),
    }


def _usual_payable() -> Asks[object]:
    """Return the account that Tryton books what is owed to, where a vendor has none of its own."""
    found = yield from lookups.only(
        "account.configuration",
        [],
        ["default_account_payable"],
        what="the configuration of its accounts",
        well={"default_account_payable": "{id of the account}"},
    )
    if found["default_account_payable"] is None:
        raise Rejected("Tryton has no account for what is owed to vendors.")
    return found["default_account_payable"]


# --- Post, cancel -------------------------------------------------------------------------------


def _find_marked(marked: str, is_done: Callable[[Row], bool]) -> Asks[Receipt | None]:
    row = yield from lookups.marked(
        MODEL,
        "comment",
        marked,
        [["type", "=", "in"]],
        FIELDS,
        about="Ask for the invoice by its key",
    )
    return called(row, "invoice") if row is not None and is_done(row) else None


def find_posted(key: str) -> Asks[Receipt | None]:
    """Return the invoice that was posted under this key. Its entry stays, whatever became of it since."""
    found = yield from _find_marked(keys.mark(keys.POST, key), is_booked)
    return found


def find_cancelled(key: str) -> Asks[Receipt | None]:
    """Return the invoice that was cancelled under this key."""
    found = yield from _find_marked(
        keys.mark(keys.CANCEL, key), lambda row: row["state"] == "cancelled"
    )
    return found


def post(body: Json, key: str, version: str) -> Asks[Receipt]:
    """Post the draft of an earlier unit. Its comment has our mark before the books change."""
    known = yield from find_posted(key)
    if known is not None:
        return known
    entered = keys.sibling(key, body["entered_by"])
    invoice = yield from lookups.only(
        MODEL,
        [["type", "=", "in"], ["description", "=", keys.mark(keys.ENTER, entered)]],
        FIELDS,
        what="the draft that was entered",
        well=A_DRAFT,
    )
    if invoice["state"] not in ("draft", "validated"):
        raise Rejected(f"The invoice is {invoice['state']} already, and not by us.")
    invoice = yield from _mark(invoice, keys.mark(keys.POST, key))
    yield Ask(
        f"model.{MODEL}.post",
        ([invoice["id"]],),
        about="Post the invoice",
        context=only_if(MODEL, invoice),
        effect=True,
    )
    receipt = yield from _as_it_is(invoice["id"], well=A_POSTED)
    return receipt


def cancel(body: Json, key: str, version: str) -> Asks[Receipt]:
    """Cancel an invoice that we entered: Tryton books the reverse of what was posted."""
    invoice = yield from lookups.only(
        MODEL, [["id", "=", body["invoice"]]], FIELDS, what="the invoice", well=A_POSTED
    )
    if invoice["state"] == "paid":
        raise Rejected("The invoice was paid since, so it cannot be cancelled.")
    invoice = yield from _mark(invoice, keys.mark(keys.CANCEL, key))
    if invoice["state"] != "cancelled":
        yield Ask(
            f"model.{MODEL}.cancel",
            ([invoice["id"]],),
            about="Cancel the invoice",
            context=only_if(MODEL, invoice),
            effect=True,
        )
    receipt = yield from _as_it_is(invoice["id"], well={**A_POSTED, "state": "cancelled"})
    return receipt


def _mark(invoice: Row, marked: str) -> Asks[Row]:
    """Add a mark to an invoice's comment, if it is as it was read. Return it as it is then."""
    if keys.holds(invoice["comment"], marked):
        return invoice
    yield Ask(
        f"model.{MODEL}.write",
        ([invoice["id"]], {"comment": keys.added(invoice["comment"], marked)}),
        about="Write our key into its comment",
        context=only_if(MODEL, invoice),
    )
    found = yield from lookups.only(
        MODEL, [["id", "=", invoice["id"]]], FIELDS, what="the invoice", well=invoice
    )
    return found


def _as_it_is(invoice: object, *, well: Row) -> Asks[Receipt]:
    found = yield from lookups.rows(
        MODEL, [["id", "=", invoice]], FIELDS, about="Read the invoice", well=[well]
    )
    return done(called(found[0], "invoice") if found else None, "Tryton said yes")


ENTER = Operation(
    lookups.schema(
        {
            "party": lookups.NAMED,
            "reference": lookups.TEXT,
            "date": lookups.DAY,
            "amount": lookups.MONEY,
            "journal": lookups.NAMED,
            "account": lookups.NAMED,
        },
        {"description": lookups.TEXT},
    ),
    enter,
    find_entered,
    Listed(MODEL, "description", "create_date"),
)
# The state moves after the mark is written, and with it the instant of the last write.
COMMENTED = Listed(MODEL, "comment", "write_date")
POST = Operation(
    lookups.schema({"entered_by": {"type": "integer", "minimum": 1}}), post, find_posted, COMMENTED
)
CANCEL = Operation(lookups.schema({"invoice": lookups.ID}), cancel, find_cancelled, COMMENTED)
