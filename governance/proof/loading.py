"""Reads what the proof of one version needs, in a fixed number of queries."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection
from dataclasses import replace
from datetime import datetime, timedelta

from django.conf import settings
from django.db.models import Q
from django.utils.module_loading import import_string

from governance import tables
from governance.models import (
    Absence,
    ActionType,
    AgentCredential,
    Department,
    Person,
    PolicyVersion,
    RosterShift,
)
from governance.proof.world import Away, Kind, Place, Shift, World
from governance.routing import People
from governance.tables import Policy
from governance.vocabulary import Impact, Severity


def world_of(
    version: PolicyVersion,
    *,
    now: datetime,
    days: int,
    rows: Collection[int] | None = None,
) -> World:
    """Return what the proof of a version reads, as things stand, draft or not.

    Args:
        rows: primary keys of those to look at, by which open requests are still routed.
    """
    policy, until = tables.load(version), now + timedelta(days=days)
    shifts = _shifts(now, until)
    owners = _owners(now, everybody=rows is not None)
    people = _people(policy, shifts, owners, now)
    departments = {each.pk: Place(each.key, each.name) for each in Department.objects.all()}
    enabled = {pk for pk, each in people.by_pk.items() if each.enabled}
    heads = {place: pk for place, pk in policy.heads.items() if pk in enabled}
    orderers = import_string(settings.RECOURSE_ORDERERS)(list(departments), heads)
    by_key = {place.key: pk for pk, place in departments.items()}
    more = _also(people, orderers, now)
    return World(
        policy=policy,
        people=more,
        kinds=kinds(),
        departments=departments,
        owners={
            (by_key[place], action): frozenset(found)
            for (place, action), found in owners.items()
            if place in by_key
        },
        now=now,
        until=until,
        away=away(more.by_pk.keys(), now, until),
        shifts=shifts,
        orderers=orderers,
        rows=frozenset(rows) if rows is not None else None,
        signed_by_two=import_string(settings.RECOURSE_SIGNED_BY_TWO),
    )


def kinds() -> dict[str, Kind]:
    """Return what is in production, by key."""
    return {
        each.key: kind_of(each)
        for each in ActionType.objects.filter(state=ActionType.State.PRODUCTION)
    }


def kind_of(action: ActionType) -> Kind:
    return Kind(
        key=action.key,
        name=action.name,
        has_amount=bool(action.amount_pointer),
        target=str(action.connector_config.get("target", "")),
        resource_key=action.resource_key,
        sla=action.sla,
        severity=Severity(action.severity),
        impact=Impact(action.impact),
        critical=action.is_critical,
        financial=action.is_financial,
        first_no_is_final=action.first_no_is_final,
    )


def away(people: Collection[int], now: datetime, until: datetime) -> list[Away]:
    """Return the absences of these people that stand and overlap [now, until)."""
    found = Absence.objects.filter(
        cancelled_at__isnull=True, ends_at__gt=now, starts_at__lt=until
    ).values_list("person_id", "starts_at", "ends_at")
    return [Away(*each) for each in found.iterator() if each[0] in people]


def _shifts(now: datetime, until: datetime) -> list[Shift]:
    found = RosterShift.objects.filter(ends_at__gt=now, starts_at__lt=until)
    ordered = found.order_by("starts_at", "pk")
    return [
        Shift(*each) for each in ordered.values_list("target", "person_id", "starts_at", "ends_at")
    ]


def _owners(now: datetime, *, everybody: bool) -> dict[tuple[str, str], set[int]]:
    """Return by department and action, by key, who owns an agent that may ask for it.

    Args:
        everybody: also of credentials that are not in force: what they asked for is still open.
    """
    credentials = AgentCredential.objects.all()
    if not everybody:
        # A token's instants are real time, and business time in a demo may run ahead of it: one that
        # has expired by either is left out by whoever checks it, not here.
        credentials = credentials.filter(disabled_at__isnull=True, agent__disabled_at__isnull=True)
    found: dict[tuple[str, str], set[int]] = defaultdict(set)
    for owner, departments, actions in credentials.values_list(
        "agent__owner", "departments", "actions"
    ):
        for department in departments:
            for action in actions:
                found[department, action].add(owner)
    return found


def _people(
    policy: Policy, shifts: list[Shift], owners: dict[tuple[str, str], set[int]], now: datetime
) -> People:
    """Return everybody the version may lead to, and those above them; all of them there."""
    also = {
        *policy.heads.values(), *policy.owners.values(), *policy.executives, *policy.reviewers,
        *policy.compliance, *policy.head_of_compliance, *policy.on_call_fallback.values(),
        *(shift.person for shift in shifts), *(pk for found in owners.values() for pk in found),
        *(row.executive for row in policy.rows.values() if row.executive is not None),
        *Person.objects.filter(Q(limit_amount__isnull=False), is_active=True).values_list("pk", flat=True),
    }  # fmt: skip
    return _there(tables.people_for(policy.rows.values(), also=also, now=now))


def _also(people: People, orderers: dict[int, frozenset[int]], now: datetime) -> People:
    missing = {pk for them in orderers.values() for pk in them} - people.by_pk.keys()
    if not missing:
        return people
    more = _there(tables.people_for((), also=missing, now=now))
    return People({**more.by_pk, **people.by_pk}, people.holders)


def _there(people: People) -> People:
    """Return them as if nobody were away: the calendar says when somebody is."""
    return People(
        {pk: replace(each, away_until=None) for pk, each in people.by_pk.items()}, people.holders
    )
