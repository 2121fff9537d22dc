"""An evidence pack, from the page it is taken from to the auditor's own machine."""

from __future__ import annotations

import base64
import io
import json
import os
import random
import re
import runpy
import subprocess
import sys
import zipfile
from contextlib import redirect_stderr, redirect_stdout
from datetime import timedelta
from unittest import mock

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from django.core.management import CommandError, call_command
from django.db import connection, transaction
from django.test import Client
from django.urls import reverse

from approvals.digests import covered_by
from approvals.models import ActionRequest, Decision, Review
from approvals.pack_parts import subject_of_request, subject_of_review
from approvals.services import submission
from approvals.services.findings import record_finding
from approvals.services.reviews import open_spot_check
from governance import actors, canonical, clock, ledger, seals
from governance.definitions import digest_of, document_of
from governance.drafting import names
from governance.drafting.book import book_of
from governance.evidence import build, claims
from governance.evidence.packing import VERIFIER, signed
from governance.ledger import Act
from governance.models import AuditEvent, ChainHead, MatrixRow, Seal, SealedEvent
from governance.vocabulary import Chain
from rollback.models import Snapshot, Unit
from rollback.runner import run_all
from tests.approvals.asking import answer, ask_for_payment
from tests.factories import MONDAY_9AM, PersonFactory, ReviewFactory, RoleFactory
from tests.ledger_flush import lifted
from tests.rollback.ledger_target import Books, Worker

SECRET = "DE02 1203 0000 0000 2020 51"
TERMS = "Net 47"  # one of a hundred: its hash is tried out in no time
BAD = '<script>alert(1)</script>\u202e"x"'
FILES = {
    "action.json", "decisions.json", "events.json", "index.html", "keys.json", "manifest.json",
    "pack.json", "policy.json", "request.json", "seals.json", "signature.json", "snapshots.json",
    "verify.py",
}  # fmt: skip
SIGNED_WITH = ("manifest.json", "signature.json")
SEED = int(os.environ.get("EVIDENCE_SEED") or random.SystemRandom().randrange(2**32))
RANDOM = random.Random(SEED)  # noqa: S311 - other bytes each time: none may slip through
OFFSETS = 8  # tried in each file, besides its first and last byte
pytestmark = pytest.mark.django_db  # the first to run makes what all of them change
COMPARE = "Compare a key with one that you know from elsewhere"
KEPT = {}  # what one test's rows came to, for those that need no database


def unzipped(content):
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        return {name.partition("/")[2]: archive.read(name) for name in archive.namelist()}


def read(files, name):
    return json.loads(files[name])


def with_(files, name, change):
    """Return the files with one of them changed, and all of them signed anew, as whoever has our key could."""
    content = read(files, name)
    change(content)
    own = {each: files[each] for each in files if each not in SIGNED_WITH}
    return signed({**own, name: json.dumps(content).encode()})


def run(files, folder, *arguments, verifier=None):
    """Run the pack's own `verify.py`, or another, on these files, and return its exit code and all it said."""
    folder.mkdir(exist_ok=True)
    for old in folder.iterdir():
        old.unlink()
    for name, content in files.items():
        (folder / name).write_bytes(content)
    script, said, code = folder / "verify.py", io.StringIO(), 0
    if verifier is not None:
        script = verifier
    with (
        redirect_stdout(said),
        redirect_stderr(said),
        mock.patch.object(sys, "argv", [str(script), str(folder), *map(str, arguments)]),
    ):
        try:
            runpy.run_path(str(script), run_name="__main__")
        except SystemExit as end:
            code = end.code if isinstance(end.code, int) else 1
            said.write(f"{end.code}\n")
        except BaseException as problem:  # a script that was changed may do anything
            code = 1
            said.write(f"{problem!r}\n")
    return code, said.getvalue()


def wrongs(said):
    """Return what the verifier found wrong, line by line."""
    lines = said.splitlines()
    found, is_wrong = [], False
    for line in lines:
        if line.startswith(("ok ", "WRONG ")):
            is_wrong = line.startswith("WRONG ")
        elif is_wrong and line.startswith("      ") and "note: " not in line:
            found.append(line.strip())
    return found


@pytest.fixture
def auditor(db):
    return PersonFactory(username="auditor", name="Auditor", roles=[RoleFactory(key="auditor")])


def enter_rules(company):
    """Have the record name what everything is routed by, as activating and entering do."""
    action = company.vendor_payment
    act = Act(now=MONDAY_9AM, actor=actors.CLOCK)
    act.record_named(
        Chain.ACTIONS, "action_type.entered", action=action.key, version=action.version,
        definition=digest_of(document_of(action)),
    )  # fmt: skip
    content = book_of(company.policy, names.load()).digest()
    act.record_named(
        Chain.POLICY, "policy.activated", number=company.policy.number, content=content
    )
    with transaction.atomic():
        act.write()


@pytest.fixture
def told(company, timeline, auditor):
    """A payment that was carried out, of whose payload and of whose two records a field is left out."""
    action = company.vendor_payment
    action.snapshot_plan = ["line/1", "line/2"]
    action.redacted = {"payload": ["/terms"], "records": ["/iban"]}
    action.save()
    books = Books(lines=2, records=True)
    books.state["line/1"] = ({"value": "old", "iban": SECRET, "rate": 1.50}, "1")
    enter_rules(company)
    payload = {**action.example["payload"], "invoice": "INV-88213", "terms": TERMS}
    request = ask_for_payment(company, justification=BAD, payload=payload)
    timeline.now += timedelta(minutes=1)
    answer(request, company.finance_manager, now=timeline.now, note=BAD)
    run_all(Worker(timeline, books).hands)
    request.refresh_from_db()
    seals.seal_now(timeline.now)
    return request


def packed(request, *, now=MONDAY_9AM):
    return build(subject_of_request(request), by="person:auditor", now=now)


