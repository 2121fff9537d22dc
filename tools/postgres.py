"""A PostgreSQL to throw away: on loopback, on a free port, gone when it is left.

    python tools/postgres.py run -- make story

runs a command with DATABASE_URL set. If DATABASE_URL names a PostgreSQL
already, that one is used and none is started.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import pwd
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import FrameType, TracebackType
from typing import Any, NamedTuple, Self

if not __package__:  # started as a file, whose directory is then where imports are looked for
    sys.path[0] = str(Path(__file__).resolve().parent.parent)

from tools.processes import POLL_S, Guard

LOOPBACK = "127.0.0.1"
ROLE = "recourse"
START_S = 60.0
# Nothing here survives the machine anyway: tests need no flush to the disk.
FORGETFUL = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}


class NotAvailable(Exception):
    """No PostgreSQL can be had. The message says why."""


class Account(NamedTuple):
    """The user that the server runs as: PostgreSQL refuses to run as root."""

    uid: int
    gid: int


def binaries() -> Path:
    """Return the directory of `initdb` and `postgres`: the newest Debian has, or that on PATH."""
    debian = Path("/usr/lib/postgresql").glob("*/bin/postgres")
    newest = max(debian, key=lambda p: (len(p.parts[4]), p.parts[4]), default=None)
    found = newest or shutil.which("postgres")
    if found is None:
        raise NotAvailable(
            "no PostgreSQL server is installed (Debian: apt-get install postgresql), "
            "and DATABASE_URL does not name one"
        )
    return Path(found).resolve().parent


def account() -> Account | None:
    """Return who the server must run as, or None where we are not root and it is us."""
    if os.geteuid() != 0:
        return None
    for name in ("postgres", "nobody"):
        with contextlib.suppress(KeyError):
            entry = pwd.getpwnam(name)
            return Account(entry.pw_uid, entry.pw_gid)
    raise NotAvailable("this is root, PostgreSQL refuses root, and there is no other user to take")


def directory_for(user: Account | None) -> Path:
    """Make a directory that the server's user can reach, whatever TMPDIR is."""
    for base in dict.fromkeys([tempfile.gettempdir(), "/tmp", "/var/tmp"]):  # noqa: S108 - mkdtemp names it
        above = [Path(base).resolve(), *Path(base).resolve().parents]
        if user is None or all(parent.stat().st_mode & 0o001 for parent in above):
            path = Path(tempfile.mkdtemp(prefix="recourse-postgres-", dir=base))
            if user is not None:
                os.chown(path, user.uid, user.gid)
            return path
    raise NotAvailable("no temporary directory can be reached by the user postgres")


def is_postgres(url: str | None) -> bool:
    """Whether this DATABASE_URL names a PostgreSQL."""
    return (url or "").partition(":")[0] in {"postgres", "postgresql", "pgsql", "psql"}


class Postgres:
    """A server of our own for the length of a `with`, or the one DATABASE_URL names.

    Any local user can log in to it (trust, on 127.0.0.1): it is for tests.
    Should this process be killed, a guard ends the server and removes its files.
    """

    def __init__(self, *, durable: bool = False, environ: Mapping[str, str] = os.environ) -> None:
        """`durable` keeps PostgreSQL's own settings for writing to disk, to measure with."""
        self.url = ""
        self._durable = durable
        self._given = environ.get("DATABASE_URL")
        self._stack = contextlib.ExitStack()

    def __enter__(self) -> Self:
        """Start, and set `url`. Raises NotAvailable."""
        if is_postgres(self._given):
            self.url = self._given or ""
            return self
        with contextlib.ExitStack() as stack:
            self.url = stack.enter_context(self._served())
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stack.close()

    @contextlib.contextmanager
    def _served(self) -> Iterator[str]:
        where, user = binaries(), account()
        with Guard() as guard:
            home = directory_for(user)
            guard.remove(home)
            try:
                self._make_cluster(where, home, user)
                server, port = self._start(where, home, user, guard)
                try:
                    yield f"postgresql://{ROLE}@{LOOPBACK}:{port}/{ROLE}"
                finally:
                    stop(server)
                    guard.forget(server.pid)
            finally:
                shutil.rmtree(home, ignore_errors=True)

    def _make_cluster(self, where: Path, home: Path, user: Account | None) -> None:
        done = subprocess.run(
            [
                where / "initdb", "--pgdata", home / "data", "--username", ROLE, "--auth", "trust",
                "--encoding", "UTF8", "--locale", "C.UTF-8", "--no-sync",
            ],
            **as_user(user, home), capture_output=True, text=True, timeout=120, check=False,
        )  # fmt: skip
        if done.returncode != 0:
            raise NotAvailable(f"initdb failed: {(done.stderr or done.stdout).strip()[-500:]}")

    def _start(
        self, where: Path, home: Path, user: Account | None, guard: Guard
    ) -> tuple[subprocess.Popen[bytes], int]:
        log = home / "log"
        for _attempt in range(5):  # a free port may be taken by somebody before the server takes it
            port = free_port()
            settings = {
                "port": str(port),
                "listen_addresses": LOOPBACK,
                "unix_socket_directories": "",
                "max_connections": "200",
                **({} if self._durable else FORGETFUL),
            }
            options = [word for pair in settings.items() for word in ("-c", "=".join(pair))]
            with log.open("ab") as out:
                server = subprocess.Popen(
                    [where / "postgres", "-D", home / "data", *options],
                    **as_user(user, home, guard), stdin=subprocess.DEVNULL, stdout=out,
                    stderr=subprocess.STDOUT, start_new_session=True,
                )  # fmt: skip
            guard.watch(server.pid, signal.SIGQUIT)
            if answers(where, port, server) and create_database(where, port):
                return server, port
            stop(server)
            guard.forget(server.pid)
        raise NotAvailable(f"the server does not start: {log.read_text()[-500:]}")


