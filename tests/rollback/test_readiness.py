"""The gates of an action type: what each asks, at the edge, and that every one of them can be shut."""

from __future__ import annotations

import json
from datetime import timedelta

import pytest

from governance.catalogue import CATALOGUE
from governance.definitions import document_of, read
from governance.models import ActionType
from rollback import key_lint
from rollback.catalogue.facts import facts_of, gates_at
from rollback.readiness import Facts, gates, unmet
from tests.factories import MONDAY_9AM, ActionTypeFactory, DrillFactory, FindingFactory

T = ActionType.State
MOMENT = timedelta(microseconds=1)
DAYS = timedelta(days=90)
PAYMENT = next(entry for entry in CATALOGUE if entry["key"] == "vendor_payment")
ORDER = next(entry for entry in CATALOGUE if entry["key"] == "sales_order")


@pytest.fixture(autouse=True)
def looked(request):
    """Of what asks the database, nothing is about audits that do not run."""
    if request.node.get_closest_marker("django_db"):
        request.getfixturevalue("audited")


def payment(**over):
    return ActionType(**{**PAYMENT, **over})


def facts(action=None, **over):
    """The facts of a payment that lacks nothing."""
    given = {
        "action_type": action or payment(),
        "problems": (),
        "off_example": (),
        "target": "demo",
        "touched": 2,
        "drilled_at": MONDAY_9AM,
        "refuted_at": None,
        "why_no_drill": "",
        "silent_failures": 0,
        "looked_at": MONDAY_9AM + 1000 * DAYS,
    }
    return Facts(**given | over)


def missing(found, becomes=T.PRODUCTION, now=MONDAY_9AM):
    return unmet(gates(found, now=now), becomes)


def gate(found, key, now=MONDAY_9AM):
    return next(each for each in gates(found, now=now) if each.key == key)


def test_what_lacks_nothing_may_be_tested_and_used():
    assert missing(facts(), T.TESTED) == missing(facts(), T.PRODUCTION) == []


@pytest.mark.parametrize(
    ("over", "says"),
    [
        ({"problems": ["There is no reversal “credit_memo”."]}, "Connector: There is no reversal"),
        ({"off_example": ["/vendor: too short"]}, "Example: /vendor: too short"),
        ({"action": payment(business_key="demo:{/vendor}")}, "Business key: It names no document"),
        ({"touched": 3, "action": payment(snapshot_plan=[])}, "Snapshot plan: It touches 3\u00a0records, and no"),
        ({"silent_failures": 1}, "Silent failures: 1\u00a0silent failure is open"),
        ({"silent_failures": 2}, "Silent failures: 2\u00a0silent failures are open"),
        ({"looked_at": None}, "Silent failures: Nobody has looked for silent failures yet"),
        (
            {"looked_at": MONDAY_9AM - timedelta(minutes=6)},
            "Silent failures: Nobody has looked for silent failures since 02 Mar 08:54",
        ),
    ],
)  # fmt: skip
@pytest.mark.parametrize("becomes", [T.TESTED, T.PRODUCTION])
def test_each_gate_says_what_is_missing(over, says, becomes):
    given = dict(over)

    found = missing(facts(given.pop("action", None), **given), becomes)

    assert found[0].startswith(says), found


def test_up_to_two_records_take_no_plan():
    bare = payment(snapshot_plan=[])

    assert missing(facts(bare, touched=2)) == []
    assert len(missing(facts(bare, touched=3))) == 1


# --- Drills ---


def test_money_takes_a_drill_that_passed_within_90_days_to_the_instant():
    assert missing(facts(), now=MONDAY_9AM + DAYS - MOMENT) == []
    (late,) = missing(facts(), now=MONDAY_9AM + DAYS)
    assert "more than 90 days ago" in late
    (never,) = missing(facts(drilled_at=None))
    assert never.startswith("Drill: No drill of this version has passed.")


def test_a_drill_is_asked_for_before_production_and_not_before_it_is_tested():
    assert missing(facts(drilled_at=None), T.TESTED) == []


@pytest.mark.parametrize(
    ("over", "why"),
    [
        ({"is_financial": False}, "no money moves"),
        ({"reversal": "none", "reversal_code": ""}, "there is nothing to rehearse"),
    ],
)
def test_where_no_drill_is_asked_for_it_says_why(over, why):
    found = facts(payment(**over), drilled_at=None)

    assert missing(found) == []
    assert why in gate(found, "drill").words