def closed_review(told, auditor, now):
    told.refresh_from_db()
    asked = open_spot_check(ref=told.ref, actor=auditor, reason="Look at it.", now=now)
    asked.asked = PersonFactory(username="reviewer")
    asked.save()
    return record_finding(
        review=asked.pk, actor=asked.asked, finding="not_justified", note=BAD, now=now
    )


def kept_of(told, company, timeline, auditor):
    """Build the packs that tests without a database change: of the payment, and of another request."""
    other = ask_for_payment(company, key="key-2", invoice="INV-2")
    review = closed_review(told, auditor, timeline.now)
    seals.seal_now(timeline.now)
    public = seals._private_key().public_key().public_bytes_raw()
    return {
        "pack": unzipped(packed(told)),
        "other": unzipped(packed(other)),
        "review": unzipped(build(subject_of_review(review), by="person:auditor", now=timeline.now)),
        "exported": [
            seals.exported(each, seals.Key.of(public)) for each in Seal.objects.order_by("number")
        ],
        "public": base64.b64encode(public).decode(),
    }


@pytest.fixture
def kept(request):
    if not KEPT:
        names = ("told", "company", "timeline", "auditor")
        found = [request.getfixturevalue(each) for each in names]
        KEPT.update(kept_of(*found))
    return KEPT


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "pack"


def test_a_pack_holds_and_says_what_it_checked(kept, folder):
    code, said = run(kept["pack"], folder)

    assert (code, wrongs(said)) == (0, [])
    assert set(kept["pack"]) == FILES
    assert said.count("ok ") == 14
    assert {each["standing"] for each in read(kept["pack"], "pack.json")["claims"]} == {"proven"}
    assert "Everything holds that this pack can prove" in said
    assert kept["public"] in said
    assert kept["pack"]["verify.py"] == VERIFIER.read_bytes()
    code, said = run(kept["review"], folder)
    assert (code, set(kept["review"])) == (0, {*FILES, "review.json"}), said
    assert read(kept["review"], "pack.json")["subject"]["kind"] == "review"
    assert {each["standing"] for each in read(kept["review"], "pack.json")["claims"]} == {"proven"}
    assert read(kept["review"], "review.json")["closed"]["note"] == BAD


def test_it_runs_by_itself_on_bare_python_on_the_zip_and_on_the_folder(kept, tmp_path):
    with zipfile.ZipFile(tmp_path / "pack.zip", "w") as archive:
        for name, content in kept["pack"].items():
            archive.writestr(f"evidence/{name}", content)
    with zipfile.ZipFile(tmp_path / "pack.zip") as archive:
        archive.extractall(tmp_path)

    script = tmp_path / "evidence" / "verify.py"
    bare = [sys.executable, "-I", "-S", "-W", "error"]
    for arguments in ([script], [script, tmp_path / "pack.zip"]):
        done = subprocess.run([*bare, *arguments], capture_output=True, text=True, cwd=tmp_path)
        assert done.returncode == 0, done.stdout + done.stderr
    (tmp_path / "evidence" / "index.html").unlink()
    broken = subprocess.run([*bare, script], capture_output=True, text=True, cwd=tmp_path)
    assert (broken.returncode, "index.html: is missing" in broken.stdout) == (1, True)


@pytest.mark.parametrize("name", sorted({*FILES, "review.json"}))
def test_one_changed_byte_in_any_file_is_found_and_the_file_named(kept, folder, name):
    whole = kept["review"][name]

    for at in (0, len(whole) - 1, *RANDOM.choices(range(len(whole)), k=OFFSETS)):
        content = bytearray(whole)
        content[at] ^= RANDOM.randrange(1, 256)
        code, said = run({**kept["review"], name: bytes(content)}, folder, verifier=VERIFIER)
        assert code == 1, (SEED, at, content[at], said)
        # Of the list of files it is the signature that does not fit.
        named = "signature.json" if name == "manifest.json" else name
        assert any(named in each for each in wrongs(said)), (SEED, at, content[at], said)


def test_a_verifier_with_a_changed_byte_does_not_say_that_all_holds(kept, folder):
    whole = kept["pack"]["verify.py"]
    for _ in range(60):
        content = bytearray(whole)
        content[RANDOM.randrange(len(content))] ^= 1 << RANDOM.randrange(8)
        code, said = run({**kept["pack"], "verify.py": bytes(content)}, folder)
        assert code != 0, (SEED, said)


def test_a_file_too_few_or_too_many_is_found(kept, folder):
    for name in FILES - {"verify.py"}:
        files = dict(kept["pack"])
        del files[name]
        code, said = run(files, folder)
        assert code == 1
        assert any(name in each for each in wrongs(said)), said

    code, said = run({**kept["pack"], "note.txt": b"Believe me."}, folder)
    assert (code, wrongs(said)) == (1, ["note.txt: is not of this pack"])
    assert run({**kept["pack"], "note: read me.html": b"Believe me."}, folder)[0] == 1


def test_a_zip_with_a_second_folder_is_no_pack(kept, tmp_path):
    """Whoever unpacks it sees a page that nothing has checked."""
    with zipfile.ZipFile(tmp_path / "pack.zip", "w") as archive:
        archive.writestr("index.html", b"Believe me.")
        for name, content in kept["pack"].items():
            archive.writestr(f"evidence/{name}", content)

    done = subprocess.run(
        [sys.executable, "-I", VERIFIER, tmp_path / "pack.zip"], capture_output=True, text=True
    )

    assert done.returncode == 1
    assert "holds more than the folder of one pack" in done.stderr


def first(events, kind):
    return next(each for each in events if each["kind"] == kind)


def edit_note(events):
    first(events, "step.decided")["facts"]["note"] = "I said nothing."


def drop_an_event(events):
    events.remove(first(events, "step.decided"))


def swap_two(events):
    events[1], events[2] = events[2], events[1]


