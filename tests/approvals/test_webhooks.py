from __future__ import annotations

import json
import socket
import ssl
import threading
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from standardwebhooks import Webhook
from standardwebhooks.webhooks import WebhookVerificationError

from approvals.channels import ChannelDown, Refused, TryAgain, webhook
from approvals.channels.webhook import webhook_secret
from approvals.models import Alert, Notice
from approvals.notifications import WEBHOOK_TRIES, deliver_due
from governance.models import AuditEvent
from tests.approvals.outside import receiver
from tests.factories import MONDAY_9AM, AgentFactory, NoticeFactory, RequestFactory

pytestmark = pytest.mark.django_db


def real():
    """Now, by the wall's clock: receivers turn away what was signed minutes ago."""
    return datetime.now(UTC)


S = Notice.State


@pytest.fixture
def listening():
    with receiver() as one:
        yield one


def notice_of(request, number=0, **fields):
    fields.setdefault("facts", {"state": "approved", "reason": ""})
    return NoticeFactory(
        kind=Notice.Kind.STATE,
        via=Notice.Via.WEBHOOK,
        ask=None,
        request=request,
        number=number,
        **fields,
    )


def hook(url, **changes):
    agent = changes.pop("agent", None) or AgentFactory()
    told = {
        "ref": "R-0000-0000-0001",
        "number": 3,
        "state": "approved",
        "reason": "",
        "at": MONDAY_9AM,
    }
    return webhook.hook(agent=agent, url=url, **told | changes)


def send(message, **options):
    webhook.send(message, signed_at=real(), **options)


# --- What is sent -------------------------------------------------------------------------------


def test_the_agent_can_check_the_signature_with_any_library(listening):
    agent = AgentFactory()

    send(hook(listening.url(), agent=agent))

    (got,) = listening.got
    body = Webhook(webhook_secret(agent)).verify(got["body"], got["headers"])
    assert body == {
        "type": "request.state_changed",
        "number": 3,
        "ref": "R-0000-0000-0001",
        "state": "approved",
        "reason": "",
        "at": "2026-03-02T09:00:00.000000+00:00",
    }
    assert got["headers"]["content-type"] == "application/json"
    assert got["headers"]["webhook-id"] == "msg_R-0000-0000-0001_3"


def test_a_changed_body_does_not_pass(listening):
    agent = AgentFactory()

    send(hook(listening.url(), agent=agent))

    (got,) = listening.got
    forged = got["body"].replace("approved", "rejected")
    with pytest.raises(WebhookVerificationError):
        Webhook(webhook_secret(agent)).verify(forged, got["headers"])


def test_each_agent_has_its_own_secret_and_a_new_one_when_its_version_is_raised():
    one, other = AgentFactory(), AgentFactory()

    before = webhook_secret(one)
    one.webhook_key_version += 1

    assert before.startswith("whsec_")
    assert len({before, webhook_secret(one), webhook_secret(other)}) == 3


def test_a_redirect_is_not_followed(listening):
    listening.answers = [302]

    with pytest.raises(TryAgain, match=r"302\. Redirects are not followed"):
        send(hook(listening.url()))

    assert [each["path"] for each in listening.got] == ["/hook"]


@pytest.mark.parametrize("status", [200, 201, 202, 204])
def test_any_2xx_is_a_yes(listening, status):
    listening.answers = [status]

    send(hook(listening.url()))


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (410, Refused),
        (500, ChannelDown),
        (503, ChannelDown),
        (429, ChannelDown),
        (404, TryAgain),
        (401, TryAgain),
    ],
)
def test_any_other_answer_is_a_no(listening, status, kind):
    listening.answers = [status]

    with pytest.raises(kind) as refusal:
        send(hook(listening.url()))

    assert type(refusal.value) is kind
    assert refusal.value.code == f"http {status}"


def test_nobody_listens():
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        port = bound.getsockname()[1]

        with pytest.raises(ChannelDown, match=r"127\.0\.0\.1 did not answer"):
            send(hook(f"http://127.0.0.1:{port}/"))


def test_an_answer_that_drips_is_cut_off(listening):
    """A byte now and then passes every time-out but one over all of it."""
    over = threading.Event()

    def drip(handler):
        handler.wfile.write(b"HTTP/1.1 200 OK\r\n")
        while not over.wait(0.05):
            try:
                handler.wfile.write(b"x-more: y\r\n")
            except OSError:
                return

    listening.answers = [drip]
    try:
        with pytest.raises(ChannelDown, match="no answer within"):
            send(hook(listening.url()), within_s=0.3)
    finally:
        over.set()