# --- No reversal ---


def test_without_a_reversal_a_person_is_present_every_time_and_it_says_so():
    found = gate(facts(payment(reversal="none", reversal_code="")), "reversal")

    assert (found.met, found.is_rule) == (True, True)
    assert "a person is present every time" in found.words


# --- The key ---


@pytest.mark.parametrize("entry", CATALOGUE, ids=lambda entry: entry["key"])
def test_the_keys_of_what_the_product_comes_with_are_clean(entry):
    assert key_lint.complaints(ActionType(**entry), target="demo") == []


@pytest.mark.parametrize(
    ("template", "says"),
    [
        ("{/vendor}:{/invoice}:{/instalment}", "does not begin with its target"),
        ("other:{/vendor}:{/invoice}:{/instalment}", "write “demo:” first"),
        ("demo:{/vendor}{/invoice}:{/instalment}", "side by side"),
        ("demo:{/invoice}:{/payment_date}", "/payment_date is a clock"),
        ("demo:{/invoice}:{/instalment}:{now}", "{now} is nothing that the schema names"),
        ("demo:{/invoice}:{/instalment}:{/nothing}", "{/nothing} is nothing"),
        ("demo:{/invoice}:{/amount}", "/amount is neither text nor a whole number"),
        ("demo:{/vendor}:{/amount/value}", "names no document"),
        ("demo:{/instalment}", "names no document"),
        ("demo:{/vendor}:{/invoice}", "does not say the amount, or which instalment"),
        ("demo:payment", "names no document"),
    ],
)
def test_a_key_that_is_none_says_why(template, says):
    found = key_lint.complaints(payment(business_key=template), target="demo")

    assert any(says in each for each in found), found


@pytest.mark.parametrize(
    "template", ["demo:{/vendor}:{/invoice}:{/amount/value}", "demo:{/invoice}:{/instalment}"]
)
def test_a_key_is_clean_with_the_amount_or_with_the_part(template):
    assert key_lint.complaints(payment(business_key=template), target="demo") == []


@pytest.mark.parametrize(
    ("name", "schema", "example"),
    [
        ("posted", {"type": "string", "format": "date"}, "soon"),
        ("posted", {"type": "string", "format": "date-time"}, "soon"),
        ("posted", {"type": "string"}, "2026-03-31"),
        ("posted", {"type": "string"}, "2026-03-31T10:00:00Z"),
        ("posted", {"type": "string"}, "10:15"),
        ("createdAt", {"type": "string"}, "x"),
        ("value_date", {"type": "string"}, "x"),
        ("timestamp", {"type": "integer"}, 7),
    ],
)
def test_a_clock_is_known_by_its_form_its_name_or_its_example(name, schema, example):
    action = payment(business_key=f"demo:{{/invoice}}:{{/instalment}}:{{/{name}}}")
    action.schema = {**action.schema, "properties": {**action.schema["properties"], name: schema}}
    action.example = {**action.example, "payload": {**action.example["payload"], name: example}}

    (found,) = key_lint.complaints(action, target="demo")

    assert f"/{name} is a clock" in found


def test_a_fiscal_period_is_no_clock():
    entry = next(entry for entry in CATALOGUE if entry["key"] == "revenue_recognition")

    assert "{/period}" in entry["business_key"]
    assert key_lint.complaints(ActionType(**entry), target="demo") == []


# --- Facts, as the database has them ---


def stored(entry=PAYMENT, **over):
    return ActionTypeFactory(**{"amount_pointer": "", **entry, "state": T.TESTED, **over})


def passed(action, at, **over):
    given = {"passed": True, "ended_at": at, "evidence_hash": "a" * 64, "signature": "s"}
    return DrillFactory(action_type=action, **given | over)


def failed(action, at, outcome):
    return passed(action, at, passed=False, outcome=outcome)


@pytest.mark.django_db
@pytest.mark.parametrize("outcome", ["differs", "not_undone"])
def test_a_drill_that_showed_the_undo_not_to_work_takes_the_one_before_back(outcome):
    action = stored()
    passed(action, MONDAY_9AM - 2 * MOMENT)
    failed(action, MONDAY_9AM - MOMENT, outcome)

    (words,) = gates_at(MONDAY_9AM)(action, T.PRODUCTION)

    assert "showed that its undo does not do what it says" in words
    passed(action, MONDAY_9AM)
    assert gates_at(MONDAY_9AM)(action, T.PRODUCTION) == []


