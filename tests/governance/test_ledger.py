from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime, timedelta, timezone
from decimal import Decimal
from uuid import UUID

import pytest
from django.db import IntegrityError, connection, transaction

from governance import ledger
from governance.errors import Unprocessable
from governance.models import AuditEvent, ChainHead, Seal, SealedEvent
from governance.vocabulary import Chain, Level, Severity
from tests.factories import MONDAY_9AM
from tests.ledger_flush import lifted

CET = timezone(timedelta(hours=1))
REF = "0190f3a2-7c1e-7d3a-9a55-0c6f5d1c2b10"

pytestmark = pytest.mark.django_db


@dataclass
class Holder:
    """What a request is to the ledger."""

    chain_name: str = REF
    chain_length: int = 0
    chain_hash: str = ""


def act(**values):
    return ledger.Act(**{"now": MONDAY_9AM, "actor": "clock", **values})


def record(holder, *kinds):
    one = act()
    for kind in kinds:
        one.record(holder, kind)
    one.write()


class TestRecord:
    def test_an_event_says_who_did_what_when_and_for_whom(self):
        one = act(actor="agent:ap-agent", on_behalf_of="person:7 AP Clerk")

        one.record(Holder(), "request.submitted", amount=Decimal("12000.00"))
        one.write()

        event = AuditEvent.objects.get()
        assert (event.chain, event.seq, event.kind) == (REF, 1, "request.submitted")
        assert (event.actor, event.on_behalf_of) == ("agent:ap-agent", "person:7 AP Clerk")
        assert (event.at, event.facts) == (MONDAY_9AM, {"amount": "12000.00"})

    def test_all_events_of_one_act_share_one_cause(self):
        one = act()
        one.record(Holder(), "step.expired")
        one.record(Holder(chain_name="another"), "step.opened")
        one.record_named(Chain.SYSTEM, "worker.restarted")

        one.write()

        assert AuditEvent.objects.values("cause").distinct().count() == 1

    def test_a_cause_may_be_that_of_an_earlier_act(self):
        cause = UUID(int=7)

        one = act(cause=cause)
        one.record(Holder(), "step.expired")
        one.write()

        assert AuditEvent.objects.get().cause == cause

    def test_each_event_holds_the_hash_of_the_one_before(self):
        holder = Holder()

        record(holder, "request.submitted", "step.opened")
        record(holder, "step.expired")

        first, second, third = AuditEvent.objects.order_by("seq")
        assert [first.seq, second.seq, third.seq] == [1, 2, 3]
        assert first.prev_hash == ledger.genesis(REF)
        assert (second.prev_hash, third.prev_hash) == (first.hash, second.hash)

    def test_the_head_moves_on_the_holder_in_memory(self):
        holder = Holder()

        record(holder, "request.submitted", "step.opened")

        last = AuditEvent.objects.get(seq=2)
        assert (holder.chain_length, holder.chain_hash) == (2, last.hash)

    def test_the_hash_can_be_computed_again_from_what_was_stored(self):
        facts = {"note": 'naïve €𝄞\n"', "late": timedelta(seconds=90), "path": [1, None, True]}
        one = act(now=MONDAY_9AM + timedelta(microseconds=1))
        one.record(Holder(), "step.expired", **facts)
        one.write()

        e = AuditEvent.objects.get()

        parts = e.chain, e.seq, e.kind, e.actor, e.on_behalf_of, e.facts, e.cause, e.at, e.prev_hash
        assert ledger.event_hash(*parts) == e.hash

    def test_a_long_name_stops_nobody(self):
        one = act(actor=f"person:12 {'x' * 150}")
        one.record(Holder(), "step.decided")

        one.write()

        assert AuditEvent.objects.get().actor.startswith("person:12 xxx")

    def test_facts_may_be_called_what_the_arguments_are(self):
        one = act()

        one.record(Holder(), "notice.delivered", kind="mail", holder="x", self="y")
        one.write()

        assert AuditEvent.objects.get().facts == {"kind": "mail", "holder": "x", "self": "y"}

    def test_nothing_stands_before_it_is_written(self):
        act().record(Holder(), "step.expired")

        assert not AuditEvent.objects.exists()

    def test_writing_twice_writes_once(self):
        one = act()
        one.record(Holder(), "step.expired")
        one.record_named(Chain.POLICY, "policy.activated")

        one.write()
        one.write()

        assert AuditEvent.objects.count() == 2

    def test_two_chains_do_not_begin_alike(self):
        assert ledger.genesis("policy") != ledger.genesis("people")

    def test_two_events_in_one_place_are_refused_whatever_the_writers_held(self):
        first, second = Holder(), Holder()
        record(first, "step.expired")

        with pytest.raises(IntegrityError), transaction.atomic():
            record(second, "step.decided")


