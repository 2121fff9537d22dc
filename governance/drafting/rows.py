"""One row of the matrix, as it is typed and as it is stored.

Amounts are decimal strings with at most their currency's decimals; commas may
group the thousands. A band is [from, to); an empty `amount_to` is without end,
and an empty currency means requests without an amount.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import TypeVar

from iso4217 import Currency

from governance import wording
from governance.drafting import Mistake, NotRight
from governance.drafting.names import Named, Names, Unknown
from governance.models import MatrixRow

FIELDS = (
    "department", "action", "currency", "amount_from", "amount_to",
    "approver", "delegates", "quorum", "executive",
)  # fmt: skip
MOST_PEOPLE = 20  # of a quorum, and of delegates
NO_LIMIT = ("", "no limit")
CELL = 500  # characters
_AMOUNT = re.compile(r"(?:\d{1,3}(?:,\d{3})+|\d{1,16})(?:\.(\d+))?")
_MOST = Decimal(10) ** 16
Found = TypeVar("Found")


@dataclass(frozen=True, slots=True)
class RowParts:
    """A row by primary keys and decimals, as the table holds it."""

    department: int
    action: str  # "" = any
    currency: str  # "" = requests without an amount
    amount_from: Decimal | None
    amount_to: Decimal | None
    approver: Named
    delegates: tuple[Named, ...]
    quorum: int
    executive: int | None

    def clashes(self, other: RowParts) -> bool:
        """Whether both would cover some request equally well."""
        if (self.department, self.action, self.currency) != (
            other.department, other.action, other.currency,
        ):  # fmt: skip
            return False
        if self.amount_from is None or other.amount_from is None:
            return self.amount_from is other.amount_from
        return (self.amount_to is None or other.amount_from < self.amount_to) and (
            other.amount_to is None or self.amount_from < other.amount_to
        )


def read(cells: Mapping[str, str], names: Names, *, row: int) -> RowParts:
    """Read what was typed into a row's cells.

    Args:
        cells: by the names of FIELDS; one that is not there is empty.
        row: what the mistakes are said of.

    Raises NotRight: what is to be mended, cell by cell.
    """
    wrong: list[Mistake] = []

    def cell(field: str, reader: Callable[[str], Found], instead: Found) -> Found:
        try:
            return reader(_text(cells.get(field, "")))
        except Unknown as unknown:
            wrong.append(Mistake(row, field, str(unknown)))
            return instead

    currency = cell("currency", _currency, "")
    low = cell("amount_from", lambda text: _amount(text, currency), None)
    high = cell("amount_to", lambda text: _amount(text, currency), None)
    found = RowParts(
        department=cell("department", names.department, 0),
        action=cell("action", names.action, ""),
        currency=currency,
        amount_from=low,
        amount_to=high,
        approver=cell("approver", names.role_or_person, Named()),
        delegates=cell("delegates", lambda text: tuple(names.several(text)), ()),
        quorum=cell("quorum", _quorum, 1),
        executive=cell("executive", lambda text: names.person(text) if text and text != "none" else None, None),
    )  # fmt: skip
    blamed = {each.field for each in wrong}
    wrong += [
        each
        for each in _together(found, names, row)
        if each.field not in blamed
        and not (each.field.startswith("amount") and "currency" in blamed)
    ]
    if wrong:
        raise NotRight(wrong)
    return found


def read_several(
    cells: Mapping[int, Mapping[str, str]], names: Names, *, there: Mapping[int, RowParts]
) -> dict[int, RowParts]:
    """Read several rows as if all were stored at once, beside the others of the matrix.

    Args:
        cells: of each row, by its number: see `read`.
        there: the matrix as it is.

    Raises NotRight: what is to be mended in all of them.
    """
    found: dict[int, RowParts] = {}
    wrong: list[Mistake] = []
    for row, typed_cells in cells.items():
        try:
            found[row] = read(typed_cells, names, row=row)
        except NotRight as refusal:
            wrong += refusal.mistakes
    others = {row: parts for row, parts in there.items() if row not in cells}
    wrong += clashes({**others, **found}, among=found)
    if wrong:
        raise NotRight(wrong)
    return found


def of(row: MatrixRow) -> RowParts:
    """Return a stored row's parts. Its delegates should have been prefetched."""
    return RowParts(
        department=row.department_id,
        action=row.action,
        currency=row.currency,
        amount_from=row.amount_from,
        amount_to=row.amount_to,
        approver=Named(row.approver_role_id, row.approver_person_id),
        delegates=tuple(Named(each.role_id, each.person_id) for each in row.delegates.all()),
        quorum=row.quorum,
        executive=row.executive_id,
    )


def typed(parts: RowParts, names: Names) -> dict[str, str]:
    """Write a row as somebody would type it, in names where they can be taken for no other."""
    return {
        "department": names.departments.text(parts.department),
        "action": names.action_text(parts.action) if parts.action else "",
        "currency": parts.currency,
        "amount_from": _shown(parts.amount_from, parts.currency),
        "amount_to": _shown(parts.amount_to, parts.currency),
        "approver": names.text(parts.approver),
        "delegates": ", ".join(names.text(each) for each in parts.delegates),
        "quorum": str(parts.quorum),
        "executive": "" if parts.executive is None else names.people.text(parts.executive),
    }


