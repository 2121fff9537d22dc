"""Whose database it is: what `make demo` asks before it empties one."""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import sys

import pytest

from tools.processes import ROOT

pytestmark = pytest.mark.sqlite_only  # it names its own databases: once is enough


@pytest.fixture
def whose(tmp_path):
    """Ask about the database file at `path`."""

    def ask(path):
        environment = {
            **os.environ,
            "DJANGO_SETTINGS_MODULE": "governance.settings",
            "RECOURSE_VAR": str(tmp_path / "var"),
            "DATABASE_URL": f"sqlite:///{path}",
        }
        done = subprocess.run(
            [sys.executable, "-m", "tools.database"],
            cwd=ROOT, env=environment, capture_output=True, text=True, timeout=60, check=True,
        )  # fmt: skip
        return json.loads(done.stdout)

    return ask


OURS = "".join(
    f"CREATE TABLE governance_{name} (id);" for name in ("democlock", "person", "policyversion")
)


@pytest.mark.parametrize(
    ("statements", "state"),
    [
        ("", "empty"),
        (OURS, "empty"),
        (OURS + "INSERT INTO governance_person VALUES (1)", "other"),
        (OURS + "INSERT INTO governance_democlock VALUES (1)", "demo"),
        ("CREATE TABLE somebodys (id)", "other"),
    ],
)
def test_a_database_is_told_by_what_is_in_it(whose, tmp_path, statements, state):
    path = tmp_path / "some.sqlite3"
    with sqlite3.connect(path) as connection:
        connection.executescript(statements)
    connection.close()

    assert whose(path) == {"state": state, "file": str(path)}


def test_a_file_that_is_not_there_is_empty_and_is_not_made(whose, tmp_path):
    path = tmp_path / "new.sqlite3"

    assert whose(path)["state"] == "empty"
    assert not path.exists()
