"""A rule is broken: blocked where it stood, ruled on by compliance, and what follows."""

from __future__ import annotations

from datetime import timedelta

import pytest

from approvals import auditing
from approvals.models import (
    ActionRequest,
    Alert,
    Ask,
    Case,
    Decision,
    Notice,
    Review,
    Step,
    Violation,
    Waiver,
)
from approvals.services.close import withdraw
from approvals.services.compliance import rule_on_violation
from approvals.services.ruling import rule
from approvals.services.violations import Became, report
from governance.errors import (
    AlreadyDecided,
    DigestChanged,
    NotFound,
    NotNow,
    NotYours,
    TooLate,
    Unprocessable,
)
from governance.models import AuditEvent, Person
from governance.vocabulary import Path
from tests.approvals.asking import (
    add_check,
    answer,
    ask_for_payment,
    chain_kinds,
    name_compliance,
    name_the_owner,
)
from tests.factories import AbsenceFactory, AgentFactory, PersonFactory, RoleFactory

pytestmark = pytest.mark.django_db

M = timedelta(minutes=1)
H = timedelta(hours=1)
TICK = timedelta(microseconds=1)
FORBIDDEN = "payload.terms != 'Net 30'"  # which is what the example's terms are
HELD_BY_EVERY_TEST = (
    "due_at_differs", "held_by_nothing", "asks_out_of_step", "ended_with_open_parts",
    "chains_broken", "failures_without_a_case",
)  # fmt: skip


@pytest.fixture(autouse=True)
def whole_record(timeline):
    yield
    wrong = [
        found for name in HELD_BY_EVERY_TEST for found in auditing.all_audits()[name](timeline.now)
    ]
    assert wrong == []


@pytest.fixture(autouse=True)
def compliance(company):
    return name_compliance(company)


@pytest.fixture
def request_(company, timeline):
    """A payment asked for at nine; a minute later nobody has decided."""
    found = ask_for_payment(company)
    timeline.now += M
    return found


def again(request):
    return ActionRequest.objects.get(pk=request.pk)


def reported(request, by, timeline, **over):
    return report(
        **{"ref": request.ref, "by": by, "text": "Wrong vendor.", "now": timeline.now} | over
    )


def ruled(request, actor, timeline, verdict="deny", **over):
    return rule_on_violation(
        **{"ref": request.ref, "actor": actor, "verdict": verdict, "digest": request.digest,
           "now": timeline.now} | over
    )  # fmt: skip


def waive(request, timeline, *people):
    for person in people:
        ruled(request, person, timeline, "waive")
    return again(request)


def asked(request):
    open_asks = Ask.objects.filter(step__request=request, due_at__isnull=False)
    return [ask.person.username for ask in open_asks.order_by("position")]


def case_of(request):
    return Case.objects.filter(request=request, exception="policy_violation").order_by("pk").last()


# --- Rules over what was asked -----------------------------------------------------------------


def test_a_broken_rule_blocks_a_request_at_birth(company, timeline):
    add_check(company, FORBIDDEN, on_break="These terms are not ours.")

    request = ask_for_payment(company)

    assert (request.state, request.blocked_from) == ("blocked", "pending")
    assert asked(request) == ["compliance", "compliance_2"]
    step = Step.objects.get(request=request)
    assert (step.path, step.level, step.due_at) == (Path.POLICY_VIOLATION, 2, timeline.now + 2 * H)
    assert request.due_at == step.due_at
    case = case_of(request)
    assert (case.response, case.source) == ("ask_compliance", "R")
    assert case.reason == "These terms are not ours."


def test_the_evaluation_keeps_the_hash_of_its_expression_and_what_it_saw(company, timeline):
    check = add_check(company, FORBIDDEN)

    request = ask_for_payment(company)

    kept = Violation.objects.get(request=request)
    assert kept.expression_hash == check.expression_hash
    assert kept.facts == [{"name": "payload.terms", "value": "Net 30"}]
    assert case_of(request).facts["broken"][0]["expression"] == check.expression_hash


def test_a_rule_that_holds_changes_nothing(company):
    add_check(company, "payload.amount.minor == 1200000 && request.minor == 1200000")

    assert ask_for_payment(company).state == "pending"


