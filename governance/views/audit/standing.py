"""How the record stands: when it was last read as a whole and what was found, what is sealed, what waits."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from governance import clock, seals, verifications
from governance.models import AuditEvent, Seal, SealedEvent, Verification


@dataclass(frozen=True, slots=True)
class Standing:
    """What the head of the page says."""

    last: Verification | None
    reading: dict[str, Any] | None  # how far the one under way came
    late: bool  # nobody has read it for two days
    seal: Seal | None
    waiting: bool  # some event is newer than the last seal
    exported: int | None  # number of the last seal in the file outside; None: not to be read here


def standing(now: datetime) -> Standing:
    """Return how the record stands. Five queries, whatever its length."""
    last = Verification.objects.order_by("-ended_at", "-pk").first()
    late_after = clock.technical(verifications.LATE_S)
    seal = Seal.objects.order_by("-number").first()
    leaf = SealedEvent.objects.filter(seal=seal, position=seal.size - 1).first() if seal else None
    return Standing(
        last=last,
        reading=verifications.under_way(),
        late=last is not None and now - last.ended_at > late_after,
        seal=seal,
        exported=seals.last_exported(),
        waiting=AuditEvent.objects.filter(pk__gt=leaf.event_id if leaf else 0).exists(),
    )
