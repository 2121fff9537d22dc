"""Takes an expression from somebody who may save one: bounded, compiled in a limited child, hashed."""

from __future__ import annotations

import hashlib
import json
import re
import subprocess
import sys
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

from governance.errors import Unprocessable

LENGTH = 1000  # characters
WITHIN_S = 10.0  # real seconds, for the child to start and to answer
NAMES = frozenset({"payload", "request", "facts", "done"})
CHILD = Path(__file__).with_name("child.py")
_STRINGS = re.compile(r'"(?:\\.|[^"\\])*"|\'(?:\\.|[^\'\\])*\'')
_LOOP = re.compile(
    r"\.\s*(?:all|exists|exists_one|existsOne|map|filter|transformList|transformMap)\s*\(\s*(\w*)"
)


class BadExpression(Unprocessable):
    """It cannot be a rule."""

    problem, title = "bad-expression", "Not an expression that can be used"


class Tried(NamedTuple):
    """What came of running an expression in the child. `error` is "" where it came to something."""

    result: Any
    error: str


def hash_of(expression: str) -> str:
    """Return the SHA-256 that is kept with an expression and with each answer it gives."""
    return hashlib.sha256(expression.encode()).hexdigest()


@lru_cache(maxsize=256)
def checked(expression: str) -> str:
    """Try an expression that somebody wants to save, and return the hash to keep with it.

    Raises BadExpression: too long; a loop within a loop, which could run for as
    long as an agent's payload makes it; it does not compile, or not within the
    limits; it names what no rule is given.
    """
    found = _asked(expression, {})
    loops = {each.group(1) for each in _LOOP.finditer(_without_text(expression))}
    unknown = sorted(set(found["names"]) - NAMES - loops)
    if unknown:
        raise BadExpression(
            f"There is no {', '.join(unknown)}: a rule is given {', '.join(sorted(NAMES))}."
        )
    return hash_of(expression)


def try_out(expression: str, values: Mapping[str, Any]) -> Tried:
    """Run an expression once, in the child. Raises BadExpression, as `checked`."""
    found = _asked(expression, {"values": dict(values)})
    return Tried(found.get("result"), found.get("error", ""))


def _asked(expression: str, more: Mapping[str, Any]) -> dict[str, Any]:
    expression = expression.strip()
    if not expression:
        raise BadExpression("Write an expression.")
    if len(expression) > LENGTH:
        raise BadExpression(f"An expression has at most {LENGTH:,} characters.")
    if not expression.isprintable() and not expression.replace("\n", " ").isprintable():
        raise BadExpression("An expression is plain text.")
    if _nests(expression):
        raise BadExpression(
            "A loop within a loop could run for very long. Use one after the other."
        )
    found = _run_child({"expression": expression, **more})
    if not found["compiles"]:
        raise BadExpression(f"It does not compile: {found['error']}")
    return found


def _run_child(given: Mapping[str, Any]) -> dict[str, Any]:
    try:
        ran = subprocess.run(  # noqa: S603 - our own file, and no shell
            [sys.executable, "-I", str(CHILD)],
            input=json.dumps(given, default=str),
            capture_output=True, text=True, timeout=WITHIN_S, check=True, env={},
        )  # fmt: skip
        found: dict[str, Any] = json.loads(ran.stdout)
    except (subprocess.SubprocessError, ValueError) as problem:
        raise BadExpression(
            "It could not be compiled and run within its limits of time and memory."
        ) from problem
    return found


def _nests(expression: str) -> bool:
    """Whether a loop stands in the parentheses of another one."""
    text = _without_text(expression)
    for found in _LOOP.finditer(text):
        depth = 1
        for end in range(found.end(), len(text)):
            depth += {"(": 1, ")": -1}.get(text[end], 0)
            if depth == 0:
                break
        else:
            end = len(text)
        if _LOOP.search(text, found.end(), end):
            return True
    return False


def _without_text(expression: str) -> str:
    """Return it with what stands in quotes blanked out, of the same length."""
    return _STRINGS.sub(lambda found: " " * len(found.group()), expression)
