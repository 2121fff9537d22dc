"""What each way of failing means: not done, refused for good, or nobody knows."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import threading
import time
from collections.abc import Mapping

import pytest

from governance.catalogue import CATALOGUE
from governance.models import ActionType
from rollback.connectors import client, registry
from rollback.connectors.base import NotDone, OutcomeUnknown, Rejected

PAYMENT = next(entry for entry in CATALOGUE if entry["key"] == "vendor_payment")


def connector_of(**config):
    """Return the payments' connector, its configuration changed."""
    changed = {**PAYMENT["connector_config"], **config}
    return registry.connector_for(ActionType(**{**PAYMENT, "connector_config": changed}))


def body_of(connector):
    (unit,) = connector.units(registry.example_of(ActionType(**PAYMENT)))
    return unit.body


def failure_of(call):
    """Return what a call raised."""
    try:
        call()
    except Exception as problem:
        return problem
    pytest.fail("it did not fail")


@pytest.fixture
def send():
    """Send the example's payment under a key."""
    connector = connector_of()

    def call(key="one"):
        return connector.send(body_of(connector), key=key)

    return call


# --- On the demo's target ---


def test_a_receipt_names_what_was_made_and_the_target_has_it(target, send):
    receipt = send()

    (operation,) = target.operations("one")
    assert receipt.reference == operation["reference"]
    assert receipt.data == operation["answer"]


def test_the_same_key_changes_nothing_twice(target, send):
    assert send() == send()
    assert len(target.operations()) == 1


def test_what_was_done_is_found_by_its_key_and_nothing_else_is(target, send):
    receipt = send("demo:a%2Fb:c~0/1")

    assert connector_of().probe("demo:a%2Fb:c~0/1") == receipt
    assert connector_of().probe("demo:a%2Fb:c~0/2") is None


@pytest.mark.parametrize(
    "key", ["a/b?c&d=e#f", "Größe ü/1", "a\r\nX-Evil: 1", "a b", "\udc80", "%2F%"]
)
def test_a_key_of_any_shape_is_one_header_and_is_found_again(target, send, key):
    receipt = send(key)

    assert connector_of().probe(key) == receipt
    assert len(target.operations()) == 1


@pytest.mark.parametrize(
    ("fault", "kind", "said", "wait", "done"),
    [
        ({"kind": "unavailable"}, OutcomeUnknown, "503 Service Unavailable", None, False),
        (
            {"kind": "unavailable", "retry_after": 7},
            OutcomeUnknown,
            "503 Service Unavailable",
            7,
            False,
        ),
        ({"kind": "rate_limited", "retry_after": 3}, NotDone, "429 Too Many Requests", 3, False),
        (
            {"kind": "rate_limited", "retry_after": 600},
            NotDone,
            "429 Too Many Requests",
            600,
            False,
        ),
        ({"kind": "reset_before"}, OutcomeUnknown, "No answer from demo: ", None, False),
        ({"kind": "reset_after_commit"}, OutcomeUnknown, "No answer from demo: ", None, True),
    ],
)
def test_each_fault_says_what_is_certain(target, send, fault, kind, said, wait, done):
    target.put_faults({**fault, "count": 1})

    problem = failure_of(send)

    assert type(problem) is kind
    assert problem.said.startswith(said)
    assert problem.retry_after_s == wait
    assert (connector_of().probe("one") is not None) == done
    assert send().reference == connector_of().probe("one").reference
    assert len(target.operations()) == 1


@pytest.mark.parametrize(("kind", "done"), [("slow", True), ("slow_after", True)])
def test_a_call_has_an_end_and_what_came_of_it_is_found_later(target, kind, done):
    connector = connector_of()
    connector.timeout_s = 0.2
    target.put_faults({"kind": kind, "seconds": 0.5, "count": 1})
    start = time.monotonic()

    problem = failure_of(lambda: connector.send(body_of(connector), key="one"))

    assert type(problem) is OutcomeUnknown
    assert time.monotonic() - start < 0.45
    assert problem.said == "No answer from demo: it did not answer in time"
    deadline = time.monotonic() + 5
    while not target.operations("one") and time.monotonic() < deadline:
        time.sleep(0.02)
    assert (connector_of().probe("one") is not None) == done


