"""Submissions a second through the whole stack, against the floor in the same server."""

from __future__ import annotations

import json
from copy import deepcopy
from typing import Any

from bench.databases import World
from bench.load import Sent, expect, fire
from bench.rounds import measure, middle, percentile, ratios, say

PATH, FLOOR = "/api/v1/requests/", "/bench/floor/"
SLICES = 20  # of each side in a round, in turns: what disturbs one disturbs the other


def run(world: World, *, count: int, rounds: int) -> dict[str, Any]:
    """Send `count` submissions a round to each side, over four connections."""
    with world.served(world.copy()) as port:
        return _measured(port, world.token, count=count, rounds=rounds)


def pace(port: int, token: str, *, count: int) -> float:
    """Return how many submissions a second are taken, of `count` over four connections."""
    from governance.catalogue import CATALOGUE

    example = next(entry["example"] for entry in CATALOGUE if entry["key"] == "vendor_payment")
    fire(port, [_submissions(PATH, example, token, "warm", 40)])
    (answer,) = fire(port, [_submissions(PATH, example, token, "pace", count)])
    expect(answer, 201)
    return count / float(answer["seconds"])


def _measured(port: int, token: str, *, count: int, rounds: int) -> dict[str, Any]:
    from governance.catalogue import CATALOGUE

    example = next(entry["example"] for entry in CATALOGUE if entry["key"] == "vendor_payment")
    ours_per_s, floor_per_s, ours_p99, floor_p99 = [], [], [], []
    size = max(count // SLICES, 10)
    fire(port, [_submissions(PATH, example, token, "warm", 40)])
    fire(port, [_submissions(FLOOR, example, token, "warm", 40)])
    for number in range(rounds):
        slices = [
            _submissions(path, example, token, f"{number}-{part}", size)
            for part in range(SLICES)
            for path in _in_turns(number + part)
        ]
        paths = [requests[0][1] for requests in slices]
        answers = fire(port, slices)
        for answer in answers:
            expect(answer, 201)
        for path, per_s, p99 in ((PATH, ours_per_s, ours_p99), (FLOOR, floor_per_s, floor_p99)):
            own = [answer for answer, sent in zip(answers, paths, strict=True) if sent == path]
            per_s.append(SLICES * size / sum(each["seconds"] for each in own))
            p99.append(percentile([one for each in own for one in each["latencies"]], 0.99))
        say(
            f"submit, round {number + 1} of {rounds}: {ours_per_s[-1]:.0f}/s, floor {floor_per_s[-1]:.0f}/s;"
            f" p99 {ours_p99[-1] * 1000:.0f} ms, floor {floor_p99[-1] * 1000:.0f} ms"
        )
    return {
        "submit_vs_floor": measure(
            middle(ratios(ours_per_s, floor_per_s)), rounds=rounds,
            per_s=middle(ours_per_s), floor_per_s=middle(floor_per_s), sent=rounds * SLICES * size,
        ),
        "submit_p99_vs_floor": measure(
            middle(ratios(ours_p99, floor_p99)), rounds=rounds,
            p99_ms=middle(ours_p99) * 1000, floor_p99_ms=middle(floor_p99) * 1000,
        ),
    }  # fmt: skip


def _in_turns(number: int) -> tuple[str, str]:
    return (PATH, FLOOR) if number % 2 else (FLOOR, PATH)


def _submissions(path: str, example: Any, token: str, tag: str, count: int) -> list[Sent]:
    """Return submissions of other invoices to other vendors, each with a key of its own."""
    found: list[Sent] = []
    for number in range(count):
        body = deepcopy(example)
        # What goes to one vendor within a day is summed, and would soon be nobody's to decide.
        body["payload"] |= {"invoice": f"INV-{tag}-{number}", "vendor": f"Vendor {tag}-{number}"}
        key = f"bench-{tag}-{number}"
        headers = {
            "Authorization": f"Bearer {token}",
            "Idempotency-Key": key,
            "Content-Type": "application/json",
        }
        sent = body if path == PATH else _bare(body, f"floor-{key}")
        found.append(("POST", path, headers, json.dumps(sent)))
    return found


def _bare(body: dict[str, Any], key: str) -> dict[str, Any]:
    """Return the same as the floor takes it: what the product finds out is sent to it."""
    payload = body["payload"]
    return {
        "idempotency_key": key,
        "title": f"Pay $12,000.00 to {payload['vendor']}",
        "amount": payload["amount"]["value"],
        "currency": payload["amount"]["currency"],
        "payload": payload,
        "justification": body["justification"],
    }
