"""The process that plays rehearsals, seen from whoever needs one.

It is given the sandbox's address and what opens it, one definition of an action
type, and nothing else: neither our database nor a target's own credentials.
"""

from __future__ import annotations

import json
import os
import secrets
import select
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import Self

from django.conf import settings

from governance.env import ALONE
from rollback.connectors.base import CannotRun, Json
from rollback.rehearsal.points import Point

# Real seconds; a busy machine needs ten to start. Together with what a task does first, below its time.
START_S = 20.0
POINT_S = 30.0
LONGEST_ANSWER = 8 * 1024 * 1024  # bytes
# What of our own environment it is given.
HANDED_ON = ("PATH", "LANG", "LC_ALL", "TZ", "SSL_CERT_FILE", "SSL_CERT_DIR", "PYTHONPATH")


class Silent(Exception):
    """No evidence came: the process ended, or took too long. The sentence says which."""


class House:
    """Starts the process at the first rehearsal; a context manager, which ends it."""

    def __init__(self, *, point_s: float = POINT_S) -> None:
        self._point_s = point_s
        self._process: subprocess.Popen[bytes] | None = None
        self._var: tempfile.TemporaryDirectory[str] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def rehearse(
        self,
        definition: Json,
        point: Point,
        *,
        target: str,
        sandbox: Mapping[str, str],
        now: datetime,
    ) -> Json:
        """Play one rehearsal, and return its evidence.

        Args:
            definition: as `stage.definition_of` gives it.
            target: the key of the target whose sandbox this is.

        Raises Silent; CannotRun for a defect, whose words it gives.
        """
        first = self._process is None
        process = self._started()
        asked = {
            "definition": definition,
            "point": list(point),
            "target": target,
            "sandbox": dict(sandbox),
            "now": now.isoformat(),
            "tag": fresh_tag(),
        }
        found = self._asked(process, asked, within_s=self._point_s + (START_S if first else 0.0))
        if "defect" in found:
            raise CannotRun(f"The rehearsal failed by a defect: {found['defect']}")
        return found

    def close(self, *, wait_s: float = 2.0) -> None:
        """End the process, whatever it is at.

        Args:
            wait_s: real seconds for it to end by itself.
        """
        process, self._process = self._process, None
        if process is not None:
            if process.stdin is not None:
                with suppress(OSError):  # what was not written goes with it
                    process.stdin.close()
            with suppress(subprocess.TimeoutExpired):
                process.wait(timeout=wait_s)
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)  # and whoever plays for it
            process.wait(timeout=5)
            if process.stdout is not None:
                process.stdout.close()
        if self._var is not None:
            self._var.cleanup()
            self._var = None

    def _started(self) -> subprocess.Popen[bytes]:
        if self._process is None:
            self._var = tempfile.TemporaryDirectory(prefix="recourse-drill-")
            self._process = subprocess.Popen(
                [sys.executable, "-m", "rollback.rehearsal"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                cwd=settings.BASE_DIR,
                env=environment(Path(self._var.name)),
                start_new_session=True,
            )
        return self._process

    def _asked(self, process: subprocess.Popen[bytes], asked: Json, *, within_s: float) -> Json:
        try:
            found = _line(process, asked, until=time.monotonic() + within_s)
            answer: Json = json.loads(found)
        except TimeoutError as problem:
            self.close(wait_s=0.0)
            raise Silent(f"It did not end within {within_s:.0f} s.") from problem
        except (OSError, ValueError, EOFError) as problem:
            self.close()
            raise Silent(f"The process that rehearses ended: {problem}.") from problem
        return answer


def _line(process: subprocess.Popen[bytes], asked: Json, *, until: float) -> bytes:
    """Ask, and return the line that comes back.

    Raises TimeoutError, EOFError, OSError; ValueError for an answer beyond all bounds.
    """
    if process.stdin is None or process.stdout is None:
        raise EOFError("it has no pipes")
    process.stdin.write(json.dumps(asked).encode() + b"\n")
    process.stdin.flush()
    read = bytearray()
    while not read.endswith(b"\n"):
        left = until - time.monotonic()
        ready, _, _ = select.select([process.stdout], [], [], max(left, 0))
        if not ready:
            raise TimeoutError
        part = os.read(process.stdout.fileno(), 65536)
        if not part:
            raise EOFError("it went away")
        read += part
        if len(read) > LONGEST_ANSWER:
            raise ValueError("its answer is longer than 8 MB")
    return bytes(read)


def environment(var: Path) -> dict[str, str]:
    """Return all that the process sees of the world."""
    return {
        **{name: os.environ[name] for name in HANDED_ON if name in os.environ},
        "DJANGO_SETTINGS_MODULE": "governance.settings",
        ALONE: "yes",  # what stands in `.env` is ours and the target's
        # The profile that needs no secrets. It serves nobody.
        "RECOURSE_PROFILE": "demo",
        "RECOURSE_VAR": str(var),
        "SECRET_KEY": secrets.token_urlsafe(32),
        "DATABASE_URL": "sqlite://:memory:",
        "RECOURSE_TARGETS": "",
        "PYTHONUNBUFFERED": "1",
    }


def fresh_tag() -> str:
    """Return what tells the documents of one rehearsal from those of every other: 8 letters and digits."""
    return secrets.token_hex(4).upper()


__all__ = ["POINT_S", "House", "Silent", "environment", "fresh_tag"]
