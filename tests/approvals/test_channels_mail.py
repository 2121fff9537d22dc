from __future__ import annotations

import socket
from dataclasses import replace
from datetime import timedelta

import pytest
from django.core import mail as django_mail
from django.db import connection

from approvals.channels import ChannelDown, Refused, TryAgain, Unsendable, mail
from approvals.channels.words import words_for
from approvals.models import Alert, Ask, Notice, Step
from approvals.notifications import deliver_due
from governance.models import AuditEvent, ContactChannel
from governance.vocabulary import Level, Path
from tests.approvals.outside import mail_server, password_needed
from tests.factories import (
    MONDAY_9AM,
    AskFactory,
    ContactChannelFactory,
    DecisionFactory,
    NoticeFactory,
    PersonFactory,
    RequestFactory,
    StepFactory,
)

pytestmark = pytest.mark.django_db

S = Notice.State
FIVE_MINUTES = timedelta(minutes=5)


@pytest.fixture
def server(settings):
    with mail_server() as one:
        settings.EMAIL_BACKEND = "django.core.mail.backends.smtp.EmailBackend"
        settings.EMAIL_HOST, settings.EMAIL_PORT = "127.0.0.1", one.port
        yield one


@pytest.fixture
def letter():
    return mail.Mail(
        to="cfo@example.com",
        subject="You are asked",
        text="Pay",
        html="<p>Pay</p>",
        headers={"Message-ID": "<notice-1@example.com>"},
    )


@pytest.fixture
def story(company):
    """The Finance Manager is asked about $12,000, for five minutes."""
    request = RequestFactory(
        agent=company.agent,
        action_type=company.vendor_payment,
        department=company.accounts_payable,
        policy=company.policy,
        matrix_row=company.row,
        payload=company.body()["payload"],
        justification="The invoice matches the purchase order.",
    )
    step = StepFactory(request=request, window=FIVE_MINUTES)
    ask = AskFactory(step=step, person=company.finance_manager)
    return NoticeFactory(ask=ask, channel=company.finance_manager.channels.get())


def written(notice, now=MONDAY_9AM):
    return mail.mail(notice, words_for(notice, now=now), to="somebody@example.com")


def delivered(notice, now=MONDAY_9AM):
    deliver_due(now=now)
    return Notice.objects.get(pk=notice.pk)


def asked(name, **fields):
    person = PersonFactory(username=name)
    channel = ContactChannelFactory(person=person, **fields)
    return NoticeFactory(ask=AskFactory(person=person), channel=channel)


# --- What a mail says ---------------------------------------------------------------------------


def test_a_mail_says_what_is_asked_until_when_and_what_happens_otherwise(story):
    text = written(story, now=MONDAY_9AM + timedelta(minutes=1)).text.replace("\u00a0", " ")

    for line in (
        "Finance Manager,",
        "You are asked to decide.",
        "Pay $12,000.00 to Northfield Packaging Supply",
        "Amount: $12,000.00",
        "Vendor: Northfield Packaging Supply",
        "Invoice: INV-88213",
        "Terms: Net 30",
        "Asked by the agent ap-agent, for Accounts payable.",
        "Its reason, in its own words: The invoice matches the purchase order.",
        "4 min, until 09:05 UTC. Your 5 min started at 09:00.",
        "Why you: approver for vendor payments",
        "- At 09:05 the same people are asked again.",
        "- If nobody answers at all, it ends at 15:35, and nothing is carried out.",
        f"http://127.0.0.1:8000/requests/{story.request.ref}/",
    ):
        assert line in text.splitlines()


def test_both_forms_say_the_same(story):
    letter = written(story)

    for words in ("$12,000.00", "INV-88213", "Net 30", "the same people are asked again"):
        assert words in letter.text
        assert words in letter.html
    assert f'href="http://127.0.0.1:8000/requests/{story.request.ref}/"' in letter.html
    assert "<img" not in letter.html


def test_instants_are_said_in_the_readers_zone(story):
    story.person.time_zone = "America/New_York"

    letter = written(story)

    assert "until 04:05 EST" in letter.text
    assert letter.subject.endswith("until 04:05 EST")


def test_a_zone_nobody_knows_is_said_to_be_utc(story):
    story.person.time_zone = "Mars/Olympus"

    assert "until 09:05 UTC" in written(story).text


