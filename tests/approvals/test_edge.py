from __future__ import annotations

from datetime import UTC, datetime

import pytest

from approvals.views.edge import cursor_of, read_cursor
from tests.factories import PersonFactory, RoleFactory

# Written as instants, and yet no instant of UTC: the database driver cannot convert them.
BEYOND = ["9999-12-31T23:59:59-14:00~1", "0001-01-01T00:00:00+14:00~1"]


def test_a_cursor_is_read_as_it_was_written():
    at = datetime(2026, 3, 2, 9, 0, 0, 125, tzinfo=UTC)

    assert read_cursor(cursor_of(at, 7)) == (at, 7)


@pytest.mark.parametrize(
    "text", ["", "~", "x~1", "2026-03-02T09:00:00~1", "2026-13-02T09:00:00Z~1", *BEYOND]
)
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
