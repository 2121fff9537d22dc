"""Calendars as others write them: what of a file is an absence, and what is refused or left out, in words."""

from __future__ import annotations

import re
import time
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from governance.errors import Unprocessable
from governance.services.people.calendars import read_calendar
from tests.factories import MONDAY_9AM, AbsenceFactory

BERLIN = ZoneInfo("Europe/Berlin")
DAY = timedelta(days=1)


def event(*lines, uid="1", summary="Off"):
    return "\r\n".join(["BEGIN:VEVENT", f"UID:{uid}", f"SUMMARY:{summary}", *lines, "END:VEVENT"])


def calendar(*events):
    head = ("BEGIN:VCALENDAR", "VERSION:2.0", "PRODID:-//test//EN")
    return "\r\n".join([*head, *events, "END:VCALENDAR", ""]).encode()


def read(*events, content=None, zone=BERLIN, now=MONDAY_9AM, standing=()):
    return read_calendar(content or calendar(*events), zone=zone, now=now, standing=standing)


def utc(*parts):
    return datetime(*parts, tzinfo=UTC)


def spans(reading):
    return [(each.starts_at, each.ends_at) for each in reading.taken]


def why(reading):
    (left_out,) = reading.left_out
    assert not reading.taken
    return left_out.why


# --- Taken ---


def test_whole_days_are_days_of_the_persons_zone_and_the_end_is_not_among_them():
    reading = read(event("DTSTART;VALUE=DATE:20260327", "DTEND;VALUE=DATE:20260330"))

    assert spans(reading) == [(utc(2026, 3, 26, 23), utc(2026, 3, 29, 22))]


def test_a_whole_day_without_an_end_is_one_day():
    assert spans(read(event("DTSTART;VALUE=DATE:20260304"))) == [
        (utc(2026, 3, 3, 23), utc(2026, 3, 4, 23))
    ]


@pytest.mark.parametrize(
    ("start", "end", "hour"),
    [
        (";TZID=America/New_York:20260304T090000", ";TZID=America/New_York:20260304T110000", 14),
        (";TZID=W. Europe Standard Time:20260304T090000", ":20260304T100000Z", 8),
        (":20260304T090000Z", ":20260304T110000Z", 9),
        (":20260304T090000", ":20260304T110000", 8),
    ],
    ids=["IANA", "Windows", "UTC", "floating"],
)
def test_times_are_of_the_zone_they_name_and_of_the_persons_if_they_name_none(start, end, hour):
    assert spans(read(event(f"DTSTART{start}", f"DTEND{end}"))) == [
        (utc(2026, 3, 4, hour), utc(2026, 3, 4, hour) + timedelta(hours=2))
    ]


def test_a_duration_is_as_good_as_an_end():
    assert spans(read(event("DTSTART:20260304T090000Z", "DURATION:PT90M"))) == [
        (utc(2026, 3, 4, 9), utc(2026, 3, 4, 10, 30))
    ]


def test_what_runs_is_taken_from_now_on():
    assert spans(read(event("DTSTART;VALUE=DATE:20260301", "DTEND;VALUE=DATE:20260304"))) == [
        (MONDAY_9AM, utc(2026, 3, 3, 23))
    ]


def test_what_repeats_is_taken_for_90_days_across_a_change_of_clocks_and_without_its_exceptions():
    reading = read(
        event(
            "DTSTART;TZID=Europe/Berlin:20260306T140000",
            "DTEND;TZID=Europe/Berlin:20260306T170000",
            "RRULE:FREQ=WEEKLY;BYDAY=FR",
            "EXDATE;TZID=Europe/Berlin:20260313T140000",
        )
    )

    starts = [each.starts_at for each in reading.taken]
    assert len(starts) == 12  # 13 Fridays in 90 days, without one
    assert utc(2026, 3, 13, 13) not in starts
    assert utc(2026, 3, 27, 13) in starts
    assert utc(2026, 4, 3, 12) in starts
    assert max(starts) < MONDAY_9AM + 90 * DAY


def test_one_time_of_a_series_that_was_moved_is_taken_where_it_is():
    reading = read(
        event("DTSTART:20260304T090000Z", "DURATION:PT1H", "RRULE:FREQ=DAILY;COUNT=2"),
        event("DTSTART:20260305T150000Z", "DURATION:PT1H", "RECURRENCE-ID:20260305T090000Z"),
    )

    assert [each.starts_at for each in reading.taken] == [utc(2026, 3, 4, 9), utc(2026, 3, 5, 15)]


