"""Speak to Tryton as any client does: JSON-RPC, in a session.

For tests, stories and sweeps, which judge Recourse's connector and so must not
use it.
"""

from __future__ import annotations

import base64
import datetime
from decimal import Decimal
from itertools import count
from typing import Any

import httpx2

TIMEOUT_S = 60.0


class Refused(Exception):
    """Tryton answered with an error: its name and words."""


class Rpc:
    """One session. Call it with a method's whole name and its arguments; the context is added.

    rpc("model.party.party.search_read", [("code", "=", "V-1001")], 0, 1, None, ["name"])
    """

    def __init__(self, url: str, user: str, password: str) -> None:
        """Log in. Raises Refused, or an httpx2.HTTPError."""
        self._client = httpx2.Client(timeout=TIMEOUT_S, trust_env=False)
        self._address = f"{url}rpc/"
        self._numbers = count(1)
        self._context: dict[str, Any] = {}
        found = self._ask("common.db.login", [user, {"password": password}, "en"])
        session = f"{user}:{found[0]}:{found[1]}"
        self._client.headers["Authorization"] = (
            f"Session {base64.b64encode(session.encode()).decode()}"
        )
        self._context = self._ask("model.res.user.get_preferences", [True, {}])

    def __call__(self, method: str, *arguments: Any, **context: Any) -> Any:
        """Return the result. Raises Refused, or an httpx2.HTTPError."""
        return self._ask(method, [*arguments, {**self._context, **context}])

    def rows(
        self, model: str, clauses: list[Any], fields: list[str], **context: Any
    ) -> list[dict[str, Any]]:
        """Return these fields of every row that fits, oldest first."""
        found: list[dict[str, Any]] = self(
            f"model.{model}.search_read",
            clauses, 0, None, [["id", "ASC"]], fields, **context,
        )  # fmt: skip
        return found

    def close(self) -> None:
        """Let go of the connection. The session ends by itself."""
        self._client.close()

    def _ask(self, method: str, arguments: list[Any]) -> Any:
        question = {"id": next(self._numbers), "method": method, "params": _plain(arguments)}
        answer = self._client.post(self._address, json=question)
        if answer.status_code == httpx2.codes.UNAUTHORIZED:
            raise Refused(f"{method}: not logged in")
        answer.raise_for_status()
        document = answer.json()
        if "error" in document:
            raise Refused(f"{method}: {document['error'][:2]}")
        return _values(document["result"])


def _plain(value: Any) -> Any:
    """Return a value as JSON-RPC carries it."""
    match value:
        case Decimal():
            return {"__class__": "Decimal", "decimal": str(value)}
        case datetime.date():
            return {
                "__class__": "date", "year": value.year, "month": value.month, "day": value.day,
            }  # fmt: skip
        case dict():
            return {name: _plain(each) for name, each in value.items()}
        case list() | tuple():
            return [_plain(each) for each in value]
    return value


def _values(value: Any) -> Any:
    """Return what JSON-RPC carried. Instants stay as they came."""
    match value:
        case {"__class__": "Decimal"}:
            return Decimal(value["decimal"])
        case {"__class__": "date"}:
            return datetime.date(value["year"], value["month"], value["day"])
        case dict():
            return {name: _values(each) for name, each in value.items()}
        case list():
            return [_values(each) for each in value]
    return value
