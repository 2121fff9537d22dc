"""Finds what opens a target where it must not stand: in a configuration, which is in the database and on pages."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import pairwise
from typing import Any, NamedTuple
from urllib.parse import urlsplit

# Names under which people put what opens something: words of a name, however they are joined.
_NAMES = frozenset({
    "authorization", "bearer", "credential", "credentials", "passphrase", "passwd", "password",
    "pwd", "secret", "secrets", "token",
})  # fmt: skip
_KEYS = frozenset({"access", "api", "auth", "private", "signing"})  # …and "key" after it
_WORDS = re.compile(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])")
_SHAPES = (
    ("a private key or a certificate", re.compile(r"-----BEGIN [A-Z ]+-----")),
    ("a header that opens something", re.compile(r"\b(Bearer|Basic|Digest)\s+[A-Za-z0-9+/=._~-]{8,}")),
    ("a signed token", re.compile(r"\beyJ[A-Za-z0-9_-]{6,}\.[A-Za-z0-9_-]{6,}\.")),
    ("a token of ours", re.compile(r"\brc_[A-Za-z0-9_-]{8,}")),
    ("a key of a known make", re.compile(r"\b(sk|pk|ghp|gho|xox[abpr]|AKIA|whsec)[_-]?[A-Za-z0-9_-]{16,}")),
)  # fmt: skip
# Long, and letters of both kinds and digits in turn: no name, path or template is written so.
_LONG = re.compile(r"[A-Za-z0-9+/_=-]{24,}")
_UUID = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")  # names records
_FILLED_IN = re.compile(r"\$\{[^}]*\}")


class Found(NamedTuple):
    """One place that looks like a secret. It holds nothing of the secret itself."""

    place: str  # the names on the way to it, with slashes; "…" for a name that is one itself
    what: str  # what it looks like: "a private key or a certificate"

    @property
    def words(self) -> str:
        return f"This looks like {self.what}. What opens a target stands in the environment, and nowhere else."


def found_in(config: Any) -> Iterator[Found]:
    """Yield each place of a connector's configuration that looks like a secret.

    It errs on the side of refusing: what is refused in vain is written another
    way; what gets in is in every backup.
    """
    for names, name, value in _texts(config, ()):
        what = _what(name, _FILLED_IN.sub("", value))
        if what:
            yield Found("/".join("…" if _what("", each) else each[:40] for each in names), what)


def _what(name: str, text: str) -> str:
    for what, shape in _SHAPES:
        if shape.search(text):
            return what
    if _names_a_secret(name) and text.strip():
        return "what opens something"
    if _opens_an_address(text):
        return "an address with a password in it"
    if any(_is_random(each) for each in _LONG.findall(text)):
        return "a key: it is long, and no word"
    return ""


def _names_a_secret(name: str) -> bool:
    words = [each.lower() for each in _WORDS.findall(name)]
    before_key = {a for a, b in pairwise(words) if b == "key"}
    return bool(_NAMES & {*words} or _KEYS & before_key) or name.lower() in ("apikey", "privatekey")


def _opens_an_address(text: str) -> bool:
    try:
        return urlsplit(text.strip()).password is not None
    except ValueError:
        return False


def _is_random(text: str) -> bool:
    if _UUID.fullmatch(text) or not any(each.isdigit() for each in text):
        return False  # without a digit it may be wordsJoinedLikeThese
    kinds = [each.isupper() * 1 + each.isdigit() * 2 for each in text]
    changes = sum(a != b for a, b in pairwise(kinds))
    return changes * 4 >= len(text)


def _texts(value: Any, place: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], str, str]]:
    """Yield (place, name of the field, text) of every text, the names of fields among them."""
    match value:
        case dict():
            for name, each in value.items():
                yield (*place, "a name"), "", str(name)
                yield from _texts(each, (*place, str(name)))
        case list():
            for n, each in enumerate(value):
                yield from _texts(each, (*place, str(n)))
        case str():
            # Of a list it is the list that has a name.
            name = next((each for each in reversed(place) if not each.isdigit()), "")
            yield place, name, value
