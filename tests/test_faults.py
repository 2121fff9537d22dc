"""Faults that leave something a person sees, within a minute, and nothing once they are mended.

Those that take a process of its own to show are in `tests/processes/`, others beside
what they are of. The table in docs/operations.md names a test for each.
"""

from __future__ import annotations

import re
from datetime import timedelta
from pathlib import Path
from uuid import uuid4

import pytest
from django.db import OperationalError, connection, transaction

from approvals import auditing
from approvals.models import Alert, Notice
from approvals.notifications import WEBHOOK_TRIES, deliver_due
from approvals.services.dead_letters import send_again
from governance import seals
from governance.ledger import Act
from governance.models import AuditEvent, Seal
from governance.ticking import REFUSED, Hands
from governance.vocabulary import Chain
from tests.approvals.outside import receiver
from tests.factories import (
    MONDAY_9AM,
    AlertFactory,
    NoticeFactory,
    PersonFactory,
    RequestFactory,
    RoleFactory,
)

ROOT = Path(__file__).resolve().parent.parent
MINUTE = timedelta(minutes=1)


def open_alerts():
    return {(each.kind, each.key) for each in Alert.objects.filter(closed_at=None)}


class Round:
    """The hands of the clock on one sweep, a minute later each time."""

    def __init__(self, **sweeps):
        self.now = MONDAY_9AM
        self._hands = Hands("clock", now=lambda: self.now, sweeps=sweeps)

    def __call__(self):
        self._hands.round()
        self.now += MINUTE

    @property
    def failing(self):
        return set(self._hands.failing)


@pytest.mark.django_db
def test_a_webhook_that_answers_500_for_an_hour(company, settings):
    settings.CALLBACKS_MAY_BE_PRIVATE = True
    operator = PersonFactory(roles=[RoleFactory(key="operator")])
    with receiver() as hook:
        hook.answers = [500] * WEBHOOK_TRIES
        request = RequestFactory(callback_url=hook.url(), agent=company.agent)
        notice = NoticeFactory(
            request=request, ask=None, person=None, kind="state", via="webhook", number=1,
            facts={"state": "pending", "reason": "waiting"},
        )  # fmt: skip

        deliver_due(now=MONDAY_9AM)
        assert ("channel-down", "webhook/127.0.0.1") in open_alerts()
        now = MONDAY_9AM
        while (due := Notice.objects.get().next_attempt_at) is not None:
            deliver_due(now=(now := due))

        assert now <= MONDAY_9AM + 70 * MINUTE
        assert len(hook.got) == WEBHOOK_TRIES
        assert ("notice.failed", f"notice {notice.pk}") in open_alerts()
        assert AuditEvent.objects.filter(kind="notice.failed", chain=request.ref).count() == 1

        send_again(notice=notice.pk, actor=operator, now=now)
        deliver_due(now=now)

    assert Notice.objects.get().state == Notice.State.DELIVERED
    assert open_alerts() == set()
    assert list(auditing.all_audits()["notices_out_of_tries"](now)) == []


@transaction.atomic
def something_happened():
    act = Act(now=MONDAY_9AM, actor="clock")
    act.record_named(Chain.SYSTEM, "alert.acknowledged", alert="test")
    act.write()


def sealing(*, now):
    return seals.seal_now(now)


def everything_else_is_sealed():
    """Whether no event waits for a seal but that the alert was closed, which the sealing made so."""
    waiting = AuditEvent.objects.filter(sealed__isnull=True)
    return set(waiting.values_list("kind", flat=True)) <= {"alert.closed"}


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("key", ["", "not base64", "c2hvcnQ="])
def test_the_signing_key_is_missing_or_is_none(settings, key):
    good, settings.SEAL_KEY = settings.SEAL_KEY, key
    something_happened()
    clock = Round(sealing=sealing)

    clock()

    assert open_alerts() == {("sweep.failed", "sealing")}
    assert Seal.objects.count() == 0
    settings.SEAL_KEY = good
    clock()
    assert open_alerts() == set()
    assert everything_else_is_sealed()


