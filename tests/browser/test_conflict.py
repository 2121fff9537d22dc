"""A conflict, in a real browser: side by side, ruled on, and gone on with."""

from __future__ import annotations

import pytest

from approvals.models import ActionRequest, Case
from governance import clock
from tests.approvals.asking import ask_for_payment, name_the_owner
from tests.browser.test_pages import REFUSAL, WIDTHS, sideways

pytestmark = pytest.mark.browser


@pytest.fixture
def owner(live_server, company):
    return name_the_owner(company)


def ask(company, number, **over):
    return ask_for_payment(
        company, now=clock.now(), key=f"part-{number}", instalment=number, **over
    )


@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize("width", WIDTHS)
def test_the_owner_sees_them_side_by_side_and_rules(new_page, company, owner, axe, width, dark):
    first, second = ask(company, 1), ask(company, 2, amount="9000.00")
    page = new_page(width=width, dark=dark, person=owner)
    page.goto("/inbox/")
    page.click(f"a[href*='{second.ref}']")
    page.goto(f"/requests/{second.ref}/")
    table = page.locator("table.rc-versus")
    assert table.locator("tr.is-clash th").all_inner_texts() != []
    assert table.locator("text=$9,000.00").first.is_visible()
    assert (sideways(page) <= 0, axe(page)) == (True, [])

    page.check("text=A goes on, then B")
    page.fill("#note", "The first part is due earlier.")
    page.click("button:text-is('Let A go on, then B')")
    page.wait_for_selector("text=Stored with the digest")

    assert [ActionRequest.objects.get(pk=each.pk).state for each in (first, second)] == [
        "pending",
        "held",
    ]
    assert Case.objects.get(exception="conflict").outcome == "ruled"
    assert (sideways(page) <= 0, axe(page)) == (True, [])
    page.goto(f"/requests/{second.ref}/")
    assert "before it has ended" in page.locator("#lead").inner_text()
    assert (sideways(page) <= 0, axe(page)) == (True, [])


@pytest.mark.parametrize("width", WIDTHS)
def test_three_are_each_given_a_place(new_page, company, owner, complaints, axe, width):
    complaints.expect(REFUSAL)
    parts = [ask(company, number) for number in (1, 2, 3)]
    page = new_page(width=width, person=owner)
    page.goto(f"/requests/{parts[1].ref}/")
    assert (sideways(page) <= 0, axe(page)) == (True, [])

    page.select_option("#place-A", "2")
    page.select_option("#place-B", "2")
    page.select_option("#place-C", "refuse")
    page.fill("#note", "The third is a mistake.")
    page.click("button:text-is('Rule on the conflict')")
    page.wait_for_selector("text=a place of its own")
    assert page.locator("#place-C").input_value() == "refuse"
    assert axe(page) == []

    page.select_option("#place-A", "2")
    page.select_option("#place-B", "1")
    page.select_option("#place-C", "refuse")
    page.click("button:text-is('Rule on the conflict')")
    page.wait_for_selector("text=Stored with the digest")

    assert [ActionRequest.objects.get(pk=each.pk).state for each in parts] == [
        "held",
        "pending",
        "rejected",
    ]


def test_who_was_asked_first_reads_why_it_stands_still(new_page, company, owner, axe):
    first, _ = ask(company, 1), ask(company, 2)
    page = new_page(person=company.finance_manager)
    page.goto(f"/requests/{first.ref}/")

    assert "wants the same record" in page.locator("#lead").inner_text()
    assert page.locator("text=It is held.").first.is_visible()
    assert axe(page) == []
