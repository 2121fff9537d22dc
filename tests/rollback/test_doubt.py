"""What is not certain is never taken for certain: late calls, orders beside failures, rows left behind."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.utils.module_loading import import_string

from approvals.models import ActionRequest, Alert, Order, Step
from approvals.order_sweeps import lapse_orders
from approvals.services.orders import order_rollback
from approvals.sweeps import climb_underway, trouble_overdue_runs
from governance.errors import NotNow
from governance.models import ActionType
from governance.vocabulary import Path
from rollback.connectors import registry
from rollback.connectors.base import NotDone, OutcomeUnknown, Receipt, Rejected
from rollback.models import Direction, Recovery, Run, Snapshot, Unit
from rollback.runner import run_all, run_next
from rollback.services.execute import LATE_CALL_S
from rollback.services.runs import CALL_S, LEASE_S
from rollback.sweeps import close_what_ended
from tests.approvals.asking import answer, ask_for_payment
from tests.rollback.carrying import approved, books, on_call, whole_record, worker
from tests.rollback.ledger_target import Killed, Worker

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


def order(request, company, timeline):
    return order_rollback(
        ref=request.ref, actor=company.controller, reason="Wrong vendor", now=timeline.now
    )


# --- Late calls ---


@pytest.mark.parametrize("kind", registry.KINDS)
def test_no_connector_takes_longer_for_a_call_than_a_lease_allows_for(kind):
    assert 0 < import_string(registry.KINDS[kind]).timeout_s <= CALL_S


def test_an_undo_waits_until_no_call_can_be_under_way_and_takes_back_what_came_late(
    approved, company, worker, books, timeline
):
    books.lines = 1
    books.fail(1, LOST)  # given up by us; the target is still at it
    run_all(worker.hands)
    sent_at = unit_of(approved, 1).sent_at
    order(approved, company, timeline)
    timeline.sweep()

    run_all(worker.hands)
    assert now_(approved).state == S.ROLLING_BACK, "its first no is not believed"
    key = unit_of(approved, 1).key
    books.done[key] = Receipt("L-late", {"line": 1})
    books.state["line/1"] = ({"value": "new"}, "2")
    timeline.go_to(now_(approved).next_attempt_at)
    assert timeline.now >= sent_at + LATE_CALL_S * SECOND
    run_all(worker.hands)

    assert now_(approved).state == S.ROLLED_BACK
    assert unit_of(approved, 1).state == U.REVERSED
    assert books.lines_done == []


def test_a_refusal_of_the_second_send_says_nothing_of_the_first(approved, worker, books, timeline):
    books.lines = 1
    books.fail(1, LOST, Rejected("409 a request with this key is under way"))
    run_all(worker.hands)
    timeline.now = now_(approved).next_attempt_at
    run_all(worker.hands)

    assert (now_(approved).state, now_(approved).has_effects) == (S.TROUBLED, True)
    assert unit_of(approved, 1).state == U.UNKNOWN
    books.done[unit_of(approved, 1).key] = Receipt("L-late", {"line": 1})
    timeline.now = now_(approved).next_attempt_at
    run_all(worker.hands)

    assert now_(approved).state == S.COMPLETED
    assert unit_of(approved, 1).probed


def test_a_call_is_not_begun_so_late_in_its_lease_that_it_might_outlive_it(
    approved, worker, books, timeline
):
    def the_machine_sleeps():
        timeline.now += (LEASE_S - CALL_S) * SECOND

    worker.points["before_send", 1] = the_machine_sleeps

    run_next(worker.hands)

    assert books.sends == []
    timeline.now = now_(approved).lease_until
    run_all(Worker(timeline, books, "two").hands)
    assert now_(approved).state == S.COMPLETED


def test_slow_reads_do_not_lose_the_lease(approved, company, worker, books, timeline):
    company.vendor_payment.snapshot_plan = [f"line/{n}" for n in range(1, 6)]
    company.vendor_payment.save()
    read = books.read

    def slowly(record):
        timeline.now += 7.9 * SECOND
        return read(record)

    books.read = slowly

    run_all(worker.hands)

    assert now_(approved).state == S.COMPLETED
    assert [run.state for run in Run.objects.all()] == [Run.State.FINISHED]
    assert Snapshot.objects.filter(left_at__isnull=False).count() == 5


def test_slow_reads_of_drifted_records_reach_a_person(
    approved, company, on_call, worker, books, timeline
):
    books.records = True
    company.vendor_payment.reversal = ActionType.Reversal.RESTORE
    company.vendor_payment.snapshot_plan = [f"line/{n}" for n in range(1, 6)]
    company.vendor_payment.save()
    run_all(worker.hands)
    for n in range(1, 6):
        books.somebody_else_writes(f"line/{n}", value="theirs")
    order(approved, company, timeline)
    timeline.sweep()
    read = books.read

    def slowly(record):
        timeline.now += 7.9 * SECOND
        return read(record)

    books.read = slowly
    for _ in range(5):
        worker.units_left = 3  # a task ends after so many looks, and another goes on
        run_next(worker.hands)

    assert Step.objects.get(request=approved, path=Path.UNDO).state == Step.State.WAITING
    recovery = Recovery.objects.get()
    assert [line["how"] for line in recovery.plan] == ["leave"] * 5
    assert len(recovery.drift) == 5


def test_a_defect_of_ours_is_never_taken_for_a_refusal(approved, worker, books, timeline):
    books.lines = 1
    books.meanwhile(1, lambda: {}["reference"])

    run_all(worker.hands)

    assert now_(approved).state == S.TROUBLED
    assert Alert.objects.get(kind="run.defect").request == approved
    timeline.now = now_(approved).next_attempt_at
    run_all(worker.hands)
    assert now_(approved).state == S.COMPLETED


def test_each_intent_prolongs_the_lease(approved, worker, books, timeline):
    def a_slow_call():
        timeline.now += 7 * SECOND

    for line in range(1, 6):
        books.meanwhile(line, a_slow_call)

    run_next(worker.hands)

    assert now_(approved).state == S.COMPLETED, "35 s of calls under leases of 30"


def test_the_answer_of_a_call_under_way_is_taken_while_its_path_ends(
    approved, company, worker, books, timeline
):
    """L1 ends, and the undo begins, while line 4 is in the call of a retry."""
    books.fail(4, DOWN)
    run_all(worker.hands)
    timeline.now = now_(approved).next_attempt_at

    def the_path_ends():
        deadline = timeline.now + 5 * SECOND
        ActionRequest.objects.filter(pk=approved.pk).update(run_deadline=deadline, due_at=deadline)
        Step.objects.filter(request=approved, path=Path.SYSTEM_FAILURE).update(due_at=deadline)
        timeline.now = deadline
        assert trouble_overdue_runs(now=deadline) == 1
        assert now_(approved).state == S.ROLLING_BACK

    books.meanwhile(4, the_path_ends)
    run_next(worker.hands)

    assert unit_of(approved, 4).state == U.DONE
    timeline.go_to(now_(approved).next_attempt_at)
    run_all(worker.hands)
    assert now_(approved).state == S.ROLLED_BACK
    assert books.lines_done == []


# --- Orders beside failures ---


def test_a_path_that_ends_takes_over_the_order_that_stands(
    approved, company, worker, books, timeline
):
    """The retry's worker died, a rollback was ordered, and no other worker came in time."""
    books.fail(3, DOWN)
    run_all(worker.hands)
    timeline.now = now_(approved).next_attempt_at
    worker.kill("before_send", 3)
    with pytest.raises(Killed):
        run_all(worker.hands)
    order(approved, company, timeline)

    timeline.now = now_(approved).run_deadline
    assert trouble_overdue_runs(now=timeline.now) == 1

    assert now_(approved).state == S.ROLLING_BACK
    assert Order.objects.get().closed_at is None
    timeline.now += 1 * M
    run_all(worker.hands)
    assert now_(approved).state == S.ROLLED_BACK
    assert Order.objects.get().outcome == Order.Outcome.CARRIED_OUT