def cut_the_tail(events):
    own = [each for each in events if each["chain"] == events[0]["chain"]]
    events.remove(own[-1])


def proof_of_another_leaf(events):
    events[1]["proof"], events[2]["proof"] = events[2]["proof"], events[1]["proof"]


def no_proof_of_another_seal(events):
    events[1]["proof"]["seal"] = 99


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (edit_note, "(step.decided): its content does not give its hash"),
        (drop_an_event, "is missing, or stands elsewhere"),
        (swap_two, "is missing, or stands elsewhere"),
        (cut_the_tail, "does not end where pack.json says"),
        (proof_of_another_leaf, "its proof does not lead to the root of seal 1"),
        (no_proof_of_another_seal, "its seal 99 is missing"),
    ],
    ids=lambda each: getattr(each, "__name__", ""),
)
def test_a_tampered_event_is_named_even_in_a_pack_that_is_signed_anew(kept, folder, change, named):
    code, said = run(with_(kept["pack"], "events.json", change), folder)

    assert code == 1
    assert any(each.startswith("events.json: ") and named in each for each in wrongs(said)), said


def test_an_event_of_another_pack_is_named(kept, folder):
    foreign = read(kept["other"], "events.json")[1]

    def swap(events):
        events[1] = foreign

    code, said = run(with_(kept["pack"], "events.json", swap), folder)

    assert code == 1
    assert any("event 2 of" in each and "is missing" in each for each in wrongs(said)), said

    def pass_for_ours(events):
        events[1] = foreign | {"chain": events[0]["chain"]}

    code, said = run(with_(kept["pack"], "events.json", pass_for_ours), folder)
    assert any("its content does not give its hash" in each for each in wrongs(said)), said


def signed_by(key, seal):
    fields = ("number", "root", "size", "prev_hash", "key_id", "sealed_at")
    body = json.dumps([1, *(seal[each] for each in fields)], separators=(",", ":")).encode()
    seal["hash"] = seals.hashlib.sha256(body).hexdigest()
    seal["signature"] = key.sign(body).hex()


def test_a_seal_of_another_installation_is_named(kept, folder):
    theirs = Ed25519PrivateKey.from_private_bytes(b"7" * 32)
    id_ = seals.Key.of(theirs.public_key().public_bytes_raw()).id

    def swap(found):
        found[0]["key_id"] = id_
        signed_by(theirs, found[0])

    code, said = run(with_(kept["pack"], "seals.json", swap), folder)

    assert code == 1
    assert any(f"seal 1: is signed with key {id_}" in each for each in wrongs(said)), said

    def keep_our_name(found):
        signed_by(theirs, found[0])

    code, said = run(with_(kept["pack"], "seals.json", keep_our_name), folder)
    assert "seals.json: seal 1: its signature is not good" in wrongs(said), said


def test_a_pack_of_somebody_elses_key_is_found_by_whoever_knows_ours(
    kept, folder, tmp_path, settings
):
    """It vouches for itself, so that only what the reader brings along tells: the key, or exported seals."""
    theirs = Ed25519PrivateKey.from_private_bytes(b"7" * 32)
    public = theirs.public_key().public_bytes_raw()
    key = {"key_id": seals.Key.of(public).id, "public_key": base64.b64encode(public).decode()}
    files = {name: kept["pack"][name] for name in kept["pack"] if name not in ("keys.json",)}
    their_seals = read(files, "seals.json")
    before = None
    for each in their_seals:
        each["key_id"] = key["key_id"]
        each["prev_hash"] = before or each["prev_hash"]
        signed_by(theirs, each)
        before = each["hash"]
    own = {each: files[each] for each in files if each not in SIGNED_WITH}
    own |= {"keys.json": json.dumps([key]).encode(), "seals.json": json.dumps(their_seals).encode()}
    ours, settings.SEAL_KEY = settings.SEAL_KEY, base64.b64encode(b"7" * 32).decode()
    forged = signed(own)
    with_our_seals = json.dumps([*read(kept["pack"], "keys.json"), key]).encode()
    resigned = signed(
        {**own, "keys.json": with_our_seals, "seals.json": kept["pack"]["seals.json"]}
    )
    settings.SEAL_KEY = ours
    exported = tmp_path / "exported" / "seals.jsonl"
    exported.parent.mkdir()
    exported.write_text("".join(json.dumps(each) + "\n" for each in kept["exported"]))

    assert run(forged, folder)[0] == 0
    assert run(kept["pack"], folder, "--key", kept["public"])[0] == 0
    assert run(kept["pack"], folder, "--seals", exported.parent)[0] == 0
    assert run(kept["pack"], folder, "--seals", exported)[0] == 0
    assert COMPARE not in run(kept["pack"], folder, "--seals", exported)[1]
    assert COMPARE in run(resigned, folder, "--seals", exported)[1]
    code, said = run(forged, folder, "--key", kept["public"])
    assert wrongs(said) == ["signature.json: is not signed with the key that you named"]
    code, said = run(forged, folder, "--seals", exported)
    assert (code, "seal 1: is not the one exported" in said) == (1, True)
    exported.write_text("")
    code, said = run(kept["pack"], folder, "--seals", exported)
    assert (code, "seal 1: was not exported" in said) == (1, True)


def put(*path, to):
    """Return a change that puts a value at a place of a file."""

    def change(content):
        *way, last = path
        for each in way:
            content = content[each]
        content[last] = to

    change.__name__ = "-".join(map(str, path))
    return change


def drop(*path):
    def change(content):
        *way, last = path
        for each in way:
            content = content[each]
        del content[last]

    change.__name__ = "no-" + "-".join(map(str, path))
    return change


def twice(content):
    content.append(content[0])


def note_told_alone(content):
    content[0]["told"]["note"] = content[0].pop("note")


