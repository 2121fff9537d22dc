from __future__ import annotations

from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from uuid import UUID, uuid4

import pytest
from django.db import DataError, IntegrityError, connection, models, transaction
from django.db.transaction import TransactionManagementError
from django_fsm import ConcurrentTransitionMixin, FSMField, FSMModelMixin, transition
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.django import TestCase

from approvals.models import Resource
from governance import bulk
from governance.models import ChainHead
from governance.reads import Read


class Parcel(ConcurrentTransitionMixin, FSMModelMixin, models.Model):
    """One column of each kind that the product's tables have, with and without NULL."""

    class State(models.TextChoices):
        PACKED = "packed"
        SENT = "sent"

    state = FSMField(default=State.PACKED, choices=State.choices, protected=True)
    key = models.CharField(max_length=40, unique=True)
    text = models.TextField(default="")
    flag = models.BooleanField(default=False)
    level = models.PositiveSmallIntegerField(default=0)
    big = models.BigIntegerField(null=True)
    price = models.DecimalField(max_digits=20, decimal_places=4, null=True)
    share = models.FloatField(null=True)
    ref = models.UUIDField(default=uuid4)
    other_ref = models.UUIDField(null=True)
    window = models.DurationField(null=True)
    day = models.DateField(null=True)
    at = models.DateTimeField(null=True)
    facts = models.JSONField(default=dict)
    maybe = models.JSONField(null=True)
    parent = models.ForeignKey("self", models.PROTECT, null=True)

    class Meta:
        app_label = "tests"

    def __str__(self):
        return self.key

    @transition(state, source=State.PACKED, target=State.SENT)
    def send(self):
        """Off it goes."""


@pytest.fixture(scope="module", autouse=True)
def parcels(django_db_setup, django_db_blocker):
    """Keep a table for Parcel, which no migration knows."""
    with django_db_blocker.unblock():
        with connection.schema_editor() as editor:
            editor.create_model(Parcel)
        yield
        with connection.schema_editor() as editor:
            editor.delete_model(Parcel)


def parcel(key, **values):
    return Parcel(key=key, **values)


def stored(**lookup):
    return Parcel.objects.filter(**lookup).order_by("pk")


def contents(rows):
    """Every column of every row, but for the two that must differ."""
    columns = {field.attname for field in Parcel._meta.concrete_fields} - {"id", "key"}
    return [{name: getattr(row, name) for name in columns} for row in rows]


# What PostgreSQL's text can hold, and what a COPY must escape.
TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=30)
TEXT |= st.sampled_from(["\\N", "\\.", "a\tb\nc\r\\", "NULL", '{"a",b}', "%s", ""])
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=5,
)
VALUES = st.fixed_dictionaries(
    {
        "text": TEXT,
        "flag": st.booleans(),
        "level": st.integers(0, 32767),
        "big": st.none() | st.integers(-(2**63), 2**63 - 1),
        "price": st.none() | st.decimals(-(10**10), 10**10, places=4),
        "ref": st.uuids(),
        "other_ref": st.none() | st.uuids(),
        "window": st.none() | st.timedeltas(timedelta(0), timedelta(days=4000)),
        "day": st.none() | st.dates(),
        "at": st.none() | st.datetimes(datetime(1900, 1, 1), timezones=st.just(UTC)),  # noqa: DTZ001
        "facts": JSON.filter(lambda value: value is not None),
        "maybe": JSON,
    }
)


