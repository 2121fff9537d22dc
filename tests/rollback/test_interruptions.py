"""What arrives while something else is under way: reports, orders, a hand, a conflict, the end of a lease."""

from __future__ import annotations

from datetime import timedelta
from uuid import uuid4

import pytest

from approvals.models import ActionRequest, Alert, Order, Review, Step, Violation
from approvals.services.cleanups import confirm_settled, say_settled
from approvals.services.close import withdraw
from approvals.services.compliance import rule_on_violation
from approvals.services.findings import confirm_rollback, record_finding
from approvals.services.mending import mend
from approvals.services.orders import order_rollback
from approvals.services.ruling import rule
from approvals.services.violations import Became, report
from governance.models import Person, Role
from governance.vocabulary import Path
from rollback.audits import leases_nobody_rescued
from rollback.connectors.base import NotDone
from rollback.models import Recovery, Run
from rollback.runner import run_all
from rollback.services import by_hand
from tests.approvals.asking import (
    answer,
    ask_for_payment,
    make_critical,
    name_compliance,
    name_the_head,
    name_the_owner,
)
from tests.factories import OrderFactory, PersonFactory
from tests.factors import give_factor, present
from tests.rollback.carrying import approved, books, on_call, whole_record, worker
from tests.rollback.ledger_target import Killed

__all__ = ["approved", "books", "on_call", "whole_record", "worker"]  # fixtures

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("whole_record", "on_call")]

S = ActionRequest.State
M = timedelta(minutes=1)
H = timedelta(hours=1)
SECOND = timedelta(seconds=1)
DOWN = NotDone("503 Service Unavailable")
DEFECTS = ("sweep.failed", "run.defect")


@pytest.fixture(autouse=True)
def nothing_failed():
    """No sweep and no run came to a defect of ours on the way."""
    yield
    said = Alert.objects.filter(kind__in=DEFECTS).values_list("text", flat=True)
    assert list(said) == []


@pytest.fixture(autouse=True)
def compliance(company):
    return name_compliance(company)


@pytest.fixture
def one_orders(company):
    """One person's order to roll back is enough, and the Controller's is one."""
    company.vendor_payment.is_financial = False
    company.vendor_payment.save()
    return name_the_head(company)


def now_(request):
    return ActionRequest.objects.get(pk=request.pk)


def said_of(request, company, timeline, text="Wrong."):
    return report(ref=request.ref, by=company.agent, text=text, now=timeline.now).became


def ruled(request, verdict, timeline, *people):
    for person in people:
        rule_on_violation(
            ref=request.ref, actor=person, verdict=verdict, digest=request.digest, now=timeline.now
        )


def mended(request, verdict, person, timeline):
    return mend(
        ref=request.ref, actor=person, verdict=verdict, digest=request.digest, now=timeline.now
    )


def ordered(request, by, timeline):
    order_rollback(ref=request.ref, actor=by, reason="Stop.", now=timeline.now)
    timeline.sweep()


def to_its_end(request, worker, timeline):
    """Go from one of its instants to the next, with a worker that takes up what is due."""
    while (due_at := now_(request).due_at) is not None:
        timeline.go_to(max(due_at, timeline.now))
        run_all(worker.hands)


def step_of(request, level, path=Path.SYSTEM_FAILURE):
    return Step.objects.get(request=request, path=path, level=level)


def unsettled(request):
    reports = Violation.objects.filter(request=request, case=None, settled_at=None)
    return [*reports, *Order.objects.filter(request=request, closed_at=None)]


@pytest.fixture
def failing(approved, worker, books, timeline):
    """Three of five lines are written, and whoever is on call has just been asked."""
    books.fail(4, *[DOWN] * 5)
    run_all(worker.hands)
    timeline.go_to(step_of(approved, 1).due_at)
    books.script.clear()
    return now_(approved)


# --- Reports -----------------------------------------------------------------------------------------


def test_a_report_at_the_end_of_a_dead_workers_lease_takes_the_earlier_one_with_it(
    approved, company, compliance, worker, timeline
):
    worker.kill("before_send", 2)
    with pytest.raises(Killed):
        run_all(worker.hands)
    assert said_of(approved, company, timeline) == Became.STOPPING
    timeline.now = now_(approved).lease_until

    assert said_of(approved, company, timeline, "Also this.") == Became.BLOCKED
    timeline.sweep()

    assert unsettled(approved) == []
    ruled(approved, "waive", timeline, *compliance[:2])
    run_all(worker.hands)
    assert now_(approved).state == S.COMPLETED


