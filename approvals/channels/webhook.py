"""Webhooks to an agent's callback: signed as Standard Webhooks say, and to the checked address only."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import ssl
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache

import httpcore2
import httpx2
from django.conf import settings
from standardwebhooks import Webhook

from approvals import callbacks
from approvals.channels import ChannelDown, Refused, TryAgain
from governance import wording
from governance.ledger import instant
from governance.models import Agent

WITHIN_S = 5.0
ANSWER_LIMIT = 4096  # bytes of an answer that are read
GONE = 410


@dataclass(frozen=True)
class Hook:
    """One change of state, or a question, to be told to one agent. The same each time it is tried."""

    url: str
    secret: str
    id: str
    body: str


def hook(
    *,
    agent: Agent,
    url: str,
    ref: str,
    number: int,
    state: str,
    reason: str,
    at: datetime,
    question: int | None = None,
) -> Hook:
    """Say what the agent is told.

    Args:
        number: of all that is told of one request, in its order.
        at: when the state changed, or the question was asked; business time.
        question: its id, if that is what is told of. Its text is read with the request.
    """
    body: dict[str, str | int] = {
        "type": "request.state_changed" if question is None else "request.question_asked",
        "number": number,
        "ref": ref,
        "state": state,
        "reason": reason,
        "at": instant(at),
    }
    if question is not None:
        body["question"] = question
    text = json.dumps(body, separators=(",", ":"))
    return Hook(url=url, secret=webhook_secret(agent), id=f"msg_{ref}_{number}", body=text)


def webhook_secret(agent: Agent) -> str:
    """Return the secret an agent checks our signatures with: "whsec_…".

    Derived, so that no row holds it; raise `webhook_key_version` to change it.
    """
    message = f"recourse webhook {agent.pk} {agent.webhook_key_version}"
    key = hmac.new(settings.WEBHOOK_KEY.encode(), message.encode(), hashlib.sha256).digest()
    return f"whsec_{base64.b64encode(key).decode()}"


def host_of(url: str) -> str:
    """Return whom to call if it is down; blank for what is no address."""
    try:
        return callbacks.parsed_callback(url).host
    except callbacks.BadCallback:
        return ""  # `send` says so, and it ends in the notice's row


def send(
    message: Hook,
    *,
    signed_at: datetime,
    resolve: callbacks.Resolver | None = None,
    tls: ssl.SSLContext | None = None,
    within_s: float = WITHIN_S,
) -> None:
    """POST one hook. Any 2xx is a yes; redirects are not followed.

    Args:
        signed_at: real time: the receiver turns away what is older than minutes.
        resolve: who is asked for the host's addresses; the system by default.
        tls: whose certificates are believed; the system's authorities by default.
        within_s: from the first packet to the end of the answer.

    Raises:
        Refused: 410, the receiver is gone for good.
        TryAgain, ChannelDown: any other answer, or none.
    """
    try:
        url = callbacks.parsed_callback(message.url)
        addresses = callbacks.addresses_of(url.host, callbacks.port_of(url), resolve=resolve)
    except callbacks.BadCallback as problem:
        raise TryAgain(problem.detail, code="callback-url") from problem
    except callbacks.NameUnknown as problem:
        reason = f"The name server does not know {url.host}."
        raise ChannelDown(reason, code="dns") from problem
    signature = Webhook(message.secret).sign(message.id, signed_at, message.body)
    headers = {
        "content-type": "application/json",
        "user-agent": "Recourse",
        "webhook-id": message.id,
        "webhook-timestamp": str(int(signed_at.timestamp())),
        "webhook-signature": signature,
    }
    transport = PinnedTransport(addresses, within_s=within_s, tls=tls)
    try:
        with httpx2.Client(transport=transport, follow_redirects=False, trust_env=False) as client:
            answer = client.post(url, content=message.body.encode(), headers=headers)
    except httpx2.TransportError as problem:
        said = wording.plain(str(problem), 120) or type(problem).__name__
        reason = f"{url.host} did not answer: {said}."
        raise ChannelDown(reason, code=type(problem).__name__) from problem
    _judge(answer, url.host)


def _judge(answer: httpx2.Response, host: str) -> None:
    status = answer.status_code
    if 200 <= status < 300:
        return
    code = f"http {status}"
    if status == GONE:
        raise Refused(f"{host} answered 410: it wants no more of these.", code=code)
    if status >= 500 or status == 429:
        raise ChannelDown(f"{host} answered {status}.", code=code)
    if 300 <= status < 400:
        reason = f"{host} answered {status}. Redirects are not followed."
        raise TryAgain(reason, code=code)
    said = wording.plain(answer.text, 120)
    raise TryAgain(f"{host} answered {status}: {said or 'nothing more'}", code=code)


class PinnedTransport(httpx2.BaseTransport):
    """Connects to addresses that were looked up and checked before, whatever the name says now.

    The name still stands in the Host header and is what the certificate must
    show. One deadline holds for all of it, however slowly the bytes drip. No
    proxy, no redirect; the answer is read up to 4 KB, and not decoded.
    """

    def __init__(
        self, addresses: Sequence[str], *, within_s: float, tls: ssl.SSLContext | None = None
    ) -> None:
        self._addresses = addresses
        self._within_s = within_s
        self._tls = tls

    def handle_request(self, request: httpx2.Request) -> httpx2.Response:
        backend = _Pinned(self._addresses, time.monotonic() + self._within_s)
        context = (self._tls or _tls()) if request.url.scheme == "https" else None
        target = httpcore2.URL(
            scheme=request.url.raw_scheme,
            host=request.url.raw_host,
            port=request.url.port,
            target=request.url.raw_path,
        )
        try:
            with (
                httpcore2.ConnectionPool(ssl_context=context, network_backend=backend) as pool,
                pool.stream(
                    request.method, target, headers=request.headers.raw, content=request.read()
                ) as answer,
            ):
                return httpx2.Response(answer.status, content=_beginning(answer.iter_stream()))
        except httpcore2.TimeoutException as problem:
            raise httpx2.TimeoutException(f"no answer within {self._within_s:g} s") from problem
        except httpcore2.ProtocolError as problem:
            raise httpx2.RemoteProtocolError("its answer is not HTTP") from problem
        except httpcore2.NetworkError as problem:
            raise httpx2.NetworkError(str(problem)) from problem


def _beginning(parts: Iterable[bytes]) -> bytes:
    read = b""
    for part in parts:
        read += part
        if len(read) >= ANSWER_LIMIT:
            break
    return read[:ANSWER_LIMIT]


@lru_cache(maxsize=1)
def _tls() -> ssl.SSLContext:
    return httpx2.create_ssl_context()


class _Pinned(httpcore2.NetworkBackend):
    """Opens TCP connections to given addresses, in their order, until a deadline."""

    def __init__(self, addresses: Sequence[str], deadline: float) -> None:
        self._addresses = addresses
        self._deadline = deadline
        self._system = httpcore2.SyncBackend()

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore2.SOCKET_OPTION] | None = None,
    ) -> httpcore2.NetworkStream:
        problem: Exception = httpcore2.ConnectError("it has no address")
        for n, address in enumerate(self._addresses):
            # An address that swallows packets leaves time for the ones after it.
            patience = _left(self._deadline) / (len(self._addresses) - n)
            try:
                stream = self._system.connect_tcp(address, port, patience, None, socket_options)
            except (httpcore2.ConnectError, httpcore2.ConnectTimeout) as failed:
                problem = failed  # raised below, unless the next address is there
            else:
                return _Hurried(stream, self._deadline)
        raise problem


class _Hurried(httpcore2.NetworkStream):
    """A stream on which everything together must be over by one instant."""

    def __init__(self, stream: httpcore2.NetworkStream, deadline: float) -> None:
        self._stream = stream
        self._deadline = deadline

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return self._stream.read(max_bytes, _left(self._deadline))

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self._stream.write(buffer, _left(self._deadline))

    def close(self) -> None:
        self._stream.close()

    def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,
    ) -> httpcore2.NetworkStream:
        left = _left(self._deadline)
        return _Hurried(self._stream.start_tls(ssl_context, server_hostname, left), self._deadline)

    def get_extra_info(self, info: str) -> object:
        return self._stream.get_extra_info(info)


def _left(deadline: float) -> float:
    left = deadline - time.monotonic()
    if left <= 0:
        raise httpcore2.ReadTimeout("the time is up")
    return left
