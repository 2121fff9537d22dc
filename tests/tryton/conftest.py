"""A real ERP for the tests below: started once, and its books fresh for each."""

from __future__ import annotations

import pytest

from tests.tryton.fixtures import between, books, rpc, target
from tools.tryton import NotInstalled, Tryton, prepare

__all__ = ["between", "books", "rpc", "target"]  # fixtures of the connector's tests


@pytest.fixture(scope="session")
def erp_server(tmp_path_factory):
    """Use `erp`, which has the books as they were in the beginning."""
    try:
        prepare()
    except NotInstalled:
        pytest.skip("no Tryton")  # counted, and named, in the last line of `make test`
    with Tryton(tmp_path_factory.mktemp("tryton")) as erp:
        yield erp


@pytest.fixture
def erp(erp_server):
    """A Tryton whose books nobody has touched yet: `erp.url`, `erp.user`, `erp.password`, `erp.facts`."""
    erp_server.reset()
    return erp_server