def test_a_path_that_ends_waits_for_nobodys_second_signature(
    approved, company, worker, books, timeline
):
    company.vendor_payment.is_financial = True
    company.vendor_payment.save()
    books.fail(3, *[DOWN] * 1000)
    run_all(worker.hands)
    order(approved, company, timeline)
    due = Step.objects.get(request=approved, path=Path.SYSTEM_FAILURE).due_at

    timeline.now = due
    assert climb_underway(now=due) == 1
    run_all(worker.hands)

    assert now_(approved).state == S.ROLLED_BACK
    outcomes = Order.objects.order_by("pk").values_list("outcome", flat=True)
    assert list(outcomes) == [Order.Outcome.JOINED, Order.Outcome.CARRIED_OUT]
    assert lapse_orders(now=due + 9 * H) == 0


def test_a_refusal_for_good_beside_an_order_that_waits_is_no_defect(
    approved, company, worker, books, timeline
):
    company.vendor_payment.is_financial = True
    company.vendor_payment.save()
    books.meanwhile(3, lambda: order(approved, company, timeline))
    books.fail(4, Rejected("422 no such line"))

    run_all(worker.hands)

    assert now_(approved).state == S.ROLLED_BACK
    assert not Alert.objects.filter(kind="run.defect").exists()


def test_a_rollback_ordered_between_two_attempts_stops_the_next_one(
    approved, company, worker, books, timeline
):
    """Nothing was done yet; whoever ordered it does not want it done."""
    books.down = DOWN
    run_all(worker.hands)
    order(approved, company, timeline)
    books.down = None

    timeline.sweep()
    run_all(worker.hands)

    assert now_(approved).state == S.ROLLED_BACK
    assert books.sends == []


