"""How a failure is answered on the page and over the API: whoever is asked chooses, others read why they may not."""

from __future__ import annotations

from datetime import timedelta
from urllib.parse import urlencode

import pytest
from django.test import Client
from rest_framework.test import APIClient

from approvals.models import ActionRequest, Claim, Decision, Review, Step
from governance.services.tokens import issue_personal_token
from rollback.models import Unit
from rollback.services import by_hand
from tests.approvals.asking import answer, ask_for_payment, make_critical
from tests.factories import (
    AskFactory,
    CaseFactory,
    ContactChannelFactory,
    PersonFactory,
    RoleFactory,
    StepFactory,
    UnitFactory,
)
from tests.factors import code_now, give_factor

pytestmark = pytest.mark.django_db

S = ActionRequest.State
BACKEND = "django.contrib.auth.backends.ModelBackend"


def browser(person):
    client = Client()
    client.force_login(person, backend=BACKEND)
    return client


def api_of(person):
    client = APIClient()
    client.force_login(person, backend=BACKEND)
    return client


@pytest.fixture
def oncall(company):
    person = PersonFactory(username="oncall", name="On-call Engineer")
    ContactChannelFactory(person=person)
    return person


@pytest.fixture
def operator(company):
    return PersonFactory(username="operator", roles=[RoleFactory(key="operator")])


@pytest.fixture
def failing(company, oncall, timeline):
    """A payment whose only unit failed in the target; whoever is on call is asked."""
    request = ask_for_payment(company)
    answer(request, company.finance_manager, now=timeline.now)
    ActionRequest.objects.filter(pk=request.pk).update(
        state=S.TROUBLED, due_at=timeline.now + timedelta(hours=2)
    )
    case = CaseFactory(request=request, exception="system_failure", response="oncall")
    step = StepFactory(
        request=request, case=case, path="system_failure", level=2,
        opened_at=timeline.now, window=timedelta(hours=2),
    )  # fmt: skip
    AskFactory(step=step, person=oncall)
    UnitFactory(request=request, position=1, state=Unit.State.NOT_DONE, name="Payment")
    return ActionRequest.objects.get(pk=request.pk)


def send(client, request, verdict, **over):
    fields = {"verdict": verdict, "note": "", "digest": request.digest, **over}
    return client.post(f"/requests/{request.ref}/mend/", fields)


def shown(request):
    claim = Claim.objects.get(request=request, closed_at=None)
    return by_hand.stamp_of(claim, by_hand.items_of(request, claim))


def test_whoever_is_asked_is_offered_all_three_answers(failing, oncall):
    page = browser(oncall).get(f"/requests/{failing.ref}/").content.decode()

    for words in ("Go on from where it stopped", "Try it again now", "End it", "Open the list"):
        assert words in page
    assert 'href="#decide">Choose…' in page


def test_others_see_the_controls_and_why_they_may_not(failing, operator):
    page = browser(operator).get(f"/requests/{failing.ref}/execution/").content.decode()

    assert page.count('aria-describedby="hands-why-not"') == 3
    assert "The On-call Engineer is asked how it goes on" in page.replace("\xa0", " ")
    assert (
        "Try it again now"
        not in browser(operator).get(f"/requests/{failing.ref}/").content.decode()
    )


def test_another_attempt_is_ordered_from_the_page(failing, oncall, timeline):
    answered = send(browser(oncall), failing, "retry")

    assert answered.status_code == 302
    assert Decision.objects.get(verdict="retry").via == Decision.Via.PAGE
    assert ActionRequest.objects.get(pk=failing.pk).next_attempt_at == timeline.now


def test_a_form_that_says_nothing_or_is_about_something_else_is_refused_in_place(failing, oncall):
    client = browser(oncall)

    mended = send(client, failing, "")
    assert mended.status_code == 422
    assert "Try it again now" in mended.content.decode()
    refused = send(client, failing, "retry", digest="0" * 64)
    assert refused.status_code == 409
    assert "Try it again now" not in refused.content.decode(), "look anew first"
    assert not Decision.objects.exclude(verdict="approve").exists()


def test_too_long_a_reason_is_said_at_its_field_and_stays(failing, oncall):
    page = send(browser(oncall), failing, "roll_back", note="n" * 4001)

    assert page.status_code == 422
    assert "Keep the note under 4000 characters; this one has 4001." in page.content.decode()
    assert "n" * 4001 in page.content.decode()
    assert '<details class="rc-confirm" open>' in page.content.decode()


