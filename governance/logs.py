"""One record, one line: what an agent sends can never look like a line of our own."""

from __future__ import annotations

import logging
import re

# Everything that a terminal, a log shipper or an editor may take for a line end or a command:
# C0 and C1 controls with DEL, the Unicode line ends, and marks that turn the reading direction.
_UNSAFE = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\u200e\u200f\u202a-\u202e\u2066-\u2069]")


class OneLine(logging.Formatter):
    r"""Write a record on one line; unsafe characters are escaped, as \n, \x1b or \u2028.

    A traceback is part of its record, so it is written on the same line.
    """

    def format(self, record: logging.LogRecord) -> str:
        return _UNSAFE.sub(_escaped, super().format(record))


def _escaped(match: re.Match[str]) -> str:
    return match[0].encode("unicode_escape").decode("ascii")
