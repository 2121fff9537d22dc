"""What carrying out costs: from approval to completed, executions a second, a worker's memory.

On the demo's target, by the worker of the Procfile. Beside each figure, taken in the same run,
stands what the target itself does for a client of its own.
"""

from __future__ import annotations

import http.client
import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from copy import copy, deepcopy
from itertools import count as counting
from pathlib import Path
from statistics import median
from typing import Any
from urllib.parse import urlsplit
from uuid import uuid4

from django.conf import settings
from django.db import transaction

from approvals import templating
from approvals.digests import digest_of
from approvals.models import ActionRequest, Decision, Resource
from approvals.services.decide import decide
from bench.databases import World
from bench.rounds import measure, middle, percentile, rounded, say
from bench.rows import original
from governance import bulk, clock
from governance.models import Person
from tools.demo import Demo

DECIDER = "finance_manager"
POLL_S = float(settings.Q_CLUSTER["poll"])  # between two looks of the task queue
LOOK_S = 0.05
PATIENCE_S = 1800.0
BARE = 200  # of the target's own calls, before and after each run
S = ActionRequest.State


def run(world: World, *, singles: int, executions: int, few: int) -> dict[str, Any]:
    """Carry out `singles` one after the other; `few` at once by one worker; `executions` by two."""
    url = world.copy()
    with world.entered(url), _demo(url, runners=1) as demo:
        found = _one_by_one(demo, singles)
        one, _ = _at_once(demo, few, few)
    world.drop(url)
    url = world.copy()
    with world.entered(url), _demo(url, runners=2) as demo:
        two, memory = _at_once(demo, executions, few)
    world.drop(url)
    return {
        **found,
        "executions_per_s": measure(one["per_s"], rounds=1, one_worker=one, two_workers=two),
        "worker_memory_many_vs_few": memory,
    }


@contextmanager
def _demo(url: str, *, runners: int) -> Iterator[Demo]:
    """Run the demo with this many processes that carry out; one more does all else."""
    surroundings = {"WORKER_PROCESSES": str(runners + 1)}
    with Demo(database_url=url, keep=True, prepare=False, environment=surroundings) as demo:
        yield demo


def _one_by_one(demo: Demo, number: int) -> dict[str, Any]:
    """Approve one, wait for its end, approve the next; and call the target itself in turns with that."""
    person = Person.objects.get(username=DECIDER)
    target = Target(demo)
    ours, own = [], []
    for _ in range(number):
        request = ActionRequest.objects.get(pk=original(climbed=False))
        decide(
            ref=request.ref, actor=person, verdict="approve", digest=request.digest, now=clock.now()
        )
        _wait(ActionRequest.objects.filter(pk=request.pk, state=S.COMPLETED), 1, patience_s=60)
        ended = ActionRequest.objects.get(pk=request.pk).ended_at
        ours.append((ended - Decision.objects.get(step__request=request).at).total_seconds())
        own.append(target.pay())
    allowed = 5 * median(own) + POLL_S
    say(f"execute: {number} in turn, p50 {median(ours) * 1000:.0f} ms of {allowed * 1000:.0f} ms")
    return {
        "approve_to_completed_vs_allowed": measure(
            median(ours) / allowed, rounds=number, p50_ms=middle(ours) * 1000,
            p99_ms=rounded(percentile(ours, 0.99)) * 1000, call_p50_ms=middle(own) * 1000,
            poll_ms=POLL_S * 1000,
        )
    }  # fmt: skip


def _at_once(demo: Demo, number: int, few: int) -> tuple[dict[str, float], dict[str, Any]]:
    """Have `number` carried out that were approved at one instant. Returns the pace and the memory."""
    runners = int(demo.environment["WORKER_PROCESSES"]) - 1
    before = bare(demo, runners)
    done = ActionRequest.objects.filter(state=S.COMPLETED)
    done_before = done.count()
    approved_copies(number)
    began = time.monotonic()
    _wait(done, done_before + min(few, number))
    at_few = _memory(demo)
    _wait(done, done_before + number)
    seconds, at_many = time.monotonic() - began, _memory(demo)
    alone = median([before, bare(demo, runners)])
    say(f"execute: {number} by {runners}, {number / seconds:.1f}/s; the target alone {alone:.0f}/s")
    pace = {
        "per_s": rounded(number / seconds), "executions": number,
        "target_per_s": rounded(alone), "vs_target": rounded(number / seconds / alone),
    }  # fmt: skip
    memory = measure(
        at_many / at_few, rounds=1, few=min(few, number), many=number,
        few_mb=rounded(at_few / 2**20), many_mb=rounded(at_many / 2**20),
    )  # fmt: skip
    return pace, memory


