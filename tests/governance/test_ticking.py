from __future__ import annotations

import logging
import os
import signal
import threading
import time
from datetime import timedelta

import psycopg
import pytest
from django.core.management import CommandError, call_command
from django.db import IntegrityError, OperationalError, connection, transaction

from approvals.models import Alert
from governance import audits, clock, daemons, signs, ticking
from governance.daemons import DatabaseGone, Life, connected
from governance.ledger import instant
from governance.models import AuditEvent, Heartbeat
from governance.ticking import STOP_KEPT_S, Clock, Hands
from governance.wake import CHANNEL, wake_clock
from tests.factories import MONDAY_9AM, DemoClockFactory


def monday():
    return MONDAY_9AM


class Sweep:
    """A sweep that moves these counts, one a call, and then nothing. An exception is raised instead."""

    def __init__(self, *counts):
        self.counts = list(counts)
        self.calls = []

    def __call__(self, *, now):
        self.calls.append(now)
        count = self.counts.pop(0) if self.counts else 0
        if isinstance(count, Exception):
            raise count
        return count


def hands(**sweeps):
    return Hands("clock", now=monday, sweeps=sweeps)


# --- A round ----------------------------------------------------------------------------------


@pytest.mark.django_db
def test_sweeps_run_in_order_each_until_it_finds_nothing():
    order = []
    first, second = Sweep(500, 500, 3), Sweep()

    def noting(name, sweep):
        def call(*, now):
            order.append(name)
            return sweep(now=now)

        return call

    moved = hands(first=noting("first", first), second=noting("second", second)).round()

    assert moved == {"first": 1003, "second": 0}
    assert order == ["first"] * 4 + ["second"]
    assert second.calls == [MONDAY_9AM]


@pytest.mark.django_db
def test_a_sweep_without_end_leaves_the_others_their_turn():
    endless, other = Sweep(*[1] * 1000), Sweep()

    hands(endless=endless, other=other).round()

    assert len(endless.calls) == ticking.IN_A_ROW
    assert len(other.calls) == 1


@pytest.mark.django_db
def test_a_round_that_was_enough_ends_before_the_next_batch():
    sweep, never = Sweep(1, 1, 1), Sweep()

    moved = hands(sweep=sweep, never=never).round(enough=lambda: len(sweep.calls) == 2)

    assert moved == {"sweep": 2}
    assert never.calls == []


@pytest.mark.django_db
def test_a_sweep_that_fails_is_one_line_and_one_alert_and_the_others_go_on(caplog):
    bad, good = Sweep(*[ValueError("no such rung")] * 3), Sweep()
    pair = hands(bad=bad, good=good)

    for _ in range(3):
        pair.round()

    assert len(good.calls) == 3
    alert = Alert.objects.get()
    assert (alert.kind, alert.key, alert.closed_at) == ("sweep.failed", "bad", None)
    assert "ValueError: no such rung" in alert.text
    assert [record.levelname for record in caplog.records] == ["ERROR"]


@pytest.mark.django_db
def test_a_sweep_that_works_again_closes_its_alert():
    pair = hands(flaky=Sweep(ValueError("once"), 0))

    pair.round()
    pair.round()

    assert Alert.objects.get().closed_at == MONDAY_9AM
    assert pair.failing == {}


@pytest.mark.django_db
def test_an_alert_of_an_earlier_process_is_closed_too():
    hands(flaky=Sweep(ValueError("once"))).round()

    hands(flaky=Sweep()).round()

    assert Alert.objects.get().closed_at == MONDAY_9AM


@pytest.mark.django_db
def test_a_failure_that_cannot_be_recorded_ends_nothing(caplog, settings):
    settings.RECOURSE_ALARM = f"{__name__}.broken_alarm"
    good = Sweep()

    hands(bad=Sweep(ValueError("first")), good=good).round()

    assert len(good.calls) == 1
    assert [record.message for record in caplog.records] == [
        "clock: bad failed",
        "clock: and no alert could be raised",
    ]


