"""The heartbeat to the outside: sent when all is well, and never told where to."""

from __future__ import annotations

import http.server
import logging
import threading

import pytest

from approvals.auditing import HeartbeatNotTaken, tell_outside
from approvals.models import Finding
from tools.demo import free_port


@pytest.fixture
def listener(settings):
    """Whoever listens outside: answers with `status`, keeps what was asked for."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.server.asked.append(self.path)
            self.send_response(self.server.status)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *args):
            """Nothing."""

    server = http.server.HTTPServer(("127.0.0.1", 0), Handler)
    server.asked, server.status = [], 200
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    settings.HEARTBEAT_URL = f"http://127.0.0.1:{server.server_port}/ping/a-secret-word"
    yield server
    server.shutdown()
    thread.join(timeout=10)
    server.server_close()


def test_it_is_sent_after_a_clean_audit(listener):
    tell_outside([])

    assert listener.asked == ["/ping/a-secret-word"]


def test_silence_is_what_a_finding_sounds_like(listener):
    tell_outside([Finding()])

    assert listener.asked == []


def test_what_is_not_taken_fails_and_does_not_tell_its_address(listener):
    listener.status = 503

    with pytest.raises(HeartbeatNotTaken) as refused:
        tell_outside([])

    assert str(refused.value) == "answered 503"
    assert (refused.value.__cause__, refused.value.__suppress_context__) == (None, True)


def test_nor_does_it_where_nobody_listens(settings):
    settings.HEARTBEAT_URL = f"http://127.0.0.1:{free_port()}/ping/a-secret-word"

    with pytest.raises(HeartbeatNotTaken, match="ConnectError") as refused:
        tell_outside([])

    assert "secret" not in str(refused.value)


def test_its_address_is_not_logged(listener, caplog):
    with caplog.at_level(logging.DEBUG):
        tell_outside([])

    assert "a-secret-word" not in caplog.text
