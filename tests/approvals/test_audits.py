"""What should not exist is found, told, counted, and cleared when it is mended."""

from __future__ import annotations

import threading
from datetime import timedelta
from functools import partial

import pytest
from django.core.management import call_command
from django.db import OperationalError, connection, transaction
from django.test.utils import CaptureQueriesContext
from django.utils.module_loading import import_string
from django_q.models import Failure

from approvals import auditing, audits, tasks
from approvals.models import ActionRequest, Alert, Ask, Case, Decision, Finding, Step
from approvals.selectors import open_findings
from approvals.services.alerts import sound
from governance import audits as governance_audits
from governance import ledger, seals
from governance.audits import Found, Look, chains_broken
from governance.daemons import DatabaseGone
from governance.ledger import Act
from governance.models import AuditEvent, ChainHead, Heartbeat, PolicyVersion, TaskAttempt
from governance.signs import beat
from governance.vocabulary import Chain
from tests.approvals.asking import answer, ask_for_payment
from tests.factories import (
    MONDAY_9AM,
    AlertFactory,
    CaseFactory,
    DecisionFactory,
    FailureFactory,
    NoticeFactory,
    RequestFactory,
    ReviewFactory,
    TaskAttemptFactory,
)

pytestmark = pytest.mark.django_db

M = timedelta(minutes=1)


def found_by(now=MONDAY_9AM + M):
    return {finding.audit for finding in auditing.run(now=now)}


@pytest.fixture
def waiting(company):
    return ask_for_payment(company)


def test_a_healthy_product_has_nothing_to_find(company, waiting):
    approved = ask_for_payment(company, key="k2", invoice="B")
    answer(approved, company.finance_manager, now=MONDAY_9AM)

    assert found_by() == set()
    assert Heartbeat.objects.get(pk="audit").facts == {"findings": 0}


def test_a_clock_is_overdue_a_minute_after_its_instant_and_not_before(waiting):
    assert "clock_overdue" not in found_by(waiting.due_at + M)
    assert "clock_overdue" in found_by(waiting.due_at + M + timedelta(microseconds=1))


def test_a_clock_that_is_not_its_sources(waiting):
    ActionRequest.objects.update(due_at=waiting.due_at + M)

    assert "due_at_differs" in found_by()


def test_an_approval_whose_clock_is_another_one(company, waiting):
    answer(waiting, company.finance_manager, now=MONDAY_9AM)
    ActionRequest.objects.update(due_at=MONDAY_9AM + 31 * M)

    assert "due_at_differs" in found_by()


def test_an_ask_of_a_step_that_does_not_wait(waiting):
    Ask.objects.update(due_at=waiting.due_at + M)

    assert "asks_out_of_step" in found_by()


def test_a_step_that_waits_on_nobody(waiting):
    Ask.objects.update(due_at=None)

    assert "asks_out_of_step" in found_by()


def test_a_step_that_waits_on_a_request_that_has_ended(waiting):
    ActionRequest.objects.update(state="rejected", due_at=None, ended_at=MONDAY_9AM)

    assert "ended_with_open_parts" in found_by()


def test_a_case_left_open_on_a_request_that_has_ended(waiting):
    CaseFactory(request=waiting)
    Step.objects.update(state="superseded")
    ActionRequest.objects.update(state="rejected", due_at=None, ended_at=MONDAY_9AM)

    assert "ended_with_open_parts" in found_by()
    assert Case.objects.count() == 1


def test_a_message_out_of_tries_that_no_alert_tells_of(waiting):
    NoticeFactory(request=waiting, state="failed", next_attempt_at=None)

    assert "notices_out_of_tries" in found_by()


@pytest.mark.parametrize("of", ["another", "none"])
def test_an_alert_about_another_message_hides_none(of, waiting):
    other = NoticeFactory(request=waiting, state="failed", next_attempt_at=None)
    key = f"notice {other.pk}" if of == "another" else "alerts"
    request = waiting if of == "another" else None
    AlertFactory(kind="notice.failed", key=key, request=request, closed_at=MONDAY_9AM)
    silent = NoticeFactory(request=waiting, state="failed", next_attempt_at=None)

    found = {each.key for each in audits.AUDITS["notices_out_of_tries"](MONDAY_9AM)}

    assert found == {f"notice {silent.pk}"} | ({f"notice {other.pk}"} if of == "none" else set())


