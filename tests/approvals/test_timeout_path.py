"""Silence, from the first ask to the end: each rung on its own clock, and nothing is paid."""

from __future__ import annotations

from datetime import timedelta

import pytest

from approvals.models import ActionRequest, Alert, Ask, Case, Finding, Step
from approvals.sweeps import climb_due_steps, pass_over_absent
from governance.models import AuditEvent, ContactChannel, PolicyVersion
from governance.tables import policy
from governance.vocabulary import Path
from tests.approvals.asking import another_delegate, answer, ask_for_payment, chain_kinds
from tests.factories import (
    MONDAY_9AM,
    AbsenceFactory,
    ContactChannelFactory,
    MatrixDelegateFactory,
    MatrixRowFactory,
    PathWindowFactory,
    PersonFactory,
    PolicyVersionFactory,
)

pytestmark = pytest.mark.django_db

M = timedelta(minutes=1)


def rungs(request):
    return [
        (step.path, step.level, step.opened_at - MONDAY_9AM, step.due_at - MONDAY_9AM, step.state)
        for step in request.steps.order_by("pk")
    ]


def asked_on(request, level):
    return [
        ask.person.username
        for ask in Ask.objects.filter(
            step__request=request, step__level=level, asked_at__isnull=False
        )
    ]


def test_silence_climbs_the_ladder_and_ends_expired(company, timeline):
    request = ask_for_payment(company)

    timeline.advance(hours=7)

    request.refresh_from_db()
    assert rungs(request) == [
        ("approval", 0, 0 * M, 5 * M, "expired"),
        ("timeout", 1, 5 * M, 35 * M, "expired"),
        ("timeout", 2, 35 * M, 155 * M, "expired"),
        ("timeout", 3, 155 * M, 395 * M, "expired"),
    ]
    assert (request.state, request.end_reason, request.due_at) == ("expired", "silence", None)
    assert request.ended_at - MONDAY_9AM == 395 * M


def test_each_rung_asks_whom_the_matrix_names(company, timeline):
    request = ask_for_payment(company)

    timeline.advance(hours=7)

    assert [asked_on(request, level) for level in range(4)] == [
        ["finance_manager"],
        ["finance_manager"],
        ["senior_accountant"],
        ["controller"],
    ]


def test_the_end_of_silence_is_seen(company, timeline):
    request = ask_for_payment(company)

    timeline.advance(hours=7)

    case = Case.objects.get(request=request)
    assert (case.exception, case.response, case.source) == ("timeout", "ask_again", "O")
    assert (case.state, case.outcome, case.highest_level) == ("resolved", "expired", 3)
    assert Alert.objects.get(kind="request.expired").request == request
    told = request.notices.filter(kind="told", via="inbox").values_list(
        "person__username", flat=True
    )
    assert sorted(told) == ["controller", "finance_manager", "senior_accountant"]


def test_everything_that_happened_is_in_its_chain(company, timeline):
    request = ask_for_payment(company)

    timeline.advance(hours=7)

    assert chain_kinds(request) == [
        "request.submitted", "step.opened",
        "step.expired", "case.opened", "step.opened",
        "ask.pinged", "ask.pinged",
        "step.expired", "step.opened",
        "step.expired", "step.opened",
        "step.expired", "request.expired", "case.resolved",
    ]  # fmt: skip


def test_nothing_moves_a_moment_before_it_is_due(company, timeline):
    request = ask_for_payment(company)

    moved = climb_due_steps(now=request.due_at - timedelta(microseconds=1))

    assert moved == 0
    assert request.steps.get().state == Step.State.WAITING


def test_a_step_expires_at_the_very_moment_it_is_due_and_once(company, timeline):
    request = ask_for_payment(company)

    counts = [climb_due_steps(now=request.due_at) for _ in range(2)]

    assert counts == [1, 0]
    assert request.steps.count() == 2


def test_low_severity_and_low_impact_are_asked_again_for_twice_the_window(company, timeline):
    company.vendor_payment.impact = "low"
    company.vendor_payment.save()
    request = ask_for_payment(company, impact="low")

    timeline.advance(minutes=5)

    assert rungs(request)[1][:4] == ("timeout", 1, 5 * M, 65 * M)
    assert Case.objects.get().response == "ask_again_extended"


