"""Stands in for the processes of the Procfile, so that the supervisor can be tested alone."""

from __future__ import annotations

import http.server
import json
import os
import signal
import subprocess
import sys
import time


class Door(http.server.BaseHTTPRequestHandler):
    """Answers the two questions a demo asks, as the environment wants it."""

    def do_GET(self) -> None:
        ok = os.environ.get("STAND_IN_STATUS", "ok") == "ok"
        body = json.dumps({"ok": ok, "clock": {"ok": ok, "behind_s": 0 if ok else 99}}).encode()
        self.send_response(200)
        self.end_headers()
        self.wfile.write(body if self.path == "/status" else b"ready")

    def log_message(self, *words: object) -> None:
        """Say nothing."""


def web() -> None:
    """Serve on PORT until told to stop."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    server = http.server.HTTPServer(("127.0.0.1", int(os.environ["PORT"])), Door)
    sys.stdout.write("the door is open\n")
    server.serve_forever(poll_interval=0.05)


def sleep() -> None:
    """Do nothing, for at most a minute."""
    sys.stdout.write("sleeping\n")
    time.sleep(60)


def deaf() -> None:
    """Do nothing and do not listen either."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    sys.stdout.write("deaf\n")
    time.sleep(60)


def parent() -> None:
    """Have a child in a session of its own, and end it when told to, as `manage.py worker` does."""
    child = subprocess.Popen([sys.executable, __file__, "sleep"], start_new_session=True)
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
    sys.stdout.write("a parent\n")
    signal.sigwait([signal.SIGTERM])
    child.terminate()
    child.wait()


def bad_parent() -> None:
    """Have a deaf child in a session of its own, and never think of it again."""
    subprocess.Popen([sys.executable, __file__, "deaf"], start_new_session=True)
    sys.stdout.write("a bad parent\n")
    time.sleep(60)


def fail() -> None:
    """End at once, badly."""
    sys.stdout.write("this will not do\n")
    sys.exit(7)


if __name__ == "__main__":
    globals()[sys.argv[1]]()
