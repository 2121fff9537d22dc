"""Run all of Recourse on this machine: `make demo`.

`Demo` does the work and can be used from tests and stories, several at once;
`main` adds what a person at a terminal needs.
"""

from __future__ import annotations

import argparse
import contextlib
import errno
import fcntl
import hashlib
import http.client
import json
import os
import secrets
import shlex
import shutil
import signal
import socket
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from types import FrameType, TracebackType
from typing import IO, Any, Self
from urllib.parse import quote

from environ import Env
from honcho.environ import parse_procfile

from tools.processes import POLL_S, PROC, ROOT, Crew, Guard
from tools.tryton import serving, template
from tools.tryton.books import Books
from tools.tryton.environment import environment
from tools.tryton.rpc import Rpc

LOOPBACK = "127.0.0.1"
USUAL_PORT = 8000
TARGETS = ("demo", "tryton")
ERP_PREPARED_S = 2400.0  # the first time, on a machine that has other work to do
PATIENCE_S = 120.0  # real seconds until everything must be good; a slow machine needs about 20
SQLITE = "recourse.sqlite3"
TARGET = "target.sqlite3"  # the books of the system that the demo acts on
ERP = "erp"  # the directory of the ERP's, where there is one
SANDBOX = "sandbox.sqlite3"  # and other books, in which undoing them is rehearsed
# Shared by all demos of this environment, whose packages have static files as well.
STATIC = Path(sys.prefix) / "demo-static"
# Written by a demo into its directory, and gone when the next one starts afresh. The secrets stay.
LEAVINGS = ("mail", "log", "seals.jsonl")


class DemoError(Exception):
    """The demo cannot start, or cannot go on. The message is for the person who started it."""


class Stopped(Exception):
    """Somebody asked the demo to stop while it was starting."""


