"""A backup restored: whole, and of before the last things happened, with targets that know more than we do."""

from __future__ import annotations

import json
import shutil
import sqlite3
import subprocess
import sys
from contextlib import closing, contextmanager

import pytest

from approvals.models import ActionRequest
from governance.models import AuditEvent
from rollback.models import Run, Unit
from tests.processes.test_worker_killed import TOKEN, Target, ask, carrier, carry_on
from tools.postgres import fresh_database, is_postgres
from tools.processes import ROOT

pytestmark = pytest.mark.processes


@pytest.fixture
def target(house, tmp_path):
    found = Target(tmp_path, house.environment)
    house.environment |= {
        "TARGET_DEMO_URL": found.url, "TARGET_DEMO_TOKEN": TOKEN,
        "SEAL_EXPORT": str(tmp_path / "seals.jsonl"),
    }  # fmt: skip
    house.manage("seed_demo")
    yield found
    found.close()


def dump(url, path):
    """Back a database up, with nothing stopped."""
    if is_postgres(url):
        run("pg_dump", "--format=custom", "--no-owner", "--file", path, url)
        return
    with closing(sqlite3.connect(url.removeprefix("sqlite:///"))) as database:
        database.execute("VACUUM INTO ?", [str(path)])


@contextmanager
def restored(path, house):
    """Yield once the house is on a new database with what was backed up."""
    url = house.environment["DATABASE_URL"]
    if is_postgres(url):
        with fresh_database(url) as fresh:
            run("pg_restore", "--no-owner", "--exit-on-error", "--dbname", fresh, path)
            house.move_to(fresh)
            yield
            house.move_to(url)
        return
    copy = house.directory / "restored.sqlite3"
    shutil.copy(path, copy)
    house.move_to(f"sqlite:///{copy}")
    yield


def run(*words):
    subprocess.run([str(word) for word in words], check=True, capture_output=True, timeout=120)


def seal(house):
    code, _, err = carrier(house, "seal")
    assert code == 0, err


