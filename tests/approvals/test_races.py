"""What happens at the same instant. Each race has a control that shows it without the lock."""

from __future__ import annotations

import threading
from datetime import timedelta
from functools import partial

import pytest
from django.db import connection, transaction

from approvals.models import ActionRequest, Ask, Case, Decision, Step
from approvals.services.close import withdraw
from approvals.services.ruling import rule
from approvals.services.submit import submit
from approvals.sweeps import climb_due_steps, end_holds, end_lapsed_approvals, pass_over_absent
from governance.errors import AlreadyDecided, DuplicateEffect, NotNow, Refused, TooLate
from governance.models import AuditEvent
from governance.tables import policy
from governance.verify import findings
from tests.approvals.asking import (
    answer,
    ask_for_payment,
    body,
    credential_of,
    make_the_first_no_final,
    name_the_owner,
)
from tests.factories import (
    MONDAY_9AM,
    AbsenceFactory,
    ContactChannelFactory,
    PersonFactory,
    small_company,
)

pytestmark = pytest.mark.django_db(transaction=True)

M = timedelta(minutes=1)
S = ActionRequest.State


@pytest.fixture
def company(transactional_db):
    return small_company()


@pytest.fixture
def two_managers(company):
    """Both Finance Managers are asked; one signature is enough only if `quorum` stays 1."""
    second = PersonFactory(
        username="second_manager", name="Second Manager", limit_amount=30_000, limit_currency="USD"
    )
    ContactChannelFactory(person=second)
    second.roles.add(company.row.approver_role)
    company.row.quorum = 2
    company.row.save()
    policy.cache_clear()
    return company.finance_manager, second


def submission(company, key, **over):
    return partial(
        submit,
        credential=credential_of(company),
        policy=company.policy.pk,
        idempotency_key=key,
        body=body(company, **over),
        now=MONDAY_9AM,
    )


def assert_record_is_whole():
    assert not [found for found in findings(MONDAY_9AM) if "seal" not in str(found).lower()]


def test_control_the_harness_sees_sixteen_who_all_find_nothing(company, race):
    everybody_looked = threading.Barrier(16)

    def check_first():
        seen = ActionRequest.objects.filter(idempotency_key="k").exists()
        everybody_looked.wait(timeout=20)
        return seen

    assert race(*[check_first] * 16) == [False] * 16


def test_sixteen_submissions_with_one_key_are_one_request(company, race):
    call = submission(company, "k")

    outcomes = race(*[call] * 16)

    assert not [each for each in outcomes if isinstance(each, Exception)]
    assert sorted(created for _, created in outcomes) == [False] * 15 + [True]
    assert len({taken.ref for taken, _ in outcomes}) == 1
    assert (ActionRequest.objects.count(), Step.objects.count(), Ask.objects.count()) == (1, 1, 1)
    assert_record_is_whole()


def test_eight_submissions_of_one_effect_are_one_request_and_seven_are_told(company, race):
    outcomes = race(*[submission(company, f"k{n}") for n in range(8)])

    assert sum(isinstance(each, DuplicateEffect) for each in outcomes) == 7
    (taken,) = ActionRequest.objects.all()
    assert {each.extra["ref"] for each in outcomes if isinstance(each, DuplicateEffect)} == {
        taken.ref
    }


def test_eight_submissions_for_one_record_all_get_their_own_chain(company, race):
    company.vendor_payment.resource_key = "demo:vendor:{/vendor}"
    company.vendor_payment.save()
    name_the_owner(company)

    outcomes = race(*[submission(company, f"k{n}", invoice=f"INV-{n}") for n in range(8)])

    assert not [each for each in outcomes if isinstance(each, Exception)]
    assert ActionRequest.objects.values("resource").distinct().count() == 1
    assert_record_is_whole()


# --- Conflicts ---


def parts(company, *numbers):
    """Return submissions that want the same bill, for payments of their own."""
    return [submission(company, f"part-{number}", instalment=number) for number in numbers]


def states(*requests):
    found = ActionRequest.objects.in_bulk([each.pk for each in requests])
    return [found[each.pk].state for each in requests]


def test_control_two_newcomers_without_the_lock_see_nobody(company, race):
    both_looked = threading.Barrier(2)

    def look_first():
        others = ActionRequest.objects.filter(resource__key__startswith="demo:vendor-bill").count()
        both_looked.wait(timeout=10)
        return others

    assert race(look_first, look_first) == [0, 0]


@pytest.mark.parametrize("_round", range(5))
def test_of_two_first_submissions_for_a_record_one_meets_the_other(company, race, _round):
    name_the_owner(company)

    outcomes = race(*parts(company, 1, 2))

    assert not [each for each in outcomes if isinstance(each, Exception)]
    assert list(ActionRequest.objects.values_list("state", flat=True)) == ["held", "held"]
    (case,) = Case.objects.filter(exception="conflict")
    assert sorted(case.parties.values_list("role", flat=True)) == ["carrier", "earlier"]
    assert_record_is_whole()


