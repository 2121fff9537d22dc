"""Whoever is asked gives it to somebody else: once, never back, and the clock runs on."""

from __future__ import annotations

from datetime import timedelta

import pytest

from approvals import auditing
from approvals.channels.words import words_for
from approvals.models import Ask, Notice, Step
from approvals.services.handover import hand_over
from approvals.services.ruling import rule
from approvals.sweeps import pass_over_absent
from governance.errors import NotNow, NotYours, TooLate, Unprocessable
from governance.models import AuditEvent
from tests.approvals.asking import another_delegate, answer, ask_for_payment, name_the_owner
from tests.factories import MONDAY_9AM, AbsenceFactory, ContactChannelFactory, PersonFactory

pytestmark = pytest.mark.django_db

M = timedelta(minutes=1)
TICK = timedelta(microseconds=1)


@pytest.fixture
def request_(company, timeline):
    return ask_for_payment(company)


def given(request, actor, to, *, now=MONDAY_9AM + M, note="You know them better."):
    return hand_over(ref=request.ref, actor=actor, to=to.username, now=now, note=note)


def asked(request):
    open_asks = Ask.objects.filter(step__request=request, due_at__isnull=False)
    return [ask.person.username for ask in open_asks.order_by("position")]


def test_somebody_else_is_asked_on_the_same_clock(company, request_):
    before = Step.objects.get(request=request_)

    given(request_, company.finance_manager, company.controller)

    assert asked(request_) == ["controller"]
    ask = Ask.objects.get(person=company.controller)
    assert ask.due_at == before.due_at == MONDAY_9AM + 5 * M
    assert ask.handed_over_from.person == company.finance_manager
    assert ask.why == ("one to whom the Finance Manager handed this over: “You know them better”")
    assert Notice.objects.filter(kind="asked", person=company.controller).exists()
    event = AuditEvent.objects.get(chain=request_.ref, kind="ask.handed_over")
    assert (event.actor, event.facts["to"]) == ("person:finance_manager", "person:controller")
    assert auditing.run(now=MONDAY_9AM + M, outside=False) == []


def test_they_decide_and_whoever_gave_it_away_does_not(company, request_):
    given(request_, company.finance_manager, company.controller)

    with pytest.raises(NotYours, match="You handed it over to the Controller"):
        answer(request_, company.finance_manager, now=MONDAY_9AM + 2 * M)
    answer(request_, company.controller, now=MONDAY_9AM + 2 * M)

    request_.refresh_from_db()
    assert request_.state == "approved"


def test_it_goes_no_further_and_never_back(company, request_):
    given(request_, company.finance_manager, company.controller)

    for to in (company.cfo, company.finance_manager):
        with pytest.raises(NotNow, match="goes no further"):
            given(request_, company.controller, to)


def test_who_is_asked_with_one_cannot_be_given_it(company, timeline):
    company.row.quorum = 2
    company.row.save()
    second = another_delegate(company)
    request = ask_for_payment(company)  # nobody beside the Finance Manager is on L0: both delegates
    assert asked(request) == ["senior_accountant", "treasury_analyst"]

    with pytest.raises(Unprocessable, match="was asked already"):
        given(request, company.senior_accountant, second)


def test_only_somebody_who_may_decide_on_it(company, timeline, request_):
    with pytest.raises(Unprocessable, match="Choose somebody"):
        given(request_, company.finance_manager, company.agent_owner)
    with pytest.raises(Unprocessable, match="has no limit in USD"):
        given(request_, company.finance_manager, company.ceo)
    AbsenceFactory(
        person=company.controller, starts_at=MONDAY_9AM, ends_at=MONDAY_9AM + 24 * 60 * M
    )
    with pytest.raises(Unprocessable, match="is away until"):
        given(request_, company.finance_manager, company.controller)
    assert asked(request_) == ["finance_manager"]


def test_who_is_not_asked_hands_nothing_over(company, request_):
    with pytest.raises(NotYours):
        given(request_, company.controller, company.cfo)


def test_the_clock_closes_it_at_its_instant(company, request_):
    given_at = MONDAY_9AM + 5 * M

    with pytest.raises(TooLate):
        given(request_, company.finance_manager, company.controller, now=given_at)
    given(request_, company.finance_manager, company.controller, now=given_at - TICK)


def test_a_ruling_is_not_handed_over(company, timeline):
    owner = name_the_owner(company)
    ask_for_payment(company, key="first", instalment=1)
    second = ask_for_payment(company, key="second", instalment=2)

    with pytest.raises(NotNow, match="Only the question"):
        given(second, owner, company.controller)


def test_in_silence_whoever_took_it_over_is_asked_again(company, timeline, request_):
    given(request_, company.finance_manager, company.controller)

    timeline.advance(minutes=6)

    assert asked(request_) == ["controller"]
    assert Step.objects.get(request=request_, state="waiting").level == 1


