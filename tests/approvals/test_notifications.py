from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest
from django.conf import settings as django_settings
from django.core import mail
from django.db import connection

from approvals.models import Alert, Ask, Notice
from approvals.notifications import (
    AT_ONCE,
    LEASE_S,
    TRIES,
    deliver_due,
    due_notices,
    wait_s,
)
from governance import wording
from governance.ledger import event_hash
from governance.models import AuditEvent, ContactChannel
from tests.approvals.outside import receiver, reply
from tests.factories import (
    MONDAY_9AM,
    AskFactory,
    ContactChannelFactory,
    NoticeFactory,
    PersonFactory,
    RequestFactory,
)

pytestmark = pytest.mark.django_db

REAL = datetime.now(UTC)
S = Notice.State
A_MOMENT = timedelta(microseconds=1)


def asked_by_mail(**fields):
    ask = fields.pop("ask", None) or AskFactory()
    channel = fields.pop("channel", None) or ContactChannelFactory(person=ask.person)
    return NoticeFactory(ask=ask, channel=channel, **fields)


def hook_to(url, **fields):
    fields.setdefault("facts", {"state": "pending", "reason": ""})
    fields.setdefault("request", RequestFactory(callback_url=url))
    return NoticeFactory(
        kind=Notice.Kind.STATE, via=Notice.Via.WEBHOOK, ask=None, number=0, **fields
    )


def fresh(row):
    return type(row).objects.get(pk=row.pk)


# --- What becomes of a notice -------------------------------------------------------------------


def test_a_notice_that_is_taken_is_marked_and_so_is_the_ask():
    notice = asked_by_mail()

    taken = deliver_due(now=MONDAY_9AM)

    assert taken == 1
    after = fresh(notice)
    assert (after.state, after.attempts, after.delivered_at) == (S.DELIVERED, 1, MONDAY_9AM)
    assert fresh(notice.ask).delivered_at == MONDAY_9AM
    assert [message.to for message in mail.outbox] == [[notice.channel.address]]


def test_its_request_holds_the_record_of_it():
    notice = asked_by_mail()

    deliver_due(now=MONDAY_9AM)

    event = AuditEvent.objects.get(chain=notice.request.ref)
    assert (event.kind, event.actor) == ("notice.delivered", "courier")
    assert event.facts == {
        "notice": notice.pk,
        "kind": "asked",
        "via": "email",
        "attempts": 1,
        "person": f"person:{notice.person.username}",
    }
    request = fresh(notice.request)
    assert (request.chain_length, request.chain_hash) == (1, event.hash)
    assert event.hash == event_hash(
        event.chain,
        1,
        event.kind,
        event.actor,
        "",
        event.facts,
        event.cause,
        event.at,
        event.prev_hash,
    )


def test_the_first_channel_that_takes_it_is_when_the_ask_was_delivered():
    ask = AskFactory()
    asked_by_mail(ask=ask)
    other = ContactChannelFactory(person=ask.person, address="other@example.com")
    later = MONDAY_9AM + timedelta(minutes=1)
    asked_by_mail(ask=ask, channel=other, created_at=later)

    deliver_due(now=MONDAY_9AM)
    deliver_due(now=later)

    assert len(mail.outbox) == 2
    assert fresh(ask).delivered_at == MONDAY_9AM


def test_a_notice_is_left_alone_a_moment_before_it_is_due():
    asked_by_mail()

    assert deliver_due(now=MONDAY_9AM - A_MOMENT) == 0
    assert deliver_due(now=MONDAY_9AM) == 1


def test_delivering_twice_delivers_once():
    asked_by_mail()

    assert [deliver_due(now=MONDAY_9AM) for _ in range(2)] == [1, 0]
    assert len(mail.outbox) == 1


def test_more_than_one_batch_is_delivered_and_never_more_than_the_limit():
    person = PersonFactory()
    channel = ContactChannelFactory(person=person)
    for _ in range(AT_ONCE + 4):
        NoticeFactory(
            kind=Notice.Kind.ALERT, ask=None, person=person, channel=channel, facts={"what": "x"}
        )

    assert deliver_due(now=MONDAY_9AM, limit=AT_ONCE + 2) == AT_ONCE + 2
    assert len(mail.outbox) == AT_ONCE + 2


def test_an_inbox_notice_left_waiting_is_its_own_delivery():
    notice = NoticeFactory(via=Notice.Via.INBOX)

    deliver_due(now=MONDAY_9AM)

    assert fresh(notice).state == S.DELIVERED


