"""What a person has in hand is sent by nobody else, and ends only with what is true of the target."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from approvals.models import ActionRequest, Case, Claim, Notice, Order, Review, Step
from approvals.services.close import withdraw
from approvals.services.compliance import rule_on_violation
from approvals.services.mending import mend
from approvals.services.orders import order_rollback
from approvals.services.violations import report
from governance.errors import AlreadyDecided, DigestChanged, NotNow, NotYours, Unprocessable
from governance.models import AuditEvent
from governance.vocabulary import Path
from rollback.connectors.base import CannotRun, NotDone, OutcomeUnknown, Rejected
from rollback.models import Direction, Recovery, Unit
from rollback.runner import run_all
from rollback.services import by_hand
from tests.approvals.asking import name_compliance
from tests.factories import AppointmentFactory, ContactChannelFactory, PersonFactory, RoleFactory
from tests.rollback.carrying import approved, books, on_call, whole_record, worker
from tests.rollback.ledger_target import Killed

__all__ = ["approved", "books", "on_call", "whole_record", "worker"]  # fixtures

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("whole_record", "on_call")]

S = ActionRequest.State
U = Unit.State
M = timedelta(minutes=1)
H = timedelta(hours=1)
SECOND = timedelta(seconds=1)
DOWN = NotDone("503 Service Unavailable")
LOST = OutcomeUnknown("no answer within 8 s")
ALL, NOTHING = ["done"] * 5, ["not_done"] * 5


def now_(request):
    return ActionRequest.objects.get(pk=request.pk)


def states(request):
    rows = Unit.objects.filter(request=request, direction=Direction.FORWARD)
    return [unit.state for unit in rows.order_by("position")]


def step_of(request, level, path=Path.SYSTEM_FAILURE):
    return Step.objects.get(request=request, path=path, level=level)


def list_of(*said):
    return [
        {"n": n, "state": state, "reference": f"M-{n}" if state == "done" else ""}
        for n, state in enumerate(said, start=1)
    ]


class Hand:
    """What people do with what is in hand, as their page would send it."""

    def __init__(self, request, books, timeline):
        self.request, self.books, self.timeline = request, books, timeline

    def of(self, action_type):
        return self.books

    def shown(self):
        claim = Claim.objects.get(request=self.request, closed_at=None)
        items = by_hand.items_of(now_(self.request), claim, of=self.of)
        return by_hand.stamp_of(claim, items)

    def take(self, person):
        request = self.request
        return mend(
            ref=request.ref, actor=person, verdict="by_hand", digest=request.digest,
            now=self.timeline.now,
        )  # fmt: skip

    def note(self, person, *said, **over):
        given = {"said": list_of(*said), "shown": self.shown(), **self._common(person)}
        return by_hand.note(**{**given, **over})

    def settle(self, person, *said, **over):
        given = {"said": list_of(*said), "shown": self.shown(), "reference": "SO-3391"}
        return by_hand.settle(**{**given, **self._common(person), **over})

    def confirm(self, person, **over):
        return by_hand.confirm(**{"shown": self.shown(), **self._common(person), **over})

    def give_back(self, person):
        return by_hand.give_back(**self._common(person))

    def _common(self, person):
        return {"ref": self.request.ref, "actor": person, "now": self.timeline.now, "of": self.of}


@pytest.fixture
def manager(on_call):
    return on_call.manager


@pytest.fixture
def not_financial(company):
    company.vendor_payment.is_financial = False
    company.vendor_payment.save()


@pytest.fixture
def failing(approved, worker, books, timeline):
    """Three of five lines are written, and whoever is on call has just been asked."""
    books.fail(4, *[DOWN] * 5)
    run_all(worker.hands)
    timeline.go_to(step_of(approved, 1).due_at)
    books.script.clear()
    return now_(approved)


@pytest.fixture
def hand(failing, books, timeline):
    return Hand(failing, books, timeline)


@pytest.fixture
def held(hand, on_call):
    """In the hand of whoever is on call."""
    hand.take(on_call)
    return hand


@pytest.fixture
def operator(company):
    person = PersonFactory(username="operator", roles=[RoleFactory(key="operator")])
    ContactChannelFactory(person=person)
    return person


def other(verdict, hand, person):
    request = hand.request
    return mend(
        ref=request.ref, actor=person, verdict=verdict, digest=request.digest,
        now=hand.timeline.now,
    )  # fmt: skip


# --- Taken in hand ---


def test_what_is_in_hand_keeps_the_clock_of_its_step_and_nobody_else_sends(
    held, failing, worker, on_call
):
    step = step_of(failing, 2)

    assert (now_(failing).state, now_(failing).due_at, step.state) == (
        S.TROUBLED, step.due_at, "waiting",
    )  # fmt: skip
    assert now_(failing).has_effects
    assert run_all(worker.hands) == 0


@pytest.mark.parametrize("verdict", ["retry", "roll_back"])
def test_neither_another_attempt_nor_an_undo_while_it_is_in_hand(held, on_call, verdict):
    with pytest.raises(AlreadyDecided, match="You have it in hand"):
        other(verdict, held, on_call)


def test_nor_an_order_to_roll_back(held, not_financial, company, timeline):
    with pytest.raises(NotNow, match="in hand, so nothing else"):
        order_rollback(
            ref=held.request.ref, actor=company.controller, reason="Stop", now=timeline.now
        )


def test_nor_may_its_agent_withdraw_it(approved, company, worker, books, timeline, on_call):
    books.down = DOWN
    run_all(worker.hands)
    timeline.go_to(step_of(approved, 1).due_at)
    assert not now_(approved).has_effects
    Hand(approved, books, timeline).take(on_call)

    with pytest.raises(NotNow):
        withdraw(ref=approved.ref, agent=company.agent, now=timeline.now)


def test_only_whoever_has_it_says_what_became_of_it(held, manager, company):
    for person in (manager, company.controller):
        with pytest.raises(NotYours, match="has it in hand"):
            held.note(person, *ALL)


# --- Settled ---


def test_all_of_it_done_by_hand_completes_it(held, not_financial, failing, on_call, worker):
    held.settle(on_call, *ALL)

    ended = now_(failing)
    assert (ended.state, ended.end_reason, ended.has_effects) == (
        S.COMPLETED_MANUALLY, "by_hand", True,
    )  # fmt: skip
    assert Case.objects.get(exception="system_failure").outcome == Case.Outcome.BY_HAND
    assert step_of(failing, 2).state == "answered"
    claim = Claim.objects.get()
    assert (claim.closed_at, claim.target_reference) == (held.timeline.now, "SO-3391")
    fourth = Unit.objects.get(request=failing, direction=Direction.FORWARD, position=4)
    assert (fourth.state, fourth.by_hand, fourth.receipt["reference"]) == (U.DONE, True, "M-4")
    assert not Unit.objects.get(request=failing, direction=Direction.FORWARD, position=3).by_hand, (
        "our own checkpoint stays ours"
    )
    assert Recovery.objects.get().needed_a_person
    assert run_all(worker.hands) == 0


def test_nothing_of_it_left_by_hand_is_rolled_back(held, not_financial, failing, on_call, company):
    held.settle(on_call, *NOTHING)

    ended = now_(failing)
    assert (ended.state, ended.has_effects, ended.had_effects) == (S.ROLLED_BACK, False, True)
    assert states(failing) == [U.REVERSED] * 3 + [U.NOT_DONE, U.PLANNED]
    assert Case.objects.get(exception="system_failure").outcome == Case.Outcome.ROLLED_BACK
    told = Notice.objects.filter(facts__what="undone_by_hand", via="inbox")
    assert company.finance_manager in {notice.person for notice in told}


@pytest.mark.parametrize(
    ("said", "why"),
    [
        (["done", "done", "done", "done", "not_done"], "Part of it"),
        (["done", "done", "done", "done", "unknown"], "do not know"),
        (["not_done", "not_done", "not_done", "unknown", "not_done"], "do not know"),
    ],
)
def test_what_is_half_there_or_not_known_ends_nothing(held, on_call, failing, said, why):
    with pytest.raises(Unprocessable, match=why):
        held.settle(on_call, *said)

    assert now_(failing).state == S.TROUBLED
    assert Claim.objects.get().closed_at is None


def test_it_is_not_settled_without_the_targets_reference(held, on_call, not_financial):
    with pytest.raises(Unprocessable, match="target's reference"):
        held.settle(on_call, *ALL, reference="  ")
    bare = [{**each, "reference": ""} for each in list_of(*ALL)]
    with pytest.raises(Unprocessable, match="unit 4, which you call done"):
        held.settle(on_call, *ALL, said=bare)


def test_every_unit_is_spoken_of_once(held, on_call):
    for said in (list_of(*ALL)[:4], [*list_of(*ALL)[:4], list_of(*ALL)[0]]):
        with pytest.raises(Unprocessable, match="each unit, once"):
            held.note(on_call, said=said)


# --- The second person, on a financial action ---


def test_a_financial_action_waits_for_a_second_person(held, failing, on_call, operator):
    held.settle(on_call, *ALL)

    assert now_(failing).state == S.TROUBLED
    assert now_(failing).due_at == step_of(failing, 2).due_at, "and has the clock it had"
    told = Notice.objects.filter(facts__what="by_hand_waits", via="inbox")
    assert operator in {notice.person for notice in told}

    held.confirm(operator)

    assert now_(failing).state == S.COMPLETED_MANUALLY
    assert Claim.objects.get().second_person == operator


def test_neither_the_doer_nor_who_decided_nor_who_reports_to_an_approver_is_the_second(
    held, failing, on_call, company, operator
):
    operators = operator.roles.get()
    on_call.roles.add(operators)
    below = PersonFactory(username="clerk", manager=company.finance_manager, roles=[operators])
    company.finance_manager.roles.add(operators)
    stranger = PersonFactory(username="stranger")
    held.settle(on_call, *ALL)

    for person, why in (
        (on_call, "in hand yourself"),
        (below, "report to somebody who approved it"),
        (company.finance_manager, "decided on this request before"),
        (stranger, "confirmed by an operator"),
    ):
        with pytest.raises(NotYours, match=why):
            held.confirm(person)
    assert now_(failing).state == S.TROUBLED


def test_nor_whoever_owns_the_agent(held, company, on_call, operator):
    company.agent.owner = operator
    company.agent.save()
    held.settle(on_call, *ALL)

    with pytest.raises(NotYours, match="own the agent"):
        held.confirm(operator)


def test_the_second_person_confirms_what_they_were_shown_and_nothing_else(held, on_call, operator):
    held.settle(on_call, *ALL)
    shown = held.shown()
    held.settle(on_call, *ALL, reference="SO-9999")

    with pytest.raises(DigestChanged):
        held.confirm(operator, shown=shown)


def test_what_is_changed_after_it_was_finished_is_finished_no_longer(held, on_call, operator):
    held.settle(on_call, *ALL)
    held.note(on_call, "done", "done", "done", "unknown", "not_done")

    with pytest.raises(NotNow, match="Nothing waits"):
        held.confirm(operator)


# --- Given back ---


def test_what_is_given_back_is_tried_again_from_what_the_person_said(
    held, not_financial, failing, on_call, worker, books
):
    held.note(on_call, "done", "done", "done", "done", "not_done")

    held.give_back(on_call)
    assert Claim.objects.get().given_back_at == held.timeline.now
    other("retry", held, on_call)
    run_all(worker.hands)

    assert now_(failing).state == S.COMPLETED
    assert f"{failing.business_key}~0/4" not in books.done, "line 4 was done by hand"
    assert f"{failing.business_key}~0/5" in books.done


def test_on_a_financial_action_one_persons_word_is_no_checkpoint(held, failing, on_call):
    held.note(on_call, "done", "done", "done", "done", "not_done")

    with pytest.raises(NotNow, match="Of unit 4 you say otherwise"):
        held.give_back(on_call)

    held.note(on_call, "done", "done", "done", "not_done", "not_done")
    held.give_back(on_call)
    assert states(failing) == [U.DONE] * 3 + [U.NOT_DONE, U.PLANNED]


def test_what_is_given_back_unsure_would_be_sent_twice(held, not_financial, on_call):
    held.note(on_call, "done", "done", "done", "unknown", "not_done")

    with pytest.raises(NotNow, match="whether unit 4 is there"):
        held.give_back(on_call)


def test_what_was_given_back_untouched_has_the_effects_it_had(
    approved, worker, books, timeline, on_call
):
    books.down = DOWN
    run_all(worker.hands)
    timeline.go_to(step_of(approved, 1).due_at)
    hand = Hand(approved, books, timeline)
    hand.take(on_call)
    assert now_(approved).has_effects, "a person may be writing there"

    hand.give_back(on_call)

    assert not now_(approved).has_effects
    other("roll_back", hand, on_call)
    assert now_(approved).state == S.EXPIRED


def test_a_unit_done_by_hand_is_taken_back_by_a_person(
    held, not_financial, failing, on_call, manager, worker, books
):
    held.note(on_call, "done", "done", "done", "done", "not_done")
    held.give_back(on_call)
    other("roll_back", held, on_call)

    run_all(worker.hands)

    assert states(failing)[:4] == [U.REVERSED] * 3 + [U.DONE]
    assert now_(failing).state == S.ROLLING_BACK
    asked = AuditEvent.objects.get(chain=failing.ref, kind="undo.needs_a_person")
    assert "done by hand" in asked.facts["reason"]
    held.take(on_call)
    with pytest.raises(Unprocessable, match="It is to be undone"):
        held.settle(on_call, "done", "done", "done", "done", "done")
    held.settle(on_call, *NOTHING)
    assert now_(failing).state == S.ROLLED_BACK


# --- Taken over, and the end of the path ---


def test_the_next_rung_takes_it_over_with_what_was_said(
    held, not_financial, failing, on_call, manager, timeline
):
    held.note(on_call, "done", "done", "done", "done", "unknown")
    timeline.go_to(step_of(failing, 2).due_at)
    assert now_(failing).state == S.TROUBLED
    with pytest.raises(NotNow, match="has it in hand"):
        other("retry", held, manager)

    held.take(manager)

    old, new = Claim.objects.order_by("pk")
    assert (old.closed_at, new.person, new.taken_over_from) == (timeline.now, manager, old)
    assert new.units == old.units
    assert Notice.objects.filter(facts__what="taken_over", person=on_call).exists()
    with pytest.raises(NotYours):
        held.settle(on_call, *ALL)
    held.settle(manager, *ALL)
    assert now_(failing).state == S.COMPLETED_MANUALLY


def test_whoever_has_it_may_finish_it_while_the_next_rung_is_asked(
    held, not_financial, failing, on_call, timeline
):
    timeline.go_to(step_of(failing, 2).due_at + M)

    held.settle(on_call, *ALL)

    assert now_(failing).state == S.COMPLETED_MANUALLY
    assert step_of(failing, 3).state == "answered"


def test_a_path_that_ends_with_it_in_somebodys_hand_ends_stranded(held, failing, timeline):
    due = step_of(failing, 2).due_at

    timeline.go_to(due + 4 * H - timedelta(microseconds=1))
    assert now_(failing).state == S.TROUBLED
    timeline.go_to(due + 4 * H)

    ended = now_(failing)
    assert (ended.state, ended.ended_at, ended.has_effects) == (S.STRANDED, due + 4 * H, True)
    assert Claim.objects.get().closed_at == due + 4 * H
    review = Review.objects.get()
    assert (review.kind, "in hand" in review.reason) == (Review.Kind.CLEANUP, True)
    assert Case.objects.get(exception="system_failure").outcome == Case.Outcome.STRANDED


def test_stranded_even_where_nothing_was_ever_sent(approved, worker, books, timeline, on_call):
    books.down = DOWN
    run_all(worker.hands)
    timeline.go_to(step_of(approved, 1).due_at)
    Hand(approved, books, timeline).take(on_call)

    timeline.advance(hours=6)

    assert now_(approved).state == S.STRANDED, "nobody knows what was done by hand"


def test_somebody_absent_gives_way_and_the_next_one_may_take_it_over(
    held, failing, on_call, manager, timeline
):
    on_call.is_active = False
    on_call.save()

    timeline.sweep()

    assert step_of(failing, 2).state == "passed_over"
    held.take(manager)
    assert Claim.objects.get(closed_at=None).person == manager


# --- Open intents are answered first ---


@pytest.fixture
def in_doubt(approved, worker, books, timeline):
    """The answer of line 4 was lost, and the target went down. Whoever is on call has just been asked."""
    books.lose_answer(4, LOST)
    run_all(worker.hands)
    books.down = DOWN
    timeline.go_to(step_of(approved, 1).due_at)
    assert states(approved)[3] == U.UNKNOWN
    return Hand(approved, books, timeline)


def test_the_target_is_asked_before_the_person_says_anything(
    in_doubt, not_financial, approved, on_call, worker, books, timeline
):
    in_doubt.take(on_call)
    with pytest.raises(NotNow, match="is being asked"):
        in_doubt.note(on_call, *ALL)
    books.down = None
    shown = in_doubt.shown()

    run_all(worker.hands)

    assert states(approved) == [U.DONE] * 4 + [U.PLANNED]
    assert now_(approved).state == S.TROUBLED, "nothing was sent"
    assert len(books.done) == 4
    assert Order.objects.get(kind="by_hand").outcome == Order.Outcome.CARRIED_OUT
    with pytest.raises(DigestChanged):
        in_doubt.note(on_call, *ALL, shown=shown)
    in_doubt.settle(on_call, *ALL)
    assert now_(approved).state == S.COMPLETED_MANUALLY


def test_a_target_that_stays_silent_leaves_it_to_the_person_after_five_minutes(
    in_doubt, not_financial, approved, on_call, worker, timeline
):
    in_doubt.take(on_call)
    until = Order.objects.get(kind="by_hand").due_at
    assert until == timeline.now + 5 * M
    while (at := now_(approved).next_attempt_at) is not None:
        timeline.now = at
        run_all(worker.hands)

    assert timeline.now <= until
    assert Order.objects.get(kind="by_hand").outcome == Order.Outcome.FAILED
    assert states(approved)[3] == U.UNKNOWN
    in_doubt.settle(on_call, *NOTHING)
    assert states(approved)[3] == U.NOT_DONE
    assert now_(approved).state == S.ROLLED_BACK


def test_without_any_worker_the_person_says_it_after_five_minutes(
    in_doubt, not_financial, approved, on_call, timeline
):
    in_doubt.take(on_call)

    timeline.now += 5 * M - timedelta(microseconds=1)
    with pytest.raises(NotNow):
        in_doubt.note(on_call, *ALL)
    timeline.now += timedelta(microseconds=1)
    in_doubt.settle(on_call, *ALL)

    assert now_(approved).state == S.COMPLETED_MANUALLY


def test_what_is_given_back_without_any_worker_is_not_tried_by_itself_by_the_next_one(
    in_doubt, approved, on_call, worker, books, timeline
):
    in_doubt.take(on_call)
    timeline.now += 5 * M
    in_doubt.give_back(on_call)
    books.down = None
    sent = list(books.sends)

    run_all(worker.hands)

    assert books.sends == sent
    assert (now_(approved).state, now_(approved).due_at) == (
        S.TROUBLED, step_of(approved, 2).due_at,
    )  # fmt: skip


def test_a_worker_that_dies_while_it_asks_leaves_it_to_the_next(
    in_doubt, not_financial, approved, on_call, worker, books, timeline
):
    in_doubt.take(on_call)
    books.down = Killed()
    with pytest.raises(Killed):
        run_all(worker.hands)
    books.down = None
    timeline.now = now_(approved).lease_until

    run_all(worker.hands)

    assert states(approved)[3] == U.DONE
    assert now_(approved).lease_until is None
    assert Order.objects.get(kind="by_hand").outcome == Order.Outcome.CARRIED_OUT


def test_so_it_does_in_an_undo(undoing, approved, on_call, worker, books, timeline):
    timeline.now = now_(approved).next_attempt_at
    books.script.clear()
    books.lose_answer(3, LOST)
    books.meanwhile(2, lambda: None)
    run_all(worker.hands)
    undoing.take(on_call)
    books.down = Killed()
    with pytest.raises(Killed):
        run_all(worker.hands)
    books.down = None
    timeline.now = now_(approved).lease_until

    run_all(worker.hands)

    assert now_(approved).lease_until is None
    assert Order.objects.get(kind="by_hand").outcome == Order.Outcome.CARRIED_OUT


def test_what_nobody_can_be_asked_about_a_person_says_and_then_it_goes_on(
    approved, not_financial, on_call, worker, books, timeline
):
    books.gives = replace(books.gives, lookup=False, native_keys=False)
    books.fail(3, LOST)
    run_all(worker.hands)
    timeline.now = now_(approved).next_attempt_at
    run_all(worker.hands)
    hand = Hand(approved, books, timeline)
    hand.take(on_call)
    run_all(worker.hands)

    hand.note(on_call, "done", "done", "not_done", "not_done", "not_done")
    hand.give_back(on_call)
    other("retry", hand, on_call)
    run_all(worker.hands)

    assert now_(approved).state == S.COMPLETED
    assert books.lines_done == [1, 2, 3, 4, 5]
    assert books.sends.count(f"{approved.business_key}~0/3") == 2


def test_the_late_answer_of_a_call_is_taken_though_somebody_has_it_in_hand(
    approved, not_financial, on_call, worker, books, timeline
):
    books.fail(4, DOWN)
    run_all(worker.hands)
    timeline.now = now_(approved).next_attempt_at
    hand = Hand(approved, books, timeline)

    def taken_in_hand():
        timeline.now = step_of(approved, 1).due_at
        ActionRequest.objects.filter(pk=approved.pk).update(lease_until=timeline.now + 20 * SECOND)
        timeline.sweep()
        hand.take(on_call)
        assert Order.objects.get(kind="by_hand").closed_at is None

    books.meanwhile(4, taken_in_hand)
    run_all(worker.hands)

    assert states(approved) == [U.DONE] * 4 + [U.PLANNED], "nothing was sent after it"
    assert now_(approved).state == S.TROUBLED
    timeline.now = now_(approved).next_attempt_at or timeline.now
    run_all(worker.hands)
    assert Order.objects.get(kind="by_hand").outcome == Order.Outcome.CARRIED_OUT
    hand.settle(on_call, *ALL)
    assert now_(approved).state == S.COMPLETED_MANUALLY


# --- The undo, by hand ---


@pytest.fixture
def undoing(approved, not_financial, company, worker, books, timeline):
    run_all(worker.hands)
    order_rollback(ref=approved.ref, actor=company.controller, reason="Wrong", now=timeline.now)
    timeline.sweep()
    books.fail(3, Rejected("422 the period is closed"), Rejected("422"))
    run_all(worker.hands)
    return Hand(now_(approved), books, timeline)


def test_an_undo_is_finished_by_hand(undoing, approved, on_call, worker, books):
    assert states(approved) == [U.DONE] * 3 + [U.REVERSED] * 2
    undoing.take(on_call)
    assert run_all(worker.hands) == 0

    undoing.settle(on_call, *NOTHING)

    assert (now_(approved).state, now_(approved).has_effects) == (S.ROLLED_BACK, False)
    assert Order.objects.get(kind="roll_back").outcome == Order.Outcome.CARRIED_OUT
    recovery = Recovery.objects.get()
    assert (recovery.state, recovery.needed_a_person) == (Recovery.State.SUCCEEDED, True)
    assert step_of(approved, 2, Path.UNDO).state == "answered"


def test_an_undo_in_the_middle_of_a_run_stops_at_the_next_unit(
    undoing, approved, on_call, worker, books, timeline
):
    timeline.now = now_(approved).next_attempt_at
    books.script.clear()
    books.meanwhile(3, lambda: undoing.take(on_call))

    run_all(worker.hands)

    assert states(approved) == [U.DONE] * 2 + [U.REVERSED] * 3, "its own answer is taken"
    assert now_(approved).state == S.ROLLING_BACK
    assert Order.objects.get(kind="by_hand").outcome == Order.Outcome.CARRIED_OUT
    undoing.settle(on_call, *NOTHING)
    assert now_(approved).state == S.ROLLED_BACK


def test_the_last_reversal_answered_late_ends_nothing_that_is_in_hand(
    undoing, approved, on_call, worker, books, timeline
):
    timeline.now = now_(approved).next_attempt_at
    books.script.clear()
    books.meanwhile(1, lambda: undoing.take(on_call))

    run_all(worker.hands)

    assert states(approved) == [U.REVERSED] * 5
    assert now_(approved).state == S.ROLLING_BACK, "the person's word comes first"
    undoing.settle(on_call, *NOTHING)
    assert now_(approved).state == S.ROLLED_BACK


def test_an_undo_given_back_is_attempted_again(undoing, approved, on_call, worker, books):
    undoing.take(on_call)
    books.script.clear()

    undoing.give_back(on_call)
    run_all(worker.hands)

    assert now_(approved).state == S.ROLLED_BACK


def test_an_undo_in_hand_at_the_end_of_its_path_is_stranded(undoing, approved, on_call, timeline):
    undoing.take(on_call)

    timeline.advance(hours=6)

    assert now_(approved).state == S.STRANDED
    assert Claim.objects.get().closed_at is not None


# --- Where nothing was ever planned ---


def test_what_no_worker_ever_began_is_listed_and_finished_by_hand(
    approved, not_financial, on_call, books, timeline
):
    timeline.go_to(approved.due_at + 30 * M)
    hand = Hand(approved, books, timeline)
    hand.take(on_call)

    hand.settle(on_call, *ALL)

    assert now_(approved).state == S.COMPLETED_MANUALLY
    assert states(approved) == [U.DONE] * 5


def test_what_has_no_connector_is_one_line(approved, not_financial, on_call, books, timeline):
    def broken(action):
        raise CannotRun("no such connector")

    books.units = broken
    timeline.go_to(approved.due_at + 30 * M)
    hand = Hand(approved, books, timeline)
    hand.take(on_call)

    hand.settle(on_call, "done")

    assert (now_(approved).state, states(approved)) == (S.COMPLETED_MANUALLY, [])
    assert now_(approved).has_effects


def test_a_request_finished_by_hand_may_be_ordered_to_be_undone_later(
    held, not_financial, failing, on_call, company, worker, timeline
):
    held.settle(on_call, *ALL)
    AppointmentFactory(
        version=company.policy, office="department_head", scope="accounts-payable",
        person=company.controller,
    )  # fmt: skip
    order_rollback(ref=failing.ref, actor=company.controller, reason="Wrong", now=timeline.now)
    timeline.sweep()

    run_all(worker.hands)

    assert states(failing) == [U.REVERSED] * 3 + [U.DONE] * 2
    assert step_of(failing, 2, Path.UNDO).state == "waiting"


# --- A rule that it breaks meanwhile ---------------------------------------------------------------


@pytest.fixture
def compliance(company):
    return name_compliance(company)


def test_what_is_in_somebodys_hand_and_denied_is_stranded_and_not_undone_beside_them(
    failing, hand, on_call, compliance, company, timeline, worker
):
    hand.take(on_call)
    report(ref=failing.ref, by=company.agent, text="Wrong vendor.", now=timeline.now)
    assert now_(failing).state == S.BLOCKED

    rule_on_violation(
        ref=failing.ref, actor=compliance[0], verdict="deny", digest=failing.digest,
        now=timeline.now,
    )  # fmt: skip
    run_all(worker.hands)

    assert now_(failing).state == S.STRANDED
    assert states(failing)[:3] == [U.DONE] * 3, "nothing was taken back beside them"
    assert not Claim.objects.filter(closed_at=None).exists()
    assert Review.objects.get().kind == Review.Kind.CLEANUP
    assert step_of(failing, 2).state == Step.State.SUPERSEDED


def test_what_nobody_has_in_hand_and_is_denied_is_undone_and_waits_on_nobody_else(
    failing, compliance, company, timeline, worker, books
):
    report(ref=failing.ref, by=company.agent, text="Wrong vendor.", now=timeline.now)
    rule_on_violation(
        ref=failing.ref, actor=compliance[0], verdict="deny", digest=failing.digest,
        now=timeline.now,
    )  # fmt: skip
    assert now_(failing).state == S.ROLLING_BACK
    assert step_of(failing, 2).state == Step.State.SUPERSEDED

    books.down = None
    run_all(worker.hands)

    assert now_(failing).state == S.ROLLED_BACK
