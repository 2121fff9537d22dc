"""Going wrong on purpose, so that whoever calls can be tried."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from demo_target.refusals import invalid

KINDS = (
    "unavailable",  # 503
    "rate_limited",  # 429
    "reset_before",  # nothing is done, and the connection torn down
    "reset_after_commit",  # it is done, and the connection torn down without an answer
    "slow",  # it is done late
    "slow_after",  # it is done, and answered late
)
OTHER_NAMES = {"503": "unavailable", "429": "rate_limited", "reset": "reset_after_commit"}
AFTER_COMMIT = ("reset_after_commit", "slow_after")
ONLY = ("all", "writes")
READS = ("GET", "HEAD")
LONGEST_S = 600.0


@dataclass
class Fault:
    """One way in which the next requests fail."""

    kind: str
    count: int | None = None  # None: until the faults are changed
    path: str = ""  # "" = every path; else those that begin so
    method: str = ""  # "" = every method
    only: str = "all"
    skip: int = 0  # matching writes that pass first; until then nothing fails
    seconds: float = 10.0
    retry_after: float | None = None

    def said(self) -> dict[str, Any]:
        """Return it as it is sent."""
        shown: dict[str, Any] = {"kind": self.kind, "count": self.count, "only": self.only}
        shown |= {
            name: getattr(self, name) for name in ("path", "method", "skip") if getattr(self, name)
        }
        if self.kind.startswith("slow"):
            shown["seconds"] = self.seconds
        if self.retry_after is not None:
            shown["retry_after"] = self.retry_after
        return shown


class Faults:
    """What is set to go wrong, in order; the first that fits a request takes it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._faults: list[Fault] = []
        self.gate = threading.Event()  # set once the requests under way are to be dropped

    def put(self, wanted: Any) -> None:
        """Replace all faults. Refuses what it cannot read, and changes nothing then."""
        faults = _read(wanted)
        with self._lock:
            self._faults = faults

    def said(self) -> list[dict[str, Any]]:
        """Return what is left."""
        with self._lock:
            return [each.said() for each in self._faults]

    def take(self, method: str, path: str) -> Fault | None:
        """Return what goes wrong with this request, if anything does, and count it."""
        with self._lock:
            for fault in self._faults:
                if not _fits(fault, method, path):
                    continue
                if fault.skip:
                    fault.skip -= method not in READS
                    continue
                if fault.count is not None:
                    fault.count -= 1
                    if not fault.count:
                        self._faults.remove(fault)
                return fault
        return None

    def interrupt(self) -> None:
        """Clear all faults and drop the requests that wait in one."""
        with self._lock:
            self._faults = []
            gate, self.gate = self.gate, threading.Event()
        gate.set()


def _fits(fault: Fault, method: str, path: str) -> bool:
    if fault.only == "writes" and method in READS:
        return False
    return path.startswith(fault.path) and fault.method in ("", method)


def _read(wanted: Any) -> list[Fault]:
    """Read {"faults": [...]}, a list, or a single fault."""
    if isinstance(wanted, dict):
        wanted = wanted.get("faults", [wanted])
    if not isinstance(wanted, list) or len(wanted) > 100:
        raise invalid(
            'Send {"faults": [{"kind": "unavailable", "count": 3}]}; an empty list clears.'
        )
    return [fault for each in wanted for fault in _one(each)]


def _one(wanted: Any) -> list[Fault]:
    if not isinstance(wanted, dict):
        raise invalid('A fault is an object with a "kind".')
    named: Mapping[str, Any] = wanted
    kind = str(named.get("kind", ""))
    kind = OTHER_NAMES.get(kind, kind)
    if kind not in KINDS:
        raise invalid(f'"kind" is one of {", ".join(KINDS)}.')
    strange = set(named) - {"kind", *Fault.__dataclass_fields__}
    if strange:
        raise invalid(f"A fault has no {', '.join(sorted(strange))[:60]}.")
    count = named.get("count")
    if count is not None:
        count = _whole(count, "count")
        if not count:
            return []
    only = named.get("only") or ("writes" if kind in AFTER_COMMIT else "all")
    if only not in ONLY:
        raise invalid('"only" is "all" or "writes".')
    retry_after = named.get("retry_after")
    return [
        Fault(
            kind=kind,
            count=count,
            path=_text(named.get("path"), "path"),
            method=_text(named.get("method"), "method").upper(),
            only=only,
            skip=_whole(named.get("skip") or 0, "skip"),
            seconds=_seconds(named.get("seconds", 10.0), "seconds"),
            retry_after=None if retry_after is None else _seconds(retry_after, "retry_after"),
        )
    ]


def _whole(value: Any, name: str) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= 1_000_000:
        raise invalid(f'"{name}" is a whole number.')
    return value


def _seconds(value: Any, name: str) -> float:
    if not isinstance(value, int | float) or isinstance(value, bool) or not 0 <= value <= LONGEST_S:
        raise invalid(f'"{name}" is a number of seconds, at most {LONGEST_S:g}.')
    return float(value)


def _text(value: Any, name: str) -> str:
    if value is None:
        return ""
    if not isinstance(value, str):
        raise invalid(f'"{name}" is text.')
    return value
