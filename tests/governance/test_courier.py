from __future__ import annotations

import os
import subprocess
import sys
from datetime import timedelta

import pytest
from django_q.models import Schedule
from django_q.signals import pre_execute

from approvals.models import Alert
from governance import addressed, clock, courier
from governance.courier import guarded, tell_of_dead_workers
from governance.models import AuditEvent, Heartbeat, TaskAttempt
from tests.factories import MONDAY_9AM, HeartbeatFactory

pytestmark = pytest.mark.django_db


class Work:
    """A task that raises these, one a call, and then works."""

    def __init__(self, *problems):
        self.problems = list(problems)
        self.calls = 0
        self.guarded = guarded(self.run)

    def run(self, word):
        self.calls += 1
        if self.problems:
            raise self.problems.pop(0)
        return word


def deliver(work, task="t-1"):
    """Hand a task to this process, as the queue's worker does."""
    pre_execute.send(sender="django_q", func=work.guarded, task={"id": task})
    return work.guarded("done")


def deliver_and_die(work, task="t-1"):
    """The worker is killed between the count and the work."""
    courier._begin(task, "tests.work")


# --- Counting ---------------------------------------------------------------------------------


def test_a_task_that_works_leaves_no_row():
    work = Work()

    assert deliver(work) == "done"

    assert TaskAttempt.objects.count() == 0


def test_a_delivery_is_counted_before_its_work_begins():
    deliver_and_die(Work())

    row = TaskAttempt.objects.get()
    assert (row.task, row.attempts, row.last_error) == ("t-1", 1, "")


def test_a_task_that_works_at_last_leaves_no_row():
    work = Work()
    for _ in range(4):
        deliver_and_die(work)

    assert deliver(work) == "done"

    assert TaskAttempt.objects.count() == 0


def test_a_task_whose_worker_died_five_times_is_dropped_with_an_alert():
    work = Work()
    for _ in range(5):
        deliver_and_die(work)

    assert deliver(work) is None

    assert work.calls == 0
    alert = Alert.objects.get()
    assert (alert.kind, alert.key) == ("task.dropped", "t-1")
    assert "its worker died each time" in alert.text
    assert TaskAttempt.objects.get().dropped_at is not None
    event = AuditEvent.objects.get(kind="task.dropped")
    assert (event.chain, event.facts["attempts"]) == ("system", 5)


def test_tasks_are_counted_each_for_itself():
    work = Work()
    for _ in range(5):
        deliver_and_die(work, "t-1")

    assert deliver(work, "t-2") == "done"


def test_a_failure_is_kept_and_raised_so_that_the_queue_knows_it():
    work = Work(ValueError("no such\0rung"))

    with pytest.raises(ValueError, match="rung"):
        deliver(work)

    assert TaskAttempt.objects.get().last_error == "ValueError: no suchrung"
    alert = Alert.objects.get()
    assert (alert.kind, alert.key) == ("task.failed", "t-1")
    assert "tried again, 3 times in all: ValueError: no suchrung" in alert.text


def test_of_a_failure_no_more_is_kept_than_its_first_line():
    work = Work(ValueError("null value\nDETAIL:  Failing row contains (secret)."))

    with pytest.raises(ValueError, match="null"):
        deliver(work)

    assert TaskAttempt.objects.get().last_error == "ValueError: null value"
    assert "secret" not in Alert.objects.get().text


def test_the_queues_time_out_is_kept_too():
    work = Work(SystemExit("took longer than 60 seconds"))

    with pytest.raises(SystemExit):
        deliver(work)

    assert TaskAttempt.objects.get().last_error == "SystemExit: took longer than 60 seconds"


def test_a_task_that_the_queue_gives_up_is_an_alert(settings):
    most = settings.Q_CLUSTER["max_attempts"]
    work = Work(*[ValueError("never")] * most)

    for _ in range(most):
        with pytest.raises(ValueError, match="never"):
            deliver(work)

    alert = Alert.objects.get(closed_at=None)
    assert (alert.kind, alert.key) == ("task.failed", "t-1")
    assert "was given up. The last time: ValueError: never" in alert.text
    assert closed() == [("task.failed", "t-1")]  # that said it was tried again


def test_what_fails_and_then_works_leaves_no_alert_open():
    work = Work(ValueError("once"))
    with pytest.raises(ValueError, match="once"):
        deliver(work)

    assert deliver(work) == "done"

    assert Alert.objects.filter(closed_at=None).count() == 0
    assert closed() == [("task.failed", "t-1")]


def closed():
    """What alerts the record says were closed."""
    events = AuditEvent.objects.filter(kind="alert.closed").order_by("pk")
    return [(event.facts["alert"], event.facts["matter"]) for event in events]


def dead_pid():
    """The process id of a process that was, and is no more."""
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    return gone.pid


def begun_by(pid, task="t-1", worker=None, at=None):
    deliver_and_die(Work(), task)
    TaskAttempt.objects.filter(pk=task).update(worker=f"{worker or courier._own()}/{pid}")
    if at is not None:
        TaskAttempt.objects.filter(pk=task).update(last_at=at)


def test_a_task_whose_worker_is_gone_is_told_of_once_for_each_time_and_closes_when_it_works():
    begun_by(dead_pid())

    assert [tell_of_dead_workers(MONDAY_9AM) for _ in range(2)] == [1, 0]

    alert = Alert.objects.get()
    assert (alert.kind, alert.key) == ("task.lost", "t-1")
    begun_by(dead_pid())
    assert tell_of_dead_workers(MONDAY_9AM) == 1
    assert AuditEvent.objects.filter(kind="task.lost").count() == 2
    assert deliver(Work()) == "done"
    assert Alert.objects.filter(closed_at=None).count() == 0
    assert closed() == [("task.lost", "t-1")]


