"""Fixtures of an approved payment, a target in memory and a worker; and what must hold after each test."""

from __future__ import annotations

from datetime import timedelta

import pytest

from approvals import auditing
from tests.approvals.asking import answer, ask_for_payment
from tests.factories import ContactChannelFactory, PersonFactory, RosterShiftFactory
from tests.rollback.ledger_target import Books, Worker

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
def whole_record(timeline):
    """Rows that agree with each other. What targets did is asked after every test: see conftest."""
    yield
    wrong = [
        found for name in HELD_BY_EVERY_TEST for found in auditing.all_audits()[name](timeline.now)
    ]
    assert wrong == []
