"""Start processes so that none is ever left behind.

Everything a `Guard` covers carries a mark of its own in the environment, so
that a grandchild that made itself a new session is found as well. The guard is
a process of its own at the other end of a pipe: when the pipe closes without a
word, whoever held it is gone (kill -9 included), and the guard ends what is
left. Finding by mark needs /proc; elsewhere the process groups must do.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from threading import Event, Thread
from types import TracebackType
from typing import IO, NamedTuple, Self

ROOT = Path(__file__).resolve().parent.parent
PROC = Path("/proc")
GRACE_S = 25.0  # longer than what web and worker give to work under way, 10 and 20 s
ORPHANS_GRACE_S = 5.0
POLL_S = 0.1
MARK_PREFIX = "RECOURSE_RUN_"


class Running(NamedTuple):
    """One process as /proc shows it."""

    pid: int
    group: int
    marks: frozenset[str]  # `<mark>=<value>` for every mark of a guard in its environment


def running() -> list[Running]:
    """Return every live process that we may look into. Empty where there is no /proc."""
    found = []
    for entry in PROC.glob("[0-9]*"):
        try:
            state, _parent, group = (entry / "stat").read_text().rpartition(")")[2].split()[:3]
            environment = (entry / "environ").read_bytes()
        except OSError:  # it ended meanwhile, or belongs to somebody else
            continue
        if state in "ZX":
            continue
        lines = environment.decode("utf-8", "replace").split("\0")
        marks = frozenset(line for line in lines if line.startswith(MARK_PREFIX))
        found.append(Running(int(entry.name), int(group), marks))
    return found


def marked(mark: str, name: str | None = None) -> list[int]:
    """Return the live processes that carry `mark`: all of them, or only those of `name`."""
    wanted = f"{mark}=" if name is None else f"{mark}={name}"
    hit = str.startswith if name is None else str.__eq__
    me = os.getpid()
    return [p.pid for p in running() if p.pid != me and any(hit(m, wanted) for m in p.marks)]


def send(pids: Iterable[int], signum: int) -> None:
    """Signal each process; one that is gone already is what we wanted."""
    for pid in pids:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(pid, signum)


def end(
    polite: Mapping[int, int],
    find: Callable[[], Sequence[int]],
    *,
    grace: float = GRACE_S,
    hurry: Callable[[], bool] = lambda: False,
) -> list[int]:
    """End process groups, wait for all that belongs to them, kill what stays.

    Args:
        polite: process group to the signal that asks it to stop.
        find: returns whoever is still there, session of its own or not.
        grace: seconds to wait before the kill.
        hurry: cuts the wait short when it turns true.

    Returns:
        The processes that had to be killed.
    """
    for group, signum in polite.items():
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(group, signum)
    deadline = time.monotonic() + grace
    asked_orphans = False
    while (left := find()) and time.monotonic() < deadline and not hurry():
        if not asked_orphans and not any(pid in polite for pid in left):
            # Whoever would have passed the word on is gone. A parent that lives still may.
            asked_orphans = True
            send(left, signal.SIGTERM)
            deadline = min(deadline, time.monotonic() + ORPHANS_GRACE_S)
        time.sleep(POLL_S)
    killed = list(left)
    deadline = time.monotonic() + 5
    while left and time.monotonic() < deadline:
        send(left, signal.SIGKILL)
        time.sleep(POLL_S / 2)
        left = find()
    if not PROC.exists():
        for group in polite:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(group, signal.SIGKILL)
    return killed


class Guard:
    """Ends what it watches and removes what it was told to, once this process is gone.

    Use as a context manager. Leaving it in good order tells the guard that
    there is nothing to do; whoever enters it ends its own processes first.
    """

    def __init__(self, *, hold: Sequence[int] = ()) -> None:
        """Open files in `hold` (a lock, say) stay open until the guard is done too."""
        self.mark = MARK_PREFIX + secrets.token_hex(8).upper()
        self._process = subprocess.Popen(
            [sys.executable, "-IS", str(Path(__file__).resolve()), self.mark],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,  # Ctrl-C at the terminal is not for the guard
            pass_fds=tuple(hold),
            cwd="/",
        )

    def environment(self, base: Mapping[str, str], name: str = "") -> dict[str, str]:
        """Return `base` with the mark by which a process started with it is found again."""
        return {**base, self.mark: name or "yes"}

    def watch(self, group: int, signum: int = signal.SIGTERM) -> None:
        """End this process group with `signum`, if it comes to that."""
        self._tell("watch", group, int(signum))

    def forget(self, group: int) -> None:
        """This group has ended; its number may be somebody else's soon."""
        self._tell("forget", group)

    def remove(self, path: Path) -> None:
        """Delete this directory in the end: when the guard is dismissed, or has ended the rest."""
        self._tell("remove", str(path))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.dismiss()

    def dismiss(self) -> None:
        """Nothing is left to guard. Safe to call twice."""
        pipe = self._pipe()
        if not pipe.closed:
            self._tell("done")
            with contextlib.suppress(BrokenPipeError):
                pipe.close()
        self._process.wait(timeout=60)

    def _pipe(self) -> IO[bytes]:
        if self._process.stdin is None:
            raise RuntimeError("the guard was started without a pipe")
        return self._process.stdin

    def _tell(self, *words: object) -> None:
        pipe = self._pipe()
        if pipe.closed:
            return  # it was dismissed: nothing is left to guard
        with contextlib.suppress(BrokenPipeError):  # a guard that was killed guards no more
            pipe.write(json.dumps(words).encode() + b"\n")
            pipe.flush()


