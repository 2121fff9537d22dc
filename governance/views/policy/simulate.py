"""What a draft would have changed in the last ninety days: four numbers, and the list behind each."""

from __future__ import annotations

from typing import Any, NamedTuple

from django.core.paginator import Paginator
from django.http import HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from governance import clock, wording
from governance.simulation import DAYS, Load, Simulation, simulate
from governance.views.policy.edge import PolicyRequest, for_readers, frame_of, version_or_404

PAGE = 50  # rows
NAMED = 12  # people in one cell of a list


class Tile(NamedTuple):
    """A number, and the list that it is the length of. `key` chooses the list in the address."""

    key: str
    words: str
    number: str
    under: str


@require_safe
@for_readers
def version_simulate(request: PolicyRequest, number: int) -> HttpResponse:
    """Show the numbers, and one list: `?show=`, with `?page=`; of `load` with `?person=` their requests."""
    version = version_or_404(number)
    found = simulate(version, now=clock.now())
    tiles = _tiles(found)
    shown = next((each for each in tiles if each.key == request.GET.get("show")), tiles[0])
    username = request.GET.get("person", "")
    person = next((each for each in found.load if each.username == username), None)
    if shown.key != "load":
        person = None
    page = Paginator(_rows(found, shown.key, person), PAGE).get_page(request.GET.get("page"))
    context: dict[str, Any] = frame_of(request, version) | {
        "found": found,
        "days": DAYS,
        "tiles": tiles,
        "shown": shown,
        "person": person,
        "page": page,
        "kept": f"show={shown.key}" + (f"&person={person.username}" if person else ""),
        "named": NAMED,
    }
    return render(request, "policy/simulate.html", context)


def _tiles(found: Simulation) -> tuple[Tile, ...]:
    against = f"version {found.against}" if found.against is not None else "no version"
    of_all = f"of {wording.plural(found.requests, 'request')}"
    moved = sum(1 for each in found.load if each.more)
    new = sum(1 for each in found.holes if each.is_new)
    before = (
        f"by {against}: {_share(found.share_passed_over_before)}"
        if found.against is not None
        else "no version is in force"
    )
    return (
        Tile("changes", "Others would be asked", _count(found.changes), of_all),
        Tile("load", "People asked more or less", f"{moved:,}", f"of {_count(found.load)} who are asked first"),
        Tile("holes", "Would meet a hole", _count(found.holes), f"{new:,} of them not by {against}"),
        Tile("passed", "Somebody passed over", _share(found.share_passed_over),
             f"{_count(found.passed_over)} {of_all}; {before}"),
    )  # fmt: skip


def _rows(found: Simulation, key: str, person: Load | None) -> Any:
    if person is not None:
        before, after = set(person.before), set(person.after)
        return [
            (ref, ref in before, ref in after)
            for ref in dict.fromkeys([*person.before, *person.after])
        ]
    lists = {"changes": found.changes, "load": found.load, "holes": found.holes}
    return lists.get(key, found.passed_over)


def _count(rows: tuple[Any, ...]) -> str:
    return f"{len(rows):,}"


def _share(share: float | None) -> str:
    """Say a share in percent; a small one is not said as none."""
    if share is None:
        return "none made"
    if 0 < share < 0.01:
        return f"under 1{wording.NBSP}%"
    return f"{share * 100:.0f}{wording.NBSP}%"
