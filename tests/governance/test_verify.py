"""Every kind of tampering, done as a database's owner could: with the triggers off."""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass
from datetime import timedelta
from uuid import uuid4

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from django.conf import settings as django_settings
from django.core.management import CommandError, call_command
from django.db import connection, transaction

from governance import ledger, ledger_triggers, seals
from governance.models import AuditEvent, ChainHead, Seal, SealedEvent
from governance.verify import Finding, Totals, findings
from governance.vocabulary import Chain
from tests.factories import MONDAY_9AM
from tests.ledger_flush import lifted

HOUR = timedelta(hours=1)
LATER = MONDAY_9AM + 2 * HOUR
REF = "0190f3a2-7c1e-7d3a-9a55-0c6f5d1c2b10"

pytestmark = pytest.mark.django_db(transaction=True)


@dataclass
class Holder:
    """What a request is to the ledger."""

    chain_name: str
    chain_length: int = 0
    chain_hash: str = ""


HEADS = []


def chain_heads():
    """Stand in for the package above, whose requests are the heads of their chains."""
    for holder in sorted(HEADS, key=lambda holder: holder.chain_name):
        yield holder.chain_name, holder.chain_length, holder.chain_hash


@pytest.fixture(autouse=True)
def heads(settings):
    settings.RECOURSE_CHAIN_HEADS = ["tests.governance.test_verify.chain_heads"]
    HEADS.clear()
    yield HEADS
    HEADS.clear()


@pytest.fixture
def request_row(heads):
    """A request with three events, all sealed."""
    holder = Holder(REF)
    heads.append(holder)
    record(holder, "request.submitted", "step.opened", "step.decided")
    seals.seal_now(MONDAY_9AM)
    return holder


@pytest.fixture
def policy(request_row):
    """A named chain beside it, of three events in three more seals."""
    for kind in ("policy.drafted", "policy.signed", "policy.activated"):
        record_named(Chain.POLICY, kind)
        seals.seal_now(MONDAY_9AM)


@transaction.atomic
def record(holder, *kinds):
    act = ledger.Act(now=MONDAY_9AM, actor="clock")
    for kind in kinds:
        act.record(holder, kind, n=1)
    act.write()


@transaction.atomic
def record_named(chain, kind):
    act = ledger.Act(now=MONDAY_9AM, actor="clock")
    act.record_named(chain, kind)
    act.write()


def event(chain, seq):
    return AuditEvent.objects.filter(chain=chain, seq=seq)


def tamper(rows, **values):
    with lifted(connection):
        assert rows.update(**values) == 1


def delete(*rows):
    """Delete rows and the leaves that stand for them."""
    with lifted(connection):
        for one in rows:
            SealedEvent.objects.filter(event__in=one).delete()
            one._raw_delete("default")


def rehash(chain, seq):
    """Compute an event's hash anew, as a forger would who knows how."""
    e = event(chain, seq).get()
    parts = e.chain, e.seq, e.kind, e.actor, e.on_behalf_of, e.facts, e.cause, e.at, e.prev_hash
    tamper(event(chain, seq), hash=ledger.event_hash(*parts))
    return event(chain, seq).get().hash


def found():
    return list(findings(LATER))


def places():
    return [(finding.chain, finding.seq) for finding in found()]


class TestClean:
    def test_an_empty_ledger_is_clean(self):
        assert found() == []

    def test_what_was_only_written_is_clean_and_counted(self, policy):
        totals = Totals()

        assert list(findings(LATER, totals)) == []
        assert totals == Totals(events=6, chains=2, seals=4)

    def test_it_can_be_asked_within_a_transaction(self, policy):
        with transaction.atomic():
            assert found() == []

    def test_without_heads_of_requests_their_chains_are_still_read(self, policy, settings):
        settings.RECOURSE_CHAIN_HEADS = []
        assert found() == []

        tamper(event(REF, 2), kind="step.expired")

        assert places() == [(REF, 2)]

    def test_it_leaves_the_connection_as_it_was(self, policy):
        next(findings(LATER + HOUR), None)

        with transaction.atomic():
            record_named(Chain.SYSTEM, "worker.restarted")

    def test_chains_are_read_in_one_order_on_every_database(self, heads):
        for name in ("b-1", "B", "a", "a_b", "A9", "é"):
            heads.append(Holder(name))
            record(heads[-1], "request.submitted")
        seals.seal_now(MONDAY_9AM)

        assert found() == []


