"""Bills, payments and credits: made once, found by our key, and taken back by another record."""

from __future__ import annotations

import json
import time
from decimal import Decimal
from urllib.parse import urlsplit

import pytest

from rollback.connectors import registry
from rollback.connectors.base import Gives, NotDone, OutcomeUnknown, Rejected
from rollback.connectors.netsuite import records
from tests.netsuite.actions import BILL, CREDIT, PAYMENT, TRANSFORMED, action_type
from tests.netsuite.contract import cites
from tests.netsuite.double import JOBS, RECORDS

AS_A_JOB = {**PAYMENT, "respond_async": True}
KEY = "netsuite:417:inv-88213:12000.00~0/1"


class Prepared:
    """One action type's connector, and the action of its example."""

    def __init__(self, key="vendor_payment", *, config=None, **over):
        self.action_type = action_type(key, config=config, **over)
        self.connector = registry.connector_for(self.action_type)
        self.action = registry.example_of(self.action_type)
        (self.unit,) = self.connector.units(self.action)

    def send(self, *, key=KEY, version=""):
        return self.connector.send(self.unit.body, key=key, version=version)

    def take_back(self, receipt, *, key=f"{KEY}/undo"):
        stored = {"reference": receipt.reference, "data": receipt.data}
        body = self.connector.reversal(self.action, self.unit.body, stored)
        return self.connector.send(body, key=key)


@pytest.fixture
def payment(vendor, bill):
    return Prepared(vendor=vendor, bill=bill)


@pytest.fixture
def job(vendor, bill):
    """A payment that is made as a job."""
    return Prepared(config=AS_A_JOB, vendor=vendor, bill=bill)


def failure_of(call):
    """Return what a call raised."""
    try:
        call()
    except Exception as problem:
        return problem
    pytest.fail("it did not fail")


def body_of(call):
    return json.loads(call[3])


# --- What is made ---


@cites("N12", "N15", "R4")
def test_a_payment_names_the_bill_and_the_amount_that_was_approved(netsuite, payment, vendor, bill):
    receipt = payment.send()

    number = netsuite.books.external["vendorPayment", records.external_id(KEY)]
    assert receipt.reference == f"vendorPayment {number}"
    assert receipt.data == {
        "type": "vendorPayment",
        "id": number,
        "external_id": records.external_id(KEY),
    }
    (sent,) = netsuite.calls("POST", "vendorPayment")
    assert body_of(sent) == {
        "entity": {"id": vendor},
        "memo": "Paid by Recourse",
        "apply": {"items": [{"doc": {"id": bill}, "apply": True, "amount": 12000}]},
        "externalId": records.external_id(KEY),
    }
    assert netsuite.books.paid(vendor) == 12000


@cites("R6")
@pytest.mark.parametrize(
    "amount", ["0.10", "12000.00", "9007199254740993.07", "70000000000000000.01"]
)
def test_an_amount_is_sent_with_exactly_its_digits(netsuite, vendor, amount):
    bill = netsuite.books.bill(vendor, amount)

    Prepared(vendor=vendor, bill=bill, amount=amount).send()

    (sent,) = netsuite.calls("POST", "vendorPayment")
    assert f'"amount":{amount}'.encode() in sent[3]
    assert netsuite.books.paid(vendor) == Decimal(amount)
    assert netsuite.books.owed(vendor) == 0


@cites("N13")
def test_a_payment_is_made_from_its_bill_too(netsuite, vendor, bill):
    receipt = Prepared(config=TRANSFORMED, vendor=vendor, bill=bill, amount="5000.00").send()

    (sent,) = netsuite.calls("POST", "!transform")
    assert sent[1] == f"{RECORDS}vendorBill/{bill}/!transform/vendorPayment"
    assert receipt.data["type"] == "vendorPayment"
    assert netsuite.books.paid(vendor) == 5000, "what was approved, and not all that is owed"


@cites("N14", "R7")
def test_a_payment_is_taken_back_by_a_credit_of_its_bill(netsuite, payment, vendor, bill):
    receipt = payment.take_back(payment.send())

    (sent,) = netsuite.calls("POST", "vendorCredit")
    assert sent[1] == f"{RECORDS}vendorBill/{bill}/!transform/vendorCredit"
    credit = netsuite.books.records["vendorCredit"][receipt.data["id"]]
    assert credit["unapplied"] == 12000, "they owe us what was paid"
    assert netsuite.books.paid(vendor) + netsuite.books.owed(vendor) == 0


