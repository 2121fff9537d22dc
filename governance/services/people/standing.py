"""Who may change what about people. Read live: a role taken away a moment ago counts no more."""

from __future__ import annotations

from django.db.models import Exists, OuterRef, Q, QuerySet

from governance.models import Appointment, Department, Person, PolicyVersion
from governance.vocabulary import Duty

# Who may look at everybody: beside these, each sees themselves and those they may enter absences for.
SEES_EVERYBODY = (Duty.OPERATOR, Duty.AUDITOR, Duty.COMPLIANCE, Duty.POLICY_ADMIN)


def administrators() -> QuerySet[Person]:
    """Return who may ask for changes of people and confirm them: policy administrators, and superusers."""
    holds = Person.roles.through.objects.filter(person=OuterRef("pk"), role__key=Duty.POLICY_ADMIN)
    return Person.objects.filter(Q(is_superuser=True) | Exists(holds), is_active=True)


def is_administrator(person: Person) -> bool:
    """Whether this person, as the database has them now, is an administrator."""
    return administrators().filter(pk=person.pk).exists()


def sees_everybody(person: Person) -> bool:
    return person.is_active and (person.is_superuser or person.has_duty(*SEES_EVERYBODY))


def visible_to(person: Person) -> QuerySet[Person]:
    """Return the people whose page and absences this person may see, by name."""
    rows = Person.objects.order_by("name", "pk")
    if sees_everybody(person):
        return rows
    return rows.filter(Q(pk=person.pk) | _looked_after_by(person))


def may_enter_absences_of(actor: Person, person: Person) -> bool:
    """Whether `actor` may enter, shorten and cancel absences of `person`.

    Themselves; their manager; the head of their department by the active policy; an administrator.
    """
    if not actor.is_active:
        return False
    return actor.pk == person.pk or absences_entered_by(actor).filter(pk=person.pk).exists()


def absences_entered_by(actor: Person) -> QuerySet[Person]:
    """Return those whose absences `actor` may enter, themselves among them, by name."""
    rows = Person.objects.filter(is_active=True).order_by("name", "pk")
    if not actor.is_active:
        return rows.none()
    if is_administrator(actor):
        return rows
    return rows.filter(Q(pk=actor.pk) | _looked_after_by(actor))


def _looked_after_by(actor: Person) -> Q:
    headed = Appointment.objects.filter(
        office=Appointment.Office.DEPARTMENT_HEAD,
        person=actor,
        version__state=PolicyVersion.State.ACTIVE,
    )
    departments = Department.objects.filter(key__in=headed.values("scope"))
    return Q(manager=actor) | Q(department__in=departments)
