"""Work that the worker does regularly, and the clock in its place when there is no worker."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.test import override_settings
from django_q.models import OrmQ

from approvals.models import Alert
from governance import calls, courier, seals, signs
from governance.models import Seal
from tests.factories import MONDAY_9AM
from tests.governance.test_seals import record

pytestmark = pytest.mark.django_db

MINUTE = timedelta(minutes=1)
MOMENT = timedelta(microseconds=1)


@pytest.fixture
def done():
    """When the clock did the work itself."""
    return []


@pytest.fixture
def delegate(done):
    def delegate(now):
        return calls.delegate("tests.work", sign="work", every=MINUTE, here=done.append, now=now)

    return delegate


def asked():
    return [row.task["func"] for row in OrmQ.objects.all()]


def test_what_the_worker_did_just_now_is_not_asked_for(delegate, done):
    signs.beat("work", now=MONDAY_9AM)

    assert delegate(MONDAY_9AM + MINUTE - MOMENT) == 0

    assert (asked(), done) == ([], [])


def test_the_worker_is_asked_each_time_once(delegate, done):
    signs.beat("work", now=MONDAY_9AM)

    counts = [delegate(MONDAY_9AM + MINUTE + n * MINUTE / 3) for n in range(3)]

    assert counts == [1, 0, 0]
    assert (asked(), done) == (["tests.work"], [])


def test_a_task_that_waits_is_not_queued_again(delegate, done):
    signs.beat("work", now=MONDAY_9AM)

    assert [delegate(MONDAY_9AM + n * MINUTE) for n in (1, 2, 3)] == [1, 0, 0]

    assert (asked(), done) == (["tests.work"], [])


def test_after_three_times_in_vain_it_is_done_here(delegate, done):
    signs.beat("work", now=MONDAY_9AM)

    assert delegate(MONDAY_9AM + 3 * MINUTE) == 1
    assert delegate(MONDAY_9AM + 4 * MINUTE + MOMENT) == 1

    assert done == [MONDAY_9AM + 4 * MINUTE + MOMENT]


def test_what_was_never_done_is_done_here(delegate, done):
    assert delegate(MONDAY_9AM) == 1

    assert (asked(), done) == ([], [MONDAY_9AM])


def test_what_fails_here_is_tried_again_a_time_later_only():
    tried = []

    def fail(now):
        tried.append(now)
        raise OSError("disk full")

    def attempt(now):
        return calls.delegate("tests.work", sign="work", every=MINUTE, here=fail, now=now)

    with pytest.raises(OSError, match="disk full"):
        attempt(MONDAY_9AM)
    assert attempt(MONDAY_9AM + MINUTE - MOMENT) == 0
    with pytest.raises(OSError, match="disk full"):
        attempt(MONDAY_9AM + MINUTE)

    assert tried == [MONDAY_9AM, MONDAY_9AM + MINUTE]


class TestSealing:
    def test_the_worker_seals(self):
        record("worker.restarted")
        seals.seal_now(MONDAY_9AM)
        record("database.returned")

        assert seals.call_for_seal(now=MONDAY_9AM + MINUTE) == 1

        assert asked() == ["governance.courier.seal"]
        assert Seal.objects.count() == 1

    def test_without_a_worker_the_clock_seals(self):
        record("worker.restarted")

        assert seals.call_for_seal(now=MONDAY_9AM) == 1

        assert Seal.objects.get().size == 1

    def test_the_task_seals(self):
        record("worker.restarted")

        assert courier.seal() == 1

        assert Seal.objects.get().size == 1

    def test_a_seal_that_fails_raises_the_alert_of_a_sweep(self, settings):
        settings.SEAL_KEY = "not a key"
        record("worker.restarted")

        assert courier.seal() == 0

        alert = Alert.objects.get()
        assert (alert.kind, alert.key) == ("sweep.failed", "governance.seals.seal_new_events")

    def test_the_alert_is_closed_when_a_seal_is_made(self):
        record("worker.restarted")
        with override_settings(SEAL_KEY="not a key"):
            courier.seal()

        assert courier.seal() == 2  # what happened, and that it could not be sealed

        assert Alert.objects.get().closed_at is not None