@pytest.mark.parametrize(
    "wrong",
    [
        {"act": ["finish"]},
        {"act": {}},
        {"act": "note", "units": [{"n": True, "state": "done"}]},
        {"act": "note", "units": [{"n": "1", "state": "done"}]},
    ],
)
def test_a_list_of_the_wrong_shape_is_refused_by_its_fields(failing, oncall, wrong):
    send(browser(oncall), failing, "by_hand")

    answered = api_of(oncall).post(
        f"/api/v1/requests/{failing.ref}/by-hand/", {"shown": "", **wrong}, format="json"
    )

    assert answered.status_code == 422
    assert answered.json()["errors"].keys() <= {"act", "units"}


def test_what_is_taken_in_hand_opens_its_list_and_ends_with_a_second_person(
    failing, oncall, operator
):
    client = browser(oncall)
    taken = send(client, failing, "by_hand")
    assert taken.headers["Location"] == f"/requests/{failing.ref}/by-hand/"
    url = f"/requests/{failing.ref}/by-hand/"
    page = client.get(url).content.decode()
    assert "Payment" in page
    assert "Our record: it is not in the target." in page

    fields = {"shown": shown(failing), "state-1": "done", "reference-1": "PAY-1", "act": "finish"}
    missing = client.post(url, fields)
    assert missing.status_code == 422
    assert 'value="PAY-1"' in missing.content.decode(), "what was typed stays"
    assert client.post(url, fields | {"target_reference": "PAY-1"}).status_code == 302
    assert "waits for a second person" in client.get(url).content.decode()

    second = browser(operator)
    assert "Confirm what was done by hand" in second.get(url).content.decode()
    confirmed = second.post(url, {"act": "confirm", "shown": shown(failing)})
    assert confirmed.status_code == 302
    assert ActionRequest.objects.get(pk=failing.pk).state == S.COMPLETED_MANUALLY


def test_the_list_is_kept_and_given_back(failing, oncall):
    client = browser(oncall)
    send(client, failing, "by_hand")
    url = f"/requests/{failing.ref}/by-hand/"

    kept = {"shown": shown(failing), "state-1": "unknown", "reference-1": "", "act": "note"}
    assert client.post(url, kept).status_code == 302
    assert Claim.objects.get().units == [{"n": 1, "state": "unknown", "reference": ""}]
    back = {"shown": shown(failing), "state-1": "not_done", "reference-1": "", "act": "give_back"}
    assert client.post(url, back).headers["Location"] == f"/requests/{failing.ref}/"

    assert Claim.objects.get().given_back_at is not None
    assert "Try it again now" in client.get(f"/requests/{failing.ref}/").content.decode()


def test_what_is_no_number_of_a_unit_is_left_out_of_the_list(failing, oncall):
    client = browser(oncall)
    send(client, failing, "by_hand")

    kept = client.post(
        f"/requests/{failing.ref}/by-hand/",
        urlencode({
            "shown": shown(failing), "state-1": "unknown", "act": "note",
            f"state-{'9' * 5000}": "done", "state-\u0663": "done",
        }),
        content_type="application/x-www-form-urlencoded",
    )  # fmt: skip

    assert kept.status_code == 302
    assert Claim.objects.get().units == [{"n": 1, "state": "unknown", "reference": ""}]


def test_what_somebody_has_in_hand_is_said_on_the_panel(failing, oncall, operator):
    send(browser(oncall), failing, "by_hand")

    page = browser(operator).get(f"/requests/{failing.ref}/execution/").content.decode()

    assert "The On-call Engineer has it in hand since" in page.replace("\xa0", " ")


def test_the_api_takes_the_same_answers(failing, oncall, company):
    url = f"/api/v1/requests/{failing.ref}/decisions/"
    body = {"verdict": "by_hand", "digest": failing.digest, "note": "I enter it."}

    assert api_of(company.finance_manager).post(url, body, format="json").status_code == 403
    taken = api_of(oncall).post(url, body, format="json")

    assert taken.status_code == 200
    assert taken.json()["claims"][0]["person"] == "oncall"
    again = api_of(oncall).post(url, body | {"verdict": "retry"}, format="json")
    assert (again.status_code, again.json()["type"].endswith("already-decided")) == (409, True)