# --- What is no longer true is not sent ---------------------------------------------------------


def test_somebody_who_is_no_longer_asked_is_not_told_that_they_are():
    notice = asked_by_mail()
    Ask.objects.update(due_at=None)

    deliver_due(now=MONDAY_9AM)

    after = fresh(notice)
    assert (after.state, after.last_error) == (S.DROPPED, "This person is no longer asked.")
    assert mail.outbox == []
    assert fresh(notice.ask).delivered_at is None
    assert AuditEvent.objects.get().kind == "notice.dropped"


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (lambda notice: ContactChannel.objects.all().delete(), "taken away"),
        (lambda notice: ContactChannel.objects.update(confirmed_at=None), "taken away"),
        (lambda notice: ContactChannel.objects.update(urgent_only=True), "urgent"),
        (lambda notice: type(notice.person).objects.update(is_active=False), "not here"),
    ],
)
def test_a_channel_or_a_person_that_is_gone_is_not_written_to(change, why):
    notice = asked_by_mail()
    change(notice)

    deliver_due(now=MONDAY_9AM)

    after = fresh(notice)
    assert after.state == S.DROPPED
    assert why in after.last_error
    assert mail.outbox == []


def test_what_is_urgent_goes_through_a_channel_for_it():
    ask = AskFactory()
    channel = ContactChannelFactory(person=ask.person, urgent_only=True)
    asked_by_mail(ask=ask, channel=channel, urgent=True)

    deliver_due(now=MONDAY_9AM)

    assert len(mail.outbox) == 1


def test_an_address_that_refused_before_is_not_tried_again():
    ask = AskFactory()
    channel = ContactChannelFactory(person=ask.person, refused_at=MONDAY_9AM - timedelta(days=1))
    notice = asked_by_mail(ask=ask, channel=channel)

    deliver_due(now=MONDAY_9AM)

    assert fresh(notice).state == S.REFUSED
    assert fresh(channel).refused_at == MONDAY_9AM - timedelta(days=1)
    assert mail.outbox == []


# --- Trying again -------------------------------------------------------------------------------


def test_waits_double_from_five_seconds_to_ten_minutes():
    assert [wait_s(n, spread=0) for n in (1, 2, 3, 7, 8, 12)] == [5, 10, 20, 320, 600, 600]


@pytest.mark.parametrize("spread", [-1, 1])
def test_waits_are_spread_by_a_fifth_at_most(spread):
    assert wait_s(1, spread=spread) == pytest.approx(5 + spread)


def test_it_is_tried_so_often_and_then_it_is_an_alert(settings):
    settings.EMAIL_BACKEND = "tests.approvals.backends.Away"
    notice = asked_by_mail()

    instants = []
    while (due := fresh(notice).next_attempt_at) is not None:
        assert deliver_due(now=due - A_MOMENT) == 0
        deliver_due(now=due)
        instants.append(due)

    after = fresh(notice)
    assert (after.state, after.attempts, len(instants)) == (S.FAILED, TRIES, TRIES)
    waits = [(b - a).total_seconds() for a, b in pairwise(instants)]
    for n, wait in enumerate(waits, start=1):
        assert wait_s(n, spread=-1) <= wait <= wait_s(n, spread=1)
    failed = Alert.objects.get(kind="notice.failed")
    assert (failed.request, failed.key) == (notice.request, f"notice {notice.pk}")
    assert AuditEvent.objects.get(chain=notice.request.ref).kind == "notice.failed"


def test_waits_are_real_time_however_fast_business_time_runs(settings):
    settings.EMAIL_BACKEND = "tests.approvals.backends.Away"
    notice = asked_by_mail()

    deliver_due(now=MONDAY_9AM, technical=lambda seconds: timedelta(minutes=seconds))

    wait = fresh(notice).next_attempt_at - MONDAY_9AM
    assert timedelta(minutes=4) <= wait <= timedelta(minutes=6)


def test_a_channel_that_is_down_is_an_alert_and_never_the_persons_absence(settings):
    settings.EMAIL_BACKEND = "tests.approvals.backends.Away"
    notice = asked_by_mail()

    deliver_due(now=MONDAY_9AM)

    assert Alert.objects.get().kind == "channel-down"
    assert fresh(notice.channel).refused_at is None