# --- What is left behind ---


@pytest.mark.parametrize("ends", ["expired", "stranded"])
def test_a_run_whose_request_ended_without_it_is_closed(
    ends, approved, company, worker, books, timeline
):
    if ends == "expired":
        worker.kill("before_send", 1)
        with pytest.raises(Killed):
            run_all(worker.hands)
        Unit.objects.filter(request=approved, position=1).update(state=U.NOT_DONE)
        ActionRequest.objects.filter(pk=approved.pk).update(has_effects=False)
    else:
        run_all(worker.hands)
        order(approved, company, timeline)
        timeline.sweep()
        worker.kill("before_send", 5)
        with pytest.raises(Killed):
            run_all(worker.hands)
        Unit.objects.filter(request=approved, direction="undo", position=5).update(state=U.NOT_DONE)
    timeline.go_to(timeline.now + 8 * H)

    assert now_(approved).state == ends
    assert not Run.objects.filter(state=Run.State.RUNNING).exists()
    assert not Recovery.objects.filter(state__in=["ordered", "planned", "running"]).exists()
    assert close_what_ended(now=timeline.now) == 0


def test_one_request_that_cannot_be_taken_is_parked_and_the_others_go_on(
    approved, company, worker, timeline, monkeypatch
):
    healthy = ask_for_payment(company, now=timeline.now, key="k2", invoice="INV-2")
    answer(healthy, company.finance_manager, now=timeline.now)
    # A row that the record refuses: its chain says that this event is there already.
    ActionRequest.objects.filter(pk=approved.pk).update(chain_length=1)

    run_all(worker.hands)

    assert now_(healthy).state == S.COMPLETED
    assert now_(approved).parked_until == timeline.now + 5 * M
    assert Alert.objects.filter(kind="sweep.failed", request=approved).exists()
    length = approved.chain_length
    ActionRequest.objects.filter(pk=approved.pk).update(chain_length=length)


def test_who_is_on_call_is_not_asked_for_leave(approved, on_call, worker, books, timeline):
    books.fail(2, Rejected("422 no"))
    books.fail(1, DOWN)
    run_all(worker.hands)
    timeline.now = now_(approved).next_attempt_at
    run_all(worker.hands)
    step = Step.objects.get(request=approved, path=Path.SYSTEM_FAILURE, level=2)
    assert step.state == Step.State.WAITING

    for verdict in ("approve", "reject"):
        with pytest.raises(NotNow, match="nothing to approve"):
            answer(approved, on_call, verdict, now=timeline.now)


def test_a_last_unit_that_needs_a_person_does_not_keep_the_others_in_place(
    approved, company, on_call, worker, books, timeline
):
    books.records = True
    company.vendor_payment.reversal = ActionType.Reversal.RESTORE
    company.vendor_payment.snapshot_plan = [f"line/{n}" for n in range(1, 6)]
    company.vendor_payment.save()
    run_all(worker.hands)
    Snapshot.objects.filter(record="line/5").delete()
    order(approved, company, timeline)
    timeline.sweep()

    run_all(worker.hands)

    assert books.lines_done == [5]
    assert now_(approved).state == S.ROLLING_BACK


def test_a_record_written_twice_keeps_its_version(approved, company, worker, books, timeline):
    units = books.units
    books.records = True
    books.units = lambda action: [
        *units(action)[:1],
        units(action)[0].__class__(
            name="Line 1 again", body={"line": 1, "set": "newer"}, undo_name="", record="line/1"
        ),
    ]
    company.vendor_payment.snapshot_plan = ["line/1"]
    company.vendor_payment.save()

    run_all(worker.hands)

    assert now_(approved).state == S.COMPLETED
    assert books.state["line/1"][0]["value"] == "newer"
