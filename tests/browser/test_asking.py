"""A question to the agent, a hurry, a sum and several at once, in a real browser."""

from __future__ import annotations

from datetime import timedelta

import pytest

from approvals.models import ActionRequest
from approvals.services.questions import answer_question
from governance import clock
from tests.approvals.asking import ask_for_payment, have_sums_taken
from tests.browser.test_pages import WIDTHS, sideways
from tests.factories import AgentCredentialFactory

pytestmark = pytest.mark.browser

BOTH = pytest.mark.parametrize("dark", [False, True])
ALL = pytest.mark.parametrize("width", WIDTHS)


@BOTH
@ALL
def test_a_question_in_a_hurry_about_a_sum(new_page, live_server, company, axe, width, dark):
    have_sums_taken(company)
    AgentCredentialFactory(agent=company.agent, scopes=["submit", "read", "urgent"])
    ask_for_payment(company, now=clock.now(), key="k0", invoice="INV-0", amount="9000.00")
    request = ask_for_payment(
        company, now=clock.now(), needed_by=(clock.now() + timedelta(hours=2)).isoformat()
    )
    page = new_page(width=width, dark=dark, person=company.finance_manager)
    page.goto(f"/requests/{request.ref}/")
    assert page.locator(".rc-needed").is_visible()
    assert "the sum of 2 requests to" in page.locator("#why").inner_text()
    page.click("summary:text-is('Ask the agent…')")
    assert (sideways(page) <= 0, axe(page)) == (True, [])

    page.fill("#question", "Is the goods receipt in?")
    page.click("button:text-is('Ask the question')")
    page.wait_for_selector("#chain >> text=Is the goods receipt in?")
    page.wait_for_selector("text=You asked ap-agent.")
    assert (sideways(page) <= 0, axe(page)) == (True, [])

    answer_question(
        ref=request.ref, question=request.questions.get().pk, agent=company.agent,
        text="Yes, since Friday.", now=clock.now(),
    )  # fmt: skip
    page.goto(f"/requests/{request.ref}/")
    assert "Yes, since Friday." in page.locator("#chain").inner_text()


@BOTH
def test_several_are_selected_by_key_and_approved_from_one_page(
    new_page, live_server, company, axe, dark
):
    for n in (1, 2, 3):
        ask_for_payment(
            company, now=clock.now(), key=f"k{n}", invoice=f"INV-{n}", amount=f"{n}000.00"
        )
    page = new_page(width=1440, dark=dark, person=company.finance_manager)
    page.goto("/inbox/")
    assert not page.locator(".rc-bulk").is_visible()
    page.keyboard.press("j")
    page.keyboard.press("x")
    page.keyboard.press("j")
    page.keyboard.press("Shift+X")
    page.wait_for_selector("text=2 selected")
    assert "together" in page.locator("[data-bulk-words]").inner_text()
    assert (sideways(page) <= 0, axe(page)) == (True, [])

    page.click(".rc-bulk [type=submit]")
    page.wait_for_selector("h1:has-text('Approve 2')")
    assert (sideways(page) <= 0, axe(page)) == (True, [])
    page.set_viewport_size({"width": 390, "height": 844})
    assert (sideways(page) <= 0, axe(page)) == (True, [])
    page.click("button:has-text('Approve 2')")
    page.wait_for_selector("text=You approved R-")

    assert ActionRequest.objects.filter(state="approved").count() == 2


def test_without_script_several_are_ticked_and_approved(new_page, live_server, company):
    ask_for_payment(company, now=clock.now())
    page = new_page(person=company.finance_manager, java_script_enabled=False)
    page.goto("/inbox/")
    page.check(".rc-pick input")

    page.click("button:has-text('Approve them…')")
    page.click("button:has-text('Approve 1')")

    assert ActionRequest.objects.get().state == "approved"
