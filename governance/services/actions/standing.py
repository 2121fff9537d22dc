"""Who may change the catalogue: who administers policies. Read live, as the database has them now."""

from __future__ import annotations

from django.db.models import QuerySet

from governance.errors import NotYours
from governance.models import Person
from governance.vocabulary import Duty


def administrators() -> QuerySet[Person]:
    found: QuerySet[Person] = Person.objects.filter(is_active=True, roles__key=Duty.POLICY_ADMIN)
    return found


def is_administrator(person: Person) -> bool:
    return administrators().filter(pk=person.pk).exists()


def require_admin(actor: Person) -> None:
    """Raise NotYours unless they administer policies."""
    if not is_administrator(actor):
        raise NotYours("Policy administrators change the catalogue. Nothing was changed.")
