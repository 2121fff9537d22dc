"""A definition as somebody types it: taken whole, or every mistake named at its place."""

from __future__ import annotations

import json
from datetime import timedelta

import pytest

from governance.catalogue import CATALOGUE
from governance.definitions import (
    NotADefinition,
    as_recorded,
    differences,
    digest_of,
    document_of,
    read,
    text_of,
)
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
        ({"redacted": {"payload": ["/iban"]}}, "/redacted/payload/0", "names nothing at /iban"),
        ({"redacted": {"payload": ["/vendor"]}}, "/redacted/payload/0", "It stands in the title"),
        ({"redacted": {"payload": ["/amount"]}}, "/redacted/payload/0", "It stands in the amount"),
        ({"redacted": {"payload": ["/amount/value"]}}, "/redacted/payload/0", "It stands in the amount"),
        ({"redacted": {"records": [""]}}, "/redacted/records/0", "too short"),
        ({"redacted": {"records": ["iban"]}}, "/redacted/records/0", "Of the form"),
        ({"redacted": {"events": []}}, "/redacted", "Not known here: events."),
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


def test_what_only_looks_like_a_schema_stands_for_itself_too():
    """A property may be called “properties”: what stands under it is a schema, and no names."""
    evil = {"$dynamicRef": "http://evil.example/schema"}
    schema = {
        **PAYMENT["schema"],
        "properties": {**PAYMENT["schema"]["properties"], "properties": evil},
    }

    found = places(changed(schema=schema))

    assert "stands for itself" in found["/schema/properties/properties/$dynamicRef"]


@pytest.mark.parametrize("value", [{"type": 7}, {"$ref": "http://evil.example/"}, {"pattern": "("}])
def test_a_reference_leads_to_a_schema_and_to_no_value(value):
    note = {"const": value}
    other = {"$ref": "#/properties/note/const"}
    schema = {
        **PAYMENT["schema"],
        "properties": {**PAYMENT["schema"]["properties"], "note": note, "other": other},
    }

    found = places(changed(schema=schema))

    assert found == {
        "/schema/properties/other/$ref": "There is nothing at this place in the schema."
    }


def test_a_value_may_look_like_a_reference():
    note = {"const": {"$ref": "a", "$id": "b"}}
    schema = {**PAYMENT["schema"], "properties": {**PAYMENT["schema"]["properties"], "note": note}}

    assert read(json.dumps(changed(schema=schema)))["schema"] == schema


@pytest.mark.parametrize(("name", "taken"), [("a b", True), ("a%20b", False)])
def test_a_reference_is_read_as_the_validator_reads_it(name, taken):
    schema = {
        **PAYMENT["schema"],
        "$defs": {name: {"type": "string"}},
        "properties": {**PAYMENT["schema"]["properties"], "note": {"$ref": "#/$defs/a%20b"}},
    }
    document = changed(schema=schema, title="Pay {/note}")

    if taken:
        assert read(json.dumps(document))["title"] == "Pay {/note}"
    else:
        assert "nothing at this place" in places(document)["/schema/properties/note/$ref"]


def many_ways(depth):
    """Return definitions each of which asks the next one twice."""
    found = {
        f"d{n}": {"allOf": [{"$ref": f"#/$defs/d{n + 1}"}, {"$ref": f"#/$defs/d{n + 1}"}]}
        for n in range(depth)
    }
    return {**found, f"d{depth}": {"type": "string"}}


@pytest.mark.parametrize(
    "defs",
    [
        {"d0": {"$ref": "#/$defs/d0"}},
        {"d0": {"not": {"$ref": "#/$defs/d0"}}},
        {"d0": {"$ref": "#/$defs/d1"}, "d1": {"dependentSchemas": {"a": {"$ref": "#/$defs/d0"}}}},
        many_ways(30),
    ],
    ids=["itself", "by a not", "by another", "too often"],
)
def test_what_would_be_asked_for_ever_is_said_though_no_example_comes_there(defs):
    """Nobody who types it sees it: the first agent whose payload comes there would."""
    schema = {
        **PAYMENT["schema"],
        "$defs": defs,
        "properties": {**PAYMENT["schema"]["properties"], "note": {"$ref": "#/$defs/d0"}},
    }

    found = places(changed(schema=schema))

    assert list(found) == ["/schema/properties/note/$ref"]
    assert "leads back to itself" in found["/schema/properties/note/$ref"]


