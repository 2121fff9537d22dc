"""Exception type x severity x business impact -> what happens next.

The table a new policy version is seeded from; a request is answered by the
cells of its own version. Source: runbook, "The Escalation Decision Tree", and
DESIGN 2.1 for the cells on which the runbook is silent.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from typing import NamedTuple

from governance.vocabulary import ExceptionType as E
from governance.vocabulary import Impact as I
from governance.vocabulary import Level
from governance.vocabulary import Response as R
from governance.vocabulary import RuleSource as From
from governance.vocabulary import Severity as S

ANY_SEVERITY = frozenset(S)
ANY_IMPACT = frozenset(I)
LOW_OR_MEDIUM_IMPACT = frozenset({I.LOW, I.MEDIUM})


class Rule(NamedTuple):
    exception: E
    severities: frozenset[S]
    impacts: frozenset[I]
    response: R
    source: From

    def covers(self, exception: E, severity: S, impact: I) -> bool:
        return (
            exception == self.exception and severity in self.severities and impact in self.impacts
        )


# Order carries no meaning: exactly one rule covers each of the 45 cells.
RULES: tuple[Rule, ...] = (
    Rule(E.TIMEOUT, frozenset({S.LOW}), frozenset({I.LOW}), R.ASK_AGAIN_EXTENDED, From.RUNBOOK),
    Rule(E.TIMEOUT, ANY_SEVERITY, frozenset({I.HIGH}), R.DELEGATE, From.RUNBOOK),
    Rule(E.TIMEOUT, frozenset({S.LOW}), frozenset({I.MEDIUM}), R.ASK_AGAIN, From.OURS),
    Rule(E.TIMEOUT, frozenset({S.MEDIUM}), frozenset({I.LOW}), R.ASK_AGAIN, From.OURS),
    Rule(E.TIMEOUT, frozenset({S.MEDIUM}), frozenset({I.MEDIUM}), R.DELEGATE, From.OURS),
    Rule(E.TIMEOUT, frozenset({S.HIGH}), LOW_OR_MEDIUM_IMPACT, R.DELEGATE, From.OURS),
    Rule(E.REJECTION, frozenset({S.LOW}), ANY_IMPACT, R.ALTERNATE, From.RUNBOOK),
    Rule(E.REJECTION, frozenset({S.HIGH}), ANY_IMPACT, R.DEPARTMENT_HEAD, From.RUNBOOK),
    Rule(E.REJECTION, frozenset({S.MEDIUM}), LOW_OR_MEDIUM_IMPACT, R.ALTERNATE, From.OURS),
    Rule(E.REJECTION, frozenset({S.MEDIUM}), frozenset({I.HIGH}), R.DEPARTMENT_HEAD, From.OURS),
    Rule(E.CONFLICT, ANY_SEVERITY, ANY_IMPACT, R.HOLD, From.RUNBOOK),
    Rule(E.SYSTEM_FAILURE, frozenset({S.LOW}), frozenset({I.LOW}), R.RETRY, From.RUNBOOK),
    Rule(E.SYSTEM_FAILURE, ANY_SEVERITY, frozenset({I.HIGH}), R.ONCALL, From.RUNBOOK),
    Rule(E.SYSTEM_FAILURE, frozenset({S.LOW}), frozenset({I.MEDIUM}), R.RETRY, From.OURS),
    Rule(E.SYSTEM_FAILURE, frozenset({S.MEDIUM}), LOW_OR_MEDIUM_IMPACT, R.RETRY_TELL_ONCALL, From.OURS),
    Rule(E.SYSTEM_FAILURE, frozenset({S.HIGH}), LOW_OR_MEDIUM_IMPACT, R.ONCALL, From.OURS),
    Rule(E.POLICY_VIOLATION, ANY_SEVERITY, ANY_IMPACT, R.ASK_COMPLIANCE, From.RUNBOOK),
)  # fmt: skip

ENTERS_AT: dict[R, Level] = {
    R.ASK_AGAIN_EXTENDED: Level.L1,
    R.ASK_AGAIN: Level.L1,
    R.DELEGATE: Level.L2,
    R.ALTERNATE: Level.L2,
    R.DEPARTMENT_HEAD: Level.L3,
    R.HOLD: Level.L2,
    R.RETRY: Level.L1,
    R.RETRY_TELL_ONCALL: Level.L1,
    R.ONCALL: Level.L2,
    R.ASK_COMPLIANCE: Level.L2,
}


# What a cell of each exception may hold: a response of its own path.
RESPONSES: dict[E, tuple[R, ...]] = {
    E.TIMEOUT: (R.ASK_AGAIN_EXTENDED, R.ASK_AGAIN, R.DELEGATE),
    E.REJECTION: (R.ALTERNATE, R.DEPARTMENT_HEAD),
    E.CONFLICT: (R.HOLD,),
    E.SYSTEM_FAILURE: (R.RETRY, R.RETRY_TELL_ONCALL, R.ONCALL),
    E.POLICY_VIOLATION: (R.ASK_COMPLIANCE,),
}


def respond(exception: E, severity: S, impact: I) -> Rule:
    """Return the one rule that covers this cell, whole, so that the caller can say why as well as what.

    Raises LookupError if no rule, or more than one, covers the cell: a mistake
    in RULES, never something to catch.
    """
    covering = [rule for rule in RULES if rule.covers(exception, severity, impact)]
    if len(covering) != 1:
        cell = f"{exception} x {severity} x {impact}"
        raise LookupError(f"{cell} is covered by {len(covering)} rules, want exactly 1")
    return covering[0]


def cells() -> Iterator[tuple[E, S, I, Rule]]:
    """Yield all 45 cells with their rule."""
    for exception, severity, impact in product(E, S, I):
        yield exception, severity, impact, respond(exception, severity, impact)
