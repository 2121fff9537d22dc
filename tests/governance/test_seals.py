from __future__ import annotations

import base64
import hashlib
import json
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import timedelta

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from django.conf import settings
from django.db import connection, transaction
from hypothesis import given
from hypothesis import strategies as st

from approvals.models import Alert
from governance import courier, ledger, seals
from governance.models import AuditEvent, ChainHead, Heartbeat, Seal, SealedEvent
from governance.verify import findings
from governance.vocabulary import Chain
from tests.factories import MONDAY_9AM

MINUTE, HOUR = timedelta(minutes=1), timedelta(hours=1)
MOMENT = timedelta(microseconds=1)
LATER = MONDAY_9AM + 2 * HOUR


def record(*kinds, chain=Chain.SYSTEM, at=MONDAY_9AM):
    with transaction.atomic():
        act = ledger.Act(now=at, actor="clock")
        for kind in kinds:
            act.record_named(chain, kind)
        act.write()


def exported():
    return [json.loads(line) for line in settings.SEAL_EXPORT.read_text().splitlines()]


class TestTree:
    @given(st.lists(st.binary(max_size=3), max_size=40))
    def test_the_root_is_the_one_rfc_6962_defines(self, leaves):
        """Source: RFC 6962, 2.1, word for word."""

        def mth(d):
            if not d:
                return hashlib.sha256(b"").digest()
            if len(d) == 1:
                return hashlib.sha256(b"\x00" + d[0]).digest()
            k = 1 << (len(d) - 1).bit_length() - 1
            return hashlib.sha256(b"\x01" + mth(d[:k]) + mth(d[k:])).digest()

        tree = seals.MerkleTree()
        for leaf in leaves:
            tree.add(leaf)

        assert (tree.size, tree.root()) == (len(leaves), mth(leaves))

    def test_thirty_thousand_leaves_are_held_in_fifteen_hashes(self):
        tree = seals.MerkleTree()

        for _ in range(2**15 - 1):
            tree.add(b"")

        assert len(tree._subtrees) == 15


@pytest.mark.django_db(transaction=True)
class TestSealing:
    def test_a_seal_covers_every_event_once(self):
        record("worker.restarted", "database.returned")

        assert seals.seal_new_events(MONDAY_9AM) == 2

        seal = Seal.objects.get()
        positions = seal.sealed_events.order_by("event__seq").values_list("position", flat=True)
        assert (seal.number, seal.size, list(positions)) == (1, 2, [0, 1])
        assert seal.prev_hash == ledger.genesis("seals")

    def test_seals_follow_each_other(self):
        record("worker.restarted")
        seals.seal_new_events(MONDAY_9AM)
        record("database.returned")

        seals.seal_new_events(MONDAY_9AM + MINUTE)

        first, second = Seal.objects.order_by("number")
        assert (second.number, second.size, second.prev_hash) == (2, 1, first.hash)
        head = ChainHead.objects.get(name="seals")
        assert (head.length, head.last_hash) == (2, second.hash)

    def test_nothing_is_sealed_twice(self):
        record("worker.restarted")
        seals.seal_new_events(MONDAY_9AM)

        assert seals.seal_new_events(MONDAY_9AM + MINUTE) == 0
        assert Seal.objects.count() == 1

    def test_an_empty_ledger_needs_no_seal(self):
        assert seals.seal_new_events(MONDAY_9AM) == 0
        assert not Seal.objects.exists()

    def test_no_second_seal_a_moment_before_a_minute_is_over(self):
        record("worker.restarted")
        seals.seal_new_events(MONDAY_9AM)
        record("database.returned")

        assert seals.seal_new_events(MONDAY_9AM + MINUTE - MOMENT) == 0
        assert seals.seal_new_events(MONDAY_9AM + MINUTE) == 1

    def test_the_minute_may_be_any_span(self):
        record("worker.restarted")
        seals.seal_new_events(MONDAY_9AM)
        record("database.returned")

        assert seals.seal_new_events(MONDAY_9AM + MOMENT, apart=MOMENT) == 1

    def test_seal_now_waits_for_nothing(self):
        record("worker.restarted")
        seals.seal_now(MONDAY_9AM)
        record("database.returned")

        assert seals.seal_now(MONDAY_9AM) == 1

    def test_a_seal_is_signed_with_the_key_of_the_settings(self):
        record("worker.restarted")

        seals.seal_now(MONDAY_9AM)

        seal = Seal.objects.get()
        public = base64.b64decode(exported()[0]["public_key"])
        assert seal.key_id == hashlib.sha256(public).hexdigest()[:16]
        body = seals.signed_bytes(seal)
        Ed25519PublicKey.from_public_bytes(public).verify(bytes.fromhex(seal.signature), body)
        assert seal.hash == hashlib.sha256(body).hexdigest()

    def test_an_event_that_a_seal_of_the_last_hour_could_not_see_is_sealed(self):
        """What `_settled` leaves out must never be more than what was sealed."""
        for minutes in (0, 30, 60, 90, 120, 150, 180):
            at = MONDAY_9AM + timedelta(minutes=minutes)
            record("worker.restarted", at=at)
            seals.seal_new_events(at)

        floor = seals._settled(at, HOUR)

        newest_settled = Seal.objects.get(sealed_at=at - HOUR)
        assert floor == SealedEvent.objects.get(seal=newest_settled).event_id

    def test_looking_in_vain_counts_as_looking(self, django_assert_num_queries):
        assert seals.seal_new_events(MONDAY_9AM) == 0
        record("worker.restarted")

        with django_assert_num_queries(1):
            assert seals.seal_new_events(MONDAY_9AM + MINUTE - MOMENT) == 0
        assert seals.seal_new_events(MONDAY_9AM + MINUTE) == 1


