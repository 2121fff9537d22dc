"""The record in a real browser: for everybody, at every width; searched, opened and taken away."""

from __future__ import annotations

import pytest

from governance import clock, seals, verifications
from governance.models import AuditEvent
from tests.approvals.asking import ask_for_payment
from tests.browser.test_pages import REFUSAL, WIDTHS, sideways
from tests.factories import AuditEventFactory, PersonFactory, RoleFactory

pytestmark = pytest.mark.browser
LONG = "a-reference-without-a-space-" * 12


@pytest.fixture
def auditor(live_server, company):
    """An auditor of a record with a request, a seal, and an event that nobody wrote as it stands."""
    ask_for_payment(company, now=clock.now())
    seals.seal_now(clock.now())
    AuditEventFactory(
        chain="R-LONG", kind="unit.done", actor="worker", at=clock.now(),
        facts={"reference": LONG, "said": "<b>it</b>", "units": [{"n": 1, "key": None}]},
    )  # fmt: skip
    return PersonFactory(username="auditor", name="Auditor", roles=[RoleFactory(key="auditor")])


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("width", WIDTHS)
def test_the_record_is_for_everybody_at_every_width(
    new_page, auditor, axe, complaints, width, dark
):
    complaints.expect(REFUSAL)
    page = new_page(width=width, dark=dark, person=auditor)
    looks = ["", "?of=R-LONG", "?of=R-NONE", "?who=nobody-here&since=noon"]
    for path in looks:
        page.goto(f"/audit/{path}")
        for each in page.locator(".rc-audit__facts > summary").all()[:3]:
            each.click()
        assert (path, sideways(page) <= 0, axe(page)) == (path, True, [])
    verifications.sit(now=clock.now(), enough=lambda: False)
    page.goto("/audit/")
    assert page.get_by_text("The record is not what was written.").is_visible()
    assert (sideways(page) <= 0, axe(page)) == (True, [])


def test_what_is_found_is_taken_away_as_a_file(new_page, auditor):
    page = new_page(person=auditor)
    page.goto("/audit/")
    page.get_by_label("Request, or policy").fill("r-long")
    page.get_by_role("button", name="Search the record").click()
    assert page.locator(".rc-audit tbody tr").count() == 1

    with page.expect_download() as download:
        page.get_by_role("button", name="Export it as CSV").click()

    assert download.value.suggested_filename.endswith(".csv")
    assert LONG in download.value.path().read_text()
    assert AuditEvent.objects.get(kind="ledger.exported").facts["search"] == {"chain": "R-LONG"}
