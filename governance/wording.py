"""How spans, instants, amounts and shares are said. Pure: values in, words out.

`static/js/clock.js` says spans by the same rules while a page stands open; a change
here is a change there.
"""

from __future__ import annotations

import re
import unicodedata
from datetime import datetime, timedelta, tzinfo
from decimal import Decimal
from typing import Literal, NamedTuple

from iso4217 import Currency

from governance.vocabulary import Path

NBSP = "\u00a0"
Tone = Literal["calm", "soon", "now"]

_MINUTE, _HOUR, _DAY = 60, 3600, 86400
_SYMBOLS = {"USD": "$", "EUR": "€", "GBP": "£", "JPY": "¥"}
_UNIT_AFTER_NUMBER = re.compile(
    r"(?<=\d) (?=(?:(?:ms|s|min|h|days?|hours?|minutes?|kB|MB|GB"
    r"|Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec)\b|%))"
)
_NUMBER_AFTER_CODE = re.compile(r"\b([A-Z]{3}) (?=[\d-])")
_JOINERS = "\u200c\u200d"  # Persian and Indic words need them, and families of emoji
_MARKS_IN_A_ROW = 3  # more than any language needs; a pile of them covers the lines around it
_READ_AHEAD = 16  # text is read this many times its limit and no further


class PathSign(NamedTuple):
    """How a path is shown: shape, word, colour, in that order."""

    css: str  # rc-timeout and its like: sets the hue
    icon: str  # name in the sprite
    word: str
    words: str  # the plural: the name of its lane


# Five hues belong to the five exception types. Approval and undo are not exceptions: ink.
SIGNS: dict[str, PathSign] = {
    Path.APPROVAL: PathSign("approval", "t-approval", "Approval", "Approvals"),
    Path.TIMEOUT: PathSign("timeout", "t-timeout", "Timeout", "Timeouts"),
    Path.REJECTION: PathSign("rejection", "t-rejection", "Rejection", "Rejections"),
    Path.CONFLICT: PathSign("conflict", "t-conflict", "Conflict", "Conflicts"),
    Path.SYSTEM_FAILURE: PathSign("failure", "t-failure", "System failure", "System failures"),
    Path.POLICY_VIOLATION: PathSign(
        "violation", "t-violation", "Policy violation", "Policy violations"
    ),
    Path.UNDO: PathSign("approval", "undo-2", "Undo", "Undoing"),
}
# The inbox's order, and so the order of the keys 1 to 6: the rarest and gravest first.
LANES: tuple[Path, ...] = (
    Path.POLICY_VIOLATION,
    Path.SYSTEM_FAILURE,
    Path.CONFLICT,
    Path.REJECTION,
    Path.TIMEOUT,
    Path.APPROVAL,
)


