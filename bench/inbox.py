"""The inbox of somebody who is asked about a thousand requests, and about a million."""

from __future__ import annotations

import http.client
import re
import time
from datetime import timedelta
from typing import Any
from urllib.parse import urlencode

from bench import rows
from bench.databases import World
from bench.rounds import measure, middle, percentile, ratios, say
from governance import clock

READER = "finance_manager"
ROWS = 50
PATH = "/inbox/"
IDLE_S = 1.0  # gunicorn closes a connection that is idle for two seconds
_TOKEN = re.compile(r'name="csrfmiddlewaretoken" value="([^"]+)"')
_ROW = re.compile(r'href="/requests/([A-Z0-9-]+)/"')


class Reader:
    """A browser that logged in, as far as it matters."""

    def __init__(self, port: int, password: str, username: str = READER) -> None:
        self._http = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
        self._cookies: dict[str, str] = {}
        self._heard = time.monotonic()
        form = self.get("/accounts/login/")
        token = _TOKEN.search(form)
        if token is None:
            raise RuntimeError("the log-in page has no form")
        values = {"login": username, "password": password, "csrfmiddlewaretoken": token[1]}
        self._send("POST", "/accounts/login/", urlencode(values))
        if "sessionid" not in self._cookies:
            raise RuntimeError("the log-in was refused")

    def get(self, path: str) -> str:
        return self._send("GET", path, None)

    def _send(self, method: str, path: str, body: str | None) -> str:
        headers = {"Cookie": "; ".join(f"{name}={value}" for name, value in self._cookies.items())}
        if body is not None:
            headers["Content-Type"] = "application/x-www-form-urlencoded"
        if time.monotonic() - self._heard > IDLE_S:
            self._http.close()  # gunicorn is about to, or has; the next request connects again
        self._http.request(method, path, body, headers)
        response = self._http.getresponse()
        text = response.read().decode()
        self._heard = time.monotonic()
        if response.status >= 400:
            raise RuntimeError(f"{method} {path} was answered with {response.status}")
        for line in response.headers.get_all("Set-Cookie", []):
            name, _, value = line.partition(";")[0].partition("=")
            self._cookies[name] = value
        return text


def run(world: World, *, few: int, many: int, pages: int, rounds: int) -> dict[str, Any]:
    """Read the page `pages` times a round on each of two servers, in turns."""
    urls = [_filled(world, count) for count in (few, many)]
    try:
        with world.served(urls[0]) as small, world.served(urls[1]) as large:
            return _measured(world, (small, large), few=few, many=many, pages=pages, rounds=rounds)
    finally:
        for url in urls:
            world.drop(url)


def _filled(world: World, count: int) -> str:
    url = world.copy()
    began = time.monotonic()
    with world.entered(url):
        own = rows.original(climbed=False)
        rows.copies(own, count, due_at=clock.now() + timedelta(hours=12), every=rows.SPREAD / count)
        rows.analyse()
    say(f"{count} requests that wait for one person were made in {time.monotonic() - began:.0f} s")
    return url


def _measured(
    world: World, ports: tuple[int, int], *, few: int, many: int, pages: int, rounds: int
) -> dict[str, Any]:
    readers = [Reader(port, world.password) for port in ports]
    for reader in readers:
        for _ in range(4):  # every process has compiled its templates then
            shown = set(_ROW.findall(reader.get(PATH)))
            if len(shown) < ROWS:
                raise RuntimeError(f"the inbox shows {len(shown)} rows, not {ROWS}")
    medians: list[list[float]] = [[], []]
    slowest: list[list[float]] = [[], []]
    for number in range(rounds):
        taken: list[list[float]] = [[], []]
        for turn in range(2 * pages):
            which = (turn + number) % 2
            began = time.perf_counter()
            readers[which].get(PATH)
            taken[which].append(time.perf_counter() - began)
        for which in (0, 1):
            medians[which].append(middle(taken[which]))
            slowest[which].append(percentile(taken[which], 0.95))
        say(
            f"inbox, round {number + 1} of {rounds}: {medians[0][-1] * 1000:.0f} ms of {few},"
            f" {medians[1][-1] * 1000:.0f} ms of {many}"
        )
    return {
        "inbox_million_vs_thousand": measure(
            middle(ratios(medians[1], medians[0])), rounds=rounds, few=few, many=many, pages=pages,
            few_p50_ms=middle(medians[0]) * 1000, many_p50_ms=middle(medians[1]) * 1000,
            few_p95_ms=middle(slowest[0]) * 1000, many_p95_ms=middle(slowest[1]) * 1000,
        )
    }  # fmt: skip
