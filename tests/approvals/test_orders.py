"""Ordering that something be undone: who, when, and what each state makes of it."""

from __future__ import annotations

from datetime import timedelta
from functools import partial

import pytest
from django.db import connection

from approvals.models import ActionRequest, Alert, Notice, Order
from approvals.order_sweeps import lapse_orders
from approvals.services.orders import order_rollback
from governance.errors import NotFound, NotNow, NotYours, TooLate, Unprocessable
from governance.models import Appointment, AuditEvent
from tests.approvals.asking import chain_kinds
from tests.factories import (
    MONDAY_9AM,
    AppointmentFactory,
    CaseFactory,
    ClaimFactory,
    ContactChannelFactory,
    DecisionFactory,
    DepartmentFactory,
    OrderFactory,
    PersonFactory,
    RequestFactory,
    ReviewFactory,
    RoleFactory,
    StepFactory,
    small_company,
)

pytestmark = pytest.mark.django_db

S = ActionRequest.State
H = timedelta(hours=1)
TICK = timedelta(microseconds=1)
WHY = "Paid twice."


def done(company, state=S.COMPLETED, *, has_effects=True, **over):
    """Return a payment that is in the books, or in another state."""
    return RequestFactory(
        agent=company.agent,
        action_type=company.vendor_payment,
        department=company.accounts_payable,
        policy=company.policy,
        matrix_row=company.row,
        state=state,
        has_effects=has_effects,
        **over,
    )


def order(request, actor, *, now=MONDAY_9AM, reason=WHY):
    return order_rollback(ref=request.ref, actor=actor, reason=reason, now=now)


def of_duty(key, **over):
    role = RoleFactory._meta.model.objects.filter(key=key).first() or RoleFactory(key=key)
    return PersonFactory(roles=[role], **over)


@pytest.fixture
def operator(company):
    return of_duty("operator", username="operator", name="Operator")


@pytest.fixture
def payment(company):
    return done(company)


def appointed(company, office, scope=""):
    person = PersonFactory()
    AppointmentFactory(version=company.policy, office=office, scope=scope, person=person)
    return person


def as_operator(company):
    return of_duty("operator")


def as_controller(company):
    return company.controller


def as_controller_of_no_department(company):
    return of_duty("controller", department=None)


def as_head_of_department(company):
    return appointed(company, Appointment.Office.DEPARTMENT_HEAD, "accounts-payable")


def as_head_of_compliance(company):
    return appointed(company, Appointment.Office.HEAD_OF_COMPLIANCE)


def as_controller_elsewhere(company):
    return of_duty("controller", department=DepartmentFactory())


def as_head_of_another_department(company):
    return appointed(company, Appointment.Office.DEPARTMENT_HEAD, "sales")


def as_somebody_without_office(company):
    return company.cfo


def as_auditor(company):
    return of_duty("auditor")


ORDERERS = [
    as_operator,
    as_controller,
    as_head_of_department,
]
OUTSIDERS = [
    as_controller_elsewhere,
    as_controller_of_no_department,
    as_head_of_another_department,
    as_somebody_without_office,
    as_auditor,
]


# --- Who ---


@pytest.mark.parametrize("who", ORDERERS)
def test_those_with_the_office_order(company, payment, who):
    actor = who(company)

    ordered = order(payment, actor)

    assert ordered.accepted
    stored = Order.objects.get()
    assert (stored.ordered_by, stored.reason, stored.needs_second) == (actor, WHY, True)
    assert (stored.ordered_at, stored.due_at) == (MONDAY_9AM, MONDAY_9AM + 4 * H)
    assert (stored.closed_at, stored.confirmed_by) == (None, None)


@pytest.mark.parametrize("who", [*OUTSIDERS, as_head_of_compliance])
def test_nobody_else_orders(company, payment, who):
    actor = who(company)

    with pytest.raises(NotYours, match="ordered by an operator, or by the controller or the head"):
        order(payment, actor)

    assert not Order.objects.exists()


@pytest.mark.parametrize("who", [*ORDERERS, as_head_of_compliance])
def test_another_with_the_office_confirms(company, payment, who):
    order(payment, of_duty("operator"))
    actor = who(company)

    confirmed = order(payment, actor, now=MONDAY_9AM + H)

    assert not confirmed.accepted
    stored = Order.objects.get()
    assert (stored.confirmed_by, stored.confirmed_at) == (actor, MONDAY_9AM + H)
    assert stored.closed_at is None


