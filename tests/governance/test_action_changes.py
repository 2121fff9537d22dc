"""The life of a version: one asks, another confirms, present, with every gate met twice."""

from __future__ import annotations

import json
import threading
from datetime import timedelta
from functools import partial

import pytest

from approvals.models import Alert, Notice
from approvals.selectors import next_due_at
from governance import clock, stepup
from governance.audits import WHOLE, action_changes_overdue
from governance.catalogue import CATALOGUE
from governance.definitions import document_of, read, text_of
from governance.errors import (
    AlreadyDecided,
    NotFound,
    NotNow,
    NotYours,
    TooLate,
    Unprocessable,
)
from governance.models import ActionChange, ActionType, AuditEvent, Person
from governance.services import actions as services
from governance.signs import beat
from governance.stepup import Presence
from governance.sweeps import lapse_action_changes
from tests.factories import (
    MONDAY_9AM,
    ActionTypeFactory,
    FindingFactory,
    PersonFactory,
    RoleFactory,
)
from tests.factors import give_factor

pytestmark = pytest.mark.django_db

S, T = ActionChange.State, ActionType.State
LATER = MONDAY_9AM + timedelta(hours=1)
MOMENT = timedelta(microseconds=1)
H = timedelta(hours=1)
FIELDS = read(text_of(document_of(ActionType(**CATALOGUE[0]))))


def open_gates(version, becomes):
    return ()


def shut_gates(version, becomes):
    return (f"No drill of {version} has passed.",)


@pytest.fixture
def admins(db):
    role = RoleFactory(key="policy_admin")
    return [PersonFactory(username=f"admin{n}", roles=[role]) for n in range(1, 4)]


@pytest.fixture
def one(admins):
    return admins[0]


@pytest.fixture
def two(admins):
    return admins[1]


@pytest.fixture(autouse=True)
def looked(audited):
    """Of what follows, nothing is about audits that do not run, but what says so."""
    return audited


@pytest.fixture
def draft(one):
    return services.enter_version(fields=FIELDS, actor=one, now=MONDAY_9AM)


@pytest.fixture
def tested(draft):
    return moved(draft, T.TESTED)


def moved(version, state):
    """Put a version where a test begins."""
    ActionType.objects.filter(pk=version.pk).update(state=state)
    return fresh(version)


def fresh(row):
    return type(row).objects.get(pk=row.pk)


def ask(
    version, becomes=T.PRODUCTION, *, actor, gates=open_gates, now=MONDAY_9AM, reason="It is ready."
):
    return services.ask_for_change(
        key=version.key, version=version.version, becomes=becomes, actor=actor, reason=reason,
        gates=gates, now=now,
    )  # fmt: skip


def confirm(change, actor, *, gates=open_gates, now=LATER, **over):
    factor = Presence(actor.pk, services.matter_of(change.pk), clock.real_now())
    given = {"presence": factor} | over
    return services.confirm_change(change=change.pk, actor=actor, gates=gates, now=now, **given)


def events():
    return [
        (each.kind, each.facts)
        for each in AuditEvent.objects.filter(chain="actions").order_by("seq")
    ]


def states(key="vendor_payment"):
    return dict(
        ActionType.objects.filter(key=key).order_by("version").values_list("version", "state")
    )


# --- Versions ---


def test_a_definition_becomes_a_draft_that_no_agent_can_ask_for(one, draft):
    assert (draft.version, draft.state, draft.entered_by) == (1, T.DRAFT, one)
    ((kind, facts),) = events()
    assert kind == "action_type.entered"
    assert (facts["action"], facts["version"], facts["state"]) == ("vendor_payment", 1, "draft")
    assert len(facts["definition"]) == 64


def test_the_next_version_has_the_next_number_and_leaves_the_last_as_it_was(one, draft):
    before = document_of(draft)

    again = services.enter_version(fields={**FIELDS, "sla": 2 * H}, actor=one, now=LATER)

    assert (again.version, again.sla) == (2, 2 * H)
    assert document_of(fresh(draft)) == before


def test_a_version_that_says_the_same_is_not_stored(one, draft):
    with pytest.raises(services.NothingNew, match="version 1 says the same"):
        services.enter_version(fields=FIELDS, actor=one, now=LATER)

    assert states() == {1: "draft"}


