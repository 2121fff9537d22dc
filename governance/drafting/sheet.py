"""The matrix as a file: comma-separated values with a header, UTF-8.

A cell that a spreadsheet would take for a formula is written with an apostrophe
before it, and one without is refused. A file that is not good is taken in no part.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator, Mapping

from governance import wording
from governance.drafting import Mistake, NotRight, rows
from governance.drafting.names import Names
from governance.drafting.rows import FIELDS, RowParts

COLUMNS = ("row", *FIELDS)
MOST_ROWS = 1_000
MOST_BYTES = 200_000  # it is sent back once more as a field of a form, below what those may have
MOST_SAID = 100  # mistakes
LAST_NUMBER = 999_999
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "|", "%")
_BOM = "\ufeff"


def decode(file: bytes) -> str:
    """Return a file's text. Raises NotRight for what is too large or no UTF-8."""
    if len(file) > MOST_BYTES:
        raise _refused(
            f"The file is larger than {MOST_BYTES:,} bytes, more than a matrix of {MOST_ROWS:,} rows has."
        )
    try:
        return file.decode("utf-8")
    except UnicodeDecodeError as problem:
        line = file[: problem.start].count(b"\n") + 1
        raise _refused(
            f"The file is not UTF-8: line {line} has a byte that means nothing in it. Save it as CSV UTF-8.",
            line,
        ) from problem


def write(lines: Iterable[tuple[str, Mapping[str, str]]]) -> str:
    """Write rows, each with its number and its cells in keys, as a file."""
    out = io.StringIO(newline="")
    writer = csv.writer(out, lineterminator="\r\n")
    writer.writerow(COLUMNS)
    for number, cells in lines:
        writer.writerow([number, *(escaped(cells.get(field, "")) for field in FIELDS)])
    return out.getvalue()


def escaped(cell: str) -> str:
    """Return a cell so that no spreadsheet takes it for a formula."""
    return f"'{cell}" if cell.startswith(_FORMULA) else cell


def read(text: str, names: Names, *, there: Mapping[int, RowParts]) -> dict[int, RowParts]:
    """Return the rows of a file, by their numbers. A row without a number takes the next one that is free.

    Args:
        there: the draft's rows, whose numbers are not free.

    Raises NotRight with every mistake, by its line in the file, the first MOST_SAID of them.
    """
    if "\x00" in text:
        raise _refused("The file is no text.")
    found: dict[int, RowParts] = {}
    lines: dict[int, int] = {}  # by number
    unnumbered: list[tuple[int, RowParts]] = []
    wrong: list[Mistake] = []
    for count, (line, cells) in enumerate(_lines(text), start=1):
        if count > MOST_ROWS:
            raise _refused(
                f"The file has more than {MOST_ROWS:,} rows. A matrix has at most that many; nothing was read further.",
                line,
            )
        try:
            number = _number(cells.pop("row", ""), line, lines)
            parts = rows.read(_unescaped(cells, line), names, row=line)
        except NotRight as refused:
            wrong += refused.mistakes
            continue
        if number is None:
            unnumbered.append((line, parts))
        else:
            found[number], lines[number] = parts, line
    following = max([0, *found, *there]) + 1
    for number, (line, parts) in enumerate(unnumbered, start=following):
        found[number], lines[number] = parts, line
    if not found and not wrong:
        raise _refused("The file has no rows. A policy without a matrix asks nobody.")
    wrong += [each._replace(row=lines[each.row or 0]) for each in rows.clashes(found)]
    if wrong:
        raise NotRight(sorted(wrong, key=lambda each: each.row or 0)[:MOST_SAID])
    return found


def _lines(text: str) -> Iterator[tuple[int, dict[str, str]]]:
    """Yield the rows below the header, each with its line in the file. Empty lines are left out."""
    text = text.removeprefix(_BOM)
    head = text.lstrip("\r\n").partition("\n")[0]
    # Spreadsheets write semicolons where the comma is the decimal point; what is pasted has tabs.
    delimiter = max(",;\t", key=head.count)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    try:
        header: list[str] | None = None
        for cells in reader:
            if not any(cell.strip() for cell in cells):
                continue
            if header is None:
                header = _header(cells, reader.line_num)
                continue
            if len(cells) > len(header):
                raise _refused(
                    f"This line has {len(cells)} cells, the header {len(header)}.", reader.line_num
                )
            yield reader.line_num, dict(zip(header, cells, strict=False))
    except csv.Error as problem:
        raise _refused(f"This line is no CSV: {problem}.", reader.line_num) from problem
    if header is None:
        raise _refused("The file is empty.")


def _header(cells: list[str], line: int) -> list[str]:
    header = [cell.strip().lower() for cell in cells]
    missing = [each for each in FIELDS if each not in header]
    unknown = [each for each in header if each not in COLUMNS]
    twice = [each for each in set(header) if header.count(each) > 1]
    if missing or unknown or twice:
        said = ", ".join(
            wording.plain(each, 40) or "one without a name"
            for each in (missing or unknown or twice)[:5]
        )
        what = "misses" if missing else "does not know" if unknown else "has twice"
        raise _refused(
            f"The first line must name the columns {', '.join(COLUMNS)}. It {what}: {said}.", line
        )
    return header


def _number(text: str, line: int, taken: Mapping[int, int]) -> int | None:
    text = text.strip()
    if not text:
        return None
    if not (
        text.isascii() and text.isdigit() and 1 <= int(text[:7]) <= LAST_NUMBER and len(text) < 7
    ):
        raise _refused(
            f"A row's number is a whole number up to {LAST_NUMBER:,}. Leave it empty for a new row.",
            line,
            "row",
        )
    if int(text) in taken:
        raise _refused(f"Row {int(text)} stands in line {taken[int(text)]} already.", line, "row")
    return int(text)


def _unescaped(cells: Mapping[str, str], line: int) -> dict[str, str]:
    found = {}
    for field, cell in cells.items():
        if cell.startswith(_FORMULA):
            raise _refused(
                f"This cell begins with {cell[0]!r}, as a formula does, so it is not read."
                " Put an apostrophe before it if that is what it says.",
                line,
                field,
            )
        found[field] = cell[1:] if cell.startswith("'") and cell[1:].startswith(_FORMULA) else cell
    return found


def _refused(words: str, line: int | None = None, field: str = "") -> NotRight:
    return NotRight([Mistake(line, field, words)])