def test_a_refusal_is_said_in_the_targets_own_words(target, send):
    send()

    problem = failure_of(lambda: send("two"))

    assert type(problem) is Rejected
    assert problem.said == "INV-20417 of Northwind Paper is paid already."


def test_a_wrong_token_is_for_a_person_and_may_be_tried_again(target, send, settings):
    settings.TARGETS = {"demo": {**settings.TARGETS["demo"], "token": "wrong"}}

    problem = failure_of(send)

    assert type(problem) is NotDone
    assert problem.said == "401 Unauthorized"


def test_an_old_version_is_refused_and_nothing_is_written(target):
    entry = next(entry for entry in CATALOGUE if entry["key"] == "customer_update")
    action_type = ActionType(**entry)
    connector = registry.connector_for(action_type)
    unit = connector.units(registry.example_of(action_type))[3]
    version = connector.read(unit.record).version
    target.put("customers/C-1042/terms", {"payment_terms": "Cash"})

    problem = failure_of(lambda: connector.send(unit.body, key="one", version=version))

    assert type(problem) is Rejected
    assert connector.read(unit.record).state == {"payment_terms": "Cash"}


def test_a_record_that_is_not_there_is_none(target):
    connector = connector_of(records=[{"prefix": "demo:order:", "path": ["sales-orders"]}])

    assert connector.read("demo:order:SO-1") is None


def test_a_record_of_no_known_prefix_is_refused(target):
    with pytest.raises(ValueError, match="does not know where sap:x is"):
        connector_of().read("sap:x")


@pytest.mark.parametrize("fault", ["unavailable", "rate_limited", "reset_before"])
def test_asking_fails_as_sending_does(target, fault):
    target.put_faults({"kind": fault})

    for ask in (connector_of().probe, lambda _: connector_of().read("demo:ap-balance")):
        assert isinstance(failure_of(lambda ask=ask: ask("one")), NotDone | OutcomeUnknown)


# --- Where nobody listens ---


def test_without_an_address_nothing_is_called(send, settings):
    settings.TARGETS = {"demo": {"url": "", "token": ""}}
    assert failure_of(send).said == "no address is configured for target demo"

    settings.TARGETS = {}
    assert type(failure_of(send)) is NotDone


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1:{port}",
        "http://nowhere.invalid",
        "http://[::1]:{port}",
        "http://bad host/",
    ],
)
def test_where_nobody_listens_nothing_was_done(send, settings, url):
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    settings.TARGETS = {"demo": {"url": url.format(port=port), "token": "t"}}

    problem = failure_of(send)

    assert type(problem) is NotDone
    assert "\n" not in problem.said


# --- Odd servers ---


def whole(line):
    """Read one request, head and body."""
    read = b""
    while part := line.recv(65536):
        read += part
        head, end, body = read.partition(b"\r\n\r\n")
        length = head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0]
        if end and len(body) >= int(length or 0):
            break
    return read


@pytest.fixture
def odd(settings):
    """Answer each connection with given bytes, and then do as told: `odd(b"…", then="reset")`."""
    lines = []

    def begin(answer, *, drip=0.0, then="close"):
        listener = socket.create_server(("127.0.0.1", 0))
        seen = []
        lines.append(listener)

        def serve():
            with contextlib.suppress(OSError):
                while True:
                    line, _ = listener.accept()
                    with line:
                        seen.append(whole(line))
                        for byte in [bytes([each]) for each in answer] if drip else [answer]:
                            line.sendall(byte)
                            time.sleep(drip)
                        if then == "hold":
                            line.recv(1)

        threading.Thread(target=serve, daemon=True).start()
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        settings.TARGETS = {"demo": {"url": url, "token": "secret-token"}}
        return seen

    yield begin
    for listener in lines:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
    client.close()


