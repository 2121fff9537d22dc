"""A person answers: in time or too late, first or second, alone or as one of several."""

from __future__ import annotations

from datetime import timedelta
from functools import partial

import pytest

from approvals.models import Ask, Case, Decision, Notice
from approvals.sweeps import climb_due_steps
from governance.errors import (
    AlreadyDecided,
    DigestChanged,
    KeyHeld,
    NotYours,
    TooLate,
    Unprocessable,
)
from governance.models import AuditEvent
from governance.tables import policy
from tests.approvals.asking import another_delegate, answer, ask_for_payment, chain_kinds
from tests.factories import MONDAY_9AM, AbsenceFactory, ContactChannelFactory, PersonFactory

pytestmark = pytest.mark.django_db

M = timedelta(minutes=1)
NOON = MONDAY_9AM + timedelta(hours=3)


def test_a_yes_in_time_approves_and_frees_everybody(company):
    request = ask_for_payment(company)

    answer(request, company.finance_manager, now=MONDAY_9AM + M, note="Matches the order.")

    request.refresh_from_db()
    assert (request.state, request.approved_at) == ("approved", MONDAY_9AM + M)
    assert request.due_at == MONDAY_9AM + 31 * M
    assert request.holds_key
    assert request.steps.get().state == "answered"
    assert not Ask.objects.filter(due_at__isnull=False).exists()


def test_the_delegate_approves_and_the_first_approver_is_told(company, timeline):
    request = ask_for_payment(company)
    timeline.advance(minutes=46)

    answer(
        request, company.senior_accountant, now=timeline.now, note="Finance Manager is travelling."
    )

    case = Case.objects.get()
    assert (case.state, case.outcome, case.highest_level) == ("resolved", "approved", 2)
    told = Notice.objects.filter(kind="told", via="inbox")
    assert [notice.person for notice in told] == [company.finance_manager]


def test_the_record_holds_who_was_meant_to_why_it_moved_on_and_who_did(company, timeline):
    request = ask_for_payment(company)
    timeline.advance(minutes=46)

    answer(request, company.senior_accountant, now=timeline.now, note="Seen and right.")

    events = {e.kind: e for e in AuditEvent.objects.filter(chain=request.ref)}
    opened = events["case.opened"].facts
    assert opened["original_approvers"] == ["person:finance_manager"]
    assert opened["reason"] == "The first approver did not answer in time."
    decided = events["step.decided"]
    assert (decided.actor, decided.facts["note"]) == ("person:senior_accountant", "Seen and right.")
    assert (decided.at, decided.facts["first_asked"]) == (timeline.now, ["person:finance_manager"])


def test_a_no_ends_it_rejected(company):
    request = ask_for_payment(company)

    answer(request, company.finance_manager, "reject", now=MONDAY_9AM + M, severity="high")

    request.refresh_from_db()
    assert (request.state, request.due_at, request.ended_at) == ("rejected", None, MONDAY_9AM + M)
    assert Decision.objects.get().severity == "high"


def test_an_objection_is_never_less_severe_than_the_request(company):
    request = ask_for_payment(company, severity="medium")

    answer(request, company.finance_manager, "reject", now=MONDAY_9AM + M, severity="low")

    assert Decision.objects.get().severity == "medium"


@pytest.mark.parametrize(
    ("after", "refused"),
    [(5 * M - timedelta(microseconds=1), None), (5 * M, TooLate), (6 * M, TooLate)],
)
def test_a_window_is_half_open_whether_or_not_the_clock_came_by(company, after, refused):
    request = ask_for_payment(company)
    vote = partial(answer, request, company.finance_manager, now=MONDAY_9AM + after)

    if refused is None:
        assert vote().state == "approved"
    else:
        with pytest.raises(refused, match="closed at 09:05:00"):
            vote()


def test_who_was_too_late_is_told_who_has_been_asked_since(company, timeline):
    request = ask_for_payment(company)
    timeline.advance(minutes=40)

    with pytest.raises(
        TooLate, match=r"closed at 09:35:00, 5.min ago\. The Senior Accountant has been asked"
    ):
        answer(request, company.finance_manager, now=timeline.now)


def test_who_is_second_is_told_who_was_first(company):
    request = ask_for_payment(company)
    answer(request, company.finance_manager, now=MONDAY_9AM + M)

    with pytest.raises(AlreadyDecided, match="decided on this already"):
        answer(request, company.finance_manager, "reject", now=MONDAY_9AM + 2 * M)


def test_another_digest_is_refused_and_nothing_is_kept(company):
    request = ask_for_payment(company)

    with pytest.raises(DigestChanged):
        answer(request, company.finance_manager, now=MONDAY_9AM + M, digest="0" * 64)

    assert not Decision.objects.exists()


@pytest.mark.parametrize("who", ["senior_accountant", "controller", "agent_owner"])
def test_nobody_decides_who_is_not_asked(company, who):
    request = ask_for_payment(company)

    with pytest.raises(NotYours, match="not asked"):
        answer(request, getattr(company, who), now=MONDAY_9AM + M)


@pytest.mark.parametrize("verdict", ["", "maybe", "waive", "retry", "rule"])
def test_a_verdict_that_answers_another_question_is_refused(company, verdict):
    request = ask_for_payment(company)

    with pytest.raises(Unprocessable):
        answer(request, company.finance_manager, verdict, now=MONDAY_9AM + M)


def test_a_limit_that_was_lowered_since_binds_under_the_lock(company):
    request = ask_for_payment(company)
    company.finance_manager.limit_amount = 11_999
    company.finance_manager.save()

    with pytest.raises(NotYours, match="have a limit of"):
        answer(request, company.finance_manager, now=MONDAY_9AM + M)


