"""The edge of packing: what is not sealed yet is sealed first, so that a pack proves its last event too."""

from __future__ import annotations

from governance import clock, seals, ticking
from governance.courier import SEALING
from governance.evidence.packing import build
from governance.evidence.parts import Subject


def sealed_pack(subject: Subject, *, by: str) -> bytes:
    """Seal, and return the pack. Where sealing fails an alert says so, and the pack what has no seal."""
    hands = ticking.Hands("evidence", now=clock.now, sweeps={})
    hands.attempt(SEALING, seals.seal_now)
    return build(subject, by=by, now=clock.now())
