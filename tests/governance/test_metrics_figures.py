"""Rates, means, medians, targets at the edge, and what is said of them."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from statistics import median

import pytest
from hypothesis import given
from hypothesis import strategies as st

from governance.metrics import causes, figures, page, said, weeks
from governance.metrics.figures import By
from tests.factories import MONDAY_9AM, AbsenceFactory
from tests.governance.measuring import counted

WEEK = weeks.week_of(MONDAY_9AM)
DAY = timedelta(days=1)


def line_of(kind):
    return {line.kind: line for line in figures.lines(WEEK)}[kind]


def this(kind):
    return line_of(kind).this


@given(st.lists(st.integers(0, 100_000), min_size=1))
def test_a_median_is_at_most_a_minute_too_low(seconds):
    minutes = {}
    for each in seconds:
        minutes[each // 60] = minutes.get(each // 60, 0) + 1

    assert 0 <= median(seconds) - figures.median_s(minutes) < 60


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("kind", "hits", "misses", "value", "met"),
    [
        (figures.ESCALATION, 14, 86, "14.00", True),
        (figures.ESCALATION, 15, 85, "15.00", False),
        (figures.ROLLBACK, 95, 5, "95.00", False),
        (figures.ROLLBACK, 96, 4, "96.00", True),
        (figures.BYPASS, 1, 99, "1.00", False),
        (figures.BYPASS, 4, 431, "0.92", True),
        (figures.BYPASS, 4999, 495001, "1.00", True),  # as shown it is not
        (figures.UNATTENDED, 60, 40, "60.00", False),
        (figures.UNATTENDED, 61, 39, "61.00", True),
        (figures.SILENT, 1, 0, "1", False),
    ],
)
def test_a_target_is_met_by_whole_numbers(kind, hits, misses, value, met):
    sample = figures.Figure(kind, WEEK, figures.Sums(hits, misses), hits + misses)

    assert (sample.value, sample.met) == (Decimal(value), met)


@pytest.mark.django_db
def test_where_nothing_was_counted_there_is_a_dash_and_no_verdict():
    for kind in figures.KINDS:
        found = this(kind)
        if kind == figures.SILENT:
            assert (said.value(found), found.met) == ("0", True)
        else:
            assert (said.value(found), found.met) == ("\u2013", None)


@pytest.mark.django_db
def test_times_are_of_all_levels_of_a_band_and_leave_out_what_is_counted_beside():
    for level, minutes, outcome in (
        (1, 30, "hit"), (2, 60, "hit"), (2, 180, "miss"), (3, 240, "hit"), (4, 600, "hit"),
        (2, 9999, "absent"), (2, 9999, "withdrawn"),
    ):  # fmt: skip
        counted("resolution", outcome, level=level, seconds=minutes * 60)

    lower, middle, upper = (this(k) for k in (figures.LOWER, figures.MIDDLE, figures.UPPER))

    assert (lower.value, lower.median_s, lower.met) == (Decimal(90 * 60), 60 * 60, True)
    assert lower.sums.left_out == {"absent": 1, "withdrawn": 1}
    assert (middle.value, middle.met) == (Decimal(240 * 60), True)
    assert (upper.value, upper.met) == (Decimal(600 * 60), None)


@pytest.mark.django_db
def test_times_at_their_target_miss_it():
    counted("resolution", "miss", level=2, seconds=2 * 3600)

    assert this(figures.LOWER).met is False


@pytest.mark.django_db
def test_a_line_has_thirteen_weeks_and_a_gap_where_nothing_was_counted():
    counted("escalation", "hit", 1)
    counted("escalation", "miss", 3)
    counted("escalation", "miss", 2, at=MONDAY_9AM - 14 * DAY)
    counted("escalation", "hit", 9, at=MONDAY_9AM - 13 * 7 * DAY)  # a week too old

    line = line_of(figures.ESCALATION)

    assert [figure.value for figure in line.figures[-3:]] == [Decimal(0), None, Decimal(25)]
    assert len(line.figures) == 13
    assert line.all_weeks.hits == 1
    drawn = page.spark(line)
    assert drawn.runs == []
    assert len(drawn.dots) == 2, "two weeks apart are no line"


@pytest.mark.django_db
def test_by_path_escalations_are_shares_of_all_and_by_department_of_its_own(company):
    counted("escalation", "hit", 1, path="timeout")
    counted("escalation", "miss", 3, path="approval")
    counted("escalation", "hit", 1, path="rejection", department="sales")

    by_path = {row.value: row for row in figures.breakdown(WEEK, By.PATH, [figures.ESCALATION])}
    by_department = {
        row.name: row for row in figures.breakdown(WEEK, By.DEPARTMENT, [figures.ESCALATION])
    }

    assert by_path["timeout"].figures[0].value == Decimal(20)
    assert by_department["sales"].figures[0].value == Decimal(100)
    assert by_department["Accounts payable"].figures[0].value == Decimal(25)


@pytest.mark.django_db
def test_the_headline_counts_the_targets_that_are_met():
    counted("escalation", "hit", 1)
    lines = {line.kind: line for line in figures.lines(WEEK)}

    told = page.headline(lines, WEEK, so_far=True)

    assert told == (
        "Week 10, Mon 2 to Sun 8 Mar 2026, so far. One of two targets is met."
        " Four figures have nothing to count."
    )  # fmt: skip


def test_a_target_of_one_percent_is_said_as_such():
    assert [said.target(kind) for kind in (figures.BYPASS, figures.ESCALATION, figures.LOWER)] == [
        "under 1\u00a0%", "under 15\u00a0%", "under 2\u00a0h",
    ]  # fmt: skip


# --- Causes -----------------------------------------------------------------------------------
# When a case has a sign is in test_metrics_causes.py; here, what is said of it.

FIRST = {"let_run_out": ["person:finance_manager"]}
MONDAY = weeks.begin_of(WEEK)


def cause_of(kind):
    return causes.cause_of(this(kind))


@pytest.mark.django_db
def test_a_target_that_is_met_has_no_cause(company):
    counted("escalation", "miss", 3)

    assert cause_of(figures.ESCALATION) is None


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("spans", "said_"),
    [
        ([], "No absence is entered for them in that week."),
        ([(-9, 0), (7, 9)], "No absence is entered for them in that week."),
        ([(1, 2)], "An absence is entered for them for a part of that week."),
        ([(-1, 3), (4, 9)], "An absence is entered for them for a part of that week."),
        ([(0, 7)], "An absence is entered for them for all of that week."),
        ([(-3, 4), (4, 20)], "An absence is entered for them for all of that week."),
    ],
    ids=["none", "before and after", "a day", "but for a day", "the week", "two that meet"],
)
def test_whoever_did_not_decide_is_named_and_whether_they_were_away(company, spans, said_):
    counted("escalation", "hit", 2, facts=FIRST)
    counted("escalation", "hit", 1, facts={"nobody_first": True})
    for since, until in spans:
        AbsenceFactory(
            person=company.finance_manager,
            starts_at=MONDAY + since * DAY, ends_at=MONDAY + until * DAY,
        )  # fmt: skip

    found = cause_of(figures.ESCALATION)

    assert (found.what, found.url) == ("a person", "/absences/")
    assert found.text == (
        "In 2 of 3 escalated requests the Finance Manager was asked, could be reached and did not"
        f" decide in time. {said_}"
    )


@pytest.mark.django_db
def test_a_row_that_leads_to_nobody_who_may_is_the_matrix(company):
    facts = {"nobody_first": True, "policy": company.policy.number}
    counted("escalation", "hit", 3, facts=facts)

    found = cause_of(figures.ESCALATION)

    assert (found.what, found.url) == ("the matrix", f"/policy/{company.policy.number}/")
    assert "row 14" in found.text


@pytest.mark.django_db
def test_whom_no_channel_reaches_is_a_channel(company):
    counted("bypass", "hit", 1, facts={"inbox_alone": ["person:finance_manager"]})

    found = cause_of(figures.BYPASS)

    assert (found.what, found.url) == ("a channel", "/people/finance_manager/")


@pytest.mark.django_db
def test_windows_that_ran_out_are_a_clock(company):
    for who in ("one", "two"):
        facts = {"ran_out_s": 3600, "let_run_out": [f"person:{who}"]}
        counted("resolution", "miss", 1, level=2, seconds=9999, facts=facts)

    found = cause_of(figures.LOWER)

    assert found.what == "a clock"
    assert found.text == (
        "2 of 2 late cases would have been in time without the windows of the timeout path that ran"
        " out first."
    )


@pytest.mark.django_db
def test_what_was_not_taken_back_and_what_was_tried_again_in_vain_are_two(company):
    undone = {"how": "recovery.failed", "pattern": "compensate"}
    counted("rollback", "miss", 2, path="undo", facts=undone)
    counted("rollback", "miss", 1, facts={"how": "recovery.failed", "pattern": "retry"})

    found = cause_of(figures.ROLLBACK)

    assert (found.what, found.url) == ("how it is undone", "")
    assert found.text.startswith("In 2 of 3 recoveries that failed or needed a person “")
    assert found.text.endswith("” was to be undone.")


@pytest.mark.django_db
def test_what_one_audit_found_leads_to_the_findings(company):
    counted("silent", "hit", 2, path="", facts={"audit": "due_at_differs"})

    found = cause_of(figures.SILENT)

    assert (found.text, found.url) == (
        "The audit “due at differs” made 2 of 2 findings.", "/findings/",
    )  # fmt: skip


@pytest.mark.django_db
def test_where_nothing_stands_out_that_is_said(company):
    for number in range(4):
        counted("silent", "hit", 1, path="", facts={"audit": f"audit {number}"})
    counted("bypass", "hit", 2)

    silent, bypass = cause_of(figures.SILENT), cause_of(figures.BYPASS)

    assert (silent.what, silent.text) == (
        "nothing that stands out", "No one cause stands behind a third of 4 findings.",
    )  # fmt: skip
    assert bypass.text == (
        "No one cause stands behind a third of 2 bypasses. 2 came by the timeout path."
    )


@pytest.mark.django_db
def test_of_more_than_are_looked_at_the_last_are(company):
    counted("escalation", "hit", causes.READ + 1, facts=FIRST)

    assert cause_of(figures.ESCALATION).text.startswith(
        "In 200 of the last 200 escalated requests the Finance Manager"
    )


@pytest.mark.parametrize("text", ["", "person", "nobody~x", "~", "clock~"])
def test_what_is_no_sign_is_none_and_a_sign_is_read_as_it_was_written(text):
    found = causes.Sign.read(text)

    assert (found is None) == (text != "clock~")
    assert causes.Sign.read(str(causes.Sign("person", "a~b"))) == causes.Sign("person", "a~b")
