"""Each sentence that is said of a missed target: when the events bear it out, and when they do not."""

from __future__ import annotations

import pytest

from governance.metrics.causes import signs_of
from governance.models import Measure
from tests.governance.test_metrics_folding import FIRST, found, opened, resolved, step

MANAGER, DEPUTY, CONTROLLER = "person:manager", "person:deputy", "person:controller"
ASKED = step("approval", 0, MANAGER, in_case=False)
EXPIRED = "step.expired", {"path": "approval", "level": 0}
ELSEWHERE = step("timeout", 2, CONTROLLER)
OVER = "request.expired", {}


def signs(metric, *told):
    """Return the signs of the one measure of this metric that these events come to."""
    (measure,) = found(metric, *told)
    return {f"{sign.what} {sign.which}" for sign in signs_of(Measure(**measure._asdict()))}


def escalated(*first):
    return signs("escalation", *first, opened(), ELSEWHERE, OVER)


def decided(who, path="approval", level=0, verdict="approve"):
    return "step.decided", {"path": path, "level": level, "verdict": verdict}, 0, who


# --- A person ---------------------------------------------------------------------------------


def test_whoever_was_asked_reachable_and_let_it_run_out_is_named():
    assert escalated(ASKED, EXPIRED) == {f"person {MANAGER}"}


BOTH = step("approval", 0, MANAGER, DEPUTY, in_case=False)
THEIRS = {"path": "approval", "level": 0}


@pytest.mark.parametrize(
    "then",
    [
        decided(DEPUTY),
        ("question.asked", {"path": "approval", "level": 0}, 0, DEPUTY),
        ("ask.passed_over", {"person": DEPUTY, "reason": "is away"}),
    ],
    ids=["said yes", "asked the agent", "went away"],
)
def test_of_two_who_were_asked_only_the_one_who_was_silent_is_named(then):
    assert escalated(BOTH, then, EXPIRED) == {f"person {MANAGER}"}


def test_whoever_handed_it_over_is_not_named_and_whoever_took_it_is():
    facts = {**THEIRS, "person": MANAGER, "to": DEPUTY}

    assert escalated(ASKED, ("ask.handed_over", {**facts, "reachable": True}), EXPIRED) == {
        f"person {DEPUTY}"
    }
    assert escalated(ASKED, ("ask.handed_over", {**facts, "reachable": False}), EXPIRED) == {
        f"channel {DEPUTY}"
    }


@pytest.mark.parametrize("facts", [{}, {"reachable": None}])
def test_of_whom_the_record_does_not_say_whether_anything_reached_them_nothing_is_said(facts):
    taken = "ask.opened", {**THEIRS, "asked": DEPUTY, "instead_of": [MANAGER], **facts}
    gone = "ask.passed_over", {"person": MANAGER, "reason": "is away"}

    assert escalated(ASKED, gone, taken, EXPIRED) == set()


def test_an_event_from_before_reach_was_recorded_blames_nobody():
    kind, facts, after = ASKED
    old = kind, {name: said for name, said in facts.items() if name != "unreachable"}, after

    assert escalated(old, EXPIRED) == set()


def test_whoever_answered_when_asked_again_is_not_named():
    again = step("timeout", 1, MANAGER), decided(MANAGER, "timeout", 1)
    ran_out = "step.expired", {"path": "timeout", "level": 1}

    assert escalated(ASKED, EXPIRED, *again, ran_out) == set()


def test_nobody_is_named_where_others_were_asked_for_another_reason():
    for path in ("rejection", "conflict", "policy_violation"):
        other = opened(path), step(path, 2, CONTROLLER)
        told = signs("escalation", ASKED, EXPIRED, opened(), *other, OVER)
        assert told == set(), path


def test_what_ran_out_after_others_were_asked_is_not_why_they_were():
    late = "step.expired", {"path": "timeout", "level": 2}

    assert signs("escalation", ASKED, EXPIRED, opened(), ELSEWHERE, late, OVER) == {
        f"person {MANAGER}"
    }


def test_an_executive_overrode_whoever_let_any_rung_run_out():
    ran_out = "step.expired", {"path": "timeout", "level": 2}
    approved = "request.approved", {"path": "timeout", "level": 4}
    told = ASKED, EXPIRED, opened(), ELSEWHERE, ran_out, step("timeout", 4, "person:cfo")

    assert signs("bypass", *told, decided("person:cfo", "timeout", 4), approved) == {
        f"person {MANAGER}", f"person {CONTROLLER}",
    }  # fmt: skip


# --- A channel --------------------------------------------------------------------------------


def test_whoever_was_asked_in_the_inbox_alone_is_no_person_but_a_channel():
    alone = step("approval", 0, MANAGER, in_case=False, unreachable=[MANAGER])

    assert escalated(alone, EXPIRED) == {f"channel {MANAGER}"}
    later = "ask.unreachable", {"person": MANAGER}
    assert escalated(ASKED, later, EXPIRED) == {f"channel {MANAGER}"}