@pytest.mark.parametrize(
    ("severity", "impact"),
    [("low", "high"), ("medium", "medium"), ("high", "medium"), ("high", "high")],
)
def test_graver_silence_goes_to_the_delegate_at_once(company, timeline, severity, impact):
    request = ask_for_payment(company, severity=severity, impact=impact)

    timeline.advance(minutes=5)

    assert rungs(request)[1][:4] == ("timeout", 2, 5 * M, 125 * M)


def test_who_is_asked_again_is_pinged_at_widening_intervals(company, timeline):
    request = ask_for_payment(company)

    timeline.advance(minutes=34)

    pings = AuditEvent.objects.filter(chain=request.ref, kind="ask.pinged").values_list(
        "at", flat=True
    )
    assert [at - MONDAY_9AM for at in pings] == [10 * M, 20 * M]


def test_a_rung_begins_when_the_time_before_it_was_over_not_at_the_sweep(company, timeline):
    request = ask_for_payment(company)

    climb_due_steps(now=request.due_at + 3 * M)  # a tenth of L1's 30 min, and not more

    step = request.steps.get(level=1)
    assert (step.opened_at, step.began) == (MONDAY_9AM + 5 * M, "expired")
    assert not Finding.objects.exists()


def test_a_sweep_later_than_a_tenth_of_the_window_begins_it_now_and_is_a_finding(company, timeline):
    request = ask_for_payment(company)
    late = request.due_at + 3 * M + timedelta(microseconds=1)

    climb_due_steps(now=late)

    step = request.steps.get(level=1)
    assert (step.opened_at, step.due_at, step.began) == (late, late + 30 * M, "late")
    assert Finding.objects.get().audit == "clock.late"
    assert Alert.objects.filter(kind="clock.late", closed_at=None).count() == 1


def test_a_known_absence_is_not_waited_for(company, timeline):
    AbsenceFactory(
        person=company.finance_manager, starts_at=MONDAY_9AM, ends_at=MONDAY_9AM + timedelta(days=5)
    )

    request = ask_for_payment(company)

    assert [(s.path, s.level, s.state) for s in request.steps.order_by("pk")] == [
        ("approval", 0, "passed_over"),
        ("timeout", 1, "passed_over"),
        ("timeout", 2, "waiting"),
    ]
    assert request.due_at == MONDAY_9AM + timedelta(hours=2)
    assert Case.objects.get().absent
    passed = Ask.objects.get(step__level=0)
    assert passed.passed_over_reason.startswith("is away until")


def test_an_absence_that_begins_while_they_are_asked_passes_them_over_on_the_same_clock(
    company, timeline
):
    request = ask_for_payment(company)
    timeline.advance(minutes=40)
    second = another_delegate(company)
    AbsenceFactory(
        person=company.senior_accountant,
        starts_at=MONDAY_9AM + 45 * M,
        ends_at=MONDAY_9AM + timedelta(days=1),
    )

    timeline.advance(minutes=10)

    step = request.steps.get(level=2)
    assert (step.state, step.due_at) == ("waiting", MONDAY_9AM + 155 * M)
    assert [(a.person, a.due_at is not None) for a in step.asks.order_by("pk")] == [
        (company.senior_accountant, False),
        (second, True),
    ]
    assert not request.steps.filter(path=Path.TIMEOUT, level=3).exists()


def test_an_absence_with_nobody_to_take_the_place_climbs_at_once(company, timeline):
    request = ask_for_payment(company)
    timeline.advance(minutes=40)
    AbsenceFactory(
        person=company.senior_accountant,
        starts_at=MONDAY_9AM + 45 * M,
        ends_at=MONDAY_9AM + timedelta(days=1),
    )

    timeline.advance(minutes=10)

    assert request.steps.get(level=2).state == "passed_over"
    third = request.steps.get(level=3)
    assert (third.opened_at, third.began) == (MONDAY_9AM + 45 * M, "passed_over")


def test_nobody_left_anywhere_ends_at_once_and_visibly(company, timeline):
    for person in (
        company.finance_manager,
        company.senior_accountant,
        company.controller,
        company.cfo,
    ):
        AbsenceFactory(person=person, starts_at=MONDAY_9AM, ends_at=MONDAY_9AM + timedelta(days=5))

    request = ask_for_payment(company)

    assert (request.state, request.end_reason) == ("expired", "silence")
    assert request.steps.count() == 4
    assert Alert.objects.filter(kind="request.expired").exists()


