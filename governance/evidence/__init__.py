"""Evidence packs: what an auditor takes away, and can check without us.

A pack is a zip of the events of one request with their proofs, the seals, what
stands beside the record, a page for people, and `verify.py`. What stands beside the
record comes from each package: `settings.RECOURSE_EVIDENCE` names the functions.
"""

from __future__ import annotations

from governance.evidence.packing import build, name_of
from governance.evidence.parts import Claim, Event, Head, Part, Section, Standing, Subject

__all__ = [
    "Claim",
    "Event",
    "Head",
    "Part",
    "Section",
    "Standing",
    "Subject",
    "build",
    "name_of",
]
