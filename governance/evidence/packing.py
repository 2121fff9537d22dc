"""Puts a pack together: the same bytes for the same state of the record."""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from django.conf import settings

from governance import canonical, clock, ledger, seals, verify
from governance.evidence.claims import VERIFIER, claims_of
from governance.evidence.page import Told, page
from governance.evidence.parts import Claim, Part, Subject, parts_of
from governance.evidence.record import Record, record_of

KIND = "evidence"  # of the signature; `verify.py` has it too
FORMAT = "recourse evidence 1"
LATE_S = 60 * 60  # that a seal may come after its events; as long as a transaction may live


def name_of(subject: Subject) -> str:
    """Return the name of a pack's file without its ending, which is also its folder."""
    review = f"-review-{subject.review}" if subject.review is not None else ""
    return f"evidence-{subject.ref}{review}"


def build(subject: Subject, *, by: str, now: datetime) -> bytes:
    """Return a pack as a zip.

    All of it as it stood at one instant, without holding up writers. Nothing is
    written, and nothing sealed: a pack that had its own events sealed would vouch for
    what somebody put into the database a moment before.

    Args:
        by: who has it made, as the record writes it.
        now: when, for the page and the files' dates.
    """
    with verify.one_instant():
        parts = parts_of(subject)
        [end] = [part.head for part in parts if part.head is not None]
        record = record_of(subject.ref, end, [event for part in parts for event in part.events])
    head = {
        "format": FORMAT,
        "installation": settings.SITE_URL,
        "subject": {
            "kind": subject.kind,
            "ref": subject.ref,
            "review": subject.review,
        },
        "made": {"at": ledger.instant(now), "by": by},
        "chain": {
            "name": subject.ref,
            "length": record.head.length,
            "hash": record.head.hash,
        },
        "late_s": int(clock.technical(LATE_S).total_seconds()),
    }
    files = {
        "pack.json": _json(head),
        "events.json": _json(record.events),
        "seals.json": _json(record.seals),
        "keys.json": _json(record.keys),
        **{part.file: _json(part.content) for part in parts},
        "verify.py": VERIFIER.read_bytes(),
    }
    claims = claims_of(files)
    files["pack.json"] = _json(head | {"claims": [claim._asdict() for claim in claims]})
    files["index.html"] = page(_told(subject, head, record, parts, claims, files)).encode()
    return _zip(name_of(subject), signed(files), now)


def _told(
    subject: Subject,
    head: dict[str, Any],
    record: Record,
    parts: Sequence[Part],
    claims: Sequence[Claim],
    files: dict[str, bytes],
) -> Told:
    return Told(
        subject=subject,
        head=head,
        record=record,
        sections=[(part.file, section) for part in parts for section in part.sections],
        claims=[claim for claim in claims if claim.file in files],
        files=[(name, hashlib.sha256(files[name]).hexdigest()) for name in sorted(files)],
    )


def signed(files: dict[str, bytes]) -> dict[str, bytes]:
    """Return the files with the list of their digests and the signature of that list."""
    listed = {name: hashlib.sha256(content).hexdigest() for name, content in files.items()}
    manifest = _json({"format": FORMAT, "files": dict(sorted(listed.items()))})
    signature = seals.sign(KIND, hashlib.sha256(manifest).hexdigest())
    said = canonical.fast({"key_id": signature.key_id, "signature": signature.hex})
    return {**files, "manifest.json": manifest, "signature.json": said + b"\n"}


def _zip(folder: str, files: dict[str, bytes], now: datetime) -> bytes:
    buffer = io.BytesIO()
    at = now.astimezone(UTC).timetuple()[:6]
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        for name in sorted(files):
            entry = zipfile.ZipInfo(f"{folder}/{name}", date_time=at)
            entry.compress_type = zipfile.ZIP_DEFLATED
            entry.create_system = 3  # the same bytes wherever it is made
            entry.external_attr = (0o755 if name == "verify.py" else 0o644) << 16
            archive.writestr(entry, files[name])
    return buffer.getvalue()


def _json(value: Any) -> bytes:
    return json.dumps(value, indent=1).encode() + b"\n"
