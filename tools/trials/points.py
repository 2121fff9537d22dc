"""Counts the points of a run at which a worker can die, and kills it at one of them.

From outside: the commits of Django's connection, the connector's `send`, and the
client's calls are watched in the process that is to die. The product knows nothing of it.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Callable
from types import FrameType
from typing import Any

from rollback.connectors import client
from rollback.connectors.base import Connector, Json, Receipt

OURS = ("rollback.", "approvals.", "governance.")
WRITES = ("INSERT", "UPDATE", "DELETE")


class Points:
    """The points of one run, in order.

    Attributes:
        reached: what each was, for people and to compare runs.
    """

    def __init__(self, *, die_at: int | None = None, last_words: Callable[[str], None]) -> None:
        """Count only, or die at point number `die_at`, from 1."""
        self.reached: list[str] = []
        self._die_at = die_at
        self._last_words = last_words

    def reach(self, what: str) -> None:
        """Note one, and die there if it is the one: no `finally` runs, no connection is closed."""
        self.reached.append(what)
        if len(self.reached) == self._die_at:
            self._last_words(what)
            os.kill(os.getpid(), signal.SIGKILL)


def watch_commits(points: Points) -> None:
    """Note the instants just before and just after each commit of this process's connection."""
    from django.db import connections

    connection: Any = connections["default"]
    commit = connection._commit

    def committed() -> None:
        where = _where()
        points.reach(f"before the commit of {where}")
        commit()
        points.reach(f"after the commit of {where}")

    def alone(execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
        """A statement outside a transaction commits by itself."""
        if connection.in_atomic_block or not sql.lstrip().upper().startswith(WRITES):
            return execute(sql, params, many, context)
        where = _where()
        points.reach(f"before the write of {where}")
        answer = execute(sql, params, many, context)
        points.reach(f"after the write of {where}")
        return answer

    connection._commit = committed
    connection.execute_wrappers.append(alone)


def watch_calls(points: Points) -> None:
    """Note each call that the target has answered, and of which this process does not know yet."""
    call = client.call

    def called(method: str, url: str, *, content: bytes | None = None, **more: Any) -> Any:
        answer = call(method, url, content=content, **more)
        what = _procedure(content) or f"{method} {url.partition('//')[2].partition('/')[2]}"
        points.reach(f"the target has done {what}")
        return answer

    client.call = called


class Watched:
    """A connector whose sends are points: before one leaves, and after its receipt is here."""

    def __init__(self, connector: Connector, points: Points) -> None:
        self._connector = connector
        self._points = points

    def __getattr__(self, name: str) -> Any:
        return getattr(self._connector, name)

    def send(self, body: Json, *, key: str, version: str = "") -> Receipt:
        self._points.reach(f"before {key} is sent")
        receipt = self._connector.send(body, key=key, version=version)
        self._points.reach(f"after {key} was answered")
        return receipt


def _procedure(content: bytes | None) -> str:
    """Return what a remote procedure call names, "" if it is none."""
    said = json.loads(content) if content else None
    return str(said.get("method", "")) if isinstance(said, dict) else ""


def _where() -> str:
    """Name the two innermost functions of ours on the stack."""
    found: list[str] = []
    frame: FrameType | None = sys._getframe(2)
    while frame is not None and len(found) < 2:
        module = frame.f_globals.get("__name__", "")
        name = f"{module.rpartition('.')[2]}.{frame.f_code.co_name}"
        if module.startswith(OURS) and name not in found:
            found.append(name)
        frame = frame.f_back
    return " in ".join(found) or "nobody of ours"
