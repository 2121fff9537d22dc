"""From a unit's body to a call: addresses that no payload can bend."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlencode

METHODS = ("POST", "PUT", "PATCH", "DELETE")
# Printable ASCII, "%" as well: a key that is encoded already stays as it is.
_HEADER_SAFE = "".join(chr(code) for code in range(0x21, 0x7F))


@dataclass(frozen=True)
class Outgoing:
    """One write as it will be sent: what a unit's body holds."""

    method: str
    path: str  # encoded, with its query, from the slash on
    content: bytes


def outgoing(body: Any) -> Outgoing:
    """Read a unit's body: {"method", "path": [segments], "query"?, "json"?}.

    Raises ValueError if it is none.
    """
    if not isinstance(body, dict) or set(body) - {"method", "path", "query", "json"}:
        raise ValueError("A call has method, path, query and json, and nothing else.")
    if body.get("method") not in METHODS:
        raise ValueError(f"The method of a call is one of {', '.join(METHODS)}.")
    return Outgoing(
        body["method"],
        address(body.get("path"), body.get("query")),
        json.dumps(body.get("json", {}), separators=(",", ":"), allow_nan=False).encode(),
    )


def address(path: Any, query: Any = None) -> str:
    """Write segments and query as an address, everything percent-encoded.

    Raises ValueError for what would be read as another address: no segments, a
    blank one, "." and "..".
    """
    if not isinstance(path, Sequence) or isinstance(path, str) or not path:
        raise ValueError("The path of a call is a list of segments.")
    said = "/" + "/".join(_segment(each) for each in path)
    if not query:
        return said
    if not isinstance(query, dict) or not all(isinstance(v, str | int) for v in query.values()):
        raise ValueError("The query of a call is an object of texts.")
    try:
        return f"{said}?{urlencode(query, quote_via=quote)}"
    except UnicodeEncodeError as problem:
        raise ValueError("The query of a call holds what is no character.") from problem


def _segment(value: Any) -> str:
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise ValueError("A segment of a path is text or a whole number.")
    text = str(value)
    if text in ("", ".", ".."):
        raise ValueError(f"A segment of a path must not be “{text}”.")
    try:
        return quote(text, safe="")
    except UnicodeEncodeError as problem:
        raise ValueError("A segment of a path holds what is no character.") from problem


def header(value: str) -> str:
    """Write a value so that it can stand in a header: what is not printable ASCII is encoded."""
    return quote(value, safe=_HEADER_SAFE, errors="surrogatepass")
