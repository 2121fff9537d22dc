"""Keeps the task queue's cluster working: starts it, asks it for a beat, restarts it when none comes.

django-q2 can stop working without ending: a worker killed while it waits for
work takes the queue's lock with it, and no other gets a task again. Only a task
that comes back shows that tasks are carried.

Any number of watchdogs may share a database, each with a cluster. Beats are
addressed to the own one: another would answer for one that hangs.
"""

from __future__ import annotations

import ctypes
import logging
import os
import secrets
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime
from functools import partial
from pathlib import Path

from django.conf import settings
from django.db import close_old_connections, connection
from django_q.tasks import async_task

from governance import addressed, clock, courier, signs, stopping
from governance.daemons import DatabaseGone, Life, outlive
from governance.models import Heartbeat
from governance.neighbours import CLOCK, Neighbour
from governance.neighbours import LOOK_EVERY_S as LOOK_AROUND_EVERY_S
from governance.ticking import Hands

log = logging.getLogger("recourse")

LOOK_EVERY_S = 0.5
SETTLE_S = 15.0  # what a busy machine may need to start a cluster
HUNG_WAIT_S = 3.0  # a cluster that hangs does not answer TERM; one that was only slow may
FIRST_BACK_OFF_S, LONGEST_BACK_OFF_S = 1.0, 30.0
STEADY_AFTER_S = 60.0  # a cluster that lived as long begins with a short back-off again
PR_SET_PDEATHSIG = 1

Spawn = Callable[[], subprocess.Popen[bytes]]


def start_cluster(worker: str) -> subprocess.Popen[bytes]:
    """Start `manage.py qcluster`, with all it will start, in a session of its own."""
    command = [sys.executable, str(settings.BASE_DIR / "manage.py"), "qcluster"]
    return subprocess.Popen(  # noqa: S603 - our own interpreter and our own file
        command,
        stdin=subprocess.DEVNULL,
        env={**os.environ, addressed.WORKER: worker},
        start_new_session=True,
        preexec_fn=_before_it_begins,
    )


def _before_it_begins() -> None:
    stopping.be_deaf()
    if sys.platform == "linux":
        # TERM from the kernel when the watchdog is gone, kill -9 included: no cluster goes unwatched.
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)


def new_name() -> str:
    """Return what to call a worker: where it runs, and which of all that ever ran there."""
    return f"{socket.gethostname()[:20]}-{secrets.token_hex(3)}"


