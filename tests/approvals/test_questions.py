"""Whoever is asked asks the agent something first, and the clock runs on."""

from __future__ import annotations

import json
from datetime import timedelta
from functools import partial

import pytest

from approvals.models import ActionRequest, Notice, Question, Step
from approvals.services.close import withdraw
from approvals.services.questions import answer_question, ask_agent
from governance.errors import NotFound, NotNow, NotYours, TooLate, Unprocessable
from governance.models import AuditEvent
from tests.approvals.asking import answer, ask_for_payment, chain_kinds
from tests.factories import MONDAY_9AM, AgentFactory

pytestmark = pytest.mark.django_db

M, TICK = timedelta(minutes=1), timedelta(microseconds=1)
CALLBACK = "https://agents.example.com/hook"
EVIL = "<script>alert(1)</script> =HYPERLINK(1) \u202e"


@pytest.fixture
def request_(company):
    return ask_for_payment(company)


def ask(request, person, text="Is the goods receipt in?", *, now=MONDAY_9AM + M):
    return ask_agent(ref=request.ref, actor=person, text=text, now=now)


def reply(request, question, company, text="Yes, since Friday.", *, now=MONDAY_9AM + 2 * M):
    return answer_question(
        ref=request.ref, question=question.pk, agent=company.agent, text=text, now=now
    )


def test_a_question_stops_no_clock_and_changes_no_state(request_, company):
    before = Step.objects.get()

    question = ask(request_, company.finance_manager)

    step = Step.objects.get()
    assert (step.state, step.due_at) == (before.state, before.due_at)
    after = ActionRequest.objects.get()
    assert (after.state, after.due_at) == ("pending", request_.due_at)
    assert (question.step, question.person) == (step, company.finance_manager)
    assert chain_kinds(request_)[-1] == "question.asked"


def test_whoever_asked_may_decide_all_the_same(request_, company):
    ask(request_, company.finance_manager)

    answer(request_, company.finance_manager, now=MONDAY_9AM + 2 * M)

    assert ActionRequest.objects.get().state == "approved"


def test_only_who_is_asked_asks(request_, company):
    with pytest.raises(NotYours):
        ask(request_, company.senior_accountant)


def test_a_moment_before_the_window_closes_it_is_asked_and_at_that_moment_not(request_, company):
    due_at = Step.objects.get().due_at
    ask(request_, company.finance_manager, now=due_at - TICK)

    with pytest.raises(TooLate):
        ask(request_, company.finance_manager, now=due_at)


@pytest.mark.parametrize("text", ["", "  \n ", "x" * 1001, "a\0b"])
def test_a_question_has_text_and_not_too_much_of_it(request_, company, text):
    with pytest.raises(Unprocessable):
        ask(request_, company.finance_manager, text)

    assert not Question.objects.exists()


def test_three_may_be_open_on_a_step_and_an_answer_makes_room(request_, company):
    first, *_ = [ask(request_, company.finance_manager, f"{n}?") for n in range(3)]
    with pytest.raises(NotNow, match="wait for the agent's answer"):
        ask(request_, company.finance_manager, "4?")

    reply(request_, first, company)

    ask(request_, company.finance_manager, "4?")
    assert Question.objects.count() == 4


class TestTheAnswer:
    def test_it_is_stored_told_to_whoever_asked_and_in_the_record(self, request_, company):
        question = ask(request_, company.finance_manager)

        reply(request_, question, company)

        question = Question.objects.get()
        assert (question.answer, question.answered_at) == (
            "Yes, since Friday.",
            MONDAY_9AM + 2 * M,
        )
        told = Notice.objects.filter(kind="told")
        assert {each.person for each in told} == {company.finance_manager}
        assert {each.facts["what"] for each in told} == {"answered"}
        event = AuditEvent.objects.get(kind="question.answered")
        assert event.actor.startswith("agent:")

    def test_it_is_given_once_and_the_same_again_is_the_same_as_once(self, request_, company):
        question = ask(request_, company.finance_manager)
        reply(request_, question, company)

        reply(request_, question, company)
        with pytest.raises(NotNow, match="first answer stands"):
            reply(request_, question, company, "No.")

        assert Question.objects.get().answer == "Yes, since Friday."
        assert AuditEvent.objects.filter(kind="question.answered").count() == 1

    def test_of_another_agents_request_there_is_no_question(self, request_, company):
        question = ask(request_, company.finance_manager)
        other = AgentFactory(name="other-agent")

        with pytest.raises(NotFound):
            answer_question(
                ref=request_.ref, question=question.pk, agent=other, text="Yes.", now=MONDAY_9AM
            )

    def test_of_another_request_of_its_own_there_is_none_either(self, request_, company):
        question = ask(request_, company.finance_manager)
        second = ask_for_payment(company, key="k2", invoice="INV-2")

        with pytest.raises(NotFound):
            reply(second, question, company)

    def test_after_the_step_it_is_taken_while_the_request_is_open(
        self, request_, company, timeline
    ):
        question = ask(request_, company.finance_manager)
        timeline.advance(minutes=6)

        reply(request_, question, company, now=timeline.now)

        assert Question.objects.get().answered_at == timeline.now

    def test_after_the_end_it_is_refused(self, request_, company):
        question = ask(request_, company.finance_manager)
        withdraw(ref=request_.ref, agent=company.agent, now=MONDAY_9AM + 2 * M)

        with pytest.raises(NotNow, match="withdrawn"):
            reply(request_, question, company, now=MONDAY_9AM + 3 * M)

        assert Question.objects.get().answer == ""