def test_a_channel_of_another_rung_is_not_why_it_went_on():
    alone = step("timeout", 2, CONTROLLER, unreachable=[CONTROLLER])

    assert signs("escalation", ASKED, EXPIRED, opened(), alone, OVER) == {f"person {MANAGER}"}


def test_whoever_decided_was_reached_by_the_inbox():
    alone = step("approval", 0, MANAGER, DEPUTY, in_case=False, unreachable=[MANAGER])

    assert escalated(alone, decided(MANAGER), EXPIRED) == {f"person {DEPUTY}"}


# --- The matrix -------------------------------------------------------------------------------

NOBODY = "step.passed_over", {"path": "approval", "level": 0, "passed_over": {MANAGER: "is away"}}


def test_a_row_that_leads_to_nobody_is_the_matrix():
    assert escalated(NOBODY) == {"matrix 3/14"}


def test_where_somebody_was_asked_first_and_went_away_it_is_not_the_matrix():
    gone = "ask.passed_over", {"person": MANAGER, "reason": "is away"}

    assert escalated(ASKED, gone, NOBODY) == set()


def test_where_nobody_was_asked_first_because_it_was_held_at_once_it_is_not_the_matrix():
    held = opened("conflict"), step("conflict", 2, CONTROLLER)

    assert signs("escalation", *held, OVER) == set()


# --- The target -------------------------------------------------------------------------------

FAILED = "attempt.failed", {"reason": "It failed.", "said": "503"}
L1 = opened("system_failure"), step("system_failure", 1)
GIVEN_UP = "step.expired", {"path": "system_failure", "level": 1}
ONCALL = step("system_failure", 2, "person:oncall")


def test_a_failure_is_the_target_if_somebody_said_what_failed():
    action = "target vendor_payment"

    assert signs("escalation", FIRST, FAILED, *L1, GIVEN_UP, ONCALL, OVER) == {action}
    assert signs("unattended", FIRST, FAILED, *L1, GIVEN_UP) == {action}
    case = resolved("recovered", after=200, exception="system_failure")
    assert signs("resolution", FIRST, FAILED, *L1, case) == {action}


def test_what_nobody_began_in_time_is_not_the_target():
    late = "attempt.failed", {"reason": "It was approved, and nothing began it in time."}

    assert signs("escalation", FIRST, late, *L1, GIVEN_UP, ONCALL, OVER) == set()
    assert signs("unattended", FIRST, late, *L1, GIVEN_UP) == set()


def test_a_failure_that_came_later_is_not_why_somebody_else_was_asked():
    told = ASKED, EXPIRED, opened(), ELSEWHERE, decided(CONTROLLER, "timeout", 2)

    assert signs("escalation", *told, FAILED, *L1, ("request.completed", {})) == {
        f"person {MANAGER}"
    }


# --- A clock ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("minutes", "window", "clocks"),
    [(130, 30, True), (149, 30, True), (150, 30, False), (500, 30, False)],
    ids=["in time without it", "just", "not even without it", "long after"],
)
def test_a_clock_made_a_case_late_if_it_would_have_been_in_time_without(minutes, window, clocks):
    rung = step("timeout", 1, MANAGER, minutes=window)
    ran_out = "step.expired", {"path": "timeout", "level": 1}, window
    told = signs("resolution", ASKED, EXPIRED, opened(), rung, ran_out, resolved(after=minutes))

    assert ("clock timeout" in told) == clocks
    assert f"person {MANAGER}" in told


def test_a_window_that_nobody_let_run_out_is_no_clock():
    rung = step("timeout", 2, CONTROLLER, minutes=300)

    assert signs("resolution", opened(), rung, resolved(after=130)) == set()


def test_a_window_of_another_case_is_no_clock_of_this_one():
    ran_out = "step.expired", {"path": "rejection", "level": 2}
    other = opened("rejection"), step("rejection", 2, CONTROLLER, minutes=120), ran_out

    assert signs("resolution", *other, opened(), resolved(after=130)) == set()


def test_whoever_was_silent_in_another_case_did_not_make_this_one_late():
    failed = FAILED, *L1, resolved("recovered", after=200, exception="system_failure")

    assert signs("resolution", ASKED, EXPIRED, *failed) == {"target vendor_payment"}


# --- An undoing, and a retry ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("pattern", "said"),
    [
        ("retry", "retry vendor_payment"),
        ("compensate", "action vendor_payment"),
        ("restore", "action vendor_payment"),
    ],
)
def test_a_retry_that_failed_is_not_an_undoing_that_did(pattern, said):
    failed = "recovery.failed", {"pattern": pattern, "needed_a_person": True}

    assert signs("rollback", FIRST, ("recovery.begun", {}), failed) == {said}


def test_what_was_stranded_before_anything_was_taken_back_shows_no_undoing():
    assert signs("rollback", FIRST, ("request.stranded", {})) == set()
