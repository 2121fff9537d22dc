"""Runs the sweeps, again and again, and sleeps until the next row is due.

The `clock` process does it for ever; the courier's schedule does it once a
minute. Both may run at once, in any number: the rows are what is claimed.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import datetime, timedelta
from typing import Any, TypeVar

import psycopg
from django.conf import settings
from django.db import close_old_connections, connection
from django.utils.module_loading import import_string

from governance import calls, clock, logs, signs, wording
from governance.daemons import DatabaseGone, Life, connected, outlive
from governance.ledger import instant
from governance.models import Heartbeat
from governance.neighbours import WORKER, Neighbour
from governance.wake import CHANNEL, LONGEST_SLEEP_S

log = logging.getLogger("recourse")

Sweep = Callable[..., int]  # (*, now) -> rows moved
NextDue = Callable[[datetime], datetime | None]
Answer = TypeVar("Answer")

FAILED = "sweep.failed"  # kind of the alert
REFUSED = "rows.refused"  # of that nobody could be told while it lasted
IN_A_ROW = 20  # batches of one sweep before the others have their turn
BEAT_EVERY_S = 1.0  # between rounds, so that what is due does not wait for a beat
STOP_KEPT_S = 600.0  # after a planned stop: the longest grace that any audit gives anew
LONG_ROUND_S = 10.0  # a round that is still going on shows itself as often as this
TELL_AGAIN_AFTER_S = 60.0  # a sweep that goes on failing is reported as often as this
SHORTEST_PAUSE_S = (
    0.02  # where something is due and no sweep moves it: it is parked, or held by others
)


def sweeps() -> dict[str, Sweep]:
    """Return the sweeps that settings.RECOURSE_SWEEPS names, in its order."""
    return {name: import_string(name) for name in settings.RECOURSE_SWEEPS}


def next_due() -> NextDue:
    """Return what settings.RECOURSE_NEXT_DUE names."""
    found: NextDue = import_string(settings.RECOURSE_NEXT_DUE)
    return found


class Hands:
    """One pair of hands on the sweeps. What fails is reported; the others go on."""

    def __init__(
        self, who: str, *, now: Callable[[], datetime], sweeps: Mapping[str, Sweep]
    ) -> None:
        """Nothing happens yet.

        Args:
            who: whose hands, for the log: "clock".
            now: business time, read afresh for each batch.
            sweeps: by name.
        """
        self.who = who
        self.failing: dict[str, float] = {}  # by name, the monotonic second of the last report
        self._works: set[str] = set()
        self._unwritten: dict[str, tuple[float, str]] = {}  # by name: since when, and what it was
        self._now = now
        self._sweeps = dict(sweeps)

    def round(self, *, enough: Callable[[], bool] = lambda: False) -> dict[str, int]:
        """Run each sweep in turn, a batch at a time, until it finds nothing more.

        Args:
            enough: asked before each batch; true ends the round there.

        Returns how many rows each moved, by name; those not reached are missing.

        Raises DatabaseGone.
        """
        moved: dict[str, int] = {}
        for name, sweep in self._sweeps.items():
            for _ in range(IN_A_ROW):
                if enough():
                    return moved
                count = self.attempt(name, sweep) or 0
                moved[name] = moved.get(name, 0) + count
                if count == 0:
                    break
        return moved

    def attempt(self, name: str, call: Callable[..., Answer]) -> Answer | None:
        """Return `call(now=...)`, or None if it failed; that is reported, and closed when it works again.

        Raises DatabaseGone.
        """
        try:
            with connected(), logs.about(sweep=name):
                answer = call(now=self._now())
                if name not in self._works:
                    self._show_it_works(name)
        except DatabaseGone:
            raise
        except Exception as problem:  # noqa: BLE001 - one sweep's defect must not stop the others
            self._report(name, problem)
            return None
        return answer

    def _report(self, name: str, problem: Exception) -> None:
        self._works.discard(name)
        if time.monotonic() - self.failing.get(name, float("-inf")) < TELL_AGAIN_AFTER_S:
            return
        self.failing[name] = time.monotonic()
        log.error("%s: %s failed", self.who, name, exc_info=problem)
        text = f"{name} fails: {wording.defect(problem)}"
        try:
            with connected():
                signs.report(
                    "alert.raised", by=self.who, kind=FAILED, key=name, text=text,
                    now=self._now(), alert=FAILED, matter=name,
                )  # fmt: skip
        except DatabaseGone:
            raise
        except Exception as second:  # no row can be written: it follows when one can
            self._unwritten.setdefault(name, (time.monotonic(), text))
            log.error("%s: and no alert could be raised", self.who, exc_info=second)

    def _show_it_works(self, name: str) -> None:
        """Close the alert of a time when it failed, under an earlier process perhaps."""
        self._tell_late(name)
        signs.works_again(by=self.who, kind=FAILED, key=name, now=self._now())
        self._works.add(name)
        if self.failing.pop(name, None) is not None:
            log.warning("%s: %s works again", self.who, name)

    def _tell_late(self, name: str) -> None:
        """Write now what could not be written when it happened: the disk was full, say."""
        if name not in self._unwritten:
            return
        since, text = self._unwritten[name]
        lasted_s = round(time.monotonic() - since)
        signs.report(
            "rows.refused", by=self.who, kind=REFUSED, key=f"{self.who} {name}"[:200],
            text=f"For {lasted_s} s no row could be written, as seen by {self.who}. {text}",
            now=self._now(), name=name, lasted_s=lasted_s, reason=text[:300],
        )  # fmt: skip
        del self._unwritten[name]


class Clock:
    """The clock process: rounds of sweeps, and between them sleep until the next due instant."""

    def __init__(
        self,
        *,
        life: Life,
        now: Callable[[], datetime],
        sweeps: Mapping[str, Sweep],
        next_due: NextDue,
    ) -> None:
        """Nothing happens yet. `next_due` says when a sweep has work next, if it can be known."""
        self._life = life
        self._now = now
        self._hands = Hands("clock", now=now, sweeps=sweeps)
        self._next_due = next_due
        self._listener = Listener()
        self._worker = Neighbour(WORKER, by="clock")
        self._last_beat = self._last_moved = float("-inf")
        self._in_vain_s = SHORTEST_PAUSE_S
        self._paused: dict[str, str] | None = None  # what its last beat said of a planned stop

    def run(self) -> None:
        """Go on until the life is over, whatever a sweep or the database does. Then say that the stop was planned."""
        try:
            while not self._life.over:
                try:
                    pause = self._tick()
                except DatabaseGone as gone:
                    self._listener.close()
                    outlive(gone, who="clock", life=self._life, now=self._now)
                    self._worker.forgive()
                else:
                    self._life.sleep(pause, also=self._listener.ears())
                    self._listener.empty()
            self._sign_off()
        finally:
            self._listener.close()

    def _sign_off(self) -> None:
        """Leave a last beat that says so: what is late meanwhile is nobody's failure, see `audits.overdue_before`."""
        with suppress(DatabaseGone):  # then this was no planned stop alone, and the audits say so
            self._hands.attempt(
                "heartbeat", lambda *, now: self._show(now, stopped_at=instant(now))
            )

    def _show(self, now: datetime, **facts: str) -> None:
        if not facts:
            facts = self._paused = self._planned_stop(now)
        signs.beat("clock", now=now, failing=sorted(self._hands.failing), **facts)

    def _planned_stop(self, now: datetime) -> dict[str, str]:
        """Return what is still to be said of a planned stop. Of several clocks the first that comes back says when."""
        last = Heartbeat.objects.filter(name="clock").values_list("facts", flat=True).first() or {}
        if "stopped_at" not in last:
            return {}
        if "resumed_at" not in last and self._paused is not None:
            return self._paused  # another was stopped, and this one went on
        resumed_at: str = last.get("resumed_at") or instant(now)
        if now - datetime.fromisoformat(resumed_at) > clock.technical(STOP_KEPT_S):
            return {}
        return {"stopped_at": last["stopped_at"], "resumed_at": resumed_at}

    def _tick(self) -> float:
        """Run one round; return how long to sleep after it, in real seconds."""
        moved = self._hands.round(enough=self._enough)
        self._beat()
        if any(moved.values()):
            self._last_moved = time.monotonic()
            self._in_vain_s = SHORTEST_PAUSE_S
            return 0.0
        self._listener.open()
        left = self._hands.attempt("next_due", self._seconds_left)
        if left is None or left > 0:
            self._in_vain_s = SHORTEST_PAUSE_S
            return min(left or LONGEST_SLEEP_S, LONGEST_SLEEP_S, self._until_callable())
        self._in_vain_s = min(2 * self._in_vain_s, LONGEST_SLEEP_S)
        return self._in_vain_s

    def _until_callable(self) -> float:
        """Return the seconds until a worker that was called may be called again, for what came since."""
        left = self._last_moved + calls.EVERY_S - time.monotonic()
        return left if left > 0 else LONGEST_SLEEP_S

    def _enough(self) -> bool:
        self._beat(every_s=LONG_ROUND_S)
        return self._life.over

    def _beat(self, *, every_s: float = BEAT_EVERY_S) -> None:
        if time.monotonic() - self._last_beat < every_s:
            return
        self._last_beat = time.monotonic()
        close_old_connections()
        self._hands.attempt("heartbeat", lambda *, now: self._show(now))
        self._hands.attempt("listening for the worker", self._worker.look)

    def _seconds_left(self, *, now: datetime) -> float:
        """Return the real seconds until something is due, not more than one sleep."""
        due_at = self._next_due(now)
        if due_at is None:
            return LONGEST_SLEEP_S
        # To know what is due took time too: it is not slept again.
        return float((due_at - self._now()) / timedelta(seconds=1) / clock.speed())


