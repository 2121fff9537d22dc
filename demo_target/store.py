"""The file, and the one way in: everything goes through one connection, one caller at a time.

A ledger of this size is done in well under a millisecond; what takes time is the
disk, once a write. A lock is then the simplest thing that is certainly right.
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal, TypeVar

T = TypeVar("T")
Sync = Literal["full", "normal", "off"]
SCHEMA = Path(__file__).with_name("schema.sql").read_text()


class Tx:
    """A transaction under way, with the four things one does in it."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def one(self, sql: str, *values: Any) -> sqlite3.Row | None:
        """Return the first row, or None."""
        row: sqlite3.Row | None = self._connection.execute(sql, values).fetchone()
        return row

    def all(self, sql: str, *values: Any) -> list[sqlite3.Row]:
        """Return every row."""
        return self._connection.execute(sql, values).fetchall()

    def value(self, sql: str, *values: Any) -> Any:
        """Return the first column of the first row; None if there is none."""
        row = self.one(sql, *values)
        return None if row is None else row[0]

    def run(self, sql: str, *values: Any) -> int:
        """Execute; return the id of the row that was inserted last."""
        return self._connection.execute(sql, values).lastrowid or 0


class Store:
    """One SQLite file in WAL mode."""

    def __init__(self, path: str | Path, *, sync: Sync = "full") -> None:
        """Open or make the file.

        Args:
            path: ":memory:" for one that is gone with its process.
            sync: "full" keeps an answered write through a power cut.
        """
        self._lock = threading.Lock()
        self._connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        self._connection.row_factory = sqlite3.Row
        for pragma in ("journal_mode = WAL", f"synchronous = {sync}", "foreign_keys = ON"):
            self._connection.execute(f"PRAGMA {pragma}")
        with self._lock, self._transaction() as tx:
            if not tx.one("SELECT 1 FROM sqlite_master WHERE name = 'operations'"):
                for statement in _statements(SCHEMA):
                    tx.run(statement)

    def do(self, work: Callable[[Tx], T]) -> T:
        """Do all of `work` in one transaction, or nothing of it."""
        with self._lock, self._transaction() as tx:
            return work(tx)

    def empty(self) -> None:
        """Forget everything."""
        with self._lock:
            self._connection.execute("PRAGMA foreign_keys = OFF")
            with self._transaction() as tx:
                names = tx.all("SELECT name FROM sqlite_master WHERE type = 'table'")
                for (name,) in map(tuple, names):
                    tx.run(f"DELETE FROM {name}")
            self._connection.execute("PRAGMA foreign_keys = ON")

    def close(self) -> None:
        """Close the file, once whoever is inside has left."""
        with self._lock:
            self._connection.close()

    @contextmanager
    def _transaction(self) -> Iterator[Tx]:
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            yield Tx(self._connection)
            self._connection.execute("COMMIT")
        except BaseException:
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
            raise


def _statements(script: str) -> Iterator[str]:
    """Split a script: `executescript` would commit behind our back."""
    statement = ""
    for line in script.splitlines(keepends=True):
        statement += line
        if sqlite3.complete_statement(statement):
            yield statement
            statement = ""
