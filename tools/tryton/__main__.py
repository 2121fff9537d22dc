"""`python -m tools.tryton`: run a Tryton of one's own, or only prepare for it."""

from __future__ import annotations

import argparse
import signal
import sys
import time
from types import FrameType

from tools.processes import POLL_S
from tools.tryton.environment import NotAvailable
from tools.tryton.server import Tryton
from tools.tryton.template import prepare


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tools.tryton", description=__doc__)
    parser.add_argument("verb", nargs="?", choices=["run", "prepare"], default="run")
    parser.add_argument("--seconds", type=float, default=float("inf"), help="stop after so long")
    options = parser.parse_args()
    heard: list[int] = []

    def say(line: str) -> None:
        print(line, flush=True)

    def hear(signum: int, frame: FrameType | None) -> None:
        heard.append(signum)

    try:
        if options.verb == "prepare":
            say(f"Tryton is ready in {prepare(say)}.")
            return 0
        with Tryton(say=say) as erp:
            for signum in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
                signal.signal(signum, hear)
            say(f"Tryton runs at {erp.url}, user {erp.user}, password {erp.password}")
            say(f"(admin's password is {erp.admin_password}). Ctrl-C stops it.")
            until = time.monotonic() + options.seconds
            while not heard and time.monotonic() < until:
                time.sleep(POLL_S)
    except NotAvailable as problem:
        print(f"Tryton is not available because {problem}", file=sys.stderr)
        return 3
    return 0


if __name__ == "__main__":
    sys.exit(main())
