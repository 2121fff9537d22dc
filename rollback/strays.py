"""What targets say they did under our keys, page by page from their own lists, against our units.

The other audit of effects asks about units that we know of. This one finds what
was done under a key that no unit of ours was ever sent under: rows that are
lost, as after a restore; and what was done after all where a target has a list,
and cannot be asked by key. Nothing young needs sparing: an intent is committed
before its call, and our rows are read after the list.
"""

from __future__ import annotations

import re
import time
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator
from datetime import datetime
from random import sample
from typing import NamedTuple

from django.conf import settings
from django.db import DataError, IntegrityError
from django.db.models import Exists, OuterRef, Q, QuerySet

from approvals import templating
from governance import clock, wording
from governance.audits import SHOWN, Found, audit, numbers_in
from governance.models import ActionType
from rollback.connectors import registry
from rollback.connectors.base import CallFailed, Connector, Effect, NotDone, Page
from rollback.models import Bookmark, Stray, Unit
from rollback.services import strays as services

OF_STRAYS = "effects_unaccounted_for"
PAGES_AT_ONCE = 30  # of one list in one round
ROUND_S = 10.0  # real seconds; with the other audit that calls targets, below the task's time-out
SILENT_AFTER_S = 3600.0  # real seconds without getting on; a list that is not read is a finding
SETTLED_AFTER_S = 600.0  # real seconds after the end, before what was not done is asked about
SETTLED_AT_ONCE = 500  # looked at in one query
STRAY = "stray "  # what the keys of its findings begin with
KEY_LENGTH = 500  # of Unit.key
# What a page, or a stored configuration, may come to that nobody thought of. A database that is away is none of it.
ODD = (
    ArithmeticError, AttributeError, LookupError, TypeError, ValueError, DataError, IntegrityError,
)  # fmt: skip

U = Unit.State
_KEY = re.compile(r"(?P<business>.+)~[0-9]+/(?:undo/)?[0-9]+")  # DESIGN 5


class Source(NamedTuple):
    """One list of one target, whom to ask for it, and which business keys are ours there."""

    target: str
    name: str
    connector: Connector
    ours: re.Pattern[str]


def _again(keys: Collection[str], now: datetime) -> Iterator[Found]:
    numbers = numbers_in(keys, STRAY)
    for stray in unexplained(now).filter(pk__in=numbers):
        yield _found(stray)


@audit(
    "Read “Effects that nothing here accounts for” in operations.md. It goes by itself once a unit"
    " has a checkpoint under this key, and else once a person says what became of it.",
    again=_again,
    page="rollback:strays",
)
def effects_unaccounted_for(now: datetime) -> Iterator[Found]:
    """Something that a target lists under a key of ours, and nothing here accounts for.

    Each list is read on from where it was left, so many pages a round. A target
    that cannot be asked clears nothing, and is itself a finding after an hour.
    """
    until = time.monotonic() + ROUND_S
    read, unread = sources()
    read_on(read, now, enough=lambda: time.monotonic() > until)
    _settle_what_is_accounted_for(now)
    yield from unread
    for stray in unexplained(now)[:SHOWN]:
        yield _found(stray)
    lists = {(each.target, each.name) for each in read}
    late = now - clock.technical(SILENT_AFTER_S)
    for mark in Bookmark.objects.filter(read_at__lt=late).order_by("pk"):
        if (mark.target, mark.name) in lists:
            yield Found(
                f"list {mark.pk}",
                f"{mark.target} has not told what it did since {mark.read_at:%d %b %H:%M} UTC:"
                f" {mark.problem or 'nobody came to ask it'}. Its list: {mark.name}",
            )


def unexplained(now: datetime) -> QuerySet[Stray]:
    """Return what is not settled, the oldest first.

    Without what a unit may be the explanation of: its call is under way, or it waits for
    somebody to say what became of it. Once its request has ended for a good while it explains
    nothing, whether it is to be asked about again or not.
    """
    settled = now - clock.technical(SETTLED_AFTER_S)
    in_doubt = Unit.objects.filter(
        Q(request__ended_at__isnull=True) | Q(request__ended_at__gte=settled),
        request=OuterRef("request"),
        key=OuterRef("key"),
        state__in=(U.SENT, U.UNKNOWN),
        audited_at__isnull=True,
    )
    return Stray.objects.filter(~Exists(in_doubt), settled_at__isnull=True).order_by("pk")


def sources() -> tuple[list[Source], list[Found]]:
    """Return the lists of all targets to which something of ours can be sent, by the versions in production.

    Keys are ours by the templates of every version that was ever more than a draft. And the
    versions of which none of this can be told, by their stored configuration: they stop no other.
    """
    templates: dict[str, set[str]] = defaultdict(set)
    offered: dict[tuple[str, str], Connector] = {}
    unread = []
    kinds = ActionType.objects.exclude(state=ActionType.State.DRAFT)
    for kind in kinds.filter(connector__in=registry.KINDS).order_by("-pk"):
        try:
            connector = registry.connector_for(kind)
            if not settings.TARGETS.get(connector.target, {}).get("url"):
                continue
            names = connector.lists if kind.state == ActionType.State.PRODUCTION else ()
        except ODD as problem:
            said = (
                f"Nobody can tell which lists {kind} has, and which keys: {wording.defect(problem)}"
            )
            unread.append(Found(f"action type {kind.pk}", said))
            continue
        templates[connector.target].add(templating.pattern(kind.business_key))
        for name in names:
            offered.setdefault((connector.target, name), connector)
    ours = {target: re.compile("|".join(sorted(each))) for target, each in templates.items()}
    lists = [
        Source(target, name, connector, ours[target])
        for (target, name), connector in offered.items()
    ]
    return lists, unread


