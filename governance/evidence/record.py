"""The record's own part of a pack: events with their proofs, the seals, and the keys."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from django.db.models import Q

from governance import ledger, seals
from governance.events import Event as EventKind
from governance.evidence.parts import Event, Head
from governance.evidence.proofs import paths
from governance.models import AuditEvent, Seal, SealedEvent

# Seals that only link others: three busy days'. Beyond them a gap is told, and the export closes it.
MOST_LINKS = 5_000


class Record(NamedTuple):
    """What the ledger has of one chain, and of some events of others. All of it JSON."""

    events: list[dict[str, Any]]
    head: Head  # of the chain, as far as it is told
    seals: list[dict[str, Any]]
    keys: list[dict[str, str]]


def record_of(chain: str, head: Head, others: Iterable[Event]) -> Record:
    """Read a chain from its beginning, and events of named chains beside it.

    Where it ends with the making of packs that no seal covers yet, it is read up to
    there: they are about the packs, this one among them, and stand in a later one.

    Args:
        head: as the request's row says. What is left of a chain whose tail was cut tells
            of no more than is left.
    """
    wanted = Q(chain=chain)
    for each in others:
        wanted |= Q(chain=each.chain, seq=each.seq)
    rows = list(AuditEvent.objects.filter(wanted).select_related("sealed"))
    rows.sort(key=lambda row: (row.chain != chain, row.chain, row.seq))
    head = _leave_own_making(rows, chain, head)
    leaves = [row.sealed for row in rows if hasattr(row, "sealed")]
    own = {row.sealed.seal_id for row in rows if row.chain == chain and hasattr(row, "sealed")}
    sealed = _seals({leaf.seal_id for leaf in leaves}, own)
    proofs = _proofs(leaves)
    return Record([_event(row, proofs) for row in rows], head, sealed, _keys())


def _leave_own_making(rows: list[AuditEvent], chain: str, head: Head) -> Head:
    """Take the making of packs off the end of a chain, and return where it ended before."""
    for row in reversed([row for row in rows if row.chain == chain]):
        if row.kind != EventKind.EVIDENCE_PACKED or hasattr(row, "sealed"):
            break
        if head != (row.seq, row.hash):
            break
        rows.remove(row)
        head = Head(row.seq - 1, row.prev_hash)
    return head


def _event(row: AuditEvent, proofs: dict[int, dict[str, Any]]) -> dict[str, Any]:
    return {
        "chain": row.chain,
        "seq": row.seq,
        "kind": row.kind,
        "actor": row.actor,
        "on_behalf_of": row.on_behalf_of,
        "facts": row.facts,
        "cause": str(row.cause),
        "at": ledger.instant(row.at),
        "prev_hash": row.prev_hash,
        "hash": row.hash,
        "proof": proofs.get(row.pk),
    }


def _proofs(leaves: Sequence[SealedEvent]) -> dict[int, dict[str, Any]]:
    """Return by event where it is a leaf, and by which path that leads to the root."""
    by_seal: dict[int, dict[int, int]] = {}
    for leaf in leaves:
        by_seal.setdefault(leaf.seal_id, {})[leaf.position] = leaf.event_id
    found = {}
    for seal, events in by_seal.items():
        hashes = SealedEvent.objects.filter(seal=seal).order_by("position")
        tree = [bytes.fromhex(h) for h in hashes.values_list("event__hash", flat=True).iterator()]
        for position, path in paths(tree, events).items():
            proof = {"seal": seal, "position": position, "path": [node.hex() for node in path]}
            found[events[position]] = proof
    return found


def _seals(numbers: set[int], own: set[int]) -> list[dict[str, Any]]:
    """Return the seals in question with the one before each, and those that link the chain's own to the newest.

    Of a link there is no signature: a later seal, which has one, leads to its hash. The
    one before a seal shows what that was the first to cover.
    """
    newest = Seal.objects.order_by("number").last()
    if newest is None:
        return []
    signed = {*numbers, newest.number}
    linked = Seal.objects.filter(
        number__gte=min(own, default=newest.number), number__lte=newest.number
    )
    found = linked.order_by("-number")[:MOST_LINKS]
    wanted = signed | {number - 1 for number in numbers}
    rows = {row.number: row for row in [*found, *Seal.objects.filter(number__in=wanted)]}
    alone = {number for number in rows if number + 1 not in rows}  # before a gap, or the newest
    return [_seal(rows[number], signed=number in signed | alone) for number in sorted(rows)]


def _seal(row: Seal, *, signed: bool) -> dict[str, Any]:
    line = seals.exported(row, None)
    del line["public_key"]
    if not signed:
        del line["signature"]
    return line


def _keys() -> list[dict[str, str]]:
    return [
        {"key_id": key.id, "public_key": base64.b64encode(key.public).decode()}
        for key in sorted(seals.trusted_keys().values())
    ]