def test_a_higher_rung_says_who_was_asked_before(story, company):
    Step.objects.update(state=Step.State.EXPIRED, closed_at=MONDAY_9AM + FIVE_MINUTES)
    Ask.objects.update(due_at=None)
    step = StepFactory(
        request=story.request,
        path=Path.TIMEOUT,
        level=Level.L2,
        window=timedelta(hours=2),
        opened_at=MONDAY_9AM + FIVE_MINUTES,
    )
    ask = AskFactory(step=step, person=company.senior_accountant)

    text = written(NoticeFactory(ask=ask), now=step.opened_at).text.replace("\u00a0", " ")

    assert "- Finance Manager did not answer by 09:05." in text
    assert "- At 11:05 the next management level is asked." in text
    assert "it ends at 15:05, and nothing is carried out." in text


def test_high_impact_goes_to_the_delegates_by_name(story):
    story.request.impact = "high"

    text = written(story).text.replace("\u00a0", " ")

    assert "- At 09:05 the delegates are asked: Senior accountant." in text


def test_others_who_are_asked_are_named(story, company):
    AskFactory(step=story.ask.step, person=company.controller)
    AskFactory(step=story.ask.step, person=company.cfo)

    assert "Also asked: Controller and CFO" in written(story).text


def test_a_reminder_says_that_it_still_waits(story):
    story.kind = Notice.Kind.PINGED

    letter = written(story, now=MONDAY_9AM + timedelta(minutes=3))

    assert letter.subject.replace("\u00a0", " ").startswith(
        "Still waiting for you, 2 min left: Pay"
    )
    assert "This still waits for you." in letter.text


@pytest.mark.parametrize(
    ("facts", "says"),
    [
        ({"what": "expired"}, "Nobody decided in time, so it ended. Nothing is carried out."),
        ({"what": "lapsed"}, "did not begin in time"),
        ({"what": "The ruling went against it."}, "The ruling went against it."),
        ({}, "Open the page to see what."),
    ],
)
def test_what_came_to_an_end_is_told(facts, says):
    notice = NoticeFactory(
        kind=Notice.Kind.TOLD,
        ask=None,
        request=RequestFactory(),
        person=PersonFactory(),
        facts=facts,
    )

    letter = written(notice)

    assert says in letter.text
    assert says in letter.html


@pytest.mark.parametrize(
    ("what", "says"),
    [
        ("approved", "Senior Accountant approved it. Their note: Matches the order."),
        (
            "rejected",
            "Senior Accountant rejected it. Nothing is carried out. Their note: Matches the order.",
        ),
    ],
)
def test_a_decision_is_told_with_who_made_it_and_why(story, company, what, says):
    DecisionFactory(
        step=story.ask.step, person=company.senior_accountant, note="Matches the\norder."
    )
    notice = NoticeFactory(
        kind=Notice.Kind.TOLD,
        ask=None,
        request=story.request,
        person=story.person,
        facts={"what": what},
    )

    assert says in written(notice).text.splitlines()


def test_an_alert_needs_no_request():
    notice = NoticeFactory(
        kind=Notice.Kind.ALERT,
        ask=None,
        person=PersonFactory(),
        facts={"what": "The clock is silent."},
    )

    letter = written(notice)

    assert letter.subject == "Recourse: The clock is silent."
    assert "The clock is silent." in letter.html


def test_what_is_urgent_says_so(story):
    story.urgent = True

    letter = written(story)

    assert letter.subject.startswith("Urgent: You are asked")
    assert letter.headers["Importance"] == "high"


def test_a_missing_fact_is_said_to_be_missing(story):
    story.request.payload = {"vendor": "Northfield"}

    assert "Invoice: missing" in written(story).text


# --- Nothing an agent sends is trusted ----------------------------------------------------------

NASTY = "Pay\r\nBcc: all@example.com\r\n\r\n<b onclick=x>\u202etxt.exe https://evil.example/ {{ url }} {% debug %}"


