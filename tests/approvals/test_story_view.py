"""What the story of a request says: the words, the ladder, the chain, what lies ahead."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from zoneinfo import ZoneInfo

import pytest

from approvals import story
from approvals.models import ENDED, ActionRequest, Ask
from approvals.models.request import WITH_KEY
from approvals.packets import packet_of
from approvals.services.close import withdraw
from governance.tables import policy
from tests.approvals.asking import (
    another_delegate,
    answer,
    ask_for_payment,
    make_the_first_no_final,
    name_the_head,
)
from tests.factories import (
    MONDAY_9AM,
    AbsenceFactory,
    ClaimFactory,
    ContactChannelFactory,
    NoticeFactory,
    OrderFactory,
    PersonFactory,
)
from tests.rollback.carrying import on_call

__all__ = ["on_call"]  # a fixture

NEW_YORK = ZoneInfo("America/New_York")
UTC = ZoneInfo("UTC")


def told(request, reader, now, zone=UTC):
    fresh = ActionRequest.objects.select_related(
        "action_type", "agent", "department", "on_behalf_of"
    ).get(pk=request.pk)
    return story.tell(packet_of(fresh, now=now), reader=reader, now=now, zone=zone)


def plain(text):
    return text.replace("\xa0", " ")


def rungs(found):
    return [(rung.top, rung.kind, rung.who) for rung in found.rungs]


def test_the_first_asked_is_told_so_and_what_silence_leads_to(company, timeline):
    request = ask_for_payment(company)

    found = told(request, company.finance_manager, timeline.now)

    assert found.lead == "ap-agent asks for this in accounts payable. You are the first asked."
    assert found.state_words == "Waiting for you"
    assert plain(found.started) == "Your 5 min started at 09:00."
    assert [plain(line) for line in found.nothing] == [
        "you are asked again at 09:05.",
        "Then the Senior Accountant is asked at 09:35.",
        "If nobody decides by 15:35, it closes and nothing is paid.",
    ]
    assert found.can_decide


def test_a_delegate_is_told_who_was_silent_before(company, timeline):
    request = ask_for_payment(company)
    timeline.advance(minutes=46)

    found = told(request, company.senior_accountant, timeline.now)

    assert found.lead.endswith(
        "The Finance Manager was asked at 09:00 and again at 09:05 and has not answered, so you are asked as delegate."
    )
    assert plain(found.nothing[0]) == "the Controller is asked at 11:35."
    assert found.passed == "Passed on to the Controller"
    assert plain(found.derivation).startswith(
        "2 h is the window of L2 on the timeout path, policy 1. It began at 09:35:00"
    )


def test_the_ladder_shows_what_was_what_is_and_what_may_come(company, timeline):
    request = ask_for_payment(company)
    timeline.advance(minutes=46)

    found = told(request, company.senior_accountant, timeline.now)

    assert rungs(found) == [
        ("L0", "past", "Finance Manager"),
        ("L1", "past", "Finance Manager"),
        ("L2", "here", "You, Senior Accountant"),
        ("L3", "next", "Controller"),
        ("L4", "shut", "Not open"),
        ("End", "end", "Closed as expired"),
    ]
    assert found.rungs[-1].since == MONDAY_9AM + timedelta(hours=6, minutes=35)
    assert found.rungs[4].end == "Vendor payments are not a critical process"
    assert "worst case ends 15:35" in found.rungs_words


def test_high_impact_leaves_out_the_second_ask_of_the_same_person(company, timeline):
    request = ask_for_payment(company, severity="high", impact="high")

    found = told(request, company.finance_manager, timeline.now)

    assert rungs(found)[1] == ("L1", "shut", "Left out")
    assert plain(found.nothing[0]) == "the Senior Accountant is asked at 09:05."


def test_twice_the_window_is_said_to_be_twice(company, timeline):
    request = ask_for_payment(company, severity="low", impact="low")
    company.vendor_payment.__class__.objects.update(impact="low")
    ActionRequest.objects.filter(pk=request.pk).update(impact="low")
    timeline.advance(minutes=6)

    found = told(request, company.finance_manager, timeline.now)

    assert "30 min, twice, as the decision tree says" in plain(found.derivation)


def test_times_are_said_in_the_readers_zone(company, timeline):
    request = ask_for_payment(company)

    found = told(request, company.finance_manager, timeline.now, zone=NEW_YORK)

    assert plain(found.started) == "Your 5 min started at 04:00."
    assert "EST" in found.rungs_words


def test_somebody_passed_over_is_named_with_the_reason(company, timeline):
    second = another_delegate(company)
    second.refresh_from_db()
    AbsenceFactory(person=company.senior_accountant, ends_at=MONDAY_9AM + timedelta(days=2))
    request = ask_for_payment(company)
    timeline.advance(minutes=36)

    found = told(request, second, timeline.now)

    assert found.passed_over == (("Senior Accountant", "is away until Wed 09:00"),)
    assert found.can_decide


def test_one_who_was_passed_over_reads_it_in_the_second_person(company, timeline):
    another_delegate(company)
    AbsenceFactory(person=company.senior_accountant, ends_at=MONDAY_9AM + timedelta(days=2))
    request = ask_for_payment(company)
    timeline.advance(minutes=36)

    found = told(request, company.senior_accountant, timeline.now)

    assert not found.can_decide
    assert found.holds.lead == "You were passed over."
    assert plain(found.holds.text).startswith("You are away until Wed 09:00.")


def test_nobody_first_asked_is_said_in_the_ladder_and_the_lead(company, timeline):
    AbsenceFactory(person=company.finance_manager, ends_at=MONDAY_9AM + timedelta(days=2))
    request = ask_for_payment(company)

    found = told(request, company.senior_accountant, timeline.now)

    assert rungs(found)[0] == ("L0", "shut", "Passed over")
    assert "The Finance Manager is away until" in found.lead
    assert any("Nobody first asked can decide" in entry.title for entry in found.chain)


def test_the_chain_says_all_of_it_oldest_first(company, timeline):
    request = ask_for_payment(company)
    timeline.advance(minutes=46)
    answer(request, company.senior_accountant, now=timeline.now, note="All 40 pallets are here.")

    found = told(request, company.finance_manager, timeline.now)

    assert [plain(entry.title) for entry in found.chain] == [
        "ap-agent asked for this; you were asked (L0)",
        "No answer in 5 min: a timeout case was opened",
        "You were asked again (L1)",
        "Still no answer: Senior Accountant was asked (L2)",
        "Senior Accountant approved (L2)",
    ]
    case, decision = found.chain[1], found.chain[-1]
    assert (
        "Low severity, medium impact. The decision tree says: ask the same people again."
        in case.words
    )
    assert case.source == "O"
    assert decision.quote == "All 40 pallets are here."


def test_delivery_pings_and_looks_are_said_of_each_ask(company, timeline):
    request = ask_for_payment(company)
    ask = Ask.objects.get(person=company.finance_manager)
    ask.notices.update(state="delivered", delivered_at=MONDAY_9AM, next_attempt_at=None)
    NoticeFactory(ask=ask, kind="pinged")
    ask.seen_at = MONDAY_9AM + timedelta(minutes=2)
    ask.save()

    found = told(request, company.senior_accountant, timeline.now)

    assert [sent.words for sent in found.chain[0].reached[0].sent] == [
        "In the inbox",
        "E-mail delivered 09:00",
        "Seen 09:02",
    ]


def test_a_no_is_marked_and_quoted(company, timeline):
    make_the_first_no_final(company)
    request = ask_for_payment(company)
    timeline.advance(minutes=1)
    answer(
        request,
        company.finance_manager,
        "reject",
        now=timeline.now,
        note="Paid twice in January.",
        severity="medium",
    )

    found = told(request, company.finance_manager, timeline.now)

    no, end = found.chain[-2:]
    assert (no.title, no.words, no.quote, no.is_bad) == (
        "You rejected (L0)",
        "A medium objection.",
        "Paid twice in January.",
        True,
    )
    assert end.title == "Closed as rejected"
    assert found.state_words == "Rejected"
    assert found.due_at is None
    assert found.holds.lead == "You rejected this at 09:01:00."


def test_silence_to_the_end_closes_it_and_says_so(company, timeline):
    request = ask_for_payment(company)
    timeline.advance(hours=7)

    found = told(request, company.finance_manager, timeline.now)

    assert found.state_words == "Expired"
    assert found.chain[-1].title == "Nobody decided: closed as expired"
    assert found.holds.text == "It has ended, and nothing is paid. Silence never approves."
    assert not found.can_decide


def test_an_approval_says_when_it_must_begin(company, timeline):
    request = ask_for_payment(company)
    answer(request, company.finance_manager, now=timeline.now)

    found = told(request, company.controller, timeline.now)

    assert found.state_words == "Approved, not begun"
    assert found.due_at == MONDAY_9AM + timedelta(minutes=30)
    assert plain(found.started) == "It has 30 min to begin, from 09:00."


def test_an_approval_that_lapsed_is_not_called_expired(company, timeline):
    request = ask_for_payment(company)
    answer(request, company.finance_manager, now=timeline.now)
    ActionRequest.objects.filter(pk=request.pk).update(person_present=True, due_at=MONDAY_9AM)
    timeline.advance(minutes=1)

    found = told(request, company.finance_manager, timeline.now)

    assert found.state_words == "Lapsed"
    assert found.chain[-1].title == "Approved, and nothing began it in time: closed"


def test_an_approval_that_nothing_began_is_in_trouble_and_tried_again(company, timeline):
    request = ask_for_payment(company)
    answer(request, company.finance_manager, now=timeline.now)
    timeline.advance(minutes=31)

    found = told(request, company.finance_manager, timeline.now)

    assert (found.state_words, found.state_kind) == ("Troubled", "bad")
    assert found.level_word == "Tried again"
    assert "You approved it at 09:00." in plain(found.lead)
    assert plain(found.started) == "It is tried again for 30 min, from 09:30."
    assert found.nothing_head == "If no attempt succeeds,"
    assert plain(found.nothing[0]) == "it ends at 10:00 and nothing is paid.", "nobody is on call"
    assert found.holds.lead == "It could not go on."
    assert not found.can_decide
    assert found.chain[-1].title == "It is tried again by itself (L1)"


def failed_ladder(company, timeline, **over):
    """Have a payment fail for longer than it is tried again, and return what whoever is on call reads."""
    request = ask_for_payment(company)
    answer(request, company.finance_manager, now=timeline.now)
    timeline.advance(minutes=31)
    before = told(request, company.finance_manager, timeline.now)
    timeline.advance(minutes=30)
    ActionRequest.objects.filter(pk=request.pk).update(**over)
    return request, before


def rung(found, top):
    return next(each for each in found.rungs if each.top == top)


def test_whoever_is_on_call_is_named_before_they_are_asked(company, timeline, on_call):
    _, found = failed_ladder(company, timeline)

    assert [plain(each) for each in found.nothing] == [
        "the On-call Engineer is asked at 10:00.",
        "Then the On-call Manager is asked at 12:00.",
        "If nobody answers by 16:00, it ends and nothing is paid.",
    ]
    assert (rung(found, "L2").who, rung(found, "L3").who) == ("On-call Engineer", "On-call Manager")
    assert plain(rung(found, "L2").end) == "Asked at 10:00 if no attempt succeeds"


def test_what_was_done_is_undone_if_nobody_on_call_answers(company, timeline, on_call):
    request, _ = failed_ladder(company, timeline, has_effects=True, had_effects=True)

    found = told(request, on_call, timeline.now)

    assert (
        plain(found.nothing[-1])
        == "If nobody answers by 16:00, it ends, and what was done is undone."
    )
    assert rung(found, "End").who == "Rolled back"


def test_what_somebody_has_in_hand_is_stranded_if_nobody_answers(company, timeline, on_call):
    request, _ = failed_ladder(company, timeline)
    ClaimFactory(request=request, person=on_call)
    timeline.advance(hours=2)

    found = told(request, PersonFactory(), timeline.now)

    assert [plain(each) for each in found.nothing] == [
        "it is stranded at 16:00: half done, and for people to clean up."
    ]
    assert found.passed == "Stranded, for people to clean up"


S = ActionRequest.State
STORIES = {
    S.EXECUTING: ("Executing", "It is being carried out now.", "It is being carried out."),
    S.TROUBLED: ("Troubled", "It could not go on.", "It could not go on."),
    S.BLOCKED: ("Blocked", "A rule forbids it.", "It is blocked: a rule is broken."),
    S.ROLLING_BACK: ("Rolling back", "is being undone", "What was done is being undone."),
    S.COMPLETED: ("Completed", "It was carried out at 09:10.", "It was carried out at 09:10:00."),
    S.COMPLETED_MANUALLY: (
        "Completed by hand", "finished it by hand at 09:10.", "A person finished it by hand",
    ),
    S.ROLLED_BACK: ("Rolled back", "It was undone at 09:10", "It was undone at 09:10:00."),
    S.STRANDED: ("Stranded", "People have to clean it up.", "It is half done"),
    S.EXPIRED: (
        "Not carried out", "The target did not take it in time", "The target did not take it",
    ),
}  # fmt: skip


@pytest.mark.parametrize("state", STORIES)
def test_each_state_after_an_approval_is_told_as_it_is(company, timeline, state):
    request = ask_for_payment(company)
    answer(request, company.finance_manager, now=timeline.now)
    ended = timeline.now + timedelta(minutes=10) if state in ENDED else None
    ActionRequest.objects.filter(pk=request.pk).update(
        state=state,
        ended_at=ended,
        due_at=None if ended else MONDAY_9AM + timedelta(minutes=30),
        end_reason="target" if state == S.EXPIRED else "",
        blocked_from="approved" if state == S.BLOCKED else "",
        holds_key=state in WITH_KEY,
    )

    found = told(request, company.controller, MONDAY_9AM + timedelta(minutes=11))

    words, lead, holds = STORIES[state]
    assert found.state_words == words
    assert found.lead.startswith("ap-agent asks for this")
    assert "The Finance Manager approved it at 09:00." in found.lead
    assert lead in found.lead
    assert found.holds.lead.startswith(holds)
    assert found.has_execution
    assert "nothing is" not in found.rungs[-1].end or state == S.EXPIRED


def test_the_chain_says_who_ordered_an_undo_and_who_confirmed_it(company, timeline):
    request = ask_for_payment(company)
    answer(request, company.finance_manager, now=timeline.now)
    OrderFactory(
        request=request, ordered_by=company.controller, reason="Paid twice.", needs_second=True,
        ordered_at=MONDAY_9AM + timedelta(minutes=1), due_at=MONDAY_9AM + timedelta(hours=4),
        confirmed_by=company.cfo, confirmed_at=MONDAY_9AM + timedelta(minutes=2),
    )  # fmt: skip
    OrderFactory(
        request=request, reason="Again.", outcome="lapsed", needs_second=True,
        ordered_at=MONDAY_9AM + timedelta(hours=5), closed_at=MONDAY_9AM + timedelta(hours=9),
        due_at=MONDAY_9AM + timedelta(hours=9), ordered_by=company.ceo,
    )  # fmt: skip

    entries = told(request, company.controller, timeline.now).chain

    assert [(entry.title, entry.quote) for entry in entries[-4:]] == [
        ("You ordered a rollback", "Paid twice."),
        ("The CFO confirmed the rollback", ""),
        ("The CEO ordered a rollback", "Again."),
        ("Nobody confirmed the rollback in time: it lapsed", ""),
    ]


def test_a_window_that_is_over_takes_no_decision_before_the_sweep_came(company, timeline):
    request = ask_for_payment(company)

    found = told(request, company.finance_manager, timeline.now + timedelta(minutes=5))

    assert not found.can_decide
    assert found.holds.lead == "The window closed at 09:05:00."


def test_a_lowered_limit_is_said_before_somebody_tries(company, timeline):
    request = ask_for_payment(company)
    company.finance_manager.limit_amount = Decimal(100)
    company.finance_manager.save()

    found = told(request, company.finance_manager, timeline.now)

    assert not found.can_decide
    assert found.holds.lead == "You have a limit of $100.00, below this amount."


def test_the_severity_of_a_no_is_never_below_the_requests(company, timeline):
    request = ask_for_payment(company, severity="medium")

    found = told(request, company.finance_manager, timeline.now)

    assert [value for value, _, _ in found.severities] == ["medium", "high"]


def test_what_the_payload_leaves_out_is_called_missing(company, timeline):
    company.vendor_payment.shown_facts = [
        {"label": "Goods receipt", "pointer": "/receipt"},
        {"label": "Terms", "pointer": "/terms"},
    ]
    company.vendor_payment.save()
    request = ask_for_payment(company)

    found = told(request, company.finance_manager, timeline.now)

    assert [(fact.value, fact.missing) for fact in found.facts] == [
        ("Missing: goods receipt", True),
        ("Net 30", False),
    ]


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ("2026-03-02", "2 Mar 2026"),
        ("2026-13-02", "2026-13-02"),
        (True, "Yes"),
        (1200, "1,200"),
        (["a", "b"], "a, b"),
        ({"value": "12.5", "currency": "EUR"}, "€12.50"),
        ({"value": "NaN?", "currency": "EUR"}, "EUR NaN?"),
        ({"value": "1e999", "currency": "EUR"}, "EUR 1e999"),
        ({}, ""),
        ({"deep": [1, {"er": None}]}, '{"deep": [1, {"er": null}]}'),
        ("a\u202eb", "ab"),
        (None, ""),
        ("", ""),
    ],
)
def test_values_of_a_payload_are_said_plainly(value, words):
    assert story.said(value) == words


@pytest.mark.parametrize(
    "url", ["javascript:alert(1)", "data:text/html,x", "//evil", "ftp://x", ""]
)
def test_only_web_addresses_become_links(company, timeline, url):
    request = ask_for_payment(company)
    ActionRequest.objects.filter(pk=request.pk).update(source_url=url)

    assert told(request, company.finance_manager, timeline.now).source_url == ""


def test_a_stranger_to_the_request_is_told_whose_it_is(company, timeline):
    request = ask_for_payment(company)

    found = told(request, PersonFactory(), timeline.now)

    assert found.state_words == "With the Finance Manager"
    assert found.holds.lead == "You are not asked to decide this."
    assert found.nothing_head == "If nobody answers,"


# --- After a no ---------------------------------------------------------------------------------


@pytest.fixture
def after_a_no(company, timeline):
    """The Finance Manager said no at low severity; the Senior Accountant is asked."""
    name_the_head(company)
    request = ask_for_payment(company)
    timeline.advance(minutes=1)
    answer(
        request, company.finance_manager, "reject", now=timeline.now,
        note="Paid twice in January.", severity="low",
    )  # fmt: skip
    return request


def test_whoever_is_asked_after_a_no_reads_it_first(company, timeline, after_a_no):
    found = told(after_a_no, company.senior_accountant, timeline.now)

    assert found.lead == (
        "ap-agent asks for this in accounts payable. The Finance Manager said no at 09:01:"
        " “Paid twice in January.” You are asked as alternate."
    )
    assert (found.path, found.level_word) == ("rejection", "Alternate approver")
    assert [plain(line) for line in found.nothing] == [
        "the Controller is asked at 11:01.",
        "If nobody decides by 15:01, the no stands and nothing is paid.",
    ]
    assert found.can_decide


def test_the_ladder_after_a_no_is_the_one_of_rejections(company, timeline, after_a_no):
    found = told(after_a_no, company.senior_accountant, timeline.now)

    assert rungs(found) == [
        ("L0", "past", "Finance Manager"),
        ("L1", "shut", "Left out"),
        ("L2", "here", "You, Senior Accountant"),
        ("L3", "next", "Controller"),
        ("L4", "shut", "Not open"),
        ("End", "end", "Closed as rejected"),
    ]
    assert found.rungs_words.startswith("Rejection path, policy 1")


def test_whoever_said_no_reads_what_became_of_it(company, timeline, after_a_no):
    found = told(after_a_no, company.finance_manager, timeline.now)

    assert found.holds.lead == "You rejected this at 09:01:00."
    assert plain(found.holds.text) == (
        "Your no stands unless somebody with your authority says yes."
        " It waits for the Senior Accountant until 11:01."
    )


def test_the_choices_of_a_no_say_who_is_asked_next(company, timeline):
    name_the_head(company)
    request = ask_for_payment(company)

    choices = told(request, company.finance_manager, timeline.now).severities

    assert [then.partition(" next,")[0] for _, _, then in choices] == [
        "The Senior Accountant is asked",
        "The Senior Accountant is asked",
        "The Controller is asked",
    ]


def test_the_choices_of_a_second_no_say_that_it_is_final(company, timeline, after_a_no):
    choices = told(after_a_no, company.senior_accountant, timeline.now).severities

    assert all("This no is final" in then for _, _, then in choices)


def test_a_no_that_nobody_answers_is_told_as_one_that_stands(company, timeline, after_a_no):
    timeline.advance(hours=7)

    found = told(after_a_no, company.cfo, timeline.now)

    assert found.chain[-1].title == "Nobody said otherwise: closed as rejected"
    assert found.lead.endswith("Nobody said otherwise, so it was closed at 15:01.")


def test_the_chain_tells_the_no_before_the_case_it_opened(company, timeline, after_a_no):
    titles = [entry.title for entry in told(after_a_no, company.cfo, timeline.now).chain]

    assert titles[-3:] == [
        "Finance Manager rejected (L0)",
        "A rejection case was opened",
        "Senior Accountant was asked (L2)",
    ]


def test_where_nobody_else_can_be_asked_the_choices_say_that_the_no_is_final(company, timeline):
    company.row.delegates.all().delete()
    policy.cache_clear()
    request = ask_for_payment(company)

    choices = told(request, company.finance_manager, timeline.now).severities

    assert all("Nobody else can be asked, so this no is final" in then for _, _, then in choices)


def test_too_few_who_said_yes_after_a_no_are_not_taken_for_who_rejected_it(company, timeline):
    company.row.quorum = 2
    company.row.save()
    second = PersonFactory(
        username="second", name="Second", limit_amount=25_000, limit_currency="USD",
        roles=[company.row.approver_role],
    )  # fmt: skip
    ContactChannelFactory(person=second)
    another_delegate(company)
    policy.cache_clear()
    request = ask_for_payment(company)
    timeline.advance(minutes=1)
    answer(request, company.finance_manager, "reject", now=timeline.now, severity="low")
    timeline.advance(minutes=1)
    answer(request, company.senior_accountant, now=timeline.now)
    timeline.advance(hours=8)

    found = told(request, company.cfo, timeline.now)

    assert found.state_words == "Rejected"
    assert found.holds.lead == "The Finance Manager rejected this at 09:01:00."
    assert found.holds.text.startswith("Too few said yes after that.")
    assert "Too few said yes after that, so it was closed at" in found.lead
    assert found.chain[-1].title == "Too few said yes after that: closed as rejected"
    packet = packet_of(ActionRequest.objects.get(pk=request.pk), now=timeline.now)
    line = story.became(packet, reader=company.cfo, now=timeline.now, zone=UTC)
    assert plain(line) == "Finance Manager rejected it at 09:01"


def test_what_was_withdrawn_after_a_no_was_withdrawn(company, timeline, after_a_no):
    timeline.advance(minutes=1)
    withdraw(ref=after_a_no.ref, agent=company.agent, now=timeline.now)
    packet = packet_of(ActionRequest.objects.get(pk=after_a_no.pk), now=timeline.now)

    line = story.became(packet, reader=company.cfo, now=timeline.now, zone=UTC)

    assert plain(line) == "Withdrawn by the agent at 09:02"


def test_the_ladder_keeps_the_rungs_that_were_silent_before_the_no(company, timeline):
    another_delegate(company)
    request = ask_for_payment(company)
    timeline.advance(minutes=40)
    answer(request, company.senior_accountant, "reject", now=timeline.now, severity="low")

    found = told(request, company.cfo, timeline.now)

    assert rungs(found)[:3] == [
        ("L0", "past", "Finance Manager"),
        ("L1", "past", "Finance Manager"),
        ("L2", "here", "Treasury Analyst"),
    ]
