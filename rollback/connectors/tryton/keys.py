"""Where our keys stand in Tryton, which knows no idempotency keys: in texts of the documents themselves.

What is done to a document is a mark in it: a word and the key of the unit that did
it, "Post tryton:…~0/2". People may copy a document, marks and all: of several
the oldest is the one that we wrote.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

# A word, and what a key of a unit looks like: DESIGN 5.
_MARK = re.compile(r"[A-Z][a-z]+ (?P<key>\S.*~\d+/(undo/)?\d+)")
ENTER, POST, CANCEL, PAY, CREDIT, UPDATE = "Enter", "Post", "Cancel", "Pay", "Credit", "Update"


def mark(word: str, key: str) -> str:
    """Return what is written into a document when this is done to it under this key."""
    return f"{word} {key}"


def told_of(text: str | None) -> list[str]:
    """Return the keys of the marks in a text, from the first line on."""
    lines = (line.rstrip("\r") for line in (text or "").split("\n"))
    return [found.group("key") for line in lines if (found := _MARK.fullmatch(line))]


def sibling(key: str, position: int) -> str:
    """Return the key of another unit of the same request. Keys end in their position: DESIGN 5."""
    head, slash, _ = key.rpartition("/")
    if not slash:
        raise ValueError(f"{key!r} is no key of a unit")
    return f"{head}/{position}"


def anywhere(marked: str) -> str:
    """Return a pattern that finds a text with this mark as one of its lines, and others: look with `first`.

    What stands for other characters in a pattern stands for itself as well. A
    backslash is not known to do so on every database.
    """
    return f"%{marked.replace(chr(92), '_')}%"


def holds(text: str | None, marked: str) -> bool:
    """Whether one line of a text is this mark, to the letter. People's clients may end lines with CR LF."""
    return any(line.rstrip("\r") == marked for line in (text or "").split("\n"))


def added(text: str | None, marked: str) -> str:
    """Return a text with this mark as its last line."""
    return f"{text}\n{marked}" if text else marked


def first(rows: Iterable[Mapping[str, Any]], field: str, marked: str) -> Mapping[str, Any] | None:
    """Return the oldest row whose field holds the mark; None if none does. `rows`: the oldest first."""
    return next((row for row in rows if holds(row[field], marked)), None)