@pytest.mark.parametrize(
    "rule",
    [
        "FREQ=DAILY;COUNT=3",
        "FREQ=DAILY;UNTIL=20260306T235959Z",
        "FREQ=WEEKLY;BYDAY=WE,TH,FR;COUNT=3",
        "FREQ=MONTHLY;BYMONTHDAY=4",
        "FREQ=YEARLY;BYMONTH=3;BYMONTHDAY=4",
    ],
)
def test_plain_rules_are_read(rule):
    assert read(event("DTSTART:20260304T090000Z", "DURATION:PT1H", f"RRULE:{rule}")).taken


def test_lines_that_are_folded_and_a_byte_order_mark_are_no_obstacle():
    content = b"\xef\xbb\xbf" + calendar(
        event("DTSTART;VALUE=DA", " TE:20260304", summary="Zahnärztin")
    )

    assert [each.name for each in read(content=content).taken] == ["Zahnärztin"]


# --- Left out, each with its reason ---


@pytest.mark.parametrize(
    ("lines", "says"),
    [
        (["DTSTART;VALUE=DATE:20260304", "STATUS:CANCELLED"], "is cancelled"),
        (["DTSTART;VALUE=DATE:20260304", "TRANSP:TRANSPARENT"], "shown as free"),
        (["DTSTART;VALUE=DATE:20260226"], "is over since"),
        (["DTSTART:20260302T080000Z", "DTEND:20260302T090000Z"], "is over since"),
        (["DTSTART:20260304T090000Z"], "no length"),
        (["DTSTART:20260304T090000Z", "DTEND:20260304T080000Z"], "no length|cannot be read"),
        (["DTSTART;VALUE=DATE:20300304"], "further than three years"),
        (
            ["DTSTART;TZID=Atlantis/Sunken:20260304T090000", "DURATION:PT1H"],
            "zone that is not known",
        ),
        (["DTSTART:garbage"], "cannot be read"),
        ([], "cannot be read"),
        (["DTSTART;VALUE=DATE:00010101", "DTEND;VALUE=DATE:00010102"], "is over|cannot be read"),
        (["DTSTART;VALUE=DATE:99991231"], "further|cannot be read"),
    ],
)
def test_what_is_no_absence_is_left_out_with_its_reason(lines, says):
    assert re.search(says, why(read(event(*lines))))


@pytest.mark.parametrize(
    "rule",
    [
        "FREQ=SECONDLY",
        "FREQ=MINUTELY",
        "FREQ=HOURLY",
        "FREQ=DAILY;BYHOUR=1,2,3",
        "FREQ=DAILY;BYMONTH=2;BYMONTHDAY=30",
        "FREQ=DAILY;INTERVAL=7;BYDAY=MO",
        "FREQ=YEARLY;BYMONTH=2;BYMONTHDAY=30",
        "FREQ=MONTHLY;BYDAY=5MO",
        "FREQ=DAILY;INTERVAL=0",
        "FREQ=WEEKLY;BYSETPOS=1;BYDAY=MO",
    ],
)
def test_a_rule_of_which_nobody_knows_when_it_comes_to_an_end_is_refused_in_words(rule):
    begun = time.monotonic()

    said = why(read(event("DTSTART:20260303T090000Z", "DURATION:PT1H", f"RRULE:{rule}")))

    assert "rule that is not read here" in said or said == "cannot be read"
    assert time.monotonic() - begun < 2


@pytest.mark.parametrize(
    ("lines", "says"),
    [
        (["RRULE:FREQ=DAILY", "RRULE:FREQ=WEEKLY"], "two rules"),
        (["RDATE:20260305T090000Z"], "days of a list"),
        (["RRULE:FREQ=DAILY;UNTIL=20260303T100000Z"], "does not come up"),
        (["RRULE:FREQ=;"], "rule that is not read|cannot be read"),
    ],
)
def test_other_ways_to_repeat_are_refused_in_words(lines, says):
    start = "20250303T090000Z" if "UNTIL" in str(lines) else "20260303T090000Z"
    lines = [each.replace("20260303T100000Z", "20260220T100000Z") for each in lines]

    assert re.search(says, why(read(event(f"DTSTART:{start}", "DURATION:PT1H", *lines))))


def test_what_has_repeated_since_long_ago_is_refused():
    lines = ["DTSTART:19700101T090000Z", "DURATION:PT1H", "RRULE:FREQ=DAILY"]

    assert "over five years" in why(read(event(*lines)))


