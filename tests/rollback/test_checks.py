"""Nothing starts while a promised reversal cannot be carried out."""

from __future__ import annotations

import os
import subprocess
import sys
from copy import deepcopy

import pytest
from django.core.management import call_command
from django.core.management.base import SystemCheckError
from django.db import connection

from governance.catalogue import CATALOGUE
from governance.models import ActionType
from rollback import checks
from tests.factories import MONDAY_9AM, ActionTypeFactory

ENTRIES = {entry["key"]: entry for entry in CATALOGUE}

LISTING = {"path": ["operations"], "effects": [], "after": "", "more": False}


def entered(key="vendor_payment", *, state="production", config=None, **other):
    """Enter an action type of the demo, changed."""
    entry = {**deepcopy(ENTRIES[key]), **other}
    entry["connector_config"] |= config or {}
    return ActionTypeFactory(**entry, state=state, created_at=MONDAY_9AM)


def found():
    """Return what the check says, without the name of the action type."""
    return [
        message.msg.partition(": ")[2] for message in checks.action_types_can_run_and_be_undone()
    ]


LATER_NONE = [{"$if": "after == '0'", "then": "x", "else": ".."}]  # an address for the first page


@pytest.mark.django_db
def test_the_demos_catalogue_is_in_order():
    for entry in CATALOGUE:
        ActionTypeFactory(**entry, state="production", created_at=MONDAY_9AM)

    assert found() == []
    call_command("check")


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"reversal_code": "refund"}, "Its reversal “refund” is not in the configuration"),
        ({"connector": "soap"}, "There is no connector “soap”."),
        ({"config": {"units": {"$eval": "payload.lines"}}}, "The template of units cannot be filled"),
        ({"config": {"units": []}}, "configuration, units,|This payload has no units."),
        ({"config": {"unit": []}}, "Additional properties are not allowed"),
        ({"config": {"records": []}}, "does not know where demo:ap-balance is"),
        ({"snapshot_plan": ["sap:x"]}, "does not know where sap:x is"),
        ({"config": {"reversals": {"credit_memo": {"method": "POST", "path": [".."]}}}}, "must not be"),
        ({"config": {"reversals": {"credit_memo": {"$eval": "receipt.id"}}}}, "reversal credit_memo cannot be filled"),
        ({"config": {"receipt": {"reference": {"$eval": "answer.id"}}}}, "does not have what we look for"),
        ({"config": {"target": "Demo"}}, "target, is wrong"),
        ({"config": {"listing": {**LISTING, "frist": "0"}}}, "configuration, listing,"),
        ({"config": {"listing": {**LISTING, "path": [".."]}}}, "must not be"),
        ({"config": {"listing": {**LISTING, "query": {"after": {"$eval": "afetr"}}}}}, "template of listing"),
        ({"config": {"listing": {**LISTING, "path": LATER_NONE}}}, "must not be"),
        ({"config": {"listing": {**LISTING, "path": ["x" * 300]}}}, "has 300 characters at most"),
        ({"example": {}}, "The template of units cannot be filled"),
        ({"connector_config": {"target": "demo"}}, "'units' is a required property"),
    ],
)  # fmt: skip
def test_what_could_not_run_or_be_undone_is_an_error(change, says):
    entered(**change)

    problems = found()

    assert len(problems) == 1
    assert any(each in problems[0] for each in says.split("|")), problems
    with pytest.raises(SystemCheckError, match="vendor_payment v1: "):
        call_command("check")


@pytest.mark.django_db
def test_a_restore_needs_a_snapshot_of_every_record_it_writes():
    entered("customer_update", snapshot_plan=["demo:customer:{/customer}/contact"])

    assert "which no snapshot is taken of" in found()[0]


@pytest.mark.django_db
def test_a_restore_needs_writes_that_say_how_they_left_the_record():
    config = next(each for each in CATALOGUE if each["key"] == "customer_update")[
        "connector_config"
    ]
    entered(
        "customer_update",
        connector_config={name: part for name, part in config.items() if name != "left"},
    )

    assert "does not say how its writes leave a record" in found()[0]


@pytest.mark.django_db
@pytest.mark.parametrize("state", ["draft", "retired"])
def test_what_nobody_can_ask_for_may_be_broken(state):
    entered(state=state, connector="soap")

    assert found() == []


@pytest.mark.django_db
def test_an_action_that_promises_no_reversal_needs_none():
    entered(reversal="none", reversal_code="", config={"reversals": {}})

    assert found() == []


@pytest.mark.django_db
def test_migrating_goes_on_for_it_may_bring_the_repair():
    entered(connector="soap")

    call_command("migrate", "--check", verbosity=0, skip_checks=False)


@pytest.mark.django_db(transaction=True)
def test_without_tables_nothing_is_said():
    table = ActionType._meta.db_table
    with connection.schema_editor() as editor:
        editor.execute(f"ALTER TABLE {table} RENAME TO elsewhere")
    try:
        assert found() == []
    finally:
        with connection.schema_editor() as editor:
            editor.execute(f"ALTER TABLE elsewhere RENAME TO {table}")


# --- Real starts, on a database of their own ---


@pytest.fixture(scope="module")
def broken(tmp_path_factory):
    """The environment of an installation whose only action type is broken."""
    var = tmp_path_factory.mktemp("broken")
    environment = {
        **{name: value for name, value in os.environ.items() if name != "DJANGO_SETTINGS_MODULE"},
        "RECOURSE_PROFILE": "demo",
        "RECOURSE_VAR": str(var),
        "DATABASE_URL": f"sqlite:///{var}/recourse.sqlite3",
    }
    code, words = run(environment, "manage.py", "check")  # before there are tables
    assert code == 0, words
    code, words = run(environment, "manage.py", "migrate", "--no-input", "--verbosity=0")
    assert code == 0, words
    enter = (
        "from governance.catalogue import CATALOGUE; from governance.models import ActionType;"
        "from governance import clock;"
        "entry = {**CATALOGUE[0], 'reversal_code': 'refund'};"
        "ActionType(**entry, state='production', created_at=clock.now()).save()"
    )
    code, words = run(environment, "manage.py", "shell", "--no-imports", "-c", enter)
    assert code == 0, words
    return environment


def run(environment, *words):
    done = subprocess.run(
        [sys.executable, *words],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=120,
    )
    return done.returncode, done.stdout


@pytest.mark.sqlite_only
@pytest.mark.processes
@pytest.mark.parametrize(
    "words",
    [
        ("manage.py", "check"),
        ("manage.py", "clock", "--once"),
        ("manage.py", "worker"),
        ("-c", "import governance.wsgi"),
        ("-c", "import governance.asgi"),
    ],
    ids=lambda words: words[1],
)
def test_a_broken_reversal_starts_nothing(broken, words):
    code, said = run(broken, *words)

    assert code != 0
    assert "vendor_payment v1: Its reversal “refund” is not in the configuration" in said


@pytest.mark.sqlite_only
@pytest.mark.processes
def test_a_broken_reversal_does_not_keep_migrations_out(broken):
    code, said = run(broken, "manage.py", "migrate", "--no-input")

    assert code == 0, said
