"""Reading the whole record again, and saying where it is not what was written.

Flat memory, whatever its length: events are read in the order of their chains,
with the heads beside them, then seals in theirs, with the exported file beside
them.
"""

from __future__ import annotations

import hashlib
import heapq
import json
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from itertools import groupby
from operator import itemgetter
from typing import Any, NamedTuple, TypeVar
from uuid import UUID

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from django.conf import settings
from django.db import connection
from django.utils.module_loading import import_string

from governance import clock, ledger, ledger_triggers, seals
from governance.errors import Unprocessable
from governance.models import AuditEvent, ChainHead, Seal, SealedEvent
from governance.vocabulary import Chain

T = TypeVar("T")
HeadSource = Callable[[], Iterable[tuple[str, int, str]]]
ASKED_EACH = 500  # rows: some hundredths of a second
EXPORT = "export"  # where a finding in the file of exported seals stands
EDITED = "was edited: its content does not give its hash"
NOT_OURS = "the exported file has this seal and the database has not"
# What a value that the ledger would not have written raises on its way to a hash.
UNWRITABLE = (TypeError, ValueError, AttributeError, Unprocessable)


class Place(NamedTuple):
    """How far a reading came: what follows it has still to be read."""

    part: str  # CHAINS, then SEALS, then EXPORT
    after: str  # name of the last chain, or number of the last seal, that was read


CHAINS = "chains"
BEGINNING = Place(CHAINS, "")


class Finding(NamedTuple):
    """One place where the record does not hold."""

    chain: str  # a chain's name, "seals", "export" or "triggers"
    seq: int  # the event's, or the seal's number
    what: str

    def __str__(self) -> str:
        return f"{self.chain} {self.seq}: {self.what}"


@dataclass
class Totals:
    """How much was read."""

    events: int = 0
    chains: int = 0
    seals: int = 0


class Interrupted(Exception):
    """The reader is to end now: what was read in this sitting is read again."""


@dataclass
class Reading:
    """One sitting of a reading that may take several."""

    since: Place = BEGINNING
    enough: Callable[[], bool] = lambda: False  # asked between chains and between seals
    ends: Callable[[], bool] = lambda: False  # asked every ASKED_EACH rows; then all of it is void
    reached: Place | None = None  # where it stopped; None: it came to the end

    def going_on(self, rows: Iterable[T]) -> Iterator[T]:
        """Yield rows as they come. Raises Interrupted, also in the middle of a chain or a seal."""
        for n, row in enumerate(rows):
            if n % ASKED_EACH == 0 and self.ends():
                raise Interrupted
            yield row

    def stops(self, part: str, after: str | int) -> bool:
        """Whether to stop here. One piece is read in any case, so that each sitting comes further."""
        here = Place(part, str(after))
        if here == self.since or not self.enough():
            return False
        self.reached = here
        return True


def findings(
    now: datetime, totals: Totals | None = None, reading: Reading | None = None
) -> Iterator[Finding]:
    """Yield every edit, deletion, reordering and truncation of events and seals.

    All as it stood at one instant, without holding up writers. Collect before
    you write: until the last finding the connection is in a transaction of its
    own. Within a transaction of the caller's it reads what that one sees.

    Args:
        now: against which an event counts as unsealed for over an hour, and a
            seal as not exported for over a minute, both in real time.
        totals: counted up while reading.
        reading: where to begin and when to stop; the whole by default. Each
            sitting sees one instant, and each chain is read in one sitting.

    Raises Interrupted if the reading is to end.
    """
    totals, reading = totals or Totals(), reading or Reading()
    exported_before = _size_of_export()
    with one_instant():
        for part in _parts(now, totals, reading, exported_before):
            try:
                yield from part
            except _Unreadable as broken:
                yield broken.finding
            if reading.reached is not None:
                return


def _parts(
    now: datetime, totals: Totals, reading: Reading, exported_before: int
) -> Iterator[Iterator[Finding]]:
    part, after = reading.since
    if reading.since == BEGINNING:
        yield _triggers()
    if part == CHAINS:
        yield _chains(totals, reading, after)
        after = ""
    if part in (CHAINS, seals.CHAIN):
        if not after:
            yield _unsealed(before=now - clock.technical(60 * 60))
        yield _seals(totals, reading, int(after or 0))
    yield _exports(exported_before, reading, due=now - clock.technical(60))


