from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from governance import ladder
from governance.vocabulary import Level, Path, Response
from tests.factories import MONDAY_9AM

L0, L1, L2, L3, L4 = Level

WINDOWS = {
    # path: (L1, L2, L3, L4). Source: runbook, "Escalation Levels".
    "timeout": ("30 min", "2 h", "4 h", "1 h"),
    "rejection": (None, "2 h", "4 h", None),
    "conflict": (None, "2 h", "4 h", "1 h"),
    "system_failure": ("30 min", "2 h", "4 h", "1 h"),
    "policy_violation": (None, "2 h", "4 h", None),
    "undo": (None, "2 h", "4 h", None),
}
SPANS = {"30 min": timedelta(minutes=30), "1 h": timedelta(hours=1)} | {
    "2 h": timedelta(hours=2),
    "4 h": timedelta(hours=4),
}


@pytest.mark.parametrize("path", WINDOWS)
@pytest.mark.parametrize("level", [L1, L2, L3, L4])
def test_the_default_windows_are_the_runbooks(path, level):
    expected = WINDOWS[path][level - 1]

    assert ladder.DEFAULT_WINDOWS.get((Path(path), level)) == (expected and SPANS[expected])


def test_the_first_ask_has_no_window_of_the_policy():
    assert not [path for path, level in ladder.DEFAULT_WINDOWS if L0 in (path, level)]
    assert Path.APPROVAL not in {path for path, _ in ladder.DEFAULT_WINDOWS}


@pytest.mark.parametrize(
    ("path", "levels"),
    [
        (Path.APPROVAL, [L0]),
        (Path.TIMEOUT, [L1, L2, L3]),
        (Path.REJECTION, [L2, L3]),
        (Path.CONFLICT, [L2, L3]),
        (Path.SYSTEM_FAILURE, [L1, L2, L3]),
        (Path.POLICY_VIOLATION, [L2, L3]),
        (Path.UNDO, [L2, L3]),
    ],
)
def test_each_path_has_these_rungs(path, levels):
    assert ladder.rungs(path, critical=False) == levels


@pytest.mark.parametrize("path", Path)
def test_a_critical_process_opens_l4_and_nothing_else_does(path):
    more = set(ladder.rungs(path, critical=True)) - set(ladder.rungs(path, critical=False))

    with_a_top = (Path.TIMEOUT, Path.CONFLICT, Path.SYSTEM_FAILURE)
    assert more == ({L4} if path in with_a_top else set())


@pytest.mark.parametrize(
    ("path", "at_least", "first"),
    [
        (Path.TIMEOUT, L1, L1),
        (Path.TIMEOUT, L2, L2),
        (Path.REJECTION, L1, L2),
        (Path.SYSTEM_FAILURE, L1, L1),
        (Path.SYSTEM_FAILURE, L2, L2),
    ],
)
def test_a_case_enters_where_the_tree_says_or_at_the_nearest_rung_that_opens(path, at_least, first):
    assert ladder.first_rung(path, at_least=at_least, critical=False) == first


@pytest.mark.parametrize("path", Path)
def test_a_path_is_climbed_rung_by_rung_and_ends(path):
    first, *others = ladder.rungs(path, critical=True)
    climbed, level = [], ladder.next_rung(path, first, critical=True)
    while level is not None:
        climbed.append(level)
        level = ladder.next_rung(path, level, critical=True)

    assert climbed == others


def test_a_path_entered_below_its_first_rung_begins_there():
    assert ladder.next_rung(Path.REJECTION, L0, critical=False) == L2


def test_a_no_and_an_undo_never_come_to_l4():
    for path in (Path.REJECTION, Path.POLICY_VIOLATION, Path.UNDO):
        assert ladder.next_rung(path, L3, critical=True) is None


def test_nothing_opens_above_l4():
    assert ladder.next_rung(Path.TIMEOUT, L4, critical=True) is None


@pytest.mark.parametrize("response", Response)
@pytest.mark.parametrize("level", Level)
def test_only_asking_again_extended_gives_more_time_and_only_on_its_own_rung(response, level):
    window = timedelta(minutes=30)

    given = ladder.granted(window, response, level)

    extended = (response, level) == (Response.ASK_AGAIN_EXTENDED, L1)
    assert given == (timedelta(minutes=60) if extended else window)


