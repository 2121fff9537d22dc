"""What the task queue carries: wake-up calls, counted in our own rows.

django-q2 is a courier, not a clock. A task carries no truth: losing it loses
nothing, since the sweeps find the rows, and running it twice does nothing twice.
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable
from datetime import datetime, timedelta
from functools import wraps
from typing import Any, ParamSpec, TypeVar

from django.apps import apps
from django.conf import settings
from django.db import transaction
from django.db.models import F, Q
from django.utils.module_loading import import_string
from django_q.models import Failure, Schedule
from django_q.signals import pre_execute

from governance import addressed, clock, logs, seals, signs, stopping, ticking, wording
from governance.metrics import keeping
from governance.models import Heartbeat, TaskAttempt

P = ParamSpec("P")
T = TypeVar("T")

NAME_LENGTH = 200
MOST_ATTEMPTS = 5  # deliveries of one task, however they ended; then it is dropped
SCHEDULE = "Every sweep, each minute"  # its name in the queue's own table
SWEEP_FOR_S = 40.0  # real seconds; well below the task's time-out, which would kill the worker
SHOW_LIFE_EVERY_S = 1.0
SEALING = "governance.seals.seal_new_events"  # key of the alert when it fails
COUNTING = "governance.metrics.keeping.count_sealed"  # likewise
FAILED, LOST, DROPPED = ALERTS = ("task.failed", "task.lost", "task.dropped")  # kinds, by task
GONE_AFTER_S = 120.0  # real seconds without a sign of another worker: longer than any task may take
DIED = "Its worker died in the middle of it."

_delivery: dict[str, Any] = {}  # the task this worker process was handed, until its function begins
_shown_at = float("-inf")


# --- Counting deliveries ---


def _handed(sender: Any, task: dict[str, Any], **rest: Any) -> None:
    _delivery.update(id=task["id"])


pre_execute.connect(_handed, dispatch_uid="governance.courier")


def guarded(work: Callable[P, T]) -> Callable[P, T | None]:
    """Count each delivery of a task before its work begins, and drop it after MOST_ATTEMPTS.

    The queue redelivers a task whose worker died, for ever, and counts only
    those that raised. A task that is dropped, or that the queue gives up,
    leaves its row and an alert. Called otherwise than by a worker the function
    runs as it is.
    """
    name = f"{work.__module__}.{work.__qualname__}"[:NAME_LENGTH]

    @wraps(work)
    def run(*args: P.args, **kwargs: P.kwargs) -> T | None:
        task = _delivery.pop("id", None)
        if task is None:
            return work(*args, **kwargs)
        with logs.about(task=task):
            attempts = _begin(task, name)
            if attempts > MOST_ATTEMPTS:
                _drop(task, name)
                return None
            try:
                answer = work(*args, **kwargs)
            except BaseException as problem:  # the queue's time-out is a SystemExit
                _failed(task, name, attempts, problem)
                raise
            _done(task, attempts)
            _show_life()
            return answer

    run.is_task = True  # type: ignore[attr-defined]  # for is_task
    return run


@transaction.atomic
def _begin(task: str, name: str) -> int:
    now = clock.now()
    TaskAttempt.objects.get_or_create(
        task=task, defaults={"name": name, "first_at": now, "last_at": now}
    )
    TaskAttempt.objects.filter(pk=task).update(
        attempts=F("attempts") + 1, last_at=now, worker=f"{_own()}/{os.getpid()}"
    )
    return TaskAttempt.objects.values_list("attempts", flat=True).get(pk=task)


@transaction.atomic
def _failed(task: str, name: str, attempts: int, problem: BaseException) -> None:
    error = wording.defect(problem)
    before: tuple[str, ...]
    TaskAttempt.objects.filter(pk=task).update(last_error=error[:300], worker="")
    most = settings.Q_CLUSTER["max_attempts"]
    if attempts >= most:  # the queue does not bring it again
        text = f"Task {name} failed {attempts} times and was given up. The last time: {error}"
        event = "task.given_up"
        before = (FAILED,)  # that said it was tried again
    else:
        text = f"Task {name} failed, and is tried again, {most} times in all: {error}"
        event = "task.failed"
        before = ()
    signs.report(
        event, by="worker", kind=FAILED, key=task, text=text, instead_of=before,
        now=clock.now(), task=task, name=name, attempts=attempts,
    )  # fmt: skip


@transaction.atomic
def _done(task: str, attempts: int) -> None:
    """Forget a task that works, and close what was said of it while it did not."""
    TaskAttempt.objects.filter(pk=task).delete()
    if attempts > 1:
        Failure.objects.filter(pk=task).delete()  # the queue keeps it even where it worked later
        signs.works_again(by="worker", kind=FAILED, also=[LOST], key=task, now=clock.now())


@transaction.atomic
def _drop(task: str, name: str) -> None:
    now = clock.now()
    row = TaskAttempt.objects.get(pk=task)
    row.dropped_at = row.dropped_at or now
    row.worker = ""
    row.save(update_fields=["dropped_at", "worker"])
    last = row.last_error or "its worker died each time"
    text = f"Task {name} was dropped after {MOST_ATTEMPTS} attempts: {last}"
    signs.report(
        "task.dropped", by="worker", kind=DROPPED, key=task, text=text, instead_of=(FAILED, LOST),
        now=now, task=task, name=name, attempts=MOST_ATTEMPTS,
    )  # fmt: skip


def is_given_up(attempt: TaskAttempt) -> bool:
    """Whether the queue brings a task no more."""
    raised = attempt.last_error not in ("", DIED) and not attempt.worker
    return attempt.dropped_at is not None or (
        raised and attempt.attempts >= settings.Q_CLUSTER["max_attempts"]
    )


def given_up() -> Q:
    """Likewise for a query of them."""
    raised = ~Q(last_error__in=("", DIED)) & Q(worker="")
    many = Q(attempts__gte=settings.Q_CLUSTER["max_attempts"])
    return Q(dropped_at__isnull=False) | (raised & many)


def is_task(name: str) -> bool:
    """Whether a dotted name is a task of ours, and may be queued."""
    if not apps.is_installed(name.partition(".")[0]):
        return False
    try:
        found = import_string(name)
    except ImportError:
        return False
    return getattr(found, "is_task", False)


@transaction.atomic
def tell_of_dead_workers(now: datetime, *, worker: str = "") -> int:
    """Raise an alert for each task whose worker is gone with it: a process of `worker`, or a worker that fell silent.

    The queue brings such a task again minutes later, and says nothing. A process
    is looked for by its number only among those of the own worker, whose name no
    other ever had: elsewhere, and in the container after this one, the same number
    is somebody else. Returns how many there are.

    Args:
        worker: the own name, as `addressed.own` gives it to the processes of its cluster.
    """
    count = 0
    own = worker or _own()
    for row in TaskAttempt.objects.exclude(worker=""):
        name, _, pid = row.worker.rpartition("/")
        if _is_alive(int(pid)) if name == own else not _is_gone(name, row.last_at, now):
            continue
        same = TaskAttempt.objects.filter(pk=row.pk, worker=row.worker, attempts=row.attempts)
        if not same.update(worker="", last_error=DIED):
            continue  # it was brought again meanwhile
        count += 1
        text = (
            f"The worker died in the middle of task {row.name}, the {row.attempts}. time of at most"
            f" {MOST_ATTEMPTS}. The queue brings it again."
        )
        signs.report(
            "task.lost", by="worker", kind=LOST, key=row.pk, text=text,
            now=now, task=row.pk, name=row.name, attempts=row.attempts,
        )  # fmt: skip
    return count


def _own() -> str:
    """Return the name of the worker this process belongs to; where no watchdog gave it one, of its machine."""
    return addressed.own() or socket.gethostname()[:60]


def _is_gone(name: str, begun_at: datetime, now: datetime) -> bool:
    """Whether another worker has not shown itself for so long that what it began is at no end any more."""
    since = now - clock.technical(GONE_AFTER_S)
    alive = Heartbeat.objects.filter(name=signs.of_worker(name), beat_at__gte=since)
    return begun_at < since and not alive.exists()


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # somebody else's process by now
        return False
    return True


# --- Signs of life ---


def beat(sent: int) -> None:
    """Answer the watchdog: its cluster took this task, which was sent as number `sent`.

    A beat that was overtaken, and comes back later, changes nothing.
    """
    _delivery.clear()
    with transaction.atomic():
        name = signs.of_worker(addressed.own())
        last = Heartbeat.objects.select_for_update().filter(name=name).first()
        if last is None or last.facts.get("answered", 0) < sent:
            _write_beat(name, sent)


def _write_beat(name: str, answered: int) -> None:
    global _shown_at
    signs.beat(name, now=clock.now(), answered=answered, pid=os.getpid())
    _shown_at = time.monotonic()


def _show_life() -> None:
    """Long work ended well: that is life too, while a beat may wait behind it in the queue."""
    global _shown_at
    if time.monotonic() - _shown_at > SHOW_LIFE_EVERY_S:
        name = signs.of_worker(addressed.own())
        Heartbeat.objects.filter(name=name).update(beat_at=clock.now())
        _shown_at = time.monotonic()


# --- The second pair of hands ---


@guarded
def run_sweeps() -> int:
    """Run every sweep, as the clock process does, and return how many rows moved.

    Safe beside any number of clocks and of itself. What is left when its time
    is over is found the next minute.
    """
    deadline = time.monotonic() + SWEEP_FOR_S
    hands = ticking.Hands("schedule", now=clock.now, sweeps=ticking.sweeps())
    total = 0

    def enough() -> bool:
        return stopping.asked() or time.monotonic() > deadline

    while moved := sum(hands.round(enough=enough).values()):
        total += moved
    signs.beat("schedule", now=clock.now(), failing=sorted(hands.failing))
    return total


@guarded
def seal() -> int:
    """Seal what is due to be sealed, and return how many events. A failure is reported like a sweep's."""
    hands = ticking.Hands("worker", now=clock.now, sweeps={})
    return hands.attempt(SEALING, seals.seal_new_events) or 0


