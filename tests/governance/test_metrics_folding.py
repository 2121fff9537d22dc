"""What of a request's chain counts, as what, and in which week."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import Any, NamedTuple

import pytest

from governance.events import KINDS
from governance.metrics import folding, weeks
from governance.metrics.folding import measure_of_finding, measures_of

MONDAY = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)


class Event(NamedTuple):
    chain: str
    seq: int
    kind: str
    actor: str
    facts: dict[str, Any]
    at: datetime


def chain(*told):
    """Return events out of (kind, facts) or (kind, facts, after, actor): minutes after the first."""
    first = {
        "department": "accounts-payable", "action": "vendor_payment", "title": "Pay Acme",
        "amount": "12000.00", "currency": "USD", "matrix_row": 14, "policy": 3,
    }  # fmt: skip
    rows = [("request.submitted", first, 0, ""), *map(whole, told)]
    return [
        Event("R-1", seq, kind, actor, facts, MONDAY + timedelta(minutes=after))
        for seq, (kind, facts, after, actor) in enumerate(rows, start=1)
    ]


def whole(each):
    kind, facts, after, actor = (*each, *(0, "")[len(each) - 2 :])
    return kind, facts, after, actor


def step(path, level, *asked, in_case=True, after=0, unreachable=(), minutes=30):
    opened_at = MONDAY + timedelta(minutes=after)
    facts = {
        "path": path, "level": level, "asked": list(asked), "in_case": in_case,
        "unreachable": list(unreachable), "opened_at": opened_at.isoformat(),
        "due_at": (opened_at + timedelta(minutes=minutes)).isoformat(),
    }  # fmt: skip
    return "step.opened", facts, after


FIRST = step("approval", 0, "finance_manager", in_case=False)


def opened(exception="timeout", **more):
    return "case.opened", {"exception": exception, "opened_at": MONDAY.isoformat(), **more}


def resolved(outcome="approved", *, after, level=2, exception="timeout", absent=False):
    facts = {
        "exception": exception, "outcome": outcome, "highest_level": level, "absent": absent,
        "opened_at": MONDAY.isoformat(),
    }  # fmt: skip
    return "case.resolved", facts, after


def found(metric, *told):
    return [each for each in measures_of(chain(*told)) if each.metric == metric]


def outcomes(metric, *told):
    return [each.outcome for each in found(metric, *told)]


def test_what_is_waited_for_can_be_recorded():
    assert folding.TRIGGERS | {folding.FINDING} <= KINDS


# --- Escalation -------------------------------------------------------------------------------


def test_it_escalated_if_a_case_asked_somebody_who_was_not_asked_first():
    again = (FIRST, opened(), step("timeout", 1, "finance_manager"))

    assert outcomes("escalation", *again, ("request.expired", {})) == ["miss"]
    asked = step("timeout", 2, "controller")
    (measure,) = found("escalation", *again, asked, ("request.expired", {}))
    assert (measure.outcome, measure.path, measure.level) == ("hit", "timeout", 2)
    assert (measure.department, measure.action) == ("accounts-payable", "vendor_payment")


@pytest.mark.parametrize(
    ("path", "outcome"), [("approval", "miss"), ("timeout", "hit")], ids=["at L0", "on a case"]
)
def test_whoever_an_ask_is_handed_to_is_of_the_rung_it_stands_on(path, outcome):
    rung = () if path == "approval" else (opened(), step("timeout", 1, "finance_manager"))
    facts = {"person": "finance_manager", "to": "controller", "reachable": True}
    handed = "ask.handed_over", {"path": path, "level": len(rung) // 2, **facts}

    assert outcomes("escalation", FIRST, *rung, handed, ("request.withdrawn", {})) == [outcome]


def test_an_undo_that_somebody_ordered_asks_without_a_case():
    asked = step("undo", 2, "oncall", in_case=False)
    ends = ("request.completed", {}), ("request.rolling_back", {}), asked

    assert outcomes("escalation", FIRST, *ends, ("request.rolled_back", {})) == ["miss"]


def test_a_request_counts_once_in_the_week_of_its_last_end_and_not_while_it_is_open_again():
    week = 7 * 24 * 60
    done = FIRST, ("request.completed", {}, 1)
    again = *done, ("request.rolling_back", {}, week)

    assert [each.week for each in found("escalation", *done)] == [date(2026, 3, 2)]
    assert found("escalation", *again) == []
    undone = found("escalation", *again, ("request.rolled_back", {}, week + 1))
    assert [each.week for each in undone] == [date(2026, 3, 9)]


def test_a_cleanup_ends_what_was_stranded():
    closed = "review.closed", {"review": "cleanup", "outcome": "rolled_back"}, 60 * 24 * 9
    bypass = "review.closed", {"review": "bypass"}, 60 * 24 * 20
    told = ("request.rolling_back", {}), ("request.stranded", {}), closed, bypass

    (measure,) = found("escalation", FIRST, *told)

    assert (measure.week, measure.facts["ended"]) == (date(2026, 3, 9), "rolled_back")


# --- Times ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("level", "minutes", "outcome"),
    [(1, 119, "hit"), (2, 120, "miss"), (3, 479, "hit"), (3, 480, "miss"), (4, 9999, "hit")],
)
def test_a_case_is_in_time_below_the_target_of_its_highest_level(level, minutes, outcome):
    (measure,) = found("resolution", opened(), resolved(after=minutes, level=level))

    assert (measure.outcome, measure.seconds, measure.level) == (outcome, minutes * 60, level)


def test_what_was_withdrawn_or_began_with_an_absence_is_counted_beside():
    assert outcomes("resolution", opened(), resolved("withdrawn", after=9)) == ["withdrawn"]
    assert outcomes("resolution", opened(), resolved(after=9, absent=True)) == ["absent"]


def test_the_case_of_a_conflict_whose_newcomer_is_withdrawn_is_withdrawn():
    held = opened("conflict"), step("conflict", 2, "resource_owner")
    left = resolved("left", after=9, exception="conflict")

    assert outcomes("resolution", *held, left) == ["hit"]
    assert outcomes("resolution", *held, ("request.withdrawn", {}, 9), left) == ["withdrawn"]


def test_a_case_that_was_over_before_its_request_was_withdrawn_counts():
    case = opened(), resolved(after=9)

    assert outcomes("resolution", *case, ("request.withdrawn", {}, 30)) == ["hit"]


def test_a_case_counts_from_when_it_was_opened_though_the_clock_came_later():
    late = ("case.opened", {"exception": "timeout", "opened_at": MONDAY.isoformat()}, 5)

    (measure,) = found("resolution", late, resolved(after=30))

    assert measure.seconds == 30 * 60


# --- The others -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("end", "person", "outcome"),
    [
        ("succeeded", False, "hit"),
        ("succeeded", True, "miss"),
        ("failed", False, "miss"),
        ("lapsed", False, "lapsed"),
    ],
)
def test_a_recovery_succeeds_if_it_needed_nobody(end, person, outcome):
    told = ("recovery.ordered", {}), (f"recovery.{end}", {"needed_a_person": person})

    assert outcomes("rollback", *told) == [outcome]


def test_what_is_stranded_failed_once_whether_a_recovery_was_begun_or_not():
    stranded = "request.stranded", {}

    assert outcomes("rollback", stranded) == ["miss"]
    begun = ("recovery.ordered", {}), stranded, ("recovery.failed", {"needed_a_person": True})
    assert outcomes("rollback", *begun) == ["miss"]


@pytest.mark.parametrize("ends", ["rolled_back", "completed_manually"])
@pytest.mark.parametrize("begun", [True, False])
def test_what_is_stranded_and_cleaned_up_later_failed_once(begun, ends):
    failed = "recovery.failed", {"needed_a_person": True}, 2
    cleaned = "review.closed", {"review": "cleanup", "outcome": ends}, 60 * 24 * 9
    told = [("recovery.ordered", {}), ("request.stranded", {}, 1), failed, cleaned]
    if not begun:
        told = [told[1], told[3]]

    assert outcomes("rollback", *told) == ["miss"]
    assert outcomes("escalation", *told) == ["miss"], "it ended once, too"


def test_a_retry_that_failed_and_what_is_stranded_after_it_are_two():
    retried = ("recovery.begun", {}), ("recovery.failed", {"pattern": "retry"})

    assert outcomes("rollback", *retried, ("request.stranded", {})) == ["miss", "miss"]


@pytest.mark.parametrize(("level", "outcome"), [(0, "miss"), (3, "miss"), (4, "hit")])
def test_an_approval_at_l4_is_a_bypass(level, outcome):
    approved = "request.approved", {"path": "timeout", "level": level}

    assert outcomes("bypass", FIRST, approved) == [outcome]


@pytest.mark.parametrize(
    ("then", "outcome"),
    [
        (("request.completed", {}), "hit"),
        (("step.expired", {"path": "system_failure", "level": 1}), "miss"),
        (("step.passed_over", {"path": "system_failure", "level": 1, "why": "no"}), "miss"),
        (("request.withdrawn", {}), "miss"),
        (("request.rolling_back", {}), "miss"),
        (("attempt.failed", {}), None),
    ],
)
def test_l1_of_a_system_failure_needs_nobody_if_it_ends_with_success(then, outcome):
    told = opened("system_failure"), step("system_failure", 1), then

    assert outcomes("unattended", *told) == ([outcome] if outcome else [])


def test_l1_counts_once_and_not_again_when_what_came_after_it_works():
    expired = "step.expired", {"path": "system_failure", "level": 1}
    told = opened("system_failure"), step("system_failure", 1), expired

    assert outcomes("unattended", *told, ("request.completed", {})) == ["miss"]


@pytest.mark.parametrize(
    ("then", "outcome"),
    [
        (("request.approved", {"path": "timeout", "level": 1}), "hit"),
        (("step.decided", {"path": "timeout", "level": 1, "verdict": "reject"}), "hit"),
        (("step.decided", {"path": "timeout", "level": 1, "verdict": "approve"}), None),
        (("step.expired", {"path": "timeout", "level": 1}), "miss"),
        (("request.withdrawn", {}), "miss"),
    ],
    ids=["the last yes", "a no", "one yes of several", "silence", "withdrawn"],
)
def test_l1_of_a_timeout_ends_with_an_answer_or_without(then, outcome):
    told = FIRST, opened(), step("timeout", 1, "finance_manager"), then

    assert outcomes("again", *told) == ([outcome] if outcome else [])


def test_a_finding_is_a_silent_failure_of_the_request_it_is_about():
    facts = {"audit": "due_at_differs", "text": "It differs.", "request": "R-1"}
    event = Event("system", 7, "finding.opened", "audit", facts, MONDAY)

    of_nothing = measure_of_finding(event, None)
    of_a_request = measure_of_finding(event, {"department": "sales", "action": "sales_order"})

    assert (of_nothing.department, of_a_request.department) == ("", "sales")
    assert (of_a_request.metric, of_a_request.outcome, of_a_request.chain) == (
        "silent", "hit", "system",
    )  # fmt: skip


# --- Weeks ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("at", "week"),
    [
        ("2026-03-01T23:59:59.999999+00:00", "2026-W09"),
        ("2026-03-02T00:00:00+00:00", "2026-W10"),
        ("2026-03-01T22:30:00-05:00", "2026-W10"),  # Sunday there, Monday in UTC
        ("2027-01-03T23:59:59.999999+00:00", "2026-W53"),
        ("2027-01-04T00:00:00+00:00", "2027-W01"),
        ("2024-12-30T00:00:00+00:00", "2025-W01"),
    ],
)
def test_a_week_begins_on_monday_at_midnight_in_utc(at, week):
    monday = weeks.week_of(datetime.fromisoformat(at))

    assert (weeks.name_of(monday), weeks.read(week)) == (week, monday)


def test_the_last_week_of_a_year_is_followed_by_the_first_of_the_next():
    last, first = weeks.read("2026-W53"), weeks.read("2027-W01")

    assert weeks.up_to(first)[-2:] == (last, first)
    assert weeks.end_of(last) == weeks.begin_of(first)
    assert weeks.words(last) == "Week 53, Mon 28 Dec 2026 to Sun 3 Jan 2027"


def test_what_ends_at_monday_midnight_is_of_the_week_that_begins():
    instant = datetime(2026, 3, 9, tzinfo=UTC)
    minutes = (instant - MONDAY).total_seconds() / 60
    micro = 1 / 60_000_000

    for after, week in ((minutes - micro, date(2026, 3, 2)), (minutes, date(2026, 3, 9))):
        (measure,) = found("escalation", ("request.expired", {}, after))
        assert measure.week == week


@pytest.mark.parametrize(
    "name", ["", "2027-W53", "2026-W54", "2026-W00", "2026-47", "\u0662026-W47", "9999-W99"]
)
def test_what_names_no_week_is_none(name):
    assert weeks.read(name) is None


def test_an_instant_without_a_zone_is_in_no_week():
    with pytest.raises(ValueError, match="time zone"):
        weeks.week_of(datetime(2026, 3, 2))  # noqa: DTZ001 - it is refused