def test_so_does_one_after_the_run_has_used_up_its_time_in_a_call(
    approved, company, compliance, worker, books, timeline
):
    def late():
        assert said_of(approved, company, timeline) == Became.STOPPING
        timeline.now = now_(approved).run_deadline
        ActionRequest.objects.filter(pk=approved.pk).update(lease_until=timeline.now + 20 * SECOND)
        timeline.sweep()
        assert now_(approved).state == S.TROUBLED
        assert said_of(approved, company, timeline, "Also this.") == Became.BLOCKED

    books.meanwhile(2, late)
    run_all(worker.hands)
    timeline.sweep()

    assert unsettled(approved) == []
    assert now_(approved).state == S.BLOCKED
    ruled(approved, "deny", timeline, compliance[0])
    run_all(worker.hands)
    assert (now_(approved).state, books.lines_done) == (S.ROLLED_BACK, [])


def test_an_attempt_somebody_ordered_has_its_whole_time_after_compliance_let_it_pass(
    failing, company, compliance, on_call, worker, timeline
):
    mended(failing, "retry", on_call, timeline)
    assert said_of(failing, company, timeline) == Became.BLOCKED
    timeline.advance(minutes=45)

    ruled(failing, "waive", timeline, *compliance[:2])
    timeline.sweep()

    assert not Step.objects.filter(request=failing, path=Path.SYSTEM_FAILURE, level=3).exists()
    run_all(worker.hands)
    assert now_(failing).state == S.COMPLETED


def test_it_does_not_outlive_that_time(failing, company, compliance, on_call, timeline):
    mended(failing, "retry", on_call, timeline)
    said_of(failing, company, timeline)
    ruled(failing, "waive", timeline, *compliance[:2])

    timeline.go_to(timeline.now + 30 * M - SECOND)
    assert not Step.objects.filter(request=failing, path=Path.SYSTEM_FAILURE, level=3).exists()
    timeline.advance(seconds=1)

    assert step_of(failing, 3).state == Step.State.WAITING


# --- Orders ------------------------------------------------------------------------------------------


def test_what_is_approved_and_ordered_to_be_undone_never_begins(
    approved, one_orders, worker, books, timeline
):
    ordered(approved, one_orders, timeline)

    run_all(worker.hands)

    assert books.sends == []
    assert now_(approved).state == S.ROLLED_BACK
    assert unsettled(approved) == []


def test_nor_does_it_after_compliance_let_it_pass(
    approved, company, compliance, one_orders, worker, books, timeline
):
    said_of(approved, company, timeline)
    ordered(approved, one_orders, timeline)
    assert now_(approved).state == S.BLOCKED

    ruled(approved, "waive", timeline, *compliance[:2])
    timeline.sweep()
    run_all(worker.hands)

    assert books.sends == []
    assert now_(approved).state == S.ROLLED_BACK


def test_an_order_on_what_a_conflict_holds_stops_it_and_not_the_others(
    company, one_orders, worker, books, timeline
):
    company.vendor_payment.connector_config = {"target": "books", "basis": ["line/9"]}
    company.vendor_payment.save()
    owner = name_the_owner(company)
    first = ask_for_payment(company, now=timeline.now)
    run_all(worker.hands)
    answer(first, company.finance_manager, now=timeline.now)
    timeline.now += SECOND
    second = ask_for_payment(company, key="second", instalment=2, now=timeline.now)
    ordered(first, one_orders, timeline)
    rule(
        ref=second.ref, actor=owner, order=[second.ref, first.ref], refuse=[],
        digest=second.digest, note="The new one first.", now=timeline.now,
    )  # fmt: skip

    answer(second, company.finance_manager, now=timeline.now)
    run_all(worker.hands)

    assert (now_(second).state, now_(first).state) == (S.COMPLETED, S.ROLLED_BACK)
    assert len(books.sends) == 5
    assert unsettled(first) == []


def test_what_was_ordered_tried_again_and_is_withdrawn_first_leaves_no_order_behind(
    approved, company, on_call, worker, books, timeline
):
    books.down = DOWN
    run_all(worker.hands)
    timeline.go_to(step_of(approved, 1).due_at)
    ActionRequest.objects.filter(pk=approved.pk).update(  # a worker reads the target
        run_token=uuid4(), lease_until=timeline.now + 20 * SECOND, run_deadline=timeline.now
    )
    mended(approved, "retry", on_call, timeline)
    assert [order.kind for order in unsettled(approved)] == ["retry"]

    withdraw(ref=approved.ref, agent=company.agent, now=timeline.now)
    timeline.sweep()

    assert unsettled(approved) == []


