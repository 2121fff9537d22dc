"""A second factor of one's own: set up, asked for at the door, and taken back by nobody without it."""

from __future__ import annotations

import json
from datetime import timedelta

import pytest
from allauth.mfa.models import Authenticator
from django.test import Client

from governance.models import AuditEvent
from tests.factories import MONDAY_9AM, PersonFactory
from tests.factors import SECRET, code_now, give_factor

pytestmark = pytest.mark.django_db

PASSWORD = "correct horse battery"
BACKEND = "django.contrib.auth.backends.ModelBackend"


@pytest.fixture
def person(timeline):
    person = PersonFactory(username="alice")
    person.set_password(PASSWORD)
    person.save()
    return person


@pytest.fixture
def client(person):
    client = Client()
    client.force_login(person, backend=BACKEND)
    return client


def text(response):
    return response.content.decode().replace("\xa0", " ")


def sign_in(client):
    return client.post("/accounts/login/", {"login": "alice", "password": PASSWORD})


def test_setting_one_up_asks_for_the_password_and_a_code_and_is_in_the_record(client, person):
    first = client.get("/accounts/2fa/totp/activate/")
    client.post("/accounts/reauthenticate/", {"password": PASSWORD})
    page = client.get("/accounts/2fa/totp/activate/")
    secret = page.context["form"].secret

    done = client.post("/accounts/2fa/totp/activate/", {"code": code_now(secret)})
    codes = client.get(done["Location"])

    assert first["Location"].startswith("/accounts/reauthenticate/")
    assert "data:image/svg+xml;base64," in text(page)
    assert secret in text(page)
    assert done["Location"] == "/accounts/2fa/codes/"
    assert len(codes.context["unused_codes"]) == 10
    assert Authenticator.objects.filter(user=person, type="totp").count() == 1
    assert AuditEvent.objects.get(kind="second_factor.added").actor == "person:alice"


def test_a_wrong_code_sets_nothing_up(client, person):
    client.post("/accounts/reauthenticate/", {"password": PASSWORD})
    client.get("/accounts/2fa/totp/activate/")

    wrong = client.post("/accounts/2fa/totp/activate/", {"code": "000000"})

    assert "This code does not match." in text(wrong)
    assert not Authenticator.objects.exists()


def test_the_secret_is_not_in_the_database_as_it_is(person):
    factor = give_factor(person)

    assert SECRET not in json.dumps(factor.data)


def test_a_secret_of_an_earlier_key_is_still_read(person, settings):
    give_factor(person)
    settings.SECRET_KEY_FALLBACKS = [settings.SECRET_KEY]
    settings.SECRET_KEY = "another one"

    assert Authenticator.objects.get().wrap().validate_code(code_now())


@pytest.mark.parametrize(
    "url",
    ["/accounts/2fa/totp/deactivate/", "/accounts/2fa/codes/", "/accounts/2fa/codes/generate/"],
)
def test_a_password_alone_neither_removes_it_nor_shows_or_makes_recovery_codes(client, person, url):
    give_factor(person)
    client.post("/accounts/reauthenticate/", {"password": PASSWORD})

    answers = [client.get(url), client.post(url)]

    assert {each["Location"] for each in answers} == {
        f"/accounts/2fa/reauthenticate/?next={url.replace('/', '%2F')}"
    }
    assert Authenticator.objects.filter(user=person, type="totp").exists()


def test_a_code_removes_it_and_the_record_says_so(client, person):
    give_factor(person)
    client.post("/accounts/2fa/reauthenticate/", {"code": code_now()})

    asked = client.get("/accounts/2fa/totp/deactivate/")
    client.post("/accounts/2fa/totp/deactivate/")

    assert "Remove your second factor?" in text(asked)
    assert not Authenticator.objects.exists()
    assert AuditEvent.objects.get(kind="second_factor.removed").actor == "person:alice"


def test_a_code_given_five_minutes_ago_removes_nothing(client, person, timeline):
    give_factor(person)
    client.post("/accounts/2fa/reauthenticate/", {"code": code_now()})
    timeline.go_to(MONDAY_9AM + timedelta(minutes=5))

    client.post("/accounts/2fa/totp/deactivate/")

    assert Authenticator.objects.filter(type="totp").exists()


def test_the_second_step_is_asked_for_at_the_door_outside_the_demo(person, settings):
    settings.SIGN_IN_ASKS_FOR_CODE = True
    give_factor(person)
    client = Client()

    first = sign_in(client)
    between = client.get("/inbox/")
    page = client.get("/accounts/2fa/authenticate/")
    wrong = client.post("/accounts/2fa/authenticate/", {"code": "000000"})
    right = client.post("/accounts/2fa/authenticate/", {"code": code_now()})

    assert first["Location"] == "/accounts/2fa/authenticate/"
    assert between["Location"].startswith("/accounts/login/")
    assert "Type the code from your app" in text(page)
    assert "4 tries left" in text(wrong)
    assert right["Location"] == "/inbox/"
    assert client.get("/inbox/").status_code == 200


def test_wrong_codes_at_the_door_pause_it(person, settings):
    settings.SIGN_IN_ASKS_FOR_CODE = True
    give_factor(person)
    client = Client()
    sign_in(client)

    answers = [
        client.post("/accounts/2fa/authenticate/", {"code": "000000"}).status_code for _ in range(5)
    ]

    assert answers == [200, 200, 200, 200, 429]
    assert client.post("/accounts/2fa/authenticate/", {"code": code_now()}).status_code == 429


def test_whoever_has_none_signs_in_by_password(person, settings):
    settings.SIGN_IN_ASKS_FOR_CODE = True

    assert sign_in(Client())["Location"] == "/inbox/"


def test_one_password_opens_every_account_of_the_demo(person, settings):
    settings.SIGN_IN_ASKS_FOR_CODE = False
    give_factor(person)

    assert sign_in(Client())["Location"] == "/inbox/"
