"""Double entry: every write that moves money posts an entry, and every entry balances."""

from __future__ import annotations

import re
from typing import Any, NamedTuple

from demo_target import fields, money
from demo_target.calls import Answer, Call
from demo_target.refusals import Refusal, invalid, unknown
from demo_target.store import Tx

PAYABLES = "payables"
_ACCOUNT = re.compile(r"[a-z][a-z0-9_]{0,39}", re.ASCII)
_QUARTER = re.compile(r"([0-9]{4})-q([1-4])", re.ASCII)


class Line(NamedTuple):
    """One side of an entry, in minor units. One of debit and credit is zero."""

    account: str
    debit: int = 0
    credit: int = 0
    vendor: int | None = None


def post(
    tx: Tx,
    kind: str,
    currency: str,
    *lines: Line,
    contract: int | None = None,
    period: int | None = None,
    reverses: int | None = None,
) -> int:
    """Write an entry; return its id. Refuses one that does not balance."""
    debit, credit = sum(each.debit for each in lines), sum(each.credit for each in lines)
    if debit != credit or not debit:
        raise Refusal(
            422, "unbalanced",
            f"Debits come to {money.shown(debit, currency)} and credits to "
            f"{money.shown(credit, currency)}: an entry needs both the same.",
        )  # fmt: skip
    entry = tx.run(
        "INSERT INTO entries (kind, contract, period, amount, currency, reverses)"
        " VALUES (?, ?, ?, ?, ?, ?)",
        kind, contract, period, debit, currency, reverses,
    )  # fmt: skip
    for each in lines:
        tx.run(
            "INSERT INTO lines (entry, account, debit, credit, currency, vendor)"
            " VALUES (?, ?, ?, ?, ?, ?)",
            entry, each.account, each.debit, each.credit, currency, each.vendor,
        )  # fmt: skip
        tx.run(
            "INSERT INTO balances VALUES (?, ?, ?, ?, ?, 1)"
            " ON CONFLICT DO UPDATE SET debit = debit + excluded.debit,"
            " credit = credit + excluded.credit, moves = moves + 1",
            each.account, each.vendor or 0, currency, each.debit, each.credit,
        )  # fmt: skip
    return entry


def owed(tx: Tx, vendor: int | None = None) -> dict[str, int]:
    """Return what payables come to, by currency: to everybody, or to one vendor."""
    rows = tx.all(
        "SELECT currency, sum(credit - debit) FROM balances"
        " WHERE account = ? AND (? IS NULL OR vendor = ?) GROUP BY currency",
        PAYABLES, vendor, vendor,
    )  # fmt: skip
    return dict(map(tuple, rows))


def entry_reference(entry: int) -> str:
    return f"JE-{1000 + entry}"


# --- What is asked ----------------------------------------------------------------------------


def read_books(tx: Tx, call: Call) -> Answer:
    """GET /books: every account's balance, debit minus credit, and whether all of it adds up."""
    accounts: dict[str, dict[str, str]] = {}
    for row in tx.all(
        "SELECT account, currency, sum(debit - credit) AS net FROM balances"
        " GROUP BY account, currency ORDER BY account, currency"
    ):
        accounts.setdefault(row["account"], {})[row["currency"]] = money.shown(
            row["net"], row["currency"]
        )
    crooked = tx.one(
        "SELECT 1 FROM lines GROUP BY entry, currency HAVING sum(debit) <> sum(credit) LIMIT 1"
    )
    adrift = tx.one(
        "SELECT 1 FROM balances GROUP BY currency HAVING sum(debit) <> sum(credit) LIMIT 1"
    )
    return Answer({
        "balanced": crooked is None and adrift is None,
        "accounts": accounts,
        "payables": money.shown(owed(tx).get(money.BASE, 0), money.BASE),
        "currency": money.BASE,
    })  # fmt: skip


def read_ap_balance(tx: Tx, call: Call) -> Answer:
    """GET /ap-balance: what is owed to all vendors."""
    version = tx.value("SELECT sum(moves) FROM balances WHERE account = ?", PAYABLES) or 0
    return Answer(money.balance(owed(tx)), version=version)


