"""Each process that runs for ever listens for the other's sign of life, and says so when there is none.

What stands still says nothing itself: the clock listens for the worker, the
worker's watchdog for the clock. Both silent is for whoever listens outside.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import datetime
from typing import NamedTuple

from django.db.models import Q

from governance import clock, signs
from governance.models import Heartbeat

LOOK_EVERY_S = 2.0


class Sign(NamedTuple):
    """Whose sign of life it is, and after how many real seconds without one that is told."""

    name: str  # of the heartbeat, or what it begins with: "worker"
    kind: str  # of the alert
    after_s: float
    text: str  # what it means, in whole sentences


CLOCK = Sign(
    "clock", "clock.silent", 30.0, "What is due moves once a minute, while the worker runs."
)
# More than most tasks take: a beat waits behind them when every worker is busy.
WORKER = Sign("worker", "worker.silent", 45.0, "Nothing is carried out, and no message goes out.")


class Neighbour:
    """Listens for one sign of life. The alert stands from its silence until it is heard again."""

    def __init__(
        self, sign: Sign, *, by: str, second: Callable[[], float] = time.monotonic
    ) -> None:
        """Nothing is read yet.

        Args:
            by: who listens, for the record.
            second: seconds of real time that never go back.
        """
        self._sign = sign
        self._by = by
        self._second = second
        self._looked = float("-inf")
        self._since: float | None = None  # when we began to listen
        self._silent: bool | None = None

    def forgive(self) -> None:
        """Begin to listen anew: the database was away, which keeps everybody silent."""
        self._since = None

    def look(self, *, now: datetime) -> bool:
        """Look, at most every LOOK_EVERY_S; return whether it is known to be silent.

        Who was never heard is not missed: it may not be meant to run. Nor is
        anybody before we have listened for as long ourselves: after a night
        without power all begin together.
        """
        at = self._second()
        if at - self._looked < LOOK_EVERY_S:
            return bool(self._silent)
        self._looked = at
        if self._since is None:
            self._since = at
        name = self._sign.name
        # Of several workers each has its own: as long as one shows itself, work is done.
        signs_of_it = Heartbeat.objects.filter(Q(name=name) | Q(name__startswith=f"{name} "))
        beat = signs_of_it.order_by("-beat_at").first()
        if beat is None:
            return False
        if now - beat.beat_at <= clock.technical(self._sign.after_s):
            if self._silent is not False:  # an earlier process of ours may have raised it
                signs.works_again(by=self._by, kind=self._sign.kind, key=name, now=now)
            self._silent = False
        elif not self._silent and at - self._since > self._sign.after_s:
            self._tell(beat, now)
            self._silent = True
        return bool(self._silent)

    def _tell(self, beat: Heartbeat, now: datetime) -> None:
        name = self._sign.name
        text = f"The {name} is silent since {beat.beat_at:%d %b %H:%M:%S} UTC. {self._sign.text}"
        signs.report(
            "process.fell_silent", by=self._by, kind=self._sign.kind, key=name, text=text, now=now,
            process=name, heard_at=beat.beat_at,
        )  # fmt: skip
