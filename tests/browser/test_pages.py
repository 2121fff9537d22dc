"""The pages in a real browser: from the log-in to a decision, by hand and by keys, and for everybody."""

from __future__ import annotations

from datetime import timedelta

import pytest

from approvals import sweeps
from approvals.models import ActionRequest, Ask, Decision
from approvals.services.alerts import sound
from governance import clock
from tests.approvals.asking import answer, ask_for_payment
from tests.approvals.test_inbox import HOSTILE
from tests.factories import PersonFactory, RoleFactory

pytestmark = pytest.mark.browser

PASSWORD = "correct horse battery"
WIDTHS = (390, 1440)
REFUSAL = r"the server responded with a status of 4\d\d"


@pytest.fixture
def house(live_server, company):
    """The company, with an operator and with passwords."""
    operator = PersonFactory(username="operator", name="Operator")
    operator.roles.add(RoleFactory(key="operator", name="Operator"))
    for person in (*company.people, operator):
        person.set_password(PASSWORD)
        person.save()
    return company, operator


def asked(company, *, minutes_ago=0, seconds=0, key="key-1", **over):
    """Submit a payment some time ago, and let the clock do since then what it would have done."""
    now = clock.now()
    start = now - timedelta(minutes=minutes_ago) + timedelta(seconds=seconds)
    request = ask_for_payment(company, now=start, key=key, invoice=key, **over)
    for minutes in (5, 35, 155, 395):
        if start + timedelta(minutes=minutes) <= now:
            sweeps.climb_due_steps(now=start + timedelta(minutes=minutes))
    return request


def sideways(page):
    """Return by how many pixels the page is wider than its window."""
    return page.evaluate("document.documentElement.scrollWidth - innerWidth")


def follow(page, request):
    return page.goto(f"/requests/{request.ref}/")


@pytest.mark.parametrize("width", WIDTHS)
def test_from_the_log_in_to_an_approval(new_page, house, width):
    company, _ = house
    request = asked(company, minutes_ago=46)
    following = asked(company, minutes_ago=40, key="key-2")
    page = new_page(width=width)

    page.goto("/inbox/")
    page.fill("[name=login]", "senior_accountant")
    page.fill("[name=password]", PASSWORD)
    page.click("button[type=submit]")
    page.click(f'[data-row="{request.ref}"] .rc-row__main a')
    if width < 860:
        page.click("a[data-verdict=approve]")
    page.fill("#note", "Receipt and invoice agree.")
    page.click("text=Approve the payment of $12,000.00")
    page.wait_for_selector("text=What comes next")

    decision = Decision.objects.get()
    assert (decision.verdict, decision.note) == ("approve", "Receipt and invoice agree.")
    assert page.locator("#tags").inner_text().count("Approved, not begun") == 1
    assert (
        page.evaluate("document.activeElement.getAttribute('href')")
        == f"/requests/{following.ref}/"
    )
    assert page.locator("[data-live=count-inbox]").first.text_content() == "1"
    assert not page.locator("#decidebar").is_visible()
    assert (
        Ask.objects.get(step__request=request, person=company.senior_accountant).seen_at is not None
    )


def test_keys_choose_open_and_begin_and_never_decide(new_page, house):
    company, _ = house
    first, second = asked(company, minutes_ago=46), asked(company, minutes_ago=40, key="key-2")
    page = new_page(person=company.senior_accountant)
    page.goto("/inbox/")

    page.keyboard.press("j")
    page.wait_for_selector(f"#peek >> text={second.ref}")
    page.keyboard.press("k")
    page.wait_for_selector(f"#peek >> text={first.ref}")
    page.keyboard.press("r")
    page.wait_for_url(f"**/requests/{first.ref}/?verdict=reject#decide")

    page.wait_for_function("document.activeElement.value === 'reject'")
    assert page.locator("text=How serious is your objection?").is_visible()
    assert not Decision.objects.exists()