@pytest.mark.parametrize(
    "expression",
    [
        "payload.nothing > 1",
        "payload.terms > 1",
        "nobody.knows",
        "payload.terms",
        "facts.credit_limit > 0",
        "payload.amount.value == 12000",
        "payload.terms == 'Net 30' ||",
    ],
)
def test_an_expression_that_fails_is_a_violation(company, expression):
    add_check(company, expression)

    assert ask_for_payment(company).state == "blocked"


def test_an_expression_that_nobody_checked_is_never_compiled(company):
    add_check(company, "true", expression_hash="0" * 64)

    request = ask_for_payment(company)

    assert request.state == "blocked"
    assert "not the one that was checked" in Violation.objects.get(request=request).text


def test_a_rule_for_another_action_is_not_asked(company):
    check = add_check(company, "false")
    check.action = "purchase_order"
    check.save()

    assert ask_for_payment(company).state == "pending"


def test_a_request_that_broke_no_rule_costs_no_query_more(
    company, timeline, django_assert_num_queries
):
    from django.db import connection
    from django.test.utils import CaptureQueriesContext

    ask_for_payment(company, key="warm", invoice="INV-1")
    with CaptureQueriesContext(connection) as without:
        ask_for_payment(company, key="two", invoice="INV-2")
    add_check(company, "true")
    ask_for_payment(company, key="three", invoice="INV-3")

    with django_assert_num_queries(len(without)):
        ask_for_payment(company, key="four", invoice="INV-4")


def test_compliance_that_cannot_be_asked_at_all_denies(company, timeline, compliance):
    for person in compliance:
        person.is_active = False
        person.save()
    add_check(company, FORBIDDEN)

    request = ask_for_payment(company)

    assert (request.state, request.end_reason) == ("denied", "denied")
    assert Alert.objects.get(request=request).kind == "violation.denied"


# --- Blocked where it stood --------------------------------------------------------------------


def test_what_waits_keeps_the_time_it_had_left(company, timeline, request_, compliance):
    reported(request_, compliance[0], timeline)

    assert again(request_).state == "blocked"
    step = Step.objects.get(request=request_, path=Path.APPROVAL)
    assert (step.state, step.remaining) == ("suspended", 4 * M)
    assert asked(request_) == ["compliance", "compliance_2"]
    timeline.advance(hours=1)
    found = waive(request_, timeline, *compliance[:2])
    assert found.state == "pending"
    step.refresh_from_db()
    assert (step.state, step.due_at) == ("waiting", timeline.now + 4 * M)
    assert found.due_at == step.due_at
    assert asked(request_) == ["finance_manager"]


def test_an_approval_that_was_blocked_may_begin_for_its_whole_time_again(
    company, timeline, request_, compliance
):
    answer(request_, company.finance_manager, now=timeline.now)
    reported(request_, compliance[0], timeline)
    assert again(request_).holds_key
    timeline.advance(hours=1)

    found = waive(request_, timeline, *compliance[:2])

    assert (found.state, found.holds_key) == ("approved", True)
    assert (found.ready_at, found.due_at) == (timeline.now, timeline.now + 30 * M)
    assert found.approved_at < found.ready_at


def test_a_timeout_case_underneath_goes_on_when_the_violation_is_over(
    company, timeline, request_, compliance
):
    timeline.advance(minutes=10)
    reported(request_, compliance[0], timeline)
    waive(request_, timeline, *compliance[:2])

    answer(request_, company.finance_manager, now=timeline.now)

    outcomes = Case.objects.filter(request=request_).order_by("pk")
    assert [(each.exception, each.outcome) for each in outcomes] == [
        ("timeout", "approved"),
        ("policy_violation", "waived"),
    ]


def test_a_timeout_case_underneath_ends_with_the_request(company, timeline, request_, compliance):
    timeline.advance(minutes=10)
    reported(request_, compliance[0], timeline)

    ruled(request_, compliance[0], timeline)

    outcomes = Case.objects.filter(request=request_).order_by("pk")
    assert [(each.exception, each.outcome) for each in outcomes] == [
        ("timeout", "denied"),
        ("policy_violation", "denied"),
    ]


# --- Verdicts ----------------------------------------------------------------------------------


def test_one_no_denies(company, timeline, request_, compliance):
    reported(request_, compliance[0], timeline)

    found = ruled(request_, compliance[0], timeline, note="This vendor is barred.")

    assert (found.state, found.end_reason) == ("denied", "denied")
    assert case_of(request_).outcome == "denied"
    told = Notice.objects.filter(request=request_, via="inbox", facts__what="denied")
    assert {each.person.username for each in told} == {"finance_manager", "compliance_2"}


