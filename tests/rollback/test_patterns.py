"""The pure choices: which pattern, how long to wait, and what may be put back."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from governance.models import ActionType
from rollback.models import Recovery
from rollback.patterns import LONGEST_WAIT_S, choose, compare, wait_s

P = Recovery.Pattern
Reversal = ActionType.Reversal


@pytest.mark.parametrize(
    ("undoing", "reversal", "pattern"),
    [
        (False, Reversal.COMPENSATE, P.RETRY),
        (False, Reversal.RESTORE, P.RETRY),
        (False, Reversal.NONE, P.RETRY),
        (True, Reversal.COMPENSATE, P.COMPENSATE),
        (True, Reversal.RESTORE, P.RESTORE),
        (True, Reversal.NONE, None),
    ],
)
def test_the_pattern_follows_from_what_is_wanted_and_what_the_action_declares(
    undoing, reversal, pattern
):
    assert choose(undoing=undoing, reversal=reversal) == pattern


@pytest.mark.parametrize(
    ("attempt", "chance", "asked", "seconds"),
    [
        (1, 0.0, None, 1.0),
        (1, 1.0, None, 2.0),
        (2, 0.0, None, 2.0),
        (8, 1.0, None, 256.0),
        (9, 1.0, None, LONGEST_WAIT_S),
        (1000, 1.0, None, LONGEST_WAIT_S),
        (1, 0.0, 90.0, 90.0),
        (9, 1.0, 90.0, LONGEST_WAIT_S),
    ],
)
def test_waits_double_up_to_five_minutes_and_never_undercut_what_the_target_asks(
    attempt, chance, asked, seconds
):
    assert wait_s(attempt, chance=chance, asked_s=asked) == seconds


@given(attempt=st.integers(1, 40), chance=st.floats(0, 1, exclude_max=True))
def test_at_least_half_a_wait_is_not_left_to_chance(attempt, chance):
    longest = wait_s(attempt, chance=1.0)

    assert longest / 2 <= wait_s(attempt, chance=chance) <= longest


BEFORE, LEFT = {"terms": "Net 30", "city": "Bergen"}, {"terms": "Net 45", "city": "Bergen"}


def test_a_record_as_we_left_it_may_be_put_back():
    found = compare("r", now=LEFT, left=LEFT, before=BEFORE)

    assert found.may_restore
    assert found.drift == ()


def test_a_record_as_it_was_before_needs_nothing():
    assert compare("r", now=BEFORE, left=LEFT, before=BEFORE).nothing_to_do
    assert compare("r", now=BEFORE, left=None, before=BEFORE).nothing_to_do


@pytest.mark.parametrize(
    ("now", "fields"),
    [
        ({**LEFT, "city": "Oslo"}, ["city"]),
        ({**LEFT, "terms": "Net 60", "new": "x"}, ["new", "terms"]),
        ({"terms": "Net 45"}, ["city"]),
        (None, ["city", "terms"]),
    ],
    ids=["another field", "ours and a new one", "a field that is gone", "the record is gone"],
)
def test_what_somebody_else_touched_is_named_field_by_field(now, fields):
    found = compare("r", now=now, left=LEFT, before=BEFORE)

    assert not found.may_restore
    assert [drift.field for drift in found.drift] == fields


def test_without_knowing_how_we_left_it_our_own_write_counts_as_somebody_elses():
    found = compare("r", now=LEFT, left=None, before=BEFORE)

    assert not found.may_restore
    assert [(drift.field, drift.left) for drift in found.drift] == [("terms", None)]


def test_a_record_that_was_not_there_before_is_for_a_person():
    """An empty record put in its place would be one more change, not the way back."""
    found = compare("r", now=LEFT, left=LEFT, before=None)

    assert not found.may_restore
    assert [(drift.field, drift.snapshot) for drift in found.drift] == [
        ("city", None), ("terms", None),
    ]  # fmt: skip


def test_a_record_that_was_not_there_and_is_not_there_needs_nothing():
    assert compare("r", now=None, left=LEFT, before=None).nothing_to_do


values = st.dictionaries(st.sampled_from("abc"), st.integers(0, 2), max_size=3)


@given(now=st.none() | values, left=st.none() | values, before=st.none() | values)
def test_exactly_one_thing_follows_from_every_comparison(now, left, before):
    found = compare("r", now=now, left=left, before=before)

    assert sum([found.nothing_to_do, found.may_restore, bool(found.drift)]) == 1