class RoundTrip(TestCase):
    """A row written by `bulk` reads as one that `Model.save()` wrote."""

    @settings(max_examples=60, deadline=None)
    @given(st.lists(VALUES, min_size=1, max_size=4), st.floats(-1e6, 1e6))
    def test_an_inserted_row_is_as_save_would_have_it(self, rows, share):
        for n, values in enumerate(rows):
            parcel(f"saved {n}", share=share, **values).save()
        sent = [parcel(f"sent {n}", share=share, **values) for n, values in enumerate(rows)]

        bulk.insert(sent)

        saved = contents(stored(key__startswith="saved"))
        assert contents(stored(key__startswith="sent")) == saved

    @settings(max_examples=60, deadline=None)
    @given(st.lists(VALUES, min_size=1, max_size=4))
    def test_a_row_inserted_in_one_go_with_others_is_as_save_would_have_it(self, rows):
        for n, values in enumerate(rows):
            parcel(f"saved {n}", **values).save()
        sent = [parcel(f"sent {n}", **values) for n, values in enumerate(rows)]

        with bulk.in_one_go():
            bulk.insert(sent[:1])
            bulk.insert(sent[1:])

        saved = contents(stored(key__startswith="saved"))
        assert contents(stored(key__startswith="sent")) == saved

    @settings(max_examples=60, deadline=None)
    @given(st.lists(VALUES, min_size=1, max_size=4))
    def test_a_differing_row_is_as_save_would_have_it(self, rows):
        names = list(rows[0])
        objs = [Parcel.objects.create(key=f"differing {n}") for n in range(len(rows))]
        for n, (obj, values) in enumerate(zip(objs, rows, strict=True)):
            parcel(f"saved {n}", **values).save()
            for name, value in values.items():
                setattr(obj, name, value)

        bulk.save_differing(Parcel, objs, names)

        written = stored(key__startswith="differing").values(*names)
        assert list(written) == list(stored(key__startswith="saved").values(*names))

    @settings(max_examples=30, deadline=None)
    @given(VALUES)
    def test_alike_rows_are_as_save_would_have_them(self, values):
        names = [name for name in values if name not in {"facts", "maybe"}]
        parcel("saved", **values).save()
        objs = [Parcel.objects.create(key=f"alike {n}") for n in range(3)]
        for obj in objs:
            for name in names:
                setattr(obj, name, values[name])

        bulk.save_alike(Parcel, objs, names)

        written = stored(key__startswith="alike").values(*names)
        assert list(written) == list(stored(key="saved").values(*names)) * 3


@pytest.mark.django_db
class TestInsert:
    def test_nothing_is_inserted_for_nothing(self, django_assert_num_queries):
        with django_assert_num_queries(0):
            bulk.insert([])

    def test_the_table_gives_the_keys_of_objects_that_have_none(self):
        bulk.insert([parcel("a"), parcel("b")])

        first, second = stored()
        assert first.pk < second.pk

    def test_a_key_that_was_given_is_kept(self):
        bulk.insert([parcel("a", pk=7001), parcel("b", pk=7002)])

        assert [row.pk for row in stored()] == [7001, 7002]

    def test_objects_with_and_without_a_key_are_not_mixed(self):
        with pytest.raises(ValueError, match="1 of 2"):
            bulk.insert([parcel("a", pk=7001), parcel("b")])

    def test_a_choice_is_stored_as_its_value(self):
        sent = parcel("a")
        sent.send()

        bulk.insert([sent, parcel("b")])

        assert list(stored().values_list("state", flat=True)) == ["sent", "packed"]

    def test_a_model_whose_key_is_its_name(self):
        bulk.insert([ChainHead(name="policy", length=0, last_hash="")])

        assert ChainHead.objects.get().name == "policy"

    def test_a_row_the_database_refuses_raises_what_django_raises(self):
        bulk.insert([parcel("a")])

        with pytest.raises(IntegrityError), transaction.atomic():
            bulk.insert([parcel("b"), parcel("a"), parcel("c")])
        assert list(stored().values_list("key", flat=True)) == ["a"]

    @pytest.mark.postgresql  # SQLite has no lengths
    def test_text_that_is_too_long_is_refused_and_not_cut(self):
        with pytest.raises(DataError), transaction.atomic():
            bulk.insert([parcel("x" * 41)])

    def test_nothing_is_inserted_in_a_transaction_that_is_already_lost(self):
        with ExitStack() as stack:
            stack.enter_context(transaction.atomic())
            transaction.set_rollback(True)
            with pytest.raises(TransactionManagementError):
                bulk.insert([parcel("a")])

    def test_keys_given_beforehand_are_free_and_stay_taken(self):
        Parcel.objects.create(key="first")
        parents = [parcel("a"), parcel("b")]
        bulk.give_keys(parents)
        children = [parcel(f"child of {p.key}", parent=p) for p in parents]

        bulk.link(children, "parent")
        bulk.insert(parents)
        bulk.insert(children)

        Parcel.objects.create(key="last")
        assert Parcel.objects.get(key="child of b").parent.key == "b"


