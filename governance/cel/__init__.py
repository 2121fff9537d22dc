"""Rules in CEL, behind our own words: tried in a limited child when they are saved, run here when they are asked.

    expression_hash = cel.checked("payload.amount.minor < 100000")   # when somebody saves it
    found = cel.ask("payload.amount.minor < 100000", expression_hash, {"payload": …})
    found.holds

Only `true` is a yes. Whatever else an expression comes to, and whatever goes wrong
with it, is a no that says why. Source: docs/decisions/0041.
"""

from __future__ import annotations

from governance.cel.asking import Asked, ask
from governance.cel.money import major, minor, with_minor
from governance.cel.trying import LENGTH, BadExpression, Tried, checked, hash_of, try_out

__all__ = [
    "LENGTH",
    "Asked",
    "BadExpression",
    "Tried",
    "ask",
    "checked",
    "hash_of",
    "major",
    "minor",
    "try_out",
    "with_minor",
]
