"""What the panel is made of. Nothing here has behaviour, but for the stamp."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal


@dataclass(frozen=True, slots=True)
class Stage:
    """One part of the strip. `kind` is done, here, bad or nothing."""

    name: str
    words: str
    kind: str = ""


@dataclass(frozen=True, slots=True)
class Line:
    """One unit. `kind` is done, failed, doubt, here, reversed, kept or wait."""

    n: int
    name: str
    key: str
    kind: str
    icon: str  # "" = its number
    how: str  # stands between its key and the target's reference
    reference: str
    result: str
    amount: Decimal | None
    currency: str
    tries: tuple[str, ...] = ()
    is_here: bool = False  # it is what everything waits for


@dataclass(frozen=True, slots=True)
class Attempt:
    """One run."""

    icon: str
    words: str
    times: str
    said: str


@dataclass(frozen=True, slots=True)
class Change:
    """One field of one record."""

    record: str  # "" = the same as in the row above
    field: str
    before: str
    left: str
    now: str = ""
    drift: bool = False  # somebody else changed it after us


@dataclass(frozen=True, slots=True)
class Records:
    """What was snapshot, and the fields that differ since."""

    words: str = ""
    changes: tuple[Change, ...] = ()
    more: int = 0
    drifted: int = 0


@dataclass(frozen=True, slots=True)
class Told:
    """One thing in place: what happened, and what holds. `kind` is a note's."""

    kind: str
    lead: str
    text: str = ""


@dataclass(frozen=True, slots=True)
class Offer:
    """What the reader may do about an undo, or why they may not. `kind` is order, confirm, stands or nothing."""

    kind: str = ""
    why_not: str = ""
    button: str = ""  # its words, without the dots
    question: str = ""  # repeats what, and how much
    effects: str = ""  # what an undo does, and what it does not
    standing: Told | None = None  # the order that stands
    reason: str = ""  # of the order that stands
    since: datetime | None = None
    until: datetime | None = None
    order: str = ""  # the key of the one that stands, sent back with the form


@dataclass(frozen=True, slots=True)
class Hands:
    """Who says how a failure goes on. `controls`: icon and words of what the reader may not do, and why."""

    told: tuple[Told, ...] = ()
    is_asked: bool = False  # the reader is: they choose on the request's page
    controls: tuple[tuple[str, str], ...] = ()
    why_not: str = ""


@dataclass(frozen=True, slots=True)
class Panel:
    """One request's doing and undoing, told to one reader. Holds nothing that passes by itself."""

    stages: tuple[Stage, ...]
    summary: Told
    units: tuple[Line, ...]
    staged: tuple[Line, ...]
    staged_head: str
    staged_words: str
    is_undoing: bool
    attempts: tuple[Attempt, ...]
    records: Records
    offer: Offer
    hands: Hands
    pulse_s: int  # how often it may change, in real seconds; 0 = it has ended

    @property
    def stamp(self) -> str:
        """A short name of all that this says: while it stays the same, nothing has changed."""
        return hashlib.sha256(repr(self).encode()).hexdigest()[:16]
