"""One record, one line: what an agent sends can never look like a line of our own."""

from __future__ import annotations

import logging
import re
import traceback
from collections.abc import Generator, Iterator
from contextlib import AbstractContextManager, contextmanager
from datetime import UTC, datetime
from typing import Any, Literal

from structlog.contextvars import (
    bind_contextvars,
    bound_contextvars,
    get_contextvars,
    unbind_contextvars,
)
from structlog.processors import JSONRenderer
from structlog.stdlib import ProcessorFormatter

# Everything that a terminal, a log shipper or an editor may take for a line end or a command:
# C0 and C1 controls with DEL, the Unicode line ends, and marks that turn the reading direction.
_UNSAFE = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\u200e\u200f\u202a-\u202e\u2066-\u2069]")
QUEUE = "django-q"  # the logger of the task queue
MESSAGE_LENGTH, CRASH_LENGTH = 4000, 12_000  # characters: shippers cut a line at 16 KiB
PLAIN = "%(asctime)s %(levelname)s %(name)s %(message)s"

Form = Literal["text", "json"]


def about(**facts: str) -> AbstractContextManager[None]:
    """Have every line that is logged inside say what it is about.

    Args:
        facts: `ref` (of an action request), `request_id`, `trace_id`, `task`, `sweep`:
            identifiers of ours or checked by us, never what somebody wrote.
    """
    return bound_contextvars(**facts)


@contextmanager
def about_what_follows() -> Generator[None]:
    """Forget at the end what `now_about` said inside."""
    try:
        yield
    finally:
        unbind_contextvars("ref")


def now_about(ref: str) -> None:
    """Have the lines from here on say that they are about this action request, which has come to be known."""
    bind_contextvars(ref=ref)


def formatter(form: Form) -> logging.Formatter:
    """Return what writes a line: for people, or one JSON object for machines."""
    return in_json() if form == "json" else OneLine(PLAIN)


class OneLine(logging.Formatter):
    r"""Write a record on one line, what it is about at its end; unsafe characters are escaped, as \n or \u2028.

    A traceback is part of its record, so it is written on the same line.
    """

    def format(self, record: logging.LogRecord) -> str:
        subject = "".join(f" {name}={value}" for name, value in sorted(get_contextvars().items()))
        return _UNSAFE.sub(_escaped, super().format(record) + subject)


def _escaped(match: re.Match[str]) -> str:
    return match[0].encode("unicode_escape").decode("ascii")


def in_json() -> logging.Formatter:
    """Return what writes a record as one JSON object of plain ASCII.

    `time` (RFC 3339, UTC), `level`, `logger`, `message`, `pid`; what `about` says; and
    `exception` where there is one: the frames and the first line of each error's
    text. PostgreSQL quotes the whole row in the lines after it, payload and all.
    """
    return ProcessorFormatter(foreign_pre_chain=[_described], processors=[_rendered])


def _described(logger: Any, method: str, event: Any) -> Any:
    record: logging.LogRecord = event["_record"]
    told: dict[str, Any] = {
        "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
        "level": record.levelname,
        "logger": record.name,
        "message": _cut(_safe(record.name, event["event"]), MESSAGE_LENGTH),
        "pid": record.process,
        **get_contextvars(),
    }
    if record.exc_info and (problem := record.exc_info[1]) is not None:
        told["exception"] = _cut("\n".join(_crash(problem)), CRASH_LENGTH)
    return told


def _safe(logger: str, message: str) -> str:
    """Cut what the queue writes at its first line: it writes whole tracebacks, as the database words them."""
    return message.partition("\n")[0] if logger == QUEUE else message


def _rendered(logger: Any, method: str, event: Any) -> str:
    # JSON leaves DEL as it is. All else that is unsafe is not ASCII, or a control that it escapes.
    return str(JSONRenderer()(logger, method, event)).replace("\x7f", "\\u007f")


def _crash(problem: BaseException) -> Iterator[str]:
    """Yield the frames and the errors, the cause first, as Python prints them but for the errors' later lines."""
    seen: set[int] = set()
    chain: list[BaseException] = []
    each: BaseException | None = problem
    while each is not None and id(each) not in seen:
        seen.add(id(each))
        chain.append(each)
        each = each.__cause__ or (None if each.__suppress_context__ else each.__context__)
    for found in reversed(chain):
        yield "".join(traceback.format_tb(found.__traceback__)).rstrip()
        yield f"{type(found).__qualname__}: {str(found).partition(chr(10))[0]}"


def _cut(text: str, length: int) -> str:
    return text if len(text) <= length else f"{text[:length]} … {len(text) - length} more"
