"""How long each class of request may take at most. Pure: windows added up."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import timedelta

from governance import ladder
from governance.decision_tree import ENTERS_AT
from governance.proof.bands import Stretch
from governance.proof.findings import WorstCase
from governance.tables import Policy
from governance.vocabulary import ExceptionType, Impact, Path, Severity

NOTHING = timedelta(0)


def worst_cases(policy: Policy, parts: Iterable[Stretch]) -> Iterator[WorstCase]:
    """Yield the worst case of each class: row, kind, exception, severity and impact, each once.

    Nothing for a version that lacks a window or a cell: that is a hole of its own.
    """
    if ladder.DEFAULT_WINDOWS.keys() - policy.windows.keys():
        return
    done: set[tuple[int, str]] = set()
    for part in parts:
        kind, row = part.kind, part.row
        if (row.pk, kind.key) in done:
            continue
        done.add((row.pk, kind.key))
        for exception in ExceptionType:
            for severity in kind.severities:
                for impact in kind.impacts:
                    if (exception, severity, impact) in policy.cells:
                        yield WorstCase(
                            row.department_name, kind.key, row.band(), row.number,
                            exception, severity, impact,
                            _path(policy, part, exception, severity, impact),
                            _whole(policy, part, severity, impact),
                        )  # fmt: skip


def _path(
    policy: Policy, part: Stretch, exception: ExceptionType, severity: Severity, impact: Impact
) -> timedelta:
    """Return the time from the beginning of an exception to the end of its path."""
    response = policy.cells[exception, severity, impact].response
    path, critical = Path(exception.value), part.kind.critical
    first = ladder.first_rung(path, at_least=ENTERS_AT[response], critical=critical)
    rungs = [
        each
        for each in ladder.rungs(path, critical=critical)
        if first is not None and each >= first
    ]
    before = part.kind.sla if exception == ExceptionType.TIMEOUT else NOTHING
    return before + sum(
        (ladder.granted(policy.windows[path, each], response, each) for each in rungs), NOTHING
    )


def _whole(policy: Policy, part: Stretch, severity: Severity, impact: Impact) -> timedelta:
    """Return the most that a request may take: no rung is stood on twice, so that all of them add up.

    Beside them: once held by a newcomer, once queued, and the time to begin, to run and to undo.
    """
    critical = part.kind.critical
    cell = policy.cells.get((ExceptionType.TIMEOUT, severity, impact))
    total = part.kind.sla + policy.queue_cap
    total += ladder.BEGIN_WITHIN + ladder.RUN_WITHIN + ladder.UNDO_WITHIN
    for path in Path:
        if path == Path.APPROVAL:
            continue
        for level in ladder.rungs(path, critical=critical):
            window = policy.windows[path, level]
            if path == Path.TIMEOUT and cell is not None:
                window = ladder.granted(window, cell.response, level)
            total += window * (2 if path == Path.CONFLICT else 1)
    return total
