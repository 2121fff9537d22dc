"""Two of everything: what it starts, and that it notices what was lost or done twice."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
import threading
from contextlib import closing

import pytest
from honcho.environ import parse_procfile

from approvals.models import ActionRequest, Finding
from tests.factories import MONDAY_9AM, FindingFactory, RequestFactory
from tools.demo import TARGET
from tools.processes import ROOT
from tools.trials import two
from tools.trials.two import Tally, judge, procfile

S = ActionRequest.State


class Stopped:
    """What is left of a demo once it has been under load: the target's books, and commands that are content."""

    def __init__(self, directory):
        self.var = directory
        with closing(sqlite3.connect(directory / TARGET)) as books:
            books.executescript((ROOT / "demo_target" / "schema.sql").read_text())

    def paid(self, number, *, times=1):
        with closing(sqlite3.connect(self.var / TARGET)) as books:
            books.execute("INSERT OR IGNORE INTO vendors (id, key, name) VALUES (1, 'v', 'V')")
            bill = books.execute(
                "INSERT INTO bills (vendor, key, number, currency, booked) VALUES (1, ?, ?, 'USD', 0)",
                [number, number],
            ).lastrowid
            for instalment in range(times):
                books.execute(
                    "INSERT INTO payments (bill, instalment, amount, currency, paid_on, terms)"
                    " VALUES (?, ?, 1, 'USD', '2026-12-31', 'Net 30')",
                    [bill, str(instalment)],
                )
            books.commit()

    def manage(self, command, timeout):
        return 0, ""


@pytest.fixture
def demo(tmp_path):
    return Stopped(tmp_path)


@pytest.fixture
def tally():
    found = Tally()
    found.killed["web-1"] = 1
    return found


def one(tally, key="two-0", **state):
    """A request that was asked for and taken."""
    row = RequestFactory(idempotency_key=key, **{"state": S.COMPLETED, "due_at": None, **state})
    tally.sent.add(key)
    tally.taken[key] = {"ref": row.ref, "digest": row.digest}
    return row


@pytest.mark.django_db
def test_what_was_done_once_is_well(demo, tally):
    one(tally)
    demo.paid("INV-two-0")
    said = []

    assert judge(demo, tally, 1.0, said.append) == 0

    assert "1 submitted, 1 accepted" in said[1]
    assert "0 doubled, 0 lost" in said[1]


@pytest.mark.django_db
def test_what_was_paid_twice_is_found(demo, tally):
    one(tally)
    demo.paid("INV-two-0", times=2)
    said = []

    assert judge(demo, tally, 1.0, said.append) == 1

    assert "1 doubled, 0 lost" in said[1]
    assert "FAIL  paid more than once: two-0" in said


@pytest.mark.django_db
def test_what_was_lost_is_found_on_every_way(demo, tally):
    one(tally, "two-0")  # completed, and not in the target
    one(tally, "two-2", state=S.PENDING, due_at=RequestFactory.build().due_at)
    tally.sent |= {"two-4", "two-6"}
    tally.taken["two-4"] = {"ref": "R-GONE", "digest": ""}
    said = []

    assert judge(demo, tally, 1.0, said.append) > 0

    failed = {line.removeprefix("FAIL  ") for line in said if line.startswith("FAIL")}
    assert failed == {
        "taken and not in the database: two-4",
        "sent and never answered: two-6",
        "taken and not completed: two-2, two-4",
        "completed and not in the target: two-0",
    }


@pytest.mark.django_db
def test_what_an_audit_found_meanwhile_is_told_though_it_was_cleared(demo, tally):
    one(tally)
    demo.paid("INV-two-0")
    FindingFactory(audit="clock_overdue", text="It stood still.", cleared_at=MONDAY_9AM)
    said = []

    assert judge(demo, tally, 1.0, said.append) == 0

    assert "found meanwhile, and gone since: clock_overdue: It stood still." in said


@pytest.mark.django_db
def test_what_goes_with_the_last_audit_is_told_too(demo, tally):
    one(tally)
    demo.paid("INV-two-0")
    FindingFactory(audit="clock_overdue", text="It stood still.")

    def manage(command, timeout):
        if command == "audit":
            Finding.objects.update(cleared_at=MONDAY_9AM)
        return 0, ""

    demo.manage = manage
    said = []

    assert judge(demo, tally, 1.0, said.append) == 0

    assert "found meanwhile, and gone since: clock_overdue: It stood still." in said


@pytest.mark.django_db
def test_fewer_kills_than_planned_show_less_than_was_asked_for(demo, tally):
    one(tally)
    demo.paid("INV-two-0")
    tally.planned = 2
    tally.killed.update({"web-2": 1, "clock-1": 2, "worker-1": 1})
    said = []

    assert judge(demo, tally, 1.0, said.append) == 1

    assert "FAIL  worker was killed 1 times of 2 that were planned" in said


class Killed:
    """Counts what is killed and started again."""

    def __init__(self):
        self.said = []

    def kill(self, name):
        self.said.append(f"kill {name}")

    def restart(self, name):
        self.said.append(f"start {name}")


def test_each_kind_is_killed_as_often_as_planned_in_turn(monkeypatch):
    monkeypatch.setattr(two, "KILL_EVERY_S", 0.02)
    monkeypatch.setattr(two, "DOWN_FOR_S", 0.01)
    demo, tally = Killed(), Tally(planned=3)

    two.kill_in_turns(demo, tally, threading.Event())

    assert tally.killed == {
        "web-1": 2, "web-2": 1, "clock-1": 2, "clock-2": 1, "worker-1": 2, "worker-2": 1,
    }  # fmt: skip
    assert [line for line in demo.said if line.endswith("web-2")] == ["kill web-2", "start web-2"]


@pytest.mark.django_db
def test_a_run_in_which_nobody_was_killed_or_nothing_was_done_shows_nothing(demo):
    assert judge(demo, Tally(), 1.0, lambda line: None) == 2


def test_there_are_two_of_each_process_and_each_web_has_a_port_of_its_own(tmp_path):
    own = parse_procfile((ROOT / "Procfile").read_text()).processes

    twice = parse_procfile(procfile(tmp_path).read_text()).processes

    assert set(twice) == {f"{name}-{number}" for name in own for number in (1, 2)}
    assert "${PORT_2}" in twice["web-2"]
    assert twice["web-2"].replace("${PORT_2}", "${PORT:-8000}") == twice["web-1"] == own["web"]


def test_on_sqlite_there_are_no_two():
    done = subprocess.run(
        [sys.executable, "-m", "tools.trials", "two"], cwd=ROOT, capture_output=True, text=True,
        env={name: value for name, value in os.environ.items() if name != "DATABASE_URL"},
        timeout=120, check=False,
    )  # fmt: skip

    assert done.returncode == 3
    assert "PostgreSQL" in done.stdout
