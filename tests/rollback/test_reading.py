"""What is read of the target right after submission, before the first unit and between units."""

from __future__ import annotations

from datetime import timedelta

import pytest

from approvals import audits
from approvals.models import ActionRequest, Alert, Ask, Case, Order, RecordRead, Step, Violation
from approvals.services.compliance import rule_on_violation
from approvals.services.ruling import rule
from approvals.services.violations import Became, report
from governance.models import AuditEvent, PolicyVersion
from governance.tables import policy
from governance.vocabulary import Path
from rollback.connectors.base import NotDone
from rollback.runner import run_all
from rollback.sweeps import call_the_worker
from tests.approvals.asking import (
    add_check,
    answer,
    ask_for_payment,
    name_compliance,
    name_the_owner,
)
from tests.factories import PolicyCheckFactory, PolicyVersionFactory
from tests.rollback.carrying import books, whole_record, worker
from tests.rollback.ledger_target import Killed

__all__ = ["books", "whole_record", "worker"]  # fixtures

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("whole_record")]

S = ActionRequest.State
M = timedelta(minutes=1)
H = timedelta(hours=1)
SECOND = timedelta(seconds=1)
DOWN = NotDone("connection refused")
LIMIT = "done.minor + 100 <= facts.limit"


@pytest.fixture(autouse=True)
def compliance(company):
    return name_compliance(company)


@pytest.fixture(autouse=True)
def action(company):
    """Payments rest on the record `line/9`, and a rule may speak of the limit in `limits`."""
    found = company.vendor_payment
    found.connector_config = {
        "target": "books",
        "basis": ["line/9"],
        "facts": {"limit": {"record": "limits", "pointer": "/limit"}},
    }
    found.save()
    return found


@pytest.fixture
def limits(company, books):
    """The rule, and the record it speaks of: high enough for everything."""
    books.state["limits"] = ({"limit": 1_000_000}, "1")
    add_check(company, LIMIT, key="limit", reads="target", on_break="Past the limit.")
    return books.state


def now_(request):
    return ActionRequest.objects.get(pk=request.pk)


def kinds(request):
    events = AuditEvent.objects.filter(chain=request.ref).order_by("seq")
    return list(events.values_list("kind", flat=True))


def ruled(request, person, verdict, timeline):
    return rule_on_violation(
        ref=request.ref, actor=person, verdict=verdict, digest=request.digest, now=timeline.now
    )


def waive(request, timeline, *people):
    for person in people:
        ruled(request, person, "waive", timeline)
    return now_(request)


# --- Right after submission ----------------------------------------------------------------------


def test_the_record_is_read_right_after_submission(company, timeline, worker, books):
    books.state["line/9"] = ({"value": "as it was"}, "7")
    request = ask_for_payment(company)
    assert request.read_due_at == timeline.now

    run_all(worker.hands)

    found = now_(request)
    assert found.basis_digest
    assert found.read_due_at is None
    kept = RecordRead.objects.get(request=request)
    assert (kept.record, kept.state, kept.version) == ("line/9", {"value": "as it was"}, "7")
    assert kept.read_at == timeline.now
    assert "facts.read" in kinds(request)


def test_what_has_nothing_to_read_is_not_read(company, timeline, worker, action):
    action.connector_config = {"target": "books"}
    action.save()

    request = ask_for_payment(company)

    assert request.read_due_at is None
    assert run_all(worker.hands) == 0


def test_the_clock_calls_the_worker_for_it(company, timeline):
    ask_for_payment(company)

    assert call_the_worker(now=timeline.now) == 1


def test_a_fact_that_breaks_a_rule_blocks_what_waits(company, timeline, worker, limits):
    limits["limits"] = ({"limit": 99}, "1")
    request = ask_for_payment(company)
    assert request.state == "pending"

    run_all(worker.hands)

    assert now_(request).state == "blocked"
    kept = Violation.objects.get(request=request)
    assert (kept.check_key, kept.text) == ("limit", "Past the limit.")
    assert {"name": "facts.limit", "value": "$0.99"} in kept.facts
    assert Step.objects.get(request=request, path=Path.APPROVAL).state == "suspended"


@pytest.mark.parametrize("state", [{}, {"limit": None}, None])
def test_a_fact_that_nobody_knows_is_a_violation(company, timeline, worker, books, limits, state):
    if state is None:
        del limits["limits"]
        books.absent.add("limits")
    else:
        limits["limits"] = (state, "1")
    request = ask_for_payment(company)

    run_all(worker.hands)

    assert now_(request).state == "blocked"
    assert "Not known: limit." in Violation.objects.get(request=request).text


