"""A payload, tried: the calls that are shown are those that the target then gets, and none is made."""

from __future__ import annotations

import copy

import pytest

from approvals.services.submission import BadAmount, PayloadOffSchema
from governance.catalogue import CATALOGUE
from governance.catalogue_tryton import CATALOGUE_ON_TRYTON
from governance.errors import Unprocessable
from governance.models import ActionType
from rollback.connectors import registry
from rollback.connectors.base import AS_BEFORE
from rollback.dry_run import CannotTry, try_out
from rollback.models import Direction, Unit
from rollback.runner import run_all
from rollback.services.units import spent
from tests.factories import MONDAY_9AM, ActionTypeFactory
from tests.netsuite import actions as netsuite
from tests.rollback.test_demo_actions import EXAMPLES, approve, books_balance, hands, seeded, undo

__all__ = ["approve", "books_balance", "hands", "seeded"]  # fixtures

pytestmark = pytest.mark.django_db

ENTRIES = {entry["key"]: entry for entry in CATALOGUE}


@pytest.fixture
def here(settings):
    settings.TARGETS = {"demo": {"url": "http://demo.example/api", "token": "secret-token"}}


def tried(action, *, generation=0, **changes):
    payload = copy.deepcopy(action.example["payload"]) | changes
    connector = registry.connector_for(action)
    return try_out(action, payload, connector, generation_of=lambda _: generation)


def stored(key="vendor_payment", **over):
    return ActionTypeFactory(**{"amount_pointer": "", **ENTRIES[key], **over})


ON_TRYTON = {each["key"]: each for each in CATALOGUE_ON_TRYTON if each["connector"] == "tryton"}


@pytest.mark.parametrize("key", ON_TRYTON)
def test_an_erp_of_many_calls_shows_each_and_says_nothing_that_is_not_so(key, settings):
    settings.TARGETS = {
        "tryton": {"url": "http://erp.example/books/", "user": "clerk", "password": "secret-word"}
    }
    entry = {"amount_pointer": "", **ON_TRYTON[key]}

    trial = tried(ActionTypeFactory(**entry))

    assert "secret-word" not in repr(trial)
    for unit in trial.units:
        ways = [unit.calls, unit.undo.calls]
        assert all(call.address == "http://erp.example/books/rpc/" for way in ways for call in way)
        assert all(len(way) > 1 and all(call.about for call in way) for way in ways)
        if entry["reversal"] == ActionType.Reversal.RESTORE:
            writes = [call.body for call in unit.undo.calls if "and our key beside" in call.about]
            assert "as the snapshot has it" in str(writes)
    assert all(each.calls for each in trial.reads)


@pytest.mark.parametrize("key", netsuite.CONFIGS)
def test_a_vendors_api_with_tokens_names_what_they_are_asked_with(key, settings):
    settings.TARGETS = {
        "netsuite": {"url": "https://books.example", "private_key": "secret-key", "client_id": "c"}
    }

    trial = tried(ActionTypeFactory(**netsuite.fields(key), schema={"type": "object"}))

    assert "secret-key" not in repr(trial)
    assert all(unit.calls for unit in trial.units)


def without_version(call):
    return {name: value for name, value in call.headers.items() if name != "If-Match"}


@pytest.mark.parametrize("key", EXAMPLES)
def test_what_is_shown_is_what_is_then_done_and_taken_back(key, approve, hands, target, timeline):
    action = ActionType.objects.get(key=key)
    trial = tried(action)
    assert target.operations() == []

    request = approve(key)
    run_all(hands)
    connector = registry.connector_for(action)
    units = list(Unit.objects.filter(direction=Direction.FORWARD).order_by("position"))
    assert [(each.n, each.key, each.plan.name) for each in trial.units] == [
        (unit.position, unit.key, unit.name) for unit in units
    ]
    for each, unit in zip(trial.units, units, strict=True):
        (shown,), (sent,) = each.calls, connector.calls(unit.body, key=unit.key)
        assert (shown.method, shown.address, shown.body) == (sent.method, sent.address, sent.body)
        assert without_version(shown) == without_version(sent)
    assert {each["key"] for each in target.operations()} == {each.key for each in trial.units}
    snapshots = {row.record for row in request.snapshots.all()}
    assert {each.record for each in trial.reads if "snapshot" in each.why} == snapshots
    assert (request.business_key, request.resource.key) == (trial.business_key, trial.resource_key)

    undo(request, timeline)
    run_all(hands)
    for each in trial.units:
        unit = Unit.objects.get(direction=Direction.UNDO, position=each.n)
        assert (each.undo.key, each.undo.name) == (unit.key, unit.name)
        (shown,), (sent,) = each.undo.calls, connector.calls(unit.body, key=unit.key)
        assert (shown.method, without_version(shown)) == (sent.method, without_version(sent))
        if action.reversal == ActionType.Reversal.RESTORE:
            assert (shown.address, shown.body) == (sent.address, AS_BEFORE)


