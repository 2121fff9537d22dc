"""The whole record is read again each day and when an auditor asks, in sittings, and what was found stays."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.db import connection, transaction
from django_q.models import OrmQ

from governance import seals, stopping, verifications
from governance.audits import record_not_as_written, record_not_read
from governance.errors import NotYours
from governance.ledger import Act
from governance.models import AuditEvent, Heartbeat, SealedEvent, Verification
from governance.verify import findings
from governance.vocabulary import Chain
from tests.factories import MONDAY_9AM, PersonFactory, RoleFactory
from tests.ledger_flush import lifted

pytestmark = pytest.mark.django_db
HOUR = timedelta(hours=1)
CHAINS = (Chain.ACTIONS, Chain.PEOPLE, Chain.POLICY)


@pytest.fixture
def auditor():
    person = PersonFactory(username="auditor")
    person.roles.add(RoleFactory(key="auditor"))
    return person


@pytest.fixture
def record():
    """Three chains of two events, each chain sealed by itself."""
    for chain in CHAINS:
        for _ in range(2):
            act = Act(now=MONDAY_9AM, actor="clock")
            act.record_named(chain, "person.entered")
            with transaction.atomic():
                act.write()
        seals.seal_now(MONDAY_9AM)
    seals.export()  # as the commit would


def sit_at_once(now=MONDAY_9AM):
    """Read as little as a sitting may, until it is done. Returns how many sittings it took."""
    before = Verification.objects.count()
    for sitting in range(1, 50):
        verifications.sit(now=now, enough=lambda: True)
        if Verification.objects.count() > before:
            return sitting
    raise AssertionError("it never came to an end")


def edit(chain, seq):
    with lifted(connection):
        AuditEvent.objects.filter(chain=chain, seq=seq).update(actor="person:somebody")


def test_a_whole_reading_leaves_a_row_and_an_event(record):
    verifications.sit(now=MONDAY_9AM, enough=lambda: False)

    row = Verification.objects.get()
    assert (row.events, row.chains, row.seals, row.found) == (6, 3, 3, 0)
    assert (row.asked_by, row.ended_at) == ("clock", MONDAY_9AM)
    event = AuditEvent.objects.get(kind="ledger.verified")
    assert (event.chain, event.actor, event.facts["events"]) == ("system", "clock", 6)
    assert verifications.under_way() is None


def test_sittings_find_what_one_reading_finds(record):
    edit("actions", 1)
    edit("policy", 2)
    with lifted(connection):
        SealedEvent.objects.filter(seal=2, position=1).delete()
    at_once = [[*each] for each in findings(MONDAY_9AM)]

    sittings = sit_at_once()

    row = Verification.objects.get()
    assert sittings >= 6  # a chain or a seal each
    assert row.findings == at_once
    assert row.found == len(at_once) == 3
    assert (row.events, row.chains, row.seals) == (6, 3, 3)


def test_between_sittings_it_says_how_far_it_came(record):
    verifications.sit(now=MONDAY_9AM, enough=lambda: True)

    reading = verifications.under_way()

    assert (reading["events"], reading["chains"], reading["begun_at"]) == (2, 1, MONDAY_9AM)
    assert not Verification.objects.exists()


def test_of_two_who_read_the_same_one_is_kept(record):
    first = Heartbeat.objects.filter(name=verifications.SIGN).first()
    verifications.sit(now=MONDAY_9AM, enough=lambda: True)
    facts = {**verifications.under_way(), "reached": None}

    assert verifications._keep(first, facts, MONDAY_9AM) is False
    assert verifications.under_way()["events"] == 2


def test_what_is_found_is_a_finding_until_a_reading_is_clean(record):
    edit("people", 1)
    sit_at_once()

    (found,) = record_not_as_written(MONDAY_9AM)
    assert found.text.startswith("people 1: was edited")

    actor = AuditEvent.objects.get(chain="people", seq=2).actor
    with lifted(connection):
        AuditEvent.objects.filter(chain="people", seq=1).update(actor=actor)
    sit_at_once(MONDAY_9AM + HOUR)

    assert list(record_not_as_written(MONDAY_9AM + HOUR)) == []
    assert [row.found for row in Verification.objects.order_by("pk")] == [1, 0]


def test_a_record_that_nobody_reads_is_a_finding(record):
    assert list(record_not_read(MONDAY_9AM)) == []  # it is being read for the first time
    sit_at_once()
    late = MONDAY_9AM + timedelta(seconds=verifications.LATE_S)

    assert list(record_not_read(late)) == []
    (found,) = record_not_read(late + timedelta(microseconds=1))
    assert "02 Mar 09:00" in found.text


def test_a_record_that_nobody_ever_read_is_a_finding_two_days_after_it_began(record):
    late = MONDAY_9AM + timedelta(seconds=verifications.LATE_S)

    assert list(record_not_read(late)) == []
    (found,) = record_not_read(late + timedelta(microseconds=1))
    assert "nobody ever read it" in found.text
    sit_at_once(late)
    assert list(record_not_read(late + timedelta(microseconds=1))) == []


@pytest.mark.parametrize("rows", [1, 3, 5, 8, 11])
def test_a_worker_that_is_to_end_stops_within_a_chain_or_a_seal_and_keeps_nothing(
    record, monkeypatch, rows
):
    monkeypatch.setattr("governance.verify.ASKED_EACH", 1)
    verifications.sit(now=MONDAY_9AM, enough=lambda: True)
    before, asked = verifications.under_way(), []

    def ends():
        asked.append(True)
        return len(asked) > rows

    assert verifications.sit(now=MONDAY_9AM, enough=lambda: False, ends=ends) == 0

    assert len(asked) == rows + 1
    assert verifications.under_way() == before
    assert sit_at_once() > 1
    assert (Verification.objects.get().events, Verification.objects.get().found) == (6, 0)


def test_a_worker_that_is_to_end_stops_within_one_long_chain(monkeypatch):
    act = Act(now=MONDAY_9AM, actor="clock")
    for _ in range(1200):
        act.record_named(Chain.POLICY, "person.entered")
    with transaction.atomic():
        act.write()
    read = []

    def ends():
        read.append(True)
        return len(read) > 2

    assert verifications.sit(now=MONDAY_9AM, enough=lambda: False, ends=ends) == 0
    assert verifications.under_way() is None


def test_the_task_asks_whether_the_worker_is_to_end(record, monkeypatch):
    monkeypatch.setattr(stopping, "_asked", True)

    assert verifications.read_on() == 0

    assert verifications.under_way() is None


def test_findings_are_kept_to_a_number_and_all_are_counted(record, monkeypatch):
    monkeypatch.setattr(verifications, "KEPT", 1)
    edit("people", 1)
    edit("policy", 1)

    sit_at_once()

    row = Verification.objects.get()
    assert (row.found, len(row.findings)) == (2, 1)


def test_the_worker_is_called_for_the_first_reading_and_then_each_day(record):
    day = timedelta(seconds=verifications.EVERY_S)
    assert verifications.call_for_verification(now=MONDAY_9AM) == 1
    assert OrmQ.objects.count() == 1
    sit_at_once()
    OrmQ.objects.all().delete()

    assert verifications.call_for_verification(now=MONDAY_9AM + day - HOUR) == 0
    assert verifications.call_for_verification(now=MONDAY_9AM + day) == 1


def test_the_worker_is_called_again_while_a_reading_is_under_way(record):
    verifications.sit(now=MONDAY_9AM, enough=lambda: True)

    assert verifications.call_for_verification(now=MONDAY_9AM + HOUR) == 1


def test_an_auditor_has_it_read_now(record, auditor):
    sit_at_once()

    verifications.ask(actor=auditor, now=MONDAY_9AM + HOUR)

    assert AuditEvent.objects.filter(kind="ledger.verification_asked").count() == 1
    with pytest.raises(verifications.UnderWay, match="being read already"):
        verifications.ask(actor=auditor, now=MONDAY_9AM + HOUR)
    sit_at_once(MONDAY_9AM + HOUR)
    assert Verification.objects.order_by("pk").last().asked_by == "person:auditor"


def test_nobody_else_has(record):
    with pytest.raises(NotYours, match="Auditors read the record"):
        verifications.ask(actor=PersonFactory(), now=MONDAY_9AM)

    assert not Heartbeat.objects.filter(name=verifications.SIGN).exists()
