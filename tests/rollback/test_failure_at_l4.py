"""L4 of a system failure: an executive answers over the heads of others, in person, and is reviewed."""

from __future__ import annotations

import pytest

from approvals.models import Alert, Case, Claim, Decision, Notice, Review, Step
from governance import stepup
from governance.errors import (
    AlreadyDecided,
    DigestChanged,
    NotNow,
    NotYours,
    TooLate,
    Unprocessable,
)
from governance.models import AuditEvent, Person
from governance.tables import policy
from rollback.models import Recovery
from rollback.runner import run_all
from tests.approvals.asking import answer, ask_for_payment, make_critical
from tests.approvals.test_bypass import overdue_bypass_of, passed_at_l4
from tests.factories import AbsenceFactory, AppointmentFactory
from tests.factors import give_factor, present
from tests.rollback.carrying import books, on_call, whole_record, worker
from tests.rollback.test_by_hand import ALL, NOTHING, Hand
from tests.rollback.test_mending import DOWN, MICROSECOND, H, M, S, asked_on, now_, say, step_of

__all__ = ["books", "on_call", "whole_record", "worker"]  # fixtures

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("whole_record", "on_call")]

WHY = "The books close tonight, and the target is back."


@pytest.fixture
def critical(company, on_call, timeline):
    """A payment of a critical process, approved a minute after it was asked for."""
    make_critical(company)
    company.vendor_payment.is_financial = False
    company.vendor_payment.save()
    give_factor(company.cfo)
    request = ask_for_payment(company)
    timeline.now += M
    return answer(request, company.finance_manager, now=timeline.now)


@pytest.fixture
def at_l4(critical, worker, books, timeline):
    """Down from its fourth line on, and nobody answered: the CFO has just been asked."""
    return go_to_l4(critical, worker, books, timeline)


def go_to_l4(request, worker, books, timeline, line=4):
    books.fail(line, *[DOWN] * 5)
    run_all(worker.hands)
    timeline.go_to(step_of(request, 1).opened_at + 30 * M + 6 * H)
    books.script.clear()
    return now_(request)


def override(request, person, verdict, timeline, **over):
    given = {"note": WHY, "presence": present(person, request)}
    return say(request, person, verdict, timeline, **{**given, **over})


def another_executive(company):
    """Have the Chief Executive Officer override too, after the CFO; and somebody not below them review."""
    AppointmentFactory(version=company.policy, office="executive", person=company.ceo)
    for person in Person.objects.filter(username__in=("auditor", "second_reviewer")):
        person.manager = None
        person.save()
    policy.cache_clear()
    return company.ceo


# --- Who is asked, and for how long ---


def test_after_the_manager_the_executive_is_asked_for_an_hour(at_l4, timeline):
    step = step_of(at_l4, 4)

    assert (step.opened_at, step.window, asked_on(step)) == (timeline.now, H, ["cfo"])
    assert (at_l4.state, at_l4.due_at) == (S.TROUBLED, timeline.now + H)
    assert Case.objects.get(exception="system_failure").highest_level == 4


def test_of_any_other_process_the_path_ends_below_it(critical, company, worker, books, timeline):
    company.vendor_payment.is_critical = False
    company.vendor_payment.save()

    go_to_l4(critical, worker, books, timeline)

    assert not Step.objects.filter(level=4).exists()
    assert now_(critical).state == S.ROLLING_BACK
    assert not Alert.objects.filter(kind="bypass.expired").exists()


def test_what_fails_again_after_the_managers_answer_is_the_executives(
    critical, on_call, worker, books, timeline
):
    books.fail(4, *[DOWN] * 9)
    run_all(worker.hands)
    timeline.go_to(step_of(critical, 1).due_at)
    say(critical, on_call, "retry", timeline)
    run_all(worker.hands)
    say(critical, on_call.manager, "retry", timeline)
    run_all(worker.hands)

    assert asked_on(step_of(critical, 4)) == ["cfo"]


