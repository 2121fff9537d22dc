from __future__ import annotations

from datetime import timedelta

import pytest
from django.urls import reverse

from approvals.models import Ask, Notice
from approvals.services.alerts import acknowledge
from approvals.services.seen import see_notices, see_request
from governance.errors import NotFound, NotYours
from governance.models import AuditEvent
from tests.approvals.asking import answer, ask_for_payment, chain_kinds
from tests.factories import MONDAY_9AM, AlertFactory, PersonFactory, RoleFactory


def test_the_first_look_is_kept_and_later_ones_change_nothing(company, timeline):
    request = ask_for_payment(company)
    first = MONDAY_9AM + timedelta(minutes=1)

    kept = [
        see_request(ref=request.ref, actor=company.finance_manager, now=now)
        for now in (first, first + timedelta(minutes=1))
    ]

    assert kept == [True, False]
    assert Ask.objects.get(person=company.finance_manager).seen_at == first
    assert chain_kinds(request).count("ask.seen") == 1


def test_the_chain_still_holds_after_a_look(company, timeline):
    request = ask_for_payment(company)

    see_request(ref=request.ref, actor=company.finance_manager, now=timeline.now)

    request.refresh_from_db(fields=["chain_length", "chain_hash"])
    last = AuditEvent.objects.filter(chain=request.ref).order_by("seq").last()
    assert (last.kind, last.seq, last.hash) == (
        "ask.seen",
        request.chain_length,
        request.chain_hash,
    )


def test_somebody_who_is_not_asked_leaves_no_trace(company, timeline):
    request = ask_for_payment(company)
    before = AuditEvent.objects.count()

    kept = see_request(ref=request.ref, actor=company.controller, now=timeline.now)

    assert not kept
    assert AuditEvent.objects.count() == before


def test_a_look_after_the_window_does_not_count_as_seen(company, timeline):
    request = ask_for_payment(company)
    timeline.advance(minutes=36)

    see_request(ref=request.ref, actor=company.finance_manager, now=timeline.now)

    assert not Ask.objects.filter(person=company.finance_manager, seen_at__isnull=False).exists()


def test_looking_marks_what_was_told_of_it(company, timeline):
    request = ask_for_payment(company)
    timeline.advance(minutes=36)
    answer(request, company.senior_accountant, now=timeline.now)

    see_request(ref=request.ref, actor=company.finance_manager, now=timeline.now)

    told = Notice.objects.get(person=company.finance_manager, via="inbox", kind="told")
    assert told.seen_at == timeline.now
    assert chain_kinds(request)[-1] == "notice.seen"


def test_the_page_sends_it_and_a_get_does_not(client, company, timeline):
    request = ask_for_payment(company)
    client.force_login(company.finance_manager)

    client.get(reverse("approvals:request", args=[request.ref]))
    unseen = Ask.objects.get(person=company.finance_manager).seen_at
    response = client.post(reverse("approvals:request-seen", args=[request.ref]))

    assert unseen is None
    assert response.status_code == 204
    assert Ask.objects.get(person=company.finance_manager).seen_at == timeline.now


def test_only_what_was_on_the_page_is_marked(company, timeline):
    requests = [ask_for_payment(company, key=key, invoice=key) for key in ("one", "two", "three")]
    timeline.advance(minutes=36)
    for request in requests:
        answer(request, company.senior_accountant, now=timeline.now)
    pks = list(
        Notice.objects.filter(kind="told", via="inbox").order_by("pk").values_list("pk", flat=True)
    )

    count = see_notices(actor=company.finance_manager, since=pks[1], upto=pks[1], now=timeline.now)

    assert count == 1
    assert list(
        Notice.objects.filter(pk__in=pks, seen_at__isnull=True).values_list("pk", flat=True)
    ) == [pks[0], pks[2]]
    assert AuditEvent.objects.filter(chain="people", kind="notices.seen").count() == 1


def test_nobody_marks_what_others_were_told(company, timeline):
    request = ask_for_payment(company)
    timeline.advance(minutes=36)
    answer(request, company.senior_accountant, now=timeline.now)

    assert see_notices(actor=company.controller, since=1, upto=10**9, now=timeline.now) == 0


@pytest.mark.parametrize(
    "sent", [{}, {"since": "1"}, {"since": "1", "upto": "x"}, {"since": "1", "upto": "9" * 40}]
)
def test_keys_that_are_none_are_refused(client, company, sent):
    client.force_login(company.finance_manager)

    assert client.post(reverse("approvals:notices-seen"), sent).status_code == 400


def test_an_operator_looks_after_an_alert_once(company, timeline):
    alert, operator = AlertFactory(kind="audit.clock_overdue"), PersonFactory()
    operator.roles.add(RoleFactory(key="operator"))

    for minutes in (1, 2):
        acknowledge(alert=alert.pk, actor=operator, now=MONDAY_9AM + timedelta(minutes=minutes))

    alert.refresh_from_db()
    assert (alert.acknowledged_by, alert.acknowledged_at) == (
        operator,
        MONDAY_9AM + timedelta(minutes=1),
    )
    assert alert.closed_at is None
    assert AuditEvent.objects.filter(kind="alert.acknowledged").count() == 1


def test_others_do_not_look_after_alerts(company):
    alert = AlertFactory()

    with pytest.raises(NotYours):
        acknowledge(alert=alert.pk, actor=company.controller, now=MONDAY_9AM)


def test_an_alert_that_is_not_there_is_not_found(company):
    operator = PersonFactory()
    operator.roles.add(RoleFactory(key="operator"))

    with pytest.raises(NotFound):
        acknowledge(alert=1, actor=operator, now=MONDAY_9AM)