@pytest.mark.django_db(transaction=True)
class TestExport:
    def test_each_seal_is_a_line_of_the_file(self):
        record("worker.restarted")
        seals.seal_now(MONDAY_9AM)
        record("database.returned")
        seals.seal_now(MONDAY_9AM)

        first, second = exported()

        assert " ".join(first) == (
            "number root size prev_hash hash key_id public_key signature sealed_at"
        )
        assert (second["number"], second["prev_hash"]) == (2, first["hash"])
        assert first["sealed_at"] == "2026-03-02T09:00:00.000000+00:00"

    def test_nothing_is_exported_that_is_rolled_back(self):
        @transaction.atomic
        def seal_and_fail():
            record("worker.restarted")
            seals.seal_now(MONDAY_9AM)
            raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError):
            seal_and_fail()

        assert not settings.SEAL_EXPORT.exists()

    def test_a_file_that_cannot_be_written_is_no_secret_and_is_caught_up_with(self, tmp_path):
        good, settings.SEAL_EXPORT = settings.SEAL_EXPORT, tmp_path
        record("worker.restarted")
        with pytest.raises(IsADirectoryError):
            seals.seal_new_events(MONDAY_9AM)
        settings.SEAL_EXPORT = good

        sealed = seals.seal_new_events(MONDAY_9AM + MINUTE)

        assert (sealed, [line["number"] for line in exported()]) == (0, [1])

    def test_a_folder_that_refuses_is_an_alert_at_once_also_with_nothing_to_seal(self, tmp_path):
        """The alert stands for as long as it refuses, and is closed by the write that succeeds."""
        good = settings.SEAL_EXPORT
        (tmp_path / "folder").write_text(
            ""
        )  # in the place of the folder: what root may not write either
        settings.SEAL_EXPORT = tmp_path / "folder" / "seals.jsonl"

        for _ in range(2):  # the second time there is nothing to seal
            Heartbeat.objects.filter(name="seals").update(beat_at=MONDAY_9AM)
            courier.seal()
            [alert] = Alert.objects.filter(kind="sweep.failed", closed_at__isnull=True)
            assert (alert.key, "Error" in alert.text) == (courier.SEALING, True)
            record("finding.opened")
        settings.SEAL_EXPORT = good
        Heartbeat.objects.filter(name="seals").update(beat_at=MONDAY_9AM)
        courier.seal()

        assert not Alert.objects.filter(closed_at__isnull=True).exists()
        assert len(exported()) == Seal.objects.count()

    def test_a_line_cut_short_by_a_crash_is_written_anew(self):
        for _ in range(2):
            record("worker.restarted")
            seals.seal_now(MONDAY_9AM)
        whole = settings.SEAL_EXPORT.read_bytes()
        settings.SEAL_EXPORT.write_bytes(whole[:-40])

        seals.export()

        assert settings.SEAL_EXPORT.read_bytes() == whole

    def test_a_file_of_another_database_is_refused(self):
        record("worker.restarted")
        seals.seal_now(MONDAY_9AM)
        line = exported()[0] | {"hash": "0" * 64}
        settings.SEAL_EXPORT.write_text(json.dumps(line) + "\n")
        record("database.returned")

        with pytest.raises(seals.ExportFailed, match="move the file away"):
            seals.seal_new_events(MONDAY_9AM + MINUTE)

        assert Seal.objects.count() == 2

    @pytest.mark.parametrize(
        "text",
        [
            "The minutes of the board, without a line's end",
            '{"number": 1, "hash": "of somebody else\'s"',
            "no JSON\n",
            '{"no": "number"}\n',
            "[]\n",
            '{"number": 1e999, "hash": ""}\n',
            '{"number": 99999999999999999999, "hash": ""}\n',
            "[" * 1500 + "\n",
            "\n",
            "\xff\n",
        ],
    )
    def test_a_file_that_is_not_ours_is_refused_and_left_as_it_is(self, text):
        settings.SEAL_EXPORT.parent.mkdir(parents=True, exist_ok=True)
        settings.SEAL_EXPORT.write_text(text)
        record("worker.restarted")

        with pytest.raises(seals.ExportFailed, match="move the file away"):
            seals.seal_now(MONDAY_9AM)

        assert settings.SEAL_EXPORT.read_text() == text
        assert seals.last_exported() is None

    def test_what_stands_after_our_lines_and_is_not_ours_is_refused_and_left_as_it_is(self):
        record("worker.restarted")
        seals.seal_now(MONDAY_9AM)
        with settings.SEAL_EXPORT.open("a") as file:
            file.write("a note that somebody began")
        before = settings.SEAL_EXPORT.read_bytes()
        record("database.returned")

        with pytest.raises(seals.ExportFailed, match="move the file away"):
            seals.seal_new_events(MONDAY_9AM + MINUTE)

        assert settings.SEAL_EXPORT.read_bytes() == before
        assert seals.last_exported() == 1

    @pytest.mark.parametrize("kept", [1, 40, -1])
    def test_a_first_line_cut_short_by_a_crash_is_written_anew(self, kept):
        record("worker.restarted")
        seals.seal_now(MONDAY_9AM)
        whole = settings.SEAL_EXPORT.read_bytes()
        settings.SEAL_EXPORT.write_bytes(whole[:kept])

        seals.export()

        assert settings.SEAL_EXPORT.read_bytes() == whole

    def test_exporting_again_adds_nothing(self):
        record("worker.restarted")
        seals.seal_now(MONDAY_9AM)

        seals.export()

        assert len(exported()) == 1


