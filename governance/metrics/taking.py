"""The cases behind a figure, taken away as a file: they have names and amounts, so the record says by whom."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from django.db import transaction

from governance import actors
from governance.ledger import Act
from governance.metrics import access
from governance.models import Person
from governance.vocabulary import Chain


@transaction.atomic
def take_cases(*, actor: Person, asked: Mapping[str, str], now: datetime) -> None:
    """Record that somebody takes the cases behind a figure away.

    Args:
        asked: which, in the words of the page's address.

    Raises NotYours for whoever may not read them, as the database has them now.
    """
    access.demand_reader(Person.objects.get(pk=actor.pk))
    act = Act(now=now, actor=actors.person(actor))
    act.record_named(Chain.SYSTEM, "metrics.exported", asked=dict(asked))
    act.write()
