"""The whole ledger is read again each day, by the worker, and whenever an auditor asks.

A million events take longer than a task may: each task reads for a while, and the next
goes on behind the last chain that was read. How far it came stands in a heartbeat; what
was found stands in a row once the end is reached, with an event; the audit
`record_not_as_written` makes findings of it.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict
from datetime import datetime
from typing import Any

from django.db import transaction
from django.utils.dateparse import parse_datetime

from governance import actors, calls, clock, signs, stopping, wording
from governance.courier import guarded
from governance.errors import Refused
from governance.ledger import Act, instant
from governance.models import Heartbeat, Person, Verification
from governance.services.auditing import require_auditor
from governance.verify import BEGINNING, Interrupted, Place, Reading, Totals, findings
from governance.vocabulary import Chain

EVERY_S = 24 * 60 * 60.0  # real seconds from one reading's beginning to the next
LATE_S = 2 * EVERY_S  # since the last one ended; then it is a finding
SIT_S = 20.0  # real seconds of one sitting; a task is killed after 60
KEPT = 100  # findings that are kept word for word; all are counted
SIGN, ASKED = "verification", "verification-asked"


class UnderWay(Refused):
    """The record is being read already."""

    problem, title = "verification-under-way", "It is being read already"


def call_for_verification(*, now: datetime) -> int:
    """Have the worker read on, if a reading is due or under way. A sweep; returns 1 if it was called."""
    last = _progress()
    if last is None or last.facts or now - last.beat_at >= clock.technical(EVERY_S):
        return calls.call("governance.verifications.read_on", mark=ASKED, now=now)
    return 0


@guarded
def read_on() -> int:
    """Read for a while. A task; returns how many events were read."""
    ends = time.monotonic() + SIT_S
    return sit(
        now=clock.now(),
        enough=lambda: stopping.asked() or time.monotonic() > ends,
        ends=stopping.asked,
    )


def sit(
    *, now: datetime, enough: Callable[[], bool], ends: Callable[[], bool] = lambda: False
) -> int:
    """Begin a reading, or go on with the one under way, until it is enough. Returns how many events were read.

    One that is to end in the middle of a long chain or seal keeps nothing: the next reads that sitting again.

    Safe to run again, and from several processes: of two that read the same, one is kept.
    """
    before = _progress()
    facts = before.facts if before is not None and before.facts else _begun(actors.CLOCK, now)
    totals, reading = Totals(), Reading(Place(*facts["reached"]), enough, ends)
    kept: list[list[Any]] = list(facts["findings"])
    found = int(facts["found"])
    try:
        for each in findings(now, totals, reading):
            found += 1
            if len(kept) < KEPT:
                kept.append([each.chain, each.seq, wording.plain(each.what, 300)])
    except Interrupted:
        return 0  # the mark stands where it stood
    read = {name: facts[name] + count for name, count in asdict(totals).items()}
    after = {**facts, **read, "found": found, "findings": kept, "reached": reading.reached}
    return totals.events if _keep(before, after, now) else 0


@transaction.atomic
def ask(*, actor: Person, now: datetime) -> None:
    """Have the whole record read again now.

    Raises:
        NotYours: no auditor.
        UnderWay: it is being read already.
    """
    require_auditor(actor)
    Heartbeat.objects.get_or_create(name=SIGN, defaults={"beat_at": now})
    last = Heartbeat.objects.select_for_update(no_key=True).get(name=SIGN)
    if last.facts:
        raise UnderWay("The record is being read already. What is found stands here at its end.")
    by = actors.person(actor)
    signs.beat(SIGN, now=now, **_begun(by, now))
    act = Act(now=now, actor=by)
    act.record_named(Chain.SYSTEM, "ledger.verification_asked")
    act.write()


def under_way() -> dict[str, Any] | None:
    """Return how far the reading under way came, None if there is none: what `Totals` counts, and `begun_at`."""
    last = _progress()
    if last is None or not last.facts:
        return None
    return {**last.facts, "begun_at": parse_datetime(last.facts["begun_at"])}


def _progress() -> Heartbeat | None:
    """Return the mark of the last reading: with facts while it is under way, without once it ended."""
    return Heartbeat.objects.filter(name=SIGN).first()


def _begun(by: str, now: datetime) -> dict[str, Any]:
    return {
        "by": by, "begun_at": instant(now), "reached": list(BEGINNING), "found": 0, "findings": [],
        **asdict(Totals()),
    }  # fmt: skip


@transaction.atomic
def _keep(before: Heartbeat | None, facts: dict[str, Any], now: datetime) -> bool:
    """Store how far it came, or at the end what was found. False if somebody else did meanwhile."""
    Heartbeat.objects.get_or_create(name=SIGN, defaults={"beat_at": now})
    last = Heartbeat.objects.select_for_update(no_key=True).get(name=SIGN)
    if last.facts != (before.facts if before is not None else {}):
        return False
    if facts["reached"] is not None:
        signs.beat(SIGN, now=now, **{**facts, "reached": list(facts["reached"])})
        return True
    begun_at = parse_datetime(facts["begun_at"]) or now
    Verification.objects.create(
        asked_by=facts["by"], begun_at=min(begun_at, now), ended_at=now,
        events=facts["events"], chains=facts["chains"], seals=facts["seals"],
        found=facts["found"], findings=facts["findings"],
    )  # fmt: skip
    # The beat is that of the beginning: the next reading is due a day after that.
    signs.beat(SIGN, now=begun_at)
    act = Act(now=now, actor=facts["by"])
    act.record_named(
        Chain.SYSTEM, "ledger.verified", events=facts["events"], chains=facts["chains"],
        seals=facts["seals"], found=facts["found"], findings=facts["findings"],
    )  # fmt: skip
    act.write()
    return True
