"""Clients that send as fast as they are answered, in a process of their own: `python -m bench.load`.

Reads a job from standard input: `{"port", "connections", "rounds": [[request, ...], ...]}`, each
request `[method, path, headers, body or null]`. The rounds are sent one after the other over the
same connections, so that both sides of a comparison meet the same processes of the server. Writes
for each round `{"seconds", "latencies", "statuses", "answers"}`.
"""

from __future__ import annotations

import http.client
import itertools
import json
import subprocess
import sys
import threading
import time
from collections import Counter
from typing import Any

Sent = tuple[str, str, dict[str, str], str | None]


class Client:
    """One connection that stays open."""

    def __init__(self, port: int) -> None:
        self._http = http.client.HTTPConnection("127.0.0.1", port, timeout=60)

    def send(self, request: Sent) -> tuple[int, bytes]:
        """Send one request and return status and body. A connection that was idle may be gone."""
        method, path, headers, body = request
        for last in (False, True):
            try:
                self._http.request(method, path, body.encode() if body else None, headers)
                response = self._http.getresponse()
                return response.status, response.read()
            except (http.client.RemoteDisconnected, BrokenPipeError, ConnectionResetError):
                self._http.close()
                if last:
                    raise
        raise AssertionError("not reached")


def one_round(clients: list[Client], requests: list[Sent]) -> dict[str, Any]:
    """Send these requests, each client the next one that nobody has."""
    left = iter(requests)
    turn = threading.Lock()
    latencies: list[float] = []
    statuses: Counter[int] = Counter()
    sizes: list[int] = []
    last: list[bytes] = [b""]

    def work(client: Client) -> None:
        while True:
            with turn:
                request = next(left, None)
            if request is None:
                return
            began = time.perf_counter()
            status, body = client.send(request)
            latencies.append(time.perf_counter() - began)
            statuses[status] += 1
            sizes.append(len(body))
            last[0] = body

    threads = [threading.Thread(target=work, args=[client]) for client in clients]
    began = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    seconds = time.perf_counter() - began
    return {
        "seconds": seconds, "latencies": latencies, "statuses": statuses, "bytes": max(sizes),
        "last": last[0].decode()[:500],
    }  # fmt: skip


def fire(port: int, rounds: list[list[Sent]], *, connections: int = 4) -> list[dict[str, Any]]:
    """Send rounds of requests from another process; return what came of each round."""
    job = json.dumps({"port": port, "connections": connections, "rounds": rounds})
    done = subprocess.run(
        [sys.executable, "-m", "bench.load"],
        input=job,
        stdout=subprocess.PIPE,
        text=True,
        check=True,
        timeout=600,
    )
    answers: list[dict[str, Any]] = json.loads(done.stdout)
    return answers


def expect(answer: dict[str, Any], status: int) -> None:
    """Raise RuntimeError unless every answer had this status: an error is fast and means nothing."""
    if list(answer["statuses"]) != [str(status)]:
        raise RuntimeError(
            f"{status} was to be answered, not {answer['statuses']}: {answer['last']}"
        )


def main() -> None:
    job = json.load(sys.stdin)
    clients = [Client(job["port"]) for _ in range(job["connections"])]
    warm: list[Sent] = [("GET", "/healthz", {}, None)] * len(clients)
    for client, request in zip(clients, warm, strict=True):
        client.send(request)
    rounds: list[list[Sent]] = [list(itertools.starmap(_sent, each)) for each in job["rounds"]]
    json.dump([one_round(clients, each) for each in rounds], sys.stdout)


def _sent(method: str, path: str, headers: dict[str, str], body: str | None) -> Sent:
    return method, path, headers, body


if __name__ == "__main__":
    main()
