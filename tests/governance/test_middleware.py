from __future__ import annotations

import pytest
from django.http import HttpResponse
from django.urls import reverse

from governance.middleware import kept_by_nobody
from tests.approvals.asking import ask_for_payment

pytestmark = pytest.mark.django_db


@pytest.mark.parametrize(
    "path",
    ["/inbox/", "/requests/{ref}/", "/api/v1/requests/", "/api/v1/requests/{ref}/", "/nowhere/"],
)
def test_what_one_person_may_see_is_kept_by_nobody(client, company, path):
    request = ask_for_payment(company)
    client.force_login(company.finance_manager)

    said = client.get(path.format(ref=request.ref))["Cache-Control"]

    assert "no-store" in said
    assert "private" in said


def test_an_answer_that_says_how_long_it_may_be_kept_is_left_alone(rf):
    answer = kept_by_nobody(lambda request: HttpResponse(headers={"Cache-Control": "max-age=60"}))

    assert answer(rf.get("/"))["Cache-Control"] == "max-age=60"


@pytest.mark.parametrize("view", ["rollback:order", "rollback:by-hand", "approvals:request-ask"])
def test_a_form_with_a_nul_in_it_is_refused_before_anything_is_stored(client, company, view):
    request = ask_for_payment(company)
    client.force_login(company.finance_manager)

    answer = client.post(reverse(view, args=[request.ref]), {"reason": "Wrong.\0", "note": ""})

    assert (answer.status_code, answer.content) == (400, b"The form holds a NUL character.")