def test_an_agents_words_forge_no_header_no_line_and_no_link(server, story):
    request = story.request
    request.title, request.justification = NASTY, NASTY
    request.payload = {"vendor": NASTY, "invoice": "a" * 5000, "terms": {"deep": [NASTY]}}
    request.save()

    deliver_due(now=MONDAY_9AM)

    (message,) = server.got
    text = message.get_body(("plain",)).get_content()
    page = message.get_body(("html",)).get_content()
    assert message["bcc"] is None
    assert "all@example.com" in message["subject"]  # as words, on one line
    assert not any(line.startswith("Bcc:") for line in text.splitlines())
    assert "<b onclick" not in page
    assert "&lt;b onclick" in page
    assert "{{ url }}" in text
    for part in (text, page, message["subject"]):
        assert "\u202e" not in part
        assert "https://evil" not in part
    assert max(len(line) for line in text.splitlines()) < 1000


def test_the_only_links_are_ours_and_open_the_page(story):
    story.request.title = "See http://evil.example/ and www.evil.example"

    letter = written(story)

    assert letter.html.count("href=") == 1
    assert letter.text.count("://") == 1


# --- One message, however often it is tried -----------------------------------------------------


def test_the_message_id_comes_from_the_row_alone(story):
    first, later = written(story), written(story, now=MONDAY_9AM + timedelta(minutes=2))

    assert first.headers["Message-ID"] == later.headers["Message-ID"]
    assert first.headers["Message-ID"] == f"<notice-{story.pk}-20260302090000000000@127.0.0.1>"


def test_mails_about_one_request_are_one_thread(story):
    assert written(story).headers["References"] == f"<{story.request.ref}@127.0.0.1>"


def test_a_line_that_goes_dead_after_the_message_was_taken_means_a_second_copy_of_the_same(server):
    notice = asked("cfo")
    server.data_answers = [None]

    after = delivered(notice)
    delivered(notice, now=after.next_attempt_at)

    assert len(server.got) == 2
    assert len({message["message-id"] for message in server.got}) == 1
    assert Notice.objects.get().state == S.DELIVERED


# --- A real mail server -------------------------------------------------------------------------


def test_a_mail_server_gets_both_forms_and_our_message_id(server, letter):
    mail.send(letter)

    (message,) = server.got
    assert message["message-id"] == "<notice-1@example.com>"
    assert [part.get_content_type() for part in message.iter_parts()] == ["text/plain", "text/html"]
    assert message["to"] == "cfo@example.com"


@pytest.mark.parametrize(
    "answer",
    ["550 5.1.1 no such user", "550 no such user here", "551 user not local", "550 5.2.1 mailbox disabled",
     "553 5.1.3 bad address syntax"],
)  # fmt: skip
def test_a_mailbox_that_does_not_exist_refuses_for_good(server, letter, answer):
    server.refuse["cfo"] = answer

    with pytest.raises(Refused):
        mail.send(letter)


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        ("451 4.7.1 try again later", ChannelDown),
        ("450 4.2.1 busy", ChannelDown),
        ("550 5.7.1 relaying denied", ChannelDown),
        ("550 relay not permitted", ChannelDown),
        ("554 5.7.1 blocked by a list", ChannelDown),
        ("530 5.7.0 authentication required", ChannelDown),
        ("550 5.1.8 bad sender", ChannelDown),
        ("552 5.2.2 mailbox full", TryAgain),
    ],
)
def test_anything_else_says_nothing_about_the_person(server, letter, answer, kind):
    """A server that takes nothing from us would otherwise make everybody unreachable at once."""
    server.refuse["cfo"] = answer

    with pytest.raises(kind) as refusal:
        mail.send(letter)

    assert type(refusal.value) is kind


@pytest.mark.parametrize(
    ("answer", "kind"),
    [("554 5.6.0 content refused", Unsendable), ("452 4.3.1 out of storage", ChannelDown)],
)
def test_a_message_that_is_not_taken(server, letter, answer, kind):
    server.data_answers = [answer]

    with pytest.raises(kind):
        mail.send(letter)


@pytest.mark.filterwarnings("ignore:Requiring AUTH while not requiring TLS")  # on loopback
def test_a_wrong_password_is_a_channel_that_is_down(settings, letter):
    with mail_server(
        authenticator=password_needed, auth_require_tls=False, auth_required=True
    ) as one:
        settings.EMAIL_BACKEND = "django.core.mail.backends.smtp.EmailBackend"
        settings.EMAIL_HOST, settings.EMAIL_PORT = "127.0.0.1", one.port
        settings.EMAIL_HOST_USER, settings.EMAIL_HOST_PASSWORD = "courier", "wrong"
        with pytest.raises(ChannelDown, match="does not let us in: 535"):
            mail.send(letter)

        settings.EMAIL_HOST_PASSWORD = "right"
        mail.send(letter)

    assert len(one.got) == 1