@pytest.mark.django_db
def test_a_failure_that_no_row_could_tell_of_is_told_of_when_one_can(settings):
    """The disk was full, say: the log has it, and when there is room again so have the rows."""
    works = settings.RECOURSE_ALARM
    settings.RECOURSE_ALARM = f"{__name__}.broken_alarm"
    pair = hands(bad=Sweep(ValueError("database or disk is full"), 0, 0))
    pair.round()
    settings.RECOURSE_ALARM = works

    pair.round()
    pair.round()

    alert = Alert.objects.get()
    assert (alert.kind, alert.key, alert.closed_at) == ("rows.refused", "clock bad", None)
    assert "ValueError: database or disk is full" in alert.text
    event = AuditEvent.objects.get()
    assert (event.kind, event.facts["name"]) == ("rows.refused", "bad")


def broken_alarm(**facts):
    raise IntegrityError("no row for you")


# --- A lost database --------------------------------------------------------------------------


@pytest.mark.django_db
@pytest.mark.sqlite_only
def test_a_lock_is_not_taken_for_a_lost_database():
    with pytest.raises(OperationalError), connected():
        raise OperationalError("database is locked")


@pytest.mark.django_db
@pytest.mark.postgresql
def test_a_deadlock_is_not_taken_for_a_lost_database():
    with pytest.raises(OperationalError), connected():
        raise OperationalError("deadlock detected") from psycopg.errors.DeadlockDetected()


@pytest.mark.django_db(transaction=True)
@pytest.mark.postgresql
def test_a_connection_that_the_server_ended_is_a_lost_database():
    with psycopg.connect(**own_connection(), autocommit=True) as other:
        other.execute("SELECT pg_terminate_backend(%s)", [backend_pid()])

    with pytest.raises(DatabaseGone), connected(), connection.cursor() as cursor:
        cursor.execute("SELECT 1")

    connection.close()
    assert daemons.answers()


@pytest.mark.django_db(transaction=True)
def test_whoever_outlives_an_outage_leaves_a_row_an_alert_and_two_lines(caplog):
    with Life() as life:
        daemons.outlive(DatabaseGone("refused"), who="clock", life=life, now=monday)

    event = AuditEvent.objects.get(kind="database.returned")
    assert (event.chain, event.actor, event.facts) == (
        "system",
        "clock",
        {"gone_s": 0, "reason": "refused"},
    )
    assert Alert.objects.get().kind == "database.gone"
    assert [record.levelno for record in caplog.records] == [logging.ERROR, logging.WARNING]


def backend_pid():
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_backend_pid()")
        return cursor.fetchone()[0]


def own_connection():
    parameters = connection.get_connection_params()
    return {
        name: parameters[name]
        for name in ("dbname", "user", "host", "port", "password")
        if name in parameters
    }


# --- The clock process ------------------------------------------------------------------------


class Ticks:
    """Counts rounds, as a sweep, and ends the clock's life after so many."""

    def __init__(self, rounds):
        self.left = rounds
        self.at = []

    def __call__(self, *, now):
        self.at.append(time.monotonic())
        self.left -= 1
        if self.left == 0:
            os.kill(os.getpid(), signal.SIGTERM)
        return 0

    @property
    def gaps(self):
        return [later - earlier for earlier, later in zip(self.at, self.at[1:], strict=False)]


@pytest.fixture
def awake_for(transactional_db):
    """Run the clock with one sweep until it had so many rounds; return the sweep."""

    def run(rounds, next_due):
        ticks = Ticks(rounds)
        with Life() as life:
            Clock(life=life, now=clock.now, sweeps={"ticks": ticks}, next_due=next_due).run()
        return ticks

    return run


def test_the_clock_sleeps_until_the_next_due_instant(awake_for):
    began = clock.now()
    due = began + timedelta(seconds=0.3)

    ticks = awake_for(2, lambda now: due)

    assert 0.2 < ticks.gaps[0] < 0.9
    assert clock.now() >= due


@pytest.fixture
def clocks(transactional_db):
    """Start a clock, which returns what the clock's sign says once it beat at an instant."""
    at = []

    def start():
        one = Clock(life=life, now=lambda: at[-1], sweeps={}, next_due=lambda now: None)

        def beat(now):
            at.append(now)
            one._beat(every_s=0)
            return Heartbeat.objects.get(name="clock").facts

        beat.sign_off = one._sign_off
        return beat

    with Life() as life:
        yield start