def answer(status, body=b"", **headers):
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", "Connection: close"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, "", ""]).encode() + body


@pytest.mark.parametrize(
    "said",
    [
        b"",
        b"garbage\r\n\r\n",
        b"HTTP/1.1 201 Created\r\nContent-Length: 500\r\n\r\n{\"reference\": ",
        b"HTTP/1.1 201 Created\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n{\"ref",
        answer("201 Created", b"<html>"),
        answer("201 Created", b"\xff\xfe"),
        answer("201 Created", b"[]"),
        answer("201 Created", b"{}"),
        answer("201 Created", b'{"reference": ""}'),
        answer("201 Created", b'{"reference": {"a": 1}}'),
        answer("201 Created", b'{"reference": NaN}'),
        answer("201 Created", b'{"reference": "A", "n": 1e999}'),
        answer("201 Created", b"[" * 100_000),
        answer("201 Created", b'"' + b"x" * 1_100_000 + b'"'),
        answer("204 No Content"),
        answer("200 OK", b"{}", Content_Encoding="gzip"),
        answer("302 Found", b"", Location="http://127.0.0.1:1/"),
        answer("408 Request Timeout"),
        answer("500 Internal Server Error", b"Traceback"),
        answer("502 Bad Gateway"),
        answer("504 Gateway Timeout"),
        answer("599 Odd"),
        b"HTTP/1.1 200 OK\r\n" + b"A: b\r\n" * 50_000,
    ],
)  # fmt: skip
def test_after_an_answer_that_cannot_be_relied_on_nobody_knows(odd, send, said):
    odd(said)

    problem = failure_of(send)

    assert type(problem) is OutcomeUnknown, problem
    assert 0 < len(problem.said) <= 300


@pytest.mark.parametrize(
    "status", ["400 Bad Request", "404 Not Found", "405 X", "409 X", "410 X", "422 X"]
)
def test_what_was_understood_and_refused_is_refused_for_good(odd, send, status):
    odd(
        answer(
            status,
            b'{"error": {"message": "Line 3 of token secret-token:\\nno\\u0000 such\\u202e thing"}}',
        )
    )

    problem = failure_of(send)

    assert type(problem) is Rejected
    assert problem.said == "Line 3 of token …: no such thing"


@pytest.mark.parametrize("status", ["401 Unauthorized", "403 Forbidden", "425 Too Early", "429 X"])
def test_what_may_go_through_later_was_not_done(odd, send, status):
    odd(answer(status, b'{"message": "your token secret-token"}'))

    problem = failure_of(send)

    assert type(problem) is NotDone
    assert "secret-token" not in problem.said


@pytest.mark.parametrize("status", ["400 Bad Request", "404 Not Found", "409 X", "422 X"])
def test_a_question_that_is_refused_settles_nothing_and_is_asked_again(odd, status):
    """A proxy says 404 while the target is being replaced. What was done under the key stands."""
    odd(answer(status, b'{"message": "no route"}'))

    problem = failure_of(lambda: connector_of().probe("one"))

    assert (type(problem), problem.said) == (OutcomeUnknown, "no route")


def test_a_record_that_may_not_be_read_now_is_read_later(odd):
    odd(answer("400 Bad Request"))

    problem = failure_of(lambda: connector_of().read("demo:ap-balance"))

    assert type(problem) is OutcomeUnknown


def test_what_is_only_accepted_may_be_done_later_or_not(odd, send):
    odd(answer("202 Accepted", b'{"reference": "JOB-1", "status": "queued"}'))

    problem = failure_of(send)

    assert type(problem) is OutcomeUnknown
    assert problem.said.startswith("202 Accepted")


