from __future__ import annotations

from datetime import timedelta

import pytest
from django.utils import timezone
from django_q.models import OrmQ

from approvals.courier import TASK, call_the_courier
from approvals.models import Notice
from approvals.tasks import deliver_notices, drain
from governance.calls import LOST_AFTER_S
from governance.models import DemoClock, Heartbeat
from tests.factories import MONDAY_9AM, ContactChannelFactory, NoticeFactory, RequestFactory

pytestmark = pytest.mark.django_db

SECOND = timedelta(seconds=1)
MINUTE = timedelta(seconds=LOST_AFTER_S)


@pytest.fixture
def due():
    notice = NoticeFactory()
    notice.channel = ContactChannelFactory(person=notice.person)
    notice.save()
    return notice


def test_one_task_is_queued_for_any_number_of_notices(due):
    NoticeFactory.create_batch(3)

    queued = call_the_courier(now=MONDAY_9AM)

    assert queued == 1
    assert OrmQ.objects.get().func() == TASK


def test_nothing_is_queued_while_nothing_is_due(due):
    assert call_the_courier(now=MONDAY_9AM - timedelta(microseconds=1)) == 0
    assert OrmQ.objects.count() == 0


def test_the_clock_may_sleep_while_a_task_is_on_its_way(due):
    now = MONDAY_9AM

    queued = [call_the_courier(now=now + n * SECOND) for n in range(50)]

    assert sum(queued) == 1


def test_nothing_is_queued_for_a_webhook_out_of_turn():
    request = RequestFactory(callback_url="https://hooks.example.com/")
    for number in range(2):
        NoticeFactory(
            kind=Notice.Kind.STATE, via=Notice.Via.WEBHOOK, ask=None, request=request, number=number,
            next_attempt_at=MONDAY_9AM + (MINUTE if number == 0 else timedelta(0)),
        )  # fmt: skip

    assert call_the_courier(now=MONDAY_9AM) == 0


def test_a_task_that_is_lost_is_queued_again_a_second_later(due):
    call_the_courier(now=MONDAY_9AM)
    OrmQ.objects.all().delete()

    queued = [call_the_courier(now=MONDAY_9AM + after) for after in (SECOND / 2, SECOND)]

    assert queued == [0, 1]


def test_a_worker_that_is_down_for_a_day_finds_one_task(due):
    for hour in range(24):
        call_the_courier(now=MONDAY_9AM + timedelta(hours=hour))

    assert OrmQ.objects.count() == 1


def test_a_task_whose_worker_died_with_it_is_replaced_after_a_minute(due):
    call_the_courier(now=MONDAY_9AM)
    OrmQ.objects.update(lock=timezone.now() + timedelta(minutes=2))  # a worker has it
    dead = OrmQ.objects.get().pk

    queued = [call_the_courier(now=MONDAY_9AM + after) for after in (MINUTE - SECOND, MINUTE)]

    assert queued == [0, 1]
    assert OrmQ.objects.get().pk != dead


def test_a_demo_clock_that_was_set_back_stops_nothing(due):
    call_the_courier(now=MONDAY_9AM + timedelta(days=7))
    OrmQ.objects.all().delete()

    assert call_the_courier(now=MONDAY_9AM) == 1


def test_seconds_are_real_in_a_fast_demo(due, settings):
    settings.DEMO_CLOCK = True
    DemoClock.objects.create(pk=1, real_start=MONDAY_9AM, business_start=MONDAY_9AM, speed=60)
    call_the_courier(now=MONDAY_9AM)
    OrmQ.objects.all().delete()

    queued = [call_the_courier(now=MONDAY_9AM + n * SECOND) for n in (1, 59, 60)]

    assert queued == [0, 0, 1]


def test_the_mark_is_no_sign_of_life_of_anything_else(due):
    call_the_courier(now=MONDAY_9AM)

    assert list(Heartbeat.objects.values_list("name", flat=True)) == ["courier"]


@pytest.mark.django_db(transaction=True)
def test_two_clocks_at_once_queue_one_task(race):
    NoticeFactory()

    counts = race(*[lambda: call_the_courier(now=MONDAY_9AM)] * 2)

    assert sorted(counts) == [0, 1]
    assert OrmQ.objects.count() == 1


def test_the_task_delivers_what_is_due(due, mailoutbox):
    taken = deliver_notices()

    assert taken == 1
    assert len(mailoutbox) == 1


def test_a_drain_stops_when_another_batch_might_not_end_in_time(due):
    """There is always a first batch: a courier that is called does something."""
    NoticeFactory.create_batch(20)

    assert drain(for_s=0) == 16
