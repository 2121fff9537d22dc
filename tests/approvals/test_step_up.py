"""What cannot be undone is approved by somebody who was there: a second factor, fresh, for this request."""

from __future__ import annotations

from datetime import timedelta

import pytest
from axes.models import AccessAttempt
from django.contrib.auth.models import AnonymousUser
from django.test import Client, RequestFactory
from django.urls import reverse
from rest_framework.test import APIClient

from approvals.models import ActionRequest, Decision
from governance import stepup
from governance.services.tokens import issue_personal_token
from tests.approvals.asking import answer, ask_for_payment
from tests.factories import PersonFactory
from tests.factors import code_now, give_factor, present

pytestmark = pytest.mark.django_db

BACKEND = "django.contrib.auth.backends.ModelBackend"


@pytest.fixture
def request_(company, timeline):
    """A payment that cannot be undone, so that somebody must be there to approve it."""
    found = ask_for_payment(company)
    ActionRequest.objects.filter(pk=found.pk).update(person_present=True)
    found.refresh_from_db()
    return found


@pytest.fixture
def client(company):
    client = Client()
    client.force_login(company.finance_manager, backend=BACKEND)
    return client


def url(name, request):
    return reverse(f"approvals:{name}", args=[request.ref])


def approve(client, request, note="I called them."):
    return client.post(
        url("request-decide", request),
        {"verdict": "approve", "digest": request.digest, "note": note},
    )


def type_code(client, request, code=None):
    return client.post(url("request-step-up", request), {"code": code or code_now()})


def text(response):
    return response.content.decode().replace("\xa0", " ")


def test_a_code_beside_the_decision_approves_and_is_kept_with_it(
    request_, client, company, timeline
):
    give_factor(company.finance_manager)

    sent = approve(client, request_)
    asked = client.get(sent["Location"])
    taken = type_code(client, request_)

    assert sent["Location"] == url("request-step-up", request_)
    assert "Confirm that it is you" in text(asked)
    assert "“I called them.”" in text(asked)
    assert taken["Location"] == url("request", request_)
    decision = Decision.objects.get()
    assert (decision.verdict, decision.note) == ("approve", "I called them.")
    assert decision.reauthenticated_at == timeline.now


def test_a_no_needs_no_code(request_, client):
    sent = client.post(
        url("request-decide", request_),
        {"verdict": "reject", "digest": request_.digest, "severity": "low"},
    )

    assert sent["Location"] == url("request", request_)
    assert Decision.objects.get().verdict == "reject"


def test_a_wrong_code_decides_nothing_and_is_counted_as_a_failed_log_in(request_, client, company):
    give_factor(company.finance_manager)
    approve(client, request_)

    wrong = type_code(client, request_, "000000")

    assert wrong.status_code == 422
    assert "This code does not match." in text(wrong)
    assert "4 tries left before a pause of 15 min" in text(wrong)
    assert not Decision.objects.exists()
    attempt = AccessAttempt.objects.get()
    assert (attempt.username, attempt.failures_since_start) == ("finance_manager", 1)
    assert "000000" not in attempt.post_data


def test_after_five_wrong_codes_the_right_one_is_not_looked_at(request_, client, company):
    give_factor(company.finance_manager)
    approve(client, request_)
    wrong = [type_code(client, request_, "000000").status_code for _ in range(5)]

    right = type_code(client, request_)

    assert wrong == [422, 422, 422, 422, 429]
    assert right.status_code == 429
    assert not Decision.objects.exists()


def test_a_code_is_good_once(request_, client, company):
    give_factor(company.finance_manager)
    approve(client, request_)
    type_code(client, request_)
    again = ask_for_payment(company, key="key-2", invoice="INV-2")
    ActionRequest.objects.filter(pk=again.pk).update(person_present=True)
    approve(client, again)

    from django.core.cache import cache

    cache.clear()  # another process has another memory
    second = type_code(client, again)

    assert second.status_code == 422
    assert "used before" in text(second)
    assert Decision.objects.count() == 1


def test_a_code_given_for_one_request_is_none_for_another(request_, client, company, timeline):
    give_factor(company.finance_manager)
    approve(client, request_)
    type_code(client, request_)
    other = ask_for_payment(company, key="key-2", invoice="INV-2")
    ActionRequest.objects.filter(pk=other.pk).update(person_present=True)

    sent = approve(client, other)

    assert sent["Location"] == url("request-step-up", other)
    assert Decision.objects.count() == 1


def test_a_recovery_code_does_not_stand_for_the_factor(request_, client, company):
    from allauth.mfa.recovery_codes.internal.auth import RecoveryCodes

    give_factor(company.finance_manager)
    codes = RecoveryCodes.activate(company.finance_manager).get_unused_codes()
    approve(client, request_)

    taken = type_code(client, request_, codes[0])

    assert taken.status_code == 403
    assert not Decision.objects.exists()


