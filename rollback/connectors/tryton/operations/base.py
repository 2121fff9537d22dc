"""What an operation is: the steps that do it, and how it is known that they were done."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

from rollback.connectors.base import Json, OutcomeUnknown, Receipt
from rollback.connectors.tryton.asking import Asks

Steps = Callable[[Json, str, str], Asks[Receipt]]
Find = Callable[[str], Asks[Receipt | None]]


class Listed(NamedTuple):
    """Where an operation's marks stand, and which of Tryton's own instants moves when one is written."""

    model: str
    field: str
    stamp: Literal["create_date", "write_date"]
    domain: tuple[Any, ...] = ()

    @property
    def name(self) -> str:
        """Name the list for people, and for the bookmark in it."""
        return f"{self.model} {self.field} by {self.stamp}"


@dataclass(frozen=True, slots=True)
class Operation:
    """One kind of write.

    Attributes:
        schema: of a unit's body, JSON Schema.
        run: body, key, version -> its steps. Done already under this key, they
            change nothing and end with the same receipt; begun, they go on.
        find: key -> what was done under it; None unless all of it was.
        listed: where its marks are found again without a key.
        check: of a body that its schema takes; raises ValueError where it cannot be done.
        goes_back_only: it takes several writes, so that begun and not finished it is neither
            done nor nothing: a reversal is gone on with, a unit forward would be taken for not done.
    """

    schema: Json
    run: Steps
    find: Find
    listed: Listed
    check: Callable[[Json], object] = lambda body: None
    goes_back_only: bool = False


def done(receipt: Receipt | None, why: str) -> Receipt:
    """Return what was found of our own write. Raises OutcomeUnknown if it cannot be found."""
    if receipt is None:
        raise OutcomeUnknown(f"{why}, and it is not there when asked for by its key.")
    return receipt
