"""L4: for a critical process one executive overrides what came before, in person, and owes a review for it."""

from __future__ import annotations

from datetime import timedelta

import pytest

from approvals.models import ActionRequest, Alert, Case, Decision, Notice, Review, Step
from approvals.services.close import withdraw
from approvals.services.ruling import rule
from approvals.sweeps import climb_due_steps
from governance import stepup
from governance.errors import DigestChanged, NotNow, NotYours, TooLate, Unprocessable
from governance.models import AuditEvent, Person
from governance.tables import policy
from tests.approvals.asking import answer, ask_for_payment, make_critical, name_the_owner
from tests.factories import (
    MONDAY_9AM,
    AbsenceFactory,
    AppointmentFactory,
    ContactChannelFactory,
    PersonFactory,
)
from tests.factors import code_now, give_factor, present

pytestmark = pytest.mark.django_db

H = timedelta(hours=1)
# SLA 5 min, L1 30 min, L2 2 h, L3 4 h: then the last rung opens, for one hour.
AT_L4 = MONDAY_9AM + timedelta(minutes=35) + 6 * H
WHY = "The books close tonight, and nobody else answers."


@pytest.fixture
def at_l4(company, timeline):
    """A payment of a critical process that nobody answered, up to the CFO."""
    make_critical(company)
    give_factor(company.cfo)
    request = ask_for_payment(company)
    timeline.go_to(AT_L4)
    return request


def auditor():
    return Person.objects.get(username="auditor")


def bypass(request, person, timeline, *, note=WHY, **over):
    over.setdefault("presence", present(person, request))
    return answer(request, person, now=timeline.now, note=note, **over)


def waiting(request):
    return Step.objects.filter(request=request, state="waiting").first()


def asked_at_l4(request):
    step = Step.objects.filter(request=request, level=4).first()
    return [ask.person.username for ask in step.asks.filter(asked_at__isnull=False)]


def passed_at_l4(request):
    step = Step.objects.get(request=request, level=4)
    asks = step.asks.filter(passed_over_at__isnull=False)
    return {ask.person.username: ask.passed_over_reason for ask in asks}


# --- Who is asked ---


def test_silence_of_a_critical_process_comes_to_the_rows_executive_for_an_hour(at_l4):
    step = waiting(at_l4)

    assert (step.path, step.level, step.opened_at) == ("timeout", 4, AT_L4)
    assert step.due_at == AT_L4 + H
    assert asked_at_l4(at_l4) == ["cfo"]
    assert step.asks.get().why.startswith("executive for ")


def test_silence_of_any_other_process_ends_below_it(company, timeline):
    make_critical(company)
    company.vendor_payment.is_critical = False
    company.vendor_payment.save()
    request = ask_for_payment(company)

    timeline.go_to(AT_L4)

    request.refresh_from_db()
    assert request.state == "expired"
    assert not Step.objects.filter(level=4).exists()


def test_after_a_no_nobody_bypasses(company, timeline):
    make_critical(company)
    request = ask_for_payment(company)
    answer(request, company.finance_manager, "reject", now=timeline.now, note="No.")

    timeline.advance(hours=24)

    request.refresh_from_db()
    assert request.state == "rejected"
    assert not Step.objects.filter(level=4).exists()


def test_who_was_asked_before_is_not_asked_to_override(company, timeline):
    make_critical(company)
    company.row.executive = company.controller
    company.row.save()
    AppointmentFactory(version=company.policy, office="executive", person=company.cfo)
    policy.cache_clear()
    request = ask_for_payment(company)

    timeline.go_to(AT_L4)

    assert asked_at_l4(request) == ["cfo"]
    assert passed_at_l4(request) == {
        "controller": "was asked before about this, so may not override it"
    }


def test_nor_when_the_one_who_is_asked_leaves(company, timeline):
    make_critical(company)
    company.row.executive = company.controller
    company.row.save()
    AppointmentFactory(version=company.policy, office="executive", person=company.cfo)
    policy.cache_clear()
    request = ask_for_payment(company)
    timeline.go_to(AT_L4)

    AbsenceFactory(person=company.cfo, starts_at=timeline.now, ends_at=timeline.now + 24 * H)
    timeline.sweep()

    assert asked_at_l4(request) == ["cfo"]
    request.refresh_from_db()
    assert (request.state, request.end_reason) == ("expired", "silence")


def end_without_l4(request, company, timeline):
    timeline.go_to(AT_L4)
    request.refresh_from_db()
    assert (request.state, request.end_reason) == ("expired", "silence")
    assert Alert.objects.filter(kind="bypass.expired", request=request).exists()