@pytest.mark.parametrize("who", [*ORDERERS, as_head_of_compliance])
def test_to_confirm_again_changes_nothing_and_says_so(company, payment, who):
    """The first answer may have been lost on its way."""
    order(payment, of_duty("operator"))
    actor = who(company)
    order(payment, actor, now=MONDAY_9AM + H)

    again = order(payment, actor, now=MONDAY_9AM + 2 * H)

    assert not again.accepted
    assert Order.objects.get().confirmed_at == MONDAY_9AM + H


@pytest.mark.parametrize("who", OUTSIDERS)
def test_nobody_else_confirms(company, payment, operator, who):
    order(payment, operator)
    actor = who(company)

    with pytest.raises(NotYours, match="or by the head of compliance"):
        order(payment, actor)

    assert Order.objects.get().confirmed_by is None


@pytest.mark.parametrize("confirming", [False, True])
def test_the_agents_owner_and_whoever_it_acted_for_have_no_part(company, operator, confirming):
    involved = of_duty("operator")
    payment = done(company, on_behalf_of=involved)
    company.agent_owner.roles.add(*operator.roles.all())
    if confirming:
        order(payment, operator)

    with pytest.raises(NotYours, match="on your behalf"):
        order(payment, involved)
    with pytest.raises(NotYours, match="You own the agent"):
        order(payment, company.agent_owner)


def test_the_disabled_neither_order_nor_confirm(company, payment, operator):
    gone = of_duty("operator", is_active=False)

    with pytest.raises(NotYours, match="disabled"):
        order(payment, gone)
    order(payment, operator)
    with pytest.raises(NotYours, match="disabled"):
        order(payment, gone)


def did_it_by_hand(payment, person):
    case = CaseFactory(request=payment, exception="system_failure", response="oncall")
    ClaimFactory(case=case, person=person, closed_at=MONDAY_9AM)


def decided_before(payment, person):
    step = StepFactory(request=payment, state="answered")
    DecisionFactory(step=step, person=person)


def bypassed(payment, person):
    step = StepFactory(request=payment, path="timeout", level=4, state="answered")
    review = ReviewFactory(request=payment, kind="bypass")
    DecisionFactory(step=step, person=person, is_bypass=True, review=review)


@pytest.mark.parametrize(
    ("was_part", "why"),
    [
        (did_it_by_hand, "part of it by hand"),
        (decided_before, "decided on this request before"),
        (bypassed, "in place of others"),
    ],
)
def test_who_had_a_part_in_it_may_order_and_not_be_the_second(
    company, payment, operator, was_part, why
):
    other = of_duty("operator")
    was_part(payment, other)

    order(payment, operator)
    with pytest.raises(NotYours, match=why):
        order(payment, other)

    second = done(company)
    was_part(second, other)
    assert order(second, other).accepted


def test_the_orderer_is_not_the_second(payment, operator):
    first = order(payment, operator)
    events = AuditEvent.objects.count()

    again = order(payment, operator, now=MONDAY_9AM + H, reason="")

    assert again.accepted
    assert again.order == first.order
    assert Order.objects.get().confirmed_by is None
    assert AuditEvent.objects.count() == events


def test_an_order_of_a_review_is_confirmed_in_the_review(payment, operator):
    OrderFactory(
        request=payment, review=ReviewFactory(request=payment), needs_second=True,
        due_at=MONDAY_9AM + 4 * H,
    )  # fmt: skip

    with pytest.raises(NotYours, match="second reviewer"):
        order(payment, operator)


def test_there_is_no_such_request(operator):
    with pytest.raises(NotFound):
        order_rollback(ref="R-NONE", actor=operator, reason=WHY, now=MONDAY_9AM)


# --- Why ---


@pytest.mark.parametrize("reason", ["", " \n\t", "x" * 2001])
def test_an_order_says_why(payment, operator, reason):
    with pytest.raises(Unprocessable):
        order(payment, operator, reason=reason)

    assert not Order.objects.exists()
    assert not chain_kinds(payment)


def test_a_reason_may_be_2000_characters(payment, operator):
    order(payment, operator, reason=f" {'x' * 2000} ")

    assert Order.objects.get().reason == "x" * 2000


# --- In which state ---


@pytest.mark.parametrize(
    "state", [S.EXECUTING, S.TROUBLED, S.BLOCKED, S.COMPLETED, S.COMPLETED_MANUALLY]
)
def test_where_something_is_done_an_order_stands_and_the_state_stays(company, operator, state):
    request = done(company, state)
    due_at = request.due_at

    ordered = order(request, operator)

    stored = ActionRequest.objects.get()
    assert ordered.accepted
    assert (stored.state, stored.due_at, stored.state_seq) == (state, due_at, 0)
    assert chain_kinds(request) == ["rollback.ordered"]