def stand_guard(mark: str, orders: Iterable[str]) -> None:
    """What the guard's own process does: listen, and act when the line goes dead."""
    groups: dict[int, int] = {}
    directories: list[str] = []
    for line in orders:
        match json.loads(line):
            case ["watch", int(group), int(signum)]:
                groups[group] = signum
            case ["forget", int(group)]:
                groups.pop(group, None)
            case ["remove", str(path)]:
                directories.append(path)
            case ["done"]:
                remove(directories)
                return

    def find() -> list[int]:
        mine = f"{mark}="
        return [
            p.pid
            for p in running()
            if p.group in groups or any(m.startswith(mine) for m in p.marks)
        ]

    end(groups, find)
    remove(directories)


def remove(directories: Iterable[str]) -> None:
    """Delete directories, as far as they are there."""
    for path in directories:
        shutil.rmtree(path, ignore_errors=True)


class Crew:
    """The processes of a Procfile: each with its log, started and ended by name.

    Children write straight into their log files, so that a slow reader of our
    own output never holds them up; a thread reads along for the terminal.
    """

    def __init__(
        self,
        commands: Mapping[str, str],
        *,
        guard: Guard,
        environment: Mapping[str, str],
        logs: Path,
        echo: IO[str] | None = None,
    ) -> None:
        """Nothing starts yet.

        Args:
            commands: by name, each one simple command of the shell.
            guard: ends the processes should we be gone.
            environment: what they get to see.
            logs: the directory for their logs.
            echo: gets every line that they write, with their names.
        """
        self._commands = dict(commands)
        self._guard = guard
        self._environment = environment
        self._logs = logs
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        self._echo = Echo(echo, logs, names=self._commands) if echo is not None else None
        logs.mkdir(parents=True, exist_ok=True)

    @property
    def names(self) -> list[str]:
        """The names in the Procfile, in its order."""
        return list(self._commands)

    def start(self, name: str) -> int:
        """Start one process of the Procfile and return its id."""
        if self.alive(name):
            raise RuntimeError(f"{name} is running")
        # `exec`: the process is then the program, not a shell that waits for it.
        process = self._spawn(name, ["/bin/sh", "-c", f"exec {self._commands[name]}"])
        self._processes[name] = process
        return process.pid

    def start_all(self) -> None:
        """Start every process of the Procfile, in its order."""
        for name in self._commands:
            self.start(name)

    def alive(self, name: str) -> bool:
        """Whether the process of this name runs."""
        process = self._processes.get(name)
        return process is not None and process.poll() is None

    def pid(self, name: str) -> int:
        """The id of the process of this name, as last started."""
        return self._processes[name].pid

    def pids(self, name: str) -> list[int]:
        """The process of this name and all that it started, whatever sessions they made."""
        return marked(self._guard.mark, name)

    def ended(self) -> dict[str, int]:
        """Return the exit codes of those that ended, by name. Negative: the signal's number."""
        codes = {name: process.poll() for name, process in self._processes.items()}
        return {name: code for name, code in codes.items() if code is not None}

    def kill(self, name: str, signum: int = signal.SIGKILL, *, alone: bool = False) -> None:
        """Send a signal to a process and to all that it started, and wait for its end.

        `alone` spares what it started: its children are then orphans, as after
        a crash of the parent only.
        """
        process = self._processes[name]
        others = [] if alone else [pid for pid in self.pids(name) if pid != process.pid]
        send([process.pid, *others], signum)
        process.wait(timeout=30)
        self._guard.forget(process.pid)
        if not alone:
            end({}, lambda: self.pids(name), grace=0 if signum == signal.SIGKILL else GRACE_S)

    def restart(self, name: str) -> int:
        """Start a process again. If it runs it is asked to stop first; orphans of it end."""
        if self.alive(name):
            end({self.pid(name): signal.SIGTERM}, lambda: self._left(name))
            self._processes[name].wait(timeout=5)
        else:
            end({}, lambda: self.pids(name), grace=0)
        self._guard.forget(self.pid(name))
        return self.start(name)

    def run(
        self, name: str, command: Sequence[str], *, stop: Callable[[], bool], timeout: float = 300
    ) -> int | None:
        """Run a command to its end, its output in the log `name`. None: `stop` turned true."""
        process = self._spawn(name, command)
        self._processes[name] = process
        deadline = time.monotonic() + timeout
        while process.poll() is None:
            if stop():
                return None
            if time.monotonic() > deadline:
                raise TimeoutError(f"{name} did not end within {timeout:.0f} s")
            time.sleep(POLL_S / 2)
        del self._processes[name]
        self._guard.forget(process.pid)
        return process.returncode

    def log(self, name: str) -> str:
        """Return what this process has written so far."""
        path = self._logs / f"{name}.log"
        return path.read_text(errors="replace") if path.exists() else ""

    def stop(self, *, hurry: Callable[[], bool] = lambda: False) -> list[int]:
        """End everything and return the processes that had to be killed. Safe to call twice."""
        groups = {process.pid: int(signal.SIGTERM) for process in self._processes.values()}
        killed = end(groups, self._left, hurry=hurry)
        for process in self._processes.values():
            process.wait(timeout=5)
            self._guard.forget(process.pid)
        if self._echo is not None:
            self._echo.close()
        return killed

    def _left(self, name: str | None = None) -> list[int]:
        """Whoever is still there. Asking also reaps our own children."""
        own = {n: p for n, p in self._processes.items() if name in (None, n)}
        waiting = [process.pid for process in own.values() if process.poll() is None]
        return list({*waiting, *marked(self._guard.mark, name)})

    def _spawn(self, name: str, command: Sequence[str]) -> subprocess.Popen[bytes]:
        with (self._logs / f"{name}.log").open("ab") as log:
            process = subprocess.Popen(
                command,
                cwd=ROOT,
                env=self._guard.environment(self._environment, name),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # Ctrl-C is ours to hand on, in order
            )
        self._guard.watch(process.pid)
        return process