def test_a_change_ends_it_and_the_case_says_so(company, timeline, request_, compliance):
    reported(request_, compliance[0], timeline)

    found = ruled(request_, compliance[1], timeline, "change_requested")

    assert (found.state, found.end_reason) == ("denied", "change_requested")
    assert case_of(request_).outcome == "change_requested"


def test_a_waiver_takes_two_people(company, timeline, request_, compliance):
    add_check(company, "true", key="vendor")
    reported(request_, compliance[0], timeline, check="vendor")

    ruled(request_, compliance[0], timeline, "waive")

    assert again(request_).state == "blocked"
    assert asked(request_) == ["compliance_2"]
    with pytest.raises(AlreadyDecided):
        ruled(request_, compliance[0], timeline, "waive")
    ruled(request_, compliance[1], timeline, "waive")
    assert again(request_).state == "pending"
    signed = Waiver.objects.filter(request=request_)
    assert {(each.check_key, each.check_revision, each.digest) for each in signed} == {
        ("vendor", 1, request_.digest)
    }


def test_signatures_count_over_both_rungs(company, timeline, request_, compliance):
    reported(request_, compliance[0], timeline)
    ruled(request_, compliance[0], timeline, "waive")
    timeline.advance(hours=2)

    assert asked(request_) == ["head_of_compliance"]
    ruled(request_, compliance[2], timeline, "waive")

    assert again(request_).state == "pending"


def test_a_no_after_one_signature_denies(company, timeline, request_, compliance):
    reported(request_, compliance[0], timeline)
    ruled(request_, compliance[0], timeline, "waive")

    ruled(request_, compliance[1], timeline, "deny")

    assert again(request_).state == "denied"


def test_who_approved_it_may_not_let_it_pass(company, timeline, request_, compliance):
    """The approver is of compliance too; the head takes their place."""
    officer = compliance[0]
    officer.limit_amount, officer.limit_currency = 25_000, "USD"
    officer.save()
    officer.roles.add(company.row.approver_role)
    Ask.objects.filter(step__request=request_).update(person=officer)
    answer(request_, officer, now=timeline.now)

    reported(request_, compliance[1], timeline)

    assert asked(request_) == ["compliance_2"]
    passed = Ask.objects.get(step__request=request_, path=Path.POLICY_VIOLATION, person=officer)
    assert passed.passed_over_reason.startswith("has approved this request")


def test_who_stands_behind_the_agent_may_not_let_it_pass(company, timeline, request_, compliance):
    company.agent.owner = compliance[0]
    company.agent.save()

    reported(request_, compliance[1], timeline)

    assert asked(request_) == ["compliance_2"]


def test_one_officer_alone_is_asked_all_the_same_and_the_head_signs_second(
    company, timeline, request_, compliance
):
    AbsenceFactory(person=compliance[1], starts_at=timeline.now, ends_at=timeline.now + 20 * H)
    reported(request_, compliance[0], timeline)
    assert asked(request_) == ["compliance"]

    ruled(request_, compliance[0], timeline, "waive")

    assert asked(request_) == ["head_of_compliance"]
    step = Step.objects.get(request=request_, state="waiting")
    assert (step.level, step.due_at) == (3, timeline.now + 4 * H)


def test_both_officers_away_the_head_is_asked_at_once_and_silence_denies(
    company, timeline, request_, compliance
):
    for officer in compliance[:2]:
        AbsenceFactory(person=officer, starts_at=timeline.now, ends_at=timeline.now + 20 * H)
    reported(request_, compliance[0], timeline)

    assert asked(request_) == ["head_of_compliance"]
    assert Step.objects.get(request=request_, level=2).state == "passed_over"
    timeline.go_to(timeline.now + 4 * H - TICK)
    assert again(request_).state == "blocked"
    timeline.go_to(timeline.now + TICK)
    assert (again(request_).state, case_of(request_).outcome) == ("denied", "denied")
    assert Alert.objects.filter(request=request_, kind="violation.denied").exists()


