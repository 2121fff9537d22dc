"""One rehearsal: an action is done, failed at a point, undone by the runner, and what it left is compared."""

from __future__ import annotations

import pytest

from rollback.connectors import registry
from rollback.connectors.base import NotDone, Rejected
from rollback.models import Drill, Unit
from rollback.rehearsal.play import DIFFERS, NOT_RUN, NOT_UNDONE, PASSED, Play
from rollback.rehearsal.points import AFTER_SEND, BEFORE_SEND, END, Point, points_of
from rollback.rehearsal.stage import PREFIX, build, definition_of
from tests.factories import MONDAY_9AM
from tests.rollback.ledger_target import Books
from tests.rollback.rehearsing import KINDS, UNITS
from tests.watching import unwatched

pytestmark = pytest.mark.django_db


def on_stage(key, **over):
    from governance.models import ActionType

    with unwatched():
        return build(definition_of(ActionType(**{**KINDS[key], **over})), now=MONDAY_9AM)


@pytest.fixture
def play():
    """Play a rehearsal of five lines in a book, whose reversal is the book's."""
    plan = [f"line/{n}" for n in range(1, 6)]

    def played(books, point, *, reversal="compensate", plan=plan):
        stage = on_stage(
            "vendor_payment", snapshot_plan=plan, reversal=reversal, connector_config={}
        )
        return Play(
            stage, point, tag="AB12CD34", now=MONDAY_9AM, connector_for=lambda _: books
        ).run()

    return played


# --- On the demo's own target -----------------------------------------------------------------


@pytest.mark.parametrize("key", KINDS)
def test_every_action_of_the_demo_is_undone_from_every_point(key, target):
    before, stage = target.books(), on_stage(key)
    points = points_of(UNITS.get(key, 1))

    found = [
        Play(
            stage, point, tag=f"AB12CD3{n}", now=MONDAY_9AM, connector_for=registry.connector_for
        ).run()
        for n, point in enumerate(points)
    ]

    assert [each["outcome"] for each in found] == [PASSED] * len(points)
    assert all(each["ended"] == "rolled_back" for each in found)
    assert all(each["records"] for each in found), "what is not compared proves nothing"
    after = target.books()
    assert (after["balanced"], after["payables"]) == (True, before["payables"])
    assert all(operation["key"].startswith(PREFIX) for operation in target.operations())


def test_it_fails_where_it_says_and_tells_what_was_sent(target):
    point = Point(3, AFTER_SEND)

    found = Play(
        on_stage("sales_order"), point, tag="AB12CD34", now=MONDAY_9AM,
        connector_for=registry.connector_for,
    ).run()  # fmt: skip

    forward = [each for each in found["units"] if each["direction"] == "forward"]
    assert [each["state"] for each in forward] == ["reversed"] * 3 + ["planned"] * 2
    assert [each["probed"] for each in forward[:3]] == [False, False, True], "its answer was lost"
    sent = [each["of"] for each in found["calls"] if each["call"] == "send"]
    assert [key.rpartition("~0/")[2] for key in sent] == [
        "1",
        "2",
        "3",
        "undo/3",
        "undo/2",
        "undo/1",
    ]
    assert found["document"] == {"pointer": "/order", "value": "SO-4711-AB12CD34"}
    order = next(each for each in found["records"] if "sales-order" in each["record"])
    assert order["before"] is None
    assert [line["state"] for line in order["left"]["lines"]] == ["open"] * 3
    assert [line["state"] for line in order["after"]["lines"]] == ["cancelled"] * 3


def test_nothing_is_sent_where_the_worker_dies_before_the_first_call(target):
    found = Play(
        on_stage("vendor_payment"), Point(1, BEFORE_SEND), tag="AB12CD34", now=MONDAY_9AM,
        connector_for=registry.connector_for,
    ).run()  # fmt: skip

    assert found["outcome"] == PASSED
    assert target.operations() == []
    assert [each["call"] for each in found["calls"] if each["call"] != "read"] == ["probe", "probe"]


# --- What must not pass -----------------------------------------------------------------------


@pytest.mark.parametrize(
    "point",
    [Point(1, BEFORE_SEND), Point(3, AFTER_SEND), Point(5, END)],
    ids=lambda point: f"{point.at}-{point.unit}",
)
@pytest.mark.parametrize("reversal", ["compensate", "restore"])
def test_control_books_that_are_put_right_pass(play, point, reversal):
    assert play(Books(records=True), point, reversal=reversal)["outcome"] == PASSED


