"""Reads what the gates of a version are asked about. Nothing is called."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from django.db.models import Max, Q

from approvals import selectors
from approvals.services import submission
from governance import audits
from governance.errors import Unprocessable
from governance.models import ActionType
from governance.services.actions import Gates
from rollback.connectors import registry
from rollback.models import Drill
from rollback.readiness import Facts, Gate, gates, unmet
from rollback.services import drill


def facts_of(action_type: ActionType) -> Facts:
    """Return what is known of a version. Three queries."""
    (found,) = facts_of_each([action_type])
    return found


def facts_of_each(versions: Sequence[ActionType]) -> list[Facts]:
    """Return what is known of these versions. Three queries, however many they are."""
    last = (
        Drill.objects.filter(action_type__in=versions, ended_at__isnull=False)
        .values("action_type")
        .annotate(
            passed_at=Max("ended_at", filter=Q(passed=True)),
            refuted_at=Max("ended_at", filter=Q(outcome__in=drill.REFUTED)),
        )
        .order_by("action_type")
    )
    drills = {each["action_type"]: (each["passed_at"], each["refuted_at"]) for each in last}
    silent = selectors.open_findings(), audits.last_round()
    return [_facts(each, drills.get(each.pk, (None, None)), silent) for each in versions]


def gates_at(now: datetime) -> Gates:
    """Return what the services ask before a version moves on."""

    def missing(version: ActionType, becomes: str) -> list[str]:
        return unmet(gates_of(version, now=now), becomes)

    return missing


def gates_of(action_type: ActionType, *, now: datetime) -> list[Gate]:
    return gates(facts_of(action_type), now=now)


def _facts(
    action_type: ActionType,
    drills: tuple[datetime | None, datetime | None],
    silent: tuple[int, datetime | None],
) -> Facts:
    problems = registry.problems(action_type)
    target, touched = "", action_type.records_touched
    if not problems:
        connector = registry.connector_for(action_type)
        target = connector.target
        units = connector.units(registry.example_of(action_type))
        written = {each.record for each in units if each.record}
        touched = max(touched, len(written))
    return Facts(
        action_type,
        problems,
        _off_example(action_type),
        target,
        touched,
        *drills,
        "" if problems else drill.why_not(action_type),
        *silent,
    )


def _off_example(action_type: ActionType) -> list[str]:
    example = action_type.example if isinstance(action_type.example, dict) else {}
    payload = example.get("payload", {})
    try:
        submission.check_payload(action_type, payload)
        money = submission.amount_of(action_type, payload)
        submission.keys_of(action_type, payload, money)
    except submission.PayloadOffSchema as refused:
        return [f"{each['pointer']}: {each['detail']}" for each in refused.extra["errors"]]
    except Unprocessable as refused:
        return [refused.detail]
    return []