def test_the_only_executive_on_an_earlier_step_leaves_nobody_and_compliance_is_told(
    company, timeline
):
    make_critical(company)
    company.row.executive = company.controller
    company.row.save()
    policy.cache_clear()
    request = ask_for_payment(company)

    end_without_l4(request, company, timeline)


def test_the_only_executive_away_leaves_nobody(company, timeline):
    make_critical(company)
    AbsenceFactory(person=company.cfo, starts_at=MONDAY_9AM, ends_at=MONDAY_9AM + 24 * H)
    request = ask_for_payment(company)

    end_without_l4(request, company, timeline)
    assert "away" in passed_at_l4(request)["cfo"]


def test_whoever_stands_behind_the_agent_does_not_override_for_it(company, timeline):
    make_critical(company)
    company.agent.owner = company.cfo
    company.agent.save()
    request = ask_for_payment(company)

    end_without_l4(request, company, timeline)


def test_whom_nobody_could_review_is_not_asked(company, timeline):
    make_critical(company)
    company.row.executive = company.ceo
    company.row.save()
    company.ceo.limit_amount, company.ceo.limit_currency = 1_000_000, "USD"
    company.ceo.save()
    policy.cache_clear()
    request = ask_for_payment(company)

    end_without_l4(request, company, timeline)
    assert "nobody could review it" in passed_at_l4(request)["ceo"]


def overdue_bypass_of(person, company):
    """An earlier bypass of theirs whose review is past its due time."""
    request = ask_for_payment(company, key="old", invoice="INV-OLD", now=MONDAY_9AM)
    step = Step.objects.get(request=request)
    review = Review.objects.create(
        request=request,
        kind="bypass",
        reason="then",
        opened_at=MONDAY_9AM - 48 * H,
        due_at=MONDAY_9AM + 1000 * H,
        times_overdue=1,
    )
    Decision.objects.create(
        step=step, request=request, person=person, verdict="approve", digest=request.digest,
        via="page", at=MONDAY_9AM, is_bypass=True, review=review,
    )  # fmt: skip
    return review


def test_who_owes_an_overdue_review_is_not_asked(company, timeline):
    make_critical(company)
    overdue_bypass_of(company.cfo, company)
    request = ask_for_payment(company)

    end_without_l4(request, company, timeline)
    assert "past its due time" in passed_at_l4(request)["cfo"]


def test_who_came_to_owe_one_after_being_asked_may_not_decide(at_l4, company, timeline):
    review = overdue_bypass_of(company.cfo, company)

    with pytest.raises(NotYours, match="past its due time"):
        bypass(at_l4, company.cfo, timeline)

    review.find_justified()
    review.closed_at = timeline.now
    review.save()
    bypass(at_l4, company.cfo, timeline)
    at_l4.refresh_from_db()
    assert at_l4.state == "approved"


def test_a_review_that_is_due_this_instant_is_a_debt_and_one_a_moment_later_is_none(
    at_l4, company, timeline
):
    review = overdue_bypass_of(company.cfo, company)
    Review.objects.filter(pk=review.pk).update(times_overdue=0, due_at=timeline.now)

    with pytest.raises(NotYours):
        bypass(at_l4, company.cfo, timeline)

    Review.objects.filter(pk=review.pk).update(due_at=timeline.now + timedelta(microseconds=1))
    bypass(at_l4, company.cfo, timeline)


# --- The bypass ---


def test_a_bypass_approves_and_opens_its_review_in_one_act(at_l4, company, timeline):
    timeline.advance(minutes=20)

    bypass(at_l4, company.cfo, timeline)

    at_l4.refresh_from_db()
    decision, review = Decision.objects.get(), Review.objects.get()
    assert (at_l4.state, at_l4.approved_at) == ("approved", timeline.now)
    assert (decision.is_bypass, decision.review) == (True, review)
    assert decision.reauthenticated_at == timeline.now
    assert (review.kind, review.reason, review.signatures_replaced) == ("bypass", WHY, 1)
    assert (review.due_at, review.remind_at) == (timeline.now + 48 * H, timeline.now + 24 * H)
    assert review.asked == auditor()
    assert Case.objects.get().outcome == "approved"
    decided = AuditEvent.objects.get(kind="step.decided")
    opened = AuditEvent.objects.get(kind="review.opened")
    assert decided.facts["bypass"] is True
    assert decided.cause == opened.cause
    assert Notice.objects.filter(person=auditor(), via="inbox", facts__what="review_asked").exists()


def test_the_review_says_how_many_signatures_one_person_replaced(company, timeline):
    make_critical(company)
    give_factor(company.cfo)
    request = ask_for_payment(company)
    ActionRequest.objects.filter(pk=request.pk).update(quorum=3)
    answer(request, company.finance_manager, now=timeline.now)
    timeline.advance(hours=7)

    bypass(request, company.cfo, timeline)

    assert Review.objects.get().signatures_replaced == 2