class TestNamedChains:
    def test_a_named_chain_goes_on_where_it_was(self):
        for kind in ("policy.drafted", "policy.activated"):
            one = act()
            one.record_named(Chain.POLICY, kind)
            one.write()

        head = ChainHead.objects.get()
        first, second = AuditEvent.objects.order_by("seq")
        assert (second.chain, second.seq, second.prev_hash) == ("policy", 2, first.hash)
        assert (head.name, head.length, head.last_hash) == ("policy", 2, second.hash)

    def test_named_events_come_after_the_requests_own(self):
        one = act()
        one.record_named(Chain.SYSTEM, "worker.restarted")
        one.record(Holder(), "step.expired")

        one.write()

        kinds = AuditEvent.objects.order_by("pk").values_list("kind", flat=True)
        assert list(kinds) == ["step.expired", "worker.restarted"]

    def test_several_acts_are_written_at_once(self, django_assert_max_num_queries):
        holders = [Holder(chain_name=f"request {n}") for n in range(50)]
        acts = [act() for _ in holders]
        for one, holder in zip(acts, holders, strict=True):
            one.record(holder, "step.expired")
            one.record_named(Chain.SYSTEM, "worker.restarted")

        # Look, make the head, lock, events (COPY is not counted), head; and two savepoints.
        with django_assert_max_num_queries(7):
            ledger.write(acts)

        assert AuditEvent.objects.count() == 100
        assert ChainHead.objects.get().length == 50

    def test_heads_are_locked_in_the_order_of_their_names(self):
        heads = ledger.lock_heads([Chain.SYSTEM, Chain.ACTIONS, Chain.POLICY])

        assert [head.name for head in heads] == ["actions", "policy", "system"]


class TestFacts:
    @pytest.mark.parametrize(
        ("fact", "kept"),
        [
            (MONDAY_9AM.astimezone(CET), "2026-03-02T09:00:00.000000+00:00"),
            (date(2026, 3, 2), "2026-03-02"),
            (timedelta(minutes=1, milliseconds=999), 60),
            (timedelta(milliseconds=-1), -1),
            (Decimal("12000.00"), "12000.00"),
            (UUID(int=0), "00000000-0000-0000-0000-000000000000"),
            (Level.L2, 2),
            (Severity.HIGH, "high"),
            ((1, Decimal("2")), [1, "2"]),
            ({"a": {"b": Level.L0}}, {"a": {"b": 0}}),
            (None, None),
            (True, True),
        ],
    )  # fmt: skip
    def test_a_fact_is_kept_as_json_holds_it(self, fact, kept):
        assert ledger.plain(fact) == kept
        assert type(ledger.plain(fact)) is type(kept)

    @pytest.mark.parametrize("fact", [1.5, object(), {1, 2}, b"x", {"é": 1}, {1: 1}])
    def test_anything_else_is_a_defect(self, fact):
        with pytest.raises(TypeError):
            act().record(Holder(), "step.expired", fact=fact)

    @pytest.mark.parametrize("note", ["a\0b", "\ud800"])
    def test_text_that_no_database_holds_is_refused(self, note):
        with pytest.raises(Unprocessable):
            act().record(Holder(), "step.decided", note=note)

    def test_an_instant_without_a_zone_is_a_defect(self):
        with pytest.raises(ValueError, match="time zone"):
            act(now=datetime(2026, 3, 2, 9, 0)).record(Holder(), "step.expired")  # noqa: DTZ001