def verified(house):
    done = subprocess.run(
        [sys.executable, "manage.py", "verify_ledger", "--json"], env=house.environment, cwd=ROOT,
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    return json.loads(done.stdout)


def keys_done(target):
    return sorted(
        each["key"] for each in target.get("/operations?limit=1000&prefix=")["operations"]
    )


def test_what_was_backed_up_is_whole_when_it_is_restored(house, target, tmp_path):
    ref = ask(house, "vendor_payment")
    carry_on(house, ref, "completed")
    seal(house)
    shutil.copy(house.environment["SEAL_EXPORT"], tmp_path / "seals-backed-up.jsonl")
    dump(house.environment["DATABASE_URL"], tmp_path / "backup")
    before = list(house.objects(AuditEvent).order_by("pk").values_list("pk", "hash"))

    with restored(tmp_path / "backup", house):
        shutil.copy(tmp_path / "seals-backed-up.jsonl", house.environment["SEAL_EXPORT"])
        for command in ("migrate", "verify_ledger", "audit"):
            house.manage(command)  # fails unless it is clean
        assert list(house.objects(AuditEvent).order_by("pk").values_list("pk", "hash")) == before
        # The triggers came with it: the record cannot be changed here either.
        with pytest.raises(Exception, match=r"append-only|never|refuse"):
            house.objects(AuditEvent).filter(pk=before[0][0]).update(actor="forged")
        assert house.manage("recheck_effects").startswith("1 units")
        house.manage("audit")
        assert house.objects(Unit).filter(sent_at__isnull=False, audited_at=None).count() == 0


def test_what_was_done_after_the_backup_is_found_in_the_target_and_not_done_again(
    house, target, tmp_path
):
    """Of an order a line was sent and not answered, of a payment nothing was begun, another was not yet asked for."""
    order = ask(house, "sales_order")
    code, _, _ = carrier(house, "run", "after_send", "4")
    assert code < 0
    payment = ask(house, "vendor_payment")
    seal(house)
    dump(house.environment["DATABASE_URL"], tmp_path / "backup")
    carry_on(house, order, "completed")
    carry_on(house, payment, "completed")
    later = ask(house, "customer_update")
    carry_on(house, later, "completed")
    seal(house)
    done, books = keys_done(target), target.get("/books")

    with restored(tmp_path / "backup", house):
        # The file of seals is newer than the database: what is lost has a name.
        lost = [each for each in verified(house)["findings"] if each["chain"] == "export"]
        assert [(each["seq"], each["what"]) for each in lost] == [
            (3, "the exported file has this seal and the database has not")
        ]
        (tmp_path / "seals.jsonl").rename(tmp_path / "evidence.jsonl")
        open_ = house.objects(Unit).get(request__ref=order, state=Unit.State.SENT)
        assert open_.position == 4

        carry_on(house, order, "completed")
        carry_on(house, payment, "completed")
        assert house.objects(ActionRequest).filter(ref=later).count() == 0
        again = ask(house, "customer_update")
        carry_on(house, again, "completed")

        assert keys_done(target) == done
        assert target.get("/books") == books
        assert len(target.get("/sales-orders/SO-4711")["lines"]) == 5
        assert house.objects(Unit).get(pk=open_.pk).probed
        lost_runs = house.objects(Run).filter(state=Run.State.LOST)
        assert [each.request.ref for each in lost_runs.select_related("request")] == [order]
        seal(house)
        house.manage("recheck_effects")
        for command in ("audit", "verify_ledger"):
            house.manage(command)  # fails unless it is clean


def test_what_was_paid_and_what_was_undone_after_the_backup_are_named_by_the_audit(
    house, target, tmp_path
):
    """Of neither is a row left: what was paid is no request here, and what was undone is as it was done."""
    order = ask(house, "purchase_order")
    carry_on(house, order, "completed")
    house.manage("audit")
    seal(house)
    shutil.copy(house.environment["SEAL_EXPORT"], tmp_path / "seals-backed-up.jsonl")
    dump(house.environment["DATABASE_URL"], tmp_path / "backup")
    code, _, err = carrier(house, "undo", order)
    assert code == 0, err
    carry_on(house, order, "rolled_back")
    payment = ask(house, "vendor_payment")
    carry_on(house, payment, "completed")
    keys = {
        unit.key for unit in house.objects(Unit).filter(request__ref=payment, sent_at__isnull=False)
    }
    keys |= {unit.key for unit in house.objects(Unit).filter(request__ref=order, direction="undo")}
    assert len(keys) == 2
    house.manage("audit")  # clean: all of it is known

    with restored(tmp_path / "backup", house):
        shutil.copy(tmp_path / "seals-backed-up.jsonl", house.environment["SEAL_EXPORT"])
        assert house.objects(ActionRequest).get(ref=order).state == "completed"
        assert house.objects(ActionRequest).filter(ref=payment).count() == 0
        told = told_by(house, "audit")
        named = [line for line in told if line.startswith("effects_unaccounted_for: demo lists ")]
        assert {line.split()[3] for line in named} == keys
        assert told[-1].endswith(" 2 findings")

        # What was paid is asked for anew and so known again; the undo is ordered again. Neither is done twice.
        done, books = keys_done(target), target.get("/books")
        carry_on(house, ask(house, "vendor_payment"), "completed")
        code, _, err = carrier(house, "undo", order)
        assert code == 0, err
        carry_on(house, order, "rolled_back")
        assert (keys_done(target), target.get("/books")) == (done, books)
        house.manage("recheck_effects")
        seal(house)
        house.manage("audit")  # fails unless it is clean


def told_by(house, command):
    """Return the lines of a command that finds something."""
    done = subprocess.run(
        [sys.executable, "manage.py", command], env=house.environment, cwd=ROOT,
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 1, done.stderr
    return done.stdout.splitlines()
