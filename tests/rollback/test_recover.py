"""What was done is taken back, the last first, or somebody is asked; never half, and never by guessing."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from approvals.models import ActionRequest, Alert, Ask, Case, Order, Review, Step
from approvals.services.orders import order_rollback
from governance.errors import KeyHeld
from governance.models import ActionType, AuditEvent
from governance.vocabulary import Level, Path
from rollback.connectors.base import NotDone, OutcomeUnknown, Rejected
from rollback.models import Direction, Recovery, Run, Snapshot, Unit
from rollback.runner import run_all, run_next
from tests.approvals.asking import answer, ask_for_payment
from tests.factories import RequestFactory, ResourceFactory
from tests.rollback.carrying import approved, books, on_call, whole_record, worker
from tests.rollback.ledger_target import Killed, Worker

__all__ = ["approved", "books", "on_call", "whole_record", "worker"]  # fixtures

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("whole_record", "on_call")]

S = ActionRequest.State
U = Unit.State
R = Recovery.State
M = timedelta(minutes=1)
H = timedelta(hours=1)
DOWN = NotDone("connection refused")


def now_(request):
    return ActionRequest.objects.get(pk=request.pk)


def states(request, direction=Direction.FORWARD):
    units = Unit.objects.filter(request=request, direction=direction)
    return [unit.state for unit in units.order_by("position")]


@pytest.fixture
def completed(approved, company, worker):
    """Done, all five units, and then found to be wrong."""
    company.vendor_payment.is_financial = False
    company.vendor_payment.save()
    run_all(worker.hands)
    return now_(approved)


@pytest.fixture
def ordered(completed, company, timeline):
    """Ordered to be undone, and taken up: a worker may begin."""
    timeline.now += 10 * M
    order_rollback(
        ref=completed.ref, actor=company.controller, reason="Wrong vendor", now=timeline.now
    )
    timeline.sweep()
    return now_(completed)


@pytest.fixture
def restoring(company, books):
    """The five units write records of which a snapshot is taken, and are undone from it."""
    books.records = True
    company.vendor_payment.reversal = ActionType.Reversal.RESTORE
    company.vendor_payment.snapshot_plan = [f"line/{n}" for n in range(1, 6)]
    company.vendor_payment.save()


def test_an_order_takes_the_key_and_says_until_when(ordered, timeline):
    assert (ordered.state, ordered.ended_at, ordered.due_at) == (S.ROLLING_BACK, None, timeline.now)
    assert ordered.run_deadline == timeline.now + 30 * M


def test_done_units_are_reversed_the_last_first_each_under_its_own_key(ordered, worker, books):
    run_all(worker.hands)

    undone = now_(ordered)
    assert (undone.state, undone.end_reason) == (S.ROLLED_BACK, "undone")
    assert (undone.has_effects, undone.had_effects, undone.holds_key) == (False, True, False)
    assert states(ordered) == [U.REVERSED] * 5
    assert states(ordered, Direction.UNDO) == [U.DONE] * 5
    prefix = f"{ordered.business_key}~0/undo/"
    assert books.sends[5:] == [f"{prefix}{n}" for n in (5, 4, 3, 2, 1)]
    recovery = Recovery.objects.get()
    assert (recovery.pattern, recovery.state) == (Recovery.Pattern.COMPENSATE, R.SUCCEEDED)
    assert not recovery.needed_a_person
    assert [line["how"] for line in recovery.plan] == ["reverse"] * 5
    assert Order.objects.get().outcome == Order.Outcome.CARRIED_OUT


@pytest.mark.parametrize("point", ["before_send", "after_send"])
@pytest.mark.parametrize("line", [5, 2])
def test_a_worker_killed_while_undoing_is_followed_by_another(
    point, line, ordered, worker, books, timeline
):
    worker.kill(point, line)
    with pytest.raises(Killed):
        run_all(worker.hands)

    timeline.now = now_(ordered).lease_until
    run_all(Worker(timeline, books, "two").hands)

    assert now_(ordered).state == S.ROLLED_BACK
    assert books.lines_done == []
    assert len(books.done) == 10


def test_an_open_intent_is_answered_before_anything_is_undone(
    approved, company, worker, books, timeline
):
    """The worker died after line 3 was done; what is undone begins with line 3."""
    company.vendor_payment.is_financial = False
    company.vendor_payment.save()
    books.lose_answer(3, OutcomeUnknown("reset"))
    run_all(worker.hands)
    order_rollback(ref=approved.ref, actor=company.controller, reason="Stop", now=timeline.now)
    timeline.sweep()

    run_all(worker.hands)

    assert now_(approved).state == S.ROLLED_BACK
    assert states(approved)[:3] == [U.REVERSED] * 3
    assert books.lines_done == []


def test_an_undo_whose_target_is_down_climbs_and_goes_on_trying(
    ordered, worker, books, timeline, on_call
):
    began = timeline.now
    books.down = DOWN
    while timeline.now < began + 31 * M:
        run_all(worker.hands)
        timeline.go_to(now_(ordered).due_at)

    step = Step.objects.get(request=ordered, path=Path.UNDO)
    assert (step.level, step.opened_at, step.window) == (Level.L2, began + 30 * M, 2 * H)
    assert [ask.person for ask in step.asks.filter(asked_at__isnull=False)] == [on_call]

    books.down = None
    timeline.go_to(now_(ordered).next_attempt_at)
    run_all(worker.hands)

    assert now_(ordered).state == S.ROLLED_BACK
    step.refresh_from_db()
    assert step.state == Step.State.SUPERSEDED
    assert Recovery.objects.get().needed_a_person


def test_an_undo_that_nobody_answers_ends_stranded_and_owes_a_clean_up(
    ordered, worker, books, timeline, on_call
):
    began = timeline.now
    books.down = DOWN

    while now_(ordered).due_at is not None:
        run_all(worker.hands)
        timeline.go_to(max(now_(ordered).due_at, timeline.now))

    stranded = now_(ordered)
    assert stranded.state == S.STRANDED
    assert stranded.ended_at == began + 30 * M + 2 * H + 4 * H
    assert stranded.has_effects
    levels = Step.objects.filter(request=ordered, path=Path.UNDO).order_by("level")
    assert [(step.level, step.state) for step in levels] == [(2, "expired"), (3, "expired")]
    asked = Ask.objects.filter(step__path=Path.UNDO, asked_at__isnull=False)
    assert {ask.person.username for ask in asked} == {"oncall", "oncall_manager"}
    review = Review.objects.get()
    assert (review.kind, review.state) == (Review.Kind.CLEANUP, Review.State.OPEN)
    assert review.due_at == stranded.ended_at + 48 * H
    assert Alert.objects.filter(kind="request.stranded").exists()
    assert Recovery.objects.get().state == R.FAILED
    assert Order.objects.get().outcome == Order.Outcome.FAILED


def test_a_stranded_request_keeps_its_key(completed, company, worker, books, timeline):
    ActionRequest.objects.filter(pk=completed.pk).update(resource=ResourceFactory())
    order_rollback(ref=completed.ref, actor=company.controller, reason="Wrong", now=timeline.now)
    timeline.sweep()
    books.down = DOWN

    while now_(completed).due_at is not None:
        run_all(worker.hands)
        timeline.go_to(max(now_(completed).due_at, timeline.now))

    assert (now_(completed).state, now_(completed).holds_key) == (S.STRANDED, True)


def test_a_reversal_that_is_refused_for_good_is_for_a_person_at_once(
    ordered, worker, books, timeline
):
    books.fail(5, Rejected("422 the period is closed"))

    run_all(worker.hands)

    waiting = Step.objects.get(request=ordered, path=Path.UNDO)
    assert (waiting.state, waiting.opened_at) == (Step.State.WAITING, timeline.now)
    assert now_(ordered).due_at == timeline.now + 5 * M
    assert run_all(worker.hands) == 0


def test_what_a_person_puts_right_in_the_target_is_found_at_the_next_look(
    restoring, ordered, worker, books, timeline
):
    books.somebody_else_writes("line/2", value="theirs")
    run_all(worker.hands)
    assert now_(ordered).state == S.ROLLING_BACK

    books.somebody_else_writes("line/2", value="new")
    timeline.go_to(now_(ordered).next_attempt_at)
    run_all(worker.hands)

    assert now_(ordered).state == S.ROLLED_BACK
    assert books.state["line/2"][0]["value"] == "old"
    assert Step.objects.get(request=ordered, path=Path.UNDO).state == Step.State.SUPERSEDED


def test_an_action_without_a_reversal_is_for_a_person(ordered, company, worker):
    company.vendor_payment.reversal = ActionType.Reversal.NONE
    company.vendor_payment.save()

    run_all(worker.hands)

    assert Step.objects.get(request=ordered, path=Path.UNDO).state == Step.State.WAITING
    assert states(ordered) == [U.DONE] * 5


def test_records_are_put_back_as_they_were(restoring, ordered, worker, books):
    run_all(worker.hands)

    assert now_(ordered).state == S.ROLLED_BACK
    assert {books.state[f"line/{n}"][0]["value"] for n in range(1, 6)} == {"old"}
    assert Recovery.objects.get().pattern == Recovery.Pattern.RESTORE


def test_what_somebody_else_touched_is_left_and_asked_about(
    restoring, ordered, worker, books, timeline
):
    books.somebody_else_writes("line/2", value="theirs", also="new field")

    run_all(worker.hands)

    assert now_(ordered).state == S.ROLLING_BACK
    assert [books.state[f"line/{n}"][0]["value"] for n in range(1, 6)] == [
        "old", "theirs", "old", "old", "old",
    ]  # fmt: skip
    assert states(ordered) == [U.REVERSED, U.DONE, U.REVERSED, U.REVERSED, U.REVERSED]
    step = Step.objects.get(request=ordered, path=Path.UNDO)
    assert (step.level, step.state) == (2, Step.State.WAITING)
    recovery = Recovery.objects.get()
    assert recovery.needed_a_person
    drift = {each["field"]: each for each in recovery.drift}
    assert drift["value"] == {
        "record": "line/2", "field": "value", "snapshot": "old", "left": "new", "now": "theirs",
    }  # fmt: skip
    assert drift["also"]["now"] == "new field"


def test_a_record_that_was_not_there_before_is_left_and_asked_about(
    restoring, approved, company, worker, books, timeline
):
    books.absent.add("line/2")
    company.vendor_payment.is_financial = False
    company.vendor_payment.save()
    run_all(worker.hands)
    order_rollback(
        ref=approved.ref, actor=company.controller, reason="Wrong vendor", now=timeline.now
    )
    timeline.sweep()

    run_all(worker.hands)

    assert approved.snapshots.get(record="line/2").before is None
    assert [books.state[f"line/{n}"][0]["value"] for n in range(1, 6)] == [
        "old", "new", "old", "old", "old",
    ]  # fmt: skip
    asked = AuditEvent.objects.get(chain=approved.ref, kind="undo.needs_a_person")
    assert "line/2 was not there before" in asked.facts["reason"]


def test_a_record_that_is_as_before_needs_nothing(restoring, ordered, worker, books):
    books.somebody_else_writes("line/2", value="old")

    run_all(worker.hands)

    assert now_(ordered).state == S.ROLLED_BACK
    assert not [key for key in books.sends if key.endswith("undo/2")]


def test_a_lost_answer_is_asked_for_again_although_its_record_is_as_before(
    restoring, ordered, worker, books, timeline
):
    books.gives = replace(books.gives, lookup=False)
    books.lose_answer(4, OutcomeUnknown("the connection was reset"))
    run_all(worker.hands)
    assert states(ordered, Direction.UNDO)[3] == U.UNKNOWN

    timeline.now = now_(ordered).next_attempt_at
    run_all(worker.hands)

    assert now_(ordered).state == S.ROLLED_BACK
    assert states(ordered, Direction.UNDO) == [U.DONE] * 5
    assert books.sends.count(f"{ordered.business_key}~0/undo/4") == 2
    assert books.lines_done == []


def test_somebody_faster_than_the_write_back_is_seen_at_the_next_attempt(
    restoring, ordered, worker, books, timeline
):
    books.meanwhile(5, lambda: books.somebody_else_writes("line/5", value="theirs"))

    run_all(worker.hands)
    timeline.now = now_(ordered).next_attempt_at
    run_all(worker.hands)

    assert books.state["line/5"][0]["value"] == "theirs"
    assert Recovery.objects.get().drift[0]["record"] == "line/5"
    assert Step.objects.get(request=ordered, path=Path.UNDO).state == Step.State.WAITING


def test_a_record_whose_state_after_us_is_not_known_is_for_a_person(
    restoring, ordered, worker, books
):
    Snapshot.objects.filter(record="line/3").update(after=None, left_at=None)

    run_all(worker.hands)

    assert books.state["line/3"][0]["value"] == "new"
    assert Recovery.objects.get().drift[0]["left"] is None


def test_a_financial_action_is_not_undone_before_a_second_person_has_confirmed(
    approved, company, worker, books, timeline
):
    company.vendor_payment.is_financial = True
    company.vendor_payment.save()
    run_all(worker.hands)
    order_rollback(ref=approved.ref, actor=company.controller, reason="Wrong", now=timeline.now)

    timeline.sweep()

    assert now_(approved).state == S.COMPLETED
    assert run_all(worker.hands) == 0


def test_an_undo_waits_for_its_key_and_nothing_new_starts_meanwhile(
    completed, company, worker, timeline
):
    holder = hold_the_record(completed, state=S.APPROVED)
    order_rollback(ref=completed.ref, actor=company.controller, reason="Wrong", now=timeline.now)

    timeline.sweep()

    assert now_(completed).state == S.COMPLETED
    assert Recovery.objects.get().state == R.ORDERED
    ActionRequest.objects.filter(pk=holder.pk).update(
        state=S.EXPIRED, holds_key=False, due_at=None, ended_at=timeline.now
    )
    timeline.sweep()
    assert now_(completed).state == S.ROLLING_BACK


def test_an_undo_whose_key_never_comes_free_lapses_after_four_hours(completed, company, timeline):
    hold_the_record(completed, state=S.STRANDED)
    order_rollback(ref=completed.ref, actor=company.controller, reason="Wrong", now=timeline.now)
    timeline.sweep()
    due = Recovery.objects.get().due_at
    assert due == timeline.now + 4 * H

    timeline.now = due - timedelta(microseconds=1)
    timeline.sweep()
    assert Recovery.objects.get().state == R.ORDERED
    timeline.now = due
    timeline.sweep()

    assert Recovery.objects.get().state == R.LAPSED
    assert Order.objects.get().outcome == Order.Outcome.LAPSED
    assert Alert.objects.filter(kind="rollback.lapsed").exists()
    assert now_(completed).state == S.COMPLETED


def test_nothing_new_is_approved_on_a_record_that_is_to_be_undone(completed, company, timeline):
    hold_the_record(completed, state=S.STRANDED)
    order_rollback(ref=completed.ref, actor=company.controller, reason="Wrong", now=timeline.now)
    ActionRequest.objects.filter(state=S.STRANDED).update(holds_key=False, resource=None)
    other = ask_for_payment(company, now=timeline.now, key="other", invoice="INV-2")
    ActionRequest.objects.filter(pk=other.pk).update(resource=now_(completed).resource)

    with pytest.raises(KeyHeld):
        answer(other, company.finance_manager, now=timeline.now)


def test_who_ordered_it_is_told_how_it_ended(ordered, company, worker):
    run_all(worker.hands)

    told = ordered.notices.filter(facts__what="rolled_back", via="inbox")
    assert {notice.person for notice in told} == {company.finance_manager, company.controller}


def test_the_record_tells_of_the_undo(ordered, worker):
    run_all(worker.hands)

    kinds = list(
        AuditEvent.objects.filter(chain=ordered.ref).order_by("seq").values_list("kind", flat=True)
    )
    after = kinds[kinds.index("request.rolling_back") :]
    assert after.count("unit.reversed") == 5
    assert after[-4:] == [
        "run.finished", "recovery.succeeded", "request.rolled_back", "order.closed",
    ]  # fmt: skip


def test_one_run_of_an_undo_is_one_run(ordered, worker):
    run_next(worker.hands)

    undo = Run.objects.get(direction=Direction.UNDO)
    assert (undo.attempt, undo.state) == (1, Run.State.FINISHED)


def test_a_failure_path_that_ends_keeps_its_case_until_it_is_undone(
    approved, worker, books, timeline
):
    books.fail(3, Rejected("422 no such line"))

    run_next(worker.hands)
    timeline.advance(hours=6)  # on-call and their manager say nothing
    case = Case.objects.get(exception="system_failure")
    assert (now_(approved).state, case.state) == (S.ROLLING_BACK, Case.State.OPEN)
    run_next(worker.hands)

    case.refresh_from_db()
    assert (now_(approved).state, case.outcome) == (S.ROLLED_BACK, Case.Outcome.ROLLED_BACK)


def hold_the_record(completed, *, state):
    """Have another request hold the key of the record that this one wrote."""
    resource = ResourceFactory()
    ActionRequest.objects.filter(pk=completed.pk).update(resource=resource)
    return RequestFactory(resource=resource, state=state, holds_key=True)
