"""Somebody who is asked says that they are away: the next one is asked, at the instant it holds and no sooner."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.core import mail
from django.urls import reverse

from approvals.models import Ask, Notice
from approvals.notifications import deliver_due
from approvals.sweeps import pass_over_absent
from governance.services.people import (
    ask_for_change,
    cancel_absence,
    confirm_change,
    set_absence,
)
from tests.approvals.asking import answer, ask_for_payment
from tests.factories import MONDAY_9AM, PersonFactory, RoleFactory

pytestmark = pytest.mark.django_db

TODAY = MONDAY_9AM.date()
MOMENT = timedelta(microseconds=1)


def away(person, first=TODAY, last=TODAY, *, now=MONDAY_9AM, actor=None):
    return set_absence(person=person.pk, actor=actor or person, first=first, last=last, now=now)


def asked_now(request):
    open_ = Ask.objects.filter(step__request=request, due_at__isnull=False)
    return [each.person.username for each in open_.select_related("person")]


def test_who_is_asked_and_is_away_from_now_on_is_passed_over_at_once(company):
    request = ask_for_payment(company)
    now = MONDAY_9AM + timedelta(minutes=1)
    away(company.finance_manager, now=now)

    moved = pass_over_absent(now=now)

    assert moved == 1
    assert "finance_manager" not in asked_now(request)
    assert Ask.objects.get(person=company.finance_manager, path="approval").passed_over_at == now


def test_whoever_is_switched_off_by_two_is_passed_over_and_can_do_nothing_more(company, client):
    role = RoleFactory(key="policy_admin")
    one, two = PersonFactory(roles=[role]), PersonFactory(roles=[role])
    request = ask_for_payment(company)
    client.force_login(company.finance_manager)
    change = ask_for_change(
        kind="enabled",
        becomes=False,
        person=company.finance_manager.pk,
        actor=one,
        reason="Left.",
        now=MONDAY_9AM,
    )

    assert client.get(reverse("approvals:inbox")).status_code == 200
    confirm_change(change=change.pk, actor=two, now=MONDAY_9AM)
    moved = pass_over_absent(now=MONDAY_9AM)

    assert moved == 1
    assert "finance_manager" not in asked_now(request)
    assert client.get(reverse("approvals:inbox")).status_code == 302


def test_an_absence_to_come_passes_over_at_its_first_instant_and_not_before(company):
    company.vendor_payment.sla = timedelta(hours=24)
    company.vendor_payment.save()
    request = ask_for_payment(company)
    absence = away(company.finance_manager, TODAY + timedelta(days=1), TODAY + timedelta(days=1))

    assert pass_over_absent(now=absence.starts_at - MOMENT) == 0
    assert asked_now(request) == ["finance_manager"]
    assert pass_over_absent(now=absence.starts_at) == 1
    assert "finance_manager" not in asked_now(request)


@pytest.mark.parametrize("by", ["its end", "being cancelled"])
def test_who_is_back_is_asked_from_the_instant_of_it_on(company, by):
    absence = away(company.finance_manager)
    end = absence.ends_at
    if by == "being cancelled":
        end = MONDAY_9AM + timedelta(hours=3)
        cancel_absence(absence=absence.pk, actor=company.finance_manager, now=end)

    before = ask_for_payment(company, now=end - MOMENT, key="k1", invoice="1")
    after = ask_for_payment(company, now=end, key="k2", invoice="2")

    assert "finance_manager" not in asked_now(before)
    assert asked_now(after) == ["finance_manager"]


def test_rungs_that_open_later_read_absences_as_they_are_then(company, timeline):
    request = ask_for_payment(company)
    away(company.senior_accountant, TODAY, TODAY)

    timeline.advance(minutes=36)  # past L0 and L1: the delegate would be asked

    assert "senior_accountant" not in asked_now(request)


def test_who_came_back_early_may_answer_what_opens_then(company):
    absence = away(company.finance_manager)
    cancel_absence(
        absence=absence.pk, actor=company.finance_manager, now=MONDAY_9AM + timedelta(minutes=1)
    )
    now = MONDAY_9AM + timedelta(minutes=2)
    request = ask_for_payment(company, now=now)

    answer(request, company.finance_manager, now=now)

    request.refresh_from_db()
    assert request.state == "approved"


# --- What is told of it ---


def test_the_inbox_tells_whose_absence_was_entered_and_leads_to_it(company, client, timeline):
    away(company.finance_manager, actor=company.controller)
    client.force_login(company.finance_manager)

    page = client.get(reverse("approvals:inbox")).content.decode()

    assert "Controller (controller) entered your absence" in page
    assert 'href="/absences/"' in page


def test_it_is_marked_as_seen_like_everything_that_is_told(company, client, timeline):
    away(company.finance_manager, actor=company.controller)
    client.force_login(company.finance_manager)
    notice = Notice.objects.get(person=company.finance_manager, via="inbox")

    client.post(reverse("approvals:notices-seen"), {"since": notice.pk, "upto": notice.pk})

    notice.refresh_from_db()
    assert notice.seen_at == MONDAY_9AM


def test_the_auditor_reads_it_in_a_mail(company):
    auditor = PersonFactory(name="Auditor", roles=[RoleFactory(key="auditor")])
    auditor.channels.create(kind="email", address="auditor@example.com", confirmed_at=MONDAY_9AM)
    away(company.finance_manager, actor=company.controller)

    deliver_due(now=MONDAY_9AM)

    (message,) = [each for each in mail.outbox if each.to == ["auditor@example.com"]]
    assert message.subject.startswith("Controller (controller) entered Finance Manager's absence")
    assert "/absences/" in message.body
