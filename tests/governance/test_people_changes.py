"""Changes of people that take two: asked for, confirmed by a second, or ended by their own clock."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from functools import partial
from threading import Barrier

import pytest
from django.db import transaction

from approvals.models import Alert, Notice
from approvals.selectors import next_due_at
from governance.audits import changes_overdue
from governance.errors import AlreadyDecided, NotFound, NotNow, NotYours, TooLate, Unprocessable
from governance.models import AuditEvent, PeopleChange, Person, Role, RosterShift
from governance.services.people import (
    ask_for_change,
    confirm_change,
    refuse_change,
    withdraw_change,
)
from governance.services.people.kinds import limit, shift, written
from governance.services.people.saying import words
from governance.sweeps import lapse_changes
from tests.factories import (
    MONDAY_9AM,
    AgentFactory,
    PersonFactory,
    RoleFactory,
    RosterShiftFactory,
)

pytestmark = pytest.mark.django_db

H = timedelta(hours=1)
MOMENT = timedelta(microseconds=1)
LATER = MONDAY_9AM + H
S = PeopleChange.State
FIFTY = {"amount": "50000", "currency": "USD"}


@pytest.fixture
def admin_role(db):
    return RoleFactory(key="policy_admin")


@pytest.fixture
def one(admin_role):
    return PersonFactory(username="one", roles=[admin_role])


@pytest.fixture
def two(admin_role):
    return PersonFactory(username="two", roles=[admin_role])


@pytest.fixture
def three(admin_role):
    return PersonFactory(username="three", roles=[admin_role])


@pytest.fixture
def clerk():
    return PersonFactory(username="clerk", limit_amount=Decimal(25_000), limit_currency="USD")


def ask(kind="limit", becomes=FIFTY, *, actor, now=MONDAY_9AM, reason="Took over.", **over):
    over = {key: getattr(value, "pk", value) for key, value in over.items()}
    return ask_for_change(kind=kind, actor=actor, becomes=becomes, reason=reason, now=now, **over)


def confirm(change, actor, *, now=LATER):
    return confirm_change(change=change.pk, actor=actor, now=now)


def fresh(row):
    return type(row).objects.get(pk=row.pk)


# --- What may be changed ---


def test_a_limit_holds_once_a_second_person_has_confirmed_it(one, two, clerk):
    change = ask(actor=one, person=clerk)

    assert fresh(clerk).limit_amount == 25_000
    confirm(change, two)

    assert (fresh(clerk).limit_amount, fresh(clerk).limit_currency) == (50_000, "USD")
    change = fresh(change)
    assert (change.state, change.ended_by, change.ended_at, change.due_at) == (
        S.CONFIRMED,
        two,
        LATER,
        None,
    )


def test_a_limit_may_be_taken_away_and_given_anew(one, two, clerk):
    confirm(ask(becomes=None, actor=one, person=clerk), two)
    assert (fresh(clerk).limit_amount, fresh(clerk).limit_currency) == (None, "")

    confirm(ask(becomes=limit("0.50", "EUR"), actor=two, person=clerk), one)
    assert (fresh(clerk).limit_amount, fresh(clerk).limit_currency) == (Decimal("0.50"), "EUR")


def test_roles_become_those_that_were_asked_for(one, two, clerk):
    kept, gone, new = RoleFactory(key="a"), RoleFactory(key="b"), RoleFactory(key="c")
    clerk.roles.set([kept, gone])

    confirm(ask("roles", ["a", "c"], actor=one, person=clerk), two)

    assert set(clerk.roles.all()) == {kept, new}


def test_a_reporting_line_may_be_moved_and_ended(one, two, clerk):
    boss = PersonFactory(username="boss")

    confirm(ask("manager", "boss", actor=one, person=clerk), two)
    assert fresh(clerk).manager == boss
    confirm(ask("manager", None, actor=one, person=clerk), two)
    assert fresh(clerk).manager is None


def test_an_account_is_switched_off_and_on_again(one, two, clerk):
    confirm(ask("enabled", False, actor=one, person=clerk), two)
    assert not fresh(clerk).is_active
    confirm(ask("enabled", True, actor=one, person=clerk), two)
    assert fresh(clerk).is_active


def test_an_agent_gets_another_owner(one, two, clerk):
    agent = AgentFactory()

    confirm(ask("owner", "clerk", actor=one, agent=agent), two)

    assert fresh(agent).owner == clerk


def test_shifts_are_put_in_and_taken_out(one, two, clerk):
    other = RosterShiftFactory(target="sap", starts_at=LATER + H)
    new = [shift(clerk, LATER, LATER + 8 * H)]

    confirm(
        ask(
            "shifts",
            new,
            actor=one,
            target="sap",
            take_out=[shift(other.person, other.starts_at, other.ends_at)],
        ),
        two,
    )

    assert list(RosterShift.objects.values_list("target", "person", "starts_at", "ends_at")) == [
        ("sap", clerk.pk, LATER, LATER + 8 * H)
    ]


def test_a_shift_may_be_exchanged_for_another_time_of_the_same_person(one, two):
    row = RosterShiftFactory(target="sap", starts_at=LATER + H)
    value = shift(row.person, row.starts_at, row.ends_at)
    shorter = shift(row.person, row.starts_at, row.ends_at - H)

    confirm(ask("shifts", [shorter], actor=one, target="sap", take_out=[value]), two)

    assert RosterShift.objects.get().ends_at == row.ends_at - H


def test_a_shift_that_runs_ends_now_so_that_who_was_on_call_stays_on_record(one, two):
    running = RosterShiftFactory(target="sap")
    value = shift(running.person, running.starts_at, running.ends_at)

    confirm(ask("shifts", [], actor=one, target="sap", take_out=[value]), two)

    assert (fresh(running).starts_at, fresh(running).ends_at) == (MONDAY_9AM, LATER)


# --- What may not ---


@pytest.mark.parametrize(
    ("amount", "currency", "field"),
    [
        ("x", "USD", "amount"),
        ("-1", "USD", "amount"),
        ("NaN", "USD", "amount"),
        ("Infinity", "USD", "amount"),
        ("1.00001", "USD", "amount"),
        ("1" * 17, "USD", "amount"),
        ("", "USD", "amount"),
        ("1", "", "currency"),
        ("1", "XYZ", "currency"),
        ("1", "usd", "currency"),
    ],
)
def test_what_is_no_amount_of_money_is_refused_at_its_field(amount, currency, field):
    with pytest.raises(Unprocessable) as refused:
        limit(amount, currency)

    assert refused.value.extra["field"] == field


@pytest.mark.parametrize(
    "amount", ["25000", "25000.00", "25000.0000", "2.5E+4", Decimal("25000.0")]
)
def test_a_limit_is_the_same_value_however_it_is_written(amount):
    assert limit(amount, "USD") == {"amount": "25000", "currency": "USD"}


def test_a_line_that_would_come_round_is_refused_with_the_circle(one, two):
    top = PersonFactory(username="top")
    middle = PersonFactory(username="middle", manager=top)
    low = PersonFactory(username="low", manager=middle)

    for person, manager, circle in (
        (top, low, "Top > Low > Middle > Top"),
        (top, top, "Top > Top"),
    ):
        with pytest.raises(Unprocessable, match=circle):
            ask("manager", manager.username, actor=one, person=person)


def test_a_circle_further_up_keeps_nobody_from_being_moved(one, two, clerk):
    a = PersonFactory(username="a")
    b = PersonFactory(username="b", manager=a)
    Person.objects.filter(pk=a.pk).update(manager=b)

    assert ask("manager", "a", actor=one, person=clerk).state == S.OPEN


@pytest.mark.parametrize(
    ("kind", "becomes"), [("manager", "ghost"), ("manager", "gone"), ("roles", ["ghost"])]
)
def test_what_is_not_there_cannot_be_chosen(one, two, clerk, kind, becomes):
    PersonFactory(username="gone", is_active=False)

    with pytest.raises(Unprocessable) as refused:
        ask(kind, becomes, actor=one, person=clerk)

    assert refused.value.extra["field"] == kind


@pytest.mark.parametrize(
    ("starts", "ends", "field"),
    [(2, 1, "ends"), (1, 1, "ends"), (-2, -1, "ends"), (9000, 9001, "times"), (5, 7, "starts")],
)
def test_a_shift_that_cannot_be_is_refused_at_its_field(one, two, clerk, starts, ends, field):
    RosterShiftFactory(target="sap", person=clerk, starts_at=MONDAY_9AM + 6 * H)

    with pytest.raises(Unprocessable) as refused:
        ask(
            "shifts",
            [shift(clerk, MONDAY_9AM + starts * H, MONDAY_9AM + ends * H)],
            actor=one,
            target="sap",
        )

    assert refused.value.extra["field"] == field


def test_shifts_of_several_people_and_on_several_rosters_may_overlap(one, two, clerk):
    RosterShiftFactory(target="sap", starts_at=LATER)
    RosterShiftFactory(target="crm", person=clerk, starts_at=LATER)

    change = ask("shifts", [shift(clerk, LATER, LATER + H)], actor=one, target="sap")

    assert change.state == S.OPEN


def test_two_administrators_must_remain(one, two, clerk):
    for kind, becomes in (("roles", []), ("enabled", False)):
        with pytest.raises(Unprocessable, match="two must remain"):
            ask(kind, becomes, actor=one, person=two)


def test_a_change_that_nobody_could_confirm_is_not_asked_for(one, clerk):
    with pytest.raises(Unprocessable, match="no second administrator"):
        ask(actor=one, person=clerk)

    assert not PeopleChange.objects.exists()


def test_what_changes_nothing_or_says_no_reason_is_refused(one, two, clerk):
    with pytest.raises(Unprocessable, match="how it is now"):
        ask(becomes=limit("25000.00", "USD"), actor=one, person=clerk)
    with pytest.raises(Unprocessable, match="Say why"):
        ask(actor=one, person=clerk, reason=" \n ")


def test_of_one_thing_one_change_waits_at_a_time(one, two, clerk):
    ask(actor=one, person=clerk)

    with pytest.raises(NotNow, match=r"waits already: Limit of Clerk: from \$25,000.00"):
        ask(becomes=None, actor=two, person=clerk)
    assert ask("enabled", False, actor=two, person=clerk).state == S.OPEN


def test_a_change_of_what_has_moved_since_the_page_was_opened_is_refused(one, two, clerk):
    with pytest.raises(NotNow, match="changed since you opened the page"):
        ask(actor=one, person=clerk, seen=written({"amount": "20000", "currency": "USD"}))
    ask(actor=one, person=clerk, seen=written({"currency": "USD", "amount": "25000"}))


@pytest.mark.parametrize("who", ["clerk", "disabled", "auditor"])
def test_only_administrators_ask(one, two, clerk, admin_role, who):
    actor = {
        "clerk": clerk,
        "disabled": PersonFactory(is_active=False, roles=[admin_role]),
        "auditor": PersonFactory(roles=[RoleFactory(key="auditor")]),
    }[who]

    with pytest.raises(NotYours):
        ask(actor=actor, person=clerk)


# --- The second person ---


def test_nobody_confirms_what_they_asked_for(one, two, clerk):
    change = ask(actor=one, person=clerk)

    with pytest.raises(NotYours, match="You asked for this"):
        confirm(change, one)
    with pytest.raises(NotYours, match="You asked for this"):
        refuse_change(change=change.pk, actor=one, note="No.", now=LATER)


def test_nobody_confirms_a_change_of_themselves(one, two, three):
    change = ask(actor=one, person=two)

    with pytest.raises(NotYours, match="This is about you"):
        confirm(change, two)
    confirm(change, three)
    assert fresh(two).limit_amount == 50_000


def test_nobody_confirms_what_makes_them_owner_manager_or_on_call(one, two, three, clerk):
    agent = AgentFactory()
    changes = [
        ask("owner", "two", actor=one, agent=agent),
        ask("manager", "two", actor=one, person=clerk),
        ask("shifts", [shift(two, LATER, LATER + H)], actor=one, target="sap"),
    ]

    for change in changes:
        with pytest.raises(NotYours, match="This is about you"):
            confirm(change, two)


@pytest.mark.parametrize("who", ["clerk", "disabled", "who was one a moment ago"])
def test_only_administrators_confirm(one, two, three, clerk, admin_role, who):
    change = ask(actor=one, person=clerk)
    actor = clerk
    if who == "disabled":
        actor = PersonFactory(is_active=False, roles=[admin_role])
    if who.startswith("who was"):
        assert two.has_duty("policy_admin")  # and remembers it
        two.roles.clear()
        actor = two

    with pytest.raises(NotYours, match="Administrators confirm"):
        confirm(change, actor)


def test_superusers_ask_and_confirm(clerk):
    boss, other = PersonFactory(is_superuser=True), PersonFactory(is_superuser=True)

    confirm(ask(actor=boss, person=clerk), other)

    assert fresh(clerk).limit_amount == 50_000


def test_a_no_has_a_reason_and_leaves_all_as_it_was(one, two, clerk):
    change = ask(actor=one, person=clerk)

    with pytest.raises(Unprocessable, match="Say why not"):
        refuse_change(change=change.pk, actor=two, note=" ", now=LATER)
    refuse_change(change=change.pk, actor=two, note="Too much.", now=LATER)

    assert fresh(change).state == S.REFUSED
    assert fresh(clerk).limit_amount == 25_000
    assert (
        Notice.objects.get(person=one, via="inbox")
        .facts["text"]
        .startswith("Two refused the change you asked for: Too much.")
    )


def test_it_is_taken_back_by_whoever_asked_and_by_nobody_else(one, two, clerk):
    change = ask(actor=one, person=clerk)

    with pytest.raises(NotYours):
        withdraw_change(change=change.pk, actor=two, now=LATER)
    withdraw_change(change=change.pk, actor=one, now=LATER)

    assert fresh(change).state == S.WITHDRAWN


@pytest.mark.parametrize("end", [confirm_change, withdraw_change, refuse_change])
def test_what_has_ended_ends_no_second_time(one, two, clerk, end):
    change = ask(actor=one, person=clerk)
    confirm(change, two)
    over = {"note": "No."} if end is refuse_change else {}

    with pytest.raises(AlreadyDecided, match="this was confirmed by Two at 10:00:00"):
        end(change=change.pk, actor=two, now=LATER, **over)
    with pytest.raises(NotFound):
        end(change=change.pk + 1, actor=two, now=LATER, **over)


# --- Out of date ---


def test_a_change_of_what_moved_in_between_ends_out_of_date(one, two, clerk):
    change = ask(actor=one, person=clerk)
    Person.objects.filter(pk=clerk.pk).update(limit_amount=30_000)

    with pytest.raises(NotNow, match="out of date, and nothing was changed"):
        confirm(change, two)

    assert (fresh(change).state, fresh(clerk).limit_amount) == (S.STALE, 30_000)
    assert AuditEvent.objects.filter(kind="change.outdated").exists()
    assert "is out of date" in Notice.objects.get(person=one, via="inbox").facts["text"]


def test_a_shift_that_is_gone_by_then_makes_it_out_of_date(one, two):
    row = RosterShiftFactory(target="sap", starts_at=LATER + H)
    value = shift(row.person, row.starts_at, row.ends_at)
    change = ask("shifts", [], actor=one, target="sap", take_out=[value])
    row.delete()

    with pytest.raises(NotNow):
        confirm(change, two)

    assert fresh(change).state == S.STALE


def test_whoever_asked_and_is_no_administrator_any_more_asked_in_vain(one, two, three, clerk):
    change = ask(actor=one, person=clerk)
    one.roles.clear()

    with pytest.raises(NotNow, match="no administrator any more"):
        confirm(change, two)

    assert fresh(change).state == S.STALE


def test_what_was_possible_when_it_was_asked_for_is_checked_again(one, two, clerk):
    boss = PersonFactory(username="boss")
    change = ask("manager", "boss", actor=one, person=clerk)
    Person.objects.filter(pk=boss.pk).update(manager=clerk)

    with pytest.raises(NotNow, match="does not report to them"):
        confirm(change, two)

    assert fresh(clerk).manager is None


# --- Its clock ---


def test_it_lapses_at_its_instant_and_not_before(one, two, clerk):
    change = ask(actor=one, person=clerk)

    assert next_due_at(MONDAY_9AM) == change.due_at == MONDAY_9AM + 72 * H
    assert lapse_changes(now=change.due_at - MOMENT) == 0
    assert lapse_changes(now=change.due_at) == 1
    assert lapse_changes(now=change.due_at) == 0

    assert (fresh(change).state, fresh(change).ended_by) == (S.LAPSED, None)
    assert Alert.objects.get().kind == "people.lapsed"
    assert "lapsed" in Notice.objects.get(person=one, via="inbox").facts["text"]
    assert fresh(clerk).limit_amount == 25_000


def test_a_confirmation_at_that_instant_is_too_late(one, two, clerk):
    change = ask(actor=one, person=clerk)

    with pytest.raises(TooLate):
        confirm(change, two, now=change.due_at)
    confirm(change, two, now=change.due_at - MOMENT)


def test_the_clock_ends_it_without_anybody(one, two, clerk, timeline):
    change = ask(actor=one, person=clerk)

    timeline.advance(hours=73)

    assert fresh(change).state == S.LAPSED


def test_one_that_nothing_ended_is_found_by_an_audit(one, two, clerk):
    change = ask(actor=one, person=clerk)
    late = change.due_at + timedelta(seconds=61)

    assert [found.key for found in changes_overdue(late)] == [f"change {change.pk}"]
    lapse_changes(now=late)
    assert list(changes_overdue(late)) == []


# --- Who is told, and what is recorded ---


def test_those_who_may_confirm_are_told_and_then_those_it_is_about(one, two, three, clerk):
    change = ask(actor=one, person=clerk)
    asked = {each.person.username: each.facts["text"] for each in Notice.objects.all()}
    confirm(change, two)
    after = Notice.objects.exclude(person__in=[two, three]).select_related("person")

    assert set(asked) == {"two", "three"}
    assert asked["two"] == (
        "One asks for a change that you may confirm: Limit of Clerk: from $25,000.00 to "
        "$50,000.00. Their reason: Took over. It lapses in 3 days."
    )
    assert {each.person.username for each in after} == {"one", "clerk"}


def test_each_act_stands_in_the_record_with_both_values(one, two, clerk):
    change = ask(actor=one, person=clerk)
    confirm(change, two)

    asked, confirmed = AuditEvent.objects.filter(chain="people").order_by("seq")
    facts = {
        "change": change.pk,
        "what": "limit",
        "person": "person:clerk",
        "was": {"amount": "25000", "currency": "USD"},
        "becomes": FIFTY,
        "reason": "Took over.",
    }
    assert (asked.kind, asked.actor) == ("change.asked", "person:one")
    assert asked.facts == facts | {"due_at": "2026-03-05T09:00:00.000000+00:00"}
    assert (confirmed.kind, confirmed.actor) == ("change.confirmed", "person:two")
    assert confirmed.facts == facts | {"asked_by": "person:one"}


def test_every_kind_is_said_in_words(one, two, three, clerk):
    PersonFactory(username="boss", name="Boss")
    RoleFactory(key="a", name="Auditor"), RoleFactory(key="b", name="Buyer")
    clerk.roles.set(Role.objects.filter(key="a"))
    agent = AgentFactory(name="ap-agent", owner=clerk)

    said = [
        words(change)
        for change in (
            ask("roles", ["b"], actor=one, person=clerk),
            ask("manager", "boss", actor=one, person=clerk),
            ask("enabled", False, actor=one, person=clerk),
            ask("owner", "boss", actor=one, agent=agent),
            ask("shifts", [shift(clerk, LATER, LATER + H)], actor=one, target="sap"),
        )
    ]

    assert said == [
        "Roles of Clerk: gains Buyer, loses Auditor.",
        "Clerk reports to Boss (boss), instead of nobody.",
        "The account of Clerk is switched off.",
        "The agent ap-agent is owned by Boss (boss), instead of Clerk (clerk).",
        "On call for sap, in: Clerk (clerk) from 2 Mar 2026 10:00 to 2 Mar 2026 11:00 UTC.",
    ]


# --- At once ---


@pytest.mark.django_db(transaction=True)
@pytest.mark.postgresql
def test_the_harness_can_see_two_confirm_at_once(race, one, two, three, clerk):
    """Control: without the lock both find it open, and both write."""
    change, both = ask(actor=one, person=clerk), Barrier(2)

    def naive(actor):
        with transaction.atomic():
            found = PeopleChange.objects.get(pk=change.pk)
            was_open = found.state == S.OPEN
            both.wait(timeout=10)
            PeopleChange.objects.filter(pk=change.pk).update(note=actor.username)
        return was_open

    assert race(partial(naive, two), partial(naive, three)) == [True, True]


@pytest.mark.django_db(transaction=True)
def test_of_two_who_confirm_at_once_one_does_and_one_is_told_so(race, one, two, three, clerk):
    change = ask(actor=one, person=clerk)

    outcomes = race(partial(confirm, change, two), partial(confirm, change, three))

    assert sorted(type(each).__name__ for each in outcomes) == ["AlreadyDecided", "PeopleChange"]
    assert AuditEvent.objects.filter(kind="change.confirmed").count() == 1


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("_round", range(3))
def test_a_confirmation_and_the_clock_at_once_end_it_once(race, one, two, clerk, _round):
    change = ask(actor=one, person=clerk)

    confirmed, lapsed = race(
        partial(confirm, change, two, now=change.due_at - MOMENT),
        partial(lapse_changes, now=change.due_at),
    )

    state = fresh(change).state
    if state == S.CONFIRMED:
        assert lapsed == 0
    else:
        assert (state, lapsed) == (S.LAPSED, 1)
        assert isinstance(confirmed, AlreadyDecided)


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("_round", range(3))
def test_two_changes_that_together_make_a_circle_are_not_both_confirmed(race, one, two, _round):
    a, b = PersonFactory(username="a"), PersonFactory(username="b")
    first = ask("manager", "b", actor=one, person=a)
    second = ask("manager", "a", actor=one, person=b)

    outcomes = race(partial(confirm, first, two), partial(confirm, second, two))

    assert sorted(type(each).__name__ for each in outcomes) == ["NotNow", "PeopleChange"]
    assert sorted([fresh(first).state, fresh(second).state]) == [S.CONFIRMED, S.STALE]


@pytest.mark.django_db(transaction=True)
def test_of_two_administrators_who_ask_for_the_same_at_once_one_does(race, one, two, three, clerk):
    outcomes = race(
        partial(ask, actor=one, person=clerk), partial(ask, becomes=None, actor=two, person=clerk)
    )

    assert sorted(type(each).__name__ for each in outcomes) == ["NotNow", "PeopleChange"]