def test_somebody_disabled_while_asked_is_passed_over(company, timeline):
    request = ask_for_payment(company)
    company.finance_manager.is_active = False
    company.finance_manager.save()

    timeline.advance(minutes=1)

    assert request.steps.get(level=0).state == "passed_over"
    assert request.steps.get(state="waiting").level == 2


def test_a_refused_address_passes_over_only_for_somebody_reachable(company, timeline):
    request = ask_for_payment(company)
    company.finance_manager.channels.update(refused_at=MONDAY_9AM)

    timeline.advance(minutes=1)

    ask = Ask.objects.get(step__request=request)
    assert ask.due_at == MONDAY_9AM + 5 * M
    assert ask.unreachable_at == MONDAY_9AM + 1 * M
    assert Alert.objects.filter(kind="ask.unreachable").count() == 1


def test_an_approval_that_nothing_begins_is_a_failure_and_ends_after_its_path(company, timeline):
    request = ask_for_payment(company)
    answer(request, company.finance_manager, now=MONDAY_9AM + M)

    timeline.advance(minutes=31)
    request.refresh_from_db()
    assert request.state == "troubled"
    timeline.advance(minutes=30)

    request.refresh_from_db()
    assert (request.state, request.end_reason) == ("expired", "target")
    assert request.ended_at == MONDAY_9AM + 61 * M
    assert Alert.objects.filter(kind="execution.failed").exists()
    assert not request.holds_key


def test_an_approval_with_a_person_present_lapses(company, timeline):
    request = ask_for_payment(company)
    answer(request, company.finance_manager, now=MONDAY_9AM + M)
    due_at = MONDAY_9AM + 16 * M
    ActionRequest.objects.filter(pk=request.pk).update(person_present=True, due_at=due_at)

    timeline.advance(minutes=16)

    request.refresh_from_db()
    assert (request.state, request.end_reason) == ("expired", "lapsed")
    assert request.ended_at == due_at
    assert Alert.objects.filter(kind="request.lapsed").exists()


def test_states_only_ever_come_from_the_tables(company, timeline):
    ask_for_payment(company)

    timeline.advance(hours=7)

    assert not ActionRequest.objects.exclude(state__in=ActionRequest.State.values).exists()


def test_who_could_not_be_reached_is_asked_again_when_the_one_who_took_the_place_leaves(
    company, timeline
):
    request = ask_for_payment(company)
    second = PersonFactory(username="second_manager", limit_amount=30_000, limit_currency="USD")
    ContactChannelFactory(person=second)
    second.roles.add(company.row.approver_role)
    company.finance_manager.channels.update(refused_at=MONDAY_9AM)
    timeline.advance(minutes=1)
    AbsenceFactory(
        person=second, starts_at=MONDAY_9AM + 2 * M, ends_at=MONDAY_9AM + timedelta(days=1)
    )

    timeline.advance(minutes=2)

    asks = Ask.objects.filter(step__request=request).order_by("pk")
    assert [(ask.person, ask.due_at is not None) for ask in asks] == [
        (company.finance_manager, True),
        (second, False),
    ]
    assert request.steps.get().state == "waiting"
    assert Alert.objects.filter(kind="ask.unreachable").exists()


def test_who_was_away_when_it_opened_and_is_back_takes_the_place_of_who_leaves(company, timeline):
    another = another_delegate(company)
    AbsenceFactory(
        person=company.senior_accountant, starts_at=MONDAY_9AM, ends_at=MONDAY_9AM + 60 * M
    )
    request = ask_for_payment(company)
    timeline.advance(minutes=40)  # the second delegate is asked: the first is away
    AbsenceFactory(
        person=another, starts_at=MONDAY_9AM + 61 * M, ends_at=MONDAY_9AM + timedelta(days=1)
    )

    timeline.advance(minutes=30)

    step = request.steps.get(level=2)
    assert [ask.person for ask in step.asks.filter(due_at__isnull=False)] == [
        company.senior_accountant
    ]
    assert step.asks.get(person=company.senior_accountant).passed_over_reason == ""


