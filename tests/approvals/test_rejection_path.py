"""After a no: an alternate approver, then the head of the department. Then the no stands."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal

import pytest

from approvals.models import Alert, Ask, Case, Notice, Step
from approvals.sweeps import climb_due_steps
from governance.errors import AlreadyDecided, NotYours
from governance.models import Appointment, AuditEvent
from governance.tables import policy
from governance.vocabulary import Path
from tests.approvals.asking import (
    another_delegate,
    answer,
    ask_for_payment,
    chain_kinds,
    name_the_head,
)
from tests.factories import (
    MONDAY_9AM,
    AbsenceFactory,
    ContactChannelFactory,
    MatrixDelegateFactory,
    PersonFactory,
)

pytestmark = pytest.mark.django_db

M = timedelta(minutes=1)
H = timedelta(hours=1)
TICK = timedelta(microseconds=1)


@pytest.fixture(autouse=True)
def head(company):
    """The Controller heads the department."""
    return name_the_head(company)


@pytest.fixture
def rejected_once(company, timeline):
    """The Finance Manager said no, at low severity, a minute after being asked."""
    request = ask_for_payment(company)
    timeline.now += M
    return no(request, company.finance_manager, timeline)


def no(request, person, timeline, severity="", note="Not a preferred vendor."):
    return answer(request, person, "reject", now=timeline.now, severity=severity, note=note)


def steps(request, path=Path.REJECTION):
    rows = Step.objects.filter(request=request, path=path).order_by("pk")
    return [(step.level, step.state) for step in rows]


def asked(request):
    """Return who is asked now, by user name."""
    open_asks = Ask.objects.filter(step__request=request, due_at__isnull=False)
    return [ask.person.username for ask in open_asks.order_by("position")]


def told():
    """Return who was told in the inbox how it ended, by user name."""
    notices = Notice.objects.filter(kind="told", via="inbox")
    return sorted(notice.person.username for notice in notices)


# --- Where it enters ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("severity", "impact", "level", "who"),
    [
        ("low", "medium", 2, "senior_accountant"),
        ("low", "high", 2, "senior_accountant"),
        ("medium", "medium", 2, "senior_accountant"),
        ("medium", "high", 3, "controller"),
        ("high", "medium", 3, "controller"),
        ("high", "high", 3, "controller"),
    ],
)
def test_it_enters_where_the_tree_says_for_the_objections_severity(
    company, timeline, severity, impact, level, who
):
    request = ask_for_payment(company, impact=impact)

    no(request, company.finance_manager, timeline, severity=severity)

    request.refresh_from_db()
    assert request.state == "pending"
    assert steps(request) == [(level, "waiting")]
    assert asked(request) == [who]
    case = Case.objects.get(request=request)
    assert (case.exception, case.severity, case.impact) == ("rejection", severity, impact)
    assert case.highest_level == level
    assert case.reason == "The Finance Manager said no: Not a preferred vendor."


def test_a_rung_after_a_no_has_its_own_window_from_the_no(company, timeline, rejected_once):
    step = Step.objects.get(request=rejected_once, path=Path.REJECTION)

    assert (step.opened_at, step.due_at) == (timeline.now, timeline.now + 2 * H)
    assert rejected_once.due_at == step.due_at
    assert Step.objects.get(request=rejected_once, path=Path.APPROVAL).state == "answered"


def test_it_never_enters_below_the_level_of_whoever_said_no(company, timeline):
    """The delegate asked at L2 objects mildly: the other delegate is asked, not somebody below."""
    request = ask_for_payment(company)
    other = another_delegate(company)
    timeline.advance(minutes=40)
    assert asked(request) == ["senior_accountant"]

    no(request, company.senior_accountant, timeline, severity="low")

    assert steps(request) == [(2, "waiting")]
    assert asked(request) == [other.username]


def test_a_no_closes_the_case_it_came_in_and_opens_its_own(company, timeline):
    request = ask_for_payment(company)
    timeline.advance(minutes=40)

    no(request, company.senior_accountant, timeline)

    cases = Case.objects.filter(request=request).order_by("pk")
    assert [(case.exception, case.state, case.outcome) for case in cases] == [
        ("timeout", "resolved", "rejected"),
        ("rejection", "open", ""),
    ]


def test_the_record_tells_who_said_no_why_and_who_is_asked_then(rejected_once):
    decided = AuditEvent.objects.get(chain=rejected_once.ref, kind="step.decided")
    opened = AuditEvent.objects.filter(chain=rejected_once.ref, kind="step.opened").last()

    assert decided.facts["severity"] == "low"
    assert decided.facts["note"] == "Not a preferred vendor."
    assert opened.facts["path"] == "rejection"
    assert opened.facts["asked"] == ["person:senior_accountant"]
    assert opened.cause == decided.cause


# --- Who is asked -------------------------------------------------------------------------------


def test_nobody_below_the_limit_of_whoever_said_no_is_asked(company, timeline):
    """A small payment: the clerk may approve it, but not over the head of the Finance Manager."""
    clerk = PersonFactory(
        username="clerk", name="Clerk", limit_amount=Decimal(20_000), limit_currency="USD"
    )
    ContactChannelFactory(person=clerk)
    company.row.delegates.all().delete()
    MatrixDelegateFactory(row=company.row, position=1, role=None, person=clerk)
    policy.cache_clear()
    request = ask_for_payment(company, amount="500.00")

    no(request, company.finance_manager, timeline)

    passed = Ask.objects.get(step__request=request, person=clerk)
    assert passed.passed_over_reason == ("has a limit of $20,000.00, below that of whoever said no")
    assert steps(request) == [(2, "passed_over"), (3, "waiting")]
    assert asked(request) == ["controller"]


def test_whoever_said_no_is_not_asked_again(company, timeline, head):
    """The head of the department said no at L0: the next above is asked."""
    company.row.approver_role, company.row.approver_person = None, head
    company.row.save()
    policy.cache_clear()
    request = ask_for_payment(company)

    no(request, head, timeline, severity="high")

    assert asked(request) == ["cfo"]
    passed = Ask.objects.get(step__path=Path.REJECTION, person=head)
    assert passed.passed_over_reason == "has decided on this request before"


def test_an_absent_head_is_passed_over_for_the_next_above(company, timeline, head):
    AbsenceFactory(person=head, starts_at=MONDAY_9AM, ends_at=MONDAY_9AM + 48 * H)
    request = ask_for_payment(company)

    no(request, company.finance_manager, timeline, severity="high")

    assert asked(request) == ["cfo"]


def test_where_nobody_may_be_asked_the_no_stands_at_once_and_an_alert_says_so(company, timeline):
    company.row.delegates.all().delete()
    Appointment.objects.all().delete()
    policy.cache_clear()
    request = ask_for_payment(company)

    no(request, company.finance_manager, timeline)

    request.refresh_from_db()
    assert (request.state, request.ended_at) == ("rejected", timeline.now)
    assert steps(request) == [(2, "passed_over"), (3, "passed_over")]
    assert Alert.objects.filter(kind="request.rejected", key=request.ref).exists()


# --- How it ends --------------------------------------------------------------------------------


def test_a_yes_after_a_no_approves_it_and_whoever_said_no_is_told(company, timeline, rejected_once):
    timeline.now += 10 * M

    approved = answer(
        rejected_once,
        company.senior_accountant,
        now=timeline.now,
        note="Approved vendor since May.",
    )

    assert approved.state == "approved"
    case = Case.objects.get(exception="rejection")
    assert (case.state, case.outcome) == ("resolved", "approved")
    assert told() == ["finance_manager"]


def test_a_second_no_is_final(company, timeline, rejected_once):
    timeline.now += M

    ended = no(rejected_once, company.senior_accountant, timeline, severity="low")

    assert (ended.state, ended.ended_at, ended.due_at) == ("rejected", timeline.now, None)
    assert steps(ended) == [(2, "answered")]
    assert Case.objects.get().outcome == "rejected"
    assert not Alert.objects.filter(kind="request.rejected").exists(), "people decided it"
    assert told() == ["finance_manager"], "and not whose no it was"


def test_a_no_from_management_is_not_overruled_from_below(company, timeline):
    """Silence up to L3 of the timeout path; the Controller says no there."""
    request = ask_for_payment(company)
    timeline.advance(hours=3)
    assert asked(request) == ["controller"]

    ended = no(request, company.controller, timeline, severity="low")

    assert ended.state == "rejected"
    assert steps(ended) == []


def test_a_no_of_the_head_after_a_no_is_final(company, timeline):
    request = ask_for_payment(company)
    no(request, company.finance_manager, timeline, severity="high")

    assert no(request, company.controller, timeline).state == "rejected"


def test_an_action_type_may_declare_the_first_no_final(company, timeline):
    company.vendor_payment.first_no_is_final = True
    company.vendor_payment.save()
    request = ask_for_payment(company)

    ended = no(request, company.finance_manager, timeline)

    assert ended.state == "rejected"
    assert not Case.objects.exists()


def test_silence_after_a_no_climbs_and_then_the_no_stands(company, timeline, rejected_once):
    began = timeline.now

    timeline.go_to(began + 2 * H)
    assert steps(rejected_once) == [(2, "expired"), (3, "waiting")]
    assert asked(rejected_once) == ["controller"]
    timeline.go_to(began + 6 * H)

    rejected_once.refresh_from_db()
    assert (rejected_once.state, rejected_once.end_reason) == ("rejected", "rejected")
    assert rejected_once.ended_at == began + 6 * H
    assert steps(rejected_once) == [(2, "expired"), (3, "expired")]
    assert Case.objects.get().outcome == "rejected"
    told = Notice.objects.filter(kind="told", via="inbox", facts__what="rejected_in_silence")
    assert {notice.person.username for notice in told} == {
        "finance_manager", "senior_accountant", "controller",
    }  # fmt: skip
    assert Alert.objects.filter(kind="request.rejected", key=rejected_once.ref).exists()
    assert chain_kinds(rejected_once)[-2:] == ["request.rejected", "case.resolved"]


def test_a_rung_after_a_no_is_left_alone_a_moment_before_it_is_due(rejected_once):
    assert climb_due_steps(now=rejected_once.due_at - TICK) == 0
    assert climb_due_steps(now=rejected_once.due_at) == 1


def test_a_critical_process_is_not_bypassed_after_a_no(company, timeline):
    company.vendor_payment.is_critical = True
    company.vendor_payment.save()
    request = ask_for_payment(company)
    no(request, company.finance_manager, timeline)

    timeline.advance(hours=12)

    request.refresh_from_db()
    assert request.state == "rejected"
    assert [level for level, _ in steps(request)] == [2, 3]


# --- Quorum -------------------------------------------------------------------------------------


def test_approvals_before_a_no_count_after_it(company, timeline):
    """Two must approve. One did, the other said no; one more yes is enough."""
    second = PersonFactory(
        username="second", name="Second", limit_amount=25_000, limit_currency="USD",
        roles=[company.row.approver_role],
    )  # fmt: skip
    ContactChannelFactory(person=second)
    company.row.quorum = 2
    company.row.save()
    policy.cache_clear()
    request = ask_for_payment(company)
    answer(request, company.finance_manager, now=timeline.now)

    no(request, second, timeline)
    assert Step.objects.get(request=request, path=Path.REJECTION).needed == 1

    assert answer(request, company.senior_accountant, now=timeline.now).state == "approved"


# --- Who comes too late -------------------------------------------------------------------------


def test_whoever_said_no_cannot_take_it_back(company, timeline, rejected_once):
    with pytest.raises(AlreadyDecided, match="Your first decision stands"):
        answer(rejected_once, company.finance_manager, now=timeline.now)


def test_who_was_asked_on_the_rung_of_the_no_is_told_of_it(company, timeline):
    second = PersonFactory(
        username="second", name="Second", limit_amount=25_000, limit_currency="USD",
        roles=[company.row.approver_role],
    )  # fmt: skip
    ContactChannelFactory(person=second)
    company.row.quorum = 2
    company.row.save()
    policy.cache_clear()
    request = ask_for_payment(company)
    no(request, company.finance_manager, timeline)

    with pytest.raises(AlreadyDecided, match="The Finance Manager rejected this"):
        answer(request, second, now=timeline.now)


def test_an_alternate_whose_limit_was_lowered_meanwhile_may_not_overrule(
    company, timeline, rejected_once
):
    company.senior_accountant.limit_amount = Decimal(20_000)
    company.senior_accountant.save()

    with pytest.raises(NotYours, match="below that of whoever said no"):
        answer(rejected_once, company.senior_accountant, now=timeline.now)