def test_a_target_that_cannot_be_read_stops_nobody_who_decides(
    company, timeline, worker, books, limits
):
    books.down = DOWN
    request = ask_for_payment(company)

    run_all(worker.hands)

    found = now_(request)
    assert (found.state, found.read_tries) == ("pending", 1)
    assert found.read_due_at > timeline.now
    assert "facts.unread" in kinds(request)
    assert not Case.objects.filter(request=request).exists()
    approved = answer(request, company.finance_manager, now=timeline.now)
    assert approved.state == "approved"
    run_all(worker.hands)
    case = Case.objects.get(request=request)  # now it is a system failure, with its own ladder
    assert (now_(request).state, case.exception) == ("troubled", "system_failure")
    assert books.sends == []


def test_it_is_read_again_until_half_an_hour_is_over_and_then_operators_are_told(
    company, timeline, worker, books, limits, action
):
    action.sla = 4 * H
    action.save()
    books.down = DOWN
    request = ask_for_payment(company)
    began = timeline.now
    while now_(request).read_due_at is not None and timeline.now < began + H:
        timeline.now = now_(request).read_due_at
        run_all(worker.hands)

    assert began + 30 * M <= timeline.now < began + 40 * M
    assert Alert.objects.get(request=request).kind == "facts.unread"
    assert now_(request).state == "pending"


def test_a_worker_that_dies_in_the_read_leaves_it_to_the_next(company, timeline, worker, books):
    request = ask_for_payment(company)
    books.down = Killed()
    with pytest.raises(Killed):
        run_all(worker.hands)
    books.down = None

    timeline.now = now_(request).read_due_at
    run_all(worker.hands)

    assert now_(request).basis_digest


# --- Before the first unit, and between units ------------------------------------------------------


def test_a_rule_is_asked_before_the_first_unit(company, timeline, worker, books, limits):
    request = ask_for_payment(company)
    run_all(worker.hands)
    answer(request, company.finance_manager, now=timeline.now)
    limits["limits"] = ({"limit": 99}, "2")

    run_all(worker.hands)

    found = now_(request)
    assert (found.state, found.blocked_from, found.has_effects) == ("blocked", "executing", False)
    assert books.sends == []
    assert ruled(request, name_of(company, "compliance"), "deny", timeline).state == "denied"


def name_of(company, username):
    from governance.models import Person

    return Person.objects.get(username=username)


def test_a_rule_is_asked_between_units_and_knows_what_is_done(
    company, timeline, worker, books, limits, compliance
):
    """Lines come to 10, 20, 30 … dollars: after the second one 3,000 cents are done."""
    limits["limits"] = ({"limit": 3_099}, "1")
    request = ask_for_payment(company)
    answer(request, company.finance_manager, now=timeline.now)

    run_all(worker.hands)

    assert books.lines_done == [1, 2]
    assert (now_(request).state, now_(request).has_effects) == ("blocked", True)
    found = waive(request, timeline, *compliance[:2])
    assert (found.state, found.due_at) == ("executing", timeline.now)
    run_all(worker.hands)
    assert now_(request).state == "completed"
    assert books.lines_done == [1, 2, 3, 4, 5]


def test_denied_midway_what_was_done_is_undone(
    company, timeline, worker, books, limits, compliance
):
    limits["limits"] = ({"limit": 3_099}, "1")
    request = ask_for_payment(company)
    answer(request, company.finance_manager, now=timeline.now)
    run_all(worker.hands)

    found = ruled(request, compliance[0], "deny", timeline)

    assert found.state == "rolling_back"
    run_all(worker.hands)
    assert (now_(request).state, books.lines_done) == ("rolled_back", [])
    assert Case.objects.get(request=request).outcome == "denied"


def test_a_run_reported_on_stops_after_the_unit_it_is_at(
    company, timeline, worker, books, compliance
):
    request = ask_for_payment(company)
    answer(request, company.finance_manager, now=timeline.now)
    became = []
    books.meanwhile(
        2,
        lambda: became.append(
            report(ref=request.ref, by=company.agent, text="Wrong.", now=timeline.now).became
        ),
    )

    run_all(worker.hands)

    assert became == [Became.STOPPING]
    assert books.lines_done == [1, 2]
    assert (now_(request).state, now_(request).lease_until) == ("blocked", None)
    assert Order.objects.get(request=request, kind="block").outcome == "carried_out"
    asked = Ask.objects.filter(step__request=request, due_at__isnull=False)
    assert {each.person.username for each in asked} == {"compliance", "compliance_2"}
    ruled(request, compliance[0], "deny", timeline)
    run_all(worker.hands)
    assert (now_(request).state, books.lines_done) == ("rolled_back", [])


def test_what_was_reported_as_its_worker_died_is_blocked_when_the_lease_is_over(
    company, timeline, worker, books, compliance
):
    request = ask_for_payment(company)
    answer(request, company.finance_manager, now=timeline.now)
    worker.kill("before_send", 2)
    with pytest.raises(Killed):
        run_all(worker.hands)
    assert (
        report(ref=request.ref, by=company.agent, text="Wrong.", now=timeline.now).became
        == Became.STOPPING
    )
    lease = now_(request).lease_until
    timeline.go_to(lease - SECOND)
    assert now_(request).state == "executing"

    timeline.go_to(lease)

    assert now_(request).state == "blocked"
    found = waive(request, timeline, *compliance[:2])
    assert found.state == "executing"
    run_all(worker.hands)
    assert now_(request).state == "completed"
    assert len(set(books.sends)) == len(books.done) == 5


