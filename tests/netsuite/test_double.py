"""The double holds to every sentence of the contract: asked as any client would."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from uuid import uuid4

import httpx2
import jwt
import pytest
import simplejson
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from tests.netsuite.conftest import CERTIFICATE_ID, CLIENT_ID
from tests.netsuite.contract import cites
from tests.netsuite.double import JOBS, RECORDS, TOKENS, number_of
from tests.netsuite.tokens import ALGORITHMS, ASSERTION_TYPE

CURVES = {"ES256": ec.SECP256R1, "ES384": ec.SECP384R1, "ES512": ec.SECP521R1}


@pytest.fixture(scope="session")
def keys_by_algorithm():
    """A key for each algorithm: those of RSA share theirs."""
    shared = rsa.generate_private_key(public_exponent=65537, key_size=3072)
    return {
        name: ec.generate_private_key(CURVES[name]()) if name in CURVES else shared
        for name in (*ALGORITHMS, "RS256")
    }


@pytest.fixture
def asks(netsuite, private_key):
    """Ask for a token, its assertion changed: return the answer."""

    def ask(*, key=private_key, algorithm="ES256", kid=CERTIFICATE_ID, form=None, **claims):
        now = int(time.time())
        said = {
            "iss": CLIENT_ID, "aud": netsuite.url + TOKENS, "scope": ["rest_webservices"],
            "iat": now, "exp": now + 300, **claims,
        }  # fmt: skip
        said = {name: value for name, value in said.items() if value is not None}
        sent = {
            "grant_type": "client_credentials",
            "client_assertion_type": ASSERTION_TYPE,
            "client_assertion": jwt.encode(said, key, algorithm=algorithm, headers={"kid": kid}),
            **(form or {}),
        }
        return httpx2.post(netsuite.url + TOKENS, data=sent, trust_env=False)

    return ask


@pytest.fixture
def http(netsuite, asks):
    """A client with a token."""
    token = asks().json()["access_token"]
    with httpx2.Client(
        base_url=netsuite.url, headers={"Authorization": f"Bearer {token}"}, trust_env=False
    ) as found:
        yield found


def record(http, type_, name):
    """Return a record, its numbers as Decimal."""
    return simplejson.loads(http.get(f"{RECORDS}{type_}/{name}").content, use_decimal=True)


def details(answer):
    (found,) = answer.json()["o:errorDetails"]
    return found


def paying(bill, vendor, amount=100):
    return {
        "entity": {"id": vendor},
        "apply": {"items": [{"doc": {"id": bill}, "apply": True, "amount": amount}]},
    }


# --- Tokens ---


@cites("N1")
def test_a_client_is_given_a_token_for_its_own_credentials(asks):
    found = asks().json()

    assert found["token_type"] == "bearer"
    assert found["expires_in"] == "3600"
    assert asks(form={"grant_type": "authorization_code"}).status_code == 400
    assert asks(form={"client_assertion_type": "other"}).status_code == 400


@cites("N2")
@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_six_algorithms_are_taken(netsuite, asks, keys_by_algorithm, algorithm):
    key = keys_by_algorithm[algorithm]
    netsuite.tokens.certificates = {"other": key.public_key()}

    assert asks(key=key, algorithm=algorithm, kid="other").status_code == 200


@cites("N2")
def test_no_other_algorithm_is_taken(netsuite, asks, keys_by_algorithm):
    key = keys_by_algorithm["RS256"]
    netsuite.tokens.certificates = {"other": key.public_key()}

    answer = asks(key=key, algorithm="RS256", kid="other")

    assert (answer.status_code, answer.json()["error"]) == (400, "invalid_client")


@cites("N2", "N3")
def test_the_signature_is_that_of_the_certificate_named(asks):
    assert asks(kid="another").status_code == 400
    assert asks(key=ec.generate_private_key(ec.SECP256R1())).status_code == 400


@cites("N4")
@pytest.mark.parametrize(("seconds", "status"), [(3599, 200), (3600, 400), (7200, 400), (-1, 400)])
def test_an_assertion_lasts_less_than_an_hour_and_is_of_now(asks, seconds, status):
    now = int(time.time())

    assert asks(iat=now, exp=now + seconds).status_code == status


@cites("N5")
@pytest.mark.parametrize(
    "claims", [{"iss": "somebody"}, {"aud": "elsewhere"}, {"scope": ["restlets"]}, {"scope": None}]
)
def test_an_assertion_says_who_to_whom_and_what_for(asks, claims):
    assert asks(**claims).status_code == 400


@cites("R1")
def test_a_token_runs_out(netsuite, http, bill):
    assert http.get(f"{RECORDS}vendorBill/{bill}").status_code == 200

    netsuite.tokens.expire()

    assert http.get(f"{RECORDS}vendorBill/{bill}").status_code == 401


# --- Keys and jobs ---


def as_a_job(key):
    return {"Prefer": "respond-async", "X-NetSuite-Idempotency-Key": key}


@cites("N6", "N9")
def test_a_key_acts_on_a_job(netsuite, http, bill, vendor):
    key = str(uuid4())
    first = http.post(f"{RECORDS}vendorPayment", json=paying(bill, vendor), headers=as_a_job(key))
    assert first.status_code == 202
    assert first.headers["preference-applied"] == "respond-async"

    again = http.post(f"{RECORDS}vendorPayment", json=paying(bill, vendor), headers=as_a_job(key))
    netsuite.run_jobs()

    assert again.status_code == 400
    assert netsuite.books.paid(vendor) == 100


@cites("N7")
def test_a_key_is_ignored_on_a_synchronous_call(netsuite, http, bill, vendor):
    headers = {"X-NetSuite-Idempotency-Key": str(uuid4())}

    for _ in range(2):
        answer = http.post(f"{RECORDS}vendorPayment", json=paying(bill, vendor), headers=headers)
        assert answer.status_code == 204

    assert netsuite.books.paid(vendor) == 200, "paid twice under one key"


@cites("N8")
def test_a_duplicate_names_the_first_job(http, bill, vendor):
    headers = as_a_job(str(uuid4()))
    first = http.post(f"{RECORDS}vendorPayment", json=paying(bill, vendor), headers=headers)

    again = http.post(f"{RECORDS}vendorPayment", json={"other": 1}, headers=headers)

    assert details(again)["o:errorCode"] == "IDEMPOTENCY_ERROR"
    assert again.headers["location"] == first.headers["location"]


@cites("N9")
def test_a_job_says_when_it_has_ended(netsuite, http, bill, vendor):
    netsuite.polls = 2
    headers = as_a_job(str(uuid4()))
    job = http.post(f"{RECORDS}vendorPayment", json=paying(bill, vendor), headers=headers)

    states = [http.get(job.headers["location"]).json() for _ in range(3)]

    assert [each["completed"] for each in states] == [False, False, True]
    assert http.get(f"{JOBS}99").status_code == 404


@cites("R8")
def test_a_job_that_cannot_be_done_fails(netsuite, http, bill, vendor):
    netsuite.polls = 0
    headers = as_a_job(str(uuid4()))
    body = paying(bill, vendor, 99999)
    job = http.post(f"{RECORDS}vendorPayment", json=body, headers=headers)

    found = http.get(job.headers["location"]).json()

    assert (found["completed"], found["progress"]) == (True, "failed")


# --- External ids ---


@cites("N10", "N11")
def test_a_put_by_external_id_makes_and_then_rewrites(http, vendor):
    body = {"entity": {"id": vendor}, "memo": "one", "expense": {"items": [{"amount": 5}]}}
    first = http.put(f"{RECORDS}vendorBill/eid:B-1", json=body)
    before = record(http, "vendorBill", "eid:B-1")

    again = http.put(f"{RECORDS}vendorBill/eid:B-1", json={**body, "memo": "two"})

    after = record(http, "vendorBill", "eid:B-1")
    assert first.headers["location"] == again.headers["location"]
    assert (before["memo"], after["memo"]) == ("one", "two")
    assert before["lastModifiedDate"] != after["lastModifiedDate"]


@cites("R3")
def test_an_external_id_is_taken_once(http, bill, vendor):
    body = {**paying(bill, vendor), "externalId": "P-1"}
    assert http.post(f"{RECORDS}vendorPayment", json=body).status_code == 204

    again = http.post(f"{RECORDS}vendorPayment", json=body)

    assert again.status_code == 400
    assert details(again)["o:errorCode"] == "DUP_RCRD"
    as_a_bill = {"entity": {"id": vendor}, "expense": {"items": [{"amount": 5}]}}
    other_type = http.post(f"{RECORDS}vendorBill", json={**as_a_bill, "externalId": "P-1"})
    assert other_type.status_code == 204


@cites("R4")
def test_a_record_is_read_by_either_id(http, bill, vendor):
    body = {**paying(bill, vendor), "externalId": "P-1"}
    made = http.post(f"{RECORDS}vendorPayment", json=body)

    by_external = record(http, "vendorPayment", "eid:P-1")

    assert by_external == record(http, "vendorPayment", number_of(made.headers["location"]))


@cites("R5", "N16")
def test_what_is_not_there_is_said_in_the_form_of_every_error(http):
    answer = http.get(f"{RECORDS}vendorPayment/eid:P-1")

    assert answer.status_code == 404
    assert set(answer.json()) == {"type", "title", "status", "o:errorDetails"}
    assert answer.json()["status"] == 404
    assert set(details(answer)) == {"detail", "o:errorCode"}


# --- Records ---


@cites("N12", "N15")
def test_a_payment_pays_what_it_names(netsuite, http, bill, vendor):
    answer = http.post(f"{RECORDS}vendorPayment", json=paying(bill, vendor, 12000))

    assert (answer.status_code, answer.content) == (204, b"")
    number = number_of(answer.headers["location"])
    assert answer.headers["location"] == f"{netsuite.url}{RECORDS}vendorPayment/{number}"
    assert record(http, "vendorPayment", number)["total"] == 12000
    assert record(http, "vendorBill", bill)["amountRemaining"] == 0


@cites("N12")
@pytest.mark.parametrize("amount", [12000.01, 0])
def test_a_payment_pays_no_more_than_is_owed_and_not_nothing(http, bill, vendor, amount):
    answer = http.post(f"{RECORDS}vendorPayment", json=paying(bill, vendor, amount))

    assert answer.status_code == 400


@cites("R6")
def test_an_amount_is_a_number(http, bill, vendor):
    answer = http.post(f"{RECORDS}vendorPayment", json=paying(bill, vendor, "100.00"))

    assert details(answer)["detail"] == "apply: an amount is a number."


@cites("N13")
def test_a_bill_becomes_a_payment_of_what_remains(netsuite, http, bill, vendor):
    answer = http.post(f"{RECORDS}vendorBill/{bill}/!transform/vendorPayment", json={"memo": "all"})

    assert answer.status_code == 204
    assert netsuite.books.paid(vendor) == 12000
    assert netsuite.books.owed(vendor) == 0
    again = http.post(f"{RECORDS}vendorBill/{bill}/!transform/vendorPayment")
    assert again.status_code == 400


@cites("N14", "R7")
@pytest.mark.parametrize(("paid", "open_"), [(0, 0), (5000, 5000), (12000, 12000)])
def test_a_bill_becomes_a_credit_that_is_applied_to_it(netsuite, http, bill, vendor, paid, open_):
    if paid:
        http.post(f"{RECORDS}vendorPayment", json=paying(bill, vendor, paid))

    answer = http.post(f"{RECORDS}vendorBill/{bill}/!transform/vendorCredit")

    found = record(http, "vendorCredit", number_of(answer.headers["location"]))
    assert (found["total"], found["unapplied"]) == (12000, open_)
    assert netsuite.books.owed(vendor) == -open_


@cites("N13")
def test_a_bill_becomes_nothing_else(http, bill):
    answer = http.post(f"{RECORDS}vendorBill/{bill}/!transform/salesOrder")

    assert details(answer)["o:errorCode"] == "INVALID_TRANSFORM"


@cites("N18")
def test_a_change_shows_in_last_modified_date_and_in_no_etag(netsuite, http, bill):
    before = http.get(f"{RECORDS}vendorBill/{bill}")

    netsuite.books.touch("vendorBill", bill, memo="theirs")

    after = http.get(f"{RECORDS}vendorBill/{bill}")
    assert before.json()["lastModifiedDate"] != after.json()["lastModifiedDate"]
    assert "etag" not in before.headers


@cites("N18")
def test_a_condition_on_a_write_is_not_heeded(http, bill, vendor):
    headers = {"If-Match": '"long ago"'}

    answer = http.post(f"{RECORDS}vendorPayment", json=paying(bill, vendor), headers=headers)

    assert answer.status_code == 204


# --- Too many at once ---


@cites("N17", "R2")
def test_more_calls_than_it_takes_at_once_are_told_to_wait(netsuite, http, bill):
    netsuite.at_once = 1
    go_on = threading.Event()
    netsuite.fail("hold", method="GET", event=go_on)
    path = f"{RECORDS}vendorBill/{bill}"
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(http.get, path)
        try:
            deadline = time.monotonic() + 10
            while not netsuite.calls("GET") and time.monotonic() < deadline:
                time.sleep(0.01)
            second = http.get(path)
        finally:
            go_on.set()

        assert (second.status_code, second.headers["retry-after"]) == (429, "7")
        assert first.result(timeout=20).status_code == 200
