"""Tokens: asked for once, renewed before they end or when they are refused, and never told."""

from __future__ import annotations

import json
import os
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import parse_qs

import jwt
import pytest
import time_machine
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from rollback.connectors import oauth, registry
from rollback.connectors.base import NotDone
from tests.factories import MONDAY_9AM
from tests.netsuite.actions import action_type
from tests.netsuite.conftest import CERTIFICATE_ID, CLIENT_ID, pem
from tests.netsuite.contract import cites
from tests.netsuite.double import TOKENS
from tests.netsuite.test_double import keys_by_algorithm
from tests.netsuite.tokens import ALGORITHMS, ASSERTION_TYPE

__all__ = ["keys_by_algorithm"]  # a fixture

A_CALL_S = 8.0


@pytest.fixture
def connector(netsuite):
    return registry.connector_for(action_type())


@pytest.fixture
def read(connector, bill):
    """Read the bill: a call that needs a token."""
    return lambda: connector.read(f"netsuite:vendorBill:{bill}")


def grant(netsuite, key, **over):
    url = netsuite.url + TOKENS
    said = {
        "target": "netsuite", "url": url, "kind": oauth.CLIENT_CREDENTIALS, "issuer": CLIENT_ID,
        "key_id": CERTIFICATE_ID, "private_key": pem(key), "algorithms": ALGORITHMS,
        "claims": {"aud": url, "scope": ["rest_webservices"]},
    }  # fmt: skip
    return oauth.Grant(**(said | over))


def bearer(found, **over):
    return oauth.bearer(found, until=time.monotonic() + A_CALL_S, **over)


def failure_of(call):
    with pytest.raises(NotDone) as raised:
        call()
    return raised.value


# --- What is said to the token endpoint ---


@cites("N1", "N2", "N3", "N4", "N5")
@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_a_token_is_asked_for_by_whatever_key_a_company_has(netsuite, keys_by_algorithm, algorithm):
    key = keys_by_algorithm[algorithm]
    netsuite.tokens.certificates = {CERTIFICATE_ID: key.public_key()}
    fitting = [algorithm, *ALGORITHMS] if algorithm.startswith("PS") else ALGORITHMS

    token = bearer(grant(netsuite, key, algorithms=fitting))

    assert token == netsuite.tokens.issued[-1]
    (assertion,) = netsuite.tokens.assertions
    assert jwt.get_unverified_header(assertion) == {
        "typ": "JWT", "alg": algorithm, "kid": CERTIFICATE_ID,
    }  # fmt: skip


@cites("N4")
def test_an_assertion_is_of_real_time_and_ends_soon(netsuite, private_key):
    with time_machine.travel(MONDAY_9AM, tick=False):
        assertion = oauth.signed(grant(netsuite, private_key))

    claims = jwt.decode(assertion, options={"verify_signature": False})
    assert claims["iat"] == MONDAY_9AM.timestamp()
    assert 0 < claims["exp"] - claims["iat"] < 3600


