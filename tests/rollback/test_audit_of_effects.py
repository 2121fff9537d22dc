"""The audit of effects: what targets did under our keys, against our checkpoints, both ways."""

from __future__ import annotations

from datetime import timedelta

import pytest

from approvals import auditing
from approvals.models import ActionRequest, Alert, Finding
from rollback.audits import OF_EFFECTS
from rollback.connectors import registry
from rollback.connectors.base import NotDone, OutcomeUnknown, Receipt, Rejected
from rollback.models import Unit
from rollback.runner import run_all
from tests.approvals.asking import answer, ask_for_payment
from tests.rollback.carrying import approved, books, whole_record, worker

__all__ = ["approved", "books", "whole_record", "worker"]  # fixtures

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("whole_record")]

S = ActionRequest.State
M = timedelta(minutes=1)
H = timedelta(hours=1)
DOWN = NotDone("connection refused")


def now_(request):
    return ActionRequest.objects.get(pk=request.pk)


def unit_of(request, position):
    return Unit.objects.get(request=request, direction="forward", position=position)


@pytest.fixture
def audited(monkeypatch, books):
    """Run every audit, with the target in memory in the place of the configured one; return what stands."""
    monkeypatch.setattr(registry, "connector_for", lambda action_type: books)

    def run(now):
        auditing.run(now=now)
        return list(Finding.objects.filter(audit=OF_EFFECTS, cleared_at=None).order_by("pk"))

    return run


@pytest.fixture
def refusing(books):
    """Have the target never answer a question about one key."""
    probe, keys = books.probe, set()

    def probing(key):
        if key in keys:
            raise OutcomeUnknown("500 Internal Server Error")
        return probe(key)

    books.probe = probing
    return keys


def test_effects_that_agree_are_asked_about_once(approved, worker, books, timeline, audited):
    run_all(worker.hands)

    assert audited(timeline.now) == []
    books.down = DOWN
    assert audited(timeline.now) == []
    assert not Unit.objects.filter(audited_at=None, sent_at__isnull=False).exists()


def test_an_effect_that_came_after_the_end_is_found(approved, worker, books, timeline, audited):
    books.fail(1, Rejected("422 no"))
    run_all(worker.hands)
    assert now_(approved).state == S.EXPIRED
    assert audited(timeline.now) == []
    key = unit_of(approved, 1).key
    books.done[key] = Receipt("L-late", {"line": 1})

    (found,) = audited(timeline.now + 11 * M)

    assert key in found.text
    assert found.request_id == approved.pk
    del books.done[key]


def test_a_checkpoint_the_target_knows_nothing_of_is_found(
    approved, worker, books, timeline, audited
):
    run_all(worker.hands)
    lost = books.done.pop(unit_of(approved, 3).key)

    (found,) = audited(timeline.now)

    assert "knows nothing" in found.text
    books.done[unit_of(approved, 3).key] = lost


def test_what_cannot_be_asked_holds_up_nothing(approved, worker, books, timeline, audited):
    run_all(worker.hands)
    books.gives = books.gives.__class__(native_keys=True, lookup=False, optimistic_locking=True)

    assert audited(timeline.now) == []
    assert not Unit.objects.filter(audited_at=None, sent_at__isnull=False).exists()


def test_what_was_only_planned_is_no_effect(approved, company, worker, books, timeline, audited):
    company.vendor_payment.snapshot_plan = ["line/1"]  # which cannot be read
    company.vendor_payment.save()
    books.down = DOWN
    run_all(worker.hands)
    timeline.go_to(timeline.now + 40 * M)
    books.down = None
    books.done[unit_of(approved, 1).key] = Receipt("of the next request", {"line": 1})

    assert audited(timeline.now + 11 * M) == []
    books.done.clear()