def edit_snapshot(content):
    fields = content[0]["before"]["fields"]
    next(each for each in fields if each["pointer"] == "/value")["value"] = "never so"


def edit_hidden(content):
    fields = content[0]["before"]["fields"]
    next(each for each in fields if each["pointer"] == "/iban")["digest"] = "0" * 64


def keep_back_more(content):
    [field] = [each for each in content[0]["before"]["fields"] if each["pointer"] == "/value"]
    field["digest"] = canonical.digest([field.pop("salt"), field["pointer"], field.pop("value")])


def event_of_the_other_side(content):
    content[0]["before"]["event"] = content[0]["after"]["event"]


HIDE_PAYLOAD = put("covered", "payload", "vendor", to="Somebody Else")
HIDE_TERMS = put("covered", "payload", "terms", "sha256", to="0" * 64)
EDIT_DEFINITION = put("definition", "title", to="Something else")
EDIT_POLICY = put("content", "rows", "14", "quorum", to="7")
NO_EVENT = {"event": None, "actor": "person:cfo", "at": "", "told": {}}
FORGED = [
    ("request.json", HIDE_PAYLOAD, "what was asked does not give its digest"),
    ("request.json", HIDE_TERMS, "what was asked does not give its digest"),
    ("request.json", put("digest", to="0" * 64), "its digest is not the one that was recorded"),
    ("request.json", put("title", to="Pay $1"), "its title is not the one that was recorded"),
    ("request.json", put("justification", to="-"), "its justification is not the one"),
    ("request.json", put("submitted_at", to="2026"), "its submitted_at is not the one"),
    ("request.json", put("ref", to="R-0"), "its ref is not the one"),
    ("request.json", put("approved_by", to="ceo"), "its approved_by is not the one"),
    ("request.json", drop("justification"), "its justification is not the one"),
    ("request.json", put("covered", "impact", to="low"), "its impact is not the one"),
    ("request.json", put("covered", "agent", to="another"), "its agent is not the one"),
    ("request.json", put("covered", "on_behalf_of", to="ceo"), "its on_behalf_of is not the one"),
    ("request.json", put("hidden", to=[]), "other fields are left out than the action type says"),
    ("request.json", put("hidden", to=["/terms", "/vendor"]), "other fields are left out than"),
    ("decisions.json", put(0, "verdict", to="reject"), "decision 1: its verdict is not the one"),
    ("decisions.json", put(0, "level", to=3), "decision 1: its level is not the one"),
    ("decisions.json", put(0, "digest", to="0" * 64), "decision 1: its digest is not the one"),
    ("decisions.json", put(0, "refuse", to=["R-1"]), "decision 1: its refuse is not the one"),
    ("decisions.json", note_told_alone, "decision 1: its note is not the one"),
    ("decisions.json", drop(0), "is left out"),
    ("decisions.json", twice, "is that of another decision here"),
    ("decisions.json", put(slice(1, 1), to=[NO_EVENT]), "decision 2: no event records it"),
    ("decisions.json", put(0, "event", 1, to=1), "is no decision on this request"),
    ("snapshots.json", edit_snapshot, "line/1 before: is not the state that was recorded"),
    ("snapshots.json", edit_hidden, "line/1 before: is not the state that was recorded"),
    ("snapshots.json", keep_back_more, "line/1 before: other fields are left out than"),
    ("snapshots.json", event_of_the_other_side, "line/1 before: is said to be of another event"),
    ("snapshots.json", drop(0), "line/1 is left out, which the record has"),
    ("snapshots.json", put(0, "after", to=None), "line/1 after: is left out"),
    ("snapshots.json", twice, "line/1 stands there more than once"),
    ("snapshots.json", put(0, "record", to="line/9"), "line/9 before: no event records it"),
    ("snapshots.json", put(0, "taken_at", to="2026"), "line/1 before: was not read at this"),
    ("snapshots.json", put(0, "left_at", to="2026"), "line/1 after: was not read at this"),
    ("snapshots.json", put(0, "version", to="9"), "line/1 before: its version is not the one"),
    ("action.json", EDIT_DEFINITION, "is not the definition that was recorded"),
    ("action.json", put("version", to=2), "is version 2, and the request was routed by 1"),
    ("action.json", put("action", to="loan"), "is action loan, and the request was routed by"),
    ("action.json", put("event", to=["policy", 1]), "event 1 of policy speaks of something else"),
    ("action.json", put("definition", "redacted", to={}), "is not the definition"),
    ("policy.json", EDIT_POLICY, "is not the content that was recorded"),
    ("policy.json", put("number", to=99), "is number 99, and the request was routed by"),
    ("policy.json", put("matrix_row", to=99), "another row of the matrix routed the request"),
    ("policy.json", put("event", to=["actions", 1]), "event 1 of actions speaks of something else"),
    ("pack.json", put("claims", 3, "standing", to="stated"), "does not say that this is proven"),
    ("pack.json", drop("claims", 3), "does not say that this is proven"),
    ("pack.json", put("claims", 3, "what", to="all is well"), "nothing here shows that"),
    ("pack.json", put("subject", "ref", to="R-0"), "is about another request than its chain"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "change", "named"), FORGED)
def test_what_stands_beside_the_record_is_held_against_it(kept, folder, name, change, named):
    code, said = run(with_(kept["pack"], name, change), folder)

    assert code == 1
    assert any(each.startswith(f"{name}: ") and named in each for each in wrongs(said)), said


