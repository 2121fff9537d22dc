"""What one owner's agents ask for one counterparty within 24 h is routed by its sum."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from itertools import count

import pytest

from approvals.models import ActionRequest, Ask, CounterpartySum
from approvals.services.close import withdraw
from approvals.services.submit import submit
from governance.errors import DuplicateEffect, NoRoute, NotYours
from governance.models import AuditEvent, Role
from governance.tables import policy
from tests.approvals.asking import (
    answer,
    ask_for_payment,
    body,
    credential_of,
    have_sums_taken,
    make_the_first_no_final,
)
from tests.factories import (
    MONDAY_9AM,
    AgentCredentialFactory,
    AgentFactory,
    MatrixRowFactory,
    PersonFactory,
)

pytestmark = pytest.mark.django_db

DAY = timedelta(hours=24)
TICK = timedelta(microseconds=1)
S = ActionRequest.State


@pytest.fixture
def summed(company):
    have_sums_taken(company)
    return company


NUMBERS = count(1)


def ask(company, amount, *, now=MONDAY_9AM, vendor=None, credential=None, **over):
    n = next(NUMBERS)
    sent = body(company, amount=amount, invoice=over.pop("invoice", f"INV-{n}"), **over)
    if vendor is not None:
        sent = {**sent, "payload": {**sent["payload"], "vendor": vendor}}
    return submit(
        credential=credential or credential_of(company),
        policy=company.policy.pk,
        idempotency_key=f"key-{n}",
        body=sent,
        now=now,
    ).request


def asked_of(request):
    asks = Ask.objects.filter(step__request=request, due_at__isnull=False)
    return [ask.person.username for ask in asks.select_related("person")]


def test_the_first_one_is_routed_by_its_own_amount(summed):
    request = ask(summed, "12000.00")

    assert request.routed_amount == request.amount == Decimal("12000.00")
    assert not AuditEvent.objects.filter(kind="request.summed").exists()


def test_two_halves_below_a_limit_are_asked_of_whoever_may_decide_on_the_whole(summed):
    first, second = ask(summed, "12500.01"), ask(summed, "12500.00")

    assert second.routed_amount == Decimal("25000.01")
    assert asked_of(first) == ["finance_manager"]
    # Nobody first named may decide on $25,000.01; L2's delegate neither: their managers may.
    assert asked_of(second) == ["controller"]
    (event,) = AuditEvent.objects.filter(kind="request.summed")
    assert event.facts == {
        "routed_amount": "25000.01",
        "currency": "USD",
        "others": 1,
    }


def test_exactly_at_the_limit_the_first_approver_still_decides(summed):
    ask(summed, "12500.00")

    assert asked_of(ask(summed, "12500.00")) == ["finance_manager"]


def test_the_sum_chooses_the_row_of_the_matrix(summed):
    summed.row.amount_to = Decimal(20_000)
    summed.row.save()
    MatrixRowFactory(
        version=summed.policy, number=15, department=summed.accounts_payable,
        action="vendor_payment", amount_from=Decimal(20_000), amount_to=Decimal(90_000),
        approver_role=Role.objects.get(key="controller"), quorum=1,
    )  # fmt: skip
    policy.cache_clear()
    ask(summed, "10000.00")

    just_below, at_the_edge = ask(summed, "9999.99"), ask(summed, "0.01")

    assert (just_below.matrix_row.number, asked_of(just_below)) == (14, ["finance_manager"])
    assert (at_the_edge.matrix_row.number, asked_of(at_the_edge)) == (15, ["controller"])


def test_who_could_decide_on_the_part_may_not_decide_on_the_sum(summed):
    ask(summed, "24000.00")
    request = ask(summed, "24000.00")

    with pytest.raises(NotYours):
        answer(request, summed.finance_manager, now=MONDAY_9AM)


def test_a_sum_that_no_row_covers_is_refused_and_says_that_it_is_a_sum(summed):
    ask(summed, "60000.00")

    with pytest.raises(NoRoute, match=r"With 1\sother request to this counterparty within 24 h"):
        ask(summed, "40000.00")

    assert ActionRequest.objects.count() == 1


@pytest.mark.parametrize(
    ("later", "counts"), [(DAY - TICK, True), (DAY, False), (DAY + TICK, False)]
)
def test_the_day_ends_at_the_very_instant_24_hours_after(summed, later, counts):
    ask(summed, "24000.00")

    request = ask(summed, "24000.00", now=MONDAY_9AM + later)

    assert request.routed_amount == Decimal(48_000 if counts else 24_000)


@pytest.mark.parametrize(
    "spelling",
    [
        "NORTHFIELD packaging supply",
        "  Northfield\tPackaging   Supply ",
        "\uff2eorthfield Packaging Supply",
        "North\u200bfield Packaging\u00ad Supply",
        "Northfield Packaging Supply\ufe0f",
        "Northfield\u00a0Packaging Supply",
        "North\x01field Packaging Supply",
    ],
)
def test_spelling_makes_no_other_counterparty(summed, spelling):
    ask(summed, "24000.00")

    assert ask(summed, "24000.00", vendor=spelling).routed_amount == Decimal(48_000)
    assert CounterpartySum.objects.count() == 1


def test_another_vendor_another_currency_and_another_owner_are_other_sums(summed):
    stranger = AgentFactory(name="other-agent", owner=PersonFactory())
    theirs = AgentCredentialFactory(agent=stranger)
    MatrixRowFactory(
        version=summed.policy, number=15, department=summed.accounts_payable,
        action="vendor_payment", currency="EUR", amount_from=Decimal(0), amount_to=None,
        approver_role=Role.objects.get(key="finance_manager"),
    )  # fmt: skip
    policy.cache_clear()
    ask(summed, "24000.00")

    others = [
        ask(summed, "24000.00", vendor="Southfield"),
        ask(summed, "24000.00", currency="EUR"),
        ask(summed, "24000.00", credential=theirs),
    ]

    assert {each.routed_amount for each in others} == {Decimal(24_000)}


def test_two_agents_of_one_owner_are_summed(summed):
    sister = AgentFactory(name="sister-agent", owner=summed.agent_owner)

    ask(summed, "24000.00")
    request = ask(summed, "24000.00", credential=AgentCredentialFactory(agent=sister))

    assert request.routed_amount == Decimal(48_000)


@pytest.mark.parametrize("state", [S.REJECTED, S.DENIED, S.EXPIRED, S.WITHDRAWN, S.ROLLED_BACK])
def test_what_came_to_nothing_does_not_count(summed, state):
    first = ask(summed, "24000.00")
    ActionRequest.objects.filter(pk=first.pk).update(state=state, due_at=None, ended_at=MONDAY_9AM)

    assert ask(summed, "24000.00").routed_amount == Decimal(24_000)


@pytest.mark.parametrize(
    "state", [S.APPROVED, S.EXECUTING, S.COMPLETED, S.COMPLETED_MANUALLY, S.STRANDED, S.BLOCKED]
)
def test_what_is_live_or_done_counts(summed, state):
    first = ask(summed, "24000.00")
    over = state in (S.COMPLETED, S.COMPLETED_MANUALLY, S.STRANDED)
    ActionRequest.objects.filter(pk=first.pk).update(
        state=state,
        due_at=None if over else MONDAY_9AM,
        ended_at=MONDAY_9AM if over else None,
        resource=None,
        blocked_from=S.PENDING if state == S.BLOCKED else "",
    )

    assert ask(summed, "24000.00").routed_amount == Decimal(48_000)


def test_a_rejected_and_a_withdrawn_request_leave_the_sum(summed):
    make_the_first_no_final(summed)
    answer(ask(summed, "24000.00"), summed.finance_manager, "reject", now=MONDAY_9AM)
    gone = ask(summed, "24000.00")
    withdraw(ref=gone.ref, agent=summed.agent, now=MONDAY_9AM)

    assert ask(summed, "24000.00").routed_amount == Decimal(24_000)


def test_the_same_effect_asked_for_again_is_a_duplicate_whatever_the_sum(summed):
    ask(summed, "60000.00", invoice="INV-X")

    with pytest.raises(DuplicateEffect):
        ask(summed, "60000.00", invoice="INV-X")


def test_what_has_no_counterparty_is_never_summed(company):
    ask(company, "24000.00")

    assert ask(company, "24000.00").routed_amount == Decimal(24_000)
    assert not CounterpartySum.objects.exists()


class TestOnThePage:
    def page(self, client, person, request):
        client.force_login(person)
        return client.get(f"/requests/{request.ref}/").content.decode()

    def test_it_says_by_which_sum_it_was_routed_and_links_what_the_reader_may_see(
        self, summed, client, timeline
    ):
        first = ask(summed, "13000.00")
        second = ask(summed, "13000.00")

        page = self.page(client, summed.agent_owner, second)

        assert "It was routed by $26,000.00, the sum of 2 requests to" in page
        assert "<bdi>Northfield Packaging Supply</bdi> in 24&nbsp;h." in page
        assert f'The other: <a class="rc-nowrap" href="/requests/{first.ref}/">' in page

    def test_what_the_reader_may_not_see_is_counted_and_not_named(self, summed, client, timeline):
        summed.controller.roles.clear()  # a controller sees all of the department
        first = ask(summed, "13000.00")
        second = ask(summed, "13000.00")

        page = self.page(client, summed.controller, second)

        assert "the sum of 2 requests to" in page
        assert "You may not see the other." in page
        assert first.ref not in page

    def test_what_was_withdrawn_afterwards_was_in_the_sum_all_the_same(
        self, summed, client, timeline
    ):
        first = ask(summed, "13000.00")
        second = ask(summed, "13000.00")
        withdraw(ref=first.ref, agent=summed.agent, now=MONDAY_9AM + timedelta(minutes=1))

        assert "the sum of 2 requests to" in self.page(client, summed.agent_owner, second)

    def test_an_agent_that_has_another_owner_since_leaves_no_wrong_number(
        self, summed, client, timeline
    ):
        sister = AgentFactory(name="sister-agent", owner=summed.agent_owner)
        ask(summed, "13000.00", credential=AgentCredentialFactory(agent=sister))
        second = ask(summed, "13000.00")
        sister.owner = PersonFactory()
        sister.save()

        page = self.page(client, summed.agent_owner, second)

        assert "It was routed by $26,000.00, the sum of the requests to" in page

    def test_one_that_stands_for_itself_says_nothing_of_sums(self, summed, client, timeline):
        assert "It was routed by" not in self.page(
            client, summed.agent_owner, ask(summed, "13000.00")
        )


def test_a_hostile_name_is_shown_as_text(summed, client, timeline):
    evil = "<script>alert(1)</script>\u202e"
    ask(summed, "13000.00", vendor=evil)
    request = ask(summed, "13000.00", vendor=evil)
    client.force_login(summed.agent_owner)

    page = client.get(f"/requests/{request.ref}/").content.decode()

    assert "<script>alert" not in page
    assert "\u202e" not in page


def test_payments_of_most_tests_stand_for_themselves(company):
    assert ask_for_payment(company).routed_amount == Decimal(12_000)
