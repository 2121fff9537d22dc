"""The constraints of DESIGN 3, "Held by the database", each with an attempt to break it.

The lists of states are written out here on purpose: a test that computes what
it expects from the code it tests finds nothing.
"""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from itertools import product
from pathlib import Path
from uuid import uuid4

import pytest
from django.db import IntegrityError, transaction

from approvals.models import (
    ActionRequest,
    Ask,
    Case,
    Claim,
    ConflictParty,
    Notice,
    Order,
    Review,
    Step,
)
from governance.vocabulary import ExceptionType, Level, Verdict
from governance.vocabulary import Path as Ladder
from tests.constraints import broken, constraints_of, update
from tests.factories import (
    MONDAY_9AM,
    AgentFactory,
    AlertFactory,
    AskFactory,
    CaseFactory,
    ClaimFactory,
    ConflictPartyFactory,
    CounterpartySumFactory,
    DecisionFactory,
    FindingFactory,
    NoticeFactory,
    OrderFactory,
    PersonFactory,
    QuestionFactory,
    RecordReadFactory,
    RequestFactory,
    ResourceFactory,
    ReviewFactory,
    StepFactory,
    ViolationFactory,
    WaiverFactory,
)

pytestmark = pytest.mark.django_db

OPEN = ["pending", "held", "blocked", "approved", "executing", "troubled", "rolling_back"]
ENDED = [
    "completed", "completed_manually", "rejected", "denied", "expired", "withdrawn",
    "rolled_back", "stranded",
]  # fmt: skip
HOLDING = ["approved", "executing", "troubled", "rolling_back", "stranded"]
UNDONE = ["rejected", "denied", "expired", "withdrawn", "rolled_back"]
LATER = MONDAY_9AM + timedelta(hours=1)


def test_every_constraint_of_this_package_is_tried_here():
    tried = Path(__file__).read_text()

    assert [name for name in constraints_of("approvals") if f'"{name}"' not in tried] == []


def test_the_lists_above_are_all_states():
    assert sorted([*OPEN, *ENDED]) == sorted(ActionRequest.State.values)


# --- 1. An open request has `due_at`; an ended one has none -----------------------------------


@pytest.mark.parametrize("state", OPEN)
def test_an_open_request_has_a_clock(state):
    request = RequestFactory(state=state)

    update(request, due_at=LATER)
    with broken("request_open_has_a_clock"):
        update(request, due_at=None)


@pytest.mark.parametrize("state", ENDED)
def test_an_ended_request_has_no_clock(state):
    request = RequestFactory(state=state)

    update(request, due_at=None)
    with broken("request_open_has_a_clock"):
        update(request, due_at=LATER)


@pytest.mark.parametrize("state", OPEN)
def test_an_open_request_has_not_ended(state):
    request = RequestFactory(state=state)

    with broken("request_open_has_a_clock"):
        update(request, ended_at=LATER)


@pytest.mark.parametrize("state", ENDED)
def test_an_ended_request_says_when(state):
    request = RequestFactory(state=state)

    with broken("request_open_has_a_clock"):
        update(request, ended_at=None)


def test_a_request_does_not_end_by_its_state_alone():
    request = RequestFactory()

    with broken("request_open_has_a_clock"):
        update(request, state="expired")


@pytest.mark.parametrize("state", ["", "lost", "PENDING"])
def test_a_request_is_in_no_state_we_do_not_know(state):
    request = RequestFactory()

    with broken("request_known_state", "request_open_has_a_clock"):
        update(request, state=state)


def test_a_waiting_step_has_a_clock():
    step = StepFactory(state="waiting")

    with broken("step_waiting_has_a_clock"):
        update(step, due_at=None)


def test_a_waiting_step_cannot_be_made_without_a_clock():
    with broken("step_waiting_has_a_clock"):
        StepFactory(due_at=None)


def test_a_waiting_step_keeps_no_remaining_time():
    step = StepFactory(state="waiting")

    with broken("step_waiting_has_a_clock"):
        update(step, remaining=timedelta(minutes=1))


def test_a_suspended_step_has_no_clock():
    step = StepFactory(state="suspended")

    with broken("step_waiting_has_a_clock"):
        update(step, due_at=LATER)


