"""Pages about people: who sees what, forms that keep what was typed, and what a second person finds."""

from __future__ import annotations

import re
from datetime import datetime, timedelta
from decimal import Decimal

import pytest
import time_machine
from django.core.files.uploadedfile import SimpleUploadedFile
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from governance import uploads
from governance.models import Absence, PeopleChange, RosterShift
from tests.factories import (
    MONDAY_9AM,
    AbsenceFactory,
    AppointmentFactory,
    PeopleChangeFactory,
    PersonFactory,
    RoleFactory,
    RosterShiftFactory,
)
from tests.governance.test_calendars import calendar, event

pytestmark = pytest.mark.django_db

H = timedelta(hours=1)
DAY = timedelta(days=1)


@pytest.fixture(autouse=True)
def _monday():
    with time_machine.travel(MONDAY_9AM, tick=False):
        yield


@pytest.fixture
def admins(company):
    role = RoleFactory(key="policy_admin", name="Policy administrator")
    return [PersonFactory(username=name, roles=[role]) for name in ("one", "two")]


@pytest.fixture
def auditor(company):
    return PersonFactory(username="auditor", roles=[RoleFactory(key="auditor", name="Auditor")])


@pytest.fixture
def as_(client):
    def log_in(person):
        client.force_login(person, backend="django.contrib.auth.backends.ModelBackend")
        return client

    return log_in


def url(name, *args):
    return reverse(f"governance:{name}", args=args)


def text(response):
    return response.content.decode().replace("\xa0", " ").replace("&#x27;", "'")


# --- Who sees whom ---


def test_who_oversees_sees_everybody_with_roles_limits_and_lines(company, auditor, as_):
    AbsenceFactory(person=company.controller, ends_at=MONDAY_9AM + 2 * H)

    page = text(as_(auditor).get(url("people")))

    assert "Finance Manager" in page
    assert "$25,000.00" in page
    assert "until 11:00" in page
    assert "Nothing waits." in page
    assert "ap-agent" in page
    assert "Another owner" not in page


def test_others_see_themselves_and_those_they_look_after(company, as_):
    head = PersonFactory(username="head")
    AppointmentFactory(
        version=company.policy, office="department_head", scope="accounts-payable", person=head
    )
    seen = {}
    for person in (company.controller, company.finance_manager, head):
        client = as_(person)
        seen[person.username] = {
            each.username
            for each in (*company.people, company.agent_owner, head)
            if client.get(url("person", each.username)).status_code == 200
        }
        page = text(client.get(url("people")))
        assert "Waits for a second person" not in page
        assert "ap-agent" not in page

    assert seen == {
        "controller": {"controller", "finance_manager", "senior_accountant"},
        "finance_manager": {"finance_manager"},
        "head": {"head", "agent_owner", *(each.username for each in company.people)},
    }


def test_the_calendar_shows_those_one_may_see_and_no_others(company, as_):
    AbsenceFactory(person=company.finance_manager)
    AbsenceFactory(person=company.cfo)

    page = text(as_(company.controller).get(url("absences")))

    assert "Finance Manager" in page
    assert "CFO" not in page


def test_a_page_takes_as_many_queries_for_many_as_for_one(
    company, admins, as_, django_assert_num_queries
):
    client = as_(admins[0])
    RosterShiftFactory(target="sap", person=company.ceo)
    addresses = [
        url("people"), url("absences"), url("roster", "sap"), url("person", "finance_manager"),
    ]  # fmt: skip

    def more(n):
        who = PersonFactory(roles=[RoleFactory()], manager=company.finance_manager)
        AbsenceFactory(person=who)
        AbsenceFactory(person=company.finance_manager, starts_at=MONDAY_9AM + n * DAY)
        RosterShiftFactory(target="sap", person=who)
        RosterShiftFactory(target="sap", person=company.finance_manager)
        kinds = {"manager": "ceo", "roles": ["cfo"], "enabled": False, "limit": None}
        for kind, becomes in kinds.items():
            PeopleChangeFactory(
                kind=kind, person=who, was=None, becomes=becomes, asked_by=admins[1]
            )
        for person in (who, company.finance_manager):
            PeopleChangeFactory(
                kind="manager", person=person, becomes="ceo", asked_by=admins[1],
                state="refused", due_at=None, ended_at=MONDAY_9AM, ended_by=admins[0],
            )  # fmt: skip

    more(1)
    counts = {}
    for address in addresses:
        with CaptureQueriesContext(connection) as found:
            client.get(address)
        counts[address] = len(found)
    more(2)
    more(3)

    for address in addresses:
        with django_assert_num_queries(counts[address]):
            client.get(address)


