"""Write docs/ledger.md from the grammar of the record: `python -m tools.grammar`.

A test fails when the file and `governance.events` differ.
"""

from __future__ import annotations

from itertools import groupby
from pathlib import Path

from governance.events import Event

FILE = Path(__file__).resolve().parent.parent / "docs" / "ledger.md"

OPENING = """\
# The ledger

Generated from `governance/events.py` by `python -m tools.grammar`. Do not edit: change the code, run
that, and commit both.

Every act writes its events in the transaction of what it changes, in a chain that never has a gap: the
request's own, or one of `policy`, `people`, `actions` and `system`. An event says what happened
(`subject.verb`), who did it, on whose behalf, when, and the facts; all events of one act have one
`cause`. Nothing takes an event back: the database refuses it, and `manage.py verify_ledger` finds
whoever got round that. `/audit/` searches the record, and says when all of it was last read again.
"""


def render() -> str:
    """Return the page: all kinds of events, by what they are about."""
    parts = [OPENING]
    for subject, events in groupby(Event, key=lambda event: event.subject):
        lines = [f"| `{event.value}` | {event.label} |" for event in events]
        head = f"## {subject.replace('_', ' ').capitalize()}\n"
        parts.append("\n".join([head, "| event | says |", "|---|---|", *lines, ""]))
    return "\n".join(parts)


if __name__ == "__main__":
    FILE.write_text(render())