class Demo:
    """Web, clock, worker, a target and its sandbox, in a directory and on a database of their own.

    A context manager: inside it everything runs and is good, after it nothing
    is left. Should this process be killed, a guard ends the rest.

        with Demo(speed=600) as demo:
            ...  # demo.url, demo.users["cfo"]["password"], demo.agents["ap-agent"]["token"]
    """

    def __init__(
        self,
        *,
        port: int | None = None,
        speed: float = 1.0,
        target: str = "demo",
        var: Path | None = None,
        database_url: str | None = None,
        keep: bool = False,
        demo_file: Path | None = None,
        procfile: Path = ROOT / "Procfile",
        prepare: bool = True,
        requests: bool = False,
        patience: float = PATIENCE_S,
        environment: Mapping[str, str] | None = None,
        echo: IO[str] | None = None,
        say: Callable[[str], None] = lambda line: None,
        should_stop: Callable[[], bool] = lambda: False,
        hurry: Callable[[], bool] = lambda: False,
    ) -> None:
        """Nothing happens yet.

        Args:
            port: the port of `web`. None: any free one.
            speed: business seconds in a real one.
            target: `demo`: a small ledger of our own. `tryton`: a real ERP beside it, which takes
                the actions that an ERP has. Started with `keep` on its books, a demo has it anyway.
            var: where everything is written. None: a new directory, removed at the end.
            database_url: as DATABASE_URL. None: an SQLite file in `var`.
            keep: go on with the data that is there; otherwise start afresh.
            demo_file: where to write address and log-ins. None: `demo.json` in `var`.
            procfile: what to run, beside the target.
            prepare: migrate, collect static files and seed before the start.
            requests: seed some that wait for somebody, so that inboxes are not empty.
            patience: real seconds to wait for `/readyz` and `/status`.
            environment: further variables for the processes.
            echo: gets every line that the processes write.
            say: told what is happening, a line at a time.
            should_stop: asked all the time while starting; true makes it give up with `Stopped`.
            hurry: asked all the time while stopping; true kills what is left at once.
        """
        if target not in TARGETS:
            raise ValueError(f"{target!r} is no target of the demo: {', '.join(TARGETS)}")
        self.speed = speed
        self.facts: dict[str, Any] = {}
        self.port = port or free_port()
        self.url = f"http://{LOOPBACK}:{self.port}"
        self._target_port = free_port(but=[self.port])
        self._sandbox_port = free_port(but=[self.port, self._target_port])
        self._target_token = self._sandbox_token = ""
        self._own_var = var is None
        self.var = (var or Path(tempfile.mkdtemp(prefix="recourse-demo-"))).resolve()
        self.demo_file = demo_file or self.var / "demo.json"
        self._database_url = database_url
        self._keep = keep
        self.on_erp = target == "tryton" or (keep and (self.erp_directory / template.KEYS).exists())
        self._erp_port = 0
        self._procfile = procfile
        self._prepare = prepare
        self._requests = requests
        self._patience = patience
        self._echo = echo
        self._say = say
        self._should_stop = should_stop
        self._hurry = hurry
        self._further = dict(environment or {})
        self._lock: int | None = None
        self._guard: Guard | None = None
        self._crew: Crew | None = None

    # --- For tests and stories ----------------------------------------------------------------
    @property
    def users(self) -> dict[str, dict[str, Any]]:
        """People by user name: `username`, `password`, `roles`."""
        return {user["username"]: user for user in self.facts.get("users", [])}

    @property
    def agents(self) -> dict[str, dict[str, Any]]:
        """Agents by name: `name`, `token`."""
        return {agent["name"]: agent for agent in self.facts.get("agents", [])}

    @property
    def target(self) -> dict[str, str]:
        """The system that the demo acts on: `url`, `token`."""
        self._target_token = self._target_token or kept_secret(self.var / "target_token")
        return {"url": f"http://{LOOPBACK}:{self._target_port}", "token": self._target_token}

    @property
    def erp_directory(self) -> Path:
        """Where the ERP has its database and its log."""
        return self.var / ERP

    @property
    def erp(self) -> dict[str, str]:
        """The ERP, database included: `url`, and the `user` and `password` that Recourse logs in with.

        Raises DemoError if this demo has none.
        """
        if not self._erp_port:
            raise DemoError("This demo has no ERP. TARGET=tryton gives it one.")
        keys = template.keys_of(self.erp_directory)
        url = serving.address(self._erp_port)
        return {"url": url, "user": keys["user"], "password": keys["password"]}

    def erp_books(self) -> Books:
        """Log in to the ERP beside Recourse, to see what its books say."""
        keys = template.keys_of(self.erp_directory)
        return Books(Rpc(self.erp["url"], template.ADMIN, keys["admin_password"]), keys["facts"])

    @property
    def sandbox(self) -> dict[str, str]:
        """Where undoing is rehearsed: `url`, `token`."""
        self._sandbox_token = self._sandbox_token or kept_secret(self.var / "sandbox_token")
        return {"url": f"http://{LOOPBACK}:{self._sandbox_port}", "token": self._sandbox_token}

    @property
    def environment(self) -> dict[str, str]:
        """What the processes get to see: settings read in it are those of this demo."""
        database = self._database_url or f"sqlite:///{quote(str(self.var / SQLITE))}"
        inherited = {k: v for k, v in os.environ.items() if k != "DJANGO_SETTINGS_MODULE"}
        return {
            **inherited,
            "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")]),
            "PYTHONUNBUFFERED": "1",
            "RECOURSE_PROFILE": "demo",
            "RECOURSE_VAR": str(self.var),
            "STATIC_ROOT": str(STATIC),
            "DATABASE_URL": database,
            "PORT": str(self.port),
            "SITE_URL": self.url,
            "RECOURSE_TARGETS": "demo,tryton" if self._erp_port else "demo",
            "TARGET_DEMO_URL": self.target["url"],
            "TARGET_DEMO_TOKEN": self.target["token"],
            "TARGET_DEMO_SANDBOX_URL": self.sandbox["url"],
            "TARGET_DEMO_SANDBOX_TOKEN": self.sandbox["token"],
            **self._where_erp_is(),
            **self._further,
        }

    def _where_erp_is(self) -> dict[str, str]:
        if not self._erp_port:
            return {}
        return {f"TARGET_TRYTON_{name.upper()}": value for name, value in self.erp.items()}

    def pid(self, name: str) -> int:
        """The process id of `web`, `clock`, `worker`, `target` or `erp`, as last started."""
        return self._running.pid(name)

    def pids(self, name: str) -> list[int]:
        """That process and everything it started."""
        return self._running.pids(name)

    def kill(self, name: str, signum: int = signal.SIGKILL, *, alone: bool = False) -> None:
        """End a process and what it started, without warning; `alone` spares what it started."""
        self._running.kill(name, signum, alone=alone)

    def restart(self, name: str) -> None:
        """Start a process again, ended or not."""
        self._running.restart(name)

    def log(self, name: str) -> str:
        """Return all that a process wrote, or a step of the start: migrate, collectstatic, seed."""
        return self._running.log(name)

    def ended(self) -> dict[str, int]:
        """Return exit codes of processes that ended, by name."""
        return self._running.ended()

    def manage(self, *arguments: str, timeout: float = 120) -> tuple[int, str]:
        """Run `manage.py` beside the processes; return its exit code and what it wrote."""
        command = [sys.executable, "manage.py", *arguments]
        name = f"manage-{arguments[0]}"
        before = len(self.log(name))
        code = self._running.run(name, command, stop=lambda: False, timeout=timeout)
        return code if code is not None else -1, self.log(name)[before:]

    def status(self) -> dict[str, Any]:
        """Return what `/status` says now. `{}` if it does not answer with JSON."""
        _, body = get(f"{self.url}/status")
        with contextlib.suppress(ValueError):
            facts = json.loads(body)
            if isinstance(facts, dict):
                return facts
        return {}

    # --- From start to stop -------------------------------------------------------------------
    def __enter__(self) -> Self:
        try:
            self._start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    def stop(self) -> list[int]:
        """End everything; return the processes that had to be killed. Safe to call twice."""
        killed: list[int] = []
        if self._crew is not None:
            killed = self._crew.stop(hurry=self._hurry)
        if self._own_var:
            shutil.rmtree(self.var, ignore_errors=True)
        if self._guard is not None:
            self._guard.dismiss()
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None
        return killed

    @property
    def _running(self) -> Crew:
        if self._crew is None:
            raise DemoError("The demo has not been started.")
        return self._crew

    def _start(self) -> None:
        self._lock = lock(self.var)
        self._guard = Guard(hold=[self._lock])
        if self._own_var:
            self._guard.remove(self.var)
        commands = dict(parse_procfile(self._procfile.read_text()).processes)
        commands["target"] = books_command(
            self.var / TARGET, self._target_port, "TARGET_DEMO_TOKEN"
        )
        commands["sandbox"] = books_command(
            self.var / SANDBOX, self._sandbox_port, "TARGET_DEMO_SANDBOX_TOKEN"
        )
        if self.on_erp:
            self._lay_out_erp()
            commands["erp"] = self._erp_command()
        self._crew = Crew(
            commands,
            guard=self._guard,
            environment=self.environment,
            logs=self.var / "log",
            echo=self._echo,
        )
        self.demo_file.unlink(missing_ok=True)
        draft = self.var / "demo.json.new"
        draft.unlink(missing_ok=True)
        if self._prepare:
            self._say(f"Preparing a demo in {self.var}.")
            tables_stand = self._make_room()
            if not self._keep:
                for name in (TARGET, SANDBOX):
                    for ending in ("", "-wal", "-shm"):
                        (self.var / f"{name}{ending}").unlink(missing_ok=True)
                if not self.on_erp:
                    shutil.rmtree(self.erp_directory, ignore_errors=True)  # of another demo
            for name in ("target", "sandbox", "erp"):  # at once: a port may not stay free for long
                if name in self._crew.names:
                    self._crew.start(name)
            if not tables_stand:
                self._step("migrate", "migrate", "--no-input")
            self._collect_static()
            # What is about to go need not be in order.
            fresh = [] if self._keep else ["--fresh", "--skip-checks"]
            where = ["--write-demo-file", str(draft), "--url", self.url]
            self._step("seed", "seed_demo", f"--speed={self.speed:g}", *fresh, *where)
            self.facts = json.loads(draft.read_text())
            self._rehearse()
            if self._requests and not self._keep:
                self._step("requests", "seed_demo", "--with-requests")
        self._say("Starting " + ", ".join(self._crew.names) + ".")
        for name in self._crew.names:
            if not self._crew.alive(name) and name not in self._crew.ended():
                self._crew.start(name)
        self._wait_until_good()
        if draft.exists():
            draft.chmod(0o600)  # it names passwords and tokens
            shutil.move(draft, self.demo_file)

    def _lay_out_erp(self) -> None:
        """Have the ERP installed and its books in `var`, those of the last run if they are to be kept."""
        if self._guard is None:
            raise RuntimeError("nothing guards the demo")
        kept = self._keep and (self.erp_directory / template.KEYS).exists()
        if self._keep and not kept and (self.var / SQLITE).exists():
            raise DemoError(
                "The data of the last run was made without the ERP. Start afresh, without KEEP=1, "
                "or without TARGET=tryton."
            )
        self._say(
            "Preparing Tryton, the ERP. The first time it is installed and its books are filled, "
            "which takes two or three minutes."
        )
        crew = Crew({}, guard=self._guard, environment=os.environ, logs=self.var / "log")
        try:
            code = crew.run(
                "prepare-erp", [sys.executable, "-m", "tools.tryton", "prepare"],
                stop=self._should_stop, timeout=ERP_PREPARED_S,
            )  # fmt: skip
            words = crew.log("prepare-erp")
        finally:
            crew.stop()
        if code is None:
            raise Stopped
        if code != 0:
            raise DemoError(tail(words))
        if not kept:
            shutil.rmtree(self.erp_directory, ignore_errors=True)
            template.copy(template.place(), self.erp_directory)
        self._erp_port = free_port(but=[self.port, self._target_port, self._sandbox_port])

    def _erp_command(self) -> str:
        """Return what runs the ERP, with nothing in its environment that is about another Python."""
        foreign = [f"--unset={name}" for name in os.environ if name not in environment()]
        return shlex.join(["env", *foreign, *serving.command(self.erp_directory, self._erp_port)])

    def _rehearse(self) -> None:
        """Have the undo of each action rehearsed, before anybody asks for one."""
        self._say("Rehearsing on the sandbox that each action can be undone.")
        deadline = time.monotonic() + self._patience
        while trouble := what_target_is_bad(self.sandbox["url"]):
            self.raise_if_ended()
            if self._should_stop():
                raise Stopped
            if time.monotonic() > deadline:
                raise DemoError(f"The sandbox does not answer: {trouble}")
            time.sleep(POLL_S)
        self._step("drills", "rollback_drill", "--where-there-is-a-sandbox")

    def _make_room(self) -> bool:
        """Clear what an earlier demo left, and nothing that is not a demo's.

        Returns:
            Whether tables of an earlier demo, maybe of another shape, still
            stand on a server. Seeding afresh drops and makes them.
        """
        if self._database_url is None and not (self.var / SQLITE).exists():
            return False  # nothing to look at, and a second saved
        code = self._running.run(
            "database", [sys.executable, "-m", "tools.database"], stop=self._should_stop
        )
        words = self.log("database")
        if code is None:
            raise Stopped
        if code != 0:
            raise DemoError(f"The database does not answer as it should.\n{tail(words)}")
        found = json.loads(words.splitlines()[-1])
        if found["state"] == "other":
            raise DemoError(
                "The database has data in it that no demo wrote, so the demo leaves it alone. "
                "Point DATABASE_URL to an empty one."
            )
        if self._keep:
            if found["state"] == "demo":
                self._say("Going on with the data of the last run (KEEP=1).")
            return False
        if found["state"] == "demo":
            self._say("Starting afresh: the data of the last run goes. KEEP=1 keeps it.")
        if found["file"]:
            for ending in ("", "-wal", "-shm", "-journal"):
                Path(found["file"] + ending).unlink(missing_ok=True)
        for name in LEAVINGS:
            path = self.var / name
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)
        (self.var / "log").mkdir()
        return bool(found["state"] == "demo" and not found["file"])

    def _collect_static(self) -> None:
        """Collect static files where they changed since the last time: compressing takes long."""
        with STATIC.with_suffix(".stamp").open("a+") as stamp:
            while not locked(stamp.fileno()):  # another demo is collecting them
                if self._should_stop():
                    raise Stopped
                time.sleep(2 * POLL_S)
            now = static_sources()
            stamp.seek(0)
            if stamp.read() != now or not STATIC.is_dir():
                stamp.truncate(0)
                self._step("collectstatic", "collectstatic", "--no-input", "--verbosity=0")
                stamp.write(now)

    def _step(self, name: str, *arguments: str) -> None:
        command = [sys.executable, "manage.py", *arguments]
        code = self._running.run(name, command, stop=self._should_stop)
        if code is None:
            raise Stopped
        if code != 0:
            raise DemoError(f"`manage.py {arguments[0]}` failed ({code}).\n{tail(self.log(name))}")

    def _wait_until_good(self) -> None:
        deadline = time.monotonic() + self._patience
        trouble = "nothing answered yet"
        while True:
            if self._should_stop():
                raise Stopped
            self.raise_if_ended()
            trouble = (
                what_is_bad(self.url)
                or what_target_is_bad(self.target["url"])
                or (serving.what_is_bad(self._erp_port) if self._erp_port else "")
            )
            if not trouble:
                return
            if time.monotonic() > deadline:
                logs = "\n".join(
                    f"--- {name}\n{tail(self.log(name), 8)}" for name in self._running.names
                )
                raise DemoError(f"Not good after {self._patience:.0f} s: {trouble}\n{logs}")
            time.sleep(2 * POLL_S)

    def raise_if_ended(self) -> None:
        """Raise DemoError if any process has ended, with the last it wrote."""
        for name, code in self.ended().items():
            how = f"exit code {code}" if code >= 0 else signal.Signals(-code).name
            raise DemoError(f"{name} ended ({how}).\n{tail(self.log(name))}")