@pytest.mark.parametrize(("key", "owed"), [("vendor_bill", 500), ("vendor_credit", -500)])
def test_bills_and_credits_are_made_and_taken_back(netsuite, vendor, key, owed):
    prepared = Prepared(key, vendor=vendor, amount="500.00")

    receipt = prepared.send()
    assert netsuite.books.owed(vendor) == owed
    prepared.take_back(receipt)

    assert netsuite.books.owed(vendor) == 0


# --- Once ---


@cites("N7", "N10", "N11")
def test_a_record_is_made_by_post_and_no_key_is_sent_that_nobody_heeds(netsuite, payment):
    payment.send()

    assert not netsuite.calls("PUT")
    (sent,) = netsuite.calls("POST", "vendorPayment")
    assert "x-netsuite-idempotency-key" not in sent[2]
    assert "prefer" not in sent[2]


def test_what_it_gives_is_a_lookup_and_a_comparison_of_ours(payment, job):
    assert payment.connector.gives == Gives(
        native_keys=False, lookup=True, optimistic_locking=True, compared_by_us=True
    )
    assert (job.connector.gives.native_keys, job.connector.gives.lookup) == (True, False)


@cites("R4", "R5")
def test_what_was_done_is_found_by_its_key_and_nothing_else_is(payment):
    receipt = payment.send()

    assert payment.connector.probe(KEY) == receipt
    assert payment.connector.probe(f"{KEY}0") is None


def test_a_reversal_is_found_by_its_key_too(payment):
    receipt = payment.take_back(payment.send(), key="back")

    assert receipt.data["type"] == "vendorCredit"
    assert payment.connector.probe("back") == receipt


@cites("R3")
@pytest.mark.parametrize("code", ["DUP_RCRD", "USER_ERROR"], ids=["by its code", "by its words"])
def test_the_same_key_twice_makes_no_second_record_and_says_that_it_may_be_there(
    netsuite, payment, vendor, code
):
    payment.send()
    if code != "DUP_RCRD":
        said = {"o:errorDetails": [{"detail": "This record already exists.", "o:errorCode": code}]}
        netsuite.fail(
            "answer",
            method="POST",
            path="vendorPayment",
            status=400,
            body=json.dumps(said).encode(),
        )

    problem = failure_of(payment.send)

    assert type(problem) is OutcomeUnknown
    assert netsuite.books.paid(vendor) == 12000


def test_keys_of_any_shape_have_an_external_id_of_plain_letters():
    ids = {records.external_id(key) for key in ("a/b?c", "Größe ü/1", "a b", "\U0001f600", "%2F")}

    assert len(ids) == 5
    assert all(each.replace("-", "").isalnum() and each.isascii() for each in ids)
    assert all(len(each) < 60 for each in ids)


@pytest.mark.parametrize(
    ("fault", "kind", "said", "wait", "done"),
    [
        ({"kind": "reset_before"}, OutcomeUnknown, "No answer from netsuite: ", None, False),
        ({"kind": "reset_after"}, OutcomeUnknown, "No answer from netsuite: ", None, True),
        (
            {"kind": "answer", "status": 503, "headers": {"Retry-After": "3"}},
            OutcomeUnknown,
            "503 Service Unavailable",
            3,
            False,
        ),
        (
            {"kind": "answer", "status": 429, "headers": {"Retry-After": "7"}},
            NotDone,
            "429 Too Many Requests",
            7,
            False,
        ),
        ({"kind": "answer", "status": 403}, NotDone, "403 Forbidden", None, False),
        ({"kind": "answer", "status": 202}, OutcomeUnknown, "202 Accepted", None, False),
        (
            {"kind": "answer", "status": 204},
            OutcomeUnknown,
            "204 No Content, and an answer that does not name what was made",
            None,
            False,
        ),
        (
            {"kind": "answer", "status": 204, "headers": {"Location": f"{RECORDS}vendorBill/1"}},
            OutcomeUnknown,
            "204 No Content, and an answer that does not name what was made",
            None,
            False,
        ),
    ],
)
def test_each_fault_says_what_is_certain(netsuite, payment, fault, kind, said, wait, done):
    netsuite.fail(fault.pop("kind"), method="POST", path="vendorPayment", **fault)

    problem = failure_of(payment.send)

    assert type(problem) is kind
    assert problem.said.startswith(said)
    assert problem.retry_after_s == wait
    assert (payment.connector.probe(KEY) is not None) == done


