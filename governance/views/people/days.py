"""Absences as days: a month drawn as a grid, and a span in words. Pure: rows in, cells out."""

from __future__ import annotations

import calendar
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta, tzinfo
from zoneinfo import ZoneInfo

from governance import wording
from governance.models import Absence
from governance.services.people.absences import start_of

ONE_DAY = timedelta(days=1)
SHOWN = 4  # names in one cell
FURTHEST_YEARS = 5  # that a month is drawn for, back and ahead


@dataclass(frozen=True, slots=True)
class Month:
    """One month of one year."""

    year: int
    number: int

    @classmethod
    def read(cls, text: str, *, today: date) -> Month:
        """Read "2026-12". Anything else, and what is too far away, is the month of today."""
        year, _, number = text.partition("-")
        digits = all(each.isascii() and each.isdigit() for each in (year, number))
        if not digits or len(text) > 7 or not 1 <= int(number) <= 12:
            return cls(today.year, today.month)
        if abs(int(year) - today.year) > FURTHEST_YEARS:
            return cls(today.year, today.month)
        return cls(int(year), int(number))

    def __str__(self) -> str:
        return f"{self.year:04}-{self.number:02}"

    @property
    def words(self) -> str:
        return f"{calendar.month_name[self.number]} {self.year}"

    def moved(self, months: int) -> Month:
        """Return the month that is so many later, or earlier."""
        count = self.year * 12 + self.number - 1 + months
        return Month(count // 12, count % 12 + 1)

    @property
    def first(self) -> date:
        return date(self.year, self.number, 1)

    def span(self, zone: ZoneInfo) -> tuple[datetime, datetime]:
        """Return the instants between which this month lies in a zone, in UTC."""
        return start_of(self.first, zone), start_of(self.moved(1).first, zone)


@dataclass(frozen=True, slots=True)
class Mark:
    """Somebody away on a day: for all of it, or from and until when."""

    name: str
    is_mine: bool
    part: str  # "from 14:00"; "" for the whole day


@dataclass(frozen=True, slots=True)
class Cell:
    day: date
    is_of_month: bool
    is_today: bool
    marks: tuple[Mark, ...]
    more: int  # others away that day, who are not named in the cell


def weeks(
    month: Month, absences: Sequence[Absence], *, zone: ZoneInfo, now: datetime, reader: int
) -> list[list[Cell]]:
    """Return the month's weeks from Monday on, each day with those who are away on it, in a zone."""
    today = now.astimezone(zone).date()
    found = []
    for week in calendar.Calendar().monthdatescalendar(month.year, month.number):
        cells = []
        for day in week:
            starts_at, ends_at = start_of(day, zone), start_of(day + ONE_DAY, zone)
            away = [
                each for each in absences if each.starts_at < ends_at and starts_at < each.ends_at
            ]
            marks = tuple(_mark(each, starts_at, ends_at, zone, reader) for each in away)
            cells.append(
                Cell(
                    day,
                    day.month == month.number,
                    day == today,
                    marks[:SHOWN],
                    max(len(marks) - SHOWN, 0),
                )
            )
        found.append(cells)
    return found


def _mark(
    each: Absence, starts_at: datetime, ends_at: datetime, zone: ZoneInfo, reader: int
) -> Mark:
    parts = []
    if each.starts_at > starts_at:
        parts.append(f"from {each.starts_at.astimezone(zone):%H:%M}")
    if each.ends_at < ends_at:
        parts.append(f"until {each.ends_at.astimezone(zone):%H:%M}")
    return Mark(str(each.person), each.person_id == reader, " ".join(parts))


def spoken(starts_at: datetime, ends_at: datetime, *, zone: tzinfo, now: datetime) -> str:
    """Say a span: "Tue 3 Mar to Thu 5 Mar" where it is whole days, "Tue 3 Mar, 14:00 to 16:30" where not."""
    first, end = starts_at.astimezone(zone), ends_at.astimezone(zone)
    year = now.astimezone(zone).year
    if first.time() == end.time() == time():
        last = end.date() - ONE_DAY
        if last == first.date():
            return _day(last, year)
        return f"{_day(first.date(), year)} to {_day(last, year)}"
    if first.date() == end.date():
        return f"{_day(first.date(), year)}, {first:%H:%M} to {end:%H:%M}"
    begins = (
        _day(first.date(), year)
        if first.time() == time()
        else f"{_day(first.date(), year)} {first:%H:%M}"
    )
    if end.time() == time():
        return f"{begins} to the end of {_day(end.date() - ONE_DAY, year)}"
    return f"{begins} to {_day(end.date(), year)} {end:%H:%M}"


def last_day(absence: Absence) -> date:
    """Return the last day of an absence in its person's zone."""
    end = absence.ends_at - timedelta(microseconds=1)
    return end.astimezone(absence.person.zone).date()


def _day(day: date, year: int) -> str:
    other = "" if day.year == year else f"{wording.NBSP}{day.year}"
    return f"{day:%a}{wording.NBSP}{day.day}{wording.NBSP}{day:%b}{other}"
