"""A request in a hurry: its windows are cut, and nothing else of it changes."""

from __future__ import annotations

from datetime import timedelta

import pytest

from approvals.models import ActionRequest, Notice, Step
from approvals.services.submit import NotAllowed
from governance.errors import Unprocessable
from governance.models import AgentCredential, AuditEvent, ContactChannel
from tests.approvals.asking import answer, ask_for_payment, name_the_head, name_the_owner
from tests.factories import MONDAY_9AM, AgentCredentialFactory, ContactChannelFactory

pytestmark = pytest.mark.django_db

H, M, TICK = timedelta(hours=1), timedelta(minutes=1), timedelta(microseconds=1)
S = ActionRequest.State


@pytest.fixture
def urgent(company):
    AgentCredentialFactory(agent=company.agent, scopes=["submit", "read", "withdraw", "urgent"])
    company.vendor_payment.sla = 4 * H
    company.vendor_payment.save()
    return company


def ask(company, by, **over):
    return ask_for_payment(company, needed_by=by.isoformat(), **over)


def rungs(request):
    """(level, window, opened after) of each step that asked somebody."""
    steps = request.steps.exclude(state="passed_over").order_by("pk")
    return [(each.level, each.window, each.opened_at - MONDAY_9AM) for each in steps]


def test_the_scope_is_needed(company):
    with pytest.raises(NotAllowed, match="lacks the scope urgent"):
        ask(company, MONDAY_9AM + H)


@pytest.mark.parametrize(
    ("ahead", "taken"),
    [
        (timedelta(0), False),
        (TICK, True),
        (timedelta(days=7), True),
        (timedelta(days=7) + TICK, False),
    ],
)
def test_it_lies_ahead_and_not_too_far(urgent, ahead, taken):
    if taken:
        assert ask(urgent, MONDAY_9AM + ahead).needed_by == MONDAY_9AM + ahead
        return
    with pytest.raises(Unprocessable, match="needed_by"):
        ask(urgent, MONDAY_9AM + ahead)


def test_with_time_enough_nothing_is_cut(urgent):
    # Low severity and medium impact: the first ask, 4 h, then 30 min, 2 h and 4 h.
    request = ask(urgent, MONDAY_9AM + 10 * H + 30 * M)

    assert rungs(request) == [(0, 4 * H, timedelta(0))]


def test_a_moment_less_and_all_are_cut_in_proportion(urgent, timeline):
    request = ask(urgent, MONDAY_9AM + (10 * H + 30 * M) / 2)

    timeline.advance(hours=6)

    assert rungs(request) == [
        (0, 2 * H, timedelta(0)),
        (1, 15 * M, 2 * H),
        (2, 1 * H, 2 * H + 15 * M),
        (3, 2 * H, 3 * H + 15 * M),
    ]
    last = request.steps.get(level=3)
    assert last.opened_at < request.needed_by


def test_it_ends_by_silence_as_ever_and_is_never_approved(urgent, timeline):
    request = ask(urgent, MONDAY_9AM + 2 * H)

    timeline.advance(hours=2)

    request = ActionRequest.objects.get(pk=request.pk)
    assert (request.state, request.end_reason) == (S.EXPIRED, "silence")
    assert not request.decisions.exists()


def test_no_window_is_cut_below_ten_minutes(urgent, timeline):
    request = ask(urgent, MONDAY_9AM + 5 * M)

    timeline.advance(hours=1)

    first, second, *_ = (window for _, window, _ in rungs(request))
    assert first == 10 * M
    # Once it has passed there is nothing to win: whoever is asked has their time.
    assert second == 30 * M


def test_the_short_windows_keep_ten_minutes_and_the_long_ones_give_it(urgent, timeline):
    request = ask(urgent, MONDAY_9AM + 1 * H)

    timeline.advance(hours=1)

    found = rungs(request)
    assert min(window for _, window, _ in found) == 10 * M
    assert request.steps.get(level=3).opened_at < request.needed_by


