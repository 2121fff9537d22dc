"""The demo's ledger, as a process of its own."""

from __future__ import annotations

import hashlib
import json
import secrets
import sqlite3
import subprocess
import sys
from collections import defaultdict
from contextlib import closing
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import quote

import httpx2

from demo_target.__main__ import TOKEN
from rollback.connectors import registry
from rollback.models import Direction, Unit
from tools.processes import ROOT, Guard
from tools.trials.targets.sqlite import pour

Rows = dict[str, list[dict[str, Any]]]


class DemoTarget:
    """It runs for as long as it is entered."""

    key = "demo"
    takes_keys = True
    patience_s = 0.75

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._file = directory / "target.sqlite3"
        self._token = secrets.token_urlsafe(24)
        self._guard: Guard | None = None
        self._process: subprocess.Popen[str] | None = None
        self._url = ""
        self._kept = 0

    def __enter__(self) -> Self:
        self._guard = Guard()
        environment = self._guard.environment({TOKEN: self._token, "PYTHONPATH": str(ROOT)})
        process = subprocess.Popen(
            [
                sys.executable, "-m", "demo_target", "--db", str(self._file), "--port", "0",
                "--sync", "normal",
            ],
            cwd=ROOT, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        self._process = process
        line = process.stdout.readline() if process.stdout is not None else ""
        if not line:
            raise RuntimeError("The ledger did not start.")
        self._url = line.split()[-1]
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._process is not None:
            self._process.terminate()
            self._process.wait(timeout=10)
            if self._process.stdout is not None:
                self._process.stdout.close()
        if self._guard is not None:
            self._guard.dismiss()

    def address(self) -> dict[str, str]:
        return {"url": self._url, "token": self._token}

    def keep(self) -> Path:
        self._kept += 1
        kept = self._directory / f"target-{self._kept}.kept"
        pour(self._file, kept)
        return kept

    def restore(self, kept: Path) -> None:
        pour(kept, self._file)

    def books(self) -> dict[str, Any]:
        """Every row of it, but for the instants."""
        with closing(sqlite3.connect(self._file)) as connection:
            connection.row_factory = sqlite3.Row
            names = [
                row[0]
                for row in connection.execute(
                    "SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY name"
                )
            ]
            rows = {
                name: [
                    {column: value for column, value in dict(row).items() if column != "at"}
                    for row in connection.execute(
                        f"SELECT * FROM {name} ORDER BY 1"
                    )  # its own names
                ]
                for name in names
            }
        return {
            "keys": [row["key"] for row in rows["operations"] if row["key"]],
            "balanced": _balanced(rows),
            "rows": rows,
        }

    def finish(self, unit: Unit, direction: str) -> str:
        """Do what is missing of a unit, or take back what is there of it, as a person would: without a key."""
        wanted = unit.body
        if direction == Direction.UNDO:
            if not self._done(unit.body):
                return ""
            request = unit.request
            connector = registry.connector_for(request.action_type)
            wanted = connector.reversal(
                registry.action_of(request), unit.body, {"reference": self._done(unit.body)}
            )
        return self._done(wanted) or self._do(wanted)

    def _done(self, body: dict[str, Any]) -> str:
        """Return the reference under which the ledger has done this, "" if it has not."""
        said = json.dumps([body["method"], body["path"], body["json"]], sort_keys=True)
        with closing(sqlite3.connect(self._file)) as connection:
            found = connection.execute(
                "SELECT reference FROM operations WHERE digest = ?",
                [hashlib.sha256(said.encode()).hexdigest()],
            ).fetchone()
        return str(found[0]) if found else ""

    def _do(self, body: dict[str, Any]) -> str:
        path = "/".join(quote(str(segment), safe="") for segment in body["path"])
        answer = httpx2.request(
            body["method"], f"{self._url}/{path}", json=body["json"], trust_env=False,
            headers={"Authorization": f"Bearer {self._token}"},
        )  # fmt: skip
        return str(answer.raise_for_status().json()["reference"])


def _balanced(rows: Rows) -> bool:
    """Whether each entry adds up to nothing, and all balances do."""
    sums: dict[tuple[Any, ...], int] = defaultdict(int)
    for name, place in (("lines", "entry"), ("balances", "currency")):
        for row in rows[name]:
            sums[name, row[place], row["currency"]] += row["debit"] - row["credit"]
    return not any(sums.values())