@pytest.mark.parametrize("state", [S.APPROVED, S.HELD, S.BLOCKED, S.EXECUTING, S.TROUBLED])
def test_what_was_approved_and_has_not_written_yet_may_at_any_moment(company, operator, state):
    assert order(done(company, state, has_effects=False, approved_at=MONDAY_9AM), operator).accepted


@pytest.mark.parametrize(
    "state",
    [
        S.PENDING, S.HELD, S.BLOCKED, S.COMPLETED, S.COMPLETED_MANUALLY, S.REJECTED,
        S.DENIED, S.EXPIRED, S.WITHDRAWN, S.ROLLED_BACK,
    ],
)  # fmt: skip
def test_where_nothing_is_done_there_is_nothing_to_undo(company, operator, state):
    request = done(company, state, has_effects=False)

    ordered = order(request, operator)

    stored = Order.objects.get()
    assert not ordered.accepted
    assert "nothing to undo" in ordered.words
    assert (stored.outcome, stored.closed_at) == ("nothing_to_do", MONDAY_9AM)
    assert chain_kinds(request) == ["rollback.nothing_to_do"]


def test_an_order_joins_what_is_being_undone(company, operator):
    request = done(company, S.ROLLING_BACK)

    ordered = order(request, operator)

    assert not ordered.accepted
    assert Order.objects.get().outcome == "joined"
    assert chain_kinds(request) == ["rollback.joined"]


def test_an_order_that_waited_is_closed_by_whoever_finds_nothing_left(company, payment, operator):
    order(payment, operator)
    ActionRequest.objects.update(state=S.ROLLED_BACK, has_effects=False)

    answer = order(payment, company.controller, reason="")

    assert not answer.accepted
    assert Order.objects.get().outcome == "nothing_to_do"


def test_what_is_stranded_is_cleaned_up_by_hand(company, operator):
    request = done(company, S.STRANDED)

    with pytest.raises(NotNow, match="cleaned up by hand"):
        order(request, operator)

    assert not Order.objects.exists()


def test_what_is_not_financial_takes_one_person(company, operator):
    company.vendor_payment.is_financial = False
    company.vendor_payment.save()
    request = done(company)

    ordered = order(request, operator)

    assert ordered.accepted
    assert (ordered.order.needs_second, ordered.order.due_at) == (False, None)
    again = order(request, company.controller)
    assert not again.accepted
    assert "it stands" in again.words
    assert Order.objects.count() == 1


def test_a_confirmed_order_stands(company, payment, operator):
    order(payment, operator)
    order(payment, company.controller)
    third = of_duty("operator")

    answer = order(payment, third)

    assert not answer.accepted
    assert "The Operator ordered it at 09:00:00, and it stands." in answer.words
    assert Order.objects.get().confirmed_by == company.controller


# --- The clock ---


def test_a_second_signature_is_in_time_until_the_instant_it_lapses(company, payment, operator):
    order(payment, operator)

    order(payment, company.controller, now=MONDAY_9AM + 4 * H - TICK)

    assert Order.objects.get().confirmed_by == company.controller
    assert lapse_orders(now=MONDAY_9AM + 4 * H) == 0


def test_at_that_instant_it_is_too_late_and_the_order_lapses(company, payment, operator):
    ContactChannelFactory(person=operator)
    order(payment, operator)
    due_at = MONDAY_9AM + 4 * H

    with pytest.raises(TooLate, match="lapsed at 13:00:00"):
        order(payment, company.controller, now=due_at)
    assert lapse_orders(now=due_at - TICK) == 0
    assert lapse_orders(now=due_at) == 1
    assert lapse_orders(now=due_at) == 0

    stored = Order.objects.get()
    assert (stored.outcome, stored.closed_at, stored.confirmed_by) == ("lapsed", due_at, None)
    assert chain_kinds(payment) == ["rollback.ordered", "rollback.lapsed"]
    alert = Alert.objects.get()
    assert (alert.kind, alert.key) == ("rollback.lapsed", payment.ref)
    told = Notice.objects.filter(person=operator, facts__what="rollback_lapsed")
    assert {each.via for each in told} == {"inbox", "email"}


