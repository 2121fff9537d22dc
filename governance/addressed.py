"""The task queue's broker. Besides everybody's tasks it brings a cluster those that are addressed to it alone.

Clusters of several machines share one queue, and any of them may take a task. A
watchdog's beat is for its own cluster: the beat of one that hangs must not be
answered by one that works.
"""

from __future__ import annotations

import os
import zlib
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django_q.brokers.orm import ORM
from django_q.models import OrmQ

from governance import clock

WORKER = (
    "RECOURSE_WORKER"  # which worker a process belongs to: set by its watchdog, and by nobody else
)
KEPT_FOR = timedelta(hours=1)  # a beat that nobody will answer, of a worker that is gone


def own() -> str:
    """Return the name of the worker that this process belongs to, "" for any other process."""
    return os.environ.get(WORKER, "")


def to(worker: str) -> Addressed:
    """Return the broker that queues a task for one worker's cluster; for any if `worker` is ""."""
    return Addressed(list_key=_key(worker) if worker else None)


def forget_the_gone() -> None:
    """Delete what was addressed to workers that are gone."""
    left = OrmQ.objects.filter(key__startswith=_key(""), lock__lt=clock.real_now() - KEPT_FOR)
    left.delete()


def let_go(worker: str) -> int:
    """Have what a worker's cluster took before it died wait again, instead of until the queue misses it.

    What the others of this queue took is theirs. Returns how many there were.
    """
    now = clock.real_now()
    taken = OrmQ.objects.filter(lock__gt=now).values_list("pk", "lock")
    own = [pk for pk, lock in taken if lock.microsecond == _mark(worker)]
    return int(OrmQ.objects.filter(pk__in=own).update(lock=now))


def _mark(worker: str) -> int:
    return zlib.crc32(worker.encode()) % 1_000_000


def _key(worker: str) -> str:
    return f"{settings.Q_CLUSTER['name']}@{worker}"


class Addressed(ORM):  # type: ignore[misc] # django-q2 is not typed
    """As the library's, with one more key to look under."""

    def dequeue(self) -> list[tuple[int, str]] | None:
        """Return [(row, package)] of what this cluster is to do next; None, after a pause, if there is nothing."""
        if (worker := own()) and (mine := self._claimed(_key(worker))):
            return mine
        found: list[tuple[int, str]] | None = super().dequeue()
        return found

    def timeout(self, task: Any) -> datetime:
        """Return until when a row is its taker's. The fraction of the second says whose: the row has no room else."""
        until: datetime = super().timeout(task)
        return until.replace(microsecond=_mark(own()))

    def _claimed(self, key: str) -> list[tuple[int, str]]:
        rows: Any = self.get_connection()
        for row in rows.filter(key=key, lock__lt=clock.real_now())[:1]:
            if rows.filter(pk=row.pk, lock=row.lock).update(lock=self.timeout(row)):
                return [(row.pk, row.payload)]
        return []
