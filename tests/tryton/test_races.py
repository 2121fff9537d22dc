"""Two at once: one payment. And sessions that end while they are used."""

from __future__ import annotations

import threading

import pytest

from rollback.connectors.base import CallFailed, NotDone, Rejected
from rollback.connectors.tryton import session
from tests.tryton.carrying import Deed, owed_invoice, payment_of

pytestmark = pytest.mark.tryton


def at_once(*calls):
    """Run calls in threads that start together; return what each came to, a failure as itself."""
    found = [None] * len(calls)
    ready = threading.Barrier(len(calls))

    def run(n, call):
        ready.wait(timeout=10)
        try:
            found[n] = call()
        except CallFailed as problem:
            found[n] = problem

    threads = [threading.Thread(target=run, args=pair) for pair in enumerate(calls)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)
    return found


@pytest.mark.parametrize("amount", ["100.00", "60.00"])
def test_two_payments_of_one_invoice_at_once_are_one(target, rpc, books, amount):
    number = owed_invoice(rpc, target.facts)
    deeds = [Deed("vendor_payment", **payment_of(number, amount, instalment=name)) for name in "AB"]
    deeds[0].connector.probe("warm~0/1")
    owed = books.payables()

    came_to = at_once(*(lambda deed=deed: deed.send(1) for deed in deeds))

    failed = [each for each in came_to if isinstance(each, CallFailed)]
    assert len(failed) == 1, came_to
    loser = deeds[came_to.index(failed[0])]
    assert loser.probe(1) is None
    with pytest.raises(Rejected, match=r"is paid already|is left to pay"):
        loser.send(1)
    assert owed - books.payables() == (100 if amount == "100.00" else 60)


def test_one_payment_sent_twice_at_once_is_one(target, rpc, books):
    number = owed_invoice(rpc, target.facts)
    deeds = [Deed("vendor_payment", **payment_of(number, "30.00")) for _ in range(2)]
    assert deeds[0].key(1) == deeds[1].key(1)
    owed = books.payables()

    at_once(*(lambda deed=deed: deed.send(1) for deed in deeds))

    assert books.payables() == owed - 30
    assert deeds[0].send(1).reference == deeds[1].send(1).reference
    assert books.payables() == owed - 30


def test_a_session_that_ended_is_opened_again_and_the_call_made_once(erp, target):
    deed = Deed("vendor_payment")
    deed.connector.probe("warm~0/1")
    erp.reset()  # its database begins again: no session is known to it
    owed = erp.books().payables()

    deed.send(1)

    assert erp.books().payables() == owed - 12000


def test_a_wrong_password_is_for_a_person_and_nothing_was_done(target, settings):
    settings.TARGETS["tryton"]["password"] = "wrong-password-of-ours"
    session.forget()

    with pytest.raises(NotDone, match="does not let us in") as problem:
        Deed("vendor_payment").connector.probe("any~0/1")

    assert "wrong-password-of-ours" not in problem.value.said


def test_a_server_that_is_down_has_done_nothing(erp, target):
    deed = Deed("vendor_payment")
    erp.stop()
    try:
        with pytest.raises(NotDone, match="cannot be reached"):
            deed.send(1)
    finally:
        erp.start()

    deed.send(1)
    assert deed.probe(1) is not None
