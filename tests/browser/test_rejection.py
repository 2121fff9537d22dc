"""A no, in a real browser: its severity is chosen, somebody else is asked and reads it first."""

from __future__ import annotations

import pytest

from approvals.models import Case, Decision
from governance import clock
from tests.approvals.asking import ask_for_payment, name_the_head
from tests.browser.test_pages import WIDTHS, sideways

pytestmark = pytest.mark.browser


@pytest.fixture
def request_(live_server, company):
    name_the_head(company)
    return ask_for_payment(company, now=clock.now())


@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize("width", WIDTHS)
def test_a_no_goes_to_the_next_person_who_reads_it_first(
    new_page, company, request_, axe, width, dark
):
    page = new_page(width=width, dark=dark, person=company.finance_manager)
    page.goto(f"/requests/{request_.ref}/?verdict=reject")
    page.check("[name=severity][value=medium]")
    page.fill("#note", "Not a preferred vendor.")
    assert page.locator("text=The Senior Accountant is asked next").first.is_visible()
    assert (sideways(page) <= 0, axe(page)) == (True, [])

    page.click("button:text-is('Reject the payment'):visible")
    page.wait_for_selector("text=You rejected this")

    assert page.locator("text=It waits for the Senior Accountant until").first.is_visible()
    case = Case.objects.get()
    assert (case.exception, case.severity, case.state) == ("rejection", "medium", "open")
    assert (sideways(page) <= 0, axe(page)) == (True, [])

    other = new_page(width=width, dark=dark, person=company.senior_accountant)
    other.goto("/inbox/")
    other.wait_for_selector("text=Finance Manager said no")
    assert (sideways(other) <= 0, axe(other)) == (True, [])
    other.goto(f"/requests/{request_.ref}/")
    lead = other.locator("#lead").inner_text()
    assert "said no at" in lead
    assert "“Not a preferred vendor.”" in lead
    assert (sideways(other) <= 0, axe(other)) == (True, [])


@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize("width", WIDTHS)
def test_a_no_that_should_stop_it_asks_once_more(new_page, company, request_, axe, width, dark):
    page = new_page(width=width, dark=dark, person=company.finance_manager)
    page.goto(f"/requests/{request_.ref}/?verdict=reject")
    page.check("[name=severity][value=high]")
    page.fill("#note", "This vendor is a fraud.")

    page.keyboard.press("Control+Enter")
    page.wait_for_selector("text=Reject the payment of $12,000.00 at high severity?")
    assert not Decision.objects.exists()
    assert (sideways(page) <= 0, axe(page)) == (True, [])
    page.keyboard.press("Control+Enter")
    page.wait_for_selector("text=You rejected this")

    assert Decision.objects.get().severity == "high"
