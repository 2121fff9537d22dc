"""Each operation on the real ERP: forward, back, and under the same key again."""

from __future__ import annotations

from decimal import Decimal

import pytest

from approvals.checks import basis_of
from governance.models import ActionType
from rollback.connectors import registry
from rollback.connectors.base import NotDone, OutcomeUnknown, Rejected
from rollback.services.reading import basis_digest, read_all
from tests.tryton.carrying import ENTRIES, Deed, fresh, owed_invoice, payment_of

pytestmark = pytest.mark.tryton
HUNDRED = Decimal("100.00")


def test_a_payment_is_credited_and_the_credit_note_is_posted(target, rpc, books):
    deed = Deed("vendor_payment", **payment_of(owed_invoice(rpc, target.facts)))
    owed = books.payables()

    assert deed.probe(1) is None
    receipt = deed.send(1)
    assert books.payables() == owed - HUNDRED
    assert deed.probe(1) == receipt == deed.send(1)
    assert books.payables() == owed - HUNDRED

    assert deed.probe(1, undo=True) is None
    credit = deed.undo(1)
    assert books.payables() == owed - 2 * HUNDRED
    assert deed.probe(1, undo=True) == credit == deed.undo(1)
    assert books.payables() == owed - 2 * HUNDRED

    (note,) = rpc.rows(
        "account.invoice",
        [("id", "=", credit.data["invoice"])],
        ["state", "total_amount", "number", "description"],
    )
    assert note["state"] == "posted"
    assert note["total_amount"] == -HUNDRED
    assert note["number"] == credit.reference
    assert note["description"] == f"Credit {deed.key(1, undo=True)}"


def test_the_move_of_a_payment_carries_our_key(target, rpc):
    deed = Deed("vendor_payment", **payment_of(owed_invoice(rpc, target.facts)))

    receipt = deed.send(1)

    (move,) = rpc.rows(
        "account.move", [("id", "=", receipt.data["move"])], ["number", "description", "state"]
    )
    assert (move["number"], move["state"]) == (receipt.reference, "posted")
    assert move["description"] == f"Pay {deed.key(1)}"


@pytest.mark.parametrize("amount", ["100.00", "30.00"])
def test_a_cancelled_payment_leaves_the_invoice_to_be_paid_again(target, rpc, books, amount):
    number = owed_invoice(rpc, target.facts)
    deed = Deed("vendor_payment", "cancel_payment", **payment_of(number, amount))
    owed = books.payables()

    deed.send(1)
    assert books.payables() == owed - Decimal(amount)
    cancelled = deed.undo(1)

    assert books.payables() == owed
    assert deed.probe(1, undo=True) == cancelled == deed.undo(1)
    assert deed.probe(1) is not None  # it was done, and then taken back
    again = Deed("vendor_payment", **payment_of(number, instalment="again"))
    again.send(1)
    assert books.payables() == owed - HUNDRED


def test_an_invoice_is_paid_in_parts_and_the_parts_add_up(target, rpc, books):
    number = owed_invoice(rpc, target.facts)
    owed = books.payables()

    for part in ("30.00", "70.00"):
        Deed("vendor_payment", **payment_of(number, part, instalment=part[:2])).send(1)

    assert books.payables() == owed - HUNDRED
    (invoice,) = books.invoices("Halden Machines", reference=number)
    assert invoice["state"] == "paid"


def test_a_part_is_credited_in_one_line(target, rpc, books):
    number = owed_invoice(rpc, target.facts)
    deed = Deed("vendor_payment", **payment_of(number, "30.00"))
    deed.send(1)
    owed = books.payables()

    deed.undo(1)

    assert books.payables() == owed - Decimal("30.00")


@pytest.mark.parametrize(
    ("payload", "said"),
    [
        ({"amount": {"value": "100.01", "currency": "USD"}}, "only 100.00 USD is left to pay"),
        ({"amount": {"value": "100.00", "currency": "EUR"}}, "is in USD, not in EUR"),
        ({"invoice": "NO-SUCH"}, "nothing is the posted invoice NO-SUCH of Halden Machines"),
        ({"vendor": "Nobody"}, "of Nobody"),
        ({"payment_date": "1999-01-01"}, "period"),
    ],
)
def test_what_cannot_be_paid_is_refused_and_nothing_is_booked(target, rpc, books, payload, said):
    deed = Deed("vendor_payment", **{**payment_of(owed_invoice(rpc, target.facts)), **payload})
    owed = books.payables()

    with pytest.raises(Rejected, match=said):
        deed.send(1)

    assert books.payables() == owed
    assert deed.probe(1) is None


