from __future__ import annotations

import threading
from datetime import timedelta

import pytest
from django.db import connection, transaction
from django.db.models import CharField, Count, DateTimeField, Value

from governance.claims import Claim
from governance.models import Absence, Department, Person, Role
from governance.reads import NOW, Given, GivenKeys, Read, ReadObjects, together
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
        lambda: Person.objects.filter(pk__among=GivenKeys("keys")).order_by("pk").values_list("pk")
    )

    for some in ([], people[:1], people):
        assert read(keys={each.pk for each in some}) == [(each.pk,) for each in some]


def test_a_missing_value_is_a_defect():
    read = Read(lambda: Role.objects.filter(key=Given("key", CharField())).values_list(Count("pk")))

    with pytest.raises(KeyError):
        read()


# --- Objects ----------------------------------------------------------------------------------


def test_objects_come_back_as_the_orm_would_return_them(django_assert_num_queries):
    manager = PersonFactory(limit_amount="25000.0000", limit_currency="USD")
    person = PersonFactory(manager=manager)
    AbsenceFactory(person=person, starts_at=MONDAY_9AM, ends_at=MONDAY_9AM + timedelta(days=1))
    read = ReadObjects(
        lambda: Absence.objects.filter(starts_at__lte=NOW).select_related("person__manager")
    )

    with django_assert_num_queries(1):
        (found,) = read(now=MONDAY_9AM)
        above = found.person.manager

    plain = Absence.objects.get()
    assert {f.attname: getattr(found, f.attname) for f in Absence._meta.concrete_fields} == {
        f.attname: getattr(plain, f.attname) for f in Absence._meta.concrete_fields
    }
    assert above.limit_amount == Person.objects.get(pk=manager.pk).limit_amount
    assert not found._state.adding
    assert read(now=MONDAY_9AM - timedelta(microseconds=1)) == []


def test_an_object_without_its_relation_has_none():
    PersonFactory(manager=None)
    read = ReadObjects(lambda: Person.objects.select_related("manager"))

    (found,) = read()

    assert found.manager is None


def test_objects_read_twice_are_two():
    """A sweep that was rolled back reads again, and must not meet what it changed in memory."""
    person = PersonFactory(name="Controller")
    read = ReadObjects(lambda: Person.objects.filter(pk__among=GivenKeys("keys")))
    (first,) = read(keys=[person.pk])
    first.name = "changed in memory"

    (second,) = read(keys=[person.pk])

    assert second.name == "Controller"


def test_several_queries_find_together_what_each_finds_alone():
    people = [PersonFactory() for _ in range(3)]
    DepartmentFactory(key="sales", name="Sales")
    persons = ReadObjects(lambda: Person.objects.filter(pk__among=GivenKeys("keys")).order_by("pk"))
    names = Read(lambda: Department.objects.filter(key="sales").values_list("name"))
    none = Read(lambda: Role.objects.filter(key=Given("key", CharField())).values_list("pk"))

    found = together(persons, none, names, keys=[people[0].pk, people[2].pk], key="none")

    assert found == [[people[0], people[2]], [], [("Sales",)]]


@pytest.mark.postgresql
def test_several_queries_together_are_one_trip(django_assert_num_queries):
    names = Read(lambda: Department.objects.values_list("name"))

    with django_assert_num_queries(1):
        together(names, names, names)


@pytest.mark.postgresql
def test_keys_are_compared_as_an_array_whose_length_the_planner_knows():
    for rows in (
        lambda: Person.objects.filter(pk__among=GivenKeys("keys")).values_list("pk"),
        lambda: Person.objects.filter(manager__among=GivenKeys("keys")).values_list("pk"),
    ):
        assert "= ANY(%s::bigint[])" in Read(rows).compiled.sql


@pytest.mark.django_db(transaction=True)
def test_a_compiled_claim_needs_a_transaction():
    PersonFactory()
    claim = Claim(lambda: Person.objects.order_by("pk"))

    with pytest.raises(RuntimeError, match="open transaction"):
        claim()


@pytest.mark.postgresql
@pytest.mark.django_db(transaction=True)
def test_a_compiled_claim_passes_over_what_another_holds(race):
    held, free = PersonFactory(), PersonFactory()
    claim = Claim(lambda: Person.objects.filter(pk__among=GivenKeys("keys")).order_by("pk"))
    step = threading.Barrier(2)

    def first():
        with transaction.atomic():
            taken = [each.pk for each in claim(keys=[held.pk])]
            step.wait(timeout=5)
            step.wait(timeout=5)
        return taken

    def second():
        step.wait(timeout=5)
        with transaction.atomic():
            taken = [each.pk for each in claim(keys=[held.pk, free.pk])]
        step.wait(timeout=5)
        return taken

    assert race(first, second) == [[held.pk], [free.pk]]


# --- Prepared ---------------------------------------------------------------------------------


def test_a_prepared_query_finds_what_each_run_asks_for():
    people = [PersonFactory(name=name) for name in ("Controller", "100 % Buyer", "O'Buyer")]
    read = Read(
        lambda: (
            Person.objects.filter(name=Given("name", CharField()))
            .exclude(username="% 'nobody'")
            .annotate(same_each_time=Value(True))
            .filter(same_each_time=True)
            .values_list("pk")
        ),
        prepared=True,
    )

    for person in people:
        assert read(name=person.name) == [(person.pk,)]
    assert together(read, read, name="O'Buyer") == [[(people[2].pk,)]] * 2


@pytest.mark.postgresql
def test_a_prepared_query_is_parsed_once_for_each_connection(django_assert_num_queries):
    read = Read(
        lambda: Role.objects.filter(key=Given("key", CharField())).values_list("pk"), prepared=True
    )
    read(key="buyer")

    def parsed() -> list[tuple[str, int]]:
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT name, generic_plans + custom_plans FROM pg_prepared_statements"
                " WHERE name = %s",
                [read.compiled.prepared.name],
            )
            return cursor.fetchall()

    before = parsed()
    with django_assert_num_queries(1):
        read(key="controller")

    assert [(name, runs + 1) for name, runs in before] == parsed()


@pytest.mark.postgresql
def test_a_prepared_query_outlives_a_transaction_that_was_rolled_back():
    read = Read(
        lambda: Role.objects.filter(key=Given("other", CharField())).values_list("pk"),
        prepared=True,
    )
    with transaction.atomic():
        read(other="buyer")
        transaction.set_rollback(True)

    assert read(other="buyer") == []


@pytest.mark.postgresql
@pytest.mark.django_db(transaction=True)
def test_a_prepared_query_is_prepared_again_on_a_new_connection():
    read = Read(
        lambda: Role.objects.filter(key=Given("key", CharField())).values_list("pk"), prepared=True
    )
    read(key="buyer")
    connection.close()

    assert read(key="buyer") == []