def test_what_lapsed_can_be_ordered_anew(payment, operator):
    order(payment, operator)
    lapse_orders(now=MONDAY_9AM + 4 * H)

    again = order(payment, operator, now=MONDAY_9AM + 5 * H)

    assert again.accepted
    assert again.order.due_at == MONDAY_9AM + 9 * H


def test_the_clock_leaves_alone_what_is_confirmed_closed_or_not_due(company, operator):
    confirmed, effective, joined, early, parked = (
        done(company, S.ROLLING_BACK if n == 2 else S.COMPLETED) for n in range(5)
    )
    order(confirmed, operator)
    order(confirmed, company.controller)
    OrderFactory(request=effective, ordered_by=operator)
    order(joined, operator)
    order(early, operator, now=MONDAY_9AM + TICK)
    order(parked, operator)
    ActionRequest.objects.filter(pk=parked.pk).update(parked_until=MONDAY_9AM + 5 * H)

    # What another sweep fails on, and parks, does not keep an order from its clock.
    assert lapse_orders(now=MONDAY_9AM + 4 * H) == 1
    assert lapse_orders(now=MONDAY_9AM + 5 * H) == 1


def test_a_sweep_takes_as_many_as_it_may(company, operator):
    for _ in range(3):
        order(done(company), operator)

    assert [lapse_orders(now=MONDAY_9AM + 4 * H, limit=2) for _ in range(3)] == [2, 1, 0]


# --- Who is told ---


def test_those_who_may_confirm_are_told_and_nobody_else(company, payment, operator):
    other = of_duty("operator")
    head = as_head_of_compliance(company)
    decided_before(payment, company.controller)
    ContactChannelFactory(person=other)

    ordered = order(payment, operator)

    inbox = Notice.objects.filter(via="inbox", facts__what="rollback_waits")
    assert {notice.person for notice in inbox} == {other, head}
    assert Notice.objects.filter(via="email", person=other).exists()
    assert "13:00:00, then it lapses" in ordered.words


def test_it_is_said_when_nobody_could_confirm(company, payment, operator):
    decided_before(payment, company.controller)

    assert "Nobody else may confirm it" in order(payment, operator).words


def test_the_orderer_is_told_who_confirmed(company, payment, operator):
    order(payment, operator)

    order(payment, company.controller, reason="")

    told = Notice.objects.get(person=operator, via="inbox")
    assert told.facts["what"] == "rollback_confirmed"
    assert told.facts["by"] == "Controller"
    assert chain_kinds(payment) == ["rollback.ordered", "rollback.confirmed"]
    assert (
        AuditEvent.objects.get(kind="rollback.confirmed").facts["ordered_by"] == "person:operator"
    )


# --- At the same instant ---


@pytest.fixture
def raced(transactional_db):
    company = small_company()
    return done(company), [of_duty("operator") for _ in range(4)]


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("_round", range(5))
def test_of_two_who_confirm_at_once_one_stands(raced, race, _round):
    payment, (first, second, third, _) = raced
    order(payment, first)

    outcomes = race(partial(order, payment, second), partial(order, payment, third))

    assert not [each for each in outcomes if isinstance(each, Exception)]
    words = sorted(each.words.split()[0] for each in outcomes)
    assert words == ["Confirmed.", "The"]
    assert chain_kinds(payment) == ["rollback.ordered", "rollback.confirmed"]


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("_round", range(5))
def test_of_two_who_order_at_once_one_orders_and_the_other_confirms(raced, race, _round):
    payment, (first, second, *_) = raced

    outcomes = race(partial(order, payment, first), partial(order, payment, second))

    assert sorted(each.accepted for each in outcomes) == [False, True]
    stored = Order.objects.get()
    assert {stored.ordered_by, stored.confirmed_by} == {first, second}


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("_round", range(5))
def test_a_confirmation_and_the_clock_never_both_win(raced, race, _round):
    payment, (first, second, *_) = raced
    order(payment, first)
    due_at = MONDAY_9AM + 4 * H

    race(partial(order, payment, second, now=due_at - TICK), partial(lapse_orders, now=due_at))

    stored = Order.objects.get(pk=Order.objects.order_by("pk").first().pk)
    assert (stored.outcome == "lapsed") != (stored.confirmed_by is not None)


@pytest.mark.django_db(transaction=True)
def test_the_control_two_without_the_lock_both_find_no_order(raced, race):
    payment, _ = raced

    def look():
        found = Order.objects.filter(request=payment, closed_at=None).exists()
        connection.close()
        return found

    assert race(look, look) == [False, False]