@guarded
def count() -> int:
    """Count what was sealed towards the metrics, and return how many events that were. Likewise."""
    hands = ticking.Hands("worker", now=clock.now, sweeps={})
    return hands.attempt(COUNTING, keeping.count_sealed) or 0


@transaction.atomic
def keep_schedule(now: datetime) -> None:
    """Have exactly one schedule that runs the sweeps each minute. `now` is real time.

    Done by `manage.py worker` whenever it starts, not by a migration: whoever
    carries the schedule out also sees to it that it is there, so that a row
    which somebody deleted or switched off is back with the next start.
    """
    rows = Schedule.objects.select_for_update().filter(name=SCHEDULE).order_by("pk")
    found = [row.pk for row in rows]
    wanted = {
        "func": f"{__name__}.run_sweeps",
        "schedule_type": Schedule.MINUTES,
        "minutes": 1,
        "repeats": -1,
        "kwargs": "{'q_options': {'save': False}}",
    }
    Schedule.objects.filter(pk__in=found[1:]).delete()
    if not found:
        Schedule.objects.create(name=SCHEDULE, next_run=now, **wanted)
    else:
        Schedule.objects.filter(pk=found[0]).update(**wanted)
        # One that was switched off may be due in the far future.
        Schedule.objects.filter(pk=found[0], next_run__gt=now + timedelta(minutes=1)).update(
            next_run=now
        )
