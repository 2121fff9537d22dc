"""What mitmproxy does to one call of a run. Loaded by mitmproxy, in an environment of its own.

The directory in TRIALS_PROXY holds `plan.json`, {"run", "at", "fault"}, read with
each call, and `<run>.log`, a line when a call comes in and a line when it is over.
"""

from __future__ import annotations

import asyncio
import json
import os
from pathlib import Path
from typing import Any

from mitmproxy import http

HOME = Path(os.environ["TRIALS_PROXY"])
WAIT_S = float(os.environ["TRIALS_PROXY_WAIT_S"])  # longer than whoever calls has patience
CUT_AT = 10  # bytes of an answer
RETRY_AFTER_S = 2


class Faults:
    """Counts the calls of a run, and has the one that is planned go wrong, once."""

    def __init__(self) -> None:
        self._run = ""
        self._count = 0

    async def request(self, flow: http.HTTPFlow) -> None:
        plan = json.loads((HOME / "plan.json").read_text())
        if plan["run"] != self._run:
            self._run, self._count = plan["run"], 0
        self._count += 1
        fault = plan["fault"] if self._count == plan["at"] else ""
        flow.metadata |= {"run": self._run, "n": self._count, "fault": fault}
        self._note(flow, "in")
        if fault == "reset":
            flow.kill()
        elif fault == "503":
            flow.response = http.Response.make(503, b"unavailable", {"Content-Type": "text/plain"})
        elif fault == "429":
            flow.response = http.Response.make(
                429, b"slow down", {"Retry-After": str(RETRY_AFTER_S)}
            )
        elif fault == "late":
            await asyncio.sleep(WAIT_S)

    async def response(self, flow: http.HTTPFlow) -> None:
        fault = flow.metadata.get("fault", "")
        if fault == "lost":
            flow.kill()
        elif fault == "slow":
            await asyncio.sleep(WAIT_S)
        elif fault == "truncated" and flow.response is not None:
            whole = flow.response.raw_content or b""
            flow.response.headers["content-length"] = str(len(whole))
            flow.response.raw_content = whole[:CUT_AT]
        self._note(flow, "over")

    def error(self, flow: http.HTTPFlow) -> None:
        if flow.response is None or flow.metadata.get("fault") in ("lost", "slow"):
            self._note(flow, "over")

    def _note(self, flow: http.HTTPFlow, what: str) -> None:
        if what == "over" and flow.metadata.get("noted"):
            return
        flow.metadata["noted"] = what == "over"
        line: dict[str, Any] = {
            "what": what,
            "n": flow.metadata.get("n", 0),
            "fault": flow.metadata.get("fault", ""),
            "call": f"{flow.request.method} {flow.request.path}",
        }
        with (HOME / f"{flow.metadata.get('run', '')}.log").open("a") as log:
            log.write(json.dumps(line) + "\n")


addons = [Faults()]
