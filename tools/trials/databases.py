"""Databases to try things on, each a copy of one in which everything is ready."""

from __future__ import annotations

import os
import shutil
from itertools import count
from pathlib import Path
from typing import NamedTuple

from tools.postgres import is_postgres


class Database(NamedTuple):
    """One of them, and the file to which its seals are exported."""

    name: str  # the path of an SQLite file, or its name on the server
    seals: Path


class Databases:
    """Makes them, copies them and drops them. Nobody may be connected to one that is copied."""

    def __init__(self, directory: Path) -> None:
        """`DATABASE_URL` says on which server; without one they are SQLite files in `directory`."""
        url = os.environ.get("DATABASE_URL", "")
        self._url = url if is_postgres(url) else ""
        self._directory = directory
        self._numbers = count(1)

    @property
    def kind(self) -> str:
        return "PostgreSQL" if self._url else "SQLite"

    def new(self) -> Database:
        """Make an empty one."""
        made = self._next()
        if self._url:
            self._run(f'CREATE DATABASE "{made.name}"')
        return made

    def copy(self, of: Database) -> Database:
        """Make a copy, with the seals that were exported."""
        made = self._next()
        if self._url:
            self._run(f'CREATE DATABASE "{made.name}" TEMPLATE "{of.name}"')
        else:
            shutil.copy(of.name, made.name)
        if of.seals.exists():
            shutil.copy(of.seals, made.seals)
        return made

    def drop(self, database: Database) -> None:
        """Remove it, whoever is still connected."""
        if self._url:
            self._run(f'DROP DATABASE "{database.name}" WITH (FORCE)')
        else:
            for suffix in ("", "-wal", "-shm"):
                Path(f"{database.name}{suffix}").unlink(missing_ok=True)
        database.seals.unlink(missing_ok=True)

    def _next(self) -> Database:
        number = next(self._numbers)
        seals = self._directory / f"{number}.jsonl"
        if self._url:
            return Database(f"trial_{os.getpid()}_{number}", seals)
        return Database(str(self._directory / f"{number}.sqlite3"), seals)

    def _run(self, statement: str) -> None:
        import psycopg

        with psycopg.connect(self._url, autocommit=True, dbname="postgres") as connection:
            connection.execute(statement.encode())


def enter(database: Database) -> None:
    """Have this process, which is not connected yet, work on a database."""
    from django.conf import settings
    from django.db import connection

    if connection.connection is not None:
        raise RuntimeError("this process is connected already, and would share it")
    connection.settings_dict["NAME"] = database.name
    settings.SEAL_EXPORT = database.seals


def leave() -> None:
    """Close the connections of this process: a file that is copied must be whole."""
    from django.db import connections

    connections.close_all()
