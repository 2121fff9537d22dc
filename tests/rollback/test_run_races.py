"""What happens at the same instant around a run. Each race has a control that shows it without the lock."""

from __future__ import annotations

import threading
import time
from datetime import timedelta
from functools import partial
from uuid import uuid4

import pytest

from approvals.models import ActionRequest, Claim, Order, Resource
from approvals.services.mending import mend
from approvals.services.orders import order_rollback
from approvals.services.violations import Became, report
from approvals.sweeps import climb_due_steps, end_lapsed_approvals, trouble_overdue_runs
from governance.errors import Refused
from governance.models import Person
from governance.verify import findings
from rollback import selectors
from rollback.connectors.base import Rejected
from rollback.models import Run, Unit
from rollback.runner import read_next, run_all, run_next
from rollback.services import units
from rollback.services.hands import Hands
from rollback.services.runs import Fenced, Lease, take
from rollback.sweeps import take_up_orders
from tests.approvals.asking import answer, ask_for_payment, name_compliance
from tests.factories import (
    MONDAY_9AM,
    AskFactory,
    CaseFactory,
    ContactChannelFactory,
    PersonFactory,
    RoleFactory,
    RosterShiftFactory,
    StepFactory,
    small_company,
)
from tests.rollback.ledger_target import Books

pytestmark = pytest.mark.django_db(transaction=True)

S = ActionRequest.State
M = timedelta(minutes=1)
NOW = MONDAY_9AM + M


def seconds(count):
    return timedelta(seconds=count)


@pytest.fixture
def company(transactional_db):
    found = small_company()
    found.vendor_payment.is_financial = False
    found.vendor_payment.save()
    return found


@pytest.fixture
def approved(company):
    request = ask_for_payment(company)
    return answer(request, company.finance_manager, now=NOW)


def hands(books, name, now=NOW):
    return Hands(
        worker=name,
        now=lambda: now,
        technical=seconds,
        connector_for=lambda action_type: books,
        chance=lambda: 0.5,
    )


def now_(request):
    return ActionRequest.objects.get(pk=request.pk)


def record_is_whole():
    return not [found for found in findings(NOW) if "seal" not in str(found).lower()]


def test_control_without_the_claim_both_find_it_ready(approved, race):
    both_looked = threading.Barrier(2)

    def look():
        found = list(selectors.runnable(NOW))
        both_looked.wait(timeout=10)
        return found

    assert race(look, look) == [[approved.pk]] * 2


@pytest.mark.parametrize("_round", range(5))
def test_of_four_workers_one_gets_the_lease(approved, race, _round):
    call = partial(take, approved.pk, now=NOW, technical=seconds)

    leases = race(*[partial(call, worker=f"w{n}") for n in range(4)])

    assert sum(isinstance(lease, Lease) for lease in leases) == 1
    assert Run.objects.count() == 1
    assert record_is_whole()


@pytest.mark.parametrize("_round", range(3))
def test_four_workers_carry_everything_out_once(company, race, _round):
    requests = [ask_for_payment(company, key=f"k{n}", invoice=f"INV-{n}") for n in range(4)]
    for request in requests:
        answer(request, company.finance_manager, now=NOW)
    books = Books(lines=1)

    race(*[partial(run_all, hands(books, f"w{n}")) for n in range(4)])

    while run_all(hands(books, "last")):
        pass
    assert {now_(request).state for request in requests} == {S.COMPLETED}
    assert len(books.sends) == len(set(books.sends)) == 4
    assert record_is_whole()