@pytest.mark.parametrize(
    ("name", "change", "named"),
    [
        ("review.json", put("review", to=7), "is another review than the one"),
        ("review.json", put("opened", "reason", to="None."), "opened: its reason is not the one"),
        ("review.json", put("opened", "event", to=None), "no event of the record opened it"),
        ("review.json", put("opened", "event", 1, to=1), "opened no review of this"),
        ("review.json", put("closed", "finding", to="justified"), "closed: its finding is not the"),
        ("review.json", put("closed", "note", to="Fine."), "closed: its note is not the one"),
        ("review.json", put("closed", "actor", to="person:ceo"), "closed: its actor is not the"),
        ("review.json", put("closed", "roll_back", to=True), "closed: its roll_back is not the"),
        ("review.json", put("closed", to=None), "it stands open, and the record closed it"),
        ("pack.json", put("subject", "review", to=None), ""),
    ],
)
def test_a_review_is_held_against_the_record(kept, folder, name, change, named):
    code, said = run(with_(kept["review"], name, change), folder)

    assert code == 1
    assert any(named in each for each in wrongs(said)), said


def test_whatever_a_hostile_packer_puts_into_a_file_is_a_line_and_no_traceback(kept, folder):
    own = {each: kept["review"][each] for each in kept["review"] if each not in SIGNED_WITH}
    for name in sorted({*FILES, "review.json"} - {"verify.py", "index.html"}):
        for odd in (None, [], {}, 7, "x", [None], [{}], [[]], {"files": 1, "claims": None}):
            content = {name: json.dumps(odd).encode()}
            files = kept["review"] | content if name in SIGNED_WITH else signed({**own, **content})
            code, said = run(files, folder)
            assert (code, "Traceback" in said) == (1, False), (name, odd, said)
            assert said.endswith("Do not rely on this pack.\n"), (name, odd, said)


def test_what_the_action_type_keeps_back_is_nowhere_in_the_pack_and_the_rest_is(kept):
    everything = b"".join(kept["pack"].values())

    assert SECRET.encode() not in everything
    [line, *_] = read(kept["pack"], "snapshots.json")
    by_pointer = {each["pointer"]: each for each in line["before"]["fields"]}
    assert set(by_pointer["/iban"]) == {"pointer", "digest"}
    assert (by_pointer["/value"]["value"], by_pointer["/rate"]["value"]) == ("old", 1.5)
    assert line["after"]["event"] != line["before"]["event"]
    assert "Not proven: told by the database" in kept["pack"]["index.html"].decode()


def test_a_field_of_the_payload_that_is_kept_back_costs_no_proof_of_the_rest(kept, folder):
    asked = read(kept["pack"], "request.json")

    assert TERMS.encode() not in b"".join(kept["pack"].values())
    assert asked["hidden"] == ["/terms"]
    assert set(asked["covered"]["payload"]["terms"]) == {"sha256"}
    assert asked["covered"]["payload"]["invoice"] == "INV-88213"
    assert canonical.digest(asked["covered"]) == asked["digest"]
    for hide in (HIDE_PAYLOAD, HIDE_TERMS):
        _code, said = run(with_(kept["pack"], "request.json", hide), folder)
        assert "request.json: what was asked does not give its digest" in wrongs(said)


def test_nobody_guesses_what_is_kept_back_from_a_hash_of_the_pack(told):
    """Whoever knows the few values that a field can have tries them all: here the right one, at once."""
    found = {
        each.decode()
        for each in re.findall(rb"[0-9a-f]{64}", b"".join(unzipped(packed(told)).values()))
    }
    plain = {**covered_by(told), "payload": told.payload}
    states = Snapshot.objects.filter(request=told).values_list("record", "before", "after")
    guesses = [
        plain, told.payload, TERMS, SECRET, ["/terms", TERMS], ["/iban", SECRET],
        *(unit.body for unit in Unit.objects.filter(request=told)),
        *(each for _, before, after in states for each in (before, after)),
        {record: before for record, before, _ in states},
    ]  # fmt: skip

    assert not found & {canonical.digest(each) for each in guesses}
    assert told.salt not in found
    assert told.salt


def test_the_page_runs_nothing_fetches_nothing_and_takes_words_as_words(kept):
    page = kept["pack"]["index.html"].decode()

    assert "<script" not in page
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page
    assert "\u202e" not in page
    assert "default-src 'none'" in page
    assert not any(each in page for each in ("src=", "href=", "url(", "@import"))
    assert "@media print" in page
    assert "Somebody who was asked decided." in page
    assert "A record&#x27;s state was kept before the first write." in page


# --- With the rows at hand ---


def test_the_same_state_gives_the_same_bytes(told):
    assert packed(told) == packed(told)


def test_what_is_not_sealed_yet_is_told_and_breaks_nothing(told, folder, company):
    later = ask_for_payment(company, key="key-3", invoice="INV-3")

    files = unzipped(packed(later))

    code, said = run(files, folder)
    assert (code, wrongs(said)) == (0, [])
    assert "was not sealed yet when the pack was made" in said
    [claim] = [
        each
        for each in read(files, "pack.json")["claims"]
        if each["what"] == "each event is a leaf of its seal"
    ]
    assert claim["standing"] == "stated"
    assert "was not sealed yet when the pack was made" in files["index.html"].decode()
    better = with_(files, "pack.json", put("claims", 2, "standing", to="proven"))
    assert wrongs(run(better, folder)[1]) == [
        "pack.json: does not say that this is stated: each event is a leaf of its seal"
    ]


def test_rows_that_were_changed_beside_the_record_are_told_and_found(told, folder):
    snapshot = Snapshot.objects.filter(request=told).earliest("pk")
    Snapshot.objects.filter(pk=snapshot.pk).update(before={"value": "never so"})
    Decision.objects.filter(request=told).update(note="I said nothing.")
    ActionRequest.objects.filter(pk=told.pk).update(payload={"vendor": "Somebody Else"})

    files = unzipped(packed(ActionRequest.objects.get(pk=told.pk)))

    code, said = run(files, folder)
    assert code == 1
    found = " ".join(wrongs(said))
    for named in (
        "request.json: what was asked does not give its digest",
        "decisions.json: decision 1: its note is not the one that was recorded",
        f"snapshots.json: {snapshot.record} before: is not the state that was recorded",
    ):
        assert named in found
    assert "Contradicted" in files["index.html"].decode()