def test_what_was_blocked_while_its_target_had_failed_is_tried_again_from_there(
    company, timeline, worker, books, compliance
):
    request = ask_for_payment(company)
    answer(request, company.finance_manager, now=timeline.now)
    books.fail(3, DOWN)
    run_all(worker.hands)
    assert now_(request).state == "troubled"
    report(ref=request.ref, by=company.agent, text="Wrong.", now=timeline.now)
    step = Step.objects.get(request=request, path=Path.SYSTEM_FAILURE)
    assert (step.state, step.remaining) == ("suspended", 30 * M)
    timeline.advance(hours=1)

    found = waive(request, timeline, *compliance[:2])

    assert (found.state, found.due_at) == ("troubled", timeline.now)
    run_all(worker.hands)
    assert now_(request).state == "completed"
    outcomes = Case.objects.filter(request=request).values_list("exception", "outcome")
    assert dict(outcomes) == {"system_failure": "recovered", "policy_violation": "waived"}


def test_the_rules_that_are_active_before_execution_count(company, timeline, worker, books):
    request = ask_for_payment(company)
    run_all(worker.hands)
    answer(request, company.finance_manager, now=timeline.now)
    PolicyVersion.objects.filter(pk=company.policy.pk).update(state="superseded")
    newer = PolicyVersionFactory(number=2, state="active", activated_at=timeline.now)
    PolicyCheckFactory(version=newer, key="new", expression="false", action="")
    policy.cache_clear()

    run_all(worker.hands)

    assert now_(request).state == "blocked"
    assert books.sends == []


# --- The basis of an approval ----------------------------------------------------------------------


@pytest.fixture
def held(company, timeline, worker, books):
    """A payment that was approved, and then held by another one for the same bill."""
    owner = name_the_owner(company)
    books.state["line/9"] = ({"value": "as it was"}, "1")
    first = ask_for_payment(company)
    run_all(worker.hands)
    worker.units_left = 0
    timeline.now += M
    answer(first, company.finance_manager, now=timeline.now)
    timeline.now += M
    second = ask_for_payment(company, key="second", instalment=2, now=timeline.now)
    worker.units_left = None
    assert [now_(first).state, now_(second).state] == ["held", "held"]
    return first, second, owner


def let_go(held, timeline):
    first, second, owner = held
    timeline.now += H
    rule(
        ref=second.ref, actor=owner, order=[first.ref], refuse=[second.ref],
        digest=second.digest, note="The first.", now=timeline.now,
    )  # fmt: skip
    return first


def test_an_approved_party_goes_on_if_its_record_is_as_it_was(held, timeline, worker, books):
    request = let_go(held, timeline)
    found = now_(request)
    assert (found.state, found.holds_key) == ("approved", True)
    assert (found.ready_at, found.due_at) == (timeline.now, timeline.now + 30 * M)
    assert list(audits.due_at_differs(timeline.now)) == []

    run_all(worker.hands)

    assert now_(request).state == "completed"


def test_an_approved_party_whose_record_changed_ends(held, timeline, worker, books):
    request = let_go(held, timeline)
    books.somebody_else_writes("line/9", value="changed")

    run_all(worker.hands)

    found = now_(request)
    assert (found.state, found.end_reason, found.has_effects) == ("expired", "basis_changed", False)
    assert books.sends == []
    assert Alert.objects.filter(request=request, kind="conflict.basis_changed").exists()


def test_so_does_one_that_somebody_was_present_for(held, timeline, worker, books):
    """Its time to begin is not put off, so that its row does not say since when it was let go."""
    first, second, owner = held
    ActionRequest.objects.filter(pk=first.pk).update(person_present=True)
    timeline.now += M
    rule(
        ref=second.ref, actor=owner, order=[first.ref], refuse=[second.ref],
        digest=second.digest, note="The first.", now=timeline.now,
    )  # fmt: skip
    books.somebody_else_writes("line/9", value="changed")

    run_all(worker.hands)

    assert (now_(first).state, now_(first).end_reason) == ("expired", "basis_changed")
    assert books.sends == []


def test_what_changed_while_nobody_held_it_is_no_matter(company, timeline, worker, books):
    request = ask_for_payment(company)
    run_all(worker.hands)
    answer(request, company.finance_manager, now=timeline.now)
    books.somebody_else_writes("line/9", value="changed")

    run_all(worker.hands)

    assert now_(request).state == "completed"


def test_an_approved_party_whose_record_was_never_read_ends(held, timeline, worker):
    ActionRequest.objects.filter(pk=held[0].pk).update(basis_digest="")

    request = let_go(held, timeline)

    assert (now_(request).state, now_(request).end_reason) == ("expired", "basis_changed")
