"""`make demo` as a whole: the product's own processes, from an empty directory."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import stat
import sys
import urllib.request

import pytest

from tests.tools.conftest import command_line, until
from tools.demo import Demo, DemoError, free_port, get
from tools.postgres import fresh_database, is_postgres

pytestmark = pytest.mark.processes
# On PostgreSQL these would say the same: `test_database_gone` and .ci/run's story have a whole demo there.
once = pytest.mark.sqlite_only
PEOPLE = {
    "finance_manager", "senior_accountant", "controller", "cfo", "ceo", "resource_owner", "oncall",
    "oncall_manager", "operator", "compliance", "compliance_2", "head_of_compliance", "auditor",
    "second_reviewer", "policy_admin", "second_admin",
}  # fmt: skip


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A directory and a database, used by one demo after the other: migrating takes long."""
    var = tmp_path_factory.mktemp("a demo") / "v+r"
    url = os.environ.get("DATABASE_URL")
    if not is_postgres(url):
        yield {"var": var, "database_url": None}
        return
    with fresh_database(url) as fresh:
        yield {"var": var, "database_url": fresh}


@pytest.fixture(scope="class")
def demo(place):
    with Demo(speed=60, **place) as running:
        yield running


def ask(url, token=None, body=None):
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data)  # noqa: S310 - loopback
    if token is not None:
        request.add_header("Authorization", f"Bearer {token}")
    with urllib.request.urlopen(request, timeout=10) as answer:  # noqa: S310
        return json.load(answer)


@once
class TestARunningDemo:
    def test_the_demo_file_names_what_others_need(self, demo):
        facts = json.loads(demo.demo_file.read_text())

        assert facts["url"] == demo.url
        assert facts["clock"]["speed"] == 60
        assert {user["username"] for user in facts["users"]} >= PEOPLE
        assert all(set(user) >= {"username", "password", "roles"} for user in facts["users"])
        assert "ap-agent" in demo.agents
        assert facts["target"] == demo.target

    def test_the_demo_file_is_for_its_owner_alone(self, demo):
        assert stat.S_IMODE(demo.demo_file.stat().st_mode) == 0o600

    def test_the_page_for_log_in_and_its_styles_are_served(self, demo):
        code, page = get(f"{demo.url}/accounts/login/")

        assert code == 200
        assert b'name="login"' in page
        assert b'name="password"' in page

    def test_the_agent_of_the_demo_file_is_let_in(self, demo):
        catalogue = ask(f"{demo.url}/api/v1/actions/", demo.agents["ap-agent"]["token"])

        assert "vendor_payment" in json.dumps(catalogue)

    def test_the_target_answers_to_the_token_of_the_demo_file(self, demo):
        target = json.loads(demo.demo_file.read_text())["target"]

        assert ask(f"{target['url']}/books", target["token"])["balanced"] is True
        assert ask(f"{target['url']}/faults", target["token"]) == {"faults": []}
        assert get(f"{target['url']}/books")[0] == 401

    def test_the_targets_token_is_kept_for_its_owner_alone(self, demo):
        assert stat.S_IMODE((demo.var / "target_token").stat().st_mode) == 0o600

    @pytest.mark.parametrize("command", ["verify_ledger", "audit"])
    def test_the_record_is_clean(self, demo, command):
        code, words = demo.manage(command)

        assert code == 0, words

    def test_a_worker_that_was_killed_with_its_cluster_is_replaced_and_all_is_good_again(
        self, demo
    ):
        before = set(demo.pids("worker"))
        assert len(before) > 2  # the watchdog, the cluster, its workers

        demo.kill("worker")
        demo.restart("worker")

        until(lambda: len(demo.pids("worker")) > 2, seconds=60)
        until(lambda: demo.status().get("ok") is True, seconds=90)
        assert not before & set(demo.pids("worker"))


def get_operations(demo):
    return ask(f"{demo.target['url']}/operations", demo.target["token"])["operations"]


@pytest.fixture
def make_demo(start, tmp_path, place):
    """Start the program itself, going on with the data of the demo before."""

    def begin(**environment):
        files = ["--var", str(place["var"]), "--demo-file", str(tmp_path / ".demo.json")]
        return start(
            sys.executable, "-m", "tools.demo", "--port", str(free_port()), "--keep", *files,
            DATABASE_URL=place["database_url"] or "", SPEED="60", **environment,
        )  # fmt: skip

    return begin


@once
@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGKILL])
def test_however_it_ends_no_process_of_the_product_is_left(make_demo, tmp_path, signum):
    program = make_demo()
    program.says("Recourse runs at", seconds=240)
    assert len(program.everyone()) > 6  # with the cluster's workers, in a session of their own

    program.send(signum)

    code = program.ends()
    until(lambda: program.everyone() == [])
    assert code == (-signum if signum == signal.SIGKILL else 0)
    assert (tmp_path / ".demo.json").exists()


@once
def test_a_process_of_the_product_that_dies_is_named_and_ends_the_demo(make_demo):
    program = make_demo()
    program.says("Recourse runs at", seconds=240)
    clocks = [pid for pid in program.everyone() if command_line(pid)[-1:] == ["clock"]]

    os.kill(clocks[0], signal.SIGKILL)

    assert program.ends() == 1
    assert "clock ended (SIGKILL)." in program.output
    assert program.everyone() == []


@pytest.fixture
def lived_in(place, stand_ins):
    """The place, in which a demo has run."""
    if not (place["var"] / "seals.jsonl").exists():
        with Demo(procfile=stand_ins(web="web"), **place):
            pass
    return place


def test_data_is_kept_or_replaced_as_asked(stand_ins, lived_in):
    said, place = [], lived_in
    procfile = stand_ins(web="web")  # what is asked here is asked before the start
    seals = place["var"] / "seals.jsonl"

    with Demo(procfile=procfile, keep=True, say=said.append, **place) as kept:
        before = seals.read_text()
        bill = {"vendor": "V", "invoice": "1", "amount": {"value": "1", "currency": "USD"}}
        ask(f"{kept.target['url']}/bills", kept.target["token"], bill)
        assert kept.manage("verify_ledger")[0] == 0
    assert "Going on with the data of the last run (KEEP=1)." in said

    with Demo(procfile=procfile, keep=True, **place) as again:
        assert again.target["token"] == kept.target["token"]
        assert ask(f"{again.target['url']}/bills/v/1", again.target["token"])["invoice"] == "1"

    with Demo(procfile=procfile, say=said.append, **place) as replaced:
        assert get_operations(replaced) == []
        assert not seals.read_text().startswith(before.splitlines()[0])
        assert replaced.manage("verify_ledger")[0] == 0
    assert "Starting afresh: the data of the last run goes. KEEP=1 keeps it." in said


@once
def test_a_database_of_somebody_else_is_left_alone(tmp_path):
    path = tmp_path / "books.sqlite3"
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE ledger (id)")
    connection.close()
    before = path.read_bytes()

    with pytest.raises(DemoError, match="no demo wrote"), Demo(database_url=f"sqlite:///{path}"):
        pass

    assert path.read_bytes() == before
