"""A bypass and its review in a real browser, from the form over the code to the finding; and the factor's own pages."""

from __future__ import annotations

from datetime import timedelta

import pytest

from approvals import sweeps
from approvals.models import Claim, Decision, Review
from governance import clock
from governance.models import Person
from rollback.models import Unit
from tests.approvals.asking import ask_for_payment, make_critical
from tests.browser.test_execution import carried_out
from tests.browser.test_pages import PASSWORD, WIDTHS, sideways
from tests.factories import AskFactory, CaseFactory, PersonFactory, StepFactory
from tests.factors import code_now, give_factor

pytestmark = pytest.mark.browser


def good(page, axe):
    return (sideways(page) <= 0, axe(page)) == (True, [])


@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize("width", WIDTHS)
def test_from_the_last_rung_over_the_code_to_the_finding(
    new_page, live_server, company, axe, width, dark
):
    make_critical(company)
    give_factor(company.cfo)
    start = clock.now() - timedelta(minutes=400)
    request = ask_for_payment(company, now=start)
    for minutes in (5, 35, 155, 395):
        sweeps.climb_due_steps(now=start + timedelta(minutes=minutes))
    page = new_page(width=width, dark=dark, person=company.cfo)
    page.goto(f"/requests/{request.ref}/")
    assert good(page, axe)

    page.fill("#note", "The books close tonight, and nobody else answers.")
    page.click("button:has-text('Bypass and approve the payment')")
    page.wait_for_selector("text=Confirm that it is you")
    assert good(page, axe)
    page.fill("[name=code]", code_now())
    page.click("button:text-is('Confirm')")
    page.wait_for_selector("text=You approved")
    assert Decision.objects.get().is_bypass
    assert good(page, axe)

    review = Review.objects.get()
    auditor = new_page(width=width, dark=dark, person=Person.objects.get(username="auditor"))
    auditor.goto("/reviews/")
    assert good(auditor, axe)
    auditor.click("th a")
    auditor.wait_for_url(f"**/reviews/{review.pk}/")
    assert good(auditor, axe)
    auditor.click("text=Not justified")
    auditor.fill("#note", "It could have waited for the Controller.")
    auditor.click("button:text-is('Close the review')")
    auditor.wait_for_selector("text=Your finding is recorded.")
    assert good(auditor, axe)


def failed_up_to_l4(company):
    """Half done, and neither whoever is on call nor their manager brought it to an end."""
    make_critical(company)
    give_factor(company.cfo)
    now, hour = clock.now(), timedelta(hours=1)
    done, failed = Unit.State.DONE, Unit.State.NOT_DONE
    request = carried_out(company, "troubled", [done, done, failed], has_effects=True)
    case = CaseFactory(
        request=request, exception="system_failure", opened_at=now - 7 * hour,
        reason="The target did not take line 3: 503 Service unavailable.", highest_level=4,
    )  # fmt: skip
    for level, name, since in ((2, "On-call Engineer", 6.5), (3, "On-call Manager", 4.5)):
        window = hour * (2 if level == 2 else 4)
        opened = now - hour * since
        step = StepFactory(
            request=request, case=case, path="system_failure", level=level, state="expired",
            opened_at=opened, window=window, due_at=None, closed_at=opened + window,
        )  # fmt: skip
        AskFactory(step=step, person=PersonFactory(name=name), due_at=None)
    step = StepFactory(
        request=request, case=case, path="system_failure", level=4, window=hour,
        opened_at=now - hour / 2, due_at=now + hour / 2,
    )  # fmt: skip
    AskFactory(step=step, person=company.cfo)
    return request


@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize("width", WIDTHS)
def test_a_failure_is_answered_over_the_heads_of_others(
    new_page, live_server, company, axe, width, dark
):
    request = failed_up_to_l4(company)
    page = new_page(width=width, dark=dark, person=company.cfo)
    page.goto(f"/requests/{request.ref}/")
    assert good(page, axe)

    page.click("summary:has-text('Bypass and take it in hand')")
    assert good(page, axe)
    page.fill("#note-by_hand", "The books close tonight, and the target takes it by hand.")
    page.click("button:has-text('Bypass and take it in hand')")
    page.wait_for_selector("text=Confirm that it is you")
    assert not Claim.objects.exists()
    assert good(page, axe)
    page.fill("[name=code]", code_now())
    page.click("button:text-is('Confirm')")
    page.wait_for_url("**/by-hand/")

    assert Decision.objects.get(verdict="by_hand").review == Review.objects.get()
    assert good(page, axe)
    reviewer = new_page(width=width, dark=dark, person=Person.objects.get(username="auditor"))
    reviewer.goto(f"/reviews/{Review.objects.get().pk}/")
    assert good(reviewer, axe)


@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize("width", WIDTHS)
def test_a_second_factor_is_set_up_and_removed(new_page, live_server, company, axe, width, dark):
    company.cfo.set_password(PASSWORD)
    company.cfo.save()
    page = new_page(width=width, dark=dark, person=company.cfo)

    page.goto("/accounts/2fa/")
    assert good(page, axe)
    page.click("text=Set up a second factor")
    page.fill("[name=password]", PASSWORD)
    page.click("button:text-is('Confirm')")
    page.wait_for_selector("text=Scan this")
    assert good(page, axe)
    page.fill("[name=code]", code_now(page.locator(".rc-key").inner_text()))
    page.click("button:text-is('Set it up')")
    page.wait_for_selector("text=Keep them away from your phone")
    assert page.locator(".rc-codes li").count() == 10
    assert good(page, axe)
    page.goto("/accounts/2fa/")
    assert good(page, axe)
    page.goto("/accounts/2fa/totp/deactivate/")
    assert good(page, axe)
    page.click("button:text-is('Remove the second factor')")
    page.wait_for_selector("text=Your second factor is removed.")
