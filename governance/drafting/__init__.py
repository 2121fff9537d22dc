"""What is typed into a draft of a policy: read, judged, written down again, and compared.

Nothing here writes: `governance.services.policy` does. What is typed and what is
recorded are keys, so that both mean the same in a file, on a page and in the
ledger: departments, action types and roles by key, people by user name.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from governance.errors import Unprocessable


class Mistake(NamedTuple):
    """One thing to mend, and where: `row` is a matrix row's number, or a line of a file; None for the rest."""

    row: int | None
    field: str  # "" = the whole row
    words: str


class NotRight(Unprocessable):
    """What was typed cannot be taken. Nothing of it was stored."""

    problem, title = "not-right-yet", "Not stored yet"

    def __init__(self, mistakes: Iterable[Mistake]) -> None:
        self.mistakes = tuple(mistakes)
        super().__init__(
            " ".join(dict.fromkeys(each.words for each in self.mistakes)),
            mistakes=[each._asdict() for each in self.mistakes],
        )

    def of(self, row: int | None) -> dict[str, str]:
        """Return the first mistake of each field of a row."""
        found: dict[str, str] = {}
        for each in self.mistakes:
            if each.row == row:
                found.setdefault(each.field, each.words)
        return found