def test_a_suspended_step_keeps_the_time_it_had_left():
    step = StepFactory(state="suspended")

    update(step, remaining=timedelta(0))
    with broken("step_waiting_has_a_clock"):
        update(step, remaining=None)


@pytest.mark.parametrize("state", ["answered", "expired", "passed_over", "superseded"])
def test_a_step_that_is_over_has_no_time_left(state):
    step = StepFactory(state=state)

    update(step, due_at=None)
    with broken("step_waiting_has_a_clock"):
        update(step, remaining=timedelta(minutes=1))


@pytest.mark.parametrize("state", ["answered", "expired", "passed_over", "superseded"])
def test_a_suspended_step_does_not_end_with_time_left(state):
    step = StepFactory(state="suspended")

    with broken("step_waiting_has_a_clock"):
        update(step, state=state)


# --- 2. One waiting step a request; no rung twice ---------------------------------------------


def test_only_one_step_of_a_request_waits():
    step = StepFactory()

    with broken("step_one_waiting_a_request"):
        StepFactory(request=step.request, path="timeout", level=1)


def test_a_step_does_not_start_to_wait_beside_another():
    step = StepFactory()
    other = StepFactory(request=step.request, path="timeout", level=1, state="suspended")

    with broken("step_one_waiting_a_request"):
        update(other, state="waiting", due_at=LATER, remaining=None)


@pytest.mark.parametrize("state", ["suspended", "answered", "expired", "passed_over", "superseded"])
def test_any_other_step_may_stand_beside_the_one_that_waits(state):
    step = StepFactory(state=state)

    StepFactory(request=step.request, path="timeout", level=1)

    assert step.request.steps.count() == 2


def test_two_requests_each_have_a_step_that_waits():
    StepFactory()
    StepFactory()

    assert Step.objects.filter(state="waiting").count() == 2


@pytest.mark.parametrize("state", ["suspended", "answered", "expired", "passed_over", "superseded"])
def test_no_rung_is_stood_on_twice(state):
    step = StepFactory(path="timeout", level=2, state=state)

    with broken("step_no_rung_twice"):
        StepFactory(request=step.request, path="timeout", level=2)


def test_the_same_level_of_another_path_is_another_rung():
    step = StepFactory(path="timeout", level=2, state="superseded")

    StepFactory(request=step.request, path="conflict", level=2)

    assert step.request.steps.count() == 2


def test_a_step_is_not_moved_onto_a_rung_that_was_used():
    step = StepFactory(path="timeout", level=1, state="expired")
    other = StepFactory(request=step.request, path="timeout", level=2)

    with broken("step_no_rung_twice"):
        update(other, level=1)


def test_the_path_of_a_step_is_never_null():
    step = StepFactory()

    with pytest.raises(IntegrityError, match="path"), transaction.atomic():
        update(step, path=None)


@pytest.mark.parametrize("path", ["", "escalation"])
def test_a_step_stands_on_a_path_we_know(path):
    step = StepFactory()

    with broken("step_known_path"):
        update(step, path=path)


def test_a_step_stands_on_a_level_we_know():
    step = StepFactory()

    with broken("step_known_level"):
        update(step, level=5)


def test_a_request_takes_every_rung_of_every_path_once():
    request = RequestFactory()

    for path, level in product(Ladder, Level):
        StepFactory(request=request, path=path, level=level, state="expired")

    assert request.steps.count() == len(Ladder) * len(Level)


# --- 3. One request at a time may act on a record ---------------------------------------------


@pytest.mark.parametrize("holds", [True, False])
@pytest.mark.parametrize("state", [*OPEN, *ENDED])
def test_a_request_holds_its_key_while_it_may_act_and_no_longer(state, holds):
    request = RequestFactory(state=state, resource=ResourceFactory())

    if state == "blocked" or holds == (state in HOLDING):
        update(request, holds_key=holds)
    else:
        with broken("request_holds_its_key_while_it_may_act"):
            update(request, holds_key=holds)