def test_only_who_administers_policies_now_enters_versions(one):
    one.roles.clear()

    for who in (one, PersonFactory(), PersonFactory(is_superuser=True)):
        with pytest.raises(NotYours):
            services.enter_version(fields=FIELDS, actor=who, now=MONDAY_9AM)
    assert not ActionType.objects.exists()


@pytest.mark.django_db(transaction=True)
def test_of_two_who_enter_the_first_version_at_once_one_does(race, admins):
    enter = partial(services.enter_version, fields=FIELDS, now=MONDAY_9AM)

    outcomes = race(partial(enter, actor=admins[0]), partial(enter, actor=admins[1]))

    # Whoever came a moment later is told that it says the same, or that somebody was faster.
    assert sum(isinstance(each, ActionType) for each in outcomes) == 1
    assert sum(isinstance(each, NotNow | services.NothingNew) for each in outcomes) == 1
    assert states() == {1: "draft"}


@pytest.mark.django_db(transaction=True)
def test_two_who_enter_the_next_version_at_once_take_two_numbers(race, admins, draft):
    outcomes = race(
        *(
            partial(services.enter_version, fields={**FIELDS, "sla": n * H}, actor=admin, now=LATER)
            for n, admin in enumerate(admins[:2], start=5)
        )
    )

    assert sorted(each.version for each in outcomes) == [2, 3]


# --- Two people ---


@pytest.mark.parametrize(
    ("begins", "becomes", "event"),
    [
        (T.DRAFT, T.TESTED, "action_type.tested"),
        (T.TESTED, T.PRODUCTION, "action_type.promoted"),
        (T.PRODUCTION, T.RETIRED, "action_type.retired"),
    ],
)
def test_it_holds_once_another_confirms_it(one, two, draft, begins, becomes, event):
    version = moved(draft, begins)
    change = ask(version, becomes, actor=one)
    assert fresh(version).state == begins

    confirm(change, two)

    assert fresh(version).state == becomes
    assert (fresh(change).state, fresh(change).ended_by, fresh(change).due_at) == (
        S.CONFIRMED,
        two,
        None,
    )
    moved_, confirmed = events()[-2:]
    assert moved_ == (
        event,
        {
            "action": "vendor_payment", "version": 1, "was": begins, "asked_by": "person:admin1",
            "by": "person:admin2", "instead_of": None,
        },
    )  # fmt: skip
    assert confirmed[0] == "action_change.confirmed"
    assert len(set(AuditEvent.objects.order_by("-seq").values_list("cause", flat=True)[:2])) == 1


def test_whoever_asked_does_not_confirm(one, tested):
    change = ask(tested, actor=one)

    with pytest.raises(NotYours, match="a second person confirms it"):
        confirm(change, one)
    with pytest.raises(NotYours, match="a second person"):
        services.refuse_change(change=change.pk, actor=one, note="No.", now=LATER)

    assert fresh(tested).state == T.TESTED


@pytest.mark.parametrize("roles", [(), ("auditor", "operator", "compliance")])
def test_nobody_else_asks_confirms_or_refuses(one, tested, roles):
    change = ask(tested, actor=one)
    other = PersonFactory(is_superuser=True, roles=[RoleFactory(key=key) for key in roles])

    for call in (
        partial(ask, tested, actor=other),
        partial(confirm, change, other),
        partial(services.refuse_change, change=change.pk, actor=other, note="No.", now=LATER),
        partial(services.withdraw_change, change=change.pk, actor=other, now=LATER),
        partial(services.set_aside, key=tested.key, version=1, actor=other, now=LATER),
    ):
        with pytest.raises(NotYours):
            call()


def test_a_role_taken_away_a_moment_ago_counts_no_more(one, two, tested):
    change = ask(tested, actor=one)
    two.roles.clear()

    with pytest.raises(NotYours):
        confirm(change, two)


def test_whoever_confirms_shows_that_it_is_them_and_for_this_change(one, two, tested):
    change = ask(tested, actor=one)
    real = clock.real_now()

    with pytest.raises(stepup.NoSecondFactor):
        confirm(change, two, presence=None)
    give_factor(two)
    for wrong in (
        None,
        Presence(one.pk, services.matter_of(change.pk), real),
        Presence(two.pk, services.matter_of(change.pk + 1), real),
    ):
        with pytest.raises(stepup.StepUpNeeded):
            confirm(change, two, presence=wrong)
    assert fresh(change).state == S.OPEN