def _triggers() -> Iterator[Finding]:
    """Yield each trigger that should keep the record from being changed and is not there."""
    for name in ledger_triggers.missing(connection):
        yield Finding(
            "triggers", 0, f"{name} is missing: the database would let the record be changed"
        )


@contextmanager
def one_instant() -> Generator[None]:
    """Open a read transaction that neither waits nor makes others wait."""
    if connection.in_atomic_block:
        yield
        return
    # Not atomic(): on SQLite it would take the write lock, on PostgreSQL see each commit.
    begin = "BEGIN"
    if connection.vendor == "postgresql":
        begin += " ISOLATION LEVEL REPEATABLE READ READ ONLY"
    with connection.cursor() as cursor:
        cursor.execute(begin)
        try:
            yield
        finally:
            # Not ROLLBACK: a cursor that an exception left open must still be there to be closed.
            cursor.execute("COMMIT")


class _Unreadable(Exception):
    """A row that holds what its column cannot, as SQLite allows."""

    def __init__(self, finding: Finding) -> None:
        super().__init__(str(finding))
        self.finding = finding


def _readable(rows: Iterable[T], place: Callable[[T], tuple[str, int]]) -> Iterator[T]:
    """Yield rows as they come. Raises _Unreadable, naming the place of the last that came."""
    last = ("", 0)
    rows = iter(rows)
    while True:
        try:
            row = next(rows)
        except StopIteration:
            return
        except (ValueError, TypeError, AttributeError) as problem:
            what = f"what follows cannot be read, and was not checked: {problem}"
            raise _Unreadable(Finding(*last, what)) from problem
        yield row
        last = place(row)


def _are(noun: str, first: int, last: int, what: str) -> str:
    return f"{noun} {first} is {what}" if first == last else f"{noun}s {first} to {last} are {what}"


# --- Events and the heads of their chains ---------------------------------------------------


class _Event(NamedTuple):
    """An event as stored: the arguments of `ledger.event_hash`, and the hash."""

    chain: str
    seq: int
    kind: str
    actor: str
    on_behalf_of: str
    facts: Any
    cause: UUID
    at: datetime
    prev_hash: str
    hash: str


class _Head(NamedTuple):
    """How long a chain is, and its last hash, as said outside the chain."""

    chain: str
    length: int
    last_hash: str


def _chains(totals: Totals, reading: Reading, after: str) -> Iterator[Finding]:
    """Walk all chains and all heads side by side, both in the order of the chains' names."""
    all_headed = bool(_head_sources())  # if not, nobody says how long requests' chains are
    heads = reading.going_on(_heads(after))
    head = next(heads, None)
    last = after
    for chain, events in groupby(reading.going_on(_events(after)), key=itemgetter(0)):
        if reading.stops(CHAINS, last):
            return
        last = chain
        totals.chains += 1
        while head and head.chain < chain:
            yield from _without_events(head)
            head = next(heads, None)
        if head and head.chain == chain:
            yield from _chain(events, head, totals)
            head = next(heads, None)
        else:
            yield from _chain(events, _Head(chain, 0, ""), totals, headed=False)
            if all_headed or chain in Chain.values:
                yield Finding(chain, 1, "the chain has events and no head")
    while head:
        yield from _without_events(head)
        head = next(heads, None)


def _chain(
    events: Iterable[_Event], head: _Head, totals: Totals, *, headed: bool = True
) -> Iterator[Finding]:
    length, last_hash = 0, ledger.genesis(head.chain)
    for event in events:
        totals.events += 1
        if event.seq != length + 1:
            yield Finding(
                head.chain, length + 1, _are("event", length + 1, event.seq - 1, "missing")
            )
        elif event.prev_hash != last_hash:
            yield Finding(head.chain, event.seq, "does not follow the event before it")
        if not _intact(event):
            yield Finding(head.chain, event.seq, EDITED)
        length, last_hash = event.seq, event.hash
    if not headed:
        return
    if length < head.length:
        what = _are("event", length + 1, head.length, "missing at the end")
        yield Finding(head.chain, length + 1, what)
    elif length > head.length:
        yield Finding(
            head.chain, head.length + 1, f"the chain's head knows only {head.length} events"
        )
    elif last_hash != head.last_hash:
        yield Finding(head.chain, length, "is not the event that the chain's head names")


