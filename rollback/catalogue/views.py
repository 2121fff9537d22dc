"""The catalogue, one version of an action type whole, and what differs between two."""

from __future__ import annotations

import json
from datetime import datetime
from itertools import groupby
from typing import Any, NamedTuple

from django.http import Http404, HttpResponse, JsonResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from governance import clock
from governance.definitions import differences, document_of
from governance.models import ActionChange, ActionType
from rollback.catalogue import shown
from rollback.catalogue.edge import (
    LAST_NUMBER,
    ActionsRequest,
    current,
    for_readers,
    may_change,
    version_or_404,
    versions_or_404,
)
from rollback.catalogue.facts import facts_of, facts_of_each
from rollback.catalogue.schema_rows import is_closed, rows
from rollback.readiness import Gate, gates

T = ActionType.State
S = ActionChange.State
SHOWN = 300  # versions in the list
ENDED_SHOWN = 10
# How an ended change is drawn: kind and shape of its pill.
PILLS = {
    S.CONFIRMED: ("good", "check"),
    S.REFUSED: ("bad", "x"),
    S.LAPSED: ("warn", "hourglass"),
    S.STALE: ("warn", "history"),
    S.WITHDRAWN: ("", "undo-2"),
}


class Line(NamedTuple):
    """One version in the list."""

    version: ActionType
    pill: tuple[str, str, str]
    light: shown.Light
    drill: Gate
    waits: ActionChange | None


class Entry(NamedTuple):
    """One action type: the version that stands for it, and those that are under way."""

    key: str
    name: str
    line: Line
    others: list[Line]


@require_safe
@for_readers
def actions(request: ActionsRequest) -> HttpResponse:
    """List what agents may ask for, and what is on its way there."""
    now = clock.now()
    living = list(
        ActionType.objects.exclude(state=T.RETIRED).order_by("key", "-version")[: SHOWN + 1]
    )
    waiting = _waiting(request, now)
    waits = {each.change.action_type_id: each.change for each in waiting}
    lines = [
        _line(facts.action_type, gates(facts, now=now), waits.get(facts.action_type.pk))
        for facts in facts_of_each(living[:SHOWN])
    ]
    retired = ActionType.objects.filter(state=T.RETIRED).exclude(
        key__in={each.key for each in living}
    )
    context = {
        "here": "actions",
        "entries": [_entry(list(each)) for _, each in groupby(lines, key=lambda line: line.version.key)],
        "too_many": len(living) > SHOWN,
        "most": SHOWN,
        "retired": list(retired.order_by("key", "-version")[:SHOWN]),
        "waiting": waiting,
        "may_change": may_change(request.user),
    }  # fmt: skip
    return render(request, "actions/actions.html", context)


@require_safe
@for_readers
def action(request: ActionsRequest, key: str) -> HttpResponse:
    """Show the version that stands for an action type: that in production, if there is one."""
    return version_page(request, current(versions_or_404(key)))


@require_safe
@for_readers
def action_version(request: ActionsRequest, key: str, version: int) -> HttpResponse:
    """Show one version whole."""
    return version_page(request, version_or_404(key, version))


def version_page(
    request: ActionsRequest, version: ActionType, *, status: int = 200, **more: Any
) -> HttpResponse:
    """Show a version, and what was typed where it was refused: `refusal`, `typed`."""
    context = page_of(request, version, now=clock.now()) | more
    return render(request, "actions/version.html", context, status=status)


