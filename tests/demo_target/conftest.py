from __future__ import annotations

import http.client
import json
import socket
import threading

import pytest

from demo_target.ledger import Ledger
from demo_target.server import Server
from demo_target.store import Store

TOKEN = "a-token-of-the-tests"


class Client:
    """Talks to a running ledger over one kept connection."""

    def __init__(self, server):
        self.server = server
        self.host, self.port = server.server_address[:2]
        self._connection = None

    def ask(self, method, path, body=None, *, token=TOKEN, **headers):
        """Return status, body and headers."""
        if self._connection is None:
            self._connection = http.client.HTTPConnection(self.host, self.port, timeout=20)
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        if token:
            sent["Authorization"] = f"Bearer {token}"
        raw = body if isinstance(body, bytes | None) else json.dumps(body).encode()
        try:
            self._connection.request(method, path, raw, sent)
            answer = self._connection.getresponse()
            return answer.status, json.loads(answer.read() or "null"), answer.headers
        except (OSError, http.client.HTTPException):
            self.close()
            raise

    def get(self, path):
        """Return the body of what must be there."""
        status, body, _ = self.ask("GET", path)
        assert status == 200, body
        return body

    def post(self, path, body=None, *, key="", **headers):
        """Return the body of a write that must be done."""
        status, answer, _ = self.ask("POST", path, body or {}, Idempotency_Key=key, **headers)
        assert status in (200, 201), answer
        return answer

    def refused(self, method, path, body=None, **headers):
        """Return status and code of a refusal."""
        status, answer, _ = self.ask(method, path, body, **headers)
        assert status >= 400, answer
        assert set(answer) == {"error", "message"}
        assert "Traceback" not in answer["message"]
        return status, answer["error"]

    def raw(self, sent):
        """Send bytes on a connection of their own; return all that comes back until its end."""
        with socket.create_connection((self.host, self.port), timeout=20) as line:
            line.sendall(sent)
            parts = []
            while part := line.recv(65536):
                parts.append(part)
            return b"".join(parts)

    def close(self):
        if self._connection is not None:
            self._connection.close()
            self._connection = None


@pytest.fixture(scope="session")
def running():
    server = Server(("127.0.0.1", 0), Ledger(Store(":memory:", sync="off")), token=TOKEN)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()
    server.ledger.store.close()


@pytest.fixture
def ledger(running):
    """A client of the ledger on its first day."""
    running.reset()
    client = Client(running)
    yield client
    client.close()


def usd(value):
    return {"value": value, "currency": "USD"}


def payment(**other):
    return {
        "vendor": "Northwind Paper",
        "invoice": "INV-20417",
        "terms": "Net 30",
        "payment_date": "2026-12-31",
        "amount": usd("12000.00"),
        **other,
    }