def test_the_list_over_the_api(failing, oncall, operator):
    send(browser(oncall), failing, "by_hand")
    url, client = f"/api/v1/requests/{failing.ref}/by-hand/", api_of(oncall)
    read = client.get(url).json()
    assert [(unit["n"], unit["state"]) for unit in read["units"]] == [(1, "not_done")]

    body = {
        "act": "finish", "shown": read["shown"], "target_reference": "PAY-1",
        "units": [{"n": 1, "state": "done", "reference": "PAY-1"}],
    }  # fmt: skip
    finished = client.post(url, body, format="json")
    assert (finished.status_code, finished.json()["finished_at"] is not None) == (200, True)
    confirm = {"act": "confirm", "shown": finished.json()["shown"]}
    assert client.post(url, confirm, format="json").status_code == 403
    confirmed = api_of(operator).post(url, confirm, format="json")

    assert confirmed.json()["state"] == "completed_manually"


@pytest.mark.parametrize(
    "body",
    [{}, {"act": "burn"}, {"act": "note", "units": [{"n": "1"}]}, {"act": "confirm", "units": []}],
)
def test_a_body_that_says_something_else_is_malformed(failing, oncall, body):
    send(browser(oncall), failing, "by_hand")
    url = f"/api/v1/requests/{failing.ref}/by-hand/"

    assert api_of(oncall).post(url, body, format="json").status_code == 422


def test_an_agent_answers_nothing(failing, api, company):
    url = f"/api/v1/requests/{failing.ref}/"
    body = {"verdict": "by_hand", "digest": failing.digest}

    for end in ("decisions/", "by-hand/"):
        assert api(company.agent).post(url + end, body, format="json").status_code == 403


