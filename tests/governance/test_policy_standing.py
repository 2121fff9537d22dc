"""What the worker's check has found, on the list of versions: with since when, and the good of nothing."""

from __future__ import annotations

import re
from datetime import timedelta

import pytest
from django.urls import reverse

from governance import policy_watch
from governance.models import Person, PolicyFinding
from tests.factories import (
    MONDAY_9AM,
    AbsenceFactory,
    PersonFactory,
    PolicyFindingFactory,
    PolicyVersionFactory,
    RoleFactory,
    with_every_office,
)

pytestmark = pytest.mark.django_db


@pytest.fixture
def page(client, company, timeline):
    with_every_office(company)
    admin = PersonFactory(roles=[RoleFactory(key="policy_admin")])
    client.force_login(admin, backend="django.contrib.auth.backends.ModelBackend")

    def read():
        html = client.get(reverse("governance:policy")).content.decode().split("<main")[1]
        return " ".join(re.sub(r"<[^>]+>", " ", html).replace("\xa0", " ").split())

    return read


def test_nobody_claims_that_all_is_well_before_anybody_has_looked(page):
    assert "Nobody has looked yet." in page()
    assert "can stall." not in page()


def test_nothing_found_is_said_to_be_good(page):
    policy_watch.watch(now=MONDAY_9AM)

    assert "Looked at 09:00" in page()
    assert "Nothing in use can stall. " in page()


def test_a_hole_stands_with_its_sentence_and_since_when(page, timeline):
    for person in Person.objects.filter(limit_amount__isnull=False):
        AbsenceFactory(person=person, starts_at=MONDAY_9AM + timedelta(days=30))
    policy_watch.watch(now=MONDAY_9AM)
    timeline.advance(minutes=5)

    found = page()

    hole = PolicyFinding.objects.filter(weight="hole").first()
    assert f"{hole.sentence.replace(chr(160), ' ')} Version 1 since 09:00" in found
    assert "Nothing in use can stall" not in found


def test_warnings_of_what_is_in_force_stand_too(page, company):
    policy_watch.watch(now=MONDAY_9AM)
    PolicyFinding.objects.all().delete()
    PolicyFindingFactory(version=company.policy, weight="warning", sentence="One person only.")
    PolicyFindingFactory(
        version=company.policy, weight="warning", sentence="Long gone.", gone_at=MONDAY_9AM
    )

    found = page()

    assert "1 warning" in found
    assert "One person only. since 09:00" in found
    assert "Long gone" not in found


def test_a_hole_of_an_older_version_that_still_routes_says_whose_it_is(page):
    policy_watch.watch(now=MONDAY_9AM)
    old = PolicyVersionFactory(number=9, state="superseded", activated_at=MONDAY_9AM)
    PolicyFindingFactory(version=old, sentence="Old.")

    assert "Old. Version 9 , by which open requests are still routed." in page()


def test_a_worker_that_looks_no_more_is_noticed(page, timeline):
    policy_watch.watch(now=MONDAY_9AM)
    timeline.advance(minutes=30)

    assert "The worker has not looked since then." in page()
    assert "Nothing in use can stall" not in page()


def test_many_are_bounded_and_counted(page, company):
    policy_watch.watch(now=MONDAY_9AM)
    PolicyFindingFactory.create_batch(51, version=company.policy)

    found = page()

    assert "51 holes" in found
    assert "The first 50 of them." in found