class TestTheWebhook:
    def hooks(self):
        return list(
            Notice.objects.filter(via="webhook").order_by("pk").values_list("number", "facts")
        )

    def test_a_question_is_told_under_the_next_number_and_nothing_overtakes_it(self, company):
        request = ask_for_payment(company, callback_url=CALLBACK)
        question = ask(request, company.finance_manager)
        answer(request, company.finance_manager, now=MONDAY_9AM + 2 * M)

        (first, asked), (second, approved) = self.hooks()
        assert (first, asked["question"]) == (1, question.pk)
        assert (second, approved["state"]) == (2, "approved")

    def test_it_says_what_it_is_and_not_what_was_asked_nor_by_whom(self, company):
        from approvals.channels import webhook

        request = ask_for_payment(company, callback_url=CALLBACK)

        hook = webhook.hook(
            agent=company.agent, url=CALLBACK, ref=request.ref, number=1, state="pending",
            reason="", at=MONDAY_9AM, question=7,
        )  # fmt: skip

        assert json.loads(hook.body) == {
            "type": "request.question_asked",
            "number": 1,
            "ref": request.ref,
            "state": "pending",
            "reason": "",
            "at": "2026-03-02T09:00:00.000000+00:00",
            "question": 7,
        }
        assert hook.id == f"msg_{request.ref}_1"

    def test_without_a_callback_nothing_is_sent(self, request_, company):
        ask(request_, company.finance_manager)

        assert not self.hooks()


class TestOverTheApi:
    def test_people_ask_and_the_agent_reads_and_answers(
        self, request_, company, api, client, timeline
    ):
        client.force_login(company.finance_manager)
        url = f"/api/v1/requests/{request_.ref}/"
        asked = client.post(f"{url}questions/", {"text": "Why?"}, content_type="application/json")
        assert asked.status_code == 201
        agent = api(company.agent)

        (question,) = agent.get(url).json()["questions"]
        answered = agent.post(
            f"{url}questions/{question['id']}/answer/", {"text": "Because."}, format="json"
        )

        assert (question["text"], question["answer"], question["answered_at"]) == ("Why?", "", None)
        assert "person" not in question
        assert answered.status_code == 200
        assert answered.json()["questions"][0]["answer"] == "Because."

    def test_an_agent_asks_nothing_and_a_person_answers_nothing(
        self, request_, company, api, client, timeline
    ):
        question = ask(request_, company.finance_manager)
        url = f"/api/v1/requests/{request_.ref}/questions/"
        client.force_login(company.finance_manager)

        agents = api(company.agent).post(url, {"text": "Why?"}, format="json")
        persons = client.post(
            f"{url}{question.pk}/answer/", {"text": "So."}, content_type="application/json"
        )

        assert (agents.status_code, persons.status_code) == (403, 403)

    def test_a_credential_that_only_reads_answers_nothing(self, request_, company, api, timeline):
        question = ask(request_, company.finance_manager)
        reader = api(company.agent, scopes=["read"])

        response = reader.post(
            f"/api/v1/requests/{request_.ref}/questions/{question.pk}/answer/",
            {"text": "Yes."},
            format="json",
        )

        assert (response.status_code, response.json()["type"]) == (403, "/problems/not-allowed")

    @pytest.mark.parametrize("sent", [{}, {"text": ""}, {"text": 1}, {"text": "a", "b": 1}, []])
    def test_a_body_that_is_no_text_is_refused(self, request_, company, client, timeline, sent):
        client.force_login(company.finance_manager)

        response = client.post(
            f"/api/v1/requests/{request_.ref}/questions/",
            json.dumps(sent),
            content_type="application/json",
        )

        assert response.status_code == 422


class TestOnThePage:
    def test_a_question_is_asked_and_stands_in_the_chain(self, request_, company, client, timeline):
        client.force_login(company.finance_manager)
        url = f"/requests/{request_.ref}/"
        assert "Ask the agent…" in client.get(url).content.decode()

        page = client.post(f"{url}ask/", {"question": "Is it in?"}, follow=True).content.decode()

        assert "You are told when it answers; the clock runs on." in page
        assert "You asked the agent" in page
        assert "“Is it in?”" in page

    def test_who_is_not_asked_is_offered_no_question(self, request_, company, client, timeline):
        client.force_login(company.agent_owner)

        assert "Ask the agent…" not in client.get(f"/requests/{request_.ref}/").content.decode()

    def test_an_empty_one_is_mended_in_place(self, request_, company, client, timeline):
        client.force_login(company.finance_manager)

        response = client.post(f"/requests/{request_.ref}/ask/", {"question": " "})

        assert response.status_code == 422
        assert "Write what you want to know." in response.content.decode()

    def test_what_an_agent_answers_is_text_everywhere(self, request_, company, client, timeline):
        question = ask(request_, company.finance_manager)
        reply(request_, question, company, EVIL)
        client.force_login(company.finance_manager)

        for url in (f"/requests/{request_.ref}/", "/inbox/"):
            page = client.get(url).content.decode()
            assert "<script>alert" not in page
            assert "\u202e" not in page


@pytest.mark.django_db(transaction=True)
def test_two_answers_at_once_are_one_answer(transactional_db, race):
    from tests.factories import small_company

    company = small_company()
    request = ask_for_payment(company)
    question = ask(request, company.finance_manager)

    outcomes = race(
        partial(reply, request, question, company, "Yes."),
        partial(reply, request, question, company, "No."),
    )

    assert sum(isinstance(each, NotNow) for each in outcomes) == 1
    assert AuditEvent.objects.filter(kind="question.answered").count() == 1
