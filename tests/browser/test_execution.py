"""How a request is carried out and undone, in a real browser: as it happens, in place, and for everybody."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal

import pytest
from django.contrib.sessions.models import Session

from approvals.models import ActionRequest, Order
from governance import clock
from rollback.models import Direction, Recovery, Unit
from tests.approvals.test_orders import done, of_duty
from tests.browser.test_pages import REFUSAL, WIDTHS, sideways
from tests.factories import (
    RUN_TOKEN,
    OrderFactory,
    RecoveryFactory,
    RunFactory,
    SnapshotFactory,
    UnitFactory,
)

pytestmark = pytest.mark.browser

S = ActionRequest.State
U = Unit.State
SECOND = timedelta(seconds=1)


@pytest.fixture
def operator(live_server, company):
    return of_duty("operator", username="operator", name="Operator")


@pytest.fixture
def second(operator):
    return of_duty("operator", username="second", name="Second Operator")


def carried_out(company, state, units, **over):
    """Return a request in this state, with a unit for each of these, reversals and a snapshot."""
    now = clock.now()
    ended = {} if state not in (S.EXECUTING, S.TROUBLED, S.ROLLING_BACK) else {
        "due_at": now + timedelta(minutes=20)
    }  # fmt: skip
    request = done(company, state, submitted_at=now - timedelta(minutes=12), **ended, **over)
    for n, each in enumerate(units, start=1):
        there = each in (U.DONE, U.REVERSED)
        unit = UnitFactory(
            request=request, position=n, state=each, name=f"Line {n}: crates", currency="USD",
            amount=Decimal("4000.00"), sent_at=now - 90 * SECOND,
            receipt={"reference": f"SOL-{n}"} if there else None,
            tries=[{"at": (now - 60 * SECOND).isoformat(), "said": "503 Service unavailable"}]
            if each in (U.NOT_DONE, U.UNKNOWN) else [],
        )  # fmt: skip
        UnitFactory(
            request=request, position=n, direction=Direction.UNDO, reverses=unit,
            name=f"Cancel line {n}", state=U.DONE if each == U.REVERSED else U.PLANNED,
        )  # fmt: skip
    RunFactory(request=request, state="failed", error="503 Service unavailable")
    SnapshotFactory(
        request=request,
        before={"total": "0.00", "address": "12 Harbour Street " * 4},
        after={"total": "8000.00", "address": "400 Lakeside Avenue " * 4},
        left_at=now,
    )
    return request


def rolling_back(company, operator):
    request = carried_out(company, S.ROLLING_BACK, [U.DONE, U.REVERSED, U.NOT_DONE])
    OrderFactory(request=request, ordered_by=operator)
    RecoveryFactory(
        request=request,
        state=Recovery.State.RUNNING,
        drift=[{"record": "vendor-ledger:V-2207", "field": "total", "now": "9000.00"}],
    )
    return request


@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize("width", WIDTHS)
def test_every_state_is_for_everybody(new_page, company, operator, axe, width, dark):
    now = clock.now()
    requests = [
        carried_out(
            company, S.EXECUTING, [U.DONE, U.SENT, U.PLANNED], lease_until=now + 30 * SECOND,
            run_token=RUN_TOKEN, run_deadline=now + 600 * SECOND,
        ),
        carried_out(
            company, S.TROUBLED, [U.DONE, U.NOT_DONE, U.UNKNOWN], next_attempt_at=now + 60 * SECOND
        ),
        carried_out(company, S.COMPLETED, [U.DONE]),
        rolling_back(company, operator),
        carried_out(company, S.STRANDED, [U.DONE, U.REVERSED]),
    ]  # fmt: skip
    page = new_page(width=width, dark=dark, person=operator)

    for request in requests:
        page.goto(f"/requests/{request.ref}/")
        page.wait_for_selector("#execution-live")
        for closed in page.locator("#execution details > summary").all():
            closed.click()

        assert sideways(page) <= 0, request
        assert axe(page) == [], request


def test_it_changes_as_it_happens_and_the_page_around_it_too(new_page, company, operator):
    request = carried_out(company, S.EXECUTING, [U.DONE, U.SENT], lease_until=None)
    page = new_page(person=operator)
    page.goto(f"/requests/{request.ref}/")
    page.wait_for_selector("text=1 of 2 units is in the target")
    page.click("text=1 attempt")

    now = clock.now()
    Unit.objects.filter(request=request, state=U.SENT).update(
        state=U.DONE, done_at=now, receipt={"reference": "SOL-2"}
    )
    ActionRequest.objects.filter(pk=request.pk).update(
        state=S.COMPLETED, ended_at=now, due_at=None, chain_length=1
    )
    page.wait_for_selector("text=All 2 units are in the target")

    assert page.locator("#execution-runs").get_attribute("open") is not None
    page.wait_for_selector("#tags >> text=Completed")


@pytest.mark.parametrize("width", WIDTHS)
def test_one_orders_and_another_confirms_in_place(new_page, company, operator, second, width):
    request = carried_out(company, S.COMPLETED, [U.DONE])
    first = new_page(width=width, person=operator)
    first.goto(f"/requests/{request.ref}/")
    first.click("text=Roll back the payment of $12,000.00…")
    first.fill("#rollback-reason", "Paid twice.")
    first.click("button:text-is('Roll back the payment of $12,000.00')")
    first.wait_for_selector("text=It waits for a second person until")
    assert first.locator("text=You ordered it, so somebody else must confirm it.").is_visible()

    other = new_page(width=width, person=second)
    other.goto(f"/requests/{request.ref}/")
    other.click("text=Confirm the rollback of the payment of $12,000.00…")
    other.click("button:text-is('Confirm the rollback of the payment of $12,000.00')")
    other.wait_for_selector("text=Confirmed. It begins")

    order = Order.objects.get()
    assert (order.ordered_by, order.confirmed_by) == (operator, second)
    first.wait_for_selector("text=The Second Operator confirmed it")


def test_what_is_typed_stays_while_the_rest_changes(new_page, company, operator, second):
    request = carried_out(company, S.TROUBLED, [U.DONE, U.NOT_DONE])
    page = new_page(person=operator)
    page.goto(f"/requests/{request.ref}/")
    page.click("text=Roll back 1 unit worth $4,000.00…")
    page.fill("#rollback-reason", "Not wanted")

    Unit.objects.filter(request=request, state=U.NOT_DONE).update(state=U.UNKNOWN)
    page.wait_for_selector("text=Outcome unknown")

    assert page.input_value("#rollback-reason") == "Not wanted"
    page.click("text=Leave it as it is")
    page.locator("h1").click()
    page.wait_for_selector("text=Roll back 2 units worth $8,000.00…")


def test_a_refusal_is_said_where_it_was_tried_and_takes_the_focus(
    new_page, company, operator, complaints
):
    complaints.expect(REFUSAL)
    request = carried_out(company, S.COMPLETED, [U.DONE])
    page = new_page(person=operator)
    page.goto(f"/requests/{request.ref}/")
    page.click("text=Roll back the payment of $12,000.00…")
    page.fill("#rollback-reason", "   ")

    page.click("button:text-is('Roll back the payment of $12,000.00')")
    page.wait_for_selector("#rollback-error")

    assert page.evaluate("document.activeElement.id") == "rollback-reason"
    assert not Order.objects.exists()


def test_without_script_it_is_a_page_of_its_own(new_page, company, operator):
    request = carried_out(company, S.COMPLETED, [U.DONE])
    page = new_page(person=operator, java_script_enabled=False)

    page.goto(f"/requests/{request.ref}/")
    page.click("text=See how it is carried out")
    page.click("text=Roll back the payment of $12,000.00…")
    page.fill("#rollback-reason", "Paid twice.")
    page.click("button:text-is('Roll back the payment of $12,000.00')")

    page.wait_for_url(f"**/requests/{request.ref}/#execution")
    assert Order.objects.get().reason == "Paid twice."


def test_signed_out_meanwhile_the_page_says_so_and_holds_no_second_page(
    new_page, company, operator
):
    request = carried_out(company, S.EXECUTING, [U.DONE, U.SENT], lease_until=None)
    page = new_page(person=operator)
    page.goto(f"/requests/{request.ref}/")
    page.wait_for_selector("#execution-live")

    Session.objects.all().delete()

    page.wait_for_url("**/accounts/login/**")
    assert page.locator("h1").count() == 1


@pytest.mark.parametrize(
    ("status", "body"),
    [(500, "<h1>Server Error (500)</h1>"), (403, "<!doctype html><title>Forbidden</title>")],
    ids=["the server failed", "refused on the way"],
)
def test_an_order_whose_answer_is_none_says_so_and_keeps_what_was_typed(
    new_page, company, operator, complaints, axe, status, body
):
    complaints.expect(rf"status of {status}")
    complaints.expect(rf"Response Status Error Code {status}")
    request = carried_out(company, S.COMPLETED, [U.DONE])
    page = new_page(person=operator)
    page.goto(f"/requests/{request.ref}/")
    page.route("**/rollback/**", lambda route: route.fulfill(status=status, body=body))
    page.click("text=Roll back the payment of $12,000.00…")
    page.fill("#rollback-reason", "Paid twice.")

    page.click("button:text-is('Roll back the payment of $12,000.00')")
    page.wait_for_selector("text=Open the page again to see whether it was recorded.")

    assert page.input_value("#rollback-reason") == "Paid twice."
    assert page.locator("h1").count() == 1
    assert axe(page) == []
    page.unroute("**/rollback/**")
    page.click("button:text-is('Roll back the payment of $12,000.00')")
    page.wait_for_selector("text=It waits for a second person until")
