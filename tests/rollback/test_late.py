"""What comes while a call is under way: the clock, the end of a path, an answer that is late."""

from __future__ import annotations

from datetime import timedelta
from functools import partial

import pytest

from approvals.models import ActionRequest, Step
from approvals.services.orders import order_rollback
from approvals.sweeps import ask_about_overdue_undos, trouble_overdue_runs
from governance.models import ActionType, AuditEvent
from governance.vocabulary import Path
from rollback.connectors.base import NotDone, OutcomeUnknown
from rollback.models import Direction, Recovery, Unit
from rollback.runner import run_all, run_next
from rollback.sweeps import take_up_orders
from tests.rollback.carrying import approved, books, on_call, whole_record, worker

__all__ = ["approved", "books", "on_call", "whole_record", "worker"]  # fixtures

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("whole_record")]

S = ActionRequest.State
U = Unit.State
M = timedelta(minutes=1)
H = timedelta(hours=1)
SECOND = timedelta(seconds=1)
DOWN = NotDone("connection refused")
LOST = OutcomeUnknown("no answer within 8 s")


def now_(request):
    return ActionRequest.objects.get(pk=request.pk)


def unit_of(request, position, direction=Direction.FORWARD):
    return Unit.objects.get(request=request, direction=direction, position=position)


@pytest.fixture(autouse=True)
def may_be_ordered_alone(company):
    company.vendor_payment.is_financial = False
    company.vendor_payment.save()


@pytest.fixture
def snapshots(company):
    company.vendor_payment.snapshot_plan = ["line/1", "line/2"]
    company.vendor_payment.save()


def order(request, company, timeline):
    return order_rollback(
        ref=request.ref, actor=company.controller, reason="Wrong vendor", now=timeline.now
    )


def in_the_last_read(books, request, call):
    """Have something happen while a record is read once more, after the last unit."""
    read, happened = books.read, []

    def reading(record):
        forward = Unit.objects.filter(request=request, direction=Direction.FORWARD)
        if not happened and forward.exists() and not forward.exclude(state=U.DONE).exists():
            happened.append(record)
            call()
        return read(record)

    books.read = reading
    return happened


def bring_forward(request, timeline, by=5 * SECOND):
    """Have the run's deadline, and the step that waits, come in a moment."""
    timeline.now += by
    ActionRequest.objects.filter(pk=request.pk).update(
        run_deadline=timeline.now, due_at=timeline.now
    )
    Step.objects.filter(request=request, state=Step.State.WAITING).update(due_at=timeline.now)


# --- The lease, prolonged after the request was moved on -----------------------------------------


def test_an_undo_that_begins_in_the_middle_of_a_read_is_carried_out(
    approved, snapshots, worker, books, timeline
):
    books.fail(4, DOWN)
    run_all(worker.hands)
    timeline.now = now_(approved).next_attempt_at

    def the_path_ends():
        bring_forward(approved, timeline)
        assert trouble_overdue_runs(now=timeline.now) == 1
        assert now_(approved).state == S.ROLLING_BACK

    happened = in_the_last_read(books, approved, the_path_ends)
    run_next(worker.hands)
    assert happened
    assert now_(approved).next_attempt_at is not None

    timeline.now = now_(approved).next_attempt_at
    run_all(worker.hands)

    assert now_(approved).state == S.ROLLED_BACK
    assert books.lines_done == []


def test_an_order_taken_up_in_the_middle_of_a_read_is_carried_out(
    approved, company, snapshots, worker, books, timeline
):
    def ordered():
        bring_forward(approved, timeline)
        trouble_overdue_runs(now=timeline.now)
        order(approved, company, timeline)
        assert take_up_orders(now=timeline.now) == 1

    happened = in_the_last_read(books, approved, ordered)
    run_next(worker.hands)
    assert happened

    timeline.now = now_(approved).next_attempt_at
    run_all(worker.hands)

    assert now_(approved).state == S.ROLLED_BACK


def test_what_is_wholly_done_when_its_time_ends_in_a_read_is_completed(
    approved, snapshots, worker, books, timeline
):
    def the_time_is_over():
        timeline.now = now_(approved).run_deadline
        ActionRequest.objects.filter(pk=approved.pk).update(lease_until=timeline.now + 20 * SECOND)
        assert trouble_overdue_runs(now=timeline.now) == 1

    happened = in_the_last_read(books, approved, the_time_is_over)
    run_next(worker.hands)
    assert happened
    assert now_(approved).state == S.TROUBLED

    timeline.now = now_(approved).next_attempt_at
    run_all(worker.hands)

    assert now_(approved).state == S.COMPLETED
    assert books.sends == [
        unit.key for unit in Unit.objects.filter(direction="forward").order_by("position")
    ]


def test_a_request_that_is_undone_and_has_neither_lease_nor_next_attempt_is_found(
    approved, company, worker, timeline
):
    """No service leaves such a row. If one ever does, it is not left lying."""
    run_all(worker.hands)
    order(approved, company, timeline)
    timeline.sweep()
    ActionRequest.objects.filter(pk=approved.pk).update(
        lease_until=None, next_attempt_at=None, due_at=timeline.now
    )

    run_all(worker.hands)

    assert now_(approved).state == S.ROLLED_BACK


# --- The end of the path while a reversal is in the call ----------------------------------------


def test_the_answer_of_a_reversal_is_taken_before_anything_is_stranded(
    approved, company, worker, books, timeline
):
    run_all(worker.hands)
    order(approved, company, timeline)
    timeline.sweep()

    def nobody_is_on_call():
        bring_forward(approved, timeline, by=2 * SECOND)
        ask_about_overdue_undos(now=timeline.now)
        assert now_(approved).state == S.ROLLING_BACK

    books.meanwhile(1, nobody_is_on_call)  # of the last reversal
    run_next(worker.hands)

    assert now_(approved).state == S.ROLLED_BACK
    assert Recovery.objects.get().state == Recovery.State.SUCCEEDED


