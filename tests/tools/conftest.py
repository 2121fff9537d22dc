from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tools.processes import ROOT, running

STAND_IN = Path(__file__).with_name("stand_in.py")


def until(true, *, seconds=20.0):
    """Wait for a condition; return its value, or fail the test."""
    deadline = time.monotonic() + seconds
    while not (value := true()):
        if time.monotonic() > deadline:
            pytest.fail(f"not within {seconds} s")
        time.sleep(0.05)
    return value


def carrying(words):
    """Live processes that have this in their environment."""
    found = []
    for process in running():
        try:
            environment = Path(f"/proc/{process.pid}/environ").read_bytes()
        except OSError:
            continue
        if words.encode() in environment.split(b"\0"):
            found.append(process.pid)
    return found


def command_line(pid):
    """The words a process was started with. None, once it is gone."""
    return read(Path(f"/proc/{pid}/cmdline")).split("\0")[:-1]


def read(path):
    """The text of a file, "" where there is none."""
    try:
        return path.read_text(errors="replace")
    except OSError:
        return ""


@pytest.fixture
def stand_ins(tmp_path):
    """Write a Procfile whose processes are stand-ins: `stand_ins(web="web", clock="sleep")`."""

    def write(**parts):
        path = tmp_path / "Procfile"
        command = f'"{sys.executable}" "{STAND_IN}"'
        path.write_text("".join(f"{name}: {command} {part}\n" for name, part in parts.items()))
        return path

    return write


class Program:
    """A program under test, with all that carries its label in the environment."""

    def __init__(self, words, environment, label, output):
        self.label = label
        self._output = output
        with output.open("wb") as out:
            self.process = subprocess.Popen(
                words,
                cwd=ROOT,
                env={**environment, "TEST_LABEL": label},
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    @property
    def output(self):
        return self._output.read_text(errors="replace")

    def everyone(self):
        """The processes of the program, all sessions, its guard included."""
        return carrying(f"TEST_LABEL={self.label}")

    def says(self, words, *, seconds=30.0):
        """Wait until it has printed this."""
        until(lambda: words in self.output or self.process.poll() is not None, seconds=seconds)
        assert words in self.output

    def send(self, signum):
        self.process.send_signal(signum)

    def ends(self, *, seconds=30.0):
        """Wait for its end and return its exit code."""
        return self.process.wait(timeout=seconds)

    def sweep(self):
        """End what the test left over."""
        for pid in self.everyone():
            os.kill(pid, signal.SIGKILL)
        self.process.kill()
        self.process.wait(timeout=10)


@pytest.fixture
def start(tmp_path, request):
    """Start a program; whatever it leaves behind is ended after the test."""
    programs = []

    def begin(*words, **environment):
        inherited = {k: v for k, v in os.environ.items() if k not in {"PORT", "SPEED", "KEEP"}}
        label = f"{os.getpid()}-{request.node.name}-{len(programs)}"
        output = tmp_path / f"output-{len(programs)}"
        program = Program(words, {**inherited, **environment}, label, output)
        programs.append(program)
        return program

    yield begin
    for program in programs:
        program.sweep()
