"""Seeded databases to measure on, each a copy of one that was migrated and seeded once."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bench.server import served


class World:
    """A seeded database, copies of it, and servers on them.

    Attributes:
        token: of the demo's agent.
        password: of the demo's people.
    """

    def __init__(self, url: str, var: Path) -> None:
        """Nothing happens yet. `url` ends with the database's name; `var` may be written to."""
        self._url = url
        self._var = var
        self._made = 0
        self.is_postgres = not url.startswith("sqlite")
        self.token = self.password = ""

    def seed(self) -> None:
        """Migrate and seed the first database."""
        from django.core.management import call_command

        from governance import clock, demo

        call_command("migrate", interactive=False, verbosity=0)
        keys = demo.seed(speed=1.0, now=clock.now(), real_now=clock.real_now())
        self.token, self.password = keys.token, keys.password
        self._close()

    def copy(self) -> str:
        """Return the URL of a new copy of the seeded database."""
        self._made += 1
        self._close()  # who copies it must be alone with it
        if not self.is_postgres:
            path = Path(self._url.removeprefix("sqlite:///"))
            copy = path.with_name(f"{path.stem}-{self._made}.sqlite3")
            shutil.copy(path, copy)
            return f"sqlite:///{copy}"
        head, _, name = self._url.rpartition("/")
        self._run(f'CREATE DATABASE "{name}_{self._made}" TEMPLATE "{name}"')
        return f"{head}/{name}_{self._made}"

    def drop(self, url: str) -> None:
        """Drop a copy."""
        self._close()
        name = url.rpartition("/")[2]
        if self.is_postgres:
            self._run(f'DROP DATABASE "{name}" WITH (FORCE)')

    @contextmanager
    def entered(self, url: str) -> Iterator[None]:
        """Have this process read and write that database."""
        from django.conf import settings
        from django.db import connection

        self._close()
        before = connection.settings_dict["NAME"]
        connection.settings_dict["NAME"] = (
            url.rpartition("/")[2] if self.is_postgres else url.removeprefix("sqlite:///")
        )
        # Seals are exported to a file that belongs to one database.
        settings.SEAL_EXPORT = self._var / f"{url.rpartition('/')[2]}.jsonl"
        try:
            yield
        finally:
            self._close()
            connection.settings_dict["NAME"] = before

    @contextmanager
    def served(self, url: str) -> Iterator[int]:
        """Serve one of them; yield the port."""
        environment = {**os.environ, "DATABASE_URL": url}
        # SQLite has one writer: two processes would only wait for each other's locks.
        workers = (os.cpu_count() or 1) if self.is_postgres else 1
        with served(environment, workers=workers, logs=self._var) as port:
            yield port

    def version(self) -> str:
        """Say what is measured on."""
        from django.db import connection

        with connection.cursor() as cursor:
            cursor.execute("SHOW server_version" if self.is_postgres else "SELECT sqlite_version()")
            name = "PostgreSQL" if self.is_postgres else "SQLite"
            return f"{name} {cursor.fetchone()[0]}"

    def durability(self) -> dict[str, str]:
        """Say whether a commit is on disk when it is answered, as PostgreSQL has it: "on" or "off"."""
        from django.db import connection

        if not self.is_postgres:
            return {}
        found = {}
        with connection.cursor() as cursor:
            for name in ("fsync", "synchronous_commit", "full_page_writes"):
                cursor.execute(f"SHOW {name}")
                found[name] = str(cursor.fetchone()[0])
        return found

    def _run(self, statement: str) -> None:
        import psycopg

        with psycopg.connect(self._url, autocommit=True, dbname="postgres") as connection:
            connection.execute(statement)  # type: ignore[arg-type]

    def _close(self) -> None:
        from django.db import connection

        connection.close()
