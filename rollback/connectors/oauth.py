"""Access tokens by OAuth 2.0, asked for with a signed assertion; one renewal for all threads of a process.

Two grants, which differ in where the assertion stands: credentials of the client
(RFC 6749 4.4 with RFC 7523 2.2) and the assertion as the grant (RFC 7523 2.1).
A target says which by its `Grant`; nothing here names one.

Tokens are kept in memory alone, by real time. Whatever goes wrong on the way to
a token is NotDone: the call that it was for has not been made.
"""

from __future__ import annotations

import hashlib
import os
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple
from urllib.parse import urlencode

import httpx2
import jwt
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from governance import clock
from rollback.connectors import answers, client
from rollback.connectors.base import NotDone, OutcomeUnknown

CLIENT_CREDENTIALS = "client_credentials"
JWT_BEARER = "urn:ietf:params:oauth:grant-type:jwt-bearer"
ASSERTION_TYPE = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
CURVES = {"secp256r1": "ES256", "secp384r1": "ES384", "secp521r1": "ES512"}
MARGIN_S = 60.0  # a token is renewed so long before its end, but never in its first nine tenths
LONGEST_S = 24 * 3600.0  # no token is believed to last longer
UNAUTHORIZED = 401


@dataclass(frozen=True, slots=True)
class Grant:
    """How one target gives tokens, and what opens it. Its `repr` shows no secret."""

    target: str  # its key: "netsuite"
    url: str  # of the token endpoint
    kind: str  # CLIENT_CREDENTIALS or JWT_BEARER
    issuer: str  # the client's id
    key_id: str  # the header `kid`: which certificate; "" sends none
    private_key: str = field(repr=False)  # PEM
    algorithms: Sequence[str]  # that the target takes, the one we prefer first
    claims: Mapping[str, Any]  # besides iss, iat and exp
    assertion_s: int = 300  # from `iat` to `exp`
    lifetime_s: float = 3600.0  # of a token whose answer does not say


class Answered(NamedTuple):
    """An answer, and the token it was given to: to be struck out of what is kept of it."""

    response: httpx2.Response
    token: str


class _Token(NamedTuple):
    value: str
    renew_at: float  # monotonic seconds


def call(
    grant: Grant,
    method: str,
    url: str,
    *,
    headers: Mapping[str, str],
    content: bytes | None = None,
    until: float,
) -> Answered:
    """Call a target with a token. All of it, a new token included, ends by `until` (monotonic seconds).

    A call whose token is refused (401) did nothing: it is made once more with
    another token. That is the only call that is made twice.

    Raises NotDone, OutcomeUnknown.
    """
    token = bearer(grant, until=until)
    answer = _call(grant, method, url, headers, content, token, until)
    if answer.status_code == UNAUTHORIZED:
        token = bearer(grant, until=until, refused=token)
        answer = _call(grant, method, url, headers, content, token, until)
    return Answered(answer, token)


def bearer(grant: Grant, *, until: float, refused: str = "") -> str:
    """Return a token of a target: the one that is kept, or a new one.

    Args:
        until: monotonic seconds, by which there is one or it fails.
        refused: the token that the target has just refused; it is not returned.

    Raises NotDone.
    """
    slot = _slot_of(grant)
    if (kept := slot.good(refused)) is not None:
        return kept
    if not slot.lock.acquire(timeout=max(until - time.monotonic(), 0.0)):
        raise NotDone(f"{grant.target} gave no token in time")
    try:
        # Whoever held the lock before us may have brought one.
        if (kept := slot.good(refused)) is not None:
            return kept
        slot.token = None
        slot.token = _ask(grant, within_s=until - time.monotonic())
        return slot.token.value
    finally:
        slot.lock.release()


def forget() -> None:
    """Forget every token of this process."""
    with _guard:
        _slots.clear()


# --- What is kept ---------------------------------------------------------------------------------


