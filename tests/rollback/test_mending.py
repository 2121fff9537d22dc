"""A failure that outlasts its retries is answered by people: tried now, undone, or finished by hand."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from approvals.models import ActionRequest, Alert, Ask, Case, Claim, Decision, Notice, Order, Step
from approvals.services.mending import mend
from approvals.services.orders import order_rollback
from governance.errors import (
    AlreadyDecided,
    DigestChanged,
    NotNow,
    NotYours,
    TooLate,
    Unprocessable,
)
from governance.models import RosterShift
from governance.tables import policy
from governance.vocabulary import Path
from rollback.connectors.base import NotDone, OutcomeUnknown, Rejected
from rollback.models import Direction, Recovery, Unit
from rollback.runner import run_all
from tests.approvals.asking import answer, ask_for_payment, chain_kinds
from tests.factories import (
    AbsenceFactory,
    AppointmentFactory,
    ContactChannelFactory,
    PersonFactory,
    RosterShiftFactory,
)
from tests.rollback.carrying import approved, books, on_call, whole_record, worker

__all__ = ["approved", "books", "on_call", "whole_record", "worker"]  # fixtures

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("whole_record", "on_call")]

S = ActionRequest.State
U = Unit.State
M = timedelta(minutes=1)
H = timedelta(hours=1)
MICROSECOND = timedelta(microseconds=1)
DOWN = NotDone("503 Service Unavailable")
LOST = OutcomeUnknown("no answer within 8 s")


def now_(request):
    return ActionRequest.objects.get(pk=request.pk)


def step_of(request, level, path=Path.SYSTEM_FAILURE):
    return Step.objects.get(request=request, path=path, level=level)


def asked_on(step):
    return [ask.person.username for ask in step.asks.filter(asked_at__isnull=False).order_by("pk")]


def say(request, person, verdict, timeline, **over):
    given = {"ref": request.ref, "actor": person, "verdict": verdict, "digest": request.digest}
    return mend(**{**given, "now": timeline.now, **over})


@pytest.fixture
def manager(on_call):
    return on_call.manager


@pytest.fixture
def failing(approved, worker, books, timeline):
    """Down from its fourth line on, for longer than L1: whoever is on call has just been asked."""
    books.fail(4, *[DOWN] * 5)
    run_all(worker.hands)
    timeline.go_to(step_of(approved, 1).due_at)
    books.script.clear()
    return now_(approved)


# --- L1, and who is told ---


def test_every_attempt_within_half_an_hour_belongs_to_one_step_and_then_on_call_is_asked(
    approved, worker, books, timeline
):
    began = timeline.now
    books.down = DOWN
    while now_(approved).next_try_at is not None or timeline.now == began:
        run_all(worker.hands)
        timeline.now = now_(approved).next_try_at or timeline.now + MICROSECOND

    timeline.go_to(began + 30 * M - MICROSECOND)
    assert Step.objects.filter(path=Path.SYSTEM_FAILURE).count() == 1
    timeline.go_to(began + 30 * M)

    step = step_of(approved, 2)
    assert (step.opened_at, step.window, asked_on(step)) == (began + 30 * M, 2 * H, ["oncall"])
    assert (now_(approved).state, now_(approved).due_at) == (S.TROUBLED, step.due_at)
    assert now_(approved).next_attempt_at is None, "from here on people say how it goes on"
    assert Case.objects.get(exception="system_failure").highest_level == 2
    assert run_all(worker.hands) == 0


def test_whoever_approved_it_is_told_at_once_that_it_failed(approved, company, worker, books):
    books.fail(1, DOWN)

    run_all(worker.hands)

    told = Notice.objects.filter(facts__what="failing", via="inbox")
    assert [notice.person for notice in told] == [company.finance_manager]


def test_a_failure_of_medium_severity_tells_on_call_too(company, timeline, worker, books, on_call):
    request = ask_for_payment(company, severity="medium")
    answer(request, company.finance_manager, now=timeline.now)
    books.fail(1, DOWN)

    run_all(worker.hands)

    told = Notice.objects.filter(facts__what="failing", via="inbox")
    assert {notice.person for notice in told} == {company.finance_manager, on_call}
    case = Case.objects.get(exception="system_failure")
    assert (case.response, step_of(request, 1).state) == ("retry_tell_oncall", "waiting")
    assert not Ask.objects.filter(person=on_call).exists(), "told, and not asked"


def test_a_failure_of_high_impact_is_on_calls_at_once(company, timeline, worker, books):
    request = ask_for_payment(company, impact="high")
    answer(request, company.finance_manager, now=timeline.now)
    books.fail(1, DOWN)

    run_all(worker.hands)

    assert (Case.objects.get(exception="system_failure").response, now_(request).state) == (
        "oncall", S.TROUBLED,
    )  # fmt: skip
    step = step_of(request, 2)
    assert (step.opened_at, asked_on(step)) == (timeline.now, ["oncall"])
    assert not Step.objects.filter(path=Path.SYSTEM_FAILURE, level=1).exists()
    assert now_(request).next_attempt_at is None


def test_an_outcome_that_cannot_be_asked_for_is_a_persons_whatever_the_tree_says(
    approved, worker, books, timeline
):
    books.gives = replace(books.gives, lookup=False, native_keys=False)
    books.lose_answer(3, LOST)
    run_all(worker.hands)

    timeline.now = now_(approved).next_attempt_at
    run_all(worker.hands)

    assert Case.objects.get(exception="system_failure").response == "retry"
    assert step_of(approved, 1).state == Step.State.PASSED_OVER
    assert asked_on(step_of(approved, 2)) == ["oncall"]
    assert books.sends.count(f"{approved.business_key}~0/3") == 1, "never a blind retry"


def test_an_approval_that_no_worker_begins_is_on_calls_after_another_half_hour(approved, timeline):
    timeline.go_to(approved.due_at + 30 * M)

    assert now_(approved).state == S.TROUBLED
    assert asked_on(step_of(approved, 2)) == ["oncall"]
    assert Case.objects.filter(exception="system_failure").count() == 1


# --- Tried again now ---


def test_on_call_has_it_tried_again_and_it_is_done(failing, on_call, worker, books, timeline):
    timeline.now += 5 * M

    say(failing, on_call, "retry", timeline, note="The target answers again.")

    assert (step_of(failing, 2).state, now_(failing).due_at) == ("answered", timeline.now)
    run_all(worker.hands)
    assert now_(failing).state == S.COMPLETED
    assert books.lines_done == [1, 2, 3, 4, 5]
    case = Case.objects.get(exception="system_failure")
    assert (case.outcome, case.highest_level) == (Case.Outcome.RECOVERED, 2)
    decision = Decision.objects.get(verdict="retry")
    assert (decision.person, decision.digest) == (on_call, failing.digest)
    assert Recovery.objects.get().needed_a_person


def test_what_fails_again_after_an_answer_goes_on_at_the_next_rung_of_the_same_case(
    failing, on_call, manager, worker, books, timeline
):
    books.fail(4, DOWN)

    say(failing, on_call, "retry", timeline)
    run_all(worker.hands)

    assert (now_(failing).state, step_of(failing, 3).opened_at) == (S.TROUBLED, timeline.now)
    assert asked_on(step_of(failing, 3)) == ["oncall_manager"]
    assert Case.objects.filter(exception="system_failure").count() == 1
    say(failing, manager, "retry", timeline)
    books.fail(4, DOWN)
    run_all(worker.hands)
    run_all(worker.hands)
    assert now_(failing).state == S.ROLLED_BACK, "no rung is left"
    assert books.lines_done == []


def test_an_attempt_that_no_worker_begins_does_not_wait_for_ever(failing, on_call, timeline):
    say(failing, on_call, "retry", timeline)
    began = timeline.now

    timeline.go_to(began + 30 * M - MICROSECOND)
    assert not Step.objects.filter(path=Path.SYSTEM_FAILURE, level=3).exists()
    timeline.go_to(began + 30 * M)

    assert asked_on(step_of(failing, 3)) == ["oncall_manager"]
    assert now_(failing).due_at == step_of(failing, 3).due_at


def test_another_attempt_waits_for_the_call_that_is_under_way(
    approved, on_call, worker, books, timeline
):
    books.fail(4, DOWN)
    run_all(worker.hands)
    timeline.now = now_(approved).next_attempt_at

    def the_step_is_over():
        timeline.now = step_of(approved, 1).due_at
        ActionRequest.objects.filter(pk=approved.pk).update(
            lease_until=timeline.now + 20 * timedelta(seconds=1)
        )
        timeline.sweep()
        assert now_(approved).state == S.TROUBLED
        say(approved, on_call, "retry", timeline)
        seen.append(Order.objects.get(kind="retry").closed_at)
        assert run_all(worker.hands) == 0, "one run at a time"

    seen = []
    books.meanwhile(4, the_step_is_over)
    run_all(worker.hands)

    assert seen == [None], "stored as an order while the call is under way"
    assert Unit.objects.get(position=4, direction=Direction.FORWARD).state == U.DONE
    timeline.now = now_(approved).next_attempt_at
    run_all(worker.hands)
    assert now_(approved).state == S.COMPLETED
    assert Order.objects.get(kind="retry").outcome == Order.Outcome.CARRIED_OUT
    assert len(books.done) == 5


# --- Undone, by an answer or by silence ---


def test_the_manager_has_it_undone_and_needs_nobodys_second_word(
    failing, on_call, manager, worker, books, timeline
):
    timeline.go_to(step_of(failing, 2).due_at)
    assert asked_on(step_of(failing, 3)) == ["oncall_manager"]

    say(failing, manager, "roll_back", timeline, note="They want one delivery or none.")

    order = Order.objects.get(kind="roll_back")
    assert (order.ordered_by, order.needs_second) == (manager, False)
    assert (now_(failing).state, step_of(failing, 3).state) == (S.ROLLING_BACK, "answered")
    run_all(worker.hands)
    assert now_(failing).state == S.ROLLED_BACK
    assert Case.objects.get(exception="system_failure").outcome == Case.Outcome.ROLLED_BACK
    assert books.lines_done == []


def test_undoing_what_was_never_done_ends_it(approved, on_call, worker, books, timeline):
    books.down = DOWN
    run_all(worker.hands)
    timeline.go_to(step_of(approved, 1).due_at)

    say(approved, on_call, "roll_back", timeline)

    assert (now_(approved).state, now_(approved).end_reason) == (S.EXPIRED, "target")


def test_silence_on_every_rung_undoes_what_was_done(failing, worker, books, timeline):
    began = step_of(failing, 1).opened_at

    timeline.go_to(began + 30 * M + 2 * H + 4 * H)

    assert [step.state for step in Step.objects.filter(path=Path.SYSTEM_FAILURE)] == ["expired"] * 3
    assert now_(failing).state == S.ROLLING_BACK
    run_all(worker.hands)
    assert now_(failing).state == S.ROLLED_BACK


def test_silence_ends_what_nothing_was_done_of(approved, worker, books, timeline):
    books.down = DOWN
    began = timeline.now
    run_all(worker.hands)

    timeline.go_to(began + 30 * M + 6 * H)

    ended = now_(approved)
    assert (ended.state, ended.end_reason, ended.ended_at) == (
        S.EXPIRED, "target", began + 30 * M + 6 * H,
    )  # fmt: skip
    assert Alert.objects.filter(kind="execution.failed").exists()


# --- Who is on call ---


def go_down(approved, worker, books, timeline):
    books.fail(4, *[DOWN] * 5)
    run_all(worker.hands)
    timeline.go_to(step_of(approved, 1).due_at)


def test_in_a_gap_of_the_roster_the_fallback_is_asked(approved, company, worker, books, timeline):
    RosterShift.objects.all().delete()
    fallback = PersonFactory(username="fallback")
    ContactChannelFactory(person=fallback)
    AppointmentFactory(
        version=company.policy, office="oncall_fallback", scope="books", person=fallback
    )
    policy.cache_clear()

    go_down(approved, worker, books, timeline)

    assert asked_on(step_of(approved, 2)) == ["fallback"]


def test_with_nobody_on_call_and_no_fallback_the_path_is_at_its_end(
    approved, worker, books, timeline
):
    RosterShift.objects.all().delete()

    go_down(approved, worker, books, timeline)

    assert [step.state for step in Step.objects.filter(path=Path.SYSTEM_FAILURE)] == [
        "expired", "passed_over", "passed_over",
    ]  # fmt: skip
    assert now_(approved).state == S.ROLLING_BACK


def test_a_shift_counts_from_its_first_instant_up_to_its_last(
    approved, on_call, worker, books, timeline
):
    books.fail(4, *[DOWN] * 5)
    run_all(worker.hands)
    due = step_of(approved, 1).due_at
    night = PersonFactory(username="night", manager=on_call.manager)
    ContactChannelFactory(person=night)
    RosterShift.objects.update(ends_at=due)
    RosterShiftFactory(target="books", person=night, starts_at=due, ends_at=due + 8 * H)

    timeline.go_to(due)

    assert asked_on(step_of(approved, 2)) == ["night"]


def test_a_shift_that_ends_while_somebody_is_asked_leaves_the_ask_with_them(
    failing, on_call, manager, timeline
):
    """People are read live at each rung, not within one: who was asked answers for the rung."""
    night = PersonFactory(username="night", manager=manager)
    RosterShift.objects.update(ends_at=timeline.now + 30 * M)
    RosterShiftFactory(
        target="books", person=night, starts_at=timeline.now + 30 * M, ends_at=timeline.now + 9 * H
    )

    timeline.advance(minutes=31)

    assert asked_on(step_of(failing, 2)) == ["oncall"]
    with pytest.raises(NotYours):
        say(failing, night, "retry", timeline)
    say(failing, on_call, "retry", timeline)


def test_somebody_on_call_who_falls_ill_gives_way_on_the_same_clock(failing, on_call, timeline):
    deputy = PersonFactory(username="deputy")
    ContactChannelFactory(person=deputy)
    RosterShiftFactory(
        target="books", person=deputy, starts_at=timeline.now - M, ends_at=timeline.now + 9 * H
    )
    due = step_of(failing, 2).due_at
    AbsenceFactory(person=on_call, starts_at=timeline.now + M, ends_at=timeline.now + 9 * H)

    timeline.advance(minutes=2)

    ask = Ask.objects.get(step=step_of(failing, 2), person=deputy)
    assert (ask.due_at, step_of(failing, 2).due_at) == (due, due)


# --- Who may say what, and until when ---


def test_an_answer_at_the_instant_the_clock_runs_out_is_too_late(failing, on_call, timeline):
    due = step_of(failing, 2).due_at
    timeline.now = due
    with pytest.raises(TooLate):
        say(failing, on_call, "retry", timeline)

    timeline.now = due - MICROSECOND
    assert say(failing, on_call, "retry", timeline).next_attempt_at == timeline.now


def test_nobody_answers_who_is_not_asked(failing, company, manager, timeline):
    for person in (company.finance_manager, company.controller, manager):
        with pytest.raises(NotYours):
            say(failing, person, "retry", timeline)


def test_whoever_owns_the_agent_says_nothing_even_on_call(failing, company, on_call, timeline):
    company.agent.owner = on_call
    company.agent.save()

    with pytest.raises(NotYours, match="own the agent"):
        say(failing, on_call, "retry", timeline)


def test_an_answer_names_what_was_shown(failing, on_call, timeline):
    with pytest.raises(DigestChanged):
        say(failing, on_call, "retry", timeline, digest="0" * 64)
    with pytest.raises(Unprocessable):
        say(failing, on_call, "approve", timeline)


def test_a_second_answer_is_refused(failing, on_call, timeline):
    say(failing, on_call, "retry", timeline)

    with pytest.raises(AlreadyDecided):
        say(failing, on_call, "roll_back", timeline)


def test_leave_cannot_be_given_where_it_is_asked_how_to_go_on(failing, on_call, timeline):
    with pytest.raises(NotNow):
        answer(failing, on_call, now=timeline.now)


def test_an_order_to_roll_back_comes_first(failing, company, on_call, timeline):
    company.vendor_payment.is_financial = False
    company.vendor_payment.save()
    order_rollback(ref=failing.ref, actor=company.controller, reason="Stop", now=timeline.now)

    with pytest.raises(NotNow, match="comes first"):
        say(failing, on_call, "retry", timeline)


# --- The undo ---


@pytest.fixture
def undoing(approved, company, worker, books, timeline):
    """Done, ordered to be undone, and refused by the target for good: whoever is on call is asked."""
    company.vendor_payment.is_financial = False
    company.vendor_payment.save()
    run_all(worker.hands)
    order_rollback(ref=approved.ref, actor=company.controller, reason="Wrong", now=timeline.now)
    timeline.sweep()
    books.fail(5, Rejected("422 the period is closed"))
    run_all(worker.hands)
    assert asked_on(step_of(approved, 2, Path.UNDO)) == ["oncall"]
    return now_(approved)


def test_an_undo_is_tried_now_and_succeeds(undoing, on_call, worker, books, timeline):
    assert now_(undoing).next_attempt_at > timeline.now

    say(undoing, on_call, "retry", timeline)
    run_all(worker.hands)

    assert now_(undoing).state == S.ROLLED_BACK
    assert step_of(undoing, 2, Path.UNDO).state == "answered"
    assert Recovery.objects.get(pattern="compensate").needed_a_person
    assert books.lines_done == []


def test_an_undo_that_fails_again_is_the_managers_and_then_stranded(
    undoing, on_call, manager, worker, books, timeline
):
    books.down = DOWN
    say(undoing, on_call, "retry", timeline)
    run_all(worker.hands)
    assert asked_on(step_of(undoing, 3, Path.UNDO)) == ["oncall_manager"]

    say(undoing, manager, "retry", timeline)
    run_all(worker.hands)

    assert now_(undoing).state == S.STRANDED
    assert undoing.reviews.get().kind == "cleanup"


def test_an_undo_cannot_be_rolled_back(undoing, on_call, timeline):
    with pytest.raises(Unprocessable):
        say(undoing, on_call, "roll_back", timeline)


def test_an_undo_ordered_again_during_an_attempt_is_tried_once_that_is_over(
    undoing, on_call, worker, books, timeline
):
    timeline.now = now_(undoing).next_attempt_at

    def now_again():
        say(undoing, on_call, "retry", timeline)
        assert Order.objects.get(kind="retry").closed_at is None
        raise DOWN

    books.meanwhile(5, now_again)
    run_all(worker.hands)

    assert now_(undoing).state == S.ROLLED_BACK
    assert Order.objects.get(kind="retry").outcome == Order.Outcome.CARRIED_OUT
    assert not Step.objects.filter(path=Path.UNDO, level=3).exists()


def test_the_record_says_who_answered_what(failing, on_call, timeline):
    say(failing, on_call, "by_hand", timeline, note="I enter it.")

    kinds = chain_kinds(failing)
    assert kinds[-2:] == ["step.decided", "claim.taken"]
    assert Claim.objects.get().person == on_call