def test_an_officer_who_leaves_meanwhile_is_replaced_or_the_other_stays_asked(
    company, timeline, request_, compliance
):
    reported(request_, compliance[0], timeline)
    AbsenceFactory(person=compliance[0], starts_at=timeline.now + M, ends_at=timeline.now + 9 * H)

    timeline.advance(minutes=2)

    assert asked(request_) == ["compliance_2"]


def test_silence_climbs_from_compliance_to_its_head_and_ends_denied(
    company, timeline, request_, compliance
):
    began = timeline.now
    reported(request_, compliance[0], timeline)

    timeline.go_to(began + 2 * H - TICK)
    assert asked(request_) == ["compliance", "compliance_2"]
    timeline.go_to(began + 2 * H)
    assert asked(request_) == ["head_of_compliance", "compliance"]
    timeline.go_to(began + 6 * H - TICK)
    assert again(request_).state == "blocked"
    timeline.go_to(began + 6 * H)
    assert again(request_).state == "denied"


def test_once_every_rung_was_asked_another_violation_denies_and_what_waited_is_given_up(
    company, timeline, request_, compliance
):
    for text in ("One.", "Two."):
        reported(request_, company.agent, timeline, text=text)
        waive(request_, timeline, *Person.objects.filter(username__in=asked(request_)))
        assert again(request_).state == "pending"

    reported(request_, company.agent, timeline, text="Three.")

    assert again(request_).state == "denied"
    assert Step.objects.get(request=request_, path=Path.APPROVAL).state == Step.State.SUPERSEDED


def test_an_answer_at_the_instant_the_window_closes_is_too_late(
    company, timeline, request_, compliance
):
    reported(request_, compliance[0], timeline)
    timeline.now += 2 * H

    with pytest.raises(TooLate):
        ruled(request_, compliance[0], timeline)


def test_an_approver_cannot_approve_what_is_blocked(company, timeline, request_, compliance):
    reported(request_, compliance[0], timeline)

    with pytest.raises(NotNow):
        answer(request_, company.finance_manager, now=timeline.now)
    with pytest.raises(NotNow):
        answer(request_, compliance[0], now=timeline.now)


def test_compliance_rules_only_on_what_is_asked(company, timeline, request_, compliance):
    with pytest.raises(NotYours):
        ruled(request_, compliance[0], timeline)
    reported(request_, compliance[0], timeline)
    with pytest.raises(NotYours):
        ruled(request_, compliance[2], timeline)
    with pytest.raises(Unprocessable):
        ruled(request_, compliance[0], timeline, "approve")
    with pytest.raises(DigestChanged):
        ruled(request_, compliance[0], timeline, digest="0" * 64)
    with pytest.raises(DigestChanged):
        ruled(request_, compliance[0], timeline, shown=2)
    assert again(request_).state == "blocked"


# --- What else bites ---------------------------------------------------------------------------


def test_a_second_rule_bites_after_the_waiver_of_the_first(company, timeline, compliance):
    add_check(company, FORBIDDEN, key="terms")
    request = ask_for_payment(company)
    add_check(company, "payload.amount.minor < 100", key="amount", name="Small sums")

    found = waive(request, timeline, *compliance[:2])

    assert found.state == "blocked"
    outcomes = Case.objects.filter(request=request).order_by("pk").values_list("outcome", flat=True)
    assert list(outcomes) == ["waived", ""]
    assert asked(request) == ["head_of_compliance", "compliance"]
    found = waive(request, timeline, compliance[2], compliance[0])
    assert found.state == "pending"


def test_another_revision_of_a_waived_rule_bites(company, timeline, compliance):
    check = add_check(company, FORBIDDEN)
    request = ask_for_payment(company)
    check.revision = 2
    check.save()
    from governance.tables import policy

    policy.cache_clear()

    assert waive(request, timeline, *compliance[:2]).state == "blocked"


def test_a_report_between_two_signatures_is_asked_about_anew(
    company, timeline, request_, compliance
):
    reported(request_, compliance[0], timeline)
    ruled(request_, compliance[0], timeline, "waive")
    assert reported(request_, company.agent, timeline, text="Paid before.").became == Became.JOINED

    ruled(request_, compliance[1], timeline, "waive")

    assert again(request_).state == "blocked"
    assert [each.text for each in case_of(request_).violations.all()] == ["Paid before."]


