"""Everything is stopped and started again, as by a deploy, while it is at work: nothing is lost, nothing done twice."""

from __future__ import annotations

import json
import signal
import socket

import httpx2
import pytest

from approvals.models import ActionRequest, Notice
from governance.models import AuditEvent
from rollback.models import Run, Unit
from tests.processes.conftest import until
from tests.processes.test_worker_killed import Target, ask
from tools.postgres import free_port

pytestmark = pytest.mark.processes

TOKEN = "the-token-of-the-target"
STOP_S = 30  # as long as the units of systemd and the compose file wait, less ten


@pytest.fixture
def target(house, tmp_path):
    found = Target(tmp_path, house.environment)
    house.environment |= {"TARGET_DEMO_URL": found.url, "TARGET_DEMO_TOKEN": TOKEN}
    yield found
    found.close()


class Slow:
    """An agent whose submission is half sent until `finish` sends the rest."""

    def __init__(self, port, token, body):
        content = json.dumps(body).encode()
        self._half, self._rest = content[:100], content[100:]
        self._socket = socket.create_connection(("127.0.0.1", port), timeout=30)
        head = (
            "POST /api/v1/requests/ HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n"
            f"Authorization: Bearer {token}\r\nIdempotency-Key: slow-1\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(content)}\r\n\r\n"
        )
        self._socket.sendall(head.encode() + self._half)

    def finish(self):
        """Send the rest; return the status line."""
        self._socket.sendall(self._rest)
        answer = b""
        while found := self._socket.recv(65536):
            answer += found
        self._socket.close()
        return answer.split(b"\r\n", 1)[0].decode()


def operations(target):
    return target.get("/operations?limit=1000&prefix=")["operations"]


def answers(port):
    try:
        return httpx2.get(f"http://127.0.0.1:{port}/readyz", trust_env=False).status_code == 200
    except httpx2.TransportError:
        return False


def test_a_deploy_in_the_middle_of_an_order_of_five_lines(house, target, tmp_path):
    keys = tmp_path / "keys.json"
    house.manage("seed_demo", "--write-demo-file", str(keys))
    token = json.loads(keys.read_text())["agents"][0]["token"]
    target.put_faults({"kind": "slow", "seconds": 1.5, "only": "writes"})
    port = free_port()
    started = [house.serve(port), house.start("clock"), house.start("worker", "--patience", "60")]
    worker = started[-1]
    until(lambda: answers(port), seconds=60)
    until(lambda: "ready for work" in worker.log, seconds=60)
    ref = ask(house, "sales_order")
    until(lambda: len(operations(target)) == 2, seconds=60)
    example = next(
        found["example"]
        for found in httpx2.get(
            f"http://127.0.0.1:{port}/api/v1/actions/", trust_env=False,
            headers={"Authorization": f"Bearer {token}"},
        ).json()["results"]
        if found["key"] == "vendor_payment"
    )  # fmt: skip
    slow = Slow(port, token, example)

    for each in started:
        each.process.send_signal(signal.SIGTERM)
    answer = slow.finish()
    codes = [each.process.wait(timeout=STOP_S) for each in started]

    assert (answer, codes) == ("HTTP/1.1 201 Created", [0, 0, 0])
    assert house.everyone() == []
    stopped = house.objects(ActionRequest).get(ref=ref)
    assert stopped.state == ActionRequest.State.EXECUTING
    done = units_of(house, ref)
    assert set(done) <= {"done", "planned"}  # none is left open: it was finished, and noted
    assert 2 <= done.count("done") < 5
    assert len(operations(target)) == done.count("done")
    assert house.objects(AuditEvent).filter(chain=ref, kind="run.handed_back").count() == 1
    assert not house.objects(Run).filter(state__in=(Run.State.RUNNING, Run.State.LOST)).exists()

    target.put_faults()
    started = [house.serve(port), house.start("clock"), house.start("worker")]
    until(
        lambda: house.objects(ActionRequest).get(ref=ref).state == ActionRequest.State.COMPLETED,
        seconds=60,
    )

    assert len(target.get("/sales-orders/SO-4711")["lines"]) == 5
    units = house.objects(Unit).filter(request__ref=ref, direction="forward")
    assert [unit.attempts for unit in units] == [1] * 5
    assert {each["key"] for each in operations(target)} == {unit.key for unit in units}
    assert house.objects(ActionRequest).filter(idempotency_key="slow-1").count() == 1
    assert not house.objects(Run).filter(state=Run.State.LOST).exists()
    assert house.objects(Notice).filter(request__ref=ref).exists()
    for command in ("audit", "verify_ledger"):
        house.manage(command)  # fails unless it is clean
    assert [each.stop() for each in started] == [0, 0, 0]


def units_of(house, ref):
    units = house.objects(Unit).filter(request__ref=ref, direction="forward").order_by("position")
    return list(units.values_list("state", flat=True))
