"""The process that rehearses, and the command that has it done: with a sandbox that answers over HTTP."""

from __future__ import annotations

import os
import subprocess
import sys
from io import StringIO

import pytest
from django.conf import settings as ours
from django.core.management import CommandError, call_command

from approvals.models import ActionRequest, Alert
from governance.env import ALONE
from governance.models import ActionType
from rollback import evidence
from rollback.connectors.base import CannotRun
from rollback.models import Drill, Unit
from rollback.rehearsal.house import House, Silent, environment
from rollback.rehearsal.play import NOT_RUN, PASSED
from rollback.rehearsal.points import END, Point
from rollback.rehearsal.stage import definition_of
from tests.factories import MONDAY_9AM
from tests.rollback.rehearsing import KINDS, in_production

on_both = pytest.mark.django_db(transaction=True)


def drill(*words):
    """Run the command. Returns its exit code, what it wrote and its last word."""
    out = StringIO()
    try:
        call_command("rollback_drill", *words, stdout=out, skip_checks=True)
    except CommandError as problem:
        return problem.returncode, out.getvalue(), str(problem)
    return 0, out.getvalue(), ""


@pytest.fixture
def house():
    with House() as found:
        yield found


def rehearsed(house, sandbox, key="vendor_payment", **over):
    return house.rehearse(
        definition_of(ActionType(**{**KINDS[key], **over})), Point(1, END), target="demo",
        sandbox={"url": sandbox.url, "token": sandbox.token}, now=MONDAY_9AM,
    )  # fmt: skip


@on_both
def test_every_action_of_the_demo_passes_again_and_again(sandbox):
    for key in ("vendor_payment", "customer_update"):
        in_production(key)
    before = sandbox.books()["payables"]

    first, said, problem = drill()
    again, *_ = drill()

    assert (first, again, problem) == (0, 0, ""), said
    assert "  Unit 3 of 4: the answer was lost: passed" in said
    assert said.count(": passed") == 9 + 3
    assert Drill.objects.filter(passed=True).count() == 4
    assert all(evidence.flaw_of(each) == "" for each in Drill.objects.select_related("action_type"))
    assert sandbox.books()["payables"] == before
    # Nobody was asked anything, and our own record of effects knows nothing of it.
    assert not ActionRequest.objects.exists()
    assert not Unit.objects.exists()


@on_both
def test_a_sandbox_that_is_down_fails_it_with_evidence_and_exit_1(sandbox):
    kind = in_production()
    sandbox.put_faults({"kind": "unavailable"})

    code, said, problem = drill("vendor_payment")

    assert (code, problem) == (1, "1 of 1 drills did not pass."), said
    found = Drill.objects.get()
    assert (found.outcome, found.passed) == (NOT_RUN, False)
    assert "503" in found.said
    assert found.said in said
    assert evidence.flaw_of(found) == ""
    assert Alert.objects.get(kind="drill.failed", key=kind.key)


@on_both
def test_a_payment_whose_undo_does_nothing_fails_and_names_the_balance(sandbox):
    """It is taken back by what the target takes, and does not undo it."""
    config = KINDS["vendor_payment"]["connector_config"]
    other = {
        "method": "PUT",
        "path": ["customers", "C-1042", "terms"],
        "json": {"payment_terms": "Net 30"},
    }
    kind = in_production(connector_config={**config, "reversals": {"credit_memo": other}})

    code, said, _ = drill("vendor_payment")

    assert code == 1
    found = Drill.objects.get()
    assert found.outcome == "differs"
    assert "demo:ap-balance/balance" in found.said
    assert found.said in said
    fields = {each["field"] for entry in found.evidence for each in entry["differences"]}
    assert "/balance" in fields
    assert [each["outcome"] for each in found.evidence] == [PASSED, "differs", "differs"]
    assert ActionType.objects.get(pk=kind.pk).drill_due_at is None


