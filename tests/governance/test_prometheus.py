"""What is watched from outside: closed unless a token opens it, and read from rows."""

from __future__ import annotations

from datetime import timedelta

import pytest
import time_machine
from prometheus_client.parser import text_string_to_metric_families

from governance import seals
from governance.env import secret
from governance.models import Heartbeat
from tests.approvals.asking import ask_for_payment
from tests.factories import MONDAY_9AM, AlertFactory, FindingFactory, NoticeFactory
from tests.governance.measuring import counted

pytestmark = pytest.mark.django_db

ADDRESS = "/metrics/prometheus"
NOW = MONDAY_9AM + timedelta(minutes=8)


@pytest.fixture(autouse=True)
def _monday(settings):
    settings.METRICS_TOKEN = "s3cret"
    with time_machine.travel(NOW, tick=False):
        yield


def read(client):
    response = client.get(ADDRESS, HTTP_AUTHORIZATION="Bearer s3cret")
    assert response.status_code == 200, response.content
    found = {}
    for family in text_string_to_metric_families(response.content.decode()):
        assert family.documentation.endswith("."), family.name
        for sample in family.samples:
            found[sample.name, tuple(sample.labels.values())] = sample.value
    return found


def test_it_is_closed_until_a_token_opens_it(client, settings):
    for sent in ({}, {"HTTP_AUTHORIZATION": "Bearer wrong"}, {"HTTP_AUTHORIZATION": "s3cret"}):
        assert client.get(ADDRESS, **sent).status_code == 401
    assert client.post(ADDRESS, HTTP_AUTHORIZATION="Bearer s3cret").status_code == 405
    settings.METRICS_TOKEN = ""
    for sent in ({}, {"HTTP_AUTHORIZATION": "Bearer "}):
        assert client.get(ADDRESS, **sent).status_code == 404


def test_its_token_may_stand_in_a_file(tmp_path, monkeypatch):
    (tmp_path / "token").write_text("from a file\n")
    monkeypatch.setenv("METRICS_TOKEN_FILE", str(tmp_path / "token"))

    assert secret("METRICS_TOKEN") == "from a file"


def test_it_tells_what_stands_in_rows(client, company):
    ask_for_payment(company)  # due at 9:05, so three minutes late
    ask_for_payment(company, key="key-2", invoice="INV-2", now=NOW)
    FindingFactory(alert=AlertFactory(kind="audit.unsealed"))
    NoticeFactory(state="failed", next_attempt_at=None)
    Heartbeat.objects.create(name="clock", beat_at=NOW - timedelta(seconds=7))
    counted("escalation", "hit", 2)
    counted("resolution", "miss", 3, level=3, seconds=100)
    counted("escalation", "hit", 9, at=MONDAY_9AM - timedelta(weeks=1))

    found = read(client)

    assert found["recourse_silent_failures_open", ()] == 1
    assert found["recourse_open_requests", ("pending",)] >= 2
    assert found["recourse_open_requests", ("troubled",)] == 0
    assert found["recourse_overdue_clocks", ("step",)] == 1
    assert found["recourse_oldest_overdue_seconds", ("step",)] == 180
    assert found["recourse_heartbeat_age_seconds", ("clock",)] == 7
    assert found["recourse_dead_letters", ("notice",)] == 1
    assert found["recourse_alerts_open", ("audit.unsealed",)] == 1
    assert found["recourse_seals_waiting_events", ()] > 0
    assert found["recourse_seals_waiting_seconds", ()] == 480
    assert found["recourse_week_counted", ("L0", "escalation", "hits")] == 2
    assert found["recourse_week_counted", ("L3", "resolution", "misses")] == 3
    assert found["recourse_week_seconds", ("L3", "resolution")] == 300
    assert found["recourse_metrics_age_seconds", ()] == 480

    seals.seal_now(NOW)
    assert read(client)["recourse_seals_waiting_events", ()] == 0


def test_a_fresh_installation_answers_too(client):
    found = read(client)

    assert found["recourse_silent_failures_open", ()] == 0
    assert found["recourse_oldest_overdue_seconds", ("request",)] == 0
