"""Start Tryton's server on a directory, and end it."""

from __future__ import annotations

import contextlib
import http.client
import json
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

from tools.processes import POLL_S, Guard, end
from tools.tryton.environment import PYTHON, VENV, NotAvailable, environment

LOOPBACK = "127.0.0.1"
DATABASE = "erp.sqlite"
CONFIGURATION, LOGGING = "trytond.conf", "logging.conf"
LOG = "tryton.log"
# Warnings and worse: what it says of every call would drown the rest.
QUIET = """\
[loggers]
keys = root, werkzeug
[handlers]
keys = stderr
[formatters]
keys = line
[logger_root]
level = WARNING
handlers = stderr
[logger_werkzeug]
level = ERROR
qualname = werkzeug
handlers =
[handler_stderr]
class = StreamHandler
formatter = line
[formatter_line]
format = %(levelname)s %(name)s %(message)s
"""
START_S = 120.0  # a slow machine needs about ten
STOP_S = 5.0
ATTEMPTS = 5


def free_port() -> int:
    """Return a port on loopback that nobody listens on."""
    with socket.socket() as probe:
        probe.bind((LOOPBACK, 0))
        port: int = probe.getsockname()[1]
        return port


def address(port: int) -> str:
    """Return where the database is spoken to: its calls go to `rpc/` below."""
    return f"http://{LOOPBACK}:{port}/erp/"


def write_configuration(directory: Path, port: int) -> Path:
    """Write the server's configuration; return where."""
    path = directory / CONFIGURATION
    path.write_text(
        f"[database]\nuri = sqlite://\npath = {directory}\n\n"
        f"[web]\nlisten = {LOOPBACK}:{port}\n\n"
        "[session]\nauthentications = password\n"
    )
    return path


def command(directory: Path, port: int) -> list[str]:
    """Return what runs the server on the database in `directory`."""
    configuration, logging = write_configuration(directory, port), directory / LOGGING
    logging.write_text(QUIET)
    return [
        str(PYTHON), str(VENV / "bin/trytond"), "-c", str(configuration), "--logconf", str(logging),
        "-d", "erp",
    ]  # fmt: skip


@contextlib.contextmanager
def serve(directory: Path, guard: Guard) -> Iterator[str]:
    """Run a server on the database in `directory`; yield its address. Raises NotAvailable."""
    server, port = start(directory, guard)
    try:
        yield address(port)
    finally:
        stop(server, guard)


def start(
    directory: Path, guard: Guard, port: int | None = None
) -> tuple[subprocess.Popen[bytes], int]:
    """Start a server and wait until it answers; return it and its port.

    Without `port` it takes a free one. Raises NotAvailable.
    """
    for _attempt in range(ATTEMPTS if port is None else 1):  # somebody may be quicker at the port
        at = free_port() if port is None else port
        with (directory / LOG).open("ab") as log:
            server = subprocess.Popen(
                command(directory, at), env=guard.environment(environment()), cwd=directory,
                stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT,
                start_new_session=True,
            )  # fmt: skip
        guard.watch(server.pid)
        if _answers(server, at):
            return server, at
        stop(server, guard)
    words = (directory / LOG).read_text(errors="replace").strip()[-2000:]
    raise NotAvailable(f"the server does not start:\n{words}")


def stop(server: subprocess.Popen[bytes], guard: Guard) -> None:
    """End a server and all that it started."""
    end(
        {server.pid: signal.SIGTERM},
        lambda: [server.pid] if server.poll() is None else [],
        grace=STOP_S,
    )
    server.wait(timeout=STOP_S)
    guard.forget(server.pid)


def _answers(server: subprocess.Popen[bytes], port: int) -> bool:
    """Wait until the server answers. False: it ended, or took too long."""
    deadline = time.monotonic() + START_S
    while server.poll() is None and time.monotonic() < deadline:
        if not what_is_bad(port) and server.poll() is None:
            return True
        time.sleep(POLL_S)
    return False


def what_is_bad(port: int) -> str:
    """Ask for a sign of life; return "" if there is one, else what came instead. Asks no proxy."""
    question = json.dumps({"id": 1, "method": "common.server.version", "params": []}).encode()
    request = urllib.request.Request(
        f"http://{LOOPBACK}:{port}/rpc/", question, {"Content-Type": "application/json"}
    )
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(request, timeout=5) as answer:
            return "" if "result" in json.loads(answer.read()) else "the ERP has no version"
    except (urllib.error.HTTPError, OSError, http.client.HTTPException, ValueError) as problem:
        return f"the ERP says: {problem}"