def test_a_paid_invoice_is_not_paid_again_under_another_key(target, rpc, books):
    number = owed_invoice(rpc, target.facts)
    Deed("vendor_payment", **payment_of(number)).send(1)
    owed = books.payables()
    second = Deed("vendor_payment", **payment_of(number, instalment="2"))

    with pytest.raises(Rejected, match="is paid already"):
        second.send(1)

    assert books.payables() == owed


def test_a_supplier_invoice_is_entered_posted_and_cancelled(target, books):
    deed = Deed("supplier_invoice", vendor="Halden Machines", invoice=fresh("SI"))
    before, owed = deed.read_all(), books.payables()

    entered = deed.send(1)
    assert books.payables() == owed
    assert deed.probe(1) == entered == deed.send(1)
    assert deed.probe(2) is None
    posted = deed.send(2)
    assert books.payables() == owed + Decimal("4380.00")
    assert deed.probe(2) == posted == deed.send(2)
    assert deed.read_all() != before

    for n in (2, 1):
        assert deed.probe(n, undo=True) is None
        cancelled = deed.undo(n)
        assert deed.probe(n, undo=True) == cancelled == deed.undo(n)
    assert books.payables() == owed
    assert {r: each and each.state for r, each in deed.read_all().items()} == {
        r: each and each.state for r, each in before.items()
    }


def test_a_draft_that_was_never_posted_is_cancelled_by_itself(target, rpc, books):
    deed = Deed("supplier_invoice", vendor="Halden Machines", invoice=fresh("SI")).carry_out(upto=1)

    deed.undo(1)

    (invoice,) = rpc.rows(
        "account.invoice", [("id", "=", deed.receipts[1]["data"]["invoice"])], ["state", "move"]
    )
    assert (invoice["state"], invoice["move"]) == ("cancelled", None)


def test_an_invoice_that_somebody_validated_is_not_posted_yet(target, rpc, books, between):
    """Validated, it has an entry already: one that is not in the books."""
    deed = Deed("supplier_invoice", vendor="Halden Machines", invoice=fresh("SI")).carry_out(upto=1)
    rpc("model.account.invoice.validate_invoice", [deed.receipts[1]["data"]["invoice"]])
    owed = books.payables()
    between.begin(lose_call="model.account.invoice.post")

    with pytest.raises(OutcomeUnknown):
        deed.send(2)

    assert deed.probe(2) is None
    deed.send(2)
    assert deed.probe(2) is not None
    assert books.payables() == owed + Decimal("4380.00")


def test_a_credit_note_that_somebody_cancelled_since_is_not_made_again(target, rpc, books):
    deed = Deed("vendor_payment", **payment_of(owed_invoice(rpc, target.facts))).carry_out()
    note = deed.undo(1)
    rpc("model.account.invoice.cancel", [note.data["invoice"]])
    owed = books.payables()

    assert deed.probe(1, undo=True) == note == deed.undo(1)
    assert books.payables() == owed


def test_the_same_suppliers_number_twice_is_not_posted(target, books):
    number = fresh("SI")
    Deed("supplier_invoice", vendor="Halden Machines", invoice=number).carry_out()
    owed = books.payables()
    amount = {"value": "4380.01", "currency": "USD"}
    second = Deed("supplier_invoice", vendor="Halden Machines", invoice=number, amount=amount)

    second.send(1)
    with pytest.raises(Rejected, match="similar"):
        second.send(2)

    assert books.payables() == owed
    assert second.probe(2) is None


def test_an_invoice_that_was_paid_since_is_for_a_person(target, books):
    number = fresh("SI")
    deed = Deed("supplier_invoice", vendor="Halden Machines", invoice=number).carry_out()
    Deed("vendor_payment", **payment_of(number, "4380.00")).send(1)

    with pytest.raises(Rejected, match="was paid since"):
        deed.undo(2)

    assert deed.probe(2, undo=True) is None