def test_a_token_that_is_echoed_is_not_kept(odd, send):
    odd(
        answer(
            "201 Created",
            b'{"reference": "PAY-1", "debug": [{"authorization": "Bearer secret-token"}]}',
        )
    )

    receipt = send()

    assert "secret-token" not in str(receipt)
    assert receipt.data["debug"] == [{"authorization": "Bearer \u2026"}]


def test_version_0_is_a_version(odd):
    odd(answer("200 OK", b'{"total": "0.00", "version": 0}'))

    assert connector_of().read("demo:ap-balance").version == "0"


def test_an_operation_under_another_key_is_not_ours(odd):
    """The query was lost on the way, and the target lists what it did last."""
    odd(
        answer(
            "200 OK",
            b'{"operations": [{"key": "theirs", "answer": {"reference": "PAY-9"}}]}',
        )
    )

    assert connector_of().probe("ours") is None


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"Retry_After": "7"}, 7),
        ({"Retry_After": "0"}, 0),
        ({"Retry_After": "999999999999999999999"}, 3600),
        ({"Retry_After": "-5"}, None),
        ({"Retry_After": "soon"}, None),
        ({"Retry_After": "٣"}, None),
        ({}, None),
        (
            {
                "Date": "Mon, 23 Nov 2026 10:00:00 GMT",
                "Retry_After": "Mon, 23 Nov 2026 10:02:00 GMT",
            },
            120,
        ),
        (
            {
                "Date": "Mon, 23 Nov 2026 10:00:00 GMT",
                "Retry_After": "Mon, 23 Nov 2026 09:00:00 GMT",
            },
            0,
        ),
        ({"Retry_After": "Mon, 23 Nov 2099 10:00:00 GMT"}, 3600),
        ({"Retry_After": "Mon, 23 Nov 99999 10:00:00 GMT"}, None),
    ],
)
def test_how_long_to_wait_is_read_from_seconds_and_dates(odd, send, headers, seconds):
    lines = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in headers.items())
    odd(b"HTTP/1.1 429 X\r\nContent-Length: 0\r\nConnection: close\r\n" + lines.encode() + b"\r\n")

    assert failure_of(send).retry_after_s == seconds


@pytest.mark.parametrize(
    ("said", "drip"),
    [
        (b"HTTP/1.1 201 Created\r\nContent-Length: 5000\r\n\r\n" + b"x" * 5000, 0.01),
        (b"H" * 5000, 0.01),
    ],
)
def test_a_slow_drip_ends_with_the_call(odd, said, drip):
    odd(said, drip=drip)
    connector = connector_of()
    connector.timeout_s = 0.3
    start = time.monotonic()

    problem = failure_of(lambda: connector.send(body_of(connector), key="one"))

    assert type(problem) is OutcomeUnknown
    assert time.monotonic() - start < 2


def test_silence_ends_with_the_call_and_means_that_nobody_knows(odd):
    odd(b"", then="hold")
    connector = connector_of()
    connector.timeout_s = 0.2

    problem = failure_of(lambda: connector.send(body_of(connector), key="one"))

    assert type(problem) is OutcomeUnknown


def test_what_no_database_keeps_is_replaced_in_a_receipt(odd, send):
    odd(answer("201 Created", b'{"reference": 7, "note": "a\\u0000b\\ud800"}'))

    receipt = send()

    assert receipt.reference == "7"
    assert receipt.data == {"reference": 7, "note": "a\ufffdb?"}


def test_what_is_sent_is_what_was_planned_and_proxies_are_not_asked(odd, send, monkeypatch):
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    monkeypatch.setenv("ALL_PROXY", "http://127.0.0.1:1")
    seen = odd(answer("201 Created", b'{"reference": "A"}'))

    send("demo:k~0/1")

    head, _, body = seen[0].partition(b"\r\n\r\n")
    lines = head.decode().lower().split("\r\n")
    assert lines[0] == "post /payments http/1.1"
    assert "authorization: bearer secret-token" in lines
    assert "idempotency-key: demo:k~0/1" in lines
    assert "accept-encoding: identity" in lines
    assert not any(line.startswith("if-match") for line in lines)
    assert body.startswith(b'{"vendor":"Northwind Paper"')


