"""The benchmark in small: it runs to its end, and what it prints is whole. Its figures say nothing here."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys

import pytest
from django.conf import settings

from bench.__main__ import GOALS
from tools.processes import ROOT

BENCH = ROOT / "bench"
CARRIED_OUT = {"approve_to_completed_vs_allowed", "executions_per_s", "worker_memory_many_vs_few"}


pytestmark = pytest.mark.processes  # they measure, and want the machine


def measured(*parts):
    """Run it in small on the kind of database that these tests run on; return what it printed."""
    sqlite = settings.DATABASES["default"]["ENGINE"].endswith("sqlite3")
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("DJANGO", "RECOURSE"))}
    own = {"DATABASE_URL": "sqlite://" if sqlite else os.environ["DATABASE_URL"]}
    done = subprocess.run(
        [sys.executable, "-m", "bench", *parts],
        cwd=ROOT,
        env=kept | own | {"BENCH_SCALE": "0.01"},
        capture_output=True,
        text=True,
        timeout=280,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout)


def test_every_measure_is_taken():
    printed = measured()

    assert printed["machine"]["scale"] == 0.01
    assert list(printed["measures"]) == list(GOALS)
    without = {key for key, found in printed["measures"].items() if found["value"] is None}
    on_sqlite = printed["machine"]["database"].startswith("SQLite")
    # The floor of the sweep is PostgreSQL's SQL; what starts the whole demo has tests of its own.
    assert without == {"cycle_per_s", *CARRIED_OUT} | (
        {"burst_p99_vs_sql", "trickle_p50_vs_sql"} if on_sqlite else set()
    )
    assert all(printed["measures"][key]["why"] for key in without)


@pytest.mark.sqlite_only  # what differs by the database is in `test_every_measure_is_taken`
def test_whole_cycles_are_measured():
    assert measured("cycle")["measures"]["cycle_per_s"]["value"] > 0


@pytest.mark.sqlite_only
def test_carrying_out_is_measured():
    found = measured("execute")["measures"]

    assert found.keys() == CARRIED_OUT
    assert all(each["value"] > 0 for each in found.values())
    pace = found["executions_per_s"]
    assert pace["one_worker"]["executions"]
    assert pace["two_workers"]["target_per_s"] > 0


@pytest.mark.sqlite_only
@pytest.mark.parametrize("floor", ["floor_view.py", "floor_record.py", "floor.sql"])
def test_a_floor_is_small(floor):
    assert len((BENCH / floor).read_text().splitlines()) <= 40


@pytest.mark.sqlite_only
def test_the_floor_has_no_address_in_the_product():
    # The package, or its view: a page on which rules are tried is called a bench as well.
    named = re.compile(
        r"\bfloor_(?:view|record)\b|^\s*(from|import) bench\b|\"bench\.", re.MULTILINE
    )
    packages = [ROOT / name for name in ("governance", "approvals", "rollback")]
    files = [path for package in packages for path in package.rglob("*.py")]

    assert files
    assert not [path for path in files if named.search(path.read_text())]