def test_a_sale_is_entered_line_by_line_and_taken_back_last_first(target, rpc):
    deed = Deed("sales_order", order=fresh("SO"))
    before = deed.read_all()

    for n in range(1, 6):
        assert deed.probe(n) is None
        receipt = deed.send(n)
        assert deed.probe(n) == receipt == deed.send(n)
    (order, customer) = deed.records
    now = deed.connector.read(order).state
    assert now["total"] == {"value": "18400.00", "currency": "USD"}
    assert [line["sku"] for line in now["lines"]] == [
        "TENT-2P",
        "TENT-4P",
        "BAG-0C",
        "STOVE-1",
        "LAMP-3",
    ]
    before_orders = before[customer].state["open_orders"].get("USD", "0")
    orders = deed.connector.read(customer).state["open_orders"]["USD"]
    assert Decimal(orders) - Decimal(before_orders) == Decimal("18400.00")

    for n in range(5, 0, -1):
        assert deed.probe(n, undo=True) is None
        receipt = deed.undo(n)
        assert deed.probe(n, undo=True) == receipt == deed.undo(n)
        assert len((deed.connector.read(order) or _NOTHING).state["lines"]) == n - 1
    after = deed.read_all()
    assert after[order] is before[order] is None
    assert after[customer].state == before[customer].state
    (sale,) = rpc.rows("sale.sale", [("reference", "=", deed.action.payload["order"])], ["state"])
    assert sale["state"] == "cancelled"


class _NOTHING:
    state = {"lines": []}


def test_lines_that_others_entered_stay_and_so_does_their_sale(target, rpc):
    order = fresh("SO")
    others = Deed("sales_order", order=order)
    others.send(1)
    (sale,) = rpc.rows("sale.sale", [("reference", "=", order)], ["lines"])
    rpc("model.sale.line.write", sale["lines"], {"note": "by hand"})
    rpc("model.sale.sale.write", [sale["id"]], {"description": "by hand"})
    ours = Deed("sales_order", order=order, delivery_date="2027-02-01")
    before = ours.connector.read(ours.records[0]).state

    ours.send(2)
    ours.undo(2)

    assert ours.connector.read(ours.records[0]).state == before


def test_a_sale_that_was_confirmed_since_keeps_its_lines(target, rpc):
    deed = Deed("sales_order", order=fresh("SO")).carry_out(upto=2)
    (sale,) = rpc.rows("sale.sale", [("reference", "=", deed.action.payload["order"])], ["state"])
    for step in ("quote", "confirm"):
        rpc(f"model.sale.sale.{step}", [sale["id"]])

    with pytest.raises(Rejected, match="since, so its lines stay"):
        deed.undo(2)
    with pytest.raises(Rejected, match="takes no more lines"):
        deed.send(3)


def test_a_line_whose_price_cannot_be_said_is_no_unit():
    lines = [{**ENTRIES["sales_order"]["example"]["payload"]["lines"][0], "quantity": 70_001}]

    with pytest.raises(ValueError, match="No price with four decimals comes to"):
        Deed("sales_order", lines=lines)


def test_a_customers_four_records_are_changed_and_put_back(erp, target):
    deed = Deed("customer_update")
    before = deed.read_all()

    for n, plan in enumerate(deed.plans, start=1):
        receipt = deed.send(n, version=before[plan.record].version)
        assert receipt.left == deed.connector.read(plan.record)
        assert receipt.left.state != before[plan.record].state
        found = deed.probe(n)
        assert (found.reference, found.left.state) == (receipt.reference, receipt.left.state)
        again = deed.send(n, version=receipt.left.version)
        assert again.reference == receipt.reference
    left = deed.read_all()
    for n in range(4, 0, -1):
        record = deed.plans[n - 1].record
        body = deed.connector.restoration(record, before[record].state)
        deed.connector.send(body, key=deed.key(n, undo=True), version=left[record].version)

    after = deed.read_all()
    assert {r: each.state for r, each in after.items()} == {
        r: each.state for r, each in before.items()
    }


def test_our_keys_are_out_of_sight_among_a_customers_contacts(erp, target):
    deed = Deed("customer_update").carry_out()

    (party,) = erp.rpc().rows("party.party", [("code", "=", "C-1042")], ["contact_mechanisms"])
    shown = erp.rpc().rows(
        "party.contact_mechanism", [("id", "in", party["contact_mechanisms"])], ["type"]
    )
    hidden = erp.rpc().rows("party.contact_mechanism", [("active", "=", False)], ["value", "name"])

    assert [each["type"] for each in shown] == ["email"]
    assert [each["value"] for each in hidden] == [f"Update {deed.key(n)}" for n in range(1, 5)]


