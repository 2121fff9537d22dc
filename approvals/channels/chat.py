"""Chats and pagers through apprise: allow-listed services only, and their addresses are secrets."""

from __future__ import annotations

import logging
import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from apprise import Apprise, AppriseAsset
from django.conf import settings

from approvals import callbacks
from approvals.channels import ChannelDown, Refused, TryAgain, Unsendable
from approvals.channels.words import Words
from approvals.models import Notice
from governance import wording

WITHIN_S = 10.0
SOCKET_S = 5.0
LINE_LENGTH = 300
# Services that reach no person but this machine, whatever a settings file allows.
LOCAL = frozenset(
    {"syslog", "rsyslog", "file", "dbus", "glib", "gnome", "kde", "qt", "macosx", "windows"}
)
# At these a 404 says that the very address is gone. Elsewhere it may be a typing error of ours.
ADDRESS_IS_THE_PATH = frozenset({"slack", "msteams", "workflows", "workflow", "discord"})
_SCHEME = re.compile(r"[a-z][a-z0-9+.-]{0,30}")
_STATUS = re.compile(r"error=(\d{3})\b")
# Signs that make a mention, a link or a heading in one chat or another.
_TAME = str.maketrans({"<": "‹", ">": "›", "@": "＠", "[": "(", "]": ")", "`": "'", "#": "＃"})  # noqa: RUF001 - look-alikes are the point

# apprise tells its log the address it could not reach, and urllib3 the path of each request: both
# are secrets. What went wrong comes back with the result.
logging.getLogger("apprise").propagate = False
logging.getLogger("urllib3").setLevel(logging.ERROR)


@dataclass(frozen=True)
class Chat:
    """One message to one chat or pager."""

    address: str
    title: str
    body: str


def chat(words: Words, *, address: str) -> Chat:
    """Write a message of a few lines."""
    return Chat(address=address, title=_title(words), body="\n".join(_lines(words)))


def send(message: Chat, *, resolve: callbacks.Resolver | None = None) -> None:
    """Post one message.

    Raises:
        Refused: the chat says that this address is gone for good.
        Unsendable: the address may not be used here, or cannot be read.
        TryAgain, ChannelDown: anything else.
    """
    scheme = _allowed(message.address)
    service = _service(message.address)
    _check_host(service, resolve)
    host = host_of(message.address)
    apprise = Apprise(asset=_asset())
    apprise.add(service)
    try:
        result = apprise.notify(
            body=message.body, title=message.title, body_format="text", timeout=WITHIN_S
        )
    except Exception as problem:  # noqa: BLE001 - raised on, without what it may tell
        # Its message may hold the address, and so may its causes: only its name goes on.
        name = type(problem).__name__
        raise TryAgain(f"{scheme} failed: {name}.", code=name) from None
    if not result:
        raise _failure(
            scheme, host, [str(log.message) for each in result.results for log in each.logs()]
        )


def masked(address: str) -> str:
    """Return as much of an address as may be shown: "slack://…"."""
    found = _SCHEME.match(address.lower())
    return f"{found[0]}://…" if found and "://" in address else "…"


def check_address(address: str, *, resolve: callbacks.Resolver | None = None) -> None:
    """Refuse an address that could not be used, before it is stored.

    Raises Unsendable or, for a host that cannot be looked up now, ChannelDown.
    """
    _check_host(_service(address), resolve)


def host_of(address: str) -> str:
    """Return whom to call if it is down: the server that the address names, or else the service.

    In an address that names no server, what stands in a host's place is a secret.

    Raises Unsendable for what is no address.
    """
    service = _service(address)
    return _server(service) or _allowed(address)


def _allowed(address: str) -> str:
    scheme = address.split("://", 1)[0].lower()
    if "://" not in address or not _SCHEME.fullmatch(scheme):
        raise Unsendable("It is not an address of a chat or a pager.", code="not-an-address")
    if scheme in LOCAL or scheme not in settings.APPRISE_SCHEMES:
        reason = f"Addresses that begin with {scheme}:// are not allowed here; see APPRISE_SCHEMES."
        raise Unsendable(reason, code="scheme-not-allowed")
    try:
        options = {
            key.lower() for key, _ in parse_qsl(urlsplit(address).query, keep_blank_values=True)
        }
    except ValueError as problem:
        raise Unsendable(
            "It is not an address of a chat or a pager.", code="not-an-address"
        ) from problem
    if "template" in options:  # a file of this machine, or any address apprise can read
        raise Unsendable(
            "Addresses with a template are not allowed here.", code="template-not-allowed"
        )
    return scheme


def _service(address: str) -> Any:
    _allowed(address)
    service = Apprise.instantiate(address, asset=_asset(), suppress_exceptions=True)
    if service is None:
        raise Unsendable("It is not an address that this chat or pager has.", code="not-an-address")
    # An address may set these for itself; here they are ours.
    service.redirects = False
    service.verify_certificate = True
    service.socket_connect_timeout = service.socket_read_timeout = SOCKET_S
    service.retry = 0
    return service


def _server(service: Any) -> str:
    """Return the host that an address names, or nothing where a secret stands in its place."""
    return str(service.host).strip("[]") if "host" in service.template_tokens else ""


def _check_host(service: Any, resolve: callbacks.Resolver | None) -> None:
    """Where the address names a server, check that it is public. Anything else is never looked up."""
    host = _server(service)
    if not host:
        return
    try:
        callbacks.addresses_of(host, service.port or 443, resolve=resolve)
    except callbacks.BadCallback as problem:
        reason = f"{host} is not a public address, and others are not allowed here."
        raise Unsendable(reason, code="private-address") from problem
    except callbacks.NameUnknown as problem:
        raise ChannelDown(f"The name server does not know {host}.", code="dns") from problem


def _failure(scheme: str, host: str, said: list[str]) -> Exception:
    found = [int(code) for line in said for code in _STATUS.findall(line)]
    status = found[-1] if found else None
    if status is None:
        return ChannelDown(f"{scheme}: {host} did not take it, or did not answer.", code="none")
    code = f"http {status}"
    if status == 410 or (status == 404 and scheme in ADDRESS_IS_THE_PATH):
        return Refused(f"{scheme} answered {status}: this address is gone.", code=code)
    if status >= 500 or status == 429:
        return ChannelDown(f"{scheme}: {host} answered {status}.", code=code)
    return TryAgain(f"{scheme}: {host} answered {status}.", code=code)


@lru_cache(maxsize=1)
def _asset() -> AppriseAsset:
    return AppriseAsset(
        app_id="Recourse",
        app_desc="Recourse",
        app_url=settings.SITE_URL,
        image_url_mask="",
        image_url_logo="",
        http_redirects=False,
        secure_logging=True,
        storage_mode="memory",
        async_mode=False,
    )


def _title(words: Words) -> str:
    kinds = Notice.Kind
    if words.kind == kinds.ASKED:
        return _tame(f"{'Urgent. ' if words.urgent else ''}You are asked: {words.title}")
    if words.kind == kinds.PINGED:
        return _tame(f"Still waiting for you, {words.left} left: {words.title}")
    if words.kind == kinds.TOLD:
        return _tame(words.title)
    return "Recourse needs a look"


def _lines(words: Words) -> list[str]:
    lines = [words.what] if words.what else [words.amount, f"{words.left}, until {words.until}"]
    lines += words.if_nobody[:1]
    return [*(_tame(line) for line in lines if line), words.url]


def _tame(text: str) -> str:
    return wording.plain(text, LINE_LENGTH).translate(_TAME)
