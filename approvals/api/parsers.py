"""JSON as agents send it, read strictly."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import IO, Any

from django.conf import settings
from rest_framework.parsers import BaseParser

from governance.errors import Refused

DEPTH = 32
SURROGATE = re.compile("[\ud800-\udfff]")


class BadBody(Refused):
    """The bytes are not the JSON they are said to be."""

    status, problem, title = 400, "bad-json", "Not JSON"


class BodyTooLarge(Refused):
    """More bytes than a request may have."""

    status, problem, title = 413, "body-too-large", "The body is too large"


class BadText(Refused):
    """JSON, with text that cannot be stored or shown."""

    status, problem, title = 422, "bad-text", "Text that cannot be kept"


class StrictJSONParser(BaseParser):
    """RFC 8259 in UTF-8, at most 256 KB and 32 levels deep, no duplicate names, no NaN, no NUL, no lone surrogate."""

    media_type = "application/json"

    def parse(
        self,
        stream: IO[Any],
        media_type: str | None = None,
        parser_context: Mapping[str, Any] | None = None,
    ) -> Any:
        """Return the value in the stream. Raises BadBody, BodyTooLarge or BadText."""
        limit = settings.REQUEST_BODY_LIMIT
        data = stream.read(limit + 1)
        if len(data) > limit:
            raise BodyTooLarge(f"A body has at most {limit // 1024} KB.")
        return parse(data)


def parse(data: bytes) -> Any:
    """Return the value in these bytes. Raises BadBody or BadText."""
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as problem:
        raise BadBody(f"The body is not UTF-8: byte {problem.start}.") from problem
    try:
        value = json.loads(text, object_pairs_hook=_object, parse_constant=_no_constant)
    except json.JSONDecodeError as problem:
        raise BadBody(f"{problem.msg}, line {problem.lineno} column {problem.colno}.") from problem
    except RecursionError as problem:
        raise BadBody(f"More than {DEPTH} levels deep.") from problem
    except ValueError as problem:  # an integer of more digits than Python will read
        raise BadBody("A number is too long.") from problem
    _check(value, DEPTH)
    return value


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise BadBody("An object names something twice.")
    return found


def _no_constant(name: str) -> None:
    raise BadBody(f"{name} is not JSON.")


def _check(value: Any, depth: int) -> None:
    if depth < 0:
        raise BadBody(f"More than {DEPTH} levels deep.")
    if isinstance(value, str):
        _check_text(value)
    elif isinstance(value, dict):
        for name, inner in value.items():
            _check_text(name)
            _check(inner, depth - 1)
    elif isinstance(value, list):
        for inner in value:
            _check(inner, depth - 1)


def _check_text(text: str) -> None:
    if "\0" in text:
        raise BadText("Text holds a NUL character.")
    if not text.isascii() and SURROGATE.search(text):
        raise BadText("Text holds half of a surrogate pair.")
