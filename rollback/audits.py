"""Counts what should not exist among runs, units and recoveries. See `governance.audits`."""

from __future__ import annotations

import time
from collections.abc import Collection, Iterable, Iterator
from datetime import datetime

from django.db.models import Exists, OuterRef, Q, QuerySet, Subquery

from approvals.audits import acknowledged
from approvals.models import ENDED, ActionRequest, Finding
from governance import clock, wording
from governance.audits import SHOWN, Found, Look, audit, mark_of, numbers_in, overdue_before
from governance.ladder import DRILL_COUNTS_FOR
from governance.models import ActionType
from rollback import evidence, strays
from rollback.connectors import registry
from rollback.connectors.base import CallFailed, NotDone
from rollback.models import Direction, Drill, Recovery, Run, Unit
from rollback.services.drill import REFUTED

AT_ONCE = 50  # units of one action type whose effects are asked of their target in one round
ROUND_S = 20.0  # real seconds; well below the task's time-out
UNASKED_AFTER_S = (
    3600.0  # real seconds after the end; a target that still does not answer is a finding
)
LEASE_OVERDUE_AFTER_S = 60.0  # real seconds
OF_EFFECTS = "effects_without_a_checkpoint"
UNIT, DRILL = "unit ", "drill "  # what the keys of findings about them begin with

S = ActionRequest.State
U = Unit.State
CHECKPOINTED = (U.DONE, U.REVERSED)


@audit("Is the worker running?")
def leases_nobody_rescued(now: datetime) -> Iterator[Found]:
    """A lease that ran out, and no worker took over."""
    overdue = ActionRequest.objects.filter(
        lease_until__lt=overdue_before(now, after_s=LEASE_OVERDUE_AFTER_S)
    )
    for pk, ref in overdue.order_by("lease_until").values_list("pk", "ref")[:SHOWN]:
        yield Found(ref, f"The worker that had {ref} fell silent, and no other took over.", pk)


@audit("Is the clock running? It closes what a dead worker left within a second.")
def runs_without_a_lease(now: datetime) -> Iterator[Found]:
    """A run that runs on a request that has ended."""
    running = Run.objects.filter(state=Run.State.RUNNING, request__state__in=ENDED)
    for pk, request, ref in running.values_list("pk", "request", "request__ref")[:SHOWN]:
        yield Found(f"run {pk}", f"{ref} has ended, and a run of it still runs.", request)


@audit("Compare with the target before anything else, then find who wrote rows past the services.")
def effects_differ(now: datetime) -> Iterator[Found]:
    """A request whose effects are not those of its units."""
    some = Unit.objects.filter(
        direction=Direction.FORWARD,
        state__in=(U.SENT, U.UNKNOWN, U.DONE),
        request__has_effects=False,
    )
    for pk, ref in some.order_by("pk").values_list("request", "request__ref").distinct()[:SHOWN]:
        yield Found(
            ref, f"{ref} says that nothing of it is in the target, and its units differ.", pk
        )


@audit("Is the clock running? It closes a recovery of what has ended within a second.")
def recoveries_overdue(now: datetime) -> Iterator[Found]:
    """A recovery that is open although its request has ended."""
    left = Recovery.objects.filter(
        state__in=(Recovery.State.PLANNED, Recovery.State.RUNNING),
        request__state__in=ENDED,
        request__ended_at__lt=overdue_before(now, after_s=LEASE_OVERDUE_AFTER_S),
    )
    for pk, request, ref in left.values_list("pk", "request", "request__ref")[:SHOWN]:
        yield Found(f"recovery {pk}", f"{ref} has ended, and a recovery of it is open.", request)


def _drills_again(keys: Collection[str], now: datetime) -> Iterator[Found]:
    known = numbers_in(keys, DRILL)
    drills = Drill.objects.filter(pk__in=known).select_related("action_type")
    yield from _altered(drills)
    there = set(drills.values_list("pk", flat=True))
    # A finding of its own: who saw the other one has not seen this.
    gone = {f"{DRILL}{pk} gone": pk for pk in known if pk not in there}
    for key in sorted(gone.keys() - acknowledged("drills_altered", gone)):
        yield Found(key, f"Drill {gone[key]} is gone.")


@audit(
    "Keep the row, find in the database's log who wrote it past the services, drill anew, and"
    " acknowledge its alert.",
    again=_drills_again,
)
def drills_altered(now: datetime) -> Iterator[Found]:
    """A drill that is not what was signed, among the last ones."""
    ended = Drill.objects.filter(ended_at__isnull=False).select_related("action_type")
    yield from _altered(ended.order_by("-pk")[:SHOWN])


def _altered(drills: QuerySet[Drill]) -> Iterator[Found]:
    flawed = {}
    for drill in drills:
        if flaw := evidence.flaw_of(drill):
            key = f"{DRILL}{drill.pk} {mark_of([flaw, evidence.content_of(drill)])}"
            flawed[key] = Found(key, f"Drill {drill.pk} of {drill.action_type} {flaw}.")
    seen = acknowledged("drills_altered", flawed)
    yield from (found for key, found in flawed.items() if key not in seen)