class Sloppy(Books):
    """Takes back line 2 by writing something else than what stood there."""

    def reversal(self, action, body, receipt):
        back = super().reversal(action, body, receipt)
        return {**back, "set": "older"} if back["line"] == 2 else back

    def restoration(self, record, state):
        back = super().restoration(record, state)
        return {**back, "state": {"value": "older"}} if back["line"] == 2 else back


@pytest.mark.parametrize("reversal", ["compensate", "restore"])
def test_a_reversal_that_does_not_restore_is_found_and_named(play, reversal):
    found = play(Sloppy(records=True), Point(5, END), reversal=reversal)

    assert found["outcome"] == DIFFERS
    assert [(each["record"], each["field"]) for each in found["differences"]] == [
        ("line/2", "/value")
    ]
    (difference,) = found["differences"]
    assert (difference["before"], difference["after"]) == ("old", "older")


def test_a_document_that_the_reversal_leaves_as_it_was_is_found(play):
    class Pretending(Books):
        """Says yes to what takes back a line, and does nothing."""

        def do(self, body, key, version=""):
            if "/undo/" not in key:
                return super().do(body, key, version)
            state = dict(self.state)
            receipt = super().do(body, key, "")
            self.state.update(state)
            return receipt

    books = Pretending(records=True)
    books.absent = {f"line/{n}" for n in range(1, 6)}

    found = play(books, Point(2, AFTER_SEND))

    assert found["outcome"] == DIFFERS
    assert {each["record"]: each["why"] for each in found["differences"]} == {
        "line/1": "It stands as the failure left it.",
        "line/2": "It stands as the failure left it.",
    }


def test_a_reversal_that_is_refused_is_not_an_undo(play):
    class Refusing(Books):
        def send(self, body, *, key, version=""):
            if "/undo/2" in key:
                raise Rejected("The period is closed.")
            return super().send(body, key=key, version=version)

    found = play(Refusing(records=True), Point(3, AFTER_SEND))

    assert (found["outcome"], found["said"]) == (NOT_UNDONE, "The period is closed.")
    assert found["ended"] == "stranded"


def test_a_lost_answer_that_nobody_can_ask_about_is_not_an_undo(play):
    books = Books(records=True, lookup=False, native_keys=False)

    found = play(books, Point(3, AFTER_SEND))

    assert found["outcome"] == NOT_UNDONE
    assert "books cannot be asked" in found["said"]


def test_a_sandbox_that_does_not_answer_is_no_rehearsal(play):
    books = Books(records=True)
    books.down = NotDone("books cannot be reached")

    found = play(books, Point(1, BEFORE_SEND))

    assert (found["outcome"], found["said"]) == (NOT_RUN, "books cannot be reached")


def test_a_sandbox_that_goes_away_midway_says_nothing_of_the_undo(play):
    class Fading(Books):
        def send(self, body, *, key, version=""):
            receipt = super().send(body, key=key, version=version)
            self.down = NotDone("books cannot be reached")
            return receipt

    found = play(Fading(records=True), Point(1, AFTER_SEND))

    assert (found["outcome"], found["said"]) == (NOT_RUN, "books cannot be reached")


def test_what_is_refused_before_the_failure_is_no_rehearsal_and_is_taken_back(play):
    books = Books(records=True)
    books.fail(3, *[Rejected("The vendor is blocked.")] * 9)

    found = play(books, Point(5, BEFORE_SEND))

    assert (found["outcome"], found["said"]) == (NOT_RUN, "The vendor is blocked.")
    assert books.lines_done == []


@pytest.mark.parametrize("plan", [[], ["line/9"]], ids=["no records", "another record"])
def test_what_shows_in_no_record_proves_nothing(play, plan):
    found = play(Books(), Point(5, END), plan=plan)

    assert found["outcome"] == NOT_RUN
    assert "nothing would be proved" in found["said"]


def test_a_defect_of_ours_is_told(play):
    class Broken(Books):
        def reversal(self, action, body, receipt):
            raise ZeroDivisionError("of ours")

    found = play(Broken(records=True), Point(1, AFTER_SEND))

    assert found["outcome"] == NOT_UNDONE
    assert "by a defect: ZeroDivisionError: of ours" in found["said"]


def test_what_is_rehearsed_leaves_no_drill_behind(play):
    play(Books(records=True), Point(1, END))

    assert not Drill.objects.exists()
    assert Unit.objects.exists(), "in the database of the rehearsal, which goes with it"
