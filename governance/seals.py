"""Seals: every minute, a signature over all events that no seal covers yet.

A trigger can be dropped and a chain computed anew by whoever owns the database.
What they cannot do is sign: the key is not in the database, and each seal also
goes to a file outside it.
"""

from __future__ import annotations

import base64
import fcntl
import hashlib
import json
import os
from datetime import datetime, timedelta
from itertools import chain
from typing import IO, Any, NamedTuple

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from django.conf import settings
from django.db import connection, transaction

from governance import calls, canonical, clock, ledger, signs
from governance.models import AuditEvent, Heartbeat, Seal, SealedEvent

VERSION = 1  # of what a seal's hash covers
CHAIN = "seals"  # their ChainHead, which is also the sealers' lock, and their Heartbeat
EVERY_S = 60.0  # real seconds
LARGEST_NUMBER = 2**63 - 1  # of a seal, as its column holds it
LINE_LENGTH = 4096  # bytes; several times that of a seal in the exported file


class ExportFailed(Exception):
    """The file of exported seals does not belong to this database."""


class Key(NamedTuple):
    """A key that seals, as its public half shows."""

    id: str  # first 16 hex digits of the SHA-256 of `public`
    public: bytes  # 32

    @classmethod
    def of(cls, public: bytes) -> Key:
        return cls(hashlib.sha256(public).hexdigest()[:16], public)


def call_for_seal(*, now: datetime) -> int:
    """Have the worker seal each minute; if nobody did for three, seal here.

    A sweep. A seal after a hundred thousand events takes seconds. Returns 1 if
    one was asked for or made, else 0.
    """
    return calls.delegate(
        "governance.courier.seal",
        sign=CHAIN,
        every=clock.technical(EVERY_S),
        here=seal_new_events,
        now=now,
    )


def seal_new_events(now: datetime, *, apart: timedelta | None = None) -> int:
    """Seal all committed events that no seal covers yet, and return how many.

    0 until `apart`, a real minute by default, has passed since somebody last
    looked. Safe to run from any number of workers at once. Events
    whose transaction is still open are left for the next seal.

    Raises OSError or ExportFailed if a seal cannot be exported; it stands all
    the same, and the next run exports what the file lacks.
    """
    apart = clock.technical(EVERY_S) if apart is None else apart
    return _seal(now, apart) if _due(now, _last_look(), apart) else 0


def seal_now(now: datetime) -> int:
    """Seal, whenever that was last done: `seal_new_events` without its wait."""
    return _seal(now, timedelta.min)


@transaction.atomic
def _seal(now: datetime, apart: timedelta) -> int:
    [head] = ledger.lock_heads([CHAIN])
    transaction.on_commit(export)
    looked_at = _last_look()
    if not _due(now, looked_at, apart):
        return 0  # another sealer was faster
    number = head.length + 1
    size = _cover(number, above=_settled(looked_at, clock.technical(60 * 60)))
    signs.beat(CHAIN, now=now, sealed=size)
    if not size:
        return 0
    tree = MerkleTree()
    leaves = SealedEvent.objects.filter(seal=number).order_by("position")
    for hash in leaves.values_list("event__hash", flat=True).iterator():
        tree.add(bytes.fromhex(hash))
    key = _private_key()
    seal = Seal(
        number=number,
        root=tree.root().hex(),
        size=tree.size,
        prev_hash=head.last_hash,
        key_id=Key.of(key.public_key().public_bytes_raw()).id,
        sealed_at=now,
    )
    body = signed_bytes(seal)
    seal.hash = hashlib.sha256(body).hexdigest()
    seal.signature = key.sign(body).hex()
    seal.save(force_insert=True)
    head.length, head.last_hash = seal.number, seal.hash
    head.save()
    return size


def _last_look() -> datetime | None:
    """Return when events without a seal were last looked for, found or not."""
    return Heartbeat.objects.filter(name=CHAIN).values_list("beat_at", flat=True).first()


def _due(now: datetime, looked_at: datetime | None, apart: timedelta) -> bool:
    return looked_at is None or now - looked_at >= apart