def test_a_worker_that_lives_or_is_another_machines_is_not_taken_for_dead():
    begun_by(os.getpid())
    begun_by(dead_pid(), "t-2", worker="another-1", at=MONDAY_9AM)

    assert tell_of_dead_workers(MONDAY_9AM + timedelta(seconds=120)) == 0


def test_a_process_is_its_workers_and_not_whoever_has_its_number_elsewhere(monkeypatch):
    """Two containers of one name and one image: every worker in them is process 7."""
    monkeypatch.setenv(addressed.WORKER, "host-aaaaaa")
    deliver_and_die(Work())

    row = TaskAttempt.objects.get()
    assert row.worker == f"host-aaaaaa/{os.getpid()}"
    gone = dead_pid()
    TaskAttempt.objects.update(worker=f"host-aaaaaa/{gone}", last_at=MONDAY_9AM)
    assert tell_of_dead_workers(MONDAY_9AM, worker="host-bbbbbb") == 0  # it is not looked for here
    assert tell_of_dead_workers(MONDAY_9AM, worker="host-aaaaaa") == 1


@pytest.mark.parametrize(("shown_s", "told"), [(None, 1), (0, 1), (1, 0)])
def test_a_task_of_another_worker_that_fell_silent_is_told_of_after_two_minutes(shown_s, told):
    begun_by(os.getpid(), worker="another-1", at=MONDAY_9AM)
    if shown_s is not None:
        HeartbeatFactory(name="worker another-1", beat_at=MONDAY_9AM + timedelta(seconds=shown_s))

    now = MONDAY_9AM + timedelta(seconds=120)
    assert tell_of_dead_workers(now, worker="own-2") == 0
    assert tell_of_dead_workers(now + timedelta(seconds=1), worker="own-2") == told


def test_a_task_that_is_dropped_closes_what_was_said_of_it_before():
    for _ in range(5):
        begun_by(dead_pid())
        tell_of_dead_workers(MONDAY_9AM)

    deliver(Work())

    alert = Alert.objects.get(closed_at=None)
    assert (alert.kind, "died in the middle" in alert.text) == ("task.dropped", True)
    assert closed() == [("task.lost", "t-1")]


def test_called_by_others_than_a_worker_it_runs_uncounted():
    work = Work()
    deliver(work)

    assert work.guarded("again") == "again"

    assert TaskAttempt.objects.count() == 0


# --- Signs of life ----------------------------------------------------------------------------


def test_a_beat_says_which_was_answered():
    courier.beat(7)

    beat = Heartbeat.objects.get(name="worker")
    assert beat.facts["answered"] == 7


def test_a_beat_that_was_overtaken_changes_nothing():
    courier.beat(7)
    before = Heartbeat.objects.get(name="worker")

    courier.beat(6)

    after = Heartbeat.objects.get(name="worker")
    assert (after.beat_at, after.facts) == (before.beat_at, before.facts)


def test_work_that_ended_well_is_life_too():
    HeartbeatFactory(name="worker", beat_at=MONDAY_9AM, facts={"answered": 7})
    courier._shown_at = float("-inf")

    deliver(Work())

    beat = Heartbeat.objects.get(name="worker")
    assert beat.beat_at > MONDAY_9AM
    assert beat.facts == {"answered": 7}


# --- The second pair of hands -----------------------------------------------------------------


def test_the_schedule_runs_every_sweep_until_it_finds_nothing(settings):
    settings.RECOURSE_SWEEPS = [f"{__name__}.three_batches"]
    batches[:] = [500, 500, 3]

    assert courier.run_sweeps() == 1003

    assert Heartbeat.objects.get(name="schedule").facts == {"failing": []}


def test_a_sweep_that_fails_does_not_fail_the_schedule(settings):
    settings.RECOURSE_SWEEPS = [f"{__name__}.fails", f"{__name__}.three_batches"]
    batches[:] = [2]

    assert courier.run_sweeps() == 2

    assert Alert.objects.get().kind == "sweep.failed"
    assert Heartbeat.objects.get(name="schedule").facts == {"failing": [f"{__name__}.fails"]}


batches = []


def three_batches(*, now):
    return batches.pop(0) if batches else 0


def fails(*, now):
    raise ValueError("never")


# --- The schedule -----------------------------------------------------------------------------


def test_the_schedule_is_made_once():
    now = clock.real_now()

    courier.keep_schedule(now)
    courier.keep_schedule(now + timedelta(seconds=5))

    schedule = Schedule.objects.get()
    assert (schedule.func, schedule.schedule_type, schedule.minutes, schedule.repeats) == (
        "governance.courier.run_sweeps",
        Schedule.MINUTES,
        1,
        -1,
    )
    assert schedule.next_run == now


def test_a_schedule_that_was_changed_or_doubled_is_put_right():
    now = clock.real_now()
    courier.keep_schedule(now)
    Schedule.objects.update(repeats=0, minutes=60, next_run=now + timedelta(days=9))
    Schedule.objects.create(name=courier.SCHEDULE, func="governance.courier.run_sweeps")

    courier.keep_schedule(now)

    schedule = Schedule.objects.get()
    assert (schedule.minutes, schedule.repeats, schedule.next_run) == (1, -1, now)
