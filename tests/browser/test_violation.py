"""A violation, in a real browser: what is broken is seen, a waiver signed, and a rule tried on the bench."""

from __future__ import annotations

import pytest

from approvals.models import ActionRequest
from governance import clock
from tests.approvals.asking import add_check, ask_for_payment, name_compliance
from tests.browser.test_pages import WIDTHS, sideways

pytestmark = pytest.mark.browser


@pytest.fixture
def compliance(live_server, company):
    found = name_compliance(company)
    add_check(
        company,
        "total([payload.amount.minor]) < 1000 && payload.terms == 'Net 30'",
        key="small-sums",
        name="Sums stay small",
        on_break="The amount is more than this vendor is trusted with.",
    )
    return found


@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize("width", WIDTHS)
def test_compliance_sees_what_is_broken_and_two_let_it_pass(
    new_page, company, compliance, axe, width, dark
):
    request = ask_for_payment(company, now=clock.now())
    page = new_page(width=width, dark=dark, person=compliance[0])
    page.goto(f"/requests/{request.ref}/")
    assert page.locator("text=Sums stay small, revision 1").first.is_visible()
    assert page.locator(".rc-checks >> text=$12,000.00").first.is_visible()
    assert (sideways(page) <= 0, axe(page)) == (True, [])

    page.check("text=Sign the waiver")
    page.fill("#note", "The vendor was looked at again.")
    page.click("button:text-is('Sign the waiver')")
    page.wait_for_selector("text=You signed the waiver")
    assert (sideways(page) <= 0, axe(page)) == (True, [])

    second = new_page(width=width, dark=dark, person=compliance[1])
    second.goto(f"/requests/{request.ref}/")
    assert second.locator("text=1 of 2 signatures").is_visible()
    second.check("text=Sign second, and let it pass")
    second.fill("#note", "Seen.")
    second.click("button:text-is('Sign second, and let it pass')")
    second.wait_for_selector("text=Stored with the digest")
    assert ActionRequest.objects.get(pk=request.pk).state == "pending"


@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize("width", WIDTHS)
def test_a_rule_is_tried_on_the_bench(new_page, company, compliance, axe, width, dark):
    request = ask_for_payment(company, now=clock.now())
    page = new_page(width=width, dark=dark, person=compliance[0])
    page.goto("/policy/bench/")
    assert (sideways(page) <= 0, axe(page)) == (True, [])

    page.fill("#ref", request.ref)
    page.fill("#expression", "payload.amount.minor > 100")
    page.click("button:text-is('Try it')")
    page.wait_for_selector("text=It holds.")

    assert page.locator("text=$12,000.00").first.is_visible()
    assert (sideways(page) <= 0, axe(page)) == (True, [])
