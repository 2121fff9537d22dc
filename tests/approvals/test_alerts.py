"""Alerts reach the operators, once each, and end when they have been seen or mended."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.core.management import CommandError, call_command

from approvals.channels.webhook import webhook_secret
from approvals.models import Alert, Notice
from approvals.services.alerts import acknowledge, sound
from approvals.sweeps import tell_of_alerts
from governance import signs
from governance.errors import NotYours
from tests.approvals.asking import answer, ask_for_payment, make_the_first_no_final
from tests.factories import MONDAY_9AM, ContactChannelFactory, PersonFactory, RoleFactory

pytestmark = pytest.mark.django_db

M = timedelta(minutes=1)


@pytest.fixture
def operator(company):
    one = PersonFactory(username="operator", name="Operator", roles=[RoleFactory(key="operator")])
    ContactChannelFactory(person=one)
    return one


def raised(kind="request.expired", key="k", **over):
    return sound(
        by="clock", **{"kind": kind, "key": key, "text": f"{kind} {key}", "now": MONDAY_9AM} | over
    )


def test_an_operator_is_told_of_an_alert_once(operator):
    raised()

    assert [tell_of_alerts(now=MONDAY_9AM) for _ in range(2)] == [1, 0]

    notice = Notice.objects.get(kind="alert")
    assert (notice.person, notice.via, notice.facts) == (
        operator,
        "email",
        {"text": "request.expired k"},
    )


def test_a_flood_is_one_message_that_says_so(operator):
    for n in range(6):
        raised(key=f"k{n}")

    tell_of_alerts(now=MONDAY_9AM)

    assert Notice.objects.get(kind="alert").facts["text"].startswith("6 new alerts. The first:")


def test_nobody_else_is_told(company, operator):
    raised()

    tell_of_alerts(now=MONDAY_9AM)

    assert set(Notice.objects.filter(kind="alert").values_list("person", flat=True)) == {
        operator.pk
    }


def test_the_end_of_a_request_reaches_the_operator_by_mail(operator, company, timeline, mailoutbox):
    from approvals.notifications import deliver_due

    request = ask_for_payment(company)
    timeline.advance(hours=7)

    deliver_due(now=timeline.now)

    assert any(
        f"{request.ref} expired" in mail.subject
        for mail in mailoutbox
        if mail.to == ["operator@example.com"]
    )


def test_one_alert_stands_however_often_it_is_raised():
    first, again = raised(), raised(text="other words")

    assert first == again
    assert Alert.objects.count() == 1


def test_what_tells_of_the_past_is_closed_by_being_seen_and_may_be_raised_again(operator):
    alert = raised()

    seen = acknowledge(alert=alert.pk, actor=operator, now=MONDAY_9AM + M)

    assert seen.closed_at == MONDAY_9AM + M
    assert raised() != alert


@pytest.mark.parametrize("kind", ["channel-down", "audit.clock_overdue", "sweep.failed"])
def test_what_closes_by_itself_stands_until_it_works_again(operator, kind):
    alert = raised(kind=kind)

    acknowledge(alert=alert.pk, actor=operator, now=MONDAY_9AM + M)

    assert raised(kind=kind) == alert
    assert signs.works_again(by="clock", kind=kind, key="k", now=MONDAY_9AM + 2 * M) == 1


def test_only_operators_look_after_alerts(company):
    with pytest.raises(NotYours):
        acknowledge(alert=raised().pk, actor=company.cfo, now=MONDAY_9AM)


def test_what_cannot_be_undone_is_approved_in_person_and_refused_without(company):
    company.vendor_payment.reversal = "none"
    make_the_first_no_final(company)
    request = ask_for_payment(company)

    with pytest.raises(Exception, match="second factor"):
        answer(request, company.finance_manager, now=MONDAY_9AM + M)

    assert (
        answer(request, company.finance_manager, "reject", now=MONDAY_9AM + M).state == "rejected"
    )


def test_an_operator_can_hand_over_the_secret_of_webhooks(company, capsys):
    call_command("webhook_secret", "ap-agent")

    assert capsys.readouterr().out.strip() == webhook_secret(company.agent)
    with pytest.raises(CommandError, match="no agent"):
        call_command("webhook_secret", "nobody")
