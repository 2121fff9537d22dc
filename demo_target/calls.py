"""A request as the handlers see it, and what they answer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from demo_target.refusals import Refusal


@dataclass(frozen=True)
class Call:
    """One request: what its path left open, its query, its body, and the version it was made for."""

    parts: Sequence[str] = ()
    query: Mapping[str, str] = field(default_factory=dict)
    body: Mapping[str, Any] = field(default_factory=dict)
    if_match: str = ""  # "" where it was not said

    def expect(self, version: int) -> None:
        """Refuse if the caller saw another version of the record that is about to be written."""
        if self.if_match in ("", "*"):
            return
        if self.if_match.removeprefix("W/").strip('"') != str(version):
            raise Refusal(
                412, "version", f"The record is at version {version}, not at {self.if_match}."
            )


@dataclass(frozen=True)
class Answer:
    """What is answered. A write's body has a `reference`; a record's has a version."""

    body: Mapping[str, Any]
    status: int = 200
    version: int | None = None