@pytest.mark.parametrize("state", [*OPEN, *ENDED])
def test_a_request_without_a_resource_holds_nothing(state):
    request = RequestFactory(state=state, resource=None)

    update(request, holds_key=False)
    with broken("request_holds_its_key_while_it_may_act"):
        update(request, holds_key=True)


@pytest.mark.parametrize("state", HOLDING)
def test_a_request_does_not_lose_its_resource_while_it_holds_it(state):
    request = RequestFactory(state=state, resource=ResourceFactory())

    with broken("request_holds_its_key_while_it_may_act"):
        update(request, resource=None)


@pytest.mark.parametrize("state", HOLDING)
def test_a_request_that_is_held_gives_its_key_up(state):
    request = RequestFactory(state=state, resource=ResourceFactory())

    with broken("request_holds_its_key_while_it_may_act"):
        update(request, state="held", due_at=LATER, ended_at=None)


@pytest.mark.parametrize(("first", "second"), [*product([*HOLDING, "blocked"], repeat=2)])
def test_two_requests_never_hold_the_same_record(first, second):
    resource = ResourceFactory()
    RequestFactory(state=first, resource=resource, holds_key=True)

    with broken("request_one_holder_a_resource"):
        RequestFactory(state=second, resource=resource, holds_key=True)


def test_a_key_is_not_taken_while_another_has_it():
    resource = ResourceFactory()
    RequestFactory(state="stranded", resource=resource)
    waiting = RequestFactory(state="pending", resource=resource)

    with broken("request_one_holder_a_resource"):
        update(waiting, state="approved", holds_key=True)


@pytest.mark.parametrize("state", ["pending", "held", "blocked", "completed", "rolled_back"])
def test_a_request_that_does_not_hold_the_key_leaves_it_to_others(state):
    resource = ResourceFactory()
    RequestFactory(state=state, resource=resource, holds_key=False)

    RequestFactory(state="approved", resource=resource, holds_key=True)

    assert resource.requests.filter(holds_key=True).count() == 1


def test_two_requests_hold_two_records():
    RequestFactory(state="approved", resource=ResourceFactory())
    RequestFactory(state="approved", resource=ResourceFactory())

    assert ActionRequest.objects.filter(holds_key=True).count() == 2


# --- 4. Nothing half done is called undone ----------------------------------------------------


@pytest.mark.parametrize("state", UNDONE)
def test_these_ends_require_that_nothing_is_left_in_the_target(state):
    request = RequestFactory(state=state)

    with broken("request_ended_without_effects"):
        update(request, has_effects=True, had_effects=True)


@pytest.mark.parametrize("state", UNDONE)
def test_a_request_with_effects_does_not_end_so(state):
    request = RequestFactory(state="executing", has_effects=True)

    with broken("request_ended_without_effects"):
        update(request, state=state, due_at=None, ended_at=LATER)


@pytest.mark.parametrize("state", sorted({*OPEN, *ENDED} - {*UNDONE}))
def test_every_other_state_may_have_effects(state):
    request = RequestFactory(state=state)

    update(request, has_effects=True, had_effects=True)


def test_what_had_effects_is_remembered_after_they_are_undone():
    request = RequestFactory(state="rolling_back", has_effects=True)

    with broken("request_effects_are_remembered"):
        update(request, had_effects=False)
    update(request, has_effects=False)


# --- 5. One request a key, one live request an effect -----------------------------------------


@pytest.mark.parametrize("state", [*OPEN, *ENDED])
def test_an_agent_uses_an_idempotency_key_once_whatever_became_of_it(state):
    first = RequestFactory(state=state)

    with broken("request_idempotency_key_once"):
        RequestFactory(agent=first.agent, idempotency_key=first.idempotency_key)


def test_two_agents_may_use_the_same_idempotency_key():
    first = RequestFactory()

    RequestFactory(idempotency_key=first.idempotency_key)

    assert ActionRequest.objects.count() == 2


@pytest.mark.parametrize("state", [*OPEN, "completed", "completed_manually", "stranded"])
def test_an_effect_is_not_asked_for_twice_while_the_first_lives(state):
    first = RequestFactory(state=state)

    with broken("request_one_live_effect"):
        RequestFactory(business_key=first.business_key)


