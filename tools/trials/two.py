"""Two of everything, under load, while one of each is killed again and again: `make two-of-everything`.

Two webs, two clocks and two workers on one PostgreSQL. Agents ask and a person
approves, twenty calls a second; a call that was not answered goes to the other
web, as a proxy would send it. Every twenty seconds one web, one clock and one
worker are killed with all they started, and started again a moment later, as a
supervisor does. In the end every request that was taken must have been carried
out once, in the target's own books, and the record and the audits be clean.
"""

from __future__ import annotations

import json
import sqlite3
import threading
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from copy import deepcopy
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx2

from tools.demo import TARGET, Demo, free_port
from tools.processes import ROOT

PER_S = 20.0
KILL_EVERY_S = 20.0
DOWN_FOR_S = 2.0  # until a supervisor has started it again
AT_ONCE = 24  # calls under way
PATIENCE_S = 90.0  # for one call to be answered by either web
DRAIN_S = 600.0  # for all that was approved to end, on a machine that has other work to do
CLEAN_WITHIN_S = 180.0
REPEATED = 10  # one submission in so many is sent a second time
DECIDER = "finance_manager"
KINDS = ("web", "clock", "worker")

Say = Callable[[str], None]


@dataclass
class Tally:
    """What was asked for and what came of it."""

    sent: set[str] = field(default_factory=set)  # keys of submissions
    taken: dict[str, dict[str, Any]] = field(default_factory=dict)  # by key: the answer
    approved: set[str] = field(default_factory=set)  # keys
    replays: int = 0
    other_answers: list[str] = field(default_factory=list)  # what nobody should have been told
    again: int = 0  # calls that were not answered, and sent once more
    calls: int = 0
    planned: int = 0  # kills of each kind
    killed: Counter[str] = field(default_factory=Counter)
    lock: threading.Lock = field(default_factory=threading.Lock)


def procfile(directory: Path) -> Path:
    """Write a Procfile with two of each process of ours; the second web listens on PORT_2."""
    lines = []
    for line in (ROOT / "Procfile").read_text().splitlines():
        name, command = line.split(": ", 1)
        lines.append(f"{name}-1: {command}")
        lines.append(f"{name}-2: {command.replace('${PORT:-8000}', '${PORT_2}')}")
    path = directory / "Procfile"
    path.write_text("\n".join(lines) + "\n")
    return path


