"""Several requests for one record: held, ruled on by its owner, and let go in order."""

from __future__ import annotations

from datetime import timedelta

import pytest

from approvals import auditing
from approvals.models import ActionRequest, Alert, Ask, Case, ConflictParty, Decision, Notice, Step
from approvals.services.close import withdraw
from approvals.services.ruling import rule
from approvals.services.submit import submit
from governance.errors import (
    AlreadyDecided,
    DigestChanged,
    DuplicateEffect,
    NotNow,
    NotYours,
    TooLate,
    Unprocessable,
)
from governance.models import AuditEvent
from governance.vocabulary import Path
from tests.approvals.asking import answer, ask_for_payment, body, chain_kinds, name_the_owner
from tests.factories import MONDAY_9AM, AgentCredentialFactory, AgentFactory

pytestmark = pytest.mark.django_db

M = timedelta(minutes=1)
H = timedelta(hours=1)
TICK = timedelta(microseconds=1)


@pytest.fixture(autouse=True)
def owner(company):
    """The CFO owns every record."""
    return name_the_owner(company)


@pytest.fixture
def first(company, timeline):
    """A payment of the first part, asked for at nine; a minute later nobody has decided."""
    request = ask_for_payment(company, key="first", instalment=1)
    timeline.now += M
    return request


@pytest.fixture
def second(company, timeline, first):
    """A payment of the second part of the same bill, asked for a minute later."""
    return ask_for_payment(company, key="second", instalment=2, now=timeline.now)


def name_the_owner_instead(company, person):
    company.policy.appointments.filter(office="resource_owner").delete()
    return name_the_owner(company, person)


def third(company, timeline):
    return ask_for_payment(company, key="third", instalment=3, now=timeline.now)


def again(request):
    return ActionRequest.objects.get(pk=request.pk)


def state(*requests):
    return [again(request).state for request in requests]


def asked(request):
    """Return who is asked now, by user name."""
    open_asks = Ask.objects.filter(step__request=request, due_at__isnull=False)
    return [ask.person.username for ask in open_asks.order_by("position")]


def ruled(carrier, timeline, *, order=(), refuse=(), actor, **over):
    return rule(
        **{
            "ref": carrier.ref,
            "actor": actor,
            "order": [each.ref for each in order],
            "refuse": [each.ref for each in refuse],
            "digest": carrier.digest,
            "note": "The first is due earlier.",
            "now": timeline.now,
        }
        | over
    )


def case_of(request):
    return Case.objects.get(request=request, exception="conflict")


# --- They meet ---------------------------------------------------------------------------------


def test_both_are_held_and_the_owner_of_the_record_is_asked(company, timeline, first, second):
    assert state(first, second) == ["held", "held"]
    assert asked(first) == []
    assert asked(second) == ["cfo"]
    step = Step.objects.get(request=second)
    assert (step.path, step.level, step.due_at) == (Path.CONFLICT, 2, timeline.now + 2 * H)
    assert again(second).due_at == step.due_at
    case = case_of(second)
    assert (case.response, case.source) == ("hold", "R")
    assert case.reason == f"{first.ref} wants the same record."


def test_the_clock_of_who_was_first_stands_still(company, timeline, first, second):
    step = Step.objects.get(request=first)

    assert (step.state, step.due_at, step.remaining) == ("suspended", None, 4 * M)
    # until the conflict is over at the latest: two hours, then four
    assert again(first).due_at == timeline.now + 6 * H


def test_nobody_is_asked_about_the_newcomer_before_the_ruling(company, timeline, first, second):
    assert Step.objects.filter(request=second).exclude(path=Path.CONFLICT).count() == 0


def test_a_request_for_another_record_is_no_party(company, timeline, first):
    other = ask_for_payment(company, key="other", invoice="INV-2", now=timeline.now)

    assert state(first, other) == ["pending", "pending"]


