"""The watchdog's judgement. Real clusters are watched in tests/processes."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
from contextlib import contextmanager

import pytest
from django.db import connection
from django_q.models import OrmQ

from approvals.models import Alert
from governance import addressed, clock
from governance.daemons import Life
from governance.models import AuditEvent, Heartbeat
from governance.watchdog import Watchdog, session_is_alive
from tests.factories import HeartbeatFactory

pytestmark = [pytest.mark.processes, pytest.mark.django_db(transaction=True)]


class Clusters:
    """Starts processes that take no task, each in a session of its own."""

    def __init__(self, command="exec sleep 60"):
        self.command = command
        self.started = []

    def __call__(self):
        process = subprocess.Popen(["/bin/sh", "-c", self.command], start_new_session=True)
        self.started.append(process)
        return process

    def left(self):
        return [process.pid for process in self.started if session_is_alive(process.pid)]


def watch(clusters, *, seconds, patience=1.0):
    """Let a watchdog run for so long."""
    stop = threading.Timer(seconds, os.kill, [os.getpid(), signal.SIGTERM])
    stop.start()
    with Life() as life:
        Watchdog(
            life=life, now=clock.now, patience=patience, every=0.2, grace=1, settle=0, spawn=clusters
        ).run()  # fmt: skip
    stop.join()


@contextmanager
def meanwhile(call, *, every):
    """Call something again and again, beside the test."""
    over = threading.Event()

    def go_on():
        while not over.wait(every):
            call()
        connection.close()

    thread = threading.Thread(target=go_on)
    thread.start()
    yield
    over.set()
    thread.join()


def test_a_cluster_without_a_sign_of_life_is_replaced():
    clusters = Clusters()

    watch(clusters, seconds=3.5)

    assert len(clusters.started) >= 2
    assert clusters.left() == []
    restarts = AuditEvent.objects.filter(kind="worker.restarted")
    assert restarts.count() == len(clusters.started) - 1
    assert Alert.objects.get().kind == "worker.restarted"
    assert Heartbeat.objects.get(name="watchdog").facts["restarts"] == restarts.count()


def test_long_work_that_ends_well_is_a_sign_of_life_while_a_beat_waits():
    clusters = Clusters()
    HeartbeatFactory(name="worker")

    def show_life():
        Heartbeat.objects.filter(name="worker").update(beat_at=clock.now())

    with meanwhile(show_life, every=0.3):
        watch(clusters, seconds=3.5)

    assert len(clusters.started) == 1
    assert not AuditEvent.objects.exists()


def test_a_beat_of_an_earlier_watchdog_is_no_sign_of_life():
    clusters = Clusters()
    HeartbeatFactory(name="worker", facts={"answered": 1})

    watch(clusters, seconds=2.5)

    assert len(clusters.started) == 2


def test_what_a_dead_cluster_had_taken_waits_again_and_not_what_another_has(monkeypatch):
    for worker in ("", "another-2"):
        monkeypatch.setenv(addressed.WORKER, worker)
        row = OrmQ.objects.create(key="recourse", payload=worker, lock=clock.real_now())
        assert addressed.to("").dequeue() == [(row.pk, worker)]

    watch(Clusters(), seconds=2.5)

    taken = OrmQ.objects.filter(key="recourse", lock__gt=clock.real_now())
    assert [row.payload for row in taken] == ["another-2"]


def test_a_cluster_that_cannot_start_is_tried_at_widening_intervals():
    clusters = Clusters("exit 3")

    watch(clusters, seconds=5, patience=60)

    # At 0, 1 and 3 s, and half a second after each until the end is seen.
    assert 2 <= len(clusters.started) <= 4
    reasons = AuditEvent.objects.filter(kind="worker.restarted").values_list("facts", flat=True)
    assert {facts["reason"] for facts in reasons} == {"the cluster ended by itself, exit code 3"}


def test_a_cluster_that_is_deaf_is_killed_with_all_it_started():
    clusters = Clusters("trap '' TERM USR1; sleep 60 & sleep 60 & wait; wait; wait")

    watch(clusters, seconds=1, patience=60)

    assert len(clusters.started) == 1
    assert clusters.left() == []
