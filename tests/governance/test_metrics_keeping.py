"""Counting goes on from seal to seal: late events, two workers, and a second time change nothing."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.core.management import call_command
from django.db import connection, transaction

from approvals.services.close import withdraw
from approvals.sweeps import climb_due_steps
from governance import seals
from governance.ledger import Act
from governance.metrics import keeping
from governance.models import AuditEvent, Heartbeat, Measure, MetricsMark, WeeklyRollup
from governance.vocabulary import Chain
from tests.approvals.asking import answer, ask_for_payment
from tests.factories import MONDAY_9AM

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
