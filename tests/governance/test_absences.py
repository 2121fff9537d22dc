"""Absences: whole days in somebody's zone, kept as instants, told to whom they concern."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from functools import partial
from threading import Barrier

import pytest

from approvals.models import Alert, Notice
from governance.errors import NotFound, NotNow, NotYours, Unprocessable
from governance.models import Absence, AuditEvent, Role
from governance.services.people import (
    cancel_absence,
    enter_absences,
    set_absence,
    shorten_absence,
)
from tests.factories import (
    MONDAY_9AM,
    AbsenceFactory,
    AppointmentFactory,
    ContactChannelFactory,
    PersonFactory,
    RoleFactory,
)

pytestmark = pytest.mark.django_db

TODAY = MONDAY_9AM.date()
TOMORROW = TODAY + timedelta(days=1)
DAY = timedelta(days=1)


def away(person, first=TOMORROW, last=None, *, actor=None, now=MONDAY_9AM):
    return set_absence(
        person=person.pk, actor=actor or person, first=first, last=last or first, now=now
    )


def auditor(**over):
    role = Role.objects.filter(key="auditor").first() or RoleFactory(key="auditor")
    person = PersonFactory(roles=[role], **over)
    ContactChannelFactory(person=person)
    return person


def administrator(**over):
    role = Role.objects.filter(key="policy_admin").first() or RoleFactory(key="policy_admin")
    return PersonFactory(roles=[role], **over)


def told(person):
    return sorted(Notice.objects.filter(person=person).values_list("via", flat=True))


# --- Days and instants ---


def test_both_days_count_and_the_end_is_the_midnight_after_the_last():
    person = PersonFactory(time_zone="America/New_York")

    absence = away(person, date(2026, 3, 3), date(2026, 3, 5))

    assert absence.starts_at == datetime(2026, 3, 3, 5, tzinfo=UTC)
    assert absence.ends_at == datetime(2026, 3, 6, 5, tzinfo=UTC)


@pytest.mark.parametrize(
    ("zone", "first", "hours"),
    [
        ("America/New_York", date(2026, 3, 8), 23),
        ("America/New_York", date(2026, 11, 1), 25),
        ("Europe/Berlin", date(2026, 3, 29), 23),
        ("Africa/Cairo", date(2026, 4, 24), 23),  # set on at midnight: 00:00 is not there
        ("America/Havana", date(2026, 11, 1), 25),  # set back over midnight: 00:00 is there twice
        ("Asia/Kolkata", date(2026, 3, 29), 24),
    ],
)
def test_a_day_on_which_the_clocks_are_set_is_as_long_as_it_is(zone, first, hours):
    person = PersonFactory(time_zone=zone)

    absence = away(person, first)

    assert absence.ends_at - absence.starts_at == timedelta(hours=hours)


def test_days_that_follow_each_other_across_a_change_of_clocks_touch_and_do_not_overlap():
    person = PersonFactory(time_zone="Africa/Cairo")

    before, after = away(person, date(2026, 4, 23)), away(person, date(2026, 4, 24))

    assert before.ends_at == after.starts_at


def test_today_begins_now_and_not_before_it_was_said():
    assert away(PersonFactory(), TODAY).starts_at == MONDAY_9AM


def test_which_day_is_today_is_said_by_the_persons_zone():
    person = PersonFactory(time_zone="Pacific/Auckland")  # there it is 22:00

    absence = away(person, TODAY)

    assert absence.ends_at == MONDAY_9AM + timedelta(hours=2)


@pytest.mark.parametrize(
    ("first", "last", "field", "says"),
    [
        (TOMORROW, TODAY, "last", "not before the first"),
        (TODAY - DAY, TOMORROW, "first", "not over: it is 2 Mar 2026 in UTC"),
        (TODAY - 2 * DAY, TODAY - DAY, "first", "not over"),
        (TODAY, TODAY + timedelta(days=1099), "last", "within three years"),
        (TOMORROW, date.max, "last", "within three years"),
        (date.min, date.max, "first", "not over"),
    ],
)
def test_what_is_no_span_of_days_to_come_is_refused_at_its_field(first, last, field, says):
    with pytest.raises(Unprocessable, match=says) as refused:
        away(PersonFactory(), first, last)

    assert refused.value.extra["field"] == field
    assert not Absence.objects.exists()
    assert not AuditEvent.objects.exists()


def test_a_day_that_a_zone_left_out_has_no_length():
    person = PersonFactory(time_zone="Pacific/Apia")
    now = datetime(2011, 12, 20, tzinfo=UTC)

    with pytest.raises(Unprocessable, match="with a length"):
        away(person, date(2011, 12, 30), now=now)


@pytest.mark.parametrize(("first", "last"), [(3, 3), (5, 5), (4, 4), (2, 6), (1, 3), (5, 9)])
def test_what_overlaps_another_is_refused_and_named(first, last):
    person = PersonFactory()
    away(person, TODAY + 3 * DAY, TODAY + 5 * DAY)

    with pytest.raises(Unprocessable, match="from 5 Mar 2026 00:00 UTC until 8 Mar 2026 00:00 UTC"):
        away(person, TODAY + first * DAY, TODAY + last * DAY)


def test_what_touches_another_was_cancelled_or_is_somebody_elses_does_not_overlap():
    person = PersonFactory()
    away(person, TODAY + 3 * DAY)
    away(PersonFactory(), TODAY + 4 * DAY)
    cancel_absence(absence=away(person, TODAY + 5 * DAY).pk, actor=person, now=MONDAY_9AM)

    away(person, TODAY + 2 * DAY)
    away(person, TODAY + 4 * DAY, TODAY + 6 * DAY)

    assert Absence.objects.filter(person=person, cancelled_at=None).count() == 3


def test_it_stands_in_the_record_of_people():
    person = PersonFactory(username="fm")

    absence = away(person)

    event = AuditEvent.objects.get()
    assert (event.chain, event.kind, event.actor) == ("people", "absence.set", "person:fm")
    assert event.facts == {
        "absence": absence.pk,
        "person": "person:fm",
        "starts_at": "2026-03-03T00:00:00.000000+00:00",
        "ends_at": "2026-03-04T00:00:00.000000+00:00",
    }


# --- Of another ---


def test_an_absence_of_ones_own_is_told_to_nobody():
    auditor()

    away(PersonFactory())

    assert not Notice.objects.exists()


@pytest.mark.parametrize("who", ["manager", "head", "administrator", "superuser"])
def test_who_looks_after_somebody_enters_it_and_they_and_the_auditors_are_told_at_once(
    company, who
):
    person, watching = company.finance_manager, auditor()
    head = PersonFactory()
    AppointmentFactory(
        version=company.policy, office="department_head", scope="accounts-payable", person=head
    )
    actor = {
        "manager": company.controller,
        "head": head,
        "administrator": administrator(),
        "superuser": PersonFactory(is_superuser=True),
    }[who]

    absence = away(person, actor=actor)

    assert absence.set_by == actor
    assert told(person) == told(watching) == ["email", "inbox"]
    text = Notice.objects.filter(person=person).first().facts["text"]
    assert text == (
        f"{actor} ({actor.username}) entered your absence, "
        "from 3 Mar 2026 00:00 UTC until 4 Mar 2026 00:00 UTC."
    )
    assert f"entered {person}'s absence" in Notice.objects.filter(person=watching)[0].facts["text"]
    assert told(actor) == []
    assert not Alert.objects.exists()


@pytest.mark.parametrize("who", ["colleague", "manager's manager", "disabled manager", "report"])
def test_nobody_else_enters_it(company, who):
    actor = {
        "colleague": company.senior_accountant,
        "manager's manager": company.cfo,
        "disabled manager": company.controller,
        "report": company.finance_manager,
    }[who]
    if who == "disabled manager":
        actor.is_active = False
        actor.save()
    person = company.controller if who == "report" else company.finance_manager

    with pytest.raises(NotYours, match="Their manager, the head of their department"):
        away(person, actor=actor)


def test_a_head_by_a_draft_is_none(company):
    head = PersonFactory()
    AppointmentFactory(office="department_head", scope="accounts-payable", person=head)

    with pytest.raises(NotYours):
        away(company.finance_manager, actor=head)


@pytest.mark.parametrize("others", ["none", "the actor", "the person", "disabled"])
def test_with_no_auditor_beside_these_two_an_alert_is_raised(company, others):
    company.controller.roles.add(
        RoleFactory(key="auditor") if others == "the actor" else RoleFactory()
    )
    if others == "the person":
        company.finance_manager.roles.add(RoleFactory(key="auditor"))
    if others == "disabled":
        auditor(is_active=False)

    away(company.finance_manager, actor=company.controller)

    assert Alert.objects.get().kind == "absence.unwatched"
    assert told(company.finance_manager) == ["email", "inbox"]


def test_what_somebody_does_to_anothers_absence_later_is_told_too(company):
    person, watching = company.finance_manager, auditor()
    longer, running = away(person, TODAY + 3 * DAY, TODAY + 5 * DAY), away(person, TODAY)

    shorten_absence(
        absence=longer.pk, actor=company.controller, last=TODAY + 4 * DAY, now=MONDAY_9AM
    )
    cancel_absence(absence=longer.pk, actor=company.controller, now=MONDAY_9AM)
    cancel_absence(
        absence=running.pk, actor=company.controller, now=MONDAY_9AM + timedelta(hours=1)
    )

    notices = Notice.objects.filter(person=watching, via="inbox").order_by("pk")
    assert [one.facts["text"].split("Manager's ")[1] for one in notices] == [
        "absence: it ends 7 Mar 2026 00:00 UTC.",
        "absence, from 5 Mar 2026 00:00 UTC until 7 Mar 2026 00:00 UTC.",
        "absence: it ends 2 Mar 2026 10:00 UTC.",
    ]
    assert Notice.objects.filter(person=person, via="inbox").count() == 3


# --- Shortened and cancelled ---


def test_it_is_shortened_to_an_earlier_last_day():
    person = PersonFactory(time_zone="Europe/Berlin")
    absence = away(person, date(2026, 3, 27), date(2026, 4, 2))

    shorten_absence(absence=absence.pk, actor=person, last=date(2026, 3, 29), now=MONDAY_9AM)

    absence.refresh_from_db()
    assert absence.ends_at == datetime(2026, 3, 29, 22, tzinfo=UTC)
    event = AuditEvent.objects.get(kind="absence.shortened")
    assert event.facts["was_until"] == "2026-04-02T22:00:00.000000+00:00"


@pytest.mark.parametrize(
    ("last", "says"),
    [
        (TODAY, "not before the first"),
        (TODAY + 5 * DAY, "earlier last day"),
        (date.max, "earlier last day"),
    ],
)
def test_it_is_neither_turned_round_nor_made_longer(last, says):
    person = PersonFactory()
    absence = away(person, TODAY + 3 * DAY, TODAY + 5 * DAY)

    with pytest.raises(Unprocessable, match=says):
        shorten_absence(absence=absence.pk, actor=person, last=last, now=MONDAY_9AM)


def test_one_that_runs_is_not_shortened_into_the_past():
    person = PersonFactory()
    absence = away(person, TODAY, TODAY + 5 * DAY)

    with pytest.raises(Unprocessable, match="not over, or cancel"):
        shorten_absence(
            absence=absence.pk, actor=person, last=TODAY, now=MONDAY_9AM + timedelta(days=2)
        )


@pytest.mark.parametrize("begun", [timedelta(0), timedelta(microseconds=1)])
def test_one_that_has_begun_ends_now_and_one_that_has_not_never_was(begun):
    person = PersonFactory()
    absence = away(person, TOMORROW)
    now = absence.starts_at + begun

    cancel_absence(absence=absence.pk, actor=person, now=now)

    absence.refresh_from_db()
    if begun:
        assert (absence.ends_at, absence.cancelled_at) == (now, None)
    else:
        assert (absence.ends_at - absence.starts_at, absence.cancelled_at) == (DAY, now)
    kind = AuditEvent.objects.order_by("-pk")[0].kind
    assert kind == ("absence.ended" if begun else "absence.cancelled")


def test_what_is_over_or_cancelled_stays_as_it_is():
    person = PersonFactory()
    over, gone = away(person, TOMORROW), away(person, TODAY + 5 * DAY)
    cancel_absence(absence=gone.pk, actor=person, now=MONDAY_9AM)

    with pytest.raises(NotNow, match="is over"):
        cancel_absence(absence=over.pk, actor=person, now=over.ends_at)
    with pytest.raises(NotNow, match="cancelled before"):
        cancel_absence(absence=gone.pk, actor=person, now=MONDAY_9AM)
    with pytest.raises(NotFound):
        cancel_absence(absence=gone.pk + 1000, actor=person, now=MONDAY_9AM)
    with pytest.raises(NotYours):
        cancel_absence(absence=over.pk, actor=PersonFactory(), now=MONDAY_9AM)


def test_who_saw_another_end_is_told_that_somebody_was_faster(company):
    person = company.finance_manager
    absence = away(person, TODAY + 3 * DAY, TODAY + 6 * DAY)
    shorten_absence(absence=absence.pk, actor=person, last=TODAY + 5 * DAY, now=MONDAY_9AM)

    with pytest.raises(NotNow, match="Somebody was faster: this absence ends 8 Mar 2026"):
        shorten_absence(
            absence=absence.pk,
            actor=company.controller,
            last=TODAY + 4 * DAY,
            now=MONDAY_9AM,
            seen=absence.ends_at,
        )


# --- Several at once ---


def test_of_several_all_are_entered_or_none():
    person = PersonFactory()
    spans = [(MONDAY_9AM + n * DAY, MONDAY_9AM + n * DAY + timedelta(hours=2)) for n in (1, 2)]

    with pytest.raises(Unprocessable, match="is entered already"):
        enter_absences(actor=person, spans=[*spans, spans[0]], now=MONDAY_9AM)
    assert not Absence.objects.exists()
    entered = enter_absences(actor=person, spans=spans, now=MONDAY_9AM)

    assert [(each.starts_at, each.ends_at) for each in entered] == spans


def test_of_several_one_that_runs_begins_now_and_one_that_is_over_or_too_far_is_refused():
    person = PersonFactory()
    hour = timedelta(hours=1)

    (entered,) = enter_absences(
        actor=person, spans=[(MONDAY_9AM - hour, MONDAY_9AM + hour)], now=MONDAY_9AM
    )

    assert entered.starts_at == MONDAY_9AM
    for starts_at, says in (
        (MONDAY_9AM - DAY, "is over"),
        (MONDAY_9AM + 1200 * DAY, "three years"),
    ):
        with pytest.raises(Unprocessable, match=says):
            enter_absences(actor=person, spans=[(starts_at, starts_at + DAY)], now=MONDAY_9AM)


# --- At once ---


@pytest.mark.django_db(transaction=True)
@pytest.mark.postgresql
def test_the_harness_can_see_two_who_look_and_then_enter(race):
    """Control: without the person's lock both find the day free."""
    person, both = PersonFactory(), Barrier(2)

    def naive():
        free = not Absence.objects.filter(person=person).exists()
        both.wait(timeout=10)
        return free and AbsenceFactory(person=person).pk

    assert all(race(naive, naive))


@pytest.mark.django_db(transaction=True)
def test_of_two_overlapping_absences_at_once_one_is_entered(race):
    person = PersonFactory()
    call = partial(
        set_absence, person=person.pk, actor=person, first=TOMORROW, last=TOMORROW, now=MONDAY_9AM
    )

    outcomes = race(call, call)

    assert sorted(type(each).__name__ for each in outcomes) == ["Absence", "Unprocessable"]
    assert Absence.objects.count() == 1
