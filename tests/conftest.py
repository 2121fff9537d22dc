"""What tests share: a clock they own, a race, a small organisation, an agent's client."""

from __future__ import annotations

import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from datetime import timedelta
from functools import cache
from inspect import signature
from typing import NamedTuple

import hypothesis
import pytest
import time_machine
from django.conf import settings
from django.db import connection, transaction
from django.db.models import DateTimeField
from django.test import TransactionTestCase
from django.utils.module_loading import import_string

from governance.reads import NOW, Given, Read
from tests.factories import MONDAY_9AM, Company, small_company
from tests.ledger_flush import ledger_survives_flush, own_seal_export
from tests.watching import unrecorded, watching

__all__ = ["ledger_survives_flush", "own_seal_export"]  # fixtures of every test

OURS = ("governance", "approvals", "rollback")


# How long an example takes says how busy the machine is, and nothing else.
hypothesis.settings.register_profile(
    "house", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.load_profile("house")


# Whoever has one of these can ask the product's database. Others cannot: pytest-django refuses them.
WAYS_TO_THE_DATABASE = {"db", "transactional_db", "live_server", "django_db_setup"}


def pytest_configure(config):
    config.addinivalue_line("markers", "sqlite_only: about SQLite alone, or about no database")
    config.addinivalue_line("markers", "database: asks the product's database; given at collection")
    config.addinivalue_line(
        "markers", "part_of_an_act: of what writes rows, and its caller the event"
    )


@pytest.hookimpl(tryfirst=True)  # before pytest looks at marks
def pytest_collection_modifyitems(config, items):
    """Leave out what is about the other database. The suite runs once on each, so nothing is lost:
    a skip would be counted as a test that did not run. And mark what asks the database: the rest
    says the same on either, and runs once."""
    for item in items:
        if WAYS_TO_THE_DATABASE.intersection(item.fixturenames) or asks_by_itself(item):
            item.add_marker(pytest.mark.database)
    postgresql = settings.DATABASES["default"]["ENGINE"].endswith("postgresql")
    other = "sqlite_only" if postgresql else "postgresql"
    dropped = [item for item in items if item.get_closest_marker(other)]
    if dropped:
        config.hook.pytest_deselected(items=dropped)
        items[:] = [item for item in items if not item.get_closest_marker(other)]


def pytest_fixture_setup(fixturedef, request):
    """A way that is only found while a test runs would have it run on one database, unsaid."""
    if fixturedef.argname == "_django_db_helper" and not request.node.get_closest_marker(
        "database"
    ):
        raise RuntimeError(f"{request.node.nodeid} must say django_db where it is collected.")


def asks_by_itself(item):
    """Whether a test says so by a mark, or is a method of one of Django's own cases."""
    case = getattr(item, "cls", None)
    return item.get_closest_marker("django_db") is not None or (
        case is not None and issubclass(case, TransactionTestCase)
    )


@pytest.fixture(scope="session")
def django_db_setup(django_db_setup, django_db_blocker):
    """The tests' database, watched: see `tests.watching`."""
    watch = ExitStack()
    with django_db_blocker.unblock():
        watch.enter_context(watching())
    yield
    with django_db_blocker.unblock():
        watch.close()


@pytest.fixture(autouse=True)
def every_act_is_recorded(request):
    """Fail where the product changed a row, and no event tells of it."""
    yield
    found = sorted(set(unrecorded))
    unrecorded.clear()
    if request.node.get_closest_marker("part_of_an_act"):
        return
    assert not found, "Changed, and not recorded:\n{}".format("\n".join(found))


@pytest.fixture(autouse=True)
def nothing_remembered():
    """Empty our caches: they are kept by primary key, and each test's rows begin at 1 again."""
    for clear in emptying(len(sys.modules)):
        clear()


@cache
def emptying(modules):
    """Return what empties each of our caches. Another number of `modules`: there may be more of them."""
    found = [
        getattr(thing, "cache_clear", None)
        for name, module in list(sys.modules.items())
        if name.split(".")[0] in OURS
        for thing in list(vars(module).values())
    ]
    return [clear for clear in found if callable(clear)]


@pytest.fixture
def company(db) -> Company:
    """The organisation of the product's story; see `tests.factories.small_company`."""
    return small_company()


@pytest.fixture
def audited(db):
    """A house whose audits have just run, whenever a test asks: nothing is promoted without."""
    from governance.audits import WHOLE
    from tests.factories import HeartbeatFactory

    return HeartbeatFactory(name=WHOLE, beat_at=MONDAY_9AM + timedelta(days=1000))


class Timeline:
    """A clock the test owns. It stops at every due instant on the way, and drives the sweeps there.

    The wall clock stands at `now` too, so that views and tokens see the same time.
    """

    def __init__(self, start, wall):
        self.now = start
        self._wall = wall

    def begin_again(self):
        """Back to MONDAY_9AM, for what happens in a transaction of its own that is rolled back."""
        self._set(MONDAY_9AM)

    def advance(self, **delta):
        """Go on by a timedelta's keywords, as the clock process would have."""
        self.go_to(self.now + timedelta(**delta))

    def go_to(self, end):
        """Go on to an instant, as the clock process would have."""
        while (due := self._next(end)) is not None:
            self._set(due)
            self.sweep()
        self._set(end)
        self.sweep()

    def sweep(self):
        """Call every sweep at `now` until none of them finds work.

        Fails if something that is due then still stands where it stood.
        """
        sweeps = [import_string(name) for name in settings.RECOURSE_SWEEPS]
        timed = [sweep for sweep in sweeps if "now" in signature(sweep).parameters]
        for _ in range(100):
            moved = sum([sweep(now=self.now) or 0 for sweep in timed])
            stuck = self._stuck()
            if not (moved and stuck):
                break
        rows = [str(model.objects.get(pk=pk)) for model, pk in stuck]
        assert not rows, f"due at {self.now:%d %b %H:%M:%S}, and no sweep moved it: {rows}"

    def _set(self, instant):
        self.now = instant
        self._wall.move_to(instant)

    def _next(self, end):
        """Return the first instant after now, and not after `end`, at which something is due."""
        found = [first(after=self.now, end=end) for first in clocks().first]
        return min((instant for rows in found for (instant,) in rows), default=None)

    def _stuck(self):
        """Return (model, pk) of what is due now."""
        return [(model, pk) for model, due in clocks().due for (pk,) in due(now=self.now)]


class Clocks(NamedTuple):
    """What the timeline asks at every stop, compiled once."""

    first: list[Read]  # the first instant of each clock between `after` and `end`
    due: list[tuple[type, Read]]  # keys of what each clock's model has due at `now`


@cache
def clocks() -> Clocks:
    from governance.models import Absence

    after, end = (Given(name, DateTimeField()) for name in ("after", "end"))

    def first(rows, at):
        between = rows.filter(**{f"{at}__gt": after, f"{at}__lte": end})
        return Read(lambda: between.order_by(at).values_list(at)[:1])

    def due(rows, at):
        return rows.model, Read(lambda: rows.filter(**{f"{at}__lte": NOW}).values_list("pk"))

    absences = (Absence.objects.filter(cancelled_at=None), "starts_at")
    return Clocks(
        [first(rows, at) for rows, at in (*rows_with_a_clock(), absences)],
        [due(rows, at) for rows, at in rows_with_a_clock()],
    )


def rows_with_a_clock():
    """Return (rows, column) of everything that must not stand still once its instant is over."""
    from approvals.models import ActionRequest, Ask, Review, Step
    from approvals.order_sweeps import waiting_orders
    from governance.models import ActionChange, PeopleChange

    states = ActionRequest.State
    open_ = ActionRequest.objects.filter(parked_until=None)
    waiting = Step.objects.filter(state=Step.State.WAITING)
    asked = waiting.values("request")
    # Leases and next attempts are the worker's: tests that have one take it up themselves.
    return (
        (
            open_.filter(state__in=(states.PENDING, states.HELD, states.BLOCKED, states.APPROVED)),
            "due_at",
        ),
        (waiting.filter(request__state__in=(states.TROUBLED, states.ROLLING_BACK)), "due_at"),
        (open_.filter(state=states.EXECUTING), "run_deadline"),
        (open_.filter(state=states.TROUBLED).exclude(pk__in=asked), "run_deadline"),
        (open_.filter(state=states.ROLLING_BACK).exclude(pk__in=asked), "run_deadline"),
        (Ask.objects.all(), "next_ping_at"),
        (waiting_orders(), "due_at"),
        (Review.objects.filter(state=Review.State.OPEN), "due_at"),
        (Review.objects.filter(state=Review.State.OPEN), "remind_at"),
        (PeopleChange.objects.filter(state=PeopleChange.State.OPEN), "due_at"),
        (ActionChange.objects.filter(state=ActionChange.State.OPEN), "due_at"),
    )


@pytest.fixture
def timeline(db):
    """A clock that starts at MONDAY_9AM and moves only when it is told to."""
    with time_machine.travel(MONDAY_9AM, tick=False) as wall:
        yield Timeline(MONDAY_9AM, wall)


@pytest.fixture
def race(transactional_db):
    """Run callables at the same instant, each on its own connection.

    Returns what each returned or raised, in the order given.
    """

    def run(*calls):
        gate = threading.Barrier(len(calls))

        def one(call):
            try:
                connection.ensure_connection()  # so that the race is not about who connects first
                gate.wait(timeout=10)
                return call()
            except Exception as problem:
                return problem
            finally:
                connection.close()

        with ThreadPoolExecutor(len(calls)) as pool:
            return [
                future.result(timeout=60) for future in [pool.submit(one, call) for call in calls]
            ]

    return run


@pytest.fixture
def while_held(race):
    """Do something while another connection holds rows. Returns what it returned or raised."""

    def run(rows, work):
        is_held, over = threading.Event(), threading.Event()

        def hold():
            with transaction.atomic():
                list(rows.select_for_update())
                is_held.set()
                over.wait(timeout=30)

        def working():
            is_held.wait(timeout=10)
            try:
                return work()
            finally:
                over.set()

        return race(hold, working)[1]

    return run


@pytest.fixture
def api():
    """Return a client of one agent, with a token for all it may need.

    `api(company.agent)` may ask for vendor payments in accounts payable; say
    `departments`, `actions`, `scopes` or `expires_at` for another token.
    """

    def client_of(
        agent, *, departments=("accounts-payable",), actions=("vendor_payment",), **options
    ):
        from rest_framework.test import APIClient

        from governance import clock
        from governance.models.people import default_scopes
        from governance.services.tokens import issue_agent_token

        options.setdefault("scopes", default_scopes())
        options.setdefault("now", clock.real_now())
        token, credential = issue_agent_token(
            agent, departments=list(departments), actions=list(actions), **options
        )
        client = APIClient()
        client.credentials(HTTP_AUTHORIZATION=f"Bearer {token}")
        client.token, client.credential = token, credential
        return client

    return client_of