@pytest.mark.parametrize("_round", range(3))
def test_three_newcomers_against_one_payment_are_one_conflict(company, race, _round):
    name_the_owner(company)
    first = ask_for_payment(company, key="part-1", instalment=1)

    outcomes = race(*parts(company, 2, 3, 4))

    assert not [each for each in outcomes if isinstance(each, Exception)]
    (case,) = Case.objects.filter(exception="conflict", state="open")
    roles = sorted(case.parties.values_list("role", flat=True))
    assert roles == ["carrier", "earlier", "newcomer", "newcomer"]
    assert states(first) == ["held"]
    assert_record_is_whole()


@pytest.mark.parametrize("_round", range(5))
def test_a_ruling_against_a_withdrawal(company, race, _round):
    owner = name_the_owner(company)
    first = ask_for_payment(company, key="part-1", instalment=1)
    second = ask_for_payment(company, key="part-2", instalment=2)
    now = MONDAY_9AM + M

    ruled, withdrawn = race(
        partial(
            rule, ref=second.ref, actor=owner, order=[first.ref], refuse=[second.ref],
            digest=second.digest, note="One is enough.", now=now,
        ),
        partial(withdraw, ref=second.ref, agent=company.agent, now=now),
    )  # fmt: skip

    # Whoever was faster, the first goes on, once, and the second has ended, once.
    failed = [each for each in (ruled, withdrawn) if isinstance(each, Exception)]
    assert len(failed) == 1
    assert isinstance(failed[0], Refused)
    assert states(first)[0] == "pending"
    assert states(second)[0] in ("rejected", "withdrawn")
    resumed = AuditEvent.objects.filter(chain=first.ref, kind="step.resumed")
    assert resumed.count() == 1
    assert_record_is_whole()


@pytest.mark.parametrize("_round", range(5))
def test_a_queued_one_is_woken_once_while_the_one_before_it_ends(company, race, _round):
    owner = name_the_owner(company)
    first = ask_for_payment(company, key="part-1", instalment=1)
    second = ask_for_payment(company, key="part-2", instalment=2)
    now = MONDAY_9AM + M
    rule(
        ref=second.ref, actor=owner, order=[first.ref, second.ref], refuse=[],
        digest=second.digest, note="In turn.", now=now,
    )  # fmt: skip

    outcomes = race(
        partial(withdraw, ref=first.ref, agent=company.agent, now=now),
        partial(end_holds, now=now + 8 * 60 * M - M),
        submission(company, "part-3", instalment=3),
    )

    assert not [each for each in outcomes if isinstance(each, Exception)]
    late = ActionRequest.objects.get(idempotency_key="part-3")
    # The late one meets the second before it goes on, or after: then it stops it once more.
    assert states(first, late) == ["withdrawn", "held"]
    assert states(second)[0] in ("pending", "held")
    opened = AuditEvent.objects.filter(chain=second.ref, kind="request.went_on")
    assert opened.count() == 1
    assert_record_is_whole()


def test_control_two_deciders_without_the_lock_both_find_the_step_waiting(company, race):
    request = ask_for_payment(company)
    both_looked = threading.Barrier(2)

    def decide_naively():
        step = Step.objects.get(request=request, state=Step.State.WAITING)
        both_looked.wait(timeout=10)
        return step.state

    assert race(decide_naively, decide_naively) == ["waiting", "waiting"]


@pytest.mark.parametrize("_round", range(5))
def test_of_two_people_deciding_at_once_one_stands_and_the_other_is_told(
    company, two_managers, race, _round
):
    first, second = two_managers
    request = ask_for_payment(company)
    now = MONDAY_9AM + M

    outcomes = race(
        partial(answer, request, first, "reject", now=now),
        partial(answer, request, second, "reject", now=now),
    )

    told = [each for each in outcomes if isinstance(each, AlreadyDecided)]
    assert len(told) == 1
    assert "rejected this at 09:01:00" in str(told[0])
    assert Decision.objects.count() == 1
    assert_record_is_whole()


@pytest.mark.parametrize("_round", range(5))
def test_two_signatures_at_once_complete_a_quorum_once(company, two_managers, race, _round):
    request = ask_for_payment(company)
    now = MONDAY_9AM + M

    race(*[partial(answer, request, person, now=now) for person in two_managers])

    request.refresh_from_db()
    assert (request.state, request.decisions.count()) == (S.APPROVED, 2)
    assert AuditEvent.objects.filter(chain=request.ref, kind="request.approved").count() == 1
    assert_record_is_whole()


@pytest.mark.parametrize("_round", range(10))
def test_one_person_clicking_twice_decides_once(company, race, _round):
    request = ask_for_payment(company)
    click = partial(answer, request, company.finance_manager, now=MONDAY_9AM + M)

    outcomes = race(click, click)

    assert sum(isinstance(each, Refused) for each in outcomes) == 1
    assert Decision.objects.count() == 1


