"""The policy in a real browser: read, edited in place by keyboard, mended, compared, taken from a file."""

from __future__ import annotations

import pytest

from governance import clock
from governance.drafting.rows import FIELDS
from governance.models import MatrixRow
from governance.services import policy as services
from tests.browser.test_pages import REFUSAL, WIDTHS, sideways
from tests.factories import (
    AppointmentFactory,
    MatrixRowFactory,
    PersonFactory,
    PolicyCheckFactory,
    RoleFactory,
)
from tests.factors import code_now, give_factor

pytestmark = pytest.mark.browser


@pytest.fixture
def admin(live_server, company):
    return PersonFactory(
        username="policy_admin",
        name="Policy Administrator",
        roles=[RoleFactory(key="policy_admin")],
    )


@pytest.fixture
def draft(company, admin):
    for number, low, high, key in (
        (15, 100_000, 250_000, "controller"),
        (16, 250_000, None, "cfo"),
    ):
        MatrixRowFactory(
            version=company.policy, number=number, department=company.accounts_payable,
            action="vendor_payment", amount_from=low, amount_to=high, executive=company.cfo,
            approver_role=company.row.approver_role.__class__.objects.get(key=key),
        )  # fmt: skip
    AppointmentFactory(version=company.policy, office="resource_owner", person=company.cfo)
    AppointmentFactory(
        version=company.policy, office="resource_owner", scope="demo:vendor:*", person=company.ceo
    )
    PolicyCheckFactory(version=company.policy, key="terms")
    return services.start_draft(actor=admin, now=clock.now())


def cell(page, row, field):
    return page.locator(f'#row-{row} input[name="{field}"]')


def of(draft, row):
    return MatrixRow.objects.get(version=draft, number=row)


@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize("width", WIDTHS)
def test_every_page_is_for_everybody_at_every_width(new_page, draft, admin, axe, width, dark):
    page = new_page(width=width, dark=dark, person=admin)
    for path in (
        "", "2/", "1/", "2/changes/", "1/changes/", "2/matrix/", "2/windows/", "2/tree/",
        "2/offices/", "2/rules/", "2/rules/terms/", "2/check/", "1/check/",
    ):  # fmt: skip
        page.goto(f"/policy/{path}")
        assert (path, sideways(page) <= 0, axe(page)) == (path, True, [])


def test_the_matrix_is_edited_by_keyboard_alone(page, new_page, draft, admin):
    page = new_page(person=admin)
    page.goto("/policy/2/")
    cell(page, 14, "quorum").focus()

    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("ArrowLeft")
    assert page.evaluate("document.activeElement.ariaLabel") == "First approver, row 15"

    page.keyboard.press("Enter")
    page.keyboard.press("ControlOrMeta+a")
    page.keyboard.type("cfo")
    page.keyboard.press("Escape")
    assert cell(page, 15, "approver").input_value() == "Controller"

    page.keyboard.type("cfo")
    page.keyboard.press("Enter")
    page.wait_for_selector("#row-15[data-revision='1']")
    assert cell(page, 15, "approver").input_value() == "CFO"
    assert page.evaluate("document.activeElement.ariaLabel") == "First approver, row 15"
    assert of(draft, 15).approver_role.key == "cfo"

    page.keyboard.press("ArrowUp")
    page.keyboard.press("End")
    page.keyboard.press("F2")
    page.keyboard.type("cfo")
    page.keyboard.press("Enter")
    page.wait_for_selector("#row-14[data-revision='2']")
    assert of(draft, 14).executive.username == "cfo"


