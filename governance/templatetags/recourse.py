"""Template tags and filters of the house. Registered as builtins, so no template loads them.

Tags draw (`templates/parts/`), filters say (`governance.wording`). Filters that say an
instant read the zone that `governance.context.frame` has activated for the reader.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta, tzinfo
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

from django import template
from django.templatetags.static import static
from django.utils import timezone

from governance import wording
from governance.addresses import page_of_request

register = template.Library()

_NOTE_SHAPES = {
    "info": "info",
    "warn": "triangle-alert",
    "bad": "circle-alert",
    "good": "circle-check",
}


# --- Signs ------------------------------------------------------------------------------------
@register.inclusion_tag("parts/icon.html")
def icon(name: str, cls: str = "") -> dict[str, Any]:
    """Draw a shape of the sprite, hidden from screen readers: the word beside it means it."""
    return {"sprite": static("img/sprite.svg"), "name": name, "cls": cls}


@register.inclusion_tag("parts/type.html")
def exception_type(path: str, label: str = "", hidden: bool = False) -> dict[str, Any]:
    """Draw the tag of a path: shape, word, hue.

    Args:
        path: a value of `vocabulary.Path`.
        label: other words than the path's own.
        hidden: shape alone; the word is still there for those who listen.
    """
    sign = wording.SIGNS[path]
    return {"sign": sign, "label": label or sign.word, "hidden": hidden}


@register.inclusion_tag("parts/level.html")
def level(n: int, word: str = "") -> dict[str, Any]:
    """Draw the badge of a rung, 0 to 4: with its word in heads, without one in rows."""
    return {"sprite": static("img/sprite.svg"), "n": int(n), "word": word}


@register.inclusion_tag("parts/state.html")
def state(words: str, kind: str = "", icon: str = "") -> dict[str, Any]:
    """Draw a state pill. `kind` is open, good, warn, bad or nothing; `icon` its shape."""
    return {"words": words, "kind": kind, "shape": icon}


@register.inclusion_tag("parts/kbd.html")
def kbd(key: str) -> dict[str, Any]:
    """Draw a key."""
    return {"key": key}


@register.inclusion_tag("parts/note.html")
def note(kind: str, lead: str, text: str = "", url: str = "", link: str = "") -> dict[str, Any]:
    """Draw words in place: what happened (`lead`), what holds now (`text`), what to do (`link`).

    `kind` is info, warn, bad or good.
    """
    shape = _NOTE_SHAPES[kind]
    return {"kind": kind, "shape": shape, "lead": lead, "text": text, "url": url, "link": link}


# --- Clocks -----------------------------------------------------------------------------------
@register.inclusion_tag("parts/bar.html")
def bar(share: float, large: bool = False) -> dict[str, Any]:
    """Draw the share of a window that is left, in percent. Words must stand beside it."""
    return {"share": share, "large": large}


@register.inclusion_tag("parts/dial.html")
def dial(share: float) -> dict[str, Any]:
    """Draw the same as a ring: on the ladder only."""
    return {"share": share}


@register.inclusion_tag("parts/due.html")
def due(
    due_at: datetime | None,
    opened_at: datetime | None,
    now: datetime,
    zone: tzinfo | str,
    passed: str = "Passed on",
    overdue: bool = False,
    paused: str = "No clock runs",
) -> dict[str, Any]:
    """Draw the time left in a row or a list: words, until when, bar. It ticks by itself.

    Args:
        due_at, opened_at: the window, UTC. None for both where no clock runs.
        now: business time.
        zone: the reader's.
        passed: what it says at zero: "Passed on to the Controller".
        overdue: it does not end at zero, it says how late it is (reviews).
        paused: what it says without a clock: "Paused while held".
    """
    return _clock(due_at, opened_at, now, zone, passed, overdue) | {"paused": paused}


@register.inclusion_tag("parts/clock.html")
def clock(
    due_at: datetime,
    opened_at: datetime,
    now: datetime,
    zone: tzinfo | str,
    words: str = "",
    passed: str = "Passed on",
    overdue: bool = False,
) -> dict[str, Any]:
    """Draw the one big clock of a page. `words` says what happens if its reader does nothing.

    Its passing is told at once to those who listen.
    """
    return _clock(due_at, opened_at, now, zone, passed, overdue) | {"words": words}


def _clock(
    due_at: datetime | None,
    opened_at: datetime | None,
    now: datetime,
    zone: tzinfo | str,
    passed: str,
    overdue: bool,
) -> dict[str, Any]:
    if due_at is None or opened_at is None:
        return {"due_at": None}
    zone = ZoneInfo(zone) if isinstance(zone, str) else zone
    share = wording.share_left(due_at, opened_at, now)
    is_over = now >= due_at
    left = wording.span(due_at - now)
    if is_over:
        left = f"Overdue {left}" if overdue else passed
    return {
        "due_at": due_at.isoformat(),
        "opened_at": opened_at.isoformat(),
        "left": left,
        "until": wording.at(due_at, now=now, zone=zone),
        "zone_word": wording.zone_word(due_at, zone),
        "exact": wording.exact(due_at, zone),
        "share": share,
        "tone": wording.tone(share),
        "is_over": is_over,
        "passed": passed,
        "overdue": overdue,
    }


# --- Words ------------------------------------------------------------------------------------
@register.filter
def span(length: timedelta | None) -> str:
    """Say a length of time: "1 h 49 min". Nothing for None."""
    return "" if length is None else wording.span(length)


@register.filter
def short_span(length: timedelta | None) -> str:
    """Say its largest unit only: "1 h". Nothing for None."""
    return "" if length is None else wording.short_span(length)


@register.filter
def at(instant: datetime | None, now: datetime) -> str:
    """Say when, in the reader's zone: `{{ step.due_at|at:now }}` is "11:35" or "Sat 18:12"."""
    return "" if instant is None else wording.at(instant, now=now, zone=_zone())