# --- The calendar ---


def test_a_month_is_whole_weeks_with_who_is_away_on_each_day(company, auditor, as_):
    AbsenceFactory(person=company.cfo, starts_at=MONDAY_9AM + 3 * DAY, ends_at=MONDAY_9AM + 4 * DAY)

    response = as_(auditor).get(url("absences"), {"month": "2026-03"})

    weeks = response.context["weeks"]
    assert [len(week) for week in weeks] == [7] * 6
    assert weeks[0][0].day.isoformat() == "2026-02-23"
    marked = {
        cell.day.day: [(mark.name, mark.part) for mark in cell.marks]
        for week in weeks
        for cell in week
        if cell.marks
    }
    assert marked == {5: [("CFO", "from 09:00")], 6: [("CFO", "until 09:00")]}


@pytest.mark.parametrize(
    "month", ["", "x", "2026-13", "0000-00", "9999-12", "²026-01", "-1", "2" * 99]
)
def test_a_month_that_is_none_is_this_one(company, as_, month):
    page = text(as_(company.cfo).get(url("absences"), {"month": month}))

    assert "Who is away, March 2026" in page


def test_an_absence_is_entered_and_shown(company, as_):
    client = as_(company.cfo)

    response = client.post(
        url("absence-enter"), {"first": "2026-04-06", "last": "2026-04-08"}, follow=True
    )

    assert response.redirect_chain == [("/absences/?month=2026-04", 302)]
    assert "You are away: Mon 6 Apr to Wed 8 Apr." in text(response)
    assert Absence.objects.get().person == company.cfo


def test_it_is_entered_for_somebody_one_looks_after(company, auditor, as_):
    response = as_(company.controller).post(
        url("absence-enter"),
        {"person": "finance_manager", "first": "2026-03-02", "last": "2026-03-02"},
        follow=True,
    )

    assert "Finance Manager is away: Mon 2 Mar 09:00 to the end of Mon 2 Mar." in text(response)
    assert Absence.objects.get().set_by == company.controller


@pytest.mark.parametrize(
    ("typed", "status", "says"),
    [
        ({"first": "2026-03-09", "last": "2026-03-03"}, 422, "not before the first"),
        ({"first": "2026-02-30", "last": "2026-03-03"}, 422, "as year, month and day"),
        ({"first": "", "last": ""}, 422, "Give a day."),
        ({"first": "2026-03-01", "last": "2026-03-09"}, 422, "not over: it is 2 Mar 2026"),
        ({"first": "2026-03-09", "last": "9999-12-31"}, 422, "within three years"),
        ({"person": "ceo", "first": "2026-03-09", "last": "2026-03-10"}, 403, "Their manager"),
        ({"person": "ghost", "first": "2026-03-09", "last": "2026-03-10"}, 404, "no such person"),
    ],
)
def test_what_cannot_be_is_said_in_place_and_what_was_typed_stays(
    company, as_, typed, status, says
):
    response = as_(company.controller).post(url("absence-enter"), typed)

    assert response.status_code == status
    page = text(response)
    assert says in page
    for name in ("first", "last"):
        assert f'id="{name}" name="{name}" type="date" value="{typed[name]}"' in page
    assert not Absence.objects.exists()