def test_what_was_let_pass_is_not_stopped_again_for_the_same_rule(
    company, timeline, request_, compliance
):
    add_check(company, "true", key="vendor")
    reported(request_, compliance[0], timeline, check="vendor")
    waive(request_, timeline, *compliance[:2])

    assert reported(request_, company.agent, timeline, check="vendor").became == Became.WAIVED
    assert again(request_).state == "pending"


# --- Reports -----------------------------------------------------------------------------------


def test_reports_join_the_case_that_is_open_and_the_same_one_is_kept_once(
    company, timeline, request_, compliance
):
    assert reported(request_, company.agent, timeline).became == Became.BLOCKED
    assert reported(request_, company.agent, timeline).became == Became.JOINED
    assert (
        reported(request_, compliance[0], timeline, text="And paid before.").became == Became.JOINED
    )

    assert Case.objects.filter(request=request_).count() == 1
    assert case_of(request_).violations.count() == 2
    told = Notice.objects.filter(request=request_, via="inbox", facts__what="violation_joined")
    assert {each.person.username for each in told} == {"compliance", "compliance_2"}


def test_severity_and_impact_of_the_case_are_those_of_its_opening(
    company, timeline, request_, compliance
):
    reported(request_, company.agent, timeline)

    assert (case_of(request_).severity, case_of(request_).impact) == ("low", "medium")


def test_who_may_report(company, timeline, request_, compliance):
    stranger = AgentFactory()
    with pytest.raises(NotFound):
        reported(request_, stranger, timeline)
    with pytest.raises(NotYours):
        reported(request_, company.finance_manager, timeline)
    with pytest.raises(Unprocessable):
        reported(request_, compliance[0], timeline, text=" ")
    with pytest.raises(Unprocessable):
        reported(request_, compliance[0], timeline, check="no-such-rule")
    assert again(request_).state == "pending"
    auditor = PersonFactory()
    auditor.roles.add(RoleFactory(key="auditor"))
    assert reported(request_, auditor, timeline).became == Became.BLOCKED
    assert (
        reported(request_, stranger, timeline, any_request=True, text="Me too.").became
        == Became.JOINED
    )


def test_the_same_said_again_after_silence_denied_it_joins_nothing(
    company, timeline, request_, compliance
):
    reported(request_, company.agent, timeline)
    timeline.advance(hours=7)
    assert again(request_).state == "denied"

    assert reported(request_, company.agent, timeline).became == Became.RECORDED


def test_nor_after_it_was_withdrawn(company, timeline, request_):
    reported(request_, company.agent, timeline)
    withdraw(ref=request_.ref, agent=company.agent, now=timeline.now)

    assert reported(request_, company.agent, timeline).became == Became.RECORDED


def test_what_has_ended_without_effects_is_recorded_and_no_more(
    company, timeline, request_, compliance
):
    withdraw(ref=request_.ref, agent=company.agent, now=timeline.now)

    assert reported(request_, company.agent, timeline).became == Became.RECORDED

    assert again(request_).state == "withdrawn"
    assert not Case.objects.filter(request=request_).exists()
    assert "violation.recorded" in chain_kinds(request_)


@pytest.mark.parametrize("state", ["completed", "rolling_back"])
def test_what_has_effects_and_cannot_be_stopped_is_reviewed(
    company, timeline, request_, compliance, state
):
    answer(request_, company.finance_manager, now=timeline.now)
    request = again(request_)
    request.begin()
    request.has_effects = request.had_effects = True
    if state == "completed":
        request.complete(now=timeline.now)
        request.due_at = None
    else:
        request.roll_back()
        request.run_deadline = request.due_at = timeline.now + 30 * M
    request.save()

    assert reported(request_, company.agent, timeline).became == Became.REVIEW
    assert reported(request_, compliance[0], timeline, text="Again.").became == Became.REVIEW

    review = Review.objects.get(request=request_)
    assert (review.kind, review.due_at) == ("violation", timeline.now + 48 * H)
    assert again(request_).state == state
    assert not Case.objects.filter(request=request_).exists()


def test_compliance_is_told_of_a_withdrawn_violation(company, timeline, request_, compliance):
    AbsenceFactory(person=compliance[1], starts_at=timeline.now, ends_at=timeline.now + 20 * H)
    reported(request_, company.agent, timeline)

    withdraw(ref=request_.ref, agent=company.agent, now=timeline.now)

    assert case_of(request_).outcome == "withdrawn"
    told = Notice.objects.filter(request=request_, via="inbox", facts__what="withdrawn")
    assert {each.person.username for each in told} == {
        "finance_manager", "compliance", "compliance_2", "head_of_compliance",
    }  # fmt: skip


