"""How figures are said. Pure: figures in, words out."""

from __future__ import annotations

from datetime import timedelta
from decimal import ROUND_HALF_UP, Decimal

from governance.metrics.figures import Figure, Kind, Line, Standing
from governance.wording import NBSP, plural, span

NOTHING = "\u2013"  # a dash: no number, and not zero


def value(figure: Figure) -> str:
    """Say a figure: "18.4 %", "0.92 %", "1 h 12 min", "0"; a dash where nothing was counted."""
    return number(figure.kind, figure.value)


def number(kind: Kind, amount: Decimal | None) -> str:
    """Say an amount in a kind's unit."""
    if amount is None:
        return NOTHING
    if kind.unit == "seconds":
        return span(timedelta(seconds=int(amount)))
    if kind.unit == "count":
        return f"{int(amount):,}"
    return f"{_share(amount).removesuffix('.00').removesuffix('.0')}{NBSP}%"


def bare(figure: Figure) -> str:
    """Say it as a column of a table has it, whose head says the unit: percent, minutes, or a count."""
    amount = figure.value
    if amount is None:
        return NOTHING
    if figure.kind.unit == "seconds":
        return f"{int(amount) // 60:,}"
    return f"{int(amount):,}" if figure.kind.unit == "count" else _share(amount)


def _share(amount: Decimal) -> str:
    # A target of one percent needs the second place, one of fifteen does not.
    places = Decimal("0.01") if 0 < amount < 2 else Decimal("0.1")
    return f"{amount.quantize(places, ROUND_HALF_UP)}"


def unit(kind: Kind) -> str:
    """Return a column's unit: "%", "min" or ""."""
    return {"percent": "%", "seconds": "min", "count": ""}[kind.unit]


def target(kind: Kind) -> str:
    """Say a target: "under 15 %", "over 95 %", "0"; "" where there is none."""
    if kind.target is None:
        return ""
    sign, limit = kind.target
    word = {"<": "under ", ">": "over ", "=": ""}[sign]
    return f"{word}{number(kind, Decimal(limit))}"


def change(line: Line) -> str:
    """Say how this week's figure moved: "up 4.1 points on last week", "10 min less than last week"."""
    now, before = line.this.value, line.before.value
    if now is None or before is None:
        return ""
    if now == before:
        return "as last week"
    if line.kind.unit == "percent":
        word = "up" if now > before else "down"
        return f"{word} {_share(abs(now - before))} points on last week"
    word = "more" if now > before else "less"
    return f"{number(line.kind, abs(now - before))} {word} than last week"


def of(figure: Figure) -> str:
    """Say what stands behind a figure: "80 of 435", "12 cases, median 48 min", "2 findings"."""
    if figure.kind.unit == "percent":
        return f"{figure.sums.hits:,} of {figure.of:,}"
    if figure.kind.unit == "count":
        return plural(figure.sums.hits, "finding")
    count = figure.sums.counted
    median = figure.median_s
    cases = f"{count:,} case{'' if count == 1 else 's'}"
    return cases if median is None else f"{cases}, median {span(timedelta(seconds=median))}"


LEFT_OUT = {
    "absent": "began with an absence",
    "withdrawn": "withdrawn",
    "lapsed": "lapsed",
}


def left_out(figure: Figure) -> str:
    """Say what is counted beside: "2 began with an absence, 1 withdrawn"; "" if nothing is."""
    return ", ".join(f"{count:,} {LEFT_OUT[why]}" for why, count in figure.sums.left_out.items())


def uncounted(standing: Standing) -> str:
    """Say how many requests are in no figure; "" if none is left out."""
    count = standing.uncounted
    if count == 1:
        return "One request is not counted: its record is broken."
    return f"{count:,} requests are not counted: their record is broken." if count else ""
