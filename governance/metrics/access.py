"""Who may read the figures: they say how people do their work, so not everybody."""

from __future__ import annotations

from governance.errors import NotYours
from governance.models import Person
from governance.vocabulary import Duty

READERS = (Duty.AUDITOR, Duty.POLICY_ADMIN)


def may_read(person: object) -> bool:
    """Whether somebody may see figures and the cases behind them. An agent never may."""
    return (
        isinstance(person, Person)
        and person.is_active
        and (person.is_superuser or person.has_duty(*READERS))
    )


def demand_reader(person: object) -> None:
    """Raise NotYours for whoever may not read."""
    if not may_read(person):
        raise NotYours("Auditors and policy administrators read the metrics.")