def test_a_target_that_cannot_be_asked_clears_nothing(approved, worker, books, timeline, audited):
    books.fail(1, Rejected("422 no"))
    run_all(worker.hands)
    key = unit_of(approved, 1).key
    books.done[key] = Receipt("L-late", {"line": 1})
    (found,) = audited(timeline.now + 11 * M)

    books.down = DOWN

    assert audited(timeline.now + 12 * M) == [found]
    assert audited(timeline.now + 7 * 24 * H) == [found]
    alert = Alert.objects.get(kind=f"audit.{OF_EFFECTS}", key=found.key)
    assert alert.closed_at is None
    books.down = None
    del books.done[key]
    assert audited(timeline.now + 8 * 24 * H) == []
    alert.refresh_from_db()
    assert alert.closed_at is not None


def test_a_unit_that_cannot_be_asked_about_hides_no_other(
    approved, company, worker, books, timeline, audited, refusing
):
    run_all(worker.hands)
    second = ask_for_payment(company, now=timeline.now, key="k2", invoice="INV-2")
    answer(second, company.finance_manager, now=timeline.now)
    run_all(worker.hands)
    refusing.add(unit_of(approved, 1).key)
    lost = unit_of(second, 1).key
    receipt = books.done.pop(lost)

    (found,) = audited(timeline.now + M)

    assert lost in found.text
    books.done[lost] = receipt


def test_a_unit_that_its_target_never_answers_for_is_a_finding_after_an_hour(
    approved, worker, books, timeline, audited, refusing
):
    run_all(worker.hands)
    refusing.add(unit_of(approved, 1).key)

    assert audited(timeline.now + H) == []
    (found,) = audited(timeline.now + H + timedelta(seconds=1))

    assert (
        found.text
        == f"books cannot be asked about {unit_of(approved, 1).key}: 500 Internal Server Error"
    )
    refusing.clear()
    assert audited(timeline.now + 2 * H) == []


def test_a_target_that_is_gone_for_good_is_a_finding(approved, worker, books, timeline, audited):
    run_all(worker.hands)
    books.down = DOWN

    assert audited(timeline.now + H) == []
    assert len(audited(timeline.now + 2 * H)) == 1, "one is enough to say so"


# What a stored configuration may come to, which stops the units of its action type alone, and a defect.
@pytest.mark.parametrize("problem", [LookupError, RuntimeError])
def test_an_audit_that_itself_fails_clears_nothing_and_is_over_once_mended(
    approved, worker, books, timeline, audited, monkeypatch, problem
):
    run_all(worker.hands)
    lost = books.done.pop(unit_of(approved, 3).key)
    (found,) = audited(timeline.now)

    def broken(action_type):
        raise problem("There is no connector “soap”.")

    with monkeypatch.context() as patch:
        patch.setattr(registry, "connector_for", broken)
        assert found in audited(timeline.now + M)
        assert len(audited(timeline.now + 2 * M)) == 2

    assert audited(timeline.now + 3 * M) == [found]
    books.done[unit_of(approved, 3).key] = lost


def test_a_finding_whose_unit_was_settled_in_a_round_that_was_cut_short_does_not_stay(
    approved, worker, books, timeline, audited
):
    run_all(worker.hands)
    unit = unit_of(approved, 3)
    lost = books.done.pop(unit.key)
    assert len(audited(timeline.now)) == 1
    books.done[unit.key] = lost
    Unit.objects.filter(pk=unit.pk).update(audited_at=timeline.now)  # and the task was killed

    assert audited(timeline.now + M) == []


def test_many_bad_units_do_not_keep_a_later_one_from_its_turn(
    approved, company, worker, books, timeline, audited, monkeypatch
):
    monkeypatch.setattr("rollback.audits.AT_ONCE", 5)
    run_all(worker.hands)
    bad = {unit.key: books.done.pop(unit.key) for unit in Unit.objects.filter(direction="forward")}
    assert len(audited(timeline.now)) == 5
    second = ask_for_payment(company, now=timeline.now, key="k2", invoice="INV-2")
    answer(second, company.finance_manager, now=timeline.now)
    run_all(worker.hands)
    lost = unit_of(second, 1).key
    bad[lost] = books.done.pop(lost)

    found = audited(timeline.now)

    assert len(found) == 6
    books.done.update(bad)
