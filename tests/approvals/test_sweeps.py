"""Sweeps in bulk: fixed statements, bad rows set aside and reported, neighbours moved."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.db import OperationalError, connection
from django.test.utils import CaptureQueriesContext

from approvals.batches import PARKED_FOR, in_halves
from approvals.models import ActionRequest, Alert, Ask, Step
from approvals.sweeps import climb_due_steps, ping_again
from governance.models import AuditEvent
from tests.approvals.asking import ask_for_payment
from tests.factories import MONDAY_9AM, RequestFactory, StepFactory, small_company

M = timedelta(minutes=1)
DUE = MONDAY_9AM + 5 * M
S = ActionRequest.State


def many(company, count):
    return [ask_for_payment(company, key=f"k{n}", invoice=f"INV-{n}") for n in range(count)]


def spoil_for_python(request):
    """Leave a request due with no step that is: routing cannot make sense of it."""
    Ask.objects.filter(step__request=request).update(due_at=None)
    Step.objects.filter(request=request).update(state="superseded")


def spoil_for_the_database(request):
    """Put a step where the climb wants to: the database refuses a rung twice."""
    StepFactory(request=request, path="timeout", level=1, state="passed_over", due_at=None)


@pytest.mark.django_db
def test_a_batch_climbs_in_a_fixed_number_of_statements(company):
    many(company, 3)
    with CaptureQueriesContext(connection) as few:
        assert climb_due_steps(now=DUE) == 3
    more = [
        ask_for_payment(company, key=f"m{n}", invoice=f"M-{n}", now=MONDAY_9AM + 60 * M)
        for n in range(30)
    ]
    ActionRequest.objects.filter(state=S.PENDING).exclude(pk__in=[each.pk for each in more]).update(
        due_at=MONDAY_9AM + timedelta(days=9)
    )

    with CaptureQueriesContext(connection) as many_queries:
        assert climb_due_steps(now=DUE + 60 * M) == 30

    assert abs(len(many_queries) - len(few)) <= 2, (len(few), len(many_queries))


@pytest.mark.django_db
def test_a_batch_has_a_limit(company):
    many(company, 5)

    assert [climb_due_steps(now=DUE, limit=2) for _ in range(4)] == [2, 2, 1, 0]


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("spoil", [spoil_for_python, spoil_for_the_database])
@pytest.mark.parametrize("bad", [0, 3, 6])
def test_a_bad_row_is_set_aside_and_reported_and_its_neighbours_move(spoil, bad):

    company = small_company()
    requests = many(company, 7)
    spoil(requests[bad])

    moved = climb_due_steps(now=DUE)

    spoiled = ActionRequest.objects.get(pk=requests[bad].pk)
    assert moved == 6
    assert (spoiled.state, spoiled.parked_until) == (S.PENDING, DUE + PARKED_FOR)
    alert = Alert.objects.get(kind="sweep.failed")
    assert alert.request == spoiled
    assert spoiled.ref in alert.text
    assert AuditEvent.objects.get(kind="request.parked").chain == "system"
    others = ActionRequest.objects.exclude(pk=spoiled.pk)
    assert Step.objects.filter(request__in=others, level=1, state="waiting").count() == 6


@pytest.mark.django_db(transaction=True)
def test_several_bad_rows_are_each_found():

    requests = many(small_company(), 9)
    for n in (1, 4, 5):
        spoil_for_the_database(requests[n])

    assert climb_due_steps(now=DUE) == 6
    assert ActionRequest.objects.filter(parked_until__isnull=False).count() == 3


@pytest.mark.django_db(transaction=True)
def test_a_parked_row_is_left_alone_until_then_and_tried_again():

    (request,) = many(small_company(), 1)
    spoil_for_the_database(request)
    climb_due_steps(now=DUE)
    Step.objects.filter(request=request, level=1).delete()

    before = climb_due_steps(now=DUE + PARKED_FOR - timedelta(microseconds=1))
    after = climb_due_steps(now=DUE + PARKED_FOR)

    assert (before, after) == (0, 1)


@pytest.mark.django_db(transaction=True)
def test_one_alert_stands_for_a_row_that_fails_again_and_again():

    (request,) = many(small_company(), 1)
    spoil_for_the_database(request)

    for round_ in range(3):
        climb_due_steps(now=DUE + round_ * PARKED_FOR)

    assert Alert.objects.filter(kind="sweep.failed").count() == 1


def test_a_database_that_is_away_is_no_rows_fault():
    def work(pks):
        raise OperationalError("the server closed the connection")

    with pytest.raises(OperationalError):
        in_halves([1, 2, 3], work, sweep="test", now=DUE)


@pytest.mark.django_db
def test_states_that_a_person_or_a_runner_holds_are_not_the_clocks(company):
    for state in (S.HELD, S.BLOCKED, S.EXECUTING, S.TROUBLED, S.ROLLING_BACK):
        RequestFactory(state=state, due_at=DUE)

    assert climb_due_steps(now=DUE + 60 * M) == 0


@pytest.mark.django_db
def test_pings_of_rows_set_aside_do_not_stand_before_others(company):
    first, second = many(company, 2)
    climb_due_steps(now=DUE)
    ActionRequest.objects.filter(pk=first.pk).update(parked_until=DUE + 60 * M)
    Ask.objects.filter(step__request=first).exclude(next_ping_at=None).update(next_ping_at=DUE + M)

    assert ping_again(now=DUE + 5 * M, limit=1) == 1
    assert Ask.objects.get(step__request=second, step__level=1).pings == 1


@pytest.mark.django_db
def test_a_batch_is_pinged_in_a_fixed_number_of_statements(company):
    counts = []
    for size in (2, 12):
        start = MONDAY_9AM + timedelta(days=size)
        for n in range(size):
            ask_for_payment(company, key=f"k{size}-{n}", invoice=f"INV-{size}-{n}", now=start)
        assert climb_due_steps(now=start + 5 * M) == size
        with CaptureQueriesContext(connection) as queries:
            assert ping_again(now=start + 10 * M) == size
        counts.append(len(queries))
        ActionRequest.objects.update(parked_until=start + timedelta(days=99))

    assert counts[0] == counts[1]
