from __future__ import annotations

import io
import json
import logging
import warnings

import pytest
from apprise import Apprise

from approvals.channels import ChannelDown, Refused, TryAgain, Unsendable, chat
from approvals.channels.words import words_for
from approvals.models import Alert, Notice
from approvals.notifications import deliver_due
from governance.models import ContactChannel
from tests.approvals.outside import receiver
from tests.factories import MONDAY_9AM, AskFactory, ContactChannelFactory, NoticeFactory

pytestmark = pytest.mark.django_db

S = Notice.State
SLACK = "slack://T1JJ3T3L2/A1BRTD4JD/TIiajkdnlazkcOXrIdevi7FQ/#payments"


@pytest.fixture(scope="module", autouse=True)
def apprise_loaded():
    """It loads its services at the first use, and one of them a deprecated module."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        Apprise.instantiate("json://127.0.0.1/")


@pytest.fixture
def logged():
    """What our processes would write at LOG_LEVEL=DEBUG. pytest's own handlers catch more than that."""
    root, written = logging.getLogger(), io.StringIO()
    handler, level = logging.StreamHandler(written), root.level
    root.addHandler(handler)
    root.setLevel(logging.DEBUG)
    yield written
    root.removeHandler(handler)
    root.setLevel(level)


@pytest.fixture
def listening():
    with receiver() as one:
        yield one


def to(listening, path="/secret-path"):
    return f"json://127.0.0.1:{listening.port}{path}"


def message(address):
    return chat.Chat(address=address, title="You are asked", body="Pay")


def asked(address):
    ask = AskFactory()
    channel = ContactChannelFactory(
        person=ask.person, kind=ContactChannel.Kind.APPRISE, address=address
    )
    return NoticeFactory(ask=ask, via=Notice.Via.APPRISE, channel=channel)


def test_a_chat_is_told_in_a_few_lines(listening):
    notice = asked(to(listening))

    deliver_due(now=MONDAY_9AM)

    body = json.loads(listening.got[0]["body"])
    lines = body["message"].replace("\u00a0", " ").splitlines()
    assert body["title"] == "You are asked: Pay $12,000.00 to Northfield Packaging Supply"
    assert lines[:2] == ["$12,000.00", "30 min, until 09:30 UTC"]
    assert lines[-1] == f"http://127.0.0.1:8000/requests/{notice.request.ref}/"
    assert Notice.objects.get().state == S.DELIVERED
    assert notice.ask.__class__.objects.get().delivered_at == MONDAY_9AM


def test_an_agents_words_make_no_mention_no_link_and_no_markup(listening):
    notice = asked(to(listening))
    request = notice.request
    request.title = "<!channel> @here [pay](https://evil.example/) <https://evil.example/|ok> `x` # Big\n> quote"
    request.save()

    deliver_due(now=MONDAY_9AM)

    title = json.loads(listening.got[0]["body"])["title"]
    assert not set("<>@[]`#\n") & set(title)
    assert "https://" not in title


@pytest.mark.parametrize(
    "address",
    ["syslog://", "syslog://user", "rsyslog://10.0.0.1", "file:///tmp/x", "dbus://", "windows://", "mailto://a:b@example.com",
     "xmls://example.com", "nonsense", "", "://", "slack//", "http://example.com/"],
)  # fmt: skip
def test_only_services_on_the_list_are_used(address):
    with pytest.raises(Unsendable):
        chat.send(message(address))


@pytest.mark.parametrize("scheme", ["syslog", "file", "dbus"])
def test_what_reaches_this_machine_only_is_refused_whatever_the_list_says(settings, scheme):
    settings.APPRISE_SCHEMES = [scheme]

    with pytest.raises(Unsendable, match="not allowed here"):
        chat.send(message(f"{scheme}://"))


def test_a_template_would_be_a_file_of_this_machine(listening):
    with pytest.raises(Unsendable, match="template"):
        chat.send(message(to(listening) + "?Template=/etc/passwd"))


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "10.0.0.5", "[::1]", "2130706433", "localhost", "169.254.169.254"]
)
def test_private_servers_are_refused_outside_the_demo(settings, host):
    settings.CALLBACKS_MAY_BE_PRIVATE = False

    with pytest.raises(Unsendable, match=r"not a public address|not an address"):
        chat.send(message(f"json://{host}/hook"))


