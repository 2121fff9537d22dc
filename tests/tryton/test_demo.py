"""`make demo TARGET=tryton`: the ERP beside the demo's own target, kept when its data is kept."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing

import pytest

from tests.processes.telltale import Search, database, files
from tests.tryton.test_tool import servers
from tools.demo import ERP, Demo, DemoError
from tools.story.telling import Agent, log_in, wait_for
from tools.tryton import Rpc
from tools.tryton.serving import DATABASE

pytestmark = pytest.mark.tryton
PARTY = {"name": "Entered by hand", "code": "V-9999"}


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    var = tmp_path_factory.mktemp("demo") / "var"
    with Demo(target="tryton", var=var, speed=60, environment={"LOG_LEVEL": "DEBUG"}) as running:
        yield running


def test_the_demo_file_opens_the_erp_and_keeps_its_pinned_shape(demo):
    written = json.loads(demo.demo_file.read_text())
    clerk = Rpc(**written["erp"])

    assert set(written["target"]) == {"url", "token"}
    assert clerk.rows("party.party", [("code", "=", "V-1001")], ["name"])
    assert demo.erp_books().balanced()
    assert servers(demo.var)


def test_what_opens_the_erp_is_written_nowhere(demo, django_db_blocker):
    pay(demo)
    with closing(sqlite3.connect(demo.erp_directory / DATABASE)) as books:
        sessions = [key for (key,) in books.execute("SELECT key FROM ir_session")]
    secrets = {"password": demo.erp["password"], **dict(enumerate(sessions))}
    search = Search(secrets)
    with django_db_blocker.unblock():
        rows = list(database(demo.environment["DATABASE_URL"]))
    written = dict(files(demo.var, but=["demo.json"]))  # is for whoever started it
    ours = [(name, text) for name, text in written.items() if not name.startswith(f"{ERP}/")]

    assert sessions
    assert len(rows) > 1000
    assert {"log/erp.log", "log/worker.log", "log/web.log"} <= {name for name, _ in ours}
    assert search.leaks([("where they would be", str(secrets))])
    assert search.leaks([*rows, *ours]) == []


def test_what_was_done_in_the_erp_is_kept_when_the_data_is(demo):
    demo.erp_books().rpc("model.party.party.create", [PARTY])
    demo.stop()
    assert not servers(demo.var)

    with Demo(var=demo.var, keep=True) as kept:
        codes = [("code", "=", PARTY["code"])]
        assert kept.erp_books().rpc.rows("party.party", codes, ["name"])


def pay(demo):
    """Have a bill paid in the ERP, as an agent asks for it and people approve."""
    with (
        closing(Agent(demo.url, demo.agents["ap-agent"]["token"])) as agent,
        closing(log_in(demo, "operator")) as operator,
    ):
        body = agent.get("/api/v1/actions/vendor_payment/")["example"]
        ref = agent.submit(body, "pay-it").json()["ref"]
        story = operator.story(ref)
        for asked in story["steps"][0]["asked"]:
            with closing(log_in(demo, asked["person"])) as approver:
                form = {"verdict": "approve", "digest": story["digest"]}
                approver.send(approver.page(f"/requests/{ref}/"), f"/requests/{ref}/decide/", form)
        wait_for("paid", lambda: operator.story(ref)["state"] == "completed", seconds=60)


def test_a_demo_that_was_without_an_erp_gets_none_in_the_middle(tmp_path):
    (tmp_path / "recourse.sqlite3").touch()

    with (
        pytest.raises(DemoError, match="without the ERP"),
        Demo(target="tryton", var=tmp_path, keep=True),
    ):
        pass


def test_a_demo_without_an_erp_says_so(tmp_path):
    with pytest.raises(DemoError, match="has no ERP"):
        Demo(var=tmp_path).erp  # noqa: B018 - that it raises