@register.filter
def at_seconds(instant: datetime | None, now: datetime) -> str:
    """Say when, to the second, as refusals do: "09:45:12"."""
    return "" if instant is None else wording.at(instant, now=now, zone=_zone(), seconds=True)


@register.filter
def exact(instant: datetime | None) -> str:
    """Say the whole instant with its zone, for a `title`: "20 Nov 2026, 11:35:00 EST"."""
    return "" if instant is None else wording.exact(instant, _zone())


@register.filter
def iso(instant: datetime | None) -> str:
    """Write an instant for `datetime=` and `data-` attributes."""
    return "" if instant is None else instant.isoformat()


@register.filter
def money(amount: Decimal | None, currency: str) -> str:
    """Say an amount in a sentence: "$12,000.00", "CHF 12,000.00", "no amount"."""
    return wording.money(amount, currency)


@register.filter
def figures(amount: Decimal, currency: str) -> str:
    """Say its digits alone, for a column that has the code beside it: "12,000.00"."""
    return wording.figures(amount, currency)


@register.filter(is_safe=True)
def nbsp(text: str) -> str:
    """Join each number to its unit, so that no line breaks between them.

    Escaped on output, unless it is already, as what `join` returns is.
    """
    return wording.bound(str(text))


@register.inclusion_tag("parts/request_link.html")
def request_link(ref: str) -> dict[str, Any]:
    """A request's ref, leading to its page if there can be one."""
    return {"ref": ref, "url": page_of_request(ref)}


@register.filter
def plural(count: int, noun: str) -> str:
    """Say a count with its noun: `{{ n|plural:"request" }}`, or `"one,many"` for odd plurals."""
    one, _, many = noun.partition(",")
    return wording.plural(int(count), one, many)


@register.filter
def of(table: Mapping[str, str] | None, name: str) -> str:
    """Return what a table has under a name that no template can write: `{{ wrong|of:"owner:0" }}`."""
    return (table or {}).get(name, "")


@register.filter
def capped(count: int) -> str:
    """Say a bounded count: "42", "99+"."""
    return wording.capped(int(count))


def _zone() -> tzinfo:
    return timezone.get_current_timezone()