def test_a_failed_task_stands_until_somebody_has_seen_it(company):
    Failure.objects.create(
        id="t1",
        name="t1",
        func="approvals.tasks.audit",
        started=MONDAY_9AM,
        stopped=MONDAY_9AM,
        success=False,
    )

    assert "failed_tasks" in found_by()
    assert "failed_tasks" in found_by()
    Alert.objects.update(acknowledged_at=MONDAY_9AM)
    assert found_by() == set()


@pytest.mark.parametrize("kind", ["task.failed", "task.lost", "task.dropped"])
def test_a_task_that_was_told_of_when_it_failed_is_no_silent_failure(company, kind):
    failed, begun = FailureFactory(), TaskAttemptFactory()
    assert found_by(MONDAY_9AM + 5 * M) == {"failed_tasks", "tasks_lost"}

    for each in (failed, begun):
        sound(by="worker", kind=kind, key=each.pk, text="It failed.", now=MONDAY_9AM)

    assert found_by(MONDAY_9AM + 5 * M) == set()


def test_a_task_is_lost_four_minutes_after_it_was_begun_and_not_before(company):
    TaskAttemptFactory()

    assert found_by(MONDAY_9AM + 4 * M) == set()
    assert found_by(MONDAY_9AM + 4 * M + timedelta(microseconds=1)) == {"tasks_lost"}


def test_every_task_that_is_queued_by_name_exists():
    assert import_string("approvals.tasks.audit")
    assert import_string("approvals.tasks.deliver_notices")


def test_the_workers_audit_is_the_same(waiting, timeline):
    assert tasks.audit() == 0
    ActionRequest.objects.update(due_at=waiting.due_at + M)

    assert tasks.audit() == 1


def test_a_head_that_is_not_its_chains_last_event(waiting):
    ActionRequest.objects.update(chain_length=99)

    assert "chains_broken" in found_by()


def test_an_event_that_no_seal_covers_after_ten_minutes(waiting):
    assert "unsealed" not in found_by(MONDAY_9AM + 10 * M)
    assert "unsealed" in found_by(MONDAY_9AM + 10 * M + timedelta(microseconds=1))


def test_an_old_event_without_a_seal_is_seen_behind_any_number_of_new_ones(waiting):
    later = MONDAY_9AM + 10 * M
    act = Act(now=later, actor="clock")
    for _ in range(1000):
        act.record_named(Chain.SYSTEM, "alert.acknowledged", alert="test")
    with transaction.atomic():
        act.write()

    assert "unsealed" in found_by(later + timedelta(microseconds=1))


def test_no_active_policy(company):
    PolicyVersion.objects.update(state="superseded")

    assert "no_policy" in found_by()


def test_a_finding_is_a_row_an_alert_an_event_and_a_number_once(waiting):
    ActionRequest.objects.update(due_at=waiting.due_at + M)

    for _ in range(3):
        auditing.run(now=MONDAY_9AM + M)

    assert Finding.objects.count() == Alert.objects.count() == open_findings() == 1
    assert AuditEvent.objects.filter(kind="finding.opened").count() == 1


def test_a_finding_clears_when_it_is_mended(waiting):
    ActionRequest.objects.update(due_at=waiting.due_at + M)
    auditing.run(now=MONDAY_9AM + M)
    ActionRequest.objects.update(due_at=waiting.due_at)

    assert auditing.run(now=MONDAY_9AM + 2 * M) == []
    assert Finding.objects.get().cleared_at == MONDAY_9AM + 2 * M
    assert Alert.objects.get().closed_at == MONDAY_9AM + 2 * M


