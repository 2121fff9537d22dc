"""Who would get it, a simulation and what stands, in a real browser: for everybody, at every width."""

from __future__ import annotations

from datetime import timedelta

import pytest

from governance import clock, policy_watch
from governance.models import MatrixRow, Person
from governance.services import policy as services
from tests.approvals.asking import ask_for_payment
from tests.browser.test_pages import REFUSAL, WIDTHS, sideways
from tests.factories import (
    AbsenceFactory,
    MatrixRowFactory,
    PersonFactory,
    RoleFactory,
    with_every_office,
)

pytestmark = pytest.mark.browser
QUESTION = (
    "action=vendor_payment&department=accounts-payable&amount=12000&currency=USD&zone=UTC&at="
)


@pytest.fixture
def admin(live_server, company):
    with_every_office(company)
    now = clock.now()
    for n, amount in enumerate(("100.00", "12000.00", "13000.00", "90000.00")):
        ask_for_payment(
            company, invoice=f"INV-{n}", key=f"key-{n}", amount=amount,
            now=now - timedelta(days=20 - 2 * n),
        )  # fmt: skip
    AbsenceFactory(person=company.senior_accountant, starts_at=now - timedelta(hours=1))
    for person in Person.objects.filter(limit_amount__isnull=False):
        AbsenceFactory(person=person, starts_at=now + timedelta(days=30))
    admin = PersonFactory(
        username="policy_admin",
        name="Policy Administrator",
        roles=[RoleFactory(key="policy_admin")],
    )
    draft = services.start_draft(actor=admin, now=now)
    MatrixRow.objects.filter(version=draft).update(amount_to=50_000)
    MatrixRowFactory(
        version=draft, number=15, department=company.accounts_payable, amount_from=50_000,
        approver_role=None, approver_person=company.ceo, action="vendor_payment", amount_to=80_000,
    )  # fmt: skip
    MatrixRow.objects.filter(version=draft, number=14).update(
        approver_role=None, approver_person=company.controller
    )
    policy_watch.watch(now=now)
    return admin


@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize("width", WIDTHS)
def test_every_page_is_for_everybody_at_every_width(new_page, admin, axe, complaints, width, dark):
    complaints.expect(REFUSAL)
    page = new_page(width=width, dark=dark, person=admin)
    for path in (
        "", "who/", f"who/?{QUESTION}", f"who/?{QUESTION}&exception=policy_violation&version=2",
        "who/?action=vendor_payment&at=noon&currency=&amount=x",
        "2/simulate/", "2/simulate/?show=load", "2/simulate/?show=load&person=controller",
        "2/simulate/?show=holes", "2/simulate/?show=passed", "2/",
    ):  # fmt: skip
        page.goto(f"/policy/{path}")
        assert (path, sideways(page) <= 0, axe(page)) == (path, True, [])


@pytest.mark.parametrize("scripted", [True, False])
def test_a_question_is_typed_mended_and_answered_with_an_address_to_keep(
    new_page, admin, complaints, scripted
):
    complaints.expect(REFUSAL)
    page = new_page(person=admin, java_script_enabled=scripted)
    page.goto("/policy/")
    page.click("text=Who would get this?")
    page.select_option("#action", "vendor_payment")
    page.select_option("#department", "accounts-payable")
    page.click("text=Show who would get it")
    page.wait_for_selector("#amount-error >> text=come with an amount")

    page.fill("#amount", "12,000.00")
    page.click("text=Show who would get it")
    page.wait_for_selector(".rc-climb >> text=Finance Manager is asked")
    assert page.locator(".rc-climb >> text=Senior Accountant").count() == 1

    page.select_option("#version", "2")
    page.click("text=Show who would get it")
    page.wait_for_selector(".rc-climb >> text=Controller is asked")
    assert "version=2" in page.url
    assert "amount=12%2C000.00" in page.url
