"""A target that keeps what it did by key, and fails as the world of the machine tells it to."""

from __future__ import annotations

from collections import defaultdict
from enum import StrEnum

from rollback.connectors.base import (
    Gives,
    NotDone,
    OutcomeUnknown,
    Plan,
    Reading,
    Receipt,
    Rejected,
)
from rollback.connectors.registry import records_of

UNITS = 2


class Killed(BaseException):
    """The worker is gone: nothing of ours handles this."""


class Mood(StrEnum):
    """What becomes of every call, until it is told otherwise."""

    FINE = "fine"
    DOWN = "down"
    REFUSES = "refuses"  # to write; it still answers questions
    FORGETS = "forgets"  # it writes, and its answer is lost; it answers no questions
    KILLS = "kills"  # the worker dies while the target has done it


class Target:
    """Two units a request, each on a record of its own; an action that is restored writes its snapshot's."""

    target = "demo"

    def __init__(self, gives: Gives) -> None:
        self.gives = gives
        self.plans: dict[str, list[str]] = {}  # of action types that are restored: their records
        self.mood = Mood.FINE
        self.done: dict[str, Receipt] = {}
        self.taken_back: set[str] = set()  # by people, under no key of ours
        self.times: dict[str, int] = defaultdict(int)  # how often each key was carried out
        self.state: dict[str, tuple[dict[str, str], int]] = {}

    # --- The connector ---

    def units(self, action):
        records = (
            records_of(self.plans[action.key], action.payload)
            if action.key in self.plans
            else [f"{action.business_key}/{n}" for n in range(1, UNITS + 1)]
        )
        return [
            Plan(name=f"Line {n}", body={"record": record, "set": "new"}, undo_name=f"Cancel line {n}", record=record)
            for n, record in enumerate(records, start=1)
        ]  # fmt: skip

    def read(self, record):
        self._reach()
        state, version = self._now(record)
        return Reading(dict(state), str(version))

    def send(self, body, *, key, version=""):
        self._reach()
        if self.mood == Mood.REFUSES:
            raise Rejected("422 it may not be done")
        receipt = self._do(body, key)
        if self.mood == Mood.FORGETS:
            raise OutcomeUnknown("the connection was reset")
        if self.mood == Mood.KILLS:
            self.mood = Mood.FINE
            raise Killed
        return receipt

    def probe(self, key):
        self._reach()
        if self.mood == Mood.FORGETS:
            raise OutcomeUnknown("the connection was reset")
        return self.done.get(key)

    def reversal(self, action, body, receipt):
        return {**body, "set": "old"}

    def restoration(self, record, state):
        return {"record": record, "set": state["value"]}

    # --- Inside ---

    def _do(self, body, key):
        if key in self.done and self.gives.native_keys:
            return self.done[key]
        state, version = self._now(body["record"])
        self.state[body["record"]] = ({**state, "value": body["set"]}, version + 1)
        self.times[key] += 1
        left = Reading({**state, "value": body["set"]}, str(version + 1))
        self.done[key] = Receipt(f"T-{len(self.done) + 1}", {}, left)
        return self.done[key]

    def _now(self, record):
        return self.state.get(record, ({"value": "old"}, 1))

    def _reach(self):
        if self.mood == Mood.DOWN:
            raise NotDone("connection refused")