def test_alerts_of_alerts_do_not_breed(settings):
    settings.EMAIL_BACKEND = "tests.approvals.backends.Away"
    person = PersonFactory()
    channel = ContactChannelFactory(person=person)
    for _ in range(3):
        NoticeFactory(
            kind=Notice.Kind.ALERT, ask=None, person=person, channel=channel, attempts=TRIES - 1,
            facts={"what": "The clock is silent."},
        )  # fmt: skip

    deliver_due(now=MONDAY_9AM)

    assert Alert.objects.get(kind="notice.failed").key == "alerts"


def test_a_notice_that_cannot_be_written_does_not_stop_its_neighbours():
    broken = hook_to("https://hooks.example.com/", facts={})
    good = asked_by_mail()

    deliver_due(now=MONDAY_9AM)

    assert fresh(good).state == S.DELIVERED
    after = fresh(broken)
    assert (after.state, after.last_error) == (
        S.WAITING,
        "It could not be written or sent: KeyError. This is a defect.",
    )
    assert after.next_attempt_at > MONDAY_9AM


def test_a_notice_that_kills_its_worker_each_time_ends_as_an_alert():
    """Nobody marks it, so the tries that were begun are what is counted."""
    notice = asked_by_mail(attempts=TRIES)

    deliver_due(now=MONDAY_9AM)

    assert fresh(notice).state == S.FAILED
    assert mail.outbox == []
    assert Alert.objects.get().kind == "notice.failed"


def test_a_slow_webhook_holds_up_no_mail():
    """The receiver answers only once the mail is out: one after the other, neither would end."""
    out = threading.Event()

    def wait(handler):
        assert out.wait(10)
        reply(handler, 204)

    with receiver() as slow:
        slow.answers = [wait]
        hook = hook_to(slow.url())
        asked = asked_by_mail(created_at=MONDAY_9AM + A_MOMENT)
        tell = threading.Thread(target=lambda: until(lambda: mail.outbox) and out.set())
        tell.start()

        deliver_due(now=MONDAY_9AM + A_MOMENT)

        tell.join()
    assert {fresh(hook).state, fresh(asked).state} == {S.DELIVERED}


def test_people_come_before_webhooks():
    with receiver() as one:
        for _ in range(3):
            hook_to(one.url())
        asked = asked_by_mail(created_at=MONDAY_9AM + A_MOMENT)

        deliver_due(now=MONDAY_9AM + A_MOMENT, limit=1)

    assert fresh(asked).state == S.DELIVERED
    assert one.got == []


def until(true):
    over = threading.Event()
    for _ in range(200):
        if true():
            return True
        over.wait(0.05)
    return False


# --- Several couriers, and couriers that die ----------------------------------------------------


@pytest.mark.django_db(transaction=True)
def test_it_is_put_off_before_it_is_tried():
    """So that a courier that dies while it sends leaves a notice that is due again later."""
    seen = []
    with receiver() as one:

        def look(handler):
            seen.append(Notice.objects.values_list("attempts", "next_attempt_at").get())
            connection.close()
            reply(handler, 204)

        one.answers = [look]
        hook_to(one.url())

        deliver_due(now=MONDAY_9AM, signed_at=REAL)

    assert seen == [(1, MONDAY_9AM + timedelta(seconds=LEASE_S))]


@pytest.mark.django_db(transaction=True)
def test_the_harness_can_see_a_notice_sent_twice(race):
    """Control: without the claim both couriers take it, so the test below means something."""
    asked_by_mail()
    both_looked = threading.Barrier(2)

    def naive_courier():
        notice = due_notices(MONDAY_9AM).select_related("channel").get()
        both_looked.wait(timeout=5)
        mail.send_mail("Asked", "", None, [notice.channel.address])

    race(naive_courier, naive_courier)

    assert len(mail.outbox) == 2


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("_round", range(5))
def test_two_couriers_at_once_send_each_notice_once(race, _round):
    notices = [asked_by_mail() for _ in range(6)]

    counts = race(*[lambda: deliver_due(now=MONDAY_9AM)] * 2)

    assert sum(counts) == len(notices)
    addressed = sorted(message.to[0] for message in mail.outbox)
    assert addressed == sorted(notice.channel.address for notice in notices)
    assert set(Notice.objects.values_list("attempts", "state")) == {(1, S.DELIVERED)}


@pytest.mark.django_db(transaction=True)
def test_two_couriers_at_once_keep_the_order_of_webhooks(race):
    with receiver() as one:
        request = RequestFactory(callback_url=one.url())
        for number in range(6):
            NoticeFactory(
                kind=Notice.Kind.STATE, via=Notice.Via.WEBHOOK, ask=None, request=request,
                number=number, facts={"state": "pending", "reason": ""},
            )  # fmt: skip

        race(*[lambda: deliver_due(now=MONDAY_9AM, signed_at=REAL)] * 2)
        deliver_due(now=MONDAY_9AM, signed_at=REAL)

    assert [json.loads(each["body"])["number"] for each in one.got] == list(range(6))


