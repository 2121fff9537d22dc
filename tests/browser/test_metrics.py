"""The figures in a real browser: drawn under the strict policy, the same in numbers, and on one sheet of paper."""

from __future__ import annotations

import os
from datetime import timedelta

import pytest

from governance import clock
from governance.metrics.weeks import begin_of, week_of
from tests.browser.test_pages import WIDTHS, sideways
from tests.factories import DepartmentFactory, PersonFactory, RoleFactory, UncountedFactory
from tests.governance.measuring import counted

pytestmark = pytest.mark.browser

MANAGER = ["person:finance_manager"]
FIRST = {"first_asked": MANAGER, "let_run_out": MANAGER}
PAGES = (
    "/metrics/", "/metrics/?split=department&metric=resolution_l1_l2", "/metrics/report/",
    "/metrics/?metric=escalation&because=person~person:finance_manager",
)  # fmt: skip
OUT = os.environ.get("SCREENSHOTS", "")


@pytest.fixture
def auditor(live_server, company):
    """An auditor, thirteen weeks in which a little of everything was counted, and one in which nothing was."""
    week = week_of(clock.now())
    DepartmentFactory(key="purchasing", name="Purchasing")
    for back in range(13):
        if back == 6:
            continue
        at = begin_of(week - timedelta(weeks=back))
        counted("escalation", "hit", 24 - back, at=at, facts=FIRST)
        counted("escalation", "miss", 100, at=at, path="approval", level=0)
        counted("resolution", "hit", 3 + back % 3, at=at, seconds=4300 + 90 * back, facts=FIRST)
        counted("resolution", "hit", 1, at=at, level=3, seconds=20400, path="rejection")
        counted("resolution", "absent", 1, at=at, seconds=90000)
        counted("rollback", "hit", 9, at=at, path="undo")
        counted("rollback", "miss", 1, at=at, path="undo", facts={"how": "recovery.failed"})
        counted("bypass", "miss", 110, at=at)
        counted("bypass", "hit", back % 2, at=at, level=4, facts=FIRST)
        counted("unattended", "hit", 5 + back % 3, at=at, path="system_failure", level=1)
        counted("unattended", "miss", 3, at=at, path="system_failure", level=1)
        counted("again", "hit", 3, at=at)
        counted("escalation", "hit", 2, at=at, department="purchasing", action="purchase_order")
    said = {"audit": "due_at_differs", "text": "R-0001 has another clock than its step."}
    counted("silent", "hit", 1, at=begin_of(week - timedelta(weeks=4)), path="", facts=said)
    UncountedFactory(chain="R-7K2M-4XQT-9B3C")
    return PersonFactory(username="auditor", roles=[RoleFactory(key="auditor", name="Auditor")])


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("width", WIDTHS)
def test_everybody_can_read_the_figures(new_page, auditor, axe, width, dark):
    found = {}
    for number, path in enumerate(PAGES):
        page = new_page(width=width, dark=dark, person=auditor)
        page.goto(path)
        wide = sideways(page)
        found[path] = [*axe(page), *([f"{wide} px too wide"] if wide > 0 else [])]
        if OUT:
            name = f"{OUT}/metrics-{number}-{width}-{'dark' if dark else 'light'}.png"
            page.screenshot(path=name, full_page=True)
        page.close()

    assert {path: what for path, what in found.items() if what} == {}


def test_the_chart_draws_what_the_table_says_and_a_figure_leads_to_its_cases(new_page, auditor):
    page = new_page(person=auditor)
    page.goto("/metrics/")

    drawn = page.evaluate("Chart.getChart(document.querySelector('canvas')).data.datasets[0].data")
    row = page.locator(".rc-weeks tbody tr").first.locator("td").all_inner_texts()
    assert len(drawn) == 13
    for value, said in zip(drawn, row, strict=True):
        said = said.replace("missed", "").strip()
        assert said == "\u2013" if value is None else abs(float(said) - value) < 0.051, (
            said,
            value,
        )
    assert row[6] == "\u2013"

    page.click("h2 >> text=Rollback success")
    page.wait_for_url("**metric=rollback**")
    page.wait_for_selector("text=Failed, or needed a person in week")
    assert page.locator("#cases tbody tr").count() == 1


def test_without_script_the_table_stands_for_the_chart(new_page, auditor):
    page = new_page(person=auditor, java_script_enabled=False)
    page.goto("/metrics/")

    assert not page.locator("canvas").is_visible()
    assert page.locator(".rc-weeks tbody tr").count() == 9


def test_the_report_prints_on_one_sheet(new_page, auditor):
    for number in range(12):
        key = f"department-{number}"
        DepartmentFactory(key=key, name=f"Department of long names {number}")
        counted("escalation", "hit", 1, at=begin_of(week_of(clock.now())), department=key)
    page = new_page(person=auditor)
    page.goto("/metrics/report/")

    sheet = page.pdf(format="A4", prefer_css_page_size=True)

    assert sheet.count(b"/Type /Page\n") == 1
