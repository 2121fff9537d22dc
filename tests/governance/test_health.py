from __future__ import annotations

from datetime import timedelta

import pytest
import time_machine
from django.db import OperationalError, connection
from django.db.migrations.recorder import MigrationRecorder

from governance import clock
from governance.ledger import Act
from governance.models import AuditEvent, Heartbeat
from governance.seals import seal_now
from governance.vocabulary import Chain
from tests.factories import (
    MONDAY_9AM,
    ActivePolicyFactory,
    AuditEventFactory,
    DemoClockFactory,
    FindingFactory,
    HeartbeatFactory,
    PersonFactory,
)

SECOND = timedelta(seconds=1)
pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def wall():
    with time_machine.travel(MONDAY_9AM, tick=False) as wall:
        yield wall


@pytest.fixture
def well():
    """All that makes the house well, at MONDAY_9AM."""
    ActivePolicyFactory(number=7)
    HeartbeatFactory(name="clock", facts={"failing": []})
    HeartbeatFactory(name="worker", facts={"answered": 1, "pid": 4711})
    HeartbeatFactory(name="schedule")
    since = (MONDAY_9AM - timedelta(hours=1)).isoformat()
    HeartbeatFactory(name="watchdog", facts={"since": since, "restarts": 0})


@pytest.fixture
def ask(client):
    def read():
        answer = client.get("/status")
        assert answer.status_code == 200
        return answer.json()

    return read


def bad(facts):
    return [name for name, part in facts.items() if name != "ok" and not part["ok"]]


# --- Up and ready -----------------------------------------------------------------------------


def test_healthz_asks_nobody(client, django_assert_num_queries):
    with django_assert_num_queries(0):
        assert client.get("/healthz").status_code == 200


def test_readyz_is_good_with_a_database_and_its_migrations(client):
    answer = client.get("/readyz")

    assert (answer.status_code, answer.content) == (200, b"ready\n")


def test_readyz_names_a_migration_that_is_to_be_applied(client):
    last = MigrationRecorder.Migration.objects.filter(app="governance").order_by("name").last()
    last.delete()

    answer = client.get("/readyz")

    assert answer.status_code == 503
    assert f"governance.{last.name}" in answer.content.decode()


def test_a_migration_of_a_newer_neighbour_does_no_harm(client):
    MigrationRecorder.Migration.objects.create(
        app="governance", name="9999_later", applied=MONDAY_9AM
    )

    assert client.get("/readyz").status_code == 200


@pytest.mark.parametrize("path", ["/readyz", "/status"])
def test_without_a_database_the_answer_is_503(client, path):
    def gone(*args):
        raise OperationalError("connection refused: secret-host")

    with connection.execute_wrapper(gone):
        answer = client.get(path)

    assert answer.status_code == 503
    assert b"secret-host" not in answer.content


@pytest.mark.parametrize(("path", "code"), [("/healthz", 200), ("/readyz", 503), ("/status", 503)])
def test_who_asks_is_not_looked_up(client, path, code):
    client.force_login(PersonFactory())

    def gone(*args):
        raise OperationalError("connection refused")

    with connection.execute_wrapper(gone):
        assert client.get(path).status_code == code


@pytest.mark.parametrize("path", ["/healthz", "/readyz", "/status"])
def test_only_reading_is_allowed_and_nothing_is_kept(client, path):
    assert client.post(path).status_code == 405
    assert "no-store" in client.get(path)["Cache-Control"]
    assert client.head(path).status_code in (200, 503)


# --- Whether all is well ----------------------------------------------------------------------


def test_all_is_well(well, ask):
    assert ask() == {
        "ok": True,
        "clock": {"ok": True, "age_s": 0, "failing": 0},
        "worker": {"ok": True, "running": 1, "age_s": 0, "schedule_age_s": 0, "restarts": 0},
        "policy": {"ok": True, "version": 7, "holes": 0, "checked_age_s": None},
        "silent_failures": {"ok": True, "open": 0},
        "seals": {"ok": True, "age_s": None, "waiting_s": 0},
    }


def test_a_house_that_never_ran_is_not_well(ask):
    assert bad(ask()) == ["clock", "worker", "policy"]


@pytest.mark.parametrize(("name", "seconds"), [("clock", 30), ("worker", 90)])
def test_silence_is_noticed_just_after_its_bound(well, ask, name, seconds):
    Heartbeat.objects.filter(name=name).update(beat_at=MONDAY_9AM - seconds * SECOND)
    assert ask()["ok"]

    Heartbeat.objects.filter(name=name).update(beat_at=MONDAY_9AM - (seconds + 1) * SECOND)
    assert bad(ask()) == [name]