@cites("N17", "R2")
def test_who_comes_while_too_many_are_there_has_done_nothing_and_waits(netsuite, payment, vendor):
    payment.connector.read(f"netsuite:vendor:{vendor}")  # so that there is a token
    netsuite.at_once = 0

    problem = failure_of(payment.send)

    assert (type(problem), problem.retry_after_s) == (NotDone, 7)
    assert netsuite.books.paid(vendor) == 0


def test_a_call_has_an_end_and_what_came_of_it_is_found_later(netsuite, payment):
    payment.connector.timeout_s = 0.5
    netsuite.fail("slow", method="POST", path="vendorPayment", seconds=1.0)
    start = time.monotonic()

    problem = failure_of(payment.send)

    assert type(problem) is OutcomeUnknown
    assert time.monotonic() - start < 0.95
    assert Prepared().connector.probe(KEY) is not None


# --- Refusals ---


@cites("N16")
def test_a_refusal_is_said_in_its_own_words(netsuite, vendor, bill):
    too_much = Prepared(vendor=vendor, bill=bill, amount="12000.01")

    problem = failure_of(too_much.send)

    assert type(problem) is Rejected
    assert problem.said == "You cannot apply more than is due."


@pytest.mark.parametrize("content", [b"", b"<html>no", b"[]", b'{"o:errorDetails": 1}'])
def test_a_refusal_that_cannot_be_read_is_said_by_its_status(netsuite, payment, content):
    netsuite.fail("answer", method="POST", path="vendorPayment", status=400, body=content)

    problem = failure_of(payment.send)

    assert (type(problem), problem.said) == (Rejected, "400 Bad Request")


def test_what_it_echoes_of_what_opens_it_is_struck_out(netsuite, payment, vendor, bill):
    netsuite.echo = True
    too_much = Prepared(vendor=vendor, bill=bill, amount="12000.01")

    problem = failure_of(too_much.send)
    reading = payment.connector.read(f"netsuite:vendorBill:{bill}")

    (token,) = netsuite.tokens.issued
    assert "Bearer …" in problem.said
    assert token not in problem.said
    assert reading.state["memo"] == "read with Bearer …"


@cites("R5")
@pytest.mark.parametrize(
    "body",
    [
        b"<h1>Not Found</h1>",
        # As of a type of record that our role does not see any more.
        b'{"status": 404, "o:errorDetails": [{"detail": "Not found.", "o:errorCode": "NOT_FOUND"}]}',
    ],
)
def test_a_404_that_does_not_speak_of_the_record_is_no_no(netsuite, payment, bill, body):
    payment.send()
    netsuite.fail("answer", method="GET", status=404, body=body, times=2)

    problems = [
        failure_of(lambda: payment.connector.probe(KEY)),
        failure_of(lambda: payment.connector.read(f"netsuite:vendorBill:{bill}")),
    ]

    assert [type(each) for each in problems] == [OutcomeUnknown] * 2


def test_a_question_that_is_refused_is_never_taken_for_an_answer(netsuite, payment):
    netsuite.fail("answer", method="GET", status=400, times=2)

    for ask in (
        lambda: payment.connector.probe(KEY),
        lambda: payment.connector.read("netsuite:vendor:1"),
    ):
        assert type(failure_of(ask)) is OutcomeUnknown


# --- What it reads ---


@cites("N18", "R4", "R6")
def test_a_record_is_read_with_its_version_and_exact_amounts_and_without_addresses(
    netsuite, vendor
):
    bill = netsuite.books.bill(vendor, "12000.10", externalId="B/1", memo="ours")
    connector = Prepared().connector

    reading = connector.read(f"netsuite:vendorBill:{bill}")

    assert reading.state["total"] == "12000.1"
    assert reading.state["memo"] == "ours"
    assert "links" not in json.dumps(reading.state)
    assert "lastModifiedDate" not in reading.state
    assert reading.version == netsuite.books.records["vendorBill"][bill]["lastModifiedDate"]
    assert connector.read("netsuite:vendorBill:eid:B%2F1") == reading