@pytest.mark.django_db(transaction=True)
def test_the_folder_of_exported_seals_takes_nothing(settings, tmp_path):
    """A file stands where the folder should be: refused to anybody, root too, as on a full disk."""
    in_the_way = tmp_path / "seals"
    in_the_way.write_text("in the way")
    settings.SEAL_EXPORT = in_the_way / "seals.jsonl"
    something_happened()
    clock = Round(sealing=sealing)

    clock()

    assert open_alerts() == {("sweep.failed", "sealing")}
    assert Seal.objects.count() == 1  # it stands, and is exported when that can be done
    in_the_way.unlink()
    clock()
    assert open_alerts() == set()
    assert everything_else_is_sealed()
    assert len(settings.SEAL_EXPORT.read_text().splitlines()) == Seal.objects.count()


@pytest.mark.sqlite_only
@pytest.mark.django_db(transaction=True)
def test_the_disk_is_full(caplog):
    """Where no row can be written the log has it, the beat says what fails, and the row follows."""

    def writing(*, now):
        AlertFactory(key=f"written {now}", text="x" * 400)
        return 0

    clock = Round(writing=writing)
    before = pages(most=0)
    try:
        pages(most=1)  # no fewer than there are
        leave_no_room()

        clock()

        assert clock.failing == {"writing"}
        assert "database or disk is full" in caplog.text
        assert "and no alert could be raised" in caplog.text
        assert ("sweep.failed", "writing") not in open_alerts()
    finally:
        pages(most=before)

    clock()

    assert clock.failing == set()
    assert (REFUSED, "clock writing") in open_alerts()
    assert "database or disk is full" in Alert.objects.get(kind=REFUSED).text
    assert AuditEvent.objects.get(kind="rows.refused").facts["name"] == "writing"


def pages(*, most):
    """Allow the database that many pages, 0 for as many as before; return how many it may have."""
    with connection.cursor() as cursor:
        cursor.execute(f"PRAGMA max_page_count = {most}")
        return cursor.fetchone()[0]


def leave_no_room():
    """Fill what is left of the pages, down to the smallest row at any place of the index."""
    batch, refused = 500, 0
    while refused < 30:
        # Where the alert of a failure would stand too, in the table and in its index.
        rows = AlertFactory.build_batch(batch, kind="sweep.failed", text="x")
        for row in rows:
            row.key = uuid4().hex[:8]
        try:
            Alert.objects.bulk_create(rows)
        except OperationalError:
            refused += batch == 1
            batch = max(batch // 2, 1)
        else:
            refused = 0


# --- The table ---


def faults_told():
    """Yield (fault, file, test) of each row of the table of faults."""
    text = (ROOT / "docs" / "operations.md").read_text()
    table = text.split("## Faults", 1)[1].split("\n\n|", 1)[1].split("\n\n", 1)[0]
    for row in table.splitlines()[2:]:
        cells = [cell.strip() for cell in row.strip("|").split(" | ")]
        shown = re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", cells[-1])
        assert len(cells) == 4, row
        assert shown, f"no test is named for: {cells[0]}"
        for file, test in shown:
            yield cells[0], file, test


def test_each_fault_that_operations_tells_of_has_the_test_that_it_names():
    for fault, file, test in faults_told():
        assert f"def {test}(" in (ROOT / file).read_text(), f"{fault}: {file}::{test}"


@pytest.mark.parametrize(
    "fault",
    [
        "mail server refuses", "chat refuses", "webhook answers 500", "target is down",
        "clock stops", "worker hangs", "task kills its worker", "task raises", "poisoned row",
        "signing key", "disk is full", "folder of exported seals", "database is restarted",
    ],
)  # fmt: skip
def test_no_fault_is_missing_from_the_table(fault):
    assert any(fault in told for told, _, _ in faults_told())