class TestEvents:
    @pytest.mark.parametrize(
        "change",
        [
            {"kind": "step.expired"},
            {"actor": "person:1 Somebody Else"},
            {"on_behalf_of": "person:1"},
            {"facts": {"n": 2}},
            {"facts": {"n": 1.5}},
            {"facts": [1]},
            {"cause": uuid4()},
            {"at": MONDAY_9AM + timedelta(microseconds=1)},
        ],
        ids=lambda change: ",".join(change),
    )
    def test_an_edit_is_found_where_it_was_made(self, policy, change):
        tamper(event(REF, 2), **change)

        assert found() == [Finding(REF, 2, "was edited: its content does not give its hash")]

    def test_an_edit_with_its_hash_computed_anew_breaks_the_next_link_and_the_seal(self, policy):
        tamper(event(REF, 2), actor="person:1 Somebody Else")
        rehash(REF, 2)

        assert found() == [
            Finding(REF, 3, "does not follow the event before it"),
            Finding("seals", 1, "its events do not give its root"),
        ]

    def test_a_chain_computed_anew_to_its_head_breaks_the_seal(self, policy, request_row):
        tamper(event(REF, 2), actor="person:1 Somebody Else")
        tamper(event(REF, 3), prev_hash=rehash(REF, 2))
        request_row.chain_hash = rehash(REF, 3)

        assert found() == [Finding("seals", 1, "its events do not give its root")]

    def test_a_deletion_is_found(self, policy):
        delete(event(REF, 2))

        assert found() == [
            Finding(REF, 2, "event 2 is missing"),
            Finding("seals", 1, "lost its leaf 1, or the event it stood for"),
        ]

    def test_several_deletions_in_a_row_are_one_finding(self, policy):
        delete(event(REF, 1), event(REF, 2))

        assert found()[0] == Finding(REF, 1, "events 1 to 2 are missing")

    def test_a_cut_tail_shows_against_the_head(self, policy):
        delete(event(REF, 2), event(REF, 3))

        assert found()[0] == Finding(REF, 2, "events 2 to 3 are missing at the end")

    def test_a_cut_tail_of_a_named_chain_shows(self, policy):
        delete(event("policy", 3))

        assert found() == [
            Finding("policy", 3, "event 3 is missing at the end"),
            Finding("seals", 4, "lost its leaf 0, or the event it stood for"),
        ]

    def test_a_cut_tail_with_the_head_moved_back_shows_in_the_seals(self, policy, request_row):
        delete(event(REF, 3))
        request_row.chain_length, request_row.chain_hash = 2, event(REF, 2).get().hash

        assert found() == [Finding("seals", 1, "lost its leaf 2, or the event it stood for")]

    def test_a_chain_that_is_gone_shows(self, policy):
        delete(event(REF, 1), event(REF, 2), event(REF, 3))

        assert found()[0] == Finding(REF, 1, "events 1 to 3 are missing: the whole chain")

    def test_two_events_that_changed_places_show(self, policy):
        tamper(event(REF, 2), seq=99)
        tamper(event(REF, 3), seq=2)
        tamper(event(REF, 99), seq=3)

        assert set(places()) == {(REF, 2), (REF, 3)}

    def test_an_event_moved_to_another_chain_shows_in_both(self, policy):
        tamper(event(REF, 3), chain="policy", seq=4)

        assert set(places()) == {(REF, 3), ("policy", 4)}

    def test_an_event_slipped_in_at_the_end_shows(self, policy, request_row):
        forger = Holder(REF, request_row.chain_length, request_row.chain_hash)
        record(forger, "step.decided")

        assert found()[0] == Finding(REF, 4, "the chain's head knows only 3 events")

    def test_a_chain_without_a_head_shows(self, policy, heads):
        heads.clear()

        assert found() == [Finding(REF, 1, "the chain has events and no head")]

    def test_a_named_chain_without_a_head_shows(self, policy):
        ChainHead.objects.filter(name="policy").delete()

        assert found() == [Finding("policy", 1, "the chain has events and no head")]

    def test_a_head_that_names_another_event_shows(self, policy):
        ChainHead.objects.filter(name="policy").update(last_hash="0" * 64)

        assert found() == [Finding("policy", 3, "is not the event that the chain's head names")]

    @pytest.mark.sqlite_only
    def test_a_value_its_column_cannot_hold_is_found_where_reading_ended(self, policy):
        with lifted(connection), connection.cursor() as cursor:
            cursor.execute(
                "UPDATE governance_auditevent SET cause = 'x' WHERE chain = 'policy' AND seq = 2"
            )

        [finding] = found()

        assert (finding.chain, finding.seq) == ("policy", 1)
        assert finding.what.startswith("what follows cannot be read")

    def test_heads_out_of_order_are_a_defect_and_no_finding(self, policy, heads, settings):
        heads.append(Holder("a"))
        settings.RECOURSE_CHAIN_HEADS = ["tests.governance.test_verify.heads_backwards"]

        with pytest.raises(ValueError, match="comes after"):
            found()