def books_command(file: Path, port: int, token: str) -> str:
    """Return the command of a target with books of its own. `token` names the variable that has its token."""
    place = ["--db", str(file), "--host", LOOPBACK, "--port", str(port)]
    command = shlex.join([sys.executable, "-m", "demo_target", *place])
    return f'env DEMO_TARGET_TOKEN="${token}" {command}'


def free_port(*, but: Collection[int] = ()) -> int:
    """Return a port on loopback that nobody listens on, and none of these."""
    with socket.socket() as probe:
        probe.bind((LOOPBACK, 0))
        port: int = probe.getsockname()[1]
        return free_port(but=but) if port in but else port


def kept_secret(path: Path) -> str:
    """Return the secret in a file that only its owner can read, made on first use."""
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        draft = path.with_suffix(".new")
        draft.touch(mode=0o600)
        draft.write_text(secrets.token_urlsafe(32))
        draft.replace(path)
    return path.read_text()


def is_free(port: int) -> bool:
    """Whether `web` could listen on this port."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as gunicorn does
        try:
            probe.bind((LOOPBACK, port))
        except PermissionError:
            raise DemoError(
                f"Port {port} may not be used by this user. Set PORT above 1023."
            ) from None
        except OSError as problem:
            if problem.errno == errno.EADDRINUSE:
                return False
            raise
    return True


def choose_port(wanted: int, say: Callable[[str], None]) -> int:
    """Return `wanted`, or the next free one, and say so."""
    if wanted == 0 or is_free(wanted):
        return wanted or free_port()
    nearby = (port for port in range(wanted + 1, min(wanted + 100, 65536)) if is_free(port))
    port = next(nearby, None) or free_port()
    say(f"Port {wanted} is taken, so this demo uses port {port}. Set PORT to choose another.")
    return port


def lock(var: Path) -> int:
    """Take the directory for one demo; return the open file that holds it."""
    var.mkdir(parents=True, exist_ok=True)
    handle = os.open(var / "demo.lock", os.O_RDWR | os.O_CREAT, 0o600)
    if not locked(handle):
        owner = os.read(handle, 100).decode().strip()
        os.close(handle)
        raise DemoError(
            f"Another demo uses {var} (process {owner}). Stop it first, or set RECOURSE_VAR to "
            "another directory for this one."
        )
    os.ftruncate(handle, 0)
    os.pwrite(handle, str(os.getpid()).encode(), 0)
    return handle


def locked(handle: int) -> bool:
    """Take an open file for this process, until it is closed. False: another has it."""
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def static_sources() -> str:
    """Return a digest that changes with any static file of ours and any requirement."""
    digest = hashlib.sha256((ROOT / "requirements/runtime.txt").read_bytes())
    for path in sorted([*ROOT.glob("static/**/*"), *ROOT.glob("*/static/**/*")]):
        facts = path.stat()
        digest.update(f"{path} {facts.st_size} {facts.st_mtime_ns}\n".encode())
    return digest.hexdigest()


def get(url: str) -> tuple[int, bytes]:
    """Return status and body; 0 and the reason if there was no answer. Asks no proxy."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(url, timeout=5) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as answer:
        with answer:
            return answer.code, answer.read()
    except (OSError, http.client.HTTPException) as problem:
        return 0, str(problem).encode()


