"""Whole cycles a second: submitted, decided, carried out on the demo's target, completed."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from copy import deepcopy
from typing import Any

from approvals.models import ActionRequest
from bench.databases import World
from bench.load import Sent, expect, fire
from bench.rounds import measure, rounded, say
from governance import clock
from governance.catalogue import CATALOGUE
from governance.models import Person
from governance.services.tokens import issue_personal_token
from tools.demo import Demo

DECIDER = "finance_manager"
PATH = "/api/v1/requests/"
PATIENCE_S = 300.0


def run(world: World, *, count: int) -> dict[str, Any]:
    """Send `count` submissions to a demo of its own, approve each, and wait until all are completed."""
    with _demo(world) as (demo, url):
        with world.entered(url):
            person = Person.objects.get(username=DECIDER)
            token, _ = issue_personal_token(person, now=clock.real_now())
        began = time.monotonic()
        (taken,) = fire(demo.port, [_submissions(world.token, count)])
        expect(taken, 201)
        with world.entered(url):
            waiting = list(ActionRequest.objects.order_by("pk").values_list("ref", "digest"))
        (decided,) = fire(demo.port, [[_approval(*each, token) for each in waiting]])
        expect(decided, 200)
        decided_at = time.monotonic()
        with world.entered(url):
            _wait(count)
        ended = time.monotonic()
    asking, doing = decided_at - began, ended - decided_at
    say(f"cycle: {count}, submitted and decided in {asking:.1f} s, completed {doing:.1f} s later")
    return {
        "cycle_per_s": measure(
            count / (ended - began), rounds=1, cycles=count,
            submit_and_decide_s=rounded(asking), until_completed_s=rounded(doing),
        )
    }  # fmt: skip


@contextmanager
def _demo(world: World) -> Iterator[tuple[Demo, str]]:
    url = world.copy()
    with Demo(database_url=url, keep=True, prepare=False) as demo:
        yield demo, url
    world.drop(url)


def _submissions(token: str, count: int) -> list[Sent]:
    example = next(entry["example"] for entry in CATALOGUE if entry["key"] == "vendor_payment")
    found: list[Sent] = []
    for number in range(count):
        body = deepcopy(example)
        # To one vendor they would be summed, and be for others to decide.
        body["payload"] |= {"invoice": f"INV-CYCLE-{number}", "vendor": f"Vendor {number}"}
        headers = {
            "Authorization": f"Bearer {token}",
            "Idempotency-Key": f"cycle-{number}",
            "Content-Type": "application/json",
        }
        found.append(("POST", PATH, headers, json.dumps(body)))
    return found


def _approval(ref: str, digest: str, token: str) -> Sent:
    body = {"verdict": "approve", "digest": digest}
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
    return "POST", f"{PATH}{ref}/decisions/", headers, json.dumps(body)


def _wait(count: int) -> None:
    deadline = time.monotonic() + PATIENCE_S
    completed = ActionRequest.objects.filter(state=ActionRequest.State.COMPLETED)
    while (done := completed.count()) < count:
        if time.monotonic() > deadline:
            raise TimeoutError(f"{done} of {count} were completed within {PATIENCE_S:.0f} s")
        time.sleep(0.1)
