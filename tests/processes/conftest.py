"""Real processes on a database of their own, and a look into it."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from contextlib import ExitStack, contextmanager
from pathlib import Path

import environ
import psycopg
import pytest
from django.conf import settings
from django.db import connections
from django_q.humanhash import uuid
from django_q.models import OrmQ
from django_q.signing import SignedPackage
from honcho.environ import parse_procfile
from psycopg import sql

from governance import clock
from tools.postgres import fresh_database, is_postgres
from tools.processes import ROOT, Guard, end, marked, running

ALIAS = "house"


def until(true, *, seconds):
    """Wait for a condition; return its value, or fail the test."""
    deadline = time.monotonic() + seconds
    while not (value := true()):
        if time.monotonic() > deadline:
            pytest.fail(f"not within {seconds} s")
        time.sleep(0.05)
    return value


class Running:
    """One process that was started from `manage.py`."""

    def __init__(self, process, log):
        self.process = process
        self._log = log

    @property
    def pid(self):
        return self.process.pid

    @property
    def log(self):
        return self._log.read_text(errors="replace")

    def stop(self, *, seconds=30):
        """Ask it to stop; return its exit code."""
        self.process.terminate()
        return self.process.wait(timeout=seconds)

    def workers(self):
        """Live worker processes of the task queue, in the order they started."""
        alive = {process.pid for process in running()}
        found = [int(pid) for pid in re.findall(r"ready for work at (\d+)", self.log)]
        return [pid for pid in found if pid in alive]

    def last(self, words):
        """The process of the queue's cluster that last logged these words with its id."""
        return int(re.findall(rf"{words} at (\d+)", self.log)[-1])


class House:
    """A migrated database, and processes on it. `objects(Model)` reads and writes its rows."""

    def __init__(self, url, directory, guard):
        self.directory = directory
        self._guard = guard
        self._started = []
        inherited = {k: v for k, v in os.environ.items() if k != "DJANGO_SETTINGS_MODULE"}
        self.environment = {
            **inherited,
            "RECOURSE_PROFILE": "demo",
            "RECOURSE_VAR": str(directory),
            "DATABASE_URL": url,
            "SECRET_KEY": settings.SECRET_KEY,  # tasks are signed with it
            "LOG_LEVEL": "INFO",
            "PYTHONUNBUFFERED": "1",
        }

    def manage(self, *words):
        done = subprocess.run(
            [sys.executable, "manage.py", *words],
            cwd=ROOT, env=self._guard.environment(self.environment), capture_output=True,
            text=True, timeout=120, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        return done.stdout

    def start(self, *words):
        return self._start(words[0], [sys.executable, "manage.py", *words])

    def serve(self, port):
        """Start the `web` of the Procfile."""
        command = parse_procfile((ROOT / "Procfile").read_text()).processes["web"]
        programs = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
        own = {"PORT": str(port), "PATH": programs}
        return self._start("web", ["/bin/sh", "-c", f"exec {command}"], **own)

    def _start(self, name, command, **own):
        log = self.directory / f"{name}-{len(self._started)}.log"
        with log.open("wb") as out:
            process = subprocess.Popen(
                command,
                cwd=ROOT, env=self._guard.environment({**self.environment, **own}, name),
                stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT,
                start_new_session=True,
            )  # fmt: skip
        self._started.append(process)
        return Running(process, log)

    def close(self):
        """End everything that was started, and whatever that started."""
        end({}, self.everyone, grace=0)
        for process in self._started:
            process.wait(timeout=10)

    def everyone(self):
        return marked(self._guard.mark)

    def objects(self, model):
        return model.objects.using(ALIAS)

    def move_to(self, url):
        """Have the processes that start from now on, and `objects`, work on another database."""
        self.environment["DATABASE_URL"] = url
        forget_connection()
        ours = environ.Env.db_url_config(url)
        connections.databases[ALIAS] = {**connections.databases["default"], **ours}

    def queue(self, function, *args):
        """Put a task into the queue, as django-q2 does; return its id."""
        name, tag = uuid()
        task = {
            "id": tag, "name": name, "func": function, "args": args, "kwargs": {},
            "started": clock.real_now(), "save": False,
        }  # fmt: skip
        payload = SignedPackage.dumps(task)
        key = settings.Q_CLUSTER["name"]
        self.objects(OrmQ).create(key=key, payload=payload, lock=clock.real_now())
        return tag


def forget_connection():
    connections[ALIAS].close()
    del connections[ALIAS]


@pytest.fixture(scope="session")
def migrated(tmp_path_factory):
    """The URL of a database with all tables and nothing in them, to be copied."""
    directory = tmp_path_factory.mktemp("migrated")
    with ExitStack() as stack:
        url = os.environ.get("DATABASE_URL", "")
        if is_postgres(url):
            url = stack.enter_context(fresh_database(url))
        else:
            url = f"sqlite:///{directory / 'empty.sqlite3'}"
        guard = stack.enter_context(Guard())
        House(url, directory, guard).manage("migrate", "-v0")
        yield url


@contextmanager
def copy_of(migrated, directory):
    """Yield the URL of a copy."""
    if not is_postgres(migrated):
        copy = directory / "house.sqlite3"
        shutil.copy(migrated.removeprefix("sqlite:///"), copy)
        yield f"sqlite:///{copy}"
        return
    with fresh_database(migrated) as url:
        own, template = (sql.Identifier(each.rpartition("/")[2]) for each in (url, migrated))
        with psycopg.connect(os.environ["DATABASE_URL"], autocommit=True) as server:
            server.execute(sql.SQL("DROP DATABASE {}").format(own))
            server.execute(sql.SQL("CREATE DATABASE {} TEMPLATE {}").format(own, template))
        yield url


@pytest.fixture
def house(migrated, tmp_path, django_db_blocker):
    """A house whose processes all end with the test."""
    with ExitStack() as stack:
        url = stack.enter_context(copy_of(migrated, tmp_path))
        guard = stack.enter_context(Guard())
        stack.enter_context(django_db_blocker.unblock())
        ours = environ.Env.db_url_config(url)
        connections.databases[ALIAS] = {**connections.databases["default"], **ours}
        stack.callback(connections.databases.pop, ALIAS)
        stack.callback(forget_connection)
        built = House(url, tmp_path, guard)
        stack.callback(built.close)
        yield built


def kill(pid):
    os.kill(pid, signal.SIGKILL)


def lines(path):
    return Path(path).read_text().splitlines() if Path(path).exists() else []