# --- A violation goes before a conflict ----------------------------------------------------------


@pytest.fixture
def both(company, timeline, request_):
    """Two payments of one bill, held, and the owner of the record who is asked."""
    owner = name_the_owner(company)
    second = ask_for_payment(company, key="second", instalment=2, now=timeline.now)
    return request_, second, owner


def test_a_blocked_party_leaves_the_conflict_and_the_other_goes_on(
    company, timeline, both, compliance
):
    first, second, _ = both

    reported(second, compliance[0], timeline)

    assert [again(first).state, again(second).state] == ["pending", "blocked"]
    conflict = Case.objects.get(request=second, exception="conflict")
    assert conflict.outcome == "left"
    assert Step.objects.get(request=second, path=Path.CONFLICT).state == "superseded"
    assert asked(first) == ["finance_manager"]


def test_it_is_looked_at_afresh_when_it_is_unblocked(company, timeline, both, compliance):
    first, second, _ = both
    reported(second, compliance[0], timeline)

    found = waive(second, timeline, *compliance[:2])

    assert [again(first).state, found.state] == ["pending", "held"]  # the first is held but once
    assert asked(second) == ["ceo"]  # its second conflict enters at the next rung
    rule(
        ref=second.ref, actor=company.ceo, order=[second.ref], refuse=[], digest=second.digest,
        note="It may wait.", now=timeline.now,
    )  # fmt: skip
    withdraw(ref=first.ref, agent=company.agent, now=timeline.now)
    assert again(second).state == "pending"


def test_its_agent_is_told_of_it_without_a_number_left_out(company, timeline, compliance):
    name_the_owner(company)
    first = ask_for_payment(company, callback_url="https://agent.example.com/hook")
    reported(first, compliance[0], timeline)
    ask_for_payment(company, key="second", instalment=2, now=timeline.now)

    waive(first, timeline, *compliance[:2])

    told = Notice.objects.filter(request=first, kind=Notice.Kind.STATE).order_by("pk")
    assert [(each.number, each.facts["state"]) for each in told] == [(1, "blocked"), (2, "held")]


def test_an_earlier_party_that_is_blocked_comes_back_to_the_conflict_that_is_open(
    company, timeline, both, compliance
):
    first, second, owner = both
    third = ask_for_payment(company, key="third", instalment=3, now=timeline.now)
    reported(first, compliance[0], timeline)
    assert [again(each).state for each in (first, second, third)] == ["blocked", "held", "held"]

    waive(first, timeline, *compliance[:2])

    assert [again(each).state for each in (first, second, third)] == ["held", "held", "held"]
    rule(
        ref=second.ref, actor=owner, order=[first.ref], refuse=[second.ref, third.ref],
        digest=second.digest, note="The first.", now=timeline.now,
    )  # fmt: skip
    assert again(first).state == "pending"
    step = Step.objects.get(request=first, path=Path.APPROVAL)
    assert step.due_at == timeline.now + 4 * M


def test_what_comes_while_another_is_blocked_without_the_key_meets_nobody(
    company, timeline, request_, compliance
):
    name_the_owner(company)
    reported(request_, compliance[0], timeline)

    second = ask_for_payment(company, key="second", instalment=2, now=timeline.now)

    assert second.state == "pending"
    found = waive(request_, timeline, *compliance[:2])
    assert [found.state, again(second).state] == ["held", "held"]


# --- The record ----------------------------------------------------------------------------------


def test_each_step_of_it_is_in_the_record_with_one_cause_an_act(
    company, timeline, request_, compliance
):
    reported(request_, company.agent, timeline)
    ruled(request_, compliance[0], timeline, "waive", note="Known to us.")
    ruled(request_, compliance[1], timeline, "waive")

    kinds = chain_kinds(request_)
    for kind in (
        "request.blocked",
        "case.opened",
        "waiver.signed",
        "case.resolved",
        "request.went_on",
    ):
        assert kind in kinds
    blocked = AuditEvent.objects.get(chain=request_.ref, kind="request.blocked")
    assert blocked.actor == f"agent:{company.agent.name}"
    assert Decision.objects.filter(request=request_, verdict="waive").count() == 2