def read_entry(tx: Tx, call: Call) -> Answer:
    """GET /journal-entries/{reference}."""
    row = _entry(tx, call.parts[0])
    lines = tx.all("SELECT * FROM lines WHERE entry = ? ORDER BY id", row["id"])
    code = row["currency"]
    return Answer({
        "reference": entry_reference(row["id"]),
        "kind": row["kind"],
        "period": _said_period(tx, row["period"]),
        "reversed": bool(row["reversed"]),
        "lines": [
            {"account": each["account"], side: money.shown(each[side], code), "currency": code}
            for each in lines
            for side in ("debit", "credit")
            if each[side]
        ],
    })  # fmt: skip


def read_contract(tx: Tx, call: Call) -> Answer:
    """GET /contracts/{contract}: what of it was recognised. One never heard of has had nothing."""
    row = tx.one("SELECT * FROM contracts WHERE key = ?", fields.fold(call.parts[0]))
    return Answer(
        {"recognised": _recognised(tx, "contract", row["id"] if row else 0)},
        version=row["version"] if row else 0,
    )


def read_period(tx: Tx, call: Call) -> Answer:
    """GET /periods/{period}: whether it is open, and what was recognised in it."""
    row = tx.one("SELECT * FROM periods WHERE key = ?", _quarter(call.parts[0]))
    return Answer(
        {
            "state": row["state"] if row else "open",
            "recognised": _recognised(tx, "period", row["id"] if row else 0),
        },
        version=row["version"] if row else 0,
    )


# --- What is done -----------------------------------------------------------------------------


def post_entry(tx: Tx, call: Call) -> Answer:
    """POST /journal-entries: {contract, customer, period, method, currency, lines[]}.

    A line is {account, debit} or {account, credit}. Contracts and periods that
    are not there yet are entered.
    """
    code = money.currency(call.body.get("currency"))
    lines = call.body.get("lines")
    if not isinstance(lines, list) or not 2 <= len(lines) <= 100:
        raise invalid('"lines" is a list of 2 to 100 lines.')
    read = [_line(each, code) for each in lines]
    number = fields.text(call.body, "contract", 60)
    customer = fields.text(call.body, "customer")
    fields.text(call.body, "method", 40, default="")
    period = _open_period(tx, _quarter(fields.text(call.body, "period", 20)))
    row = tx.one("SELECT * FROM contracts WHERE key = ?", fields.fold(number))
    call.expect(row["version"] if row else 0)
    contract = (
        row["id"]
        if row
        else tx.run(
            "INSERT INTO contracts (key, number, customer, version) VALUES (?, ?, ?, 0)",
            fields.fold(number), number, customer,
        )
    )  # fmt: skip
    if tx.one(
        "SELECT 1 FROM entries WHERE kind = 'recognition' AND reversed = 0"
        " AND contract = ? AND period = ? AND amount = ? AND currency = ?",
        contract, period, sum(each.debit for each in read), code,
    ):  # fmt: skip
        raise Refusal(
            409, "already_recognised",
            f"This amount of {number} was recognised in that period already.",
        )  # fmt: skip
    entry = post(tx, "recognition", code, *read, contract=contract, period=period)
    _touch(tx, contract, period)
    return Answer(
        {"reference": entry_reference(entry), "contract": number, "period": _said_period(tx, period)},
        status=201,
    )  # fmt: skip


def reverse_entry(tx: Tx, call: Call) -> Answer:
    """POST /journal-entries/{reference}/reverse: the same lines, the sides exchanged.

    In the entry's own period, or the next open one once it is closed.
    """
    row = _entry(tx, call.parts[0])
    reference = entry_reference(row["id"])
    if row["kind"] != "recognition":
        raise Refusal(409, "not_reversible", f"{reference} belongs to something else: undo that.")
    if row["reversed"]:
        raise Refusal(409, "already_reversed", f"{reference} was reversed already.")
    period = _open_period_from(tx, row["period"])
    swapped = [
        Line(each["account"], each["credit"], each["debit"], each["vendor"])
        for each in tx.all("SELECT * FROM lines WHERE entry = ? ORDER BY id", row["id"])
    ]
    tx.run("UPDATE entries SET reversed = 1 WHERE id = ?", row["id"])
    entry = post(
        tx, "reversal", row["currency"], *swapped,
        contract=row["contract"], period=period, reverses=row["id"],
    )  # fmt: skip
    _touch(tx, row["contract"], period)
    return Answer(
        {
            "reference": entry_reference(entry),
            "reverses": reference,
            "period": _said_period(tx, period),
        },
        status=201,
    )


