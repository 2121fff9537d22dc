"""What was done in Tryton, found by our marks alone: without a key, from an instant on.

A page goes on after an instant and a row. Tryton stamps a row when its transaction
begins and shows it when that ends, so one may come to light behind a later one:
where the list ends, the bookmark therefore stays a while behind its newest row.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from rollback.connectors.base import Effect, OutcomeUnknown, Page
from rollback.connectors.tryton import keys, wire
from rollback.connectors.tryton.asking import Asks
from rollback.connectors.tryton.operations import OPERATIONS, lookups
from rollback.connectors.tryton.operations.base import Listed

ROWS = 200  # of a page
BEHIND = timedelta(minutes=10)  # longer than any transaction of a call that we gave up
MARKED = "%~%/%"  # what every key of a unit has in it
LISTS = {each.listed.name: each.listed for each in OPERATIONS.values()}


def page(of: Listed, after: str) -> Asks[Page]:
    """Return the marks of one list after a place in it.

    Raises OutcomeUnknown for rows, or a place, that cannot be read.
    """
    try:
        later = _later(of, after)
    except ValueError as problem:
        raise OutcomeUnknown(f"The list {of.name} has no place {after}: {problem}") from problem
    domain = [*of.domain, [of.field, "like", MARKED], [of.stamp, "!=", None], *later]
    found = yield from lookups.rows(
        of.model,
        domain,
        [of.field, of.stamp],
        about=f"List what was done: {of.name}",
        most=ROWS,
        order=[[of.stamp, "ASC"], ["id", "ASC"]],
        # Marks that are put out of sight too. A condition would not reach into the OR.
        context={"active_test": False},
    )
    try:
        effects = [
            Effect(key, f"{of.model} {int(row['id'])}", _stamp(row[of.stamp]))
            for row in found
            for key in keys.told_of(row[of.field])
        ]
        return Page(effects, _bookmark(of, found, after), len(found) == ROWS)
    except (KeyError, OverflowError, TypeError, ValueError) as problem:
        raise OutcomeUnknown(f"The list {of.name} cannot be read: {problem!r}") from problem


def _later(of: Listed, after: str) -> list[Any]:
    if not after:
        return []
    said, _, row = after.partition(" ")
    stamp = wire.instant(said)
    return [["OR", [of.stamp, ">", stamp], [[of.stamp, "=", stamp], ["id", ">", int(row)]]]]


def _bookmark(of: Listed, found: list[lookups.Row], after: str) -> str:
    if len(found) == ROWS:
        return f"{_stamp(found[-1][of.stamp])} {int(found[-1]['id'])}"
    if found:
        return _behind(found[-1][of.stamp])
    said, _, row = after.partition(" ")
    # A place at a row is where a full page ended, and it was the last one.
    return _behind(said) if row not in ("", "0") else after


def _behind(stamp: str) -> str:
    return f"{_stamp((datetime.fromisoformat(stamp) - BEHIND).isoformat())} 0"


def _stamp(said: str) -> str:
    return datetime.fromisoformat(said).isoformat(timespec="microseconds")