@pytest.mark.parametrize("state", UNDONE)
def test_an_effect_may_be_asked_for_again_after_the_first_came_to_nothing(state):
    first = RequestFactory(state=state)

    again = RequestFactory(business_key=first.business_key)

    assert again.business_key == first.business_key


def test_an_effect_that_came_to_nothing_often_may_be_asked_for_once_more():
    for state in UNDONE:
        RequestFactory(state=state, business_key="V-1/INV-1")
    RequestFactory(business_key="V-1/INV-1")

    with broken("request_one_live_effect"):
        RequestFactory(business_key="V-1/INV-1")


def test_a_request_does_not_come_back_to_life_beside_another():
    first = RequestFactory(state="rejected")
    RequestFactory(business_key=first.business_key)

    with broken("request_one_live_effect"):
        update(first, state="pending", due_at=LATER, ended_at=None)


# --- 6. One run a request: lease, token and deadline come and go together ---------------------

LEASE = {"lease_until": LATER, "run_token": uuid4(), "run_deadline": LATER}


def test_a_lease_is_taken_and_given_back_whole():
    request = RequestFactory(state="executing")

    update(request, **LEASE)
    update(request, **dict.fromkeys(LEASE))


@pytest.mark.parametrize("missing", LEASE)
def test_a_lease_lacks_none_of_its_parts(missing):
    request = RequestFactory(state="executing")

    with broken("request_lease_is_whole"):
        update(request, **{**LEASE, missing: None})


@pytest.mark.parametrize("alone", ["lease_until", "run_token"])
def test_neither_lease_nor_token_stands_alone(alone):
    request = RequestFactory(state="executing")

    with broken("request_lease_is_whole"):
        update(request, **{alone: LEASE[alone]})


def test_the_deadline_of_an_undo_stands_between_two_leases():
    request = RequestFactory(state="rolling_back")

    update(request, run_deadline=LEASE["run_deadline"])


# --- 7. One decision a person a step; no bypass without a review ------------------------------


@pytest.mark.parametrize("verdict", [each for each in Verdict if each != Verdict.BY_HAND])
def test_a_person_decides_a_step_once(verdict):
    decision = DecisionFactory(verdict="approve")

    with broken("decision_once_a_person"):
        DecisionFactory(step=decision.step, person=decision.person, verdict=verdict)


def test_what_was_taken_in_hand_and_given_back_may_be_answered_otherwise():
    taken = DecisionFactory(verdict="by_hand")

    DecisionFactory(step=taken.step, person=taken.person, verdict="by_hand")
    DecisionFactory(step=taken.step, person=taken.person, verdict="retry")
    with broken("decision_once_a_person"):
        DecisionFactory(step=taken.step, person=taken.person, verdict="roll_back")


def test_two_people_may_decide_one_step():
    decision = DecisionFactory()

    DecisionFactory(step=decision.step)

    assert decision.step.decisions.count() == 2


def test_a_person_may_decide_on_two_steps():
    decision = DecisionFactory()
    above = StepFactory(request=decision.request, path="timeout", level=1, state="answered")

    DecisionFactory(step=above, person=decision.person)

    assert decision.request.decisions.count() == 2


def test_nobody_bypasses_without_a_review():
    decision = DecisionFactory()

    with broken("decision_bypass_has_a_review"):
        update(decision, is_bypass=True)
    update(decision, is_bypass=True, review=ReviewFactory(kind="bypass"))


def test_a_bypass_does_not_lose_its_review():
    decision = DecisionFactory(is_bypass=True, review=ReviewFactory(kind="bypass"))

    with broken("decision_bypass_has_a_review"):
        update(decision, review=None)


@pytest.mark.parametrize("verdict", ["", "yes", "Approve"])
def test_a_verdict_is_one_we_know(verdict):
    decision = DecisionFactory()

    with broken("decision_known_verdict"):
        update(decision, verdict=verdict)


# --- The others of the request ----------------------------------------------------------------


@pytest.mark.parametrize(
    ("amount", "currency"), [(None, "USD"), ("0", "USD"), ("-0.01", "USD"), ("12000", "")]
)
def test_an_amount_is_positive_and_has_a_currency(amount, currency):
    request = RequestFactory()

    with broken("request_amount_has_a_currency"):
        update(request, amount=amount and Decimal(amount), currency=currency)


