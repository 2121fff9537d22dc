"""Where targets are, as the environment tells it."""

from __future__ import annotations

import base64
from pathlib import Path

import pytest
from django.core.exceptions import ImproperlyConfigured

from governance.env import retired_seal_keys, sandboxes, seal_file, seal_key, targets

KEY = base64.b64encode(bytes(range(32))).decode()


def test_each_target_has_variables_of_its_own(monkeypatch):
    monkeypatch.setenv("TARGET_SAP_PROD_URL", "https://sap.example.com/api")
    monkeypatch.setenv("TARGET_SAP_PROD_TOKEN", "secret")
    monkeypatch.delenv("TARGET_DEMO_URL", raising=False)
    monkeypatch.delenv("TARGET_DEMO_TOKEN", raising=False)

    found = targets(["sap-prod", "demo"])

    told = {"url": "https://sap.example.com/api", "token": "secret"}
    assert {name: value for name, value in found["sap-prod"].items() if value} == told
    assert found["demo"]["url"] == found["demo"]["token"] == ""
    assert found["demo"].keys() == found["sap-prod"].keys()


@pytest.mark.parametrize("name", ["token", "password", "private_key"])
def test_a_secret_may_lie_in_a_file(monkeypatch, tmp_path, name):
    (tmp_path / "secret").write_text("from-a-file\n")
    monkeypatch.setenv(f"TARGET_SAP_{name.upper()}_FILE", str(tmp_path / "secret"))

    assert targets(["sap"])["sap"][name] == "from-a-file"


def test_what_is_no_secret_is_read_as_it_stands(monkeypatch):
    monkeypatch.setenv("TARGET_ERP_USER", "recourse")
    monkeypatch.setenv("TARGET_ERP_CLIENT_ID", "c-1")
    monkeypatch.setenv("TARGET_ERP_CERTIFICATE_ID", "k-1")

    found = targets(["erp"])["erp"]

    assert (found["user"], found["client_id"], found["certificate_id"]) == (
        "recourse",
        "c-1",
        "k-1",
    )


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("TARGET_SAP_URL", "sap.example.com", "TARGET_SAP_URL must begin with"),
        ("TARGET_SAP_TOKEN", "two\nlines", "TARGET_SAP_TOKEN is no single line"),
        ("TARGET_SAP_PASSWORD", "two\nlines", "TARGET_SAP_PASSWORD is no single line"),
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


def test_a_sandbox_is_read_as_its_target_is_and_left_out_where_there_is_none(monkeypatch):
    monkeypatch.setenv("TARGET_SAP_URL", "https://sap.example.com/api")
    monkeypatch.setenv("TARGET_SAP_TOKEN", "secret")
    monkeypatch.setenv("TARGET_SAP_SANDBOX_URL", "https://sap.example.com/sandbox")
    monkeypatch.setenv("TARGET_SAP_SANDBOX_TOKEN", "other")

    found = sandboxes(["sap", "erp"])

    assert found.keys() == {"sap"}
    assert (found["sap"]["url"], found["sap"]["token"]) == (
        "https://sap.example.com/sandbox",
        "other",
    )


@pytest.mark.parametrize(
    "sandbox",
    [
        "https://sap.example.com/api",
        "http://SAP.example.com/api/",
        "https://u@sap.example.com/api",
        "https://sap.example.com:443/api",
        "http://sap.example.com:80/api",
        "https://sap.example.com./api",
        "https://sap.example.com//api/",
        "https://sap.example.com/x/../%61pi",
        "https://sap.example.com/api?client=100",
    ],
)
def test_a_target_is_never_its_own_sandbox(monkeypatch, sandbox):
    monkeypatch.setenv("TARGET_SAP_URL", "https://sap.example.com/api")
    monkeypatch.setenv("TARGET_SAP_SANDBOX_URL", sandbox)

    with pytest.raises(
        ImproperlyConfigured, match="TARGET_SAP_SANDBOX_URL is TARGET_SAP_URL itself"
    ):
        sandboxes(["sap"])


@pytest.mark.parametrize(
    "sandbox", ["localhost", "127.0.0.2", "[::1]", "LOCALHOST.", "[::ffff:7f00:1]"]
)
def test_this_machine_is_one_whatever_it_is_called(monkeypatch, sandbox):
    monkeypatch.setenv("TARGET_SAP_URL", "http://127.0.0.1:8001")
    monkeypatch.setenv("TARGET_SAP_SANDBOX_URL", f"http://{sandbox}:8001/")

    with pytest.raises(ImproperlyConfigured, match="itself"):
        sandboxes(["sap"])