def what_is_bad(url: str) -> str:
    """Ask `/readyz` and `/status`; return "" if both are good, else which is not, and why."""
    code, body = get(f"{url}/readyz")
    if code != 200:
        return f"/readyz says {code}: {body.decode(errors='replace')[:500]}"
    code, body = get(f"{url}/status")
    try:
        facts = json.loads(body)
        if facts["ok"] is True:
            return ""
    except (ValueError, KeyError, TypeError):
        return f"/status says {code}, and not what was expected: {body[:500]!r}"
    bad = {k: v for k, v in facts.items() if isinstance(v, dict) and v.get("ok") is False}
    return f"/status is not ok: {json.dumps(bad or facts)}"


def what_target_is_bad(url: str) -> str:
    """Ask the target for a sign of life; return "" if there is one, else what it said."""
    code, body = get(f"{url}/healthz")
    return "" if code == 200 else f"the target says {code}: {body.decode(errors='replace')[:500]}"


def tail(text: str, lines: int = 20) -> str:
    """Return the last lines of a log."""
    return "\n".join(text.splitlines()[-lines:]) or "(it wrote nothing)"


# --- At the terminal ---------------------------------------------------------------------------
class Terminal:
    """Prints, listens to signals, and notices when whoever started us is gone."""

    def __init__(self) -> None:
        self.signals: list[int] = []
        self._parent = os.getppid()
        self._make_listens = what_make_catches(self._parent)
        for signum in (signal.SIGINT, signal.SIGTERM):
            signal.signal(signum, self._hear)
        if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:  # nohup means it
            signal.signal(signal.SIGHUP, self._hear)

    def _hear(self, signum: int, frame: FrameType | None) -> None:
        self.signals.append(signum)

    def orphaned(self) -> bool:
        """Whether our parent ended: `make` was killed, say.

        Asked of the system each time. Its death signal (PR_SET_PDEATHSIG) is
        tied to the thread that started us and comes too early from a pool.
        """
        return os.getppid() != self._parent

    def make_was_interrupted(self) -> bool:
        """Whether `make` alone got a signal, and now waits for us without handing it on.

        It hands on SIGTERM only. For the others it restores the default and
        waits for its children, which is all that can be seen of it.
        """
        return bool(self._make_listens & ~what_make_catches(self._parent))

    def should_stop(self) -> bool:
        """Whether somebody asked us to, or nobody is left to ask."""
        return bool(self.signals) or self.orphaned() or self.make_was_interrupted()

    def hurry(self) -> bool:
        """A second Ctrl-C: do not wait for anything."""
        return self.signals.count(signal.SIGINT) > 1

    def why(self) -> str:
        """What made us stop, in words."""
        if self.signals:
            return {signal.SIGINT: "Ctrl-C"}.get(
                signal.Signals(self.signals[0]), signal.Signals(self.signals[0]).name
            )
        return "the process that started this one ended or was interrupted"

    def say(self, line: str) -> None:
        """Print a line. Without a reader it goes nowhere, which must not stop the demo."""
        try:
            print(line, flush=True)
        except OSError:
            with contextlib.suppress(OSError):
                os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def what_make_catches(pid: int) -> int:
    """Return the bits of interrupts that `make`, process `pid`, handles. 0: it is not make."""
    try:
        if "make" not in (PROC / str(pid) / "comm").read_text():
            return 0
        status = (PROC / str(pid) / "status").read_text()
    except OSError:
        return 0
    caught = next(
        (line.split()[1] for line in status.splitlines() if line.startswith("SigCgt")), "0"
    )
    interrupts = sum(1 << (n - 1) for n in (signal.SIGINT, signal.SIGHUP, signal.SIGQUIT))
    return int(caught, 16) & interrupts


