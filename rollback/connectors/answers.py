"""What an answer means: done, not done, refused for good, or nobody knows."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import Any, NoReturn

import httpx2

from governance import clock, wording
from rollback.connectors.base import NotDone, OutcomeUnknown, Reading, Rejected

LONGEST_WAIT_S = 3600.0
SAID = 300  # characters
TOLD = ("message", "detail", "error_description", "title", "error")  # where APIs put their words
NOT_HERE = (401, 403)  # our token: a person mends it, and then it may be tried again
NOT_NOW = (425, 429)
# Nobody knows whether it was done: a gateway gives up on an answer, a redirect may follow a write.
UNSURE = (408,)


def judge(answer: httpx2.Response, *, token: str, fraction: Callable[[str], Any] = float) -> Any:
    """Return the JSON of a 2xx answer: {} for one without a body that says so (204).

    Args:
        fraction: what a number that is not whole becomes, from its digits; ValueError for
            one that it does not take.

    Raises NotDone, Rejected, OutcomeUnknown for every other.
    """
    status = answer.status_code
    wait = retry_after(answer.headers)
    said = phrase(status)
    if status == HTTPStatus.ACCEPTED:
        raise OutcomeUnknown(f"{said}: it may be done later, or not", retry_after_s=wait)
    if 200 <= status < 300:
        return _struck(_json(answer, fraction), token)
    if status in NOT_NOW or status in NOT_HERE:
        raise NotDone(said, retry_after_s=wait)
    if status in UNSURE or not 400 <= status < 500:
        raise OutcomeUnknown(said, retry_after_s=wait)
    raise Rejected(without(told(answer.content) or said, token))


def retry_after(headers: httpx2.Headers) -> float | None:
    """Return how long we were asked to wait, in seconds, at most an hour. None: we were not.

    A date is taken relative to the answer's own, so that the two clocks need not agree.
    """
    value = headers.get("retry-after", "").strip()
    if value.isascii() and value.isdigit():
        return min(float(value[:9]), LONGEST_WAIT_S)
    try:
        until = parsedate_to_datetime(value)
    except (ValueError, OverflowError):
        return None
    try:
        now = parsedate_to_datetime(headers.get("date", ""))
    except (ValueError, OverflowError):
        now = clock.real_now()
    if until.tzinfo is None or now.tzinfo is None:
        return None
    return min(max((until - now).total_seconds(), 0.0), LONGEST_WAIT_S)


def without(text: str, token: str) -> str:
    """Make words of a target fit to be stored and shown, our token in them struck out."""
    return wording.plain(text.replace(token, "…") if token else text, SAID)


def _struck(value: Any, token: str) -> Any:
    """Return an answer without our token in it: what a target echoes is stored."""
    match value:
        case dict():
            return {_struck(name, token): _struck(each, token) for name, each in value.items()}
        case list():
            return [_struck(each, token) for each in value]
        case str() if token:
            return value.replace(token, "…")
    return value


def unreadable(answer: httpx2.Response, why: str) -> NoReturn:
    """Raise OutcomeUnknown for a yes that does not say what was done."""
    raise OutcomeUnknown(f"{phrase(answer.status_code)}, and an answer that {why}")


def reading(value: Any, etag: str = "") -> Reading:
    """Return a record from its JSON: `version` is apart from what it holds.

    Raises CallFailed if it is none.
    """
    if not isinstance(value, dict):
        raise OutcomeUnknown("It answered with something that is no record.")
    state = {name: each for name, each in value.items() if name != "version"}
    told = value.get("version")
    version = ("" if told is None else str(told)) or etag.removeprefix("W/").strip('"')
    if not version.isascii() or not version.isprintable() or '"' in version or len(version) > 120:
        raise OutcomeUnknown("The record's version cannot be sent back as it stands.")
    return Reading(state, version)


def _json(answer: httpx2.Response, fraction: Callable[[str], Any]) -> Any:
    if answer.status_code == HTTPStatus.NO_CONTENT and not answer.content:
        return {}
    try:
        return _storable(
            json.loads(answer.content.decode(), parse_float=fraction, parse_constant=_refuse)
        )
    except (ValueError, RecursionError):
        unreadable(answer, "cannot be read")


def _refuse(word: str) -> NoReturn:
    raise ValueError(word)


def _storable(value: Any) -> Any:
    """Replace what no database keeps in JSON: NUL, lone surrogates, numbers without end."""
    match value:
        case dict():
            return {_storable(name): _storable(each) for name, each in value.items()}
        case list():
            return [_storable(each) for each in value]
        case str():
            return value.replace("\0", "\ufffd").encode("utf-16", "replace").decode("utf-16")
        case float() if not math.isfinite(value):
            raise ValueError("a number without end")
    return value


def phrase(status: int) -> str:
    """Return a status in words: "429 Too Many Requests"."""
    try:
        return f"{status} {HTTPStatus(status).phrase}"
    except ValueError:
        return str(status)


def told(content: bytes) -> str:
    """Return the words of a refusal, "" where none are found."""
    try:
        found = json.loads(content.decode())
    except (ValueError, RecursionError):
        return ""
    for _ in range(2):  # {"message": …}, or {"error": {"message": …}}
        if not isinstance(found, dict):
            return ""
        words = [found[name] for name in TOLD if isinstance(found.get(name), str) and found[name]]
        if words:
            return str(words[0])
        found = found.get("error")
    return ""
