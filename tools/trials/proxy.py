"""mitmproxy between us and a target, in a process and an environment of its own."""

from __future__ import annotations

import json
import subprocess
import time
from itertools import count
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Self
from urllib.parse import urlsplit

import httpx2

from tools.postgres import LOOPBACK, free_port
from tools.processes import POLL_S, ROOT, Guard
from tools.trials.targets import Target

ENVIRONMENT = ROOT / ".mitmproxy"  # made by the Makefile from requirements/mitmproxy.txt
ADDON = Path(__file__).with_name("faults_addon.py")
START_S = 60.0
OVER_S = 30.0
LATE = 2.0  # times the patience of whoever calls
FAULTS = {
    "lost": "done, and its answer lost",
    "reset": "reset before it reached the target",
    "503": "answered with 503",
    "429": "answered with 429 and Retry-After",
    "truncated": "done, and its answer cut short",
    "slow": "done, and answered when nobody waits any more",
    "late": "done when nobody waits any more",
}


class NotInstalled(Exception):
    """There is no mitmproxy. The message says how to have one."""


class Call(NamedTuple):
    """One call of a run, as the proxy saw it."""

    n: int
    what: str  # "POST /payments"
    fault: str


class Proxy:
    """Runs for as long as it is entered, before one target."""

    def __init__(self, directory: Path, target: Target) -> None:
        self._directory = directory / "proxy"
        self._target = target
        self._guard: Guard | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._port = 0
        self._runs = count(1)
        self._run = ""

    def __enter__(self) -> Self:
        program = ENVIRONMENT / "bin" / "mitmdump"
        if not program.exists():
            raise NotInstalled(f"{program} is not there: run `make fault-sweep`, which installs it")
        self.make_directory()
        self.plan()
        self._guard = Guard()
        behind = urlsplit(self._target.address()["url"])
        self._port = free_port()
        self._process = subprocess.Popen(
            [
                program, "--quiet", "--mode", f"reverse:{behind.scheme}://{behind.netloc}",
                "--listen-host", LOOPBACK, "--listen-port", str(self._port),
                "--set", f"confdir={self._directory}", "--set", "connection_strategy=lazy",
                "--scripts", ADDON,
            ],
            env=self._guard.environment({
                "TRIALS_PROXY": str(self._directory), "TRIALS_PROXY_WAIT_S": str(LATE * self._target.patience_s),
            }),
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
        )  # fmt: skip
        self._wait_until_it_answers()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._process is not None:
            self._process.terminate()
            self._process.wait(timeout=10)
        if self._guard is not None:
            self._guard.dismiss()

    def make_directory(self) -> None:
        """Make what the proxy is told and tells through."""
        self._directory.mkdir()

    def address(self) -> dict[str, str]:
        """Return the target's address, through here."""
        behind = self._target.address()
        url = urlsplit(behind["url"])._replace(netloc=f"{LOOPBACK}:{self._port}").geturl()
        return {**behind, "url": url}

    def plan(self, *, at: int = 0, fault: str = "") -> None:
        """Begin a run. Its call number `at`, from 1, goes wrong once; none with 0."""
        self._run = str(next(self._runs))
        fresh = self._directory / "plan.fresh"
        fresh.write_text(json.dumps({"run": self._run, "at": at, "fault": fault}))
        fresh.rename(self._directory / "plan.json")

    def calls(self) -> list[Call]:
        """Return the calls of this run so far."""
        return [
            Call(line["n"], line["call"], line["fault"])
            for line in self._log()
            if line["what"] == "in"
        ]

    def be_quiet(self, within_s: float = OVER_S) -> None:
        """Wait until no call of this run is under way. Raises TimeoutError."""
        deadline = time.monotonic() + within_s
        while True:
            lines = [line["what"] for line in self._log()]
            if lines.count("in") == lines.count("over"):
                return
            if time.monotonic() > deadline:
                raise TimeoutError(f"a call is still under way after {within_s:g} s")
            time.sleep(POLL_S / 10)

    def _log(self) -> list[dict[str, Any]]:
        path = self._directory / f"{self._run}.log"
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []

    def _wait_until_it_answers(self) -> None:
        deadline = time.monotonic() + START_S
        while self._process is not None and self._process.poll() is None:
            try:
                httpx2.get(f"http://{LOOPBACK}:{self._port}/", timeout=5, trust_env=False)
            except httpx2.HTTPError:
                if time.monotonic() > deadline:
                    break
                time.sleep(POLL_S)
            else:
                self.plan()
                return
        raise RuntimeError("mitmproxy did not start.")