def closing_connection(call, *arguments):
    """Call from another thread."""
    try:
        return call(*arguments)
    finally:
        connection.close()


def until_somebody_waits_for_us():
    deadline = time.monotonic() + 10
    waiting = "SELECT count(*) FROM pg_locks WHERE pg_backend_pid() = ANY(pg_blocking_pids(pid))"
    with connection.cursor() as cursor:
        while time.monotonic() < deadline:
            if cursor.execute(waiting).fetchone() != (0,):
                return
    raise TimeoutError("nobody waits for us")


@contextmanager
def uncommitted(kind):
    """Have another connection record an event, and commit it when the block is left."""
    written, let_go = threading.Event(), threading.Event()

    def write():
        try:
            with transaction.atomic():
                record(kind, chain=Chain.POLICY)
                written.set()
                let_go.wait(timeout=10)
        finally:
            connection.close()

    writer = threading.Thread(target=write)
    writer.start()
    try:
        assert written.wait(timeout=5)
        yield
    finally:
        let_go.set()
        writer.join()


@pytest.mark.django_db(transaction=True)
class TestAtOnce:
    @pytest.mark.parametrize("_round", range(10))
    def test_of_two_sealers_one_seals_and_one_finds_it_done(self, race, _round):
        record("worker.restarted", "database.returned")

        outcomes = race(*[lambda: seals.seal_new_events(MONDAY_9AM)] * 2)

        assert sorted(outcomes, key=str) == [0, 2]
        assert Seal.objects.count() == len(exported()) == 1

    @pytest.mark.parametrize("_round", range(5))
    def test_sealers_at_once_share_the_events(self, race, _round):
        def write_and_seal():
            record("worker.restarted")
            return seals.seal_now(MONDAY_9AM)

        outcomes = race(*[write_and_seal] * 3)

        assert sum(outcomes) == 3
        assert list(findings(LATER)) == []

    @pytest.mark.postgresql
    def test_a_sealer_who_had_to_wait_for_another_looks_at_the_clock_again(self):
        record("worker.restarted")
        with ThreadPoolExecutor(1) as pool:
            with transaction.atomic():
                first = seals.seal_new_events(MONDAY_9AM)
                record("database.returned")
                second = pool.submit(closing_connection, seals.seal_new_events, MONDAY_9AM)
                until_somebody_waits_for_us()

            assert (first, second.result(timeout=10)) == (1, 0)

    @pytest.mark.postgresql
    def test_an_event_that_commits_after_a_seal_is_left_for_the_next(self):
        """Its id is lower than those in the seal, and the seal must stay good."""
        with uncommitted("policy.activated"):
            record("worker.restarted")
            early = seals.seal_new_events(MONDAY_9AM)

        late = seals.seal_new_events(MONDAY_9AM + MINUTE)

        assert (early, late) == (1, 1)
        by_id = AuditEvent.objects.order_by("pk").values_list("kind", "sealed__seal")
        assert list(by_id) == [("policy.activated", 2), ("worker.restarted", 1)]
        assert list(findings(LATER)) == []

    @pytest.mark.postgresql
    def test_an_event_an_hour_late_is_found_however_many_seals_were_made_meanwhile(self):
        for minutes in range(0, 120, 20):
            record("worker.restarted")
            seals.seal_new_events(MONDAY_9AM - 2 * HOUR + timedelta(minutes=minutes))
        with uncommitted("policy.activated"):
            for minutes in range(0, 60, 10):
                record("worker.restarted")
                seals.seal_new_events(MONDAY_9AM + timedelta(minutes=minutes))

        late = seals.seal_new_events(MONDAY_9AM + 10 * HOUR)

        assert late == 1
        assert list(findings(MONDAY_9AM + 12 * HOUR)) == []
