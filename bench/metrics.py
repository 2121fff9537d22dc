"""The page of metrics where a thousand requests have ended, where a million have, and beside an empty page."""

from __future__ import annotations

import time
from datetime import timedelta
from typing import Any

from bench import rows
from bench.databases import World
from bench.inbox import Reader
from bench.rounds import measure, middle, ratios, say
from governance import clock

READER = "auditor"
PATH = "/metrics/"
EMPTY = "/inbox/"  # of somebody who is asked nothing: the frame, and a page that says so
SHOWN = "/requests/"


def run(world: World, *, few: int, many: int, pages: int, rounds: int) -> dict[str, Any]:
    """Read the page `pages` times a round on each of two servers, and the empty one on the larger, in turns."""
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
        climbed = rows.ended(climbed=True)
        rows.copies(rows.ended(climbed=False), count, due_at=clock.now(), every=timedelta(0))
        rows.counted(climbed, count)
        rows.analyse()
    say(f"{count} requests that have ended were made in {time.monotonic() - began:.0f} s")
    return url


def _measured(
    world: World, ports: tuple[int, int], *, few: int, many: int, pages: int, rounds: int
) -> dict[str, Any]:
    small, large = (Reader(port, world.password, READER) for port in ports)
    visits = ((small, PATH), (large, PATH), (large, EMPTY))
    for _ in range(4):  # every process has compiled its templates then
        for reader, path in visits:
            page = reader.get(path)
            if (SHOWN in page.partition('id="cases"')[2]) != (path == PATH):
                raise RuntimeError(f"{path} does not show what it should")
    medians: list[list[float]] = [[], [], []]
    for number in range(rounds):
        taken: list[list[float]] = [[], [], []]
        for turn in range(len(visits) * pages):
            which = (turn + number) % len(visits)
            reader, path = visits[which]
            began = time.perf_counter()
            reader.get(path)
            taken[which].append(time.perf_counter() - began)
        for which, each in enumerate(taken):
            medians[which].append(middle(each))
        said = ", ".join(f"{each[-1] * 1000:.0f} ms" for each in medians)
        say(f"metrics, round {number + 1} of {rounds}: {said} of {few}, of {many}, and empty")
    told: dict[str, Any] = {
        "rounds": rounds, "few": few, "many": many, "pages": pages,
        "few_p50_ms": middle(medians[0]) * 1000, "many_p50_ms": middle(medians[1]) * 1000,
        "empty_p50_ms": middle(medians[2]) * 1000,
    }  # fmt: skip
    return {
        "metrics_million_vs_thousand": measure(middle(ratios(medians[1], medians[0])), **told),
        "metrics_vs_empty_page": measure(middle(ratios(medians[1], medians[2])), **told),
    }
