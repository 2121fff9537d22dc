"""What the API answers when it is not the caller's fault."""

from __future__ import annotations

import pytest
from django.db import InterfaceError, OperationalError, connection
from django.test import Client

from approvals.api import views

pytestmark = pytest.mark.django_db

PROBLEM = "application/problem+json"
BEARER = {"Authorization": f"Bearer rc_{'a' * 12}_{'x' * 43}", "Idempotency-Key": "a"}


@pytest.mark.parametrize("problem", [OperationalError, InterfaceError])
@pytest.mark.parametrize("verb", ["get", "post"])
def test_without_a_database_it_says_to_send_it_again(client, verb, problem):
    def gone(*args):
        raise problem("connection refused: secret-host")

    with connection.execute_wrapper(gone):
        answer = getattr(client, verb)(
            "/api/v1/requests/", headers=BEARER, content_type="application/json"
        )

    assert (answer.status_code, answer["Content-Type"]) == (503, PROBLEM)
    assert answer["Retry-After"] == "5"
    assert answer.json()["type"] == "/problems/database-gone"
    assert b"secret-host" not in answer.content


def test_a_defect_is_a_problem_document_without_its_inside(monkeypatch):
    def broken(*args, **kwargs):
        raise ZeroDivisionError("secret")

    monkeypatch.setattr(views.RequestList, "get", broken)
    monkeypatch.setattr(views.RequestList, "get_permissions", lambda self: [])

    answer = Client(raise_request_exception=False).get("/api/v1/requests/")

    assert (answer.status_code, answer["Content-Type"]) == (500, PROBLEM)
    assert answer.json()["status"] == 500
    assert b"secret" not in answer.content


def test_a_defect_of_a_page_is_a_page(monkeypatch):
    def broken(*args, **kwargs):
        raise ZeroDivisionError("secret")

    monkeypatch.setattr("governance.health._parts", broken)

    answer = Client(raise_request_exception=False).get("/status")

    assert (answer.status_code, answer["Content-Type"]) == (500, "text/html; charset=utf-8")
    assert b"secret" not in answer.content
