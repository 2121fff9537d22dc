"""Several workers on one queue: whose is a task, and how each shows that it works."""

from __future__ import annotations

import os
import signal
from datetime import timedelta

import pytest
from django_q.models import OrmQ
from django_q.signals import post_spawn
from django_q.tasks import async_task

from governance import addressed, clock, courier, signs, stopping
from governance.models import Heartbeat
from governance.watchdog import new_name
from tests.factories import MONDAY_9AM, HeartbeatFactory

pytestmark = pytest.mark.django_db


@pytest.fixture
def cluster(monkeypatch):
    """Be a process of this worker's cluster; return what it takes from the queue."""

    def of(worker):
        monkeypatch.setenv(addressed.WORKER, worker)
        return addressed.Addressed()

    return of


def test_a_beat_goes_to_the_cluster_it_is_addressed_to_and_to_no_other(cluster):
    async_task("governance.courier.beat", 1, save=False, broker=addressed.to("one"))

    assert not cluster("two").dequeue()
    assert not cluster("").dequeue()
    assert len(cluster("one").dequeue()) == 1
    assert not cluster("one").dequeue()  # it is taken


def test_everybodys_tasks_go_to_any_cluster_but_after_its_own(cluster):
    async_task("governance.courier.seal", save=False)
    async_task("governance.courier.beat", 1, save=False, broker=addressed.to("one"))

    one = cluster("one")

    first, second = one.dequeue(), one.dequeue()
    assert OrmQ.objects.get(pk=first[0][0]).key == "recourse@one"
    assert OrmQ.objects.get(pk=second[0][0]).key == "recourse"


def test_what_is_addressed_to_the_gone_is_deleted_after_an_hour():
    async_task("governance.courier.beat", 1, save=False, broker=addressed.to("gone"))
    async_task("governance.courier.beat", 1, save=False, broker=addressed.to("here"))
    async_task("governance.courier.seal", save=False)
    long_ago = clock.real_now() - timedelta(hours=1, seconds=1)
    OrmQ.objects.exclude(key="recourse@here").update(lock=long_ago)

    addressed.forget_the_gone()

    keys = OrmQ.objects.order_by("pk").values_list("key", flat=True)
    assert list(keys) == ["recourse@here", "recourse"]


def test_each_worker_shows_itself_under_its_own_name(cluster):
    for worker in ("one", "two"):
        cluster(worker)
        courier.beat(7)

    names = Heartbeat.objects.filter(name__startswith="worker").values_list("name", flat=True)
    assert sorted(names) == ["worker one", "worker two"]


def test_workers_are_counted_by_what_they_showed_lately():
    within = timedelta(seconds=30)
    HeartbeatFactory(name="worker one", beat_at=MONDAY_9AM)
    HeartbeatFactory(name="worker two", beat_at=MONDAY_9AM - within)
    HeartbeatFactory(name="clock", beat_at=MONDAY_9AM)

    assert signs.workers(MONDAY_9AM, within=within) == 1
    assert signs.workers(MONDAY_9AM - timedelta(seconds=1), within=within) == 2


def test_both_signs_of_a_worker_that_is_gone_are_deleted_and_no_others():
    for name, at in (("one", MONDAY_9AM - timedelta(seconds=1)), ("two", MONDAY_9AM)):
        HeartbeatFactory(name=f"worker {name}", beat_at=at)
        HeartbeatFactory(name=f"watchdog {name}", beat_at=MONDAY_9AM - timedelta(days=9))
    HeartbeatFactory(name="clock", beat_at=MONDAY_9AM - timedelta(days=9))

    signs.forget_the_gone(before=MONDAY_9AM)

    names = Heartbeat.objects.values_list("name", flat=True)
    assert sorted(names) == ["clock", "watchdog two", "worker two"]


def test_a_name_fits_its_heartbeat_and_no_two_are_alike():
    longest = signs.of_worker(new_name(), signs.WATCHDOG)

    assert len(longest) <= Heartbeat._meta.get_field("name").max_length
    assert new_name() != new_name()


def test_whoever_carries_tasks_hears_that_it_is_to_end(monkeypatch):
    monkeypatch.setattr(stopping, "_asked", False)
    before = signal.getsignal(stopping.SIGNAL)
    try:
        post_spawn.send(sender="django_q", proc_name="Process-1")
        assert not stopping.asked()

        os.kill(os.getpid(), stopping.SIGNAL)

        assert stopping.asked()
    finally:
        signal.signal(stopping.SIGNAL, before)