def as_user(user: Account | None, home: Path, guard: Guard | None = None) -> dict[str, Any]:
    """Return the arguments for subprocess that run a program as this user, at home in `home`."""
    environment = {
        "PATH": os.environ.get("PATH", os.defpath),
        "HOME": str(home),
        "LC_ALL": "C.UTF-8",
    }
    if guard is not None:
        environment = guard.environment(environment, "postgres")
    if user is None:
        return {"cwd": "/", "env": environment}
    return {
        "cwd": "/", "env": environment, "user": user.uid, "group": user.gid, "extra_groups": [],
    }  # fmt: skip


def answers(where: Path, port: int, server: subprocess.Popen[bytes]) -> bool:
    """Wait until the server takes connections. False: it ended, or took too long."""
    deadline = time.monotonic() + START_S
    while server.poll() is None and time.monotonic() < deadline:
        asked = subprocess.run(
            [where / "pg_isready", "-q", "-h", LOOPBACK, "-p", str(port), "-U", ROLE],
            timeout=20, check=False,
        )  # fmt: skip
        if asked.returncode == 0 and server.poll() is None:
            return True
        time.sleep(POLL_S)
    return False


def create_database(where: Path, port: int) -> bool:
    """Create the database named like the role."""
    made = subprocess.run(
        [where / "createdb", "-h", LOOPBACK, "-p", str(port), "-U", ROLE, ROLE],
        timeout=60, check=False,
    )  # fmt: skip
    return made.returncode == 0


def stop(server: subprocess.Popen[bytes]) -> None:
    """End a server without waiting for its clients: nothing in it is to be kept."""
    if server.poll() is None:
        server.send_signal(signal.SIGQUIT)
    try:
        server.wait(timeout=20)
    except subprocess.TimeoutExpired:
        server.kill()
        server.wait(timeout=10)


def free_port() -> int:
    """Return a port on loopback that nobody listens on."""
    with socket.socket() as probe:
        probe.bind((LOOPBACK, 0))
        port: int = probe.getsockname()[1]
        return port


@contextlib.contextmanager
def fresh_database(url: str) -> Iterator[str]:
    """Create an empty database beside the one `url` names; yield its URL; drop it at the end."""
    import psycopg
    from psycopg import sql

    name = f"recourse_{secrets.token_hex(6)}"
    plain = f"postgresql:{url.partition(':')[2]}"
    head, _, query = plain.partition("?")
    with psycopg.connect(plain, autocommit=True) as connection:
        connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
    try:
        yield head.rpartition("/")[0] + f"/{name}" + (f"?{query}" if query else "")
    finally:
        with psycopg.connect(plain, autocommit=True) as connection:
            drop = "DROP DATABASE IF EXISTS {} WITH (FORCE)"
            connection.execute(sql.SQL(drop).format(sql.Identifier(name)))


def run(command: list[str], *, durable: bool) -> int:
    """Run a command with DATABASE_URL set; return its exit code.

    SIGTERM and SIGHUP are handed on to it. Ctrl-C reaches it from the terminal.
    """
    heard: list[int] = []

    def hear(signum: int, frame: FrameType | None) -> None:
        heard.append(signum)

    parent = os.getppid()
    for signum in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(signum, hear)
    with Postgres(durable=durable) as postgres, Guard() as guard:
        if heard:
            return 128 + heard[0]
        environment = guard.environment({**os.environ, "DATABASE_URL": postgres.url})
        process = subprocess.Popen(command, env=environment)
        told = 0
        while (code := process.poll()) is None:
            if os.getppid() != parent and signal.SIGTERM not in heard:
                heard.append(signal.SIGTERM)  # whoever started us is gone
            for number in heard[told:]:
                told += 1
                if number != signal.SIGINT:
                    process.send_signal(number)
            time.sleep(POLL_S)
        return code if code >= 0 else 128 - code


def main(arguments: list[str] | None = None) -> int:
    """Read the command line and run. 3: no PostgreSQL can be had."""
    parser = argparse.ArgumentParser(prog="tools/postgres.py", description=__doc__)
    verbs = parser.add_subparsers(required=True)
    verb = verbs.add_parser("run", help="run a command with DATABASE_URL set")
    verb.add_argument("--durable", action="store_true", help="keep fsync and its kin on")
    verb.add_argument("command", nargs="+")
    options = parser.parse_args(arguments)
    try:
        return run(options.command, durable=options.durable)
    except NotAvailable as problem:
        print(f"PostgreSQL is not available because {problem}.", file=sys.stderr)
        return 3
    except FileNotFoundError as problem:
        print(f"No such command: {problem.filename}", file=sys.stderr)
        return 127


if __name__ == "__main__":
    sys.exit(main())