def _without_events(head: _Head) -> Iterator[Finding]:
    if head.length:
        yield Finding(head.chain, 1, _are("event", 1, head.length, "missing: the whole chain"))


def _intact(event: _Event) -> bool:
    try:
        return ledger.event_hash(*event[:-1]) == event.hash
    except UNWRITABLE:
        return False


def problem_of(chain: str, events: Iterable[AuditEvent]) -> str:
    """Return what is wrong first with a chain, its events given in order; "" if nothing is.

    Its head is not looked at: a tail that was cut off does not show.
    """
    rows = (_Event(*(getattr(event, name) for name in _Event._fields)) for event in events)
    found = next(_chain(rows, _Head(chain, 0, ""), Totals(), headed=False), None)
    return "" if found is None else f"event {found.seq} {found.what}"


def is_intact(event: AuditEvent) -> bool:
    """Whether an event's content gives its hash. Alone it proves little: whoever edits it can write both."""
    return _intact(_Event(*(getattr(event, name) for name in _Event._fields)))


def _events(after: str) -> Iterator[_Event]:
    in_order = AuditEvent.objects.order_by(ledger.by_name("chain"), "seq")
    if after:
        in_order = in_order.alias(name=ledger.by_name("chain")).filter(name__gt=after)
    rows = in_order.values_list(*_Event._fields)
    return map(_Event._make, _readable(rows.iterator(chunk_size=5000), itemgetter(0, 1)))


def _heads(after: str) -> Iterator[_Head]:
    """Yield the heads in the order of the chains' names, those of rows above among them."""
    named = ChainHead.objects.exclude(name=seals.CHAIN).values_list("name", "length", "last_hash")
    before = ""
    for head in heapq.merge(sorted(named), *(source() for source in _head_sources())):
        if head[0] < before:
            raise ValueError(f"RECOURSE_CHAIN_HEADS: {head[0]} comes after {before}")
        before = head[0]
        if before > after:
            yield _Head(*head)


def _head_sources() -> list[HeadSource]:
    """Return what settings.RECOURSE_CHAIN_HEADS names.

    Each yields (chain, length, last hash) of every row that is the head of a
    chain, in the order of the chains' names: `order_by(ledger.by_name("ref"))`.
    """
    return [import_string(name) for name in getattr(settings, "RECOURSE_CHAIN_HEADS", [])]


# --- Seals ----------------------------------------------------------------------------------


class _Covered(NamedTuple):
    """What the leaves of one seal come to."""

    seal: int
    size: int
    gap: int | None  # the first position without a leaf, None if only the end may lack some
    root: str


def _unsealed(*, before: datetime) -> Iterator[Finding]:
    events = AuditEvent.objects.filter(sealed__isnull=True, at__lt=before).order_by("id")
    for chain, seq in events.values_list("chain", "seq").iterator():
        yield Finding(chain, seq, "has not been sealed for over an hour")


def _seals(totals: Totals, reading: Reading, after: int) -> Iterator[Finding]:
    keys = seals.trusted_keys()
    all_covered = _covered(after, reading)
    covered = next(all_covered, None)
    before = Seal.objects.filter(number=after).first()
    number, last_hash = after, before.hash if before else ledger.genesis(seals.CHAIN)
    for seal in reading.going_on(_stored_seals(after)):
        if reading.stops(seals.CHAIN, number):
            return
        totals.seals += 1
        if seal.number != number + 1:
            yield Finding(
                seals.CHAIN, number + 1, _are("seal", number + 1, seal.number - 1, "missing")
            )
        elif seal.prev_hash != last_hash:
            yield Finding(seals.CHAIN, seal.number, "does not follow the seal before it")
        number, last_hash = seal.number, seal.hash
        yield from _signed(seal, keys)
        while covered and covered.seal < number:
            covered = next(all_covered, None)  # of a seal that is gone
        yield from _holds(seal, covered if covered and covered.seal == number else None)
    head = ChainHead.objects.filter(name=seals.CHAIN).first()
    length = head.length if head else 0
    if number < length:
        yield Finding(
            seals.CHAIN, number + 1, _are("seal", number + 1, length, "missing at the end")
        )
    elif number > length:
        yield Finding(seals.CHAIN, length + 1, f"the seals' head knows only {length} seals")
    elif head and last_hash != head.last_hash:
        yield Finding(seals.CHAIN, number, "is not the seal that the seals' head names")