SECOND = timedelta(seconds=1)


def test_a_clock_that_is_stopped_says_so_and_the_next_one_since_when_it_goes_on(awake_for, clocks):
    awake_for(1, lambda now: None)
    (stopped,) = Heartbeat.objects.filter(name="clock")
    assert stopped.facts.keys() == {"failing", "stopped_at"}

    back = stopped.beat_at + timedelta(hours=1)
    resumed = {**stopped.facts, "resumed_at": instant(back)}
    assert clocks()(back) == resumed

    # It is killed: the one after it grants no grace anew, and forgets that one once it is over.
    again, over = clocks(), back + clock.technical(STOP_KEPT_S)
    assert again(over) == resumed
    assert again(over + timedelta(microseconds=1)) == {"failing": []}
    assert max(audits.UNSEALED_AFTER_S, audits.OVERDUE_AFTER_S) <= STOP_KEPT_S


def test_of_two_clocks_that_come_back_the_first_says_when_and_both_leave_it_there(clocks):
    signs.beat("clock", now=MONDAY_9AM, failing=[], stopped_at=instant(MONDAY_9AM))

    said = [beat(MONDAY_9AM + n * SECOND) for n, beat in enumerate([clocks(), clocks()] * 3, 1)]

    resumed_at = instant(MONDAY_9AM + SECOND)
    back = {"failing": [], "stopped_at": instant(MONDAY_9AM), "resumed_at": resumed_at}
    assert said == [back] * 6


def test_a_clock_that_goes_on_takes_back_that_another_was_stopped(clocks):
    one, two = clocks(), clocks()
    one(MONDAY_9AM), two(MONDAY_9AM)
    one.sign_off()
    assert "stopped_at" in Heartbeat.objects.get(name="clock").facts

    assert two(MONDAY_9AM + SECOND) == {"failing": []}


def test_the_grace_of_a_clock_that_goes_on_outlasts_the_stop_of_another(clocks):
    signs.beat("clock", now=MONDAY_9AM, failing=[], stopped_at=instant(MONDAY_9AM))
    one, two = clocks(), clocks()
    back = one(MONDAY_9AM + SECOND)
    two(MONDAY_9AM + SECOND)
    one.sign_off()

    assert two(MONDAY_9AM + 2 * SECOND) == back


def test_the_time_it_took_to_learn_what_is_due_is_not_slept_again(awake_for):
    due = clock.now() + timedelta(seconds=0.6)

    def slow(now):
        time.sleep(0.4)
        return due

    ticks = awake_for(2, slow)

    assert ticks.gaps[0] < 0.9  # 1.0 if it were


def test_the_clock_looks_again_after_a_second_whatever_is_due(awake_for):
    ticks = awake_for(2, lambda now: now + timedelta(hours=4))

    assert 0.9 < ticks.gaps[0] < 2


def test_the_clock_looks_again_when_the_worker_it_called_may_be_called_again(transactional_db):
    # What is approved just after a call is refused that second's next one: the clock that was woken for
    # it must not sleep a second more on top.
    looks = Ticks(5)
    due = iter([clock.now() + timedelta(seconds=0.6)])

    def calls_once(*, now):
        looks(now=now)
        return int(len(looks.at) == 1)

    with Life() as life:
        Clock(
            life=life, now=clock.now, sweeps={"calls": calls_once},
            next_due=lambda now: next(due, None),
        ).run()  # fmt: skip

    called, _, _, woken, again = looks.at
    assert 0.5 < woken - called < 0.9
    assert 0.9 < again - called < 1.55  # 1.6 if it slept its whole second


def test_ten_business_minutes_at_speed_1200_are_half_a_second(awake_for, settings):
    settings.DEMO_CLOCK = True
    clock._last = None
    real = clock.real_now()
    DemoClockFactory(real_start=real, business_start=real, speed=1200)
    due = clock.now() + timedelta(minutes=10)

    ticks = awake_for(2, lambda now: due)

    clock._last = None
    assert 0.2 < ticks.gaps[0] < 0.95


def test_the_clock_does_not_spin_on_what_no_sweep_moves(awake_for):
    ticks = awake_for(6, lambda now: now - timedelta(minutes=1))

    assert sum(ticks.gaps) > 0.04 + 0.08 + 0.16 + 0.32 + 0.64
    assert ticks.gaps[-1] > ticks.gaps[0]