def test_rules_that_were_changed_since_are_told_and_found(told, folder):
    MatrixRow.objects.filter(version=told.policy).update(quorum=3)

    files = unzipped(packed(told))

    _code, said = run(files, folder)
    assert wrongs(said) == ["policy.json: is not the content that was recorded"]
    assert "Contradicted by the record" in files["index.html"].decode()


def test_rules_of_which_the_record_has_no_digest_are_stated(company, folder):
    asked = ask_for_payment(company)
    seals.seal_now(MONDAY_9AM)

    files = unzipped(packed(asked))

    code, said = run(files, folder)
    assert (code, wrongs(said)) == (0, [])
    assert said.count("is stated, not proven: no event of the record has its digest") == 2
    assert files["index.html"].decode().count("Stated, not all of it proven") >= 2


def test_a_request_from_before_there_were_salts_says_what_its_digest_gives_away(kept, folder):
    def older(content):
        content["salted"] = False
        content["covered"]["payload"]["terms"] = "(kept back)"

    files = with_(kept["pack"], "request.json", older)

    assert wrongs(run(files, folder)[1]) == [
        "pack.json: does not say that this is stated: what was asked gives the digest that was decided on"
    ]
    code, said = run(with_(files, "pack.json", put("claims", 4, "standing", to="stated")), folder)
    assert (code, wrongs(said)) == (0, [])
    assert "who knows the values that /terms can have finds which it is" in said


def test_a_salt_that_was_taken_away_does_not_make_a_request_an_older_one(told, folder):
    ActionRequest.objects.filter(pk=told.pk).update(salt="", payload={"vendor": "Somebody Else"})

    files = unzipped(packed(ActionRequest.objects.get(pk=told.pk)))

    code, said = run(files, folder)
    assert code == 1
    assert "request.json: its action is not the one that was recorded" in wrongs(said)
    assert TERMS.encode() not in b"".join(files.values())


def test_a_row_that_was_taken_out_or_put_in_is_named(told, folder):
    snapshot = Snapshot.objects.filter(request=told).earliest("pk")
    decision = Decision.objects.get(request=told)
    Snapshot.objects.filter(pk=snapshot.pk).delete()
    decision.pk, decision.person = None, PersonFactory()
    decision.save(force_insert=True)

    code, said = run(unzipped(packed(told)), folder)

    assert code == 1
    assert f"snapshots.json: {snapshot.record} is left out, which the record has" in wrongs(said)
    assert "decisions.json: decision 2: no event records it" in wrongs(said)


@pytest.fixture
def earlier(company):
    asked = ask_for_payment(company, key="key-0", invoice="INV-0")
    submission.action_type.cache_clear()  # what comes after it is asked for by a changed version
    return asked


def write_anew(request, own):
    """Have a request's chain tell that somebody said nothing, and its head follow: as who owns the database can."""
    before = own[0].prev_hash
    for each in own:
        if each.kind == "step.decided":
            each.facts = {**each.facts, "note": "I said nothing."}
        hashed = ledger.event_hash(
            each.chain, each.seq, each.kind, each.actor, each.on_behalf_of, each.facts,
            each.cause, each.at, before,
        )  # fmt: skip
        AuditEvent.objects.filter(pk=each.pk).update(
            facts=each.facts, prev_hash=before, hash=hashed
        )
        before = hashed
    ActionRequest.objects.filter(pk=request.pk).update(chain_hash=before)
    Decision.objects.filter(request=request).update(note="I said nothing.")


def test_history_that_was_written_anew_and_sealed_later_is_not_called_proven(
    earlier, told, folder, company, timeline
):
    """Whoever owns the database takes leaves away, and has the sealer seal what they wrote instead."""
    own = list(AuditEvent.objects.filter(chain=told.ref).order_by("seq"))
    timeline.now += timedelta(hours=3)
    ask_for_payment(company, key="key-4", invoice="INV-4", now=timeline.now)
    seals.seal_now(timeline.now)
    with lifted(connection):
        last = SealedEvent.objects.filter(seal=1).latest("position")
        SealedEvent.objects.filter(seal=1).exclude(pk=last.pk).delete()
        first_of_all = AuditEvent.objects.earliest("pk")  # the sealer goes on after this one
        SealedEvent.objects.filter(pk=last.pk).update(event=first_of_all)
        write_anew(told, own)
    timeline.now += timedelta(minutes=1)
    seals.seal_now(timeline.now)

    files = unzipped(packed(told))

    code, said = run(files, folder)
    assert (code, wrongs(said)) == (0, [])
    assert said.count("has no seal of its own time") == len(own) + 2  # and what it was routed by
    assert "has no seal of its own time" in files["index.html"].decode()


def test_seals_that_were_made_anew_over_other_history_prove_nothing_of_it(told, folder, timeline):
    """Without the seals of its time there is none before it to be late by: its own tells."""
    own = list(AuditEvent.objects.filter(chain=told.ref).order_by("seq"))
    with lifted(connection):
        SealedEvent.objects.all().delete()
        Seal.objects.all().delete()
        ChainHead.objects.filter(name=seals.CHAIN).delete()
        write_anew(told, own)
    timeline.now += timedelta(hours=3)
    seals.seal_now(timeline.now)

    files = unzipped(packed(told))

    code, said = run(files, folder)
    assert (code, wrongs(said)) == (0, [])
    assert said.count("was sealed late, by seal 1") == len(own) + 2  # and what it was routed by
    assert standing(files, "each event is a leaf of its seal") == "stated"
    assert "was sealed late, by seal 1" in files["index.html"].decode()