class _Slot:
    """The one token of one target and client, and the lock under which it is renewed."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.token: _Token | None = None

    def good(self, refused: str) -> str | None:
        token = self.token
        if token is None or token.value == refused or time.monotonic() >= token.renew_at:
            return None
        return token.value


_slots: dict[tuple[str, ...], _Slot] = {}
_guard = threading.Lock()


def _slot_of(grant: Grant) -> _Slot:
    key = hashlib.sha256(grant.private_key.encode()).hexdigest()
    name = (grant.target, grant.url, grant.issuer, grant.key_id, key, repr(grant.claims))
    with _guard:
        return _slots.setdefault(name, _Slot())


def _start_afresh() -> None:
    """In a forked worker: whoever held a lock is not here to let go of it, and a token has one owner."""
    global _guard
    _guard = threading.Lock()
    _slots.clear()


os.register_at_fork(after_in_child=_start_afresh)


# --- Asking for one -------------------------------------------------------------------------------


def _ask(grant: Grant, *, within_s: float) -> _Token:
    started = time.monotonic()
    assertion = signed(grant)
    form = {"grant_type": grant.kind}
    if grant.kind == CLIENT_CREDENTIALS:
        form |= {"client_assertion_type": ASSERTION_TYPE, "client_assertion": assertion}
    else:
        form |= {"assertion": assertion}
    headers = {
        "accept": "application/json",
        "accept-encoding": "identity",
        "user-agent": "Recourse",
        "content-type": "application/x-www-form-urlencoded",
    }
    if within_s <= 0:
        raise NotDone(f"{grant.target} gave no token in time")
    try:
        answer = client.call(
            "POST", grant.url, headers=headers, content=urlencode(form).encode(), within_s=within_s
        )
    except (client.NotSent, client.NoAnswer) as problem:
        said = answers.without(str(problem), assertion)
        raise NotDone(f"{grant.target} gave no token: {said}") from problem
    return _token(grant, answer, assertion, started)


def signed(grant: Grant) -> str:
    """Return an assertion that is good from now on for `assertion_s`. Real time, whatever the demo's.

    Raises NotDone for a key that cannot be read, or that the target does not take.
    """
    key, algorithm = _key_of(grant)
    now = int(clock.real_now().timestamp())
    claims = {**grant.claims, "iss": grant.issuer, "iat": now, "exp": now + grant.assertion_s}
    headers = {"kid": grant.key_id} if grant.key_id else None
    return jwt.encode(claims, key, algorithm=algorithm, headers=headers)


def _key_of(grant: Grant) -> tuple[Any, str]:
    try:
        key = load_pem_private_key(grant.private_key.encode(), password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        # Without its cause: what a parser says of a key may quote it.
        raise NotDone(f"the private key for {grant.target} cannot be read") from None
    if isinstance(key, ec.EllipticCurvePrivateKey):
        fitting = [CURVES.get(key.curve.name, "")]
    elif isinstance(key, rsa.RSAPrivateKey):
        fitting = [each for each in grant.algorithms if each[:2] in ("PS", "RS")]
    else:
        fitting = []
    for algorithm in fitting:
        if algorithm in grant.algorithms:
            return key, algorithm
    raise NotDone(f"the private key for {grant.target} is of a kind that it does not take")


def _token(grant: Grant, answer: httpx2.Response, assertion: str, started: float) -> _Token:
    if answer.status_code != 200:
        said = answers.without(answers.told(answer.content), assertion)
        status = answers.phrase(answer.status_code)
        raise NotDone(
            f"{grant.target} gave no token: {status}{f', {said}' if said else ''}",
            retry_after_s=answers.retry_after(answer.headers),
        )
    try:
        found = answer.json()
        value, kind = found["access_token"], found.get("token_type", "bearer")
        # Some say the number as text.
        lasts = float(found.get("expires_in") or grant.lifetime_s)
    except (ValueError, TypeError, LookupError, AttributeError, RecursionError):
        raise NotDone(f"{grant.target} gave no token: its answer cannot be read") from None
    if not _sendable(value) or str(kind).lower() != "bearer" or not lasts > 0:
        raise NotDone(f"{grant.target} gave no token that can be used")
    lasts = min(lasts, LONGEST_S)
    return _Token(value, started + lasts - min(MARGIN_S, lasts / 10))


def _sendable(value: Any) -> bool:
    """Whether a token can stand in a header as it is."""
    return (
        isinstance(value, str)
        and bool(value)
        and value.isascii()
        and value.isprintable()
        and " " not in value
    )


def _call(
    grant: Grant,
    method: str,
    url: str,
    headers: Mapping[str, str],
    content: bytes | None,
    token: str,
    until: float,
) -> httpx2.Response:
    left = until - time.monotonic()
    if left <= 0:
        raise NotDone(f"there is no time left to call {grant.target}")
    try:
        return client.call(
            method,
            url,
            headers={**headers, "authorization": f"Bearer {token}"},
            content=content,
            within_s=left,
        )
    except client.NotSent as problem:
        said = answers.without(str(problem), token)
        raise NotDone(f"{grant.target} cannot be reached: {said}") from problem
    except client.NoAnswer as problem:
        said = answers.without(str(problem), token)
        raise OutcomeUnknown(f"No answer from {grant.target}: {said}") from problem