def test_a_sweep_that_fails_is_not_well(well, ask):
    Heartbeat.objects.filter(name="clock").update(facts={"failing": ["approvals.sweeps.climb"]})

    facts = ask()

    assert bad(facts) == ["clock"]
    assert "climb" not in str(facts)


def test_a_schedule_that_no_longer_runs_is_not_well(well, ask):
    Heartbeat.objects.filter(name="schedule").update(beat_at=MONDAY_9AM - 201 * SECOND)

    assert bad(ask()) == ["worker"]


def test_a_worker_that_has_just_started_owes_no_schedule_yet(well, ask):
    Heartbeat.objects.filter(name="schedule").delete()
    Heartbeat.objects.filter(name="watchdog").update(
        facts={"since": (MONDAY_9AM - 100 * SECOND).isoformat(), "restarts": 2}
    )

    facts = ask()

    assert facts["ok"]
    assert facts["worker"]["restarts"] == 2


def test_of_two_workers_one_is_enough_and_what_is_told_is_of_those_that_live(ask, well):
    Heartbeat.objects.filter(name__in=("worker", "watchdog")).delete()
    since = (MONDAY_9AM - timedelta(hours=1)).isoformat()
    for name, beat_at in (("a", MONDAY_9AM), ("b", MONDAY_9AM - 91 * SECOND)):
        HeartbeatFactory(name=f"worker {name}", beat_at=beat_at)
        HeartbeatFactory(name=f"watchdog {name}", facts={"since": since, "restarts": 3})

    facts = ask()["worker"]

    assert (facts["ok"], facts["running"], facts["restarts"]) == (True, 1, 3)
    Heartbeat.objects.filter(name="worker a").delete()
    assert not ask()["worker"]["ok"]


def test_an_open_finding_is_a_silent_failure(well, ask):
    FindingFactory()

    facts = ask()

    assert bad(facts) == ["silent_failures"]
    assert facts["silent_failures"]["open"] == 1


def test_bounds_are_real_seconds_at_any_speed(well, ask, settings):
    settings.DEMO_CLOCK = True
    clock._last = None
    DemoClockFactory(real_start=MONDAY_9AM, business_start=MONDAY_9AM, speed=60)
    half_an_hour_ago = MONDAY_9AM - timedelta(minutes=29)
    Heartbeat.objects.filter(name="clock").update(beat_at=half_an_hour_ago)

    facts = ask()

    clock._last = None
    assert facts["clock"] == {"ok": True, "age_s": 29, "failing": 0}


# --- Seals ------------------------------------------------------------------------------------


def record(at):
    act = Act(now=at, actor="somebody")
    act.record_named(Chain.SYSTEM, "worker.restarted")
    act.write()


def test_an_event_may_wait_three_minutes_for_its_seal(well, ask):
    record(MONDAY_9AM - 180 * SECOND)
    assert ask()["ok"]

    record(MONDAY_9AM - 60 * SECOND)
    AuditEventFactory(at=MONDAY_9AM)
    assert ask()["seals"]["waiting_s"] == 180


def test_an_event_that_waits_longer_is_not_well(well, ask):
    record(MONDAY_9AM - 181 * SECOND)

    assert bad(ask()) == ["seals"]


def test_a_quiet_house_needs_no_seal(well, ask):
    record(MONDAY_9AM - timedelta(hours=3))
    seal_now(MONDAY_9AM - timedelta(hours=2))

    assert ask()["seals"] == {"ok": True, "age_s": 7200, "waiting_s": 0}


# --- What it costs ----------------------------------------------------------------------------


def test_the_status_costs_the_same_however_much_there_is(well, client, django_assert_num_queries):
    for minute in range(5):
        record(MONDAY_9AM - timedelta(minutes=10 - minute))
    seal_now(MONDAY_9AM - timedelta(minutes=1))
    FindingFactory.create_batch(3)
    HeartbeatFactory.create_batch(3)
    events = AuditEvent.objects.count()

    with django_assert_num_queries(6):
        client.get("/status")

    assert AuditEvent.objects.count() == events


def test_the_way_in_is_the_inbox(client):
    answer = client.get("/")

    assert (answer.status_code, answer["Location"]) == (302, "/inbox/")
