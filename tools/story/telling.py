"""How a story is told: a line a row, and what did not hold at the end."""

from __future__ import annotations

import http.server
import json
import re
import threading
import time
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any, Self

import httpx2

from tools.demo import Demo

POLL_S = 0.1
CSRF = re.compile(r'name="csrfmiddlewaretoken" value="([^"]+)"')


class Telling:
    """Prints each row of a story as it is seen, and remembers what was otherwise."""

    def __init__(self) -> None:
        self.failures = 0

    def row(self, at: str, words: str, holds: bool, *, otherwise: object = "") -> None:
        """Tell one row: when, what, and whether it holds; if not, what was seen instead."""
        mark = "ok  " if holds else "FAIL"
        seen = "" if holds else f"   [saw: {otherwise}]"
        print(f"{mark}  {at:>9}  {words}{seen}", flush=True)
        self.failures += not holds

    def equal(self, at: str, words: str, seen: object, wanted: object) -> None:
        """Tell a row that holds if `seen` is `wanted`."""
        self.row(at, words, seen == wanted, otherwise=seen)


def wait_for(what: str, look: Callable[[], Any], *, seconds: float) -> Any:
    """Return the first true value of `look`, within so many real seconds.

    Raises TimeoutError, saying what was waited for.
    """
    deadline = time.monotonic() + seconds
    while True:
        found = look()
        if found:
            return found
        if time.monotonic() > deadline:
            raise TimeoutError(f"{what}: not within {seconds:.0f} s")
        time.sleep(POLL_S)


def instant(text: str) -> datetime:
    """Return an instant as the API writes it."""
    return datetime.fromisoformat(text)


def minutes(span: timedelta) -> float:
    return span.total_seconds() / 60


def rung(step: dict[str, Any]) -> tuple[str, int, list[str]]:
    """Return path and level of a step, and who is asked on it."""
    return step["path"], step["level"], [asked["person"] for asked in step["asked"]]


def window(step: dict[str, Any]) -> timedelta:
    return instant(step["due_at"]) - instant(step["opened_at"])


def log_in(demo: Demo, username: str) -> Browser:
    return Browser(demo.url, username, demo.users[username]["password"])


def all_is_well(demo: Demo, telling: Telling) -> None:
    """Tell whether the record is whole and nothing is there that should not be."""
    for command in ("verify_ledger", "audit"):
        code, words = demo.manage(command)
        telling.row(
            "after", f"manage.py {command} is clean", code == 0, otherwise=words.strip()[-300:]
        )
    status = demo.status()
    telling.row(
        "after", "/status is ok", status.get("ok") is True, otherwise=json.dumps(status)[:300]
    )


class Agent:
    """An agent's client of the public API."""

    def __init__(self, url: str, token: str) -> None:
        self._http = httpx2.Client(
            base_url=url, headers={"Authorization": f"Bearer {token}"}, timeout=30
        )

    def submit(self, body: dict[str, Any], key: str) -> httpx2.Response:
        return self._http.post("/api/v1/requests/", json=body, headers={"Idempotency-Key": key})

    def close(self) -> None:
        self._http.close()

    def withdraw(self, ref: str) -> httpx2.Response:
        return self._http.post(f"/api/v1/requests/{ref}/withdraw/")

    def get(self, path: str) -> dict[str, Any]:
        found: dict[str, Any] = self.answer(path).raise_for_status().json()
        return found

    def answer(self, path: str) -> httpx2.Response:
        """Return what is answered, whatever it is."""
        return self._http.get(path)


class Target:
    """The demo's system of record, asked behind the product's back."""

    def __init__(self, url: str, token: str) -> None:
        self._http = httpx2.Client(
            base_url=url, headers={"Authorization": f"Bearer {token}"}, timeout=30
        )

    def get(self, path: str) -> dict[str, Any]:
        found: dict[str, Any] = self._http.get(path).raise_for_status().json()
        return found

    def operations(self) -> list[dict[str, Any]]:
        """Return all that was ever done, oldest first."""
        found: list[dict[str, Any]] = self.get("/operations?prefix=&limit=1000")["operations"]
        return found


class Browser:
    """A person, logged in through the form, using the pages' own endpoints."""

    def __init__(self, url: str, username: str, password: str) -> None:
        self._http = httpx2.Client(base_url=url, timeout=30, headers={"Referer": url})
        token = self._token(self._http.get("/accounts/login/"))
        form = {"login": username, "password": password, "csrfmiddlewaretoken": token}
        answer = self._http.post("/accounts/login/", data=form)
        if answer.status_code != 302:
            raise RuntimeError(f"{username} could not log in: {answer.status_code}")

    def page(self, path: str) -> str:
        """Return a page as it is shown."""
        return str(self.answer(path).raise_for_status().text)

    def answer(self, path: str) -> httpx2.Response:
        """Return what is answered, whatever it is."""
        return self._http.get(path)

    def close(self) -> None:
        self._http.close()

    def send(self, page: str, path: str, fields: dict[str, str]) -> httpx2.Response:
        """Send a form of a page that was shown, with the page's own token."""
        found = CSRF.search(page)
        token = found.group(1) if found else ""
        return self._http.post(path, data={**fields, "csrfmiddlewaretoken": token})

    def story(self, ref: str) -> dict[str, Any]:
        """Return the request as the API tells it to this person."""
        found: dict[str, Any] = self._http.get(f"/api/v1/requests/{ref}/").raise_for_status().json()
        return found

    def _token(self, answer: httpx2.Response) -> str:
        found = CSRF.search(answer.raise_for_status().text)
        if found is None:
            raise RuntimeError("the log-in page has no CSRF token")
        return found.group(1)


class Callback:
    """The agent's own receiver of webhooks, on loopback."""

    def __init__(self) -> None:
        self.got: list[tuple[dict[str, str], bytes]] = []
        received = self.got

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                received.append(({k.lower(): v for k, v in self.headers.items()}, body))
                self.send_response(204)
                self.end_headers()

            def log_message(self, *args: object) -> None:
                """Say nothing: the story speaks."""

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}/recourse"
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._server.shutdown()
        self._server.server_close()
