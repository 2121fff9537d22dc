"""A draft against the requests of the last ninety days: who would have been asked, and the list behind each number."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from governance.models import DecisionCell, MatrixRow, PathWindow
from governance.simulation import simulate
from tests.approvals.asking import ask_for_payment
from tests.factories import (
    MONDAY_9AM,
    AbsenceFactory,
    MatrixDelegateFactory,
    MatrixRowFactory,
    PolicyVersionFactory,
    with_every_office,
)

pytestmark = pytest.mark.django_db
LATER = MONDAY_9AM + timedelta(days=1)


@pytest.fixture
def whole(company):
    return with_every_office(company)


@pytest.fixture
def draft(whole):
    """The same as what is in force."""
    found = PolicyVersionFactory(number=2, based_on=whole.policy)
    for table in (PathWindow, DecisionCell):
        for each in table.objects.filter(version=whole.policy):
            each.pk, each.version = None, found
            each.save()
    row = MatrixRowFactory(
        version=found,
        number=14,
        department=whole.accounts_payable,
        action="vendor_payment",
        amount_to=Decimal(100_000),
        approver_role=whole.row.approver_role,
    )
    MatrixDelegateFactory(row=row, position=1, role=whole.senior_accountant.roles.get())
    return found


def several(whole, *amounts):
    return [
        ask_for_payment(whole, invoice=f"INV-{n}", key=f"key-{n}", amount=amount, now=at)
        for n, amount in enumerate(amounts)
        for at in (MONDAY_9AM + timedelta(hours=24 * 2 * n),)
    ]


def replayed(draft, days=30):
    return simulate(draft, now=MONDAY_9AM + timedelta(days=days))


def test_a_draft_that_changes_nothing_says_so(whole, draft):
    several(whole, "100.00", "12000.00")

    found = replayed(draft)

    assert (found.version, found.against, found.requests) == (2, 1, 2)
    assert (found.changes, found.holes, found.passed_over, found.share_passed_over) == (
        (),
        (),
        (),
        0.0,
    )
    (load,) = found.load
    assert (load.username, load.more) == ("finance_manager", 0)


def test_where_others_would_have_been_asked_both_are_named(whole, draft):
    few, many = several(whole, "100.00", "12000.00")
    MatrixRow.objects.filter(version=draft).update(amount_to=1000)
    MatrixRowFactory(
        version=draft, number=15, department=whole.accounts_payable, amount_from=1000,
        approver_role=None, approver_person=whole.controller,
    )  # fmt: skip

    found = replayed(draft)

    (change,) = found.changes
    assert (change.ref, change.before, change.after, change.then) == (
        many.ref, ("Finance Manager",), ("Controller",), ("Finance Manager",)
    )  # fmt: skip
    assert (change.row_before, change.row_after) == (14, 15)
    assert {each.username: (each.before, each.after) for each in found.load} == {
        "finance_manager": ((few.ref, many.ref), (few.ref,)),
        "controller": ((), (many.ref,)),
    }


def test_who_was_asked_at_the_time_is_named_though_neither_version_leads_to_them_now(whole, draft):
    several(whole, "12000.00")
    whole.finance_manager.roles.clear()
    whole.finance_manager.limit_amount, whole.finance_manager.limit_currency = None, ""
    whole.finance_manager.save()
    MatrixRow.objects.filter(version=draft).update(
        approver_role=None, approver_person=whole.controller
    )

    (change,) = replayed(draft).changes

    assert change.then == ("Finance Manager",)


def test_what_would_have_met_a_hole_is_listed_with_its_reason(whole, draft):
    many = several(whole, "100.00", "12000.00")[-1]
    MatrixRow.objects.filter(version=draft).update(amount_to=1000)

    (met,) = replayed(draft).holes

    assert (met.ref, met.is_new) == (many.ref, True)
    assert met.sentence == "No matrix row covers Vendor payment ($12,000.00) in this department."


def test_a_row_that_leads_to_nobody_is_a_hole_too(whole, draft):
    several(whole, "12000.00")
    row = MatrixRow.objects.get(version=draft)
    row.approver_role, row.approver_person = None, whole.ceo  # who has no limit, and nobody above
    row.save()
    row.delegates.all().delete()

    (met,) = replayed(draft).holes

    assert met.sentence == "Nobody whom matrix row 14 leads to could be asked."


def test_whoever_is_passed_over_is_counted_with_the_reason_of_the_day(whole, draft):
    second = several(whole, "100.00", "12000.00")[-1]
    AbsenceFactory(
        person=whole.finance_manager,
        starts_at=MONDAY_9AM + timedelta(days=1),
        ends_at=MONDAY_9AM + timedelta(days=3),
    )

    found = replayed(draft)

    (passed,) = found.passed_over
    assert passed.ref == second.ref
    assert passed.people[0].name == "Finance Manager"
    assert passed.people[0].why.startswith("is away until")
    assert found.share_passed_over == found.share_passed_over_before == 0.5


def test_what_is_older_is_not_looked_at(whole, draft):
    several(whole, "100.00")

    assert replayed(draft, days=91).requests == 0
    assert replayed(draft, days=91).share_passed_over is None


def test_it_takes_the_same_queries_however_much_there_is_and_changes_nothing(whole, draft):
    def queries():
        with CaptureQueriesContext(connection) as caught:
            replayed(draft)
        assert all(each["sql"].startswith(("SELECT", "WITH", "DECLARE")) for each in caught)
        return len(caught)

    several(whole, "100.00")
    before = queries()
    for n in range(5, 9):
        ask_for_payment(whole, invoice=f"INV-{n}", key=f"key-{n}", amount="10.00")

    assert queries() == before
