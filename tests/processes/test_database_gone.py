from __future__ import annotations

import logging
import signal
import subprocess
import time

import psycopg
import pytest

from tests.processes.conftest import until
from tools.demo import Demo, get
from tools.postgres import (
    FORGETFUL,
    LOOPBACK,
    ROLE,
    account,
    answers,
    as_user,
    binaries,
    create_database,
    directory_for,
    free_port,
)
from tools.processes import Guard

pytestmark = [pytest.mark.processes, pytest.mark.postgresql]

log = logging.getLogger("recourse.tests")

GONE_S = 10
BACK_WITHIN_S = 60  # the queue's own pause after a lost database is ten seconds


class Server:
    """A PostgreSQL that can be stopped and started again, with its data and on its port."""

    def __init__(self, guard):
        self._guard = guard
        self._where, self._user = binaries(), account()
        self._home = directory_for(self._user)
        guard.remove(self._home)
        self._port = free_port()
        self._process = None
        self._run(
            "initdb", "--pgdata", self._home / "data", "--username", ROLE, "--auth", "trust",
            "--encoding", "UTF8", "--locale", "C.UTF-8", "--no-sync",
        )  # fmt: skip

    @property
    def url(self):
        return f"postgresql://{ROLE}@{LOOPBACK}:{self._port}/{ROLE}"

    def start(self):
        options = [
            f"port={self._port}", f"listen_addresses={LOOPBACK}", "unix_socket_directories=",
            *("=".join(pair) for pair in FORGETFUL.items()),
        ]  # fmt: skip
        with (self._home / "log").open("ab") as out:
            self._process = subprocess.Popen(
                [self._where / "postgres", "-D", self._home / "data", *words("-c", options)],
                **as_user(self._user, self._home, self._guard), stdin=subprocess.DEVNULL,
                stdout=out, stderr=subprocess.STDOUT, start_new_session=True,
            )  # fmt: skip
        self._guard.watch(self._process.pid, signal.SIGQUIT)
        assert answers(self._where, self._port, self._process)

    def create(self):
        assert create_database(self._where, self._port)

    def stop(self, signum=signal.SIGINT):
        """End it and every connection, after a checkpoint: a fast shutdown."""
        self._process.send_signal(signum)
        self._process.wait(timeout=30)
        self._guard.forget(self._process.pid)

    def row(self, sql):
        with psycopg.connect(self.url) as connection:
            return connection.execute(sql).fetchone()

    def _run(self, program, *arguments):
        subprocess.run(
            [self._where / program, *arguments],
            **as_user(self._user, self._home), check=True, capture_output=True, timeout=120,
        )  # fmt: skip


def words(flag, values):
    return [word for value in values for word in (flag, value)]


@pytest.fixture
def server():
    with Guard() as guard:
        server = Server(guard)
        server.start()
        server.create()
        yield server
        server.stop(signal.SIGQUIT)


def beats(server):
    rows = server.row("SELECT json_object_agg(name, beat_at) FROM governance_heartbeat")
    return {name.split()[0]: at for name, at in rows[0].items()}


def test_every_process_reconnects_after_ten_seconds_without_a_database(server):
    with Demo(database_url=server.url) as demo:
        log.info("all is good")
        pids = {name: demo.pid(name) for name in ("web", "clock", "worker")}
        until(lambda: {"clock", "worker"} <= beats(server).keys(), seconds=30)

        server.stop()
        stopped = time.monotonic()
        until(lambda: get(f"{demo.url}/readyz")[0] == 503, seconds=GONE_S)
        assert get(f"{demo.url}/healthz")[0] == 200
        assert get(f"{demo.url}/status")[0] == 503
        time.sleep(max(0, GONE_S - (time.monotonic() - stopped)))  # the length of the outage
        server.start()
        before = beats(server)

        until(lambda: get(f"{demo.url}/readyz")[0] == 200, seconds=BACK_WITHIN_S)
        for name in ("clock", "worker"):
            until(lambda n=name: beats(server)[n] > before[n], seconds=BACK_WITHIN_S)
            log.info("%s is back after %.1f s", name, time.monotonic() - stopped - GONE_S)

        assert demo.ended() == {}
        assert {name: demo.pid(name) for name in pids} == pids
        status = demo.status()
        assert status["clock"]["ok"]
        assert status["worker"]["ok"]
        assert status["worker"]["restarts"] == 0  # not the worker's fault
        for name in ("clock", "worker"):
            assert demo.log(name).count("the database is gone") == 1
            assert demo.log(name).count("the database is back") == 1
        returned = "SELECT count(*) FROM governance_auditevent WHERE kind = 'database.returned'"
        assert server.row(returned) == (2,)
