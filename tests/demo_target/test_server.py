"""HTTP: tokens, faults, and clean answers to whatever is sent."""

from __future__ import annotations

import ast
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

import demo_target
from tests.demo_target.conftest import TOKEN, Client, payment, usd

HEAD = f"Host: ledger\r\nAuthorization: Bearer {TOKEN}\r\n"


def test_the_token_opens_everything_but_the_sign_of_life(ledger):
    assert ledger.ask("GET", "/healthz", token="")[0] == 200
    for token in ("", "wrong", TOKEN + "x", "é"):
        assert ledger.refused("GET", "/books", token=token) == (401, "unauthorized")
        assert ledger.refused("PUT", "/faults", [], token=token) == (401, "unauthorized")


# --- Faults ---


def test_an_outage_counts_what_it_hits_and_ends(ledger):
    ledger.ask("PUT", "/faults", {"kind": "unavailable", "count": 2})

    assert ledger.refused("GET", "/books") == (503, "unavailable")
    assert ledger.ask("GET", "/faults")[1]["faults"][0]["count"] == 1
    assert ledger.refused("POST", "/payments", payment()) == (503, "unavailable")
    assert ledger.ask("GET", "/faults")[1] == {"faults": []}
    ledger.post("/payments", payment())


def test_an_outage_without_a_count_lasts_until_it_is_cleared(ledger):
    ledger.ask("PUT", "/faults", {"faults": [{"kind": "unavailable", "count": None}]})
    assert [ledger.ask("GET", "/books")[0] for _ in range(5)] == [503] * 5
    assert ledger.ask("GET", "/healthz")[0] == 200

    ledger.ask("PUT", "/faults", {"faults": []})

    assert ledger.ask("GET", "/books")[0] == 200


def test_a_limit_names_the_seconds_to_wait(ledger):
    ledger.ask("PUT", "/faults", {"kind": "rate_limited", "retry_after": 7})

    status, _, headers = ledger.ask("GET", "/books")

    assert (status, headers["Retry-After"]) == (429, "7")


def test_a_fault_keeps_to_its_path_its_method_and_to_writes(ledger):
    ledger.ask("PUT", "/faults", {"faults": [
        {"kind": "unavailable", "path": "/payments"},
        {"kind": "rate_limited", "method": "put"},
        {"kind": "unavailable", "only": "writes", "path": "/bills"},
    ]})  # fmt: skip

    assert ledger.ask("GET", "/books")[0] == 200
    assert ledger.ask("GET", "/bills/northwind%20paper/inv-20417")[0] == 200
    assert ledger.ask("POST", "/bills", {})[0] == 503
    assert ledger.ask("POST", "/payments", payment())[0] == 503
    assert ledger.ask("PUT", "/customers/C-1042/terms", {})[0] == 429


def test_some_writes_pass_before_the_outage(ledger):
    ledger.ask("PUT", "/faults", {"kind": "unavailable", "skip": 2})

    for n in range(2):
        assert ledger.ask("GET", "/books")[0] == 200
        ledger.post("/bills", {"vendor": "V", "invoice": f"I{n}", "amount": usd("1")})

    assert ledger.ask("GET", "/books")[0] == 503


def test_a_reset_after_the_commit_loses_the_answer_and_not_the_payment(ledger):
    ledger.ask("PUT", "/faults", {"kind": "reset_after_commit", "count": 1})
    assert ledger.ask("GET", "/books")[0] == 200  # there is nothing to commit

    with pytest.raises(ConnectionResetError):
        ledger.ask("POST", "/payments", payment(), Idempotency_Key="one")

    (found,) = ledger.get("/operations?key=one")["operations"]
    assert found["reference"].startswith("PAY-")


def test_a_reset_before_does_nothing(ledger):
    ledger.ask("PUT", "/faults", {"kind": "reset_before", "count": 1})

    with pytest.raises(ConnectionResetError):
        ledger.ask("POST", "/payments", payment(), Idempotency_Key="one")

    assert ledger.get("/operations?key=one")["operations"] == []


@pytest.mark.parametrize("kind", ["slow", "slow_after"])
def test_a_slow_answer_takes_its_seconds(ledger, kind):
    ledger.ask("PUT", "/faults", {"kind": kind, "count": 1, "seconds": 0.2})
    start = time.monotonic()

    ledger.post("/payments", payment())

    assert time.monotonic() - start >= 0.2


