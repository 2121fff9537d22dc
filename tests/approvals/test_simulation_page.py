"""The page of a simulation: each number with its list, in bounded pages, and what nobody can know."""

from __future__ import annotations

import re
from datetime import timedelta

import pytest
from django.urls import reverse

from governance.models import MatrixRow
from governance.services import policy as services
from governance.views.policy import simulate
from tests.approvals.asking import ask_for_payment
from tests.factories import (
    MONDAY_9AM,
    AbsenceFactory,
    MatrixRowFactory,
    PersonFactory,
    RoleFactory,
    with_every_office,
)

pytestmark = pytest.mark.django_db
BEFORE = MONDAY_9AM - timedelta(days=30)


@pytest.fixture
def whole(company, timeline):
    return with_every_office(company)


@pytest.fixture
def admin(whole):
    return PersonFactory(name="Policy Administrator", roles=[RoleFactory(key="policy_admin")])


@pytest.fixture
def draft(admin):
    return services.start_draft(actor=admin, now=MONDAY_9AM)


@pytest.fixture
def client(client, admin):
    client.force_login(admin, backend="django.contrib.auth.backends.ModelBackend")
    return client


@pytest.fixture
def made(whole):
    """Three requests: of $100, $12,000 and $13,000."""
    return [
        ask_for_payment(
            whole, invoice=f"INV-{n}", key=f"key-{n}", amount=amount,
            now=BEFORE + timedelta(days=2 * n),
        )
        for n, amount in enumerate(("100.00", "12000.00", "13000.00"))
    ]  # fmt: skip


def divided(whole, draft):
    """The draft gives what is above $1,000 to the controller."""
    MatrixRow.objects.filter(version=draft).update(amount_to=1000)
    MatrixRowFactory(
        version=draft, number=15, department=whole.accounts_payable, amount_from=1000,
        approver_role=None, approver_person=whole.controller,
    )  # fmt: skip


def shown(client, **query):
    return client.get(reverse("governance:policy-simulate", args=[2]), query)


def plain(response):
    text = re.sub(r"<[^>]+>", " ", response.content.decode().split("<main")[1].split("</main>")[0])
    return " ".join(text.replace("\xa0", " ").split())


def refs(response):
    return re.findall(r'href="/requests/([^/"]+)/"', response.content.decode())


def test_for_whom_the_approver_changes_is_listed_with_both(client, whole, draft, made):
    divided(whole, draft)

    response = shown(client)

    assert refs(response) == [each.ref for each in made[1:]]
    assert "Others would be asked 2 of 3 requests" in plain(response)
    assert "Finance Manager row 14 Controller row 15 Finance Manager" in plain(response)


def test_the_load_of_each_person_leads_to_their_requests(client, whole, draft, made):
    divided(whole, draft)

    page = plain(shown(client, show="load"))
    theirs = shown(client, show="load", person="controller")

    assert "Controller 0 2 2 more" in page
    assert "Finance Manager 3 1 2 fewer" in page
    assert refs(theirs) == [each.ref for each in made[1:]]


def test_what_meets_a_hole_says_why_and_whether_it_is_new(client, whole, draft, made):
    MatrixRow.objects.filter(version=draft).update(amount_to=1000)

    response = shown(client, show="holes")

    assert refs(response) == [each.ref for each in made[1:]]
    assert "Would meet a hole 2 2 of them not by version 1" in plain(response)
    assert "No matrix row covers Vendor payment ($12,000.00)" in plain(response)
    assert "somebody is asked" in plain(response)


def test_the_share_passed_over_stands_beside_that_of_today(client, whole, draft, made):
    AbsenceFactory(
        person=whole.finance_manager,
        starts_at=BEFORE + timedelta(days=1),
        ends_at=BEFORE + timedelta(days=3),
    )

    response = shown(client, show="passed")

    assert "33 % 1 of 3 requests; by version 1: 33 %" in plain(response)
    assert refs(response) == [made[1].ref]
    assert "Finance Manager is away until" in plain(response)


def test_a_long_list_comes_in_pages(client, whole, draft, made, monkeypatch):
    monkeypatch.setattr(simulate, "PAGE", 2)
    divided(whole, draft)
    MatrixRow.objects.filter(version=draft, number=14).update(
        approver_role=None, approver_person=whole.ceo
    )

    first, second = shown(client, show="load"), shown(client, show="load", page="2")

    assert "1 to 2 of" in plain(first)
    assert "Show the next ones" in plain(first)
    assert "Show the ones before" in plain(second)
    for odd in ("0", "-1", "x", "²", "9" * 5000):
        assert shown(client, show="load", page=odd).status_code == 200


def test_what_it_does_not_know_is_said(client, draft, made):
    page = plain(shown(client))

    assert "How anybody would have answered." in page
    assert "The same people would have been asked first, every time." in page


def test_without_a_request_there_is_nothing_to_compare(client, draft):
    page = plain(shown(client, show="nonsense"))

    assert "No request to replay" in page
    assert "%" not in page


def test_auditors_see_it_and_operators_do_not(client, draft):
    for duty, status in (("auditor", 200), ("operator", 403)):
        role = RoleFactory._meta.model.objects.filter(key=duty).first() or RoleFactory(key=duty)
        somebody = PersonFactory(roles=[role])
        client.force_login(somebody, backend="django.contrib.auth.backends.ModelBackend")

        assert shown(client).status_code == status
