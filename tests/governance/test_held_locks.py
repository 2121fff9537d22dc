"""Nobody waits for a lock for ever, and nobody keeps one by being gone."""

from __future__ import annotations

import threading
import time

import pytest
from django.conf import settings
from django.db import OperationalError, connection, transaction

from governance.daemons import DatabaseGone, connected
from tests.factories import RoleFactory

pytestmark = [pytest.mark.postgresql, pytest.mark.django_db(transaction=True)]


def test_a_connection_gives_up_a_lock_and_is_ended_where_it_idles_in_a_transaction():
    with connection.cursor() as cursor:
        asked = ("idle_in_transaction_session_timeout", "lock_timeout")
        found = [cursor.execute(f"SHOW {name}").fetchone()[0] for name in asked]

    assert found == ["5min", "20s"]  # of the tests, which compute within their transactions
    limits = "-c idle_in_transaction_session_timeout=15s -c lock_timeout=20s"
    assert settings.DATABASES["default"]["OPTIONS"]["options"].startswith(limits)


def test_a_lock_that_is_not_given_is_no_lost_database(while_held):
    role = RoleFactory()
    rows = type(role).objects.filter(pk=role.pk)

    def wait():
        with connected(), transaction.atomic():
            connection.cursor().execute("SET LOCAL lock_timeout = '100ms'")
            list(rows.select_for_update())

    waited = while_held(rows, wait)

    assert isinstance(waited, OperationalError)
    assert not isinstance(waited, DatabaseGone)
    assert "lock timeout" in str(waited)


def test_whoever_fell_silent_in_a_transaction_lets_go(race):
    role = RoleFactory()
    rows = type(role).objects.filter(pk=role.pk).select_for_update()
    is_held = threading.Event()

    def fall_silent():
        with transaction.atomic():
            connection.cursor().execute("SET idle_in_transaction_session_timeout = '300ms'")
            list(rows.all())
            is_held.set()
            time.sleep(1.5)

    def wait():
        is_held.wait(timeout=10)
        with transaction.atomic():
            return [each.pk for each in rows.all()]

    silent, waited = race(fall_silent, wait)

    assert isinstance(silent, Exception)
    assert waited == [role.pk]