def test_an_audit_that_fails_is_a_finding(waiting, monkeypatch):
    def broken(now):
        raise LookupError("no such thing")

    monkeypatch.setitem(audits.AUDITS, "broken", broken)

    assert "broken" in found_by()


def stopped_at(instant, **facts):
    """The clock was stopped as planned, with what it last said."""
    beat("clock", now=instant, failing=[], stopped_at=ledger.instant(instant), **facts)


LATE = {"clock_overdue", "unsealed", "tasks_lost"}


@pytest.fixture
def late(waiting):
    """What a second after its clock is late of in each way that a planned stop explains; returns when it was due."""
    due = waiting.due_at
    TaskAttemptFactory(last_at=due)
    seals.seal_now(MONDAY_9AM)
    act = Act(now=due, actor="clock")
    act.record_named(Chain.SYSTEM, "worker.restarted")
    act.write()
    return due


def test_an_outage_is_found_as_it_was(late):
    beat("clock", now=late, failing=[])

    assert found_by(late + 11 * M) == LATE


def test_a_planned_stop_is_no_failure_for_an_hour(late):
    stopped_at(late)

    assert found_by(late + 60 * M) == set()
    assert found_by(late + 60 * M + timedelta(microseconds=1)) == LATE


def test_what_was_late_before_the_stop_is_found_during_it(late):
    stopped_at(late + 2 * M)

    assert found_by(late + 10 * M) == {"clock_overdue"}


def test_after_a_planned_stop_each_has_its_grace_anew(late):
    back = late + 3 * 60 * M
    stopped_at(late, resumed_at=ledger.instant(back))

    assert found_by(back) == set()
    assert found_by(back + M) == set()
    assert found_by(back + M + timedelta(microseconds=1)) == {"clock_overdue"}
    assert found_by(back + 10 * M + timedelta(microseconds=1)) == LATE


@pytest.mark.parametrize(
    ("after", "found"), [(2 * M, set()), (2 * M + timedelta(microseconds=1), LATE)]
)
def test_a_stop_of_the_clock_alone_excuses_nothing_that_the_worker_leaves_undone(
    late, after, found
):
    stopped_at(late)
    beat("worker a1", now=late + after, answered=1)
    beat("watchdog a1", now=late - 60 * M, since=(late - 60 * M).isoformat(), restarts=0)
    beat("worker a2", now=late - M, answered=1)  # that one ended

    assert found_by(late + 11 * M) == found


@pytest.mark.parametrize(
    ("for_", "found"), [(2 * M, set()), (2 * M + timedelta(microseconds=1), LATE)]
)
def test_a_worker_that_is_started_before_the_clock_has_as_long_until_the_clock_is_missed(
    late, for_, found
):
    stopped_at(late)
    back = late + 20 * M
    beat("watchdog a1", now=back, since=back.isoformat(), restarts=0)
    beat("worker a1", now=back + for_, answered=1)

    assert found_by(back + for_) == found


def test_an_audit_that_the_database_refuses_stops_none_of_the_others(waiting, monkeypatch):
    def kept_waiting(now):
        raise OperationalError("canceling statement due to lock timeout")

    monkeypatch.setitem(governance_audits.AUDITS, "unsealed", kept_waiting)
    PolicyVersion.objects.update(state="superseded")

    standing = {finding.audit: finding for finding in auditing.run(now=MONDAY_9AM + M)}

    assert standing.keys() == {"unsealed", "no_policy"}
    assert standing["unsealed"].key == "failed"
    assert "lock timeout" in standing["unsealed"].alert.text
    assert Heartbeat.objects.get(pk="audit").facts == {"findings": 2}


@pytest.fixture
def refused(monkeypatch):
    """Have the database refuse so many times to have an audit's findings written."""
    left = dict.fromkeys(("no_policy",), 0)
    write = auditing._bring_up_to_date

    def refusing(name, *args, **kwargs):
        if left.get(name, 0) > 0:
            left[name] -= 1
            raise OperationalError("canceling statement due to lock timeout")
        write(name, *args, **kwargs)

    monkeypatch.setattr(auditing, "_bring_up_to_date", refusing)
    return left


