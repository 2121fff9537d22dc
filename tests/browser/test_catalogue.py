"""The catalogue in a real browser: read by everybody, a version entered, asked for, confirmed, tried."""

from __future__ import annotations

import json

import pytest
from allauth.mfa.models import Authenticator

from governance import clock
from governance.audits import WHOLE
from governance.catalogue import CATALOGUE
from governance.models import ActionChange, ActionType
from governance.signs import beat
from tests.browser.test_pages import REFUSAL, WIDTHS, sideways
from tests.factories import ActionTypeFactory, DrillFactory, PersonFactory, RoleFactory
from tests.factors import code_now, give_factor

pytestmark = pytest.mark.browser

ENTRIES = {entry["key"]: entry for entry in CATALOGUE}


def stored(key, **over):
    given = {"amount_pointer": "", "created_at": clock.now(), **ENTRIES[key], **over}
    return ActionTypeFactory(**given)


@pytest.fixture
def admins(live_server, company):
    role = RoleFactory(key="policy_admin")
    return [
        PersonFactory(username=name, name=name.replace("_", " ").title(), roles=[role])
        for name in ("policy_admin", "second_admin")
    ]


@pytest.fixture
def catalogue(admins, settings):
    """One in production, its next version under way with a change that waits, and one that lacks something."""
    settings.TARGETS = {"demo": {"url": "http://demo.example", "token": "secret"}}
    beat(WHOLE, now=clock.now())  # nothing is promoted while nobody audits
    stored("sales_order")
    tested = stored(
        "sales_order", version=2, state=ActionType.State.TESTED, name="Sales order, anew"
    )
    stored("customer_update", connector="fax", state=ActionType.State.DRAFT)
    drilled = stored("purchase_order")
    DrillFactory(
        action_type=drilled, passed=True, outcome="passed", started_at=clock.now(),
        ended_at=clock.now(), evidence_hash="a" * 64, signature="s",
    )  # fmt: skip
    return ActionChange.objects.create(
        action_type=tested, becomes="production", reason="The drills have passed.",
        asked_by=admins[0], asked_at=clock.now(), due_at=clock.now() + clock.technical(3600),
    )  # fmt: skip


@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize("width", WIDTHS)
def test_every_page_is_for_everybody_at_every_width(new_page, catalogue, admins, axe, width, dark):
    give_factor(admins[1])
    page = new_page(width=width, dark=dark, person=admins[1])
    for path in (
        "", "sales_order/", "sales_order/2/", "sales_order/2/changes/", "sales_order/1/try/",
        "customer_update/", "customer_update/1/try/", "purchase_order/", "enter/",
        "enter/?from=sales_order/1", f"changes/{catalogue.pk}/confirm/",
    ):  # fmt: skip
        page.goto(f"/actions/{path}")
        for closed in page.locator("main details:not([open]) > summary").all():
            if closed.is_visible():
                closed.click()
        assert (path, sideways(page) <= 0, axe(page)) == (path, True, [])


def test_a_version_goes_from_a_copy_into_production_by_two_people(new_page, catalogue, admins):
    ActionChange.objects.all().delete()
    ActionType.objects.filter(version=2).delete()
    give_factor(admins[1])
    one, two = new_page(person=admins[0]), new_page(person=admins[1])
    one.goto("/actions/sales_order/")
    one.get_by_role("link", name="Next version from it").click()
    document = json.loads(one.get_by_label("Definition").input_value())
    one.get_by_label("Definition").fill(json.dumps(document | {"sla_seconds": 60}))
    one.get_by_role("button", name="Enter it as a draft").click()
    one.get_by_text("Version 2 is entered.").wait_for()
    for button, words in (
        ("Mark it as tested…", "mark version 2 as tested"),
        ("Put it into production…", "put version 2 into production"),
    ):
        one.goto("/actions/sales_order/2/")
        one.get_by_text(button).click()
        one.get_by_label("Why").fill("The new time fits.")
        one.get_by_role("button", name="Ask for it").click()
        one.get_by_text("Asked for. It holds once").wait_for()
        two.goto("/actions/sales_order/2/")
        two.get_by_role("link", name="Confirm it…").click()
        two.get_by_text("asks for it").wait_for()
        give_again(admins[1])
        two.get_by_label("Six-digit code").fill(code_now())
        two.get_by_role("button", name="Confirm it").click()
        two.get_by_text(f"Confirmed: {words}.").wait_for()

    states = dict(ActionType.objects.filter(key="sales_order").values_list("version", "state"))
    assert states == {1: "retired", 2: "production"}


def give_again(person):
    """A code is good once. The next one comes in half a minute; a new app has one now."""
    Authenticator.objects.filter(user=person).delete()
    give_factor(person)


def test_mistakes_come_first_are_read_at_once_and_keep_what_was_typed(
    new_page, catalogue, admins, complaints
):
    complaints.expect(REFUSAL)
    page = new_page(person=admins[0], width=390)
    page.goto("/actions/enter/")
    page.get_by_label("Definition").fill('{"key": "Bad"}')

    page.get_by_role("button", name="Enter it as a draft").click()

    page.get_by_text("Small letters, digits").wait_for()
    assert page.evaluate("document.activeElement.classList.contains('rc-refusal')")
    assert page.get_by_label("Definition").input_value() == '{"key": "Bad"}'


def test_a_payload_is_tried_mended_and_its_reversal_opened(new_page, catalogue, admins, complaints):
    complaints.expect(REFUSAL)
    page = new_page(person=admins[0])
    page.goto("/actions/sales_order/1/try/")
    typed = page.get_by_label("Payload, as an agent sends it")
    payload = json.loads(typed.input_value())

    typed.fill(json.dumps(payload | {"order": "SO 1"}))
    page.get_by_role("button", name="Show the calls").click()
    page.get_by_text("Its number in the system of record: of the form").wait_for()
    typed.fill(json.dumps(payload | {"order": "SO-9"}))
    page.get_by_role("button", name="Show the calls").click()
    page.get_by_text("Then, 5").wait_for()
    page.get_by_text("Cancel line 4").click()

    assert page.get_by_text("http://demo.example/sales-orders/SO-9/lines/4/cancel").is_visible()
    assert "secret" not in page.content()


def test_without_script_it_is_asked_for_and_refused(new_page, catalogue, admins):
    page = new_page(person=admins[1], java_script_enabled=False)
    page.goto("/actions/sales_order/2/")
    page.get_by_text("Refuse…").click()
    page.get_by_label("Why not").fill("Not before the quarter ends.")

    page.get_by_role("button", name="Refuse the change").click()

    assert "Not before the quarter ends." in page.content()
    assert ActionChange.objects.get().state == "refused"