def heads_backwards():
    return reversed(list(chain_heads()))


class TestUnsealed:
    def test_an_event_may_wait_an_hour_for_its_seal_and_no_longer(self, heads):
        record_named(Chain.SYSTEM, "worker.restarted")

        assert list(findings(MONDAY_9AM + HOUR)) == []
        assert list(findings(MONDAY_9AM + HOUR + timedelta(microseconds=1))) == [
            Finding("system", 1, "has not been sealed for over an hour")
        ]

    def test_a_leaf_taken_off_an_event_shows_on_both_sides(self, policy):
        with lifted(connection):
            SealedEvent.objects.filter(event__chain=REF, event__seq=2).delete()

        assert found() == [
            Finding(REF, 2, "has not been sealed for over an hour"),
            Finding("seals", 1, "lost its leaf 1, or the event it stood for"),
        ]


class TestSeals:
    @pytest.mark.parametrize(
        "change",
        [{"root": "0" * 64}, {"size": 2}, {"sealed_at": LATER}],
        ids=lambda change: str(*change),
    )
    def test_an_edited_seal_shows(self, policy, change):
        tamper(Seal.objects.filter(number=2), **change)

        assert {("seals", 2)} < set(places())
        assert Finding("seals", 2, "was edited: its content does not give its hash") in found()
        assert Finding("seals", 2, "its signature is not good") in found()

    def test_a_seal_edited_with_its_hash_lacks_a_good_signature(self, policy):
        tamper(Seal.objects.filter(number=4), root="0" * 64)
        forged = seals.hashlib.sha256(seals.signed_bytes(Seal.objects.get(number=4))).hexdigest()
        tamper(Seal.objects.filter(number=4), hash=forged)
        ChainHead.objects.filter(name="seals").update(last_hash=forged)

        assert found() == [
            Finding("seals", 4, "its signature is not good"),
            Finding("seals", 4, "its events do not give its root"),
            Finding("export", 4, "the exported seal is not the database's"),
        ]

    @pytest.mark.parametrize("signature", ["", "xyz", "00" * 64])
    def test_a_bad_signature_shows(self, policy, signature):
        tamper(Seal.objects.filter(number=2), signature=signature)

        assert Finding("seals", 2, "its signature is not good") in found()

    def test_a_seal_signed_with_another_key_shows(self, policy, settings):
        with lifted(connection):
            SealedEvent.objects.filter(seal=4).delete()
            Seal.objects.filter(number=4).delete()
        third = Seal.objects.get(number=3)
        ChainHead.objects.filter(name="seals").update(length=3, last_hash=third.hash)
        ours = settings.SEAL_KEY
        settings.SEAL_KEY = base64.b64encode(b"7" * 32).decode()
        settings.SEAL_EXPORT.unlink()
        seals.seal_now(MONDAY_9AM)
        settings.SEAL_KEY = ours

        key_id = Seal.objects.get(number=4).key_id
        assert Finding("seals", 4, f"is signed with key {key_id}, which is not ours") in found()

    def test_a_retired_key_is_believed_where_the_settings_name_it(self, policy, settings):
        retired = Ed25519PrivateKey.from_private_bytes(base64.b64decode(settings.SEAL_KEY))
        settings.SEAL_KEY = base64.b64encode(b"7" * 32).decode()
        assert ("seals", 1) in places()

        public = retired.public_key().public_bytes_raw()
        settings.SEAL_RETIRED_KEYS = [base64.b64encode(public).decode()]

        assert found() == []

    def drop_seal(self, number):
        with lifted(connection):
            SealedEvent.objects.filter(seal=number).delete()
            Seal.objects.filter(number=number).delete()

    def test_a_deleted_seal_shows(self, policy):
        self.drop_seal(2)

        assert found() == [
            Finding("policy", 1, "has not been sealed for over an hour"),
            Finding("seals", 2, "seal 2 is missing"),
            Finding("export", 2, "the exported file has this seal and the database has not"),
        ]

    def test_seals_cut_off_at_the_end_show(self, policy):
        self.drop_seal(4)
        self.drop_seal(3)

        assert Finding("seals", 3, "seals 3 to 4 are missing at the end") in found()
        assert ("export", 3) in places()
        assert ("export", 4) in places()

    def test_seals_cut_off_with_their_head_moved_back_show_in_the_exported_file(self, policy):
        delete(event("policy", 3))
        ChainHead.objects.filter(name="policy").update(
            length=2, last_hash=event("policy", 2).get().hash
        )
        self.drop_seal(4)
        third = Seal.objects.get(number=3)
        ChainHead.objects.filter(name="seals").update(length=3, last_hash=third.hash)

        assert found() == [
            Finding("export", 4, "the exported file has this seal and the database has not")
        ]

    def test_a_seal_with_another_hash_is_not_followed_by_the_next(self, policy):
        tamper(Seal.objects.filter(number=2), hash="0" * 64)

        assert Finding("seals", 3, "does not follow the seal before it") in found()

    def test_a_seal_that_the_head_does_not_know_shows(self, policy):
        ChainHead.objects.filter(name="seals").update(length=3)

        assert found() == [Finding("seals", 4, "the seals' head knows only 3 seals")]

    def test_a_head_that_names_another_seal_shows(self, policy):
        ChainHead.objects.filter(name="seals").update(last_hash="0" * 64)

        assert found() == [Finding("seals", 4, "is not the seal that the seals' head names")]

    def test_a_leaf_moved_without_changing_the_order_shows(self, policy):
        with lifted(connection):
            SealedEvent.objects.filter(seal=1, position=2).update(position=7)

        assert found() == [Finding("seals", 1, "lost its leaf 2, or the event it stood for")]

    def test_an_event_put_under_another_seal_shows(self, policy):
        with lifted(connection):
            SealedEvent.objects.filter(seal=2).update(seal=3, position=1)

        assert found() == [
            Finding("seals", 2, "lost its leaf 0, or the event it stood for"),
            Finding("seals", 3, "its events do not give its root"),
        ]