def test_the_same_thing_asked_for_twice_is_a_duplicate_and_no_conflict(
    company, timeline, first, owner
):
    owner.is_active = False  # so that a conflict would end at once
    owner.save()

    with pytest.raises(DuplicateEffect) as refused:
        ask_for_payment(company, key="again", instalment=1, now=timeline.now)

    assert refused.value.extra["ref"] == first.ref
    assert state(first) == ["pending"]


def test_what_has_ended_is_no_party(company, timeline, first):
    withdraw(ref=first.ref, agent=company.agent, now=timeline.now)

    later = third(company, timeline)

    assert state(later) == ["pending"]


def test_what_is_approved_and_not_begun_gives_up_its_key(company, timeline, first):
    answer(first, company.finance_manager, now=timeline.now)
    assert again(first).holds_key

    second = ask_for_payment(company, key="second", instalment=2, now=timeline.now)

    assert state(first, second) == ["held", "held"]
    assert not again(first).holds_key


def test_what_has_begun_goes_on_and_the_newcomer_alone_is_held(company, timeline, first):
    answer(first, company.finance_manager, now=timeline.now)
    request = again(first)
    request.begin()
    request.run_deadline = request.due_at = timeline.now + 30 * M
    request.save()

    second = ask_for_payment(company, key="second", instalment=2, now=timeline.now)

    assert state(first, second) == ["executing", "held"]
    parties = ConflictParty.objects.filter(case=case_of(second)).order_by("role")
    assert [(each.role, each.was_held) for each in parties] == [
        ("carrier", True),
        ("earlier", False),
    ]


def test_one_that_comes_later_joins_the_case_that_is_open(company, timeline, first, second, owner):
    timeline.now += M
    late = third(company, timeline)

    assert state(first, second, late) == ["held", "held", "held"]
    assert Case.objects.filter(exception="conflict").count() == 1
    assert asked(late) == []
    assert again(late).due_at == timeline.now + 6 * H
    told = Notice.objects.filter(kind="told", via="inbox", person=owner, facts__what="joined")
    assert told.count() == 1
    assert "conflict.joined" in chain_kinds(second)


def test_nobody_behind_any_party_rules(company, timeline, first, owner):
    """The owner of the record owns the other agent: whoever is above them is asked."""
    company.agent.owner = owner
    company.agent.save()

    second = ask_for_payment(company, key="second", instalment=2, now=timeline.now)

    assert asked(second) == ["ceo"]


def test_whoever_was_asked_is_passed_over_when_their_own_agent_joins(
    company, timeline, first, second, owner
):
    submit(
        credential=AgentCredentialFactory(agent=AgentFactory(owner=owner)),
        policy=company.policy.pk,
        idempotency_key="theirs",
        body=body(company, instalment=3),
        now=timeline.now,
    )

    assert asked(second) == ["ceo"]


# --- They are ruled on --------------------------------------------------------------------------


def test_the_first_goes_on_where_it_stood_with_the_time_it_had(
    company, timeline, first, second, owner
):
    timeline.now += H
    ruled(second, timeline, order=[first], refuse=[second], actor=owner)

    assert state(first, second) == ["pending", "rejected"]
    step = Step.objects.get(request=first)
    assert (step.state, step.due_at) == ("waiting", timeline.now + 4 * M)
    assert asked(first) == ["finance_manager"]
    case = case_of(second)
    assert (case.state, case.outcome) == ("resolved", "ruled")
    assert not Case.objects.filter(request=second, exception="rejection").exists()
    decision = Decision.objects.get(request=second)
    assert decision.verdict == "rule"
    assert decision.details == {"order": [first.ref], "refuse": [second.ref]}


def test_one_that_was_not_asked_about_yet_is_asked_about_when_it_goes_on(
    company, timeline, first, second, owner
):
    ruled(second, timeline, order=[second], refuse=[first], actor=owner)

    assert state(first, second) == ["rejected", "pending"]
    assert asked(second) == ["finance_manager"]
    step = Step.objects.get(request=second, path=Path.APPROVAL)
    assert step.due_at == timeline.now + 5 * M
    assert step.case is None


