"""The watch: sees every row that the product changes while the tests run, and wants its event beside it.

Triggers tell of each changed row: temporary ones on SQLite, that call a function of the connection, and on
PostgreSQL ones that raise a notice. Neither asks or writes anything more, so no test sees a query or a lock that
was not there. Whose change it was says the stack: the product's, or a test's that builds its world. What belongs
together says the outermost `atomic` that is not the test case's own.
"""

from __future__ import annotations

import sys
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache
from typing import NamedTuple

from django.apps import apps
from django.db import connection, transaction
from django.db.backends.signals import connection_created

from tests import watched

OURS = ("governance", "approvals", "rollback")
# They write what they are told to: whoever called them is asked.
HANDS = ("governance.bulk", "governance.prepared", "governance.reads")
MARK = "watched"
APART = "\x1f"


class Change(NamedTuple):
    """One changed row."""

    table: str
    verb: str  # INSERT, UPDATE, DELETE
    key: str
    holders: frozenset[str]  # keys of the requests of whose chains one must tell of it; none: any
    columns: frozenset[str]  # of an UPDATE: those that differ

    def __str__(self) -> str:
        what = f" ({', '.join(sorted(self.columns))})" if self.verb == "UPDATE" else ""
        return f"{self.verb} {self.table} {self.key}{what}"


class Watch:
    """What one connection changed since the transaction began that is open on it."""

    def __init__(self) -> None:
        self.changes: list[Change] = []
        self.open: list[tuple[transaction.Atomic, int]] = []


unrecorded: list[str] = []  # what was found, until the test that is running is told of it


def told(on, table, verb, key, holders, columns):
    """Take down one changed row, if the product changed it. `on` is Django's connection."""
    if _looking_away.get() or not by_the_product():
        return
    words = [frozenset(str(each or "").split()) for each in (holders, columns)]
    change = Change(table, verb, str(key), *words)
    watch = watch_of(on)
    watch.changes.append(change)
    if not watch.open:
        close(watch, 0)


@contextmanager
def unwatched():
    """Look away while our code builds a world that is no installation's: the stage of a rehearsal."""
    token = _looking_away.set(True)
    try:
        yield
    finally:
        _looking_away.reset(token)


_looking_away = ContextVar("looking away", default=False)


def by_the_product():
    """Whether it is our code that writes now, and not a test that builds its world."""
    frame = sys._getframe(3)  # past this, `told` and what the connection calls
    while frame is not None:
        name = frame.f_globals.get("__name__", "")
        package = name.partition(".")[0]
        if package == "tests":
            return False
        if package in OURS and name not in HANDS:
            return True
        frame = frame.f_back
    return False


def close(watch, mark):
    """Judge what was changed since the mark as one act, and forget it."""
    act, watch.changes[mark:] = watch.changes[mark:], []
    unrecorded.extend(missing(act))


def missing(act):
    """Return a sentence for each kind of row that was changed in this act without its event."""
    events = any(change.table == "governance_auditevent" for change in act)
    chains = {
        change.key
        for change in act
        if change.table == "approvals_actionrequest"
        and (change.verb == "INSERT" or "chain_length" in change.columns)
    }
    return [
        f"{change} has no event in {_where(change)}."
        for change in act
        if not is_no_act(change)
        and not (events and (not (holders := holders_of(change)) or holders & chains))
    ]


def _where(change):
    return (
        f"the chain of request {' or '.join(sorted(change.holders))}"
        if change.holders
        else "its act"
    )


def is_no_act(change):
    if change.table in watched.NO_ACT:
        return True
    follows = watched.FOLLOWS.get(change.table, {})
    own = {each for each in change.columns if follows.get(each) not in change.columns}
    return change.verb == "UPDATE" and own.issubset(watched.NO_ACT_ALONE.get(change.table, ()))


def holders_of(change):
    """Return the requests of whose chains one must tell of a change; none: whichever chain does."""
    by_the_house = watched.TOLD_BY_THE_HOUSE.get(change.table, ())
    if change.verb == "UPDATE" and change.columns.issubset(by_the_house):
        return frozenset()
    return change.holders


def watch_of(on):
    if not hasattr(on, MARK):
        setattr(on, MARK, Watch())
    return getattr(on, MARK)


# --- Where an act begins and ends ---