def test_nobody_listens(settings, letter):
    settings.EMAIL_BACKEND = "django.core.mail.backends.smtp.EmailBackend"
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        settings.EMAIL_HOST, settings.EMAIL_PORT = bound.getsockname()

        with pytest.raises(ChannelDown, match=r"127\.0\.0\.1 does not answer"):
            mail.send(letter)


def test_a_server_that_says_nothing(settings, letter):
    settings.EMAIL_BACKEND = "django.core.mail.backends.smtp.EmailBackend"
    settings.EMAIL_TIMEOUT = 0.2
    with socket.create_server(("127.0.0.1", 0)) as silent:
        settings.EMAIL_HOST, settings.EMAIL_PORT = silent.getsockname()

        with pytest.raises(ChannelDown, match="does not answer"):
            mail.send(letter)


@pytest.mark.parametrize(
    "address", ["nobody", "", "a@b@c", "cfo@example.com\r\nBcc: x@example.com"]
)
def test_what_is_no_address_is_refused_for_good(letter, address):
    with pytest.raises(Refused, match="not an e-mail address"):
        mail.send(replace(letter, to=address))

    assert django_mail.outbox == []


# --- Through the outbox -------------------------------------------------------------------------


def test_a_lasting_refusal_is_written_on_the_persons_channel(server):
    server.refuse["gone"] = "550 5.1.1 <gone@example.com> no such user"
    notice = asked("gone")

    after = delivered(notice)

    channel = ContactChannel.objects.get(pk=notice.channel_id)
    assert after.state == S.REFUSED
    assert channel.refused_at == MONDAY_9AM
    assert "550" in channel.refused_reason
    assert after.ask.delivered_at is None
    assert Alert.objects.count() == 0


def test_the_record_of_a_refusal_holds_no_address(server):
    server.refuse["gone"] = "550 5.1.1 <gone@example.com> no such user"
    notice = asked("gone")

    delivered(notice)

    on_request = AuditEvent.objects.get(chain=notice.request.ref)
    on_people = AuditEvent.objects.get(chain="people")
    assert (on_request.kind, on_people.kind) == ("notice.refused", "channel.refused")
    assert on_people.facts == {
        "channel": notice.channel_id,
        "person": "person:gone",
        "code": "smtp 550 5.1.1",
    }
    assert on_request.cause == on_people.cause
    assert "@" not in str(on_request.facts)


@pytest.mark.django_db(transaction=True)
def test_a_refusal_of_an_address_that_was_mended_meanwhile_is_not_put_on_the_new_one(server):
    notice = asked("gone")

    def mend():
        ContactChannel.objects.update(address="here@example.com")
        connection.close()
        return "550 5.1.1 no such user"

    server.refuse["gone"] = mend

    after = delivered(notice)

    assert after.state == S.REFUSED
    assert ContactChannel.objects.get().refused_at is None


def test_a_server_that_puts_it_off_is_an_alert_until_it_works_again(server):
    server.refuse["grey"] = "451 4.7.1 try again later"
    notice = asked("grey")

    after = delivered(notice)

    alert = Alert.objects.get()
    assert (alert.kind, alert.key, alert.closed_at) == ("channel-down", "email/127.0.0.1", None)
    assert ContactChannel.objects.get(pk=notice.channel_id).refused_at is None
    assert "451" in after.last_error

    server.refuse.clear()
    delivered(notice, now=after.next_attempt_at)

    alert.refresh_from_db()
    assert alert.closed_at == after.next_attempt_at


def test_a_message_that_is_refused_for_itself_is_an_alert_at_once(server):
    server.data_answers = ["554 5.6.0 content refused"]
    notice = asked("cfo")

    after = delivered(notice)

    assert (after.state, after.attempts) == (S.FAILED, 1)
    assert Alert.objects.get().kind == "notice.failed"
    assert ContactChannel.objects.get(pk=notice.channel_id).refused_at is None
