"""What cannot be undone: somebody is there to approve it, it begins at once, and nothing tries it again by itself."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.db import transaction

from approvals.locks import lock_request
from approvals.models import ActionRequest, Case, Step
from approvals.services import conflicts, failures
from approvals.services.gather import climbs
from approvals.services.several import why_alone
from approvals.services.writes import Writes
from governance.models import ActionType
from governance.stepup import Presence, StepUpNeeded
from tests.approvals.asking import answer, ask_for_payment
from tests.factories import MONDAY_9AM
from tests.factors import give_factor

pytestmark = pytest.mark.django_db

M, TICK = timedelta(minutes=1), timedelta(microseconds=1)
S = ActionRequest.State


@pytest.fixture
def request_(company, timeline):
    """Of an action type without a reversal."""
    company.vendor_payment.reversal = "none"
    company.vendor_payment.save()
    return ask_for_payment(company)


def approved(request, person, *, now=MONDAY_9AM):
    return answer(request, person, now=now, presence=Presence(person.pk, request.ref, now))


def fail(request, *, now, has_effects=False):
    """Have it fail as a run does that can be tried again."""
    with transaction.atomic():
        request = lock_request(request.ref, and_resource=True)
        writes = Writes()
        (climb,) = climbs([request], writes, now=now)
        climb.request.has_effects = climb.request.had_effects = has_effects
        failures.fail(climb, "The target is down.", facts={}, retry_at=now + M)
        climb.settle()
        conflicts.save(writes, now=now)


def now_of(request):
    return ActionRequest.objects.get(pk=request.pk)


def test_an_action_type_without_a_reversal_takes_a_person(request_):
    assert request_.person_present


def test_one_with_a_reversal_takes_none(company):
    assert not ask_for_payment(company).person_present


def test_it_is_approved_by_somebody_who_is_there_and_by_nobody_else(request_, company):
    give_factor(company.finance_manager)
    with pytest.raises(StepUpNeeded):
        answer(request_, company.finance_manager, now=MONDAY_9AM)

    approved(request_, company.finance_manager)

    assert now_of(request_).state == S.APPROVED


def test_it_begins_within_fifteen_minutes_or_has_lapsed(request_, company, timeline):
    approved(request_, company.finance_manager)
    assert now_of(request_).due_at == MONDAY_9AM + 15 * M

    timeline.advance(minutes=14, seconds=59)
    assert now_of(request_).state == S.APPROVED
    timeline.advance(seconds=1)

    request = now_of(request_)
    assert (request.state, request.end_reason) == (S.EXPIRED, "lapsed")


def test_a_failure_is_not_tried_again_by_itself(request_, company):
    approved(request_, company.finance_manager)

    fail(request_, now=MONDAY_9AM + M)

    request = now_of(request_)
    assert request.next_attempt_at is None
    assert not Step.objects.filter(path="system_failure", level=1).exists()
    assert Case.objects.get(exception="system_failure").highest_level >= 2


def test_control_what_can_be_undone_is_tried_again(company, timeline):
    request = ask_for_payment(company)
    answer(request, company.finance_manager, now=MONDAY_9AM)

    fail(request, now=MONDAY_9AM + M)

    assert now_of(request).next_attempt_at == MONDAY_9AM + 2 * M
    assert Step.objects.get(path="system_failure").level == 1


# --- An undo that was not rehearsed lately ---


@pytest.mark.parametrize(
    ("drill_due_at", "present"),
    [(None, True), (MONDAY_9AM, True), (MONDAY_9AM + TICK, False)],
    ids=["never", "up to this instant", "an instant longer"],
)
def test_what_was_not_rehearsed_lately_takes_a_person(company, drill_due_at, present):
    ActionType.objects.update(drill_due_at=drill_due_at)

    assert ask_for_payment(company).person_present is present


def test_a_drill_counts_from_the_next_submission_on(company):
    """Although the version of the action type is remembered."""
    before = ask_for_payment(company)
    ActionType.objects.update(drill_due_at=MONDAY_9AM)

    after = ask_for_payment(company, key="key-2", invoice="INV-2")

    assert (before.person_present, after.person_present) == (False, True)


def test_what_moves_no_money_waits_for_no_drill(company):
    ActionType.objects.update(drill_due_at=None, is_financial=False)

    assert not ask_for_payment(company).person_present


def test_its_page_and_the_bulk_lane_say_why_it_takes_a_person(company, client):
    ActionType.objects.update(drill_due_at=None)
    request = ask_for_payment(company)

    client.force_login(company.finance_manager)
    page = client.get(f"/requests/{request.ref}/").content.decode()

    assert "its undo had not been rehearsed within 90 days" in page
    assert why_alone(request) == "Its undo was not rehearsed lately, so it takes a person present."
