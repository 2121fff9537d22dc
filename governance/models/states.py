"""One way to say in the database which states exist and what each demands."""

from __future__ import annotations

from collections.abc import Iterable

from django.db.models import CheckConstraint, Q


def known_states(name: str, states: Iterable[str], *, field: str = "state") -> CheckConstraint:
    """Return a constraint that stores no state outside `states`.

    django-fsm guards assignment, not `update()` nor a hand-written INSERT.
    """
    return CheckConstraint(name=name, condition=Q(**{f"{field}__in": sorted(states)}))