def test_who_is_back_early_from_an_absence_may_still_answer(company):
    request = ask_for_payment(company)
    AbsenceFactory(person=company.finance_manager, starts_at=MONDAY_9AM, ends_at=NOON)

    assert answer(request, company.finance_manager, now=MONDAY_9AM + M).state == "approved"


def test_who_was_passed_over_is_told_so(company, timeline):
    request = ask_for_payment(company)
    AbsenceFactory(person=company.finance_manager, starts_at=MONDAY_9AM + M, ends_at=NOON)
    timeline.advance(minutes=2)

    with pytest.raises(NotYours, match="passed over, as the record says: you are away until"):
        answer(request, company.finance_manager, now=timeline.now)


def test_one_record_is_acted_on_by_one_request_at_a_time(company):
    first = ask_for_payment(company, key="k1")
    company.vendor_payment.resource_key = "demo:vendor-bill:{/vendor}"
    second = ask_for_payment(company, key="k2", invoice="INV-2")
    second.resource = first.resource
    second.save()
    answer(first, company.finance_manager, now=MONDAY_9AM + M)

    with pytest.raises(KeyHeld, match=first.ref):
        answer(second, company.finance_manager, now=MONDAY_9AM + M)

    second.refresh_from_db()
    assert (second.state, second.decisions.count()) == ("pending", 0)


class TestQuorum:
    @pytest.fixture
    def request_of_two(self, company):
        """A payment that two Finance Managers must sign."""
        self.second = PersonFactory(
            username="second_manager",
            name="Second Manager",
            limit_amount=30_000,
            limit_currency="USD",
        )
        ContactChannelFactory(person=self.second)
        self.second.roles.add(company.row.approver_role)
        company.row.quorum = 2
        company.row.save()
        policy.cache_clear()
        return ask_for_payment(company)

    def test_both_are_asked_and_one_is_not_enough(self, company, request_of_two):
        after = answer(request_of_two, company.finance_manager, now=MONDAY_9AM + M)

        assert (after.state, after.steps.get().state) == ("pending", "waiting")
        assert list(Ask.objects.filter(due_at__isnull=False)) == [
            Ask.objects.get(person=self.second)
        ]

    def test_the_second_signature_approves(self, company, request_of_two):
        answer(request_of_two, company.finance_manager, now=MONDAY_9AM + M)

        after = answer(request_of_two, self.second, now=MONDAY_9AM + 2 * M)

        assert (after.state, after.steps.get().state) == ("approved", "answered")

    def test_nobody_signs_twice(self, company, request_of_two):
        answer(request_of_two, company.finance_manager, now=MONDAY_9AM + M)

        with pytest.raises(AlreadyDecided):
            answer(request_of_two, company.finance_manager, now=MONDAY_9AM + 2 * M)

    def test_one_no_ends_it(self, company, request_of_two):
        answer(request_of_two, company.finance_manager, now=MONDAY_9AM + M)

        assert (
            answer(request_of_two, self.second, "reject", now=MONDAY_9AM + 2 * M).state
            == "rejected"
        )

    def test_a_signature_counts_on_the_next_rung_which_asks_for_the_one_missing(
        self, company, request_of_two, timeline
    ):
        answer(request_of_two, company.finance_manager, now=MONDAY_9AM + M)

        timeline.advance(minutes=40)

        step = request_of_two.steps.get(state="waiting")
        assert (step.level, step.needed) == (2, 1)
        assert (
            answer(request_of_two, company.senior_accountant, now=timeline.now).state == "approved"
        )

    def test_a_rung_that_cannot_give_the_signatures_is_passed_over(
        self, company, request_of_two, timeline
    ):
        timeline.advance(minutes=40)  # nobody signed; L2 has one delegate, and two are missing

        assert request_of_two.steps.get(level=2).state == "passed_over"
        step = request_of_two.steps.get(state="waiting")
        assert (step.level, step.needed) == (3, 2)
        assert {ask.person for ask in step.asks.filter(due_at__isnull=False)} == {
            company.controller,
            company.cfo,
        }

    def test_who_signed_is_not_asked_again(self, company, request_of_two, timeline):
        another_delegate(company)
        answer(request_of_two, company.finance_manager, now=MONDAY_9AM + M)

        timeline.advance(minutes=6)

        again = request_of_two.steps.get(level=1)
        assert [ask.person for ask in again.asks.filter(asked_at__isnull=False)] == [self.second]
        assert again.asks.get(person=company.finance_manager).passed_over_reason.startswith(
            "has decided"
        )


def test_a_decision_is_one_act_in_the_record(company):
    request = ask_for_payment(company)

    answer(request, company.finance_manager, now=MONDAY_9AM + M)

    assert chain_kinds(request) == [
        "request.submitted",
        "step.opened",
        "step.decided",
        "request.approved",
    ]
    causes = AuditEvent.objects.filter(chain=request.ref, seq__gt=2).values_list("cause", flat=True)
    assert len(set(causes)) == 1


def test_a_decision_before_the_sweep_and_after_the_instant_leaves_the_climb_to_the_clock(company):
    request = ask_for_payment(company)

    with pytest.raises(TooLate):
        answer(request, company.finance_manager, now=request.due_at)

    assert climb_due_steps(now=request.due_at) == 1


def test_being_away_does_not_raise_a_limit_that_was_lowered(company):
    request = ask_for_payment(company)
    AbsenceFactory(person=company.finance_manager, starts_at=MONDAY_9AM, ends_at=NOON)
    company.finance_manager.limit_amount = 5_000
    company.finance_manager.save()

    with pytest.raises(NotYours, match="limit"):
        answer(request, company.finance_manager, now=MONDAY_9AM + M)

    assert not request.decisions.exists()
