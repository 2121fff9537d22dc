"""What is approved is done once, whatever happens around each call."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from approvals.models import ActionRequest, Alert, Case, Finding, Notice, Order, Step
from approvals.services.orders import order_rollback
from approvals.services.violations import report
from governance.models import AuditEvent
from governance.vocabulary import Path
from rollback import selectors
from rollback.connectors.base import NotDone, OutcomeUnknown, Rejected
from rollback.models import Direction, Recovery, Run, Unit
from rollback.runner import run_all, run_next
from rollback.services.runs import LEASE_S
from tests.approvals.asking import answer, ask_for_payment, name_compliance
from tests.factories import MONDAY_9AM, ActionTypeFactory
from tests.rollback.carrying import approved, books, on_call, whole_record, worker
from tests.rollback.ledger_target import Killed, Worker

__all__ = ["approved", "books", "on_call", "whole_record", "worker"]  # fixtures

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("whole_record")]

S = ActionRequest.State
U = Unit.State
M = timedelta(minutes=1)
SECOND = timedelta(seconds=1)
MICROSECOND = timedelta(microseconds=1)
DOWN = NotDone("connection refused")
LOST = OutcomeUnknown("the connection was reset")


def now_(request):
    return ActionRequest.objects.get(pk=request.pk)


def states(request, direction=Direction.FORWARD):
    units = Unit.objects.filter(request=request, direction=direction)
    return [unit.state for unit in units.order_by("position")]


def kinds(request):
    return list(
        AuditEvent.objects.filter(chain=request.ref).order_by("seq").values_list("kind", flat=True)
    )


def test_an_approved_request_is_done_unit_by_unit_and_completed(approved, worker, books):
    assert run_all(worker.hands) == 1

    done = now_(approved)
    assert (done.state, done.end_reason, done.due_at) == (S.COMPLETED, "done", None)
    assert (done.has_effects, done.had_effects, done.holds_key) == (True, True, False)
    assert (done.lease_until, done.run_token, done.run_deadline) == (None, None, None)
    assert states(approved) == [U.DONE] * 5
    assert books.lines_done == [1, 2, 3, 4, 5]
    assert books.sends == [f"{approved.business_key}~0/{n}" for n in range(1, 6)]
    run = Run.objects.get()
    assert (run.state, run.attempt, run.error) == (Run.State.FINISHED, 1, "")


def test_the_reversal_of_each_unit_is_staged_before_anything_is_sent(approved, worker, books):
    worker.kill("before_send", 1)

    with pytest.raises(Killed):
        run_all(worker.hands)

    assert states(approved, Direction.UNDO) == [U.PLANNED] * 5
    assert Unit.objects.get(direction=Direction.UNDO, position=1).name == "Cancel line 1"
    assert books.sends == []


def test_the_snapshot_is_taken_before_the_first_write(approved, worker, books):
    approved.action_type.snapshot_plan = ["line/1", "line/2"]
    approved.action_type.save()

    run_all(worker.hands)

    rows = {row.record: row for row in approved.snapshots.all()}
    assert rows["line/1"].before == {"value": "old"}
    assert rows["line/1"].after == {"value": "new"}
    recorded = kinds(approved)
    assert recorded.index("snapshot.taken") < recorded.index("unit.sent")


def test_the_record_tells_the_whole_way(approved, worker):
    run_all(worker.hands)

    told = kinds(approved)
    assert told[-4:] == ["unit.sent", "unit.done", "run.finished", "request.completed"]
    assert told.count("unit.done") == 5


def test_a_failed_unit_is_tried_again_from_where_it_stopped(approved, worker, books, timeline):
    books.fail(4, DOWN)
    run_all(worker.hands)
    troubled = now_(approved)
    assert (troubled.state, states(approved)) == (
        S.TROUBLED,
        [U.DONE] * 3 + [U.NOT_DONE, U.PLANNED],
    )
    step = Step.objects.get(request=approved, path=Path.SYSTEM_FAILURE)
    assert (step.level, step.window, step.asks.count()) == (1, 30 * M, 0)
    case = Case.objects.get(request=approved, exception="system_failure")
    assert (case.response, case.source, case.state) == ("retry", "O", "open")

    timeline.now = troubled.next_attempt_at
    run_all(worker.hands)

    assert now_(approved).state == S.COMPLETED
    assert books.sends == [f"{approved.business_key}~0/{n}" for n in (1, 2, 3, 4, 4, 5)]
    step.refresh_from_db()
    case.refresh_from_db()
    assert (step.state, case.outcome) == (Step.State.ANSWERED, Case.Outcome.RECOVERED)
    assert Recovery.objects.get().state == Recovery.State.SUCCEEDED


def test_nothing_is_tried_before_its_time(approved, worker, books, timeline):
    books.fail(1, DOWN)
    run_all(worker.hands)
    due = now_(approved).next_attempt_at

    timeline.now = due - MICROSECOND
    assert run_all(worker.hands) == 0
    timeline.now = due
    assert run_all(worker.hands) == 1


def test_a_lost_answer_is_asked_for_by_key_and_never_sent_again(approved, worker, books, timeline):
    books.lose_answer(3, LOST)
    run_all(worker.hands)
    assert states(approved)[2] == U.UNKNOWN
    assert now_(approved).has_effects

    timeline.now = now_(approved).next_attempt_at
    run_all(worker.hands)

    unit = Unit.objects.get(request=approved, direction=Direction.FORWARD, position=3)
    assert (unit.state, unit.probed, unit.attempts) == (U.DONE, True, 1)
    assert books.sends.count(unit.key) == 1
    assert now_(approved).state == S.COMPLETED


def test_what_the_target_does_not_know_is_sent_again_under_the_same_key(
    approved, worker, books, timeline
):
    books.fail(3, LOST)
    run_all(worker.hands)

    timeline.now = now_(approved).next_attempt_at
    run_all(worker.hands)

    unit = Unit.objects.get(request=approved, direction=Direction.FORWARD, position=3)
    assert (unit.state, unit.probed, unit.attempts) == (U.DONE, False, 2)
    assert books.lines_done == [1, 2, 3, 4, 5]


@pytest.mark.parametrize("point", ["before_send", "after_send"])
@pytest.mark.parametrize("line", [1, 4, 5])
def test_a_killed_worker_is_followed_by_another_and_the_effect_is_one(
    point, line, approved, worker, books, timeline
):
    worker.kill(point, line)
    with pytest.raises(Killed):
        run_all(worker.hands)
    lease_until = now_(approved).lease_until
    second = Worker(timeline, books, "two")

    timeline.now = lease_until - MICROSECOND
    assert run_all(second.hands) == 0, "a lease is never taken early"
    timeline.now = lease_until
    assert run_all(second.hands) == 1

    assert now_(approved).state == S.COMPLETED
    assert books.lines_done == [1, 2, 3, 4, 5]
    assert len(books.done) == 5
    assert [run.state for run in Run.objects.order_by("pk")] == [Run.State.LOST, Run.State.FINISHED]
    assert not Case.objects.filter(exception="system_failure").exists()


def test_by_lot_a_flood_of_approvals_holds_up_nothing_that_goes_on(
    company, approved, worker, books, timeline
):
    worker.kill("before_send", 2)
    with pytest.raises(Killed):
        run_next(worker.hands)
    left = now_(approved)
    timeline.now = left.lease_until
    fresh = [ask_for_payment(company, key=f"k{n}", invoice=f"INV-{n}") for n in range(3)]
    for request in fresh:
        answer(request, company.finance_manager, now=timeline.now)
    lots = iter([0.0, 0.499, 0.5])
    other = replace(Worker(timeline, books, "two").hands, chance=lambda: next(lots))

    assert run_next(other)
    assert run_next(other)
    assert [now_(each).state for each in (left, *fresh)] == [
        S.EXECUTING, S.COMPLETED, S.COMPLETED, S.APPROVED,
    ]  # fmt: skip
    assert run_next(other)

    assert now_(approved).state == S.COMPLETED


def test_by_lot_what_a_slow_target_lets_wait_holds_up_no_other_kind(company, timeline):
    """For whoever is carried out, and for whoever is read for."""
    other = ActionTypeFactory()
    rows = [
        ask_for_payment(company, key=f"k{n}", invoice=f"INV-{n}", amount="10.00") for n in range(23)
    ]
    for request in rows:
        answer(request, company.finance_manager, now=timeline.now)
    last = rows[-1]
    ActionRequest.objects.filter(pk=last.pk).update(action_type=other)
    pks = [each.pk for each in rows]
    ActionRequest.objects.filter(pk__in=pks).update(read_due_at=timeline.now)

    for found in (selectors.runnable, selectors.readable):
        assert next(found(timeline.now, lot=0.499)) == pks[0]
        assert next(found(timeline.now, lot=0.5)) == last.pk
        assert list(found(timeline.now, lot=0.5)) == [last.pk, *pks[: selectors.LOOKED_AT]]
        assert list(found(timeline.now, lot=0.0)) == [*pks[: selectors.LOOKED_AT], last.pk]


@pytest.mark.parametrize("lot", [0.0, 0.999])
def test_whatever_the_lot_nobody_waits_for_what_is_not_there(approved, worker, lot):
    assert run_next(replace(worker.hands, chance=lambda: lot))

    assert now_(approved).state == S.COMPLETED


def test_a_run_deadline_is_kept_by_take_overs(approved, worker, books, timeline):
    worker.kill("before_send", 2)
    with pytest.raises(Killed):
        run_all(worker.hands)
    first = now_(approved).run_deadline

    timeline.now = now_(approved).lease_until
    second = Worker(timeline, books, "two")
    second.kill("before_send", 3)
    with pytest.raises(Killed):
        run_all(second.hands)

    assert now_(approved).run_deadline == first == MONDAY_9AM + M + 30 * M


def test_who_lost_the_lease_writes_nothing_and_the_late_answer_is_found_by_key(
    approved, worker, books, timeline
):
    second = Worker(timeline, books, "two")
    seen = {}

    def the_lease_runs_out_meanwhile():
        # The call is late: the target has not done it yet when the second worker asks.
        timeline.now = now_(approved).lease_until
        books.script[2].append(("before", OutcomeUnknown("slow")))
        assert run_next(second.hands)
        seen["events"] = len(kinds(approved))
        seen["state"] = now_(approved).state

    books.meanwhile(2, the_lease_runs_out_meanwhile)
    run_next(worker.hands)

    assert seen["state"] == S.TROUBLED
    assert len(kinds(approved)) == seen["events"], "the fenced one wrote something"
    timeline.now = now_(approved).next_attempt_at
    run_all(second.hands)
    assert now_(approved).state == S.COMPLETED
    assert len(books.done) == 5


def test_two_workers_take_a_request_once(approved, worker, books, timeline):
    second = Worker(timeline, books, "two")
    books.meanwhile(1, lambda: seen.append(run_all(second.hands)))
    seen = []

    assert run_all(worker.hands) == 1

    assert seen == [0]
    assert Run.objects.count() == 1


def test_retry_after_is_honoured(approved, worker, books, timeline):
    books.fail(1, NotDone("429 Too Many Requests", retry_after_s=120))

    run_all(worker.hands)

    assert now_(approved).next_attempt_at == timeline.now + 120 * SECOND


def test_waits_grow_until_the_step_is_over_and_then_nothing_was_done(
    approved, worker, books, timeline
):
    books.down = DOWN
    started = timeline.now
    waits = []
    for _ in range(100):
        run_all(worker.hands)
        troubled = now_(approved)
        if troubled.next_try_at is None:
            break
        waits.append((troubled.next_attempt_at - timeline.now).total_seconds())
        timeline.now = troubled.next_attempt_at
    assert waits == sorted(waits)
    assert waits[:3] == [1.5, 3.0, 6.0]

    timeline.go_to(started + 60 * M)

    ended = now_(approved)
    assert (ended.state, ended.end_reason, ended.has_effects) == (S.EXPIRED, "target", False)
    assert ended.ended_at == started + 30 * M
    assert Case.objects.get(exception="system_failure").outcome == Case.Outcome.EXPIRED
    assert Alert.objects.filter(kind="execution.failed").exists()
    assert Notice.objects.filter(facts__what="failed").exists()
    assert books.done == {}


def test_a_target_down_for_an_hour_has_what_was_done_undone(approved, worker, books, timeline):
    books.fail(4, *[DOWN] * 1000)
    started = timeline.now
    while now_(approved).state not in (S.ROLLED_BACK, S.STRANDED):
        run_all(worker.hands)
        request = now_(approved)
        if request.due_at is None:
            break
        timeline.go_to(max(request.due_at, timeline.now + MICROSECOND))
        assert timeline.now < started + 60 * M

    ended = now_(approved)
    assert (ended.state, ended.has_effects, ended.had_effects) == (S.ROLLED_BACK, False, True)
    assert states(approved) == [U.REVERSED] * 3 + [U.NOT_DONE, U.PLANNED]
    assert books.lines_done == []
    undo = [key for key in books.sends if "/undo/" in key]
    assert [key.rsplit("/", 1)[1] for key in undo] == ["3", "2", "1"]
    assert Case.objects.get(exception="system_failure").outcome == Case.Outcome.ROLLED_BACK
    assert Alert.objects.filter(kind="execution.undone").exists()
    assert Order.objects.get().outcome == Order.Outcome.CARRIED_OUT


def test_what_the_target_refuses_for_good_is_not_tried_again(approved, worker, books):
    books.fail(1, Rejected("422 the bill is paid already"))

    run_all(worker.hands)

    ended = now_(approved)
    assert (ended.state, ended.end_reason) == (S.EXPIRED, "target")
    steps = Step.objects.filter(request=approved, path=Path.SYSTEM_FAILURE)
    assert [step.state for step in steps.order_by("level")] == [Step.State.PASSED_OVER] * 3
    assert "the bill is paid already" in Case.objects.get(exception="system_failure").reason


def test_what_was_approved_is_compared_with_what_would_run(approved, worker, books):
    payload = {**approved.payload, "invoice": "INV-OTHER"}
    ActionRequest.objects.filter(pk=approved.pk).update(payload=payload)

    run_all(worker.hands)

    assert books.sends == []
    assert now_(approved).state == S.EXPIRED
    assert "digest" in Case.objects.get(exception="system_failure").reason


def test_a_rollback_ordered_while_unit_4_is_in_the_call_comes_before_the_rest(
    approved, company, worker, books, timeline
):
    company.vendor_payment.is_financial = False
    company.vendor_payment.save()
    books.meanwhile(
        4,
        lambda: order_rollback(
            ref=approved.ref, actor=company.controller, reason="Wrong vendor", now=timeline.now
        ),
    )

    run_next(worker.hands)

    stopped = now_(approved)
    assert stopped.state == S.ROLLING_BACK
    assert states(approved) == [U.DONE] * 4 + [U.PLANNED], "the answer of its own intent was kept"
    run_all(worker.hands)
    assert now_(approved).state == S.ROLLED_BACK
    assert books.lines_done == []


def test_a_rollback_ordered_after_the_last_unit_was_sent_keeps_it_from_completing(
    approved, company, worker, books, timeline
):
    company.vendor_payment.is_financial = False
    company.vendor_payment.save()
    books.meanwhile(
        5,
        lambda: order_rollback(
            ref=approved.ref, actor=company.controller, reason="Wrong", now=timeline.now
        ),
    )

    run_next(worker.hands)

    assert now_(approved).state == S.ROLLING_BACK
    assert "request.completed" not in kinds(approved)


def test_an_order_that_waits_for_a_second_person_stops_nothing(
    approved, company, worker, books, timeline
):
    company.vendor_payment.is_financial = True
    company.vendor_payment.save()
    books.meanwhile(
        4,
        lambda: order_rollback(
            ref=approved.ref, actor=company.controller, reason="Wrong", now=timeline.now
        ),
    )

    run_all(worker.hands)

    assert now_(approved).state == S.COMPLETED


def test_a_block_while_unit_4_is_in_the_call_stops_there_and_keeps_the_key(
    approved, company, worker, books, timeline
):
    name_compliance(company)
    books.meanwhile(
        4,
        lambda: report(ref=approved.ref, by=company.agent, text="Wrong.", now=timeline.now),
    )

    run_all(worker.hands)

    blocked = now_(approved)
    step = Step.objects.get(path=Path.POLICY_VIOLATION)
    assert (blocked.state, blocked.due_at, blocked.lease_until) == (S.BLOCKED, step.due_at, None)
    assert states(approved) == [U.DONE] * 4 + [U.PLANNED]
    assert blocked.has_effects


def test_at_its_deadline_a_run_sends_nothing_more(approved, worker, books, timeline):
    def half_an_hour_goes_by():
        timeline.now = now_(approved).run_deadline

    books.meanwhile(2, half_an_hour_goes_by)

    run_next(worker.hands)

    assert states(approved) == [U.DONE, U.DONE, U.PLANNED, U.PLANNED, U.PLANNED]
    assert now_(approved).state == S.TROUBLED


def test_the_clock_takes_the_leave_to_go_on_from_a_run_past_its_deadline(
    approved, worker, books, timeline
):
    def the_clock_finds_it():
        deadline = timeline.now + 10 * SECOND  # within the lease
        ActionRequest.objects.filter(pk=approved.pk).update(run_deadline=deadline, due_at=deadline)
        timeline.now = deadline
        timeline.sweep()
        assert now_(approved).state == S.TROUBLED

    books.meanwhile(2, the_clock_finds_it)

    run_next(worker.hands)

    assert now_(approved).state == S.TROUBLED
    assert states(approved)[:3] == [U.DONE, U.DONE, U.PLANNED], "its own answer is still taken"
    timeline.go_to(now_(approved).due_at)
    run_all(worker.hands)
    assert now_(approved).state == S.COMPLETED


def test_a_worker_whose_time_is_up_hands_back_between_two_units(approved, worker, books, timeline):
    worker.units_left = 3

    run_next(worker.hands)

    assert now_(approved).state == S.EXECUTING
    done = states(approved).count(U.DONE)
    assert 0 < done < 5
    worker.units_left = None
    assert run_all(worker.hands) == 1, "at once, not after the lease"
    assert now_(approved).state == S.COMPLETED
    assert len(books.done) == 5
    assert {run.state for run in Run.objects.all()} == {Run.State.FINISHED}


def test_an_approval_that_nothing_begins_is_a_system_failure_and_tried_from_then_on(
    approved, worker, books, timeline
):
    timeline.go_to(approved.due_at)

    late = now_(approved)
    assert late.state == S.TROUBLED
    assert Case.objects.get(exception="system_failure").state == Case.State.OPEN
    run_all(worker.hands)
    assert now_(approved).state == S.COMPLETED


def test_an_approval_is_not_taken_up_at_the_instant_it_lapses(approved, worker, timeline):
    timeline.now = approved.due_at

    assert run_all(worker.hands) == 0


@pytest.mark.parametrize(
    ("gives", "ends"),
    [
        ({"lookup": False, "native_keys": True}, S.COMPLETED),
        ({"lookup": False, "native_keys": False}, S.TROUBLED),
    ],
    ids=["sent again under a key the target takes once", "only a person can say"],
)
def test_an_outcome_that_cannot_be_asked_for(
    gives, ends, approved, on_call, timeline, books, worker
):
    books.gives = replace(books.gives, **gives)
    books.lose_answer(3, LOST)
    run_all(worker.hands)

    timeline.now = now_(approved).next_attempt_at
    run_all(worker.hands)

    assert now_(approved).state == ends
    assert len(books.done) in (3, 5)
    if ends == S.TROUBLED:
        step = Step.objects.get(request=approved, path=Path.SYSTEM_FAILURE, state="waiting")
        assert [ask.person for ask in step.asks.all()] == [on_call]
        assert books.sends.count(f"{approved.business_key}~0/3") == 1, "never a blind retry"


def test_without_native_keys_a_no_is_believed_only_when_no_late_call_can_be_under_way(
    approved, worker, books, timeline
):
    books.gives = replace(books.gives, native_keys=False)
    books.fail(3, LOST)
    run_all(worker.hands)
    sent_at = Unit.objects.get(direction=Direction.FORWARD, position=3).sent_at

    timeline.now = now_(approved).next_attempt_at
    run_all(worker.hands)

    assert states(approved)[2] == U.UNKNOWN
    assert books.sends.count(f"{approved.business_key}~0/3") == 1
    timeline.now = now_(approved).next_attempt_at
    assert timeline.now >= sent_at + timedelta(seconds=LEASE_S)
    run_all(worker.hands)
    assert now_(approved).state == S.COMPLETED


def test_what_was_planned_and_never_sent_keeps_its_keys_for_the_next_request(
    company, approved, worker, books, timeline
):
    books.fail(1, *[Rejected("404 no such vendor")])
    company.vendor_payment.snapshot_plan = ["line/1"]
    company.vendor_payment.save()
    books.down = DOWN
    run_all(worker.hands)
    timeline.go_to(now_(approved).ended_at or timeline.now + 31 * M)
    assert now_(approved).state == S.EXPIRED
    assert not now_(approved).had_effects
    books.down = None
    books.script.clear()

    again = ask_for_payment(company, now=timeline.now, key="key-2")
    answer(again, company.finance_manager, now=timeline.now)
    run_all(worker.hands)

    assert now_(again).state == S.COMPLETED
    assert f"{again.business_key}~0/1" in books.done


def test_a_defect_ends_in_a_case_and_an_alert(approved, worker, books):
    def broken(action):
        raise RuntimeError("a defect of ours")

    books.units = broken

    run_all(worker.hands)

    assert now_(approved).state == S.TROUBLED
    assert Alert.objects.filter(kind="run.defect").exists()
    assert not Finding.objects.exists()


def test_an_earlier_request_of_the_same_key_that_had_effects_spends_its_keys(
    company, approved, worker, books, timeline
):
    company.vendor_payment.is_financial = False
    company.vendor_payment.save()
    run_all(worker.hands)
    order_rollback(ref=approved.ref, actor=company.controller, reason="Wrong", now=timeline.now)
    timeline.sweep()
    run_all(worker.hands)
    assert now_(approved).state == S.ROLLED_BACK

    again = ask_for_payment(company, now=timeline.now, key="key-2")
    answer(again, company.finance_manager, now=timeline.now)
    run_all(worker.hands)

    assert now_(again).state == S.COMPLETED
    assert f"{again.business_key}~1/1" in books.done