def test_the_next_goes_on_when_the_one_before_it_has_ended(company, timeline, first, second, owner):
    ruled(second, timeline, order=[first, second], actor=owner)

    assert state(first, second) == ["pending", "held"]
    assert again(second).due_at == timeline.now + 8 * H  # the queue's cap
    withdraw(ref=first.ref, agent=company.agent, now=timeline.now)
    assert state(first, second) == ["withdrawn", "pending"]
    assert asked(second) == ["finance_manager"]


def test_a_queue_of_three_goes_on_one_after_the_other(company, timeline, first, second, owner):
    last = third(company, timeline)
    ruled(second, timeline, order=[last, first, second], actor=owner)

    assert state(last, first, second) == ["pending", "held", "held"]
    withdraw(ref=last.ref, agent=company.agent, now=timeline.now)
    assert state(last, first, second) == ["withdrawn", "pending", "held"]
    withdraw(ref=first.ref, agent=company.agent, now=timeline.now)
    assert state(first, second) == ["withdrawn", "pending"]


def test_a_queue_passes_over_one_that_left_it(company, timeline, first, second, owner):
    last = third(company, timeline)
    ruled(second, timeline, order=[first, second, last], actor=owner)
    withdraw(ref=second.ref, agent=company.agent, now=timeline.now)
    assert state(first, last) == ["pending", "held"]

    withdraw(ref=first.ref, agent=company.agent, now=timeline.now)

    assert state(last) == ["pending"]


def test_nobody_goes_on_while_somebody_has_the_record(company, timeline, first, owner):
    answer(first, company.finance_manager, now=timeline.now)
    request = again(first)
    request.begin()
    request.run_deadline = request.due_at = timeline.now + 30 * M
    request.save()
    second = ask_for_payment(company, key="second", instalment=2, now=timeline.now)

    ruled(second, timeline, order=[second], actor=owner)

    assert state(first, second) == ["executing", "held"]


def test_a_queued_one_ends_at_the_cap_and_says_so(company, timeline, first, second, owner):
    ruled(second, timeline, order=[first, second], actor=owner)
    ActionRequest.objects.filter(pk=first.pk).update(due_at=timeline.now + 20 * H)
    Step.objects.filter(request=first).update(due_at=timeline.now + 20 * H)
    Ask.objects.filter(step__request=first).update(due_at=timeline.now + 20 * H)
    start = timeline.now

    timeline.go_to(start + 8 * H - TICK)
    assert state(second) == ["held"]
    timeline.go_to(start + 8 * H)

    assert state(second) == ["expired"]
    assert again(second).end_reason == "queue"
    assert Alert.objects.filter(kind="conflict.queued_in_vain").count() == 1


def test_what_was_approved_before_does_not_run_on_what_may_have_changed(
    company, timeline, first, owner
):
    answer(first, company.finance_manager, now=timeline.now)
    second = ask_for_payment(company, key="second", instalment=2, now=timeline.now)
    timeline.now += TICK

    ruled(second, timeline, order=[first], refuse=[second], actor=owner)

    assert state(first, second) == ["expired", "rejected"]
    assert again(first).end_reason == "basis_changed"
    assert Alert.objects.filter(kind="conflict.basis_changed").count() == 1


def test_a_request_is_held_once_in_its_life(company, timeline, first, second, owner):
    ruled(second, timeline, order=[first], refuse=[second], actor=owner)

    late = third(company, timeline)

    assert state(first, late) == ["pending", "held"]


def test_the_first_of_the_order_ends_at_the_cap_too(company, timeline, first, owner):
    ActionRequest.objects.filter(pk=first.pk).update(
        state="stranded", holds_key=True, due_at=None, ended_at=MONDAY_9AM, had_effects=True
    )
    second = ask_for_payment(company, key="second", instalment=2, now=timeline.now)
    ruled(second, timeline, order=[second], actor=owner)
    start = timeline.now

    timeline.go_to(start + 8 * H)

    assert (state(second), again(second).end_reason) == (["expired"], "queue")