def test_what_cannot_be_undone_is_stranded_once_the_call_is_over(
    approved, company, worker, books, timeline
):
    run_all(worker.hands)
    order(approved, company, timeline)
    timeline.sweep()

    def nobody_is_on_call():
        bring_forward(approved, timeline, by=2 * SECOND)
        ask_about_overdue_undos(now=timeline.now)
        raise DOWN

    books.meanwhile(1, nobody_is_on_call)
    run_next(worker.hands)
    assert now_(approved).state == S.ROLLING_BACK

    timeline.go_to(timeline.now + M)

    assert now_(approved).state == S.STRANDED
    asked = AuditEvent.objects.filter(chain=approved.ref, kind="undo.needs_a_person")
    assert asked.count() == 1


def test_whoever_is_on_call_is_asked_at_the_deadline_though_a_worker_is_at_it(
    approved, company, on_call, worker, books, timeline
):
    run_all(worker.hands)
    order(approved, company, timeline)
    timeline.sweep()
    seen = []

    def the_deadline_comes():
        bring_forward(approved, timeline, by=2 * SECOND)
        ask_about_overdue_undos(now=timeline.now)
        seen.extend(Step.objects.filter(path=Path.UNDO).values_list("level", "state"))

    books.meanwhile(3, the_deadline_comes)
    run_next(worker.hands)

    assert seen == [(2, Step.State.WAITING)]
    assert now_(approved).state == S.ROLLED_BACK


# --- Answers that come late ---------------------------------------------------------------------


@pytest.fixture
def restoring(company, books):
    books.records = True
    company.vendor_payment.reversal = ActionType.Reversal.RESTORE
    company.vendor_payment.snapshot_plan = [f"line/{n}" for n in range(1, 6)]
    company.vendor_payment.save()


def test_a_restoration_that_lands_late_does_not_stop_the_others(
    restoring, approved, company, on_call, worker, books, timeline
):
    run_all(worker.hands)
    order(approved, company, timeline)
    timeline.sweep()
    books.fail(5, LOST)  # given up by us; the target is still at it
    run_all(worker.hands)
    late = unit_of(approved, 5, Direction.UNDO)
    read = books.read

    def reading(record):
        if record == "line/5" and late.key not in books.done:
            books.do(late.body, late.key)  # it lands between the probe and the look
        return read(record)

    books.read = reading
    books.fail(4, DOWN)  # and the next record's call fails
    timeline.now = now_(approved).next_attempt_at
    run_all(worker.hands)
    assert now_(approved).state == S.ROLLING_BACK

    timeline.now = now_(approved).next_attempt_at
    run_all(worker.hands)

    assert now_(approved).state == S.ROLLED_BACK
    assert books.lines_done == []


def test_what_somebody_wrote_right_after_us_is_not_taken_for_ours(
    restoring, approved, company, on_call, worker, books, timeline
):
    """Only the answer of the write itself says how we left a record. This target's does not."""
    books.tells_how_it_left = False
    books.meanwhile(5, partial(books.somebody_else_writes, "line/3", phone="theirs"))
    run_all(worker.hands)
    assert now_(approved).state == S.COMPLETED
    order(approved, company, timeline)
    timeline.sweep()

    run_all(worker.hands)

    assert now_(approved).state == S.ROLLING_BACK
    assert books.state["line/3"][0]["phone"] == "theirs"
    assert Step.objects.get(request=approved, path=Path.UNDO).state == Step.State.WAITING


def test_a_target_that_asks_for_time_is_left_alone_though_the_deadline_came_first(
    approved, worker, books, timeline
):
    def busy_after_the_deadline():
        timeline.now = now_(approved).run_deadline
        ActionRequest.objects.filter(pk=approved.pk).update(lease_until=timeline.now + 20 * SECOND)
        trouble_overdue_runs(now=timeline.now)
        raise NotDone("429 Too Many Requests", retry_after_s=600)

    books.meanwhile(2, busy_after_the_deadline)
    run_next(worker.hands)

    assert now_(approved).next_attempt_at == timeline.now + 600 * SECOND
    said = AuditEvent.objects.filter(chain=approved.ref, kind="attempt.failed").last()
    assert said.facts["said"] == "429 Too Many Requests"


def test_an_undo_at_the_end_of_the_path_waits_as_long_as_the_target_asked(
    approved, worker, books, timeline
):
    began = timeline.now
    books.fail(2, NotDone("429 Too Many Requests", retry_after_s=3600))
    run_next(worker.hands)
    assert now_(approved).next_try_at is None, "the path is over before"

    timeline.go_to(now_(approved).due_at)

    undone = now_(approved)
    assert (undone.state, undone.next_attempt_at) == (S.ROLLING_BACK, began + 3600 * SECOND)
    assert undone.run_deadline == undone.next_attempt_at + 30 * M, "it has its time from there on"
    timeline.go_to(undone.next_attempt_at)
    run_all(worker.hands)

    assert now_(approved).state == S.ROLLED_BACK


def test_what_could_not_be_read_once_more_is_in_the_record(
    approved, snapshots, worker, books, timeline
):
    def gone():
        books.down = DOWN

    in_the_last_read(books, approved, gone)
    run_next(worker.hands)

    assert now_(approved).state == S.COMPLETED
    told = AuditEvent.objects.get(chain=approved.ref, kind="snapshot.not_compared")
    assert told.facts == {"record": "line/1", "said": "connection refused"}
    books.down = None
