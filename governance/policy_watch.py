"""Checks again when what a policy rests on has changed: people, absences, rosters, owners, actions.

A stamp of all that the check reads is compared each minute, so that no writer has to remember
to call. The worker does it; the clock only sees that it does.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.db import transaction
from django.db.models import QuerySet
from django.utils.module_loading import import_string

from governance import calls, clock, signs, wording
from governance.courier import guarded
from governance.ledger import Act
from governance.models import (
    Absence,
    ActionType,
    Agent,
    AgentCredential,
    Department,
    Heartbeat,
    Person,
    PolicyFinding,
    PolicyVersion,
    RosterShift,
)
from governance.policy_check import DAYS, Finding, Report, check
from governance.vocabulary import Chain

EVERY_S = 60.0  # real seconds between two looks at the stamp
SIGN = "policy-check"
ALERT = "policy.hole"
Weight = PolicyFinding.Weight


def in_use() -> list[tuple[PolicyVersion, frozenset[int] | None]]:
    """Return the active version, and each that still routes open requests with the rows it routes them by."""
    active = PolicyVersion.objects.filter(state=PolicyVersion.State.ACTIVE).first()
    rows: dict[int, frozenset[int]] = import_string(settings.RECOURSE_ROWS_IN_USE)()
    older = PolicyVersion.objects.filter(
        pk__in=rows, state=PolicyVersion.State.SUPERSEDED
    ).order_by("-number")
    found: list[tuple[PolicyVersion, frozenset[int] | None]] = [
        (each, rows[each.pk]) for each in older
    ]
    return [(active, None), *found] if active is not None else found


@guarded
def look_again() -> int:
    """Check what is in use, if what it rests on has changed. A task; returns how many holes stand."""
    return watch(now=clock.now())


def watch(*, now: datetime) -> int:
    """Check what is in use, unless nothing has changed since the last time. Returns how many holes stand.

    Safe to run again, and from several processes.
    """
    stamp = stamp_of(now)
    last = Heartbeat.objects.filter(name=SIGN).first()
    if last is None or last.facts.get("stamp") != stamp:
        versions = in_use()
        reports = [(version, check(version, now=now, rows=rows)) for version, rows in versions]
        for version, report in reports:
            keep(version, report, now=now)
        _let_go({version.pk for version, _ in reports}, now)
    standing = standing_holes().count()
    signs.beat(SIGN, now=now, stamp=stamp, holes=standing)
    return standing


def standing_holes() -> QuerySet[PolicyFinding]:
    """Return the holes that stand, in every version in use, with their version."""
    rows = PolicyFinding.objects.filter(weight=Weight.HOLE, gone_at__isnull=True)
    return rows.select_related("version").order_by("-version__number", "key")


def stamp_of(now: datetime) -> str:
    """Return a digest of all that a check of today rests on. The same again: the same findings.

    A day is part of it, as absences come into the days looked at and go out of them.
    """
    until = now + timedelta(days=DAYS + 1)
    spans = {"ends_at__gt": now, "starts_at__lt": until}
    read: list[QuerySet[Any, tuple[Any, ...]]] = [
        Person.objects.order_by("pk").values_list(
            "pk", "name", "is_active", "manager", "department", "limit_amount", "limit_currency"
        ),
        Person.roles.through.objects.order_by("person_id", "role_id").values_list(
            "person_id", "role_id"
        ),
        Absence.objects.filter(cancelled_at__isnull=True, **spans)
        .order_by("pk")
        .values_list("person", "starts_at", "ends_at"),
        RosterShift.objects.filter(**spans)
        .order_by("pk")
        .values_list("target", "person", "starts_at", "ends_at"),
        Agent.objects.order_by("pk").values_list("pk", "owner", "disabled_at"),
        AgentCredential.objects.order_by("pk").values_list(
            "agent", "departments", "actions", "disabled_at"
        ),
        ActionType.objects.filter(state=ActionType.State.PRODUCTION)
        .order_by("pk")
        .values_list("pk"),
        Department.objects.order_by("pk").values_list("pk", "name"),
    ]
    digest = hashlib.sha256(f"{now:%Y-%m-%d}".encode())
    for version, rows in in_use():
        digest.update(f"{version.pk}:{sorted(rows or ())}".encode())
    for queryset in read:
        digest.update(b"\n\n")
        for row in queryset.iterator():
            digest.update(repr(row).encode())
    return digest.hexdigest()


@transaction.atomic
def keep(version: PolicyVersion, report: Report, *, now: datetime) -> None:
    """Bring the findings of one version up to date with a report: a new hole is an event and an alert.

    No alert of a hole that people signed when they put the version into force: they know.
    """
    signed = {
        key for holes in version.signatures.values_list("holes", flat=True) for key, _ in holes
    }
    found = {
        **{(Weight.HOLE, each.key): each for each in report.holes},
        **{(Weight.WARNING, each.key): each for each in report.warnings},
    }
    standing = {
        (each.weight, each.key): each
        for each in PolicyFinding.objects.select_for_update(no_key=True).filter(
            version=version, gone_at__isnull=True
        )
    }
    act = Act(now=now, actor="policy-check")
    new = found.keys() - standing.keys()
    for key in new:
        _open(version, *key, found[key], act, alarm=key[1] not in signed)
    _count_warnings(act, "warnings.found", [weight for weight, _ in new])
    for key in found.keys() & standing.keys():
        _say_anew(standing[key], found[key])
    _close([standing[key] for key in standing.keys() - found.keys()], act)
    act.write()


def _open(
    version: PolicyVersion, weight: str, key: str, finding: Finding, act: Act, *, alarm: bool
) -> None:
    row = PolicyFinding(version=version, weight=weight, key=key, found_at=act.now)
    _fill(row, finding)
    PolicyFinding.objects.bulk_create([row], ignore_conflicts=True)  # another process may be first
    if weight == Weight.HOLE:
        act.record_named(
            Chain.POLICY, "hole.found", policy=version.number, key=key, sentence=row.sentence[:300]
        )
        if alarm:
            signs.alarm(kind=ALERT, key=_key(version, key), text=_said(version, row), now=act.now)


def _count_warnings(act: Act, kind: str, weights: list[str]) -> None:
    """Record how many warnings came or went: they stop nothing, and there may be hundreds."""
    if count := weights.count(Weight.WARNING):
        act.record_named(Chain.POLICY, kind, count=count)


def _say_anew(row: PolicyFinding, finding: Finding) -> None:
    """What stands is said as it is now: its dates and the people it names may be others."""
    before = row.sentence
    _fill(row, finding)
    if row.sentence != before:
        row.save(update_fields=["sentence", "since", "until"])


def _fill(row: PolicyFinding, finding: Finding) -> None:
    row.about, row.since, row.until = finding.kind, finding.since, finding.until
    row.sentence = wording.plain(finding.sentence, PolicyFinding.SENTENCE_LENGTH)


def _close(rows: Iterable[PolicyFinding], act: Act) -> None:
    rows = list(rows)
    _count_warnings(act, "warnings.gone", [row.weight for row in rows])
    for row in rows:
        row.gone_at = act.now
        row.save(update_fields=["gone_at"])
        if row.weight == Weight.HOLE:
            act.record_named(Chain.POLICY, "hole.gone", policy=row.version.number, key=row.key)
            signs.all_clear(kind=ALERT, key=_key(row.version, row.key), now=act.now)


@transaction.atomic
def _let_go(versions: set[int], now: datetime) -> None:
    """Close what stands of versions that route nothing any more."""
    act = Act(now=now, actor="policy-check")
    standing = PolicyFinding.objects.filter(gone_at__isnull=True).exclude(version__in=versions)
    _close(standing.select_related("version"), act)
    act.write()


def _key(version: PolicyVersion, key: str) -> str:
    return f"{version.number}|{key}"


def _said(version: PolicyVersion, row: PolicyFinding) -> str:
    old = (
        ", by which open requests are still routed"
        if version.state == version.State.SUPERSEDED
        else ""
    )
    return f"Policy {version.number}{old}: {row.sentence}"


def call_for_policy_check(*, now: datetime) -> int:
    """Have the worker look each minute whether the policy is to be checked again. A sweep.

    The clock never does it itself: it may take seconds, in which every deadline would wait.
    """
    mark = f"{SIGN}-asked"
    beats = dict(calls.read_beats(sign=SIGN, mark=mark))
    if any(now - at < clock.technical(EVERY_S) for at in beats.values()):
        return 0
    return calls.call("governance.policy_watch.look_again", mark=mark, now=now)