@pytest.mark.parametrize(("amount", "currency"), [(None, ""), ("0.0001", "USD")])
def test_a_request_may_have_no_amount_or_the_smallest(amount, currency):
    request = RequestFactory()

    update(request, amount=amount and Decimal(amount), currency=currency)


def test_a_request_needs_at_least_one_approval():
    request = RequestFactory()

    with broken("request_quorum"):
        update(request, quorum=0)


def test_a_question_has_text():
    with broken("question_has_text"):
        QuestionFactory(text="")


@pytest.mark.parametrize(
    "half", [{"answer": "Yes."}, {"answered_at": MONDAY_9AM}], ids=["no instant", "no answer"]
)
def test_an_answer_has_text_and_an_instant(half):
    with broken("question_answer_is_whole"):
        QuestionFactory(**half)


def test_sums_to_a_counterparty_have_one_row_to_lock():
    row = CounterpartySumFactory()

    with broken("counterparty_sum_once"):
        CounterpartySumFactory(owner=row.owner)
    CounterpartySumFactory(owner=row.owner, currency="EUR")


# --- Steps and asks ---------------------------------------------------------------------------


@pytest.mark.parametrize("state", ["", "open"])
def test_a_step_is_in_no_state_we_do_not_know(state):
    step = StepFactory()

    with broken("step_known_state", "step_waiting_has_a_clock"):
        update(step, state=state)


def test_a_person_is_asked_once_on_a_step():
    ask = AskFactory()

    with broken("ask_once_a_step"):
        AskFactory(step=ask.step, person=ask.person)


def test_an_open_ask_was_asked():
    ask = AskFactory()

    with broken("ask_open_was_asked"):
        update(ask, asked_at=None)


def test_somebody_passed_over_is_no_longer_asked():
    ask = AskFactory()

    with broken("ask_open_was_asked"):
        update(ask, passed_over_at=LATER, passed_over_reason="is away")
    update(ask, passed_over_at=LATER, passed_over_reason="is away", due_at=None)


def test_nobody_is_passed_over_without_a_reason():
    ask = AskFactory(due_at=None)

    with broken("ask_passed_over_has_a_reason"):
        update(ask, passed_over_at=LATER)


def test_nobody_is_pinged_who_is_no_longer_asked():
    ask = AskFactory(next_ping_at=LATER)

    with broken("ask_pings_while_open"):
        update(ask, due_at=None)


def test_somebody_may_be_passed_over_without_ever_being_asked():
    step = StepFactory()

    never = {"asked_at": None, "due_at": None}
    AskFactory(step=step, passed_over_at=LATER, passed_over_reason="is away", **never)

    assert Ask.objects.get(step=step).asked_at is None


# --- Cases, parties, waivers ------------------------------------------------------------------


@pytest.mark.parametrize("state", ["", "closed"])
def test_a_case_is_in_no_state_we_do_not_know(state):
    case = CaseFactory()

    with broken("case_known_state", "case_resolved_has_an_outcome"):
        update(case, state=state)


@pytest.mark.parametrize(
    "values",
    [
        {"state": "resolved"},
        {"state": "resolved", "outcome": "approved"},
        {"state": "resolved", "resolved_at": LATER},
        {"outcome": "approved"},
        {"resolved_at": LATER},
    ],
)
def test_a_case_is_resolved_with_an_outcome_and_an_instant_or_is_open_with_neither(values):
    case = CaseFactory()

    with broken("case_resolved_has_an_outcome"):
        update(case, **values)


@pytest.mark.parametrize("exception", ExceptionType)
def test_a_request_has_one_open_case_of_a_kind(exception):
    case = CaseFactory(exception=exception)

    with broken("case_one_open_a_kind"):
        CaseFactory(request=case.request, exception=exception)


def test_cases_of_two_kinds_and_resolved_ones_stand_beside_an_open_one():
    case = CaseFactory(state="resolved", outcome="approved", resolved_at=LATER)

    CaseFactory(request=case.request)
    CaseFactory(request=case.request, exception="conflict", response="hold")

    assert Case.objects.count() == 3