def test_that_nothing_was_sealed_for_hours_is_told_and_breaks_nothing(company, folder):
    asked = ask_for_payment(company)
    seals.seal_now(MONDAY_9AM + timedelta(hours=1))
    on_time = unzipped(packed(asked))
    later = ask_for_payment(company, key="key-5", invoice="INV-5")
    seals.seal_now(MONDAY_9AM + timedelta(hours=1, microseconds=1))

    assert "sealed late" not in run(on_time, folder)[1]
    assert standing(on_time, "each event is a leaf of its seal") == "proven"
    code, said = run(unzipped(packed(later)), folder)
    assert (code, wrongs(said)) == (0, [])
    assert "was sealed late, by seal 2" in said


def standing(files, what):
    claims = {each["what"]: each["standing"] for each in read(files, "pack.json")["claims"]}
    return claims[what]


def test_a_pack_of_a_clock_that_runs_faster_says_so(told, folder):
    """A demo seals each real minute, which may be hours of its own time."""
    with mock.patch.object(clock, "speed", return_value=240.0):
        files = unzipped(packed(told))

    code, said = run(files, folder)
    assert (code, "note: pack.json: its clock ran faster than the wall" in said) == (0, True)
    assert "its clock ran faster" not in run(unzipped(packed(told)), folder)[1]


def test_a_tail_that_was_cut_off_with_its_rows_is_named_at_once(company, auditor, folder):
    """Cut where a seal ends, what is left follows and is sealed: only the request's row knows of more."""
    request = ask_for_payment(company)
    seals.seal_now(MONDAY_9AM)
    left = AuditEvent.objects.filter(chain=request.ref).count()
    answer(request, company.finance_manager, now=MONDAY_9AM)
    seals.seal_now(MONDAY_9AM)
    cut = AuditEvent.objects.filter(chain=request.ref, seq__gt=left)
    with lifted(connection):
        Decision.objects.filter(request=request).delete()
        SealedEvent.objects.filter(event__in=list(cut)).delete()
        cut.delete()
    before = unzipped(packed(ActionRequest.objects.get(pk=request.pk)))

    url = reverse("approvals:request-evidence", args=[request.ref])
    taken = unzipped(signed_in(auditor).post(url).content)

    for files in (before, taken):
        code, said = run(files, folder)
        assert code == 1
        assert any(f"event {left + 1} of {request.ref} is missing" in e for e in wrongs(said)), said
        assert standing(files, "the events follow each other, without a gap") == "contradicted"
        assert len(read(files, "events.json")) == left


def test_a_review_cannot_pass_for_closed_by_the_closing_of_another(told, auditor, folder):
    """Two of one kind: the record says of each closing which of them it closed."""
    one = closed_review(told, auditor, MONDAY_9AM)
    at = MONDAY_9AM + timedelta(minutes=1)
    other = open_spot_check(ref=told.ref, actor=auditor, reason="Look again.", now=at)
    Review.objects.filter(pk=other.pk).update(asked=one.asked)
    whole = Review.objects.filter(pk=one.pk)
    is_open = {"state": "open", "finding": "", "closed_at": None, "closed_by": None, "due_at": at}
    assert run(packed_review(other), folder)[0] == run(packed_review(one), folder)[0] == 0

    whole.update(**is_open)
    _, said = run(packed_review(whole.get()), folder)
    assert "review.json: it stands open, and the record closed it" in wrongs(said)

    found = record_finding(
        review=other.pk, actor=one.asked, finding="justified", note="Fine.", now=at
    )
    whole.update(state=found.state, finding=found.finding, closed_at=at, closed_by=found.closed_by)
    _, said = run(packed_review(whole.get()), folder)
    assert wrongs(said) == ["review.json: was closed by the closing of another review"]


def packed_review(review):
    return unzipped(build(subject_of_review(review), by="person:auditor", now=MONDAY_9AM))


def test_a_cleanup_whose_details_somebody_replaced_stops_no_pack(told, folder):
    """What nobody recorded is named; no page of ours fails over it."""
    cleanup = ReviewFactory(
        request=told, kind="cleanup", state="cleaned_up", due_at=None, closed_at=MONDAY_9AM,
        closed_by=PersonFactory(), second_person=PersonFactory(), target_reference="X-1",
        details=["odd"],
    )  # fmt: skip

    code, said = run(packed_review(cleanup), folder)

    assert (code, "review.json: no event of the record closed it" in wrongs(said)) == (1, True)


def test_the_maker_checks_seals_by_the_library_and_finds_the_same(told):
    """In a web process each signature by the verifier's own arithmetic would take longer than all the rest."""
    with mock.patch.dict(
        claims._VERIFIER.__dict__, {"_times": mock.Mock(side_effect=AssertionError)}
    ):
        assert standing(unzipped(packed(told)), SEALED) == "proven"
        with lifted(connection):
            Seal.objects.update(signature="00" * 64)
        assert standing(unzipped(packed(told)), SEALED) == "contradicted"


SEALED = "each seal is signed and follows the one before"


@pytest.mark.parametrize("value", [1234567890123456789, 1234567890123456789.0])
def test_what_has_no_canonical_form_is_kept_back_all_the_same(told, value):
    snapshot = Snapshot.objects.filter(request=told).earliest("pk")
    Snapshot.objects.filter(pk=snapshot.pk).update(before={"value": "old", "iban": value})
    ActionRequest.objects.filter(pk=told.pk).update(payload={**told.payload, "terms": value})

    files = unzipped(packed(ActionRequest.objects.get(pk=told.pk)))

    everything = b"".join(files.values())
    assert b"1234567890123456" not in everything
    assert b"1.234567890123456" not in everything
    [line, *_] = read(files, "snapshots.json")
    assert line["before"]["why"] == "This state has no canonical form, and no digest."


