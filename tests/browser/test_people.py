"""People, absences and rosters in a real browser: by hand, without script, and for everybody."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.urls import reverse

from governance import clock
from governance.models import Absence, PeopleChange
from governance.services.people import ask_for_change
from governance.services.people.kinds import shift
from tests.browser.test_pages import WIDTHS, sideways
from tests.factories import AbsenceFactory, PersonFactory, RoleFactory, RosterShiftFactory
from tests.governance.test_calendars import calendar, event

pytestmark = pytest.mark.browser

REFUSAL = r"the server responded with a status of 4\d\d"
DAY = timedelta(days=1)


@pytest.fixture
def house(live_server, company):
    """The company with three administrators, absences, a roster with a gap, and changes that wait."""
    now = clock.now().replace(minute=0, second=0, microsecond=0)
    role = RoleFactory(key="policy_admin", name="Policy administrator")
    admins = [
        PersonFactory(username=name, name=name.replace("_", " ").title(), roles=[role])
        for name in ("policy_admin", "second_admin", "third_admin")
    ]
    AbsenceFactory(person=company.cfo, starts_at=now - DAY, ends_at=now + 3 * DAY, set_at=now - DAY)
    AbsenceFactory(
        person=company.controller,
        starts_at=now + DAY,
        ends_at=now + 12 * DAY,
        set_by=company.cfo,
        set_at=now,
    )
    AbsenceFactory(person=company.senior_accountant, starts_at=now - DAY, ends_at=now + DAY)
    AbsenceFactory(person=admins[0], starts_at=now + 2 * DAY, ends_at=now + 4 * DAY, set_at=now)
    RosterShiftFactory(target="sap", person=company.cfo, starts_at=now - DAY, ends_at=now + 2 * DAY)
    RosterShiftFactory(
        target="sap",
        person=company.finance_manager,
        starts_at=now + 2 * DAY + timedelta(minutes=1),
        ends_at=now + 60 * DAY,
    )
    fifty = {"amount": "50000", "currency": "USD"}
    common = {"reason": "Took over a team.", "now": clock.now()}
    for kind, becomes, actor in (
        ("limit", fifty, admins[0]),
        ("manager", "cfo", admins[1]),
    ):
        ask_for_change(
            kind=kind, becomes=becomes, actor=actor, person=company.finance_manager.pk, **common
        )
    ask_for_change(
        kind="shifts",
        becomes=[shift(company.ceo, now + 61 * DAY, now + 62 * DAY)],
        actor=admins[1],
        target="sap",
        **common,
    )
    return company, admins


def test_an_absence_is_entered_from_the_rail_and_shortened(new_page, house):
    company, _ = house
    page = new_page(person=company.finance_manager)
    page.goto("/inbox/")
    page.click(".rc-me__ways >> text=Absences")
    page.click("summary:has-text('Enter an absence')")
    first, last = (clock.now() + 40 * DAY).date(), (clock.now() + 44 * DAY).date()
    page.fill("#first", first.isoformat())
    page.fill("#last", last.isoformat())

    page.click("button:text-is('Enter the absence')")
    page.wait_for_selector("text=You are away:")
    page.click("summary:has-text('Shorten or cancel…')")
    page.fill("input[id$='-last']:not(#last)", first.isoformat())
    page.click("button:text-is('Shorten it')")
    page.wait_for_selector("text=Shortened:")

    absence = Absence.objects.get(person=company.finance_manager)
    assert absence.ends_at - absence.starts_at == DAY


@pytest.mark.parametrize("script", [True, False])
def test_a_change_is_asked_for_and_confirmed_by_a_second(new_page, house, script):
    company, admins = house
    page = new_page(person=admins[0], java_script_enabled=script)
    page.goto("/people/senior_accountant/")
    page.click("summary:has-text('Another limit…')")
    page.fill("#amount", "30000")
    page.fill("#limit-reason", "Two more vendors.")
    page.click("button:text-is('Ask for this limit')")
    page.wait_for_selector("text=Asked for. It holds once")

    change = PeopleChange.objects.get(person=company.senior_accountant)
    other = new_page(person=admins[1], java_script_enabled=script)
    other.goto("/people/")
    other.click(f"#change-{change.pk} >> button:has-text('Confirm the change')")
    other.wait_for_selector("text=It holds from now on")

    company.senior_accountant.refresh_from_db()
    assert company.senior_accountant.limit_amount == 30_000


def test_what_is_refused_is_said_in_place_and_stays_typed(new_page, house, complaints, axe):
    complaints.expect(REFUSAL)
    _, admins = house
    page = new_page(width=390, person=admins[0])
    page.goto("/people/controller/")
    page.click("summary:has-text('Another manager…')")
    page.select_option("#manager", "senior_accountant")
    page.fill("#manager-reason", "A new line.")
    page.click("button:text-is('Ask for this manager')")

    page.wait_for_selector("text=Choose somebody who does not report to them")

    assert page.locator("#manager-reason").input_value().strip() == "A new line."
    assert page.locator("#manager").input_value() == "senior_accountant"
    assert (sideways(page) <= 0, axe(page)) == (True, [])


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("width", WIDTHS)
def test_a_calendar_file_is_shown_and_then_entered(new_page, house, axe, width, dark):
    company, _ = house
    day = (clock.now() + 5 * DAY).date()
    content = calendar(
        event(f"DTSTART;VALUE=DATE:{day:%Y%m%d}", uid="a", summary="Dentist"),
        event("DTSTART:20200304T090000Z", uid="b", summary="Long ago"),
        event(f"DTSTART:{day:%Y%m%d}T090000", "RRULE:FREQ=HOURLY", uid="c", summary="Hourly"),
    )
    page = new_page(width=width, dark=dark, person=company.finance_manager)
    page.goto("/absences/import/")
    page.set_input_files(
        "#file", {"name": "mine.ics", "mimeType": "text/calendar", "buffer": content}
    )
    page.click("button:text-is('Read the file')")
    page.wait_for_selector("text=What would be taken")
    assert (sideways(page) <= 0, axe(page)) == (True, [])

    page.click("button:text-is('Enter what is ticked')")
    page.wait_for_selector("text=Entered 1 absence.")

    assert Absence.objects.filter(person=company.finance_manager).count() == 1


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("width", WIDTHS)
def test_everybody_can_use_every_page_about_people(new_page, house, axe, width, dark):
    company, admins = house
    month = f"{clock.now():%Y-%m}"
    visits = [
        ("people", admins[0], reverse("governance:people")),
        ("people-own", company.finance_manager, reverse("governance:people")),
        ("person", admins[1], reverse("governance:person", args=["finance_manager"])),
        ("person-own", company.cfo, reverse("governance:person", args=["cfo"])),
        ("absences", admins[0], f"{reverse('governance:absences')}?month={month}"),
        ("absences-own", company.finance_manager, reverse("governance:absences")),
        ("rosters", admins[0], reverse("governance:rosters")),
        ("roster", admins[2], reverse("governance:roster", args=["sap"])),
        ("import-form", company.cfo, reverse("governance:absences-import")),
    ]
    found = {}

    for name, person, path in visits:
        page = new_page(width=width, dark=dark, person=person)
        page.goto(path)
        for details in page.locator("main details").all():
            details.evaluate("details => { details.open = true; }")
        found[name] = [
            *axe(page),
            *([f"{sideways(page)} px too wide"] if sideways(page) > 0 else []),
        ]
        page.close()

    assert {path: what for path, what in found.items() if what} == {}
