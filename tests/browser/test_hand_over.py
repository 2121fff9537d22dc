"""Handing over, in a real browser."""

from __future__ import annotations

import pytest

from governance import clock
from tests.approvals.asking import ask_for_payment
from tests.browser.test_pages import WIDTHS, sideways

pytestmark = pytest.mark.browser


@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize("width", WIDTHS)
def test_it_is_handed_over_and_told(new_page, live_server, company, axe, width, dark):
    request = ask_for_payment(company, now=clock.now())
    page = new_page(width=width, dark=dark, person=company.finance_manager)
    page.goto(f"/requests/{request.ref}/")
    page.click("summary:text-is('Hand over…')")
    assert (sideways(page) <= 0, axe(page)) == (True, [])

    page.select_option("#hand-over-to", "controller")
    page.fill("#hand-over-note", "I know the vendor's owner.")
    page.click("button:text-is('Hand it over')")
    page.wait_for_selector("text=You handed this over.")
    assert (sideways(page) <= 0, axe(page)) == (True, [])

    other = new_page(width=width, dark=dark, person=company.controller)
    other.goto(f"/requests/{request.ref}/")
    assert "handed this over: “I know the vendor's owner”" in other.locator("#why").inner_text()
    assert other.locator("text=Hand over…").count() == 0
    assert (sideways(other) <= 0, axe(other)) == (True, [])