def test_findings_that_could_not_be_written_stop_none_of_the_other_audits(waiting, refused):
    PolicyVersion.objects.update(state="superseded")
    ActionRequest.objects.update(due_at=waiting.due_at + M)
    refused["no_policy"] = 1

    standing = {finding.audit: finding for finding in auditing.run(now=MONDAY_9AM + M)}

    assert standing.keys() == {"no_policy", "due_at_differs"}
    assert standing["no_policy"].key == "failed"
    assert "lock timeout" in standing["no_policy"].alert.text
    assert {each.key for each in auditing.run(now=MONDAY_9AM + 2 * M)} == {"policy", waiting.ref}


def test_a_round_of_which_something_could_not_be_written_at_all_has_not_come_to_its_end(
    waiting, refused
):
    PolicyVersion.objects.update(state="superseded")
    ActionRequest.objects.update(due_at=waiting.due_at + M)
    refused["no_policy"] = 2

    with pytest.raises(OperationalError, match="lock timeout"):
        auditing.run(now=MONDAY_9AM + M)

    assert Finding.objects.get().audit == "due_at_differs"
    assert governance_audits.last_round() is None


def test_a_database_that_is_gone_is_no_audits_fault(waiting, monkeypatch):
    def gone(now):
        raise DatabaseGone("server closed the connection")

    monkeypatch.setitem(governance_audits.AUDITS, "unsealed", gone)

    with pytest.raises(DatabaseGone):
        auditing.run(now=MONDAY_9AM + M)

    assert not Finding.objects.exists()


def test_an_audit_that_works_again_clears_what_its_failure_was(waiting, monkeypatch):
    with monkeypatch.context() as broken:
        broken.setitem(audits.AUDITS, "clock_overdue", lambda now: 1 / 0)
        assert found_by() == {"clock_overdue"}

    assert found_by() == set()


# --- Several rounds at once ---


def bad_and_looked_at_by(monkeypatch, rounds):
    """Have an audit find one thing, which it does once `rounds` of them look at one moment."""
    all_look = threading.Barrier(rounds)

    def find(now):
        all_look.wait(timeout=20)
        yield Found("thing", "Something is not as it should be.")

    for name in ("governance", "rollback"):
        monkeypatch.setattr(f"{name}.audits.AUDITS", {})
    monkeypatch.setattr(audits, "AUDITS", {"planted": Look(find, "Mend it.")})


@pytest.mark.django_db(transaction=True)
def test_control_rounds_that_do_not_wait_for_each_other_all_find_nothing_standing(race):
    all_looked = threading.Barrier(4)

    def look():
        standing = Finding.objects.filter(audit="planted", cleared_at=None).exists()
        all_looked.wait(timeout=20)
        return standing

    assert race(*[look] * 4) == [False] * 4


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("_round", range(3))
def test_of_four_rounds_at_once_one_opens_what_all_of_them_found(race, monkeypatch, _round):
    bad_and_looked_at_by(monkeypatch, 4)
    rounds = [partial(auditing.run, now=MONDAY_9AM + n * M, outside=False) for n in range(4)]

    outcomes = race(*rounds)

    assert not [each for each in outcomes if isinstance(each, Exception)]
    assert Finding.objects.count() == Alert.objects.count() == 1
    assert AuditEvent.objects.filter(kind="finding.opened").count() == 1


def test_what_a_later_look_cleared_an_earlier_one_does_not_open_again(monkeypatch):
    bad_and_looked_at_by(monkeypatch, 1)
    auditing.run(now=MONDAY_9AM, outside=False)
    found = [Found("thing", "Something is not as it should be.")]
    auditing._bring_up_to_date("planted", [], MONDAY_9AM + 2 * M, whole=True)

    auditing._bring_up_to_date("planted", found, MONDAY_9AM + M, whole=True)

    assert not open_findings()
    auditing._bring_up_to_date("planted", found, MONDAY_9AM + 3 * M, whole=True)
    assert open_findings() == 1