class TestExport:
    def lines(self):
        return django_settings.SEAL_EXPORT.read_text().splitlines(keepends=True)

    def rewrite(self, lines):
        django_settings.SEAL_EXPORT.write_text("".join(lines))

    def test_a_line_that_is_gone_shows(self, policy):
        lines = self.lines()
        del lines[1]

        self.rewrite(lines)

        assert found() == [Finding("export", 2, "the seal is missing from the exported file")]

    def test_a_cut_file_shows_once_the_next_seal_would_have_mended_it(self, policy):
        self.rewrite(self.lines()[:-1])

        assert list(findings(MONDAY_9AM + timedelta(seconds=59))) == []
        assert list(findings(MONDAY_9AM + timedelta(minutes=1))) == [
            Finding("export", 4, "the seal is missing from the exported file")
        ]

    def test_a_line_that_differs_shows(self, policy):
        lines = self.lines()
        lines[2] = json.dumps(json.loads(lines[2]) | {"root": "0" * 64}) + "\n"

        self.rewrite(lines)

        assert found() == [Finding("export", 3, "the exported seal is not the database's")]

    def test_a_line_that_cannot_be_read_shows(self, policy):
        lines = self.lines()
        lines[1] = "torn\n"

        self.rewrite(lines)

        assert found() == [Finding("export", 2, "the exported seal is not the database's")]

    def test_a_line_too_many_shows(self, policy):
        lines = self.lines()

        self.rewrite([*lines, json.dumps(json.loads(lines[-1]) | {"number": 5}) + "\n"])

        assert found() == [
            Finding("export", 5, "the exported file has this seal and the database has not")
        ]

    def test_a_missing_file_is_one_finding(self, policy, settings):
        settings.SEAL_EXPORT.unlink()

        assert found() == [Finding("export", 1, f"{settings.SEAL_EXPORT} is missing")]

    def test_a_seal_made_while_we_read_is_no_finding(self, policy):
        reading = findings(LATER)
        tamper(event(REF, 1), kind="request.forged")
        assert next(reading).seq == 1

        lines = self.lines()
        newer = json.loads(lines[-1]) | {"number": 5}
        with django_settings.SEAL_EXPORT.open("a") as file:
            file.write(json.dumps(newer) + "\n")

        assert list(reading) == []


