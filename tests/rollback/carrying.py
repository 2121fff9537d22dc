"""Fixtures of an approved payment, a target in memory and a worker; and what must hold after each test."""

from __future__ import annotations

from datetime import timedelta

import pytest

from approvals import audits
from rollback.models import Unit
from tests.approvals.asking import answer, ask_for_payment
from tests.factories import ContactChannelFactory, PersonFactory, RosterShiftFactory
from tests.rollback.ledger_target import Books, Worker

U = Unit.State
HELD_BY_EVERY_TEST = (
    "due_at_differs",
    "asks_out_of_step",
    "ended_with_open_parts",
    "chains_broken",
    "failures_without_a_case",
)


@pytest.fixture
def approved(company, timeline):
    """A vendor payment, approved a minute after it was asked for."""
    request = ask_for_payment(company)
    timeline.now += timedelta(minutes=1)
    return answer(request, company.finance_manager, now=timeline.now)


@pytest.fixture
def books():
    return Books()


@pytest.fixture
def worker(timeline, books):
    return Worker(timeline, books)


@pytest.fixture
def on_call(company, timeline):
    """Somebody on shift for the payment's target, and their manager. The shift lasts all day."""
    manager = PersonFactory(username="oncall_manager", name="On-call Manager")
    person = PersonFactory(username="oncall", name="On-call Engineer", manager=manager)
    for each in (manager, person):
        ContactChannelFactory(person=each)
    company.vendor_payment.connector_config = {"target": "books"}
    company.vendor_payment.save()
    RosterShiftFactory(
        target="books",
        person=person,
        starts_at=timeline.now - timedelta(hours=1),
        ends_at=timeline.now + timedelta(hours=23),
    )
    return person


@pytest.fixture
def whole_record(books, timeline):
    """Rows that agree with each other, and a target that did what our checkpoints say: no more, no less."""
    yield
    wrong = [found for name in HELD_BY_EVERY_TEST for found in audits.AUDITS[name](timeline.now)]
    assert wrong == []
    checkpoints = Unit.objects.filter(receipt__isnull=False).values_list("key", flat=True)
    unanswered = Unit.objects.filter(state__in=[U.SENT, U.UNKNOWN]).values_list("key", flat=True)
    assert set(books.done) - set(unanswered) == set(checkpoints) - set(unanswered)
