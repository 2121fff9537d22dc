"""E-mail: plain text with the same in simple HTML, no images, and a Message-ID of our own."""

from __future__ import annotations

import re
import smtplib
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from urllib.parse import urlsplit

from django.conf import settings
from django.core.exceptions import ValidationError
from django.core.mail import EmailMultiAlternatives, get_connection
from django.core.validators import validate_email
from django.template.loader import render_to_string

from approvals.channels import ChannelDown, Refused, TryAgain, Unsendable
from approvals.channels.words import Words
from approvals.models import Notice
from governance import wording

SUBJECT_LENGTH = 150
# RFC 3463: of a 5xx, only these are about the recipient's own mailbox. 5.1.7 and 5.1.8 are about
# the sender, 5.2.2 is a mailbox that is full today, 5.7.x is what the server allows us.
_LASTING = re.compile(r"5\.1\.(?:[0-6]|10)|5\.2\.[01]")
_ENHANCED = re.compile(r"\b[245]\.\d{1,3}\.\d{1,3}\b")
_LASTING_WITHOUT_DETAIL = (550, 551, 553)  # RFC 5321 4.2.3
_ABOUT_US = re.compile(r"relay|authenticat|spam|block|denied|policy|spf|dkim|dmarc", re.IGNORECASE)


@dataclass(frozen=True)
class Mail:
    """One mail, ready to go. The same Message-ID each time it is tried."""

    to: str
    subject: str
    text: str
    html: str
    headers: Mapping[str, str]


def mail(notice: Notice, words: Words, *, to: str) -> Mail:
    """Write a mail from `templates/mail/<kind>{_subject.txt,.txt,.html}`, with the fields of `Words`."""
    context = asdict(words)
    subject = render_to_string(f"mail/{words.kind}_subject.txt", context)
    return Mail(
        to=to,
        subject=wording.plain(subject, SUBJECT_LENGTH),
        text=render_to_string(f"mail/{words.kind}.txt", context).strip() + "\n",
        html=render_to_string(f"mail/{words.kind}.html", context),
        headers=_headers(notice, words),
    )


def message_id(notice: Notice) -> str:
    """Return the Message-ID of a notice: from the row alone, so that a second copy is known for one."""
    return f"<notice-{notice.pk}-{notice.created_at:%Y%m%d%H%M%S%f}@{_domain()}>"


def send(message: Mail) -> None:
    """Hand one mail to the mail server.

    Raises:
        Refused: the server says for good that there is no such mailbox.
        Unsendable: it will not take this message.
        TryAgain, ChannelDown: anything else.
    """
    try:
        validate_email(message.to)
    except ValidationError as problem:
        raise Refused("It is not an e-mail address.", code="not-an-address") from problem
    connection = get_connection(fail_silently=False)
    outgoing = EmailMultiAlternatives(
        subject=message.subject,
        body=message.text,
        to=[message.to],
        headers=dict(message.headers),
        connection=connection,
    )
    outgoing.attach_alternative(message.html, "text/html")
    try:
        taken = outgoing.send()
    except smtplib.SMTPRecipientsRefused as problem:
        code, said = next(iter(problem.recipients.values()))
        raise _refusal(code, _text(said)) from problem
    except smtplib.SMTPSenderRefused as problem:
        raise _down(
            "refuses our address", problem.smtp_code, _text(problem.smtp_error)
        ) from problem
    except smtplib.SMTPDataError as problem:
        answer = _text(problem.smtp_error)
        if problem.smtp_code >= 500:
            reason = f"The mail server will not take this message: {problem.smtp_code} {answer}"
            raise Unsendable(reason, code=_code(problem.smtp_code, answer)) from problem
        raise _down("gave up midway", problem.smtp_code, answer) from problem
    except smtplib.SMTPResponseException as problem:  # log-in, HELO, greeting
        raise _down("does not let us in", problem.smtp_code, _text(problem.smtp_error)) from problem
    except smtplib.SMTPNotSupportedError as problem:
        reason = (
            "The mail server cannot do what we are told to use, or cannot write to this address."
        )
        raise ChannelDown(reason, code="smtp unsupported") from problem
    except OSError as problem:  # SMTPServerDisconnected among them
        why = wording.plain(str(problem), 120) or type(problem).__name__
        reason = f"The mail server {host()} does not answer: {why}."
        raise ChannelDown(reason, code=type(problem).__name__) from problem
    finally:
        # A log-in that failed leaves the line open. How the goodbye goes changes nothing.
        with suppress(OSError):
            connection.close()
    if not taken:
        raise TryAgain("The mail server took nothing.", code="smtp nothing")


def host() -> str:
    """Return the mail server's name, or the backend's where mail does not go through SMTP."""
    if settings.EMAIL_BACKEND.endswith("smtp.EmailBackend"):
        return str(settings.EMAIL_HOST)
    return str(settings.EMAIL_BACKEND).rsplit(".", 2)[-2]


def _refusal(code: int, answer: str) -> Exception:
    """Tell a mailbox that does not exist from a server that takes nothing from us.

    Taking the second for the first would make everybody unreachable at once.
    """
    detail = _ENHANCED.search(answer)
    if code < 500:
        return _down("puts it off", code, answer)
    if detail:
        lasting = bool(_LASTING.fullmatch(detail[0]))
        full = detail[0].startswith("5.2.")
    else:
        lasting = code in _LASTING_WITHOUT_DETAIL and not _ABOUT_US.search(answer)
        full = code == 552
    if lasting:
        reason = f"The mail server refuses this address: {code} {answer}"
        return Refused(reason, code=_code(code, answer))
    if full:
        reason = f"The mailbox takes nothing now: {code} {answer}"
        return TryAgain(reason, code=_code(code, answer))
    return _down("refuses our mail", code, answer)


def _down(what: str, code: int, answer: str) -> ChannelDown:
    reason = f"The mail server {host()} {what}: {code} {answer}"
    return ChannelDown(reason, code=_code(code, answer))


def _code(code: int, answer: str) -> str:
    detail = _ENHANCED.search(answer)
    return f"smtp {code} {detail[0]}" if detail else f"smtp {code}"


def _text(answer: bytes | str) -> str:
    text = answer.decode("utf-8", "replace") if isinstance(answer, bytes) else answer
    return wording.plain(text, 160)


def _headers(notice: Notice, words: Words) -> dict[str, str]:
    headers = {"Message-ID": message_id(notice), "Auto-Submitted": "auto-generated"}
    if words.ref:  # mail programs then show what is about one request as one thread
        headers["References"] = f"<{words.ref}@{_domain()}>"
    if words.urgent:
        headers["Importance"] = "high"
    return headers


def _domain() -> str:
    return urlsplit(settings.SITE_URL).hostname or "localhost"