@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize("width", WIDTHS)
def test_a_mistake_is_said_under_its_row_and_mended_there(
    new_page, draft, admin, axe, complaints, width, dark
):
    complaints.expect(REFUSAL)
    page = new_page(width=width, dark=dark, person=admin)
    page.goto("/policy/2/")
    cell(page, 15, "amount_from").focus()
    page.keyboard.press("Enter")
    page.keyboard.type("90000")
    page.keyboard.press("Enter")
    page.wait_for_selector("#row-15 .is-why >> text=Row 14 covers")
    assert page.evaluate("document.activeElement.getAttribute('aria-describedby')") == "row-15-why"
    assert (sideways(page) <= 0, axe(page)) == (True, [])

    page.keyboard.press("Enter")
    page.keyboard.press("ControlOrMeta+a")
    page.keyboard.type("120000")
    page.keyboard.press("Enter")
    page.wait_for_selector("#row-15[data-revision='1']")
    assert page.locator("#row-15 .is-why").count() == 0
    assert of(draft, 15).amount_from == 120_000


def test_leaving_a_changed_row_stores_it_and_the_next_one_can_follow(new_page, draft, admin):
    page = new_page(person=admin)
    page.goto("/policy/2/")
    for row, said in ((14, 1), (15, 2)):
        cell(page, row, "quorum").focus()
        page.keyboard.type("2")
        page.keyboard.press("Tab")
        cell(page, row, "department").focus()
        page.locator("#since, h1").first.click()
        page.wait_for_selector(f"#row-{row}[data-revision='{said}']")

    assert [of(draft, row).quorum for row in (14, 15)] == [2, 2]


def test_the_second_of_two_admins_is_told_and_nothing_of_theirs_is_stored(
    new_page, draft, admin, complaints
):
    complaints.expect(REFUSAL)
    other = PersonFactory(name="Second Administrator", roles=[admin.roles.get()])
    page = new_page(person=admin)
    page.goto("/policy/2/")
    services.remove_row(number=2, revision=0, actor=other, row=16, now=clock.now())

    cell(page, 14, "quorum").focus()
    page.keyboard.type("2")
    page.keyboard.press("Enter")
    page.wait_for_selector("#row-14 .is-why >> text=Second Administrator changed draft 2")
    assert of(draft, 14).quorum == 1

    page.click("a:text('Look at the draft as it is now')")
    page.wait_for_selector("#row-14[data-revision='1']")
    assert page.locator("#row-16").count() == 0


def test_without_script_a_row_is_a_plain_form(new_page, draft, admin, complaints):
    complaints.expect(REFUSAL)
    page = new_page(person=admin, java_script_enabled=False)
    page.goto("/policy/2/")
    cell(page, 14, "quorum").fill("2")
    page.click("#row-14 [data-grid-save]")
    assert of(draft, 14).quorum == 2
    assert "#row-14" in page.url

    cell(page, 15, "amount_from").fill("1")
    page.click("#row-15 [data-grid-save]")
    assert page.locator("#row-15 .is-why >> text=Row 14 covers").is_visible()


def test_a_row_is_added_and_taken_out(new_page, draft, admin):
    page = new_page(person=admin)
    page.goto("/policy/2/")
    for field, text in (("department", "accounts-payable"), ("approver", "person:cfo")):
        page.locator(f'#row-new input[name="{field}"]').focus()
        page.keyboard.type(text)
    page.keyboard.press("Enter")
    page.wait_for_selector("#row-17")
    assert of(draft, 17).approver_person.username == "cfo"

    page.click("#row-17 button[name='remove']")
    page.wait_for_selector("text=Row 17 is taken out")
    assert not MatrixRow.objects.filter(version=draft, number=17).exists()


@pytest.mark.parametrize("width", WIDTHS)
def test_a_file_is_looked_at_then_taken(new_page, draft, admin, axe, width):
    page = new_page(width=width, person=admin)
    page.goto("/policy/2/matrix/")
    with page.expect_download() as got:
        page.click("text=the matrix as it is")
    text = got.value.path().read_text("utf-8-sig").replace(",1,", ",2,", 1)
    page.set_input_files(
        "#file", {"name": "matrix.csv", "mimeType": "text/csv", "buffer": text.encode()}
    )
    page.click("text=Show what it would change")
    page.wait_for_selector("text=0 new, 1 changed, 0 taken out")
    assert (sideways(page) <= 0, axe(page)) == (True, [])

    page.click("text=Take these 3")
    page.wait_for_selector("text=The matrix is as in the file")
    assert of(draft, 14).quorum == 2