def test_facts_that_nothing_of_ours_wrote_stop_no_pack(told, folder):
    kinds = ("request.submitted", "step.decided", "snapshot.taken", "snapshot.compared")
    for odd in ([], "x", 7, {"record": ["line/1"], "verdict": {}, "digest": None}):
        with lifted(connection):
            AuditEvent.objects.filter(chain=told.ref, kind__in=kinds).update(facts=odd)

        code, said = run(unzipped(packed(told)), folder)

        assert code == 1
        assert "(step.decided): its content does not give its hash" in said


def test_a_name_too_long_for_the_record_is_no_other_person(company, timeline, folder):
    person = company.finance_manager
    person.username = "f" * 150
    person.save()
    request = ask_for_payment(company)
    answer(request, person, now=MONDAY_9AM)

    code, said = run(unzipped(packed(request)), folder)

    assert (code, wrongs(said)) == (0, [])
    assert "ok    the decisions are the recorded ones" in said


def test_a_console_that_knows_few_letters_is_told_all_the_same(kept, tmp_path):
    for name, content in {**kept["pack"], "b\u00fccher.txt": b"Believe me."}.items():
        (tmp_path / name).write_bytes(content)

    done = subprocess.run(
        [sys.executable, "-I", "-S", "-X", "utf8=0", tmp_path / "verify.py"],
        capture_output=True, env={"LC_ALL": "C"}, cwd=tmp_path,
    )  # fmt: skip

    assert (done.returncode, done.stderr) == (1, b"1 things are wrong. Do not rely on this pack.\n")
    assert b"cher.txt: is not of this pack" in done.stdout


def test_an_edited_event_of_the_database_is_found_in_its_pack(told, folder):
    decided = AuditEvent.objects.filter(chain=told.ref, kind="step.decided")
    with lifted(connection):
        decided.update(facts={"verdict": "reject"})

    code, said = run(unzipped(packed(told)), folder)

    assert code == 1
    assert any("(step.decided): its content does not give its hash" in e for e in wrongs(said))


# --- Who may, and the record of it ---


def signed_in(person):
    client = Client()
    client.force_login(person, backend="django.contrib.auth.backends.ModelBackend")
    return client


def test_auditors_and_compliance_take_it_and_that_is_recorded(told, auditor, company, folder):
    url = reverse("approvals:request-evidence", args=[told.ref])
    page = reverse("approvals:request", args=[told.ref])
    assert url in signed_in(auditor).get(page).content.decode()
    assert url not in signed_in(company.finance_manager).get(page).content.decode()

    sent = signed_in(auditor).post(url)

    assert (sent.status_code, sent["Content-Type"]) == (200, "application/zip")
    assert f'filename="evidence-{told.ref}.zip"' in sent["Content-Disposition"]
    files = unzipped(sent.content)
    assert run(files, folder)[0] == 0
    last = AuditEvent.objects.filter(chain=told.ref).latest("seq")
    assert (last.kind, last.actor) == ("evidence.packed", "person:auditor")
    assert read(files, "pack.json")["chain"]["length"] == last.seq - 1  # it is about the pack
    seals.seal_now(clock.now())
    assert read(unzipped(packed(told)), "pack.json")["chain"]["length"] == last.seq
    compliance = PersonFactory(roles=[RoleFactory(key="compliance")])
    assert signed_in(compliance).post(url).status_code == 200
    refused = signed_in(company.finance_manager).post(url)  # who was asked, and so may see it
    assert (refused.status_code, AuditEvent.objects.filter(chain=told.ref).count()) == (
        403,
        last.seq + 1,
    )
    assert signed_in(PersonFactory()).post(url).status_code == 404
    assert signed_in(auditor).get(url).status_code == 405


def test_a_review_is_packed_for_whoever_may_see_it(told, auditor, company, folder):
    reviewer = PersonFactory(username="reviewer")
    told.refresh_from_db()
    review = open_spot_check(ref=told.ref, actor=auditor, reason=BAD, now=MONDAY_9AM)
    Review.objects.filter(pk=review.pk).update(asked=reviewer)
    url = reverse("approvals:review-evidence", args=[review.pk])
    page = reverse("approvals:review", args=[review.pk])
    assert url in signed_in(reviewer).get(page).content.decode()

    sent = signed_in(reviewer).post(url)

    assert sent.status_code == 200
    files = unzipped(sent.content)
    assert run(files, folder)[0] == 0
    assert read(files, "review.json")["opened"]["reason"] == BAD
    assert read(files, "review.json")["closed"] is None
    assert signed_in(company.finance_manager).post(url).status_code == 404
    last = AuditEvent.objects.filter(chain=told.ref).latest("seq")
    assert last.facts == {"review": review.pk, "of": "spot_check"}


def test_a_pack_seals_nothing_and_writes_no_seal_outside(
    told, auditor, settings, django_capture_on_commit_callbacks
):
    before = list(Seal.objects.values())

    with django_capture_on_commit_callbacks(execute=True):
        sent = signed_in(auditor).post(reverse("approvals:request-evidence", args=[told.ref]))

    assert sent.status_code == 200
    assert list(Seal.objects.values()) == before
    assert not settings.SEAL_EXPORT.exists()


def test_the_command_writes_one_and_says_what_is_not_there(told, tmp_path, capsys, folder):
    out = tmp_path / "pack.zip"
    call_command("evidence", told.ref, "--output", str(out))
    assert run(unzipped(out.read_bytes()), folder)[0] == 0
    assert AuditEvent.objects.filter(chain=told.ref).latest("seq").actor == "manage.py"
    review = ReviewFactory(request=told, kind="spot_check")
    call_command("evidence", told.ref, "--review", str(review.pk), "--output", str(out))
    assert "review.json" in unzipped(out.read_bytes())

    for arguments in (["R-0000-0000-0000"], [told.ref, "--review", "999"]):
        with pytest.raises(CommandError):
            call_command("evidence", *arguments, "--output", str(out))
    with pytest.raises(CommandError, match="cannot be written"):
        call_command("evidence", told.ref, "--output", str(tmp_path / "no" / "pack.zip"))
