from __future__ import annotations

import pytest
from axes.models import AccessAttempt
from django.http import HttpResponse
from django.template.loader import get_template
from django.urls import include, path

from governance.models import Person

pytestmark = [pytest.mark.django_db, pytest.mark.urls(__name__)]

approvals = ([path("inbox/", lambda request: HttpResponse("inbox"), name="inbox")], "approvals")
urlpatterns = [path("accounts/", include("allauth.urls")), path("", include(approvals))]

LOGIN = "/accounts/login/"
PASSWORD = "correct horse battery"


@pytest.fixture(autouse=True)
def _static_files_need_not_be_collected(settings):
    settings.WHITENOISE_AUTOREFRESH = True


@pytest.fixture
def person():
    return Person.objects.create_user("Alice", "alice@example.com", PASSWORD, name="Alice")


def attempt(client, login="Alice", typed="wrong"):
    return client.post(LOGIN, {"login": login, "password": typed})


def text(response):
    return response.content.decode().replace("\xa0", " ")


@pytest.mark.parametrize("login", ["Alice", "alice", "alice@example.com", "ALICE@example.com"])
def test_a_person_signs_in_by_name_or_address(client, person, login):
    response = attempt(client, login, PASSWORD)

    assert response.status_code == 302
    assert response["Location"] == "/inbox/"


def test_a_wrong_password_says_how_many_tries_are_left(client, person):
    first, second = attempt(client), attempt(client)

    assert first.status_code == 200
    assert "Name and password do not match. 4 tries left before a pause of 15 min." in text(first)
    assert "3 tries left" in text(second)


def test_a_name_nobody_has_is_answered_like_any_other(client, person):
    known, unknown = attempt(client), attempt(client, "nobody")

    assert "4 tries left" in text(known)
    assert "4 tries left" in text(unknown)


def test_failures_are_counted_for_the_person_however_the_name_is_written(client, person):
    for login in ["Alice", "aLICE", "alice@example.com", " ALICE@example.com "]:
        attempt(client, login)

    assert [a.username for a in AccessAttempt.objects.all()] == ["Alice"]
    assert AccessAttempt.objects.get().failures_since_start == 4


def test_the_fifth_failure_pauses_even_the_right_password(client, person):
    answers = [attempt(client) for _ in range(5)]

    right = attempt(client, "alice@example.com", PASSWORD)

    assert [a.status_code for a in answers] == [200, 200, 200, 200, 429]
    assert right.status_code == 429
    assert right["Retry-After"] == "900"
    assert "Sign-in is paused for 15 min" in text(right)
    assert "_auth_user_id" not in client.session


def test_a_pause_is_one_persons_and_not_everybodys(client, person):
    Person.objects.create_user("Bob", "bob@example.com", PASSWORD, name="Bob")
    for _ in range(5):
        attempt(client)

    assert attempt(client, "Bob", PASSWORD).status_code == 302


def test_signing_in_forgets_earlier_failures(client, person):
    attempt(client)
    attempt(client, "alice", PASSWORD)

    client.logout()

    assert "4 tries left" in text(attempt(client))


def test_no_password_is_kept_with_an_attempt(client, person):
    attempt(client, typed="hunter2-hunter2")

    assert "hunter2" not in AccessAttempt.objects.get().post_data


def test_nobody_signs_themselves_up(client):
    client.post(
        "/accounts/signup/",
        {"username": "eve", "email": "e@example.com", "password1": PASSWORD, "password2": PASSWORD},
    )

    assert not Person.objects.filter(username="eve").exists()


@pytest.mark.parametrize(
    "url", [LOGIN, "/accounts/signup/", "/accounts/password/reset/", "/accounts/inactive/"]
)
def test_every_page_before_the_door_is_ours(client, url):
    page = text(client.get(url))

    assert "rc-door" in page
    assert page.count("<h1>") == 1


@pytest.mark.parametrize("url", ["/accounts/logout/", "/accounts/password/change/"])
def test_every_account_page_is_ours(client, person, url):
    client.force_login(person)

    assert "rc-door" in text(client.get(url))


@pytest.mark.parametrize(
    ("template", "says"),
    [
        ("400.html", "not understood"),
        ("403.html", "not yours"),
        ("403_csrf.html", "open too long"),
        ("404.html", "nothing at this address"),
        ("500.html", "broke on our side"),
    ],
)
def test_error_pages_need_nothing_to_be_said(template, says):
    assert says in get_template(template).render()
