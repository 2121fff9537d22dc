"""What failed unseen, in a browser: legible on every width, and sent again with one click."""

from __future__ import annotations

import pytest

from approvals.models import Notice
from tests.browser.test_pages import WIDTHS, sideways
from tests.factories import (
    MONDAY_9AM,
    FailureFactory,
    FindingFactory,
    NoticeFactory,
    PersonFactory,
    RequestFactory,
    RoleFactory,
    StrayFactory,
)

pytestmark = pytest.mark.browser

LONG = "https://receiver.example/" + "a" * 180


@pytest.fixture
def operator(live_server, company):
    FindingFactory(audit="clock_overdue", request=RequestFactory(), text=f"It was due. {LONG}")
    FindingFactory(audit="no_policy", key="failed", text="The audit no_policy itself failed.")
    FindingFactory(audit="clock.late", cleared_at=MONDAY_9AM)
    NoticeFactory(state="failed", attempts=8, next_attempt_at=None, last_error=f"550 {LONG}")
    FailureFactory()
    return PersonFactory(name="Operator", roles=[RoleFactory(key="operator", name="Operator")])


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_the_page_holds_in_every_width_and_for_everybody(operator, new_page, axe, width, dark):
    page = new_page(width=width, dark=dark, person=operator)

    page.goto("/findings/")

    assert page.get_by_role("link", name="See what failed").is_visible()
    assert axe(page) == []
    assert not sideways(page)


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_effects_of_no_unit_hold_in_every_width_too(operator, new_page, axe, width, dark):
    StrayFactory(key=f"demo:{'a' * 180}~0/undo/1", reference=LONG)
    StrayFactory(request=RequestFactory())
    page = new_page(width=width, dark=dark, person=operator)

    page.goto("/findings/effects/")

    assert page.get_by_role("link", name="What failed unseen", exact=True).first.is_visible()
    assert axe(page) == []
    assert not sideways(page)


def test_an_effect_is_seen_to_with_words(operator, new_page):
    stray = StrayFactory()
    page = new_page(person=operator)
    page.goto("/findings/effects/")

    page.get_by_label("What became of").first.fill("Paid twice; taken back by hand, JE-7.")
    page.get_by_role("button", name="is seen to").click()
    page.wait_for_selector("text=It is kept.")

    stray.refresh_from_db()
    assert (stray.settled_by, stray.note) == (operator, "Paid twice; taken back by hand, JE-7.")


def test_a_dead_letter_is_sent_again_with_one_click(operator, new_page):
    page = new_page(person=operator)
    page.goto("/findings/")

    page.get_by_role("button", name="Send message").click()
    page.wait_for_selector("text=It is sent again now.")

    assert Notice.objects.get().state == Notice.State.WAITING
