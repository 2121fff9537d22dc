"""Another version comes into force while a request is open: it keeps its own, and the new rules count as well."""

from __future__ import annotations

from datetime import timedelta

import pytest

from approvals.models import ActionRequest, Step, Violation
from governance import clock
from governance.drafting.proving import prove
from governance.models import PolicyVersion
from governance.services import policy as services
from governance.stepup import Presence
from governance.tables import policy
from rollback.runner import run_all
from tests.approvals.asking import add_check, answer, ask_for_payment
from tests.factories import PersonFactory, RoleFactory, with_every_office
from tests.governance.test_drafts import SAME
from tests.rollback.carrying import books, whole_record, worker

__all__ = ["books", "whole_record", "worker"]  # fixtures

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("whole_record")]

M = timedelta(minutes=1)
RULE = {
    "key": "small-sums",
    "name": "Sums stay small",
    "action": "vendor_payment",
    "reads": "payload",
    "expression": "payload.amount.minor < 1000",
    "on_break": "The amount is more than this vendor is trusted with.",
}


@pytest.fixture(autouse=True)
def everybody(company):
    with_every_office(company)
    policy.cache_clear()
    company.vendor_payment.connector_config = {
        "target": "books",
        "facts": {"limit": {"record": "limits", "pointer": "/limit"}},
    }
    company.vendor_payment.save()


@pytest.fixture
def swap(company, timeline):
    """Return a function that edits a draft and puts it into force, as two admins do."""
    role = RoleFactory(key="policy_admin")
    editor, activator = (PersonFactory(roles=[role]) for _ in range(2))

    def swapped(call, **given):
        draft = services.start_draft(actor=editor, now=timeline.now)
        call(number=draft.number, revision=0, actor=editor, now=timeline.now, **given)
        factor = Presence(activator.pk, services.matter_of(draft.number), clock.real_now())
        given = {"number": draft.number, "revision": 1, "now": timeline.now}
        if prove(draft, now=timeline.now).kept:
            digest = prove(draft, now=timeline.now).digest
            services.sign(actor=editor, digest=digest, **given)
        return services.activate(actor=activator, presence=factor, **given)

    return swapped


def now_(request):
    return ActionRequest.objects.get(pk=request.pk)


def windows(version):
    found = version.windows.values_list("path", "level", "window")
    lengths = {
        f"{path}/L{level}": f"{int(window.total_seconds())} s" for path, level, window in found
    }
    return lengths | {"queue_cap": "8 h"}


def test_an_open_request_climbs_by_the_windows_and_the_row_it_began_with(company, timeline, swap):
    request = ask_for_payment(company)
    typed = windows(company.policy) | {"timeout/L1": "10 min", "timeout/L2": "10 min"}
    swap(services.save_windows, windows=typed)
    later = ask_for_payment(
        company, key="key-2", invoice="INV-2", policy=PolicyVersion.objects.get(state="active").pk
    )

    timeline.advance(minutes=6)

    assert (now_(request).policy.number, now_(later).policy.number) == (1, 2)
    lengths = {
        step.request_id: step.window for step in Step.objects.filter(path="timeout", level=1)
    }
    assert lengths == {request.pk: 30 * M, later.pk: 10 * M}


def test_an_open_request_asks_the_people_of_its_own_row(company, timeline, swap):
    request = ask_for_payment(company)
    swap(services.save_row, row=14, cells={**SAME, "delegates": "controller, senior_accountant"})

    timeline.advance(minutes=36)

    (step,) = Step.objects.filter(request=request, path="timeout", level=2)
    assert [ask.person for ask in step.asks.all()] == [company.senior_accountant]


def test_a_rule_of_the_new_version_stops_what_was_approved_under_the_old(
    company, timeline, worker, books, swap
):
    request = ask_for_payment(company)
    run_all(worker.hands)
    timeline.now += M
    answer(request, company.finance_manager, now=timeline.now)
    swap(services.save_rule, key=None, typed=RULE)

    run_all(worker.hands)

    assert now_(request).state == "blocked"
    assert now_(request).policy.number == 1
    assert Violation.objects.get(request=request).check_key == "small-sums"
    assert books.sends == []


def test_a_rule_over_the_target_that_the_new_version_dropped_still_holds_for_what_is_open(
    company, timeline, worker, books, swap
):
    books.state["limits"] = ({"limit": 1_000_000}, "1")
    add_check(company, "done.minor + 100 <= facts.limit", key="limit", reads="target")
    request = ask_for_payment(company)
    run_all(worker.hands)
    timeline.now += M
    answer(request, company.finance_manager, now=timeline.now)
    swap(services.remove_rule, key="limit")
    books.state["limits"] = ({"limit": 0}, "2")

    run_all(worker.hands)

    assert now_(request).state == "blocked"
    assert books.sends == []


def test_a_rule_that_stands_in_both_is_asked_once(company, timeline, worker, books, swap):
    books.state["limits"] = ({"limit": 0}, "1")
    add_check(company, "done.minor + 100 <= facts.limit", key="limit", reads="target")
    request = ask_for_payment(company)
    swap(services.save_row, row=14, cells={**SAME, "delegates": "controller, senior_accountant"})

    run_all(worker.hands)

    assert Violation.objects.filter(request=request).count() == 1