def test_a_newcomer_that_went_on_may_be_held_by_the_next_one(
    company, timeline, first, second, owner
):
    ruled(second, timeline, order=[second], refuse=[first], actor=owner)

    late = third(company, timeline)

    assert state(second, late) == ["held", "held"]


def test_who_stands_behind_one_party_still_decides_on_the_other(company, timeline, owner):
    theirs = AgentCredentialFactory(agent=AgentFactory(owner=company.finance_manager))
    first, _ = submit(
        credential=theirs,
        policy=company.policy.pk,
        idempotency_key="theirs",
        body=body(company, instalment=1),
        now=timeline.now,
    )
    second = ask_for_payment(company, key="second", instalment=2, now=timeline.now)

    withdraw(ref=first.ref, agent=first.agent, now=timeline.now)

    assert asked(second) == ["finance_manager"]
    answer(second, company.finance_manager, now=timeline.now)
    assert state(second) == ["approved"]


def test_who_was_pinged_before_is_pinged_again_when_it_goes_on(company, timeline, owner):
    first = ask_for_payment(company, key="first", instalment=1)
    timeline.advance(minutes=6)  # it stands on L1 since 09:05
    second = ask_for_payment(company, key="second", instalment=2, now=timeline.now)
    timeline.now += M
    ruled(second, timeline, order=[first], refuse=[second], actor=owner)

    ask = Ask.objects.get(step__request=first, due_at__isnull=False)
    assert ask.next_ping_at == timeline.now + 5 * M
    assert ask.due_at == timeline.now + 29 * M


def test_the_record_of_each_party_says_who_ruled_and_why(company, timeline, first, second, owner):
    ruled(second, timeline, order=[second], refuse=[first], actor=owner)

    events = AuditEvent.objects.filter(chain__in=[first.ref, second.ref], at=timeline.now)
    by_kind = {(each.chain, each.kind): each for each in events}
    refused = by_kind[first.ref, "request.rejected"]
    assert refused.actor == "person:cfo"
    assert refused.facts["carrier"] == second.ref
    assert refused.facts["note"] == "The first is due earlier."
    of_one_act = {
        by_kind[key].cause
        for key in (
            (first.ref, "request.rejected"),
            (second.ref, "step.decided"),
            (second.ref, "request.went_on"),
        )
    }
    assert len(of_one_act) == 1
    assert by_kind[second.ref, "request.went_on"].actor == "person:cfo"
    assert by_kind[first.ref, "request.held"].facts["by"] == second.ref


def test_the_ruler_is_not_told_their_own_ruling(company, timeline, first, second, owner):
    ruled(second, timeline, order=[first], refuse=[second], actor=owner)

    assert not Notice.objects.filter(kind="told", person=owner, facts__what="refused").exists()


class TestRefusals:
    def test_the_ruling_names_every_party(self, company, timeline, first, second, owner):
        with pytest.raises(DigestChanged, match="not the requests that are held now"):
            ruled(second, timeline, order=[first], actor=owner)
        assert state(first, second) == ["held", "held"]

    def test_a_party_that_came_meanwhile_is_to_be_seen_first(
        self, company, timeline, first, second, owner
    ):
        third(company, timeline)
        with pytest.raises(DigestChanged):
            ruled(second, timeline, order=[first], refuse=[second], actor=owner)

    def test_each_is_named_once(self, company, timeline, first, second, owner):
        with pytest.raises(Unprocessable, match="once"):
            ruled(second, timeline, order=[first, second], refuse=[second], actor=owner)

    def test_a_reason_is_needed(self, company, timeline, first, second, owner):
        with pytest.raises(Unprocessable, match="Say why"):
            ruled(second, timeline, order=[first], refuse=[second], actor=owner, note="  ")

    def test_another_digest_is_refused(self, company, timeline, first, second, owner):
        with pytest.raises(DigestChanged):
            ruled(second, timeline, order=[first, second], actor=owner, digest="0" * 64)

    def test_who_is_not_asked_does_not_rule(self, company, timeline, first, second):
        with pytest.raises(NotYours):
            ruled(second, timeline, order=[first, second], actor=company.controller)

    def test_nobody_approves_what_is_held(self, company, timeline, first, second, owner):
        with pytest.raises(NotNow):
            answer(second, owner, now=timeline.now)
        with pytest.raises(NotNow):
            answer(first, company.finance_manager, now=timeline.now)

    def test_the_clock_is_closed_at_its_instant(self, company, timeline, first, second, owner):
        timeline.now = Step.objects.get(request=second).due_at
        with pytest.raises(TooLate):
            ruled(second, timeline, order=[first, second], actor=owner)

    def test_the_first_ruling_stands(self, company, timeline, first, second, owner):
        ruled(second, timeline, order=[first, second], actor=owner)
        with pytest.raises(AlreadyDecided):
            ruled(second, timeline, order=[second, first], actor=owner)


