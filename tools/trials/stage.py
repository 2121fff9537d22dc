"""Where trials are made: our database and the target's, put back to the same stand as often as wanted."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple

from django.conf import settings

from governance import clock
from governance.models import ActionType
from rollback.connectors import client
from rollback.connectors.base import Connector
from rollback.services.hands import connector_of
from tools.trials import scenarios
from tools.trials.databases import Database, Databases, enter, leave
from tools.trials.forking import Outcome, Say, in_child
from tools.trials.life import Moment, carry_on
from tools.trials.scenarios import Scenario
from tools.trials.targets import Target
from tools.trials.verdict import report

Of = Callable[[ActionType], Connector]
Work = Callable[[Say], Any]


class Stand(NamedTuple):
    """Where a run begins or has ended: our database, what the target holds, and the time."""

    database: Database
    target: Path
    ref: str
    now: datetime


class Stage:
    """One target and as many copies of our database as there are trials.

    Attributes:
        of: as the worker's hands have it.
    """

    def __init__(
        self, databases: Databases, target: Target, *, connector_for: Of = connector_of
    ) -> None:
        """Nothing happens yet."""
        self.databases = databases
        self.target = target
        self.of = connector_for
        self._seeded: Database | None = None
        self._first: Path | None = None

    def asked(self, scenario: Scenario) -> Stand:
        """Return where it is approved and nothing is done."""
        seeded, first = self._ready(scenario)
        self.target.restore(first)
        database = self.databases.copy(seeded)

        def work(say: Say) -> list[str]:
            moment = Moment(clock.now())
            return [scenarios.ask(scenario, moment), moment.now.isoformat()]

        ref, now = self.child(database, work).answer
        return Stand(database, self.target.keep(), ref, datetime.fromisoformat(now))

    def ordered(self, done: Stand) -> Stand:
        """Return where what was completed is to be undone."""

        def work(say: Say) -> str:
            moment = Moment(done.now)
            scenarios.order_undo(done.ref, moment)
            return moment.now.isoformat()

        now = self.child(done.database, work).answer
        return done._replace(now=datetime.fromisoformat(now))

    def copy(self, start: Stand) -> Database:
        """Put the target back to where a run begins, and return a copy of our database there."""
        self.target.restore(start.target)
        return self.databases.copy(start.database)

    def child(
        self, database: Database, work: Work, *, address: dict[str, str] | None = None
    ) -> Outcome:
        """Do something on a database, in a process of its own. Raises ChildFailed.

        Args:
            address: of the target, if it is not the target's own.
        """
        return in_child(self._connected(database, work, address))

    def _ready(self, scenario: Scenario) -> tuple[Database, Path]:
        if self._seeded is None or self._first is None:
            self._seeded = self.databases.new()
            self.child(self._seeded, lambda say: scenarios.seed())
            self._first = self.target.keep()
            self._warm_up(self._seeded, scenario)
        return self._seeded, self._first

    def _warm_up(self, seeded: Database, scenario: Scenario) -> None:
        """Do it here once: children inherit what was imported and compiled, as a queue's workers do."""
        database = self.databases.copy(seeded)

        def work(say: Say) -> None:
            moment = Moment(clock.now())
            ref = scenarios.ask(scenario, moment)
            carry_on(ref, moment)
            scenarios.order_undo(ref, moment)
            carry_on(ref, moment)
            report(ref, moment.now)

        self._connected(database, work)(lambda words: None)
        client.close()
        self.databases.drop(database)

    def _connected(
        self, database: Database, work: Work, address: dict[str, str] | None = None
    ) -> Work:
        def connected(say: Say) -> Any:
            here = address or self.target.address()
            settings.TARGETS = {**settings.TARGETS, self.target.key: here}
            enter(database)
            try:
                return work(say)
            finally:
                leave()

        return connected
