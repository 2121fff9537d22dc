"""What the views share: the caller's type, keyset cursors, and one request or 404."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from django.http import Http404, HttpRequest
from django.utils.dateparse import parse_datetime

from approvals.models import ActionRequest
from approvals.selectors import frame_for, visible_to
from governance import wording
from governance.context import Lane as RailLane

if TYPE_CHECKING:
    from django_htmx.middleware import HtmxDetails

    from governance.models import Person

CURSOR_LENGTH = 200
KEY_DIGITS = (
    18  # of a primary key, at most: what has more is none, and some of that no integer either
)


class HtmxRequest(HttpRequest):
    """A request of somebody who is logged in."""

    user: Person
    htmx: HtmxDetails


def visible_or_404(person: Person, ref: str) -> ActionRequest:
    """Return a request this person may see. To others it does not exist."""
    # PostgreSQL takes no NUL, not even to look for it.
    found = visible_to(person).filter(ref=ref).first() if ref.isprintable() else None
    if found is None:
        raise Http404("no such request")
    return found


def cursor_of(due_at: datetime, pk: int | str) -> str:
    """Write where a page ended, for the address of the next one."""
    return f"{due_at.isoformat()}~{pk}"


def read_cursor(text: str) -> tuple[datetime, int] | None:
    """Read what `cursor_of` wrote. Anything else is the beginning of the list."""
    found = read_named_cursor(text)
    key = read_number(found[1]) if found is not None else None
    return None if found is None or key is None else (found[0], key)


def read_named_cursor(text: str) -> tuple[datetime, str] | None:
    """Likewise of rows whose key is text."""
    instant, _, key = text.partition("~")
    if not key or len(text) > CURSOR_LENGTH or "\0" in text:
        return None
    try:
        due_at = parse_datetime(instant.replace(" ", "+"))
        if due_at is None or due_at.tzinfo is None:
            return None
        due_at = due_at.astimezone(UTC)  # some instants of years 1 and 9999 are none there
    except (ValueError, OverflowError):
        return None
    return due_at, key


def read_number(text: str) -> int | None:
    """Read a primary key, or another number that we wrote. None for what is not one."""
    written = text.isascii() and text.isdigit() and len(text) <= KEY_DIGITS
    return int(text) if written else None


def rail_of(person: Person, now: datetime) -> dict[str, Any]:
    """Return what an answer in place brings for the frame: counts, and the lanes of the rail."""
    facts = frame_for(person, now)
    lanes = []
    for path in wording.LANES:
        waiting = facts.counts[path]
        soon = waiting.first_due_at - now if waiting.first_due_at else None
        lanes.append(RailLane(path, wording.SIGNS[path], waiting.count, waiting.first_due_at, soon))
    return {"facts": facts, "lanes": lanes}
