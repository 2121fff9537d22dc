"""Counting goes on from seal to seal: late events, two workers, and a second time change nothing."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.core.management import call_command
from django.db import connection, transaction
from django.db.models import JSONField, Value

from approvals.models import ActionRequest
from approvals.services.close import withdraw
from approvals.sweeps import climb_due_steps
from governance import seals
from governance.audits import records_not_counted
from governance.ledger import Act
from governance.metrics import keeping
from governance.models import (
    AuditEvent,
    Heartbeat,
    Measure,
    MetricsMark,
    SealedEvent,
    Uncounted,
    WeeklyRollup,
)
from governance.vocabulary import Chain
from tests.approvals.asking import answer, ask_for_payment, name_the_owner
from tests.factories import MONDAY_9AM
from tests.ledger_flush import lifted

NOW = MONDAY_9AM + timedelta(minutes=4)


def seal_and_count(now=NOW):
    seals.seal_now(now)
    return keeping.count_sealed(now)


def totals(metric):
    return list(
        WeeklyRollup.objects.filter(metric=metric, by="all").values_list("hits", "misses")
    )  # fmt: skip


def test_what_is_sealed_is_counted_once(company):
    answer(ask_for_payment(company), company.finance_manager, now=NOW)

    assert keeping.count_sealed(NOW) == 0, "nothing is sealed yet"
    assert seal_and_count() > 0
    assert totals("bypass") == [(0, 1)]
    assert seal_and_count() == 0
    assert totals("bypass") == [(0, 1)]
    assert Heartbeat.objects.get(name="metrics").beat_at == NOW


def test_figures_hold_until_the_first_event_that_is_not_sealed(company):
    seal_and_count()
    assert MetricsMark.objects.get().counted_at == NOW
    answer(ask_for_payment(company), company.finance_manager, now=NOW)

    keeping.count_sealed(NOW + timedelta(hours=1))
    asked = AuditEvent.objects.filter(sealed__isnull=True).earliest("pk")
    assert MetricsMark.objects.get().counted_at == asked.at

    seal_and_count(NOW + timedelta(hours=1))
    keeping.count_sealed(NOW + timedelta(hours=2))
    assert MetricsMark.objects.get().counted_at == NOW + timedelta(hours=2)


def test_a_part_of_a_chain_may_be_counted_before_the_rest_is_sealed(company):
    request = ask_for_payment(company)
    due = request.due_at
    climb_due_steps(now=due)
    assert seal_and_count(due) > 0
    assert Measure.objects.count() == 0, "nothing of it has ended"

    withdraw(ref=request.ref, agent=company.agent, now=due + timedelta(minutes=9))
    seal_and_count(due + timedelta(minutes=9))

    assert totals("escalation") == [(0, 1)]
    (case,) = Measure.objects.filter(metric="resolution")
    assert (case.outcome, case.seconds) == ("withdrawn", 540)
    assert case.facts["first_asked"] == ["person:finance_manager"]
    rollup = WeeklyRollup.objects.get(metric="resolution", by="all")
    assert (rollup.withdrawn, rollup.hits, rollup.seconds, rollup.minutes) == (1, 0, 0, {})


def test_the_case_of_a_newcomer_that_is_withdrawn_took_nobody_any_time(company):
    name_the_owner(company)
    ask_for_payment(company, key="first", instalment=1)
    newcomer = ask_for_payment(company, key="second", instalment=2)
    assert newcomer.state == "held"

    withdraw(ref=newcomer.ref, agent=company.agent, now=NOW)
    seal_and_count()

    (case,) = Measure.objects.filter(metric="resolution")
    assert (case.outcome, case.facts["ended"]) == ("withdrawn", "left")


def test_what_goes_on_after_it_was_counted_is_taken_out_again(company):
    request = ask_for_payment(company)

    def happens(kind, after):
        with transaction.atomic():
            act = Act(now=NOW + timedelta(days=after), actor="worker")
            act.record(request, kind)
            request.save(update_fields=["chain_length", "chain_hash"])
            act.write()
        seal_and_count(NOW + timedelta(days=after, minutes=2))

    happens("request.completed", 0)
    assert totals("escalation") == [(0, 1)]
    happens("request.rolling_back", 8)
    assert totals("escalation") == []
    happens("request.rolled_back", 9)

    assert totals("escalation") == [(0, 1)]
    (measure,) = Measure.objects.filter(metric="escalation")
    assert WeeklyRollup.objects.get(metric="escalation", by="all").week == measure.week
    assert measure.week == (NOW + timedelta(days=9)).date() - timedelta(days=2)


def test_a_finding_stands_in_the_department_of_its_request(company):
    request = ask_for_payment(company)
    with transaction.atomic():
        act = Act(now=NOW, actor="audit")
        for ref in (request.ref, ""):
            act.record_named(
                Chain.SYSTEM, "finding.opened", audit="chains_broken", key="1", text="Broken.",
                request=ref,
            )  # fmt: skip
        act.write()

    seal_and_count()

    found = WeeklyRollup.objects.filter(metric="silent", by="department")
    assert sorted(found.values_list("value", "hits")) == [("", 1), ("accounts-payable", 1)]


def test_a_batch_is_bounded_and_the_next_goes_on_where_it_ended(company):
    for number in range(3):
        request = ask_for_payment(company, key=f"key-{number}", invoice=f"INV-{number}")
        answer(request, company.finance_manager, now=NOW)
    seals.seal_now(NOW)
    events = AuditEvent.objects.count()

    assert keeping.count_sealed(NOW, batches=1, size=2) == 2
    while keeping.count_sealed(NOW, batches=2, size=2):
        pass

    assert totals("bypass") == [(0, 3)]
    mark = MetricsMark.objects.get()
    assert (mark.seal, mark.leaves) == (1, events)


def test_the_command_counts_anew_what_was_lost_or_falsified(company, capsys):
    answer(ask_for_payment(company), company.finance_manager, now=NOW)
    seal_and_count()
    before = sorted(Measure.objects.values_list("chain", "seq", "metric", "outcome"))
    Measure.objects.filter(metric="bypass").delete()
    WeeklyRollup.objects.update(hits=99)

    call_command("rebuild_metrics")

    assert "counted anew" in capsys.readouterr().out
    assert sorted(Measure.objects.values_list("chain", "seq", "metric", "outcome")) == before
    assert totals("bypass") == [(0, 1)]
    assert AuditEvent.objects.get(kind="metrics.rebuilt").facts["measures"] == len(before)
    assert seal_and_count() == 1, "that it was done, and nothing else"
    assert totals("bypass") == [(0, 1)]


# --- A broken record --------------------------------------------------------------------------


def three_approved(company):
    found = []
    for number in range(3):
        request = ask_for_payment(company, key=f"key-{number}", invoice=f"INV-{number}")
        answer(request, company.finance_manager, now=NOW)
        found.append(request.ref)
    return found


def edit(ref, what):
    """Change a request's first event, past the triggers, as somebody with the database's password would."""
    rows = AuditEvent.objects.filter(chain=ref)
    with lifted(connection):
        if what == "amount":
            facts = rows.get(seq=1).facts | {"amount": "lots"}
            rows.filter(seq=1).update(facts=facts)
        elif what == "level":
            last = rows.get(kind="request.approved")
            rows.filter(pk=last.pk).update(facts=last.facts | {"level": 4})
        elif what == "no facts":
            rows.filter(seq=1).update(facts=Value(None, JSONField()))
        elif what == "missing":
            SealedEvent.objects.filter(event__chain=ref, event__seq=2).delete()
            rows.filter(seq=2).delete()
        elif what == "no json":
            with connection.cursor() as cursor:
                cursor.execute("PRAGMA ignore_check_constraints = ON")
                cursor.execute(
                    "UPDATE governance_auditevent SET facts = 'gone' WHERE chain = %s AND seq = 1",
                    [ref],
                )
                cursor.execute("PRAGMA ignore_check_constraints = OFF")


EDITS = [
    "amount", "level", "no facts", "missing",
    pytest.param("no json", marks=pytest.mark.sqlite_only),
]  # fmt: skip


@pytest.mark.parametrize("what", EDITS)
def test_a_broken_record_is_left_out_and_found_and_the_others_are_counted(company, what):
    broken, *others = three_approved(company)
    seals.seal_now(NOW)
    edit(broken, what)

    assert keeping.count_sealed(NOW) > 0

    assert totals("bypass") == [(0, 2)]
    assert sorted(Measure.objects.values_list("chain", flat=True)) == sorted(others)
    (row,) = Uncounted.objects.all()
    assert (row.chain, row.found_at) == (broken, NOW)
    (found,) = records_not_counted(NOW)
    assert broken in found.text
    assert row.why in found.text


@pytest.mark.parametrize("what", EDITS)
def test_what_is_broken_after_it_was_counted_is_left_out_when_all_is_made_anew(company, what):
    broken, *_ = three_approved(company)
    seal_and_count()
    before = AuditEvent.objects.filter(chain=broken, kind="request.approved").get().facts
    edit(broken, what)

    keeping.rebuild(now=NOW, actor="test")

    assert totals("bypass") == [(0, 2)]
    assert [row.chain for row in Uncounted.objects.all()] == [broken]
    if what == "level":
        with lifted(connection):
            AuditEvent.objects.filter(chain=broken, kind="request.approved").update(facts=before)
        keeping.rebuild(now=NOW, actor="test")
        assert totals("bypass") == [(0, 3)]
        assert not Uncounted.objects.exists(), "it is as it was written again"


def test_events_that_are_whole_and_say_too_little_stop_nothing(company):
    broken, *_ = three_approved(company)
    request = ActionRequest.objects.get(ref=broken)
    with transaction.atomic():
        act = Act(now=NOW, actor="worker")
        act.record(request, "case.resolved", outcome="approved")
        request.save(update_fields=["chain_length", "chain_hash"])
        act.write()

    seal_and_count()

    assert totals("bypass") == [(0, 2)]
    assert "exception" in Uncounted.objects.get(chain=broken).why


@pytest.mark.parametrize(
    ("name", "value"), [("path", "x" * 21), ("path", "nowhere"), ("level", -1), ("level", 9)]
)
def test_events_that_are_whole_and_say_what_cannot_be_stop_nothing(company, name, value):
    broken, *_ = three_approved(company)
    request = ActionRequest.objects.get(ref=broken)
    with transaction.atomic():
        act = Act(now=NOW, actor="worker")
        facts = {"path": "timeout", "level": 4, **{name: value}}
        act.record(request, "request.approved", **facts)
        request.save(update_fields=["chain_length", "chain_hash"])
        act.write()

    seal_and_count()

    assert totals("bypass") == [(0, 2)]
    assert [row.chain for row in Uncounted.objects.all()] == [broken]


@pytest.mark.parametrize("what", [None, [], "gone"])
def test_a_finding_that_is_broken_is_a_silent_failure_all_the_same(company, what):
    with transaction.atomic():
        act = Act(now=NOW, actor="audit")
        for key in "12":
            act.record_named(
                Chain.SYSTEM, "finding.opened", audit="unsealed", key=key, text="Open.", request=""
            )
        act.write()
    seals.seal_now(NOW)
    with lifted(connection):
        first = AuditEvent.objects.filter(kind="finding.opened").earliest("seq")
        AuditEvent.objects.filter(pk=first.pk).update(facts=Value(what, JSONField()))

    keeping.count_sealed(NOW)

    assert totals("silent") == [(2, 0)]


# --- All of it anew ---------------------------------------------------------------------------


def test_between_two_pieces_of_a_rebuild_no_lock_is_held(company, race):
    refs = three_approved(company)
    seal_and_count()
    WeeklyRollup.objects.update(hits=99)
    Measure.objects.filter(chain=refs[0]).delete()
    Measure.objects.filter(chain=refs[1]).update(chain="R-GONE")
    pieces = 0

    def write():
        with connection.cursor() as cursor:
            if connection.vendor == "sqlite":
                cursor.execute("PRAGMA busy_timeout = 0")
            else:
                cursor.execute("SET lock_timeout = '1ms'")
        with transaction.atomic():
            mark = MetricsMark.objects.select_for_update().get()
            mark.save()
        return "written"

    for _ in keeping.rebuilding(now=NOW, actor="test", size=1):
        pieces += 1
        assert race(write) == ["written"]

    assert pieces > len(refs)
    assert totals("bypass") == [(0, 3)]
    assert not Measure.objects.filter(chain="R-GONE").exists()


def test_what_grows_after_its_piece_was_read_is_read_again(company):
    request = ask_for_payment(company)
    grown = []

    def grow(execute, sql, params, many, context):
        if "metricsmark" in sql and not grown:  # the piece was read, and is about to be stored
            grown.append(answer(request, company.finance_manager, now=NOW))
        return execute(sql, params, many, context)

    with connection.execute_wrapper(grow):
        keeping.rebuild(now=NOW, actor="test")

    assert grown
    assert totals("bypass") == [(0, 1)]


def test_what_is_new_and_was_counted_after_its_piece_was_read_stays(company):
    three_approved(company)
    seal_and_count()
    named, begun = [], []

    def submit(execute, sql, params, many, context):
        if "SELECT DISTINCT" in sql and "auditevent" in sql:
            named.append(True)
        elif "metricsmark" in sql and named and not begun:  # what was named is about to be stored
            begun.append(True)
            request = ask_for_payment(company, key="late", invoice="INV-LATE")
            answer(request, company.finance_manager, now=NOW)
            seal_and_count()
        return execute(sql, params, many, context)

    with connection.execute_wrapper(submit):
        keeping.rebuild(now=NOW, actor="test")

    assert begun
    assert totals("bypass") == [(0, 4)]


def test_a_rebuild_that_was_interrupted_is_run_again(company):
    refs = three_approved(company)
    seal_and_count()
    kept = sorted(map(repr, Measure.objects.values_list("chain", "seq", "metric")))
    Measure.objects.filter(chain__in=refs).update(outcome="hit")

    interrupted = keeping.rebuilding(now=NOW, actor="test", size=1)
    for _ in range(3):
        next(interrupted)
    interrupted.close()
    assert not AuditEvent.objects.filter(kind="metrics.rebuilt").exists()
    keeping.rebuild(now=NOW, actor="test")

    assert sorted(map(repr, Measure.objects.values_list("chain", "seq", "metric"))) == kept
    assert totals("bypass") == [(0, 3)]


@pytest.mark.postgresql
def test_an_event_that_was_committed_late_is_counted_when_its_seal_comes(company, race):
    request = ask_for_payment(company)

    with transaction.atomic():
        answer(request, company.finance_manager, now=NOW)
        assert race(lambda: seals.seal_now(NOW)) == [AuditEvent.objects.filter(seq__lte=2).count()]
        race(lambda: keeping.count_sealed(NOW))
    assert totals("bypass") == []

    seal_and_count(NOW + timedelta(minutes=1))

    assert totals("bypass") == [(0, 1)]


@pytest.mark.postgresql
def test_of_two_workers_one_counts(company, race):
    answer(ask_for_payment(company), company.finance_manager, now=NOW)
    seals.seal_now(NOW)

    done = race(lambda: keeping.count_sealed(NOW), lambda: keeping.count_sealed(NOW))

    assert sum(done) == AuditEvent.objects.count()
    assert totals("bypass") == [(0, 1)]


@pytest.mark.postgresql
def test_who_finds_the_mark_taken_leaves_it_to_the_other(company, race):
    answer(ask_for_payment(company), company.finance_manager, now=NOW)
    seals.seal_now(NOW)
    MetricsMark.objects.create()

    with transaction.atomic():
        MetricsMark.objects.select_for_update().get()
        assert race(lambda: keeping.count_sealed(NOW)) == [0]

    assert connection.vendor == "postgresql"
    assert keeping.count_sealed(NOW) > 0