@pytest.mark.parametrize("n", [1, 2, 3, 4])
def test_a_record_that_somebody_else_wrote_is_not_overwritten(erp, target, n):
    deed = Deed("customer_update")
    record = deed.plans[n - 1].record
    seen = deed.connector.read(record)
    somebody = Deed("customer_update", change_ref="OTHER")
    somebody.connector.send(
        {**somebody.plans[n - 1].body, "values": {**seen.state, **_other(seen.state)}},
        key="somebody~0/1",
        version=seen.version,
    )
    now = deed.connector.read(record)

    with pytest.raises(Rejected, match="Somebody else has changed it since"):
        deed.send(n, version=seen.version)

    assert deed.connector.read(record) == now
    assert deed.probe(n) is None


def _other(state):
    name = next(iter(state))
    return {name: {"email": "x@y.example", "payment_terms": "Net 60"}.get(name, "1 Side Street")}


def test_what_was_written_in_the_call_itself_is_refused_too(erp, target, between):
    """Tryton compares `_timestamp` in the transaction of the write: nothing gets in between."""
    deed = Deed("customer_update")
    seen = deed.connector.read(deed.plans[0].record)
    address = int(seen.version.partition("@")[0])
    deed.connector.probe("warm~0/1")
    between.begin()
    Deed("customer_update", change_ref="COUNT").send(1, version=seen.version)
    write = between.calls.index("model.party.party.write") + 1
    seen = deed.connector.read(deed.plans[0].record)
    other = erp.rpc()

    between.begin(
        meanwhile={
            write: lambda: other("model.party.address.write", [address], {"city": "Elsewhere"})
        }
    )
    with pytest.raises(NotDone):
        deed.send(1, version=seen.version)
    with pytest.raises(Rejected, match="Somebody else has changed it since"):
        deed.send(1, version=seen.version)

    assert deed.connector.read(deed.plans[0].record).state["city"] == "Elsewhere"


def test_whoever_writes_another_part_in_the_call_itself_only_makes_us_look_again(
    erp, target, between
):
    deed = Deed("customer_update")
    seen = deed.connector.read(deed.plans[0].record)
    between.begin()
    Deed("customer_update", change_ref="COUNT").send(1, version=seen.version)
    write = between.calls.index("model.party.party.write") + 1
    seen = deed.connector.read(deed.plans[0].record)
    other, code = erp.rpc(), deed.action.payload["customer"]
    (party,) = other.rows("party.party", [("code", "=", code)], [])
    rename = ([party["id"]], {"name": "Renamed meanwhile"})

    between.begin(meanwhile={write: lambda: other("model.party.party.write", *rename)})
    with pytest.raises(NotDone):
        deed.send(1, version=seen.version)

    assert deed.send(1, version=seen.version).reference == deed.probe(1).reference


@pytest.mark.parametrize("key", ["vendor_payment", "sales_order", "supplier_invoice"])
def test_an_approval_rests_on_its_own_document(erp, target, key):
    payload = {"supplier_invoice": {"vendor": "Halden Machines", "invoice": "SI-BASIS"}}.get(
        key, {}
    )
    deed = Deed(key, **payload)
    records = basis_of(ActionType(**ENTRIES[key]), deed.action.payload)
    at_submission = basis_digest(read_all(deed.connector, records), records, salt="")
    other = {
        "vendor_payment": {"invoice": "INV-20388", "amount": {"value": "10.00", "currency": "USD"}},
        "sales_order": {"order": "SO-OTHER"},
        "supplier_invoice": {"vendor": "Halden Machines", "invoice": "SI-OTHER"},
    }[key]
    Deed(key, **other).carry_out()
    assert basis_digest(read_all(deed.connector, records), records, salt="") == at_submission

    deed.carry_out()

    assert basis_digest(read_all(deed.connector, records), records, salt="") != at_submission


def test_facts_that_rules_speak_of_are_read(erp, target):
    connector = registry.connector_for(ActionType(**ENTRIES["sales_order"]))

    state = connector.read("tryton:customer:Pocket%20Cycles").state

    assert state["credit_limit"] == erp.facts["customers"]["Pocket Cycles"]["credit_limit"]
    assert state["open_orders"] == {}
    assert connector.read("tryton:customer:Nobody") is None
    assert connector.read("tryton:sales-order:NO-SUCH") is None