def test_an_absence_is_shortened_and_cancelled_from_the_list(company, as_):
    absence = AbsenceFactory(
        person=company.cfo, starts_at=MONDAY_9AM + DAY, ends_at=MONDAY_9AM + 5 * DAY
    )
    client, seen = as_(company.cfo), f"a{absence.pk}-seen"

    client.post(
        url("absence-shorten", absence.pk),
        {f"a{absence.pk}-last": "2026-03-04", seen: absence.ends_at.isoformat()},
    )
    absence.refresh_from_db()
    assert absence.ends_at.isoformat() == "2026-03-05T00:00:00+00:00"
    client.post(url("absence-cancel", absence.pk), {seen: absence.ends_at.isoformat()})

    absence.refresh_from_db()
    assert absence.cancelled_at == MONDAY_9AM


def test_a_refusal_to_shorten_stands_at_its_row_with_what_was_typed(company, as_):
    absence = AbsenceFactory(person=company.cfo, starts_at=MONDAY_9AM + DAY)

    response = as_(company.cfo).post(
        url("absence-shorten", absence.pk), {f"a{absence.pk}-last": "2026-03-20"}
    )

    assert response.status_code == 422
    assert "Give an earlier last day" in text(response)
    assert 'type="date" value="2026-03-20"' in text(response)


def test_somebody_was_faster_is_said(company, as_):
    absence = AbsenceFactory(person=company.cfo, starts_at=MONDAY_9AM + DAY)

    response = as_(company.cfo).post(
        url("absence-cancel", absence.pk), {f"a{absence.pk}-seen": MONDAY_9AM.isoformat()}
    )

    assert response.status_code == 409
    assert "Somebody was faster" in text(response)


# --- Changes ---


def ask(client, username, kind, **given):
    return client.post(url("person-change", username, kind), {"reason": "Took over.", **given})


@pytest.mark.parametrize(
    ("kind", "given", "becomes"),
    [
        (
            "limit",
            {"amount": "50,000.00", "currency": "usd"},
            {"amount": "50000", "currency": "USD"},
        ),
        ("limit", {"amount": "", "currency": ""}, None),
        ("roles", {"roles": ["cfo", "controller"]}, ["cfo", "controller"]),
        ("manager", {"manager": "ceo"}, "ceo"),
        ("manager", {"manager": ""}, None),
        ("enabled", {"enabled": "off"}, False),
    ],
)
def test_an_administrator_asks_on_the_persons_page(company, admins, as_, kind, given, becomes):
    response = ask(as_(admins[0]), "finance_manager", kind, **given)

    assert response.status_code == 302
    change = PeopleChange.objects.get()
    assert (change.kind, change.becomes, change.asked_by) == (kind, becomes, admins[0])


@pytest.mark.parametrize(
    ("kind", "given", "says"),
    [
        ("limit", {"amount": "lots", "currency": "USD"}, "in digits"),
        ("limit", {"amount": "25,00", "currency": "USD"}, "in digits"),
        ("limit", {"amount": "2_5", "currency": "USD"}, "in digits"),
        ("limit", {"amount": "1e3", "currency": "USD"}, "in digits"),
        ("limit", {"amount": "-5", "currency": "USD"}, "not below zero"),
        ("limit", {"amount": "0.005", "currency": "USD"}, "no more decimals than USD has"),
        ("limit", {"amount": "0.5", "currency": "JPY"}, "no more decimals than JPY has"),
        ("limit", {"amount": "5", "currency": "XXL"}, "three letters"),
        ("limit", {"amount": "5", "currency": "USD", "reason": ""}, "Say why"),
        ("limit", {"amount": "5", "currency": "USD", "reason": "x" * 301}, "under 300"),
        ("roles", {"roles": ["ghost"]}, "Choose roles that there are"),
        ("manager", {"manager": "finance_manager"}, "does not report to them"),
        ("manager", {"manager": "ghost"}, "here and switched on"),
        ("enabled", {"enabled": "perhaps"}, "Choose on or off"),
    ],
)
def test_what_is_wrong_with_it_is_said_in_place_and_what_was_typed_stays(
    company, admins, as_, kind, given, says
):
    response = ask(as_(admins[0]), "controller", kind, **given)

    page = text(response)
    assert response.status_code == 422
    assert says in page
    assert given.get("amount", "") in page
    assert given.get("reason", "Took over.") in page
    assert not PeopleChange.objects.exists()


