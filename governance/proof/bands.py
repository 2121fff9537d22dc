"""Which row of the matrix decides which amounts, and which amounts none decides, or two do. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from decimal import ROUND_UP, Decimal

from governance import wording
from governance.proof.findings import Finding
from governance.proof.world import Kind, World
from governance.routing import Row, Subject, most_specific


@dataclass(frozen=True, slots=True)
class Stretch:
    """Amounts of one kind in one department that one row decides: [low, high). None: no amount, or no end."""

    kind: Kind
    row: Row
    low: Decimal | None
    high: Decimal | None

    def highest(self, beyond: Decimal) -> Decimal | None:
        """Return the highest amount in it; where it has no end, one above `beyond`."""
        if self.low is None:
            return None
        unit = wording.unit(self.row.currency)
        if self.high is not None:
            return self.high - unit
        return max(beyond, self.low) + unit


def stretches(world: World) -> tuple[list[Stretch], list[Finding], list[Finding]]:
    """Return what each row decides, the holes between rows, and the warnings.

    Of every kind in production, in every department where a credential may ask for it or
    a row speaks of it. A row is looked for at each amount at which another may begin, and
    as the router looks for it.
    """
    found: list[Stretch] = []
    holes: list[Finding] = []
    warnings: list[Finding] = []
    for department, kind in _pairs(world):
        asked = (department, kind.key) in world.owners and world.rows is None
        for currency in _currencies(world, department, kind):
            parts = list(_parts(world, department, kind, currency))
            found += [each for each in parts if isinstance(each, Stretch)]
            gaps = [each for each in parts if isinstance(each, _Gap)] if asked else []
            holes += [gap.finding(world) for gap in gaps if not gap.is_above_all]
            warnings += [gap.finding(world) for gap in gaps if gap.is_above_all]
    if world.rows is not None:
        found = [each for each in found if each.row.pk in world.rows]
    return found, holes, warnings


def _pairs(world: World) -> Iterator[tuple[int, Kind]]:
    rows = world.policy.rows.values()
    departments = {row.department for row in rows} | {pk for pk, _ in world.owners}
    for department in sorted(departments):
        for key, kind in sorted(world.kinds.items()):
            named = any(row.department == department and row.action in ("", key) for row in rows)
            if named or (department, key) in world.owners:
                yield department, kind


def _currencies(world: World, department: int, kind: Kind) -> list[str]:
    if not kind.has_amount:
        return [""]
    rows = _speaking(world, department, kind)
    return sorted({row.currency for row in rows if row.currency}) or ["USD"]


def _speaking(world: World, department: int, kind: Kind) -> list[Row]:
    rows = world.policy.rows.values()
    return [row for row in rows if row.department == department and row.action in ("", kind.key)]


@dataclass(frozen=True, slots=True)
class _Gap:
    """Amounts for which there is no row, or no one row."""

    department: int
    kind: Kind
    currency: str
    low: Decimal | None
    high: Decimal | None
    rows: tuple[int, ...]  # numbers of those that cover it equally well
    is_above_all: bool

    def finding(self, world: World) -> Finding:
        place = world.departments[self.department]
        what = f"{self.kind.name} requests {self._amounts()} in {place.name}"
        ends = "" if self.low is None else f"|{self.low.normalize():f}"
        key = f"match|{place.key}|{self.kind.key}|{self.currency}{ends}"
        if self.rows:
            numbers = " and ".join(map(str, self.rows))
            return Finding(
                f"{key}|two",
                f"Matrix rows {numbers} cover {what} equally well, so that they are refused.",
                "match",
                self.rows[0],
            )
        return Finding(key, f"No matrix row covers {what}, so that they are refused.", "match")

    def _amounts(self) -> str:
        if self.low is None:
            return "without an amount"
        low = wording.money(self.low, self.currency)
        if self.high is None:
            return f"of {low} or more" if self.rows or self.is_above_all else "of any amount"
        last = self.high - wording.unit(self.currency)
        if last == self.low:
            return f"of {low}"
        return f"of {low} to {wording.money(last, self.currency)}"


def _parts(world: World, department: int, kind: Kind, currency: str) -> Iterator[Stretch | _Gap]:
    rows = _speaking(world, department, kind)
    if not currency:
        yield _part(rows, department, kind, "", None, None)
        return
    unit = wording.unit(currency)
    ends = {
        end.quantize(unit, rounding=ROUND_UP)
        for row in rows
        if row.currency == currency
        for end in (row.amount_from, row.amount_to)
        if end is not None and end > 0
    }
    points = sorted({unit, *ends})
    for low, high in zip(points, [*points[1:], None], strict=True):
        yield _part(rows, department, kind, currency, low, high)


def _part(
    rows: list[Row],
    department: int,
    kind: Kind,
    currency: str,
    low: Decimal | None,
    high: Decimal | None,
) -> Stretch | _Gap:
    subject = Subject(department, kind.key, kind.name, low, currency, 0, None)
    best = most_specific(rows, subject)
    if len(best) == 1:
        return Stretch(kind, best[0], low, high)
    above = low is not None and high is None and not best
    above = above and any(row.currency == currency for row in rows)
    return _Gap(department, kind, currency, low, high, tuple(row.number for row in best), above)