def signed_anew(number, *, key, **values):
    """Write a seal's content, hash and signature anew with a key, and all seals after it, to the head."""
    public = key.public_key().public_bytes_raw()
    before = None
    for seal in Seal.objects.filter(number__gte=number).order_by("number"):
        for name, value in (values if seal.number == number else {}).items():
            setattr(seal, name, value)
        seal.prev_hash, seal.key_id = before or seal.prev_hash, seals.Key.of(public).id
        body = seals.signed_bytes(seal)
        before = seals.hashlib.sha256(body).hexdigest()
        written = {
            "root": seal.root, "size": seal.size, "sealed_at": seal.sealed_at, "hash": before,
            "prev_hash": seal.prev_hash, "key_id": seal.key_id, "signature": key.sign(body).hex(),
        }  # fmt: skip
        tamper(Seal.objects.filter(number=seal.number), **written)
    ChainHead.objects.filter(name="seals").update(last_hash=before)


OURS = Ed25519PrivateKey.from_private_bytes(base64.b64decode(django_settings.SEAL_KEY))
THEIRS = Ed25519PrivateKey.from_private_bytes(b"7" * 32)
THEIR_ID = seals.Key.of(THEIRS.public_key().public_bytes_raw()).id


def edit_a_fact():
    tamper(event("policy", 2), facts={"n": 2})


def edit_a_fact_and_all_that_follows_from_it():
    tamper(event("policy", 3), facts={"n": 2})
    ChainHead.objects.filter(name="policy").update(last_hash=rehash("policy", 3))


def delete_an_event():
    delete(event("policy", 2))


def swap_two():
    tamper(event("policy", 1), seq=99)
    tamper(event("policy", 2), seq=1)
    tamper(event("policy", 99), seq=2)


def swap_two_and_their_leaves():
    """The hashes stay where they were, so that the seals still hold."""
    with lifted(connection):
        one, other = event("policy", 1).get(), event("policy", 2).get()
        AuditEvent.objects.filter(pk=one.pk).update(kind=other.kind)
        AuditEvent.objects.filter(pk=other.pk).update(kind=one.kind)


def cut_the_tail():
    delete(event("policy", 3))


def delete_the_head():
    ChainHead.objects.filter(name="policy").delete()


def delete_the_head_of_the_seals():
    ChainHead.objects.filter(name="seals").delete()


def sign_a_seal_anew_with_another_key():
    signed_anew(4, key=THEIRS)


def sign_other_content_with_our_key():
    signed_anew(4, key=OURS, root="0" * 64)


def sign_all_of_history_anew_with_our_key():
    """Whoever has database and key rewrites an event with all that covers it, and has only the export against them."""
    edit_a_fact_and_all_that_follows_from_it()
    tree = seals.MerkleTree()
    tree.add(bytes.fromhex(event("policy", 3).get().hash))
    signed_anew(4, key=OURS, root=tree.root().hex())


def take_an_event_from_its_seal():
    with lifted(connection):
        SealedEvent.objects.filter(event__chain="policy", event__seq=3).delete()


def add_an_event_that_no_seal_ever_covered():
    record_named(Chain.SYSTEM, "worker.restarted")


