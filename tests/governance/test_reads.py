from __future__ import annotations

from datetime import timedelta

import pytest
from django.db.models import CharField, Count, DateTimeField

from governance.models import Department, Person, Role
from governance.reads import Given, GivenKeys, Read
from tests.factories import MONDAY_9AM, AbsenceFactory, DepartmentFactory, PersonFactory

pytestmark = pytest.mark.django_db


def test_a_query_is_built_once_and_run_with_other_values():
    built = []
    DepartmentFactory(key="sales", name="Sales")
    DepartmentFactory(key="finance", name="Finance")

    def rows():
        built.append(1)
        return Department.objects.filter(key=Given("key", CharField())).values_list("name")

    read = Read(rows)

    assert [read(key="sales"), read(key="finance"), read(key="none")] == [
        [("Sales",)], [("Finance",)], [],
    ]  # fmt: skip
    assert built == [1]


def test_values_come_back_as_the_orm_would_return_them():
    person = PersonFactory(limit_amount="25000.0000", limit_currency="USD")
    AbsenceFactory(person=person, starts_at=MONDAY_9AM, ends_at=MONDAY_9AM + timedelta(days=1))
    columns = ("limit_amount", "is_active", "absences__ends_at", "email")
    read = Read(
        lambda: Person.objects.filter(
            absences__starts_at__lte=Given("now", DateTimeField())
        ).values_list(*columns)
    )

    (found,) = read(now=MONDAY_9AM)

    assert found == Person.objects.values_list(*columns).get()
    assert read(now=MONDAY_9AM - timedelta(microseconds=1)) == []


def test_any_number_of_keys_may_be_given():
    people = [PersonFactory() for _ in range(3)]
    read = Read(
        lambda: Person.objects.filter(pk__in=GivenKeys("keys")).order_by("pk").values_list("pk")
    )

    for some in ([], people[:1], people):
        assert read(keys={each.pk for each in some}) == [(each.pk,) for each in some]


def test_a_missing_value_is_a_defect():
    read = Read(lambda: Role.objects.filter(key=Given("key", CharField())).values_list(Count("pk")))

    with pytest.raises(KeyError):
        read()
