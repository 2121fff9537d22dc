"""NetSuite's SuiteTalk REST over HTTP, as far as the contract goes: a server in a thread, with state.

What the contract says is held here, sentence by sentence (`contract.py`); its own
tests are `test_double.py`. Faults are put in its way by `fail`.
"""

from __future__ import annotations

import json
import re
import socket
import struct
import threading
import time
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote, urlsplit
from uuid import UUID

import simplejson

from tests.netsuite.books import MADE, Books, Error
from tests.netsuite.tokens import Refused, Tokens

RECORDS = "/services/rest/record/v1/"
JOBS = "/services/rest/async/v1/job/"
TOKENS = "/services/rest/auth/oauth2/v1/token"
ERROR_TYPE = "https://www.rfc-editor.org/rfc/rfc9110.html#section-15.5"


class NetSuite:
    """The double, running until `close`.

    Attributes:
        books: what it keeps. Look at it under `at_rest`.
        seen: every call, [(method, path, headers, body)].
        answered: the status of every answer.
        echo: it says in every error what opened its door. Some do.
        at_once: how many calls it takes at a time.
        polls: how often a job is asked about before it is done.
    """

    def __init__(self, *, client_id="client-1", certificates=None):
        self._server = _Server(("127.0.0.1", 0), _Handler)
        self._server.netsuite = self
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        self._client_id, self.certificates = client_id, dict(certificates or {})
        self.lock = threading.RLock()
        self.reset()
        self._thread = threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True
        )
        self._thread.start()

    def reset(self):
        """Back to empty books, without faults, jobs and tokens."""
        with self.lock:
            self.books = Books()
            self.tokens = Tokens(
                self.url + TOKENS, client_id=self._client_id, certificates=self.certificates
            )
            self.seen, self.answered, self.jobs, self.keys = [], [], {}, {}
            self.echo, self.at_once, self.polls = False, 100, 1
            self.under_way = 0
            self._faults = []

    def close(self):
        self._server.shutdown()
        self._thread.join(timeout=10)
        self._server.server_close()

    def fail(self, kind, *, method="", path="", times=1, **how):
        """Put a fault in the way of the next calls that match.

        Kinds: `reset_before`, `reset_after` (done, and its answer is lost), `answer`
        (status, headers, body: instead of doing it), `slow` (seconds, after it is
        done), `hold` (an Event, before it is done).
        """
        with self.lock:
            self._faults += [(kind, method, path, how)] * times

    def calls(self, method, path=""):
        """Return the calls of a method whose path holds a word."""
        with self.lock:
            return [each for each in self.seen if each[0] == method and path in each[1]]

    def fault_for(self, method, path):
        with self.lock:
            for fault in self._faults:
                if fault[1] in ("", method) and fault[2] in path:
                    self._faults.remove(fault)
                    return fault[0], fault[3]
        return "", {}

    # --- One call ---

    def serve(self, method, path, headers, body):
        """Return (status, headers, JSON or None)."""
        if path == TOKENS and method == "POST":
            return self._token(headers, body)
        with self.lock:
            if not self.tokens.good(headers.get("authorization", "")):
                raise Error(401, "INVALID_LOGIN", "Invalid login attempt.")
            if headers.get("prefer") == "respond-async" and not path.startswith(JOBS):
                return self._accept(method, path, headers, body)
            return self._do(method, path, body)

    def _token(self, headers, body):
        with self.lock:
            try:
                return 200, {}, self.tokens.give(headers.get("content-type", ""), body)
            except Refused as problem:
                said = problem.description
                if self.echo:
                    said += f" It was: {body.decode()}, {self.tokens.assertions[-1:]}"
                return 400, {}, {"error": problem.error, "error_description": said}

    def _accept(self, method, path, headers, body):
        """Take a call as a job; one that is sent again under its key is refused, with the first one's place."""
        key = headers.get("x-netsuite-idempotency-key")
        if key is not None:
            try:
                UUID(key)
            except ValueError:
                raise Error(400, "INVALID_KEY", "The idempotency key is no UUID.") from None
            if key in self.keys:
                problem = Error(
                    400, "IDEMPOTENCY_ERROR", "A request with the same idempotency key is known."
                )
                problem.location = JOBS + self.keys[key]
                raise problem
        number = str(len(self.jobs) + 1)
        self.jobs[number] = {"call": (method, path, body), "polls": 0, "progress": "pending"}
        if key is not None:
            self.keys[key] = number
        return 202, {"Location": JOBS + number, "Preference-Applied": "respond-async"}, None

    def run_jobs(self):
        """Have every job end now."""
        with self.lock:
            for job in self.jobs.values():
                self._run(job)

    def _run(self, job):
        if job["progress"] in ("succeeded", "failed"):
            return
        try:
            self._do(*job["call"])
        except Error as problem:
            job["progress"], job["said"] = "failed", problem.detail
        else:
            job["progress"] = "succeeded"

    def _job(self, number):
        job = self.jobs.get(number)
        if job is None:
            raise Error(404, "NONEXISTENT_ID", f"There is no job {number}.")
        job["polls"] += 1
        if job["polls"] > self.polls:
            self._run(job)
        done = job["progress"] in ("succeeded", "failed")
        return 200, {}, {"id": number, "completed": done, "progress": job["progress"], "task": {}}

    def _do(self, method, path, body):
        if path.startswith(JOBS):
            return self._job(path.removeprefix(JOBS))
        if not path.startswith(RECORDS):
            raise Error(404, "NOT_FOUND", "There is nothing there.")
        type_, *rest = [unquote(each) for each in path.removeprefix(RECORDS).split("/")]
        if type_ not in self.books.records:
            raise Error(404, "NOT_FOUND", f"There is no record type {type_}.")
        match method, rest:
            case "GET", [name]:
                return 200, {}, self._shown(self.books.find(type_, name))
            case "POST", []:
                return self._made(type_, self.books.create(type_, _fields(body)))
            case "POST", [bill, "!transform", into] if type_ == MADE[0]:
                return self._made(into, self.books.transform(bill, into, _fields(body)))
            case "PUT", [name] if name.startswith("eid:"):
                fields = _fields(body)
                return self._made(
                    type_, self.books.upsert(type_, name.removeprefix("eid:"), fields)
                )
        raise Error(405, "METHOD_NOT_ALLOWED", "That is not done here.")

    def _made(self, type_, number):
        return 204, {"Location": f"{self.url}{RECORDS}{type_}/{number}"}, None

    def _shown(self, record):
        links = [{"rel": "self", "href": f"{self.url}{RECORDS}…"}]
        return {"links": links, **record, "apply": {"links": links}}