@on_both
def test_without_a_sandbox_it_is_refused_and_says_what_is_missing(settings):
    settings.SANDBOXES = {}
    in_production()

    code, said, _ = drill("vendor_payment")

    assert code == 1
    assert "No sandbox is configured for target demo: TARGET_DEMO_SANDBOX_URL is not set." in said
    assert not Drill.objects.exists()


@pytest.mark.django_db
def test_an_action_type_that_is_not_there_is_exit_1():
    assert drill("nothing")[0] == 1


@pytest.mark.django_db
def test_without_an_action_it_drills_what_can_be_undone(settings):
    settings.SANDBOXES = {}
    in_production("vendor_payment", reversal="none")

    code, _, problem = drill()

    assert (code, problem) == (1, "There is no such action type in tested or production.")


# --- The process ---


def test_it_sees_the_sandbox_and_nothing_of_the_target_or_of_us(monkeypatch, tmp_path):
    secrets = {
        "DATABASE_URL": "postgresql://us:secret@db/recourse",
        "SECRET_KEY": "secret",
        "SEAL_KEY": "secret",
        "TARGET_DEMO_URL": "https://erp.example.com",
        "TARGET_DEMO_TOKEN": "secret",
        "WEBHOOK_KEY": "secret",
        "EMAIL_URL": "smtp://us:secret@mail",
    }
    for name, value in secrets.items():
        monkeypatch.setenv(name, value)

    found = environment(tmp_path)

    assert not [name for name, value in found.items() if "secret" in value]
    assert found["DATABASE_URL"] == "sqlite://:memory:"
    assert found["RECOURSE_TARGETS"] == ""


@pytest.mark.parametrize("alone", [False, True], ids=["control", "alone"])
def test_nor_does_it_read_the_file_in_which_all_of_that_may_stand(tmp_path, alone):
    file = tmp_path / ".env"
    file.write_text("TARGET_DEMO_TOKEN=secret\n")
    given = environment(tmp_path)
    if not alone:
        del given[ALONE]
    code = f"import os; from pathlib import Path; from governance import env; env.read_file(Path({str(file)!r}))"

    ended = subprocess.run(
        [sys.executable, "-c", f"{code}; print(os.environ.get('TARGET_DEMO_TOKEN'))"],
        cwd=ours.BASE_DIR, env=given, capture_output=True, timeout=60, check=True,
    )  # fmt: skip

    assert ended.stdout.decode().strip() == ("None" if alone else "secret")


def test_it_plays_in_no_database_but_its_own(tmp_path):
    other = {**environment(tmp_path), "DATABASE_URL": f"sqlite:///{tmp_path / 'other.sqlite3'}"}

    ended = subprocess.run(
        [sys.executable, "-m", "rollback.rehearsal"], cwd=ours.BASE_DIR, env=other, input=b"",
        capture_output=True, timeout=60, check=False,
    )  # fmt: skip

    assert ended.returncode == 1
    assert b"this is another one" in ended.stderr


def test_one_process_plays_one_rehearsal_after_the_other_each_on_an_empty_stage(house, sandbox):
    found = [rehearsed(house, sandbox) for _ in range(2)]

    assert [each["outcome"] for each in found] == [PASSED, PASSED]
    assert len({each["document"]["value"] for each in found}) == 2


def test_a_process_that_was_killed_is_silent_and_another_one_takes_its_place(house, sandbox):
    rehearsed(house, sandbox)
    os.kill(house._process.pid, 9)

    with pytest.raises(Silent, match="ended"):
        rehearsed(house, sandbox)
    assert rehearsed(house, sandbox)["outcome"] == PASSED


def test_one_that_takes_too_long_is_ended(sandbox):
    sandbox.put_faults({"kind": "slow", "seconds": 30})
    with House(point_s=1.0) as house:
        house._started()

        with pytest.raises(Silent, match="It did not end within"):
            rehearsed(house, sandbox)


def test_a_definition_that_cannot_be_staged_is_told_as_such(house, sandbox):
    with pytest.raises(CannotRun, match="by a defect"):
        rehearsed(house, sandbox, sla=KINDS["vendor_payment"]["sla"] * 0)
