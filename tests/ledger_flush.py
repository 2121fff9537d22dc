"""How the tests get round what the ledger refuses. Production code has no way round."""

from __future__ import annotations

from contextlib import contextmanager
from pathlib import Path

import pytest
from django.db import connection

from governance import ledger_triggers


@contextmanager
def lifted(connection):
    """Take the append-only triggers off for a while, as a database's owner could."""
    with connection.cursor() as cursor:
        if connection.in_atomic_block:
            connection.check_constraints()  # PostgreSQL drops no trigger while others are pending
        for statement in ledger_triggers.dropping(connection.vendor):
            cursor.execute(statement)
        yield
        if connection.in_atomic_block:
            connection.check_constraints()
        for statement in ledger_triggers.creating(connection.vendor):
            cursor.execute(statement, None)


@pytest.fixture(autouse=True, scope="session")
def ledger_survives_flush():
    """Let the flush after a committing test empty the ledger too."""
    operations = type(connection.ops)
    real = operations.execute_sql_flush

    def execute_sql_flush(self, sql_list):
        with lifted(self.connection):
            return real(self, sql_list)

    operations.execute_sql_flush = execute_sql_flush
    yield
    operations.execute_sql_flush = real


@pytest.fixture(autouse=True)
def own_seal_export(settings, tmp_path_factory):
    """Give each test its own file of exported seals: its database begins empty too."""
    directory = tmp_path_factory.getbasetemp()
    settings.SEAL_EXPORT = Path(directory) / "seals" / f"{id(settings)}.jsonl"
    yield settings.SEAL_EXPORT
    settings.SEAL_EXPORT.unlink(missing_ok=True)
