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
from tools.processes import ROOT

pytestmark = pytest.mark.processes
PEOPLE = {
    "finance_manager", "senior_accountant", "controller", "cfo", "ceo", "resource_owner", "oncall",
    "oncall_manager", "operator", "compliance", "compliance_2", "head_of_compliance", "auditor",
    "second_reviewer", "policy_admin", "second_admin",
}  # fmt: skip


@pytest.fixture(scope="module")
def own_database():
    """A database for one demo, of the kind this suite is about. None: SQLite."""
    url = os.environ.get("DATABASE_URL")
    if not is_postgres(url):
        yield None
        return
    with fresh_database(url) as fresh:
        yield fresh


@pytest.fixture(scope="module")
def demo(own_database):
    with Demo(speed=60, database_url=own_database) as running:
        yield running


def ask(url, token=None):
    request = urllib.request.Request(url)  # noqa: S310 - loopback
    if token is not None:
        request.add_header("Authorization", f"Bearer {token}")
    with urllib.request.urlopen(request, timeout=10) as answer:  # noqa: S310
        return json.load(answer)


def test_the_demo_file_names_what_others_need(demo):
    facts = json.loads(demo.demo_file.read_text())

    assert facts["url"] == demo.url
    assert facts["clock"]["speed"] == 60
    assert {user["username"] for user in facts["users"]} >= PEOPLE
    assert all(set(user) >= {"username", "password", "roles"} for user in facts["users"])
    assert "ap-agent" in demo.agents
    assert "target" in facts


def test_the_demo_file_is_for_its_owner_alone(demo):
    assert stat.S_IMODE(demo.demo_file.stat().st_mode) == 0o600


def test_the_page_for_log_in_and_its_styles_are_served(demo):
    code, page = get(f"{demo.url}/accounts/login/")

    assert code == 200
    assert b'name="login"' in page
    assert b'name="password"' in page


def test_the_agent_of_the_demo_file_is_let_in(demo):
    catalogue = ask(f"{demo.url}/api/v1/actions/", demo.agents["ap-agent"]["token"])

    assert "vendor_payment" in json.dumps(catalogue)


@pytest.mark.parametrize("command", ["verify_ledger", "audit"])
def test_the_record_is_clean(demo, command):
    code, words = demo.manage(command)

    assert code == 0, words


def test_a_worker_that_was_killed_with_its_cluster_is_replaced_and_all_is_good_again(demo):
    before = set(demo.pids("worker"))
    assert len(before) > 2  # the watchdog, the cluster, its workers

    demo.kill("worker")
    demo.restart("worker")

    until(lambda: len(demo.pids("worker")) > 2, seconds=60)
    until(lambda: demo.status().get("ok") is True, seconds=90)
    assert not before & set(demo.pids("worker"))


@pytest.fixture
def make_demo(start, tmp_path, own_database):
    """Start the program itself, over a directory of its own."""

    def begin(*options, **environment):
        files = ["--var", str(tmp_path / "var"), "--demo-file", str(tmp_path / ".demo.json")]
        return start(
            sys.executable, "-m", "tools.demo", "--port", str(free_port()), *files, *options,
            DATABASE_URL=own_database or "", **environment,
        )  # fmt: skip

    return begin


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL])
def test_however_it_ends_no_process_of_the_product_is_left(make_demo, tmp_path, signum):
    program = make_demo("--speed", "60")
    program.says("Recourse runs at", seconds=180)
    assert len(program.everyone()) > 6  # with the cluster's workers, in a session of their own

    program.send(signum)

    code = program.ends()
    until(lambda: program.everyone() == [])
    assert code == (-signum if signum == signal.SIGKILL else 0)
    assert (tmp_path / ".demo.json").exists()


def test_a_process_of_the_product_that_dies_is_named_and_ends_the_demo(make_demo):
    program = make_demo()
    program.says("Recourse runs at", seconds=180)
    clocks = [pid for pid in program.everyone() if command_line(pid)[-1:] == ["clock"]]

    os.kill(clocks[0], signal.SIGKILL)

    assert program.ends() == 1
    assert "clock ended (SIGKILL)." in program.output
    assert program.everyone() == []


def test_data_is_kept_or_replaced_as_asked(tmp_path, own_database):
    common = {"procfile": tmp_path / "Procfile", "var": tmp_path, "database_url": own_database}
    common["procfile"].write_text(f"web: {(ROOT / 'Procfile').read_text().split('web: ')[1]}")
    with Demo(**common, good=lambda url: "") as first:
        seals = (tmp_path / "seals.jsonl").read_text()
        token = first.agents["ap-agent"]["token"]
    said = []

    with Demo(**common, keep=True, good=lambda url: "", say=said.append) as kept:
        assert (tmp_path / "seals.jsonl").read_text().startswith(seals)
        code, _ = kept.manage("verify_ledger")
        assert code == 0
    assert "Going on with the data of the last run (KEEP=1)." in said

    with Demo(**common, good=lambda url: "", say=said.append) as afresh:
        assert not (tmp_path / "seals.jsonl").read_text().startswith(seals)
        assert afresh.agents["ap-agent"]["token"] != token
    assert "Starting afresh: the data of the last run goes. KEEP=1 keeps it." in said


def test_a_database_of_somebody_else_is_left_alone(tmp_path):
    path = tmp_path / "books.sqlite3"
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE ledger (id)")
    connection.close()
    before = path.read_bytes()

    with pytest.raises(DemoError, match="no demo wrote"), Demo(database_url=f"sqlite:///{path}"):
        pass

    assert path.read_bytes() == before
