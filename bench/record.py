"""The record: what verifying a million events costs beside reading them, its memory, and the pace of sealing."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from copy import copy
from itertools import cycle
from typing import Any
from uuid import uuid4

from approvals.models import ActionRequest
from bench import floor_record, submit
from bench.databases import World
from bench.rounds import measure, middle, ratios, rounded, say
from bench.rows import analyse, original
from governance import bulk, clock, ledger, seals
from governance.ledger import Entry
from governance.models import AuditEvent
from governance.verify import Totals, findings
from tools.processes import ROOT

TENTHS = 10  # in which the events are written, and sealed
A_CHAIN = 10  # events of one request: those of its submission, again and again
CHAINS_AT_ONCE = 500


def run(world: World, *, events: int, submissions: int, rounds: int) -> dict[str, Any]:
    """Write that many events in tenths, seal each tenth, verify them all; and submit beside it."""
    with world.served(copied := world.copy()) as port:
        per_s = submit.pace(port, world.token, count=submissions)
    world.drop(copied)
    url = world.copy()
    with world.entered(url):
        first = ActionRequest.objects.get(pk=original(climbed=False))
        own = list(AuditEvent.objects.filter(chain=first.ref).order_by("seq"))
        seals.seal_now(clock.now())
        sealed_s, memory = 0.0, []
        chains = max(events // TENTHS // A_CHAIN, 1)
        for tenth in range(TENTHS):
            write(first, own, chains)
            began = time.monotonic()
            seals.seal_now(clock.now())
            sealed_s += time.monotonic() - began
            if tenth in (0, TENTHS - 1):
                analyse()
                memory.append(_peak(url))
        ours: list[float] = []
        floor: list[float] = []
        for number in range(rounds):
            sides = [(ours, _verify), (floor, floor_record.read)]
            for times, side in sides if number % 2 else reversed(sides):
                times.append(_timed(side))
    world.drop(url)
    count = TENTHS * chains * A_CHAIN
    say(
        f"record: {count} events verified in {middle(ours)} s, read in {middle(floor)} s;"
        f" {memory[0]:.0f} MB at a tenth, {memory[1]:.0f} MB at all; sealed {count / sealed_s:.0f}/s,"
        f" submitted {per_s * len(own):.0f}/s"
    )
    return {
        "verify_events_vs_reading": measure(
            middle(ratios(ours, floor)), rounds=rounds, events=count, verify_s=middle(ours),
            reading_s=middle(floor), events_per_s=rounded(count / middle(ours)),
        ),
        "verify_memory_million_vs_tenth": measure(
            memory[1] / memory[0], rounds=1, tenth_mb=rounded(memory[0]), all_mb=rounded(memory[1]),
        ),
        "sealing_vs_submitting": measure(
            count / sealed_s / (per_s * len(own)), rounds=1, sealed_per_s=rounded(count / sealed_s),
            submitted_events_per_s=rounded(per_s * len(own)), events_a_submission=len(own),
        ),
    }  # fmt: skip


def write(first: ActionRequest, own: list[AuditEvent], chains: int) -> None:
    """Add so many requests like the first, each with a chain of such events of its own, linked and hashed."""
    for done in range(0, chains, CHAINS_AT_ONCE):
        requests, entries = [], []
        for _ in range(min(CHAINS_AT_ONCE, chains - done)):
            request = copy(first)
            request._state = copy(first._state)
            mark = uuid4().hex
            request.pk, request.ref = None, f"V{mark[:15]}"
            request.idempotency_key = request.business_key = f"bench-{mark}"
            linked = list(_linked(request.ref, own))
            request.chain_length, request.chain_hash = len(linked), linked[-1].hash
            requests.append(request)
            entries += linked
        bulk.insert(requests)
        bulk.insert_rows(AuditEvent, Entry._fields, entries)


def _linked(chain: str, own: list[AuditEvent]) -> Iterator[Entry]:
    last = ledger.genesis(chain)
    for seq, each in zip(range(1, A_CHAIN + 1), cycle(own), strict=False):
        parts = (
            chain, seq, each.kind, each.actor, each.on_behalf_of, each.facts, each.cause,
            each.at,
        )  # fmt: skip
        entry = Entry(*parts, last, ledger.event_hash(*parts, last))
        last = entry.hash
        yield entry


def _verify() -> int:
    totals = Totals()
    found = list(findings(clock.now(), totals))
    if found:
        raise RuntimeError(f"the events of the benchmark do not hold: {found[0]}")
    return totals.events


def _timed(call: Callable[[], int]) -> float:
    began = time.monotonic()
    call()
    return time.monotonic() - began


def _peak(url: str) -> float:
    """Return the most resident memory of a `verify_ledger` of its own process, in MB."""
    from django.conf import settings
    from django.db import connection

    connection.close()
    process = subprocess.Popen(
        [sys.executable, "manage.py", "verify_ledger"],
        cwd=ROOT,
        env={**os.environ, "DATABASE_URL": url, "SEAL_EXPORT": str(settings.SEAL_EXPORT)},
        stdout=subprocess.DEVNULL,
    )
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise RuntimeError("verify_ledger is not content with the events of the benchmark")
    return used.ru_maxrss / 1024