def span(length: timedelta) -> str:
    """Say a length of time, rounded down: "1 h 49 min", "4 min 12 s", "36 h", "3 days".

    Seconds count under 5 minutes only, minutes under 24 hours, hours under 48. A zero
    part is left out. A negative length is said as the length it has.
    """
    seconds = int(abs(length).total_seconds())
    if seconds < 5 * _MINUTE:
        return _parts((seconds // _MINUTE, "min"), (seconds % _MINUTE, "s"))
    if seconds < _DAY:
        return _parts((seconds // _HOUR, "h"), (seconds % _HOUR // _MINUTE, "min"))
    if seconds < 2 * _DAY:
        return _parts((seconds // _HOUR, "h"))
    return _parts((seconds // _DAY, "days"))


def duration(length: timedelta) -> str:
    """Say how long a call took, or the wait before it: "0.4 s" under ten seconds, else as `span`."""
    seconds = abs(length).total_seconds()
    return f"{seconds:.1f}{NBSP}s" if seconds < 10 else span(length)


def short_span(length: timedelta) -> str:
    """Say the largest unit only, for the rail: "1 h", "22 min"."""
    return NBSP.join(span(length).split(NBSP)[:2])


def _parts(*parts: tuple[int, str]) -> str:
    said = [f"{number}{NBSP}{unit}" for number, unit in parts if number]
    return NBSP.join(said) or f"0{NBSP}{parts[-1][1]}"


def at(instant: datetime, *, now: datetime, zone: tzinfo, seconds: bool = False) -> str:
    """Say when, as seen in `zone`: "11:35" today, "Sat 18:12" within six days, else the date.

    Args:
        instant: aware, any zone.
        now: aware; decides what today is, in `zone`.
        zone: the reader's.
        seconds: say them too, as refusals do.
    """
    here, today = _seen(instant, zone), now.astimezone(zone)
    clock = f"{here:%H:%M:%S}" if seconds else f"{here:%H:%M}"
    days = (here.date() - today.date()).days
    if days == 0:
        return clock
    if abs(days) < 7:
        return f"{here:%a}{NBSP}{clock}"
    year = "" if here.year == today.year else f"{NBSP}{here.year}"
    return (
        f"{here.day}{NBSP}{here:%b}{year} {clock}"  # the date and the clock may stand on two lines
    )


def exact(instant: datetime, zone: tzinfo) -> str:
    """Say the whole instant, to the second and with its zone, for a title or the record."""
    here = _seen(instant, zone)
    return f"{here.day}{NBSP}{here:%b %Y, %H:%M:%S} {zone_word(instant, zone)}"


def _seen(instant: datetime, zone: tzinfo) -> datetime:
    """Return an instant in a zone; as it is, where the zone would put it before year 1 or after 9999."""
    try:
        return instant.astimezone(zone)
    except OverflowError:
        return instant


def zone_word(instant: datetime, zone: tzinfo) -> str:
    """Return the zone's short name at that instant: "EST", or "UTC+03" where it has none."""
    name = _seen(instant, zone).tzname() or "UTC"
    return f"UTC{name}" if name[0] in "+-" else name


def share_left(due_at: datetime, opened_at: datetime, now: datetime) -> float:
    """Return how much of the window is left, in percent: 100.0 at its start, 0.0 when over.

    A window without length is over.
    """
    window = (due_at - opened_at).total_seconds()
    if window <= 0:
        return 0.0
    return round(min(100.0, max(0.0, (due_at - now).total_seconds() / window * 100)), 1)


def tone(share: float) -> Tone:
    """Return the tone of a clock by the percentage left, never by minutes.

    20 minutes of 30 is calm, of 4 hours is not.
    """
    if share > 50:
        return "calm"
    return "soon" if share > 20 else "now"


def figures(amount: Decimal, currency: str) -> str:
    """Return the digits of an amount, with its currency's decimals: "12,000.00".

    Digits beyond the currency's own are kept, so that nothing is rounded away unseen.
    """
    return f"{amount:,.{max(_decimals(currency), _digits_after_point(amount))}f}"


def money(amount: Decimal | None, currency: str) -> str:
    """Say an amount in a sentence: "$12,000.00", "CHF 12,000.00", "no amount"."""
    if amount is None:
        return "no amount"
    sign, digits = ("-" if amount < 0 else ""), figures(abs(amount), currency)
    symbol = _SYMBOLS.get(currency)
    return f"{sign}{symbol}{digits}" if symbol else f"{currency}{NBSP}{sign}{digits}".strip()


def unit(currency: str) -> Decimal:
    """Return the least that two amounts of a currency differ by: 0.01 of dollars, 1 of yen."""
    return Decimal(1).scaleb(-_decimals(currency))


def _decimals(currency: str) -> int:
    try:
        decimals = Currency(currency).exponent
    except ValueError:  # not in ISO 4217: the agent's own word, shown with two decimals
        return 2
    return 2 if decimals is None else int(decimals)


def _digits_after_point(amount: Decimal) -> int:
    exponent = amount.normalize().as_tuple().exponent
    return max(0, -exponent) if isinstance(exponent, int) else 0


def bound(text: str) -> str:
    """Join each number to its unit, so that no line breaks between them."""
    return _NUMBER_AFTER_CODE.sub(rf"\1{NBSP}", _UNIT_AFTER_NUMBER.sub(NBSP, text))


def held_by_findings(count: int) -> str:
    """Say why no action type is promoted while findings of audits stand."""
    are = "is" if count == 1 else "are"
    return f"{plural(count, 'silent failure')} {are} open: nothing is promoted until there is none."


def held_unlooked(looked_at: datetime | None) -> str:
    """Say that nothing is promoted while not all audits run: nobody knows what they would find."""
    since = f"since {looked_at:%d %b %H:%M} UTC" if looked_at is not None else "yet"
    return (
        f"Nobody has looked for silent failures {since}, here and in the targets: nothing is promoted"
        " until the worker has run all audits."
    )


def plural(count: int, one: str, many: str = "") -> str:
    """Say a count with its noun: "1 request", "2 requests", "0 requests"."""
    return f"{count:,}{NBSP}{one if count == 1 else many or one + 's'}"


def capped(count: int, most: int = 99) -> str:
    """Say a count that was bounded where it was read: "42", "99+"."""
    return f"{most}+" if count > most else str(count)


def defect(problem: BaseException) -> str:
    """Return kind and first line of an error, for alerts and logs.

    Not its later lines: in those PostgreSQL quotes the whole row, payload and all.
    """
    return f"{type(problem).__name__}: {str(problem).partition(chr(10))[0]}".replace("\0", "")


def plain(text: str, limit: int) -> str:
    """Make somebody else's words safe to stand in one line of ours: a subject, a mail, an alert.

    Line ends and control characters become spaces, so that no header and no line can be
    forged; what turns the direction of writing or cannot be seen is left out; lone
    surrogates and characters that mean nothing become U+FFFD; marks do not pile up. What is
    longer than `limit` characters is cut, and the cut is shown.
    """
    text = text[: _READ_AHEAD * limit]
    kept: list[str] = []
    marks = 0
    if text.isascii() and text.isprintable():  # most of what comes: nothing in it needs a look
        return _cut(text, limit)
    for character in text:
        category = unicodedata.category(character)
        marks = marks + 1 if category[0] == "M" else 0
        if category in ("Cc", "Zl", "Zp"):
            kept.append(" ")
        elif category in ("Cs", "Co", "Cn"):
            kept.append("\ufffd")
        elif marks <= _MARKS_IN_A_ROW and (category != "Cf" or character in _JOINERS):
            kept.append(character)
    return _cut("".join(kept), limit)


def _cut(text: str, limit: int) -> str:
    line = " ".join(text.split())
    return line if len(line) <= limit else line[: limit - 1].rstrip() + "…"