def test_the_clock_ends_at_once_when_asked_while_it_sleeps(awake_for):
    timer = threading.Timer(0.3, os.kill, [os.getpid(), signal.SIGINT])
    timer.start()
    began = time.monotonic()

    awake_for(99, lambda now: None)

    timer.join()
    assert time.monotonic() - began < 0.9


def test_the_clock_beats_and_says_what_fails(awake_for):
    def broken(now):
        raise ValueError("no table")

    awake_for(3, broken)

    beat = Heartbeat.objects.get(name="clock")
    stopped_at = beat.facts.pop("stopped_at")
    assert beat.facts == {"failing": ["next_due"]}
    assert stopped_at == instant(beat.beat_at)
    assert Alert.objects.get().key == "next_due"


# --- Being woken ------------------------------------------------------------------------------


@pytest.mark.postgresql
def test_a_deadline_sooner_than_a_sleep_wakes_the_clock(awake_for):
    def submit():
        with transaction.atomic():
            wake_clock(clock.now() + timedelta(milliseconds=50))
        connection.close()

    timer = threading.Timer(0.3, submit)
    timer.start()

    ticks = awake_for(2, lambda now: None)

    timer.join()
    assert ticks.gaps[0] < 0.8


@pytest.mark.postgresql
def test_the_clock_listens_again_after_its_connection_was_ended(awake_for):
    def end_and_wake():
        with psycopg.connect(**own_connection(), autocommit=True) as other:
            other.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE query LIKE 'LISTEN%' AND datname = current_database()"
            )
            time.sleep(0.3)
            other.execute(f"NOTIFY {CHANNEL}")
        connection.close()

    timer = threading.Timer(0.3, end_and_wake)
    timer.start()

    # Woken by the lost connection, then by the notice.
    ticks = awake_for(3, lambda now: None)

    timer.join()
    assert sum(ticks.gaps) < 1.5


@pytest.mark.postgresql
@pytest.mark.parametrize(
    ("away", "heard"), [(timedelta(seconds=1), 1), (timedelta(minutes=5), 0), (None, 0)]
)
def test_only_what_is_near_is_told(transactional_db, away, heard):
    with psycopg.connect(**own_connection(), autocommit=True) as ear:
        ear.execute(f"LISTEN {CHANNEL}")

        with transaction.atomic():
            wake_clock(clock.now() + away if away else None)

        assert len(list(ear.notifies(timeout=0.3, stop_after=1))) == heard


@pytest.mark.django_db
@pytest.mark.sqlite_only
def test_waking_does_nothing_on_sqlite(django_assert_num_queries):
    with django_assert_num_queries(0):
        wake_clock(clock.now())


# --- The command ------------------------------------------------------------------------------


@pytest.mark.django_db
def test_once_prints_what_each_sweep_moved(settings, capsys):
    settings.RECOURSE_SWEEPS = [f"{__name__}.two_then_none"]
    left[:] = [2]

    call_command("clock", "--once")

    assert capsys.readouterr().out == f"{__name__}.two_then_none: 2\n"


@pytest.mark.django_db
def test_until_idle_goes_on_until_a_round_moves_nothing(settings, capsys):
    settings.RECOURSE_SWEEPS = [f"{__name__}.two_then_none", f"{__name__}.fills_up_once"]
    left[:], filled[:] = [2], []

    call_command("clock", "--until-idle")

    assert f"{__name__}.two_then_none: 9\n" in capsys.readouterr().out


@pytest.mark.django_db
def test_once_fails_if_a_sweep_does(settings):
    settings.RECOURSE_SWEEPS = [f"{__name__}.always_fails"]

    with pytest.raises(CommandError, match="always_fails"):
        call_command("clock", "--once")


left, filled = [], []


def two_then_none(*, now):
    return left.pop() if left else 0


def fills_up_once(*, now):
    """Give the sweep before it more to do, once."""
    if not filled:
        filled.append(True)
        left.append(7)
    return 0 if len(filled) > 1 else filled.append(True) or 1


def always_fails(*, now):
    raise ValueError("never")