def test_what_a_later_look_opened_an_earlier_one_does_not_clear(monkeypatch):
    bad_and_looked_at_by(monkeypatch, 1)
    auditing.run(now=MONDAY_9AM + M, outside=False)

    auditing._bring_up_to_date("planted", [], MONDAY_9AM, whole=True)

    assert open_findings() == 1


def test_one_thing_found_twice_by_one_look_is_one_finding(waiting):
    CaseFactory(request=waiting)
    CaseFactory(request=waiting, exception="conflict")
    Step.objects.update(state="superseded")
    ActionRequest.objects.update(state="rejected", due_at=None, ended_at=MONDAY_9AM)

    assert "ended_with_open_parts" in found_by()

    opened = AuditEvent.objects.filter(kind="finding.opened", facts__audit="ended_with_open_parts")
    assert opened.count() == 1


# --- What went out of an audit's sight ---


def test_a_broken_chain_stands_when_others_have_moved_since(waiting, monkeypatch):
    monkeypatch.setattr("governance.audits.CHAINS_CHECKED", 1)
    length = waiting.chain_length
    ActionRequest.objects.update(chain_length=99)
    assert found_by() == {"chains_broken"}
    act = Act(now=MONDAY_9AM, actor="clock")
    act.record_named(Chain.SYSTEM, "worker.restarted")
    with transaction.atomic():
        act.write()

    assert found_by() == {"chains_broken"}

    ActionRequest.objects.update(chain_length=length)
    assert found_by() == set()


def test_an_event_without_a_seal_stands_behind_any_number_of_sealed_ones(waiting, monkeypatch):
    late = MONDAY_9AM + 11 * M
    assert "unsealed" in found_by(late)
    monkeypatch.setattr("governance.audits.SHOWN", 0)  # so that it looks at no event at all

    assert "unsealed" in found_by(late)

    seals.seal_now(late)
    assert "unsealed" not in found_by(late)


def test_a_failed_task_stands_behind_any_number_of_others(company, monkeypatch):
    failed = FailureFactory(stopped=MONDAY_9AM)
    assert found_by() == {"failed_tasks"}
    newer = FailureFactory(stopped=MONDAY_9AM + M)
    sound(by="worker", kind="task.failed", key=newer.pk, text="It failed.", now=MONDAY_9AM)
    monkeypatch.setattr(audits, "SHOWN", 1)

    assert found_by() == {"failed_tasks"}

    failed.delete()  # put aside, or run again
    assert found_by() == set()


def test_a_lost_task_stands_behind_any_number_of_others_and_until_it_ended(company, monkeypatch):
    lost = TaskAttemptFactory(last_at=MONDAY_9AM)
    now = MONDAY_9AM + 9 * M
    assert found_by(now) == {"tasks_lost"}
    newer = TaskAttemptFactory(last_at=MONDAY_9AM + M)
    sound(by="worker", kind="task.lost", key=newer.pk, text="It was lost.", now=MONDAY_9AM)
    monkeypatch.setattr(audits, "SHOWN", 1)
    assert found_by(now) == {"tasks_lost"}

    TaskAttempt.objects.filter(pk=lost.pk).update(last_at=now)  # it was brought again
    assert found_by(now) == {"tasks_lost"}

    lost.delete()  # it came to its end
    assert found_by(now) == set()


def test_a_bare_bypass_stands_behind_any_number_of_others_until_somebody_looked(
    company, monkeypatch
):
    standing = Finding.objects.filter(audit="bypasses_without_a_factor", cleared_at=None)
    for number in range(1, 3):
        DecisionFactory(is_bypass=True, reauthenticated_at=None, review=ReviewFactory())
        found_by()
        assert standing.count() == number
        monkeypatch.setattr(audits, "SHOWN", 1)

    Alert.objects.update(acknowledged_at=MONDAY_9AM)
    found_by()
    assert not standing.exists()


