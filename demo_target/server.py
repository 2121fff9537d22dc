"""HTTP: who may come in, what goes wrong on purpose, and clean answers to whatever is sent."""

from __future__ import annotations

import hmac
import json
import socket
import struct
import sys
import time
import traceback
from collections.abc import Mapping
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Event
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

from demo_target.faults import READS, Fault, Faults
from demo_target.ledger import Ledger, Served
from demo_target.refusals import Refusal

BODY_LIMIT = 256 * 1024  # bytes
BODY_WITHIN_S = 10.0  # for all of a body, however slowly it comes
IDLE_S = 75.0  # longer than any client keeps a connection
DRAIN_LIMIT = 8 * 1024 * 1024


class Server(ThreadingHTTPServer):
    """One thread a connection; connections are kept open between requests."""

    daemon_threads = True
    request_queue_size = 256

    def __init__(self, address: tuple[str, int], ledger: Ledger, *, token: str) -> None:
        """Listen at once. Port 0 is any free one; see `url`."""
        self.ledger = ledger
        self.faults = Faults()
        self.token = token
        super().__init__(address, Handler)

    @property
    def url(self) -> str:
        """Where it answers."""
        host, port = self.server_address[:2]
        return f"http://{host!s}:{port}"

    def reset(self) -> None:
        """Go back to the first day, without faults; requests held up by one are dropped."""
        self.faults.interrupt()
        self.ledger.reset()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that went away is no error."""
        if not isinstance(sys.exc_info()[1], ConnectionError | TimeoutError | ValueError):
            traceback.print_exc()


class HangUp(Exception):
    """The connection is to be torn down without an answer."""


class Handler(BaseHTTPRequestHandler):
    """One connection."""

    server: Server
    protocol_version = "HTTP/1.1"
    server_version = "ledger"
    sys_version = ""
    timeout = IDLE_S
    wbufsize = -1  # one packet an answer
    disable_nagle_algorithm = True

    def _serve(self) -> None:
        try:
            served = self._answer()
        except Refusal as refusal:
            served = _refused(refusal)
        except HangUp:
            self._tear_down()
            return
        except Exception:  # noqa: BLE001 - the caller learns that it is our fault, and no more
            traceback.print_exc()
            served = _refused(Refusal(500, "defect", "Something is wrong here."))
        self._send(served)

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = do_HEAD = do_OPTIONS = _serve  # noqa: N815

    def _answer(self) -> Served:
        raw = self._body()
        try:
            url = urlsplit(self.path)
        except ValueError:
            raise Refusal(400, "path", "The address cannot be read.") from None
        if url.path == "/healthz":
            return Served(200, b'{"ok": true}', {})
        self._let_in()
        segments = _segments(url.path)
        if segments == ["faults"]:
            return self._faults(raw)
        dropped = self.server.faults.gate
        fault = self.server.faults.take(self.command, url.path)
        self._fail_before(fault, dropped)
        served = self.server.ledger.serve(
            self.command,
            segments,
            _query(url.query),
            _json(raw) if self.command not in READS else None,
            key=self.headers.get("Idempotency-Key", "").strip(),
            if_match=self.headers.get("If-Match", "").strip(),
            path=url.path,
        )
        self._fail_after(fault, dropped)
        return served

    def _body(self) -> bytes:
        """Read the body first of all: what is left of it would be taken for the next request."""
        length = self.headers.get_all("Content-Length") or ["0"]
        if self.headers.get("Transfer-Encoding"):
            self.close_connection = True
            raise Refusal(411, "length", "Send a Content-Length, not chunks.")
        if len(set(length)) > 1 or not (length[0].isascii() and length[0].isdigit()):
            self.close_connection = True
            raise Refusal(400, "length", "The Content-Length is no number.")
        wanted = int(length[0][:18])
        if wanted > BODY_LIMIT:
            self.close_connection = True
            self._read(min(wanted, DRAIN_LIMIT), keep=False)  # or it would never see the answer
            raise Refusal(413, "too_large", f"A body has at most {BODY_LIMIT} bytes.")
        return self._read(wanted)

    def _read(self, wanted: int, *, keep: bool = True) -> bytes:
        parts, deadline = [], time.monotonic() + BODY_WITHIN_S
        while wanted:
            left = deadline - time.monotonic()
            self.connection.settimeout(max(left, 0.001))
            try:
                part = self.rfile.read1(min(wanted, 65536))
            except TimeoutError:
                self.close_connection = True
                raise Refusal(408, "too_slow", "The body did not come.") from None
            if not part:
                raise HangUp
            wanted -= len(part)
            if keep:
                parts.append(part)
        self.connection.settimeout(IDLE_S)
        return b"".join(parts)

    def _let_in(self) -> None:
        given = self.headers.get("Authorization", "")
        if not hmac.compare_digest(given.encode(), f"Bearer {self.server.token}".encode()):
            raise Refusal(401, "unauthorized", "This takes the ledger's token.")

    def _faults(self, raw: bytes) -> Served:
        if self.command == "PUT":
            self.server.faults.put(_json(raw))
        elif self.command == "DELETE":
            self.server.faults.put([])
        elif self.command != "GET":
            raise Refusal(405, "method", "This takes GET, PUT, DELETE.")
        return Served(200, json.dumps({"faults": self.server.faults.said()}).encode(), {})

    def _fail_before(self, fault: Fault | None, dropped: Event) -> None:
        match fault and fault.kind:
            case "unavailable":
                raise _Failed(503, "unavailable", "The ledger is down.", fault)
            case "rate_limited":
                raise _Failed(429, "rate_limited", "Too many requests.", fault)
            case "reset_before":
                raise HangUp
            case "slow" if fault and dropped.wait(fault.seconds):
                raise HangUp

    def _fail_after(self, fault: Fault | None, dropped: Event) -> None:
        match fault and fault.kind:
            case "reset_after_commit":
                raise HangUp
            case "slow_after" if fault:
                dropped.wait(fault.seconds)

    def _send(self, served: Served) -> None:
        self.send_response(served.status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(served.body)))
        for name, value in served.headers.items():
            self.send_header(name, value)
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(served.body)
        self.wfile.flush()

    def _tear_down(self) -> None:
        """Close so that the other side sees a reset, not an end."""
        self.close_connection = True
        at_once = struct.pack("ii", 1, 0)
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, at_once)
        socket.close(self.connection.detach())  # a mere close() waits for the files made of it

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """Answer what is no HTTP, or a method nobody has heard of, in our own manner."""
        status = 405 if code == 501 else code
        self.close_connection = True
        if self.request_version == "HTTP/0.9":
            self.request_version = "HTTP/1.1"  # or the answer would have no head
        phrase = message or HTTPStatus(status).phrase
        self._send(
            _refused(Refusal(status, "http", f"{phrase}.".encode("ascii", "replace").decode()))
        )

    def handle_expect_100(self) -> bool:
        """Ask for the body at once: what is said here would otherwise wait for the answer."""
        going_on = super().handle_expect_100()
        self.wfile.flush()
        return going_on

    def log_message(self, *words: object) -> None:
        """Say nothing: the list of operations tells all."""


class _Failed(Refusal):
    """A failure that was asked for, with the wait that goes with it."""

    def __init__(self, status: int, code: str, message: str, fault: Fault | None) -> None:
        super().__init__(status, code, message)
        wait = fault.retry_after if fault else None
        if wait is None and status == 429:
            wait = 1.0
        self.headers = {} if wait is None else {"Retry-After": f"{wait:.0f}"}


def _refused(refusal: Refusal) -> Served:
    body = json.dumps({"error": refusal.code, "message": refusal.message}).encode()
    headers: dict[str, str] = getattr(refusal, "headers", {})
    return Served(refusal.status, body, headers)


def _segments(path: str) -> list[str]:
    """Split, then decode: an encoded slash belongs to its segment."""
    try:
        decoded = [unquote(each, errors="strict") for each in path.strip("/").split("/")]
    except UnicodeDecodeError:
        raise Refusal(400, "path", "The path is not UTF-8.") from None
    if any("\0" in each for each in decoded):
        raise Refusal(400, "path", "The path holds control characters.")
    return decoded


def _query(query: str) -> Mapping[str, str]:
    try:
        return dict(parse_qsl(query, keep_blank_values=True, errors="strict", max_num_fields=20))
    except ValueError:
        raise Refusal(400, "query", "The query cannot be read.") from None


def _json(raw: bytes) -> Any:
    """Read JSON as it is defined: no NaN, and text that can be stored."""

    def refuse(word: str) -> Any:
        raise ValueError(word)

    try:
        value = json.loads(raw.decode() or "{}", parse_constant=refuse)
        json.dumps(value, ensure_ascii=False).encode()  # lone surrogates end here
    except (ValueError, RecursionError):
        raise Refusal(400, "json", "The body is not JSON.") from None
    return value
