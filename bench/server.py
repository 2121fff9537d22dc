"""The web server of the Procfile, on a free port of loopback."""

from __future__ import annotations

import http.client
import os
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from honcho.environ import parse_procfile

from tools.postgres import free_port
from tools.processes import ROOT, Crew, Guard

START_S = 60.0


@contextmanager
def served(environment: Mapping[str, str], *, workers: int, logs: Path) -> Iterator[int]:
    """Serve the product and the floor from the same processes; yield the port."""
    port = free_port()
    web = parse_procfile((ROOT / "Procfile").read_text()).processes["web"]
    programs = os.pathsep.join([str(Path(sys.executable).parent), environment.get("PATH", "")])
    own = {"PATH": programs, "PORT": str(port), "WEB_WORKERS": str(workers)}
    surroundings = {**environment, **own}
    with Guard() as guard:
        crew = Crew({"web": web}, guard=guard, environment=surroundings, logs=logs)
        crew.start("web")
        try:
            _wait(port, crew)
            yield port
        finally:
            crew.stop()


def _wait(port: int, crew: Crew) -> None:
    deadline = time.monotonic() + START_S
    while time.monotonic() < deadline and crew.alive("web"):
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
        try:
            connection.request("GET", "/healthz")
            if connection.getresponse().status == 200:
                return
        except OSError:
            time.sleep(0.1)
        finally:
            connection.close()
    raise RuntimeError(f"the server does not answer:\n{crew.log('web')[-2000:]}")