@pytest.mark.django_db(transaction=True)
class TestTransactions:
    def test_the_ledger_is_not_written_outside_one(self):
        one = act()
        one.record(Holder(), "step.expired")

        with pytest.raises(RuntimeError, match="transaction"):
            one.write()

    def test_what_is_rolled_back_was_never_recorded(self):
        class Trouble(Exception):
            pass

        @transaction.atomic
        def fail_after_writing():
            one = act()
            one.record_named(Chain.SYSTEM, "worker.restarted")
            one.write()
            raise Trouble

        with pytest.raises(Trouble):
            fail_after_writing()

        assert not AuditEvent.objects.exists()
        assert not ChainHead.objects.exists()

    @pytest.mark.parametrize("_round", range(5))
    def test_writers_of_one_named_chain_queue_even_for_its_first_event(self, race, _round):
        @transaction.atomic
        def write():
            one = act()
            one.record_named(Chain.PEOPLE, "person.entered")
            one.record_named(Chain.ACTIONS, "action_type.entered")
            one.write()

        assert race(*[write] * 4) == [None] * 4

        heads = ChainHead.objects.values_list("name", "length")
        assert set(heads) == {("people", 4), ("actions", 4)}
        assert AuditEvent.objects.count() == 8


class TestAppendOnly:
    """Held by the database, no. 8: each of its three tables refuses each way of changing a row."""

    @pytest.fixture
    def sealed(self):
        record(Holder(), "request.submitted")
        event = AuditEvent.objects.get()
        seal = Seal.objects.create(
            number=1,
            root="",
            size=1,
            prev_hash="",
            hash="",
            key_id="",
            signature="",
            sealed_at=MONDAY_9AM,
        )
        SealedEvent.objects.create(event=event, seal=seal, position=0)
        connection.check_constraints()  # PostgreSQL truncates no table with checks to come

    def refuses(self, sql):
        refused = pytest.raises(IntegrityError, match="append-only")
        with refused, transaction.atomic(), connection.cursor() as cursor:
            cursor.execute(sql)

    @pytest.fixture(params=[AuditEvent, Seal, SealedEvent])
    def model(self, request, sealed):
        return request.param

    def test_no_row_is_updated(self, model):
        pk = model._meta.pk.column

        self.refuses(f"UPDATE {model._meta.db_table} SET {pk} = {pk}")

    def test_no_row_is_deleted(self, model):
        self.refuses(f"DELETE FROM {model._meta.db_table}")

        assert model.objects.count() == 1

    def test_an_object_cannot_be_saved_again(self, model):
        with pytest.raises(IntegrityError, match="append-only"), transaction.atomic():
            model.objects.get().save()

    @pytest.mark.postgresql
    def test_no_table_is_truncated(self, model):
        self.refuses(f"TRUNCATE {model._meta.db_table} CASCADE")

    @pytest.mark.postgresql
    def test_no_row_is_updated_by_an_insert(self, model):
        table, pk = model._meta.db_table, model._meta.pk.column

        self.refuses(
            f"INSERT INTO {table} SELECT * FROM {table}"
            f" ON CONFLICT ({pk}) DO UPDATE SET {pk} = excluded.{pk}"
        )

    @pytest.mark.sqlite_only
    def test_no_row_is_replaced(self, model):
        table = model._meta.db_table

        self.refuses(f"INSERT OR REPLACE INTO {table} SELECT * FROM {table}")
        self.refuses(f"REPLACE INTO {table} SELECT * FROM {table}")

    def test_the_triggers_come_back_when_they_were_lifted(self, model):
        with lifted(connection):
            model.objects.filter(pk=None).delete()

        self.refuses(f"DELETE FROM {model._meta.db_table}")


@pytest.mark.parametrize("_twice", range(2))
@pytest.mark.django_db(transaction=True)
def test_a_committing_test_leaves_an_empty_ledger_behind(_twice):
    assert not AuditEvent.objects.exists()
    with transaction.atomic():
        record(Holder(), "request.submitted")

    with pytest.raises(IntegrityError, match="append-only"):
        AuditEvent.objects.all()._raw_delete("default")
