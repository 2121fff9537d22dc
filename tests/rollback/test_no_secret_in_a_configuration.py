"""What looks like a secret in an action type's configuration stops the start, and is not told."""

from __future__ import annotations

import base64
import json
from hashlib import sha256

import pytest

from governance.catalogue import CATALOGUE
from governance.definitions import NotADefinition, document_of, read
from governance.definitions.secrets import found_in
from governance.models import ActionType
from rollback.connectors import registry

PAYMENT = next(entry for entry in CATALOGUE if entry["key"] == "vendor_payment")
PEM = "-----BEGIN PRIVATE KEY-----\nVerySecretWords\n-----END PRIVATE KEY-----"
WORDS = ("swordfish", "sesame", "VerySecretWord", "k8Jd2", "c2lnbm")
SECRETS = {
    "a token by its name": {"token": "open sesame"},
    "a password by its name": {"units": [{"request": {"json": {"userPassword": "swordfish"}}}]},
    "a key by its name": {"headers": {"x-api-key": "swordfish"}},
    "a list of them": {"secrets": ["open", "sesame"]},
    "a header": {"receipt": {"h": "Bearer swordfish-1"}},
    "a private key": {"reversals": {"a": PEM}},
    "a signed token": {"lookup": "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2lnbmF0dXJl"},
    "a token of ours": {"x": "rc_aVerySecretWord"},
    "an address": {"url": "https://recourse:swordfish@erp.example/"},
    "random letters": {"x": "k8Jd2LmQ9xZr4TtB7vNc1WpYs6"},
    "where a name should be": {"units": {"Bearer swordfish-1": "x"}},
    "filled in around": {"x": "Bearer swordfish-${payload.vendor}"},
}


@pytest.mark.parametrize("config", SECRETS.values(), ids=SECRETS)
def test_what_looks_like_a_secret_is_refused_and_not_told(config):
    whole = {**PAYMENT["connector_config"], "more": config}

    problems = registry.problems(ActionType(**{**PAYMENT, "connector_config": whole}))

    assert problems
    assert all("What opens a target stands in the environment" in each for each in problems)
    told = " ".join(problems)
    assert not any(word in told for word in WORDS)


@pytest.mark.parametrize("config", SECRETS.values(), ids=SECRETS)
def test_it_is_refused_where_it_is_typed_before_it_is_stored(config):
    document = document_of(ActionType(**PAYMENT))
    document["connector_config"] = {**document["connector_config"], "more": config}

    with pytest.raises(NotADefinition) as refused:
        read(json.dumps({**document, "sla_seconds": "and another mistake"}))

    assert all(each.pointer.startswith("/connector_config/more") for each in refused.value.places)
    assert not any(word in str(refused.value.__dict__) for word in WORDS)


@pytest.mark.parametrize("write", [
    lambda raw: base64.urlsafe_b64encode(raw).decode().rstrip("="),
    lambda raw: base64.b64encode(raw).decode(),
    bytes.hex,
], ids=["urlsafe", "base64", "hex"])  # fmt: skip
def test_made_secrets_are_found_whatever_they_stand_under(write):
    """Of a thousand by their looks alone, all but a few."""
    made = [write(sha256(str(n).encode()).digest()) for n in range(1000)]

    assert sum(not list(found_in({"note": each})) for each in made) < 10


@pytest.mark.parametrize(
    "config",
    [
        {"query": {"key": {"$eval": "key"}}},
        {"key_header": "Idempotency-Key"},
        {"json": {"token": {"$eval": "payload.tokens"}}},
        {"ledger": "8f7c1c53-6d0a-5d0e-9a57-6f3b0f2f4b11"},
        {"path": ["services", "rest", "record", "v1", "vendorBill", "subsidiaryRegionOfNorthAmerica"]},
        {"name": "Restore the customer's billing address to what it was before: ${payload.customer}"},
        {"expression": "payload.lines[0].amount.value + payload.lines[1].amount.value"},
        {"url": "https://erp.example/"},
    ],
)  # fmt: skip
def test_what_is_no_secret_is_let_be(config):
    assert list(found_in(config)) == []


@pytest.mark.parametrize("entry", CATALOGUE, ids=lambda entry: entry["key"])
def test_the_catalogue_of_the_demo_holds_none(entry):
    assert registry.problems(ActionType(**entry)) == []
