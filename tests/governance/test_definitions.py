"""A definition as somebody types it: taken whole, or every mistake named at its place."""

from __future__ import annotations

import json
from datetime import timedelta

import pytest

from governance.catalogue import CATALOGUE
from governance.definitions import NotADefinition, differences, document_of, read, text_of
from governance.models import ActionType

BAND = {"from": "50000.00", "currency": "USD", "impact": "high"}
PAYMENT = document_of(ActionType(**CATALOGUE[0]))


def places(document):
    """Return what is to be mended, by place."""
    with pytest.raises(NotADefinition) as refused:
        read(document if isinstance(document, str) else json.dumps(document))
    found = {}
    for each in refused.value.places:
        found[each.pointer] = f"{found.get(each.pointer, '')} {each.words}".strip()
    return found


def changed(**over):
    return {**json.loads(json.dumps(PAYMENT)), **over}


@pytest.mark.parametrize("entry", CATALOGUE, ids=lambda entry: entry["key"])
def test_what_the_product_comes_with_is_written_down_and_read_again_as_it_was(entry):
    action = ActionType(**entry)

    again = ActionType(**read(text_of(document_of(action))))

    assert document_of(again) == document_of(action)
    assert again.sla == action.sla


def test_what_is_left_out_is_what_the_form_says():
    document = {
        name: value
        for name, value in PAYMENT.items()
        if name not in ("snapshot_plan", "is_critical")
    }

    found = read(json.dumps(document))

    assert (found["snapshot_plan"], found["is_critical"]) == ([], False)
    assert found["sla"] == timedelta(minutes=5)


@pytest.mark.parametrize(
    ("over", "place", "words"),
    [
        ({"key": "Vendor Payment"}, "/key", "Small letters"),
        ({"key": "enter"}, "/key", "Another key"),
        ({"name": ""}, "/name", "Say something here."),
        ({"colour": "red"}, "", "Not known here: colour."),
        ({"sla_seconds": 0}, "/sla_seconds", "0 is less than the minimum"),
        ({"sla_seconds": 12.5}, "/sla_seconds", "A whole number."),
        ({"severity": "grave"}, "/severity", "One of low, medium, high."),
        ({"is_financial": "yes"}, "/is_financial", "true or false."),
        ({"reversal": "undo"}, "/reversal", "One of none, compensate, restore."),
        ({"reversal_code": ""}, "/reversal_code", "Name the reversal"),
        ({"reversal_words": " "}, "/reversal_words", "Say what an undo does"),
        ({"reversal": "none"}, "/reversal_code", "no reversal to name"),
        ({"amount_pointer": "/sum"}, "/amount_pointer", "The schema names nothing at /sum."),
        ({"amount_pointer": "/vendor"}, "/amount_pointer", "value is not there"),
        ({"counterparty_pointer": "/who"}, "/counterparty_pointer", "names nothing at /who"),
        ({"business_key": "demo:{/nothing}"}, "/business_key", "names nothing at /nothing"),
        ({"business_key": "demo:{now}"}, "/business_key", "a JSON pointer into the payload"),
        ({"resource_key": "demo:{/bill}"}, "/resource_key", "names nothing at /bill"),
        ({"title": "Pay {amount} to {/payee}"}, "/title", "names nothing at /payee"),
        ({"snapshot_plan": ["demo:ap", "demo:{/x}"]}, "/snapshot_plan/1", "names nothing at /x"),
        ({"shown_facts": [{"label": "A", "pointer": "/x"}]}, "/shown_facts/0/pointer", "nothing at /x"),
        ({"impact_bands": [{**BAND, "currency": "XQZ"}]}, "/impact_bands/0/currency", "ISO 4217"),
        ({"impact_bands": [{**BAND, "from": "1e9"}]}, "/impact_bands/0/from", "Of the form"),
        ({"example": {**PAYMENT["example"], "action": "other"}}, "/example/action", "vendor_payment"),
        ({"example": {**PAYMENT["example"], "payload": {}}}, "/example/payload", "Say vendor, invoice"),
        ({"name": "a\u0000b"}, "/name", "NUL"),
        ({"name": "a\ud800b"}, "/name", "half of a character"),
        ({"connector_config": {"target": "demo", "units": [{"x\u0000": 1}]}}, "/connector_config/units/0", "NUL"),
    ],
)  # fmt: skip
def test_each_mistake_is_named_at_its_place(over, place, words):
    found = places(changed(**over))

    assert list(found) == [place], found
    assert words in found[place]


