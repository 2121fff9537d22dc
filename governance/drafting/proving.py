"""What the check finds in a draft, beside what it finds in the version in force."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from governance.models import PolicyVersion
from governance.policy_check import Finding, Report, check


@dataclass(frozen=True)
class Proof:
    """A draft's holes: those that activating it would make, and those that are there already.

    Attributes:
        against: number of the version in force; None without one, when everything is a hole.
        new: holes that the version in force lacks. With one of these a draft cannot be activated.
        kept: holes that it has as well. With one of these two people sign the list.
    """

    report: Report
    against: int | None
    new: tuple[Finding, ...]
    kept: tuple[Finding, ...]

    @property
    def digest(self) -> str:
        """SHA-256 of the keys of what is to be signed: whoever signs names the list they saw."""
        return digest_of(each.key for each in self.kept)


def digest_of(keys: Iterable[str]) -> str:
    return hashlib.sha256("\n".join(sorted(keys)).encode()).hexdigest()


def prove(draft: PolicyVersion, *, now: datetime) -> Proof:
    """Check a draft and the version in force, over the people as they are now. Slow: see `policy_check.check`."""
    active = PolicyVersion.objects.filter(state=PolicyVersion.State.ACTIVE).first()
    report = check(draft, now=now)
    if active is None:
        return Proof(report, None, (), report.holes)
    already = {each.key for each in check(active, now=now).holes}
    return Proof(
        report,
        active.number,
        tuple(each for each in report.holes if each.key not in already),
        tuple(each for each in report.holes if each.key in already),
    )
