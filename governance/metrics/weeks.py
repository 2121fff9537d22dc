"""ISO weeks in UTC, known by their Monday. Pure."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, time, timedelta

SHOWN = 13  # weeks of a trend: a quarter
_NAME = re.compile(r"(\d{4})-W(\d{2})")


def week_of(at: datetime) -> date:
    """Return the Monday of an instant's ISO week, in UTC. Raises ValueError for a naive one."""
    if at.tzinfo is None:
        raise ValueError(f"{at} has no time zone")
    day = at.astimezone(UTC).date()
    return day - timedelta(days=day.weekday())


def name_of(week: date) -> str:
    """Return a week as addresses and files name it: "2026-W47"."""
    year, number, _ = week.isocalendar()
    return f"{year:04}-W{number:02}"


def read(name: str) -> date | None:
    """Return the Monday of "2026-W47"; None for anything else."""
    found = _NAME.fullmatch(name) if name.isascii() else None
    if found is None:
        return None
    try:
        return date.fromisocalendar(int(found[1]), int(found[2]), 1)
    except ValueError:
        return None


def up_to(week: date, *, count: int = SHOWN) -> tuple[date, ...]:
    """Return so many weeks, the oldest first and `week` last."""
    return tuple(week - timedelta(weeks=back) for back in reversed(range(count)))


def begin_of(week: date) -> datetime:
    """Return the instant at which a week begins."""
    return datetime.combine(week, time(), tzinfo=UTC)


def end_of(week: date) -> datetime:
    """Return the instant at which a week is over: the next one's begin."""
    return begin_of(week + timedelta(weeks=1))


def words(week: date) -> str:
    """Say a week and its days: "Week 47, Mon 16 to Sun 22 Nov 2026"."""
    last = week + timedelta(days=6)
    month = "" if week.month == last.month else f" {week:%b}"
    year = "" if week.year == last.year else f" {week.year}"
    return f"Week {week.isocalendar().week}, Mon {week.day}{month}{year} to Sun {last.day} {last:%b %Y}"
