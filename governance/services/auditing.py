"""What auditors do with the record: who may read it, and a part of it taken away as a file."""

from __future__ import annotations

from datetime import datetime

from django.db import transaction

from governance import actors
from governance.errors import NotYours
from governance.ledger import Act
from governance.models import Person
from governance.search import Search
from governance.vocabulary import Chain, Duty

READS_THE_RECORD = (Duty.AUDITOR,)


def may_read(person: Person) -> bool:
    """Whether somebody may read the whole record. Closed but for auditors: it holds every note and name."""
    return person.is_active and (person.is_superuser or person.has_duty(*READS_THE_RECORD))


def require_auditor(actor: Person) -> None:
    """Raise NotYours for whoever may not read the whole record, as the database has them now."""
    if not may_read(Person.objects.get(pk=actor.pk)):
        raise NotYours("Auditors read the record. Nothing was changed.")


@transaction.atomic
def export(*, actor: Person, search: Search, form: str, now: datetime) -> int:
    """Record that somebody takes what a search finds away as a file.

    Args:
        form: "csv" or "jsonl".

    Returns the id up to which events belong to it: those written later, this one's among
    them, do not.

    Raises NotYours: no auditor.
    """
    require_auditor(actor)
    up_to = search.last_id()
    act = Act(now=now, actor=actors.person(actor))
    act.record_named(
        Chain.SYSTEM, "ledger.exported", form=form, up_to=up_to, search=search.as_facts()
    )
    act.write()
    return up_to