def finance_managers(company, *names, **over):
    """Let these hold the role that is asked first, in this order, after the Finance Manager."""
    found = []
    for name in names:
        person = PersonFactory(
            username=name, **({"limit_amount": 30_000, "limit_currency": "USD"} | over)
        )
        ContactChannelFactory(person=person)
        person.roles.add(company.row.approver_role)
        found.append(person)
    return found


def test_two_who_become_unreachable_at_once_give_way_and_the_one_between_is_judged_once(
    company, timeline
):
    (second,) = finance_managers(company, "second_manager")
    (junior,) = finance_managers(company, "junior_manager", limit_amount=100)
    others = finance_managers(company, "third_manager", "fourth_manager")
    company.row.quorum = 2
    company.row.save()
    policy.cache_clear()
    request = ask_for_payment(company)
    ContactChannel.objects.filter(person__in=[company.finance_manager, second]).update(
        refused_at=MONDAY_9AM
    )

    timeline.advance(minutes=1)

    step = request.steps.get()
    assert [ask.person for ask in step.asks.filter(due_at__isnull=False).order_by("pk")] == others
    assert step.asks.filter(person=junior, passed_over_at__isnull=False).count() == 1
    assert not Alert.objects.filter(kind="sweep.failed").exists()


def test_who_leaves_and_may_not_decide_for_another_reason_too_is_passed_over(company, timeline):
    request = ask_for_payment(company)
    company.agent.owner = company.finance_manager
    company.agent.save()
    company.finance_manager.is_active = True
    AbsenceFactory(
        person=company.finance_manager,
        starts_at=MONDAY_9AM + M,
        ends_at=MONDAY_9AM + timedelta(days=1),
    )

    timeline.advance(minutes=2)

    assert request.steps.get(level=0).state == "passed_over"


def test_time_that_ran_out_before_somebody_left_was_silence_and_not_absence(company):
    request = ask_for_payment(company)
    AbsenceFactory(
        person=company.finance_manager,
        starts_at=MONDAY_9AM + 60 * M,
        ends_at=MONDAY_9AM + timedelta(days=1),
    )

    moved = pass_over_absent(now=MONDAY_9AM + 120 * M)  # the clock was away, and looks here first

    assert moved == 0
    climb_due_steps(now=MONDAY_9AM + 120 * M)
    assert request.steps.get(level=0).state == "expired"
    assert not Case.objects.get().absent
    assert Finding.objects.filter(audit="clock.late").exists()


def test_who_takes_a_place_late_is_not_pinged_in_the_same_breath(company, timeline):
    (second,) = finance_managers(company, "second_manager")
    for start, end in ((1 * M, 3 * M), (26 * M, 500 * M)):
        AbsenceFactory(
            person=company.finance_manager, starts_at=MONDAY_9AM + start, ends_at=MONDAY_9AM + end
        )
    request = ask_for_payment(company)

    timeline.advance(minutes=27)  # both were asked first; who is back is asked again, and leaves

    ask = Ask.objects.get(step__request=request, step__level=1, due_at__isnull=False)
    assert (ask.person, ask.asked_at) == (second, MONDAY_9AM + 26 * M)
    assert (ask.pings, ask.next_ping_at) == (0, MONDAY_9AM + 31 * M)


def test_a_policy_that_is_replaced_meanwhile_changes_nothing_for_what_it_routed(company, timeline):
    another = PersonFactory(username="other", limit_amount=50_000, limit_currency="USD")
    ContactChannelFactory(person=another)
    request = ask_for_payment(company)
    PolicyVersion.objects.filter(pk=company.policy.pk).update(state="superseded")
    newer = PolicyVersionFactory(number=2, state="active", activated_at=timeline.now)
    row = MatrixRowFactory(
        version=newer,
        department=company.accounts_payable,
        approver_person=another,
        approver_role=None,
    )
    MatrixDelegateFactory(row=row, position=1, role=None, person=another)
    PathWindowFactory(version=newer, path="timeout", level=2, window=timedelta(minutes=1))
    policy.cache_clear()

    timeline.advance(minutes=40)

    step = request.steps.get(level=2)
    assert [ask.person for ask in step.asks.filter(due_at__isnull=False)] == [
        company.senior_accountant
    ]
    assert step.window == timedelta(hours=2)
    timeline.advance(hours=7)
    request.refresh_from_db()
    assert (request.state, request.policy) == ("expired", company.policy)