@pytest.mark.parametrize(
    ("part", "place", "words"),
    [
        (
            {"$ref": "https://evil.example/schema"},
            "/schema/properties/note/$ref",
            "into this schema",
        ),
        ({"$ref": "file:///etc/passwd"}, "/schema/properties/note/$ref", "into this schema"),
        ({"$ref": "#/$defs/none"}, "/schema/properties/note/$ref", "nothing at this place"),
        ({"$dynamicRef": "#x"}, "/schema/properties/note/$dynamicRef", "stands for itself"),
        ({"$id": "https://evil.example/"}, "/schema/properties/note/$id", "stands for itself"),
        ({"type": "strang"}, "/schema/properties/note/type", "strang"),
        ({"pattern": "("}, "/schema/properties/note/pattern", "regex"),
        ({"minLength": -1}, "/schema/properties/note/minLength", "minimum"),
    ],
)
def test_a_schema_stands_for_itself_and_is_one(part, place, words):
    schema = {**PAYMENT["schema"], "properties": {**PAYMENT["schema"]["properties"], "note": part}}

    found = places(changed(schema=schema))

    assert words in found[place]


def test_a_property_may_have_any_name():
    named = {"$id": {"type": "string"}, "$ref": {"type": "string"}}
    schema = {**PAYMENT["schema"], "properties": {**PAYMENT["schema"]["properties"], **named}}

    assert read(json.dumps(changed(schema=schema)))["schema"] == schema


def test_another_dialect_is_not_taken():
    schema = {**PAYMENT["schema"], "$schema": "http://json-schema.org/draft-07/schema#"}

    assert "2020-12" in places(changed(schema=schema))["/schema/$schema"]


def test_a_schema_that_leads_back_to_itself_is_said_and_is_no_failure():
    found = places(changed(schema={**PAYMENT["schema"], "allOf": [{"$ref": "#"}]}))

    assert "leads back to itself" in found[""]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "Paste a definition"),
        ("{", "This is no JSON"),
        ("[]", "A definition is a JSON object."),
        ('{"key": "a", "key": "b"}', "“key” is said twice"),
        ('{"sla_seconds": NaN}', "NaN is no number"),
        ("[" * 100_000, "This is no JSON"),
        ('{"a": ' + "9" * 5000 + "}", "This is no JSON"),
        ("x" * 200_001, "At most 200,000 characters."),
    ],
    ids=["empty", "broken", "list", "twice", "nan", "deep", "long number", "long"],
)
def test_what_is_no_document_says_so(text, words):
    assert words in places(text)[""]


def test_a_pointer_goes_through_lists_and_references():
    schema = {
        **PAYMENT["schema"],
        "$defs": {"line": {"type": "object", "properties": {"sku": {"type": "string"}}}},
        "properties": {
            **PAYMENT["schema"]["properties"],
            "lines": {"type": "array", "items": {"$ref": "#/$defs/line"}},
        },
    }

    assert read(json.dumps(changed(schema=schema, title="Enter {/lines/0/sku}")))
    assert "/lines/0/price" in places(changed(schema=schema, title="{/lines/0/price}"))["/title"]


def test_what_differs_is_named_down_to_the_last_leaf():
    after = changed(sla_seconds=600, snapshot_plan=["demo:ap-balance"])
    after["schema"]["properties"]["terms"]["maxLength"] = 80

    found = {each.line: each.fields for each in differences(PAYMENT, after)}

    assert found == {
        "Schema of the payload": (("/properties/terms/maxLength", "60", "80"),),
        "Snapshot plan": (("/1", "demo:vendor:{/vendor}", ""),),
        "Time of the first approver, in seconds": (("", "300", "600"),),
    }
    assert differences(PAYMENT, PAYMENT) == ()


def test_a_list_that_was_empty_is_told_by_what_is_in_it_now():
    (found,) = differences(changed(snapshot_plan=[]), changed(snapshot_plan=["demo:ap-balance"]))
    (gone,) = differences(changed(snapshot_plan=["demo:ap-balance"]), changed(snapshot_plan=[]))

    assert found.fields == (("/0", "", "demo:ap-balance"),)
    assert gone.fields == (("/0", "demo:ap-balance", ""),)