def test_a_request_is_a_party_to_a_conflict_once():
    party = ConflictPartyFactory()

    with broken("conflict_party_once"):
        ConflictPartyFactory(case=party.case, request=party.request, role="newcomer")


def test_one_newcomer_carries_a_conflict():
    party = ConflictPartyFactory(role=ConflictParty.Role.CARRIER)
    ConflictPartyFactory(case=party.case, role=ConflictParty.Role.NEWCOMER)

    with broken("conflict_one_carrier"):
        ConflictPartyFactory(case=party.case, role=ConflictParty.Role.CARRIER)


def test_a_request_waits_for_one_conflict_at_a_time():
    party = ConflictPartyFactory(was_held=True)

    with broken("conflict_one_wait_a_request"):
        ConflictPartyFactory(request=party.request, was_held=True)
    ConflictPartyFactory(request=party.request, was_held=False)
    update(party, left_at=LATER)
    ConflictPartyFactory(request=party.request, was_held=True)


def test_a_person_waives_a_check_of_one_revision_once():
    waiver = WaiverFactory()

    with broken("waiver_once_a_person"):
        WaiverFactory(case=waiver.case, person=waiver.person)
    WaiverFactory(case=waiver.case)
    WaiverFactory(case=waiver.case, person=waiver.person, check_revision=2)


@pytest.mark.parametrize("values", [{"blocked_from": ""}, {"blocked_from": "completed"}])
def test_what_is_blocked_knows_where_it_stood(values):
    request = RequestFactory(state="blocked")

    with broken("request_blocked_from_where_it_stood"):
        update(request, **values)


def test_what_is_not_blocked_stood_nowhere_else():
    request = RequestFactory()

    with broken("request_blocked_from_where_it_stood"):
        update(request, blocked_from="pending")


def test_a_violation_is_reported_by_one_at_most():
    violation = ViolationFactory(by_agent=AgentFactory())

    with broken("violation_by_one_at_most"):
        update(violation, by_person=PersonFactory())


@pytest.mark.parametrize("values", [{"text": ""}, {"check_key": ""}])
def test_a_violation_says_what_is_wrong(values):
    violation = ViolationFactory()

    with broken("violation_says_what"):
        update(violation, **values)


def test_what_was_read_of_a_record_is_kept_once_a_request():
    read = RecordReadFactory()

    with broken("record_read_once"):
        RecordReadFactory(request=read.request)
    RecordReadFactory()


# --- Orders and claims ------------------------------------------------------------------------


@pytest.mark.parametrize("kind", Order.Kind)
def test_one_order_of_a_kind_is_open(kind):
    order = OrderFactory(kind=kind)

    with broken("order_one_open_a_kind"):
        OrderFactory(request=order.request, kind=kind)
    update(order, closed_at=LATER, outcome="carried_out")
    OrderFactory(request=order.request, kind=kind)


def test_an_order_is_confirmed_by_somebody_else():
    order = OrderFactory()

    with broken("order_second_is_another"):
        update(order, confirmed_by=order.ordered_by, confirmed_at=LATER)
    update(order, confirmed_by=PersonFactory(), confirmed_at=LATER)


def test_an_order_that_nobody_gave_may_be_confirmed_by_anybody():
    order = OrderFactory(ordered_by=None)

    update(order, confirmed_by=PersonFactory(), confirmed_at=LATER)


def test_an_order_that_waits_for_a_second_person_has_a_clock():
    with broken("order_unconfirmed_has_a_clock"):
        OrderFactory(needs_second=True)


@pytest.mark.parametrize("settled", ["due_at", "closed_at"])
def test_an_order_that_waits_no_longer_or_has_a_clock_may_stand(settled):
    OrderFactory(needs_second=True, **{settled: LATER})


def test_a_request_has_one_open_claim():
    claim = ClaimFactory()

    with broken("claim_one_open_a_request"):
        ClaimFactory(case=claim.case)
    update(claim, closed_at=LATER)
    ClaimFactory(case=claim.case, taken_over_from=claim)

    assert Claim.objects.filter(closed_at=None).count() == 1