def test_a_no_is_sent_with_ctrl_enter(new_page, house):
    company, _ = house
    request = asked(company)
    page = new_page(person=company.finance_manager)
    follow(page, request)

    page.keyboard.press("r")
    page.click("text=Medium: I would not do this")
    page.fill("#note", "Paid twice in January.")
    page.keyboard.press("Control+Enter")
    page.wait_for_selector("text=You rejected this")

    assert Decision.objects.get().severity == "medium"


@pytest.mark.parametrize("width", WIDTHS)
def test_too_late_is_said_in_place_and_the_note_stays(new_page, house, complaints, axe, width):
    complaints.expect(REFUSAL)
    company, _ = house
    request = asked(company, minutes_ago=34)
    page = new_page(width=width, person=company.finance_manager)
    follow(page, request)
    page.fill("#note", "Fine by me.")
    due_at = ActionRequest.objects.get(pk=request.pk).due_at
    sweeps.climb_due_steps(now=due_at)

    page.click("text=Approve the payment of $12,000.00")
    page.wait_for_selector("text=Your decision was not recorded")

    assert page.locator("#typed").input_value() == "Fine by me."
    assert page.evaluate("document.activeElement.classList.contains('rc-refusal')")
    assert page.locator("form[data-decision]").count() == 0
    assert "With the Senior Accountant" in page.locator("#tags").inner_text()
    assert axe(page) == []
    assert not Decision.objects.exists()


def test_what_an_answer_brings_for_other_places_leaves_the_focus_alone(new_page, house):
    company, _ = house
    request = asked(company)
    page = new_page(person=company.finance_manager)
    follow(page, request)
    page.evaluate(
        """() => {
          window.focused = [];
          document.addEventListener("focusin", (event) => {
            const part = event.target.closest("#tags, #lead, #why, #ladder, #chain, #decide");
            window.focused.push(part?.id);
          });
        }"""
    )

    page.click("text=Approve the payment of $12,000.00")
    page.wait_for_selector("text=You approved this")
    page.wait_for_function("document.activeElement.matches('#decide [data-focus]')")

    assert set(page.evaluate("window.focused")) == {"decide"}
    assert page.locator("#tags[tabindex]").count() == 0


def test_someone_was_faster_is_seen_without_asking(new_page, house):
    """The page looks by itself; what is being typed stays, and can no longer be sent."""
    company, _ = house
    request = asked(company, minutes_ago=46)
    page = new_page(person=company.senior_accountant)
    follow(page, request)
    page.fill("#note", "I was about to")
    sweeps.climb_due_steps(now=ActionRequest.objects.get(pk=request.pk).due_at)

    page.evaluate("htmx.trigger('#poll', 'rc:passed')")
    page.evaluate("document.body.dispatchEvent(new CustomEvent('rc:passed'))")
    page.wait_for_selector("text=Your window closed at")

    assert page.locator("#note").input_value() == "I was about to"
    assert not page.locator("text=Approve the payment of $12,000.00").is_visible()


def test_a_clock_runs_to_zero_before_the_readers_eyes(new_page, house):
    company, _ = house
    request = asked(company, minutes_ago=5, seconds=4)
    page = new_page(person=company.finance_manager)
    follow(page, request)
    words = page.locator("#clock [data-left]")
    assert "s" in words.inner_text()

    page.wait_for_selector("#clock .is-over")
    page.wait_for_selector("text=The window closed at")

    assert words.inner_text() == "You are asked again"
    assert page.locator("#rc-alert").text_content() == "You are asked again"


def test_a_row_decided_elsewhere_says_so_and_new_ones_come(new_page, house):
    company, _ = house
    request = asked(company, minutes_ago=46)
    page = new_page(person=company.senior_accountant)
    page.goto("/inbox/")
    answer(request, company.senior_accountant, now=clock.now())
    newcomer = asked(company, minutes_ago=40, key="key-2")

    page.evaluate("document.getElementById('rows').dispatchEvent(new CustomEvent('rc:refresh'))")
    page.wait_for_selector(f'[data-row="{newcomer.ref}"]')

    assert "You approved it at" in page.locator(f'[data-row="{request.ref}"]').inner_text()
    assert page.title().startswith("(1) Inbox")


