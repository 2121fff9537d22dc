"""The append-only record. All three packages write here; none reads it to decide.

Every event belongs to one chain and holds the hash of the one before it. The
chain's head, its length and last hash, moves in the same transaction on a row
the writer has locked anyway: a cut tail shows, and no two requests wait for
each other.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from enum import Enum
from typing import Any, NamedTuple, Protocol
from uuid import UUID, uuid4

from django.db import connection
from django.db.models import F
from django.db.models.functions import Collate

from governance import bulk, canonical, events
from governance.models import AuditEvent, ChainHead
from governance.vocabulary import Chain

VERSION = 1  # of what an event's hash covers
NAME_LENGTH = 120  # of AuditEvent.actor and on_behalf_of


class Chained(Protocol):
    """A row that is the head of a chain: an ActionRequest."""

    chain_length: int  # events so far
    chain_hash: str  # of the last of them; not read while there is none

    @property
    def chain_name(self) -> str: ...


class Entry(NamedTuple):
    """An AuditEvent not yet written, column by column."""

    chain: str
    seq: int
    kind: str
    actor: str
    on_behalf_of: str
    facts: dict[str, Any]
    cause: UUID
    at: datetime
    prev_hash: str
    hash: str


class Act:
    """All events of one act: one actor, one instant, one cause.

    Record while the act is done, write once at its end:

        act = ledger.Act(now=now, actor="clock")
        act.record(request, "step.expired", level=step.level, late=step.overdue_by(now))
        request.save()
        act.write()
    """

    def __init__(
        self, *, now: datetime, actor: str, on_behalf_of: str = "", cause: UUID | None = None
    ) -> None:
        """Begin an act.

        Args:
            now: aware.
            actor: kind, key and name: "person:12 Finance Manager". Cut at 120
                characters, so that a long name, which stands last, stops nobody.
            on_behalf_of: likewise, or blank.
            cause: of the act this one goes on with; a new one by default.
        """
        self.now = now
        self.actor = actor[:NAME_LENGTH]
        self.on_behalf_of = on_behalf_of[:NAME_LENGTH]
        self.cause = cause or uuid4()
        self._linked: list[Entry] = []
        self._waiting: list[tuple[Chain, str, dict[str, Any]]] = []

    def record(self, holder: Chained, kind: str, /, **facts: Any) -> None:
        """Link one event to the holder's chain, and move its head in memory.

        The caller holds the lock on the holder's row and saves `chain_length`
        and `chain_hash` in the same transaction. After a rollback the holder
        must be read again.

        Raises ValueError for a kind that `governance.events` does not know,
        TypeError for a fact that `plain` cannot turn into JSON, and
        Unprocessable for text that PostgreSQL cannot hold.
        """
        entry = self._link(
            holder.chain_name,
            holder.chain_length,
            holder.chain_hash,
            events.known(kind),
            plain(facts),
        )
        holder.chain_length, holder.chain_hash = entry.seq, entry.hash
        self._linked.append(entry)

    def record_named(self, chain: Chain, kind: str, /, **facts: Any) -> None:
        """Keep one event for a named chain; `write` links it, under that chain's lock. Raises as `record`."""
        self._waiting.append((chain, events.known(kind), plain(facts)))

    def write(self) -> None:
        """Write what was recorded, in the caller's transaction. See `write`."""
        write([self])

    def _link(
        self, chain: str, length: int, last_hash: str, kind: str, facts: dict[str, Any]
    ) -> Entry:
        prev_hash = last_hash if length else genesis(chain)
        parts = chain, length + 1, kind, self.actor, self.on_behalf_of, facts, self.cause, self.now
        return Entry(*parts, prev_hash, event_hash(*parts, prev_hash))


