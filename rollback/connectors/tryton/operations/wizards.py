"""Tryton's wizards: made, taken through their states, and put away. The state that does it is one transaction."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rollback.connectors.tryton.asking import Ask, Asks


def begin(wizard: str) -> Asks[Any]:
    """Return a new wizard's number. Changes nothing that people see."""
    made = yield Ask(
        f"wizard.{wizard}.create",
        (),
        about="Open the wizard",
        well=["{number of the wizard}", "start", "end"],
    )
    return made[0]


def run(
    wizard: str,
    number: Any,
    state: str,
    forms: Mapping[str, Any],
    *,
    model: str,
    row: Any,
    about: str,
    context: Mapping[str, Any] | None = None,
    well: Any = None,
) -> Asks[Any]:
    """Take a wizard into a state that writes, on one row. Returns what it wants next, if anything."""
    told = yield Ask(
        f"wizard.{wizard}.execute",
        (number, dict(forms), state),
        about=about,
        well={} if well is None else well,
        context={"active_model": model, "active_id": row, "active_ids": [row], **(context or {})},
        effect=True,
    )
    return told


def end(wizard: str, number: Any) -> Asks[None]:
    """Put a wizard away."""
    yield Ask(f"wizard.{wizard}.delete", (number,), about="Close the wizard")
