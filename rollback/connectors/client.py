"""One client for each process and target: connections stay open, and every call has an end.

Time-outs between bytes are not enough: a target that sends one byte a second
would hold a worker for ever. One deadline stands over the whole call, from the
look-up of the name to the last byte of the answer.
"""

from __future__ import annotations

import ipaddress
import os
import threading
import time
from collections.abc import Iterable, Mapping
from typing import Any

import httpcore2
import httpx2

from approvals.callbacks import NameUnknown, system_addresses

CONNECT_WITHIN_S = 3.0
WITHIN_S = 8.0  # all of a call
ANSWER_LIMIT = 1024 * 1024  # bytes
# What is read of an answer's head. Not its encoding: we ask for none, and a little that unpacks to
# a lot would be unpacked here.
HEADERS = (b"date", b"etag", b"location", b"retry-after")
KEEP_S = 20.0  # an idle connection
CONNECTIONS = 20


class NotSent(Exception):
    """No byte of the request has left."""


class NoAnswer(Exception):
    """The request, or a part of it, has left, and no whole answer came."""


def call(
    method: str,
    url: str,
    *,
    headers: Mapping[str, str],
    content: bytes | None = None,
    within_s: float = WITHIN_S,
) -> httpx2.Response:
    """Call a target once. Follows no redirect, asks no proxy, ends within `within_s` real seconds.

    Raises NotSent, NoAnswer, each with a line for people.
    """
    _now.deadline, _now.has_left = time.monotonic() + within_s, False
    try:
        return _client(url).request(method, url, headers=headers, content=content)
    except httpx2.InvalidURL as problem:
        raise NotSent(f"{problem}") from problem


def close() -> None:
    """Close the connections of this process."""
    with _guard:
        clients = list(_clients.values())
        _clients.clear()
    for client in clients:
        client.close()


_clients: dict[tuple[int, str], httpx2.Client] = {}
_inherited: list[object] = []
_guard = threading.Lock()


def _client(url: str) -> httpx2.Client:
    parsed = httpx2.URL(url)
    key = (os.getpid(), f"{parsed.scheme}://{parsed.netloc.decode()}")
    with _guard:
        if key not in _clients:
            _clients[key] = httpx2.Client(
                transport=_Transport(parsed.scheme), trust_env=False, follow_redirects=False
            )
        return _clients[key]


def _forget() -> None:
    """In a forked worker: the connections are our parent's, and so is whoever held the lock.

    They are kept, not closed: closing them would be our parent's to do.
    """
    global _guard
    _guard = threading.Lock()
    _inherited.extend(_clients.values())
    _clients.clear()


os.register_at_fork(after_in_child=_forget)


class _Call(threading.local):
    """The call that this thread is making. A connection serves one thread at a time."""

    deadline = 0.0
    has_left = False


_now = _Call()


class _Transport(httpx2.BaseTransport):
    """A pool of connections whose every wait ends with the call it is for."""

    def __init__(self, scheme: str) -> None:
        self._pool = httpcore2.ConnectionPool(
            ssl_context=httpx2.create_ssl_context() if scheme == "https" else None,
            max_connections=CONNECTIONS,
            max_keepalive_connections=CONNECTIONS,
            keepalive_expiry=KEEP_S,
            network_backend=_Backend(),
        )

    def handle_request(self, request: httpx2.Request) -> httpx2.Response:
        target = httpcore2.URL(
            scheme=request.url.raw_scheme,
            host=request.url.raw_host,
            port=request.url.port,
            target=request.url.raw_path,
        )
        try:
            with self._pool.stream(
                request.method,
                target,
                headers=request.headers.raw,
                content=request.read(),
                extensions={"timeout": {"pool": CONNECT_WITHIN_S}},
            ) as answer:
                body = _whole(answer.iter_stream())
                told = [pair for pair in answer.headers if pair[0].lower() in HEADERS]
                return httpx2.Response(answer.status, headers=told, content=body)
        except (httpcore2.TimeoutException, TimeoutError) as problem:
            raise _failed("it did not answer in time") from problem
        except httpcore2.ProtocolError as problem:
            raise _failed("its answer is not HTTP, or broke off") from problem
        except (httpcore2.NetworkError, OSError) as problem:
            raise _failed(str(problem) or "the connection was lost") from problem

    def close(self) -> None:
        self._pool.close()


def _failed(said: str) -> NotSent | NoAnswer:
    return NoAnswer(said) if _now.has_left else NotSent(said)


def _whole(parts: Iterable[bytes]) -> bytes:
    read = bytearray()
    for part in parts:
        read += part
        if len(read) > ANSWER_LIMIT:
            raise NoAnswer("its answer is longer than 1 MB")
    return bytes(read)


def _left() -> float:
    left = _now.deadline - time.monotonic()
    if left <= 0:
        raise httpcore2.ReadTimeout("the time is up")
    return left


class _Backend(httpcore2.NetworkBackend):
    """Opens TCP connections within their share of the call's time, looking the name up included."""

    def __init__(self) -> None:
        self._system = httpcore2.SyncBackend()

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore2.NetworkStream:
        until = time.monotonic() + min(CONNECT_WITHIN_S, _left())
        addresses = _addresses(host, port)
        problem: Exception = httpcore2.ConnectError(f"{host} has no address")
        for n, address in enumerate(addresses):
            # One that swallows packets leaves time for the ones after it.
            patience = max((until - time.monotonic()) / (len(addresses) - n), 0.01)
            try:
                stream = self._system.connect_tcp(
                    address, port, patience, local_address, socket_options or ()
                )
            except (httpcore2.ConnectError, httpcore2.ConnectTimeout) as failed:
                problem = failed  # raised below, unless the next address is there
            else:
                return _Stream(stream)
        raise problem


def _addresses(host: str, port: int) -> list[str]:
    try:
        return [str(ipaddress.ip_address(host))]
    except ValueError:
        pass  # a name
    try:
        return list(dict.fromkeys(system_addresses(host, port, within_s=CONNECT_WITHIN_S)))
    except NameUnknown as problem:
        raise httpcore2.ConnectError(str(problem)) from problem


class _Stream(httpcore2.NetworkStream):
    """A connection on which each wait ends with the call, and which knows when bytes have left."""

    def __init__(self, stream: httpcore2.NetworkStream) -> None:
        self._stream = stream

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return self._stream.read(max_bytes, _left())

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        left = _left()
        _now.has_left = True
        self._stream.write(buffer, left)

    def close(self) -> None:
        self._stream.close()

    def start_tls(
        self, ssl_context: Any, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore2.NetworkStream:
        return _Stream(self._stream.start_tls(ssl_context, server_hostname, _left()))

    def get_extra_info(self, info: str) -> Any:
        return self._stream.get_extra_info(info)
