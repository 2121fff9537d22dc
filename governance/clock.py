"""The only read of the wall clock.

Views, tasks and commands read `now()`; everything below them takes `now`.
`now()` is business time. In the demo it may run faster than the wall, from one
row that every process reads; `technical()` then gives spans that stay real.
"""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

from django.conf import settings

from governance.models.clock import DemoClock

REREAD_AFTER_S = 1.0


class _Reading(NamedTuple):
    real_start: datetime
    business_start: datetime
    speed: float
    read_at: float  # monotonic seconds


_last: _Reading | None = None


def real_now() -> datetime:
    """Wall-clock UTC: for tokens, signatures and sessions, whatever the demo's speed."""
    return datetime.now(UTC)


def now() -> datetime:
    """Business time, UTC. The wall's, unless a demo clock runs."""
    real = real_now()
    reading = _reading()
    if reading is None:
        return real
    return reading.business_start + (real - reading.real_start) * reading.speed


def technical(seconds: float) -> timedelta:
    """Return the business span in which `seconds` real seconds pass: leases, back-off, heartbeats."""
    return timedelta(seconds=seconds * speed())


def speed() -> float:
    """How many business seconds pass in a real one. 1.0 outside the demo."""
    reading = _reading()
    return 1.0 if reading is None else reading.speed


def _reading() -> _Reading | None:
    if not settings.DEMO_CLOCK:
        return None
    global _last  # one row, read at most once a second by each process
    monotonic = time.monotonic()
    if _last is None or monotonic - _last.read_at > REREAD_AFTER_S:
        row = DemoClock.objects.values_list("real_start", "business_start", "speed").first()
        start = row or (datetime.fromtimestamp(0, UTC), datetime.fromtimestamp(0, UTC), 1.0)
        _last = _Reading(*start, read_at=monotonic)
    return _last
