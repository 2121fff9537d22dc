"""What stands outside the house in tests: an HTTP receiver and a mail server, both on loopback."""

from __future__ import annotations

import asyncio
import email
import email.policy
import threading
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult


@dataclass
class Receiver:
    """An HTTP server that records what it is sent and answers as it is told.

    `answers` are taken one a request: a status, or a callable of the handler that
    does the answering itself. When none is left it says 204.
    """

    answers: list = field(default_factory=list)
    got: list = field(default_factory=list)
    port: int = 0

    def url(self, path="/hook", host="127.0.0.1", scheme="http"):
        return f"{scheme}://{host}:{self.port}{path}"

    @property
    def ids(self):
        return [each["headers"]["webhook-id"] for each in self.got]


@contextmanager
def receiver(tls=None):
    one = Receiver()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self):
            body = self.rfile.read(int(self.headers["content-length"]))
            headers = {name.lower(): value for name, value in self.headers.items()}
            one.got.append({"path": self.path, "headers": headers, "body": body.decode()})
            answer = one.answers.pop(0) if one.answers else 204
            if callable(answer):
                answer(self)
                return
            reply(self, answer, location=one.url("/elsewhere"))

        def log_message(self, *args):
            pass

    class Server(ThreadingHTTPServer):
        daemon_threads = True
        block_on_close = False

        def handle_error(self, request, client_address):
            pass  # the client hung up, as some of these tests have it do

    server = Server(("127.0.0.1", 0), Handler)
    if tls is not None:
        server.socket = tls.wrap_socket(server.socket, server_side=True)
    one.port = server.server_port
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield one
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def reply(handler, status, location=""):
    """Answer a request without a body."""
    handler.send_response(status)
    if 300 <= status < 400:
        handler.send_header("location", location)
    handler.send_header("content-length", "0")
    handler.end_headers()


class MailServer:
    """An SMTP server. `refuse` maps the start of an address to what RCPT is answered, or a callable of it."""

    def __init__(self):
        self.refuse = {}
        self.data_answers = []  # taken one a message; then 250
        self.got = []

    async def handle_RCPT(self, server, session, envelope, address, options):  # noqa: N802 - aiosmtpd's name
        for start, answer in self.refuse.items():
            if address.startswith(start):
                return await asyncio.to_thread(answer) if callable(answer) else answer
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server, session, envelope):  # noqa: N802 - aiosmtpd's name
        content = envelope.content
        message = email.message_from_bytes(content, policy=email.policy.default)
        self.got.append(message)
        answer = self.data_answers.pop(0) if self.data_answers else "250 OK"
        if answer is None:  # it took the message, and the line went dead before it could say so
            server.transport.abort()
        return answer or "250 OK"


@contextmanager
def mail_server(**options):
    one = MailServer()
    controller = _Controller(one, hostname="127.0.0.1", port=0, **options)
    controller.start()
    try:
        one.port = controller.port
        yield one
    finally:
        controller.stop(no_assert=True)


class _Controller(Controller):
    def _trigger_server(self):
        self.port = self.server.sockets[0].getsockname()[1]  # the system chose it
        super()._trigger_server()


def password_needed(server, session, envelope, mechanism, data):
    # Not handled: that leaves it to the server to say 535.
    return AuthResult(success=data.login == b"courier" and data.password == b"right", handled=False)
