"""The constraints of people, policy, catalogue and clock, each with an attempt to break it."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from itertools import product
from pathlib import Path

import pytest
from django.db import IntegrityError, transaction

from governance import decision_tree
from governance.models import Appointment, DecisionCell, MetricsMark, PolicyVersion
from tests.constraints import broken, constraints_of, update
from tests.factories import (
    MONDAY_9AM,
    AbsenceFactory,
    ActionChangeFactory,
    ActionTypeFactory,
    ActivePolicyFactory,
    AgentFactory,
    AppointmentFactory,
    AuditEventFactory,
    ContactChannelFactory,
    DecisionCellFactory,
    DemoClockFactory,
    DepartmentFactory,
    MatrixDelegateFactory,
    MatrixRowFactory,
    MeasureFactory,
    PathWindowFactory,
    PeopleChangeFactory,
    PersonalTokenFactory,
    PersonFactory,
    PolicyCheckFactory,
    PolicyFindingFactory,
    PolicySignatureFactory,
    PolicyVersionFactory,
    RoleFactory,
    RosterShiftFactory,
    SealedEventFactory,
    SealFactory,
    UncountedFactory,
    VerificationFactory,
    WeeklyRollupFactory,
)

pytestmark = pytest.mark.django_db

LATER = MONDAY_9AM + timedelta(hours=1)


def test_every_constraint_of_this_package_is_tried_here():
    tried = Path(__file__).read_text()

    assert [name for name in constraints_of("governance") if f'"{name}"' not in tried] == []


# --- People -----------------------------------------------------------------------------------


@pytest.mark.parametrize("again", ["fm@example.com", "FM@Example.com"])
def test_an_email_address_is_one_persons_however_it_is_written(again):
    PersonFactory(email="fm@example.com")

    with broken("person_email_once"):
        PersonFactory(email=again)


def test_any_number_of_people_have_no_email_address():
    PersonFactory(email="")

    PersonFactory(email="")


@pytest.mark.parametrize(
    ("limit", "currency"), [(None, "USD"), ("25000", ""), ("-0.01", "USD"), ("0", "")]
)
def test_a_limit_has_a_currency_and_is_not_negative(limit, currency):
    person = PersonFactory()

    with broken("person_limit_has_a_currency"):
        update(person, limit_amount=limit and Decimal(limit), limit_currency=currency)


@pytest.mark.parametrize(("limit", "currency"), [(None, ""), ("0", "USD"), ("25000", "EUR")])
def test_a_person_has_a_limit_or_none(limit, currency):
    person = PersonFactory()

    update(person, limit_amount=limit and Decimal(limit), limit_currency=currency)


def test_nobody_is_their_own_manager():
    person = PersonFactory(manager=PersonFactory())

    with broken("person_is_not_their_own_manager"):
        update(person, manager=person)
    update(person, manager=None)


@pytest.mark.parametrize("factory", [DepartmentFactory, RoleFactory])
def test_a_key_is_used_once(factory):
    first = factory()

    with pytest.raises(IntegrityError, match="key"), transaction.atomic():
        factory(key=first.key)


def test_a_name_of_an_agent_and_a_prefix_of_a_token_are_used_once():
    agent, token = AgentFactory(), PersonalTokenFactory()

    with pytest.raises(IntegrityError, match="name"), transaction.atomic():
        AgentFactory(name=agent.name)
    with pytest.raises(IntegrityError, match="prefix"), transaction.atomic():
        PersonalTokenFactory(prefix=token.prefix)


def test_a_change_of_people_that_waits_has_a_clock_and_one_that_ended_an_end():
    change = PeopleChangeFactory()
    ended = {"state": "refused", "due_at": None, "ended_at": LATER}

    for values in ({"due_at": None}, {"ended_at": LATER}):
        with broken("people_change_open_has_a_clock"):
            update(change, **values)
    for values in ({"due_at": LATER}, {"ended_at": None}):
        with broken("people_change_open_has_a_clock"):
            update(change, **(ended | values))
    with broken("people_change_known_state"):
        update(change, **(ended | {"state": "done"}))
    update(change, **ended)


def test_a_change_of_people_is_confirmed_by_a_second_person_who_is_not_its_subject():
    change = PeopleChangeFactory()
    confirmed = {"state": "confirmed", "due_at": None, "ended_at": LATER}

    for who in (None, change.asked_by, change.person):
        with broken("people_change_second_is_another"):
            update(change, **confirmed, ended_by=who)
    update(change, **confirmed, ended_by=PersonFactory())


def test_a_change_of_an_action_type_that_waits_has_a_clock_and_one_that_ended_an_end():
    change = ActionChangeFactory()
    ended = {"state": "refused", "due_at": None, "ended_at": LATER}

    for values in ({"due_at": None}, {"ended_at": LATER}):
        with broken("action_change_open_has_a_clock"):
            update(change, **values)
    for values in ({"due_at": LATER}, {"ended_at": None}):
        with broken("action_change_open_has_a_clock"):
            update(change, **(ended | values))
    with broken("action_change_known_state"):
        update(change, **(ended | {"state": "done"}))
    for becomes in ("draft", "gone"):
        with broken("action_change_known_end"):
            update(change, becomes=becomes)
    update(change, **ended)


def test_a_change_of_an_action_type_is_confirmed_by_a_second_person():
    change = ActionChangeFactory()
    confirmed = {"state": "confirmed", "due_at": None, "ended_at": LATER}

    for who in (None, change.asked_by):
        with broken("action_change_second_is_another"):
            update(change, **confirmed, ended_by=who)
    update(change, **confirmed, ended_by=PersonFactory())


def test_one_change_of_a_version_waits():
    change = ActionChangeFactory()

    with broken("action_change_one_open"):
        ActionChangeFactory(action_type=change.action_type)
    update(change, state="lapsed", due_at=None, ended_at=LATER)
    ActionChangeFactory(action_type=change.action_type)


@pytest.mark.parametrize("kind", ["limit", "roles", "manager", "enabled", "owner", "shifts"])
def test_a_change_of_people_is_of_a_person_an_agent_or_a_roster(kind):
    change = PeopleChangeFactory()
    subjects = {
        "person": {"person": change.person, "agent": None, "target": ""},
        "agent": {"person": None, "agent": AgentFactory(), "target": ""},
        "roster": {"person": None, "agent": None, "target": "sap"},
        "none": {"person": None, "agent": None, "target": ""},
        "two": {"person": change.person, "agent": None, "target": "sap"},
    }
    right = {"owner": "agent", "shifts": "roster"}.get(kind, "person")

    for name, subject in subjects.items():
        if name == right:
            update(change, kind=kind, **subject)
        else:
            with broken("people_change_is_of_one"):
                update(change, kind=kind, **subject)


def test_one_change_of_a_kind_waits_for_a_person_and_one_for_an_agent():
    change = PeopleChangeFactory()
    owner = PeopleChangeFactory(kind="owner", person=None, agent=AgentFactory())

    with broken("people_change_one_open_a_person"):
        PeopleChangeFactory(person=change.person)
    with broken("people_change_one_open_an_agent"):
        PeopleChangeFactory(kind="owner", person=None, agent=owner.agent)
    PeopleChangeFactory(person=change.person, kind="roles")
    update(change, state="lapsed", due_at=None, ended_at=LATER)
    PeopleChangeFactory(person=change.person)


def test_an_address_is_a_persons_once_of_a_kind():
    channel = ContactChannelFactory()

    with broken("channel_once_a_person"):
        ContactChannelFactory(person=channel.person)
    ContactChannelFactory(person=channel.person, kind="apprise", address=channel.address)
    ContactChannelFactory(address=channel.address)


@pytest.mark.parametrize("length", [timedelta(0), timedelta(microseconds=-1)])
def test_an_absence_and_a_shift_have_a_length(length):
    absence, shift = AbsenceFactory(), RosterShiftFactory()

    with broken("absence_has_a_length"):
        update(absence, ends_at=absence.starts_at + length)
    with broken("shift_has_a_length"):
        update(shift, ends_at=shift.starts_at + length)


def test_the_shortest_absence_is_one():
    absence = AbsenceFactory()

    update(absence, ends_at=absence.starts_at + timedelta(microseconds=1))


# --- Policy versions --------------------------------------------------------------------------


def test_one_policy_is_active():
    ActivePolicyFactory()
    draft = PolicyVersionFactory()

    with broken("policy_one_active"):
        update(draft, state="active", activated_at=LATER)


@pytest.mark.parametrize(
    ("state", "at"), [("discarded", None), ("draft", LATER), ("superseded", LATER)]
)
def test_a_discarded_policy_and_no_other_says_when_and_by_whom(state, at):
    policy = PolicyVersionFactory(activated_at=MONDAY_9AM)

    with broken("policy_discarded_by_somebody"):
        update(policy, state=state, discarded_at=at)


def test_any_number_of_policies_are_drafts_or_superseded():
    for state in ("draft", "draft", "superseded", "superseded", "active"):
        PolicyVersionFactory(state=state, activated_at=MONDAY_9AM)

    assert PolicyVersion.objects.count() == 5


@pytest.mark.parametrize("state", ["active", "superseded"])
def test_a_policy_that_is_or_was_active_says_since_when(state):
    draft = PolicyVersionFactory()

    with broken("policy_active_since"):
        update(draft, state=state)


@pytest.mark.parametrize("state", ["", "retired"])
def test_a_policy_is_in_no_state_we_do_not_know(state):
    policy = PolicyVersionFactory(activated_at=MONDAY_9AM)

    with broken("policy_known_state"):
        update(policy, state=state)


def test_a_policy_number_is_used_once():
    policy = PolicyVersionFactory()

    with pytest.raises(IntegrityError, match="number"), transaction.atomic():
        PolicyVersionFactory(number=policy.number)


def test_a_person_signs_a_policy_once():
    signature = PolicySignatureFactory()

    with broken("signature_once_a_person"):
        PolicySignatureFactory(version=signature.version, person=signature.person)
    PolicySignatureFactory(version=signature.version)


# --- The matrix -------------------------------------------------------------------------------


def test_a_row_number_is_used_once_in_a_policy():
    row = MatrixRowFactory()

    with broken("matrix_row_number_once"):
        MatrixRowFactory(version=row.version, number=row.number)
    MatrixRowFactory(number=row.number)


def test_a_row_names_a_role_or_a_person_and_not_both():
    row = MatrixRowFactory()

    with broken("matrix_row_has_one_approver"):
        update(row, approver_person=PersonFactory())
    with broken("matrix_row_has_one_approver"):
        update(row, approver_role=None)
    update(row, approver_role=None, approver_person=PersonFactory())


def test_a_row_asks_at_least_one_person():
    row = MatrixRowFactory()

    with broken("matrix_row_quorum"):
        update(row, quorum=0)


@pytest.mark.parametrize(
    ("currency", "low", "high"),
    [
        ("", "0", None),  # a band without a currency
        ("", None, "100"),
        ("USD", None, None),  # a currency without a band
        ("USD", None, "100"),
        ("USD", "-1", "100"),
        ("USD", "100", "100"),  # a band without a length
        ("USD", "100", "99"),
    ],
)
def test_a_row_covers_a_band_in_one_currency_or_no_amount(currency, low, high):
    row = MatrixRowFactory()

    with broken("matrix_row_band"):
        update(row, currency=currency, amount_from=low, amount_to=high)


@pytest.mark.parametrize(
    ("currency", "low", "high"),
    [("", None, None), ("USD", "0", None), ("USD", "0", "0.0001"), ("USD", "100", "101")],
)
def test_these_bands_may_stand(currency, low, high):
    row = MatrixRowFactory()

    update(row, currency=currency, amount_from=low, amount_to=high)


def test_delegates_stand_in_one_order():
    delegate = MatrixDelegateFactory()

    with broken("matrix_delegate_position_once"):
        MatrixDelegateFactory(row=delegate.row, position=delegate.position)


def test_a_delegate_is_a_role_or_a_person_and_not_both():
    delegate = MatrixDelegateFactory()

    with broken("matrix_delegate_is_one"):
        update(delegate, person=PersonFactory())
    with broken("matrix_delegate_is_one"):
        update(delegate, role=None)
    update(delegate, role=None, person=PersonFactory())


# --- Windows, cells, checks, offices ----------------------------------------------------------


def test_a_rung_has_one_window_in_a_policy():
    window = PathWindowFactory()

    with broken("path_window_once"):
        PathWindowFactory(version=window.version)
    PathWindowFactory(version=window.version, level=2)


@pytest.mark.parametrize("length", [timedelta(0), timedelta(seconds=-1)])
def test_a_window_has_a_length(length):
    window = PathWindowFactory()

    with broken("path_window_has_a_length"):
        update(window, window=length)


def test_a_policy_answers_each_of_the_45_cells_once():
    policy = PolicyVersionFactory()
    for exception, severity, impact, rule in decision_tree.cells():
        DecisionCellFactory(
            version=policy,
            exception=exception,
            severity=severity,
            impact=impact,
            response=rule.response,
            source=rule.source,
        )

    for cell in DecisionCell.objects.filter(version=policy):
        with broken("decision_cell_once"):
            cell.pk = None
            cell.save(force_insert=True)


ITS_PATH = {
    "timeout": {"ask_again_extended", "ask_again", "delegate"},
    "rejection": {"alternate", "department_head"},
    "conflict": {"hold"},
    "system_failure": {"retry", "retry_tell_oncall", "oncall"},
    "policy_violation": {"ask_compliance"},
}
RESPONSES = sorted({"", "approve"}.union(*ITS_PATH.values()))


@pytest.mark.parametrize(("exception", "response"), [*product(ITS_PATH, RESPONSES)])
def test_a_cell_holds_only_a_response_of_its_own_path(exception, response):
    cell = DecisionCellFactory()

    if response in ITS_PATH[exception]:
        update(cell, exception=exception, response=response)
    else:
        with broken("decision_cell_response_of_its_path"):
            update(cell, exception=exception, response=response)


def test_an_exception_we_do_not_know_has_no_cell():
    cell = DecisionCellFactory()

    with broken("decision_cell_response_of_its_path"):
        update(cell, exception="weather")


def test_a_check_is_in_a_policy_once():
    check = PolicyCheckFactory()

    with broken("policy_check_once"):
        PolicyCheckFactory(version=check.version, key=check.key, revision=2)
    PolicyCheckFactory(key=check.key)


@pytest.mark.parametrize("office", Appointment.Office)
def test_a_person_holds_an_office_once(office):
    held = AppointmentFactory(office=office, scope="accounts-payable")

    with broken("appointment_once", "appointment_one_holder"):
        AppointmentFactory(
            version=held.version, office=office, scope=held.scope, person=held.person
        )


@pytest.mark.parametrize(
    "office", ["department_head", "resource_owner", "oncall_fallback", "head_of_compliance"]
)
def test_some_offices_have_one_holder(office):
    held = AppointmentFactory(office=office, scope="demo")

    with broken("appointment_one_holder"):
        AppointmentFactory(version=held.version, office=office, scope="demo")
    AppointmentFactory(version=held.version, office=office, scope="demo:vendor-bill")
    AppointmentFactory(office=office, scope="demo")


@pytest.mark.parametrize("office", ["compliance", "reviewer", "executive"])
def test_other_offices_have_several_holders(office):
    held = AppointmentFactory(office=office)

    AppointmentFactory(version=held.version, office=office)


# --- The catalogue ----------------------------------------------------------------------------


def test_a_version_of_an_action_type_is_made_once():
    first = ActionTypeFactory(state="draft")

    with broken("action_type_version_once"):
        ActionTypeFactory(key=first.key, state="draft")


def test_one_version_of_an_action_type_is_in_production():
    first = ActionTypeFactory(state="production")
    second = ActionTypeFactory(key=first.key, version=2, state="tested")

    with broken("action_type_one_in_production"):
        update(second, state="production")
    update(first, state="retired")
    update(second, state="production")


@pytest.mark.parametrize("sla", [timedelta(0), timedelta(seconds=-1)])
def test_an_sla_has_a_length(sla):
    action = ActionTypeFactory()

    with broken("action_type_sla_has_a_length"):
        update(action, sla=sla)


@pytest.mark.parametrize("state", ["", "live"])
def test_an_action_type_is_in_no_state_we_do_not_know(state):
    action = ActionTypeFactory()

    with broken("action_type_known_state"):
        update(action, state=state)


# --- The clock and the record -----------------------------------------------------------------


def test_the_demo_clock_is_one_row_and_goes_forward():
    clock = DemoClockFactory()

    with broken("demo_clock_is_one_row"):
        DemoClockFactory(pk=2)
    for speed in (0, -1):
        with broken("demo_clock_goes_forward"):
            update(clock, speed=speed)


def test_two_events_are_not_both_the_next_one():
    event = AuditEventFactory()

    with broken("event_one_per_place"):
        AuditEventFactory(chain=event.chain)
    AuditEventFactory(chain=event.chain, seq=2)


def test_a_chain_begins_at_one():
    with broken("event_seq_from_one"):
        AuditEventFactory(seq=0)


def test_a_verification_ends_after_it_began():
    with broken("verification_begins_first"):
        VerificationFactory(ended_at=MONDAY_9AM - timedelta(microseconds=1))


def test_seals_are_numbered_from_one_and_cover_something():
    with broken("seal_number_from_one"):
        SealFactory(number=0)
    with broken("seal_of_something"):
        SealFactory(size=0)


def test_a_leaf_of_a_seal_is_one_event():
    leaf = SealedEventFactory()

    with broken("event_one_per_leaf"):
        SealedEventFactory(seal=leaf.seal, position=leaf.position)


def test_a_finding_stands_once_in_a_version():
    first = PolicyFindingFactory()

    with broken("policy_finding_one_open"):
        PolicyFindingFactory(key=first.key)
    update(first, gone_at=LATER)
    PolicyFindingFactory(key=first.key)


def test_nothing_counts_twice_towards_one_metric():
    first = MeasureFactory()

    with broken("measure_once"):
        MeasureFactory(chain=first.chain, seq=first.seq)
    MeasureFactory(chain=first.chain, seq=first.seq, metric="bypass")


def test_a_measure_is_of_a_metric_we_know():
    with broken("measure_known_metric"):
        MeasureFactory(metric="speed")


def test_a_case_has_its_time_and_nothing_else_has_one():
    with broken("measure_of_a_case_has_its_time"):
        MeasureFactory(metric="resolution", seconds=None)
    with broken("measure_of_a_case_has_its_time"):
        MeasureFactory(metric="bypass", seconds=60)


def test_a_rollup_stands_once_and_that_of_all_has_no_value():
    first = WeeklyRollupFactory()

    with broken("rollup_once"):
        WeeklyRollupFactory(week=first.week)
    with broken("rollup_of_all_has_no_value"):
        WeeklyRollupFactory(value="vendor_payment")
    WeeklyRollupFactory(by="action", value="vendor_payment")


def test_there_is_one_mark_of_what_is_counted():
    with broken("metrics_mark_is_one"):
        MetricsMark.objects.create(id=2)


def test_a_request_is_left_out_once():
    first = UncountedFactory()

    with broken("uncounted_once"):
        UncountedFactory(chain=first.chain)