def read_on(
    lists: Iterable[Source],
    now: datetime,
    *,
    enough: Callable[[], bool] = lambda: False,
    pages: int = PAGES_AT_ONCE,
) -> int:
    """Read on in each list, until it ends or it is enough. Returns how many entries were read.

    In an order of its own each time, so that one that takes long keeps no other
    from its turn for ever; a target that cannot be reached is left till the next round.
    What stops one list is kept with its bookmark, and stops no other.

    Args:
        pages: of each list at most.
    """
    lists = list(lists)
    away: dict[str, str] = {}
    total = 0
    for source in sample(lists, len(lists)):
        mark = _bookmark(source, now)
        began = mark.read_at
        if source.target in away:
            services.note_silence(mark, away[source.target])
            continue
        places: set[str] = set()
        for _ in range(pages):
            if enough():
                break
            mark = _bookmark(source, now)
            if mark.after in places:
                services.note_circle(mark, since=began)
                break
            places.add(mark.after)
            try:
                page = source.connector.listed(source.name, mark.after)
                found, again = _compared(source, page, now)
                turned = services.turn(mark, page, found, again, now=now)
            except CallFailed as problem:
                services.note_silence(mark, problem.said)
                if isinstance(problem, NotDone):
                    away[source.target] = problem.said
                break
            except ODD as problem:
                services.note_silence(mark, f"its page cannot be kept: {problem!r}")
                break
            total += len(page.effects)
            if not page.more or page.after == mark.after:
                break
            if not turned:  # another round was faster: on from where it is
                places.clear()
        else:
            services.note_silence(mark, f"there is more after {pages:,} pages")
    return total


def _bookmark(source: Source, now: datetime) -> Bookmark:
    mark, _ = Bookmark.objects.get_or_create(
        target=source.target, name=source.name, defaults={"read_at": now}
    )
    return mark


def _compared(source: Source, page: Page, now: datetime) -> tuple[list[Stray], list[int]]:
    """Return what no unit accounts for, and the units that their target is to be asked about again.

    A unit that was sent is for the other audit where the target can be asked by key: the
    list may tell of no more than a mark. Of one that was asked about before, it is news.
    """
    own = {each.key: each for each in page.effects if _is_ours(source, each.key)}
    units = _units_of(own)
    found, again = [], []
    for key, effect in own.items():
        if any(map(_has_checkpoint, units[key])):
            continue
        asked = [each for each in units[key] if each.sent_at is not None and _can_be_asked(each)]
        again += [each.pk for each in asked if each.audited_at is not None]
        if not asked:
            request = units[key][0].request_id if units[key] else None
            found.append(_stray(source, effect, now, request))
    return found, again


def _is_ours(source: Source, key: str) -> bool:
    shape = _KEY.fullmatch(key)
    if shape is None or len(key) > KEY_LENGTH:
        return False
    return source.ours.fullmatch(shape["business"]) is not None


def _units_of(keys: Iterable[str]) -> dict[str, list[Unit]]:
    """Return the units of each key. They are found by their requests: of units no index has all keys."""
    keys = list(keys)
    businesses = {shape["business"] for key in keys if (shape := _KEY.fullmatch(key))}
    found: dict[str, list[Unit]] = defaultdict(list)
    rows = Unit.objects.filter(request__business_key__in=businesses, key__in=keys)
    for unit in rows.select_related("request__action_type").order_by("-pk"):
        found[unit.key].append(unit)
    return found


def _has_checkpoint(unit: Unit) -> bool:
    return unit.state in (U.DONE, U.REVERSED)


def _can_be_asked(unit: Unit) -> bool:
    try:
        return registry.connector_for(unit.request.action_type).gives.lookup
    except ODD:  # its configuration is a finding of its own
        return False


def _stray(source: Source, effect: Effect, now: datetime, request: int | None) -> Stray:
    return Stray(
        target=source.target,
        key=effect.key,
        reference=effect.reference,
        said_at=effect.at,
        request_id=request,
        found_at=now,
    )


def _settle_what_is_accounted_for(now: datetime) -> None:
    last = 0
    while keys := dict(
        Stray.objects.filter(pk__gt=last, settled_at__isnull=True)
        .order_by("pk")
        .values_list("pk", "key")[:SETTLED_AT_ONCE]
    ):
        last = max(keys)
        units = _units_of(set(keys.values()))
        done = [pk for pk, key in keys.items() if any(map(_has_checkpoint, units[key]))]
        services.be_accounted_for(done, now=now)


def _found(stray: Stray) -> Found:
    what = ", ".join(each for each in (stray.reference, stray.said_at) if each)
    text = (
        f"{stray.target} lists {stray.key}{f' ({what})' if what else ''},"
        " and nothing here accounts for it."
    )
    return Found(f"{STRAY}{stray.pk}", text, stray.request_id)