def test_what_is_entered_already_or_overlaps_is_left_out():
    standing = [AbsenceFactory.build(starts_at=utc(2026, 3, 4), ends_at=utc(2026, 3, 6))]

    reading = read(
        event("DTSTART:20260304T090000Z", "DURATION:PT1H", uid="a", summary="Inside"),
        event("DTSTART:20260305T230000Z", "DURATION:PT2H", uid="b", summary="Across"),
        event("DTSTART:20260306T000000Z", "DURATION:PT2H", uid="c", summary="Touching"),
        event("DTSTART:20260306T010000Z", "DURATION:PT2H", uid="d", summary="Twice"),
        standing=standing,
    )

    assert [each.name for each in reading.taken] == ["Touching"]
    assert [tuple(each) for each in reading.left_out] == [
        ("Inside", "is entered already"),
        ("Across", "overlaps an absence that is entered"),
        ("Twice", "overlaps another of the file: Touching"),
    ]


def test_rules_of_zones_are_not_run():
    zone = "\r\n".join(
        [
            "BEGIN:VTIMEZONE", "TZID:Mine", "BEGIN:STANDARD", "DTSTART:19700101T000000",
            "TZOFFSETFROM:+0100", "TZOFFSETTO:+0200", "RRULE:FREQ=SECONDLY", "END:STANDARD",
            "END:VTIMEZONE",
        ]
    )  # fmt: skip
    begun = time.monotonic()

    said = why(read(zone, event("DTSTART;TZID=Mine:20260304T090000", "DURATION:PT1H")))

    assert said == "names a zone that is not known: Mine"
    assert time.monotonic() - begun < 2


# --- Refused as a whole ---


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "iCalendar file"),
        (b"hello", "iCalendar file"),
        (b"BEGIN:VCALENDAR\r\n\0", "iCalendar file"),
        ("BEGIN:VCALENDAR\r\nSUMMARY:Zahnärztin".encode("latin-1"), "in UTF-8"),
        (b"\xff\xfe" + calendar().decode().encode("utf-16-le"), "in UTF-8"),
        (calendar() + b" " * 1024 * 1024, "at most 1024 kB"),
        (
            b"BEGIN:VCALENDAR\n" + b"BEGIN:VEVENT\n" * 50_000,
            "at most 1,000 events: this one has 50,000",
        ),
        (b"BEGIN:VCALENDAR\nBEGIN:VEVENT\nEND:VTODO\n", "cannot be read|iCalendar file"),
        (calendar("BEGIN:VTIMEZONE\r\n" * 60_000), "cannot be read"),
    ],
    ids=[
        "empty",
        "text",
        "NUL",
        "latin-1",
        "UTF-16",
        "too large",
        "50,000 events",
        "torn",
        "never closed",
    ],
)
def test_a_bad_file_is_refused_in_words_at_its_field(content, says):
    with pytest.raises(Unprocessable, match=says) as refused:
        read_calendar(content, zone=BERLIN, now=MONDAY_9AM, standing=())

    assert refused.value.extra["field"] == "file"


def test_a_calendar_with_too_much_to_take_is_refused():
    events = [
        event(f"DTSTART:20260304T{n // 60:02}{n % 60:02}00Z", "DURATION:PT1M", uid=str(n))
        for n in range(201)
    ]

    with pytest.raises(Unprocessable, match="at most 200 absences"):
        read(*events)


def many(line):
    return f"{line}\r\n" * (1024 * 1000 // (len(line) + 2))


@pytest.mark.parametrize(
    "line",
    [
        "BEGIN:VTIMEZONE\r\nEND:VTIMEZONE",
        "BEGIN:VTODO\r\nX-A:b\r\nEND:VTODO",
        "X-A:b",
        "ATTENDEE:b",
        " ",
    ],
)
def test_a_megabyte_of_what_is_not_looked_at_is_passed_over_within_seconds(line):
    begun = time.monotonic()

    reading = read(event("DTSTART;VALUE=DATE:20260304"), many(line))

    assert len(reading.taken) == 1
    assert time.monotonic() - begun < 5


@pytest.mark.parametrize("line", ["END:VEVENT", "BEGIN:VCALENDAR", "SUMMARY:b", "EXDATE:20260101"])
def test_a_megabyte_of_what_is_looked_at_is_refused_within_seconds(line):
    begun = time.monotonic()

    with pytest.raises(Unprocessable, match="at most 20,000 lines"):
        read(event("DTSTART;VALUE=DATE:20260304"), many(line))
    assert time.monotonic() - begun < 5


def test_the_largest_calendar_that_is_taken_is_read_within_seconds():
    rules = [
        event(
            "DTSTART:20210601T090000Z",
            "DURATION:PT1M",
            "RRULE:FREQ=DAILY",
            "STATUS:CANCELLED",
            uid=f"r{n}",
        )
        for n in range(50)
    ]
    rest = [event("DTSTART;VALUE=DATE:20200101", uid=str(n)) for n in range(950)]
    begun = time.monotonic()

    reading = read(*rules, *rest)

    assert not reading.taken
    assert time.monotonic() - begun < 15