class TestAtL4:
    """The last rung of a critical process: all but undoing takes a code and a justification."""

    WHY = "The books close tonight."

    @pytest.fixture
    def at_l4(self, failing, company, oncall, timeline):
        make_critical(company)
        give_factor(company.cfo)
        below = Step.objects.get(request=failing, level=2)
        below.asks.update(due_at=None)
        Step.objects.filter(pk=below.pk).update(
            state="expired", due_at=None, closed_at=timeline.now
        )
        step = StepFactory(
            request=failing, case=below.case, path="system_failure", level=4,
            opened_at=timeline.now, window=timedelta(hours=1),
        )  # fmt: skip
        AskFactory(step=step, person=company.cfo)
        return failing

    @staticmethod
    def text(response):
        return response.content.decode().replace("\xa0", " ")

    def test_the_page_says_what_is_overridden_and_asks_why(self, at_l4, company):
        page = self.text(browser(company.cfo).get(f"/requests/{at_l4.ref}/"))

        assert "Emergency bypass" in page
        assert "The On-call Engineer did not bring it to an end." in page
        assert "Your answer takes the place of theirs." in page
        assert "An independent review opens in the same instant" in page
        assert "If it fails, no rung is left" in page
        for words in ("Bypass and try it again…", "Bypass and take it in hand…"):
            assert words in page
        assert page.count(">Justification<") == 2
        assert "It overrides nobody, so it takes no code." in page

    def test_below_it_nothing_is_overridden(self, failing, oncall):
        page = self.text(browser(oncall).get(f"/requests/{failing.ref}/"))

        assert "Bypass" not in page
        assert "Justification" not in page

    @pytest.mark.parametrize(
        ("verdict", "doing", "then"),
        [
            ("retry", "have the payment of $12,000.00 tried again", ""),
            ("by_hand", "take the payment of $12,000.00 in hand", "by-hand/"),
        ],
    )
    def test_a_code_beside_what_is_overridden_takes_the_answer(
        self, at_l4, company, verdict, doing, then
    ):
        client = browser(company.cfo)

        sent = send(client, at_l4, verdict, note=self.WHY)
        asked = self.text(client.get(sent["Location"]))
        assert not Decision.objects.filter(verdict=verdict).exists()
        taken = client.post(sent["Location"], {"code": code_now()})

        assert sent["Location"] == f"/requests/{at_l4.ref}/step-up/"
        assert f"bypass others and {doing}" in asked
        assert f"“{self.WHY}”" in asked
        assert "The On-call Engineer did not bring it to an end." in asked
        assert "must begin within" not in asked, "it is no approval"
        assert taken["Location"] == f"/requests/{at_l4.ref}/{then}"
        decision = Decision.objects.get(verdict=verdict)
        assert (decision.is_bypass, decision.note) == (True, self.WHY)
        assert decision.review == Review.objects.get()

    def test_without_a_justification_no_code_is_asked_for(self, at_l4, company):
        mended = send(browser(company.cfo), at_l4, "retry")

        assert mended.status_code == 422
        assert "Say why the others could not be waited for." in self.text(mended)
        assert mended.content.decode().count('<details class="rc-confirm" open>') == 1

    def test_a_wrong_code_answers_nothing(self, at_l4, company):
        client = browser(company.cfo)
        sent = send(client, at_l4, "retry", note=self.WHY)

        wrong = client.post(sent["Location"], {"code": "000000"})

        assert wrong.status_code == 422
        assert not Decision.objects.filter(verdict="retry").exists()

    def test_who_has_no_factor_is_told_where_to_set_one_up(self, at_l4, company):
        company.cfo.authenticator_set.all().delete()

        refused = send(browser(company.cfo), at_l4, "by_hand", note=self.WHY)

        assert refused.status_code == 403
        assert "/accounts/2fa/" in self.text(refused)
        assert not Claim.objects.exists()

    def test_what_the_clock_took_meanwhile_is_refused_with_what_was_typed(
        self, at_l4, company, timeline
    ):
        client = browser(company.cfo)
        sent = send(client, at_l4, "retry", note=self.WHY)
        Step.objects.filter(request=at_l4, level=4).update(due_at=timeline.now)

        late = client.post(sent["Location"], {"code": code_now()})

        assert late.status_code == 409
        assert self.WHY in self.text(late)
        assert not Review.objects.exists()

    def test_undoing_takes_no_code(self, at_l4, company):
        sent = send(browser(company.cfo), at_l4, "roll_back")

        assert sent["Location"] == f"/requests/{at_l4.ref}/"
        assert not Review.objects.exists()

    def test_nobody_else_is_offered_or_heard(self, at_l4, company, oncall):
        assert "Bypass and" not in self.text(browser(oncall).get(f"/requests/{at_l4.ref}/"))
        for person in (oncall, company.finance_manager):
            assert send(browser(person), at_l4, "retry", note=self.WHY).status_code in (403, 409)

    def test_the_api_takes_it_from_a_session_that_gave_the_code_and_from_no_token(
        self, at_l4, company, timeline
    ):
        url = f"/api/v1/requests/{at_l4.ref}/decisions/"
        body = {"verdict": "retry", "digest": at_l4.digest, "note": self.WHY}
        by_token = APIClient()
        token, _ = issue_personal_token(company.cfo, now=timeline.now)
        by_token.credentials(HTTP_AUTHORIZATION=f"Bearer {token}")
        refused = by_token.post(url, body, format="json")
        in_session, json = browser(company.cfo), {"content_type": "application/json"}
        assert in_session.post(url, body, **json).status_code == 403
        sent = send(in_session, at_l4, "by_hand", note=self.WHY)
        in_session.post(sent["Location"], {"code": code_now()})
        in_session.post(
            f"/api/v1/requests/{at_l4.ref}/by-hand/",
            {"act": "give_back", "shown": shown(at_l4)},
            **json,
        )
        taken = in_session.post(url, body, **json)

        assert (refused.status_code, refused.json()["type"]) == (403, "/problems/step-up-needed")
        assert taken.status_code == 200
        assert [each["kind"] for each in taken.json()["reviews"]] == ["bypass", "bypass"]

    @pytest.mark.parametrize(
        ("later", "counts"),
        [
            (timedelta(minutes=2) - timedelta(milliseconds=1), True),
            (timedelta(minutes=2), False),
            (timedelta(minutes=2, milliseconds=1), False),
        ],
        ids=["just before", "at the edge", "just after"],
    )
    def test_a_code_counts_for_two_minutes_and_then_another_is_asked_for(
        self, at_l4, company, timeline, later, counts
    ):
        client = browser(company.cfo)
        sent = send(client, at_l4, "by_hand", note=self.WHY)
        client.post(sent["Location"], {"code": code_now()})
        client.post(f"/requests/{at_l4.ref}/by-hand/", {"act": "give_back"})
        timeline.advance(seconds=later.total_seconds())

        again = send(client, at_l4, "retry", note=self.WHY)

        assert again["Location"].endswith("/step-up/") is not counts
        assert Decision.objects.filter(verdict="retry").exists() is counts

    def test_the_review_says_who_overrode_whom_and_with_what(self, at_l4, company):
        client = browser(company.cfo)
        sent = send(client, at_l4, "retry", note=self.WHY)
        client.post(sent["Location"], {"code": code_now()})
        review = Review.objects.get()

        page = self.text(browser(review.asked).get(f"/reviews/{review.pk}/"))

        assert "overrode whoever was asked about a failure" in page
        assert "The On-call Engineer had not brought it to an end." in page
        assert "The CFO had it tried again." in page
        assert "One answer" in page
