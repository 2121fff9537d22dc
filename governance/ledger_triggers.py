"""The triggers that make the ledger append-only, for the migration that installs them.

Trap: on SQLite an ALTER makes the table anew and its triggers go with the old one.
A later migration that alters one of TABLES must `install` again; the tests notice.
"""

from __future__ import annotations

from collections.abc import Iterator

from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.base.schema import BaseDatabaseSchemaEditor

TABLES = ("governance_auditevent", "governance_seal", "governance_sealedevent")

# One trigger a statement: it also refuses a statement that would match no row. 23000 is
# integrity_constraint_violation, so that Django raises IntegrityError as it does on SQLite.
POSTGRESQL_FUNCTION = """
CREATE FUNCTION governance_append_only() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION '% is append-only: % refused', TG_TABLE_NAME, TG_OP USING ERRCODE = '23000';
END
$$
"""
POSTGRESQL = """
CREATE TRIGGER {table}_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON {table}
FOR EACH STATEMENT EXECUTE FUNCTION governance_append_only()
"""

# INSERT OR REPLACE counts as a DELETE only under PRAGMA recursive_triggers, which settings turn on.
# SQLite has no TRUNCATE: DELETE without WHERE fires the trigger.
SQLITE = """
CREATE TRIGGER {table}_no_{verb} BEFORE {verb} ON {table}
BEGIN
    SELECT RAISE(ABORT, '{table} is append-only: {verb} refused');
END
"""


def creating(vendor: str) -> Iterator[str]:
    """Yield the statements that put the triggers on."""
    if vendor == "postgresql":
        yield POSTGRESQL_FUNCTION
        for table in TABLES:
            yield POSTGRESQL.format(table=table)
    else:
        for table in TABLES:
            for verb in ("UPDATE", "DELETE"):
                yield SQLITE.format(table=table, verb=verb)


def dropping(vendor: str) -> Iterator[str]:
    """Yield the statements that take them off again."""
    if vendor == "postgresql":
        for table in TABLES:
            yield f"DROP TRIGGER {table}_append_only ON {table}"
        yield "DROP FUNCTION governance_append_only()"
    else:
        for table in TABLES:
            for verb in ("UPDATE", "DELETE"):
                yield f"DROP TRIGGER {table}_no_{verb}"


def names(vendor: str) -> list[str]:
    """Return the names of the triggers that must be there."""
    if vendor == "postgresql":
        return [f"{table}_append_only" for table in TABLES]
    return [f"{table}_no_{verb}" for table in TABLES for verb in ("UPDATE", "DELETE")]


def missing(connection: BaseDatabaseWrapper) -> list[str]:
    """Return the triggers that are gone or switched off: somebody could change the record without a trace in it."""
    wanted = names(connection.vendor)
    there = "SELECT name FROM sqlite_master WHERE type = 'trigger'"
    if connection.vendor == "postgresql":
        there = "SELECT tgname FROM pg_trigger WHERE NOT tgisinternal AND tgenabled IN ('O', 'A')"
    with connection.cursor() as cursor:
        cursor.execute(there)
        found = {name for (name,) in cursor.fetchall()}
    return [name for name in wanted if name not in found]


def install(schema_editor: BaseDatabaseSchemaEditor) -> None:
    """Make the ledger append-only. Fails where it is already."""
    for statement in creating(schema_editor.connection.vendor):
        schema_editor.execute(statement, params=None)  # None: the % in it are not placeholders


def remove(schema_editor: BaseDatabaseSchemaEditor) -> None:
    """Undo `install`, for a migration that is taken back."""
    for statement in dropping(schema_editor.connection.vendor):
        schema_editor.execute(statement, params=None)
