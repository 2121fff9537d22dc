"""A crash after every call, and an answer lost at every call: one effect, and the same end.

Each operation is carried out once to count its calls. Then, for each call in
turn, on a document of its own, the ERP does the call and its answer is lost:
that is what a dead worker leaves as well. What a worker does next follows: ask
by the key, and send again if it is not done.
"""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import Any, NamedTuple

import pytest

from rollback.connectors.base import NotDone, OutcomeUnknown
from tests.tryton.carrying import FAILED, Deed, fresh, owed_invoice, payment_of

pytestmark = pytest.mark.tryton
MARKED = (  # where marks stand: model, field, and what else must hold
    ("account.move", "description", [("state", "=", "posted")]),
    ("account.invoice", "description", [("type", "=", "in"), ("state", "!=", "cancelled")]),
    ("account.invoice", "comment", []),
    ("sale.line", "note", []),
    ("party.contact_mechanism", "value", [("active", "in", [True, False])]),
)


class Begun(NamedTuple):
    """A unit on a document of its own, ready to be sent."""

    deed: Deed
    send: Callable[[], Any]
    key: str
    probe: Callable[[], Any]


def _doing(deed, n):
    return Begun(deed, lambda: deed.send(n), deed.key(n), lambda: deed.probe(n))


def _undoing(deed, n):
    return Begun(
        deed, lambda: deed.undo(n), deed.key(n, undo=True), lambda: deed.probe(n, undo=True)
    )


def pay(rpc, facts, amount="100.00", code=""):
    return _doing(Deed("vendor_payment", code, **payment_of(owed_invoice(rpc, facts), amount)), 1)


def pay_a_part(rpc, facts):
    return pay(rpc, facts, "30.00")


def credit(rpc, facts):
    return _undoing(pay(rpc, facts).deed.carry_out(), 1)


def cancel_a_payment(rpc, facts):
    return _undoing(pay(rpc, facts, code="cancel_payment").deed.carry_out(), 1)


def enter(rpc, facts):
    return _doing(Deed("supplier_invoice", vendor="Halden Machines", invoice=fresh("SI")), 1)


def post(rpc, facts):
    return _doing(enter(rpc, facts).deed.carry_out(upto=1), 2)


def cancel_an_invoice(rpc, facts):
    return _undoing(enter(rpc, facts).deed.carry_out(), 2)


def open_a_sale(rpc, facts):
    return _doing(Deed("sales_order", order=fresh("SO")), 1)


def add_a_line(rpc, facts):
    return _doing(open_a_sale(rpc, facts).deed.carry_out(upto=1), 2)


def take_the_last_line_away(rpc, facts):
    return _undoing(open_a_sale(rpc, facts).deed.carry_out(upto=1), 1)


def update_a_party(rpc, facts):
    return _doing(Deed("customer_update", change_ref=fresh("CHG")), 1)


def marks(rpc, key):
    """Return every mark of this key in the ERP."""
    found = []
    for model, field, clauses in MARKED:
        pattern = f"%{key}%"
        rows = rpc.rows(model, [(field, "like", pattern), *clauses], [field])
        found += [
            (model, line)
            for row in rows
            for line in row[field].split("\n")
            if line.partition(" ")[2] == key
        ]
    return found


@pytest.mark.parametrize(
    ("begin", "owes"),
    [
        (pay, "-100.00"),
        (pay_a_part, "-30.00"),
        (credit, "-100.00"),
        (cancel_a_payment, "100.00"),
        (enter, "0.00"),
        (post, "4380.00"),
        (cancel_an_invoice, "-4380.00"),
        (open_a_sale, "0.00"),
        (add_a_line, "0.00"),
        (take_the_last_line_away, "0.00"),
        (update_a_party, "0.00"),
    ],
)
def test_a_lost_answer_at_every_call_leaves_one_effect(between, rpc, books, target, begin, owes):
    begun = begin(rpc, target.facts)
    between.begin()
    owed = books.payables()
    begun.send()
    count = len(between.calls)
    assert count > 2
    assert books.payables() == owed + Decimal(owes)
    assert len(marks(rpc, begun.key)) == 1

    for lost in range(1, count + 1):
        between.begin()
        begun = begin(rpc, target.facts)
        owed = books.payables()
        between.begin(lose_answer=lost)
        with pytest.raises(FAILED) as failure:
            begun.send()
        between.begin()

        found = begun.probe()
        if failure.type is NotDone:
            assert found is None, f"it is done, although call {lost} was said to do nothing"
        again = found or begun.send()

        assert begun.probe().reference == again.reference
        assert books.payables() == owed + Decimal(owes), f"lost at call {lost}"
        assert len(marks(rpc, begun.key)) == 1, f"lost at call {lost}"


@pytest.mark.parametrize("status", [503, 504])
def test_a_gateway_that_gives_up_on_the_payment_settles_nothing(
    between, rpc, books, target, status
):
    execute = _call_of("wizard.account.invoice.pay.execute", between, rpc, target)
    begun = pay(rpc, target.facts)
    owed = books.payables()
    between.begin(answer={execute: status})

    with pytest.raises(OutcomeUnknown, match=str(status)):
        begun.send()

    between.begin()
    assert begun.probe() is not None
    assert books.payables() == owed - 100


def test_a_call_that_never_arrives_has_done_nothing_and_is_made_again(between, rpc, books, target):
    execute = _call_of("wizard.account.invoice.pay.execute", between, rpc, target)
    begun = pay(rpc, target.facts)
    owed = books.payables()
    between.begin(lose_call=execute)

    with pytest.raises(OutcomeUnknown):
        begun.send()
    between.begin()
    assert begun.probe() is None
    assert books.payables() == owed
    begun.send()

    assert books.payables() == owed - 100


def test_another_payment_in_the_very_call_makes_ours_fail_and_not_theirs(
    between, rpc, books, target
):
    """Both see the whole amount left to pay. Tryton refuses the second by the invoice's version."""
    execute = _call_of("wizard.account.invoice.pay.execute", between, rpc, target)
    number = owed_invoice(rpc, target.facts)
    theirs = Deed("vendor_payment", **payment_of(number, "30.00", instalment="theirs"))
    ours = Deed("vendor_payment", **payment_of(number, "30.00", instalment="ours"))
    owed = books.payables()
    between.begin(meanwhile={execute: lambda: _unhindered(between, theirs)})

    with pytest.raises(FAILED):
        ours.send(1)

    between.begin()
    assert books.payables() == owed - 30
    assert ours.probe(1) is None
    ours.send(1)
    assert books.payables() == owed - 60


def _unhindered(between, deed):
    between.meanwhile = {}
    deed.send(1)


def _call_of(method, between, rpc, target):
    """Return which call of a payment this is, counted from 1."""
    begun = pay(rpc, target.facts)
    between.begin()
    begun.send()
    return between.calls.index(method) + 1
