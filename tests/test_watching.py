"""The watch over the whole suite would tell nothing if it saw nothing: here it must see."""

from __future__ import annotations

import threading
from contextlib import suppress
from functools import partial

import pytest
from django.db import connection, transaction

from approvals.models import Ask
from approvals.services.seen import see_request
from governance import bulk, ledger
from tests import watched, watching
from tests.factories import MONDAY_9AM, AskFactory, PersonFactory
from tests.watching import Change

pytestmark = pytest.mark.django_db


@pytest.fixture
def found():
    """Take what the watch has found since, so that this test does not fail of it."""

    def take():
        taken, watching.unrecorded[:] = watching.unrecorded[:], []
        return taken

    return take


@pytest.fixture
def ask():
    return AskFactory()


@pytest.fixture
def mute(monkeypatch):
    """Have the ledger write nothing."""
    monkeypatch.setattr(ledger.Act, "write", lambda self: None)


def as_the_product(work):
    """Call `work`, which has no frame of its own, as a line of ours would."""
    return eval("work()", {"__name__": "approvals.pretended", "work": work})  # noqa: S307 - a fixed word


def look(ask):
    return see_request(ref=ask.step.request.ref, actor=ask.person, now=MONDAY_9AM)


def look_in_vain(ask):
    with suppress(ZeroDivisionError), transaction.atomic():
        look(ask)
        raise ZeroDivisionError


def test_every_table_is_placed_once():
    lists = watched.OF_A_REQUEST, watched.OF_AN_ACT, watched.NO_ACT
    placed = [table for tables in lists for table in tables]

    assert sorted(placed) == sorted(table for table, _ in watching.tables())
    assert set(watched.NO_ACT_ALONE) <= set(placed) - set(watched.NO_ACT)


def test_columns_that_are_no_act_are_columns():
    models = dict(watching.tables())

    for columns_of in (watched.NO_ACT_ALONE, watched.FOLLOWS, watched.TOLD_BY_THE_HOUSE):
        for table, columns in columns_of.items():
            assert set(columns) <= set(watching.columns_of(models[table]))


def test_an_act_with_its_event_is_not_found(found, ask):
    assert look(ask)

    assert found() == []


def test_an_act_without_its_event_is_found(found, ask, mute):
    look(ask)

    sentences = found()
    assert len(sentences) == 2
    assert f"UPDATE approvals_ask {ask.pk} (seen_at)" in sentences[0]
    assert f"no event in the chain of request {ask.step.request_id}" in sentences[0]


def test_what_was_rolled_back_was_not_changed(found, ask, mute):
    look_in_vain(ask)

    assert found() == []


def test_what_an_inner_savepoint_took_back_was_not_changed_and_the_rest_was(found, ask, mute):
    other = AskFactory()

    with transaction.atomic():
        look(other)
        look_in_vain(ask)

    assert {f"approvals_ask {other.pk} " in sentence for sentence in found()} == {True, False}


def test_a_row_changed_outside_any_transaction_is_found(found, ask):
    as_the_product(partial(Ask.objects.filter(pk=ask.pk).update, pings=7))

    (sentence,) = found()
    assert sentence.startswith(f"UPDATE approvals_ask {ask.pk} (pings)")


def test_a_deleted_row_is_found(found, ask):
    as_the_product(partial(Ask.objects.filter(pk=ask.pk).delete))

    (sentence,) = found()
    assert sentence.startswith(f"DELETE approvals_ask {ask.pk}")


def test_rows_that_are_copied_are_found(found, ask):
    rows = [AskFactory.build(step=ask.step, person=PersonFactory())]

    as_the_product(partial(bulk.insert, rows))

    (sentence,) = found()
    assert sentence.startswith("INSERT approvals_ask")


def test_what_a_test_builds_is_not_found(found, ask):
    Ask.objects.filter(pk=ask.pk).update(pings=7)

    assert found() == []


@pytest.mark.django_db(transaction=True)
def test_another_connection_is_watched_too(found, ask):
    def change():
        as_the_product(partial(Ask.objects.filter(pk=ask.pk).update, pings=7))
        connection.close()

    thread = threading.Thread(target=change)
    thread.start()
    thread.join()

    assert len(found()) == 1


# --- The judgement ---

NONE = frozenset()
EVENT = Change("governance_auditevent", "INSERT", "1", NONE, NONE)
STEP = Change("approvals_step", "UPDATE", "5", frozenset({"7"}), frozenset({"state"}))
BEAT = Change("governance_heartbeat", "UPDATE", "clock", NONE, frozenset({"beat_at"}))


def head(request):
    columns = frozenset({"chain_length", "chain_hash"})
    return Change("approvals_actionrequest", "UPDATE", request, frozenset({request}), columns)


def test_the_event_of_another_request_is_not_its_event():
    assert watching.missing([STEP, head("8"), EVENT]) != []
    assert watching.missing([STEP, head("7"), EVENT]) == []


def test_of_two_requests_that_a_row_hangs_from_one_tells():
    party = STEP._replace(table="approvals_conflictparty", holders=frozenset({"7", "9"}))

    assert watching.missing([party, head("9"), EVENT]) == []
    assert watching.missing([party, head("8"), EVENT]) != []


def test_a_head_that_moves_without_an_event_is_not_enough():
    assert len(watching.missing([STEP, head("7")])) == 2


def test_what_follows_a_lease_is_no_act_and_alone_it_is_one():
    lease = head("7")._replace(columns=frozenset({"lease_until", "due_at"}))

    assert watching.missing([lease]) == []
    assert watching.missing([lease._replace(columns=frozenset({"due_at"}))]) != []


def test_of_a_request_that_is_parked_the_house_tells():
    parked = head("7")._replace(columns=frozenset({"parked_until"}))

    assert watching.missing([parked, EVENT]) == []
    assert watching.missing([parked]) != []
    assert watching.missing([parked._replace(columns=frozenset({"state"})), EVENT]) != []


def test_what_is_no_act_needs_no_event():
    assert watching.missing([BEAT]) == []