@contextmanager
def acts_seen():
    """Follow each `atomic` of every connection: what is rolled back was not changed."""
    enter, leave = transaction.Atomic.__enter__, transaction.Atomic.__exit__

    def entering(self):
        enter(self)
        if not self._from_testcase:
            watch = watch_of(transaction.get_connection(self.using))
            watch.open.append((self, len(watch.changes)))

    def leaving(self, kind, problem, trace):
        on = transaction.get_connection(self.using)
        undone = kind is not None or on.needs_rollback
        try:
            leave(self, kind, problem, trace)
        except BaseException:
            undone = True
            raise
        finally:
            watch = watch_of(on)
            if watch.open and watch.open[-1][0] is self:
                _, mark = watch.open.pop()
                if undone:
                    del watch.changes[mark:]
                elif not watch.open:
                    close(watch, mark)

    transaction.Atomic.__enter__, transaction.Atomic.__exit__ = entering, leaving
    yield
    transaction.Atomic.__enter__, transaction.Atomic.__exit__ = enter, leave


# --- What tells of each row ---


def tables():
    """Yield each table of the product with its model, those of many-to-many relations too."""
    for label in OURS:
        for model in apps.get_app_config(label).get_models(include_auto_created=True):
            yield model._meta.db_table, model


def columns_of(model):
    return [field.column for field in model._meta.concrete_fields]


def triggers_told_of(table, model, vendor):
    """Yield (name, verb, the SQL values: key, holders, columns that differ) of a table's triggers."""
    for verb, row in (("INSERT", "NEW"), ("UPDATE", "NEW"), ("DELETE", "OLD")):
        differs = "IS DISTINCT FROM" if vendor == "postgresql" else "IS NOT"
        columns = " || ".join(
            f"CASE WHEN NEW.\"{name}\" {differs} OLD.\"{name}\" THEN '{name} ' ELSE '' END"
            for name in columns_of(model)
        )
        holder = watched.OF_A_REQUEST.get(table, "''").format(row=row)
        key = f'{row}."{model._meta.pk.column}"'
        yield (
            f"watch_{verb}_{table}".lower(),
            verb,
            key,
            holder,
            columns if verb == "UPDATE" else "''",
        )


def creating(vendor):
    """Yield the statements that put the watch's triggers on."""
    for table, model in tables():
        for name, verb, key, holder, columns in triggers_told_of(table, model, vendor):
            if vendor == "postgresql":
                parts = " || E'\\x1f' || ".join(
                    (f"'{MARK}'", f"'{table}'", f"'{verb}'", f"{key}::text",
                     f"coalesce(({holder})::text, '')", columns)
                )  # fmt: skip
                yield (
                    f"CREATE FUNCTION {name}() RETURNS trigger LANGUAGE plpgsql AS $$"
                    f" BEGIN RAISE NOTICE USING MESSAGE = {parts}; RETURN NULL; END $$"
                )
                yield (
                    f'CREATE TRIGGER {name} AFTER {verb} ON "{table}"'
                    f" FOR EACH ROW EXECUTE FUNCTION {name}()"
                )
            else:
                yield (
                    f'CREATE TEMP TRIGGER {name} AFTER {verb} ON main."{table}" BEGIN'
                    f" SELECT {MARK}('{table}', '{verb}', {key}, {holder}, {columns}); END"
                )


def listen(connection, **rest):
    """Have a new connection tell of each row that it changes."""
    own = connection.connection
    if connection.vendor == "postgresql":

        def heard(diagnosis):
            mark, *parts = (diagnosis.message_primary or "").split(APART)
            if mark == MARK:
                told(connection, *parts)

        own.add_notice_handler(heard)
        return

    def called(*parts):
        told(connection, *parts)

    own.create_function(MARK, 5, called)
    there = {name for (name,) in own.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    if there.issuperset(table for table, _ in tables()):
        for statement in _on_each_connection():
            own.execute(statement)


@cache
def _on_each_connection():
    return tuple(creating("sqlite"))


@contextmanager
def watching():
    """Watch the tests' database, which is there, on every connection to it."""
    connection.ensure_connection()
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            for statement in creating("postgresql"):
                cursor.execute(statement, None)
    connection_created.connect(listen, dispatch_uid=MARK)
    listen(connection)
    with acts_seen():
        yield
    connection_created.disconnect(dispatch_uid=MARK)