def _fields(body):
    if not body:
        return {}
    try:
        return simplejson.loads(body, use_decimal=True)
    except ValueError:
        raise Error(400, "INVALID_CONTENT", "The body cannot be read.") from None


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64

    def handle_error(self, request, client_address):
        """A client that went away is no error; anything else is told by what it answered."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = -1
    disable_nagle_algorithm = True

    def log_message(self, format, *args):
        """Nothing."""

    def _serve(self):
        netsuite = self.server.netsuite
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        path = urlsplit(self.path).path
        headers = {name.lower(): value for name, value in self.headers.items()}
        with netsuite.lock:
            netsuite.seen.append((self.command, path, headers, body))
            netsuite.under_way += 1
            crowded = netsuite.under_way > netsuite.at_once
        try:
            self._one(netsuite, path, headers, body, crowded)
        finally:
            with netsuite.lock:
                netsuite.under_way -= 1

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = _serve  # noqa: N815 - the library's names

    def _one(self, netsuite, path, headers, body, crowded):
        if crowded:
            error = Error(429, "CONCURRENCY_LIMIT_EXCEEDED", "Too many requests at once.")
            self._refuse(error, {"Retry-After": "7"})
            return
        kind, how = netsuite.fault_for(self.command, path)
        if kind == "hold":
            how["event"].wait(timeout=20)
        if kind == "reset_before":
            self._hang_up()
            return
        if kind == "answer":
            self._answer(how["status"], how.get("headers", {}), how.get("body", b""))
            return
        try:
            status, more, found = netsuite.serve(self.command, path, headers, body)
        except Error as problem:
            if netsuite.echo:
                problem.detail += f" You said {headers.get('authorization')}, {headers}."
            where = {"Location": problem.location} if hasattr(problem, "location") else {}
            self._refuse(problem, where)
            return
        if kind == "slow":
            time.sleep(how["seconds"])
        if kind == "reset_after":
            self._hang_up()
            return
        if netsuite.echo and status == 200 and path != TOKENS:
            found = {**found, "memo": f"read with {headers.get('authorization')}"}
        content = b"" if found is None else simplejson.dumps(found, use_decimal=True).encode()
        self._answer(status, more, content)

    def _refuse(self, error, headers=None):
        details = [{"detail": error.detail, "o:errorCode": error.code}]
        said = {
            "type": ERROR_TYPE,
            "title": HTTPStatus(error.status).phrase,
            "status": error.status,
            "o:errorDetails": details,
        }
        self._answer(error.status, headers or {}, json.dumps(said).encode())

    def _answer(self, status, headers, content):
        self.server.netsuite.answered.append(status)
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        if status != 204:
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if status != 204:
            self.wfile.write(content)
        self.wfile.flush()

    def _hang_up(self):
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.close_connection = True
        self.connection.close()


def number_of(location):
    """Return the id at the end of a Location."""
    return re.search(r"/(\d+)$", location)[1]