def test_what_has_moved_since_the_page_was_opened_is_not_asked_for(company, admins, as_):
    client = as_(admins[0])
    page = client.get(url("person", "finance_manager"))
    seen = page.context["begin"]["seen"]["limit"]
    company.finance_manager.limit_amount = Decimal(30_000)
    company.finance_manager.save()

    response = ask(client, "finance_manager", "limit", amount="5", currency="USD", seen=seen)

    assert response.status_code == 409
    assert "changed since you opened the page" in text(response)


def test_an_owner_is_asked_for_beside_the_agent(company, admins, as_):
    client, prefix = as_(admins[0]), f"g{company.agent.pk}"

    wrong = client.post(url("agent-owner", "ap-agent"), {f"{prefix}-owner": "cfo"})
    right = client.post(
        url("agent-owner", "ap-agent"), {f"{prefix}-owner": "cfo", f"{prefix}-reason": "Moved."}
    )

    assert (wrong.status_code, right.status_code) == (422, 302)
    assert "Say why" in text(wrong)
    assert PeopleChange.objects.get().becomes == "cfo"


def test_the_second_administrator_finds_it_and_confirms(company, admins, as_):
    change = PeopleChangeFactory(
        person=company.finance_manager,
        was={"amount": "25000", "currency": "USD"},
        asked_by=admins[0],
    )
    client = as_(admins[1])

    page = text(client.get(url("people")))
    response = client.post(
        url("change-end", change.pk), {f"c{change.pk}-verdict": "confirm"}, follow=True
    )

    assert "Limit of Finance Manager: from $25,000.00 to $50,000.00." in page
    assert "Confirm the change" in page
    assert "It holds from now on." in text(response)
    company.finance_manager.refresh_from_db()
    assert company.finance_manager.limit_amount == 50_000


def test_whoever_asked_is_offered_to_withdraw_and_nothing_else(company, admins, as_):
    change = PeopleChangeFactory(person=company.cfo, asked_by=admins[0])
    client = as_(admins[0])

    page = text(client.get(url("people")))
    refused = client.post(url("change-end", change.pk), {f"c{change.pk}-verdict": "confirm"})

    assert "Withdraw it" in page
    assert "Confirm the change" not in page
    assert refused.status_code == 403
    assert "You asked for this: a second person confirms it." in text(refused)


def test_a_no_without_a_reason_is_mended_in_place(company, admins, as_):
    change = PeopleChangeFactory(person=company.cfo, asked_by=admins[0])

    response = as_(admins[1]).post(
        url("change-end", change.pk), {f"c{change.pk}-verdict": "refuse"}
    )

    assert response.status_code == 422
    assert "Say why not." in text(response)


def test_who_oversees_nobody_learns_of_no_change_not_even_that_it_ended(company, admins, as_):
    ended = PeopleChangeFactory(
        asked_by=admins[0], state="refused", due_at=None, ended_at=MONDAY_9AM, ended_by=admins[1]
    )
    waiting = PeopleChangeFactory(asked_by=admins[0])
    client = as_(company.cfo)

    for change in (ended, waiting):
        for verdict in ("confirm", "refuse", "withdraw", ""):
            answer = client.post(url("change-end", change.pk), {f"c{change.pk}-verdict": verdict})
            assert answer.status_code == 404


def test_of_what_ended_meanwhile_the_page_says_so_at_its_head(company, admins, as_):
    change = PeopleChangeFactory(
        person=company.cfo, asked_by=admins[0], state="withdrawn", due_at=None, ended_at=MONDAY_9AM
    )

    response = as_(admins[1]).post(
        url("change-end", change.pk), {f"c{change.pk}-verdict": "confirm"}
    )

    assert response.status_code == 409
    assert "Someone was faster: this was withdrawn" in text(response)
    assert "Nothing waits." in text(response)


