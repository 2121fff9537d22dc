from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from zoneinfo import ZoneInfo

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from governance import tables
from governance.decision_tree import cells
from governance.ladder import DEFAULT_WINDOWS
from governance.models import Person, PolicyVersion
from governance.routing import Channel, Who
from tests.factories import (
    MONDAY_9AM,
    AbsenceFactory,
    ContactChannelFactory,
    MatrixDelegateFactory,
    MatrixRowFactory,
    PersonFactory,
    PolicyVersionFactory,
    RoleFactory,
)

pytestmark = pytest.mark.django_db

MOMENT = timedelta(microseconds=1)


def people_of(*rows, now=MONDAY_9AM, also=()):
    loaded = [tables.load(row.version).rows[row.pk] for row in rows]
    return tables.people_for(loaded, also=also, now=now)


def row_of(person, **changes):
    return MatrixRowFactory(approver_role=None, approver_person=person, **changes)


def only(person, *, now=MONDAY_9AM):
    """Return one person as routing sees them."""
    return tables.people_for([], also=[person.pk], now=now).by_pk[person.pk]


# --- The policy -------------------------------------------------------------------------------


def test_a_policy_is_read_whole(company):
    policy = tables.policy(company.policy.pk)

    assert policy.number == 1
    assert policy.windows == DEFAULT_WINDOWS
    assert {cell: (answer.response, answer.source) for cell, answer in policy.cells.items()} == {
        (e, s, i): (rule.response, rule.source) for e, s, i, rule in cells()
    }
    assert list(policy.rows) == [company.row.pk]
    assert policy.queue_cap == timedelta(hours=8)


def test_a_row_is_read_with_its_delegates_in_order():
    row = MatrixRowFactory(amount_to=Decimal(100), quorum=2)
    someone, role = PersonFactory(), RoleFactory()
    MatrixDelegateFactory(row=row, position=2, role=role)
    MatrixDelegateFactory(row=row, position=1, role=None, person=someone)

    read = tables.load(row.version).rows[row.pk]

    assert read.approver == Who("role", row.approver_role_id)
    assert read.delegates == (Who("person", someone.pk), Who("role", role.pk))
    assert (read.amount_from, read.amount_to, read.currency) == (Decimal(0), Decimal(100), "USD")
    assert (read.quorum, read.department_name) == (2, row.department.name)


def test_rows_of_another_version_are_left_out():
    row, other = MatrixRowFactory(), MatrixRowFactory()

    assert list(tables.load(row.version).rows) == [row.pk]
    assert row.version != other.version


def test_nothing_is_routed_by_a_draft():
    draft = PolicyVersionFactory(number=8)

    with pytest.raises(ValueError, match="policy 8 is a draft"):
        tables.policy(draft.pk)


@pytest.mark.parametrize("state", ["active", "superseded"])
def test_requests_in_flight_keep_their_version_when_it_is_superseded(state):
    version = PolicyVersionFactory(state=state, activated_at=MONDAY_9AM)

    assert tables.policy(version.pk).pk == version.pk


def test_a_version_is_read_once(company, django_assert_num_queries):
    tables.policy(company.policy.pk)

    with django_assert_num_queries(0):
        tables.policy(company.policy.pk)


def test_a_version_that_is_not_there_is_a_defect():
    with pytest.raises(PolicyVersion.DoesNotExist):
        tables.policy(12345)


# --- The people -------------------------------------------------------------------------------


def test_everyone_a_row_may_lead_to_is_loaded_with_the_line_above(company):
    found = people_of(company.row)

    assert set(found.by_pk) == {person.pk for person in company.people}
    assert found.holders == {
        company.row.approver_role_id: [company.finance_manager.pk],
        company.row.delegates.get().role_id: [company.senior_accountant.pk],
    }


def test_a_person_is_loaded_as_they_are(company):
    read = people_of(company.row).by_pk[company.finance_manager.pk]

    assert (read.username, read.name, read.enabled) == ("finance_manager", "Finance Manager", True)
    assert (read.limit, read.limit_currency) == (Decimal(25_000), "USD")
    assert read.manager == company.controller.pk
    assert read.away_until is None
    assert read.zone == ZoneInfo("UTC")
    assert read.channels == (Channel(company.finance_manager.channels.get().pk, "email", False),)