def set_period(tx: Tx, call: Call) -> Answer:
    """PUT /periods/{period}: {"state": "open" | "closed"}."""
    key = _quarter(call.parts[0])
    state = call.body.get("state")
    if state not in ("open", "closed"):
        raise invalid('"state" is "open" or "closed".')
    row = tx.one("SELECT * FROM periods WHERE key = ?", key)
    call.expect(row["version"] if row else 0)
    tx.run(
        "INSERT INTO periods (key, state) VALUES (?, ?)"
        " ON CONFLICT (key) DO UPDATE SET state = excluded.state, version = version + 1",
        key, state,
    )  # fmt: skip
    return Answer({"reference": f"{key.upper()}/{state}", "state": state})


# --- Parts ------------------------------------------------------------------------------------


def _line(value: Any, code: str) -> Line:
    if not isinstance(value, dict):
        raise invalid('A line is {"account", "debit"} or {"account", "credit"}.')
    account = value.get("account")
    if not isinstance(account, str) or not _ACCOUNT.fullmatch(account):
        raise invalid("An account is a short word in small letters: deferred_revenue.")
    sides = [side for side in ("debit", "credit") if side in value]
    if len(sides) != 1:
        raise invalid("A line has a debit or a credit, not both and not neither.")
    units = money.minor(value[sides[0]], code)
    return Line(account, **{sides[0]: units})


def _entry(tx: Tx, reference: str) -> Any:
    number = reference.upper().removeprefix("JE-")
    row = None
    if number.isascii() and number.isdigit() and len(number) < 16:
        row = tx.one("SELECT * FROM entries WHERE id = ?", int(number) - 1000)
    if row is None:
        raise unknown("There is no such journal entry.")
    return row


def _quarter(value: str) -> str:
    key = fields.fold(value)
    if not _QUARTER.fullmatch(key):
        raise invalid("A period is a quarter, such as 2026-Q4.")
    return key


def _next(key: str) -> str:
    year, quarter = int(key[:4]), int(key[-1])
    return f"{year}-q{quarter + 1}" if quarter < 4 else f"{year + 1:04d}-q1"


def _period(tx: Tx, key: str) -> Any:
    tx.run("INSERT INTO periods (key, version) VALUES (?, 0) ON CONFLICT DO NOTHING", key)
    return tx.one("SELECT * FROM periods WHERE key = ?", key)


def _open_period(tx: Tx, key: str) -> int:
    row = _period(tx, key)
    if row["state"] == "closed":
        raise Refusal(409, "period_closed", f"{key.upper()} is closed.")
    return int(row["id"])


def _open_period_from(tx: Tx, period: int) -> int:
    row = tx.one("SELECT * FROM periods WHERE id = ?", period)
    while row is not None and row["state"] == "closed" and row["key"] < "9999-q4":
        row = _period(tx, _next(row["key"]))
    if row is None or row["state"] == "closed":
        raise Refusal(409, "period_closed", "No later period is open.")
    return int(row["id"])


def _said_period(tx: Tx, period: int | None) -> str | None:
    key = tx.value("SELECT key FROM periods WHERE id = ?", period)
    return None if key is None else str(key).upper()


def _recognised(tx: Tx, column: str, key: int) -> dict[str, str]:
    rows = tx.all(
        "SELECT currency, sum(CASE kind WHEN 'recognition' THEN amount ELSE -amount END)"
        f" FROM entries WHERE {column} = ? GROUP BY currency ORDER BY currency",
        key,
    )
    return {code: money.shown(total, code) for code, total in map(tuple, rows) if total}


def _touch(tx: Tx, contract: int, period: int) -> None:
    tx.run("UPDATE contracts SET version = version + 1 WHERE id = ?", contract)
    tx.run("UPDATE periods SET version = version + 1 WHERE id = ?", period)