# --- What people are shown of it ---

OURS = ("connection", "content-length", "host")  # of the wire, not of us


def shown(call):
    """Write a call as the wire has it, what opens the target filled in."""
    head = {name.lower(): value for name, value in call.headers.items()}
    head["authorization"] = head["authorization"].replace("{TARGET_DEMO_TOKEN}", "secret-token")
    return call.method, call.address, head, call.body


def received(raw):
    head, _, body = raw.partition(b"\r\n\r\n")
    first, *lines = head.decode().split("\r\n")
    method, path, _ = first.split(" ")
    pairs = {name.lower(): value for name, value in (line.split(": ", 1) for line in lines)}
    address = f"http://{pairs['host']}{path}"
    theirs = {name: value for name, value in pairs.items() if name not in OURS}
    return method, address, theirs, json.loads(body) if body else None


def test_the_calls_that_are_shown_are_those_that_are_made(odd):
    seen = odd(answer("201 Created", b'{"reference": "A", "vendor": {}}'))
    connector = connector_of()
    body = body_of(connector)

    connector.send(body, key="demo:k~0/1", version="7")
    connector.read("demo:vendor:Northwind%20Paper")

    (write,) = connector.calls(body, key="demo:k~0/1", version="7")
    (read,) = connector.calls_to_read("demo:vendor:Northwind%20Paper")
    assert [received(each) for each in seen] == [shown(write), shown(read)]
    assert write.headers["If-Match"] == '"7"'


def test_a_call_that_is_shown_holds_no_secret_and_names_what_holds_it(settings):
    settings.TARGETS = {
        "demo": {"url": "http://us:secret-word@127.0.0.1:1/erp/", "token": "secret-token"}
    }
    connector = connector_of()

    (call,) = connector.calls(body_of(connector), key="one")

    assert "secret" not in repr(call)
    assert call.address == "http://127.0.0.1:1/erp/payments"
    assert call.headers["authorization"] == "Bearer {TARGET_DEMO_TOKEN}"


def test_a_call_to_a_target_without_an_address_names_the_variable_that_would_have_it(settings):
    settings.TARGETS = {}

    (call,) = connector_of().calls_to_read("demo:ap-balance")

    assert call.address == "{TARGET_DEMO_URL}/ap-balance"
    assert "authorization" not in call.headers


def test_what_is_no_call_or_no_record_is_not_shown_as_one():
    connector = connector_of()

    with pytest.raises(ValueError, match="method, path, query and json"):
        connector.calls({"url": "https://evil.example"}, key="one")
    with pytest.raises(ValueError, match="does not know where"):
        connector.calls_to_read("demo:unheard-of")


def test_a_reversal_is_made_of_a_receipt_as_the_target_might_give_it():
    connector = connector_of()
    body = body_of(connector)

    receipt = connector.specimen(body)

    back = connector.reversal(registry.example_of(ActionType(**PAYMENT)), body, receipt)
    assert receipt == {"reference": "PAY-1001", "data": {"reference": "PAY-1001"}}
    assert back["json"]["payment"] == "PAY-1001"


def test_without_an_example_of_an_answer_there_is_no_receipt_to_show():
    config = {**PAYMENT["connector_config"]}
    del config["example_answer"]
    connector = registry.connector_for(ActionType(**{**PAYMENT, "connector_config": config}))

    assert connector.specimen(body_of(connector)) is None


# --- What it lists ---