def test_what_is_not_there_is_none(netsuite):
    assert Prepared().connector.read("netsuite:vendorBill:999") is None


@pytest.mark.parametrize(
    "number", ["1e999999999", "1e-999999999", "0." + "1" * 200], ids=["huge", "tiny", "long"]
)
def test_a_number_out_of_all_proportion_is_not_read(netsuite, number):
    netsuite.fail(
        "answer", method="GET", status=200, body=f'{{"id": "1", "total": {number}}}'.encode()
    )

    assert (
        type(failure_of(lambda: Prepared().connector.read("netsuite:vendor:1"))) is OutcomeUnknown
    )


@pytest.mark.parametrize(
    ("digits", "text"),
    [
        ("12000.50", "12000.5"),
        ("12000.0", "12000"),
        ("1.5e3", "1500"),
        ("-0.10", "-0.1"),
        ("1E2", "100"),
    ],
)
def test_a_number_has_one_spelling(digits, text):
    assert records.exact(digits) == text


# --- Changed by somebody else ---


@cites("N18")
def test_what_has_changed_since_it_was_looked_at_is_not_written_to(netsuite, payment, vendor, bill):
    before = payment.connector.read(payment.unit.record)
    netsuite.books.touch("vendorBill", bill, memo="theirs")

    problem = failure_of(lambda: payment.send(version=before.version))

    assert type(problem) is Rejected
    assert problem.said == (
        f"netsuite:vendorBill:{bill} has changed since it was looked at; nothing was written."
    )
    assert netsuite.books.paid(vendor) == 0
    assert not netsuite.calls("POST", "vendorPayment")


@cites("N18")
def test_what_has_not_changed_is_written_to(netsuite, payment, vendor):
    before = payment.connector.read(payment.unit.record)

    payment.send(version=before.version)

    assert netsuite.books.paid(vendor) == 12000


@pytest.mark.parametrize("config", [PAYMENT, AS_A_JOB])
def test_what_has_changed_by_our_own_earlier_send_is_that_sends(netsuite, vendor, bill, config):
    prepared = Prepared(config=config, vendor=vendor, bill=bill)
    version = prepared.connector.read(prepared.unit.record).version
    first = prepared.send(version=version)

    again = prepared.send(version=version)

    assert again == first
    assert netsuite.books.paid(vendor) == 12000


def test_what_cannot_be_looked_at_once_more_is_not_written_to(netsuite, payment, vendor):
    version = payment.connector.read(payment.unit.record).version
    netsuite.fail("answer", method="GET", status=503)

    assert type(failure_of(lambda: payment.send(version=version))) is NotDone
    assert not netsuite.calls("POST", "vendorPayment")


# --- As a job ---


@cites("N6", "N9")
def test_a_job_is_waited_for_and_what_it_made_is_read(netsuite, job, vendor):
    netsuite.polls = 2

    receipt = job.send()

    (sent,) = netsuite.calls("POST", "vendorPayment")
    assert sent[2]["prefer"] == "respond-async"
    assert sent[2]["x-netsuite-idempotency-key"] == records.idempotency_key(KEY)
    assert receipt.data["external_id"] == records.external_id(KEY)
    assert netsuite.books.paid(vendor) == 12000


@cites("N8")
def test_a_job_that_takes_longer_than_a_call_is_found_again_by_the_same_key(netsuite, job, vendor):
    netsuite.polls = 1000
    job.connector.timeout_s = 0.5
    problem = failure_of(job.send)
    assert type(problem) is OutcomeUnknown
    assert problem.said == "Job 1 has not ended yet."
    assert netsuite.books.paid(vendor) == 0

    netsuite.run_jobs()
    receipt = job.send()

    assert netsuite.answered.count(202) == 1
    assert len(netsuite.jobs) == 1
    assert netsuite.books.paid(vendor) == 12000
    assert receipt == job.connector.probe(KEY)


