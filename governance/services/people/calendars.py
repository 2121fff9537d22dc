"""What of an iCalendar file (RFC 5545) is an absence, and what is not and why. Nothing is stored here.

Somebody else's program wrote the file, and it may have been written to do harm: it is
bounded before it is parsed, and of rules that repeat only those are expanded
that come to an end quickly whatever they say.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

import icalendar
import recurring_ical_events

from governance import wording
from governance.errors import Unprocessable
from governance.models import Absence
from governance.services.people.absences import FURTHEST, start_of

SIZE = 1024 * 1024  # bytes
EVENTS = 1000  # in a file
LINES = 20 * EVENTS  # of those that are read
RECURRING = 50  # of them that repeat
TAKEN = 200  # spans that one file may come to
AHEAD = timedelta(days=90)  # as far as what repeats is taken
SINCE = timedelta(days=5 * 366)  # what repeats must not have begun earlier
NAME_LENGTH = 80
ONE_DAY = timedelta(days=1)
# What a library of somebody else's raises for a file of somebody else's.
UNREADABLE = (ValueError, LookupError, TypeError, AttributeError, ArithmeticError)
_PLAIN_RULE = {"FREQ", "INTERVAL", "COUNT", "UNTIL", "WKST", "BYDAY", "BYMONTH", "BYMONTHDAY"}
_WEEKDAYS = {"MO", "TU", "WE", "TH", "FR", "SA", "SU"}
_LONGEST_INTERVAL = 366
# Of a calendar no other lines are looked at.
_READ = {
    "BEGIN", "END", "VERSION", "PRODID", "UID", "SUMMARY", "STATUS", "TRANSP", "DTSTART", "DTEND",
    "DURATION", "RRULE", "RDATE", "EXRULE", "EXDATE", "RECURRENCE-ID",
}  # fmt: skip
_NAME = re.compile(r"[:;]")
_LINES = re.compile(r"\r?\n")
_FOLDED = re.compile(r"\r?\n[ \t]")


class Span(NamedTuple):
    """What would be taken: half-open, UTC."""

    starts_at: datetime
    ends_at: datetime
    name: str


class LeftOut(NamedTuple):
    """What would not be taken, and why."""

    name: str
    why: str


class Reading(NamedTuple):
    taken: tuple[Span, ...]
    left_out: tuple[LeftOut, ...]


class _Not(Exception):
    """Why an event is not taken."""


def read_calendar(
    content: bytes, *, zone: ZoneInfo, now: datetime, standing: Sequence[Absence]
) -> Reading:
    """Read which spans of a calendar somebody could enter as absences.

    Whole days are days of the zone; times without a zone are the zone's. What repeats is
    taken for 90 days, by plain rules. Left out: what is cancelled, shown as free, over, without
    length, too far ahead, already entered, or cannot be read.

    Args:
        zone: the person's.
        standing: their absences.

    Raises Unprocessable, with `extra["field"]` `file`: too large, too many events, another
    encoding than UTF-8, no calendar at all, or too much to take.
    """
    calendar = _parsed(_text(content))
    taken: list[Span] = []
    left_out: list[LeftOut] = []
    for name, found in _events(calendar, zone=zone, now=now):
        if isinstance(found, str):
            left_out.append(LeftOut(name, found))
            continue
        starts_at, ends_at = max(found[0], now), found[1]
        why = _why_not(starts_at, ends_at, now, zone, standing, taken)
        if why:
            left_out.append(LeftOut(name, why))
        else:
            taken.append(Span(starts_at, ends_at, name))
        if len(taken) > TAKEN:
            raise Unprocessable(
                f"Give a calendar with at most {TAKEN} absences to come.", field="file"
            )
    return Reading(tuple(sorted(taken)), tuple(left_out))


def _text(content: bytes) -> str:
    if len(content) > SIZE:
        raise Unprocessable(f"Give a file of at most {SIZE // 1024} kB.", field="file")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise Unprocessable(
            "Save the calendar in UTF-8, and give it again.", field="file"
        ) from None
    lines = _LINES.split(_FOLDED.sub("", text))
    marks = [line.strip().upper() for line in lines]
    if "\0" in text or "BEGIN:VCALENDAR" not in marks:
        raise Unprocessable("Give an iCalendar file: one that ends in .ics.", field="file")
    events = marks.count("BEGIN:VEVENT")
    if events > EVENTS:
        raise Unprocessable(
            f"Give a calendar with at most {EVENTS:,} events: this one has {events:,}.",
            field="file",
        )
    kept = list(_needed(lines, marks))
    if len(kept) > LINES:
        raise Unprocessable(f"Give a calendar with at most {LINES:,} lines.", field="file")
    return "\r\n".join(kept)


def _needed(lines: Sequence[str], marks: Sequence[str]) -> Iterator[str]:
    """Yield the lines of a calendar that say when its events are, and their titles.

    Tasks and alarms are none of ours, and the rules of zones may repeat without end: zones
    are known by their names instead.
    """
    skipped: list[str] = []  # the components around, from the first that is left out
    for line, mark in zip(lines, marks, strict=True):
        kind, _, name = mark.partition(":")
        if kind == "BEGIN" and (skipped or name not in ("VCALENDAR", "VEVENT")):
            skipped.append(name)
        elif skipped:
            if kind == "END" and name == skipped[-1]:
                skipped.pop()
        elif _NAME.split(mark, maxsplit=1)[0] in _READ:
            yield line


def _parsed(text: str) -> icalendar.Calendar:
    try:
        calendar = icalendar.Calendar.from_ical(text)
    except UNREADABLE as problem:
        why = wording.plain(str(problem), 120)
        raise Unprocessable(
            f"This file cannot be read as a calendar: {why}", field="file"
        ) from None
    if not isinstance(calendar, icalendar.Calendar):
        raise Unprocessable("Give an iCalendar file: one that ends in .ics.", field="file")
    return calendar


Found = tuple[datetime, datetime] | str  # a span, or why it is none


def _events(
    calendar: icalendar.Calendar, *, zone: ZoneInfo, now: datetime
) -> Iterator[tuple[str, Found]]:
    """Yield each event, and each time of one that repeats: its name, and its span or why it has none."""
    series: dict[str, list[Any]] = defaultdict(list)
    for n, event in enumerate(calendar.walk("VEVENT")):
        series[str(event.get("UID") or f"event {n}")].append(event)
    repeating = 0
    for events in series.values():
        name = wording.plain(str(events[0].get("SUMMARY") or ""), NAME_LENGTH) or "no title"
        try:
            if len(events) == 1 and not _repeats(events[0]):
                yield name, _span(events[0], zone)
                continue
            repeating += 1
            if repeating > RECURRING:
                raise _Not(f"more than {RECURRING} events repeat: enter it by hand")
            times = list(_times(events, zone, now))
            if not times:
                raise _Not(f"does not come up in the next {AHEAD.days} days")
            for found in times:
                yield name, found
        except _Not as why:
            yield name, str(why)
        except UNREADABLE:
            yield name, "cannot be read"


def _span(event: Any, zone: ZoneInfo) -> tuple[datetime, datetime]:
    """Return the instants of an event. Raises _Not for one that is no absence."""
    if str(event.get("STATUS", "")).upper() == "CANCELLED":
        raise _Not("is cancelled")
    if str(event.get("TRANSP", "")).upper() == "TRANSPARENT":
        raise _Not("is shown as free")
    for field in ("DTSTART", "DTEND"):
        given = event.get(field)
        named = given.params.get("TZID") if given is not None else None
        if named and isinstance(given.dt, datetime) and given.dt.tzinfo is None:
            raise _Not(f"names a zone that is not known: {wording.plain(str(named), 60)}")
    return _instant(event.start, zone), _instant(event.end, zone)


def _instant(given: date, zone: ZoneInfo) -> datetime:
    if not isinstance(given, datetime):
        return start_of(given, zone)
    return (given if given.tzinfo is not None else given.replace(tzinfo=zone)).astimezone(UTC)


def _repeats(event: Any) -> bool:
    return any(field in event for field in ("RRULE", "RDATE", "EXRULE", "RECURRENCE-ID"))


def _times(events: Sequence[Any], zone: ZoneInfo, now: datetime) -> Iterator[Found]:
    """Yield each time that events of one series come up within 90 days."""
    for event in events:
        _demand_plain(event, now, zone)
    alone = icalendar.Calendar()
    alone.add("prodid", "recourse")
    alone.add("version", "2.0")
    for event in events:
        alone.add_component(event)
    for each in recurring_ical_events.of(alone).between(now, now + AHEAD):
        try:
            yield _span(each, zone)
        except _Not as why:
            yield str(why)


def _demand_plain(event: Any, now: datetime, zone: ZoneInfo) -> None:
    """Raise _Not for what repeats by a rule of which nobody knows when it ends to be expanded."""
    if "RDATE" in event or "EXRULE" in event:
        raise _Not("repeats on days of a list: enter them by hand")
    given = event.get("RRULE")
    _span(event, zone)  # its zone must be known
    if given is None:
        return
    if isinstance(given, list):
        raise _Not("repeats by two rules: enter it by hand")
    rule = {str(key).upper(): value for key, value in given.items()}
    start = event.start
    frequency = str((rule.get("FREQ") or [""])[0]).upper()
    if set(rule) - _PLAIN_RULE or frequency not in ("DAILY", "WEEKLY", "MONTHLY", "YEARLY"):
        raise _Not("repeats by a rule that is not read here: enter it by hand")
    if "BYDAY" in rule and (
        frequency != "WEEKLY" or not {str(each).upper() for each in rule["BYDAY"]} <= _WEEKDAYS
    ):
        raise _Not("repeats by a rule that is not read here: enter it by hand")
    own = {"BYMONTH": start.month, "BYMONTHDAY": start.day}
    if any(field in rule and [int(n) for n in rule[field]] != [own[field]] for field in own):
        raise _Not("repeats by a rule that is not read here: enter it by hand")
    if not 1 <= int((rule.get("INTERVAL") or [1])[0]) <= _LONGEST_INTERVAL:
        raise _Not("repeats by a rule that is not read here: enter it by hand")
    if _instant(start, zone) < now - SINCE:
        raise _Not("has repeated for over five years: enter it by hand")


def _why_not(
    starts_at: datetime,
    ends_at: datetime,
    now: datetime,
    zone: ZoneInfo,
    standing: Sequence[Absence],
    taken: Sequence[Span],
) -> str:
    """Say why a span is not taken; "" if it is."""
    if ends_at <= now:
        return f"is over since {wording.at(ends_at, now=now, zone=zone)}"
    if ends_at <= starts_at:
        return "has no length"
    if ends_at > now + FURTHEST:
        return "reaches further than three years"
    for each in standing:
        if each.starts_at <= starts_at and ends_at <= each.ends_at:
            return "is entered already"
        if each.starts_at < ends_at and starts_at < each.ends_at:
            return "overlaps an absence that is entered"
    for other in taken:
        if other.starts_at < ends_at and starts_at < other.ends_at:
            return f"overlaps another of the file: {other.name}"
    return ""