@pytest.mark.parametrize(
    ("status", "body", "failure", "said"),
    [
        ("200 OK", b"[]", OutcomeUnknown, "does not have what we look for"),
        ("200 OK", b'{"operations": [{"id": 7, "key": 7}], "next": null}', OutcomeUnknown, "under which key"),
        ("200 OK", b'{"operations": [7], "next": null}', OutcomeUnknown, "does not have what we look for"),
        ("404 Not Found", b"{}", OutcomeUnknown, "404"),
        ("401 Unauthorized", b"{}", NotDone, "401"),
        ("503 Service Unavailable", b"{}", OutcomeUnknown, "503"),
    ],
)  # fmt: skip
def test_a_list_that_cannot_be_read_is_no_empty_one(odd, status, body, failure, said):
    odd(answer(status, body))
    connector = connector_of()

    problem = failure_of(lambda: connector.listed(connector.lists[0], "7"))

    assert type(problem) is failure
    assert said in problem.said


def test_a_list_goes_on_where_the_page_before_ended(odd):
    seen = odd(
        answer("200 OK", b'{"operations": [{"id": 9, "key": "k", "reference": 3}], "next": 9}')
    )
    connector = connector_of()

    page = connector.listed(connector.lists[0], "7")

    assert b"GET /operations?after=7&limit=100 " in seen[0]
    assert (page.after, page.more) == ("9", True)
    assert [(each.key, each.reference, each.at) for each in page.effects] == [("k", "3", "")]


def test_a_place_in_a_list_that_is_no_text_is_not_kept(odd):
    odd(answer("200 OK", b'{"operations": [], "next": null}'))
    listing = {**PAYMENT["connector_config"]["listing"], "after": {"$eval": "7"}}
    connector = connector_of(listing=listing)

    problem = failure_of(lambda: connector.listed(connector.lists[0], ""))

    assert type(problem) is OutcomeUnknown


@pytest.mark.parametrize("after", ["9" * 501, "9\n"])
def test_a_place_in_a_list_that_cannot_be_stored_is_not_kept(odd, after):
    odd(answer("200 OK", json.dumps({"operations": [], "next": after}).encode()))
    listing = {**PAYMENT["connector_config"]["listing"], "after": {"$eval": "answer.next"}}
    connector = connector_of(listing=listing)

    problem = failure_of(lambda: connector.listed(connector.lists[0], ""))

    assert type(problem) is OutcomeUnknown
    assert "where the list goes on" in problem.said


@pytest.mark.parametrize("part", ["effects", "after", "more"])
def test_a_part_of_a_list_that_is_left_out_is_said(odd, part):
    odd(answer("200 OK", b'{"operations": [], "next": null}'))
    nothing = {"$if": "false", "then": "x"}
    connector = connector_of(listing={**PAYMENT["connector_config"]["listing"], part: nothing})

    problem = failure_of(lambda: connector.listed(connector.lists[0], ""))

    assert type(problem) is OutcomeUnknown
    assert "no list of what was done" in problem.said


def test_a_list_that_has_no_address_after_some_place_is_said(odd):
    path = ["operations", {"$if": "after == 'x'", "then": "..", "else": "all"}]
    connector = connector_of(listing={**PAYMENT["connector_config"]["listing"], "path": path})

    problem = failure_of(lambda: connector.listed(connector.lists[0], "x"))

    assert type(problem) is OutcomeUnknown
    assert "cannot be asked for after x" in problem.said


def test_without_a_listing_there_is_none():
    config = {**PAYMENT["connector_config"]}
    del config["listing"]

    assert registry.connector_for(ActionType(**{**PAYMENT, "connector_config": config})).lists == []


# --- Addresses ---