# --- L4, and the reviews that follow ---------------------------------------------------------------


@pytest.fixture
def overridden(company, timeline):
    """A payment of a critical process that nobody answered, and that the CFO let pass at L4."""
    make_critical(company)
    give_factor(company.cfo)
    request = ask_for_payment(company)
    timeline.go_to(timeline.now + 35 * M + 6 * H)
    return answer(
        request, company.cfo, now=timeline.now, note="Tonight.",
        presence=present(company.cfo, request),
    )  # fmt: skip


def not_justified(request, timeline):
    """Both reviewers want it undone: one finds so, the other confirms. Returns the order."""
    found, second = (Person.objects.get(username=name) for name in ("auditor", "second_reviewer"))
    review = Review.objects.get(request=request, kind=Review.Kind.BYPASS)
    record_finding(
        review=review.pk, actor=found, finding="not_justified", note="No.", roll_back=True,
        now=timeline.now,
    )  # fmt: skip
    order = Order.objects.get(review=review)
    if order.closed_at is None:
        confirm_rollback(review=review.pk, actor=second, now=timeline.now)
    order.refresh_from_db()
    return order


def test_what_was_overridden_and_fails_is_undone_and_reviewed_all_the_same(
    overridden, company, on_call, worker, books, timeline
):
    books.fail(3, *[DOWN] * 20)
    to_its_end(overridden, worker, timeline)

    assert (now_(overridden).state, books.lines_done) == (S.ROLLED_BACK, [])
    steps = Step.objects.filter(request=overridden, path=Path.SYSTEM_FAILURE).order_by("level")
    assert [(each.level, each.state) for each in steps] == [
        (1, "expired"), (2, "expired"), (3, "expired"), (4, "passed_over"),
    ]  # fmt: skip
    assert [review.kind for review in Review.objects.filter(state="open")] == ["bypass"]


def test_a_reviews_order_stops_a_run_after_the_unit_it_is_at(overridden, worker, books, timeline):
    books.meanwhile(2, lambda: not_justified(overridden, timeline))

    run_all(worker.hands)

    assert len(books.sends) == 4, "two lines, and both taken back"
    assert (now_(overridden).state, books.lines_done) == (S.ROLLED_BACK, [])
    assert Order.objects.get().outcome == Order.Outcome.CARRIED_OUT


def test_a_reviews_order_joins_an_undo_that_runs(
    overridden, company, one_orders, worker, books, timeline
):
    run_all(worker.hands)
    ordered(overridden, one_orders, timeline)
    joined = []
    books.meanwhile(5, lambda: joined.append(not_justified(overridden, timeline)))

    run_all(worker.hands)

    assert [order.outcome for order in joined] == [Order.Outcome.JOINED]
    assert (now_(overridden).state, books.lines_done) == (S.ROLLED_BACK, [])
    assert len(books.sends) == len(books.done) == 10, "each line once, each taken back once"


def test_what_is_stranded_is_cleaned_up_by_two_and_frees_its_record(
    approved, company, worker, books, timeline
):
    for name in ("operator", "operator_2"):
        PersonFactory(username=name).roles.add(Role.objects.get_or_create(key="operator")[0])
    first, second = (Person.objects.get(username=f"operator{each}") for each in ("", "_2"))
    name_the_owner(company)
    run_all(worker.hands)
    company.vendor_payment.is_financial = False
    company.vendor_payment.save()
    ordered(approved, first, timeline)
    books.down = DOWN
    to_its_end(approved, worker, timeline)
    assert (now_(approved).state, now_(approved).holds_key) == (S.STRANDED, True)
    later = ask_for_payment(company, key="later", instalment=2, now=timeline.now)
    assert now_(later).state == S.HELD
    review = Review.objects.get(kind=Review.Kind.CLEANUP)

    said = say_settled(
        review=review.pk, actor=first, outcome="rolled_back", reference="CM-11",
        note="Reversed in the ledger.", now=timeline.now,
    )  # fmt: skip
    assert now_(approved).state == S.STRANDED
    confirm_settled(review=review.pk, actor=second, said_at=said.said_at, now=timeline.now)

    ended = now_(approved)
    assert (ended.state, ended.has_effects, ended.holds_key) == (S.ROLLED_BACK, False, False)
    assert now_(later).state == S.PENDING
    assert not Recovery.objects.filter(state__in=("ordered", "planned", "running")).exists()
    assert unsettled(approved) == []


