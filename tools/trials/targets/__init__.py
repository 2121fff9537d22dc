"""Systems of record that can be put back to how they stood, and looked at past the connector."""

from __future__ import annotations

from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, Self

from rollback.models import Unit


class Target(Protocol):
    """One that runs for as long as it is entered.

    Attributes:
        key: as in RECOURSE_TARGETS.
        takes_keys: whether a second send under the same key changes nothing there. Where it does
            not, what a worker left open is a failure until no late call can be under way.
        patience_s: how long a call may take in a fault sweep, instead of its eight seconds.
    """

    key: str
    takes_keys: bool
    patience_s: float

    def __enter__(self) -> Self: ...
    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None: ...

    def address(self) -> dict[str, str]:
        """Return what settings.TARGETS holds of it: where it is and what opens it."""
        ...

    def keep(self) -> Path:
        """Return a copy of all it holds now."""
        ...

    def restore(self, kept: Path) -> None:
        """Go back to a copy."""
        ...

    def books(self) -> dict[str, Any]:
        """Return what it holds, read past the connector: `keys` of its effects, `balanced`, `rows`."""
        ...

    def finish(self, unit: Unit, direction: str) -> str:
        """Do as a person whom nothing but the target tells what is there: see that a unit is done, once.

        Or, with "undo", that nothing of it is left. Returns the target's reference.
        """
        ...