def introduce(demo: Demo, say: Callable[[str], None]) -> None:
    """Print the address and the log-ins."""
    say("")
    say(f"Recourse runs at {demo.url}")
    if demo.speed != 1:
        say(f"Business time runs {demo.speed:g} times as fast as the clock on the wall.")
    if demo.users:
        wide = max(map(len, demo.users)) + 2
        secret = max(len(user["password"]) for user in demo.users.values()) + 2
        say("")
        say(f"{'Log in as':<{wide}}{'password':<{secret}}roles")
        for name, user in demo.users.items():
            say(f"{name:<{wide}}{user['password']:<{secret}}{', '.join(user.get('roles', []))}")
    for name, agent in demo.agents.items():
        say(f"\nAgent {name}, token {agent['token']}")
    say(f"\nTarget {demo.target['url']}, token {demo.target['token']}")
    if demo.on_erp:
        erp = demo.erp
        say(f"ERP    {erp['url']}, user {erp['user']}, password {erp['password']}")
        say(
            "       (Tryton's own client opens it: the host and the port of this address, database erp)"
        )
    say(f"\nAll of this is in {demo.demo_file}. Ctrl-C stops the demo.\n")


def read_options(arguments: list[str] | None, environ: Mapping[str, str]) -> argparse.Namespace:
    """Read the command line; the environment gives the defaults, so that `make` can set them."""
    parser = argparse.ArgumentParser(prog="python -m tools.demo", description=__doc__)
    parser.add_argument("--port", type=int, default=environ.get("PORT") or USUAL_PORT)
    parser.add_argument("--speed", type=float, default=environ.get("SPEED") or 1.0)
    parser.add_argument(
        "--target", choices=TARGETS, default=environ.get("TARGET") or TARGETS[0],
        help="what payments, orders and customers are entered in: tryton is a real ERP",
    )  # fmt: skip
    parser.add_argument("--keep", action="store_true", default=environ.get("KEEP") == "1")
    parser.add_argument("--var", type=Path, default=environ.get("RECOURSE_VAR") or ROOT / "var")
    parser.add_argument("--demo-file", type=Path, default=ROOT / ".demo.json")
    parser.add_argument("--seconds", type=float, help="stop by itself after so long")
    parser.add_argument("--patience", type=float, default=PATIENCE_S)
    parser.add_argument("--procfile", type=Path, default=ROOT / "Procfile")
    parser.add_argument("--no-prepare", action="store_true", help="only start the processes")
    options = parser.parse_args(arguments)
    if options.target not in TARGETS:
        parser.error(f"TARGET is {' or '.join(TARGETS)}")
    if not 0 < options.speed < float("inf"):
        parser.error("SPEED is how many business seconds pass in a real one: 1, 60, 0.5")
    if not 0 <= options.port < 65536:
        parser.error("PORT is a number from 0 (any free port) to 65535")
    return options