def keyed(parts: RowParts, names: Names) -> dict[str, str]:
    """Write a row in keys, for a file and for the record."""
    return {
        "department": names.departments.by_pk[parts.department].key,
        "action": parts.action,
        "currency": parts.currency,
        "amount_from": _plain(parts.amount_from, parts.currency),
        "amount_to": _plain(parts.amount_to, parts.currency),
        "approver": names.key(parts.approver),
        "delegates": "; ".join(names.key(each) for each in parts.delegates),
        "quorum": str(parts.quorum),
        "executive": "" if parts.executive is None else names.people.by_pk[parts.executive].key,
    }


def clashes(rows: Mapping[int, RowParts], *, among: Iterable[int] | None = None) -> list[Mistake]:
    """Return the rows that cover something equally well as another: routing would refuse both.

    Args:
        rows: all of a version, by number.
        among: say it of these only; of all by default.
    """
    alike: dict[tuple[int, str, str], list[int]] = {}
    for number, parts in rows.items():
        alike.setdefault((parts.department, parts.action, parts.currency), []).append(number)
    looked_at = set(rows) if among is None else set(among)
    found = []
    for number in sorted(looked_at):
        parts = rows[number]
        others = alike[parts.department, parts.action, parts.currency]
        other = next((n for n in others if n != number and parts.clashes(rows[n])), None)
        if other is not None:
            field = "amount_from" if parts.currency else "action"
            found.append(Mistake(number, field, _clash(number, parts, other, rows[other])))
    return found


def _clash(number: int, parts: RowParts, other: int, its: RowParts) -> str:
    if parts.amount_from is None or its.amount_from is None:
        return (
            f"Row {other} covers the same requests, those without an amount. Keep one of the two."
        )
    low = wording.money(max(parts.amount_from, its.amount_from), parts.currency)
    ends = [each for each in (parts.amount_to, its.amount_to) if each is not None]
    upwards = f"to {wording.money(min(ends), parts.currency)}" if ends else "and more"
    return (
        f"Row {other} covers {low} {upwards} as well, so nobody could say which of the two decides."
        f" Change row {other} first, or begin this one where it ends."
    )


def _together(found: RowParts, names: Names, row: int) -> list[Mistake]:
    wrong = []
    if not found.currency and (found.amount_from is not None or found.amount_to is not None):
        wrong.append(
            Mistake(row, "currency", "Say in which currency, or leave both amounts empty.")
        )
    if found.currency and found.amount_from is None:
        wrong.append(Mistake(row, "amount_from", "Say from which amount on. 0 is the beginning."))
    if (
        found.amount_from is not None
        and found.amount_to is not None
        and found.amount_to <= found.amount_from
    ):
        low = wording.money(found.amount_from, found.currency)
        wrong.append(
            Mistake(row, "amount_to", f"It must end above {low}, where it begins. Or leave it empty: no limit.")
        )  # fmt: skip
    seen = [found.approver]
    for each in found.delegates:
        if each in seen:
            wrong.append(Mistake(row, "delegates", f"{names.shown(each)} stands here twice."))
            break
        seen.append(each)
    if len(found.delegates) > MOST_PEOPLE:
        wrong.append(Mistake(row, "delegates", f"At most {MOST_PEOPLE} delegates."))
    return wrong


def _text(value: str) -> str:
    text = " ".join(value.split())
    if len(text) > CELL:
        raise Unknown(f"At most {CELL} characters.")
    if not text.isprintable():
        raise Unknown("Write plain text.")
    return text


def _currency(text: str) -> str:
    code = text.upper()
    if code and exponent(code) is None:
        raise Unknown(f"“{text[:10]}” is not a currency. Write its ISO code, as USD.")
    return code


def exponent(code: str) -> int | None:
    """Return how many decimals a currency has; None for what is no currency that amounts are in."""
    try:
        found: int | None = Currency(code).exponent
    except ValueError:
        return None
    return found


def _amount(text: str, currency: str) -> Decimal | None:
    if text.lower() in NO_LIMIT:
        return None
    form = _AMOUNT.fullmatch(text)
    if form is None or not text.isascii():
        raise Unknown("Write an amount in figures, as 25000 or 25,000.00.")
    decimals, most = len(form.group(1) or ""), exponent(currency) if currency else 4
    if most is not None and decimals > most:
        raise Unknown(
            f"{currency} has {wording.plural(most, 'decimal')}, this amount has {decimals}."
            if currency
            else "At most 4 decimals."
        )
    amount = Decimal(text.replace(",", ""))
    if amount >= _MOST:
        raise Unknown("That is more than can be stored. Leave it empty for no limit.")
    return amount


def _quorum(text: str) -> int:
    if not text.isascii() or not text.isdigit() or not 1 <= int(text[:9]) <= MOST_PEOPLE:
        raise Unknown(f"Say how many people must approve, 1 to {MOST_PEOPLE}.")
    return int(text)


def _shown(amount: Decimal | None, currency: str) -> str:
    if amount is None:
        return ""
    figures = wording.figures(amount, currency)
    whole, _, decimals = figures.partition(".")
    return figures if decimals.strip("0") else whole


def _plain(amount: Decimal | None, currency: str) -> str:
    return "" if amount is None else wording.figures(amount, currency).replace(",", "")