def test_without_a_justification_nothing_is_bypassed(at_l4, company, timeline):
    with pytest.raises(Unprocessable, match="Say why"):
        bypass(at_l4, company.cfo, timeline, note="  ")

    assert not Decision.objects.exists()
    assert not Review.objects.exists()


@pytest.mark.parametrize("factor", [True, False])
def test_without_a_fresh_second_factor_nothing_is_bypassed(company, timeline, factor):
    make_critical(company)
    if factor:
        give_factor(company.cfo)
    request = ask_for_payment(company)
    timeline.go_to(AT_L4)

    with pytest.raises(stepup.StepUpNeeded if factor else stepup.NoSecondFactor):
        bypass(request, company.cfo, timeline, presence=None)

    assert not Decision.objects.exists()


def test_a_bypass_is_of_what_was_seen(at_l4, company, timeline):
    with pytest.raises(DigestChanged):
        bypass(at_l4, company.cfo, timeline, digest="0" * 64)


def test_a_no_at_l4_needs_no_code_opens_no_review_and_is_final(at_l4, company, timeline):
    answer(at_l4, company.cfo, "reject", now=timeline.now)

    at_l4.refresh_from_db()
    assert at_l4.state == "rejected"
    assert not Review.objects.exists()


def test_the_last_window_closes_at_its_instant_and_not_before(at_l4, company, timeline):
    due_at = waiting(at_l4).due_at
    with pytest.raises(TooLate):
        answer(at_l4, company.cfo, now=due_at, note=WHY, presence=present(company.cfo, at_l4))

    climb_due_steps(now=due_at - timedelta(microseconds=1))
    at_l4.refresh_from_db()
    assert at_l4.state == "pending"

    climb_due_steps(now=due_at)
    at_l4.refresh_from_db()
    assert (at_l4.state, at_l4.end_reason) == ("expired", "silence")
    assert Alert.objects.filter(kind="bypass.expired").exists()


def test_compliance_is_told_that_not_even_the_last_rung_answered(at_l4, company, timeline):
    officer = PersonFactory(username="officer")
    from tests.factories import RoleFactory

    officer.roles.add(RoleFactory(key="compliance"))
    ContactChannelFactory(person=officer)

    timeline.advance(hours=1)

    told = Notice.objects.filter(kind="alert", person=officer)
    assert "at L4 neither" in told.get().facts["text"]


def test_a_bypass_that_could_not_be_carried_out_is_reviewed_all_the_same(at_l4, company, timeline):
    bypass(at_l4, company.cfo, timeline)
    timeline.advance(hours=2)  # nothing begins it: a system failure, and then its end

    at_l4.refresh_from_db()
    assert at_l4.state == "expired"
    assert Review.objects.get().state == "open"


# --- A ruling at the top ---


@pytest.fixture
def ruled_on_at_l4(company, timeline):
    """Two payments of one bill of a critical process; neither the owner nor their manager ruled on them."""
    make_critical(company)
    give_factor(company.cfo)
    name_the_owner(company, company.senior_accountant)
    first = ask_for_payment(company, key="first", instalment=1)
    second = ask_for_payment(company, key="second", instalment=2)
    timeline.advance(hours=6)
    return first, second


def rule_at_l4(parties, company, timeline, *, order=(), refuse=(), **over):
    carrier = parties[1]
    given = {
        "note": WHY, "digest": carrier.digest, "presence": present(company.cfo, carrier),
        "order": [each.ref for each in order], "refuse": [each.ref for each in refuse],
    }  # fmt: skip
    return rule(ref=carrier.ref, actor=company.cfo, now=timeline.now, **{**given, **over})


def states(*requests):
    return [ActionRequest.objects.get(pk=each.pk).state for each in requests]


def test_a_conflict_nobody_ruled_on_comes_to_the_executive_for_an_hour(
    ruled_on_at_l4, company, timeline
):
    step = waiting(ruled_on_at_l4[1])

    assert (step.path, step.level, step.due_at) == ("conflict", 4, timeline.now + H)
    assert asked_at_l4(ruled_on_at_l4[1]) == ["cfo"]


def test_a_ruling_at_l4_that_lets_one_go_on_is_a_bypass_with_its_review_in_one_act(
    ruled_on_at_l4, company, timeline
):
    first, second = ruled_on_at_l4

    rule_at_l4(ruled_on_at_l4, company, timeline, order=[first], refuse=[second])

    assert states(first, second) == ["pending", "rejected"]
    decision, review = Decision.objects.get(), Review.objects.get()
    assert (decision.is_bypass, decision.review, review.kind) == (True, review, "bypass")
    assert (review.reason, review.request, review.asked) == (WHY, second, auditor())
    decided = AuditEvent.objects.get(kind="step.decided")
    assert decided.cause == AuditEvent.objects.get(kind="review.opened").cause


