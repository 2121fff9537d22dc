"""Reads the target for a request right after it was submitted: what its record is, and what rules speak of.

Nothing waits for it. Where the target cannot be read, it is tried again beside the
people who are asked, for half an hour; then operators are told. Before anything is
done the runner reads once more (`rollback.services.before`). Source: docs/decisions/0042.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, NamedTuple

from django.db import transaction

from approvals.checks import Done, ask_all, basis_of, facts_of, records_to_read
from approvals.locks import lock_if_free, lock_request
from approvals.models import ActionRequest, RecordRead
from approvals.services import alerts, conflicts, violations
from approvals.services.gather import climbs
from approvals.services.writes import Writes
from governance import commitments, tables
from governance.ladder import READ_WITHIN
from rollback.connectors.base import CallFailed, CannotRun, Connector, Reading
from rollback.patterns import wait_s
from rollback.services.hands import Hands

S = ActionRequest.State
READ_IN = (S.PENDING, S.HELD, S.BLOCKED, S.APPROVED)


class ToRead(NamedTuple):
    """A request whose target is to be read, and which try this is."""

    request: ActionRequest
    records: list[str]
    tries: int


def read_for(pk: int, hands: Hands) -> bool:
    """Read the target for one request, if that is still to be done. Returns whether it was tried.

    Put off before it is tried, so that a worker that dies in the call leaves it to the next.
    """
    found = _put_off(pk, hands)
    if found is None:
        return False
    try:
        connector = hands.connector_for(found.request.action_type)
        readings = read_all(connector, found.records)
    except (CallFailed, CannotRun) as problem:
        _not_read(found, str(problem), hands)
    else:
        _keep(found, readings, now=hands.now())
    return True


def read_all(connector: Connector, records: list[str]) -> dict[str, Reading | None]:
    """Return these records as they are now. Raises CallFailed."""
    return {record: connector.read(record) for record in records}


def basis_digest(readings: Mapping[str, Reading | None], records: list[str], *, salt: str) -> str:
    """Return the digest of the records an approval rests on, "" where there are none.

    Args:
        salt: of the request: the record keeps the digest, and evidence may leave fields of them out.
    """
    states = {record: _state(readings[record]) for record in records}
    return commitments.blinded(states, salt=salt, what="basis") if states else ""


def states_of(readings: Mapping[str, Reading | None]) -> dict[str, Any]:
    """Return the states of these records by their keys, None for what the target does not have."""
    return {record: _state(reading) for record, reading in readings.items()}


def _state(reading: Reading | None) -> dict[str, Any] | None:
    return None if reading is None else reading.state


def _put_off(pk: int, hands: Hands) -> ToRead | None:
    now = hands.now()
    with transaction.atomic():
        if not lock_if_free(pk):
            return None
        request = lock_request(ActionRequest.objects.values_list("ref", flat=True).get(pk=pk))
        if request.read_due_at is None or request.read_due_at > now:
            return None
        rules = tables.rules_for(request.policy_id, request.action_type.key, reads_target=True)
        records = records_to_read(request.action_type, request.payload, with_facts=bool(rules))
        if request.state not in READ_IN or not records:
            request.read_due_at = None
        else:
            request.read_tries += 1
            wait = wait_s(request.read_tries, chance=hands.chance(), asked_s=None)
            request.read_due_at = now + hands.technical(wait)
        request.save(update_fields=["read_due_at", "read_tries"])
    return None if request.read_due_at is None else ToRead(request, records, request.read_tries)


def _not_read(found: ToRead, said: str, hands: Hands) -> None:
    """Note that it could not be read. The next try has its time already, unless half an hour is over."""
    now = hands.now()
    with transaction.atomic():
        request = lock_request(found.request.ref)
        writes = Writes()
        (climb,) = climbs([request], writes, actor=f"worker:{hands.worker}", now=now)
        gives_up = now >= request.submitted_at + READ_WITHIN and request.read_due_at is not None
        climb.act.record(request, "facts.unread", said=said, attempt=found.tries, gives_up=gives_up)
        if gives_up:
            request.read_due_at = None
            writes.alerts.append(alerts.unread(request, said, now=now))
        ActionRequest.objects.filter(pk=request.pk).update(read_due_at=request.read_due_at)
        climb.settle()
        conflicts.save(writes, now=now)


def _keep(found: ToRead, readings: dict[str, Reading | None], *, now: datetime) -> None:
    """Keep what was read, and ask the rules that speak of it: one that does not hold blocks the request."""
    with transaction.atomic():
        request = lock_request(found.request.ref, and_resource=True)
        if request.read_due_at is None or request.state not in READ_IN:
            return  # a run has begun, which reads for itself; or it ended
        keep_readings(request, readings, now=now)
        writes = Writes()
        (climb,) = climbs([request], writes, actor="worker", now=now)
        request.read_due_at = None
        first = not request.basis_digest
        request.basis_digest = request.basis_digest or basis_digest(
            readings, basis_of(request.action_type, request.payload), salt=request.salt
        )
        ActionRequest.objects.filter(pk=request.pk).update(
            basis_digest=request.basis_digest, read_due_at=None, read_tries=0
        )
        climb.act.record(
            request, "facts.read", records=sorted(readings),
            basis=request.basis_digest if first else "",
        )  # fmt: skip
        violations.found_broken(climb, broken_by(request, readings))
        climb.settle()
        conflicts.save(writes, now=now)


def keep_readings(
    request: ActionRequest, readings: Mapping[str, Reading | None], *, now: datetime
) -> None:
    """Store what the target said last of each record. Under the request's lock."""
    for record, reading in readings.items():
        RecordRead.objects.update_or_create(
            request=request,
            record=record,
            defaults={
                "state": _state(reading),
                "version": reading.version[:120] if reading else "",
                "read_at": now,
            },
        )


def broken_by(
    request: ActionRequest, readings: Mapping[str, Reading | None], done: Done | None = None
) -> list[Any]:
    """Return the rules, of its policy and of the active one, that do not hold over what was read of the target."""
    rules = tables.rules_for(request.policy_id, request.action_type.key, reads_target=True)
    if not rules:
        return []
    return ask_all(
        rules,
        payload=request.payload,
        asked=violations.asked_of(request),
        facts=facts_of(request.action_type, request.payload, states_of(readings)),
        done=done,
    )