@pytest.mark.django_db(transaction=True)
def test_an_answer_that_comes_after_another_courier_took_over_is_not_lost():
    """It was delivered; that the other is still trying does not make it otherwise."""
    with receiver() as one:

        def overtaken(handler):
            Notice.objects.update(attempts=2)
            connection.close()
            reply(handler, 204)

        one.answers = [overtaken]
        notice = hook_to(one.url())

        deliver_due(now=MONDAY_9AM, signed_at=REAL)

    assert fresh(notice).state == S.DELIVERED


@pytest.mark.django_db(transaction=True)
def test_a_failure_that_comes_after_another_courier_took_over_changes_nothing():
    with receiver() as one:

        def overtaken(handler):
            Notice.objects.update(attempts=2)
            connection.close()
            reply(handler, 500)

        one.answers = [overtaken]
        notice = hook_to(one.url())

        deliver_due(now=MONDAY_9AM, signed_at=REAL)

    assert fresh(notice).next_attempt_at == MONDAY_9AM + timedelta(seconds=LEASE_S)
    assert Alert.objects.count() == 0


@pytest.mark.processes
@pytest.mark.django_db(transaction=True)
def test_a_courier_killed_between_sending_and_marking_sends_again_with_the_same_id():
    courier = []

    def kill_it(handler):
        os.kill(courier[0].pid, signal.SIGKILL)  # it has sent, and has no answer

    with receiver() as one:
        one.answers = [kill_it]
        notice = hook_to(one.url())
        courier.append(start_courier())
        _, errors = courier[0].communicate(timeout=60)

        after = fresh(notice)
        assert courier[0].returncode == -signal.SIGKILL, errors
        assert (after.state, after.attempts) == (S.WAITING, 1)
        assert after.next_attempt_at > datetime.now(UTC)

        Notice.objects.update(next_attempt_at=MONDAY_9AM)  # its minute is over
        again = start_courier()
        out, errors = again.communicate(timeout=60)

    assert (again.returncode, out.strip()) == (0, "1 notices taken up."), errors
    assert fresh(notice).state == S.DELIVERED
    assert len(one.got) == 2
    assert len(set(one.ids)) == 1


def start_courier():
    """Start `manage.py deliver_notices --once` on the database of this test."""
    database = connection.settings_dict
    if connection.vendor == "sqlite":
        url = f"sqlite:///{database['NAME']}"
    else:
        password = f":{database['PASSWORD']}" if database["PASSWORD"] else ""
        server = f"{database['HOST']}:{database['PORT'] or 5432}"
        url = f"postgresql://{database['USER']}{password}@{server}/{database['NAME']}"
    return subprocess.Popen(
        [sys.executable, "manage.py", "deliver_notices", "--once"],
        cwd=django_settings.BASE_DIR,
        env={**os.environ, "DATABASE_URL": url, "DJANGO_SETTINGS_MODULE": "governance.settings"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


# --- Words of others ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "becomes"),
    [
        ("Pay\r\nBcc: all@example.com", "Pay Bcc: all@example.com"),
        ("a\x00b\x1b[31mc\x7fd\x85e\u2028f\u2029g", "a b [31mc d e f g"),
        ("pay \u202e00.000,21$\u202c now", "pay 00.000,21$ now"),
        ("\u2066\u200f\u061cINV\u200b-\ufeff1\u00ad", "INV-1"),
        ("half \ud800 a pair", "half \ufffd a pair"),
        ("Z\u0303" + "\u0336" * 40 + "algo", "Z\u0303\u0336\u0336algo"),
        ("  wide\u3000 \u00a0 spaces ", "wide spaces"),
        ("می\u200cخو 👩\u200d💻 Łódź", "می\u200cخو 👩\u200d💻 Łódź"),
        ("x" * 20, "x" * 20),
        ("x" * 21, "x" * 19 + "…"),
        ("y" * 1_000_000, "y" * 19 + "…"),
    ],
)
def test_words_of_others_are_made_to_stand_in_one_line(text, becomes):
    limit = 60 if len(text) < 20 or " " in text or "\u200b" in text or "\u0336" in text else 20

    assert wording.plain(text, limit) == becomes