@pytest.mark.parametrize("factor", [True, False])
def test_a_ruling_at_l4_takes_a_second_factor_given_for_the_one_that_carries_the_case(
    ruled_on_at_l4, company, timeline, factor
):
    first, second = ruled_on_at_l4
    for_another = present(company.cfo, first)
    if not factor:
        company.cfo.authenticator_set.all().delete()

    for presence in (None, for_another):
        with pytest.raises(stepup.StepUpNeeded if factor else stepup.NoSecondFactor):
            rule_at_l4(
                ruled_on_at_l4, company, timeline, order=[first], refuse=[second],
                presence=presence,
            )  # fmt: skip

    assert states(first, second) == ["held", "held"]
    assert not Review.objects.exists()


def test_refusing_all_of_them_at_l4_overrides_nobody(ruled_on_at_l4, company, timeline):
    rule_at_l4(ruled_on_at_l4, company, timeline, refuse=ruled_on_at_l4, presence=None)

    assert states(*ruled_on_at_l4) == ["rejected", "rejected"]
    assert not Review.objects.exists()


def test_who_owes_a_review_by_then_does_not_rule_at_l4(ruled_on_at_l4, company, timeline):
    first, second = ruled_on_at_l4
    review = overdue_bypass_of(company.cfo, company)

    with pytest.raises(NotYours, match="past its due time"):
        rule_at_l4(ruled_on_at_l4, company, timeline, order=[first, second])

    assert list(Review.objects.all()) == [review]


def test_a_ruling_at_l4_on_its_page_says_what_it_overrides_and_asks_for_the_code(
    ruled_on_at_l4, company, client
):
    first, second = ruled_on_at_l4
    client.force_login(company.cfo)
    page = client.get(f"/requests/{second.ref}/").content.decode().replace("\xa0", " ")
    assert "Emergency bypass" in page
    assert "The Senior Accountant and the Controller did not answer in time." in page

    sent = client.post(
        f"/requests/{second.ref}/rule/",
        {"choice": f"{first.ref}|{second.ref}", "note": WHY, "digest": second.digest},
    )
    asked = client.get(sent["Location"]).content.decode().replace("\xa0", " ")
    assert states(first, second) == ["held", "held"]
    taken = client.post(sent["Location"], {"code": code_now()})

    assert "rule over the heads of others" in asked
    assert taken["Location"] == f"/requests/{second.ref}/"
    assert states(first, second) == ["pending", "rejected"]
    assert Decision.objects.get().review == Review.objects.get()


# --- Against withdrawal ---


@pytest.mark.django_db(transaction=True)
def test_the_harness_sees_both_without_the_lock(race, transactional_company):
    """Control: two who only look both find it pending."""
    import threading

    _, request = transactional_company
    looked = threading.Barrier(2)

    def look():
        found = ActionRequest.objects.get(pk=request.pk).state
        looked.wait(timeout=5)
        return found

    assert race(look, look) == ["pending", "pending"]


@pytest.fixture
def transactional_company(transactional_db):
    import time_machine

    from tests.factories import small_company

    with time_machine.travel(MONDAY_9AM, tick=False):
        company = small_company()
        make_critical(company)
        give_factor(company.cfo)
        request = ask_for_payment(company)
        for now in (
            MONDAY_9AM + timedelta(minutes=5),
            MONDAY_9AM + timedelta(minutes=35),
            MONDAY_9AM + timedelta(minutes=155),
            AT_L4,
        ):
            climb_due_steps(now=now)
        yield company, request


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("_round", range(5))
def test_a_bypass_and_a_withdrawal_at_once_leave_one_of_them(race, transactional_company, _round):
    company, request = transactional_company
    presence = present(company.cfo, request)

    bypassed, withdrawn = race(
        lambda: answer(request, company.cfo, now=AT_L4, note=WHY, presence=presence),
        lambda: withdraw(ref=request.ref, agent=company.agent, now=AT_L4),
    )

    request.refresh_from_db()
    review = Review.objects.filter(request=request)
    # Withdrawal of what is approved and not begun is allowed: then the review stands for the bypass.
    assert request.state == "withdrawn"
    assert not isinstance(withdrawn, Exception)
    assert review.exists() is (not isinstance(bypassed, Exception))
    assert review.count() == Decision.objects.filter(is_bypass=True).count()
    if isinstance(bypassed, Exception):
        assert isinstance(bypassed, NotNow)