@pytest.mark.postgresql
@pytest.mark.parametrize("held", ["resource", "request"])
def test_a_row_that_somebody_holds_keeps_a_worker_from_nothing_else(
    company, approved, while_held, held
):
    """A machine that vanished in the middle of a transaction, a console that was left open."""
    other = ask_for_payment(company, key="k2", invoice="INV-2")
    answer(other, company.finance_manager, now=NOW)
    ActionRequest.objects.filter(pk__in=[approved.pk, other.pk]).update(read_due_at=NOW)
    rows = {
        "resource": Resource.objects.filter(pk=approved.resource_id),
        "request": ActionRequest.objects.filter(pk=approved.pk),
    }[held]
    books = Books(lines=1)

    def work():
        read_next(hands(books, "w"))  # finds that there is nothing to read for the other one
        read = now_(other).read_due_at is None
        return read, run_next(hands(books, "w")), run_all(hands(books, "w"))

    began = time.monotonic()
    worked = while_held(rows, work)

    assert worked == (True, True, 0)
    assert time.monotonic() - began < 15, "it waited for whoever holds it"
    assert now_(other).state == S.COMPLETED
    assert now_(approved).state == S.APPROVED
    while run_all(hands(books, "w")):
        pass
    assert now_(approved).state == S.COMPLETED


@pytest.mark.postgresql
@pytest.mark.parametrize("held", ["resource", "request"])
def test_a_row_that_somebody_holds_keeps_the_clock_from_nothing_else(company, while_held, held):
    first, other = (ask_for_payment(company, key=f"k{n}", invoice=f"INV-{n}") for n in range(2))
    rows = {
        "resource": Resource.objects.filter(pk=first.resource_id),
        "request": ActionRequest.objects.filter(pk=first.pk),
    }[held]
    due = max(now_(first).due_at, now_(other).due_at)
    began = time.monotonic()

    moved = while_held(rows, lambda: climb_due_steps(now=due))

    assert moved == 1
    assert time.monotonic() - began < 15, "it waited for whoever holds it"
    assert now_(first).due_at <= due < now_(other).due_at
    assert climb_due_steps(now=due) == 1


def test_control_without_the_lock_a_report_finds_approved_what_is_begun_meanwhile(
    company, approved, race
):
    """Who looks without the row's lock blocks what the worker has begun: the database keeps one of them."""
    both_looked = threading.Barrier(2)

    def begin(request):
        request.begin()
        request.lease(token=uuid4(), until=NOW + seconds(30), deadline=NOW + 30 * M)

    def move(change):
        request = now_(approved)
        both_looked.wait(timeout=10)
        change(request)
        request.save()

    race(partial(move, begin), partial(move, lambda request: request.block()))

    left = now_(approved)
    assert (left.state, left.lease_until) in [("executing", NOW + seconds(30)), ("blocked", None)]


@pytest.mark.parametrize("_round", range(5))
def test_a_report_stops_what_is_about_to_begin_or_what_has_begun_after_its_unit(
    company, approved, race, _round
):
    name_compliance(company)
    books = Books(lines=3)

    def tell():
        return report(ref=approved.ref, by=company.agent, text="Wrong vendor.", now=NOW).became

    _, became = race(partial(run_all, hands(books, "w")), tell)

    while run_all(hands(books, "last")):
        pass
    left = now_(approved)
    if left.state == S.COMPLETED:  # it came after the last unit
        assert became == Became.REVIEW
    else:
        assert (left.state, left.lease_until) == (S.BLOCKED, None)
        assert became in (Became.BLOCKED, Became.STOPPING)
        done = Unit.objects.filter(request=approved, direction="forward", state="done").count()
        assert len(books.sends) == done
    assert not Order.objects.filter(closed_at__isnull=True).exists()
    assert record_is_whole()


def test_the_start_and_the_lapse_of_an_approval_are_one_of_the_two(approved, race):
    edge = approved.due_at

    taken, lapsed = race(
        partial(
            take, approved.pk, worker="w", now=edge - timedelta(microseconds=1), technical=seconds
        ),
        partial(end_lapsed_approvals, now=edge),
    )

    assert (taken is not None) + lapsed == 1
    assert now_(approved).state == (S.EXECUTING if taken else S.TROUBLED)
    assert record_is_whole()