def test_others_who_oversee_see_what_waits_and_have_no_buttons(company, admins, auditor, as_):
    PeopleChangeFactory(person=company.cfo, asked_by=admins[0])

    page = text(as_(auditor).get(url("people")))

    assert "An administrator whom it does not name confirms it." in page
    assert "Confirm the change" not in page


# --- A calendar file ---


def test_of_a_file_no_more_is_kept_than_any_page_may_take(rf):
    sizes = {}
    for size in (0, 5, uploads.LIMIT, uploads.LIMIT + 1, 3 * uploads.LIMIT):
        file = SimpleUploadedFile("a.ics", b"x" * size)
        kept = rf.post("/", {"file": file}).FILES.get("file")
        sizes[size] = kept and (kept.size, len(kept.read()))

    most = uploads.LIMIT + 1
    assert list(sizes.values())[1:] == [(5, 5), (most - 1, most - 1), (most, most), (most, most)]


def send(client, content, name="mine.ics"):
    return client.post(url("absences-import"), {"file": SimpleUploadedFile(name, content)})


def test_a_file_is_shown_first_and_entered_when_its_reader_says_so(company, as_):
    client = as_(company.cfo)
    content = calendar(
        event("DTSTART;VALUE=DATE:20260304", uid="a", summary="Dentist <b>"),
        event("DTSTART;VALUE=DATE:20260306", uid="b", summary="Holiday"),
        event("DTSTART;VALUE=DATE:20260201", uid="c", summary="Long ago"),
    )

    shown = send(client, content)
    assert not Absence.objects.exists()
    page = text(shown)
    taken = client.post(
        url("absences-take"), {"read": shown.context["read"], "take": ["1"]}, follow=True
    )

    assert "Dentist &lt;b&gt;" in page
    assert '<b dir="auto">Long ago</b> is over since' in page
    assert "Entered 1 absence." in text(taken)
    assert Absence.objects.get().starts_at.isoformat() == "2026-03-06T00:00:00+00:00"


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"hello", "Give an iCalendar file"),
        ("BEGIN:VCALENDAR ä".encode("latin-1"), "in UTF-8"),
        (b"BEGIN:VCALENDAR\n" + b"BEGIN:VEVENT\n" * 50_000, "this one has 50,000"),
        (b"x" * (1024 * 1024 + 1), "at most 1024 kB"),
        (b"x" * (uploads.LIMIT + 1), "at most 1024 kB"),
        (b"", "Choose a calendar file|iCalendar file"),
    ],
    ids=["text", "encoding", "events", "large", "huge", "empty"],
)
def test_a_bad_file_is_refused_in_place(company, as_, content, says):
    response = send(as_(company.cfo), content)

    assert response.status_code == 422
    assert re.search(says, text(response))
    assert not Absence.objects.exists()


def test_what_was_read_is_taken_by_its_reader_alone_and_within_the_hour(company, as_):
    read = send(as_(company.cfo), calendar(event("DTSTART;VALUE=DATE:20260304"))).context["read"]

    of_another = as_(company.ceo).post(url("absences-take"), {"read": read, "take": ["0"]})
    forged = as_(company.cfo).post(url("absences-take"), {"read": "x", "take": ["0"]})
    nothing = as_(company.cfo).post(url("absences-take"), {"read": read})
    with time_machine.travel(MONDAY_9AM + H + timedelta(seconds=2), tick=False):
        late = as_(company.cfo).post(url("absences-take"), {"read": read, "take": ["0"]})

    assert [each.status_code for each in (of_another, forged, nothing, late)] == [422] * 4
    assert not Absence.objects.exists()


def test_what_was_entered_meanwhile_is_not_entered_twice(company, as_):
    client = as_(company.cfo)
    read = send(client, calendar(event("DTSTART;VALUE=DATE:20260304"))).context["read"]
    client.post(url("absences-take"), {"read": read, "take": ["0"]})

    again = client.post(url("absences-take"), {"read": read, "take": ["0"]})

    assert again.status_code == 422
    assert "is entered already" in text(again)
    assert Absence.objects.count() == 1


