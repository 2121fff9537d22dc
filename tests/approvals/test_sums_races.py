"""Submissions to one counterparty at the same instant see each other."""

from __future__ import annotations

import threading
from decimal import Decimal
from functools import partial

import pytest

from approvals.models import ActionRequest, CounterpartySum
from approvals.services.submit import submit
from tests.approvals.asking import body, credential_of, have_sums_taken
from tests.factories import MONDAY_9AM, small_company

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def company(transactional_db):
    found = small_company()
    have_sums_taken(found)
    return found


def submission(company, n, amount="24000.00"):
    return partial(
        submit,
        credential=credential_of(company),
        policy=company.policy.pk,
        idempotency_key=f"key-{n}",
        body=body(company, invoice=f"INV-{n}", amount=amount),
        now=MONDAY_9AM,
    )


def test_control_two_that_look_before_either_is_stored_see_nothing(company, race):
    both_looked = threading.Barrier(2)

    def look_first():
        found = ActionRequest.objects.filter(counterparty="northfield packaging supply").count()
        both_looked.wait(timeout=10)
        return found

    assert race(look_first, look_first) == [0, 0]


@pytest.mark.parametrize("known", [False, True])
def test_of_two_at_once_just_below_the_limit_one_is_routed_by_the_sum(company, race, known):
    """Whether the row of the sum is there already, or both would make it."""
    if known:
        CounterpartySum.objects.create(
            owner=company.agent_owner, counterparty="northfield packaging supply", currency="USD"
        )

    outcomes = race(submission(company, 1), submission(company, 2))

    assert not [each for each in outcomes if isinstance(each, Exception)]
    routed = sorted(each.request.routed_amount for each in outcomes)
    assert routed == [Decimal(24_000), Decimal(48_000)]
    assert CounterpartySum.objects.count() == 1


def test_eight_at_once_are_routed_by_eight_different_sums(company, race):
    outcomes = race(*[submission(company, n, "10000.00") for n in range(8)])

    assert not [each for each in outcomes if isinstance(each, Exception)]
    routed = sorted(each.request.routed_amount for each in outcomes)
    assert routed == [Decimal(10_000) * n for n in range(1, 9)]


def test_one_key_sent_eight_times_at_once_is_one_request_and_one_amount(company, race):
    call = submission(company, 1)

    outcomes = race(*[call] * 8)

    assert not [each for each in outcomes if isinstance(each, Exception)]
    assert sorted(created for _, created in outcomes) == [False] * 7 + [True]
    assert ActionRequest.objects.get().routed_amount == Decimal(24_000)


def test_a_replay_is_answered_though_its_sum_would_be_nobodys_to_decide(company):
    first = submission(company, 1, "60000.00")()
    submission(company, 2, "30000.00")()

    again = submission(company, 1, "60000.00")()

    assert (again.created, again.request.pk) == (False, first.request.pk)


def test_many_that_want_one_record_and_one_sum_never_deadlock(company, race):
    company.vendor_payment.resource_key = "demo:vendor:{/vendor}"
    company.vendor_payment.save()

    outcomes = race(*[submission(company, n, "1000.00") for n in range(6)])
    outcomes += race(*[submission(company, n, "1000.00") for n in range(6, 12)])

    assert not [each for each in outcomes if isinstance(each, Exception)]