@pytest.mark.django_db
@pytest.mark.parametrize("outcome", ["not_run", "given_up"])
def test_a_drill_that_could_not_be_run_shows_nothing_so_the_last_one_counts(outcome):
    action = stored()
    passed(action, MONDAY_9AM - MOMENT)
    failed(action, MONDAY_9AM, outcome)

    assert gates_at(MONDAY_9AM)(action, T.PRODUCTION) == []


@pytest.mark.django_db
def test_what_keeps_it_from_being_drilled_is_said(settings):
    settings.SANDBOXES = {}

    (words,) = gates_at(MONDAY_9AM)(stored(), T.PRODUCTION)

    assert "TARGET_DEMO_SANDBOX_URL is not set." in words


@pytest.mark.django_db
def test_the_last_drill_that_passed_counts_and_only_those_of_this_version():
    action, other = stored(), stored(version=2, state=T.DRAFT)
    passed(other, MONDAY_9AM)
    passed(action, MONDAY_9AM - DAYS)
    passed(action, MONDAY_9AM - 2 * DAYS)
    failed(action, MONDAY_9AM, "not_run")
    DrillFactory(action_type=action)  # under way

    assert facts_of(action).drilled_at == MONDAY_9AM - DAYS
    assert gates_at(MONDAY_9AM - MOMENT)(action, T.PRODUCTION) == []
    assert len(gates_at(MONDAY_9AM)(action, T.PRODUCTION)) == 1


@pytest.mark.django_db
def test_a_silent_failure_anywhere_stops_every_promotion_until_it_is_cleared():
    action = stored()
    passed(action, MONDAY_9AM)
    finding = FindingFactory()

    assert [each[:15] for each in gates_at(MONDAY_9AM)(action, T.PRODUCTION)] == ["Silent failures"]
    assert gates_at(MONDAY_9AM)(action, T.TESTED)
    finding.cleared_at = MONDAY_9AM
    finding.save()
    assert gates_at(MONDAY_9AM)(action, T.PRODUCTION) == []


@pytest.mark.django_db
def test_what_an_example_writes_counts_though_the_version_says_less():
    entry = next(entry for entry in CATALOGUE if entry["key"] == "customer_update")
    action = stored(entry, records_touched=1, snapshot_plan=entry["snapshot_plan"])

    assert facts_of(action).touched == 4


@pytest.mark.django_db
@pytest.mark.parametrize(
    "config",
    [
        {}, {"target": 7}, {"units": []}, {"target": "demo", "units": "x"},
        {**PAYMENT["connector_config"], "basis": 7}, {**PAYMENT["connector_config"], "basis": [7]},
        {**PAYMENT["connector_config"], "facts": []}, {**PAYMENT["connector_config"], "facts": {"a": {}}},
        {**PAYMENT["connector_config"], "reversals": {}}, {**PAYMENT["connector_config"], "units": [{}]},
        {**PAYMENT["connector_config"], "units": {"$eval": "payload.nothing"}},
        {**PAYMENT["connector_config"], "units": {"$eval": "1/0"}},
        {**PAYMENT["connector_config"], "records": [{"prefix": "x"}]},
        {**PAYMENT["connector_config"], "gives": []},
    ],
)  # fmt: skip
def test_a_configuration_as_somebody_typed_it_is_told_and_never_fails(config):
    document = document_of(ActionType(**PAYMENT)) | {"connector_config": config}
    action = ActionType(**read(json.dumps(document)), created_at=MONDAY_9AM)
    action.save()

    found = facts_of(action)

    assert found.problems
    assert missing(found)[0].startswith("Connector: ")


@pytest.mark.django_db
def test_a_connector_that_is_not_there_is_named():
    assert facts_of(stored(connector="fax")).problems == ["There is no connector “fax”."]


@pytest.mark.django_db
@pytest.mark.parametrize("entry", CATALOGUE, ids=lambda entry: entry["key"])
def test_what_the_product_comes_with_lacks_nothing_but_its_drill(entry):
    action = stored(entry)

    found = gates_at(MONDAY_9AM)(action, T.PRODUCTION)

    assert [each.partition(":")[0] for each in found] == (
        ["Drill"] if entry.get("is_financial") else []
    )
