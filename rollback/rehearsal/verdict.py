"""Whether a target's records are as they were. Pure.

Restored: each record holds exactly what the snapshot holds. Compensated: a
record that was there holds the same, sums compared as sums; one that was not may
stay as the document of what was taken back, but not as the failure left it.
Source: docs/decisions/0063.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from decimal import Decimal, InvalidOperation
from typing import Any, NamedTuple

from rollback.models import Recovery
from rollback.patterns import compare

State = dict[str, Any]
States = Mapping[str, State | None]  # by record; None: the target does not have it
_MISSING = object()


class Difference(NamedTuple):
    """One place in which a record is not as it should be.

    Attributes:
        field: a JSON pointer into the record; "" for all of it.
    """

    record: str
    field: str
    before: Any
    after: Any
    why: str


def differences(pattern: str, *, before: States, left: States, after: States) -> list[Difference]:
    """Compare each record with its snapshot, once what was done is taken back.

    Args:
        pattern: how it was taken back.
        before: as in the snapshot.
        left: as the failure left it.
        after: as it is now.
    """
    judge = _restored if pattern == Recovery.Pattern.RESTORE else _compensated
    return [
        found
        for record in before
        for found in judge(record, before[record], left.get(record), after.get(record))
    ]


def has_changed(before: States, left: States) -> bool:
    """Whether what was done shows in any record at all: otherwise comparing proves nothing."""
    return any(before[record] != left.get(record) for record in before)


def _restored(
    record: str, before: State | None, left: State | None, after: State | None
) -> Iterator[Difference]:
    found = compare(record, now=after, left=left, before=before)
    if found.nothing_to_do:
        return
    drifted = _fields(record, before, after)
    yield from drifted or [Difference(record, "", before, after, "It is not as it was.")]


def _compensated(
    record: str, before: State | None, left: State | None, after: State | None
) -> Iterator[Difference]:
    if before is not None:
        yield from _fields(record, before, after)
    elif left is None and after is not None:
        yield Difference(record, "", None, after, "It was not there, and the undo brought it in.")
    elif left is not None and after == left:
        yield Difference(record, "", None, after, "It stands as the failure left it.")


def _fields(record: str, before: State | None, after: State | None) -> list[Difference]:
    was, now = dict(leaves(before)), dict(leaves(after))
    return [
        Difference(record, field, was.get(field), now.get(field), "It is not as it was.")
        for field in sorted({*was, *now})
        if not _equal(was.get(field, _MISSING), now.get(field, _MISSING))
    ]


def leaves(value: Any, place: str = "") -> Iterator[tuple[str, Any]]:
    """Yield every place of a state that holds no further places, as a JSON pointer, with what it holds."""
    match value:
        case dict() if value:
            for name, each in value.items():
                yield from leaves(each, f"{place}/{name.replace('~', '~0').replace('/', '~1')}")
        case list() if value:
            for n, each in enumerate(value):
                yield from leaves(each, f"{place}/{n}")
        case _:
            yield place, value


def _equal(one: Any, other: Any) -> bool:
    """Whether two leaves are the same: as they stand, or as numbers: "0.00" is "0.0"."""
    if one is _MISSING or other is _MISSING:
        return False
    if one == other and type(one) is type(other):
        return True
    first, second = _number(one), _number(other)
    return first is not None and first == second


def _number(value: Any) -> Decimal | None:
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return None
    try:
        found = Decimal(str(value))
    except InvalidOperation:
        return None
    return found if found.is_finite() else None