class Listener:
    """A connection of its own that hears `wake_clock`, on PostgreSQL. Without it the clock is slower, not wrong."""

    def __init__(self) -> None:
        self._connection: psycopg.Connection[Any] | None = None
        self._try_after = float("-inf")

    def open(self) -> None:
        """Listen, if it can be done and is not. A failure is tried again after a while."""
        if connection.vendor != "postgresql" or self._connection is not None:
            return
        if time.monotonic() < self._try_after:
            return
        self._try_after = time.monotonic() + 10 * LONGEST_SLEEP_S
        settings_of_ours = {
            name: value
            for name, value in connection.get_connection_params().items()
            if name not in ("cursor_factory", "context", "prepare_threshold")
        }
        try:
            opened = psycopg.connect(**settings_of_ours, autocommit=True)
            opened.execute(f"LISTEN {CHANNEL}")
        except psycopg.Error as problem:
            log.warning("clock: cannot listen, so it looks every second: %s", problem)
            return
        self._connection = opened

    def ears(self) -> list[psycopg.Connection[Any]]:
        """Return what to wait on for something to read."""
        return [self._connection] if self._connection is not None else []

    def empty(self) -> None:
        """Read what was heard. A lost connection is opened again with the next round."""
        if self._connection is None:
            return
        try:
            for _ in self._connection.notifies(timeout=0):
                pass
        except psycopg.Error as problem:
            log.warning("clock: no longer listening: %s", problem)
            self.close()

    def close(self) -> None:
        """Stop listening."""
        if self._connection is not None:
            with suppress(psycopg.Error):
                self._connection.close()
        self._connection, self._try_after = None, float("-inf")
