"""Children of this process: each does one thing on connections of its own, and is gone."""

from __future__ import annotations

import json
import os
import select
import signal
import time
import traceback
from collections.abc import Callable
from typing import Any, NamedTuple

from tools.processes import POLL_S


class Outcome(NamedTuple):
    """How a child ended."""

    answer: Any  # what its work returned; None if it was killed
    last_words: str  # of one that killed itself
    killed: bool


class ChildFailed(Exception):
    """A child ended as nobody meant it to. Its traceback, or what the system says of it."""


Say = Callable[[str], None]


def in_child(work: Callable[[Say], Any], *, within_s: float = 120.0) -> Outcome:
    """Do `work` in a forked child and return how that ended.

    Nothing may be open here that a child must not share: a database connection, a thread.

    Args:
        work: is given a function that leaves last words. Returns what JSON can hold.

    Raises ChildFailed where it raises, or takes longer than `within_s` real seconds.
    """
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reader)
        _live(work, writer)
    os.close(writer)
    try:
        said = _read(reader, child, within_s)
    finally:
        os.close(reader)
    _, status = os.waitpid(child, 0)
    words = [json.loads(line) for line in said.splitlines()]
    found = {kind: value for word in words for kind, value in word.items()}
    if os.WIFSIGNALED(status):
        number = os.WTERMSIG(status)
        if number == signal.SIGKILL and "last" in found:
            return Outcome(None, found["last"], killed=True)
        raise ChildFailed(f"it was ended by {signal.Signals(number).name}")
    if "failed" in found or "answer" not in found:
        raise ChildFailed(found.get("failed", f"it ended with {status} and said nothing"))
    return Outcome(found["answer"], "", killed=False)


def _live(work: Callable[[Say], Any], writer: int) -> None:
    """Do it, say what came of it, and end without what our parent would do at its end."""
    code = 0
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)  # how our parent tidies up is not for us
    try:

        def last(words: str) -> None:
            _write(writer, {"last": words})

        _write(writer, {"answer": work(last)})
    except BaseException:  # noqa: BLE001 - told to the parent, which raises it
        _write(writer, {"failed": traceback.format_exc()})
        code = 1
    finally:
        os._exit(code)


def _write(writer: int, word: dict[str, Any]) -> None:
    line = json.dumps(word).encode() + b"\n"
    while line:
        line = line[os.write(writer, line) :]


def _read(reader: int, child: int, within_s: float) -> str:
    """Read until the child is gone."""
    parts: list[bytes] = []
    deadline = time.monotonic() + within_s
    while True:
        if time.monotonic() > deadline:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
            raise ChildFailed(f"it was not done within {within_s:g} s")
        if not select.select([reader], [], [], POLL_S)[0]:
            continue
        part = os.read(reader, 65536)
        if not part:
            return b"".join(parts).decode()
        parts.append(part)
