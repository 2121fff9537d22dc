from __future__ import annotations

from base64 import b64encode
from datetime import UTC, datetime

import pytest

from approvals.views.edge import cursor_of, read_cursor, read_number
from tests.factories import PersonFactory, RoleFactory

# More digits than Python reads as an integer.
ENDLESS = "9" * 5000
# Written as instants, and yet no instant of UTC: the database driver cannot convert them.
BEYOND = ["9999-12-31T23:59:59-14:00~1", "0001-01-01T00:00:00+14:00~1"]


def test_a_cursor_is_read_as_it_was_written():
    at = datetime(2026, 3, 2, 9, 0, 0, 125, tzinfo=UTC)

    assert read_cursor(cursor_of(at, 7)) == (at, 7)


@pytest.mark.parametrize(
    "text", ["", "~", "x~1", "2026-03-02T09:00:00~1", "2026-13-02T09:00:00Z~1", *BEYOND,
     f"2026-03-02T09:00:00Z~{ENDLESS}"],
)  # fmt: skip
def test_what_is_no_cursor_is_the_beginning_of_the_list(text):
    assert read_cursor(text) is None


@pytest.mark.django_db
@pytest.mark.parametrize("text", BEYOND)
@pytest.mark.parametrize("path", ["/requests/", "/inbox/?lane=approval&", "/inbox/?view=watching&"])
def test_a_forged_cursor_is_a_page_all_the_same(client, path, text):
    person = PersonFactory()
    person.roles.add(RoleFactory(key="operator"))
    client.force_login(person)
    address = path if "?" in path else f"{path}?"

    assert client.get(f"{address}after={text.replace('+', '%2B')}").status_code == 200


@pytest.mark.parametrize("text", ["", "-1", "1.5", "٣", "²", "9" * 19, ENDLESS])
def test_what_we_never_wrote_is_no_number(text):
    assert read_number(text) is None


def test_a_number_of_ours_is_read():
    assert read_number("9" * 18) == 10**18 - 1


@pytest.mark.django_db
def test_a_notice_of_endless_digits_is_refused_and_breaks_nothing(client):
    client.force_login(PersonFactory())

    assert client.post("/inbox/seen/", {"since": "1", "upto": ENDLESS}).status_code == 400


@pytest.mark.django_db
def test_an_api_cursor_of_endless_digits_is_not_found(client):
    client.force_login(PersonFactory())
    cursor = b64encode(f"p={ENDLESS}".encode()).decode()

    assert client.get("/api/v1/requests/", {"cursor": cursor}).status_code == 404