@pytest.mark.parametrize("seen", [True, False])
def test_a_bare_bypass_that_is_gone_is_a_finding_of_its_own_until_somebody_has_seen_it(
    company, seen
):
    standing = Finding.objects.filter(audit="bypasses_without_a_factor", cleared_at=None)
    bypass = DecisionFactory(is_bypass=True, reauthenticated_at=None, review=ReviewFactory())
    pk, request = bypass.pk, bypass.request
    found_by()
    first = standing.get()
    if seen:  # and deleted before the next round
        Alert.objects.update(acknowledged_at=MONDAY_9AM + M)
    Decision.objects.all().delete()

    found_by(MONDAY_9AM + 2 * M)

    gone = standing.get()
    first.refresh_from_db()
    assert first.cleared_at == MONDAY_9AM + 2 * M
    assert (gone.key, gone.request) == (f"bypass {pk} gone", request)
    assert gone.text == (
        f"A bypass of {request.ref} without a second factor is gone: its decision was deleted."
    )
    assert (gone.alert.text, gone.alert.acknowledged_at) == (gone.text, None)
    found_by(MONDAY_9AM + 3 * M)
    assert standing.get() == gone
    Alert.objects.filter(pk=gone.alert_id).update(acknowledged_at=MONDAY_9AM + 3 * M)
    found_by(MONDAY_9AM + 4 * M)
    assert not standing.exists()


def test_any_number_of_bare_bypasses_that_were_acknowledged_hide_none_behind_them(
    company, monkeypatch
):
    monkeypatch.setattr(audits, "SHOWN", 2)
    rows = [
        DecisionFactory(is_bypass=True, reauthenticated_at=None, review=ReviewFactory())
        for _ in range(5)
    ]

    seen = []
    for left in (5, 3, 1):
        keys = [each.key for each in audits.bypasses_without_a_factor(MONDAY_9AM)]
        assert len(keys) == min(left, 2)
        for key in keys:
            AlertFactory(
                kind="audit.bypasses_without_a_factor", key=key, acknowledged_at=MONDAY_9AM
            )
        seen += [int(key.split()[1]) for key in keys]

    assert seen == [each.pk for each in rows[::-1]]
    assert list(audits.bypasses_without_a_factor(MONDAY_9AM)) == []


def test_of_more_bare_bypasses_than_are_shown_each_that_stands_goes_on_standing(
    company, monkeypatch
):
    for _ in range(3):
        DecisionFactory(is_bypass=True, reauthenticated_at=None, review=ReviewFactory())
    keys = [each.key for each in audits.bypasses_without_a_factor(MONDAY_9AM)]
    monkeypatch.setattr(audits, "SHOWN", 1)

    again = {each.key for each in audits.bypasses_without_a_factor.again(keys, MONDAY_9AM)}

    assert again == set(keys)


@pytest.mark.parametrize(
    ("make", "look", "kind", "key"),
    [
        (FailureFactory, "failed_tasks", "task.failed", "{}"),
        (FailureFactory, "failed_tasks", "audit.failed_tasks", "task {}"),
        (TaskAttemptFactory, "tasks_lost", "task.lost", "{}"),
        (TaskAttemptFactory, "tasks_lost", "audit.tasks_lost", "task {}"),
    ],
)
def test_any_number_of_tasks_that_were_told_of_hide_none_behind_them(
    company, monkeypatch, make, look, kind, key
):
    monkeypatch.setattr(audits, "SHOWN", 2)
    untold, *told = [make() for _ in range(5)]
    for each in told:
        AlertFactory(kind=kind, key=key.format(each.pk), acknowledged_at=MONDAY_9AM)
        time = "stopped" if make is FailureFactory else "last_at"
        type(each).objects.filter(pk=each.pk).update(**{time: MONDAY_9AM + M})

    found = [each.key for each in audits.AUDITS[look](MONDAY_9AM + 9 * M)]

    assert found == [f"task {untold.pk}"]


