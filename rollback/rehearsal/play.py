"""Plays one rehearsal: done by the runner, failed at one point, undone by the runner, and compared.

The clock is the stage's own. It jumps over leases and back-offs: a call that was
given up is never under way here, since the failures are ours.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Any

from approvals.checks import records_to_read
from approvals.models import ENDED, ActionRequest, Alert, Step
from governance.errors import Refused
from governance.models import ActionType
from governance.vocabulary import Path
from rollback.connectors.base import CallFailed, CannotRun, Connector, Json
from rollback.connectors.registry import records_of
from rollback.models import Direction, Recovery, Run, Snapshot, Unit
from rollback.patterns import choose
from rollback.rehearsal.fresh import Fresh, fresh
from rollback.rehearsal.points import END, Point
from rollback.rehearsal.stage import Stage
from rollback.rehearsal.verdict import States, differences, has_changed
from rollback.rehearsal.watched import Watched
from rollback.runner import run_all
from rollback.services.hands import Hands
from rollback.sweeps import take_up_orders

S = ActionRequest.State
STEP = timedelta(minutes=1)  # past a lease, and past what a late call may take
ROUNDS = 12
FAILURES = 4  # runs that failed for real, after which it is left

PASSED = "passed"
DIFFERS = "differs"  # undone, and the records are not as they were
NOT_UNDONE = "not_undone"
NOT_RUN = "not_run"  # it never came to the failure: nothing is known of the undo


class Died(BaseException):
    """The worker of a rehearsal is gone: nothing of ours handles this."""


class Play:
    """One rehearsal on one stage."""

    def __init__(
        self, stage: Stage, point: Point, *, tag: str, now: datetime,
        connector_for: Callable[[ActionType], Connector],
    ) -> None:  # fmt: skip
        self._stage, self._point, self._tag, self._now = stage, point, tag, now
        self._watched = Watched(connector_for(stage.action_type))
        self._failed = False  # whether it came to the failure
        self._said = ""

    def run(self) -> Json:
        """Play it to its end. Returns the evidence: see `_evidence`."""
        try:
            document = self._fresh()
            request = self._stage.approved(document.payload, now=self._now)
            records = self._records(document.payload)
            before = self._read(records)
        except (CallFailed, CannotRun, Refused) as problem:
            return self._evidence(None, NOT_RUN, said=str(problem))
        self._do()
        return self._undo(request.ref, document, before)

    # --- Forward, as far as the failure ---

    def _do(self) -> None:
        try:
            run_all(self._hands())
        except Died:
            self._failed = True

    def _at(self, point: str, unit: Unit) -> None:
        """Die at the point, the first time it is come to."""
        here = (unit.position, point) == self._point and unit.direction == Direction.FORWARD
        if here and not self._failed:
            raise Died

    # --- Back ---

    def _undo(self, ref: str, document: Fresh, before: States) -> Json:
        request = ActionRequest.objects.get(ref=ref)
        self._failed |= self._point.at == END and request.state == S.COMPLETED
        if not self._failed:
            self._said = self._what_failed(request) or f"It is {request.state}, and nothing failed."
        try:
            left = self._read(list(before))
            self._take_back(ref)
            after = self._read(list(before))
        except CallFailed as problem:
            # What cannot be read cannot be compared: nothing is known of the undo.
            return self._evidence(ref, NOT_RUN, document, said=self._said or problem.said)
        request = ActionRequest.objects.get(ref=ref)
        before = self._as_in_the_snapshot(request, before)
        if not self._failed:
            outcome = NOT_RUN
        elif request.state != S.ROLLED_BACK:
            outcome = NOT_UNDONE
            self._said = self._what_failed(request) or f"It was left {request.state}."
        else:
            outcome = ""
        pattern = str(choose(undoing=True, reversal=self._stage.action_type.reversal) or "")
        found = differences(pattern, before=before, left=left, after=after)
        if not outcome and self._point.at == END and not has_changed(before, left):
            outcome = NOT_RUN
            self._said = (
                "What its example does shows in none of the records that are compared, so nothing would"
                " be proved. It needs a snapshot plan, or a basis, that it changes."
            )
        return self._evidence(
            ref, outcome or (DIFFERS if found else PASSED), document, said=self._said,
            pattern=pattern, before=before, left=left, after=after,
            differences=[each._asdict() for each in found],
        )  # fmt: skip

    def _take_back(self, ref: str) -> None:
        """Order that it be undone, and let workers come until it is, or until only people can help."""
        self._stage.order_undo(ref, now=self._now)
        for _ in range(ROUNDS):
            request = ActionRequest.objects.get(ref=ref)
            failures = Run.objects.filter(request=request, state=Run.State.FAILED)
            asked = Step.objects.filter(
                request=request, path=Path.UNDO, state=Step.State.WAITING
            ).exists()
            over = request.state in ENDED and request.state != S.COMPLETED
            if over or asked or failures.count() >= FAILURES:
                return
            self._now += STEP
            take_up_orders(now=self._now)
            run_all(self._hands())

    def _as_in_the_snapshot(self, request: ActionRequest, before: States) -> States:
        """Return what is compared with: the runner's own snapshots, and what we read where it takes none."""
        taken = Snapshot.objects.filter(request=request).values_list("record", "before")
        return {**before, **{record: state for record, state in taken if record in before}}

    # --- Parts ---

    def _fresh(self) -> Fresh:
        kind = self._stage.action_type
        return fresh(
            kind.example["payload"], schema=kind.schema, business_key=kind.business_key,
            resource_key=kind.resource_key, tag=self._tag,
            taboo=(kind.counterparty_pointer, kind.amount_pointer),
        )  # fmt: skip

    def _records(self, payload: Json) -> list[str]:
        kind = self._stage.action_type
        plan = records_of(kind.snapshot_plan, payload)
        return list(dict.fromkeys([*plan, *records_to_read(kind, payload, with_facts=True)]))

    def _read(self, records: Sequence[str]) -> dict[str, Json | None]:
        found = {record: self._watched.read(record) for record in records}
        return {record: None if each is None else each.state for record, each in found.items()}

    def _hands(self) -> Hands:
        return Hands(
            worker="drill",
            now=lambda: self._now,
            technical=lambda seconds: timedelta(seconds=seconds),
            connector_for=lambda _: self._watched.as_connector,
            chance=lambda: 0.5,
            at=self._at,
        )

    @staticmethod
    def _what_failed(request: ActionRequest) -> str:
        """Return what the last run that failed said, and a defect before that."""
        defect = Alert.objects.filter(request=request, kind="run.defect").last()
        if defect is not None:
            return str(defect.text)
        failed = Run.objects.filter(request=request, state=Run.State.FAILED).order_by("pk").last()
        return str(failed.error) if failed is not None else ""

    def _evidence(
        self, ref: str | None, outcome: str, document: Fresh | None = None, *, said: str,
        pattern: str = "", before: States | None = None, left: States | None = None,
        after: States | None = None, differences: Sequence[Json] = (),
    ) -> Json:  # fmt: skip
        """Return what is kept of it: what failed and where, each unit, each call, each record three times."""
        states = (before or {}, left or {}, after or {})
        request = ActionRequest.objects.filter(ref=ref).first() if ref else None
        return {
            "unit": self._point.unit,
            "at": self._point.at,
            "outcome": outcome,
            "said": said,
            "pattern": pattern,
            "document": {"pointer": document.pointer, "value": document.value}
            if document
            else None,
            "key": request.business_key if request else "",
            "ended": request.state if request else "",
            "units": [_unit(each) for each in _units(request)],
            "calls": self._watched.noted,
            "records": [
                {"record": record, **dict(zip(("before", "left", "after"), each, strict=True))}
                for record in states[0]
                for each in [[state.get(record) for state in states]]
            ],
            "differences": list(differences),
            "recovery": _recovery(request),
        }


def _units(request: ActionRequest | None) -> Sequence[Unit]:
    rows = Unit.objects.filter(request=request) if request is not None else Unit.objects.none()
    return list(rows.order_by("direction", "position"))


def _unit(unit: Unit) -> Json:
    receipt: dict[str, Any] = unit.receipt if isinstance(unit.receipt, dict) else {}
    return {
        "n": unit.position,
        "direction": unit.direction,
        "name": unit.name,
        "key": unit.key,
        "state": unit.state,
        "attempts": unit.attempts,
        "reference": str(receipt.get("reference", "")),
        "probed": unit.probed,
    }


def _recovery(request: ActionRequest | None) -> Json:
    found = Recovery.objects.filter(request=request).last() if request is not None else None
    if found is None:
        return {}
    return {"state": found.state, "attempts": found.attempts, "pattern": found.pattern}