def test_others_may_be_loaded_beside_them(company):
    someone = PersonFactory(manager=PersonFactory())

    found = people_of(company.row, also=[someone.pk])

    assert {someone.pk, someone.manager_id} <= set(found.by_pk)


def test_holders_of_a_role_come_in_one_order():
    role = RoleFactory()
    people = [PersonFactory(roles=[role]) for _ in range(5)]

    found = people_of(MatrixRowFactory(approver_role=role))

    assert found.holders[role.pk] == sorted(person.pk for person in people)


def test_somebody_disabled_is_loaded_so_that_the_page_can_say_why():
    person = PersonFactory(is_active=False)

    assert only(person).enabled is False


def test_a_circle_in_the_reporting_line_is_loaded_once():
    first, second, third = PersonFactory(), PersonFactory(), PersonFactory()
    for person, manager in ((first, second), (second, third), (third, first)):
        Person.objects.filter(pk=person.pk).update(manager=manager)

    found = people_of(row_of(first))

    assert set(found.by_pk) == {first.pk, second.pk, third.pk}


def test_nobody_named_is_nobody_loaded(django_assert_num_queries):
    with django_assert_num_queries(0):
        found = tables.people_for([], now=MONDAY_9AM)

    assert found.by_pk == {}


# --- Absences are half-open -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("at", "away"),
    [
        (MONDAY_9AM - MOMENT, False),
        (MONDAY_9AM, True),  # gone at the very instant
        (MONDAY_9AM + timedelta(hours=1), True),
        (MONDAY_9AM + timedelta(days=1) - MOMENT, True),
        (MONDAY_9AM + timedelta(days=1), False),  # back at the very instant
    ],
)
def test_somebody_is_away_from_the_first_instant_until_the_last(at, away):
    absence = AbsenceFactory(starts_at=MONDAY_9AM, ends_at=MONDAY_9AM + timedelta(days=1))

    read = only(absence.person, now=at)

    assert read.away_until == (absence.ends_at if away else None)


def test_a_cancelled_absence_is_none():
    absence = AbsenceFactory(cancelled_at=MONDAY_9AM)

    assert only(absence.person).away_until is None


def test_of_absences_that_overlap_the_last_to_end_counts():
    absence = AbsenceFactory()
    longer = AbsenceFactory(person=absence.person, ends_at=MONDAY_9AM + timedelta(days=7))

    assert only(absence.person).away_until == longer.ends_at


def test_an_absence_is_one_persons():
    AbsenceFactory()

    assert only(PersonFactory()).away_until is None


# --- Reach ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "changes",
    [{"confirmed_at": None}, {"refused_at": MONDAY_9AM, "refused_reason": "550 no such user"}],
)
def test_a_channel_that_is_not_confirmed_or_refuses_for_good_reaches_nobody(changes):
    channel = ContactChannelFactory(**changes)

    assert not only(channel.person).reachable


def test_one_channel_that_works_is_enough():
    channel = ContactChannelFactory(refused_at=MONDAY_9AM)
    pager = ContactChannelFactory(person=channel.person, kind="apprise", urgent_only=True)

    read = only(channel.person)

    assert read.reachable
    assert read.channels == (Channel(pager.pk, "apprise", True),)


# --- It costs the same ------------------------------------------------------------------------


def test_people_are_loaded_by_one_query_however_many_they_are():
    def company_of(size):
        role = RoleFactory()
        for _ in range(size):
            person = PersonFactory(manager=PersonFactory(manager=PersonFactory()), roles=[role])
            ContactChannelFactory(person=person)
            AbsenceFactory(person=person)
        return [MatrixRowFactory(approver_role=role) for _ in range(size)]

    counts = []
    for size in (1, 12):
        loaded = [tables.load(row.version).rows[row.pk] for row in company_of(size)]
        with CaptureQueriesContext(connection) as queries:
            found = tables.people_for(loaded, now=MONDAY_9AM)
        assert len(found.by_pk) == 3 * size
        counts.append(len(queries))

    assert counts == [1, 1]