def test_an_executive_who_approved_it_is_not_asked_to_override_and_another_is(
    company, on_call, worker, books, timeline
):
    make_critical(company)
    ceo = another_executive(company)
    give_factor(company.cfo)
    request = ask_for_payment(company)
    timeline.go_to(timeline.now + 35 * M + 6 * H)
    answer(request, company.cfo, now=timeline.now, note=WHY, presence=present(company.cfo, request))

    go_to_l4(request, worker, books, timeline)

    step = step_of(request, 4)
    assert asked_on(step) == ["ceo"]
    assert step.asks.get(person=company.cfo).passed_over_reason.startswith("was asked before")
    # Nor do they take the place of one who falls ill.
    AbsenceFactory(person=ceo, starts_at=timeline.now, ends_at=timeline.now + 9 * H)
    timeline.advance(minutes=1)
    assert asked_on(step) == ["ceo"]
    assert now_(request).state == S.ROLLING_BACK


def test_the_only_executive_owing_a_review_leaves_nobody_and_compliance_is_told(
    critical, company, worker, books, timeline
):
    overdue_bypass_of(company.cfo, company)

    go_to_l4(critical, worker, books, timeline)

    assert "past its due time" in passed_at_l4(critical)["cfo"]
    assert now_(critical).state == S.ROLLING_BACK
    alert = Alert.objects.get(kind="bypass.expired", request=critical)
    assert "and its undoing began: nobody answered, at L4 neither" in alert.text


def test_nobody_else_answers_at_the_top(at_l4, company, on_call, timeline):
    for person in (on_call, on_call.manager, company.finance_manager, company.ceo):
        with pytest.raises((NotYours, TooLate)):
            override(at_l4, person, "retry", timeline)

    assert not Review.objects.exists()


def test_it_is_answered_within_its_hour_to_the_instant(at_l4, company, timeline):
    due = step_of(at_l4, 4).due_at
    timeline.now = due
    with pytest.raises(TooLate):
        override(at_l4, company.cfo, "retry", timeline)

    timeline.now = due - MICROSECOND
    override(at_l4, company.cfo, "retry", timeline)


# --- What it takes ---


@pytest.mark.parametrize("verdict", ["retry", "by_hand"])
def test_an_answer_at_the_top_is_a_bypass_with_its_review_in_one_act(
    at_l4, company, timeline, verdict
):
    override(at_l4, company.cfo, verdict, timeline)

    decision, review = Decision.objects.get(verdict=verdict), Review.objects.get()
    assert (decision.is_bypass, decision.review) == (True, review)
    assert decision.reauthenticated_at == timeline.now
    assert (review.kind, review.reason, review.signatures_replaced) == ("bypass", WHY, 1)
    assert review.due_at == timeline.now + 48 * H
    assert review.asked.username == "auditor"
    decided = AuditEvent.objects.filter(kind="step.decided").last()
    assert (decided.facts["bypass"], decided.facts["verdict"]) == (True, verdict)
    assert decided.cause == AuditEvent.objects.get(kind="review.opened").cause


@pytest.mark.parametrize("verdict", ["retry", "by_hand"])
@pytest.mark.parametrize(
    ("over", "factor", "refusal"),
    [
        ({"note": "  "}, True, Unprocessable),
        ({"presence": None}, True, stepup.StepUpNeeded),
        ({"presence": None}, False, stepup.NoSecondFactor),
        ({"digest": "0" * 64}, True, DigestChanged),
    ],
    ids=["no justification", "no code", "no factor", "another digest"],
)
def test_without_a_code_or_a_justification_nothing_is_overridden(
    at_l4, company, timeline, verdict, over, factor, refusal
):
    if not factor:
        company.cfo.authenticator_set.all().delete()

    with pytest.raises(refusal):
        override(at_l4, company.cfo, verdict, timeline, **over)

    assert not Decision.objects.filter(verdict=verdict).exists()
    assert not Review.objects.exists()
    assert not Claim.objects.exists()
    assert now_(at_l4).next_attempt_at is None


def test_a_factor_given_for_another_request_or_by_somebody_else_counts_for_nothing(
    at_l4, company, timeline
):
    other = ask_for_payment(company, key="other", invoice="INV-2", now=timeline.now)

    for presence in (present(company.cfo, other), present(company.ceo, at_l4)):
        with pytest.raises(stepup.StepUpNeeded):
            override(at_l4, company.cfo, "retry", timeline, presence=presence)


