"""How the clock calls the worker: as many tasks as there is work and are hands, and no more."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from django_q.models import OrmQ
from django_q.signing import SignedPackage

from approvals.models import ActionRequest
from governance.calls import LOST_AFTER_S
from rollback.connectors.base import NotDone
from rollback.runner import run_all
from rollback.services.runs import take
from rollback.sweeps import TASK, call_the_worker
from tests.approvals.asking import answer, ask_for_payment
from tests.rollback.carrying import approved, books, worker

__all__ = ["approved", "books", "worker"]  # fixtures

pytestmark = pytest.mark.django_db

SECOND = timedelta(seconds=1)


@pytest.fixture
def three_approved(company, approved, timeline):
    for n in (1, 2):
        request = ask_for_payment(company, now=timeline.now, key=f"more-{n}", invoice=f"INV-{n}")
        answer(request, company.finance_manager, now=timeline.now)


def queued():
    return [SignedPackage.loads(row.payload)["func"] for row in OrmQ.objects.order_by("pk")]


def test_nothing_is_queued_while_there_is_nothing_to_do(company, timeline):
    ask_for_payment(company)

    assert call_the_worker(now=timeline.now) == 0
    assert queued() == []


@pytest.mark.parametrize(("processes", "tasks"), [(1, 1), (2, 1), (3, 2), (9, 3)])
def test_all_processes_but_one_are_called_and_no_more_than_there_is_work(
    processes, tasks, three_approved, settings, timeline
):
    settings.Q_CLUSTER = {**settings.Q_CLUSTER, "workers": processes}

    assert call_the_worker(now=timeline.now) == tasks
    assert queued() == [TASK] * tasks


def test_a_call_that_is_on_its_way_is_not_repeated(approved, timeline):
    call_the_worker(now=timeline.now)
    timeline.now += 10 * SECOND

    assert call_the_worker(now=timeline.now) == 0
    assert len(queued()) == 1


def test_a_worker_at_a_slow_target_does_not_keep_another_from_what_is_approved_next(
    approved, company, settings, timeline
):
    settings.Q_CLUSTER = {**settings.Q_CLUSTER, "workers": 3}
    call_the_worker(now=timeline.now)
    OrmQ.objects.update(lock=datetime(2100, 1, 1, tzinfo=UTC))  # a worker has it
    take(approved.pk, worker="one", now=timeline.now, technical=lambda s: timedelta(seconds=s))
    second = ask_for_payment(company, now=timeline.now, key="k2", invoice="INV-2")
    answer(second, company.finance_manager, now=timeline.now)

    assert call_the_worker(now=timeline.now + 2 * SECOND) == 1
    assert queued() == [TASK] * 2
    assert call_the_worker(now=timeline.now + 10 * SECOND) == 0, "that one waits in the queue"


def test_a_call_that_was_lost_is_made_again(approved, timeline):
    call_the_worker(now=timeline.now)
    OrmQ.objects.all().delete()
    timeline.now += (LOST_AFTER_S + 1) * SECOND

    assert call_the_worker(now=timeline.now) == 1


def test_what_waits_for_its_next_attempt_is_called_for_at_its_instant(
    approved, worker, books, timeline
):
    books.down = NotDone("connection refused")
    run_all(worker.hands)
    due = ActionRequest.objects.get(pk=approved.pk).next_attempt_at

    assert call_the_worker(now=due - timedelta(microseconds=1)) == 0
    assert call_the_worker(now=due) == 1


def test_what_a_worker_has_is_not_called_for(approved, worker, books, timeline):
    seen = []
    books.meanwhile(1, lambda: seen.append(call_the_worker(now=timeline.now)))

    run_all(worker.hands)

    assert seen == [0]