def test_an_answer_without_end_is_read_to_4_kb(listening):
    def flood(handler):
        handler.wfile.write(b"HTTP/1.1 418 No\r\ncontent-length: 100000000\r\n\r\n")
        try:
            while True:
                handler.wfile.write(b"0123456789abcdef" * 1024)
        except OSError:
            return

    listening.answers = [flood]

    with pytest.raises(TryAgain, match="answered 418: 0123") as refusal:
        send(hook(listening.url()))

    assert len(refusal.value.reason) < 200


def test_an_answer_that_is_not_http(listening):
    def nonsense(handler):
        handler.wfile.write(b"SSH-2.0-OpenSSH_9.6\r\n\r\n")

    listening.answers = [nonsense]

    with pytest.raises(ChannelDown, match="not HTTP"):
        send(hook(listening.url()))


# --- To the checked address, and to no other ----------------------------------------------------


def test_the_name_is_looked_up_once_and_the_connection_goes_there(listening):
    """The name exists nowhere: whoever looked it up again would not get far."""
    asked = []

    def resolve(host, port):
        asked.append((host, port))
        return ["127.0.0.1"]

    send(hook(listening.url(host="hooks.invalid")), resolve=resolve)

    assert asked == [("hooks.invalid", listening.port)]
    assert listening.got[0]["headers"]["host"] == f"hooks.invalid:{listening.port}"


def test_a_name_that_turned_private_since_submission_is_not_called(listening, settings):
    settings.CALLBACKS_MAY_BE_PRIVATE = False

    with pytest.raises(TryAgain, match="not public"):
        send(hook(listening.url(host="hooks.invalid")), resolve=lambda host, port: ["127.0.0.1"])

    assert listening.got == []


def test_the_next_address_is_tried_when_one_does_not_answer(listening):
    send(
        hook(listening.url(host="hooks.invalid")),
        resolve=lambda host, port: ["127.0.0.77", "127.0.0.1"],
    )

    assert len(listening.got) == 1


def test_no_proxy_of_the_environment_is_used(listening, monkeypatch):
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    monkeypatch.setenv("ALL_PROXY", "http://127.0.0.1:1")

    send(hook(listening.url()))

    assert len(listening.got) == 1


def test_the_certificate_must_be_the_names_though_the_connection_goes_to_an_address(tmp_path):
    serving, trusting = certified("hooks.invalid", tmp_path)
    names = []
    serving.sni_callback = lambda connection, name, context: names.append(name)
    with receiver(tls=serving) as one:
        url = one.url(host="hooks.invalid", scheme="https")

        send(hook(url), resolve=lambda host, port: ["127.0.0.1"], tls=trusting)

    assert names == ["hooks.invalid"]
    assert len(one.got) == 1


def test_a_certificate_for_another_name_is_not_accepted(tmp_path):
    serving, trusting = certified("other.invalid", tmp_path)
    with receiver(tls=serving) as one:
        url = one.url(host="hooks.invalid", scheme="https")

        with pytest.raises(ChannelDown, match=r"hooks\.invalid did not answer"):
            send(hook(url), resolve=lambda host, port: ["127.0.0.1"], tls=trusting)

    assert one.got == []


