"""The page that says who would get a request that nobody has made: the answer of the command and the API, to read."""

from __future__ import annotations

import re
from datetime import timedelta

import pytest
from django.test import Client
from django.urls import reverse

from governance.models import MatrixRow, PolicyVersion
from governance.services import policy as services
from tests.factories import (
    MONDAY_9AM,
    AbsenceFactory,
    PersonFactory,
    RoleFactory,
    with_every_office,
)

pytestmark = pytest.mark.django_db

QUERY = {
    "action": "vendor_payment",
    "department": "accounts-payable",
    "amount": "12,000.00",
    "currency": "USD",
    "at": "2026-03-02T09:00",
    "zone": "UTC",
}


def client_of(person):
    client = Client()
    client.force_login(person, backend="django.contrib.auth.backends.ModelBackend")
    return client


@pytest.fixture
def whole(company, timeline):
    return with_every_office(company)


@pytest.fixture
def admin(whole):
    return PersonFactory(name="Policy Administrator", roles=[RoleFactory(key="policy_admin")])


@pytest.fixture
def client(admin):
    return client_of(admin)


def ask(client, **changes):
    return client.get(reverse("governance:policy-who"), QUERY | changes)


def plain(response):
    text = re.sub(r"<[^>]+>", " ", response.content.decode().split("<main")[1])
    return " ".join(text.replace("\xa0", " ").split())


def at_fault(response):
    return set(re.findall(r'id="(\w+)-error"', response.content.decode()))


@pytest.mark.parametrize("duty", ["operator", "auditor", "compliance", "policy_admin", None])
def test_whoever_may_ask_the_api_may_ask_here(whole, duty):
    role = duty and (
        RoleFactory._meta.model.objects.filter(key=duty).first() or RoleFactory(key=duty)
    )
    client = client_of(PersonFactory(roles=[role] if role else []))

    api = {key: value for key, value in QUERY.items() if key not in ("at", "zone", "amount")}
    answers = {
        client.get(reverse("governance:policy-who")).status_code,
        ask(client).status_code,
        client.get("/api/v1/who-decides/", api | {"amount": "12000"}).status_code,
    }

    assert answers == {200 if duty else 403}


def test_the_answer_is_that_of_the_api(whole, client):
    AbsenceFactory(person=whole.senior_accountant, starts_at=MONDAY_9AM + timedelta(minutes=35))
    over_http = client.get(
        "/api/v1/who-decides/",
        {
            "action": "vendor_payment",
            "department": "accounts-payable",
            "amount": "12000.00",
            "currency": "USD",
            "at": "2026-03-02T09:00:00Z",
            "agent": "ap-agent",
        },
    ).json()

    response = ask(client, agent="ap-agent")

    html, page = response.content.decode().split('class="rc-climb"')[1], plain(response)
    for rung in over_http["rungs"]:
        assert f'datetime="{rung["opens_at"]}"' in html
        for each in rung["asked"]:
            assert f"{each['name']} : the {each['reason']}" in page
        for each in rung["passed_over"]:
            assert f"Not {each['name']} {each['reason']}".replace("\xa0", " ") in page
    assert f"Then {over_http['ends']}" in page
    assert "is away" in page


def test_before_anything_is_asked_there_is_a_form_and_no_mistake(client):
    response = client.get(reverse("governance:policy-who"), {"version": "1"})

    assert response.status_code == 200
    assert at_fault(response) == set()
    assert '<option value="1" selected>' in response.content.decode()


@pytest.mark.parametrize(
    ("changes", "fields"),
    [
        ({"action": ""}, {"action"}),
        ({"action": "refund"}, {"action"}),
        ({"department": "sales"}, {"department"}),
        ({"amount": ""}, {"amount"}),
        ({"amount": "many"}, {"amount"}),
        ({"amount": "1e400"}, {"amount"}),
        ({"amount": "-1"}, {"amount"}),
        ({"amount": "NaN"}, {"amount"}),
        ({"amount": "0.001"}, {"amount"}),
        ({"currency": ""}, {"currency"}),
        ({"at": "noon"}, {"at"}),
        ({"at": "9999-12-31T23:59"}, {"at"}),
        ({"at": "0001-01-01T00:00", "zone": "Asia/Tokyo"}, {"at"}),
        ({"at": "2026-03-29T02:30", "zone": "Europe/Berlin"}, {"at"}),
        ({"zone": "Europe/Atlantis"}, {"zone"}),
        ({"exception": "boredom"}, {"exception"}),
        ({"severity": "9", "impact": "9"}, {"severity", "impact"}),
        ({"agent": "nobody"}, {"agent"}),
        ({"on_behalf_of": "nobody"}, {"on_behalf_of"}),
        ({"version": "99"}, {"version"}),
        ({"version": "99999999999"}, {"version"}),
    ],
)
def test_what_is_to_be_mended_is_said_at_its_field_and_the_rest_stays(client, changes, fields):
    response = ask(client, **changes)

    assert response.status_code in (404, 422)
    assert at_fault(response) == fields
    if "amount" not in changes:
        assert 'value="12,000.00"' in response.content.decode()


def test_what_no_row_covers_would_go_to_nobody(client):
    response = ask(client, amount="5000000")

    assert response.status_code == 422
    assert "Nobody would get it No matrix row covers" in plain(response)


def test_a_row_that_leads_to_nobody_is_said_to_stall(whole, client):
    MatrixRow.objects.update(approver_role=None, approver_person=whole.ceo)
    whole.row.delegates.all().delete()

    page = plain(ask(client))

    assert "It would stall." in page
    assert "Nobody can be asked: the next rung opens at once" in page


def test_a_draft_answers_for_itself(whole, admin, client):
    services.start_draft(actor=admin, now=MONDAY_9AM)
    MatrixRow.objects.filter(version__number=2).update(
        approver_role=None, approver_person=whole.controller
    )

    assert "Finance Manager is asked" in plain(ask(client))
    assert "Controller is asked" in plain(ask(client, version="2"))


def test_the_link_gives_the_same_answer_to_somebody_elsewhere_and_later(whole, client):
    page = ask(client, at="", zone="America/New_York").content.decode()
    link = re.search(r'href="\?([^"]+)"', page)[1].replace("&amp;", "&")

    PolicyVersion.objects.filter(number=1).update(state="superseded")
    other = client_of(PersonFactory(time_zone="Asia/Tokyo", roles=[RoleFactory(key="auditor")]))
    again = other.get(f"{reverse('governance:policy-who')}?{link}")

    instants = re.compile(r'<time datetime="([^"]+)"')
    first, second = (html.split('class="rc-climb"')[1] for html in (page, again.content.decode()))
    assert instants.findall(first) == instants.findall(second) != []


def test_an_operator_is_given_no_link_to_what_is_not_theirs(whole):
    operator = client_of(PersonFactory(roles=[RoleFactory._meta.model.objects.get(key="operator")]))

    page = ask(operator).content.decode().split("<main")[1].split("</main>")[0]

    assert "/policy/1/" not in page
    assert "policy 1, row 14" in page