# --- The check, and into force ---


@pytest.fixture
def second(admin):
    """Another admin, who has edited nothing and has a second factor."""
    person = PersonFactory(
        username="second_admin", name="Second Administrator", roles=[admin.roles.get()]
    )
    give_factor(person)
    return person


@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize("width", WIDTHS)
def test_one_signs_what_stays_and_another_puts_it_into_force(
    new_page, draft, admin, second, axe, width, dark
):
    page = new_page(width=width, dark=dark, person=admin)
    page.goto("/policy/2/")
    page.wait_for_selector("#proof >> text=This draft keeps")
    assert (sideways(page) <= 0, axe(page)) == (True, [])
    page.click("button:has-text('Sign these')")
    page.wait_for_selector("text=You signed the holes of draft 2")
    assert (sideways(page) <= 0, axe(page)) == (True, [])

    page = new_page(width=width, dark=dark, person=second)
    page.goto("/policy/2/")
    page.click("text=Activate draft 2…")
    page.wait_for_selector("text=What changes from version 1")
    assert (sideways(page) <= 0, axe(page)) == (True, [])
    page.fill("input[name=code]", code_now())
    page.click("button:text-is('Activate it')")
    page.wait_for_selector("text=Version 2 is in force")
    assert page.locator("input[name=department]").count() == 0


def test_an_edit_in_place_has_the_draft_checked_again(new_page, draft, admin):
    page = new_page(person=admin)
    page.goto("/policy/2/")
    page.wait_for_selector("#proof >> text=This draft keeps")

    cell(page, 14, "approver").focus()
    page.keyboard.press("Enter")
    page.keyboard.press("ControlOrMeta+a")
    page.keyboard.type("agent_owner")
    page.keyboard.press("Enter")

    page.wait_for_selector("#proof >> text=This draft can stall, so it cannot be activated")
    page.click("#proof >> a:text('Go to row 14') >> nth=0")
    assert page.url.endswith("#row-14")


@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize("width", WIDTHS)
def test_what_the_check_finds_stands_under_its_row_until_the_draft_is_edited(
    new_page, draft, admin, axe, width, dark
):
    cells = dict.fromkeys(FIELDS, "") | {"department": "accounts-payable", "quorum": "1"}
    cells |= {"action": "vendor_payment", "currency": "USD", "amount_from": "0"}
    cells |= {"amount_to": "100000", "approver": "agent_owner"}
    services.save_row(number=2, revision=0, actor=admin, row=14, cells=cells, now=clock.now())
    page = new_page(width=width, dark=dark, person=admin)
    page.goto("/policy/2/")
    page.wait_for_selector("#row-14 > .is-found >> text=nobody can decide on")
    assert page.locator("#row-14 > .is-found >> text=Add a delegate who can").count()
    assert (sideways(page) <= 0, axe(page)) == (True, [])

    page.route("**/policy/2/check/", lambda route: None)  # the next check takes its time
    cell(page, 15, "quorum").focus()
    page.keyboard.press("Enter")
    page.keyboard.press("ControlOrMeta+a")
    page.keyboard.type("2")
    page.keyboard.press("Enter")
    page.wait_for_selector("text=The draft was edited since it was checked")
    assert page.locator(".is-found").count() == 0


def test_what_the_check_finds_in_a_draft_that_somebody_else_edited_is_not_put_beside_old_rows(
    new_page, draft, admin
):
    page = new_page(person=admin)
    page.goto("/policy/2/")
    page.wait_for_selector("#proof")
    services.remove_row(number=2, revision=0, actor=admin, row=15, now=clock.now())

    page.evaluate("document.body.dispatchEvent(new Event('policy-changed'))")

    page.wait_for_selector("text=Somebody edited this draft since you opened this page")
    assert page.locator(".is-found").count() == 0


