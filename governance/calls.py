"""Calls the worker: one task on its way for each matter, however often and by whomever it is called.

A task carries no truth. What is to be done stands in rows, and if the task is
lost the next sweep queues another.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

from django.db import transaction
from django.db.models import CharField, Q, QuerySet
from django.db.models.functions import Now
from django_q.brokers import get_broker
from django_q.models import OrmQ
from django_q.tasks import async_task

from governance import clock, signs
from governance.models import Heartbeat
from governance.reads import Given, Read

log = logging.getLogger("recourse")

EVERY_S = 1.0
LOST_AFTER_S = 60.0  # a task ends before; a worker that still has it by then is dead
HERE_AFTER = 3  # times that the worker did not do what it does regularly; then the clock does it


def call(task: str, *, mark: str, now: datetime) -> int:
    """Queue a task, unless the last one of this mark is still on its way.

    Safe from any number of processes, since one mark is moved by one of them,
    and at most one task a second of real time. While the last one waits in the
    queue there is no other, so that a worker which was down for a day finds one
    task and not a day's worth.

    Args:
        task: the dotted name of a function without arguments.
        mark: name of the heartbeat that says when it was last queued, and as which row.

    Returns 1 if it queued, else 0.
    """
    for at, facts in read_mark(name=mark):
        if _is_on_its_way(_queued(facts), since=now - at):
            return 0
    return _queue(task, mark, now)


@transaction.atomic
def _queue(task: str, mark: str, now: datetime) -> int:
    long_ago = now - clock.technical(LOST_AFTER_S)
    Heartbeat.objects.get_or_create(name=mark, defaults={"beat_at": long_ago})
    last = Heartbeat.objects.select_for_update(no_key=True).get(name=mark)
    queued = _queued(last.facts)
    if _is_on_its_way(queued, since=now - last.beat_at):
        return 0
    queued.delete()
    broker = _Telling()
    # The queue is in this database: the task is there when the mark is, or neither is.
    async_task(task, broker=broker, save=False)
    Heartbeat.objects.filter(name=mark).update(beat_at=now, facts={"queued": broker.row})
    return 1


def delegate(
    task: str, *, sign: str, every: timedelta, here: Callable[[datetime], object], now: datetime
) -> int:
    """Have the worker do what is done regularly and takes long; if it does not, do it here.

    For a sweep of the clock, which must not be late for what is long while
    there is a worker.

    Args:
        task: the dotted name of a function without arguments.
        sign: name of the heartbeat that the work itself leaves behind each time.
        every: how often it is done.
        here: the work, done in this process after HERE_AFTER times in vain, or if it never was.

    Returns 1 if the worker was asked or the work done, else 0.
    """
    mark = f"{sign}-asked"
    beats = dict(read_beats(sign=sign, mark=mark))
    if any(now - at < every for at in beats.values()):
        return 0
    done = beats.get(sign)
    if done is not None and now - done <= HERE_AFTER * every:
        return call(task, mark=mark, now=now)
    signs.beat(mark, now=now)  # once each time, also if it fails
    log.warning("the worker did not do %s; doing it here", task)
    here(now)
    return 1


read_beats = Read(
    lambda: Heartbeat.objects.filter(
        Q(name=Given("sign", CharField())) | Q(name=Given("mark", CharField()))
    ).values_list("name", "beat_at")
)
read_mark = Read(
    lambda: Heartbeat.objects.filter(name=Given("name", CharField())).values_list(
        "beat_at", "facts"
    )
)


def waits(mark: str) -> bool:
    """Whether the last task of this mark is in the queue and no worker has taken it yet."""
    return any(_queued(facts).filter(lock__lte=Now()).exists() for _, facts in read_mark(name=mark))


def _queued(facts: dict[str, Any]) -> QuerySet[Any]:
    """Return the queue's row that a mark names."""
    rows: QuerySet[Any] = OrmQ.objects.filter(pk=facts.get("queued"))
    return rows


def _is_on_its_way(queued: QuerySet[Any], *, since: timedelta) -> bool:
    """Whether the task queued `since` ago may still come to something."""
    second = clock.technical(EVERY_S)
    if abs(since) < second:  # a process whose clock is a little behind sees the mark ahead of it
        return True
    if since < timedelta(0):
        return False  # the demo's clock was set back
    taken_lately = since < clock.technical(LOST_AFTER_S)
    # A row that a worker has is locked into the future. One that waits is not, for however long.
    waits = Q() if taken_lately else Q(lock__lte=Now())
    return bool(queued.filter(waits).exists())


class _Telling:
    """The queue's own broker, which also tells as which row it queued."""

    def __init__(self) -> None:
        self._broker = get_broker()
        self.list_key = self._broker.list_key
        self.row: int | None = None

    def enqueue(self, package: str) -> int | None:
        self.row = self._broker.enqueue(package)
        return self.row
