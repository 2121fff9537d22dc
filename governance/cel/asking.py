"""Asks a rule that was checked when it was saved. Compiled once a process; it closes when in doubt."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any, NamedTuple

import cel as library

from governance.cel.child import run
from governance.cel.trying import hash_of


class Asked(NamedTuple):
    """An answer. `why` says what went wrong, where it is not simply a no."""

    holds: bool
    why: str = ""


def ask(expression: str, expression_hash: str, values: Mapping[str, Any]) -> Asked:
    """Return whether a rule holds. Anything but `true` is a no.

    Args:
        expression_hash: as `checked` returned it. An expression that it is not of
            was never checked, so it is not compiled here.
    """
    if hash_of(expression) != expression_hash:
        return Asked(False, "The expression is not the one that was checked when it was saved.")
    try:
        program = _program(expression)
    except ValueError:
        return Asked(False, "The expression does not compile any more.")
    result, error = run(program, dict(values))
    if error:
        return Asked(False, error)
    if not isinstance(result, bool):
        return Asked(False, "The expression came to something that is neither true nor false.")
    return Asked(result)


@lru_cache(maxsize=256)
def _program(expression: str) -> Any:
    return library.compile(expression)
