"""What the processes that run for ever share: signals, sleep, and living through a lost database."""

from __future__ import annotations

import logging
import select
import signal
import socket
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import datetime
from types import FrameType, TracebackType
from typing import Any, Protocol, Self

from django.db import Error, InterfaceError, OperationalError, connection

from governance import signs

log = logging.getLogger("recourse")

FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.1, 2.0


class HasFileno(Protocol):
    def fileno(self) -> int: ...


class Life:
    """From entering until SIGTERM or SIGINT. `asked` counts the signals; a sleep ends with the first."""

    def __init__(self) -> None:
        self.asked = 0
        self._before: list[tuple[int, Any]] = []
        self._ear, self._mouth = socket.socketpair()
        for end in (self._ear, self._mouth):
            end.setblocking(False)

    @property
    def over(self) -> bool:
        """Whether somebody asked the process to stop."""
        return self.asked > 0

    def __enter__(self) -> Self:
        # The interpreter writes a byte for each signal, so that one which comes just before a
        # sleep still ends it.
        self._wakeup_before = signal.set_wakeup_fd(self._mouth.fileno(), warn_on_full_buffer=False)
        for signum in (signal.SIGTERM, signal.SIGINT):
            self._before.append((signum, signal.signal(signum, self._hear)))
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for signum, handler in self._before:
            signal.signal(signum, handler)
        signal.set_wakeup_fd(self._wakeup_before)
        self._ear.close()
        self._mouth.close()

    def _hear(self, signum: int, frame: FrameType | None) -> None:
        self.asked += 1

    def sleep(self, seconds: float, *, also: Sequence[HasFileno] = ()) -> None:
        """Sleep for real seconds; less if a signal comes or one of `also` has something to read."""
        if seconds <= 0:
            return
        ready, _, _ = select.select([self._ear, *also], [], [], seconds)
        if self._ear in ready:
            with suppress(BlockingIOError):
                self._ear.recv(4096)


class DatabaseGone(Exception):
    """The connection was lost, which says nothing about whatever was using it."""


@contextmanager
def connected() -> Iterator[None]:
    """Raise DatabaseGone in place of an error that only says that the database does not answer."""
    try:
        yield
    except (OperationalError, InterfaceError) as problem:
        if not _means_gone(problem):
            raise
        raise DatabaseGone(str(problem).strip()) from problem


def _means_gone(problem: Exception) -> bool:
    """Tell a lost connection from a lock or a deadlock, which raise the same class."""
    if connection.vendor != "postgresql":
        return not answers()
    state = getattr(problem.__cause__, "sqlstate", None)
    if state is not None:  # 08: connection. 57P: the server shuts down, or starts up
        return str(state).startswith(("08", "57P"))
    # The driver's own words. Django closes what it cannot roll back.
    return connection.connection is None or bool(connection.connection.closed)


def answers() -> bool:
    """Whether the database can be asked, through a new connection if the old one was closed."""
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")
    except Error:
        return False
    return True


def outlive(gone: DatabaseGone, *, who: str, life: Life, now: Callable[[], datetime]) -> None:
    """Wait until the database answers again or the life is over.

    Asks at growing intervals of at most LONGEST_PAUSE_S. One line is logged
    when it is lost and one when it is back; then follow the row and the alert
    that could not be written before.
    """
    since, pause = time.monotonic(), FIRST_PAUSE_S
    log.error("%s: the database is gone, waiting for it: %s", who, gone)
    while not life.over:
        life.sleep(pause)
        pause = min(2 * pause, LONGEST_PAUSE_S)
        connection.close()
        if answers():
            gone_s = round(time.monotonic() - since)
            log.warning("%s: the database is back after %s s", who, gone_s)
            _record_outage(gone, gone_s, who=who, now=now)
            return


def _record_outage(
    gone: DatabaseGone, gone_s: int, *, who: str, now: Callable[[], datetime]
) -> None:
    text = f"The database was gone for {gone_s} s, as seen by {who}: {gone}"
    try:
        with connected():
            signs.report(
                "database.returned", by=who, kind="database.gone", key=who, text=text,
                now=now(), gone_s=gone_s, reason=str(gone)[:300],
            )  # fmt: skip
    except DatabaseGone:
        pass  # gone again: the caller finds out with its next question
    except Exception as problem:  # what keeps others running must not end of this; the log has it
        log.error("%s: the outage could not be recorded", who, exc_info=problem)