def _cover(number: int, *, above: int) -> int:
    """Give every event without a seal, of those whose id is above `above`, a leaf of seal `number`.

    One statement, so that it sees one state of the database; the seal's own
    row follows in the same transaction.
    """
    event, sealed = AuditEvent._meta.db_table, SealedEvent._meta.db_table
    with connection.cursor() as cursor:
        cursor.execute(
            f"INSERT INTO {sealed} (seal_id, position, event_id)"
            " SELECT %s, row_number() OVER (ORDER BY e.id) - 1, e.id"
            f" FROM {event} e WHERE e.id > %s AND NOT EXISTS"
            f" (SELECT 1 FROM {sealed} s WHERE s.event_id = e.id AND s.event_id > %s)",
            [number, above, above],
        )
        return int(cursor.rowcount)


def _settled(looked_at: datetime | None, longest: timedelta) -> int:
    """Return an event id up to which every event there will ever be has its seal.

    It keeps a seal from reading the whole ledger. An id is handed out before
    its transaction commits, so a lower one may still appear beside the ids of
    a seal, but only for as long as a transaction lives. The last look was for
    such late-comers too; whatever a seal had reached `longest` before it was
    settled by then. Not `longest` before now: nobody may have looked since.
    Should a transaction live longer, `verify_ledger` finds its events.
    """
    if looked_at is None:
        return 0
    older = Seal.objects.filter(sealed_at__lte=looked_at - longest).order_by("number").last()
    if older is None:
        return 0
    return SealedEvent.objects.get(seal=older, position=older.size - 1).event_id


class MerkleTree:
    """The tree of RFC 6962, section 2.1, holding O(log n) hashes at a time."""

    def __init__(self) -> None:
        self.size = 0  # leaves
        self._subtrees: list[tuple[int, bytes]] = []  # (leaves, hash) of full ones, larger first

    def add(self, leaf: bytes) -> None:
        """Append a leaf, given as its content."""
        self.size += 1
        leaves, node = 1, hashlib.sha256(b"\x00" + leaf).digest()
        while self._subtrees and self._subtrees[-1][0] == leaves:
            node = _parent(self._subtrees.pop()[1], node)
            leaves *= 2
        self._subtrees.append((leaves, node))

    def root(self) -> bytes:
        """Return the root over the leaves so far: 32 bytes."""
        if not self._subtrees:
            return hashlib.sha256(b"").digest()
        *larger, (_, root) = self._subtrees
        for _, node in reversed(larger):
            root = _parent(node, root)
        return root


def _parent(left: bytes, right: bytes) -> bytes:
    return hashlib.sha256(b"\x01" + left + right).digest()


def signed_bytes(seal: Seal) -> bytes:
    """Return what a seal's hash covers and its signature signs: a canonical JSON array.

    [version, number, root, size, prev_hash, key_id, sealed_at]; `root` and the
    hashes in hex, `sealed_at` as `ledger.instant` writes it.
    """
    sealed_at = ledger.instant(seal.sealed_at)
    body = [VERSION, seal.number, seal.root, seal.size, seal.prev_hash, seal.key_id, sealed_at]
    return canonical.fast(body)


def trusted_keys() -> dict[str, Key]:
    """Return the keys whose seals are believed, by id: ours, and those it followed.

    settings.SEAL_RETIRED_KEYS lists the public keys, in base64, of earlier ones.
    """
    publics = [base64.b64decode(retired) for retired in settings.SEAL_RETIRED_KEYS]
    publics.append(_private_key().public_key().public_bytes_raw())
    return {key.id: key for key in map(Key.of, publics)}


def _private_key() -> Ed25519PrivateKey:
    return Ed25519PrivateKey.from_private_bytes(base64.b64decode(settings.SEAL_KEY))


class Signature(NamedTuple):
    """What a key of ours says of something beside the ledger."""

    key_id: str
    hex: str  # Ed25519, 64 bytes


def sign(kind: str, digest: str) -> Signature:
    """Sign what a digest stands for. `kind` keeps it from passing for anything else we sign."""
    key = _private_key()
    id = Key.of(key.public_key().public_bytes_raw()).id
    return Signature(id, key.sign(_named(kind, digest)).hex())


