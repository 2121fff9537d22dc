"""The constraints of runs, units, snapshots, recoveries and drills, each with an attempt to break it."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from rollback.models import Direction, Recovery, Run, Unit
from tests.constraints import broken, constraints_of, update
from tests.factories import (
    MONDAY_9AM,
    BookmarkFactory,
    DrillFactory,
    PersonFactory,
    RecoveryFactory,
    RunFactory,
    SnapshotFactory,
    StrayFactory,
    UnitFactory,
)

pytestmark = pytest.mark.django_db

LATER = MONDAY_9AM + timedelta(hours=1)
RECOVERING = ["ordered", "planned", "running"]
RECOVERED = ["succeeded", "failed", "lapsed"]


def test_every_constraint_of_this_package_is_tried_here():
    tried = Path(__file__).read_text()

    assert [name for name in constraints_of("rollback") if f'"{name}"' not in tried] == []


def test_the_lists_above_are_all_states():
    assert sorted([*RECOVERING, *RECOVERED]) == sorted(Recovery.State.values)


# --- 6. One run a request, forward or undo; one checkpoint a (request, direction, unit) -------


@pytest.mark.parametrize("second", Direction)
@pytest.mark.parametrize("first", Direction)
def test_two_runs_never_run_on_one_request(first, second):
    run = RunFactory(direction=first)

    with broken("run_one_running_a_request"):
        RunFactory(request=run.request, direction=second, attempt=2)


@pytest.mark.parametrize("state", ["finished", "failed", "lost"])
def test_a_run_follows_one_that_is_over(state):
    run = RunFactory(state=state, ended_at=LATER)

    RunFactory(request=run.request, attempt=2)

    assert run.request.runs.filter(state="running").count() == 1


def test_a_lost_run_does_not_come_back_beside_the_one_that_took_over():
    lost = RunFactory(state="lost", ended_at=LATER)
    RunFactory(request=lost.request, attempt=2)

    with broken("run_one_running_a_request"):
        update(lost, state="running", ended_at=None)


def test_two_requests_run_at_once():
    RunFactory()
    RunFactory()

    assert Run.objects.filter(state="running").count() == 2


def test_an_attempt_in_one_direction_is_made_once():
    run = RunFactory(state="lost", ended_at=LATER)

    with broken("run_attempt_once"):
        RunFactory(request=run.request, state="failed", ended_at=LATER)
    RunFactory(request=run.request, direction="undo")


@pytest.mark.parametrize("state", ["", "paused"])
def test_a_run_is_in_no_state_we_do_not_know(state):
    run = RunFactory()

    with broken("run_known_state"):
        update(run, state=state)


@pytest.mark.parametrize("state", Unit.State)
def test_a_unit_has_one_checkpoint_in_one_direction(state):
    unit = UnitFactory(state=state)

    with broken("unit_once"):
        UnitFactory(request=unit.request, key="another")


def test_the_same_unit_may_be_done_undone_and_done_for_another_request():
    unit = UnitFactory(state="done")

    UnitFactory(request=unit.request, direction="undo")
    UnitFactory(request=unit.request, position=1)
    UnitFactory()

    assert Unit.objects.count() == 4


def test_a_key_is_sent_to_a_target_for_one_unit():
    unit = UnitFactory(sent_at=MONDAY_9AM)
    UnitFactory(key=unit.key)  # planned, and never sent: it has spent no key

    with broken("unit_key_once"):
        UnitFactory(key=unit.key, sent_at=MONDAY_9AM)


@pytest.mark.parametrize("missing", ["done_at", "receipt"])
@pytest.mark.parametrize("state", ["done", "reversed"])
def test_what_is_done_has_its_checkpoint(state, missing):
    unit = UnitFactory(state=state)

    with broken("unit_done_has_a_checkpoint"):
        update(unit, **{missing: None})


@pytest.mark.parametrize("state", ["planned", "sent", "not_done", "unknown"])
def test_a_unit_is_not_called_done_without_its_checkpoint(state):
    unit = UnitFactory(state=state)

    with broken("unit_done_has_a_checkpoint"):
        update(unit, state="done")


@pytest.mark.parametrize("state", ["", "skipped"])
def test_a_unit_is_in_no_state_we_do_not_know(state):
    unit = UnitFactory()

    with broken("unit_known_state"):
        update(unit, state=state)


# --- Snapshots, recoveries, drills ------------------------------------------------------------


def test_a_record_is_taken_once_before_the_first_write():
    snapshot = SnapshotFactory()

    with broken("snapshot_once_a_record"):
        SnapshotFactory(request=snapshot.request)
    SnapshotFactory(request=snapshot.request, record="ap-balance")


@pytest.mark.parametrize("state", RECOVERING)
def test_an_open_recovery_has_a_clock_and_no_end(state):
    recovery = RecoveryFactory(state=state)

    with broken("recovery_open_has_a_clock"):
        update(recovery, due_at=None)
    with broken("recovery_open_has_a_clock"):
        update(recovery, ended_at=LATER)


@pytest.mark.parametrize("state", RECOVERED)
def test_a_recovery_that_is_over_says_when(state):
    recovery = RecoveryFactory(state=state)

    with broken("recovery_open_has_a_clock"):
        update(recovery, ended_at=None)


@pytest.mark.parametrize("first", RECOVERING)
@pytest.mark.parametrize("second", RECOVERING)
def test_a_request_is_recovered_once_at_a_time(first, second):
    recovery = RecoveryFactory(state=first)

    with broken("recovery_one_open_a_request"):
        RecoveryFactory(request=recovery.request, state=second)


@pytest.mark.parametrize("state", RECOVERED)
def test_a_recovery_follows_one_that_is_over(state):
    recovery = RecoveryFactory(state=state)

    RecoveryFactory(request=recovery.request)

    assert recovery.request.recoveries.count() == 2


@pytest.mark.parametrize("state", ["", "done"])
def test_a_recovery_is_in_no_state_we_do_not_know(state):
    recovery = RecoveryFactory()

    with broken("recovery_known_state", "recovery_open_has_a_clock"):
        update(recovery, state=state)


@pytest.mark.parametrize("passed", [True, False])
@pytest.mark.parametrize("missing", ["ended_at", "evidence_hash", "signature"])
def test_a_drill_is_judged_by_signed_evidence(missing, passed):
    drill = DrillFactory()
    signed = {"ended_at": LATER, "due_at": None, "evidence_hash": "0" * 64, "signature": "0" * 128}

    update(drill, passed=passed, **signed)
    with broken("drill_passed_has_signed_evidence", "drill_open_has_a_clock"):
        update(drill, **{missing: None if missing == "ended_at" else ""})


@pytest.mark.parametrize(
    "changes",
    [
        {"due_at": None},
        {"ended_at": MONDAY_9AM},
        {"passed": False, "ended_at": MONDAY_9AM, "evidence_hash": "h", "signature": "s"},
        {
            "passed": True, "ended_at": MONDAY_9AM, "evidence_hash": "h", "signature": "s",
            "due_at": None, "lease_until": MONDAY_9AM,
        },
    ],
    ids=["open without a clock", "ended without a verdict", "ended with a clock", "with a lease"],
)  # fmt: skip
def test_a_drill_under_way_has_a_clock_and_one_that_ended_has_none(changes):
    drill = DrillFactory()

    with broken("drill_open_has_a_clock"):
        update(drill, **changes)


def test_an_action_type_has_one_drill_under_way():
    drill = DrillFactory()

    with broken("drill_one_open_an_action_type"):
        DrillFactory(action_type=drill.action_type)


# --- What targets list -------------------------------------------------------------------------


def test_a_list_has_one_bookmark():
    mark = BookmarkFactory()
    BookmarkFactory(target="tryton", name=mark.name)

    with broken("bookmark_one_a_list"):
        BookmarkFactory(name=mark.name)


def test_an_effect_is_a_stray_once():
    stray = StrayFactory(settled_at=MONDAY_9AM)
    StrayFactory(target="tryton", key=stray.key)

    with broken("stray_once_a_key"):
        StrayFactory(key=stray.key)


@pytest.mark.parametrize(
    ("settled_at", "by_whom", "note"),
    [(LATER, True, ""), (None, True, "Seen to."), (LATER, False, "Seen to.")],
    ids=["without words", "not settled", "words of nobody"],
)
def test_a_person_settles_a_stray_with_words(settled_at, by_whom, note):
    stray = StrayFactory()
    person = PersonFactory()

    with broken("stray_settled_by_whom_with_words"):
        update(stray, settled_at=settled_at, settled_by=person if by_whom else None, note=note)
    update(stray, settled_at=LATER, settled_by=person, note="Seen to.")
