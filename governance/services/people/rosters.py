"""On-call rosters as they are: who is on when, and when nobody is."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import NamedTuple
from zoneinfo import ZoneInfo

from governance.errors import Unprocessable
from governance.models import Absence, Person, RosterShift
from governance.services.people.kinds import shift

WEEK = timedelta(weeks=1)


class Gap(NamedTuple):
    """A span in which nobody is on shift. Half-open."""

    starts_at: datetime
    ends_at: datetime


def gaps(
    spans: Sequence[tuple[datetime, datetime]], *, since: datetime, until: datetime
) -> list[Gap]:
    """Return when none of these half-open spans holds, between two instants. Pure."""
    found, covered = [], since
    for starts_at, ends_at in sorted(spans):
        if starts_at >= until:
            break
        if starts_at > covered:
            found.append(Gap(covered, starts_at))
        covered = max(covered, ends_at)
    if covered < until:
        found.append(Gap(covered, until))
    return found


def shifts_of(target: str, *, since: datetime, until: datetime) -> list[RosterShift]:
    """Return the shifts of a target that hold at some instant of a span, the first to begin first."""
    rows = RosterShift.objects.filter(target=target, starts_at__lt=until, ends_at__gt=since)
    return list(rows.select_related("person").order_by("starts_at", "pk"))


def away_within(shifts: Sequence[RosterShift]) -> dict[int, list[Absence]]:
    """Return for each shift, by key, the absences of its person that fall into it."""
    people = {each.person_id for each in shifts}
    absences = list(
        Absence.objects.filter(person__in=people, cancelled_at=None).order_by("starts_at", "pk")
    )
    return {
        each.pk: [
            absence
            for absence in absences
            if absence.person_id == each.person_id
            and absence.starts_at < each.ends_at
            and each.starts_at < absence.ends_at
        ]
        for each in shifts
    }


def weekly(
    person: Person, starts: datetime, ends: datetime, *, zone: ZoneInfo, times: int
) -> list[dict[str, str]]:
    """Return a shift, and the same again each week, as values.

    The wall's times are the same each week, whatever the clocks do between.

    Args:
        starts, ends: naive, as the wall of `zone` shows them.
        times: how many weeks, 1 for the shift alone.

    Raises Unprocessable: a time is not there, since the clocks are set on over it; or a date is
        out of what a calendar holds. `extra["field"]` says which.
    """
    found = []
    for n in range(times):
        try:
            begins = _instant(starts + n * WEEK, zone, "starts")
            ended = _instant(ends + n * WEEK, zone, "ends")
        except OverflowError:
            raise Unprocessable("Give shifts within a year from now.", field="times") from None
        found.append(shift(person, begins, ended))
    return found


def _instant(wall: datetime, zone: ZoneInfo, field: str) -> datetime:
    """Return the instant that a wall shows: the first of two, where it shows it twice."""
    instant = wall.replace(tzinfo=zone).astimezone(UTC)
    if instant.astimezone(zone).replace(tzinfo=None) != wall:
        raise Unprocessable(
            f"Give another time: at {wall:%H:%M} on {wall.day} {wall:%b %Y} the clocks there are set on.",
            field=field,
        )
    return instant
