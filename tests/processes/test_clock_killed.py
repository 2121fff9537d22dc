from __future__ import annotations

import time
from datetime import timedelta

import pytest

from approvals.models import Alert, Step
from governance.models import ActionType, AuditEvent, Heartbeat
from tests.processes.conftest import kill, until

pytestmark = pytest.mark.processes


def test_the_schedule_carries_on_when_the_clock_is_killed(house):
    """At normal speed, with nothing but the worker left: rungs run out and open as they must."""
    house.manage("seed_demo")
    # Nobody waits five minutes here for a first answer that does not come.
    house.objects(ActionType).filter(key="vendor_payment").update(sla=timedelta(seconds=3))
    house.start("worker")
    until(lambda: house.objects(Heartbeat).filter(name__startswith="worker").exists(), seconds=60)
    clock = house.start("clock")
    until(lambda: house.objects(Heartbeat).filter(name="clock").exists(), seconds=60)

    kill(clock.pid)
    clock.process.wait()
    began = time.monotonic()
    house.manage("seed_demo", "--with-requests")
    first = house.objects(Step).filter(request__action_type__key="vendor_payment", path="approval")
    assert first.count() == 2

    alert = until(lambda: house.objects(Alert).filter(kind="clock.silent").first(), seconds=60)
    assert alert.closed_at is None
    until(lambda: first.filter(state=Step.State.EXPIRED).count() == 2, seconds=120)

    assert time.monotonic() - began < 120
    next_rungs = house.objects(Step).filter(path="timeout", state=Step.State.WAITING)
    assert next_rungs.count() == 2
    # The rung began when the one before it was over, not when somebody found out.
    for step in next_rungs.select_related("request"):
        assert step.opened_at == first.get(request=step.request).due_at
    assert house.objects(AuditEvent).filter(kind="step.expired").count() == 2
    until(lambda: house.objects(Heartbeat).filter(name="schedule").exists(), seconds=30)

    house.start("clock")

    silent = house.objects(Alert).filter(kind="clock.silent", closed_at=None)
    until(lambda: not silent.exists(), seconds=60)
