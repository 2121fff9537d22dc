"""The five actions of the demo on its own target, over HTTP: done once, and taken back."""

from __future__ import annotations

from datetime import timedelta
from functools import partial

import pytest

from approvals.models import ActionRequest, Step
from approvals.services.close import withdraw
from approvals.services.decide import decide
from approvals.services.orders import order_rollback
from approvals.services.submit import submit
from governance import demo
from governance.catalogue import CATALOGUE
from governance.models import ActionType, AgentCredential, Person, PolicyVersion
from governance.vocabulary import Level, Path
from rollback.audits import OUTSIDE
from rollback.models import Direction, Recovery, Unit
from rollback.runner import run_all
from rollback.services.hands import Hands
from tests.factories import MONDAY_9AM

pytestmark = pytest.mark.django_db

S = ActionRequest.State
U = Unit.State
EXAMPLES = {entry["key"]: entry["example"] for entry in CATALOGUE}
A_LINE = EXAMPLES["sales_order"]["payload"]["lines"][0]


@pytest.fixture
def seeded(timeline, settings, tmp_path):
    settings.VAR = tmp_path
    demo.seed(speed=None, now=MONDAY_9AM, real_now=MONDAY_9AM)


@pytest.fixture
def hands(timeline):
    return Hands(
        worker="one",
        now=lambda: timeline.now,
        technical=lambda seconds: timedelta(seconds=seconds),
        chance=lambda: 0.5,
    )


@pytest.fixture
def approve(seeded, timeline):
    return partial(approved, timeline)


@pytest.fixture(autouse=True)
def books_balance(target, timeline):
    """And our own audit of effects, long enough after that it asks about what was not done too, finds nothing."""
    yield
    assert target.books()["balanced"]
    assert list(OUTSIDE["effects_without_a_checkpoint"](timeline.now + timedelta(days=1))) == []


def approved(timeline, key, **payload):
    """Ask for an action as its example does, and have everybody asked approve it."""
    return say_yes(asked_for(timeline, key, **payload), timeline)


def asked_for(timeline, key, **payload):
    example = EXAMPLES[key]
    body = {**example, "payload": {**example["payload"], **payload}}
    request, _ = submit(
        credential=AgentCredential.objects.select_related("agent").get(),
        policy=PolicyVersion.objects.get().pk,
        idempotency_key=f"{key}-{ActionRequest.objects.count()}",
        body=body,
        now=timeline.now,
    )
    return request


def say_yes(request, timeline):
    for ask in Step.objects.get(request=request).asks.filter(due_at__isnull=False):
        decide(
            ref=request.ref, actor=ask.person, verdict="approve", digest=request.digest,
            now=timeline.now,
        )  # fmt: skip
    return now_(request)


def now_(request):
    return ActionRequest.objects.get(pk=request.pk)


def undo(request, timeline):
    timeline.now += timedelta(minutes=5)
    for username in ("operator", "head_of_compliance"):
        order_rollback(
            ref=request.ref,
            actor=Person.objects.get(username=username),
            reason="Found to be wrong",
            now=timeline.now,
        )
        if not request.action_type.is_financial:
            break
    timeline.sweep()


def retry(request, hands, timeline):
    timeline.now = now_(request).next_attempt_at
    run_all(hands)


@pytest.mark.parametrize("key", EXAMPLES)
def test_each_action_is_done_and_taken_back(key, approve, hands, target, timeline):
    before = target.books()
    request = approve(key)
    assert request.state == S.APPROVED

    run_all(hands)

    assert now_(request).state == S.COMPLETED
    count = {"sales_order": 5, "customer_update": 4}.get(key, 1)
    assert Unit.objects.filter(direction=Direction.FORWARD, state=U.DONE).count() == count
    records = {row.record: row for row in request.snapshots.all()}
    assert len(records) == len(request.action_type.snapshot_plan)
    assert all(row.after is not None for row in records.values())

    undo(request, timeline)
    run_all(hands)

    assert now_(request).state == S.ROLLED_BACK
    assert target.books()["payables"] == before["payables"]
    assert Recovery.objects.get().state == Recovery.State.SUCCEEDED


def test_a_sales_order_goes_on_at_line_4_of_5(approve, hands, target, timeline):
    target.put_faults(
        {"kind": "unavailable", "count": 1, "path": "/sales-orders", "method": "POST", "skip": 3}
    )
    request = approve("sales_order")
    run_all(hands)
    assert now_(request).state == S.TROUBLED
    assert len(target.get("sales-orders/SO-4711")["lines"]) == 3

    retry(request, hands, timeline)

    assert now_(request).state == S.COMPLETED
    assert len(target.get("sales-orders/SO-4711")["lines"]) == 5
    units = Unit.objects.filter(direction=Direction.FORWARD).order_by("position")
    assert [unit.attempts for unit in units] == [1, 1, 1, 2, 1]