@pytest.mark.django_db
class TestInOneGo:
    @pytest.mark.postgresql
    def test_all_inserts_are_one_trip(self, django_assert_num_queries):
        with django_assert_num_queries(1), bulk.in_one_go():
            bulk.insert([parcel("a"), parcel("b")])
            bulk.insert([ChainHead(name="policy", length=0, last_hash="")])

        assert (stored().count(), ChainHead.objects.count()) == (2, 1)

    @pytest.mark.postgresql
    def test_a_block_within_another_is_part_of_it(self, django_assert_num_queries):
        with django_assert_num_queries(1), bulk.in_one_go():
            bulk.insert([parcel("first")])
            with bulk.in_one_go():
                bulk.insert([parcel("second")])

        assert list(stored().values_list("key", flat=True)) == ["first", "second"]

    def test_keys_given_beforehand_join_parents_and_children(self):
        parent = parcel("parent")
        head = ChainHead(name="policy", length=0, last_hash="")
        child = parcel("child", parent=parent)
        bulk.give_keys([parent, child, head])

        with bulk.in_one_go():
            bulk.link([child], "parent")
            bulk.insert([parent])
            bulk.give_keys([child])
            bulk.insert([child])

        assert Parcel.objects.get(key="child").parent.pk == parent.pk
        assert head.pk == "policy"

    def test_what_is_refused_is_refused_in_the_end_and_nothing_stays(self):
        with pytest.raises(IntegrityError), transaction.atomic(), bulk.in_one_go():
            bulk.insert([parcel("a"), parcel("b"), parcel("a")])

        assert not stored().exists()

    @pytest.mark.postgresql  # SQLite has no lengths
    def test_text_that_is_too_long_is_refused_and_not_cut(self):
        with pytest.raises(DataError), transaction.atomic(), bulk.in_one_go():
            bulk.insert([parcel("x" * 41)])

    @pytest.mark.postgresql  # SQLite is sent each insert at once
    def test_a_block_that_fails_sends_nothing(self, django_assert_num_queries):
        def fails():
            with bulk.in_one_go():
                bulk.insert([parcel("a")])
                raise KeyError

        with django_assert_num_queries(0), pytest.raises(KeyError):
            fails()

        bulk.insert([parcel("b")])
        assert [row.key for row in stored()] == ["b"]

    @pytest.mark.postgresql
    def test_what_json_has_no_word_for_is_a_defect(self):
        with pytest.raises(TypeError, match="in one go"), bulk.in_one_go():
            bulk.insert([parcel("a", text=b"bytes")])


@pytest.mark.django_db
class TestInsertMissing:
    insert = bulk.inserting_missing(Resource, "key")

    def test_a_new_row_is_inserted_and_its_key_found(self):
        ((pk,),) = self.insert(key="sap:sales-order:4711")

        assert Resource.objects.get(pk=pk).key == "sap:sales-order:4711"

    def test_a_row_that_is_there_is_left_as_it_is_and_nothing_is_found(self):
        self.insert(key="sap:sales-order:4711")

        assert self.insert(key="sap:sales-order:4711") == []
        assert Resource.objects.count() == 1


@pytest.mark.django_db
class TestGiveKeys:
    def test_a_key_that_was_drawn_is_used_before_others_are_asked_for(
        self, django_assert_num_queries
    ):
        drawn = parcel("drawn")

        with django_assert_num_queries(0):
            bulk.give_keys([drawn], drawn={Parcel: 7, ChainHead: 3})

        assert drawn.pk == 7

    def test_where_one_was_drawn_and_two_are_needed_the_other_is_asked_for(self):
        first, second = parcel("a"), parcel("b")
        bulk.give_keys([first, second], drawn={Parcel: 700})

        bulk.insert([first, second])

        assert first.pk == 700
        assert {each.key for each in stored()} == {"a", "b"}

    @pytest.mark.postgresql
    def test_what_is_drawn_in_a_query_is_nobody_elses(self):
        ChainHead.objects.create(name="one", length=0, last_hash="")
        draw = Read(
            lambda: ChainHead.objects.values_list(bulk.NextKey(Parcel), bulk.NextKey(Resource))
        )

        (first,), (second,) = draw(), draw()

        assert all(one < other for one, other in zip(first, second, strict=True))
        assert Parcel.objects.create(key="next").pk > second[0]


@pytest.mark.django_db(transaction=True)
def test_outside_a_transaction_all_rows_are_inserted_or_none():
    Parcel.objects.all().delete()
    with pytest.raises(IntegrityError):
        bulk.insert([parcel("a"), parcel("b"), parcel("a")])

    assert not stored().exists()