def test_whoever_has_no_factor_is_refused_and_told_where_to_set_one_up(request_, client):
    refused = approve(client, request_)

    assert refused.status_code == 403
    assert "You have no second factor." in text(refused)
    assert "/accounts/2fa/" in text(refused)
    assert not Decision.objects.exists()


def test_allauths_own_question_says_yes_to_somebody_with_nothing_and_ours_does_not(company):
    """Control: this is why there is a question of ours."""
    from allauth.account.internal.flows.reauthentication import did_recently_reauthenticate

    person = PersonFactory()
    person.set_unusable_password()
    person.save()
    request = RequestFactory().get("/")
    request.user, request.session = person, {}

    assert did_recently_reauthenticate(request) is True
    assert stepup.presence_of(request, matter="R-1") is None
    with pytest.raises(stepup.NoSecondFactor):
        stepup.required(None, actor=person, matter="R-1")


def test_a_password_given_again_is_no_second_factor(request_, client, company):
    company.finance_manager.set_password("correct horse battery")
    company.finance_manager.save()
    client.force_login(company.finance_manager, backend=BACKEND)
    give_factor(company.finance_manager)
    client.post("/accounts/reauthenticate/", {"password": "correct horse battery"})

    sent = approve(client, request_)

    assert sent["Location"] == url("request-step-up", request_)


def record(person, *, at, matter="R-1", factor=None, **over):
    factor = factor or give_factor(person)
    return {
        "account_authentication_methods": [
            {
                "method": "mfa",
                "type": "totp",
                "id": factor.pk,
                "reauthenticated": True,
                "at": at.timestamp(),
                "matter": matter,
                **over,
            }
        ],
        "account_authentication_methods_user": str(person.pk),
    }


@pytest.mark.parametrize(
    ("age", "fresh"),
    [
        (0, True),
        (119, True),
        (119.99999, True),
        (120, False),
        (120.00001, False),
        (121, False),
        (-3600, False),
    ],
    ids=[
        "now",
        "a second before",
        "just before",
        "at the edge",
        "just after",
        "a second after",
        "from the future",
    ],
)
def test_a_factor_is_fresh_for_two_real_minutes_to_the_instant(company, timeline, age, fresh):
    request = RequestFactory().get("/")
    request.user = company.cfo
    request.session = record(company.cfo, at=timeline.now - timedelta(seconds=age))

    found = stepup.presence_of(request, matter="R-1")

    assert (found is not None) is fresh


@pytest.mark.parametrize(
    "over", [{"type": "recovery_codes"}, {"reauthenticated": False}, {"method": "password"}]
)
def test_nothing_else_in_the_session_counts(company, timeline, over):
    request = RequestFactory().get("/")
    request.user = company.cfo
    request.session = record(company.cfo, at=timeline.now, **over)

    assert stepup.presence_of(request, matter="R-1") is None


def test_a_factor_that_was_removed_since_counts_no_more(company, timeline):
    factor = give_factor(company.cfo)
    request = RequestFactory().get("/")
    request.user = company.cfo
    request.session = record(company.cfo, at=timeline.now, factor=factor)
    factor.delete()

    assert stepup.presence_of(request, matter="R-1") is None


def test_another_persons_session_and_nobodys_count_for_nothing(company, timeline):
    request = RequestFactory().get("/")
    request.session = record(company.cfo, at=timeline.now)
    request.user = company.controller
    other = stepup.presence_of(request, matter="R-1")
    request.user = AnonymousUser()

    assert other is None
    assert stepup.presence_of(request, matter="R-1") is None


def test_the_service_takes_nobody_elses_presence_and_none_for_another_request(request_, company):
    other = ask_for_payment(company, key="key-2", invoice="INV-2")
    give_factor(company.finance_manager)

    for presence in (
        None,
        present(company.cfo, request_),
        present(company.finance_manager, other),
    ):
        with pytest.raises(stepup.StepUpNeeded):
            answer(request_, company.finance_manager, now=request_.submitted_at, presence=presence)

    assert not Decision.objects.exists()


def test_a_personal_token_cannot_give_it_even_beside_a_session_that_did(request_, client, company):
    give_factor(company.finance_manager)
    approve(client, request_)
    type_code(client, request_)
    Decision.objects.all().delete()
    ActionRequest.objects.filter(pk=request_.pk).update(state="pending", holds_key=False)
    other = ask_for_payment(company, key="key-2", invoice="INV-2")
    ActionRequest.objects.filter(pk=other.pk).update(person_present=True)
    token, _ = issue_personal_token(company.finance_manager, now=request_.submitted_at)
    api = APIClient()
    api.cookies = client.cookies
    api.credentials(HTTP_AUTHORIZATION=f"Bearer {token}")

    refused = api.post(
        f"/api/v1/requests/{other.ref}/decisions/",
        {"verdict": "approve", "digest": other.digest},
        format="json",
    )

    assert refused.status_code == 403
    assert refused.json()["type"] == "/problems/step-up-needed"
    assert "a token cannot give it" in refused.json()["detail"]
