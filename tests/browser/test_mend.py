"""A failure answered by people, in a real browser: chosen, done by hand, and confirmed by a second person."""

from __future__ import annotations

from datetime import timedelta

import pytest

from approvals.models import ActionRequest
from governance import clock
from rollback.models import Unit
from tests.approvals.asking import answer, ask_for_payment
from tests.approvals.test_orders import of_duty
from tests.browser.test_pages import WIDTHS, sideways
from tests.factories import (
    AskFactory,
    CaseFactory,
    ContactChannelFactory,
    PersonFactory,
    StepFactory,
    UnitFactory,
)

pytestmark = pytest.mark.browser

S = ActionRequest.State


@pytest.fixture
def oncall(live_server, company):
    person = PersonFactory(username="oncall", name="On-call Engineer")
    ContactChannelFactory(person=person)
    return person


@pytest.fixture
def failing(company, oncall):
    """A payment of which one unit arrived and one did not; whoever is on call is asked."""
    now = clock.now()
    request = ask_for_payment(company, now=now)
    answer(request, company.finance_manager, now=now)
    ActionRequest.objects.filter(pk=request.pk).update(
        state=S.TROUBLED, due_at=now + timedelta(hours=2), has_effects=True, had_effects=True
    )
    step = StepFactory(
        request=request, path="system_failure", level=2, opened_at=now,
        case=CaseFactory(request=request, exception="system_failure", response="oncall"),
        window=timedelta(hours=2),
    )  # fmt: skip
    AskFactory(step=step, person=oncall)
    for n, state in enumerate((Unit.State.DONE, Unit.State.NOT_DONE), start=1):
        receipt = {"reference": f"SOL-{n}"} if state == Unit.State.DONE else None
        UnitFactory(
            request=request, position=n, state=state, name=f"Line {n}: crates", receipt=receipt
        )
    return ActionRequest.objects.get(pk=request.pk)


@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize("width", WIDTHS)
def test_from_what_should_happen_over_the_list_to_the_second_person(
    new_page, company, oncall, failing, axe, width, dark
):
    second = of_duty("operator", username="second", name="Second Operator")

    def good(page):
        return (sideways(page) <= 0, axe(page)) == (True, [])

    page = new_page(width=width, dark=dark, person=oncall)
    page.goto(f"/requests/{failing.ref}/")
    page.click("#mend summary:has-text('Roll it back')")
    assert good(page)
    page.click("#mend >> text=Leave it as it is")
    page.click("#mend >> button:has-text('Open the list')")
    page.wait_for_url("**/by-hand/")
    assert good(page)

    for n in (1, 2):
        page.check(f"[name=state-{n}][value=done]")
        page.fill(f"#reference-{n}", f"M-{n}")
    page.fill("#target_reference", "PAY-3391")
    page.click("text=Finish it by hand")
    page.wait_for_selector("text=It waits for a second person.")
    assert good(page)

    other = new_page(width=width, dark=dark, person=second)
    other.goto(f"/requests/{failing.ref}/by-hand/")
    assert good(other)
    other.click("button:text-is('Confirm what was done by hand')")
    other.wait_for_selector("text=Confirmed. It has ended.")
    assert ActionRequest.objects.get(pk=failing.pk).state == S.COMPLETED_MANUALLY