def trial(*, url: str, directory: Path, seconds: float, say: Say) -> int:
    """Run it on an empty database. Returns how many things did not hold, each of them said."""
    second = free_port()
    environment = {"PORT_2": str(second), "WEB_WORKERS": "1"}
    with Demo(
        database_url=url, procfile=procfile(directory), environment=environment, patience=300
    ) as demo:
        say(f"two of each, {PER_S:g} calls a second for {seconds:g} s, one of each killed every"
            f" {KILL_EVERY_S:g} s")  # fmt: skip
        tally = Tally(planned=int(seconds // KILL_EVERY_S))
        load = Load(demo, [demo.port, second], personal_token(demo), tally)
        over = threading.Event()
        killer = threading.Thread(target=kill_in_turns, args=(demo, tally, over))
        killer.start()
        try:
            load.run(seconds)
        except BaseException:
            over.set()
            raise
        finally:
            killer.join()  # with the last of what was planned
        load.approve_the_rest()
        ended_s = drain(tally)
        return judge(demo, tally, ended_s, say)


def personal_token(demo: Demo) -> str:
    from governance import clock
    from governance.models import Person
    from governance.services.tokens import issue_personal_token

    person = Person.objects.get(username=DECIDER)
    token, _ = issue_personal_token(person, now=clock.real_now())
    return token


class Load:
    """Submits and approves in turn, at a pace, and lets no answer be lost."""

    def __init__(self, demo: Demo, ports: list[int], token: str, tally: Tally) -> None:
        self._urls = [f"http://127.0.0.1:{port}" for port in ports]
        self._agent = {"Authorization": f"Bearer {demo.agents['ap-agent']['token']}"}
        self._person = {"Authorization": f"Bearer {token}"}
        self._tally = tally
        self._http = httpx2.Client(timeout=15, trust_env=False)
        actions = self._call("GET", "/api/v1/actions/", self._agent).json()["results"]
        (self._example,) = [each["example"] for each in actions if each["key"] == "vendor_payment"]

    def run(self, seconds: float) -> None:
        """Go on for so long; then wait for what is under way."""
        began = time.monotonic()
        with ThreadPoolExecutor(AT_ONCE) as pool:
            under_way = [
                pool.submit(self._one, number, began + number / PER_S)
                for number in range(int(seconds * PER_S))
            ]
            for each in under_way:
                each.result()

    def _one(self, number: int, at: float) -> None:
        time.sleep(max(at - time.monotonic(), 0))
        if number % 2 and (key := self._unapproved()):
            self._approve(key)
        else:
            self._submit(f"two-{number}")

    def approve_the_rest(self) -> None:
        with ThreadPoolExecutor(AT_ONCE) as pool:
            while key := self._unapproved():
                pool.submit(self._approve, key)

    def _submit(self, key: str) -> None:
        body = deepcopy(self._example)
        # What goes to one vendor within a day is summed, and would soon be for others to decide.
        body["payload"] |= {"invoice": f"INV-{key}", "vendor": f"Vendor {key}"}
        with self._tally.lock:
            self._tally.sent.add(key)
        headers = {**self._agent, "Idempotency-Key": key}
        answer = self._call("POST", "/api/v1/requests/", headers, body)
        if answer.status_code not in (200, 201):  # 200: the answer to an earlier try was lost
            self._unexpected("submission", answer)
            return
        told = answer.json()
        if int(key.removeprefix("two-")) // 2 % REPEATED == 0:
            again = self._call("POST", "/api/v1/requests/", headers, body)
            same = again.status_code == 200 and again.json()["ref"] == told["ref"]
            with self._tally.lock:
                self._tally.replays += 1
            if not same:
                self._unexpected("repeated submission", again)
        with self._tally.lock:
            self._tally.taken[key] = {**told, "waits": True}

    def _unapproved(self) -> str:
        with self._tally.lock:
            for key, told in self._tally.taken.items():
                if told["waits"]:
                    told["waits"] = False
                    return key
        return ""

    def _approve(self, key: str) -> None:
        told = self._tally.taken[key]
        path = f"/api/v1/requests/{told['ref']}/decisions/"
        body = {"verdict": "approve", "digest": told["digest"]}
        answer = self._call("POST", path, self._person, body)
        # 409: the first answer was lost, and what it said is so.
        if answer.status_code != 200 and not self._is_approved(told["ref"]):
            self._unexpected("approval", answer)
            return
        with self._tally.lock:
            self._tally.approved.add(key)

    def _is_approved(self, ref: str) -> bool:
        told = self._call("GET", f"/api/v1/requests/{ref}/", self._person).json()
        return any(
            decision["verdict"] == "approve"
            for step in told.get("steps", [])
            for decision in step["decisions"]
        )

    def _call(
        self, method: str, path: str, headers: dict[str, str], body: Any = None
    ) -> httpx2.Response:
        """Send until one of the webs answers; either may be gone, with the answer or without."""
        until = time.monotonic() + PATIENCE_S
        turn = threading.get_ident() + self._tally.calls
        while True:
            turn += 1
            with self._tally.lock:
                self._tally.calls += 1
            try:
                url = self._urls[turn % len(self._urls)] + path
                answer = self._http.request(method, url, headers=headers, json=body)
            except httpx2.TransportError:
                if time.monotonic() > until:
                    raise
            else:
                if answer.status_code < 500 or time.monotonic() > until:
                    return answer
            with self._tally.lock:
                self._tally.again += 1
            time.sleep(0.2)

    def _unexpected(self, what: str, answer: httpx2.Response) -> None:
        with self._tally.lock:
            self._tally.other_answers.append(f"{what}: {answer.status_code} {answer.text[:300]}")


def kill_in_turns(demo: Demo, tally: Tally, over: threading.Event) -> None:
    """Kill the first of each kind, then the second, and so on; each is back two seconds later.

    As often as planned: on a machine with other work to do the calls go on for longer than that.
    """
    for number in range(tally.planned):
        if over.wait(KILL_EVERY_S - DOWN_FOR_S):
            return
        names = [f"{kind}-{1 + number % 2}" for kind in KINDS]
        for name in names:
            demo.kill(name)
            tally.killed[name] += 1
        time.sleep(DOWN_FOR_S)
        for name in names:
            demo.restart(name)


def drain(tally: Tally) -> float:
    """Wait until all that was taken has ended, or for so long; return the seconds it took."""
    from django.db import connection

    from approvals.models import ENDED, ActionRequest

    began = time.monotonic()
    refs = {told["ref"] for told in tally.taken.values()}
    while time.monotonic() - began < DRAIN_S:
        ended = ActionRequest.objects.filter(state__in=ENDED).values_list("ref", flat=True)
        if refs <= set(ended):
            break
        connection.close()
        time.sleep(1)
    return time.monotonic() - began


def judge(demo: Demo, tally: Tally, ended_s: float, say: Say) -> int:
    """Compare what was answered with our rows and with the target's books; say what differs."""
    from approvals.models import ActionRequest, Finding
    from rollback.models import Unit

    rows = {
        row.idempotency_key: row
        for row in ActionRequest.objects.filter(idempotency_key__startswith="two-")
    }
    completed = [key for key, row in rows.items() if row.state == ActionRequest.State.COMPLETED]
    effects, payments = books(demo.var / TARGET)
    units = Unit.objects.filter(request__in=[row.pk for row in rows.values()])
    known = set(units.filter(receipt__isnull=False).values_list("key", flat=True))
    lost = {
        "taken and not in the database": set(tally.taken) - set(rows),
        "answered with another ref": {
            key for key, told in tally.taken.items() if key in rows and rows[key].ref != told["ref"]
        },
        "sent and never answered": tally.sent - set(tally.taken),
        "taken and not completed": set(tally.taken) - set(completed),
        "completed and not in the target": set(completed) - set(payments),
        "done in the target without a checkpoint": effects - known,
        "a checkpoint without an effect": known - effects,
    }
    doubled = {
        "paid more than once": {key for key, times in payments.items() if times > 1},
        "rows nobody was told of": set(rows) - set(tally.taken),
    }
    wrong = [
        f"{what}: {', '.join(sorted(keys)[:5])}"
        for what, keys in (*lost.items(), *doubled.items())
        if keys
    ]
    wrong += tally.other_answers
    for kind in KINDS:
        times = sum(count for name, count in tally.killed.items() if name.startswith(kind))
        if times < tally.planned:
            wrong.append(f"{kind} was killed {times} times of {tally.planned} that were planned")
    # A machine that has more to do than it can is late to take over from whoever was killed: it shows
    # as a finding until it has. What still stands by now is told by the audit itself.
    wrong += [f"{command}: {said}" for command, said in unclean(demo)]
    mended = Finding.objects.filter(cleared_at__isnull=False).order_by("pk")
    for each in mended:
        say(f"found meanwhile, and gone since: {each}")
    kills = ", ".join(f"{name} {times}" for name, times in sorted(tally.killed.items()))
    say(f"killed: {kills or 'nobody'}; {tally.again} of {tally.calls} calls were sent once more")
    say(
        f"{len(tally.sent)} submitted, {len(tally.taken)} accepted, {tally.replays} sent twice,"
        f" {len(tally.approved)} approved, {len(completed)} ended {ended_s:.0f} s after the last call,"
        f" {sum(map(len, doubled.values()))} doubled, {sum(map(len, lost.values()))} lost"
    )
    for line in wrong:
        say(f"FAIL  {line}")
    if not wrong:
        say("audit is clean, verify_ledger is clean")
    return len(wrong) + (not tally.killed) + (not completed)


def books(file: Path) -> tuple[set[str], Counter[str]]:
    """Return the target's effects under keys of this trial, and how often each invoice was paid."""
    with closing(sqlite3.connect(f"file:{file}?mode=ro", uri=True)) as database:
        keys = {key for (key,) in database.execute("SELECT key FROM operations")}
        paid = database.execute(
            "SELECT b.number FROM payments p JOIN bills b ON b.id = p.bill WHERE p.credited = 0"
        )
        numbers = Counter(
            number.removeprefix("INV-") for (number,) in paid if number.startswith("INV-two-")
        )
    return {key for key in keys if "two-" in key}, numbers


def unclean(demo: Demo) -> list[tuple[str, str]]:
    """Return what is not clean of the record and the audits, given a while to close what was late."""
    until = time.monotonic() + CLEAN_WITHIN_S
    while True:
        found = []
        for command in ("audit", "verify_ledger"):
            code, said = demo.manage(command, timeout=300)
            if code != 0:
                found.append((command, said.strip()[-600:]))
        if not found or time.monotonic() > until:
            return found
        time.sleep(10)


def main(*, url: str, seconds: float, directory: Path, say: Say) -> int:
    """Return 0 if nothing was lost, doubled, or left unclean."""
    started = time.monotonic()
    wrong = trial(url=url, directory=directory, seconds=seconds, say=say)
    say(json.dumps({"wrong": wrong, "in_s": round(time.monotonic() - started)}))
    return 1 if wrong else 0