@pytest.mark.parametrize("_round", range(10))
def test_a_decision_and_the_expiry_at_one_instant_are_one_of_the_two(company, race, _round):
    request = ask_for_payment(company)
    climb_due_steps(now=MONDAY_9AM + 5 * M)
    climb_due_steps(now=MONDAY_9AM + 35 * M)
    due = MONDAY_9AM + 155 * M

    verdict, expired = race(
        partial(answer, request, company.senior_accountant, now=due - timedelta(microseconds=1)),
        partial(climb_due_steps, now=due),
    )

    step = request.steps.get(level=2)
    if isinstance(verdict, TooLate):
        assert (step.state, expired, request.decisions.count()) == ("expired", 1, 0)
    else:
        assert (step.state, expired, verdict.state) == ("answered", 0, "approved")
    assert_record_is_whole()


@pytest.mark.parametrize("_round", range(5))
def test_who_is_asked_again_while_they_answer_has_answered_once(company, race, _round):
    """L1 asks the same person: their yes counts on the rung that waits when it comes, and only there."""
    request = ask_for_payment(company)
    just_in_time = request.due_at - timedelta(microseconds=1)

    verdict, expired = race(
        partial(answer, request, company.finance_manager, now=just_in_time),
        partial(climb_due_steps, now=request.due_at),
    )

    decision = request.decisions.get()
    assert (verdict.state, decision.step.level) == ("approved", expired)
    assert request.steps.get(level=0).state == ("expired" if expired else "answered")
    assert_record_is_whole()


@pytest.mark.parametrize("_round", range(5))
def test_a_withdrawal_and_a_decision_at_once_are_one_of_the_two(company, race, _round):
    make_the_first_no_final(company)
    request = ask_for_payment(company)
    now = MONDAY_9AM + M

    withdrawn, decided = race(
        partial(withdraw, ref=request.ref, agent=company.agent, now=now),
        partial(answer, request, company.finance_manager, "reject", now=now),
    )

    assert isinstance(withdrawn, NotNow) != isinstance(decided, NotNow)
    request.refresh_from_db()
    assert request.state in (S.WITHDRAWN, S.REJECTED)
    assert_record_is_whole()


def test_control_two_sweeps_without_a_claim_take_the_same_row(company, race):
    request = ask_for_payment(company)
    both_looked = threading.Barrier(2)

    def naive_sweep():
        found = ActionRequest.objects.filter(state=S.PENDING, due_at__lte=request.due_at).first()
        both_looked.wait(timeout=10)
        return found.pk

    assert race(naive_sweep, naive_sweep) == [request.pk, request.pk]


@pytest.mark.parametrize("_round", range(5))
def test_four_clocks_climb_each_request_once(company, race, _round):
    requests = [ask_for_payment(company, key=f"k{n}", invoice=f"INV-{n}") for n in range(12)]

    counts = race(*[partial(climb_due_steps, now=requests[0].due_at)] * 4)

    left = climb_due_steps(now=requests[0].due_at)
    assert sum(counts) + left == 12
    assert Step.objects.filter(level=1).count() == 12
    assert_record_is_whole()


def test_four_clocks_end_a_lapsed_approval_once(company, race):
    request = ask_for_payment(company)
    answer(request, company.finance_manager, now=MONDAY_9AM + M)
    ActionRequest.objects.filter(pk=request.pk).update(person_present=True)

    counts = race(*[partial(end_lapsed_approvals, now=MONDAY_9AM + 31 * M)] * 4)

    assert sum(counts) == 1
    assert (
        request.notices.filter(kind="told", facts__what="lapsed").count() == 2
    )  # inbox and e-mail


def test_two_sweeps_pass_somebody_over_once(company, race):
    request = ask_for_payment(company)
    AbsenceFactory(
        person=company.finance_manager, starts_at=MONDAY_9AM, ends_at=MONDAY_9AM + 500 * M
    )

    counts = race(*[partial(pass_over_absent, now=MONDAY_9AM + M)] * 2)

    assert sum(counts) == 1
    assert request.steps.filter(level=2).count() == 1


@pytest.mark.postgresql  # on SQLite there is one writer at a time, and no row to hold
def test_a_sweep_walks_past_a_row_somebody_holds(company):
    held = ask_for_payment(company, key="k1", invoice="A")
    free = ask_for_payment(company, key="k2", invoice="B")
    holding, let_go = threading.Event(), threading.Event()

    def hold():
        with transaction.atomic():
            ActionRequest.objects.select_for_update(no_key=True).get(pk=held.pk)
            holding.set()
            let_go.wait(timeout=10)
        connection.close()

    holder = threading.Thread(target=hold)
    holder.start()
    assert holding.wait(timeout=10)
    try:
        moved = climb_due_steps(now=held.due_at)
    finally:
        let_go.set()
        holder.join()

    assert moved == 1
    assert free.steps.get(level=0).state == "expired"
    assert held.steps.get(level=0).state == "waiting"
