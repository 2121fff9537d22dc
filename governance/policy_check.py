"""The check that nothing can stall: for every class of request and every instant ahead, is anybody asked?

The rules are the router's own, asked through `governance.proof`. Source: DESIGN 4.
"""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime

from governance.models import PolicyVersion
from governance.proof import structure
from governance.proof.bands import stretches
from governance.proof.findings import Finding, Report, WorstCase
from governance.proof.hours import worst_cases
from governance.proof.loading import world_of
from governance.proof.questions import questions
from governance.proof.sweeping import sweep
from governance.proof.world import World

__all__ = ["DAYS", "Finding", "Report", "WorstCase", "check", "prove"]
DAYS = 90


def check(
    version: PolicyVersion,
    *,
    now: datetime,
    days: int = DAYS,
    rows: Collection[int] | None = None,
) -> Report:
    """Return every hole and warning of a version, draft or not, and the worst case of each class.

    A hole is a class of request and an instant from `now` on at which nobody would be
    asked; it has a key that is the same in every version, so that "no hole that the
    active one lacks" is a difference of sets. Reads only, in a fixed number of queries.

    Args:
        days: how far to look; absences and shifts within them are looked at.
        rows: primary keys of matrix rows; of others nothing is said. For versions that
            are superseded and still route open requests.
    """
    return prove(world_of(version, now=now, days=days, rows=rows))


def prove(world: World) -> Report:
    """Return what `check` returns, of what was read. Pure."""
    parts, holes, warnings = stretches(world)
    asked, stands, classes = questions(world, parts)
    swept = sweep(world, asked)
    reviews = list(structure.reviewers(world, classes))
    holes += structure.tables_are_whole(world)
    holes += structure.circles(world)
    holes += swept.holes
    holes += [each for each in reviews if each.kind != "l4_nobody"]
    warnings += stands + swept.warnings
    warnings += [each for each in reviews if each.kind == "l4_nobody"]
    warnings += structure.delegates_in_a_circle(world)
    warnings += structure.unknown_actions(world)
    warnings += structure.clocks(world)
    cases = tuple(worst_cases(world.policy, parts))
    return Report(
        version=world.policy.number,
        holes=_once(holes),
        warnings=_once(warnings),
        worst_cases=cases,
        classes=len(cases),
        instants=swept.instants,
    )


def _once(findings: Collection[Finding]) -> tuple[Finding, ...]:
    """Return one finding for each key, in their order, with a capital at its beginning."""
    first: dict[str, Finding] = {}
    for each in findings:
        first.setdefault(each.key, each)
    return tuple(first[key] for key in sorted(first))