class Watchdog:
    """Runs one cluster until its own life is over."""

    def __init__(
        self,
        *,
        life: Life,
        now: Callable[[], datetime],
        patience: float,
        every: float,
        grace: float,
        settle: float = SETTLE_S,
        worker: str = "",
        spawn: Spawn | None = None,
    ) -> None:
        """Nothing starts yet.

        Args:
            now: business time.
            patience: real seconds without a sign of life that mean a hang. More
                than the longest task may take, or long work looks like one.
            every: real seconds from one beat that came back to the next.
            grace: real seconds that a clean stop leaves to tasks under way.
            settle: real seconds more than the patience until a new cluster's first sign of life.
            worker: its name, from `new_name`. "": the only one there is.
            spawn: starts a cluster; of that name, by default.
        """
        self._life = life
        self._now = now
        self._patience = patience
        self._every = every
        self._grace = grace
        self._settle = settle
        self._worker = worker
        self._spawn = spawn or partial(start_cluster, worker)
        self._hands = Hands("worker", now=now, sweeps={})  # reports what fails here, and goes on
        self._clock = Neighbour(CLOCK, by="worker")
        self._looked_around = float("-inf")
        self._cluster: subprocess.Popen[bytes] | None = None
        self._started = self._alive_at = self._send_at = 0.0  # monotonic seconds
        self._sent: int | None = None  # the beat under way
        self._seen: datetime | None = None  # the last sign of life
        self._back_off = FIRST_BACK_OFF_S
        self._restarts = 0
        self._restarting = False
        self._since: datetime | None = None
        self._unreported: list[tuple[str, float]] = []  # restarts no row tells of yet

    def run(self) -> None:
        """Go on until the life is over; then leave no process behind."""
        try:
            while not self._life.over:
                try:
                    looked = self._hands.attempt("watchdog", self._look)
                    # On SQLite a cluster that hangs may hold the lock that kept us from looking.
                    if looked is None and connection.vendor != "sqlite":
                        self._forgive()
                    self._judge()
                except DatabaseGone as gone:
                    outlive(gone, who="worker", life=self._life, now=self._now)
                    self._forgive()
                    self._clock.forgive()
                self._life.sleep(LOOK_EVERY_S)
        finally:
            self._end(wait=self._grace)

    def _look(self, *, now: datetime) -> bool:
        if self._since is None:
            courier.keep_schedule(clock.real_now())
            addressed.forget_the_gone()
            signs.forget_the_gone(before=now - clock.technical(24 * 60 * 60))
            self._since = now
            self._note()
        close_old_connections()
        if self._cluster is None:
            self._start()
        elif (code := self._cluster.poll()) is not None:
            self._restart(f"the cluster ended by itself, exit code {code}", wait=0, back_off=True)
        self._report()
        self._listen()
        self._look_around(now)
        return True

    def _look_around(self, now: datetime) -> None:
        """Look for what nobody else tells of: tasks that killed their worker, and a silent clock."""
        if time.monotonic() - self._looked_around < LOOK_AROUND_EVERY_S:
            return
        self._looked_around = time.monotonic()
        courier.tell_of_dead_workers(now, worker=self._worker)
        self._clock.look(now=now)

    def _judge(self) -> None:
        silent_s = time.monotonic() - self._alive_at
        if self._cluster is not None and silent_s > self._patience:
            self._restart(f"the cluster took no task for {silent_s:.0f} s", wait=HUNG_WAIT_S)

    def _listen(self) -> None:
        """Note signs of life, and send the next beat when the last came back."""
        at = time.monotonic()
        found = self._shown()
        if found is not None and found.beat_at != self._seen:
            self._alive_at, self._seen = at, found.beat_at
        answered = 0 if found is None else found.facts.get("answered", 0)
        if self._sent is not None and answered >= self._sent:
            self._sent, self._send_at = None, at + self._every
        if at >= self._send_at:
            # Milliseconds of the wall clock: a number that grows, from one watchdog to the next.
            self._sent = int(clock.real_now().timestamp() * 1000)
            own = addressed.to(self._worker)
            async_task("governance.courier.beat", self._sent, save=False, broker=own)
            # A worker may die with the beat in its hands. That alone is no hang: ask once more.
            self._send_at = at + self._patience / 2

    def _shown(self) -> Heartbeat | None:
        return Heartbeat.objects.filter(name=signs.of_worker(self._worker)).first()

    def _start(self) -> None:
        """Start a cluster. Called without one; if it fails, the next look calls it again."""
        if self._restarting:
            addressed.let_go(self._worker)
            self._restarting = False
        before = self._shown()
        self._seen = before.beat_at if before else None
        self._cluster = self._spawn()
        self._started = time.monotonic()
        self._forgive()
        self._alive_at += self._settle

    def _forgive(self) -> None:
        """Begin to wait anew, with a new beat: a database that is in trouble is not the cluster's fault."""
        self._alive_at = time.monotonic()
        self._sent, self._send_at = None, 0.0

    def _restart(self, why: str, *, wait: float, back_off: bool = False) -> None:
        lived_s = time.monotonic() - self._started
        log.error("worker: restarting the cluster: %s", why)
        self._unreported.append((why, lived_s))
        self._restarting = True
        self._end(wait=wait)
        if back_off:
            if lived_s > STEADY_AFTER_S:
                self._back_off = FIRST_BACK_OFF_S
            self._life.sleep(self._back_off)
            self._back_off = min(2 * self._back_off, LONGEST_BACK_OFF_S)

    def _report(self) -> None:
        """Write a row and an alert for each restart. The cluster does not wait for that."""
        while self._unreported:
            why, lived_s = self._unreported[0]
            signs.report(
                "worker.restarted", by="worker", kind="worker.restarted", key="worker",
                text=f"The worker was restarted: {why}.", now=self._now(),
                reason=why, lived_s=int(lived_s),
            )  # fmt: skip
            del self._unreported[0]
            self._restarts += 1
            self._note(last_reason=why)

    def _note(self, **facts: str) -> None:
        since = self._since or self._now()
        signs.beat(
            signs.of_worker(self._worker, signs.WATCHDOG), now=self._now(),
            since=since.isoformat(), restarts=self._restarts, **facts,
        )  # fmt: skip

    def _end(self, *, wait: float) -> None:
        """Ask the cluster to stop, wait, and kill whatever of its session is left."""
        cluster = self._cluster
        if cluster is None:
            return
        self._cluster = None
        asked = self._life.asked
        deadline = time.monotonic() + wait
        if cluster.poll() is None:
            # Only its parent: it lets tasks finish, where a signal to all would end them.
            cluster.terminate()
            stopping.ask(cluster.pid)
        while cluster.poll() is None and time.monotonic() < deadline:
            if self._life.asked > asked:
                break  # asked again: no more patience
            self._life.sleep(0.05)
        deadline = time.monotonic() + 5
        while session_is_alive(cluster.pid) and time.monotonic() < deadline:
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(cluster.pid, signal.SIGKILL)
            cluster.poll()  # reaps
            time.sleep(0.02)
        cluster.wait(timeout=5)


def session_is_alive(session: int) -> bool:
    """Whether any process of a session is there that is not dead and waiting to be reaped."""
    proc = Path("/proc")
    if not proc.exists():
        try:
            os.killpg(session, 0)
        except (ProcessLookupError, PermissionError):
            return False
        return True
    for entry in proc.glob("[0-9]*/stat"):
        try:
            state, _parent, _group, its_session = entry.read_text().rpartition(")")[2].split()[:4]
        except (OSError, ValueError):
            continue
        if int(its_session) == session and state not in "ZX":
            return True
    return False