def test_the_windows_that_tree_extends_are_cut_with_their_length(urgent, timeline):
    request = ask(urgent, MONDAY_9AM + 5 * H + 30 * M, impact="low")
    assert request.impact == "medium"  # an agent never lowers it

    urgent.vendor_payment.impact = "low"
    urgent.vendor_payment.save()
    from approvals.services import submission

    submission.action_type.cache_clear()
    request = ask(urgent, MONDAY_9AM + 5 * H + 30 * M, key="k2", invoice="INV-2", impact="low")
    timeline.advance(hours=3)

    # 4 h, L1 twice its 30 min, 2 h, 4 h: eleven hours into five and a half.
    assert rungs(request)[:2] == [(0, 2 * H, timedelta(0)), (1, 30 * M, 2 * H)]


def test_a_rung_after_an_outage_is_cut_by_the_time_that_is_left(urgent, timeline):
    from approvals.sweeps import climb_due_steps

    request = ask(urgent, MONDAY_9AM + (10 * H + 30 * M) / 2)

    climb_due_steps(now=MONDAY_9AM + 3 * H)  # an hour late

    step = request.steps.get(state="waiting")
    left = request.needed_by - (MONDAY_9AM + 3 * H)
    assert (step.began, step.opened_at) == (Step.Began.LATE, MONDAY_9AM + 3 * H)
    assert step.window == left * (30 * M / (6 * H + 30 * M)) or step.window == 10 * M


def test_the_path_of_a_no_is_cut_from_where_it_begins(urgent, timeline):
    name_the_head(urgent)
    request = ask(urgent, MONDAY_9AM + 4 * H)

    answer(request, urgent.finance_manager, "reject", now=MONDAY_9AM + 1 * H)

    step = request.steps.get(state="waiting")
    assert (step.path, step.level) == ("rejection", 2)
    assert step.window == 1 * H  # of 2 h and 4 h into the three that are left


def test_a_conflict_is_cut_by_the_hurry_of_whoever_carries_it(urgent, timeline):
    name_the_owner(urgent)
    first = ask_for_payment(urgent)

    request = ask(urgent, MONDAY_9AM + 3 * H, key="k2", instalment=2)

    step = request.steps.get(state="waiting")
    assert (step.path, step.window) == ("conflict", 1 * H)
    timeline.advance(hours=3)
    request, first = (ActionRequest.objects.get(pk=each.pk) for each in (request, first))
    assert (request.state, first.state) == (S.EXPIRED, S.PENDING)


def test_each_use_is_in_the_record(urgent):
    request = ask(urgent, MONDAY_9AM + 1 * H)

    event = AuditEvent.objects.get(kind="request.hurried")
    assert event.chain == request.ref
    assert event.facts["credential"] == AgentCredential.objects.get().prefix
    opened = AuditEvent.objects.get(kind="step.opened")
    assert opened.facts["cut_from"] == 4 * 3600


def test_one_in_no_hurry_leaves_no_trace_of_it(company):
    ask_for_payment(company)

    assert not AuditEvent.objects.filter(kind="request.hurried").exists()
    assert "cut_from" not in AuditEvent.objects.get(kind="step.opened").facts


def test_a_pager_for_what_is_urgent_takes_it(urgent):
    pager = ContactChannelFactory(
        person=urgent.finance_manager,
        kind=ContactChannel.Kind.APPRISE,
        address="json://pager.example.com/",
        urgent_only=True,
    )
    ask_for_payment(urgent)
    assert not Notice.objects.filter(channel=pager).exists()

    ask(urgent, MONDAY_9AM + 1 * H, key="k2", invoice="INV-2")

    assert Notice.objects.get(channel=pager).urgent


def test_the_page_counts_down_and_says_where_the_window_comes_from(urgent, client, timeline):
    request = ask(urgent, MONDAY_9AM + (10 * H + 30 * M) / 2)
    client.force_login(urgent.finance_manager)

    page = client.get(f"/requests/{request.ref}/").content.decode().replace("\xa0", " ")

    assert "Needed by the agent" in page
    assert 'data-passed="It was needed by now"' in page
    assert "cut from 4 h because it is needed by 14:15" in page


def test_the_agent_reads_by_when_it_said_it_needs_it(urgent, api, timeline):
    request = ask(urgent, MONDAY_9AM + 1 * H)

    document = api(urgent.agent).get(f"/api/v1/requests/{request.ref}/").json()

    assert document["needed_by"] == "2026-03-02T10:00:00Z"
