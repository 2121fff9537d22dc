"""Absences: entered as days in a person's zone, kept as instants, in force from the moment they are stored.

Whoever is asked and is away from now on is passed over by the next sweep; rungs
that open later read absences live. Nothing here touches a request.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

from django.db import transaction

from governance import actors, signs, wording
from governance.errors import NotFound, NotNow, NotYours, Unprocessable
from governance.ledger import Act
from governance.models import Absence, Person
from governance.services.people.standing import may_enter_absences_of
from governance.vocabulary import Chain, Duty
from governance.wake import wake_clock

FURTHEST = timedelta(days=3 * 366)  # an absence ends at most this far ahead
ONE_DAY = timedelta(days=1)
PAGE = "/absences/"


@transaction.atomic
def set_absence(*, person: int, actor: Person, first: date, last: date, now: datetime) -> Absence:
    """Enter an absence of whole days, both counted, in the person's zone. It holds at once.

    If it is somebody else's, they and the auditors are told in the same
    transaction. A first day that is today begins now: nobody was away before it was said.

    Args:
        person: primary key.

    Raises:
        NotFound: no such person.
        NotYours: not theirs, and not their manager, their department's head or an administrator.
        Unprocessable: it ends before it begins, lies in the past, reaches too far, or overlaps
            another. `extra["field"]` is `first` or `last`.
    """
    found = _locked(person, actor)
    zone = found.zone
    if last < first:
        raise Unprocessable("Give a last day that is not before the first.", field="last")
    today = now.astimezone(zone).date()
    if first < today:
        raise Unprocessable(
            f"Give a first day that is not over: it is {_day(today)} in {found.time_zone}.",
            field="first",
        )
    if last > (now + FURTHEST).astimezone(zone).date():
        raise Unprocessable("Give a last day within three years from now.", field="last")
    span = max(start_of(first, zone), now), start_of(last + ONE_DAY, zone)
    return _enter(found, [span], actor=actor, now=now, field="first")[0]


@transaction.atomic
def enter_absences(
    *, actor: Person, spans: Sequence[tuple[datetime, datetime]], now: datetime
) -> list[Absence]:
    """Enter several absences of one's own, as a calendar has them: all, or none.

    Args:
        spans: half-open, aware; one that has begun is taken from now on.

    Raises Unprocessable: one has no length, is over, reaches too far, or overlaps another.
    """
    found = _locked(actor.pk, actor)
    taken = []
    for starts_at, ends_at in spans:
        if ends_at <= now:
            raise Unprocessable(f"{_span(starts_at, ends_at, found.zone)} is over.")
        if ends_at > now + FURTHEST:
            raise Unprocessable(
                f"{_span(starts_at, ends_at, found.zone)} reaches further than three years."
            )
        taken.append((max(starts_at, now), ends_at))
    return _enter(found, taken, actor=actor, now=now, field="file")


@transaction.atomic
def shorten_absence(
    *, absence: int, actor: Person, last: date, now: datetime, seen: datetime | None = None
) -> Absence:
    """Have an absence end earlier, with the day `last` in the person's zone. It cannot grow: enter another.

    Args:
        absence: primary key.
        seen: its end as the actor saw it; another one now means that somebody was faster.

    Raises:
        NotFound, NotYours: as `set_absence`.
        NotNow: it is over, cancelled, or no longer ends where the actor saw it end.
        Unprocessable: that day is before its first, over, or does not make it shorter.
    """
    found, person = _standing(absence, actor, now, seen)
    zone = person.zone
    if last < found.starts_at.astimezone(zone).date():
        raise Unprocessable("Give a last day that is not before the first.", field="last")
    ends_at = _end_after(last, zone)
    if ends_at <= now:
        raise Unprocessable("Give a day that is not over, or cancel the absence.", field="last")
    if ends_at >= found.ends_at:
        raise Unprocessable(
            "Give an earlier last day. For more days enter a second absence.", field="last"
        )
    return _end(found, person, ends_at, "absence.shortened", actor=actor, now=now)


@transaction.atomic
def cancel_absence(
    *, absence: int, actor: Person, now: datetime, seen: datetime | None = None
) -> Absence:
    """Take back an absence that has not begun, or end one that has: its person is back now.

    Raises NotFound, NotYours, NotNow: as `shorten_absence`.
    """
    found, person = _standing(absence, actor, now, seen)
    if found.starts_at < now:  # it held for a while, and the record of that stays
        return _end(found, person, now, "absence.ended", actor=actor, now=now)
    found.cancelled_at = now
    found.save(update_fields=["cancelled_at"])
    act = Act(now=now, actor=actors.person(actor))
    act.record_named(Chain.PEOPLE, "absence.cancelled", **_facts(found, person))
    span = _span(found.starts_at, found.ends_at, person.zone)
    _tell_of(person, actor, f"took back {{}} absence, {span}.", now=now)
    act.write()
    return found


def start_of(day: date, zone: ZoneInfo) -> datetime:
    """Return the instant at which a day begins in a zone, in UTC.

    Where the clocks are set on at midnight that is the instant they are set; where they are
    set back over it, the first of both.
    """
    return datetime.combine(day, time.min, zone).astimezone(UTC)


def overlapping(
    person: Person, starts_at: datetime, ends_at: datetime, *, among: Iterable[Absence]
) -> Absence | None:
    """Return the first of these absences that shares an instant with the span, which is half-open."""
    for each in among:
        if each.starts_at < ends_at and starts_at < each.ends_at:
            return each
    return None


def standing_absences(person: Person, now: datetime) -> list[Absence]:
    """Return a person's absences that are not over, the first to begin first."""
    rows = Absence.objects.filter(person=person, cancelled_at=None, ends_at__gt=now)
    return list(rows.order_by("starts_at", "pk"))


