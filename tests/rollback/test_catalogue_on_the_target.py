"""The demo's five action types, carried out and taken back on the demo's target itself."""

from __future__ import annotations

import pytest

from approvals.checks import basis_of
from governance.catalogue import CATALOGUE
from governance.models import ActionType
from rollback.connectors import registry
from rollback.services.reading import basis_digest, read_all

ENTRIES = {entry["key"]: entry for entry in CATALOGUE}


def prepared(key, **payload):
    """Return the connector of an action type, and the action of its example."""
    entry = ENTRIES[key]
    example = {**entry["example"], "payload": {**entry["example"]["payload"], **payload}}
    action_type = ActionType(**{**entry, "example": example})
    return registry.connector_for(action_type), registry.example_of(action_type)


def carry_out(connector, action):
    """Send all units; return bodies and receipts, as they would be stored."""
    done = []
    for n, plan in enumerate(connector.units(action), start=1):
        reading = connector.read(plan.record) if plan.record else None
        version = reading.version if reading else ""
        receipt = connector.send(plan.body, key=f"{action.business_key}~0/{n}", version=version)
        done.append((plan, {"reference": receipt.reference, "data": receipt.data}, reading))
    return done


@pytest.mark.parametrize("key", ENTRIES)
def test_every_action_type_of_the_demo_can_run_and_be_undone(key):
    assert registry.problems(ActionType(**ENTRIES[key])) == []


@pytest.mark.parametrize(
    ("key", "payload"),
    [
        ("vendor_payment", {}),
        ("vendor_payment", {"vendor": "Never Heard Of / Sons", "invoice": "A/1"}),
        ("purchase_order", {}),
        ("purchase_order", {"order": "PO/1..2"}),
        ("sales_order", {}),
        ("revenue_recognition", {}),
        ("revenue_recognition", {"contract": "K-1", "period": "2031-Q1"}),
    ],
)
def test_what_was_compensated_leaves_records_as_they_were(target, key, payload):
    connector, action = prepared(key, **payload)
    plan = registry.records_of(ENTRIES[key].get("snapshot_plan", []), action.payload)
    before = {record: connector.read(record) for record in plan}
    owed = target.books()["payables"]

    done = carry_out(connector, action)
    assert [connector.read(record) for record in plan] != list(before.values()) or not plan
    for n, (unit, receipt, _) in reversed(list(enumerate(done, start=1))):
        body = connector.reversal(action, unit.body, receipt)
        connector.send(body, key=f"{action.business_key}~0/undo/{n}")

    after = {record: connector.read(record) for record in plan}
    orders = [record for record in plan if "sales-order" in record]
    for record in set(plan) - set(orders):
        assert after[record].state == before[record].state, record
    for record in orders:
        assert {line["state"] for line in after[record].state["lines"]} == {"cancelled"}
    assert target.books()["balanced"] is True
    assert target.books()["payables"] == owed
    assert len(target.operations()) == 2 * len(done)


@pytest.mark.parametrize("customer", ["C-1042", "C-UNKNOWN"])
def test_a_customers_records_are_restored_one_by_one(target, customer):
    connector, action = prepared("customer_update", customer=customer)

    done = carry_out(connector, action)
    assert target.get(f"customers/{customer}/terms")["payment_terms"] == "Net 45"
    for unit, _, before in reversed(done):
        version = connector.read(unit.record).version
        body = connector.restoration(unit.record, before.state)
        connector.send(body, key=f"undo {unit.record}", version=version)

    assert len(done) == 4
    for unit, _, before in done:
        assert connector.read(unit.record).state == before.state


def test_a_write_says_how_it_left_its_record(target):
    connector, action = prepared("customer_update")
    unit = connector.units(action)[3]

    receipt = connector.send(unit.body, key="one", version="1")

    assert receipt.left.state == {"payment_terms": "Net 45"}
    assert receipt.left == connector.read(unit.record)


def test_an_orders_lines_are_units_with_names_and_amounts():
    connector, action = prepared("sales_order")

    units = connector.units(action)

    assert [unit.name for unit in units][3] == "Line 4: Gas stove, 30"
    assert units[3].undo_name == "Cancel line 4"
    assert sum(unit.amount for unit in units) == action.amount


def test_a_part_that_the_payload_leaves_out_is_no_unit():
    connector, action = prepared("customer_update")
    del action.payload["shipping_address"]

    assert [unit.name for unit in connector.units(action)] == [
        "Billing address",
        "Contact",
        "Payment terms",
    ]


def test_an_action_without_a_reversal_has_no_names_for_one():
    entry = {**ENTRIES["vendor_payment"], "reversal": "none", "reversal_code": ""}
    action_type = ActionType(**entry)

    (unit,) = registry.connector_for(action_type).units(registry.example_of(action_type))

    assert unit.undo_name == ""


@pytest.mark.parametrize(
    ("key", "another"),
    [
        ("vendor_payment", {"invoice": "INV-OTHER"}),
        ("purchase_order", {"order": "PO-OTHER"}),
        ("sales_order", {"order": "SO-OTHER"}),
        ("customer_update", {"customer": "C-OTHER"}),
        ("revenue_recognition", {"contract": "K-OTHER"}),
    ],
)
def test_an_approval_rests_on_the_record_that_requests_compete_for_and_on_no_other(
    target, key, another
):
    connector, action = prepared(key)
    records = basis_of(ActionType(**ENTRIES[key]), action.payload)

    def basis():
        return basis_digest(read_all(connector, records), records, salt="")

    at_submission = basis()
    assert at_submission
    carry_out(*prepared(key, **another))
    assert basis() == at_submission

    carry_out(connector, action)

    assert basis() != at_submission