class Echo:
    """Reads along in the logs and prints each line under the name of its process."""

    def __init__(self, out: IO[str], logs: Path, names: Iterable[str]) -> None:
        from honcho.printer import Printer

        self._printer = Printer(out, width=max(map(len, names), default=0))
        self._logs = {name: logs / f"{name}.log" for name in names}
        self._read = {n: p.stat().st_size for n, p in self._logs.items() if p.exists()}
        self._closing = Event()
        self._thread = Thread(target=self._follow, name="echo", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Print what is still unread, and stop."""
        self._closing.set()
        self._thread.join(timeout=5)

    def _follow(self) -> None:
        last = False
        while True:
            for name, path in self._logs.items():
                if not self._print_new(name, path, rest=last):
                    return
            if last:
                return
            last = self._closing.wait(2 * POLL_S)

    def _print_new(self, name: str, path: Path, *, rest: bool) -> bool:
        from honcho.printer import Message

        start = self._read.get(name, 0)
        try:
            with path.open("rb") as log:
                log.seek(start)
                text = log.read()
        except FileNotFoundError:
            return True
        if not rest:
            text = text[: text.rfind(b"\n") + 1]  # a half line waits for its other half
        self._read[name] = start + len(text)
        if text:
            at = datetime.now().astimezone()
            try:
                self._printer.write(
                    Message(type="line", data=text, time=at, name=name, colour=None)
                )
            except (OSError, ValueError):
                return False  # nobody reads any more; the log files have it all
        return True


if __name__ == "__main__":
    for quiet in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(quiet, signal.SIG_IGN)  # only the end of the line ends a guard
    stand_guard(sys.argv[1], sys.stdin)
