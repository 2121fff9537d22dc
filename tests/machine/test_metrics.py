"""Whatever happens, and whenever it is counted: what is kept, what is made anew, and the tables agree."""

from __future__ import annotations

from datetime import timedelta

from django.db import transaction
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from governance import seals
from governance.metrics import keeping
from governance.models import Measure, WeeklyRollup
from rollback.connectors.base import Gives
from tests.machine.counted import by_the_rollups, by_the_tables, times_differ
from tests.machine.target import Mood
from tests.machine.test_machine import Machine, organisation
from tests.machine.world import World, forget

__all__ = ["organisation"]  # a fixture

SEVERITY = st.sampled_from(["low", "medium", "high"])
PICK = st.integers(0, 11)


def act(name, **words):
    return st.tuples(st.just(name), st.fixed_dictionaries(words))


ACTS = st.one_of(
    *[
        act(
            "submit", action=PICK, record=st.integers(1, 2), severity=SEVERITY, impact=SEVERITY,
            amount=st.sampled_from(["900.00", "12000.00", "250000.00"]),
        )
    ] * 3,
    *[act("approve", pick=PICK)] * 2,
    act("answer", pick=PICK, severity=SEVERITY, verdict=st.sampled_from(["approve", "reject"])),
    act("hand_over", pick=PICK, to=PICK),
    act("withdraw", pick=PICK),
    act("be_away", person=st.integers(0, 15), hours=st.integers(1, 30)),
    act("order_rollback", pick=PICK, person=PICK),
    act("report", pick=PICK),
    act("comply", pick=PICK, verdict=st.sampled_from(["waive", "deny"])),
    act("mend", pick=PICK, verdict=st.sampled_from(["retry", "roll_back", "by_hand"])),
    act("rule", pick=PICK, refuse=st.sampled_from([0, 2]), backwards=st.booleans()),
    *[act("work", mood=st.sampled_from([Mood.FINE, *Mood]))] * 2,
    *[act("wait", minutes=st.sampled_from([1, 31, 125, 60 * 24 * 3]))] * 2,
    act("count"),
)  # fmt: skip


def kept():
    names = [field.name for field in Measure._meta.fields if field.name != "id"]
    measures = sorted(map(repr, Measure.objects.values_list(*names)))
    names = [field.name for field in WeeklyRollup._meta.fields if field.name != "id"]
    return measures, sorted(map(repr, WeeklyRollup.objects.values_list(*names)))


def test_what_is_counted_as_it_comes_is_what_the_ledger_and_the_tables_say(organisation):
    seen, timed = set(), 0

    @settings(
        max_examples=14, derandomize=True, deadline=None, database=None,
        phases=[Phase.generate], suppress_health_check=list(HealthCheck),
    )  # fmt: skip
    @given(acts=st.lists(ACTS, min_size=25, max_size=60), native=st.booleans())
    def walk(acts, native):
        nonlocal timed
        with transaction.atomic():
            try:
                forget()
                Machine.timeline.begin_again()
                world = World(Machine.timeline, Gives(native, True, False), silent=False)
                for name, words in acts:
                    if name == "count":
                        count(world.now)
                    elif name == "work":
                        world.target.mood = words["mood"]
                        world.work()
                    else:
                        getattr(world, name)(**words)
                world.run_out()
                count(world.now + timedelta(minutes=1))

                live = kept()
                told = {(metric, outcome) for _, metric, *_, outcome in by_the_rollups()}
                seen.update(told)
                counted, times = by_the_tables()
                assert by_the_rollups() == counted
                assert times_differ(times) == []
                timed += sum(map(len, times.values()))
                keeping.rebuild(now=world.now, actor="test")
                assert kept() == live
                count(world.now)
                assert kept() == live, "counting what is counted changes nothing"
            finally:
                transaction.set_rollback(True)
        forget()

    walk()
    assert timed > 20, f"the walks were too short: {timed} times"
    wanted = {"escalation", "resolution", "rollback", "bypass", "unattended"}
    assert {metric for metric, _ in seen} >= wanted, f"the walks were too short: {seen}"
    assert {("rollback", "miss"), ("escalation", "hit"), ("resolution", "miss")} <= seen


def count(now):
    seals.seal_now(now)
    while keeping.count_sealed(now, batches=1):
        pass
