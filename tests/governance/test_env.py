"""Where targets are, as the environment tells it."""

from __future__ import annotations

import pytest
from django.core.exceptions import ImproperlyConfigured

from governance.env import targets


def test_each_target_has_variables_of_its_own(monkeypatch):
    monkeypatch.setenv("TARGET_SAP_PROD_URL", "https://sap.example.com/api")
    monkeypatch.setenv("TARGET_SAP_PROD_TOKEN", "secret")
    monkeypatch.delenv("TARGET_DEMO_URL", raising=False)
    monkeypatch.delenv("TARGET_DEMO_TOKEN", raising=False)

    assert targets(["sap-prod", "demo"]) == {
        "sap-prod": {"url": "https://sap.example.com/api", "token": "secret"},
        "demo": {"url": "", "token": ""},
    }


def test_a_token_may_lie_in_a_file(monkeypatch, tmp_path):
    (tmp_path / "token").write_text("from-a-file\n")
    monkeypatch.setenv("TARGET_SAP_TOKEN_FILE", str(tmp_path / "token"))

    assert targets(["sap"])["sap"]["token"] == "from-a-file"


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("TARGET_SAP_URL", "sap.example.com", "TARGET_SAP_URL must begin with"),
        ("TARGET_SAP_TOKEN", "two\nlines", "TARGET_SAP_TOKEN is no single line"),
        ("TARGET_SAP_TOKEN_FILE", "/nowhere/token", "TARGET_SAP_TOKEN_FILE cannot be read"),
    ],
)
def test_what_cannot_be_used_stops_the_start(monkeypatch, name, value, says):
    monkeypatch.setenv(name, value)

    with pytest.raises(ImproperlyConfigured, match=says):
        targets(["sap"])


def test_a_key_that_is_no_name_stops_the_start():
    with pytest.raises(ImproperlyConfigured, match="names 'S A P'"):
        targets(["S A P"])