def flaw_of(kind: str, digest: str, signature: Signature) -> str:
    """Return what is wrong with a signature, "" if it is ours and good."""
    key = trusted_keys().get(signature.key_id)
    if key is None:
        return f"is signed with key {signature.key_id}, which is not ours"
    try:
        public = Ed25519PublicKey.from_public_bytes(key.public)
        public.verify(bytes.fromhex(signature.hex), _named(kind, digest))
    except (InvalidSignature, ValueError):
        return "its signature is not good"
    return ""


def _named(kind: str, digest: str) -> bytes:
    return canonical.fast([kind, VERSION, digest])  # a seal's array begins with a number


def export() -> None:
    """Append the seals that settings.SEAL_EXPORT lacks, one JSON object a line, down to the disk.

    Safe to run at once from several processes of one machine, and again after
    a failure. A last line that was cut short by a crash is written anew; what is not
    the beginning of ours is left as it is.

    Raises:
        OSError: the file cannot be written.
        ExportFailed: what it ends with is not of this database.
    """
    settings.SEAL_EXPORT.parent.mkdir(parents=True, exist_ok=True)
    with open(settings.SEAL_EXPORT, "a+b") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        end = _end_of(file)
        if end.number and not Seal.objects.filter(number=end.number, hash=end.hash).exists():
            raise _not_ours(f"seal {end.number}, which this database does not have")
        keys = trusted_keys()
        missing = Seal.objects.filter(number__gt=end.number).order_by("number")
        lines = (_line(seal, keys) for seal in missing.iterator())
        first = next(lines, b"")
        if not first.startswith(end.torn):
            raise _not_ours("what is no line of ours")
        file.truncate(end.whole)
        for line in chain([first], lines):
            file.write(line)
        file.flush()
        os.fsync(file.fileno())


def _line(seal: Seal, keys: dict[str, Key]) -> bytes:
    return json.dumps(exported(seal, keys.get(seal.key_id))).encode() + b"\n"


def _not_ours(what: str) -> ExportFailed:
    return ExportFailed(
        f"{settings.SEAL_EXPORT} ends with {what}: it was replaced or cut, or is another file. "
        "If you meant to start anew, move the file away."
    )


def exported(seal: Seal, key: Key | None) -> dict[str, Any]:
    """Return a seal as its line in the file holds it; without a public key if that is not known."""
    return {
        "number": seal.number,
        "root": seal.root,
        "size": seal.size,
        "prev_hash": seal.prev_hash,
        "hash": seal.hash,
        "key_id": seal.key_id,
        "public_key": base64.b64encode(key.public).decode() if key else None,
        "signature": seal.signature,
        "sealed_at": ledger.instant(seal.sealed_at),
    }


def last_exported() -> int | None:
    """Return the number of the last whole seal in the exported file; None where it cannot be read.

    For a page: a web process may be on a machine that has no such file, or not be let in.
    """
    try:
        with open(settings.SEAL_EXPORT, "rb") as file:
            return _end_of(file).number or None
    except (OSError, ExportFailed):  # `export` and `verify_ledger` say so
        return None


class _End(NamedTuple):
    """How the exported file ends: its last whole line, and what follows it."""

    number: int  # of the seal in that line; 0 = there is none
    hash: str
    whole: int  # bytes up to its end
    torn: bytes


def _end_of(file: IO[bytes]) -> _End:
    """Read the end of the file. Raises ExportFailed if its last whole line is no seal."""
    size = file.seek(0, os.SEEK_END)
    start = max(0, size - 2 * LINE_LENGTH)
    file.seek(start)
    whole, newline, torn = file.read().rpartition(b"\n")
    if not newline:
        return _End(0, "", start, torn)
    try:
        line = json.loads(whole.rpartition(b"\n")[2])
        number = int(line["number"])
        if not 0 < number <= LARGEST_NUMBER:
            raise ValueError(f"no seal has the number {number}")
        return _End(number, str(line["hash"]), size - len(torn), torn)
    # Whoever can write the file can write anything.
    except (ValueError, TypeError, LookupError, OverflowError, RecursionError) as problem:
        raise _not_ours("a line that is no seal") from problem