def test_nor_is_it_anothers(monkeypatch):
    monkeypatch.setenv("TARGET_SAP_URL", "https://sap.example.com")
    monkeypatch.setenv("TARGET_ERP_URL", "https://erp.example.com")
    monkeypatch.setenv("TARGET_SAP_SANDBOX_URL", "https://erp.example.com")

    with pytest.raises(
        ImproperlyConfigured, match="TARGET_SAP_SANDBOX_URL is TARGET_ERP_URL itself"
    ):
        sandboxes(["sap", "erp"])


@pytest.mark.parametrize("url", ["https://sap.example.com:port", "https://[sap.example.com"])
def test_a_sandbox_whose_place_cannot_be_told_stops_the_start(monkeypatch, url):
    monkeypatch.setenv("TARGET_SAP_URL", "https://sap.example.com")
    monkeypatch.setenv("TARGET_SAP_SANDBOX_URL", url)

    with pytest.raises(ImproperlyConfigured, match="TARGET_SAP_SANDBOX_URL is no address"):
        sandboxes(["sap"])


def test_two_on_one_machine_are_two(monkeypatch):
    monkeypatch.setenv("TARGET_SAP_URL", "http://127.0.0.1:8001")
    monkeypatch.setenv("TARGET_SAP_SANDBOX_URL", "http://127.0.0.1:8002")

    assert sandboxes(["sap"]).keys() == {"sap"}


def test_the_seal_key_stands_in_the_environment_or_in_a_file(monkeypatch, tmp_path):
    monkeypatch.delenv("SEAL_KEY_FILE", raising=False)
    monkeypatch.setenv("SEAL_KEY", KEY)
    assert seal_key() == KEY

    (tmp_path / "key").write_text(f"{KEY}\n")
    monkeypatch.delenv("SEAL_KEY")
    monkeypatch.setenv("SEAL_KEY_FILE", str(tmp_path / "key"))
    assert seal_key() == KEY

    monkeypatch.setenv("SEAL_RETIRED_KEYS", f"{KEY},{KEY}")
    assert retired_seal_keys() == [KEY, KEY]


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("SEAL_KEY", "", "Neither SEAL_KEY nor SEAL_KEY_FILE is set"),
        ("SEAL_KEY", "no key", "SEAL_KEY holds what is not 32 bytes in base64"),
        ("SEAL_KEY", KEY[:-4], "SEAL_KEY holds what is not 32 bytes in base64"),
        ("SEAL_KEY_FILE", "/nowhere/key", "SEAL_KEY_FILE cannot be read"),
        ("SEAL_RETIRED_KEYS", f"{KEY},x", "SEAL_RETIRED_KEYS holds what is not 32 bytes"),
    ],
)
def test_a_key_that_cannot_seal_stops_the_start_and_is_not_told(monkeypatch, name, value, says):
    for each in ("SEAL_KEY", "SEAL_KEY_FILE", "SEAL_RETIRED_KEYS"):
        monkeypatch.delenv(each, raising=False)
    monkeypatch.setenv(name, value)

    with pytest.raises(ImproperlyConfigured, match=says) as stopped:
        seal_key() if name != "SEAL_RETIRED_KEYS" else retired_seal_keys()

    assert name == "SEAL_KEY_FILE" or not value or value not in str(stopped.value)


def test_seals_are_exported_to_a_folder_or_to_the_file_that_is_named(monkeypatch):
    monkeypatch.delenv("SEAL_EXPORT", raising=False)
    assert seal_file(Path("/var")) == Path("/var/seals.jsonl")

    monkeypatch.setenv("SEAL_EXPORT", "/mnt/worm/recourse")
    assert seal_file(Path("/var")) == Path("/mnt/worm/recourse/seals.jsonl")

    monkeypatch.setenv("SEAL_EXPORT", "/mnt/worm/ledger.jsonl")
    assert seal_file(Path("/var")) == Path("/mnt/worm/ledger.jsonl")

    monkeypatch.setenv("SEAL_EXPORT", "")  # as a line of a file that nobody filled in
    assert seal_file(Path("/var")) == Path("/var/seals.jsonl")
