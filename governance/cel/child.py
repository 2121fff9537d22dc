"""The limited process in which an expression is compiled, and may be run once.

Started as a file of its own, with nothing of ours on its path: it sets its limits
before it loads the library, reads one JSON document and writes one.
"""

from __future__ import annotations

import json
import resource
import sys
from typing import Any

CPU_S = 2
MEMORY = 1 << 30  # bytes of address space
INT64 = 2**63 - 1
ERROR_LENGTH = 300


def limit() -> None:
    """Take from this process what a parser that runs wild would need."""
    for what, most in (
        (resource.RLIMIT_CPU, CPU_S),
        (resource.RLIMIT_AS, MEMORY),
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_CORE, 0),
    ):
        resource.setrlimit(what, (most, most))


def total(numbers: object) -> int | None:
    """The function `total` of expressions: the sum of whole numbers; null for anything else.

    null, not an error: the library prints errors of functions.
    """
    if not isinstance(numbers, list) or not all(type(each) is int for each in numbers):
        return None
    found = sum(numbers)
    return found if abs(found) <= INT64 else None  # beyond it the library would go on in floats


def run(program: Any, values: dict[str, Any]) -> tuple[Any, str]:
    """Return what a compiled expression comes to, and if it comes to nothing, why."""
    import cel

    context = cel.Context(values)
    context.add_function("total", total)
    try:
        return program.execute(context), ""
    except (ArithmeticError, LookupError, RuntimeError, TypeError, ValueError) as problem:
        return None, said(problem)


def said(problem: Exception) -> str:
    """Say in one short line what an expression failed with."""
    what = str(problem.args[0]) if problem.args else ""
    if isinstance(problem, KeyError):
        return f"{what} is not there."[:ERROR_LENGTH]
    line = " ".join(what.split()) or type(problem).__name__
    return line[:ERROR_LENGTH]


def main() -> None:
    limit()
    import cel

    given = json.load(sys.stdin)
    try:
        program = cel.compile(given["expression"])
    except ValueError as problem:
        json.dump({"compiles": False, "error": said(problem)}, sys.stdout)
        return
    if "values" not in given:
        json.dump({"compiles": True, "names": sorted(program.variables())}, sys.stdout)
        return
    result, error = run(program, given["values"])
    json.dump({"compiles": True, "result": result, "error": error}, sys.stdout, default=str)


if __name__ == "__main__":
    main()