def test_undoing_overrides_nobody(at_l4, company, worker, books, timeline):
    say(at_l4, company.cfo, "roll_back", timeline)

    run_all(worker.hands)
    assert now_(at_l4).state == S.ROLLED_BACK
    assert not Decision.objects.get(verdict="roll_back").is_bypass
    assert not Review.objects.exists()


def test_who_came_to_owe_a_review_after_being_asked_may_not_override(at_l4, company, timeline):
    overdue_bypass_of(company.cfo, company)

    with pytest.raises(NotYours, match="past its due time"):
        override(at_l4, company.cfo, "retry", timeline)


# --- What comes of it ---


def test_another_attempt_that_succeeds_completes_it_and_the_review_stays(
    at_l4, company, worker, books, timeline
):
    override(at_l4, company.cfo, "retry", timeline)

    run_all(worker.hands)
    assert now_(at_l4).state == S.COMPLETED
    assert books.lines_done == [1, 2, 3, 4, 5]
    assert Review.objects.get().state == "open"
    assert Recovery.objects.get().needed_a_person


def test_another_attempt_that_fails_ends_the_path_and_nobody_is_said_to_have_been_silent(
    at_l4, company, worker, books, timeline
):
    override(at_l4, company.cfo, "retry", timeline)
    books.fail(4, DOWN)

    run_all(worker.hands)

    assert now_(at_l4).state == S.ROLLED_BACK
    assert Review.objects.get().state == "open"
    assert not Alert.objects.filter(kind="bypass.expired").exists()


@pytest.mark.parametrize(("said", "end"), [(ALL, S.COMPLETED_MANUALLY), (NOTHING, S.ROLLED_BACK)])
def test_what_the_executive_takes_in_hand_they_finish(at_l4, company, books, timeline, said, end):
    hand = Hand(at_l4, books, timeline)
    override(at_l4, company.cfo, "by_hand", timeline)

    hand.settle(company.cfo, *said)

    assert now_(at_l4).state == end
    assert Review.objects.get().state == "open"


def test_given_back_another_answer_is_another_bypass_with_a_review_of_its_own(
    at_l4, company, worker, books, timeline
):
    hand = Hand(at_l4, books, timeline)
    override(at_l4, company.cfo, "by_hand", timeline)
    with pytest.raises(AlreadyDecided):
        override(at_l4, company.cfo, "retry", timeline)
    hand.give_back(company.cfo)
    with pytest.raises(stepup.StepUpNeeded):
        override(at_l4, company.cfo, "retry", timeline, presence=None)

    override(at_l4, company.cfo, "retry", timeline, note="It answers again.")

    run_all(worker.hands)
    assert now_(at_l4).state == S.COMPLETED
    assert [review.reason for review in Review.objects.order_by("pk")] == [
        WHY, "It answers again.",
    ]  # fmt: skip


def test_what_the_manager_has_in_hand_the_executive_takes_over_or_they_finish_it(
    critical, company, on_call, worker, books, timeline
):
    """Being an executive as well does not keep the manager from finishing it."""
    AppointmentFactory(version=company.policy, office="executive", person=on_call.manager)
    policy.cache_clear()
    books.fail(4, *[DOWN] * 5)
    run_all(worker.hands)
    timeline.go_to(step_of(critical, 1).due_at + 2 * H)
    hand = Hand(critical, books, timeline)
    hand.take(on_call.manager)
    timeline.advance(hours=4)
    assert asked_on(step_of(critical, 4)) == ["cfo"]
    with pytest.raises(NotNow, match="has it in hand"):
        override(critical, company.cfo, "retry", timeline)
    hand.note(on_call.manager, "done", "done", "done", "unknown", "not_done")

    override(critical, company.cfo, "by_hand", timeline)

    claim = Claim.objects.get(closed_at=None)
    assert (claim.person, claim.taken_over_from.person) == (company.cfo, on_call.manager)
    assert [each["state"] for each in claim.units][3] == "unknown"
    assert Notice.objects.filter(person=on_call.manager, facts__what="taken_over").exists()


