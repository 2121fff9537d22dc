"""What can be asked of the ledger and done to it, and how each write is done once.

An `Idempotency-Key` names a write. Sent again with the same body it gets the
first answer again; with another, a refusal. A write that was refused left no
trace, so its key is free.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from demo_target import books, payables, sales, seeds
from demo_target.calls import Answer, Call
from demo_target.refusals import Refusal, invalid
from demo_target.store import Store, Tx

Handler = Callable[[Tx, Call], Answer]
LONGEST_KEY = 1000
PAGE, LARGEST_PAGE = 100, 1000


class Served(NamedTuple):
    """An answer ready to be sent."""

    status: int
    body: bytes
    headers: dict[str, str]


def list_operations(tx: Tx, call: Call) -> Answer:
    """GET /operations: every write that was done, once each, oldest first.

    `key` for one; else those whose key begins with `prefix`, after the id
    `after`, at most `limit`. `next` is the id to go on after, null at the end.
    """
    if "key" in call.query:
        rows = tx.all("SELECT * FROM operations WHERE key = ?", call.query["key"])
        return Answer({"operations": [_operation(row) for row in rows], "next": None})
    prefix = call.query.get("prefix", "")
    limit = _number(call.query.get("limit", str(PAGE)), "limit", most=LARGEST_PAGE)
    after = _number(call.query.get("after", "0"), "after")
    rows = tx.all(
        "SELECT * FROM operations WHERE id > ? AND (? = '' OR substr(key, 1, ?) = ?)"
        " ORDER BY id LIMIT ?",
        after, prefix, len(prefix), prefix, limit + 1,
    )  # fmt: skip
    page = rows[:limit]
    following = page[-1]["id"] if page and len(rows) > limit else None
    return Answer({"operations": [_operation(row) for row in page], "next": following})


READS: Mapping[tuple[str, ...], Handler] = {
    ("operations",): list_operations,
    ("books",): books.read_books,
    ("ap-balance",): books.read_ap_balance,
    ("vendors", "*"): payables.read_vendor,
    ("bills", "*", "*"): payables.read_bill,
    ("payments", "*"): payables.read_payment,
    ("credit-memos", "*"): payables.read_memo,
    ("purchase-orders", "*"): payables.read_purchase_order,
    ("customers", "*"): sales.read_customer,
    ("customers", "*", "*"): sales.read_part,
    ("sales-orders", "*"): sales.read_order,
    ("contracts", "*"): books.read_contract,
    ("periods", "*"): books.read_period,
    ("journal-entries", "*"): books.read_entry,
}
POSTS: Mapping[tuple[str, ...], Handler] = {
    ("bills",): payables.enter_bill,
    ("payments",): payables.pay,
    ("credit-memos",): payables.credit,
    ("purchase-orders",): payables.order,
    ("purchase-orders", "*", "cancel"): payables.cancel_order,
    ("sales-orders", "*", "lines"): sales.add_line,
    ("sales-orders", "*", "lines", "*", "cancel"): sales.cancel_line,
    ("journal-entries",): books.post_entry,
    ("journal-entries", "*", "reverse"): books.reverse_entry,
}
PUTS: Mapping[tuple[str, ...], Handler] = {
    ("customers", "*", "*"): sales.write_part,
    ("periods", "*"): books.set_period,
}
ROUTES: Mapping[str, Mapping[tuple[str, ...], Handler]] = {
    "GET": READS,
    "POST": POSTS,
    "PUT": PUTS,
}


class Ledger:
    """The company's books in one store."""

    def __init__(self, store: Store) -> None:
        self.store = store
        store.do(seeds.plant)

    def reset(self) -> None:
        """Go back to the first day."""
        self.store.empty()
        self.store.do(seeds.plant)

    def serve(
        self, method: str, segments: Sequence[str], query: Mapping[str, str], body: Any,
        *, key: str = "", if_match: str = "", path: str = "",
    ) -> Served:  # fmt: skip
        """Ask or do one thing.

        Args:
            segments: of the path, decoded.
            body: as read from JSON.
            key: names the write; "" for one that may be done twice.
            if_match: the version of the record that the caller saw.
            path: as it was sent, for the list of operations.

        Raises:
            Refusal: nothing was done.
        """
        handler, parts = _find(method, segments)
        if method == "GET":
            answer = self.store.do(lambda tx: handler(tx, Call(parts, query)))
            return _served(answer)
        if not isinstance(body, dict):
            raise invalid("The body is a JSON object.")
        if len(key) > LONGEST_KEY:
            raise invalid(f"An Idempotency-Key has at most {LONGEST_KEY} characters.")
        call = Call(parts, query, body, if_match)
        digest = _digest(method, segments, body)
        return self.store.do(
            lambda tx: (
                _replay(tx, key, digest) or _write(tx, handler, call, key, method, path, digest)
            )
        )


def _find(method: str, segments: Sequence[str]) -> tuple[Handler, list[str]]:
    allowed = []
    for verb, routes in ROUTES.items():
        for pattern, handler in routes.items():
            if len(pattern) == len(segments) and all(
                want in ("*", got) for want, got in zip(pattern, segments, strict=True)
            ):
                if verb == method:
                    parts = zip(pattern, segments, strict=True)
                    return handler, [got for want, got in parts if want == "*"]
                allowed.append(verb)
    if allowed:
        raise Refusal(405, "method", f"This takes {', '.join(allowed)}.")
    raise Refusal(404, "path", "Nothing is here.")


def _digest(method: str, segments: Sequence[str], body: Any) -> str:
    said = json.dumps([method, list(segments), body], sort_keys=True)
    return hashlib.sha256(said.encode()).hexdigest()


def _replay(tx: Tx, key: str, digest: str) -> Served | None:
    row = tx.one("SELECT * FROM operations WHERE key = ?", key) if key else None
    if row is None:
        return None
    if row["digest"] != digest:
        raise Refusal(422, "key_reused", "This Idempotency-Key was used for something else.")
    return Served(200, row["answer"].encode(), {"Idempotent-Replay": "true"})


def _write(
    tx: Tx, handler: Handler, call: Call, key: str, method: str, path: str, digest: str
) -> Served:
    answer = handler(tx, call)
    served = _served(answer)
    tx.run(
        "INSERT INTO operations (key, method, path, digest, reference, answer)"
        " VALUES (?, ?, ?, ?, ?, ?)",
        key or None, method, path, digest, answer.body["reference"], served.body.decode(),
    )  # fmt: skip
    return served


def _served(answer: Answer) -> Served:
    body = dict(answer.body)
    headers = {}
    if answer.version is not None:
        headers["ETag"] = f'"{answer.version}"'
        body.setdefault("version", str(answer.version))
    return Served(answer.status, json.dumps(body).encode(), headers)


def _operation(row: Any) -> dict[str, Any]:
    shown = {name: row[name] for name in ("id", "key", "method", "path", "reference", "at")}
    return {**shown, "answer": json.loads(row["answer"])}


def _number(value: str, name: str, *, most: int = 2**62) -> int:
    if not (value.isascii() and value.isdigit() and len(value) < 19):
        raise invalid(f'"{name}" is a whole number.')
    return min(int(value), most)