@pytest.mark.django_db
class TestSave:
    @pytest.fixture
    def three(self):
        return [Parcel.objects.create(key=key) for key in "abc"]

    @pytest.fixture(params=[bulk.save_alike, bulk.save_differing])
    def save(self, request):
        return request.param

    def test_rows_that_were_not_given_are_left_alone(self, save, three):
        for obj in three:
            obj.level = 3

        save(Parcel, three[:2], ["level"])

        assert list(stored().values_list("level", flat=True)) == [3, 3, 0]

    def test_only_the_fields_named_are_written(self, save, three):
        for obj in three:
            obj.level, obj.text = 3, "not this"

        save(Parcel, three, ["level"])

        assert set(stored().values_list("level", "text")) == {(3, "")}

    def test_a_row_that_is_gone_is_a_lost_update(self, save, three):
        Parcel.objects.filter(pk=three[1].pk).delete()

        with pytest.raises(bulk.LostUpdate, match="2 of 3"):
            save(Parcel, three, ["level"])

    def test_a_row_that_moved_meanwhile_is_a_lost_update(self, save, three):
        Parcel.objects.filter(pk=three[1].pk).update(state="sent")
        for obj in three:
            obj.send()

        with pytest.raises(bulk.LostUpdate, match="2 of 3"):
            save(Parcel, three, ["state"], expecting=("state", Parcel.State.PACKED))

    def test_rows_that_hold_what_is_expected_are_written(self, save, three):
        for obj in three:
            obj.send()

        save(Parcel, three, ["state"], expecting=("state", Parcel.State.PACKED))

        assert set(stored().values_list("state", flat=True)) == {"sent"}

    def test_a_row_given_twice_is_a_lost_update(self, save, three):
        with pytest.raises(bulk.LostUpdate):
            save(Parcel, [three[0], three[0]], ["level"])

    def test_a_foreign_key_may_be_named_either_way(self, save, three):
        for obj in three:
            obj.parent = three[0]

        save(Parcel, three[1:2], ["parent"])
        save(Parcel, three[2:], ["parent_id"])

        assert list(stored().values_list("parent", flat=True)) == [None, three[0].pk, three[0].pk]

    def test_nothing_is_asked_for_nothing(self, save, django_assert_num_queries):
        with django_assert_num_queries(0):
            save(Parcel, [], ["level"])

    def test_more_rows_than_one_statement_takes(self, save):
        bulk.insert([parcel(f"{n}") for n in range(1203)])
        objs = list(stored())
        for obj in objs:
            obj.level = 9

        save(Parcel, objs, ["level"], expecting=("level", 0))

        assert stored(level=9).count() == 1203

    def test_a_choice_and_its_plain_value_may_stand_side_by_side(self, save, three):
        three[0].send()
        three[1].text, three[2].text = Parcel.State.SENT, "packed"

        save(Parcel, three, ["text", "state"])

        assert list(stored().values_list("text", flat=True)) == ["", "sent", "packed"]

    @pytest.mark.postgresql  # SQLite has no lengths
    def test_text_that_is_too_long_is_refused_and_not_cut(self, save, three):
        three[0].key = "x" * 41

        with pytest.raises(DataError), transaction.atomic():
            save(Parcel, three, ["key"])


@pytest.mark.django_db
def test_alike_rows_cost_one_update_a_group(django_assert_num_queries):
    objs = [Parcel.objects.create(key=f"{n}") for n in range(20)]
    for n, obj in enumerate(objs):
        obj.level = n % 2

    with django_assert_num_queries(2):
        bulk.save_alike(Parcel, objs, ["level"])

    assert stored(level=1).count() == 10


@pytest.mark.sqlite_only  # it limits the variables of a statement; PostgreSQL takes any number
@pytest.mark.django_db
def test_a_large_group_is_one_update_too(django_assert_num_queries):
    bulk.insert([parcel(f"{n}") for n in range(1203)])

    with django_assert_num_queries(1 + 1):
        bulk.save_alike(Parcel, stored(), ["level"])


@pytest.mark.django_db
def test_differing_rows_cost_one_update_in_all(django_assert_num_queries):
    objs = [Parcel.objects.create(key=f"{n}") for n in range(20)]
    for n, obj in enumerate(objs):
        obj.price, obj.ref = Decimal(n) / 4, UUID(int=n)

    with django_assert_num_queries(1):
        bulk.save_differing(Parcel, objs, ["price", "ref"])

    assert stored().last().price == Decimal("4.75")
