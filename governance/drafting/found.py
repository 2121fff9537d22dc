"""What a check found, by the row of the matrix that it is about, each with what mends it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

from governance.drafting.proving import Proof

MOST = 4  # under one row; the check's page has them all
# By the kind of a finding that can name a row.
MENDS: dict[str, str] = {
    "path": "Add a delegate who can, or change what keeps the others from it: an absence, a limit, an agent's owner.",
    "match": "Begin one of the rows where the other ends, or take one of them out.",
    "second_signer": "Name one more person who may sign, in this row or among the offices.",
    "one_person": "Add a delegate, so that it does not depend on one person.",
    "l4_first": "Add an approver or a delegate who is no executive.",
    "circle": "Name a delegate from outside the circle in one of these rows.",
    "action": "Bring the action type into production, or take the row out.",
    "reviewer": "Name a reviewer who neither decides on it nor reports to somebody who does.",
    "l4_nobody": "Name one more executive.",
    "final_no": "Give somebody else at least that limit, or leave it: the first no is the last word.",
}


class RowFinding(NamedTuple):
    weight: str  # "new": a hole that the version in force lacks; "kept": one that it has; "warning"
    sentence: str
    mend: str


@dataclass(slots=True)
class RowFound:
    """All that was found of one row, the gravest first."""

    row: int
    findings: list[RowFinding] = field(default_factory=list)

    @property
    def shown(self) -> list[RowFinding]:
        return self.findings[:MOST]

    @property
    def more(self) -> int:
        return len(self.findings) - len(self.shown)

    @property
    def is_bad(self) -> bool:
        return self.findings[0].weight == "new"


def by_row(proof: Proof) -> dict[int, RowFound]:
    """Return what a draft's check found, by the number of the row concerned; of other things nothing.

    A row with warnings alone is left out: many have some, and under each row they would bury the
    holes. The check says them all.
    """
    found: dict[int, RowFound] = {}
    weighed = (("new", proof.new), ("kept", proof.kept), ("warning", proof.report.warnings))
    for weight, findings in weighed:
        for each in findings:
            if each.row is not None:
                its = found.setdefault(each.row, RowFound(each.row))
                its.findings.append(RowFinding(weight, each.sentence, MENDS[each.kind]))
    return {row: its for row, its in found.items() if its.findings[0].weight != "warning"}
