"""The check of a version as it is stored: what is read for it, and what it is asked for."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from governance.models import Absence, Appointment, Person, PolicyVersion
from governance.policy_check import check
from tests.factories import (
    MONDAY_9AM,
    AbsenceFactory,
    AgentCredentialFactory,
    MatrixRowFactory,
    PersonFactory,
    PolicyVersionFactory,
    RosterShiftFactory,
    with_every_office,
)

pytestmark = pytest.mark.django_db
Office = Appointment.Office


@pytest.fixture
def whole(company):
    return with_every_office(company)


def keys(version, **options):
    return {each.key for each in check(version, now=MONDAY_9AM, **options).holes}


def test_a_policy_in_which_every_office_is_held_passes(whole):
    report = check(whole.policy, now=MONDAY_9AM)

    assert [each.sentence for each in report.holes] == []
    assert (report.version, report.instants) == (1, 1)
    assert {each.action for each in report.worst_cases} == {"vendor_payment"}


def test_a_draft_is_checked_as_well(whole):
    draft = PolicyVersionFactory(number=2)

    assert any(key.startswith("match|accounts-payable|vendor_payment") for key in keys(draft))


def test_absences_ahead_count_and_cancelled_ones_do_not(whole):
    gone = [
        AbsenceFactory(person=person, starts_at=MONDAY_9AM + timedelta(days=30))
        for person in Person.objects.filter(limit_amount__isnull=False)
    ]
    assert any(key.startswith("timeout|") for key in keys(whole.policy))

    Absence.objects.filter(pk=gone[0].pk).update(cancelled_at=MONDAY_9AM)
    Absence.objects.filter(pk__in=[each.pk for each in gone[1:]]).update(cancelled_at=MONDAY_9AM)

    assert not keys(whole.policy)


def test_what_lies_beyond_the_days_looked_at_does_not_count(whole):
    for person in Person.objects.filter(limit_amount__isnull=False):
        AbsenceFactory(person=person, starts_at=MONDAY_9AM + timedelta(days=30))

    assert not keys(whole.policy, days=29)
    assert keys(whole.policy, days=31)


def test_a_disabled_agent_may_ask_for_nothing(whole):
    AgentCredentialFactory(agent=whole.agent, actions=["vendor_payment"], departments=["sales"])
    MatrixRowFactory(version=PolicyVersionFactory(number=3))
    whole.agent.disabled_at = MONDAY_9AM
    whole.agent.save()

    assert not any(key.startswith("match|") for key in keys(whole.policy))


def test_a_roster_is_read(whole):
    Appointment.objects.filter(office=Office.ONCALL_FALLBACK).delete()
    RosterShiftFactory(person=whole.controller, ends_at=MONDAY_9AM + timedelta(days=5))

    (hole,) = check(whole.policy, now=MONDAY_9AM).holes

    assert hole.since == MONDAY_9AM + timedelta(days=5)


def test_only_the_rows_asked_for_are_looked_at(whole):
    Person.objects.update(is_active=False)

    assert not any(key.startswith("timeout") for key in keys(whole.policy, rows=[]))
    assert any(key.startswith("timeout") for key in keys(whole.policy, rows=[whole.row.pk]))


def test_it_takes_the_same_queries_whoever_is_there_and_changes_nothing(whole):
    def queries():
        with CaptureQueriesContext(connection) as caught:
            check(PolicyVersion.objects.get(pk=whole.policy.pk), now=MONDAY_9AM)
        assert all(each["sql"].startswith(("SELECT", "WITH", "DECLARE")) for each in caught)
        return len(caught)

    before = queries()
    for _ in range(5):
        person = PersonFactory(manager=whole.cfo)
        AbsenceFactory(person=person)
        AgentCredentialFactory(agent__owner=person)

    assert queries() == before