def write(acts: Iterable[Act]) -> None:
    """Write the events of several acts at once, as a sweep does with its batch.

    Named chains come last: their heads are the last rows a transaction locks,
    by name, so that no two writers wait for each other in a circle. What was
    written is forgotten: writing twice writes once.

    Raises RuntimeError outside a transaction, where a change could be kept
    and its record lost.
    """
    if not connection.in_atomic_block:
        raise RuntimeError("the ledger is written in the transaction of what it records")
    acts = list(acts)
    entries = [entry for act in acts for entry in act._linked]
    heads = {head.name: head for head in lock_heads({c for act in acts for c, *_ in act._waiting})}
    for act in acts:
        for chain, kind, facts in act._waiting:
            head = heads[chain]
            entry = act._link(head.name, head.length, head.last_hash, kind, facts)
            head.length, head.last_hash = entry.seq, entry.hash
            entries.append(entry)
    if entries:
        bulk.insert_rows(AuditEvent, Entry._fields, entries)
    bulk.save_differing(ChainHead, list(heads.values()), ["length", "last_hash"])
    for act in acts:
        act._linked.clear()
        act._waiting.clear()


def lock_heads(names: Iterable[str]) -> Sequence[ChainHead]:
    """Lock and return the heads of named chains, in the order of their names.

    A head that is not there yet is made, of length 0.
    """
    names = sorted(str(name) for name in names)
    if not names:
        return []
    heads = ChainHead.objects.filter(name__in=names).order_by("name")
    missing = sorted(set(names) - {head.name for head in heads})
    # Of two writers who miss the same head one waits here for the other, then both find it.
    ChainHead.objects.bulk_create(
        [ChainHead(name=name, length=0, last_hash=genesis(name)) for name in missing],
        ignore_conflicts=True,
    )
    return list(heads.select_for_update(no_key=True))


def genesis(chain_name: str) -> str:
    """Return what stands as the hash before a chain's first event.

    From the chain's name alone, so that it is known before any row exists and
    no chain's events can pass for the beginning of another.
    """
    return hashlib.sha256(f"recourse ledger {VERSION} {chain_name}".encode()).hexdigest()


def by_name(column: str) -> Collate | F:
    """Return an ordering by the names of chains in which every database and Python agree."""
    return Collate(column, "C") if connection.vendor == "postgresql" else F(column)


def event_hash(
    chain: str,
    seq: int,
    kind: str,
    actor: str,
    on_behalf_of: str,
    facts: Any,
    cause: UUID,
    at: datetime,
    prev_hash: str,
) -> str:
    """Return the SHA-256, in hex, of the canonical JSON array of all that an event says.

    Raises TypeError or Unprocessable for what the ledger would not have written.
    """
    body = [
        VERSION,
        chain,
        seq,
        kind,
        actor,
        on_behalf_of,
        facts,
        str(cause),
        instant(at),
        prev_hash,
    ]
    return hashlib.sha256(canonical.fast(body)).hexdigest()


def instant(at: datetime) -> str:
    """Return an instant as the record writes it: ISO 8601, UTC, microseconds.

    Raises ValueError for a naive one.
    """
    if at.tzinfo is None:
        raise ValueError(f"{at} has no time zone")
    return at.astimezone(UTC).isoformat(timespec="microseconds")


def plain(fact: Any) -> Any:
    """Return a fact as JSON holds it.

    Instants become ISO 8601 in UTC, dates ISO 8601, spans whole seconds rounded
    down, decimals and UUIDs their text, choices their value, tuples lists.

    Raises TypeError for anything else, a float among it: a sum of money is a
    decimal, a measure an integer of the unit in its name (`late_s`).
    """
    match fact:
        case Enum():
            return plain(fact.value)
        case None | str() | int():
            return fact
        case dict():
            return {key: plain(value) for key, value in fact.items()}
        case list() | tuple():
            return [plain(value) for value in fact]
        case datetime():
            return instant(fact)
        case date():
            return fact.isoformat()
        case timedelta():
            return fact // timedelta(seconds=1)
        case Decimal() | UUID():
            return str(fact)
    raise TypeError(f"{fact!r} cannot stand in the record; see governance.ledger.plain")
