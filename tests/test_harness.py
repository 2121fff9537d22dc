"""The tests' own tools: what they cannot see, no test that uses them can."""

from __future__ import annotations

import threading
from datetime import timedelta

import pytest
from django.db import connection, transaction
from django.test import TestCase

from approvals.models import ActionRequest, Step
from approvals.services.submit import submit
from governance import clock, tables
from governance.models import PolicyVersion, Role
from governance.services.tokens import issue_agent_token
from tests.factories import MONDAY_9AM, RequestFactory, RoleFactory, StepFactory


@pytest.mark.django_db(transaction=True)
def test_a_race_can_show_a_lost_update(race):
    """Control: without a lock both read before either writes, and one of the two is lost."""
    request = RequestFactory(quorum=1)
    both_read = threading.Barrier(2)

    def add_one():
        read = ActionRequest.objects.get(pk=request.pk).quorum
        both_read.wait(timeout=10)
        ActionRequest.objects.filter(pk=request.pk).update(quorum=read + 1)

    race(add_one, add_one)

    request.refresh_from_db(fields=["quorum"])
    assert request.quorum == 2


@pytest.mark.django_db(transaction=True)
def test_under_a_lock_neither_update_is_lost(race):
    request = RequestFactory(quorum=1)

    def add_one():
        with transaction.atomic():
            locked = ActionRequest.objects.select_for_update(no_key=True).get(pk=request.pk)
            ActionRequest.objects.filter(pk=request.pk).update(quorum=locked.quorum + 1)

    assert race(*[add_one] * 4) == [None] * 4

    request.refresh_from_db(fields=["quorum"])
    assert request.quorum == 5


@pytest.mark.django_db(transaction=True)
def test_a_race_gives_back_what_each_returned_or_raised_in_order(race):
    def break_down():
        raise LookupError("lost")

    first, second, third = race(lambda: 1, break_down, lambda: 3)

    assert (first, third) == (1, 3)
    assert isinstance(second, LookupError)


@pytest.mark.django_db(transaction=True)
def test_racers_each_have_a_connection_of_their_own(race):
    here = threading.Barrier(2)

    def own():
        here.wait(timeout=10)
        return connection.connection

    first, second = race(own, own)

    assert first is not second
    assert connection.connection not in (first, second)


@pytest.mark.django_db(transaction=True)
def test_racers_see_what_was_committed_before(race):
    role = RoleFactory()

    assert race(Role.objects.count, Role.objects.count) == [1, 1]
    assert role.pk


@pytest.mark.sqlite_only
@pytest.mark.django_db
def test_sqlite_is_a_file_in_wal_mode_as_in_production():
    with connection.cursor() as cursor:
        mode = cursor.execute("PRAGMA journal_mode").fetchone()

    assert mode == ("wal",)
    assert not connection.is_in_memory_db()
    assert connection.settings_dict["OPTIONS"]["transaction_mode"] == "IMMEDIATE"


@pytest.mark.postgresql
@pytest.mark.django_db
def test_postgresql_is_used_where_it_is_asked_for():
    assert connection.vendor == "postgresql"


def is_said_to_ask(request):
    return request.node.get_closest_marker("database") is not None


def test_what_cannot_ask_the_database_runs_once(request):
    assert not is_said_to_ask(request)
    with pytest.raises(RuntimeError, match="Database access not allowed"):
        Role.objects.count()


def test_what_has_a_way_to_the_database_runs_on_both(request, company):
    assert is_said_to_ask(request)


def test_so_does_what_commits(request, transactional_db):
    assert is_said_to_ask(request)


@pytest.mark.django_db
def test_so_does_what_says_so_by_a_mark(request):
    assert is_said_to_ask(request)


class OfDjango(TestCase):
    """A case of Django's own, as hypothesis's is."""

    @pytest.fixture(autouse=True)
    def _said(self, request):
        self.said = is_said_to_ask(request)

    def test_so_does_a_case_of_django(self):
        assert self.said
        Role.objects.count()


def test_what_is_cached_by_primary_key_is_forgotten(company):
    """Every test's rows begin at 1 again: policy 1 of the test before is not ours."""
    assert tables.policy.cache_info().currsize == 0
    tables.policy(company.policy.pk)
    PolicyVersion.objects.filter(pk=company.policy.pk).update(number=99)

    assert tables.policy(company.policy.pk).number == 1


def submitted(company):
    _, credential = issue_agent_token(
        company.agent,
        departments=["accounts-payable"],
        actions=["vendor_payment"],
        now=MONDAY_9AM,
    )
    return submit(
        credential=credential,
        policy=company.policy.pk,
        idempotency_key="key-1",
        body=company.body(),
        now=MONDAY_9AM,
    ).request


def test_the_timeline_stops_at_every_due_instant_on_the_way(company, timeline):
    request = submitted(company)

    timeline.advance(hours=8)

    climbed = Step.objects.filter(request__ref=request.ref).order_by("opened_at")
    assert [(step.path, step.level, step.opened_at - MONDAY_9AM) for step in climbed] == [
        ("approval", 0, timedelta(0)),
        ("timeout", 1, timedelta(minutes=5)),
        ("timeout", 2, timedelta(minutes=35)),
        ("timeout", 3, timedelta(minutes=155)),
    ]
    ended = ActionRequest.objects.get(ref=request.ref)
    assert (ended.state, ended.ended_at) == ("expired", MONDAY_9AM + timedelta(minutes=395))
    assert timeline.now == MONDAY_9AM + timedelta(hours=8)


def test_the_timeline_does_not_pass_a_deadline_it_was_not_told_to_reach(company, timeline):
    request = submitted(company)

    timeline.advance(minutes=5, microseconds=-1)
    assert ActionRequest.objects.get(ref=request.ref).steps.count() == 1

    timeline.advance(microseconds=1)
    assert ActionRequest.objects.get(ref=request.ref).steps.count() == 2


def test_the_wall_clock_shows_what_the_timeline_shows(timeline):
    timeline.advance(minutes=7)

    assert clock.now() == timeline.now == MONDAY_9AM + timedelta(minutes=7)


def test_the_timeline_fails_a_test_in_which_something_due_does_not_move(timeline, settings):
    settings.RECOURSE_SWEEPS = []
    StepFactory(window=timedelta(minutes=5))

    with pytest.raises(AssertionError, match="no sweep moved it"):
        timeline.advance(minutes=5)


def test_an_agents_client_is_let_in_by_its_token(company, api):
    client = api(company.agent)

    assert client.get("/api/v1/requests/").status_code == 200
    client.credentials(HTTP_AUTHORIZATION="Bearer nothing")
    assert client.get("/api/v1/requests/").status_code == 401


def test_the_companys_example_is_a_valid_submission(company, api):
    client = api(company.agent)

    response = client.post(
        "/api/v1/requests/", company.vendor_payment.example, headers={"Idempotency-Key": "key-1"}
    )

    assert response.status_code == 201, response.content
    assert response.json()["state"] == "pending"
