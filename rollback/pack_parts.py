"""What an evidence pack tells of doing and undoing: the records as they were, and as we left them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from governance import ledger
from governance.commitments import HIDDEN
from governance.errors import Unprocessable
from governance.evidence.page import shown, shown_instant
from governance.evidence.parts import Part, Section, Subject, fact
from governance.models import AuditEvent
from rollback.models import Snapshot

VALUE = 300  # characters of a field, on the page
KINDS = {"before": "snapshot.taken", "after": "snapshot.compared"}


def parts(subject: Subject) -> Iterator[Part]:
    """Yield the snapshots of a request, with what its action type keeps back left out."""
    rows = list(
        Snapshot.objects.filter(request__ref=subject.ref)
        .select_related("request__action_type")
        .order_by("pk")
    )
    events = _events(subject.ref)
    found = [_snapshot(row, events) for row in rows]
    lines = [line for each in found for line in _lines(each)]
    hidden = sum(line[2] == HIDDEN or line[3] == HIDDEN for line in lines)
    lead = f"{hidden} fields are left out, as the action type says." if hidden else ""
    head = ("Record", "Field", "Before", "As we left it")
    yield Part(
        file="snapshots.json",
        content=found,
        sections=[Section("The target's records", lead, head, lines)],
    )


def _events(ref: str) -> dict[tuple[str, str], AuditEvent]:
    """Return by side and record the last event of it."""
    rows = AuditEvent.objects.filter(chain=ref, kind__in=KINDS.values()).order_by("seq")
    sides = {kind: side for side, kind in KINDS.items()}
    return {(sides[row.kind], str(fact(row, "record"))): row for row in rows}


def _snapshot(row: Snapshot, events: dict[tuple[str, str], AuditEvent]) -> dict[str, Any]:
    return {
        "record": row.record,
        "version": row.version,
        "taken_at": ledger.instant(row.taken_at),
        "left_at": None if row.left_at is None else ledger.instant(row.left_at),
        "before": _state(row, "before", events),
        "after": None if row.left_at is None else _state(row, "after", events),
    }


def _state(row: Snapshot, side: str, events: dict[tuple[str, str], AuditEvent]) -> dict[str, Any]:
    event = events.get((side, row.record))
    place = None if event is None else [event.chain, event.seq]
    try:
        fields = [each.as_shown for each in row.fields(side)]
    except Unprocessable:  # whose words may quote what is kept back
        why = "This state has no canonical form, and no digest."
        return {"event": place, "fields": [], "why": why}
    if not row.salt:  # without one, the digest of what is left out could be guessed
        fields = [each for each in fields if "value" in each]
    return {"event": place, "fields": fields}


def _lines(found: dict[str, Any]) -> Iterator[tuple[str, str, str, str]]:
    before, after = (_by_pointer(found[side]) for side in KINDS)
    taken = shown_instant(found["taken_at"])
    record = f"{shown(found['record'], VALUE)}, read {taken}"
    for pointer in sorted({*before, *after}):
        was = before.get(pointer, "not there")
        left = after.get(pointer, "not there" if found["after"] else "not read since")
        yield record, shown(pointer, VALUE) or "the whole", was, left


def _by_pointer(state: dict[str, Any] | None) -> dict[str, str]:
    fields = [] if state is None else state["fields"]
    return {
        each["pointer"]: shown(each["value"], VALUE) if "value" in each else HIDDEN
        for each in fields
    }