@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize("width", WIDTHS)
def test_a_draft_is_discarded_after_a_question_that_counts_what_was_just_edited(
    new_page, draft, admin, axe, width, dark
):
    page = new_page(width=width, dark=dark, person=admin)
    page.goto("/policy/2/")
    page.wait_for_selector("#proof")
    cell(page, 14, "quorum").focus()
    page.keyboard.press("Enter")
    page.keyboard.press("ControlOrMeta+a")
    page.keyboard.type("2")
    page.keyboard.press("Enter")
    page.wait_for_selector("#discard input[name=revision][value='1']", state="attached")

    page.click("text=Discard draft 2…")
    page.wait_for_selector("text=What is lost: its 1 change from version 1")
    assert (sideways(page) <= 0, axe(page)) == (True, [])
    page.click("button:text-is('Keep it')")
    page.click("text=Discard draft 2…")
    page.click("button:text-is('Discard draft 2')")
    page.wait_for_selector("text=Draft 2 is discarded")
    assert (sideways(page) <= 0, axe(page)) == (True, [])

    page.goto("/policy/2/")
    page.wait_for_selector("text=Draft 2, discarded")
    assert page.locator("input[name=department]").count() == 0
    assert (sideways(page) <= 0, axe(page)) == (True, [])


PASTE = """([row, field, text]) => {
  const input = document.querySelector(`#row-${row} input[name="${field}"]`);
  const clipboardData = new DataTransfer();
  clipboardData.setData("text/plain", text);
  input.focus();
  input.dispatchEvent(new ClipboardEvent("paste", { clipboardData, bubbles: true, cancelable: true }));
}"""


@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize("width", WIDTHS)
def test_cells_of_a_spreadsheet_fill_the_grid_and_are_stored_when_somebody_says_so(
    new_page, draft, admin, axe, width, dark
):
    page = new_page(width=width, dark=dark, person=admin)
    page.goto("/policy/2/")
    page.wait_for_selector("#proof")

    page.evaluate(
        PASTE, [14, "amount_to", '150,000\tcontroller\t"cfo,\nceo"\r\n250000\tnobody\tcfo\r\n']
    )
    page.wait_for_selector("#row-15 .is-why >> text=First approver: There is no role “nobody”")
    assert page.locator("[aria-invalid]").get_attribute("aria-label") == "First approver, row 15"
    assert cell(page, 14, "delegates").input_value() == "cfo, ceo"
    assert (sideways(page) <= 0, axe(page)) == (True, [])

    page.evaluate(PASTE, [14, "delegates", "cfo\n"])
    page.evaluate(PASTE, [15, "amount_from", "150000\t250000\tcontroller\t\n"])
    page.wait_for_selector("text=2 rows pasted; nothing of it is stored yet.")
    page.wait_for_selector("[aria-invalid]", state="detached")
    cell(page, 16, "quorum").focus()  # leaving the row stores nothing
    assert of(draft, 14).amount_to == 100_000

    page.click("text=Store what was pasted")
    page.wait_for_selector("text=2 rows stored in the draft")
    assert (of(draft, 14).amount_to, of(draft, 15).amount_from) == (150_000, 150_000)
    assert page.locator("[data-pasted-bar]").is_hidden()


def test_what_was_pasted_is_taken_back_and_what_does_not_fit_is_said(new_page, draft, admin):
    page = new_page(person=admin)
    page.goto("/policy/2/")

    page.evaluate(PASTE, [16, "quorum", "2\tceo\tmore\n1\n1\n1\n"])
    page.wait_for_selector("text=2 rows did not fit below the last")
    page.wait_for_selector("text=1 column did not fit beside the last")
    page.click("text=Take it back")

    assert cell(page, 16, "quorum").input_value() == "1"
    assert page.locator("[data-pasted-bar]").is_hidden()
    assert of(draft, 16).quorum == 1