@pytest.mark.parametrize(
    ("late", "begins"),
    [
        (timedelta(0), "when the time before was over"),
        (timedelta(seconds=1), "when the time before was over"),
        (timedelta(minutes=3), "when the time before was over"),  # exactly a tenth of 30 min
        (timedelta(minutes=3, microseconds=1), "now"),
        (timedelta(hours=5), "now"),
    ],
)
def test_a_rung_begins_when_the_one_before_was_over_unless_the_clock_stood_still(late, begins):
    due_at, now = MONDAY_9AM, MONDAY_9AM + late

    at = ladder.begins_at(due_at=due_at, now=now, window=timedelta(minutes=30))

    assert at == (now if begins == "now" else due_at)


def test_how_late_is_too_late_depends_on_the_new_window():
    late = timedelta(minutes=10)

    assert (
        ladder.begins_at(due_at=MONDAY_9AM, now=MONDAY_9AM + late, window=timedelta(hours=2))
        == MONDAY_9AM
    )
    assert (
        ladder.begins_at(due_at=MONDAY_9AM, now=MONDAY_9AM + late, window=timedelta(minutes=30))
        == MONDAY_9AM + late
    )


def test_pings_come_at_widening_intervals():
    waits = [ladder.ping_wait(timedelta(minutes=30), pings) for pings in range(3)]

    assert waits == [timedelta(minutes=5), timedelta(minutes=10), timedelta(minutes=20)]


LENGTHS = st.lists(
    st.integers(1, 3 * 24 * 3600).map(lambda s: timedelta(seconds=s)), min_size=1, max_size=5
)
AHEAD = st.integers(-3600, 2 * 24 * 3600).map(lambda s: timedelta(seconds=s))
# How long an example takes is the machine's matter.
LEISURELY = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])


class TestAHurry:
    @LEISURELY
    @given(windows=LENGTHS, ahead=AHEAD)
    def test_no_window_grows_and_none_is_cut_below_ten_minutes(self, windows, ahead):
        found = ladder.cut(windows, since=MONDAY_9AM, by=MONDAY_9AM + ahead)

        for before, after in zip(windows, found, strict=True):
            assert min(before, ladder.SHORTEST) <= after <= before

    @LEISURELY
    @given(windows=LENGTHS, ahead=AHEAD)
    def test_the_last_rung_opens_before_it_if_ten_minutes_a_rung_allow_it(self, windows, ahead):
        assume(ahead > timedelta(0))
        found = ladder.cut(windows, since=MONDAY_9AM, by=MONDAY_9AM + ahead)

        least = sum((min(each, ladder.SHORTEST) for each in windows[:-1]), timedelta(0))
        if least < ahead:
            assert sum(found[:-1], timedelta(0)) < ahead
        else:
            assert found[:-1] == [min(each, ladder.SHORTEST) for each in windows[:-1]]

    @LEISURELY
    @given(windows=LENGTHS, ahead=AHEAD)
    def test_with_time_enough_and_once_it_has_passed_nothing_is_cut(self, windows, ahead):
        found = ladder.cut(windows, since=MONDAY_9AM, by=MONDAY_9AM + ahead)

        if sum(windows, timedelta(0)) <= ahead or ahead <= timedelta(0):
            assert found == windows

    @LEISURELY
    @given(windows=LENGTHS, ahead=AHEAD)
    def test_what_is_above_the_least_is_cut_by_one_factor(self, windows, ahead):
        found = ladder.cut(windows, since=MONDAY_9AM, by=MONDAY_9AM + ahead)

        cut = [(a / b) for a, b in zip(found, windows, strict=True) if a > min(b, ladder.SHORTEST)]
        assert max(cut, default=0) - min(cut, default=0) < 1e-6

    @LEISURELY
    @given(windows=LENGTHS, ahead=AHEAD)
    def test_cutting_again_at_each_rung_changes_what_was_said_by_less_than_a_millisecond(
        self, windows, ahead
    ):
        by = MONDAY_9AM + ahead
        plan, since = ladder.cut(windows, since=MONDAY_9AM, by=by), MONDAY_9AM

        for n in range(len(windows)):
            if since >= by:
                return  # from there on nothing is cut
            again = ladder.cut(windows[n:], since=since, by=by)[0]
            assert abs(again - plan[n]) < timedelta(milliseconds=1)
            since += again