# --- Rosters ---


def test_gaps_of_one_minute_show(company, admins, auditor, as_):
    RosterShiftFactory(target="sap", starts_at=MONDAY_9AM - H, ends_at=MONDAY_9AM + H)
    RosterShiftFactory(
        target="sap", starts_at=MONDAY_9AM + H + timedelta(minutes=1), ends_at=MONDAY_9AM + 91 * DAY
    )

    page = text(as_(auditor).get(url("roster", "sap")))

    assert "1 gap in the next 90 days: then nobody is asked first" in page
    assert "Mon 2 Mar, 10:00 to 10:01" in page
    assert "on call now" in page
    assert "Take out" not in page
    assert "1 gap" in text(as_(auditor).get(url("rosters")))


def test_shifts_are_asked_for_in_a_zone_and_again_each_week_across_a_change_of_clocks(
    company, admins, as_
):
    RosterShiftFactory(target="sap")

    response = as_(admins[0]).post(
        url("shift-add", "sap"),
        {
            "person": "cfo", "starts": "2026-03-23T09:00", "ends": "2026-03-23T17:00",
            "zone": "Europe/Berlin", "times": "2", "reason": "Rota.",
        },
    )  # fmt: skip

    assert response.status_code == 302
    starts = [each["starts_at"] for each in PeopleChange.objects.get().becomes]
    assert starts == ["2026-03-23T08:00:00+00:00", "2026-03-30T07:00:00+00:00"]


@pytest.mark.parametrize(
    ("over", "says"),
    [
        ({"starts": "2026-03-29T02:30"}, "the clocks there are set on"),
        ({"starts": "yesterday"}, "Give a day and a time"),
        ({"ends": "2026-03-20T09:00"}, "after the beginning"),
        ({"times": "0"}, "at least one week"),
        ({"times": "60"}, "at most 52"),
        ({"zone": "Mars/Base"}, "is not a time zone"),
        ({"person": "ghost"}, "here and switched on"),
        ({"starts": "9999-12-31T09:00", "ends": "9999-12-31T10:00", "times": "9"}, "within a year"),
        ({"reason": ""}, "Say why"),
    ],
)
def test_a_shift_that_cannot_be_is_said_at_its_field_and_stays_typed(
    company, admins, as_, over, says
):
    RosterShiftFactory(target="sap")
    typed = {
        "person": "cfo", "starts": "2026-03-29T09:00", "ends": "2026-03-29T17:00",
        "zone": "Europe/Berlin", "times": "1", "reason": "Rota.",
    } | over  # fmt: skip

    response = as_(admins[0]).post(url("shift-add", "sap"), typed)

    assert response.status_code == 422
    page = text(response)
    assert says in page
    assert f'value="{typed["starts"]}"' in page
    assert not PeopleChange.objects.exists()


def test_a_shift_is_asked_to_be_taken_out(company, admins, as_):
    row = RosterShiftFactory(target="sap")
    client = as_(admins[0])

    empty = client.post(url("shift-take-out", "sap", row.pk), {})
    asked = client.post(url("shift-take-out", "sap", row.pk), {f"s{row.pk}-reason": "Ill."})

    assert (empty.status_code, asked.status_code) == (422, 302)
    change = PeopleChange.objects.get()
    assert [each["person"] for each in change.was] == [row.person.username]
    assert RosterShift.objects.count() == 1


def test_who_is_away_in_their_shift_is_marked(company, auditor, as_):
    row = RosterShiftFactory(target="sap", ends_at=MONDAY_9AM + 3 * DAY)
    AbsenceFactory(
        person=row.person,
        starts_at=datetime.fromisoformat("2026-03-03T00:00+00:00"),
    )

    assert "away Tue 3 Mar" in text(as_(auditor).get(url("roster", "sap")))


def test_rosters_that_are_not_there_or_not_for_the_reader_are_closed(company, auditor, as_):
    assert as_(auditor).get(url("roster", "ghost")).status_code == 404
    assert as_(company.cfo).get(url("rosters")).status_code == 403