@pytest.mark.parametrize(
    ("do", "lines"),
    [
        (edit_a_fact, ["policy 2: was edited: its content does not give its hash"]),
        (edit_a_fact_and_all_that_follows_from_it, ["seals 4: its events do not give its root"]),
        (
            delete_an_event,
            ["policy 2: event 2 is missing", "seals 3: lost its leaf 0, or the event it stood for"],
        ),
        (
            swap_two,
            [
                "policy 1: does not follow the event before it",
                "policy 1: was edited: its content does not give its hash",
                "policy 2: does not follow the event before it",
                "policy 2: was edited: its content does not give its hash",
                "policy 3: does not follow the event before it",
            ],
        ),
        (
            swap_two_and_their_leaves,
            [
                "policy 1: was edited: its content does not give its hash",
                "policy 2: was edited: its content does not give its hash",
            ],
        ),
        (
            cut_the_tail,
            [
                "policy 3: event 3 is missing at the end",
                "seals 4: lost its leaf 0, or the event it stood for",
            ],
        ),
        (delete_the_head, ["policy 1: the chain has events and no head"]),
        (delete_the_head_of_the_seals, ["seals 1: the seals' head knows only 0 seals"]),
        (
            sign_a_seal_anew_with_another_key,
            [
                f"seals 4: is signed with key {THEIR_ID}, which is not ours",
                "export 4: the exported seal is not the database's",
            ],
        ),
        (
            sign_other_content_with_our_key,
            [
                "seals 4: its events do not give its root",
                "export 4: the exported seal is not the database's",
            ],
        ),
        (
            sign_all_of_history_anew_with_our_key,
            ["export 4: the exported seal is not the database's"],
        ),
        (
            take_an_event_from_its_seal,
            [
                "policy 3: has not been sealed for over an hour",
                "seals 4: lost its leaf 0, or the event it stood for",
            ],
        ),
        (
            add_an_event_that_no_seal_ever_covered,
            ["system 1: has not been sealed for over an hour"],
        ),
    ],
    ids=lambda each: getattr(each, "__name__", ""),
)
def test_the_command_names_what_was_done_to_the_database(policy, capsys, time_machine, do, lines):
    do()
    time_machine.move_to(LATER, tick=False)

    with pytest.raises(CommandError):  # exit code 1
        call_command("verify_ledger")

    assert capsys.readouterr().out.splitlines()[:-1] == lines


@pytest.mark.parametrize("number", range(len(ledger_triggers.names(connection.vendor))))
def test_one_trigger_that_is_gone_is_named(policy, number):
    name = ledger_triggers.names(connection.vendor)[number]
    drops = [each for each in ledger_triggers.dropping(connection.vendor) if f" {name}" in each]
    creates = [each for each in ledger_triggers.creating(connection.vendor) if f" {name}" in each]
    with connection.cursor() as cursor:
        cursor.execute(drops[0])
    try:
        assert found() == [
            Finding(
                "triggers", 0, f"{name} is missing: the database would let the record be changed"
            )
        ]
    finally:
        with connection.cursor() as cursor:
            cursor.execute(creates[0], None)


class TestCommand:
    @pytest.fixture(autouse=True)
    def at_two_hours_later(self, time_machine):
        time_machine.move_to(LATER, tick=False)

    def test_a_clean_ledger_is_said_to_be_with_its_size(self, policy, capsys):
        call_command("verify_ledger")

        assert capsys.readouterr().out == "6 events in 2 chains, 4 seals: no findings\n"

    def test_each_finding_is_a_line_and_the_command_fails(self, policy, capsys):
        tamper(event(REF, 2), kind="step.expired")

        with pytest.raises(CommandError, match="1 findings"):
            call_command("verify_ledger")

        assert capsys.readouterr().out.splitlines() == [
            f"{REF} 2: was edited: its content does not give its hash",
            "6 events in 2 chains, 4 seals: 1 findings",
        ]

    def test_json_is_one_document(self, policy, capsys):
        tamper(event(REF, 2), kind="step.expired")

        with pytest.raises(CommandError):
            call_command("verify_ledger", "--json")

        report = json.loads(capsys.readouterr().out)
        assert report["clean"] is False
        assert (report["events"], report["chains"], report["seals"]) == (6, 2, 4)
        assert report["findings"][0] | {"what": ""} == {"chain": REF, "seq": 2, "what": ""}


def test_triggers_that_were_taken_off_are_found_even_if_nothing_was_changed(request_row):
    with lifted(connection):
        found = list(findings(LATER))

    assert {each.chain for each in found} == {"triggers"}
    assert len(found) == len(ledger_triggers.names(connection.vendor))
    assert list(findings(LATER)) == []
