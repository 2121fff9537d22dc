from __future__ import annotations

from datetime import timedelta
from types import SimpleNamespace

import pytest
from django.contrib.auth.models import AnonymousUser
from django.http import HttpResponse
from django.shortcuts import render
from django.urls import include, path

from governance.context import frame
from governance.models import Person, Role
from governance.vocabulary import Path

pytestmark = [pytest.mark.django_db, pytest.mark.urls(__name__)]


def page(request):
    return render(request, "base.html")


approvals = (
    [path("inbox/", page, name="inbox"), path("requests/", page, name="open")],
    "approvals",
)
governance = (
    [
        path(f"{name}/", page, name=name)
        for name in ("people", "absences", "policy", "metrics", "audit")
    ],
    "governance",
)
rollback = ([path("actions/", page, name="actions")], "rollback")
urlpatterns = [
    path("", lambda request: HttpResponse(), name="account_logout"),
    path("password/", lambda request: HttpResponse(), name="account_change_password"),
    path("2fa/", lambda request: HttpResponse(), name="mfa_index"),
    path("", include(approvals)),
    path("", include(governance)),
    path("", include(rollback)),
]
asked: list[Person] = []


def frame_for(person, now):
    asked.append(person)
    return SimpleNamespace(
        counts={
            Path.TIMEOUT: SimpleNamespace(
                count=3, first_due_at=now + timedelta(minutes=22, seconds=30)
            )
        },
        inbox_count=3,
        open_count=100,
        review_count=None,
        reviews_overdue=0,
        health=SimpleNamespace(
            ok=False, checked_at=now, silent_failures=2, words="The clock has not reported"
        ),
    )


def frame_before_the_first_beat(person, now):
    facts = frame_for(person, now)
    facts.health.checked_at = None
    return facts


@pytest.fixture(autouse=True)
def _frame(settings):
    asked.clear()
    settings.RECOURSE_FRAME = f"{__name__}.frame_for"
    settings.WHITENOISE_AUTOREFRESH = True  # static files need not be collected


@pytest.fixture
def person():
    return Person.objects.create_user(
        "alice", "a@example.com", "x", name="Alice", time_zone="America/New_York"
    )


def text(response):
    return response.content.decode().replace("\xa0", " ")


def test_a_whole_page_shows_what_waits_and_whether_all_is_well(client, person):
    client.force_login(person)

    page = text(client.get("/inbox/"))

    assert len(asked) == 1
    assert "22 min" in page
    assert "The clock has not reported" in page
    assert "2 silent failures" in page
    assert 'data-zone="America/New_York"' in page


def test_a_clock_that_never_ran_is_said_so(client, person, settings):
    settings.RECOURSE_FRAME = f"{__name__}.frame_before_the_first_beat"
    client.force_login(person)

    page = text(client.get("/inbox/"))

    assert "Never checked" in page
    assert "rc-dot--bad" in page


def test_htmx_is_given_the_time_and_not_the_frame(client, person):
    client.force_login(person)

    page = text(client.get("/inbox/", headers={"HX-Request": "true"}))

    assert not asked
    assert "data-now=" in page


def test_strangers_are_not_asked_about(client, rf):
    request = rf.get("/inbox/")
    request.user = AnonymousUser()

    assert frame(request)["frame"] is None
    assert not asked


def test_open_requests_are_shown_to_those_who_oversee(client, person):
    client.force_login(person)
    before = text(client.get("/inbox/"))
    person.roles.add(Role.objects.get_or_create(key="auditor", defaults={"name": "Auditor"})[0])

    after = text(client.get("/inbox/"))

    assert "Open requests" not in before
    assert "Open requests" in after
    assert ">99+<" in after  # counts are bounded where they are read


def test_the_page_one_is_on_is_marked_once_in_each_way_round(client, person):
    client.force_login(person)

    page = text(client.get("/inbox/"))

    assert page.count('aria-current="page"') == 2  # the rail, and the phone's tabs


def test_a_zone_that_no_longer_exists_falls_back_to_one_that_is_named(client, person):
    person.time_zone = "Europe/Atlantis"
    person.save()
    client.force_login(person)

    assert "UTC" in text(client.get("/inbox/"))