@cites("N8")
def test_the_answer_to_a_duplicate_is_known_even_as_the_documentation_writes_it(
    netsuite, job, vendor
):
    """Its example quotes within a quotation, and so is no JSON."""
    job.send()
    said = b'{"o:errorDetails": [{"detail": "See the "Location" header", "o:errorCode": "IDEMPOTENCY_ERROR"}]}'
    netsuite.fail(
        "answer", method="POST", path="vendorPayment", status=400, body=said,
        headers={"Location": f"{JOBS}1"},
    )  # fmt: skip

    job.send()

    assert netsuite.books.paid(vendor) == 12000


@cites("R8")
def test_a_job_that_failed_has_made_nothing(netsuite, vendor, bill):
    too_much = Prepared(config=AS_A_JOB, vendor=vendor, bill=bill, amount="12000.01")

    problem = failure_of(too_much.send)

    assert (type(problem), problem.said) == (Rejected, "Job 1 has failed; nothing was made.")
    assert type(failure_of(too_much.send)) is Rejected, "its key is spent"
    assert netsuite.books.paid(vendor) == 0


def test_a_job_that_says_it_has_ended_and_made_what_is_not_there_leaves_it_open(netsuite, job):
    netsuite.fail("answer", method="GET", path=JOBS, status=200, body=b'{"completed": true}')

    assert type(failure_of(job.send)) is OutcomeUnknown


@pytest.mark.parametrize(
    "location", ["", "/elsewhere", "https://evil.example/job/1", f"{JOBS}../../record/v1/vendor/1"]
)
def test_our_token_goes_to_no_address_that_an_answer_names(netsuite, job, location):
    netsuite.fail(
        "answer", method="POST", path="vendorPayment", status=202, headers={"Location": location}
    )

    problem = failure_of(job.send)

    assert problem.said == "202 Accepted, and an answer that does not name its job"
    assert not netsuite.calls("GET")


def test_a_job_elsewhere_is_asked_about_at_home(netsuite, job, vendor):
    """Of an address only the id is taken."""
    where = {"Location": f"https://evil.example{JOBS}1"}
    netsuite.fail("answer", method="POST", path="vendorPayment", status=202, headers=where)

    problem = failure_of(job.send)

    assert problem.said == "Job 1 is not known any more."
    assert len(netsuite.calls("GET", JOBS)) == 1


# --- What people are shown of it ---


def shown(call):
    return call.method, urlsplit(call.address).path, call.headers.get("Prefer", ""), call.body


def made(call):
    method, path, headers, body = call
    read = json.loads(body, parse_float=str) if body else None  # with exactly its digits
    return method, path, headers.get("prefer", ""), read


@pytest.mark.parametrize("config", [PAYMENT, TRANSFORMED, AS_A_JOB])
def test_the_calls_that_are_shown_are_those_that_are_made(netsuite, vendor, bill, config):
    prepared = Prepared(config=config, vendor=vendor, bill=bill)
    version = prepared.connector.read(prepared.unit.record).version
    netsuite.seen.clear()
    netsuite.polls = 0

    prepared.send(version=version)

    told = prepared.connector.calls(prepared.unit.body, key=KEY, version=version)
    for call, sent in zip(told, netsuite.seen, strict=True):
        method, path, *rest = shown(call)
        assert (method, path.replace("{id of the job}", "1"), *rest) == made(sent)


def test_a_call_that_is_shown_holds_no_secret_and_names_what_holds_it(netsuite, payment, bill):
    calls = [
        *payment.connector.calls(payment.unit.body, key=KEY, version="1"),
        *payment.connector.calls_to_read(f"netsuite:vendorBill:{bill}"),
    ]

    assert "PRIVATE KEY" not in repr(calls)
    assert {call.headers["authorization"] for call in calls} == {
        "Bearer {token, by TARGET_NETSUITE_PRIVATE_KEY}"
    }
    assert not netsuite.seen


@pytest.mark.parametrize("key", ["vendor_payment", "vendor_bill", "vendor_credit"])
def test_what_would_take_it_back_can_be_shown_before_anything_is_done(netsuite, key):
    prepared = Prepared(key)

    body = prepared.connector.reversal(
        prepared.action, prepared.unit.body, prepared.connector.specimen(prepared.unit.body)
    )

    (call,) = prepared.connector.calls(body, key=f"{KEY}/undo")
    assert call.method == "POST"
    assert not netsuite.seen


