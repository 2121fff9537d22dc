"""Tryton's own Python environment, in the checkout and beside ours."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence

from tools.processes import POLL_S, ROOT, Guard

HOME = ROOT / ".tryton"
VENV = HOME / "venv"
PYTHON = VENV / "bin/python"
REQUIREMENTS = ROOT / "requirements/tryton.txt"
INSTALL_S = 600.0
LOCK_S = 2400.0  # as long as somebody else may take to install and to fill a template
OURS = ("TRYTON", "PYTHON", "DJANGO", "VIRTUAL_ENV")  # what would speak to it of another setup


class NotAvailable(Exception):
    """No Tryton can be had. The message says why."""


class NotInstalled(NotAvailable):
    """Its packages cannot be had, from here or now."""


def environment(more: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return the environment that its processes get: nothing in it is about another Python."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(OURS)}
    return {**inherited, "LC_ALL": "C.UTF-8", "PYTHONUNBUFFERED": "1", **(more or {})}


@contextlib.contextmanager
def alone() -> Iterator[None]:
    """Keep others of this checkout from installing and filling templates meanwhile.

    Raises NotAvailable if somebody else does so for longer than it can take.
    """
    HOME.mkdir(exist_ok=True)
    deadline = time.monotonic() + LOCK_S
    with (HOME / "lock").open("a") as lock:
        while not _locked(lock.fileno()):
            if time.monotonic() > deadline:
                raise NotAvailable(f"somebody else has been preparing it for {LOCK_S:.0f} s")
            time.sleep(POLL_S)
        yield


def _locked(handle: int) -> bool:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def install(guard: Guard) -> bool:
    """Make the environment as the locked file has it, if it is not so; return whether it was made.

    Call it `alone`. Raises NotInstalled.
    """
    stamp = VENV / "installed"
    # Its programs name their Python by an absolute path: a copied checkout makes its own.
    wanted = f"{VENV}\n{hashlib.sha256(REQUIREMENTS.read_bytes()).hexdigest()}\n"
    if stamp.exists() and stamp.read_text() == wanted:
        return False
    make = [sys.executable, "-m", "venv", "--clear", str(VENV)]
    pip = [
        str(PYTHON), "-m", "pip", "install", "--quiet", "--no-input", "--disable-pip-version-check",
        "--require-hashes", "-r", str(REQUIREMENTS),
    ]  # fmt: skip
    # pip looks for its own settings under PIP_, which `environment` leaves as they are.
    try:
        run(guard, make, seconds=INSTALL_S)
        run(guard, pip, seconds=INSTALL_S)
    except NotAvailable as problem:
        raise NotInstalled(str(problem)) from None
    stamp.write_text(wanted)
    return True


def run(
    guard: Guard,
    command: Sequence[str],
    *,
    seconds: float,
    given: str = "",
    more: Mapping[str, str] | None = None,
) -> str:
    """Run a command to its end; return what it printed.

    Raises NotAvailable, with its last words, if it fails or takes longer than `seconds`.
    """
    try:
        done = subprocess.run(
            command, env=guard.environment(environment(more)), cwd=ROOT, input=given,
            capture_output=True, text=True, timeout=seconds, check=False,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        raise NotAvailable(f"not done after {seconds:.0f} s: {' '.join(command[:4])}") from None
    if done.returncode != 0:
        words = (done.stderr or done.stdout).strip()[-2000:]
        raise NotAvailable(f"{' '.join(command[:4])} failed ({done.returncode}):\n{words}")
    return done.stdout
