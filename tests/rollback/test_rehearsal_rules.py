"""The pure parts of a rehearsal: which document, which points, and what counts as before."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from rollback.connectors.base import CannotRun
from rollback.rehearsal.fresh import fresh
from rollback.rehearsal.points import AFTER_SEND, BEFORE_SEND, END, points_of, words_of
from rollback.rehearsal.verdict import differences, has_changed
from tests.rollback.rehearsing import KINDS

POINTERS = {
    "vendor_payment": "/invoice",
    "purchase_order": "/order",
    "sales_order": "/order",
    "customer_update": "/change_ref",
    "revenue_recognition": "/contract",
}


def freshened(key, tag="AB12CD34"):
    kind = KINDS[key]
    return fresh(
        kind["example"]["payload"], schema=kind["schema"], business_key=kind["business_key"],
        resource_key=kind["resource_key"], tag=tag,
        taboo=(kind.get("counterparty_pointer", ""), kind.get("amount_pointer", "")),
    )  # fmt: skip


@pytest.mark.parametrize("key", KINDS)
def test_the_document_of_an_example_is_another_each_time_and_nothing_else_is(key):
    first, second = freshened(key), freshened(key, tag="EF56AB78")

    assert first.pointer == second.pointer == POINTERS[key]
    assert first.value != second.value
    name = first.pointer.strip("/")
    example = KINDS[key]["example"]["payload"]
    assert {**first.payload, name: example[name]} == example
    assert Draft202012Validator(KINDS[key]["schema"]).is_valid(first.payload)


def test_a_document_takes_the_form_its_schema_asks_for():
    schema = {"type": "object", "properties": {"n": {"type": "string", "pattern": "^[0-9]+$"}}}

    found = fresh(
        {"n": "4711"},
        schema=schema,
        business_key="erp:{/n}",
        resource_key="",
        taboo=(),
        tag="AB12CD34",
    )

    assert found.value.isdigit()
    assert found.value != "4711"


def test_an_example_without_a_document_cannot_be_rehearsed_twice():
    with pytest.raises(CannotRun, match="cannot be rehearsed twice"):
        fresh(
            {"vendor": "V", "amount": {"value": "1.00"}}, schema={}, tag="AB12CD34",
            business_key="erp:{/vendor}:{/amount/value}", resource_key="", taboo=("/vendor", "/amount"),
        )  # fmt: skip


@given(st.integers(min_value=1, max_value=60))
def test_it_fails_before_and_after_each_call_and_at_the_end(units):
    points = points_of(units)

    assert len(points) == len(set(points)) == 2 * units + 1
    assert {point.unit for point in points if point.at == BEFORE_SEND} == set(range(1, units + 1))
    assert {point.unit for point in points if point.at == AFTER_SEND} == set(range(1, units + 1))
    assert points[-1] == (units, END)
    assert len({words_of(point, units) for point in points}) == len(points)


OLD, NEW = {"value": "old", "sum": "0.00"}, {"value": "new", "sum": "12.00"}


@pytest.mark.parametrize(
    ("pattern", "before", "left", "after", "fields"),
    [
        ("restore", OLD, NEW, OLD, []),
        ("restore", OLD, NEW, {**OLD, "sum": "0.0"}, [""]),
        ("restore", OLD, NEW, {**OLD, "value": "older"}, ["/value"]),
        ("restore", OLD, NEW, None, ["", "/sum", "/value"]),
        ("restore", None, NEW, NEW, ["", "/sum", "/value"]),
        ("compensate", OLD, NEW, OLD, []),
        ("compensate", OLD, NEW, {**OLD, "sum": "0.0"}, []),
        ("compensate", OLD, NEW, {**OLD, "sum": "0.01"}, ["/sum"]),
        ("compensate", OLD, NEW, {**OLD, "more": True}, ["/more"]),
        ("compensate", OLD, OLD, NEW, ["/sum", "/value"]),
        ("compensate", None, None, None, []),
        ("compensate", None, NEW, None, []),
        ("compensate", None, NEW, {**NEW, "value": "cancelled"}, []),
        ("compensate", None, NEW, NEW, [""]),
        ("compensate", None, None, NEW, [""]),
        ("compensate", {"lines": []}, {"lines": [1]}, {"lines": [1]}, ["/lines", "/lines/0"]),
        ("compensate", {"on": True}, {"on": False}, {"on": 1}, ["/on"]),
    ],
)
def test_what_counts_as_before(pattern, before, left, after, fields):
    found = differences(pattern, before={"r": before}, left={"r": left}, after={"r": after})

    assert sorted(each.field for each in found) == fields
    assert {each.record for each in found} <= {"r"}


def test_what_no_record_shows_has_changed_nothing():
    assert has_changed({"a": OLD, "b": OLD}, {"a": OLD, "b": NEW})
    assert not has_changed({"a": OLD}, {"a": OLD})
    assert not has_changed({}, {})