@pytest.mark.parametrize("change", [{"note": "Another."}, {"digest": "0" * 64}, {"via": "bulk"}])
def test_a_bare_bypass_that_was_acknowledged_is_found_anew_once_it_is_altered_again(
    company, change
):
    def found():
        return list(audits.bypasses_without_a_factor(MONDAY_9AM))

    DecisionFactory(is_bypass=True, reauthenticated_at=None, review=ReviewFactory())
    ((key, *_),) = found()
    AlertFactory(kind="audit.bypasses_without_a_factor", key=key, acknowledged_at=MONDAY_9AM)
    assert found() == []

    Decision.objects.update(**change)

    (again,) = found()
    assert again.key != key
    assert list(audits.bypasses_without_a_factor.again([key], MONDAY_9AM)) == [again]


@pytest.mark.postgresql
def test_bypasses_are_found_among_any_number_of_decisions(company, waiting):
    """Five thousand decisions, none of which is a bypass."""
    decision = DecisionFactory(step=waiting.steps.get(), person=company.cfo)
    table = Decision._meta.db_table
    with connection.cursor() as cursor:
        cursor.execute(
            f"INSERT INTO {table} SELECT (jsonb_populate_record(NULL::{table}, to_jsonb(d) ||"
            " jsonb_build_object('id', d.id + n, 'verdict', 'by_hand'))).*"
            f" FROM {table} d, generate_series(1, 5000) n WHERE d.id = %s",
            [decision.pk],
        )
        cursor.execute(f"ANALYZE {table}")

    with CaptureQueriesContext(connection) as asked:
        assert list(audits.bypasses_without_a_factor(MONDAY_9AM)) == []

    with connection.cursor() as cursor:
        cursor.execute("EXPLAIN " + asked.captured_queries[0]["sql"])
        plan = "\n".join(line for (line,) in cursor.fetchall())
    assert "decision_bypass" in plan, plan


def test_an_audit_that_shows_no_more_than_so_many_clears_nothing_it_does_not_show(
    waiting, company, monkeypatch
):
    other = ask_for_payment(company, key="k2", invoice="B")
    right = waiting.due_at
    ActionRequest.objects.filter(pk=other.pk).update(due_at=right + M)
    assert found_by() == {"due_at_differs"}
    for module in (audits, auditing):
        monkeypatch.setattr(module, "SHOWN", 1)
    ActionRequest.objects.filter(pk=waiting.pk).update(due_at=right + M)

    auditing.run(now=MONDAY_9AM + M)

    assert open_findings() == 2


def test_the_command_says_what_it_found_and_its_exit_code_too(waiting, capsys, timeline):
    call_command("audit")
    ActionRequest.objects.update(due_at=waiting.due_at + M)

    with pytest.raises(SystemExit) as exit_code:
        call_command("audit")

    assert exit_code.value.code == 1
    assert waiting.ref in capsys.readouterr().out


def test_an_approval_is_compared_however_many_come_before_it(company, waiting):
    RequestFactory.create_batch(
        audits.SHOWN,
        state="approved",
        approved_at=MONDAY_9AM,
        due_at=MONDAY_9AM + 30 * M,
        policy=company.policy,
        matrix_row=company.row,
    )
    answer(waiting, company.finance_manager, now=MONDAY_9AM)
    ActionRequest.objects.filter(pk=waiting.pk).update(due_at=MONDAY_9AM + 31 * M)

    found = [each.key for each in audits.due_at_differs(MONDAY_9AM + M)]

    assert found == [waiting.ref]


def test_a_person_present_must_begin_in_fifteen_minutes(company):
    RequestFactory(
        state="approved", approved_at=MONDAY_9AM, due_at=MONDAY_9AM + 15 * M, person_present=True
    )
    wrong = RequestFactory(
        state="approved", approved_at=MONDAY_9AM, due_at=MONDAY_9AM + 30 * M, person_present=True
    )

    assert [each.key for each in audits.due_at_differs(MONDAY_9AM + M)] == [wrong.ref]