def _wait(rows: Any, count: int, *, patience_s: float = PATIENCE_S) -> None:
    deadline = time.monotonic() + patience_s
    while (found := rows.count()) < count:
        if time.monotonic() > deadline:
            raise TimeoutError(f"{found} of {count} were completed within {patience_s:.0f} s")
        time.sleep(LOOK_S)


def _memory(demo: Demo) -> int:
    """Return the resident bytes of the worker's processes, all together."""
    found = 0
    for pid in demo.pids("worker"):
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                found += int(line.split()[1]) * 1024
    return found


@transaction.atomic
def approved_copies(number: int) -> None:
    """Add requests that are approved and wait for a worker, each with an invoice and a record of its own.

    Copies of one that the product made: what a worker checks of each, it finds as it should be.
    """
    first = ActionRequest.objects.select_related(
        "action_type", "agent", "department", "resource", "on_behalf_of"
    ).get(pk=original(climbed=False))
    person = Person.objects.get(username=DECIDER)
    decide(ref=first.ref, actor=person, verdict="approve", digest=first.digest, now=clock.now())
    approved = ActionRequest.objects.get(pk=first.pk)
    requests, resources = [], []
    mark = uuid4().hex[:12]
    for n in range(number - 1):
        each = copy(first)
        each.__dict__ |= {"_state": copy(first._state), "state": approved.state}
        each._state.fields_cache = dict(first._state.fields_cache)
        each.payload = deepcopy(first.payload) | {"invoice": f"B{mark}-{n}"}
        each.resource = Resource(key=templating.key(first.action_type.resource_key, each.payload))
        each.business_key = templating.key(first.action_type.business_key, each.payload)
        each.pk, each.ref, each.idempotency_key = None, f"B{mark[:6]}{n}", f"{mark}-{n}"
        each.digest = digest_of(each)
        each.holds_key, each.due_at = True, approved.due_at
        each.read_due_at, each.chain_length, each.chain_hash = None, 0, ""
        requests.append(each)
        resources.append(each.resource)
    bulk.give_keys(resources)
    bulk.insert(resources)
    bulk.link(requests, "resource")
    bulk.insert(requests)


def bare(demo: Demo, connections: int) -> float:
    """Return how many payments a second the target does for clients that do nothing else."""
    clients = [Target(demo) for _ in range(connections)]
    each = max(BARE // connections, 1)
    threads = [
        threading.Thread(target=lambda client=client: [client.pay() for _ in range(each)])
        for client in clients
    ]
    began = time.monotonic()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return each * connections / (time.monotonic() - began)


class Target:
    """One open connection to the demo's target."""

    _numbers = counting()

    def __init__(self, demo: Demo) -> None:
        address = urlsplit(demo.target["url"])
        self._token = demo.target["token"]
        self._http = http.client.HTTPConnection(str(address.hostname), address.port, timeout=30)

    def pay(self) -> float:
        """Have one payment made; return the seconds it took."""
        number = next(self._numbers)
        body = {
            "vendor": "Bare", "invoice": f"BARE-{uuid4().hex[:8]}-{number}", "terms": "Net 30",
            "payment_date": "2026-12-31", "amount": {"value": "12000.00", "currency": "USD"},
        }  # fmt: skip
        headers = {
            "Authorization": f"Bearer {self._token}",
            "Idempotency-Key": f"bare-{uuid4()}",
            "Content-Type": "application/json",
        }
        began = time.monotonic()
        self._http.request("POST", "/payments", json.dumps(body), headers)
        answer = self._http.getresponse()
        told = answer.read()
        took = time.monotonic() - began
        if answer.status not in (200, 201):
            raise RuntimeError(f"the target answered {answer.status}: {told[:300]!r}")
        return took
