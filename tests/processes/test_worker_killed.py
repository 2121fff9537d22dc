"""A worker that is gone from one instruction to the next, on a real target: one effect, and it goes on."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import httpx2
import pytest

from approvals.models import ActionRequest
from rollback.models import Run, Unit
from tests.processes.carrier import LEASE_IS_S
from tests.processes.conftest import until
from tools.demo import free_port
from tools.processes import ROOT

pytestmark = pytest.mark.processes
# PostgreSQL is killed at each of its points by the crash sweep, forward and back: .ci/run has it on both.
once = pytest.mark.sqlite_only

TOKEN = "the-token-of-the-target"


class Target:
    """The demo's target as a process."""

    def __init__(self, directory, environment):
        port = free_port()
        self.url = f"http://127.0.0.1:{port}"
        self._process = subprocess.Popen(
            [sys.executable, "-m", "demo_target", "--db", str(directory / "target.sqlite3"),
             "--host", "127.0.0.1", "--port", str(port)],
            cwd=ROOT, env={**environment, "DEMO_TARGET_TOKEN": TOKEN}, stdin=subprocess.DEVNULL,
        )  # fmt: skip
        self._http = httpx2.Client(
            base_url=self.url, headers={"Authorization": f"Bearer {TOKEN}"}, trust_env=False
        )
        until(self._answers, seconds=30)

    def _answers(self):
        try:
            return self._http.get("/healthz").status_code == 200
        except httpx2.TransportError:
            return False

    def get(self, path):
        return self._http.get(path).raise_for_status().json()

    def put_faults(self, *faults):
        self._http.put("/faults", json={"faults": list(faults)}).raise_for_status()

    def close(self):
        self._http.close()
        self._process.terminate()
        self._process.wait(timeout=10)


@pytest.fixture
def target(house, tmp_path):
    found = Target(tmp_path, house.environment)
    house.environment |= {"TARGET_DEMO_URL": found.url, "TARGET_DEMO_TOKEN": TOKEN}
    house.manage("seed_demo")
    yield found
    found.close()


def start(house, *words):
    return subprocess.Popen(
        [sys.executable, "-m", "tests.processes.carrier", *words],
        cwd=ROOT, env=house.environment, stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


def carrier(house, *words):
    process = start(house, *words)
    out, err = process.communicate(timeout=60)
    return process.returncode, out.strip(), err


def ask(house, key):
    code, ref, err = carrier(house, "ask", key)
    assert code == 0, err
    return ref


def carry_on(house, ref, wanted):
    """Start another worker until the request is where it should be."""
    deadline = time.monotonic() + 40
    while True:
        code, _, err = carrier(house, "run")
        assert code == 0, err
        state = house.objects(ActionRequest).get(ref=ref).state
        if state == wanted:
            return
        assert time.monotonic() < deadline, f"{ref} is {state}"
        time.sleep(LEASE_IS_S / 4)


def assert_effects_agree(house, target):
    done = {
        operation["key"] for operation in target.get("/operations?limit=1000&prefix=")["operations"]
    }
    units = house.objects(Unit).filter(receipt__isnull=False)
    assert done == set(units.values_list("key", flat=True))
    assert target.get("/books")["balanced"]


@pytest.mark.parametrize("point", ["before_send", "after_send"])
def test_killed_around_the_payment_it_is_paid_once(house, target, point):
    """`after_send` lies between the target's commit and our checkpoint."""
    ref = ask(house, "vendor_payment")

    code, _, _ = carrier(house, "run", point, "1")
    assert code == -signal.SIGKILL
    paid = len(target.get("/operations?limit=1000&prefix=")["operations"])
    assert paid == (1 if point == "after_send" else 0)
    unit = house.objects(Unit).get(request__ref=ref, direction="forward")
    assert unit.state == Unit.State.SENT
    carry_on(house, ref, "completed")

    assert len(target.get("/operations?limit=1000&prefix=")["operations"]) == 1
    runs = house.objects(Run).filter(request__ref=ref).order_by("pk")
    assert [run.state for run in runs] == [Run.State.LOST, Run.State.FINISHED]
    assert_effects_agree(house, target)


@once
def test_killed_while_the_target_has_committed_and_not_yet_answered(house, target):
    target.put_faults({"kind": "slow_after", "seconds": 6, "count": 1, "only": "writes"})
    ref = ask(house, "vendor_payment")

    worker = start(house, "run")
    until(lambda: target_did(target), seconds=30)
    os.kill(worker.pid, signal.SIGKILL)
    worker.communicate(timeout=10)
    carry_on(house, ref, "completed")

    assert len(target.get("/operations?limit=1000&prefix=")["operations"]) == 1
    assert house.objects(Unit).get(request__ref=ref, direction="forward").probed
    assert_effects_agree(house, target)


def target_did(target):
    return target.get("/operations?limit=1000&prefix=")["operations"]


@once
def test_killed_at_line_4_of_5_the_rest_goes_on_from_there(house, target):
    ref = ask(house, "sales_order")

    code, _, _ = carrier(house, "run", "after_send", "4")
    assert code == -signal.SIGKILL
    carry_on(house, ref, "completed")

    lines = target.get("/sales-orders/SO-4711")["lines"]
    assert len(lines) == 5
    units = house.objects(Unit).filter(request__ref=ref, direction="forward").order_by("position")
    assert [unit.attempts for unit in units] == [1] * 5
    assert_effects_agree(house, target)


@once
@pytest.mark.parametrize("point", ["before_send", "after_send"])
def test_killed_while_it_takes_the_payment_back(house, target, point):
    ref = ask(house, "vendor_payment")
    payables = target.get("/books")["payables"]
    carry_on(house, ref, "completed")
    assert target.get("/books")["payables"] != payables
    code, _, err = carrier(house, "undo", ref)
    assert code == 0, err

    code, _, _ = carrier(house, "run", point, "1")
    assert code == -signal.SIGKILL
    carry_on(house, ref, "rolled_back")

    assert target.get("/books")["payables"] == payables
    assert_effects_agree(house, target)
    for command in ("audit", "verify_ledger"):
        house.manage(command)  # fails unless it is clean