@pytest.fixture
def growing(company, waiting):
    """A request's chain that grows behind each statement that is sent within it."""
    grown = []

    def grow(execute, sql, params, many, context):
        answered = execute(sql, params, many, context)
        if not (grown and grown[-1] is None):  # what grows it sends statements too
            grown.append(None)
            act = Act(now=MONDAY_9AM, actor="clock")
            held = ActionRequest.objects.get(pk=waiting.pk)
            act.record(held, "ask.seen")
            act.write()
            held.save(update_fields=["chain_length", "chain_hash"])
            grown[-1] = held.chain_length
        return answered

    with connection.execute_wrapper(grow):
        yield grown


def test_control_a_head_read_before_its_chains_end_seems_broken(waiting, growing):
    length = ActionRequest.objects.values_list("chain_length", flat=True).get(pk=waiting.pk)
    last = AuditEvent.objects.filter(chain=waiting.ref).order_by("-seq")

    assert last.values_list("seq", flat=True)[0] > length


def test_a_chain_that_grows_while_it_is_audited_is_not_broken(waiting, growing):
    """Event and head move together: an audit that reads one after the other sees a gap that never was."""
    found = list(chains_broken(MONDAY_9AM + M))

    assert found == []
    assert len(growing) >= 3  # behind the list of chains, the named heads, and the requests' own


def test_a_chain_without_a_head_is_broken(company, waiting):
    act = Act(now=MONDAY_9AM, actor="clock")
    act.record_named(Chain.SYSTEM, "worker.restarted")
    act.write()
    ChainHead.objects.filter(name=Chain.SYSTEM).delete()

    assert [each.key for each in chains_broken(MONDAY_9AM)] == ["chain system"]


def test_the_clock_in_the_workers_place_does_not_count_as_a_round_of_all(company):
    auditing.run(now=MONDAY_9AM)
    for n in range(1, 6):
        auditing.run(now=MONDAY_9AM + n * M, outside=False)

    assert governance_audits.last_round() == MONDAY_9AM
    now = MONDAY_9AM + 5 * M + timedelta(microseconds=1)
    held = governance_audits.why_held(findings=0, looked_at=governance_audits.last_round(), now=now)
    assert held == (
        "Nobody has looked for silent failures since 02 Mar 09:00 UTC, here and in the targets:"
        " nothing is promoted until the worker has run all audits."
    )


class TestCallForAudit:
    def test_with_no_worker_ever_the_clock_audits(self, company):
        for n in range(5):
            auditing.call_for_audit(now=MONDAY_9AM + n * M)

        assert Heartbeat.objects.filter(pk="audit").exists()

    def test_one_is_asked_for_each_minute(self, company):
        counts = [
            auditing.call_for_audit(now=MONDAY_9AM + n * timedelta(seconds=20)) for n in range(4)
        ]

        assert counts == [1, 0, 0, 1]

    def test_with_no_worker_to_do_it_the_clock_audits(self, company):
        auditing.run(now=MONDAY_9AM)

        auditing.call_for_audit(now=MONDAY_9AM + timedelta(seconds=181))

        assert Heartbeat.objects.get(pk="audit").beat_at == MONDAY_9AM + timedelta(seconds=181)


def test_a_review_is_out_of_step_a_minute_after_its_clock_and_not_before(company):
    review = ReviewFactory(asked=company.cfo)

    assert "reviews_out_of_step" not in found_by(review.due_at + M)
    assert "reviews_out_of_step" in found_by(review.due_at + M + timedelta(microseconds=1))


def test_a_review_that_nobody_is_asked_to_do(company):
    ReviewFactory(asked=None)

    assert "reviews_out_of_step" in found_by()


def test_a_bypass_without_a_second_factor(company, waiting):
    decision = DecisionFactory(
        step=waiting.steps.get(),
        person=company.cfo,
        is_bypass=True,
        review=ReviewFactory(request=waiting, kind="bypass", asked=company.controller),
        reauthenticated_at=MONDAY_9AM,
    )
    assert "bypasses_without_a_factor" not in found_by()

    Decision.objects.filter(pk=decision.pk).update(reauthenticated_at=None)

    assert "bypasses_without_a_factor" in found_by()