def test_a_list_of_lists_may_lead_back_to_itself():
    tree = {
        "type": "object",
        "properties": {"children": {"type": "array", "items": {"$ref": "#/$defs/tree"}}},
    }
    schema = {
        **PAYMENT["schema"],
        "$defs": {"tree": tree},
        "properties": {**PAYMENT["schema"]["properties"], "note": {"$ref": "#/$defs/tree"}},
    }

    assert read(json.dumps(changed(schema=schema)))["schema"] == schema


def test_a_schema_that_leads_back_to_itself_is_said_and_is_no_failure():
    found = places(changed(schema={**PAYMENT["schema"], "allOf": [{"$ref": "#"}]}))

    assert "leads back to itself" in found["/schema/allOf/0/$ref"]


@pytest.mark.parametrize(
    "part", [{"properties": ["vendor"]}, {"required": 5}, {"properties": {"vendor": {"$ref": 5}}}]
)
def test_a_schema_that_is_none_is_said_before_anything_is_looked_up_in_it(part):
    found = places(changed(schema={**PAYMENT["schema"], **part}))

    assert all(each.startswith("/schema/") for each in found), found


@pytest.mark.parametrize("index", ["²", "٣", "9" * 190, "01", "-"])
def test_only_a_number_counts_the_lines(index):
    lines = {"type": "array", "items": {"type": "string"}}
    schema = {
        **PAYMENT["schema"],
        "properties": {**PAYMENT["schema"]["properties"], "lines": lines},
    }

    found = places(changed(schema=schema, title=f"{{/lines/{index}}}"))

    assert "names nothing" in found["/title"]


def test_a_pointer_has_an_end():
    facts = [{"label": "A", "pointer": "/lines/" + "9" * 5000}]

    assert "At most 200" in places(changed(shown_facts=facts))["/shown_facts/0/pointer"]


@pytest.mark.parametrize("number", ["1e999", "-1e999", "9007199254740992", "1" + "0" * 400])
def test_a_number_that_two_readers_read_as_two_is_not_taken(number):
    """Nor has it a canonical form, by which a drill names what it rehearsed."""
    text = text_of(changed(shown_facts=[]))
    note = f'"properties": {{"note": {{"type": "number", "maximum": {number}}},'

    found = places(text.replace('"properties": {', note, 1))

    assert "A number has at most the size" in found["/schema/properties/note/maximum"]


def test_a_whole_number_is_one_however_it_is_written():
    found = read(json.dumps(changed(records_touched=2.0, sla_seconds=60.0)))

    assert repr(found["records_touched"]) == "2"


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


def test_a_field_that_came_later_leaves_the_digests_of_older_versions_as_they_were():
    older = {name: value for name, value in PAYMENT.items() if name != "redacted"}

    assert digest_of(PAYMENT) == digest_of(older)
    assert as_recorded(PAYMENT) == older
    assert digest_of(changed(redacted={"records": ["/iban"]})) != digest_of(older)


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


@pytest.mark.parametrize(
    ("before", "after", "place"),
    [
        ({"a": 1}, {"a": True}, "/a"),
        ({"a": 0}, {"a": False}, "/a"),
        ({"a": {"b": "good"}}, {"a": {"b": "evil"}, "a/b": "good"}, "/a/b"),
        ({"a": {"b": 1}}, {"a/b": 1}, "/a~1b"),
    ],
)
def test_no_change_hides_behind_another_that_looks_like_it(before, after, place):
    (found,) = differences(changed(connector_config=before), changed(connector_config=after))

    assert place in [where for where, *_ in found.fields]


@pytest.mark.parametrize("ending", ["evil", ""], ids=["another end", "no end"])
def test_nor_behind_what_is_too_long_to_be_shown(ending):
    long = "x" * 1000
    before, after = changed(reversal_words=f"{long}good"), changed(reversal_words=f"{long}{ending}")

    ((found,),) = [each.fields for each in differences(before, after)]

    alike = f"…{'x' * 40}"
    assert found == ("", f"{alike}good", f"{alike}{ending}")


def test_what_is_new_and_too_long_is_cut_at_its_end():
    ((found,),) = [
        each.fields for each in differences(changed(title=""), changed(title="x" * 1000))
    ]

    assert found == ("", "“”", f"{'x' * 400}…")
