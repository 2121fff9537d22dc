"""Who stands still is told of by the other: once, until it is heard again."""

from __future__ import annotations

from datetime import timedelta

import pytest

from approvals.models import Alert
from governance.models import AuditEvent
from governance.neighbours import CLOCK, WORKER, Neighbour
from governance.signs import beat
from tests.factories import MONDAY_9AM

pytestmark = pytest.mark.django_db


class Listening:
    """A neighbour that is asked every two seconds, on a clock of its own."""

    def __init__(self, sign):
        self.s = 0
        self._one = Neighbour(sign, by="test", second=lambda: self.s)

    def go_on(self, seconds):
        heard = [self.look()]
        for _ in range(seconds // 2):
            self.s += 2
            heard.append(self.look())
        return heard

    def look(self):
        return self._one.look(now=self.now)

    def forgive(self):
        self._one.forgive()

    @property
    def now(self):
        return MONDAY_9AM + timedelta(seconds=self.s)


@pytest.mark.parametrize("sign", [CLOCK, WORKER])
def test_silence_is_told_of_well_within_a_minute_once_until_it_is_heard_again(sign):
    ear = Listening(sign)
    beat(sign.name, now=MONDAY_9AM)

    assert not any(ear.go_on(int(sign.after_s)))
    assert any(ear.go_on(10))

    assert ear.s < 60
    alert = Alert.objects.get()
    assert (alert.kind, alert.key, alert.closed_at) == (sign.kind, sign.name, None)
    assert "09:00:00" in alert.text
    assert AuditEvent.objects.get(kind="process.fell_silent").facts["process"] == sign.name
    ear.go_on(20)
    assert AuditEvent.objects.filter(kind="process.fell_silent").count() == 1
    beat(sign.name, now=ear.now)
    assert ear.go_on(2)[-1] is False
    assert Alert.objects.filter(closed_at=None).count() == 0
    closed = AuditEvent.objects.get(kind="alert.closed")
    assert closed.facts == {"alert": sign.kind, "matter": sign.name}
    assert closed.actor == "test"


def test_who_was_never_heard_is_not_missed():
    assert not any(Listening(CLOCK).go_on(300))
    assert Alert.objects.count() == 0


def test_after_a_night_without_power_nobody_is_silent_before_they_could_speak():
    beat("clock", now=MONDAY_9AM - timedelta(hours=9))
    ear = Listening(CLOCK)

    assert not any(ear.go_on(30))
    assert any(ear.go_on(4))


def test_nor_is_anybody_while_the_database_was_away():
    beat("clock", now=MONDAY_9AM)
    ear = Listening(CLOCK)
    ear.go_on(28)

    ear.forgive()

    assert not any(ear.go_on(30))


def test_the_alert_of_an_earlier_process_is_closed_by_the_next():
    beat("clock", now=MONDAY_9AM)
    Listening(CLOCK).go_on(60)
    beat("clock", now=MONDAY_9AM)

    Listening(CLOCK).look()

    assert Alert.objects.filter(kind="clock.silent", closed_at=None).count() == 0


def test_of_several_workers_one_that_shows_itself_is_enough():
    beat("worker a-1", now=MONDAY_9AM)
    ear = Listening(WORKER)
    ear.go_on(30)
    beat("worker b-2", now=ear.now)

    assert not any(ear.go_on(44))
    assert any(ear.go_on(6))
