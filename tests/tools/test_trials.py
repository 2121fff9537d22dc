"""The sweeps over crashes and faults: they count, they kill, and they notice."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from datetime import timedelta

import pytest

from governance.audits import Found, Look
from tests.factories import MONDAY_9AM
from tools.processes import ROOT
from tools.trials import verdict
from tools.trials.__main__ import chosen_of, read_options
from tools.trials.forking import ChildFailed, in_child
from tools.trials.points import Points, Watched
from tools.trials.proxy import Proxy
from tools.trials.targets import tryton
from tools.trials.targets.demo import DemoTarget
from tools.trials.verdict import complaints, differences

CLEAN = {"ledger": [], "audit": [], "effects": [], "keys": ["a/1"], "by_hand": []}


def sweep(*words):
    """Run a sweep as the Makefile does. Returns its exit code and what it printed."""
    done = subprocess.run(
        [sys.executable, "-m", "tools.trials", *words],
        cwd=ROOT,
        env={name: value for name, value in os.environ.items() if not name.startswith("RECOURSE")},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=600,
        check=False,
    )
    return done.returncode, done.stdout


# On PostgreSQL every point of these is tried by `make crash-sweep`, which .ci/run has there as well.
@pytest.mark.processes
@pytest.mark.sqlite_only
def test_a_payment_whose_worker_is_killed_as_the_target_has_paid_ends_as_if_nothing_had_happened():
    code, printed = sweep("crash", "--only", "payment", "--points", "POST payments")

    assert code == 0, printed
    assert re.search(
        r"^payment, forward: \d+ points counted, 1 run, 0 put to a person, 0 failed",
        printed,
        re.MULTILINE,
    )


@pytest.mark.processes
@pytest.mark.sqlite_only
def test_a_connector_that_sends_again_as_something_new_is_found_out():
    code, printed = sweep(
        "crash", "--only", "payment", "--points", "POST payments",
        "--connector", "tests.tools.forgetful.connector_of",
    )  # fmt: skip

    assert code == 1
    assert re.search(
        r"^payment, forward, point \d+: the target has done POST", printed, re.MULTILINE
    )
    assert printed.splitlines()[-1].partition(" points run, ")[2].startswith("1 failures")


@pytest.mark.processes
@pytest.mark.sqlite_only
def test_a_target_is_put_back_to_how_it_stood_while_it_runs(tmp_path):
    import httpx2

    with DemoTarget(tmp_path) as target:
        here = target.address()
        headers = {"Authorization": f"Bearer {here['token']}"}
        before, kept = target.books(), target.keep()
        httpx2.put(
            f"{here['url']}/periods/2031-q1", json={"state": "closed"}, headers=headers
        ).raise_for_status()
        assert target.books() != before

        target.restore(kept)

        assert target.books() == before
        assert before["balanced"]
        read = httpx2.get(f"{here['url']}/periods/2031-q1", headers=headers)
        assert read.json().get("state") != "closed"


@pytest.mark.parametrize(
    ("words", "names"),
    [
        ([], ["payment", "five-line order", "blind payment"]),
        (["--target", "tryton"], ["payment", "five-line order"]),
        (["--only", "five"], ["five-line order"]),
    ],
)
def test_what_is_tried_of_what(words, names):
    chosen = chosen_of(read_options(["crash", *words]))

    assert [each.name for each in chosen] == names


# --- Children ---


def test_a_child_says_what_it_found():
    assert in_child(lambda say: {"pid": os.getpid()}).answer["pid"] != os.getpid()


def test_a_child_that_fails_is_told_of_with_its_traceback():
    def work(say):
        raise ValueError("no such thing")

    with pytest.raises(ChildFailed, match="no such thing"):
        in_child(work)


def test_a_child_that_takes_too_long_is_ended():
    started = time.monotonic()

    with pytest.raises(ChildFailed, match="not done within"):
        in_child(lambda say: time.sleep(60), within_s=0.2)

    assert time.monotonic() - started < 30


def test_a_worker_dies_at_its_point_and_runs_nothing_more(tmp_path):
    left = tmp_path / "left"

    def work(say):
        points = Points(die_at=2, last_words=say)
        try:
            points.reach("one")
            points.reach("two")
        finally:
            left.touch()

    outcome = in_child(work)

    assert outcome.killed
    assert outcome.last_words == "two"
    assert not left.exists()


def test_points_that_are_only_counted_have_their_names():
    points = Points(last_words=lambda words: None)

    class Connector:
        def send(self, body, *, key, version=""):
            points.reach("in the call")
            return "receipt"

    assert Watched(Connector(), points).send({}, key="a/1") == "receipt"
    assert points.reached == ["before a/1 is sent", "in the call", "after a/1 was answered"]


# --- What is wrong with an end ---


def test_nothing_is_wrong_where_effects_are_checkpoints():
    assert list(complaints(CLEAN, {"keys": ["a/1"], "balanced": True})) == []


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        (["a/1", "a/1"], "a/1 was done 2 times in the target"),
        (["a/1", "a/2"], "the target did a/2, and there is no checkpoint for it"),
        ([], "there is a checkpoint for a/1, and the target knows nothing of it"),
    ],
)
def test_an_effect_too_many_or_too_few_is_found(keys, said):
    assert list(complaints(CLEAN, {"keys": keys, "balanced": True})) == [said]


@pytest.mark.parametrize("part", ["ledger", "audit", "effects"])
def test_whatever_an_audit_finds_is_found(part):
    found = {**CLEAN, part: ["something"]}

    assert list(complaints(found, {"keys": ["a/1"], "balanced": True})) == [f"{part}: something"]


@pytest.mark.parametrize(
    ("fails", "found"), [([], []), ([1], []), ([1, 2], ["no answer"]), ([2], ["no answer"])]
)
def test_what_failed_to_answer_once_is_asked_again_in_the_next_round(fails, found, monkeypatch):
    rounds = []

    def find(now):
        rounds.append(now)
        if len(rounds) in fails:
            yield Found("list 1", "no answer")

    monkeypatch.setattr(verdict, "OUTSIDE", {"lists": Look(find, "Look.")})

    assert verdict.effects(MONDAY_9AM) == found
    assert rounds == [MONDAY_9AM, MONDAY_9AM + timedelta(minutes=1)]


def test_books_that_do_not_balance_are_found():
    assert list(complaints(CLEAN, {"keys": ["a/1"], "balanced": False})) == [
        "the target's books do not balance"
    ]


def test_what_a_person_did_needs_no_key_of_ours():
    found = {**CLEAN, "keys": [], "by_hand": ["a/1"]}

    assert list(complaints(found, {"keys": [], "balanced": True})) == []


def test_differences_say_where():
    wanted = {"units": [{"state": "done"}], "same": 1}
    found = {"units": [{"state": "sent"}], "same": 1, "more": 2}

    assert list(differences(wanted, found)) == [
        "units[0].state: 'sent' instead of 'done'",
        "more: 2 instead of None",
    ]


@pytest.mark.parametrize(
    ("text", "keys"),
    [
        ("Pay tryton:northwind%20paper:inv-1:~0/1", ["tryton:northwind%20paper:inv-1:~0/1"]),
        ("Enter t:so-1~2/3\nCancel t:so-1~2/undo/3", ["t:so-1~2/3", "t:so-1~2/undo/3"]),
        ("Pay the rest soon", []),
        (None, []),
    ],
)
def test_marks_of_ours_are_found_in_the_texts_of_an_erp(text, keys):
    assert tryton.marked([text]) == keys


# --- The proxy, without mitmproxy ---


class Behind:
    key = "demo"

    def address(self):
        return {"url": "http://127.0.0.1:1/erp/", "token": "one"}


@pytest.fixture
def proxy(tmp_path):
    made = Proxy(tmp_path, Behind())
    made.make_directory()
    made.plan(at=2, fault="lost")
    return made


def test_a_target_is_spoken_to_through_the_proxy_at_the_same_path(proxy):
    there = proxy.address()

    assert there["token"] == "one"
    assert there["url"].endswith("/erp/")
    assert ":1/" not in there["url"]


def test_calls_of_an_earlier_run_are_not_counted(proxy, tmp_path):
    log = next(tmp_path.rglob("plan.json")).with_name("1.log")
    log.write_text('{"what": "in", "n": 1, "fault": "", "call": "GET /"}\n')
    assert [call.what for call in proxy.calls()] == ["GET /"]

    proxy.plan()

    assert proxy.calls() == []


def test_it_is_waited_for_calls_under_way(proxy, tmp_path):
    log = next(tmp_path.rglob("plan.json")).with_name("1.log")
    log.write_text('{"what": "in", "n": 1, "fault": "late", "call": "POST /"}\n')
    with pytest.raises(TimeoutError):
        proxy.be_quiet(within_s=0.1)

    with log.open("a") as file:
        file.write('{"what": "over", "n": 1, "fault": "late", "call": "POST /"}\n')

    proxy.be_quiet(within_s=0.1)