def test_without_a_second_administrator_nothing_is_asked_for(one, two, admins, tested):
    Person.objects.filter(pk__in=[two.pk, admins[2].pk]).update(is_active=False)

    with pytest.raises(Unprocessable, match="no second policy administrator"):
        ask(tested, actor=one)

    assert not ActionChange.objects.exists()


def test_whoever_asked_and_is_no_administrator_any_more_asked_in_vain(one, two, tested):
    change = ask(tested, actor=one)
    one.roles.clear()

    with pytest.raises(NotNow, match="no policy administrator any more"):
        confirm(change, two)

    assert (fresh(change).state, fresh(tested).state) == (S.STALE, T.TESTED)


# --- Gates ---


def test_what_is_missing_is_said_and_nothing_is_asked_for(one, tested):
    with pytest.raises(services.NotReady) as refused:
        ask(tested, actor=one, gates=shut_gates)

    assert refused.value.extra == {"missing": ["No drill of vendor_payment v1 has passed."]}
    assert not ActionChange.objects.exists()


def test_a_gate_that_shut_meanwhile_stops_it_and_it_waits_on(one, two, tested):
    change = ask(tested, actor=one)

    with pytest.raises(services.NotReady, match="No drill"):
        confirm(change, two, gates=shut_gates)

    assert (fresh(change).state, fresh(tested).state) == (S.OPEN, T.TESTED)
    confirm(change, two)
    assert fresh(tested).state == T.PRODUCTION


def test_retiring_asks_no_gate(one, two, draft):
    version = moved(draft, T.PRODUCTION)

    confirm(ask(version, T.RETIRED, actor=one, gates=shut_gates), two, gates=shut_gates)

    assert fresh(version).state == T.RETIRED


@pytest.mark.parametrize("becomes", [T.TESTED, T.PRODUCTION])
def test_nothing_moves_on_while_a_silent_failure_stands_whatever_the_gates_say(
    one, two, draft, becomes
):
    version = draft if becomes == T.TESTED else moved(draft, T.TESTED)
    change = ask(version, becomes, actor=one)
    finding = FindingFactory()

    with pytest.raises(services.NotReady, match="failure is open: nothing is promoted"):
        confirm(change, two)
    assert (fresh(change).state, fresh(version).state) == (S.OPEN, version.state)
    finding.cleared_at = MONDAY_9AM
    finding.save()
    confirm(change, two)
    assert fresh(version).state == becomes


@pytest.mark.parametrize("becomes", [T.TESTED, T.PRODUCTION])
def test_nothing_moves_on_while_nobody_looks_for_silent_failures(one, two, draft, looked, becomes):
    version = draft if becomes == T.TESTED else moved(draft, T.TESTED)
    looked.delete()
    with pytest.raises(services.NotReady, match="Nobody has looked for silent failures yet"):
        ask(version, becomes, actor=one)
    beat("audit", now=MONDAY_9AM)  # by the clock, which asks no target
    with pytest.raises(services.NotReady, match="Nobody has looked for silent failures yet"):
        ask(version, becomes, actor=one)
    beat(WHOLE, now=MONDAY_9AM)
    change = ask(version, becomes, actor=one)
    five = timedelta(minutes=5)

    with pytest.raises(
        services.NotReady,
        match="since 02 Mar 09:00 UTC, here and in the targets: nothing is promoted",
    ):
        confirm(change, two, now=MONDAY_9AM + five + timedelta(microseconds=1))

    assert (fresh(change).state, fresh(version).state) == (S.OPEN, version.state)
    confirm(change, two, now=MONDAY_9AM + five)
    assert fresh(version).state == becomes


def test_what_is_retired_waits_for_no_audit(one, two, draft, looked):
    version = moved(draft, T.PRODUCTION)
    looked.delete()

    confirm(ask(version, T.RETIRED, actor=one), two)

    assert fresh(version).state == T.RETIRED


def test_the_gates_are_told_what_it_becomes(one, two, draft):
    heard = []

    def gates(version, becomes):
        heard.append((str(version), version.state, becomes))
        return ()

    confirm(ask(draft, T.TESTED, actor=one, gates=gates), two, gates=gates)

    assert heard == [("vendor_payment v1", "draft", "tested")] * 2


