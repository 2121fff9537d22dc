"""The demo's target, running inside the process of the tests."""

from __future__ import annotations

import json
import threading

import pytest

from demo_target.ledger import Ledger
from demo_target.server import Server
from demo_target.store import Store
from rollback.connectors import client
from rollback.models import Unit
from tests.rollback.ledger_target import Books

IN_DOUBT = (Unit.State.SENT, Unit.State.UNKNOWN)  # nobody says yet what became of it


class Target:
    """A ledger that answers on loopback, and what a test may ask of it behind its back.

    Asked here, it neither suffers its faults nor uses them up.
    """

    token = "the-token-of-the-target"

    def __init__(self):
        self._server = Server(
            ("127.0.0.1", 0), Ledger(Store(":memory:", sync="off")), token=self.token
        )
        self.url = self._server.url
        self._thread = threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True
        )
        self._thread.start()

    def reset(self):
        """Back to the first day, without faults."""
        self._server.reset()

    def put_faults(self, *faults):
        """Replace the faults: `put_faults({"kind": "unavailable", "count": 2})`. None clears them."""
        self._server.faults.put(list(faults))

    def faults(self):
        """What is left of the faults."""
        return self._server.faults.said()

    def operations(self, key=None):
        """What it did, oldest first: of one key, or all."""
        query = {"limit": "1000"} if key is None else {"key": key}
        return self._ask("GET", ["operations"], query)["operations"]

    def books(self):
        """Its accounts: `balanced`, `accounts`, `payables`."""
        return self._ask("GET", ["books"])

    def get(self, path):
        """A record: `get("vendors/Northwind Paper")`. None where there is none."""
        from demo_target.refusals import Refusal

        try:
            return self._ask("GET", path.strip("/").split("/"))
        except Refusal:
            return None

    def put(self, path, body):
        """Write a record as somebody else would."""
        return self._ask("PUT", path.strip("/").split("/"), body=body)

    def write(self, path, body, key=""):
        """Have it do something as somebody else would, under a key of theirs or none."""
        self._server.ledger.serve("POST", path.strip("/").split("/"), {}, body, key=key)

    def _ask(self, method, segments, query=None, body=None):
        return json.loads(self._server.ledger.serve(method, segments, query or {}, body).body)

    def close(self):
        self._server.shutdown()
        self._thread.join(timeout=10)
        self._server.server_close()
        self._server.ledger.store.close()


@pytest.fixture(autouse=True)
def every_test_ends_with_the_audit_of_effects(request):
    """What the targets of a test did under our keys equals our checkpoints, both ways: no more, no less."""
    Books.made.clear()
    marker = request.node.get_closest_marker("django_db")
    if marker is None:
        yield
        return
    request.getfixturevalue("transactional_db" if marker.kwargs.get("transaction") else "db")
    outside = request.getfixturevalue("target") if "target" in request.fixturenames else None
    yield
    done = {key for books in Books.made for key in books.done}
    if outside is not None:
        done |= {operation["key"] for operation in outside.operations() if operation["key"]}
    if not (Books.made or outside):
        return
    rows = Unit.objects.all()
    unanswered = set(rows.filter(state__in=IN_DOUBT).values_list("key", flat=True))
    checkpoints = set(rows.filter(receipt__isnull=False).values_list("key", flat=True))
    # What a person did in the target has no key of ours there.
    unanswered |= set(rows.filter(by_hand=True).values_list("key", flat=True))
    assert done - unanswered == checkpoints - unanswered


@pytest.fixture(scope="session")
def running_target():
    running = Target()
    yield running
    client.close()
    running.close()


@pytest.fixture(scope="session")
def running_sandbox():
    running = Target()
    yield running
    running.close()


@pytest.fixture
def sandbox(running_sandbox, settings):
    """The sandbox of the demo's target, on its first day. The target itself can be reached by nobody."""
    running_sandbox.reset()
    here = {"url": running_sandbox.url, "token": running_sandbox.token}
    settings.SANDBOXES = {"demo": here}
    settings.TARGETS = {"demo": {"url": "http://127.0.0.1:9", "token": "of-the-target"}}
    return running_sandbox


@pytest.fixture
def target(running_target, settings):
    """The demo's target on its first day, where action types of the catalogue find it."""
    running_target.reset()
    here = {"url": running_target.url, "token": running_target.token}
    settings.TARGETS = {**settings.TARGETS, "demo": here}
    return running_target