def test_the_other_grant_has_its_assertion_in_another_place(netsuite):
    """As Salesforce takes it: nothing of the layer is about one vendor."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    other = grant(
        netsuite, key, kind=oauth.JWT_BEARER, key_id="", algorithms=["RS256"],
        claims={"aud": "https://login.example", "sub": "integration@example.com"},
    )  # fmt: skip
    body = json.dumps({"access_token": "theirs", "token_type": "Bearer"}).encode()
    netsuite.fail("answer", path=TOKENS, status=200, body=body)

    assert bearer(other) == "theirs"

    ((_, _, _, sent),) = netsuite.calls("POST", TOKENS)
    form = parse_qs(sent.decode())
    assert form["grant_type"] == [oauth.JWT_BEARER]
    assert set(form) == {"grant_type", "assertion"}
    claims = jwt.decode(
        form["assertion"][0], key.public_key(), algorithms=["RS256"],
        audience="https://login.example",
    )  # fmt: skip
    assert (claims["sub"], claims["iss"]) == ("integration@example.com", CLIENT_ID)
    assert "kid" not in jwt.get_unverified_header(form["assertion"][0])


def test_the_assertion_of_a_client_says_of_what_type_it_is(netsuite, read):
    read()

    ((_, _, headers, sent),) = netsuite.calls("POST", TOKENS)
    assert headers["content-type"] == "application/x-www-form-urlencoded"
    assert parse_qs(sent.decode())["client_assertion_type"] == [ASSERTION_TYPE]


# --- How long one is kept ---


def test_one_token_serves_many_calls(netsuite, read):
    for _ in range(3):
        read()

    assert len(netsuite.tokens.issued) == 1


def test_another_client_of_the_same_target_has_its_own(netsuite, private_key):
    first = bearer(grant(netsuite, private_key))
    other = ec.generate_private_key(ec.SECP256R1())
    netsuite.tokens.certificates = {CERTIFICATE_ID: other.public_key()}

    assert bearer(grant(netsuite, other)) != first


def test_a_token_is_renewed_before_it_ends(netsuite, read):
    netsuite.tokens.lasts_s = 1
    deadline = time.monotonic() + 20

    while len(netsuite.tokens.issued) < 3 and time.monotonic() < deadline:
        read()

    assert len(netsuite.tokens.issued) == 3
    assert 401 not in netsuite.answered


@cites("R1")
def test_a_token_that_runs_out_midway_is_renewed_and_the_call_made_once_more(
    netsuite, connector, vendor, bill
):
    read = connector.read(f"netsuite:vendorBill:{bill}")
    netsuite.tokens.expire()
    (unit,) = connector.units(
        registry.example_of(action_type(vendor=vendor, bill=bill, amount="12000.00"))
    )

    connector.send(unit.body, key="one", version=read.version)

    assert len(netsuite.tokens.issued) == 2
    assert netsuite.books.paid(vendor) == 12000
    assert netsuite.answered.count(401) == 1


def test_a_write_that_was_refused_for_its_token_is_sent_again_and_done_once(
    netsuite, connector, vendor, bill
):
    connector.read(f"netsuite:vendorBill:{bill}")
    netsuite.tokens.expire()
    (unit,) = connector.units(registry.example_of(action_type(vendor=vendor, bill=bill)))

    connector.send(unit.body, key="one")

    assert len(netsuite.calls("POST", "vendorPayment")) == 2
    assert netsuite.books.paid(vendor) == 12000


@cites("R1")
def test_a_token_that_is_refused_as_soon_as_it_is_given_ends_in_not_done(netsuite, read):
    netsuite.fail("answer", method="GET", status=401, times=5)

    problem = failure_of(read)

    assert problem.said == "401 Unauthorized"
    assert len(netsuite.calls("GET")) == 2, "once more, and not for ever"


def test_many_threads_ask_for_one_token(netsuite, private_key):
    go_on = threading.Event()
    netsuite.fail("hold", path=TOKENS, event=go_on)
    found = grant(netsuite, private_key)
    with ThreadPoolExecutor(8) as pool:
        asked = [pool.submit(bearer, found) for _ in range(8)]
        go_on.set()
        tokens = {each.result(timeout=20) for each in asked}

    assert len(tokens) == len(netsuite.tokens.issued) == 1


def test_many_threads_whose_token_was_refused_renew_it_once(netsuite, private_key):
    found = grant(netsuite, private_key)
    old = bearer(found)
    with ThreadPoolExecutor(8) as pool:
        asked = [pool.submit(bearer, found, refused=old) for _ in range(8)]
        tokens = {each.result(timeout=20) for each in asked}

    assert tokens == {netsuite.tokens.issued[1]}
    assert len(netsuite.tokens.issued) == 2


def test_who_waits_for_anothers_renewal_waits_no_longer_than_its_own_call(netsuite, private_key):
    go_on = threading.Event()
    netsuite.fail("hold", path=TOKENS, event=go_on)
    found = grant(netsuite, private_key)
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(bearer, found)
        while not netsuite.calls("POST", TOKENS):
            time.sleep(0.01)
        try:
            problem = failure_of(lambda: oauth.bearer(found, until=time.monotonic() + 0.05))
        finally:
            go_on.set()
        first.result(timeout=20)

    assert problem.said == "netsuite gave no token in time"


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")  # the queue forks, threads or not
def test_a_forked_child_forgets_what_its_parent_has(netsuite, private_key):
    """And is not held up by a lock that some thread of its parent holds."""
    found = grant(netsuite, private_key)
    bearer(found)
    slot = oauth._slot_of(found)
    with slot.lock:
        reads, writes = os.pipe()
        child = os.fork()
        if child == 0:
            kept = oauth._slot_of(found)
            told = b"kept" if kept.token or kept.lock.locked() else b"forgot"
            os.write(writes, told)
            os._exit(0)
        os.waitpid(child, 0)

    assert os.read(reads, 100) == b"forgot"
    os.close(reads)
    os.close(writes)


# --- What goes wrong ---


@pytest.mark.parametrize(
    ("fault", "said", "wait"),
    [
        ({"kind": "reset_before"}, "netsuite gave no token: ", None),
        ({"kind": "reset_after"}, "netsuite gave no token: ", None),
        (
            {"kind": "answer", "status": 503},
            "netsuite gave no token: 503 Service Unavailable",
            None,
        ),
        (
            {"kind": "answer", "status": 429, "headers": {"Retry-After": "9"}},
            "netsuite gave no token: 429 Too Many Requests",
            9,
        ),
        (
            {"kind": "answer", "status": 200, "body": b"<html>"},
            "netsuite gave no token: its answer cannot be read",
            None,
        ),
        (
            {"kind": "answer", "status": 200, "body": b"[]"},
            "netsuite gave no token: its answer cannot be read",
            None,
        ),
        (
            {"kind": "answer", "status": 200, "body": b'{"access_token": "a\\r\\nX-Evil: 1"}'},
            "netsuite gave no token that can be used",
            None,
        ),
        (
            {"kind": "answer", "status": 200, "body": b'{"access_token": "a", "expires_in": -1}'},
            "netsuite gave no token that can be used",
            None,
        ),
        (
            {
                "kind": "answer",
                "status": 200,
                "body": b'{"access_token": "a", "expires_in": "NaN"}',
            },
            "netsuite gave no token that can be used",
            None,
        ),
        (
            {
                "kind": "answer",
                "status": 200,
                "body": b'{"access_token": "a", "token_type": "mac"}',
            },
            "netsuite gave no token that can be used",
            None,
        ),
    ],
)
def test_without_a_token_nothing_is_done(netsuite, connector, vendor, bill, fault, said, wait):
    netsuite.fail(fault.pop("kind"), path=TOKENS, **fault)
    (unit,) = connector.units(registry.example_of(action_type(vendor=vendor, bill=bill)))

    problem = failure_of(lambda: connector.send(unit.body, key="one"))

    assert problem.said.startswith(said)
    assert problem.retry_after_s == wait
    assert not netsuite.calls("POST", "vendorPayment")
    connector.send(unit.body, key="one")
    assert netsuite.books.paid(vendor) == 12000


def test_an_endpoint_that_takes_too_long_holds_nobody_up(netsuite, connector, read):
    connector.timeout_s = 0.3
    netsuite.fail("slow", path=TOKENS, seconds=1.0)
    start = time.monotonic()

    problem = failure_of(read)

    assert time.monotonic() - start < 0.9
    assert problem.said == "netsuite gave no token: it did not answer in time"


# --- What is never told ---


def test_what_an_endpoint_echoes_is_not_told(netsuite, read):
    netsuite.echo = True
    netsuite.tokens.certificates = {}

    problem = failure_of(read)

    (assertion,) = netsuite.tokens.assertions
    assert "There is no such certificate." in problem.said
    assert assertion not in problem.said
    assert all(part not in problem.said for part in assertion.split("."))


def test_a_key_that_cannot_be_read_is_not_told(netsuite, read, settings):
    broken = "-----BEGIN PRIVATE KEY-----\nVerySecretWords\n-----END PRIVATE KEY-----"
    settings.TARGETS["netsuite"]["private_key"] = broken

    problem = failure_of(read)

    assert problem.said == "the private key for netsuite cannot be read"
    assert problem.__cause__ is None
    assert not netsuite.seen


@pytest.mark.parametrize(
    "make",
    [
        ed25519.Ed25519PrivateKey.generate,
        lambda: ec.generate_private_key(ec.SECP256K1()),
    ],
)
def test_a_key_of_a_kind_that_is_not_taken_is_said_before_anything_is_sent(netsuite, make):
    problem = failure_of(lambda: bearer(grant(netsuite, make())))

    assert problem.said == "the private key for netsuite is of a kind that it does not take"
    assert not netsuite.seen


def test_how_a_grant_is_written_shows_no_key(netsuite, private_key):
    found = grant(netsuite, private_key)

    assert "PRIVATE" not in repr(found)
    assert "PRIVATE" not in str(found)
