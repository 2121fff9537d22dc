"""A search as a file, line by line: it is never whole in memory."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Iterator

from governance.drafting.sheet import escaped
from governance.models import AuditEvent
from governance.views.audit.shown import as_written

COLUMNS = (
    "at", "kind", "says", "actor", "on_behalf_of", "chain", "seq", "facts", "cause", "prev_hash",
    "hash", "seal", "leaf",
)  # fmt: skip
TYPES = {"csv": "text/csv; charset=utf-8", "jsonl": "application/x-ndjson; charset=utf-8"}


class _Line:
    """What csv writes to, which gives each line back instead of keeping it."""

    def write(self, text: str) -> str:
        return text


def as_csv(events: Iterable[AuditEvent]) -> Iterator[str]:
    """Yield the lines of a CSV file (RFC 4180). No cell of it is a formula to a spreadsheet."""
    writer = csv.writer(_Line(), lineterminator="\r\n")
    yield writer.writerow(COLUMNS)
    for event in events:
        cells = as_written(event)
        cells["facts"] = json.dumps(cells["facts"], ensure_ascii=False, sort_keys=True)
        yield writer.writerow(
            ["" if cells[name] is None else escaped(str(cells[name])) for name in COLUMNS]
        )


def as_json_lines(events: Iterable[AuditEvent]) -> Iterator[str]:
    """Yield one JSON object a line: everything that an event's hash covers, so that it can be checked again."""
    for event in events:
        yield json.dumps(as_written(event), ensure_ascii=False) + "\n"


WRITERS = {"csv": as_csv, "jsonl": as_json_lines}