def _stored_seals(after: int = 0) -> Iterator[Seal]:
    rows = Seal.objects.filter(number__gt=after).order_by("number").iterator()
    return _readable(rows, lambda seal: (seals.CHAIN, seal.number))


def _signed(seal: Seal, keys: dict[str, seals.Key]) -> Iterator[Finding]:
    try:
        body = seals.signed_bytes(seal)
    except UNWRITABLE:
        body = b""
    if hashlib.sha256(body).hexdigest() != seal.hash:
        yield Finding(seals.CHAIN, seal.number, EDITED)
    key = keys.get(seal.key_id)
    if key is None:
        yield Finding(
            seals.CHAIN, seal.number, f"is signed with key {seal.key_id}, which is not ours"
        )
        return
    try:
        Ed25519PublicKey.from_public_bytes(key.public).verify(bytes.fromhex(seal.signature), body)
    except (InvalidSignature, ValueError):
        yield Finding(seals.CHAIN, seal.number, "its signature is not good")


def _holds(seal: Seal, covered: _Covered | None) -> Iterator[Finding]:
    size = covered.size if covered else 0
    gap = covered.gap if covered else None
    if gap is not None or size < seal.size:
        lost = size if gap is None else gap
        yield Finding(seals.CHAIN, seal.number, f"lost its leaf {lost}, or the event it stood for")
    elif covered and covered.root != seal.root:
        yield Finding(seals.CHAIN, seal.number, "its events do not give its root")


def _covered(after: int, reading: Reading) -> Iterator[_Covered]:
    """Compute each seal's root anew, in the order of the seals."""
    leaves = SealedEvent.objects.filter(seal_id__gt=after).order_by("seal_id", "position")
    rows = leaves.values_list("seal_id", "position", "event__hash").iterator(chunk_size=5000)
    for seal, group in groupby(reading.going_on(rows), key=itemgetter(0)):
        tree, gap = seals.MerkleTree(), None
        for _, position, event_hash in group:
            if gap is None and position != tree.size:
                gap = tree.size
            tree.add(_hash_bytes(event_hash))
        yield _Covered(seal, tree.size, gap, tree.root().hex())


def _hash_bytes(event_hash: str) -> bytes:
    try:
        return bytes.fromhex(event_hash)
    except ValueError:
        return b""  # no hash of ours; the root will say so


# --- The exported file ----------------------------------------------------------------------


class _Line(NamedTuple):
    """One line of the file of exported seals."""

    begins: int  # byte offset
    number: int
    content: dict[str, Any]


def _exports(size_before: int, reading: Reading, *, due: datetime) -> Iterator[Finding]:
    """Walk the exported file and the seals side by side.

    Args:
        size_before: of the file, before the database was looked at: what was
            appended since may be of seals newer than what we see.
        due: seals made after this may not have been exported yet.
    """
    if not settings.SEAL_EXPORT.exists():
        if Seal.objects.filter(sealed_at__lte=due).exists():
            yield Finding(EXPORT, 1, f"{settings.SEAL_EXPORT} is missing")
        return
    keys = seals.trusted_keys()
    lines = _lines()
    line = next(lines, None)
    for seal in reading.going_on(_stored_seals()):
        while line and line.number < seal.number:
            yield Finding(EXPORT, line.number, NOT_OURS)
            line = next(lines, None)
        if line and line.number == seal.number:
            if line.content != seals.exported(seal, keys.get(seal.key_id)):
                yield Finding(EXPORT, seal.number, "the exported seal is not the database's")
            line = next(lines, None)
        elif seal.sealed_at <= due:
            yield Finding(EXPORT, seal.number, "the seal is missing from the exported file")
    while line:
        if line.begins < size_before:
            yield Finding(EXPORT, line.number, NOT_OURS)
        line = next(lines, None)


def _lines() -> Iterator[_Line]:
    """Yield the exported file's lines; an unreadable one as the next number, without content."""
    number = begins = 0
    with open(settings.SEAL_EXPORT, "rb") as file:
        for text in file:
            try:
                content = json.loads(text)
                number = int(content["number"])
            except (ValueError, TypeError, KeyError):
                content, number = {}, number + 1
            yield _Line(begins, number, content)
            begins += len(text)


def _size_of_export() -> int:
    return settings.SEAL_EXPORT.stat().st_size if settings.SEAL_EXPORT.exists() else 0
