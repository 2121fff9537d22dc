"""The pages of drills in a real browser: narrow and wide, light and dark, and one whose progress comes by itself."""

from __future__ import annotations

import pytest

from governance import clock
from rollback.driller import go_on
from rollback.models import Drill
from rollback.rehearsal.play import DIFFERS
from rollback.rehearsal.points import points_of
from rollback.services import drill as drills
from tests.browser.test_pages import WIDTHS, sideways
from tests.factories import PersonFactory, RoleFactory
from tests.rollback.rehearsing import PlayHouse, entry, in_production, real
from tests.rollback.test_drill_pages import DIFFERENCE, RECORD

pytestmark = pytest.mark.browser

LIST = "/actions/vendor_payment/drills/"
UNITS = [
    {"n": 1, "direction": way, "name": name, "key": f"drill~demo:northwind%20paper:inv-20417-ab12cd34:~0/{way}/1",
     "state": state, "attempts": 1, "reference": reference, "probed": way == "forward"}
    for way, name, state, reference in (
        ("forward", "Pay INV-20417-AB12CD34 to Northwind Paper", "reversed", "PAY-1001"),
        ("undo", "Credit memo for INV-20417-AB12CD34", "done", "CM-1001"),
    )
]  # fmt: skip
CALLS = [{"call": "send", "of": UNITS[0]["key"], "answer": "PAY-1001"}]
DOCUMENT = {"pointer": "/invoice", "value": "INV-20417-AB12CD34"}


def told(point, outcome="passed", **more):
    record = {**RECORD, "after": RECORD["before"]} if outcome == "passed" else RECORD
    return entry(
        point, outcome, units=UNITS, calls=CALLS, document=DOCUMENT, records=[record], **more
    )


@pytest.fixture
def house(live_server, settings):
    """A payment with a drill that passed and one that did not; and an operator."""
    settings.SANDBOXES = {"demo": {"url": "http://sandbox.example", "token": "t"}}
    kind = in_production()
    before, after, end = points_of(1)
    for outcome in ("passed", DIFFERS):
        more = {"differences": [DIFFERENCE]} if outcome == DIFFERS else {}
        through(
            kind,
            PlayHouse(
                before_send_1=told(before),
                after_send_1=told(after, outcome, **more),
                end_1=told(end),
            ),
        )
    return PersonFactory(username="op", name="Operator", roles=[RoleFactory(key="operator")])


def through(kind, house):
    drills.ask(action_type=kind.pk, now=clock.now(), technical=real)
    return go_on(drills.take(now=clock.now(), technical=real), house, now=clock.now, technical=real)


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_the_pages_hold_in_every_width_and_for_everybody(house, new_page, axe, width, dark):
    page = new_page(width=width, dark=dark, person=house)
    passed, failed = Drill.objects.order_by("pk")
    for url in (LIST, f"/actions/drills/{passed.pk}/", f"/actions/drills/{failed.pk}/"):
        page.goto(url)
        for details in page.locator("details").all():
            details.evaluate("each => each.open = true")
        assert axe(page) == []
        assert not sideways(page)


def test_one_that_failed_opens_at_its_failure(house, new_page):
    page = new_page(person=house)

    page.goto(LIST)
    page.get_by_role("link").filter(has=page.locator("time")).first.click()

    assert page.locator(".rc-points > li > details[open]").count() == 1
    assert page.get_by_text("not as before", exact=True).is_visible()


def test_progress_comes_by_itself(house, new_page):
    page = new_page(person=house)
    page.goto(LIST)
    page.get_by_role("button", name="Rehearse it now").click()
    page.get_by_text("0 of 3 points rehearsed").wait_for()

    taken = drills.take(now=clock.now(), technical=real)
    go_on(taken, PlayHouse(), now=clock.now, technical=real)

    page.get_by_text("It can be undone.").wait_for()
    assert page.get_by_text("and unchanged since").is_visible()
