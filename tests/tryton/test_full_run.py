"""Through Recourse whole: asked for, approved, done in the ERP, and taken back in it. Its books say so."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal

import pytest

from approvals.models import ActionRequest, Step
from approvals.services.decide import decide
from approvals.services.orders import order_rollback
from approvals.services.submit import submit
from governance import demo
from governance.models import AgentCredential, Person, PolicyVersion
from rollback.audits import OUTSIDE
from rollback.models import Direction, Recovery, Unit
from rollback.runner import run_all
from rollback.services.hands import Hands
from tests.factories import MONDAY_9AM
from tests.tryton.carrying import ENTRIES

pytestmark = [pytest.mark.tryton, pytest.mark.django_db]
S = ActionRequest.State
U = Unit.State


@pytest.fixture
def on_tryton(erp, target, timeline, settings, tmp_path):
    """The demo's organisation, its actions in an ERP that nobody has touched."""
    settings.VAR = tmp_path
    demo.seed(speed=None, now=MONDAY_9AM, real_now=MONDAY_9AM)
    return erp


@pytest.fixture
def hands(timeline):
    return Hands(
        worker="one",
        now=lambda: timeline.now,
        technical=lambda seconds: timedelta(seconds=seconds),
        chance=lambda: 0.5,
    )


@pytest.fixture
def approved(on_tryton, timeline):
    def approve(key):
        request, _ = submit(
            credential=AgentCredential.objects.select_related("agent").get(),
            policy=PolicyVersion.objects.get().pk,
            idempotency_key=key,
            body=ENTRIES[key]["example"],
            now=timeline.now,
        )
        for ask in Step.objects.get(request=request).asks.filter(due_at__isnull=False):
            decide(
                ref=request.ref, actor=ask.person, verdict="approve", digest=request.digest,
                now=timeline.now,
            )  # fmt: skip
        return now_(request)

    return approve


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


def test_twelve_thousand_dollars_are_paid_and_the_credit_note_is_posted(
    approved, hands, books, timeline
):
    owed, held = books.payables(), books.balance("bank")
    request = approved("vendor_payment")

    run_all(hands)

    assert now_(request).state == S.COMPLETED
    assert books.payables() == owed - 12000
    assert books.balance("bank") == held - 12000
    undo(request, timeline)
    run_all(hands)

    assert now_(request).state == S.ROLLED_BACK
    assert Recovery.objects.get().state == Recovery.State.SUCCEEDED
    (note,) = books.credit_notes("Northwind Paper")
    assert (note["state"], note["total_amount"]) == ("posted", Decimal("-12000.00"))
    assert books.payables() == owed - 24000  # the vendor owes it back
    assert books.balance("bank") == held - 12000  # and the money comes with the next settlement
    assert list(OUTSIDE["effects_without_a_checkpoint"](timeline.now + timedelta(days=1))) == []


@pytest.mark.parametrize(
    ("key", "units"), [("sales_order", 5), ("customer_update", 4), ("supplier_invoice", 2)]
)
def test_what_has_several_units_is_done_and_taken_back_whole(
    approved, hands, target, timeline, key, units
):
    request = approved(key)

    run_all(hands)

    assert now_(request).state == S.COMPLETED
    done = Unit.objects.filter(request=request, direction=Direction.FORWARD, state=U.DONE)
    assert done.count() == units
    records = {row.record: row for row in request.snapshots.all()}
    assert all(row.after is not None for row in records.values())
    undo(request, timeline)
    run_all(hands)

    assert now_(request).state == S.ROLLED_BACK
    connector = hands.connector_for(request.action_type)
    for record, row in records.items():
        now = connector.read(record)
        assert (now.state if now else None) == row.before, record
    look = OUTSIDE["effects_unaccounted_for"]
    assert list(look(timeline.now)) == []
    keys = set(Unit.objects.filter(sent_at__isnull=False).values_list("key", flat=True))
    assert len(keys) == 2 * units
    Unit.objects.filter(direction=Direction.UNDO).delete()
    Unit.objects.all().delete()  # as if restored from a backup of before
    assert {found.text.split()[2] for found in look(timeline.now)} == keys


def test_an_answer_lost_after_the_commit_is_found_by_our_key(
    approved, hands, between, books, timeline
):
    owed = books.payables()
    request = approved("vendor_payment")
    between.begin(lose_answer="wizard.account.invoice.pay.execute")

    run_all(hands)

    assert Unit.objects.get(direction=Direction.FORWARD).state == U.UNKNOWN
    assert books.payables() == owed - 12000
    timeline.now = now_(request).next_attempt_at
    run_all(hands)
    unit = Unit.objects.get(direction=Direction.FORWARD)
    assert (unit.state, unit.probed, unit.attempts) == (U.DONE, True, 1)
    assert now_(request).state == S.COMPLETED
    assert books.payables() == owed - 12000