@pytest.mark.parametrize(
    ("value", "segment"),
    [
        ("a/b", "a%2fb"),
        ("../../etc", "..%2f..%2fetc"),
        ("a?b#c&d", "a%3fb%23c%26d"),
        ("%2e%2e", "%252e%252e"),
        ("a\\b\r\nX: 1", "a%5cb%0d%0ax%3a%201"),
        ("ü", "%c3%bc"),
        ("...", "..."),
        ("@host:80", "%40host%3a80"),
    ],
)
def test_nothing_in_a_payload_leaves_its_segment(odd, value, segment):
    seen = odd(answer("201 Created", b'{"reference": "A"}'))
    connector = connector_of()

    connector.send({"method": "PUT", "path": ["customers", value, "terms"], "json": {}}, key="k")

    assert seen[0].split(b"\r\n")[0].decode().lower() == f"put /customers/{segment}/terms http/1.1"


@pytest.mark.parametrize(
    "body",
    [
        {"method": "PUT", "path": ["customers", ".."]}, {"method": "PUT", "path": ["."]},
        {"method": "PUT", "path": [""]}, {"method": "PUT", "path": []}, {"method": "PUT", "path": "a/b"},
        {"method": "PUT", "path": [None]}, {"method": "PUT", "path": [["a"]]}, {"method": "GET", "path": ["a"]},
        {"method": "PUT", "path": ["\ud800"]}, {"path": ["a"]}, {"method": "PUT", "path": ["a"], "url": "b"},
        {"method": "PUT", "path": ["a"], "query": ["b"]}, [], None,
    ],
)  # fmt: skip
def test_a_body_that_is_no_call_is_refused_before_anything_is_sent(target, body):
    with pytest.raises(ValueError, match=r"call|path"):
        connector_of().send(body, key="one")

    assert target.operations() == []


@pytest.mark.parametrize(
    "units",
    [
        {"$eval": "payload.nothing"}, [], {"$eval": "1 / 0"}, {"$eval": "payload["}, "text", [{"name": "a"}],
        [{"request": {"method": "POST", "path": ["a"]}}], {"$eval": "now()"}, {"$fromNow": "1 day"},
        [{"name": "a", "amount": "1.00", "request": {"method": "POST", "path": ["a"]}}],
        [{"name": "a", "request": {"method": "POST", "path": [{"$eval": "payload.terms"}, ".."]}}],
    ],
)  # fmt: skip
def test_a_payload_that_cannot_be_turned_into_units_says_so(units):
    connector, action = connector_of(units=units), registry.example_of(ActionType(**PAYMENT))

    with pytest.raises(ValueError, match=r"units|unit|path|call"):
        connector.units(action)


def test_what_an_agent_writes_is_data_and_never_a_template():
    entry = {**PAYMENT, "example": {"payload": {
        **PAYMENT["example"]["payload"],
        "vendor": "${1 + 1}", "terms": "{/invoice}", "invoice": '{"$eval": "1 + 1"}',
    }}}  # fmt: skip
    action_type = ActionType(**entry)

    (unit,) = registry.connector_for(action_type).units(registry.example_of(action_type))

    assert unit.name == 'Pay {"$eval": "1 + 1"} to ${1 + 1}'
    assert unit.body["json"]["terms"] == "{/invoice}"


# --- Processes ---


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")  # the queue forks, threads or not
def test_connections_are_kept_and_a_forked_worker_makes_its_own(target, send):
    send()
    mine = dict(client._clients)
    assert isinstance(mine, Mapping)
    assert len(mine) == 1

    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            said = b"inherited" if client._clients else b"own"
            connector_of().read("demo:ap-balance")
            os.write(writer, said)
        finally:
            os._exit(0)
    os.waitpid(child, 0)
    said = os.read(reader, 100)
    os.close(reader)
    os.close(writer)

    assert said == b"own"
    assert send("one").reference == target.operations("one")[0]["reference"]
    assert client._clients == mine


def test_many_threads_share_the_connections(target):
    connector, found = connector_of(), []
    body = body_of(connector)

    def call():
        found.append(connector.send(body, key="one"))

    threads = [threading.Thread(target=call) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(found) == 16
    assert len({receipt.reference for receipt in found}) == 1