# --- In somebody's hand ------------------------------------------------------------------------------


@pytest.fixture
def in_hand(failing, on_call, timeline):
    mended(failing, "by_hand", on_call, timeline)
    # As a second reviewer's word may make one count at any moment.
    OrderFactory(request=failing, kind="roll_back", ordered_at=timeline.now, reason="No.")
    timeline.sweep()
    return failing


def test_an_order_waits_while_somebody_has_it_in_hand(in_hand, worker, books, timeline):
    run_all(worker.hands)

    assert (now_(in_hand).state, books.lines_done) == (S.TROUBLED, [1, 2, 3])
    timeline.advance(hours=8)
    assert now_(in_hand).state == S.STRANDED
    assert unsettled(in_hand) == []


def test_it_is_carried_out_once_it_is_given_back(in_hand, on_call, worker, books, timeline):
    by_hand.give_back(
        ref=in_hand.ref, actor=on_call, now=timeline.now, of=lambda action_type: books
    )
    timeline.sweep()
    run_all(worker.hands)

    assert (now_(in_hand).state, books.lines_done) == (S.ROLLED_BACK, [])


def test_the_next_rung_takes_it_over_all_the_same(in_hand, on_call, worker, books, timeline):
    timeline.go_to(step_of(in_hand, 2).due_at)

    mended(in_hand, "by_hand", on_call.manager, timeline)
    by_hand.give_back(
        ref=in_hand.ref, actor=on_call.manager, now=timeline.now, of=lambda action_type: books
    )
    timeline.sweep()
    run_all(worker.hands)

    assert (now_(in_hand).state, books.lines_done) == (S.ROLLED_BACK, [])


def test_what_is_finished_by_hand_is_undone_after_all(
    in_hand, one_orders, on_call, worker, books, timeline
):
    of = {"of": lambda action_type: books}
    claim = in_hand.claims.get()
    items = by_hand.items_of(now_(in_hand), claim, **of)
    by_hand.settle(
        ref=in_hand.ref, actor=on_call, now=timeline.now, reference="SO-3391",
        said=[{"n": item.n, "state": "done", "reference": f"M-{item.n}"} for item in items],
        shown=by_hand.stamp_of(claim, items), **of,
    )  # fmt: skip
    assert now_(in_hand).state == S.COMPLETED_MANUALLY

    timeline.sweep()
    run_all(worker.hands)

    assert (now_(in_hand).state, books.lines_done) == (S.ROLLING_BACK, [])
    assert step_of(in_hand, 2, Path.UNDO).state == Step.State.WAITING, "two lines are a person's"


@pytest.fixture
def silent(company, worker, timeline):
    """The worker was in a call when its time was over, and is never heard of again; on call is asked."""
    approved = ask_for_payment(company, impact="high")
    answer(approved, company.finance_manager, now=timeline.now)
    worker.kill("before_send", 2)
    with pytest.raises(Killed):
        run_all(worker.hands)
    deadline = now_(approved).run_deadline
    ActionRequest.objects.filter(pk=approved.pk).update(
        lease_until=deadline + 10 * SECOND, due_at=deadline
    )
    timeline.now = deadline
    timeline.sweep()
    assert (now_(approved).state, now_(approved).lease_until) == (
        S.TROUBLED,
        deadline + 10 * SECOND,
    )
    return now_(approved)


def test_a_lease_whose_worker_fell_silent_ends_by_itself_while_people_are_asked(silent, timeline):
    timeline.go_to(silent.lease_until - SECOND)
    assert now_(silent).run_token is not None

    timeline.go_to(silent.lease_until)

    assert (now_(silent).run_token, now_(silent).lease_until) == (None, None)
    assert Run.objects.get().state == Run.State.LOST
    assert list(leases_nobody_rescued(timeline.now + H)) == []


def test_a_hand_takes_over_from_a_worker_that_fell_silent(silent, on_call, timeline):
    timeline.now = silent.lease_until

    mend(
        ref=silent.ref, actor=on_call, verdict="by_hand", digest=silent.digest, now=timeline.now
    )  # fmt: skip

    assert now_(silent).run_token is None