# --- Nobody rules, or somebody leaves -------------------------------------------------------------


def test_in_silence_whoever_is_above_the_owner_is_asked(company, timeline, first, second):
    timeline.advance(hours=2)

    assert asked(second) == ["ceo"]
    assert state(first, second) == ["held", "held"]


def test_all_silent_the_newcomers_end_and_the_earlier_goes_on(company, timeline, first, second):
    late = third(company, timeline)
    start = timeline.now
    timeline.go_to(start + 6 * H - TICK)
    assert state(first, second, late) == ["held", "held", "held"]

    timeline.go_to(start + 6 * H)

    assert state(first, second, late) == ["pending", "expired", "expired"]
    assert Step.objects.get(request=first, state="waiting").due_at == timeline.now + 4 * M
    assert Alert.objects.filter(kind="request.expired").count() == 2
    assert case_of(second).outcome == "expired"


def test_with_the_clock_late_nobody_goes_past_whoever_is_asked(company, timeline, first, second):
    """L3 begins when the clock runs again, and the earlier waits as long."""
    timeline._set(timeline.now + 7 * H)  # an outage: past both windows
    timeline.sweep()

    assert asked(second) == ["ceo"]
    assert state(first, second) == ["held", "held"]
    assert again(first).due_at == timeline.now + 4 * H
    timeline.go_to(timeline.now + 4 * H)
    assert state(first, second) == ["pending", "expired"]


def test_who_joins_a_case_that_nobody_is_left_to_rule_on_ends_with_it(
    company, timeline, first, second, owner
):
    company.ceo.is_active = False
    company.ceo.save()

    joined, created = submit(
        credential=AgentCredentialFactory(agent=AgentFactory(owner=owner)),
        policy=company.policy.pk,
        idempotency_key="theirs",
        body=body(company, instalment=3),
        now=timeline.now,
    )

    assert created
    assert (joined.state, joined.due_at) == ("expired", None)
    assert state(first, second, joined) == ["pending", "expired", "expired"]


def test_a_replay_is_answered_where_nobody_may_rule(company, timeline, first, owner):
    for person in (owner, company.ceo):
        person.is_active = False
        person.save()

    again_, created = submit(
        credential=company.agent.credentials.get(),
        policy=company.policy.pk,
        idempotency_key="first",
        body=body(company, instalment=1),
        now=timeline.now,
    )

    assert (again_.pk, created) == (first.pk, False)


@pytest.mark.parametrize("count", [3, 9])
def test_letting_many_go_takes_as_many_queries_as_letting_few(
    company, timeline, first, second, django_assert_max_num_queries, count
):
    for number in range(3, 3 + count):
        ask_for_payment(company, key=f"part-{number}", instalment=number, now=timeline.now)

    with django_assert_max_num_queries(170):
        withdraw(ref=second.ref, agent=company.agent, now=timeline.now)

    assert ActionRequest.objects.filter(state="held").count() == count