def test_the_calls_name_what_opens_the_target_and_never_say_it(here):
    trial = tried(stored())

    (unit,) = trial.units
    assert "secret-token" not in repr(trial)
    assert unit.calls[0].headers["authorization"] == "Bearer {TARGET_DEMO_TOKEN}"
    assert unit.calls[0].address == "http://demo.example/api/payments"


def test_each_unit_has_its_key_and_its_reversal_one_of_its_own(here):
    trial = tried(stored("sales_order"), generation=2)

    prefix = "demo:sales-order:alpine%20outfitters:so-4711:18400.00~2"
    assert [each.key for each in trial.units] == [f"{prefix}/{n}" for n in range(1, 6)]
    assert [each.undo.key for each in trial.units] == [f"{prefix}/undo/{n}" for n in range(1, 6)]
    assert trial.units[3].undo.calls[0].address.endswith("/sales-orders/SO-4711/lines/4/cancel")


def test_what_is_read_says_for_what(here):
    trial = tried(stored("sales_order"))

    assert {each.record: each.why for each in trial.reads} == {
        "demo:sales-order:SO-4711": ("basis", "snapshot"),
        "demo:customer:Alpine%20Outfitters": ("credit_limit", "open_orders", "snapshot"),
    }
    assert [each.calls[0].method for each in trial.reads] == ["GET", "GET"]


def test_a_write_that_names_a_version_says_that_it_is_the_one_read(here):
    trial = tried(stored("customer_update"))

    assert [each.calls[0].headers["If-Match"] for each in trial.units] == [
        '"{version-as-read}"'
    ] * 4


def test_without_a_reversal_there_is_no_way_back_to_show(here):
    (unit,) = tried(stored(reversal="none", reversal_code="")).units

    assert unit.undo is None


def test_a_reversal_that_is_made_of_the_answer_says_so(here):
    config = {**ENTRIES["vendor_payment"]["connector_config"]}
    del config["example_answer"]

    (unit,) = tried(stored(connector_config=config)).units

    assert (unit.undo.calls, unit.undo.why_not) == ((), "It is made of what the target answers.")


def test_the_amount_and_its_band_are_those_of_a_submission(here):
    action = stored("purchase_order")

    small, large = tried(action), tried(action, amount={"value": "50000.00", "currency": "USD"})

    assert (str(small.money.value), small.impact, large.impact) == ("18500.00", "medium", "high")
    assert small.title.startswith("Order Shipping cartons, medium for $18,500.00")


def test_a_payload_off_its_schema_says_where(here):
    with pytest.raises(PayloadOffSchema) as refused:
        tried(stored(), vendor="", colour="red")

    assert {each["pointer"] for each in refused.value.extra["errors"]} == {"/", "/vendor"}


def test_an_amount_that_is_none_says_why(here):
    with pytest.raises(BadAmount, match="decimals"):
        tried(stored(), amount={"value": "1.001", "currency": "USD"})


def test_what_is_too_long_to_be_a_key_says_so(here):
    with pytest.raises(Unprocessable, match="too long to be a key"):
        tried(stored(), vendor="ü" * 120)


def test_what_comes_to_no_calls_says_why(here):
    config = {**ENTRIES["vendor_payment"]["connector_config"], "units": {"$eval": "payload.lines"}}

    with pytest.raises(CannotTry, match="units"):
        tried(stored(connector_config=config))


def test_the_generation_counts_the_requests_that_had_effects(approve, hands, target, timeline):
    request = approve("vendor_payment")
    assert spent(request.business_key) == 0

    run_all(hands)

    assert spent(request.business_key) == 1
    assert spent(request.business_key, but=request.pk) == 0
    undo(request, timeline)
    run_all(hands)
    assert spent(request.business_key) == 1  # its keys are spent though it was taken back
    assert timeline.now > MONDAY_9AM
