"""Where we may call: an address an agent gave us must not turn us against our own network.

An address is checked when it is given, to tell the agent; and again when it is
used, because names change their minds. What is connected to is the address that
was checked, never the name: see `approvals.channels.webhook`.
"""

from __future__ import annotations

import ipaddress
import queue
import re
import socket
import threading
from collections.abc import Callable, Sequence

import httpx2
from django.conf import settings

from governance.errors import Unprocessable

URL_LENGTH = 500  # of ActionRequest.callback_url
RESOLVE_WITHIN_S = 3.0  # a name server may be the agent's own, and in no hurry
PORTS = {"http": 80, "https": 443}
_AUTHORITY = re.compile(r"[/?#]")  # scheme:, nothing, user@host:port, the rest

Resolver = Callable[[str, int], Sequence[str]]


class BadCallback(Unprocessable):
    """Nothing may be sent there."""

    problem, title = "callback-url", "Not an address we may call"


class NameUnknown(Exception):
    """No name server knows the host, or none answered in time. It may be otherwise in a minute."""


def check_callback_url(url: str, *, resolve: Resolver | None = None) -> None:
    """Refuse a callback address that could not, or must not, be called.

    Looks the host up, for at most three seconds, unless private addresses are
    allowed anyway; call it outside any transaction. A host that cannot be looked
    up now is let through: it is looked up again at each delivery.

    Raises:
        BadCallback: what is wrong with it, and what to send instead.
    """
    parsed = parsed_callback(url)
    if settings.CALLBACKS_MAY_BE_PRIVATE:
        return
    try:
        addresses_of(parsed.host, port_of(parsed), resolve=resolve)
    except NameUnknown:
        return  # no harm done: nothing is sent before it is looked up again


def parsed_callback(url: str) -> httpx2.URL:
    """Read a callback address without looking anything up.

    Raises:
        BadCallback: it is not one.
    """
    if len(url) > URL_LENGTH:
        raise BadCallback(f"callback_url is longer than {URL_LENGTH} characters.")
    if any(character <= " " or character in "\\\x7f" for character in url):
        raise BadCallback(
            "callback_url holds spaces, control characters or backslashes. Encode them."
        )
    try:
        parsed = httpx2.URL(url)
        host, port = parsed.host, parsed.port
    except (httpx2.InvalidURL, UnicodeError, ValueError) as problem:
        raise BadCallback(
            "callback_url is not an address. Send a whole one, with https://."
        ) from problem
    if parsed.scheme not in PORTS:
        raise BadCallback("callback_url must begin with https:// or http://.")
    if not host:
        raise BadCallback("callback_url names no host.")
    if "%" in host:  # an IPv6 zone, which means something on one machine only
        raise BadCallback("callback_url names a host that only one machine could know.")
    if "@" in _AUTHORITY.split(url)[2]:
        raise BadCallback(
            "callback_url holds a user name or a password. Leave them out: each webhook is signed."
        )
    if "#" in url:
        raise BadCallback("callback_url has a fragment, which no server sees. Leave it out.")
    if port is not None and not 0 < port < 65536:
        raise BadCallback("callback_url names a port that does not exist.")
    return parsed


def port_of(url: httpx2.URL) -> int:
    return url.port or PORTS[url.scheme]


def addresses_of(host: str, port: int, *, resolve: Resolver | None = None) -> list[str]:
    """Return the addresses of a host, all of them public unless private ones are allowed.

    One private address among them spoils the rest: whoever answers for the name
    would choose which of them is taken.

    Args:
        host: a name, or an address in any form the system's resolver reads.

    Raises:
        BadCallback: it is, or leads to, an address inside some network.
        NameUnknown: it leads nowhere now.
    """
    found = list(dict.fromkeys((resolve or system_addresses)(host, port)))
    if not found:
        raise NameUnknown(f"{host} has no address")
    if not settings.CALLBACKS_MAY_BE_PRIVATE and not all(map(is_public, found)):
        raise BadCallback(
            "callback_url leads to an address that is not public. "
            "Name a host that the internet can reach."
        )
    return found


def is_public(address: str) -> bool:
    """Whether an IP address belongs to the internet at large, IPv4 inside IPv6 included."""
    try:
        ip = ipaddress.ip_address(address)
    except ValueError:
        return False
    if isinstance(ip, ipaddress.IPv6Address):
        inside = ip.ipv4_mapped or ip.sixtofour or (ip.teredo[1] if ip.teredo else None)
        if inside is not None and not is_public(str(inside)):
            return False
        if ip.ipv4_mapped is not None:
            return True
        if ip.is_site_local or ip.scope_id is not None:
            return False
    return ip.is_global and not (ip.is_multicast or ip.is_reserved or ip.is_unspecified)


def system_addresses(host: str, port: int, *, within_s: float = RESOLVE_WITHIN_S) -> list[str]:
    """Ask the system's resolver, which also reads addresses written as one number or in octal.

    Raises:
        NameUnknown: it knows none, or took longer than `within_s`.
    """
    answers: queue.SimpleQueue[list[str] | Exception] = queue.SimpleQueue()

    def ask() -> None:
        try:
            found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
            answers.put([str(address[0]) for *_, address in found])
        except Exception as problem:  # noqa: BLE001 - handed over, and raised below
            answers.put(problem)

    # The resolver has no time-out of its own, and cannot be interrupted: it is left behind.
    threading.Thread(target=ask, name="resolve", daemon=True).start()
    try:
        answer = answers.get(timeout=within_s)
    except queue.Empty as problem:
        raise NameUnknown(f"{host} was not found within {within_s:g} s") from problem
    if isinstance(answer, OSError | UnicodeError):
        raise NameUnknown(f"{host} was not found") from answer
    if isinstance(answer, Exception):
        raise answer
    return answer
