"""A whole version written down in keys, so that two can be compared and the record can say what changed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from governance import canonical
from governance.drafting import rows
from governance.drafting.names import Names
from governance.drafting.parts import cell_key, window_key, write_span
from governance.models import (
    Appointment,
    DecisionCell,
    MatrixRow,
    PathWindow,
    PolicyCheck,
    PolicyVersion,
)
from governance.vocabulary import ExceptionType, Impact, Level, Path, Severity

Lines = Mapping[str, Mapping[str, str]]
PARTS = ("rows", "windows", "cells", "offices", "rules")


class Change(NamedTuple):
    """One line that differs between two versions.

    Attributes:
        part: one of PARTS.
        line: its key: a row's number, "timeout/L1", "timeout/low/low", "reviewer", a rule's key.
        before, after: its fields; None where the version has no such line.
    """

    part: str
    line: str
    before: Mapping[str, str] | None
    after: Mapping[str, str] | None

    @property
    def fields(self) -> list[str]:
        """Return the names of the fields that differ, in the order of the line."""
        before, after = self.before or {}, self.after or {}
        names = dict.fromkeys([*before, *after])
        return [name for name in names if before.get(name, "") != after.get(name, "")]

    def fact(self) -> dict[str, Any]:
        """Return it for the record: what was and what is, of the fields that differ alone."""
        return {
            "part": self.part,
            "line": self.line,
            "was": None
            if self.before is None
            else {f: self.before.get(f, "") for f in self.fields},
            "is": None if self.after is None else {f: self.after.get(f, "") for f in self.fields},
        }


@dataclass(frozen=True)
class Book:
    """Every line of a version: by part, then by the line's key."""

    lines: Mapping[str, Lines]

    def document(self) -> dict[str, dict[str, dict[str, str]]]:
        """Return all of it as JSON: part, line, field."""
        return {
            part: {line: dict(fields) for line, fields in self.lines.get(part, {}).items()}
            for part in PARTS
        }

    def digest(self) -> str:
        """Return the SHA-256, in hex, by which the record names it: of its document (RFC 8785)."""
        return canonical.digest(self.document())

    def changes_to(self, other: Book) -> list[Change]:
        """Return what differs in `other`, part by part, in the order of the lines there."""
        found = []
        for part in PARTS:
            mine, its = self.lines.get(part, {}), other.lines.get(part, {})
            for line in sorted({*mine, *its}, key=_in_order):
                if mine.get(line) != its.get(line):
                    found.append(Change(part, line, mine.get(line), its.get(line)))
        return found


EMPTY = Book({})


def book_of(version: PolicyVersion, names: Names) -> Book:
    """Write a version down. Six queries."""
    return Book(
        {
            "rows": rows_of(version, names),
            "windows": {
                **{
                    window_key(Path(path), Level(level)): {"window": write_span(window)}
                    for path, level, window in PathWindow.objects.filter(version=version)
                    .values_list("path", "level", "window")
                },
                "queue_cap": {"window": write_span(version.queue_cap)},
            },
            "cells": {
                cell_key((ExceptionType(exception), Severity(severity), Impact(impact))): {
                    "response": response,
                    "source": source,
                }
                for exception, severity, impact, response, source in DecisionCell.objects.filter(
                    version=version
                ).values_list("exception", "severity", "impact", "response", "source")
            },
            "offices": _offices(version),
            "rules": {
                check.key: {
                    "revision": str(check.revision),
                    "name": check.name,
                    "action": check.action,
                    "reads": check.reads,
                    "expression": check.expression,
                    "on_break": check.on_break,
                }
                for check in PolicyCheck.objects.filter(version=version).order_by("key")
            },
        }
    )  # fmt: skip


def rows_of(version: PolicyVersion, names: Names) -> Lines:
    """Write a version's matrix down, by the numbers of its rows."""
    found = MatrixRow.objects.filter(version=version).prefetch_related("delegates")
    return {str(row.number): rows.keyed(rows.of(row), names) for row in found}


def _offices(version: PolicyVersion) -> Lines:
    """Who holds what; people of one office in their order. Those that nobody holds are left out."""
    found: dict[str, dict[str, str]] = {}
    held = Appointment.objects.filter(version=version).order_by("pk")
    for office, scope, username in held.values_list("office", "scope", "person__username"):
        line = f"{office}:{scope}" if scope else office
        already = found.get(line, {}).get("people")
        found[line] = {"people": f"{already}; {username}" if already else username}
    return found


def _in_order(line: str) -> tuple[int, str]:
    return (int(line), "") if line.isdigit() else (0, line)
