"""What every page needs to draw its frame: the time, the way round, and whether all is well."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta, tzinfo
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from django.conf import settings
from django.http import HttpRequest
from django.urls import reverse
from django.utils import timezone
from django.utils.functional import SimpleLazyObject
from django.utils.module_loading import import_string
from django_htmx.middleware import HtmxDetails

from governance import clock, wording
from governance.metrics import access
from governance.services.auditing import READS_THE_RECORD
from governance.vocabulary import Duty, Path

TRY_RULES = (Duty.COMPLIANCE, Duty.POLICY_ADMIN)  # on the bench
SEE_POLICY = (Duty.POLICY_ADMIN, Duty.AUDITOR)
SEE_ACTIONS = (Duty.POLICY_ADMIN, Duty.AUDITOR, Duty.OPERATOR)
# Who may see requests that nobody asked them about.
OVERSEERS = (Duty.OPERATOR, Duty.AUDITOR, Duty.COMPLIANCE, Duty.POLICY_ADMIN)


@dataclass(frozen=True)
class NavItem:
    """One way round. `key` is also what a page calls itself: `here`."""

    key: str
    label: str
    url: str
    icon: str
    go: str  # the letter after `g`
    count: int | None = None
    is_here: bool = False
    overdue: int = 0  # of those counted


@dataclass(frozen=True)
class Lane:
    """One line under Inbox in the rail."""

    path: str
    sign: wording.PathSign
    count: int
    due_at: datetime | None
    soon: timedelta | None


def frame(request: HttpRequest) -> dict[str, Any]:
    """Give every template the time and the reader's zone; whole pages also their frame.

    Adds `now` (business time, UTC), `speed` (business seconds in a real one), `zone` (the
    reader's, also activated), `zone_word`, `frame` (what `settings.RECOURSE_FRAME` returns
    for the reader), `nav` and `lanes`. The last three are read when a template first uses
    them, and are empty for strangers and for htmx, which is given parts of pages.
    """
    now = clock.now()
    person = getattr(request, "user", None)
    known = bool(person and person.is_authenticated)
    zone = _zone_of(person) if known else ZoneInfo("UTC")
    timezone.activate(zone)
    context: dict[str, Any] = {
        "now": now,
        "speed": clock.speed(),
        "zone": zone,
        "zone_word": wording.zone_word(now, zone),
        "frame": None,
        "nav": (),
        "lanes": (),
    }
    if known and not _is_part(request):
        facts: Any = SimpleLazyObject(lambda: _facts(person, now))
        context["frame"] = facts
        context["nav"] = SimpleLazyObject(lambda: _nav(request, person, facts))
        context["lanes"] = SimpleLazyObject(lambda: _lanes(facts, now))
    return context


def _is_part(request: HttpRequest) -> bool:
    htmx: HtmxDetails | None = getattr(request, "htmx", None)
    return htmx is not None and bool(htmx) and not (htmx.boosted or htmx.history_restore_request)


def _facts(person: Any, now: datetime) -> Any:
    return import_string(settings.RECOURSE_FRAME)(person, now)  # approvals is above this package


def _zone_of(person: Any) -> tzinfo:
    try:
        return ZoneInfo(person.time_zone)
    except (ZoneInfoNotFoundError, ValueError):
        return ZoneInfo("UTC")  # the page names the zone, so that the fallback is seen


def _nav(request: HttpRequest, person: Any, facts: Any) -> tuple[NavItem, ...]:
    found = [("inbox", "Inbox", "approvals:inbox", "inbox", "i", facts.inbox_count)]
    if person.is_superuser or person.has_duty(*OVERSEERS):
        found.append(
            ("open", "Open requests", "approvals:open", "list-filter", "o", facts.open_count)
        )
    if facts.review_count is not None:
        found.append(("reviews", "Reviews", "approvals:reviews", "scale", "r", facts.review_count))
    if access.may_read(person):
        found.append(("metrics", "Metrics", "governance:metrics", "chart-line", "m", None))
    if person.is_superuser or person.has_duty(*SEE_POLICY):
        found.append(("policy", "Policy", "governance:policy", "grid-3x3", "p", None))
    if person.is_superuser or person.has_duty(*SEE_ACTIONS):
        found.append(("actions", "Actions", "rollback:actions", "zap", "a", None))
    if person.is_superuser or person.has_duty(*READS_THE_RECORD):
        found.append(("audit", "Audit", "governance:audit", "scroll-text", "l", None))
    found.append(("people", "People", "governance:people", "user", "u", None))
    if person.is_superuser or person.has_duty(*TRY_RULES):
        found.append(("bench", "Try a rule", "approvals:bench", "shield-check", "t", None))
    return tuple(
        NavItem(
            key,
            label,
            url,
            icon,
            go,
            count,
            is_here=request.path == url,
            overdue=facts.reviews_overdue if key == "reviews" else 0,
        )
        for key, label, name, icon, go, count in found
        for url in [reverse(name)]
    )


def _lanes(facts: Any, now: datetime) -> tuple[Lane, ...]:
    lanes = []
    for path in (*wording.LANES, Path.UNDO):
        waiting = facts.counts.get(path)
        count = waiting.count if waiting else 0
        due_at = waiting.first_due_at if waiting else None
        if count or path != Path.UNDO:  # few are ever asked to undo: no empty line for it
            soon = due_at - now if due_at else None
            lanes.append(Lane(path, wording.SIGNS[path], count, due_at, soon))
    return tuple(lanes)