def test_when_the_first_leaves_the_newcomer_goes_on(company, timeline, first, second):
    withdraw(ref=first.ref, agent=company.agent, now=timeline.now)

    assert state(first, second) == ["withdrawn", "pending"]
    assert case_of(second).outcome == "left"
    assert asked(second) == ["finance_manager"]
    assert Step.objects.get(request=second, path=Path.CONFLICT).state == "superseded"
    assert Step.objects.get(request=first).state == "superseded"


def test_when_the_newcomer_leaves_the_first_goes_on(company, timeline, first, second):
    withdraw(ref=second.ref, agent=company.agent, now=timeline.now)

    assert state(first, second) == ["pending", "withdrawn"]
    assert case_of(second).outcome == "left"
    assert asked(first) == ["finance_manager"]


def test_when_the_newcomer_leaves_those_after_it_come_anew(company, timeline, first, second):
    late = third(company, timeline)

    withdraw(ref=second.ref, agent=company.agent, now=timeline.now)

    # The first was held once, so it goes on; the third carries a case of its own.
    assert state(first, second, late) == ["pending", "withdrawn", "held"]
    assert asked(late) == ["cfo"]
    assert case_of(late).state == "open"


def test_with_no_owner_who_may_rule_the_newcomer_ends_and_the_first_goes_on(
    company, timeline, first, owner
):
    for person in (owner, company.ceo):
        person.is_active = False
        person.save()

    second = ask_for_payment(company, key="second", instalment=2, now=timeline.now)

    assert state(first, second) == ["pending", "expired"]
    assert asked(first) == ["finance_manager"]


def test_what_is_approved_survives_a_conflict_that_nobody_may_rule_on(
    company, timeline, first, owner
):
    answer(first, company.finance_manager, now=timeline.now)
    for person in (owner, company.ceo):
        person.is_active = False
        person.save()

    second = ask_for_payment(company, key="second", instalment=2, now=timeline.now)

    assert state(first, second) == ["approved", "expired"]
    assert again(first).holds_key
    assert again(first).due_at == again(first).approved_at + 30 * M


def test_a_ruler_who_is_also_the_approver_may_approve_what_they_let_go_on(company, timeline):
    owner = name_the_owner_instead(company, company.finance_manager)
    first = ask_for_payment(company, key="first", instalment=1)
    second = ask_for_payment(company, key="second", instalment=2)

    ruled(second, timeline, order=[second], refuse=[first], actor=owner)

    assert asked(second) == ["finance_manager"]


def test_behind_a_party_that_has_ended_one_may_rule_again(company, timeline, first, second):
    theirs, _ = submit(
        credential=AgentCredentialFactory(agent=AgentFactory(owner=company.ceo)),
        policy=company.policy.pk,
        idempotency_key="theirs",
        body=body(company, instalment=3),
        now=timeline.now,
    )
    withdraw(ref=theirs.ref, agent=theirs.agent, now=timeline.now)

    timeline.advance(hours=2)

    assert asked(second) == ["ceo"]


@pytest.mark.parametrize("hours", [3, 5, 7, 9, 50])
def test_no_outage_lets_two_of_them_go_on(company, timeline, first, second, hours):
    late = third(company, timeline)
    timeline._set(timeline.now + hours * H)
    timeline.sweep()

    timeline.advance(days=3)

    # Nobody ever ruled: the newcomers have ended, and the first went on alone and timed out.
    assert state(first, second, late) == ["expired", "expired", "expired"]
    went_on = AuditEvent.objects.filter(kind="request.went_on").values_list("chain", flat=True)
    assert list(went_on) == [first.ref]
    # No worker reads the record here, and that is found.
    found = auditing.run(now=timeline.now, outside=False)
    assert {each.audit for each in found} == {"record_not_read"}


def test_the_record_is_held_by_a_request_that_is_stranded(company, timeline, first):
    ActionRequest.objects.filter(pk=first.pk).update(
        state="stranded", holds_key=True, due_at=None, ended_at=MONDAY_9AM, had_effects=True
    )

    second = ask_for_payment(company, key="second", instalment=2, now=timeline.now)

    assert state(second) == ["held"]
