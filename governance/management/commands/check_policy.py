"""`manage.py check_policy`: can anything stall, and if not, how long may it take?"""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import groupby
from typing import Any

from django.core.management.base import CommandError

from governance import clock, wording
from governance.management.of_a_version import OfAVersion
from governance.models import PolicyVersion
from governance.policy_check import Finding, Report, WorstCase, check
from governance.policy_watch import in_use


class Command(OfAVersion):
    help = (
        "Prove that nobody is left unasked: by the active version, and by those that still route open"
        " requests. Prints holes, warnings and worst cases. Exit 0: no hole. Exit 1: there is one."
    )

    def handle(self, *args: Any, **options: Any) -> None:
        now = clock.now()
        reports = [
            check(version, now=now, rows=rows) for version, rows in self._chosen(options["version"])
        ]
        if options["json"]:
            document = {
                "proved": not _holes(reports),
                "versions": [_document(each) for each in reports],
            }
            self.stdout.write(json.dumps(document, indent=2))
        else:
            for report in reports:
                for line in _lines(report):
                    self.stdout.write(line)
        if not reports:
            raise CommandError("No policy is active: nobody is named to decide anything.")
        if _holes(reports):
            raise CommandError(f"{wording.plural(_holes(reports), 'hole')}: see above.")

    def _chosen(self, number: int | None) -> list[tuple[PolicyVersion, frozenset[int] | None]]:
        if number is None:
            return in_use()
        version = PolicyVersion.objects.filter(number=number).first()
        if version is None:
            raise CommandError(f"There is no policy {number}.")
        return [(version, None)]


def _holes(reports: list[Report]) -> int:
    return sum(len(each.holes) for each in reports)


def _lines(report: Report) -> Iterator[str]:
    yield (
        f"Policy {report.version}: {wording.plural(len(report.holes), 'hole')},"
        f" {wording.plural(len(report.warnings), 'warning')};"
        f" {wording.plural(report.classes, 'class', 'classes')} of request looked at,"
        f" {wording.plural(report.instants, 'instant')}."
    )
    yield from (f"Hole: {each.sentence}" for each in report.holes)
    yield from (f"Warning: {each.sentence}" for each in report.warnings)
    if report.worst_cases:
        yield "Worst cases in hours, from the beginning of the exception; a timeout's from the submission:"
    for (row, action), cases in groupby(
        report.worst_cases, key=lambda case: (case.row, case.action)
    ):
        yield from _worst(row, action, list(cases))


def _worst(row: int, action: str, cases: list[WorstCase]) -> Iterator[str]:
    longest = max(case.request_hours for case in cases)
    yield (
        f"  {action} {cases[0].band} in {cases[0].department} (matrix row {row});"
        f" whatever happens to it, over in {longest:g}"
    )
    for exception, of_one in groupby(cases, key=lambda case: case.exception):
        by_hours: dict[float, list[str]] = {}
        for case in of_one:
            by_hours.setdefault(case.hours, []).append(f"{case.severity}/{case.impact}")
        said = "; ".join(
            f"{hours:g}" + (f" ({', '.join(cells)})" if len(by_hours) > 1 else "")
            for hours, cells in sorted(by_hours.items())
        )
        yield f"    {exception}: {said}"


def _document(report: Report) -> dict[str, Any]:
    return {
        "version": report.version,
        "classes": report.classes,
        "instants": report.instants,
        "holes": [_finding(each) for each in report.holes],
        "warnings": [_finding(each) for each in report.warnings],
        "worst_cases": [
            {
                "department": case.department,
                "action": case.action,
                "band": case.band,
                "row": case.row,
                "exception": case.exception,
                "severity": case.severity,
                "impact": case.impact,
                "hours": case.hours,
                "request_hours": case.request_hours,
            }
            for case in report.worst_cases
        ],
    }


def _finding(finding: Finding) -> dict[str, Any]:
    return {
        "key": finding.key,
        "kind": finding.kind,
        "sentence": finding.sentence,
        "row": finding.row,
        "since": finding.since.isoformat() if finding.since else None,
        "until": finding.until.isoformat() if finding.until else None,
    }
