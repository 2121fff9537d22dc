from __future__ import annotations

import socket
import threading

import pytest

from approvals.callbacks import (
    BadCallback,
    NameUnknown,
    addresses_of,
    check_callback_url,
    is_public,
    system_addresses,
)
from governance.errors import Unprocessable

PUBLIC = "93.184.216.34"


@pytest.fixture(autouse=True)
def production(settings):
    settings.CALLBACKS_MAY_BE_PRIVATE = False


def leading_to(*addresses):
    return lambda host, port: addresses


@pytest.mark.parametrize(
    "url",
    [
        "https://hooks.example.com/recourse?agent=7",
        "http://hooks.example.com:8080/a",
        "HTTPS://HOOKS.EXAMPLE.COM/",
        "https://münchen.example/ä",
        "https://hooks.example.com/a@b?c=d@e",
    ],
)
def test_an_address_on_the_internet_is_let_through(url):
    check_callback_url(url, resolve=leading_to(PUBLIC, "2606:2800:220:1::1"))


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("ftp://hooks.example.com/", "begin with"),
        ("file:///etc/passwd", "begin with"),
        ("javascript:alert(1)", "callback_url"),
        ("hooks.example.com/a", "begin with"),
        ("", "begin with"),
        ("//hooks.example.com/", "begin with"),
        ("https:///a", "names no host"),
        ("https:a", "names no host"),
        ("https://user:secret@hooks.example.com/", "password"),
        ("https://user@hooks.example.com/", "password"),
        ("https://@hooks.example.com/", "password"),
        ("https://hooks.example.com/#part", "fragment"),
        ("https://hooks.example.com/#", "fragment"),
        ("https://hooks.example.com:0/", "port"),
        ("https://hooks.example.com:99999/", "port"),
        ("https://hooks.example.com:http/", "not an address"),
        ("https://hooks.example.com\\@10.0.0.5/", "backslashes"),
        ("https://hooks.example.com/a b", "spaces"),
        ("https://hooks.example.com/\r\nHost: evil", "control"),
        ("https://hooks.example.com/" + "a" * 475, "longer than 500"),
        ("https://①②⑦.0.0.1/", "not an address"),
    ],
)
def test_what_is_no_callback_address_is_refused_with_what_to_mend(url, says):
    with pytest.raises(BadCallback, match=says) as refusal:
        check_callback_url(url, resolve=leading_to(PUBLIC))

    assert isinstance(refusal.value, Unprocessable)
    assert (refusal.value.status, refusal.value.problem) == (422, "callback-url")


def test_five_hundred_characters_are_not_too_many():
    url = "https://hooks.example.com/" + "a" * 474

    check_callback_url(url, resolve=leading_to(PUBLIC))

    assert len(url) == 500


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1", "127.1", "2130706433", "0x7f000001", "0x7f.1", "017700000001", "0",
        "10.0.0.5", "172.16.0.1", "192.168.1.1", "169.254.169.254", "100.64.0.1", "224.0.0.1",
        "240.0.0.1", "255.255.255.255", "localhost",
        "[::1]", "[::]", "[fe80::1]", "[fe80::1%25eth0]", "[fc00::1]", "[fec0::1]", "[ff02::1]",
        "[::ffff:127.0.0.1]", "[::ffff:10.0.0.5]", "[::ffff:a00:5]", "[::127.0.0.1]",
        "[64:ff9b::7f00:1]", "[2002:7f00:1::]", "[2002:a00:5::]", "[2001:db8::1]",
    ],
)  # fmt: skip
def test_an_address_inside_some_network_is_refused_however_it_is_written(host):
    """With the system's own resolver: it is what reads the odd forms."""
    with pytest.raises(BadCallback):
        check_callback_url(f"http://{host}/hook")


def test_octal_is_refused_before_anybody_could_read_it():
    with pytest.raises(BadCallback):
        check_callback_url("http://0177.0.0.1/")


@pytest.mark.parametrize(
    "address", ["10.0.0.5", "127.0.0.1", "::1", "::ffff:192.168.0.1", "fe80::1%2"]
)
def test_a_name_that_leads_inside_is_refused(address):
    with pytest.raises(BadCallback, match="not public"):
        check_callback_url("https://hooks.example.com/", resolve=leading_to(address))


def test_one_private_address_spoils_the_public_ones():
    with pytest.raises(BadCallback, match="not public"):
        check_callback_url("https://hooks.example.com/", resolve=leading_to(PUBLIC, "10.0.0.5"))


def test_the_refusal_does_not_tell_what_the_name_leads_to():
    with pytest.raises(BadCallback) as refusal:
        check_callback_url("https://hooks.example.com/", resolve=leading_to("10.11.12.13"))

    assert "10.11" not in refusal.value.detail


def test_the_demo_may_call_its_own_machine(settings):
    settings.CALLBACKS_MAY_BE_PRIVATE = True

    check_callback_url("http://127.0.0.1:9999/hook")


def test_the_demo_still_refuses_what_is_no_address(settings):
    settings.CALLBACKS_MAY_BE_PRIVATE = True

    with pytest.raises(BadCallback):
        check_callback_url("http://user:secret@127.0.0.1/")


def test_a_name_nobody_knows_now_is_looked_up_again_at_delivery():
    def unknown(host, port):
        raise NameUnknown(host)

    check_callback_url("https://hooks.example.com/", resolve=unknown)

    with pytest.raises(NameUnknown):
        addresses_of("hooks.example.com", 443, resolve=unknown)


def test_a_name_with_no_address_leads_nowhere():
    with pytest.raises(NameUnknown):
        addresses_of("hooks.example.com", 443, resolve=leading_to())


def test_a_name_server_that_takes_its_time_is_not_waited_for(monkeypatch):
    over = threading.Event()
    monkeypatch.setattr(
        socket, "getaddrinfo", lambda *asked, **options: [] if over.wait(10) else None
    )

    try:
        with pytest.raises(NameUnknown, match="within"):
            system_addresses("localhost", 80, within_s=0.05)
    finally:
        over.set()


@pytest.mark.parametrize("host", ["a" * 64 + ".example", "nobody-knows.invalid", "a..b"])
def test_a_name_that_cannot_be_looked_up_is_unknown(host):
    with pytest.raises(NameUnknown):
        system_addresses(host, 443)


@pytest.mark.parametrize(
    "address", [PUBLIC, "2606:2800:220:1::1", "::ffff:8.8.8.8", "2002:808:808::"]
)
def test_public_addresses(address):
    assert is_public(address)


def test_what_is_no_address_is_not_public():
    assert not is_public("hooks.example.com")


def test_the_systems_resolver_reads_odd_forms():
    """Control: were it not so, the refusals above would show nothing."""
    found = socket.getaddrinfo("2130706433", 80, type=socket.SOCK_STREAM)

    assert found[0][4][0] == "127.0.0.1"