# --- From where to where ---


@pytest.mark.parametrize(
    ("begins", "becomes"),
    [
        (begins, becomes)
        for begins in T.values
        for becomes in [*T.values, "nonsense"]
        if (begins, becomes) not in {("draft", "tested"), ("tested", "production"), ("production", "retired")}
    ],
)  # fmt: skip
def test_no_other_way_is_open(one, draft, begins, becomes):
    version = moved(draft, begins)

    with pytest.raises(NotNow):
        ask(version, becomes, actor=one)


def test_one_change_of_a_version_waits_at_a_time(one, two, draft):
    ask(draft, T.TESTED, actor=one)

    with pytest.raises(NotNow, match="waits already, asked for by Admin1"):
        ask(draft, T.TESTED, actor=two)


def test_what_goes_into_production_takes_the_place_of_what_is_there(one, two, draft):
    moved(draft, T.PRODUCTION)
    new = moved(
        services.enter_version(fields={**FIELDS, "sla": 2 * H}, actor=one, now=LATER), T.TESTED
    )
    leaving = ask(draft, T.RETIRED, actor=two)

    confirm(ask(new, actor=one), two)

    assert states() == {1: "retired", 2: "production"}
    assert (fresh(leaving).state, fresh(leaving).note) == (S.STALE, "Version 2 took its place.")
    kinds = [kind for kind, _ in events()[-4:]]
    assert kinds == [
        "action_type.retired", "action_change.outdated", "action_type.promoted", "action_change.confirmed",
    ]  # fmt: skip
    assert events()[-4][1] == {
        "action": "vendor_payment",
        "version": 1,
        "was": "production",
        "by": 2,
    }
    assert events()[-2][1]["instead_of"] == 1


def test_another_action_in_production_stays_there(one, two, tested):
    other = ActionTypeFactory(key="other")

    confirm(ask(tested, actor=one), two)

    assert fresh(other).state == T.PRODUCTION


@pytest.mark.parametrize("begins", [T.DRAFT, T.TESTED])
def test_what_was_never_in_production_is_set_aside_by_one(one, draft, begins):
    moved(draft, begins)

    services.set_aside(key=draft.key, version=1, actor=one, now=LATER)

    assert fresh(draft).state == T.RETIRED
    assert events()[-1] == (
        "action_type.retired",
        {"action": "vendor_payment", "version": 1, "was": begins, "by": None},
    )


def test_what_is_in_production_or_waits_is_not_set_aside(one, draft):
    ask(draft, T.TESTED, actor=one)
    with pytest.raises(NotNow, match="waits"):
        services.set_aside(key=draft.key, version=1, actor=one, now=LATER)
    moved(draft, T.PRODUCTION)
    with pytest.raises(NotNow, match="is production"):
        services.set_aside(key=draft.key, version=1, actor=one, now=LATER)
    with pytest.raises(NotFound):
        services.set_aside(key=draft.key, version=2, actor=one, now=LATER)


# --- Its ends, and its clock ---


def test_a_refusal_says_why_and_changes_nothing(one, two, tested):
    change = ask(tested, actor=one)
    with pytest.raises(Unprocessable, match="Say why not"):
        services.refuse_change(change=change.pk, actor=two, note=" ", now=LATER)

    services.refuse_change(
        change=change.pk, actor=two, note="Not before the quarter ends.", now=LATER
    )

    assert (fresh(change).state, fresh(tested).state) == (S.REFUSED, T.TESTED)
    told = Notice.objects.filter(person=one, via="inbox").latest("pk").facts["text"]
    assert "Not before the quarter ends." in told


def test_whoever_asked_takes_it_back_and_nobody_else(one, two, tested):
    change = ask(tested, actor=one)
    with pytest.raises(NotYours, match="takes it back"):
        services.withdraw_change(change=change.pk, actor=two, now=LATER)

    services.withdraw_change(change=change.pk, actor=one, now=LATER)

    assert fresh(change).state == S.WITHDRAWN


def test_what_has_ended_is_not_ended_again(one, two, admins, tested):
    change = ask(tested, actor=one)
    confirm(change, two)

    with pytest.raises(AlreadyDecided, match="confirmed by Admin2"):
        confirm(change, admins[2])
    with pytest.raises(NotFound):
        services.withdraw_change(change=change.pk + 1, actor=one, now=LATER)


