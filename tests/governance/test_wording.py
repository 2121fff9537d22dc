from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from zoneinfo import ZoneInfo

import pytest
from django.template import Context, Template

from governance import wording
from governance.vocabulary import Path

NEW_YORK = ZoneInfo("America/New_York")
FRIDAY = datetime(2026, 11, 20, 14, 46, tzinfo=UTC)  # 09:46 in New York


def plain(said: str) -> str:
    return said.replace(wording.NBSP, " ")


@pytest.mark.parametrize(
    ("length", "said"),
    [
        (timedelta(0), "0 s"),
        (timedelta(milliseconds=999), "0 s"),
        (timedelta(seconds=59), "59 s"),
        (timedelta(minutes=1), "1 min"),
        (timedelta(minutes=4, seconds=59), "4 min 59 s"),
        (timedelta(minutes=5), "5 min"),
        (timedelta(minutes=5, seconds=59), "5 min"),
        (timedelta(minutes=59, seconds=59), "59 min"),
        (timedelta(hours=1), "1 h"),
        (timedelta(hours=1, minutes=49, seconds=59), "1 h 49 min"),
        (timedelta(hours=23, minutes=59, seconds=59), "23 h 59 min"),
        (timedelta(hours=24), "24 h"),
        (timedelta(hours=47, minutes=59), "47 h"),
        (timedelta(hours=48), "2 days"),
        (timedelta(days=3, hours=23), "3 days"),
        (-timedelta(hours=3, minutes=12), "3 h 12 min"),
    ],
)
def test_a_span_is_rounded_down_to_what_matters(length, said):
    assert plain(wording.span(length)) == said


def test_a_number_and_its_unit_never_part():
    assert " " not in wording.span(timedelta(hours=1, minutes=49))


def test_the_short_span_is_the_largest_unit():
    assert plain(wording.short_span(timedelta(hours=1, minutes=49))) == "1 h"


@pytest.mark.parametrize(
    ("away", "said"),
    [
        (timedelta(0), "09:46"),
        (timedelta(hours=14, minutes=13), "23:59"),
        (timedelta(hours=14, minutes=14), "Sat 00:00"),
        (timedelta(days=6), "Thu 09:46"),
        (timedelta(days=7), "27 Nov 09:46"),
        (timedelta(days=42), "1 Jan 2027 09:46"),
        (-timedelta(hours=9, minutes=46), "00:00"),
        (-timedelta(hours=9, minutes=47), "Thu 23:59"),
    ],
)
def test_an_instant_names_the_day_once_it_is_another_for_its_reader(away, said):
    assert plain(wording.at(FRIDAY + away, now=FRIDAY, zone=NEW_YORK)) == said


def test_an_instant_is_said_in_the_readers_zone_on_both_sides_of_a_clock_change():
    summer = datetime(2026, 11, 1, 5, 30, tzinfo=UTC)

    assert wording.at(summer, now=summer, zone=NEW_YORK) == "01:30"
    assert wording.at(summer + timedelta(hours=1), now=summer, zone=NEW_YORK) == "01:30"
    assert wording.zone_word(summer, NEW_YORK) == "EDT"
    assert wording.zone_word(summer + timedelta(hours=1), NEW_YORK) == "EST"


def test_a_refusal_says_the_second():
    said = wording.at(FRIDAY + timedelta(seconds=12), now=FRIDAY, zone=NEW_YORK, seconds=True)

    assert said == "09:46:12"


def test_a_zone_without_a_name_is_said_by_its_offset():
    assert wording.zone_word(FRIDAY, ZoneInfo("America/Sao_Paulo")) == "UTC-03"


def test_the_exact_instant_has_date_second_and_zone():
    assert plain(wording.exact(FRIDAY, NEW_YORK)) == "20 Nov 2026, 09:46:00 EST"


@pytest.mark.parametrize(
    ("passed", "share"),
    [(-1, 100.0), (0, 100.0), (60, 50.0), (96, 20.0), (120, 0.0), (121, 0.0)],
)
def test_the_share_left_stays_between_nothing_and_all(passed, share):
    due_at = FRIDAY + timedelta(minutes=120)

    assert wording.share_left(due_at, FRIDAY, FRIDAY + timedelta(minutes=passed)) == share


def test_a_window_without_length_is_over():
    assert wording.share_left(FRIDAY, FRIDAY, FRIDAY) == 0.0


@pytest.mark.parametrize(
    ("share", "tone"),
    [(100, "calm"), (50.1, "calm"), (50, "soon"), (20.1, "soon"), (20, "now"), (0, "now")],
)
def test_the_tone_goes_by_the_share_left(share, tone):
    assert wording.tone(share) == tone


@pytest.mark.parametrize(
    ("amount", "currency", "said"),
    [
        (Decimal("12000.0000"), "USD", "$12,000.00"),
        (Decimal("0"), "EUR", "€0.00"),
        (Decimal("12000"), "CHF", "CHF 12,000.00"),
        (Decimal("12000"), "JPY", "¥12,000"),
        (Decimal("1.5"), "BHD", "BHD 1.500"),
        (Decimal("0.125"), "USD", "$0.125"),
        (Decimal("-180"), "USD", "-$180.00"),
        (Decimal("-180"), "CHF", "CHF -180.00"),
        (Decimal("1"), "ZZZ", "ZZZ 1.00"),
        (Decimal("1"), "XAU", "XAU 1.00"),
        (Decimal("1E+4"), "USD", "$10,000.00"),
        (None, "USD", "no amount"),
    ],
)
def test_an_amount_has_its_currencys_decimals_and_loses_none(amount, currency, said):
    assert plain(wording.money(amount, currency)) == said


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("Your 2 h started", "Your 2_h started"),
        ("in 1 h 49 min", "in 1_h 49_min"),
        ("93 % of it", "93_% of it"),
        ("3 Nov 2026", "3_Nov 2026"),
        ("USD 12,000.00", "USD_12,000.00"),
        ("3 hens, 2 sets, 4 minds", "3 hens, 2 sets, 4 minds"),
    ],
)
def test_units_are_bound_to_their_numbers(text, said):
    assert wording.bound(text).replace(wording.NBSP, "_") == said


def test_a_count_takes_its_noun():
    assert plain(wording.plural(1, "request")) == "1 request"
    assert plain(wording.plural(0, "request")) == "0 requests"
    assert plain(wording.plural(1200, "try", "tries")) == "1,200 tries"


def test_a_bounded_count_says_that_there_are_more():
    assert (wording.capped(99), wording.capped(100)) == ("99", "99+")


def test_every_path_has_a_sign_and_only_exceptions_have_a_hue():
    assert set(wording.SIGNS) == set(Path)
    assert {wording.SIGNS[path].css for path in (Path.APPROVAL, Path.UNDO)} == {"approval"}
    assert set(wording.LANES) == set(Path) - {Path.UNDO}


@pytest.mark.parametrize(
    ("template", "said"),
    [
        ("{{ text|nbsp }}", "&lt;b&gt;5_min&lt;/b&gt; of O&#x27;Hara"),
        ('{{ texts|join:" "|nbsp }}', "&lt;b&gt;5_min&lt;/b&gt; of O&#x27;Hara and"),
    ],
)
def test_bound_text_is_escaped_once(template, said):
    text = "<b>5 min</b> of O'Hara"
    context = Context({"text": text, "texts": [text, "and"]})

    rendered = Template("{% load recourse %}" + template).render(context)

    assert rendered.replace(wording.NBSP, "_") == said
