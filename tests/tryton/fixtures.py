"""Fixtures of the connector's tests: the ERP as Recourse's target, and its books seen by somebody else."""

from __future__ import annotations

import pytest

from rollback.connectors import client
from rollback.connectors.tryton import session
from tests.tryton.between import Between


@pytest.fixture
def target(erp_server, settings):
    """The ERP where action types of the catalogue find it. Each test has documents of its own in it."""
    here = {"url": erp_server.url, "user": erp_server.user, "password": erp_server.password}
    settings.TARGETS = {**settings.TARGETS, "tryton": here}
    yield erp_server
    session.forget()
    client.close()


@pytest.fixture
def rpc(target):
    """Somebody else at the ERP: its administrator."""
    found = target.rpc()
    yield found
    found.close()


@pytest.fixture
def between(target, settings):
    """The ERP behind a line that loses what it is told to lose."""
    with Between(target.url) as line:
        settings.TARGETS["tryton"]["url"] = line.url
        yield line


@pytest.fixture
def books(target):
    """The ERP's books, which balance after every test."""
    found = target.books()
    yield found
    assert found.balanced()
    found.rpc.close()
