"""`make demo TARGET=tryton`: the ERP beside the demo's own target, kept when its data is kept."""

from __future__ import annotations

import json

import pytest

from tests.tryton.test_tool import servers
from tools.demo import Demo, DemoError
from tools.tryton import Rpc

pytestmark = pytest.mark.tryton
PARTY = {"name": "Entered by hand", "code": "V-9999"}


def test_the_demo_file_opens_the_erp_and_keeps_its_pinned_shape(tmp_path):
    with Demo(target="tryton", var=tmp_path, speed=60) as demo:
        written = json.loads(demo.demo_file.read_text())
        clerk = Rpc(**written["erp"])

        assert set(written["target"]) == {"url", "token"}
        assert clerk.rows("party.party", [("code", "=", "V-1001")], ["name"])
        assert demo.erp_books().balanced()
        assert "password" not in demo.log("erp") + demo.log("prepare-erp")
        assert servers(tmp_path)

        demo.erp_books().rpc("model.party.party.create", [PARTY])

    assert not servers(tmp_path)
    with Demo(var=tmp_path, keep=True) as kept:
        codes = [("code", "=", PARTY["code"])]
        assert kept.erp_books().rpc.rows("party.party", codes, ["name"])


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
