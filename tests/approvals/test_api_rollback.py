from __future__ import annotations

import pytest
from rest_framework.test import APIClient

from approvals.models import ActionRequest, Order
from governance import clock
from governance.services.tokens import issue_personal_token
from rollback.models import Direction, Run, Unit
from tests.approvals.test_orders import done, of_duty
from tests.factories import MONDAY_9AM, ReviewFactory, RunFactory, UnitFactory

S = ActionRequest.State
WHY = {"reason": "Paid twice."}


def address(request, end="rollback/"):
    return f"/api/v1/requests/{request.ref}/{end}"


def client_of(person):
    client = APIClient()
    client.force_login(person, backend="django.contrib.auth.backends.ModelBackend")
    return client


@pytest.fixture
def operator(company, timeline):
    return of_duty("operator", username="operator")


@pytest.fixture
def payment(company, timeline):
    return done(company)


def test_the_first_orders_and_another_confirms(company, operator, payment):
    first = client_of(operator).post(address(payment), WHY)
    again = client_of(operator).post(address(payment), WHY)
    second = client_of(company.controller).post(address(payment), {})
    third = client_of(operator).post(address(payment), {})

    assert [answer.status_code for answer in (first, again, second, third)] == [202, 202, 200, 200]
    assert first.json()["order"] == {
        "ordered_by": "operator", "ordered_at": "2026-03-02T09:00:00Z", "reason": "Paid twice.",
        "needs_second": True, "due_at": "2026-03-02T13:00:00Z", "confirmed_by": None,
        "confirmed_at": None, "outcome": None,
    }  # fmt: skip
    assert second.json()["order"]["confirmed_by"] == "controller"
    assert second.json()["state"] == "completed"
    assert Order.objects.count() == 1


def test_where_nothing_is_left_to_do_it_says_so(company, operator):
    ended = done(company, S.EXPIRED, has_effects=False)
    undoing = done(company, S.ROLLING_BACK)

    answers = [client_of(operator).post(address(each), WHY) for each in (ended, undoing)]

    assert [answer.status_code for answer in answers] == [200, 200]
    assert [answer.json()["order"]["outcome"] for answer in answers] == ["nothing_to_do", "joined"]


def test_refusals_are_problem_documents(company, operator, payment, timeline):
    stranded = done(company, S.STRANDED)

    answers = {
        "not-yours": client_of(company.cfo).post(address(payment), WHY),
        "wrong-state": client_of(operator).post(address(stranded), WHY),
        "unprocessable": client_of(operator).post(address(payment), {"reason": " "}),
        "not-found": client_of(operator).post("/api/v1/requests/R-NONE/rollback/", WHY),
    }
    client_of(operator).post(address(payment), WHY)
    Order.objects.update(due_at=MONDAY_9AM)
    answers["too-late"] = client_of(company.controller).post(address(payment), WHY)

    found = {
        name: (answer.status_code, answer["Content-Type"], answer.json()["type"])
        for name, answer in answers.items()
    }
    status = {"not-yours": 403, "unprocessable": 422, "not-found": 404}
    assert found == {
        name: (status.get(name, 409), "application/problem+json", f"/problems/{name}")
        for name in answers
    }


@pytest.mark.parametrize(
    "body", [{"reason": 3}, {"reason": "x", "digest": "y"}, ["x"], {"reason": "x" * 2001}]
)
def test_a_body_that_is_none_is_refused(operator, payment, body):
    answer = client_of(operator).post(address(payment), body, format="json")

    assert answer.status_code == 422
    assert not Order.objects.exists()


def test_a_personal_token_will_do_and_an_agents_will_not(company, operator, payment, api):
    token, _ = issue_personal_token(operator, now=clock.real_now())
    client = APIClient()
    client.credentials(HTTP_AUTHORIZATION=f"Bearer {token}")

    refused = api(company.agent).post(address(payment), WHY)
    taken = client.post(address(payment), WHY)

    assert (refused.status_code, taken.status_code) == (403, 202)


def test_a_person_reads_runs_effects_and_reviews(operator, payment):
    RunFactory(request=payment, state=Run.State.LOST)
    RunFactory(request=payment, attempt=2, state=Run.State.FINISHED)
    forward = UnitFactory(request=payment, position=1, state=Unit.State.DONE)
    UnitFactory(request=payment, position=1, direction=Direction.UNDO, reverses=forward)
    ReviewFactory(request=payment, kind="violation")

    read = client_of(operator).get(address(payment, "")).json()

    assert read["has_effects"] is True
    assert read["runs"] == [
        {
            "kind": "forward",
            "state": "finished",
            "units": [{"n": 1, "key": forward.key, "state": "done"}],
        }
    ]
    (review,) = read["reviews"]
    assert (review["kind"], review["state"]) == ("violation", "open")


def test_an_undo_that_ran_is_a_run_of_its_own(operator, payment):
    RunFactory(request=payment, state=Run.State.FINISHED)
    RunFactory(request=payment, direction=Direction.UNDO)
    back = UnitFactory(request=payment, position=1, direction=Direction.UNDO, state=Unit.State.SENT)

    runs = client_of(operator).get(address(payment, "")).json()["runs"]

    assert [run["kind"] for run in runs] == ["forward", "undo"]
    assert runs[1] == {
        "kind": "undo",
        "state": "running",
        "units": [{"n": 1, "key": back.key, "state": "sent"}],
    }
