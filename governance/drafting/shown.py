"""A version as pages show it: the grid, the tree of 45 cells, the windows, the offices, and what differs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import NamedTuple

from governance import wording
from governance.decision_tree import ENTERS_AT, RESPONSES
from governance.drafting import rows
from governance.drafting.book import Book, Change
from governance.drafting.names import Names
from governance.drafting.parts import (
    BY_SCOPE,
    CAP,
    CELLS,
    IN_ORDER,
    WINDOWS,
    Office,
    cell_key,
    write_span,
)
from governance.ladder import DEFAULT_WINDOWS, rungs
from governance.models import Appointment, DecisionCell, MatrixRow, PathWindow, PolicyVersion
from governance.vocabulary import (
    ExceptionType,
    Impact,
    Level,
    Path,
    Response,
    RuleSource,
    Severity,
)

# --- The matrix ---

COLUMNS: dict[str, str] = {
    "department": "Department",
    "action": "Action",
    "currency": "Currency",
    "amount_from": "From",
    "amount_to": "Up to",
    "approver": "First approver",
    "delegates": "Delegates, in order",
    "quorum": "People",
    "executive": "Executive",
}
FIGURES = ("amount_from", "amount_to", "quorum")
# What an empty cell means.
EMPTY = {
    "action": "any",
    "currency": "none",
    "amount_from": "no amount",
    "amount_to": "no limit",
    "delegates": "none",
    "executive": "none",
}
LISTS = {
    "department": "departments",
    "action": "actions",
    "approver": "names",
    "delegates": "names",
    "executive": "people",
}


class GridCell(NamedTuple):
    field: str
    label: str
    text: str  # as it is typed
    shown: str  # as it is read
    empty: str  # what it means to leave it empty
    is_number: bool
    is_edited: bool
    is_wrong: bool
    options: str  # the id of the list that helps to type it


@dataclass(frozen=True, slots=True)
class GridRow:
    number: int
    cells: tuple[GridCell, ...]
    is_new: bool = False  # not of the version the draft was begun from
    mistakes: tuple[str, ...] = ()

    @property
    def id(self) -> str:
        return f"row-{self.number}"


def grid(
    version: PolicyVersion, names: Names, *, base: Mapping[str, Mapping[str, str]] | None = None
) -> list[GridRow]:
    """Return a version's matrix.

    Args:
        base: rows of the version it was begun from, in keys and by number: what differs is marked.
    """
    found = MatrixRow.objects.filter(version=version).prefetch_related("delegates")
    return [grid_row(row.number, rows.of(row), names, base=base) for row in found]


def grid_row(
    number: int,
    parts: rows.RowParts,
    names: Names,
    *,
    base: Mapping[str, Mapping[str, str]] | None = None,
) -> GridRow:
    typed, keyed = rows.typed(parts, names), rows.keyed(parts, names)
    was = (base or {}).get(str(number))
    read = typed | {
        "approver": names.shown(parts.approver),
        "delegates": ", ".join(map(names.shown, parts.delegates)),
        "executive": "" if parts.executive is None else names.people.by_pk[parts.executive].name,
    }
    for field in ("amount_from", "amount_to"):
        amount = getattr(parts, field)
        if amount is not None:
            whole, _, decimals = wording.money(amount, parts.currency).partition(".")
            read[field] = f"{whole}.{decimals}" if decimals.strip("0") else whole
    return GridRow(
        number,
        tuple(
            _cell(
                field,
                typed[field],
                read[field],
                edited=base is not None and (was is None or was[field] != keyed[field]),
            )
            for field in COLUMNS
        ),
        is_new=base is not None and was is None,
    )


def typed_row(number: int, typed: Mapping[str, str], mistakes: Mapping[str, str]) -> GridRow:
    """Return a row as it was typed, with what is to be mended in it."""
    return GridRow(
        number,
        tuple(
            _cell(
                field, typed.get(field, ""), typed.get(field, ""), edited=False, wrong=field in mistakes
            )
            for field in COLUMNS
        ),
        mistakes=tuple(
            f"{COLUMNS[field]}: {words}" if field in COLUMNS else words
            for field, words in mistakes.items()
        ),
    )  # fmt: skip


def empty_row(number: int) -> GridRow:
    return GridRow(
        number,
        tuple(
            _cell(field, "1" if field == "quorum" else "", "", edited=False) for field in COLUMNS
        ),
    )


def _cell(field: str, text: str, shown: str, *, edited: bool, wrong: bool = False) -> GridCell:
    return GridCell(
        field=field,
        label=COLUMNS[field],
        text=text,
        shown=shown,
        empty=EMPTY.get(field, ""),
        is_number=field in FIGURES,
        is_edited=edited,
        is_wrong=wrong,
        options=LISTS.get(field, ""),
    )


# --- The 45 cells ---

ANSWERS: dict[Response, str] = {
    Response.ASK_AGAIN_EXTENDED: "Ask again, window doubled",
    Response.ASK_AGAIN: "Ask again",
    Response.DELEGATE: "Delegate at once",
    Response.ALTERNATE: "Alternate approver",
    Response.DEPARTMENT_HEAD: "Department head, full context",
    Response.HOLD: "Hold every party, ask the resource owner",
    Response.RETRY: "Retry with backoff",
    Response.RETRY_TELL_ONCALL: "Retry with backoff, tell on-call",
    Response.ONCALL: "Alert on-call, open the manual fallback",
    Response.ASK_COMPLIANCE: "Block, ask compliance",
}
SEVERITIES, IMPACTS = tuple(Severity), tuple(Impact)


@dataclass(frozen=True, slots=True)
class TreeCell:
    """Neighbours of one exception with the same answer from the same source, as one cell of the table."""

    exception: ExceptionType
    severity: Severity
    impact: Impact
    response: Response
    source: RuleSource
    rows: int
    columns: int

    @property
    def level(self) -> int:
        return int(ENTERS_AT[self.response])

    @property
    def words(self) -> str:
        return ANSWERS[self.response] + (" (all nine)" if self.rows * self.columns == 9 else "")

    @property
    def where(self) -> str:
        """Say what it covers, for those who cannot see where it stands: "Low impact", "High impact, any severity"."""
        first = IMPACTS.index(self.impact)
        covered = [each.label.lower() for each in IMPACTS[first : first + self.columns]]
        impact = "any" if len(covered) == len(IMPACTS) else " and ".join(covered)
        return f"{impact.capitalize()} impact" + (", any severity" if self.rows > 1 else "")


class TreeRow(NamedTuple):
    severity: Severity
    cells: tuple[TreeCell, ...]


class TreeGroup(NamedTuple):
    exception: ExceptionType
    rows: tuple[TreeRow, ...]


def tree(version: PolicyVersion) -> list[TreeGroup]:
    """Return the 45 cells, equal neighbours merged: along a row, and down where all severities agree."""
    found = {
        (ExceptionType(exception), Severity(severity), Impact(impact)): (
            Response(response),
            RuleSource(source),
        )
        for exception, severity, impact, response, source in DecisionCell.objects.filter(
            version=version
        ).values_list("exception", "severity", "impact", "response", "source")
    }
    return [
        TreeGroup(exception, _merged(exception, found))
        for exception in ExceptionType
        if any(cell[0] == exception for cell in found)
    ]


def _merged(
    exception: ExceptionType,
    found: Mapping[tuple[ExceptionType, Severity, Impact], tuple[Response, RuleSource]],
) -> tuple[TreeRow, ...]:
    at = [[found.get((exception, s, i)) for i in IMPACTS] for s in SEVERITIES]
    whole = [len({row[column] for row in at}) == 1 for column in range(len(IMPACTS))]
    shown = []
    for down, severity in enumerate(SEVERITIES):
        cells, column = [], 0
        while column < len(IMPACTS):
            answer, begins = at[down][column], column
            while (
                column < len(IMPACTS)
                and at[down][column] == answer
                and whole[column] == whole[begins]
            ):
                column += 1
            if answer is None or (whole[begins] and down):
                continue
            cells.append(
                TreeCell(
                    exception, severity, IMPACTS[begins], *answer,
                    rows=len(SEVERITIES) if whole[begins] else 1, columns=column - begins,
                )
            )  # fmt: skip
        shown.append(TreeRow(severity, tuple(cells)))
    return tuple(shown)


def choices(exception: ExceptionType) -> list[tuple[str, str]]:
    """Return what a cell may hold, with its words and the level it enters at."""
    return [(each.value, f"L{ENTERS_AT[each]:d} {ANSWERS[each]}") for each in RESPONSES[exception]]


# --- Windows ---

WHO: dict[tuple[Path, Level], str] = {
    (Path.TIMEOUT, Level.L1): "the same people",
    (Path.TIMEOUT, Level.L2): "delegates",
    (Path.TIMEOUT, Level.L3): "management",
    (Path.TIMEOUT, Level.L4): "executive",
    (Path.REJECTION, Level.L2): "alternate",
    (Path.REJECTION, Level.L3): "department head",
    (Path.CONFLICT, Level.L2): "resource owner",
    (Path.CONFLICT, Level.L3): "owner's manager",
    (Path.CONFLICT, Level.L4): "executive",
    (Path.SYSTEM_FAILURE, Level.L1): "automatic retry",
    (Path.SYSTEM_FAILURE, Level.L2): "on-call",
    (Path.SYSTEM_FAILURE, Level.L3): "on-call's manager",
    (Path.SYSTEM_FAILURE, Level.L4): "executive",
    (Path.POLICY_VIOLATION, Level.L2): "compliance",
    (Path.POLICY_VIOLATION, Level.L3): "head of compliance",
    (Path.UNDO, Level.L2): "on-call",
    (Path.UNDO, Level.L3): "on-call's manager",
}
ENDS = {
    Path.TIMEOUT: "Expired",
    Path.REJECTION: "Rejected",
    Path.CONFLICT: "Newcomers expired",
    Path.SYSTEM_FAILURE: "Rolled back, expired",
    Path.POLICY_VIOLATION: "Denied",
    Path.UNDO: "Stranded",
}
_NEVER = {(Path.REJECTION, Level.L4), (Path.POLICY_VIOLATION, Level.L4), (Path.UNDO, Level.L4)}


class WindowCell(NamedTuple):
    level: int
    key: str
    window: timedelta | None
    who: str  # whom it asks; or why there is none
    typed: str

    @property
    def label(self) -> str:
        return f"L{self.level}"


class WindowRow(NamedTuple):
    path: Path
    cells: tuple[WindowCell, ...]
    ends: str
    worst: timedelta  # every rung open and silent, L1 doubled where some cell asks for that


def windows(version: PolicyVersion) -> list[WindowRow]:
    found = {
        (Path(path), Level(level)): window
        for path, level, window in PathWindow.objects.filter(version=version).values_list(
            "path", "level", "window"
        )
    }
    extended = DecisionCell.objects.filter(
        version=version, response=Response.ASK_AGAIN_EXTENDED
    ).exists()
    return [
        WindowRow(
            path,
            tuple(_window(path, level, found) for level in Level if level),
            end,
            sum(
                (
                    found.get((path, rung), timedelta(0))
                    * (2 if extended and (path, rung) == (Path.TIMEOUT, Level.L1) else 1)
                    for rung in rungs(path, critical=True)
                ),
                timedelta(0),
            ),
        )
        for path, end in ENDS.items()
    ]


def _window(path: Path, level: Level, found: Mapping[tuple[Path, Level], timedelta]) -> WindowCell:
    window = found.get((path, level))
    never = "never" if (path, level) in _NEVER else "skipped"
    key = f"{path.value}/L{level:d}" if (path, level) in DEFAULT_WINDOWS else ""
    return WindowCell(
        int(level),
        key,
        window,
        WHO.get((path, level), never),
        "" if window is None else write_span(window),
    )


# --- Offices ---

OFFICES: dict[str, str] = {
    Office.DEPARTMENT_HEAD: "Head of department",
    Office.RESOURCE_OWNER: "Owner of records",
    Office.ONCALL_FALLBACK: "On call if the roster is empty",
    Office.COMPLIANCE: "Compliance",
    Office.HEAD_OF_COMPLIANCE: "Head of compliance",
    Office.REVIEWER: "Reviewers",
    Office.EXECUTIVE: "Executives",
}


class OfficeLine(NamedTuple):
    office: str
    words: str
    scope: str  # "Accounts payable", "demo:vendor:*", "every other record"
    people: str


def offices(version: PolicyVersion, names: Names) -> list[OfficeLine]:
    """Return who holds what. Offices that nobody holds are there too, and say so."""
    held: dict[tuple[str, str], list[str]] = {}
    for office, scope, person in (
        Appointment.objects.filter(version=version)
        .order_by("pk")
        .values_list("office", "scope", "person_id")
    ):
        held.setdefault((office, scope if office in BY_SCOPE else ""), []).append(
            names.people.by_pk[person].name
        )
    for office in IN_ORDER:
        held.setdefault((office, ""), [])
    order = list(OFFICES)
    return [
        OfficeLine(office, OFFICES[office], scope_words(office, scope, names), ", ".join(people))
        for (office, scope), people in sorted(
            held.items(), key=lambda item: (order.index(item[0][0]), item[0][1])
        )
    ]


def scope_words(office: str, scope: str, names: Names) -> str:
    if office == Office.DEPARTMENT_HEAD:
        found = names.departments.by_key.get(scope)
        return found.name if found else scope
    if office == Office.RESOURCE_OWNER:
        return scope or "every other record"
    return scope


# --- What differs ---

FIELDS: dict[str, str] = COLUMNS | {
    "window": "Time",
    "response": "Answer",
    "source": "Source",
    "people": "People",
    "revision": "Revision",
    "name": "Name",
    "reads": "Looks at",
    "expression": "Expression",
    "on_break": "Told to compliance",
}
PARTS = {
    "rows": "Delegation matrix",
    "windows": "How long each rung has",
    "cells": "What answers an exception",
    "offices": "Who holds an office",
    "rules": "Rules",
}


class Difference(NamedTuple):
    """One line of one part: its words, and field by field what was and what is."""

    line: str
    kind: str  # "", "added", "removed"
    fields: tuple[tuple[str, str, str], ...]


class DifferentPart(NamedTuple):
    part: str
    words: str
    lines: tuple[Difference, ...]


def differences(before: Book, after: Book, names: Names) -> list[DifferentPart]:
    """Return what differs between two versions, part by part. Empty if nothing does."""
    changes = before.changes_to(after)
    return [
        DifferentPart(part, words, lines)
        for part, words in PARTS.items()
        if (lines := tuple(_difference(each, names) for each in changes if each.part == part))
    ]


def row_differences(
    before: Mapping[str, Mapping[str, str]], after: Mapping[str, Mapping[str, str]], names: Names
) -> tuple[Difference, ...]:
    """Return what differs between two matrices in keys."""
    changes = Book({"rows": before}).changes_to(Book({"rows": after}))
    return tuple(_difference(each, names) for each in changes)


def _difference(change: Change, names: Names) -> Difference:
    kind = "added" if change.before is None else "removed" if change.after is None else ""
    before, after = change.before or {}, change.after or {}
    return Difference(
        line_words(change.part, change.line, names),
        kind,
        tuple(
            (FIELDS.get(field, field), _said(field, before.get(field), names), _said(field, after.get(field), names))
            for field in change.fields
        ),
    )  # fmt: skip


def line_words(part: str, line: str, names: Names) -> str:
    """Say what a line of a version is: "Row 14", "Timeout, L1", "Head of department, Accounts payable"."""
    if part == "rows":
        return f"Row {line}"
    if part == "windows":
        if line == CAP:
            return "A queued party is held at most"
        path, level = WINDOWS[line]
        return f"{wording.SIGNS[path].word}, L{level:d}"
    if part == "cells":
        exception, severity, impact = CELLS[line]
        of = f"{severity.label.lower()} severity, {impact.label.lower()} impact"
        return f"{wording.SIGNS[exception.value].word}, {of}"
    if part == "offices":
        office, _, scope = line.partition(":")
        where = scope_words(office, scope, names)
        return f"{OFFICES[office]}, {where}" if where else OFFICES[office]
    return line


def _said(field: str, text: str | None, names: Names) -> str:
    if not text:
        return EMPTY.get(field, "nothing") if text is not None else ""
    match field:
        case "department":
            found = names.departments.by_key.get(text)
            return found.name if found else text
        case "action":
            return names.action_text(text)
        case "response":
            return ANSWERS[Response(text)]
        case "source":
            return str(RuleSource(text).label)
        case "approver" | "delegates" | "executive" | "people":
            alone = field in ("executive", "people")
            return ", ".join(_name(each.strip(), names, alone=alone) for each in text.split(";"))
        case "amount_from" | "amount_to":
            return text
    return text


def _name(key: str, names: Names, *, alone: bool) -> str:
    is_person = alone or key.startswith("person:")
    kind = names.people if is_person else names.roles
    found = kind.by_key.get(key.removeprefix("person:"))
    return found.name if found else key


def count(parts: Iterable[DifferentPart]) -> int:
    """Return how many lines differ."""
    return sum(len(each.lines) for each in parts)


def cells_to_edit(
    version: PolicyVersion,
) -> list[tuple[ExceptionType, Severity, Sequence[tuple[str, Impact, str]]]]:
    """Return the cells that have a choice, row by row: for each its key, its impact and what it holds."""
    found = {
        (ExceptionType(exception), Severity(severity), Impact(impact)): response
        for exception, severity, impact, response in DecisionCell.objects.filter(
            version=version
        ).values_list("exception", "severity", "impact", "response")
    }
    return [
        (exception, severity, [
            (cell_key((exception, severity, impact)), impact, found.get((exception, severity, impact), ""))
            for impact in Impact
        ])
        for exception in ExceptionType if len(RESPONSES[exception]) > 1
        for severity in Severity
    ]  # fmt: skip