def certified(name, directory):
    """Return a server's context with a certificate for `name`, and a client's that believes it."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    names = x509.SubjectAlternativeName(
        [x509.DNSName(name), x509.IPAddress(ip_address("192.0.2.1"))]
    )
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(real() - timedelta(days=1))
        .not_valid_after(real() + timedelta(days=1))
        .add_extension(names, critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
        .public_bytes(serialization.Encoding.PEM)
    )
    file = directory / "both.pem"
    file.write_bytes(
        certificate
        + key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    serving = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    serving.load_cert_chain(file)
    return serving, ssl.create_default_context(cadata=certificate.decode())


# --- Through the outbox -------------------------------------------------------------------------


def test_changes_of_state_arrive_in_their_order(listening):
    request = RequestFactory(callback_url=listening.url())
    for number in (2, 0, 1):  # whatever order the rows were written in
        notice_of(request, number)

    taken = deliver_due(now=MONDAY_9AM, signed_at=real())

    assert taken == 3
    assert [json.loads(each["body"])["number"] for each in listening.got] == [0, 1, 2]
    assert set(Notice.objects.values_list("state", flat=True)) == {S.DELIVERED}


def test_a_higher_number_waits_for_a_lower_one_that_is_put_off(listening):
    request = RequestFactory(callback_url=listening.url())
    first, second = notice_of(request, 0), notice_of(request, 1)
    listening.answers = [503]

    deliver_due(now=MONDAY_9AM, signed_at=real())

    assert len(listening.got) == 1
    first.refresh_from_db()
    second.refresh_from_db()
    assert (first.state, first.attempts) == (S.WAITING, 1)
    assert (second.state, second.attempts) == (S.WAITING, 0)

    deliver_due(now=first.next_attempt_at, signed_at=real())

    assert listening.ids == [f"msg_{request.ref}_{n}" for n in (0, 0, 1)]


def test_requests_do_not_wait_for_each_other(listening):
    slow = RequestFactory(callback_url=listening.url("/slow"))
    other = RequestFactory(callback_url=listening.url("/other"))
    notice_of(slow, 0)
    notice_of(other, 5)
    listening.answers = [503]

    deliver_due(now=MONDAY_9AM, signed_at=real())

    assert {each["path"] for each in listening.got} == {"/slow", "/other"}


def test_what_could_not_be_delivered_does_not_hold_up_the_next_for_ever(listening):
    request = RequestFactory(callback_url=listening.url())
    first = notice_of(request, 0, attempts=WEBHOOK_TRIES - 1)
    notice_of(request, 1)
    listening.answers = [404]

    deliver_due(now=MONDAY_9AM, signed_at=real())

    first.refresh_from_db()
    assert first.state == S.FAILED
    assert json.loads(listening.got[-1]["body"])["number"] == 1
    alert = Alert.objects.get(kind="notice.failed")
    assert alert.request == request
    assert "404" in alert.text


def test_a_failure_is_tried_again_with_the_same_id_and_a_fresh_signature(listening):
    request = RequestFactory(callback_url=listening.url())
    notice = notice_of(request)
    listening.answers = [500]

    deliver_due(now=MONDAY_9AM, signed_at=real() - timedelta(minutes=1))
    notice.refresh_from_db()
    deliver_due(now=notice.next_attempt_at, signed_at=real())

    first, again = listening.got
    assert first["headers"]["webhook-id"] == again["headers"]["webhook-id"]
    assert first["body"] == again["body"]
    assert first["headers"]["webhook-timestamp"] != again["headers"]["webhook-timestamp"]
    Webhook(webhook_secret(request.agent)).verify(again["body"], again["headers"])


def test_a_receiver_that_is_down_is_an_alert_until_it_works_again(listening):
    request = RequestFactory(callback_url=listening.url())
    notice = notice_of(request)
    listening.answers = [503]

    deliver_due(now=MONDAY_9AM, signed_at=real())

    alert = Alert.objects.get(kind="channel-down")
    assert (alert.key, alert.closed_at) == ("webhook/127.0.0.1", None)

    notice.refresh_from_db()
    deliver_due(now=notice.next_attempt_at, signed_at=real())

    alert.refresh_from_db()
    assert alert.closed_at == notice.next_attempt_at


def test_a_receiver_that_is_gone_is_told_nothing_more(listening):
    request = RequestFactory(callback_url=listening.url())
    first, second = notice_of(request, 0), notice_of(request, 1)
    listening.answers = [410]

    deliver_due(now=MONDAY_9AM, signed_at=real())

    first.refresh_from_db()
    second.refresh_from_db()
    assert (first.state, second.state) == (S.REFUSED, S.DROPPED)
    assert len(listening.got) == 1
    kinds = (
        AuditEvent.objects.filter(chain=request.ref).order_by("seq").values_list("kind", flat=True)
    )
    assert list(kinds) == ["notice.refused", "notice.dropped"]


def test_an_address_that_became_private_is_never_called_and_says_so(listening, settings):
    settings.CALLBACKS_MAY_BE_PRIVATE = False
    request = RequestFactory(callback_url=listening.url())
    notice = notice_of(request)

    deliver_due(now=MONDAY_9AM, signed_at=real())

    notice.refresh_from_db()
    assert notice.state == S.WAITING
    assert "not public" in notice.last_error
    assert listening.got == []