def test_it_does_not_come_back_when_whoever_took_it_over_is_away(company, timeline, request_):
    given(request_, company.finance_manager, company.controller)
    AbsenceFactory(
        person=company.controller, starts_at=MONDAY_9AM, ends_at=MONDAY_9AM + 24 * 60 * M
    )

    pass_over_absent(now=MONDAY_9AM + 2 * M)

    assert asked(request_) == ["senior_accountant"]  # the next rung, not the Finance Manager


def test_on_the_next_rung_too_it_goes_no_further_and_never_back(company, timeline, request_):
    given(request_, company.finance_manager, company.controller)
    timeline.advance(minutes=6)  # L1 asks whoever took it over once more
    assert asked(request_) == ["controller"]

    for to in (company.finance_manager, company.cfo):
        with pytest.raises(NotNow, match="goes no further"):
            given(request_, company.controller, to, now=timeline.now)


def test_who_gave_it_away_cannot_be_given_it_by_the_next_one(company, timeline, request_):
    given(request_, company.finance_manager, company.controller)
    timeline.advance(minutes=40)
    assert asked(request_) == ["senior_accountant"]

    with pytest.raises(Unprocessable, match="was asked already"):
        given(request_, company.senior_accountant, company.finance_manager, now=timeline.now)


def test_the_service_takes_nobody_whom_the_page_does_not_offer(company, timeline):
    ruler = PersonFactory(username="ruler", limit_amount=50_000, limit_currency="USD")
    ContactChannelFactory(person=ruler)
    name_the_owner(company, ruler)
    first = ask_for_payment(company, key="first", instalment=1)
    second = ask_for_payment(company, key="second", instalment=2)
    rule(
        ref=second.ref, actor=ruler, order=[second.ref], refuse=[first.ref],
        digest=second.digest, now=MONDAY_9AM, note="So.",
    )  # fmt: skip

    with pytest.raises(Unprocessable, match="Choose somebody"):
        given(second, company.finance_manager, ruler)


def test_a_note_is_short_and_its_links_are_not_to_be_followed(company, request_):
    with pytest.raises(Unprocessable, match="at most 200"):
        given(request_, company.finance_manager, company.controller, note="x" * 201)
    given(request_, company.finance_manager, company.controller, note="See https://evil.example/x")

    notice = Notice.objects.filter(kind="asked", person=company.controller).last()
    assert "://" not in words_for(notice, now=MONDAY_9AM + M).why


def test_who_gave_it_away_is_not_called_silent(company, timeline, request_):
    given(request_, company.finance_manager, company.controller)
    timeline.advance(minutes=40)

    notice = Notice.objects.filter(kind="asked", person=company.senior_accountant).last()
    before = " ".join(words_for(notice, now=timeline.now).before)
    assert "Controller" in before
    assert "Finance Manager" not in before


class TestPage:
    def test_what_was_typed_too_late_is_not_lost(self, client, company, timeline, request_):
        client.force_login(company.finance_manager)
        timeline._set(MONDAY_9AM + 5 * M)

        answer = client.post(
            f"/requests/{request_.ref}/hand-over/", {"to": "controller", "note": "A long thought."}
        )

        assert answer.status_code == 409
        assert "A long thought." in answer.content.decode()

    def test_who_may_no_longer_decide_may_still_hand_it_over(self, client, company, request_):
        company.finance_manager.limit_amount = 1
        company.finance_manager.save()
        client.force_login(company.finance_manager)

        assert "hand-over-to" in client.get(f"/requests/{request_.ref}/").content.decode()

    def test_those_who_may_are_offered(self, client, company, request_):
        client.force_login(company.finance_manager)

        page = client.get(f"/requests/{request_.ref}/").content.decode()

        offered = page.partition('id="hand-over-to"')[2].partition("</select>")[0]
        assert "Controller" in offered
        assert "CFO" in offered
        assert "CEO" not in offered
        assert "Finance Manager" not in offered

    def test_it_is_handed_over_from_the_page(self, client, company, request_):
        client.force_login(company.finance_manager)

        answer = client.post(
            f"/requests/{request_.ref}/hand-over/", {"to": "controller", "note": "Yours."}
        )

        assert answer.status_code == 302
        assert asked(request_) == ["controller"]
        page = client.get(f"/requests/{request_.ref}/").content.decode()
        assert "You handed this over." in page
        assert "handed it over to the Controller (L0)" in page

    @pytest.mark.parametrize(
        ("sent", "said"),
        [({"to": ""}, "Choose to whom"), ({"to": "nobody"}, "Choose somebody who may decide")],
    )
    def test_a_form_to_mend_says_how(self, client, company, request_, sent, said):
        client.force_login(company.finance_manager)

        answer = client.post(f"/requests/{request_.ref}/hand-over/", sent)

        assert answer.status_code == 422
        assert said in answer.content.decode()
        assert asked(request_) == ["finance_manager"]

    def test_who_took_it_over_is_told_by_whom_and_offered_no_further(
        self, client, company, request_
    ):
        given(request_, company.finance_manager, company.controller)
        client.force_login(company.controller)

        page = client.get(f"/requests/{request_.ref}/").content.decode()

        assert "the Finance Manager handed this over" in page
        assert "Hand it over" not in page