@pytest.mark.parametrize("_round", range(5))
def test_an_order_and_the_completion_at_once_leave_no_order_behind(company, approved, race, _round):
    books = Books(lines=1)

    done, ordered = race(
        partial(run_all, hands(books, "w")),
        partial(order_rollback, ref=approved.ref, actor=company.controller, reason="Stop", now=NOW),
    )

    assert not isinstance(done, Exception)
    assert not isinstance(ordered, Exception) or isinstance(ordered, Refused)
    for _ in range(5):
        take_up_orders(now=NOW)
        run_all(hands(books, "w2"))
    order = Order.objects.first()
    if order is None or order.outcome == Order.Outcome.NOTHING_TO_DO:
        assert now_(approved).state == S.COMPLETED
    else:
        assert (now_(approved).state, order.outcome) == (S.ROLLED_BACK, Order.Outcome.CARRIED_OUT)
    assert record_is_whole()


@pytest.mark.parametrize("_round", range(3))
def test_two_sweeps_take_up_an_order_once(company, approved, race, _round):
    books = Books(lines=1)
    run_all(hands(books, "w"))
    order_rollback(ref=approved.ref, actor=company.controller, reason="Wrong", now=NOW)

    counts = race(*[partial(take_up_orders, now=NOW)] * 3)

    assert sum(counts) == 1
    assert now_(approved).state == S.ROLLING_BACK
    assert record_is_whole()


def test_a_take_over_and_the_late_checkpoint_at_once_store_one_of_them(approved, race):
    books = Books(lines=1)
    lease = take(approved.pk, worker="slow", now=NOW, technical=seconds)
    first = hands(books, "slow")
    units.plan(lease, books.units(first.action_of(now_(approved))), now=NOW)
    unit = Unit.objects.get(direction="forward")
    units.intend(lease, unit, now=NOW, technical=seconds)
    receipt = books.send(unit.body, key=unit.key)
    later = now_(approved).lease_until

    late, taken = race(
        partial(units.check_point, lease, unit, receipt, now=later),
        partial(take, approved.pk, worker="quick", now=later, technical=seconds),
    )

    # Whoever finds the row held walks past it, and comes again.
    taken = taken or take(approved.pk, worker="quick", now=later, technical=seconds)
    assert isinstance(taken, Lease), "the lease was over, whichever came first"
    stored = Unit.objects.get(pk=unit.pk).state
    assert stored == ("sent" if isinstance(late, Fenced) else "done")
    assert record_is_whole()


def test_the_deadline_and_the_next_intent_at_once_send_nothing_after_it(approved, race):
    books = Books(lines=2)
    lease = take(approved.pk, worker="w", now=NOW, technical=seconds)
    units.plan(lease, books.units(hands(books, "w").action_of(now_(approved))), now=NOW)
    deadline = NOW + seconds(10)
    ActionRequest.objects.filter(pk=approved.pk).update(run_deadline=deadline, due_at=deadline)
    unit = Unit.objects.get(direction="forward", position=1)

    intent, moved = race(
        partial(
            units.intend, lease, unit, now=deadline - timedelta(microseconds=1), technical=seconds
        ),
        partial(trouble_overdue_runs, now=deadline),
    )

    # A clock walks past a row that somebody holds, and comes again.
    assert moved + trouble_overdue_runs(now=deadline) == 1
    assert now_(approved).state == S.TROUBLED
    stored = Unit.objects.get(pk=unit.pk).state
    assert stored == ("planned" if isinstance(intent, Exception) else "sent")
    assert now_(approved).has_effects == (stored == "sent")
    assert record_is_whole()


# --- A person takes it in hand ------------------------------------------------------------------------


@pytest.fixture
def half_undone(company, approved):
    """Three of five lines are taken back, the next reversal was refused, and on-call is asked."""
    company.vendor_payment.connector_config = {"target": "books"}
    company.vendor_payment.save()
    person = PersonFactory(username="oncall")
    ContactChannelFactory(person=person)
    RosterShiftFactory(
        target="books", person=person, starts_at=NOW - 60 * M, ends_at=NOW + 60 * 24 * M
    )
    PersonFactory(username="operator", roles=[RoleFactory(key="operator")])
    books = Books()
    run_all(hands(books, "first"))
    order_rollback(
        ref=approved.ref, actor=Person.objects.get(username="operator"), reason="No.", now=NOW
    )
    take_up_orders(now=NOW)
    books.fail(2, Rejected("422 the period is closed"))
    run_all(hands(books, "first"))
    books.script.clear()
    return books, person


