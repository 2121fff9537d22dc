from __future__ import annotations

from datetime import timedelta

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from approvals.models import ActionRequest
from approvals.services.alerts import sound
from approvals.views import open as page_of
from tests.approvals.asking import answer, ask_for_payment
from tests.factories import FindingFactory, PersonFactory, RoleFactory

OPEN = "/requests/"


def text(response):
    return response.content.decode().replace("\xa0", " ")


@pytest.fixture
def operator(company):
    person = PersonFactory(username="operator", name="Operator")
    person.roles.add(RoleFactory(key="operator", name="Operator"))
    return person


def see(client, person, path=OPEN):
    client.force_login(person)
    return text(client.get(path))


@pytest.mark.parametrize("duty", ["operator", "auditor", "compliance", "policy_admin"])
def test_those_who_oversee_see_it(client, company, duty):
    person = PersonFactory()
    person.roles.add(RoleFactory(key=duty))
    client.force_login(person)

    assert client.get(OPEN).status_code == 200


def test_others_are_told_whose_it_is(client, company):
    client.force_login(company.finance_manager)

    response = client.get(OPEN)

    assert response.status_code == 403
    assert "Operators, auditors, compliance and policy admins" in text(response)


@pytest.mark.parametrize(
    ("over", "duty", "may"),
    [
        ({}, "", False),
        ({"is_staff": True}, "", False),
        ({"is_staff": True}, "treasurer", False),
        ({"is_staff": True}, "auditor", True),
        ({}, "operator", True),
        ({"is_superuser": True}, "", True),
    ],
)
def test_exactly_those_who_may_open_it_are_offered_it(client, company, over, duty, may):
    person = PersonFactory(**over)
    if duty:
        person.roles.add(RoleFactory(key=duty))

    offered = f'href="{OPEN}"' in see(client, person, "/inbox/")

    assert offered is may
    assert (client.get(OPEN).status_code == 200) is may


def test_each_row_says_who_when_and_why_then(client, company, operator, timeline):
    ask_for_payment(company)
    timeline.advance(minutes=46)

    page = see(client, operator)

    assert "The Senior Accountant" in page
    assert "L2 of the timeout path: 2 h from 09:35, policy 1" in page
    assert "1 h 49 min" in page
    assert "None is overdue." in page


def test_an_approved_one_says_when_it_must_begin(client, company, operator, timeline):
    request = ask_for_payment(company)
    answer(request, company.finance_manager, now=timeline.now)

    page = see(client, operator)

    assert "Approved at 09:00: must begin within 30 min" in page
    assert "Whoever carries it out" in page


def test_the_next_to_move_comes_first(client, company, operator, timeline):
    later = ask_for_payment(company)
    timeline.advance(minutes=36)
    sooner = ask_for_payment(company, key="2", invoice="INV-2", now=timeline.now)

    page = see(client, operator)

    assert page.index(sooner.ref) < page.index(later.ref)


def test_what_is_overdue_is_red_and_counted(client, company, operator, timeline):
    request = ask_for_payment(company)
    timeline._wall.move_to(request.due_at + timedelta(minutes=7))

    page = see(client, operator)

    assert "1 overdue." in page
    assert "Overdue 7 min" in page


def test_a_parked_one_says_until_when_and_why(client, company, operator, timeline):
    request = ask_for_payment(company)
    ActionRequest.objects.filter(pk=request.pk).update(
        parked_until=timeline.now + timedelta(minutes=5)
    )
    sound(
        by="clock",
        kind="sweep.failed",
        key="k",
        text="climb failed: ValueError",
        now=timeline.now,
        request=request,
    )

    page = see(client, operator)

    assert "Parked until 09:05." in page
    assert "climb failed: ValueError" in page


def test_alerts_come_first_and_an_operator_looks_after_one(client, company, operator, timeline):
    request = ask_for_payment(company)
    alert = sound(
        by="clock",
        kind="audit.clock_overdue",
        key="k",
        text=f"{request.ref} expired: nobody decided.",
        now=timeline.now,
        request=request,
    )
    before = see(client, operator)

    response = client.post(reverse("approvals:alert-acknowledge", args=[alert.pk]), follow=True)

    assert before.count(f"{request.ref} expired") == 0  # the link says the reference
    assert "I look after this" in before
    assert "Operator looks after it since 09:00" in text(response)


def test_auditors_see_alerts_and_cannot_take_them(client, company, timeline):
    auditor = PersonFactory()
    auditor.roles.add(RoleFactory(key="auditor"))
    alert = sound(by="clock", kind="k", key="k", text="Something is wrong.", now=timeline.now)

    page = see(client, auditor)

    assert "Something is wrong." in page
    assert "I look after this" not in page
    assert client.post(reverse("approvals:alert-acknowledge", args=[alert.pk])).status_code == 403


def test_silent_failures_are_counted(client, company, operator):
    FindingFactory()

    assert "1 silent failure" in see(client, operator)


def test_filters_stand_in_the_address(client, company, operator, timeline):
    waiting = ask_for_payment(company)
    approved = ask_for_payment(company, key="2", invoice="INV-2")
    answer(approved, company.finance_manager, now=timeline.now)

    by_state = see(client, operator, f"{OPEN}?state=approved")
    by_path = see(client, operator, f"{OPEN}?path=approval")
    nonsense = see(client, operator, f"{OPEN}?state=completed&path=x&after=y")

    assert (approved.ref in by_state, waiting.ref in by_state) == (True, False)
    assert (approved.ref in by_path, waiting.ref in by_path) == (False, True)
    assert approved.ref in nonsense
    assert waiting.ref in nonsense


def test_more_than_a_page_goes_on_at_a_cursor(client, company, operator, timeline, monkeypatch):
    monkeypatch.setattr(page_of, "PAGE", 2)
    refs = [ask_for_payment(company, key=f"k{n}", invoice=f"I-{n}").ref for n in range(3)]

    first = see(client, operator)
    second = see(client, operator, f"{OPEN}?after=" + first.split('href="?after=')[1].split('"')[0])

    assert [ref for ref in refs if ref in first] == refs[:2]
    assert [ref for ref in refs if ref in second] == refs[2:]


def test_the_number_of_queries_does_not_grow_with_the_rows(client, company, operator, timeline):
    client.force_login(operator)

    def queries():
        with CaptureQueriesContext(connection) as caught:
            assert client.get(OPEN).status_code == 200
        return len(caught)

    ask_for_payment(company)
    queries()
    one = queries()
    for n in range(8):
        ask_for_payment(company, key=f"k{n}", invoice=f"I-{n}")

    assert queries() == one


def test_nothing_open_is_said_to_be_well(client, company, operator):
    assert "Nothing is open" in see(client, operator)
