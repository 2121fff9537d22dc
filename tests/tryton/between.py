"""A line between Recourse and the ERP that loses what a test wants lost."""

from __future__ import annotations

import contextlib
import http.client
import json
import socket
import struct
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

LOG_IN = ("common.db.login", "model.res.user.get_preferences")


class Between:
    """Passes every call on, in order. A context manager; `url` is where Recourse speaks to it.

    calls: the methods that came in, logging in left out.
    lose_answer: the call, counted from 1 or by its method, that the ERP does and whose answer is lost.
    lose_call: likewise, the call that never reaches it.
    answer: a call and the status that is said in its place, after the ERP has done it.
    meanwhile: a call, and what happens in the ERP just before it.
    """

    def __init__(self, url):
        self._to = urlsplit(url)
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}{self._to.path}"
        self.begin()

    def begin(self, *, lose_answer=None, lose_call=None, answer=None, meanwhile=None):
        """Count from the start again, and lose something else, or nothing."""
        self.calls = []
        self.lose_answer, self.lose_call = lose_answer, lose_call
        self.answer, self.meanwhile = answer or {}, meanwhile or {}

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *problem):
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(timeout=10)

    def pass_on(self, path, headers, body):
        """Return status and body of the ERP's own answer."""
        line = http.client.HTTPConnection(self._to.hostname, self._to.port, timeout=60)
        with contextlib.closing(line):
            line.request("POST", path, body, headers)
            answer = line.getresponse()
            return answer.status, answer.read()


def _handler(between):
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self):
            body = self.rfile.read(int(self.headers["content-length"]))
            method = json.loads(body)["method"]
            n = 0
            if method not in LOG_IN:
                between.calls.append(method)
                n = len(between.calls)
            if n in between.meanwhile:
                between.meanwhile[n]()
            if n and between.lose_call in (n, method):
                between.lose_call = None
                return self._hang_up()
            told = {
                name: self.headers[name]
                for name in ("content-type", "accept", "authorization")
                if name in self.headers
            }
            status, answer = between.pass_on(self.path, told, body)
            if n and between.lose_answer in (n, method):
                between.lose_answer = None
                return self._hang_up()
            status, answer = (between.answer[n], b"") if n in between.answer else (status, answer)
            self.send_response(status)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def _hang_up(self):
            now = struct.pack("ii", 1, 0)  # a reset, and not an end
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, now)
            self.connection.close()
            self.close_connection = True

        def log_message(self, *args):
            pass

    return Handler