def test_it_lapses_at_its_instant_and_not_before(one, two, tested):
    change = ask(tested, actor=one)

    assert next_due_at(MONDAY_9AM) == change.due_at == MONDAY_9AM + 72 * H
    assert lapse_action_changes(now=change.due_at - MOMENT) == 0
    assert lapse_action_changes(now=change.due_at) == 1
    assert lapse_action_changes(now=change.due_at) == 0

    assert (fresh(change).state, fresh(change).ended_by, fresh(tested).state) == (
        S.LAPSED,
        None,
        T.TESTED,
    )
    assert Alert.objects.get().kind == "actions.lapsed"
    assert events()[-1][0] == "action_change.lapsed"


def test_a_confirmation_at_that_instant_is_too_late(one, two, tested):
    change = ask(tested, actor=one)

    with pytest.raises(TooLate):
        confirm(change, two, now=change.due_at)
    confirm(change, two, now=change.due_at - MOMENT)


def test_the_clock_ends_it_without_anybody(one, two, tested, timeline):
    change = ask(tested, actor=one)

    timeline.advance(hours=73)

    assert fresh(change).state == S.LAPSED


def test_one_that_nothing_ended_is_found_by_an_audit(one, two, tested):
    change = ask(tested, actor=one)
    late = change.due_at + timedelta(seconds=61)

    assert [found.key for found in action_changes_overdue(late)] == [f"change {change.pk}"]
    lapse_action_changes(now=late)
    assert list(action_changes_overdue(late)) == []


def test_those_who_may_confirm_are_told_where(one, two, admins, tested):
    ask(tested, actor=one, reason="Drilled on Monday.")

    told = {each.person.username: each.facts for each in Notice.objects.filter(via="inbox")}
    assert set(told) == {"admin2", "admin3"}
    assert "version 1 of Vendor payment goes into production" in told["admin2"]["text"]
    assert "Drilled on Monday." in told["admin2"]["text"]
    assert json.dumps(told["admin2"]).count("/actions/vendor_payment/1/") == 1


# --- At the same instant ---


@pytest.mark.django_db(transaction=True)
@pytest.mark.postgresql
def test_control_without_the_lock_both_confirmations_see_it_open(race, one, two, admins, tested):
    """Two who read and then write, with no lock between, both find it waiting: the harness can see the race."""
    change = ask(tested, actor=one)
    both = threading.Barrier(2, timeout=10)

    def look():
        found = fresh(change)
        both.wait()
        return found.state

    assert race(look, look) == [S.OPEN, S.OPEN]


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("_round", range(3))
def test_two_confirmations_at_once_make_one_promotion(race, one, two, admins, tested, _round):
    change = ask(tested, actor=one)

    outcomes = race(partial(confirm, change, two), partial(confirm, change, admins[2]))

    assert sorted(type(each).__name__ for each in outcomes) == ["ActionChange", "AlreadyDecided"]
    assert AuditEvent.objects.filter(kind="action_type.promoted").count() == 1
    assert fresh(tested).state == T.PRODUCTION


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("_round", range(3))
def test_of_two_versions_confirmed_at_once_one_is_in_production_at_the_end(
    race, one, two, admins, tested, _round
):
    other = moved(
        services.enter_version(fields={**FIELDS, "sla": 2 * H}, actor=one, now=LATER), T.TESTED
    )
    first, second = ask(tested, actor=one), ask(other, actor=one)

    outcomes = race(partial(confirm, first, two), partial(confirm, second, admins[2]))

    assert [type(each).__name__ for each in outcomes] == ["ActionChange", "ActionChange"], outcomes
    assert sorted(states().values()) == ["production", "retired"]


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("_round", range(3))
def test_a_confirmation_and_the_clock_at_once_end_it_once(race, one, two, tested, _round):
    change = ask(tested, actor=one)

    confirmed, lapsed = race(
        partial(confirm, change, two, now=change.due_at - MOMENT),
        partial(lapse_action_changes, now=change.due_at),
    )

    state = fresh(change).state
    if state == S.CONFIRMED:
        assert lapsed == 0
    else:
        assert (state, lapsed) == (S.LAPSED, 1)
        assert isinstance(confirmed, AlreadyDecided)
