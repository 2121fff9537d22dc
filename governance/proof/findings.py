"""What the proof comes to. Pure data."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import NamedTuple

from governance.vocabulary import ExceptionType, Impact, Severity


@dataclass(frozen=True, slots=True)
class Finding:
    """One hole, or one warning, with the counterexample that shows it.

    Attributes:
        key: the same in every version for the same class of request: at most 180 characters.
        sentence: the counterexample, in one sentence; says when first.
        kind: what it is about: "path", "match", "reviewer" and the like.
        row: number of the matrix row concerned, if it is one.
        since: the first instant at which it is so. UTC.
        until: the first instant after it at which it is not. None: not within the days looked at.
    """

    key: str
    sentence: str
    kind: str
    row: int | None = None
    since: datetime | None = None
    until: datetime | None = None


class WorstCase(NamedTuple):
    """How long an exception of one class may take at most, from its beginning to its end.

    A timeout begins at the submission. `request` is the most that the whole request
    may take, whatever happens to it.
    """

    department: str
    action: str
    band: str
    row: int
    exception: ExceptionType
    severity: Severity
    impact: Impact
    length: timedelta
    request: timedelta

    @property
    def hours(self) -> float:
        return round(self.length.total_seconds() / 3600, 2)

    @property
    def request_hours(self) -> float:
        return round(self.request.total_seconds() / 3600, 2)


@dataclass(frozen=True, slots=True)
class Report:
    """What a check found in one version.

    Attributes:
        version: its number.
        holes: none means that it is proved; ordered by key.
        warnings: likewise.
        worst_cases: of each class of request.
        classes: how many classes were proved.
        instants: how many instants were looked at, now among them.
    """

    version: int
    holes: tuple[Finding, ...]
    warnings: tuple[Finding, ...]
    worst_cases: tuple[WorstCase, ...]
    classes: int
    instants: int