def test_what_one_was_told_is_marked_in_place(new_page, house):
    company, _ = house
    answer(asked(company, minutes_ago=46), company.senior_accountant, now=clock.now())
    page = new_page(person=company.finance_manager)
    page.goto("/inbox/")

    page.click("text=Mark as seen")
    page.wait_for_selector("text=What you were told", state="detached")

    page.reload()
    assert page.locator("text=What you were told").count() == 0


def test_without_script_it_all_works_by_post_and_redirect(new_page, house):
    company, _ = house
    request = asked(company)
    page = new_page(person=company.finance_manager, java_script_enabled=False)
    follow(page, request)

    page.check("[name=verdict][value=reject]")
    page.check("[name=severity][value=high]")
    page.fill("#note", "Stop.")
    page.click("summary:has-text('Reject the payment')")
    page.click("button:text-is('Reject the payment'):visible")

    assert page.url.endswith(f"/requests/{request.ref}/")
    assert Decision.objects.get().severity == "high"
    assert "You rejected" in page.locator("main").inner_text()


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("width", WIDTHS)
def test_everybody_can_use_every_page(new_page, house, axe, width, dark):
    company, operator = house
    open_ = asked(company, minutes_ago=46)
    ended = asked(company, minutes_ago=46, key="key-2")
    answer(ended, company.senior_accountant, "reject", now=clock.now(), note="No.")
    approved = asked(company, minutes_ago=46, key="key-3")
    answer(approved, company.senior_accountant, now=clock.now(), note="Yes.")
    asked(company, minutes_ago=2, key="key-4")
    ActionRequest.objects.filter(pk=open_.pk).update(
        parked_until=clock.now() + timedelta(minutes=5)
    )
    sound(
        by="clock",
        kind="sweep.failed",
        key="k",
        text="climb failed",
        now=clock.now(),
        request=open_,
    )
    visits = [
        (None, "/accounts/login/"),
        (company.senior_accountant, "/inbox/"),
        (company.finance_manager, "/inbox/"),
        (company.controller, "/inbox/"),
        (company.finance_manager, "/inbox/?view=watching"),
        (company.senior_accountant, "/inbox/?q=zebra"),
        (company.senior_accountant, f"/requests/{open_.ref}/"),
        (company.senior_accountant, f"/requests/{open_.ref}/?verdict=reject"),
        (company.finance_manager, f"/requests/{open_.ref}/"),
        (operator, f"/requests/{ended.ref}/"),
        (operator, f"/requests/{approved.ref}/"),
        (operator, "/requests/"),
        (operator, "/requests/?state=held"),
    ]
    found = {}

    for person, path in visits:
        page = new_page(width=width, dark=dark, person=person)
        page.goto(path)
        for details in page.locator("main details").all():
            details.evaluate("details => { details.open = true; }")
        found[path] = [
            *axe(page),
            *([f"{sideways(page)} px too wide"] if sideways(page) > 0 else []),
        ]
        page.close()

    assert {path: what for path, what in found.items() if what} == {}


def test_nothing_is_wider_than_a_small_phone_whatever_agents_write(new_page, house):
    company, operator = house
    request = asked(company, minutes_ago=46)
    answer(
        asked(company, minutes_ago=46, key="key-2"),
        company.senior_accountant,
        now=clock.now(),
        note="n" * 900,
    )
    ActionRequest.objects.update(
        title=HOSTILE.replace("<script>alert(1)</script>", "")[:20] + "w" * 280,
        payload={**request.payload, "invoice": HOSTILE, "terms": "ب" * 300},
        justification=HOSTILE[:4000],
        counterparty="v" * 200,
    )
    sound(by="clock", kind="k", key="k", text="a" * 480, now=clock.now(), request=request)
    found = {}

    for person, path in (
        (company.senior_accountant, "/inbox/"),
        (company.finance_manager, "/inbox/"),
        (company.senior_accountant, f"/requests/{request.ref}/"),
        (operator, "/requests/"),
    ):
        for width in (360, 720, 1024, 1440):
            page = new_page(width=width, person=person)
            page.goto(path)
            found[width, path] = sideways(page)
            page.close()

    assert {where: by for where, by in found.items() if by > 0} == {}