def test_what_was_finished_by_hand_is_found_again_in_the_target():
    claim = ClaimFactory()

    with broken("claim_finished_has_a_reference"):
        update(claim, finished_at=LATER)
    update(claim, finished_at=LATER, target_reference="SO-3391")


def test_what_was_given_back_is_in_nobodys_hand():
    claim = ClaimFactory()

    with broken("claim_given_back_is_closed"):
        update(claim, given_back_at=LATER)
    update(claim, given_back_at=LATER, closed_at=LATER)


def test_the_second_person_of_a_claim_is_another():
    claim = ClaimFactory()

    with broken("claim_second_is_another"):
        update(claim, second_person=claim.person)
    update(claim, second_person=PersonFactory())


# --- Reviews ----------------------------------------------------------------------------------


def settled():
    return {
        "target_reference": "CM-1",
        "closed_by": PersonFactory(),
        "second_person": PersonFactory(),
    }


@pytest.mark.parametrize("state", ["", "closed"])
def test_a_review_is_in_no_state_we_do_not_know(state):
    review = ReviewFactory()

    with broken("review_known_state"):
        update(review, state=state, closed_at=LATER)


@pytest.mark.parametrize("values", [{"due_at": None}, {"closed_at": LATER}])
def test_an_open_review_has_a_clock_and_no_end(values):
    review = ReviewFactory()

    with broken("review_open_has_a_clock"):
        update(review, **values)


@pytest.mark.parametrize("state", ["justified", "policy_change", "not_justified", "cleaned_up"])
def test_a_review_that_ended_says_when(state):
    review = ReviewFactory(**settled())

    with broken("review_open_has_a_clock"):
        update(review, state=state)
    update(review, state=state, closed_at=LATER)


@pytest.mark.parametrize("missing", ["target_reference", "closed_by", "second_person"])
def test_a_cleanup_ends_only_with_a_reference_and_two_people(missing):
    review = ReviewFactory(kind=Review.Kind.CLEANUP)
    nothing = "" if missing == "target_reference" else None

    with broken("review_cleanup_needs_two"):
        update(review, state="cleaned_up", closed_at=LATER, **{**settled(), missing: nothing})


def test_one_person_is_not_two():
    review = ReviewFactory(kind=Review.Kind.CLEANUP)
    alone = PersonFactory()

    with broken("review_cleanup_needs_two"):
        update(
            review, state="cleaned_up", closed_at=LATER, target_reference="CM-1",
            closed_by=alone, second_person=alone,
        )  # fmt: skip


# --- Notices, alerts, findings ----------------------------------------------------------------


def test_a_notice_that_waits_knows_when_it_is_tried_next():
    notice = NoticeFactory()

    with broken("notice_waiting_has_a_next_attempt"):
        update(notice, next_attempt_at=None)


@pytest.mark.parametrize("state", ["delivered", "dropped", "refused", "failed"])
def test_a_notice_that_is_settled_is_not_tried_again(state):
    notice = NoticeFactory(state=state)

    with broken("notice_waiting_has_a_next_attempt"):
        update(notice, next_attempt_at=LATER)


def test_webhooks_of_a_request_are_numbered_without_a_repeat():
    request, other = RequestFactory(), RequestFactory()
    webhook = {"ask": None, "person": None, "kind": "state", "via": "webhook"}
    NoticeFactory(request=request, number=1, **webhook)

    with broken("notice_webhook_number_once"):
        NoticeFactory(request=request, number=1, **webhook)
    NoticeFactory(request=request, number=2, **webhook)
    NoticeFactory(request=other, number=1, **webhook)

    assert Notice.objects.count() == 3


def test_one_alert_about_a_thing_is_open():
    alert = AlertFactory()

    with broken("alert_one_open"):
        AlertFactory(kind=alert.kind, key=alert.key)
    update(alert, closed_at=LATER)
    AlertFactory(kind=alert.kind, key=alert.key)


def test_one_finding_of_an_audit_about_a_thing_is_open():
    finding = FindingFactory()

    with broken("finding_one_open"):
        FindingFactory(audit=finding.audit, key=finding.key)
    update(finding, cleared_at=LATER)
    FindingFactory(audit=finding.audit, key=finding.key)
