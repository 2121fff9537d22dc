from __future__ import annotations

import logging
import os
import signal
import time
from datetime import timedelta
from pathlib import Path

import pytest
from django.db import OperationalError
from django_q.models import OrmQ, Schedule

from approvals.models import Alert
from governance import clock
from governance.models import AuditEvent, Heartbeat, TaskAttempt
from governance.watchdog import session_is_alive
from tests.processes.conftest import kill, lines, until

pytestmark = pytest.mark.processes
once = pytest.mark.sqlite_only  # signals and sessions: no database has a part in them
log = logging.getLogger("recourse.tests")

START_S = 60  # a machine that is busy takes long to start Python four times
KILLS = 10
THROUGH_S = 60  # patience 4, three to end it, one start


def beating(house):
    return house.objects(Heartbeat).filter(name__startswith="worker").exists()


@pytest.fixture
def worker(house):
    """A worker that has run a task, and loses its patience after four seconds."""
    started = house.start("worker", "--patience", "4", "--every", "0.5", "--grace", "5")
    until(lambda: beating(house), seconds=START_S)
    return started


def test_a_task_is_run_within_a_bounded_time_after_each_of_ten_idle_workers_was_killed(
    house, worker
):
    notes = house.directory / "notes"
    slowest = 0.0

    for number in range(KILLS):
        idle = until(worker.workers, seconds=START_S)
        kill(idle[number % len(idle)])
        began = time.monotonic()
        house.queue("tests.processes.chores.note", str(notes), number)
        until(lambda n=number: str(n) in lines(notes), seconds=THROUGH_S)
        slowest = max(slowest, time.monotonic() - began)

    restarts = house.objects(AuditEvent).filter(kind="worker.restarted").count()
    log.info(
        "%s of %s kills hung the cluster; the slowest task took %.1f s", restarts, KILLS, slowest
    )
    alerts = house.objects(Alert).filter(kind="worker.restarted", closed_at=None).count()
    assert alerts == min(restarts, 1)
    watchdog = house.objects(Heartbeat).get(name__startswith="watchdog")
    assert watchdog.facts["restarts"] == restarts


def test_a_cluster_that_stands_still_is_replaced_and_each_restart_is_a_row(house, worker):
    """All of its processes stopped: the hang without the luck. On SQLite one may hold the write lock."""
    cluster = session_of(worker, house)
    os.killpg(cluster, signal.SIGSTOP)
    notes = house.directory / "notes"
    until(
        lambda: can_queue(house, "tests.processes.chores.note", str(notes), "through"),
        seconds=THROUGH_S,
    )

    until(lambda: lines(notes) == ["through"], seconds=THROUGH_S)

    assert not session_is_alive(cluster)
    event = house.objects(AuditEvent).get(kind="worker.restarted")
    assert (event.chain, event.actor) == ("system", "worker")
    assert "took no task for" in event.facts["reason"]
    assert house.objects(Alert).filter(kind="worker.restarted").count() == 1
    until(
        lambda: house.objects(Heartbeat).get(name__startswith="watchdog").facts["restarts"] == 1,
        seconds=START_S,
    )


def test_a_cluster_that_ends_by_itself_is_started_again(house, worker):
    cluster = session_of(worker, house)

    kill(cluster)

    until(lambda: session_of(worker, house) not in (None, cluster), seconds=START_S)
    assert not session_is_alive(cluster)
    event = until(
        lambda: house.objects(AuditEvent).filter(kind="worker.restarted").first(), seconds=START_S
    )
    assert event.facts["reason"] == "the cluster ended by itself, exit code -9"


def test_one_that_hangs_beside_one_that_works_is_replaced_all_the_same(house, worker):
    """Both take from one queue: what the other answers must not pass for a sign of this one's life."""
    other = house.start("worker", "--patience", "4", "--every", "0.5", "--grace", "5")
    until(lambda: house.objects(Heartbeat).filter(name__startswith="worker ").count() == 2,
          seconds=START_S)  # fmt: skip
    cluster = session_of(worker, house, but=[other])

    os.killpg(cluster, signal.SIGSTOP)

    event = until(
        lambda: house.objects(AuditEvent).filter(kind="worker.restarted").first(),
        seconds=THROUGH_S,
    )
    assert "took no task for" in event.facts["reason"]
    assert not session_is_alive(cluster)
    assert "restarting" in worker.log
    assert "restarting" not in other.log
    notes = house.directory / "notes"
    house.queue("tests.processes.chores.note", str(notes), "through")
    until(lambda: lines(notes) == ["through"], seconds=THROUGH_S)


@once
@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT])
def test_a_clean_stop_leaves_no_process_behind(house, worker, signum):
    worker.process.send_signal(signum)

    assert worker.process.wait(timeout=20) == 0
    assert house.everyone() == []
    assert house.objects(AuditEvent).filter(kind="worker.restarted").count() == 0


@once
def test_no_cluster_goes_on_unwatched(house, worker):
    kill(worker.pid)
    worker.process.wait()

    until(lambda: house.everyone() == [], seconds=START_S)


def test_the_schedule_is_there_once_however_often_a_worker_starts(house, worker):
    worker.stop()
    house.objects(Schedule).update(next_run=clock.real_now() + timedelta(days=9))
    again = house.start("worker")

    until(lambda: "ready for work" in again.log, seconds=START_S)

    schedule = house.objects(Schedule).get()
    assert (schedule.func, schedule.minutes) == ("governance.courier.run_sweeps", 1)
    assert schedule.next_run < clock.real_now() + timedelta(minutes=2)


def test_a_task_that_kills_its_worker_is_dropped_after_five_attempts(house, worker):
    deaths = house.directory / "deaths"
    task = house.queue("tests.processes.chores.die", str(deaths))

    for attempt in range(1, 6):
        until(lambda n=attempt: len(lines(deaths)) == n, seconds=THROUGH_S)
        if attempt == 1:  # it is told of at once, and not only when it is dropped
            lost = house.objects(Alert).filter(kind="task.lost", key=task, closed_at=None)
            until(lost.exists, seconds=60)
        # The queue brings it again two minutes later; nobody waits that long here.
        house.objects(OrmQ).update(lock=clock.real_now() - timedelta(seconds=1))

    alert = until(
        lambda: house.objects(Alert).filter(kind="task.dropped").first(), seconds=THROUGH_S
    )
    assert alert.key == task
    row = house.objects(TaskAttempt).get(pk=task)
    assert row.dropped_at is not None
    assert len(lines(deaths)) == 5
    assert not house.objects(Alert).filter(kind="task.lost", closed_at=None).exists()
    until(lambda: queued(house, task) == 0, seconds=THROUGH_S)


def test_a_task_that_raises_is_told_of_within_a_minute(house, worker):
    task = house.queue("tests.processes.chores.fail")

    failed = house.objects(Alert).filter(kind="task.failed", key=task, closed_at=None)
    until(failed.exists, seconds=60)
    assert "a defect of ours" in failed.get().text


def can_queue(house, *task):
    try:
        return house.queue(*task)
    except OperationalError:
        return None


def parent_of(pid):
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return None
    return int(stat.rpartition(")")[2].split()[1])


def queued(house, task):
    return sum(row.task_id() == task for row in house.objects(OrmQ).all())


def session_of(worker, house, but=()):
    """The session of the cluster that runs now: the first process of `qcluster`."""
    others = [worker.pid, *(each.pid for each in but)]
    for pid in house.everyone():
        try:
            if pid not in others and os.getsid(pid) == pid and parent_of(pid) in (worker.pid, 1):
                return pid
        except ProcessLookupError:
            continue
    return None
