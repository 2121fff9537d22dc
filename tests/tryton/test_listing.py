"""What was done in the real ERP, found by our marks alone: page by page, from an instant on."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest

from rollback.connectors.tryton import listing
from tests.tryton.carrying import Deed, fresh, owed_invoice, payment_of

pytestmark = pytest.mark.tryton
MOVES, POSTED = "account.move description by create_date", "account.invoice comment by write_date"
CREDITED = "account.invoice description by write_date"


def read(connector, name, after=""):
    """Read a list to its end. Returns its keys in their order, and where it goes on."""
    found, more = [], True
    while more:
        page = connector.listed(name, after)
        found += [each.key for each in page.effects]
        after, more = page.after, page.more
    return found, after


def paid(target, rpc, reversal_code=""):
    deed = Deed("vendor_payment", reversal_code, **payment_of(owed_invoice(rpc, target.facts)))
    deed.send(1)
    return deed


def test_a_payment_and_its_credit_note_are_listed_each_where_its_mark_is(target, rpc):
    deed = paid(target, rpc)
    assert set(deed.connector.lists) == {MOVES, CREDITED}
    credited_before, _ = read(deed.connector, CREDITED)

    deed.undo(1)

    assert deed.key(1) in read(deed.connector, MOVES)[0]
    assert deed.key(1, undo=True) not in credited_before
    assert deed.key(1, undo=True) in read(deed.connector, CREDITED)[0]


def test_what_comes_after_the_bookmark_is_listed_and_what_is_long_before_it_is_not(
    target, rpc, monkeypatch
):
    monkeypatch.setattr(listing, "BEHIND", timedelta(0))
    first = paid(target, rpc)
    _, after = read(first.connector, MOVES)
    second = paid(target, rpc, "cancel_payment")

    keys, after = read(first.connector, MOVES, after)

    assert second.key(1) in keys
    assert keys[-1] == second.key(1)
    assert len(keys) <= 2  # the row at the bookmark itself may be told twice
    second.undo(1)
    assert read(first.connector, MOVES, after)[0][-1] == second.key(1, undo=True)


def test_the_bookmark_stays_behind_the_newest_row(target, rpc):
    """A transaction that began before it and ends after it is found as well."""
    deed = paid(target, rpc)
    page = deed.connector.listed(MOVES, "")
    newest = max(datetime.fromisoformat(each.at) for each in page.effects)

    _, after = read(deed.connector, MOVES)

    assert datetime.fromisoformat(after.split()[0]) == newest - listing.BEHIND
    assert deed.key(1) in read(deed.connector, MOVES, after)[0]


def test_pages_go_on_within_one_instant(target, rpc, monkeypatch):
    """Somebody writes many documents in one transaction: their rows have one stamp."""
    deeds = [
        Deed("supplier_invoice", invoice=fresh("HM-L"), vendor="Halden Machines") for _ in range(3)
    ]
    ids = [deed.carry_out().receipts[2]["data"]["invoice"] for deed in deeds]
    rpc("model.account.invoice.write", ids, {"reference": "all of them"})
    monkeypatch.setattr(listing, "ROWS", 1)

    keys, _ = read(deeds[0].connector, POSTED)

    assert [keys.count(deed.key(2)) for deed in deeds] == [1, 1, 1]


def test_a_mark_that_was_posted_later_is_listed_again(target, rpc, monkeypatch):
    monkeypatch.setattr(listing, "BEHIND", timedelta(0))
    deed = Deed("supplier_invoice", invoice=fresh("HM-L"), vendor="Halden Machines")
    deed.carry_out()
    _, after = read(deed.connector, POSTED)
    assert deed.key(2) not in read(deed.connector, POSTED, _later(after))[0]

    deed.undo(2)  # cancelled: the same comment, with another line

    assert {deed.key(2), deed.key(2, undo=True)} <= set(read(deed.connector, POSTED, after)[0])


def _later(after):
    stamp = datetime.fromisoformat(after.split()[0]) + timedelta(microseconds=1)
    return f"{stamp.isoformat(timespec='microseconds')} 0"
