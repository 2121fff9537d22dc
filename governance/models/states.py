"""Rows with a state: what they are made of, and one way to say in the database which states exist."""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from typing import Any

from django.db.models import CheckConstraint, Model, Q
from django_fsm import ConcurrentTransitionMixin, FSMFieldMixin, FSMModelMixin


class Stateful(ConcurrentTransitionMixin, FSMModelMixin):
    """What every model with transitions begins with.

    The library looks through all fields of a model for each object that is made, to
    remember the state it was read in. Which they are does not change: a sixth of a
    sweep went into it.
    """

    @property
    def state_fields(self) -> Iterable[Any]:
        return _state_fields(type(self))


@lru_cache(maxsize=64)
def _state_fields(model: type[Model]) -> tuple[Any, ...]:
    return tuple(field for field in model._meta.fields if isinstance(field, FSMFieldMixin))


def known_states(name: str, states: Iterable[str], *, field: str = "state") -> CheckConstraint:
    """Return a constraint that stores no state outside `states`.

    django-fsm guards assignment, not `update()` nor a hand-written INSERT.
    """
    return CheckConstraint(name=name, condition=Q(**{f"{field}__in": sorted(states)}))
