"""`python -m demo_target --db FILE --host 127.0.0.1 --port P`, token in DEMO_TARGET_TOKEN."""

from __future__ import annotations

import argparse
import os
import signal
import sqlite3
import sys
from types import FrameType

from demo_target.ledger import Ledger
from demo_target.server import Server
from demo_target.store import Store

TOKEN = "DEMO_TARGET_TOKEN"  # noqa: S105 - the variable's name


def main(arguments: list[str] | None = None) -> int:
    """Serve until told to stop. 0: it was. 1: it could not start, and said why."""
    parser = argparse.ArgumentParser(prog="python -m demo_target", description=__doc__)
    parser.add_argument("--db", required=True, help="the SQLite file, made if it is not there")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8900, help="0: any free one")
    parser.add_argument(
        "--sync", choices=("full", "normal"), default="full",
        help="full: an answered write survives a power cut",
    )  # fmt: skip
    options = parser.parse_args(arguments)
    token = os.environ.get(TOKEN, "")
    if not token:
        parser.error(f"{TOKEN} is not set: everybody who calls must know it.")

    def stop(signum: int, frame: FrameType | None) -> None:
        raise SystemExit(0)

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    try:
        ledger = Ledger(Store(options.db, sync=options.sync))
        server = Server((options.host, options.port), ledger, token=token)
    except (OSError, OverflowError, sqlite3.Error) as problem:
        sys.stderr.write(f"The ledger cannot start: {problem}.\n")
        return 1
    sys.stdout.write(f"The ledger answers at {server.url}\n")
    sys.stdout.flush()
    try:
        server.serve_forever(poll_interval=0.2)
    finally:
        server.server_close()
        ledger.store.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