@pytest.mark.parametrize("_round", range(5))
def test_a_hand_and_the_next_attempt_at_once_never_both_write(approved, half_undone, race, _round):
    """Whichever comes second sees the other: the attempt stops, or its answer is waited for."""
    books, person = half_undone
    at = now_(approved).next_attempt_at
    after = []

    def take_in_hand():
        mend(ref=approved.ref, actor=person, verdict="by_hand", digest=approved.digest, now=at)
        after.append(len(books.sends))

    hand, _ = race(take_in_hand, partial(run_all, hands(books, "second", now=at)))

    if isinstance(hand, Refused):
        assert now_(approved).state == S.ROLLED_BACK
        return
    sent = len(books.sends)
    asked_first = Order.objects.filter(request=approved, kind="by_hand")
    assert sent <= after[0] + 1, "no more than the call that was under way"
    assert sent == after[0] or asked_first.exists(), "nobody was told to wait for that call"
    run_all(hands(books, "third", now=at + seconds(31)))
    assert len(books.sends) == sent
    assert now_(approved).state == S.ROLLING_BACK
    assert record_is_whole()


def test_control_without_the_lock_a_hand_and_an_attempt_find_each_other_absent(
    approved, half_undone, race
):
    at = now_(approved).next_attempt_at
    both_looked = threading.Barrier(2)

    def look(found):
        free = found()
        both_looked.wait(timeout=10)
        return free

    assert race(
        partial(look, lambda: list(selectors.runnable(at)) == [approved.pk]),
        partial(look, lambda: now_(approved).lease_until is None),
    ) == [True, True]


# --- By hand against another attempt -----------------------------------------------------------


@pytest.fixture
def troubled(approved):
    """A payment whose first line is done and whose second failed; whoever is on call is asked."""
    on_call = PersonFactory(username="oncall")
    ContactChannelFactory(person=on_call)
    ActionRequest.objects.filter(pk=approved.pk).update(
        state=S.TROUBLED, due_at=NOW + 120 * M, has_effects=True, had_effects=True
    )
    case = CaseFactory(request=approved, exception="system_failure", response="oncall")
    step = StepFactory(
        request=approved, case=case, path="system_failure", level=2, opened_at=NOW,
        window=120 * M,
    )  # fmt: skip
    AskFactory(step=step, person=on_call)
    return now_(approved), on_call


def say(request, person, verdict):
    return mend(ref=request.ref, actor=person, verdict=verdict, digest=request.digest, now=NOW)


def test_control_without_the_lock_both_answers_find_nobody_who_has_it_in_hand(troubled, race):
    request, _ = troubled
    both_looked = threading.Barrier(2)

    def look():
        found = (
            Claim.objects.filter(request=request, closed_at=None).first(),
            now_(request).next_attempt_at,
        )
        both_looked.wait(timeout=10)
        return found

    assert race(look, look) == [(None, None)] * 2


@pytest.mark.parametrize("_round", range(5))
def test_by_hand_and_another_attempt_at_once_are_one_of_the_two(troubled, race, _round):
    request, on_call = troubled

    by_hand, retry = race(
        partial(say, request, on_call, "by_hand"), partial(say, request, on_call, "retry")
    )

    after, claim = now_(request), Claim.objects.filter(request=request, closed_at=None).first()
    refused = [each for each in (by_hand, retry) if isinstance(each, Exception)]
    assert len(refused) == 1
    assert isinstance(refused[0], Refused)
    if refused[0] is retry:
        assert (claim.person, after.next_attempt_at) == (on_call, None)
    else:
        assert (claim, after.next_attempt_at) == (None, NOW)
    assert record_is_whole()
