"""What is asked of Tryton, apart from the asking: an operation yields questions and is told the answers.

So the same steps are sent, shown to people who try an action type, and tested
without a server.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

from rollback.connectors.base import NotDone, Rejected

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Ask:
    """One call. Each is a transaction of its own in Tryton: done wholly, or not at all."""

    method: str  # "model.account.invoice.post"
    args: tuple[Any, ...]  # as sent, without the context that ends them
    about: str  # for people: "Post the invoice"
    # The answer if all is well, where nobody is asked: what only Tryton knows stands in braces.
    well: Any = None
    context: Mapping[str, Any] = field(default_factory=dict)  # beside the user's own
    effect: bool = False  # books or records differ afterwards, not only what prepares for it


Asks = Generator[Ask, Any, T]


class Stale(NotDone):
    """Somebody else wrote the record since we read it: ConcurrencyException."""


class Warned(Rejected):
    """Tryton stops and asks whether we mean it: UserWarning. Said by its name, it would let it pass."""

    def __init__(self, said: str, *, name: str) -> None:
        super().__init__(said)
        self.name = name


def dry(asks: Asks[T]) -> tuple[list[Ask], T]:
    """Return what would be asked if each question were answered well, and what would come of it."""
    asked: list[Ask] = []
    try:
        each = next(asks)
        while True:
            asked.append(each)
            each = asks.send(each.well)
    except StopIteration as end:
        return asked, end.value


def only_if(model: str, found: Mapping[str, Any]) -> dict[str, Any]:
    """Return the context that has a write refused if the record is not as it was read."""
    return {"_timestamp": {f"{model},{found['id']}": found["_timestamp"]}}