def main(arguments: list[str] | None = None) -> int:
    """Run the demo until told to stop. 0: it was stopped. 1: it failed, and said why."""
    Env.read_env(ROOT / ".env")  # as the settings do
    options = read_options(arguments, os.environ)
    terminal = Terminal()
    say = terminal.say
    failed = 0
    try:
        demo = Demo(
            port=choose_port(options.port, say),
            speed=options.speed,
            target=options.target,
            var=options.var,
            database_url=os.environ.get("DATABASE_URL") or None,
            keep=options.keep,
            demo_file=options.demo_file,
            procfile=options.procfile,
            prepare=not options.no_prepare,
            requests=True,
            patience=options.patience,
            echo=sys.stdout,
            say=say,
            should_stop=terminal.should_stop,
            hurry=terminal.hurry,
        )
        with demo:
            introduce(demo, say)
            given = float("inf") if options.seconds is None else options.seconds
            until = time.monotonic() + given
            while not terminal.should_stop() and time.monotonic() < until:
                demo.raise_if_ended()
                time.sleep(POLL_S)
            why = terminal.why() if terminal.should_stop() else f"{options.seconds:g} s are over"
            say(f"Stopping: {why}.")
    except Stopped:
        say(f"Stopped while starting: {terminal.why()}.")
    except DemoError as problem:
        say(f"The demo stopped: {problem}")
        failed = 1
    else:
        say("Stopped. No process is left.")
    return failed


if __name__ == "__main__":
    sys.exit(main())