def test_a_request_that_waits_in_a_fault_is_dropped_by_a_reset(running, ledger):
    ledger.ask("PUT", "/faults", {"kind": "slow", "seconds": 60, "count": 1})
    with socket.create_connection((ledger.host, ledger.port), timeout=20) as line:
        body = b'{"vendor": "V", "invoice": "I", "amount": {"value": "1", "currency": "USD"}}'
        head = f"POST /bills HTTP/1.1\r\n{HEAD}Content-Length: {len(body)}\r\n\r\n"
        line.sendall(head.encode() + body)
        while ledger.ask("GET", "/faults")[1]["faults"]:
            pass  # until the request is in it

        running.reset()

        with pytest.raises(ConnectionResetError):
            line.recv(100)
    assert ledger.get("/operations")["operations"] == []


@pytest.mark.parametrize(
    "wanted",
    [
        {}, {"kind": "flood"}, {"kind": "slow", "seconds": -1}, {"kind": "slow", "seconds": 1e9},
        {"kind": "unavailable", "count": "3"}, {"kind": "unavailable", "wrong": 1}, {"faults": None}, [1],
        {"kind": "unavailable", "only": "reads"}, {"kind": "slow", "seconds": True}, 7,
    ],
)  # fmt: skip
def test_a_fault_that_cannot_be_read_changes_nothing(ledger, wanted):
    ledger.ask("PUT", "/faults", {"kind": "unavailable", "count": 5})
    before = ledger.ask("GET", "/faults")[1]

    assert ledger.refused("PUT", "/faults", wanted) == (422, "invalid")

    assert ledger.ask("GET", "/faults")[1] == before


# --- Whatever is sent ---


@pytest.mark.parametrize(
    "body",
    [
        b"{",
        b"NaN",
        b'{"vendor": NaN}',
        b"\xff\xfe",
        b"[" * 100_000,
        b'"\\ud800"',
        b"1" * 6000,
        b"Infinity",
    ],
)
def test_what_is_not_json_is_refused(ledger, body):
    assert ledger.refused("POST", "/payments", body) == (400, "json")


@pytest.mark.parametrize(
    "body",
    [
        [], "text", None, 3,
        payment(vendor=3), payment(vendor=""), payment(vendor=" \t"), payment(vendor="a\0b"),
        payment(vendor="x" * 121), payment(payment_date="tomorrow"), payment(instalment=[]),
        payment(vendor={"a": 1}),
    ],
)  # fmt: skip
def test_fields_of_a_wrong_kind_are_refused(ledger, body):
    raw = b"null" if body is None else body

    assert ledger.refused("POST", "/payments", raw) == (422, "invalid")


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/", 404), ("GET", "/nowhere", 404), ("GET", "/payments", 405), ("DELETE", "/books", 405),
        ("PATCH", "/payments/PAY-1", 405), ("POST", "/faults", 405), ("GET", "/payments/PAY-99", 404),
        ("GET", "/payments/PAY-" + "9" * 40, 404), ("GET", "/vendors/%ff", 400),
        ("GET", "/vendors/a%00b", 400), ("GET", "/operations?limit=x", 422),
        ("GET", "/operations?after=-1", 422), ("GET", "/customers/C-1042/secrets", 404),
        ("PUT", "/customers/C-1042/secrets", 404), ("GET", "/journal-entries/%E2%91%A0", 404),
        ("GET", "/periods/soon", 422), ("GET", "/operations?" + "a=1&" * 50, 400),
        ("POST", "/sales-orders/SO-1/lines/%D9%A3/cancel", 404),
    ],
)  # fmt: skip
def test_paths_that_lead_nowhere_are_refused(ledger, method, path, status):
    assert ledger.refused(method, path, {} if method != "GET" else None)[0] == status


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        ("BREW /coffee HTTP/1.1\r\n\r\n", 405),
        ("GET /books HTTP/9.9\r\n\r\n", 505),
        ("rubbish\r\n\r\n", 400),
        ("GET http://[ HTTP/1.1\r\nConnection: close\r\n\r\n", 400),
        ("GET /" + "x" * 70_000 + " HTTP/1.1\r\n\r\n", 414),
        ("GET /books HTTP/1.1\r\n" + "A: b\r\n" * 200 + "\r\n", 431),
        (f"POST /payments HTTP/1.1\r\n{HEAD}Content-Length: many\r\n\r\n", 400),
        (f"POST /payments HTTP/1.1\r\n{HEAD}Content-Length: -1\r\n\r\n", 400),
        (
            f"POST /payments HTTP/1.1\r\n{HEAD}Content-Length: 1\r\nContent-Length: 2\r\n\r\n{{}}",
            400,
        ),
        (f"POST /payments HTTP/1.1\r\n{HEAD}Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 411),
    ],
)
def test_what_is_no_http_gets_a_clean_refusal(ledger, sent, status):
    answer = ledger.raw(sent.encode())

    assert answer.startswith(f"HTTP/1.1 {status} ".encode())
    assert b'{"error": ' in answer
    assert ledger.ask("GET", "/books")[0] == 200