@audit("Drill it: that sets it right.")
def drill_due_at_differs(now: datetime) -> Iterator[Found]:
    """An action type that counts as rehearsed for longer than its drills say."""
    drilled = Exists(Drill.objects.filter(action_type=OuterRef("pk"), ended_at__isnull=False))
    counts = ActionType.objects.filter(drilled, drill_due_at__gt=now)
    # The last one that says anything: after one that showed the undo not to work, none counts.
    telling = Q(passed=True) | Q(outcome__in=REFUTED)
    last = Drill.objects.filter(telling, action_type=OuterRef("pk")).order_by("-ended_at", "-pk")
    told = counts.annotate(
        passed=Subquery(last.values("passed")[:1]), told_at=Subquery(last.values("ended_at")[:1])
    )
    for kind in told.order_by("pk")[:SHOWN]:
        until = kind.told_at + DRILL_COUNTS_FOR if kind.passed else None
        if until is None or kind.drill_due_at > until:
            said = f"{kind} counts as rehearsed, and its drills say otherwise."
            yield Found(f"action type {kind.pk}", said)


@audit(
    "Look the key up in the target at once, and put it right by hand. Where the target cannot be"
    " asked, see to it, or to our token for it."
)
def effects_without_a_checkpoint(now: datetime) -> Iterator[Found]:
    """What targets did under our keys, against our checkpoints, both ways. Each unit is asked about once.

    Only once its request has ended; of what was not done only a good while
    later, when no late call can be under way. What was found stands until its
    target says otherwise: a round in which it could not be asked clears nothing.
    """
    standing = {
        finding.key: finding
        for finding in Finding.objects.filter(audit=OF_EFFECTS, cleared_at__isnull=True)
    }
    answered = set()
    for unit, found in _asked(now, suspects=set(standing)):
        if unit is not None:
            answered.add(_key(unit))
        if found is not None:
            yield found
    unsettled = Unit.objects.filter(audited_at__isnull=True).values_list("pk", flat=True)
    open_still = {f"{UNIT}{pk}" for pk in unsettled.filter(pk__in=_units_of(standing))}
    for key in standing.keys() - answered:
        if key in open_still:
            yield Found(key, standing[key].text, standing[key].request_id)


def _asked(now: datetime, *, suspects: set[str]) -> Iterator[tuple[Unit | None, Found | None]]:
    """Ask targets about units, and yield each with what is wrong with it; None for a whole action type.

    Those never asked come first, then those on which a finding stands, so that
    neither a few bad ones nor a target that takes long keep the others from
    their turn. A unit is marked as soon as all is well: a round that is cut short
    has done some of them.
    """
    until = time.monotonic() + ROUND_S
    sent = Unit.objects.filter(
        audited_at__isnull=True, sent_at__isnull=False, request__state__in=ENDED
    ).select_related("request")
    due = sent.filter(
        Q(state__in=CHECKPOINTED)
        | Q(request__ended_at__lt=now - clock.technical(strays.SETTLED_AFTER_S))
    )
    types = ActionType.objects.filter(pk__in=due.values("request__action_type"))
    for action_type in types.order_by("?"):
        own = due.filter(request__action_type=action_type)
        try:
            connector = registry.connector_for(action_type)
        except strays.ODD as problem:
            said = f"Nobody can ask about units of {action_type}: {wording.defect(problem)}"
            yield None, Found(f"action type {action_type.pk}", said)
            continue
        if not connector.gives.lookup:
            own.update(audited_at=now)  # nobody can be asked
            continue
        suspected = _units_of(suspects)
        fresh = own.exclude(pk__in=suspected).order_by("pk")[:AT_ONCE]
        for unit in [*fresh, *own.filter(pk__in=suspected).order_by("?")[:AT_ONCE]]:
            if time.monotonic() > until:
                return
            try:
                receipt = connector.probe(unit.key)
            except CallFailed as problem:
                ended_at = unit.request.ended_at
                if ended_at is None or now - ended_at > clock.technical(UNASKED_AFTER_S):
                    text = f"{connector.target} cannot be asked about {unit.key}: {problem.said}"
                    yield unit, Found(_key(unit), text, unit.request_id)
                if isinstance(problem, NotDone):
                    break  # it cannot be reached; another target may
                continue
            done = unit.state in CHECKPOINTED
            # What a person did in the target has no key of ours there.
            by_a_person = unit.by_hand and done and receipt is None
            if (receipt is not None) != done and not by_a_person:
                yield unit, _differs(unit, connector.target, done)
            else:
                Unit.objects.filter(pk=unit.pk).update(audited_at=now)
                yield unit, None


def _units_of(keys: Iterable[str]) -> list[int]:
    """Return the primary keys of the units that findings are about."""
    return [int(key.removeprefix(UNIT)) for key in keys if key.startswith(UNIT)]


def _key(unit: Unit) -> str:
    return f"{UNIT}{unit.pk}"


def _differs(unit: Unit, target: str, done: bool) -> Found:
    text = (
        f"{target} knows nothing of {unit.key}, which we have a checkpoint for."
        if done
        else f"{target} did {unit.key}, and we have no checkpoint for it."
    )
    return Found(_key(unit), text, unit.request_id)


AUDITS: dict[str, Look] = {
    "leases_nobody_rescued": leases_nobody_rescued,
    "runs_without_a_lease": runs_without_a_lease,
    "effects_differ": effects_differ,
    "recoveries_overdue": recoveries_overdue,
    "drills_altered": drills_altered,
    "drill_due_at_differs": drill_due_at_differs,
}
# These call targets: the worker runs them, and never the clock in its place.
OUTSIDE: dict[str, Look] = {
    OF_EFFECTS: effects_without_a_checkpoint,
    strays.OF_STRAYS: strays.effects_unaccounted_for,
}
