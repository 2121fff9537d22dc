"""Everything that can happen, in every order: submissions, answers, absences, failures, and time.

Hypothesis drives it. After each step all of `checks` must hold; at the end
everybody falls silent, and within the worst case nothing may be open.
"""

from __future__ import annotations

import os
import secrets
import time
from collections import Counter

import pytest
import time_machine
from django.db import transaction
from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from governance import demo
from rollback.connectors.base import Gives
from tests.conftest import Timeline
from tests.factories import MONDAY_9AM
from tests.machine import checks
from tests.machine.target import Mood
from tests.machine.world import WORST_CASE, World, forget

pytestmark = pytest.mark.soak

STEPS_AT_LEAST = 2000
STEPS_A_WALK = 40
WALKS_A_ROUND = 15
ROUNDS_AT_MOST = 8  # they end sooner once enough was done and every end reached
# These wake a worker by a task, and do its work where none came: here it works when it is told to.
CALLS_TO_THE_WORKER = {
    "rollback.sweeps.call_the_worker",
    "approvals.courier.call_the_courier",
    "governance.seals.call_for_seal",
    "governance.metrics.keeping.call_for_metrics",
    "approvals.auditing.call_for_audit",
}
PICK = st.integers(0, 11)
SELDOM = st.integers(0, 3).map(lambda n: n == 3)
MOODS = st.sampled_from([None, Mood.FINE, Mood.FINE, *Mood])  # None: as it was
UNITS = st.sampled_from([None, None, 1])  # the worker stops after one, or does all it finds
SEVERITY = st.sampled_from(["low", "medium", "high"])

# (path, end) of requests that stood on the path: each must be reached.
TO_BE_REACHED = {
    ("approval", "completed"),
    ("approval", "withdrawn"),
    ("timeout", "completed"),
    ("timeout", "expired"),
    ("rejection", "rejected"),
    ("rejection", "completed"),
    ("conflict", "completed"),
    ("conflict", "rejected"),
    ("conflict", "expired"),
    ("conflict", "withdrawn"),
    ("system_failure", "completed"),
    ("system_failure", "expired"),
    ("system_failure", "rolled_back"),
    ("system_failure", "completed_manually"),
    ("policy_violation", "denied"),
    ("policy_violation", "completed"),
    ("policy_violation", "withdrawn"),
    ("policy_violation", "rolled_back"),
    ("undo", "rolled_back"),
    ("undo", "stranded"),
    ("undo", "completed_manually"),
}
# What must have been done at least once: to be refused is not enough.
TO_BE_DONE = {"answer a failure at L4"}


def can(what):
    """Have a rule run only where the world has something for it to be done to."""
    return precondition(lambda machine: machine.world.there_is[what])