def test_a_name_that_leads_inside_is_refused_too(settings, listening):
    settings.CALLBACKS_MAY_BE_PRIVATE = False

    with pytest.raises(Unsendable, match="not a public address"):
        chat.send(message("jsons://chat.example.com/"), resolve=lambda host, port: ["10.0.0.5"])


def test_where_a_host_would_stand_in_a_slack_address_is_a_secret_and_is_never_looked_up(settings):
    settings.CALLBACKS_MAY_BE_PRIVATE = False

    def leak(host, port):
        raise AssertionError(f"looked up {host}")

    chat.check_address(SLACK, resolve=leak)


def test_the_address_may_not_set_the_safety_aside(listening):
    listening.answers = [302]

    with pytest.raises(TryAgain, match="302"):
        chat.send(message(to(listening) + "?redirect=yes&verify=no&rto=300&retry=5&wait=30"))

    assert len(listening.got) == 1


@pytest.mark.parametrize(
    ("status", "kind"),
    [(410, Refused), (404, TryAgain), (403, TryAgain), (500, ChannelDown), (429, ChannelDown)],
)
def test_only_what_is_certainly_gone_refuses_for_good(listening, status, kind):
    listening.answers = [status]

    with pytest.raises(kind) as refusal:
        chat.send(message(to(listening)))

    assert type(refusal.value) is kind


def test_nobody_listens_at_the_other_end():
    with pytest.raises(ChannelDown):
        chat.send(message("json://127.0.0.1:1/secret-path"))


@pytest.mark.parametrize(
    ("address", "shown"),
    [
        (SLACK, "slack://…"),
        ("json://user:secret@host/path", "json://…"),
        ("nonsense-secret", "…"),
        ("", "…"),
    ],
)
def test_an_address_is_shown_without_its_secret(address, shown):
    assert chat.masked(address) == shown


@pytest.mark.parametrize("answers", [[], [500], [404]])
def test_an_address_is_never_logged_nor_written_down(listening, logged, answers):
    listening.answers = list(answers)
    notice = asked(to(listening, "/secret-path?key=secret-key"))

    deliver_due(now=MONDAY_9AM)
    logging.getLogger("control").debug("this is seen")

    assert "this is seen" in logged.getvalue()
    stored = [
        Notice.objects.get(pk=notice.pk).last_error,
        *Alert.objects.values_list("text", "key"),
    ]
    assert "secret" not in logged.getvalue()
    assert "secret" not in str(stored)


def test_a_chat_that_is_gone_is_written_on_the_persons_channel(listening):
    listening.answers = [410]
    notice = asked(to(listening))

    deliver_due(now=MONDAY_9AM)

    assert Notice.objects.get().state == S.REFUSED
    assert ContactChannel.objects.get(pk=notice.channel_id).refused_at == MONDAY_9AM


def test_an_address_that_is_not_allowed_here_is_an_alert_and_not_the_persons_refusal():
    notice = asked("syslog://")

    deliver_due(now=MONDAY_9AM)

    assert Notice.objects.get().state == S.FAILED
    assert Alert.objects.get().kind == "notice.failed"
    assert ContactChannel.objects.get(pk=notice.channel_id).refused_at is None


def test_a_chat_that_is_down_is_an_alert_until_it_works_again(listening):
    listening.answers = [500]
    notice = asked(to(listening))

    deliver_due(now=MONDAY_9AM)

    alert = Alert.objects.get()
    assert (alert.kind, alert.key) == ("channel-down", "apprise/127.0.0.1")

    due = Notice.objects.get(pk=notice.pk).next_attempt_at
    deliver_due(now=due)

    alert.refresh_from_db()
    assert alert.closed_at == due


def test_what_came_to_an_end_is_told_in_one_line(listening):
    ask = AskFactory()
    notice = NoticeFactory(
        kind=Notice.Kind.TOLD,
        ask=None,
        request=ask.step.request,
        person=ask.person,
        facts={"what": "expired"},
    )

    told = chat.chat(words_for(notice, now=MONDAY_9AM), address=SLACK)

    assert (
        told.body.splitlines()[0] == "Nobody decided in time, so it ended. Nothing is carried out."
    )