# --- What an agent may bend, and what not ---


@pytest.mark.parametrize(
    "bill", ["1/!transform/vendorCredit", "../vendor/1", "1?x=1", "eid:B-1", ""]
)
def test_a_bill_that_is_no_internal_id_is_not_transformed(bill):
    with pytest.raises(ValueError, match="internal id"):
        Prepared(config={**TRANSFORMED, "units": [{
            **TRANSFORMED["units"][0], "record": "",
            "create": {**TRANSFORMED["units"][0]["create"], "from": {"$eval": "payload.bill + 'x'"}},
        }]}, bill=bill)  # fmt: skip


@pytest.mark.parametrize(
    "record",
    [
        "netsuite:vendorBill:1%2F..%2F7",
        "netsuite:employee:1",
        "other:vendorBill:1",
        "netsuite:vendor:",
        "x",
    ],
)
def test_a_record_that_is_none_of_its_own_is_not_read(netsuite, record):
    with pytest.raises(ValueError, match="no record that is read here"):
        Prepared().connector.read(record)
    assert not netsuite.seen


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"type": "employee", "fields": {}},
        {"type": "vendorBill", "fields": {"externalId": "mine"}},
        {"type": "vendorBill", "fields": {}, "from": "7"},
        {"type": "vendorBill", "fields": {"expense": {"items": [{"amount": 1.5}]}}},
        {"type": "vendorBill", "fields": {"expense": {"items": [{"amount": "1,5"}]}}},
        {"type": "vendorBill", "fields": {}, "method": "DELETE"},
    ],
)
def test_a_body_that_is_none_of_ours_is_not_sent(netsuite, body):
    with pytest.raises(ValueError, match=r"record|fields|from|amount"):
        Prepared().connector.send(body, key=KEY)
    assert not netsuite.seen


@pytest.mark.parametrize("name", ["url", "client_id", "certificate_id", "private_key"])
def test_what_is_not_set_is_named(netsuite, payment, settings, name):
    settings.TARGETS["netsuite"][name] = ""

    problem = failure_of(payment.send)

    assert (type(problem), problem.said) == (NotDone, f"TARGET_NETSUITE_{name.upper()} is not set")


# --- At start ---


@pytest.mark.parametrize("key", ["vendor_payment", "vendor_bill", "vendor_credit"])
def test_each_action_type_can_run_and_be_undone(key):
    assert registry.problems(action_type(key)) == []


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"connector_config": {**PAYMENT, "retries": 3}}, "'retries' was unexpected"),
        ({"connector_config": {**PAYMENT, "units": []}}, "units, is wrong"),
        (
            {"connector_config": {**BILL, "units": [{"name": "x", "create": {"type": "employee", "fields": {}}}]}},
            "'employee' is not one of",
        ),
        ({"reversal_code": "other"}, "Its reversal “other” is not in the configuration"),
        ({"reversal": "restore"}, "never restored"),
        ({"snapshot_plan": []}, "which no snapshot is taken of"),
        ({"snapshot_plan": ["netsuite:vendorBill:{/bill}", "netsuite:employee:1"]}, "no record that is read here"),
        (
            {"connector_config": {**CREDIT, "units": [{
                "name": "x", "create": {"type": "vendorCredit", "fields": {"amount": {"$eval": "1.5"}}},
            }]}, "reversal": "none"},
            "floating-point",
        ),
        (
            {"connector_config": {**PAYMENT, "reversals": {"vendor_credit": {
                "type": "vendorCredit", "from": {"$eval": "payload.missing"}, "fields": {},
            }}}},
            "cannot be filled",
        ),
    ],
)  # fmt: skip
def test_what_could_not_run_or_be_undone_is_said_at_start(change, said):
    wrong = action_type()
    for name, value in change.items():
        setattr(wrong, name, value)

    (problem,) = registry.problems(wrong)

    assert said in problem


def test_it_has_no_list_that_would_tell_our_keys(payment):
    """Its external ids are digests of them, and no contract has a list by them."""
    assert list(payment.connector.lists) == []
    with pytest.raises(LookupError):
        payment.connector.listed("anything", "")