class Machine(RuleBasedStateMachine):
    """One walk through a world, which is rolled back at its end."""

    did: Counter[str] = Counter()  # steps of all walks, by what was done
    reached: Counter[tuple[str, str]] = Counter()
    timeline: Timeline

    def __init__(self):
        super().__init__()
        self._transaction = transaction.atomic()
        self._transaction.__enter__()
        forget()
        Machine.timeline.begin_again()

    @initialize(native_keys=st.booleans(), lookup=st.booleans(), silent=SELDOM)
    def begin(self, native_keys, lookup, silent):
        gives = Gives(native_keys, lookup, optimistic_locking=False)
        self.world = World(Machine.timeline, gives, silent=silent)

    @rule(
        action=PICK,
        record=st.integers(1, 2),
        amount=st.sampled_from(["900.00", "12000.00", "60000.00", "250000.00"]),
        severity=SEVERITY,
        impact=SEVERITY,
    )
    def submit(self, **words):
        self._did("submit", self.world.submit(**words))

    @can("answer")
    @rule(pick=PICK, severity=SEVERITY, verdict=st.sampled_from(["approve", "approve", "reject"]))
    def answer(self, pick, severity, verdict):
        self._did(verdict, self.world.answer(pick, verdict=verdict, severity=severity))

    @can("rule")
    @rule(pick=PICK, refuse=st.sampled_from([0, 2]), backwards=st.booleans(), mood=MOODS)
    def rule_on_a_conflict(self, pick, refuse, backwards, mood):
        """And whoever may go on is approved."""
        self._did("rule", self.world.rule(pick, refuse=refuse, backwards=backwards))
        self._did("approve by all, and work", self.world.approve(pick))
        self._work(mood, None)

    @can("answer")
    @rule(pick=PICK, mood=MOODS, units=UNITS)
    def approve_and_work(self, pick, mood, units):
        self._did("approve by all, and work", self.world.approve(pick))
        self._work(mood, units)

    @can("answer")
    @rule(pick=PICK, person=st.integers(0, 15), what=st.sampled_from(["meddle", "hand over"]))
    def step_in(self, pick, person, what):
        act = {"meddle": self.world.meddle, "hand over": self.world.hand_over}[what]
        self._did(what, act(pick, person))

    @can("be_away")
    @rule(person=st.integers(0, 15), hours=st.integers(1, 30))
    def be_away(self, person, hours):
        self._did("be away", self.world.be_away(person, hours))

    @can("withdraw")
    @rule(pick=PICK, what=st.sampled_from(["withdraw", "report a violation", "report a violation"]))
    def think_again(self, pick, what):
        """The agent takes it back, or says that something is wrong with it."""
        act = {"withdraw": self.world.withdraw, "report a violation": self.world.report}[what]
        self._did(what, act(pick))

    @can("order_rollback")
    @rule(pick=PICK, person=PICK, mood=MOODS, units=UNITS)
    def order_rollback_and_work(self, pick, person, mood, units):
        self._did("order a rollback", self.world.order_rollback(pick, person))
        self._did("confirm a rollback", self.world.order_rollback(pick, person + 1))
        self._work(mood, units)

    @can("comply")
    @rule(pick=PICK, verdict=st.sampled_from(["waive", "waive", "deny", "change_requested"]))
    def comply(self, pick, verdict):
        """Twice: a waiver takes two."""
        self._did(verdict, self.world.comply(pick, verdict))
        self._did(verdict, self.world.comply(pick, verdict))

    @can("mend")
    @rule(pick=PICK, verdict=st.sampled_from(["retry", "roll_back", "by_hand", "by_hand"]))
    def mend(self, pick, verdict):
        self._did(f"mend, {verdict}", self.world.mend(pick, verdict))

    @can("mend_at_the_top")
    @rule(pick=PICK, verdict=st.sampled_from(["retry", "by_hand", "roll_back"]), mood=MOODS)
    def mend_at_the_top(self, pick, verdict, mood):
        self._did("answer a failure at L4", self.world.mend_at_the_top(pick, verdict))
        self._work(mood, None)

    @can("finish_by_hand")
    @rule(pick=PICK, outcome=st.sampled_from(["as it is", "done", "done", "not_done"]))
    def finish_by_hand(self, pick, outcome):
        self._did(f"finish by hand, {outcome}", self.world.finish_by_hand(pick, outcome))

    @can("clean_up")
    @rule(pick=PICK, outcome=st.sampled_from(["rolled_back", "completed_manually"]))
    def clean_up(self, pick, outcome):
        self._did(f"clean up, {outcome}", self.world.clean_up(pick, outcome))

    @can("work")
    @rule(mood=MOODS, units=UNITS)
    def work(self, mood, units):
        self._work(mood, units)

    @can("wait")
    @rule(minutes=st.sampled_from([1, 6, 31, 125]), mood=MOODS, works=st.booleans())
    def wait(self, minutes, mood, works):
        self.world.wait(minutes=minutes)
        self._did("wait", True)
        if works:
            self._work(mood, None)

    @invariant()
    def all_holds(self):
        checks.everything(self.world)
        self.world.look_round()

    def teardown(self):
        try:
            self.world.run_out()
            checks.everything(self.world)
            for outcome in ("completed_manually", "rolled_back", "completed_manually"):
                self._did(f"clean up, {outcome}", self.world.clean_up(0, outcome))
                checks.everything(self.world)
            checks.packs_contradict_nothing(self.world)
            Machine.reached.update(self.world.ends())
        finally:
            transaction.set_rollback(True)
            self._transaction.__exit__(None, None, None)
            forget()

    def _work(self, mood, units):
        """The worker goes on, at a target that may have changed meanwhile."""
        if mood is not None:
            self.world.target.mood = mood
            self._did(f"target {mood}", True)
        self._did("work", self.world.work(units))

    @staticmethod
    def _did(what: str, anything: bool) -> None:
        Machine.did[what if anything else f"{what}, refused"] += 1


@pytest.fixture
def organisation(db, tmp_path, settings):
    settings.VAR = tmp_path
    settings.RECOURSE_SWEEPS = [
        name for name in settings.RECOURSE_SWEEPS if name not in CALLS_TO_THE_WORKER
    ]
    with time_machine.travel(MONDAY_9AM, tick=False) as wall:
        demo.seed(speed=1.0, now=MONDAY_9AM, real_now=MONDAY_9AM)
        Machine.timeline = Timeline(MONDAY_9AM, wall)
        yield


def test_whatever_happens_everything_ends_once_and_is_on_record(organisation):
    Machine.did, Machine.reached = Counter(), Counter()
    until = time.monotonic() + 60 * float(os.environ.get("SOAK_MINUTES", "0"))
    rounds = 0
    while True:
        rounds += 1
        _round(seed_of(rounds))
        missing, total = TO_BE_REACHED - set(Machine.reached), Machine.did.total()
        undone = TO_BE_DONE - set(Machine.did)
        enough = (
            total >= STEPS_AT_LEAST and not missing and not undone
        ) or rounds >= ROUNDS_AT_MOST
        if enough and time.monotonic() >= until:
            break
    print(f"\n{total} steps in {rounds} rounds; everything ends within {WORST_CASE}")
    for what, times in sorted(Machine.did.items()):
        print(f"  {times:6} {what}")
    print("ends, by path:")
    for (path, end), times in sorted(Machine.reached.items()):
        print(f"  {times:6} {path} -> {end}")
    assert not missing, f"never reached: {sorted(missing)}"
    assert not undone, f"never done: {sorted(undone)}"
    assert total >= STEPS_AT_LEAST


def seed_of(rounds: int) -> int:
    """Return where a round begins: the same in every run of the tests, another each time in a soak."""
    return secrets.randbits(64) if "SOAK_MINUTES" in os.environ else rounds


def _round(where: int) -> None:
    print(f"round of seed {where}")
    run_state_machine_as_test(
        seed(where)(Machine),
        settings=settings(
            max_examples=WALKS_A_ROUND,
            stateful_step_count=STEPS_A_WALK,
            deadline=None,
            database=None,
            phases=[Phase.generate, *([Phase.shrink] if os.environ.get("SHRINK") else [])],
            suppress_health_check=list(HealthCheck),
            print_blob=True,
        ),
    )