def test_who_has_it_in_hand_goes_on_with_it_though_a_review_of_theirs_runs_over(
    at_l4, company, books, timeline
):
    hand = Hand(at_l4, books, timeline)
    override(at_l4, company.cfo, "by_hand", timeline)
    overdue_bypass_of(company.cfo, company)

    hand.settle(company.cfo, *ALL)

    assert now_(at_l4).state == S.COMPLETED_MANUALLY


# --- What was approved at L4, and then fails ---


@pytest.fixture
def overridden(company, timeline):
    """Nobody answered a payment of a critical process, and the CFO approved it in place of the others."""
    make_critical(company)
    give_factor(company.cfo)
    request = ask_for_payment(company)
    timeline.advance(hours=6, minutes=35)
    presence = present(company.cfo, request)
    return answer(request, company.cfo, now=timeline.now, note=WHY, presence=presence)


def test_what_an_executive_approved_and_then_fails_takes_the_path_of_failures_and_stays_reviewed(
    overridden, company, on_call, client, worker, books, timeline
):
    review = Review.objects.get()
    client.force_login(review.asked)

    def told():
        page = client.get(f"/reviews/{review.pk}/").content.decode().replace("\xa0", " ")
        return page.partition("Was it justified?")[2][:400]

    books.fail(4, *[DOWN] * 9)
    run_all(worker.hands)
    assert (now_(overridden).state, step_of(overridden, 1).state) == (S.TROUBLED, "waiting")
    assert "It is troubled." in told()
    timeline.go_to(step_of(overridden, 1).due_at)
    assert asked_on(step_of(overridden, 2)) == ["oncall"]
    failing = Notice.objects.filter(facts__what="failing", via="inbox")
    assert {notice.person for notice in failing} == {company.cfo}, "who approved it is told"

    say(overridden, on_call, "roll_back", timeline)
    run_all(worker.hands)

    assert (now_(overridden).state, books.lines_done) == (S.ROLLED_BACK, [])
    review.refresh_from_db()
    assert (review.state, Review.objects.count()) == ("open", 1)
    assert "It is rolled back." in told()
    assert Case.objects.get(exception="timeout").outcome == "approved"
    assert Case.objects.get(exception="system_failure").outcome == "rolled_back"


# --- Silence ---


def test_a_silent_last_rung_undoes_what_was_done_and_compliance_is_told(
    at_l4, worker, books, timeline
):
    due = step_of(at_l4, 4).due_at

    timeline.go_to(due - MICROSECOND)
    assert now_(at_l4).state == S.TROUBLED
    timeline.go_to(due)

    assert now_(at_l4).state == S.ROLLING_BACK
    assert step_of(at_l4, 4).state == "expired"
    assert Alert.objects.filter(kind="bypass.expired", request=at_l4).count() == 1
    run_all(worker.hands)
    assert (now_(at_l4).state, books.lines_done) == (S.ROLLED_BACK, [])


def test_a_silent_last_rung_ends_what_nothing_was_done_of(critical, worker, books, timeline):
    at_l4 = go_to_l4(critical, worker, books, timeline, line=1)

    timeline.advance(hours=1)

    ended = now_(at_l4)
    assert (ended.state, ended.end_reason, ended.ended_at) == (S.EXPIRED, "target", timeline.now)
    assert (
        "and it ended: nobody answered, at L4 neither"
        in Alert.objects.get(kind="bypass.expired").text
    )


def test_what_the_executive_has_in_hand_at_the_end_is_stranded_and_was_not_silence(
    at_l4, company, timeline
):
    override(at_l4, company.cfo, "by_hand", timeline)

    timeline.advance(hours=1)

    assert now_(at_l4).state == S.STRANDED
    assert sorted(Review.objects.values_list("kind", flat=True)) == ["bypass", "cleanup"]
    assert not Alert.objects.filter(kind="bypass.expired").exists()


def test_what_the_manager_has_in_hand_is_stranded_when_the_executive_is_silent_too(
    critical, on_call, worker, books, timeline
):
    books.fail(4, *[DOWN] * 5)
    run_all(worker.hands)
    timeline.go_to(step_of(critical, 1).due_at + 2 * H)
    Hand(critical, books, timeline).take(on_call.manager)

    timeline.advance(hours=5)

    assert now_(critical).state == S.STRANDED
    assert Alert.objects.filter(kind="bypass.expired").exists()