def test_a_body_that_is_too_large_is_refused_and_not_read_as_a_request(ledger):
    sent = f"POST /payments HTTP/1.1\r\n{HEAD}Content-Length: 400000\r\n\r\n".encode()

    answer = ledger.raw(sent + b"x" * 400_000)

    assert answer.startswith(b"HTTP/1.1 413 ")
    assert answer.count(b"HTTP/1.1") == 1


def test_a_body_that_ends_early_has_no_effect(ledger):
    with socket.create_connection((ledger.host, ledger.port), timeout=20) as line:
        line.sendall(f"POST /payments HTTP/1.1\r\n{HEAD}Content-Length: 500\r\n\r\n{{".encode())
        line.shutdown(socket.SHUT_WR)
        with pytest.raises(ConnectionResetError):
            line.recv(1000)

    assert ledger.get("/operations")["operations"] == []


def test_a_refusal_leaves_the_connection_good_for_the_next_request(ledger):
    assert ledger.refused("POST", "/payments", b"{")[0] == 400
    first = ledger._connection.sock

    assert ledger.ask("GET", "/books")[0] == 200

    assert ledger._connection.sock is first


# --- The process ---


def test_it_knows_nothing_of_who_calls():
    for path in Path(demo_target.__file__).parent.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            names = []
            if isinstance(node, ast.Import):
                names = [each.name for each in node.names]
            elif isinstance(node, ast.ImportFrom):
                names = [node.module]
            for name in names:
                top = name.split(".")[0]
                assert top == "demo_target" or top in sys.stdlib_module_names, (path, name)


@pytest.fixture
def process(tmp_path):
    started = []

    def begin(*options, token=TOKEN):
        command = [sys.executable, "-m", "demo_target", "--db", str(tmp_path / "books"), *options]
        running = subprocess.Popen(
            command,
            env={**os.environ, "DEMO_TARGET_TOKEN": token},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        started.append(running)
        return running

    yield begin
    for running in started:
        running.kill()
        running.communicate(timeout=10)


class Address:
    def __init__(self, url):
        host, port = url.removeprefix("http://").split(":")
        self.server_address = (host, int(port))


def test_as_a_process_it_says_where_it_answers_and_ends_when_told_to(process):
    running = process("--port", "0", "--sync", "normal")
    client = Client(Address(running.stdout.readline().split()[-1]))
    client.post("/payments", payment(), key="one")

    running.send_signal(signal.SIGTERM)

    assert running.wait(timeout=10) == 0
    client.close()


def test_what_it_answered_it_remembers_after_it_was_killed(process):
    running = process("--port", "0")
    client = Client(Address(running.stdout.readline().split()[-1]))
    first = client.post("/payments", payment(), key="one")
    running.kill()
    running.wait(timeout=10)
    client.close()

    client = Client(Address(process("--port", "0").stdout.readline().split()[-1]))

    assert client.ask("POST", "/payments", payment(), Idempotency_Key="one")[:2] == (200, first)
    client.close()


def test_without_a_token_or_a_port_it_does_not_start(process):
    bare = process("--port", "0", token="")
    assert "DEMO_TARGET_TOKEN is not set" in bare.communicate(timeout=10)[0]
    assert bare.returncode == 2
    with socket.create_server(("127.0.0.1", 0)) as taken:
        late = process("--port", str(taken.getsockname()[1]))
        assert "The ledger cannot start" in late.communicate(timeout=10)[0]
    assert late.returncode == 1
