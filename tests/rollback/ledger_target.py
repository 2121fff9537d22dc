"""A target in memory, for tests of what a run does around its calls.

It keeps what it did by key, and does as it is told with the next calls: fail
before, fail after it has done it, or run something in between.
"""

from __future__ import annotations

from collections import defaultdict
from datetime import timedelta
from decimal import Decimal
from typing import ClassVar

from rollback.connectors.base import Gives, Plan, Reading, Receipt, Rejected
from rollback.services.hands import Hands


class Killed(BaseException):
    """The worker is gone: nothing of ours handles this."""


class Books:
    """A target of `lines` units. Each unit writes the record `line/<n>`; a reversal empties it."""

    made: ClassVar[list[Books]] = []  # by the test that runs: its end asks each of them

    def __init__(self, *, lines=5, lookup=True, native_keys=True, locking=True, records=False):
        Books.made.append(self)
        self.target = "books"
        self.gives = Gives(native_keys=native_keys, lookup=lookup, optimistic_locking=locking)
        self.lines = lines
        self.records = records
        self.tells_how_it_left = True
        self.done = {}  # by key: what was done, once
        self.sends = []  # every key that came in, as often as it came
        self.state = defaultdict(lambda: ({"value": "old"}, "1"))
        self.absent = set()  # records that are not there until something is written to them
        self.script = defaultdict(list)  # by the unit's line: what happens to its next sends
        self.down = None  # raised by every call while set

    # --- What tests tell it ---

    def fail(self, line, *problems):
        """Have the next sends of a line end so: an exception is raised instead of doing it."""
        self.script[line] += [("before", problem) for problem in problems]

    def lose_answer(self, line, problem):
        """Have the next send of a line be done, and its answer be lost."""
        self.script[line].append(("after", problem))

    def meanwhile(self, line, call):
        """Have something happen while the next send of a line is in the call."""
        self.script[line].append(("meanwhile", call))

    def somebody_else_writes(self, record, **fields):
        state, version = self.state[record]
        self.state[record] = ({**state, **fields}, str(int(version) + 1))

    # --- The connector ---

    def units(self, action):
        return [
            Plan(
                name=f"Line {n}",
                body={"line": n, "set": "new"},
                undo_name=f"Cancel line {n}",
                record=f"line/{n}" if self.records else "",
                amount=Decimal(10 * n),
                currency="USD",
            )
            for n in range(1, self.lines + 1)
        ]

    def read(self, record):
        self._reach()
        if record in self.absent and record not in self.state:
            return None
        state, version = self.state[record]
        return Reading(dict(state), version)

    def send(self, body, *, key, version=""):
        self._reach()
        self.sends.append(key)
        script = self.script[body["line"]]
        how, what = script.pop(0) if script else ("", None)
        if how == "before":
            raise what
        if how == "meanwhile":
            what()
        receipt = self.do(body, key, version)
        if how == "after":
            raise what
        return receipt

    def do(self, body, key, version=""):
        """Do it, under its key: what a send does, or a late one."""
        if key in self.done and self.gives.native_keys:
            return self.done[key]
        record = f"line/{body['line']}"
        state, current = self.state[record]
        if version and version != current:
            raise Rejected("412 somebody else was faster")
        self.state[record] = (
            body.get("state") or {**state, "value": body["set"]},
            str(int(current) + 1),
        )
        assert key not in self.done, f"{key} was done twice"
        left = Reading(*self.state[record]) if self.tells_how_it_left else None
        self.done[key] = Receipt(f"L-{len(self.done) + 1}", {"line": body["line"]}, left)
        return self.done[key]

    def probe(self, key):
        self._reach()
        return self.done.get(key)

    def reversal(self, action, body, receipt):
        return {"line": receipt["data"]["line"], "set": "old"}

    def restoration(self, record, state):
        return {"line": int(record.split("/")[1]), "state": state, "set": ""}

    def _reach(self):
        if self.down is not None:
            raise self.down

    @property
    def lines_done(self):
        """Which lines hold what we wrote, in order."""
        return [n for n in range(1, self.lines + 1) if self.state[f"line/{n}"][0]["value"] == "new"]


class Worker:
    """Hands of a worker on a clock that the test owns."""

    def __init__(self, timeline, books, name="one"):
        self.timeline = timeline
        self.books = books
        self.name = name
        self.points = {}  # (point, line) -> called there
        self.units_left = None

    @property
    def hands(self):
        return Hands(
            worker=self.name,
            now=lambda: self.timeline.now,
            technical=lambda seconds: timedelta(seconds=seconds),
            connector_for=lambda action_type: self.books,
            chance=lambda: 0.5,
            enough=self._enough,
            at=self._at,
        )

    def kill(self, point, line):
        """Have the worker die there: "before_send" or "after_send" of a line."""

        def die():
            raise Killed

        self.points[point, line] = die

    def _at(self, point, unit):
        happens = self.points.pop((point, unit.position), None)
        if happens is not None:
            happens()

    def _enough(self):
        if self.units_left is None:
            return False
        self.units_left -= 1
        return self.units_left < 0


__all__ = ["Books", "Killed", "Worker"]