def page_of(request: ActionsRequest, version: ActionType, *, now: datetime) -> dict[str, Any]:
    """Return everything a version's page shows."""
    facts = facts_of(version)
    found = gates(facts, now=now)
    trial, why_not = shown.example_trial(facts)
    light = shown.light_of(version, found)
    becomes = shown.NEXT.get(T(version.state))
    waiting = _waiting(request, now, action_type=version)
    payload = version.example.get("payload", {}) if isinstance(version.example, dict) else {}
    ended = ActionChange.objects.filter(action_type=version).exclude(state=S.OPEN)
    return frame_of(request, version) | {
        "gates": found,
        "light": light,
        "takes_a_person": version.takes_a_person(now, drill_due_at=version.drill_due_at),
        "waiting": waiting,
        "becomes": becomes,
        "becomes_words": shown.BECOMES.get(becomes) if becomes else None,
        "may_ask": may_change(request.user) and becomes is not None and not waiting,
        "may_set_aside": may_change(request.user)
        and version.state in (T.DRAFT, T.TESTED)
        and not waiting,
        "blocks": light.missing if becomes != T.RETIRED else [],
        "rules": shown.rules_of(version),
        "fields": rows(version.schema, payload),
        "is_closed": is_closed(version.schema),
        "keys": shown.key_lines(version, trial),
        "trial": trial,
        "why_not": why_not,
        "units": shown.shown_units(trial) if trial else [],
        "reads": shown.shown_reads(trial) if trial else [],
        "plan": shown.plan_lines(version, payload),
        "drills": shown.drill_lines(version, now=now),
        "others": versions_or_404(version.key),
        "json": {
            name: json.dumps(getattr(version, name), indent=2, ensure_ascii=False)
            for name in ("schema", "example", "connector_config")
        },
        "ended": [
            (each, shown.change_words(each), PILLS[S(each.state)])
            for each in ended.select_related("action_type", "asked_by", "ended_by").order_by(
                "-ended_at", "-pk"
            )[:ENDED_SHOWN]
        ],
    }


def frame_of(request: ActionsRequest, version: ActionType) -> dict[str, Any]:
    """Return what every page of a version shows around its matter."""
    return {
        "here": "actions",
        "version": version,
        "pill": shown.STATES[T(version.state)],
        "may_change": may_change(request.user),
    }


@require_safe
@for_readers
def definition(request: ActionsRequest, key: str, version: int) -> JsonResponse:
    """Hand out what a version says as one document, which can be edited and entered as the next."""
    document = document_of(version_or_404(key, version))
    answer = JsonResponse(document, json_dumps_params={"indent": 2, "ensure_ascii": False})
    answer["Content-Disposition"] = f'attachment; filename="{key}-{version}.json"'
    return answer


@require_safe
@for_readers
def changes(request: ActionsRequest, key: str, version: int) -> HttpResponse:
    """Show what differs: from `?since=` a version, or from that in production, or from the one before."""
    versions = versions_or_404(key)
    found = version_or_404(key, version)
    others = [each for each in versions if each.pk != found.pk]
    since = _since(request, found, others)
    lines = differences(document_of(since), document_of(found)) if since is not None else ()
    context = frame_of(request, found) | {
        "since": since,
        "lines": lines,
        "others": others,
        "count": sum(len(line.fields) for line in lines),
    }
    return render(request, "actions/changes.html", context)


def _since(
    request: ActionsRequest, version: ActionType, others: list[ActionType]
) -> ActionType | None:
    text = request.GET.get("since", "")
    if text:
        number = int(text) if text.isascii() and text.isdigit() and len(text) < 11 else LAST_NUMBER
        found = next((each for each in others if each.version == number), None)
        if found is None:
            raise Http404("no such version")
        return found
    if version.state in (T.DRAFT, T.TESTED):
        production = next((each for each in others if each.state == T.PRODUCTION), None)
        if production is not None:
            return production
    return next((each for each in others if each.version < version.version), None)


def _entry(lines: list[Line]) -> Entry:
    versions = [line.version for line in lines]
    stands = current(versions)
    line = next(each for each in lines if each.version.pk == stands.pk)
    others = [each for each in lines if each is not line]
    return Entry(stands.key, stands.name, line, others)


def _line(version: ActionType, found: list[Gate], waits: ActionChange | None) -> Line:
    drill = next(each for each in found if each.key == "drill")
    return Line(
        version, shown.STATES[T(version.state)], shown.light_of(version, found), drill, waits
    )


def _waiting(request: ActionsRequest, now: datetime, **of: Any) -> list[shown.Waiting]:
    """Return the changes that wait, the first to lapse first. One whose time is over waits for the clock."""
    found = ActionChange.objects.filter(state=S.OPEN, **of).select_related(
        "action_type", "asked_by"
    )
    may = may_change(request.user)
    return [
        shown.Waiting(
            each,
            shown.change_words(each),
            each.asked_by_id == request.user.pk,
            may and each.asked_by_id != request.user.pk,
        )
        for each in found.order_by("due_at", "pk")[:SHOWN]
    ]