def test_an_answer_lost_after_the_commit_is_found_by_key(approve, hands, target, timeline):
    target.put_faults({"kind": "reset_after_commit", "count": 1, "only": "writes"})
    request = approve("vendor_payment")
    run_all(hands)
    assert Unit.objects.get(direction=Direction.FORWARD).state == U.UNKNOWN
    assert len(target.operations()) == 1

    retry(request, hands, timeline)

    unit = Unit.objects.get(direction=Direction.FORWARD)
    assert (unit.state, unit.probed, unit.attempts) == (U.DONE, True, 1)
    assert now_(request).state == S.COMPLETED


def test_a_payment_is_not_taken_back_because_a_question_was_refused(
    approve, hands, target, timeline
):
    """Its answer was lost, and the look for it met a proxy that knows no such address."""
    target.put_faults({"kind": "reset_after_commit", "count": 1, "only": "writes"})
    request = approve("vendor_payment")
    run_all(hands)
    lookup = {**request.action_type.connector_config["lookup"], "path": ["nowhere"]}
    config = {**request.action_type.connector_config, "lookup": lookup}
    whole = request.action_type.connector_config
    ActionType.objects.filter(pk=request.action_type_id).update(connector_config=config)
    retry(request, hands, timeline)
    assert now_(request).state == S.TROUBLED

    ActionType.objects.filter(pk=request.action_type_id).update(connector_config=whole)
    retry(request, hands, timeline)

    assert now_(request).state == S.COMPLETED
    assert len(target.operations()) == 1


def test_retry_after_of_the_target_is_honoured(approve, hands, target, timeline):
    target.put_faults({"kind": "rate_limited", "count": 1, "retry_after": 45, "only": "writes"})
    request = approve("vendor_payment")

    run_all(hands)

    assert now_(request).next_attempt_at == timeline.now + timedelta(seconds=45)
    retry(request, hands, timeline)
    assert now_(request).state == S.COMPLETED


def test_a_bill_that_was_paid_by_somebody_else_is_not_paid_again(approve, hands, target):
    first = approve("vendor_payment")
    run_all(hands)
    assert now_(first).state == S.COMPLETED
    second = approve("vendor_payment", instalment="2")

    run_all(hands)

    assert now_(second).state == S.TROUBLED
    assert now_(second).steps.get(state="waiting").level == Level.L2, "trying again is no use"
    assert len(target.operations()) == 1


def test_a_customer_changed_by_somebody_else_in_one_of_four_records_is_asked_about(
    approve, hands, target, timeline
):
    before = target.get("customers/C-1042/terms")
    request = approve("customer_update")
    run_all(hands)
    target.put("customers/C-1042/contact", {"email": "theirs@customer.example"})

    undo(request, timeline)
    run_all(hands)

    assert now_(request).state == S.ROLLING_BACK
    assert Step.objects.get(request=request, path=Path.UNDO).state == Step.State.WAITING
    assert target.get("customers/C-1042/contact")["email"] == "theirs@customer.example"
    assert target.get("customers/C-1042/terms")["payment_terms"] == before["payment_terms"]
    assert {each["record"] for each in Recovery.objects.get().drift} == {
        "demo:customer:C-1042/contact"
    }


def test_a_target_that_is_down_is_asked_again_and_nothing_is_done_meanwhile(
    approve, hands, target, timeline
):
    target.put_faults({"kind": "unavailable"})
    request = approve("vendor_payment")
    run_all(hands)
    assert now_(request).state == S.TROUBLED
    assert now_(request).has_effects is False, "not even the snapshot could be read"

    target.put_faults()
    retry(request, hands, timeline)

    assert now_(request).state == S.COMPLETED


@pytest.mark.parametrize(
    ("key", "rival"),
    [
        ("vendor_payment", {"instalment": "2/2"}),
        ("purchase_order", {"amount": {"value": "1.00", "currency": "USD"}}),
        ("sales_order", {"lines": [A_LINE], "amount": A_LINE["amount"]}),
        ("customer_update", {"change_ref": "CHG-RIVAL"}),
        ("revenue_recognition", {"period": "2031-Q1"}),
    ],
)
def test_what_was_approved_before_a_rival_came_and_withdrew_is_done(
    seeded, hands, target, timeline, key, rival
):
    request = asked_for(timeline, key)
    run_all(hands)  # which reads its record
    say_yes(request, timeline)
    timeline.now += timedelta(minutes=1)
    other = asked_for(timeline, key, **rival)
    assert (now_(request).state, now_(other).state) == (S.HELD, S.HELD)
    timeline.now += timedelta(minutes=1)

    withdraw(ref=other.ref, agent=other.agent, now=timeline.now)

    assert now_(request).state == S.APPROVED
    run_all(hands)
    assert now_(request).state == S.COMPLETED
