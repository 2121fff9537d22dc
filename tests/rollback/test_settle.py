"""What two people say of a stranded request answers for every unit, those of the undo among them."""

from __future__ import annotations

import pytest

from approvals.models import ActionRequest
from rollback.models import Direction, Unit
from rollback.services.settle import settle_units
from tests.factories import RequestFactory, UnitFactory

pytestmark = [pytest.mark.django_db, pytest.mark.part_of_an_act]

U = Unit.State


@pytest.fixture
def stranded(timeline):
    return RequestFactory(
        state=ActionRequest.State.STRANDED, due_at=None, ended_at=timeline.now, has_effects=True
    )


def unit(request, state, position=1, **over):
    return UnitFactory(request=request, state=state, position=position, **over)


def settled(request, timeline, *, done):
    found = settle_units(request, done=done, reference="CM-11", now=timeline.now)
    return [(each["was"], each["is"]) for each in found]


@pytest.mark.parametrize(
    ("done", "sent", "unknown", "was_done"),
    [
        (True, U.DONE, U.DONE, U.DONE),
        (False, U.NOT_DONE, U.NOT_DONE, U.REVERSED),
    ],
)
def test_each_unit_that_was_sent_is_as_people_say(
    stranded, timeline, done, sent, unknown, was_done
):
    unit(stranded, U.SENT, 1)
    unit(stranded, U.UNKNOWN, 2)
    unit(stranded, U.DONE, 3)
    unit(stranded, U.PLANNED, 4)

    assert settled(stranded, timeline, done=done) == [
        (U.SENT, sent), (U.UNKNOWN, unknown), (U.DONE, was_done),
    ]  # fmt: skip
    assert Unit.objects.get(position=4).state == U.PLANNED


@pytest.mark.parametrize("open_", [U.SENT, U.UNKNOWN])
@pytest.mark.parametrize(("done", "reversal"), [(False, U.DONE), (True, U.NOT_DONE)])
def test_a_reversal_in_doubt_has_the_outcome_that_follows(
    stranded, timeline, open_, done, reversal
):
    forward = unit(stranded, U.DONE)
    back = unit(stranded, open_, direction=Direction.UNDO, reverses=forward)

    settled(stranded, timeline, done=done)

    back.refresh_from_db()
    assert (back.state, back.by_hand) == (reversal, True)
    assert not Unit.objects.filter(state__in=(U.SENT, U.UNKNOWN)).exists()


STATES = (U.DONE, U.SENT, U.UNKNOWN, U.NOT_DONE, U.PLANNED, U.REVERSED)


def kept(units):
    """Return the rows as they are stored."""
    return [Unit.objects.get(pk=each.pk) for each in units]


@pytest.mark.parametrize(
    ("done", "states"),
    [(True, [U.DONE] * 3), (False, [U.REVERSED, U.NOT_DONE, U.NOT_DONE])],
)
def test_it_is_stored_and_nothing_else_of_it_is_touched(stranded, timeline, done, states):
    units = [unit(stranded, state, n) for n, state in enumerate(STATES, start=1)]
    others = [*units[3:], UnitFactory(state=U.SENT)]
    before = list(Unit.objects.filter(pk__in=[each.pk for each in others]).values())

    settled(stranded, timeline, done=done)

    assert [each.state for each in kept(units[:3])] == states
    assert list(Unit.objects.filter(pk__in=[each.pk for each in others]).values()) == before


def test_a_checkpoint_of_ours_stays_and_what_was_in_doubt_gets_the_targets_reference(
    stranded, timeline
):
    units = [unit(stranded, state, n) for n, state in enumerate(STATES[:3], start=1)]

    settled(stranded, timeline, done=True)

    ours, *doubted = kept(units)
    assert (ours.receipt, ours.by_hand) == ({"id": ours.key}, False)
    for each in doubted:
        assert each.receipt == {"reference": "CM-11", "data": {}}
        assert (each.by_hand, each.in_doubt, each.done_at) == (True, False, timeline.now)