def _enter(
    person: Person,
    spans: Iterable[tuple[datetime, datetime]],
    *,
    actor: Person,
    now: datetime,
    field: str,
) -> list[Absence]:
    standing = standing_absences(person, now)
    act = Act(now=now, actor=actors.person(actor))
    entered = []
    for starts_at, ends_at in spans:
        if ends_at <= starts_at:  # a day that a zone left out has none
            raise Unprocessable("Give a span with a length: this one has none.", field=field)
        other = overlapping(person, starts_at, ends_at, among=standing)
        if other is not None:
            span = _span(other.starts_at, other.ends_at, person.zone)
            raise Unprocessable(
                f"Choose other days: an absence is entered already, {span}.", field=field
            )
        one = Absence.objects.create(
            person=person, starts_at=starts_at, ends_at=ends_at, set_by=actor, set_at=now
        )
        standing.append(one)
        entered.append(one)
        act.record_named(Chain.PEOPLE, "absence.set", **_facts(one, person))
        _tell_of(
            person,
            actor,
            f"entered {{}} absence, {_span(starts_at, ends_at, person.zone)}.",
            now=now,
        )
        wake_clock(starts_at)
    act.write()
    return entered


def _end(
    found: Absence, person: Person, ends_at: datetime, kind: str, *, actor: Person, now: datetime
) -> Absence:
    was, found.ends_at = found.ends_at, ends_at
    found.save(update_fields=["ends_at"])
    act = Act(now=now, actor=actors.person(actor))
    act.record_named(Chain.PEOPLE, kind, was_until=was, **_facts(found, person))
    until = _until(ends_at, person.zone)
    _tell_of(person, actor, f"shortened {{}} absence: it ends {until}.", now=now)
    act.write()
    return found


def _standing(
    absence: int, actor: Person, now: datetime, seen: datetime | None
) -> tuple[Absence, Person]:
    """Lock and return an absence that is not over, and its person."""
    whose = Absence.objects.filter(pk=absence).values_list("person_id", flat=True).first()
    if whose is None:
        raise NotFound("There is no such absence.")
    person = _locked(whose, actor)
    found = Absence.objects.select_for_update(no_key=True, of=("self",)).get(pk=absence)
    if found.cancelled_at is not None:
        raise NotNow("This absence was cancelled before. Nothing was changed.")
    if found.ends_at <= now:
        raise NotNow("This absence is over. Nothing was changed.")
    if seen is not None and seen != found.ends_at:
        until = _until(found.ends_at, person.zone)
        raise NotNow(f"Somebody was faster: this absence ends {until} now. Nothing was changed.")
    return found, person


def _locked(person: int, actor: Person) -> Person:
    """Lock a person's row, so that of two who enter absences the second sees the first's."""
    found = Person.objects.select_for_update(no_key=True, of=("self",)).filter(pk=person).first()
    if found is None:
        raise NotFound("There is no such person.")
    if not may_enter_absences_of(actor, found):
        raise NotYours(
            "Their manager, the head of their department and administrators enter somebody's "
            "absences, beside the person. Nothing was changed."
        )
    return found


def _tell_of(person: Person, actor: Person, what: str, *, now: datetime) -> None:
    """Tell a person, and the auditors, what somebody else did about their absence."""
    if person.pk == actor.pk:
        return
    auditors = Person.objects.filter(is_active=True, roles__key=Duty.AUDITOR).exclude(
        pk__in=(actor.pk, person.pk)
    )
    found = list(auditors.order_by("pk").values_list("pk", flat=True))
    to_them = f"{actor} ({actor.username}) {what.format('your')}"
    whose = f"{person}'s"
    to_others = f"{actor} ({actor.username}) {what.format(whose)}"
    signs.tell([person.pk], text=to_them, page=PAGE, now=now)
    signs.tell(found, text=to_others, page=PAGE, now=now)
    if not found:
        text = f"{to_others} There is no auditor to tell."
        signs.alarm(kind="absence.unwatched", key=person.username, text=text, now=now)


def _facts(absence: Absence, person: Person) -> dict[str, object]:
    return {
        "absence": absence.pk,
        "person": actors.person(person),
        "starts_at": absence.starts_at,
        "ends_at": absence.ends_at,
    }


def _end_after(last: date, zone: ZoneInfo) -> datetime:
    try:
        return start_of(last + ONE_DAY, zone)
    except OverflowError:  # the last day that there is
        raise Unprocessable("Give an earlier last day.", field="last") from None


def _span(starts_at: datetime, ends_at: datetime, zone: ZoneInfo) -> str:
    return f"from {_until(starts_at, zone)} {_until(ends_at, zone, word='until ')}"


def _until(instant: datetime, zone: ZoneInfo, *, word: str = "") -> str:
    here = instant.astimezone(zone)
    return f"{word}{_day(here.date())} {here:%H:%M} {wording.zone_word(instant, zone)}"


def _day(day: date) -> str:
    return f"{day.day} {day:%b %Y}"
