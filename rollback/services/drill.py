"""Drills as rows: asked for, taken by one worker at a time, kept point by point, judged and signed.

What calls a target is not here: `rollback.driller` has it rehearsed between these
transactions. Source: DESIGN 5, docs/decisions/0063.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID, uuid4

from django.conf import settings
from django.db import transaction
from django.db.models import Exists, OuterRef, Q, QuerySet, Subquery

from approvals.models import Alert
from approvals.services.alerts import close_alert, raise_alert
from governance import actors, canonical, wording
from governance.claims import claim
from governance.env import target_variable
from governance.errors import NotFound, NotNow, NotYours, Unprocessable
from governance.ladder import DRILL_COUNTS_FOR
from governance.ledger import Act
from governance.models import ActionType, Person
from governance.reads import Given
from governance.vocabulary import Chain, Duty
from rollback import evidence
from rollback.connectors import references, registry
from rollback.models import Drill
from rollback.rehearsal.play import DIFFERS, NOT_RUN, NOT_UNDONE, PASSED
from rollback.rehearsal.points import Point, points_of
from rollback.rehearsal.stage import definition_of
from rollback.services.runs import Technical

WITHIN_S = 1800.0  # real seconds from being asked for; then it has failed
LEASE_S = 60.0  # real seconds; a rehearsal ends before
SCHEDULE = "drills"  # the actor, where nobody asked for it
FAILED, OVERDUE = "drill.failed", "drill.overdue"  # alerts
Outcome = Drill.Outcome
# By what was found at its points, the gravest first.
GRAVEST = {NOT_UNDONE: Outcome.NOT_UNDONE, DIFFERS: Outcome.DIFFERS, NOT_RUN: Outcome.NOT_RUN}
# What shows that the undo does not work. Of the others nothing is known, so the last drill goes on counting.
REFUTED = (Outcome.NOT_UNDONE, Outcome.DIFFERS)
TESTABLE = (ActionType.State.DRAFT, ActionType.State.TESTED, ActionType.State.PRODUCTION)


class Lost(Exception):
    """The drill is another worker's now, or has ended."""


@dataclass(frozen=True)
class Taken:
    """A drill in the hands of one worker.

    Attributes:
        left: its points that are not rehearsed yet, in their order.
        sandbox: its address and what opens it.
    """

    drill: Drill
    token: UUID
    definition: dict[str, Any]
    left: list[Point]
    sandbox: Mapping[str, str]


def may_ask(person: Person) -> bool:
    """Whether somebody may have an action type drilled: operators."""
    return bool(person.is_superuser or person.has_duty(Duty.OPERATOR))


def why_not(action_type: ActionType) -> str:
    """Return what is missing before an action type can be drilled, "" if nothing is. Nothing is called."""
    if action_type.state not in TESTABLE:
        return f"{action_type} is retired."
    if action_type.reversal == ActionType.Reversal.NONE:
        return f"{action_type} has no reversal, so there is nothing to rehearse."
    target = target_of(action_type)
    if target not in settings.SANDBOXES:
        variable = target_variable(target, "sandbox_url") if target else "TARGET_…_SANDBOX_URL"
        return f"No sandbox is configured for target {target or '?'}: {variable} is not set."
    found = registry.problems(action_type)
    if found:
        return found[0]
    try:
        _units_of(action_type)
    except (ValueError, KeyError, TypeError) as problem:
        return f"Its example cannot be turned into units: {problem}"
    try:
        canonical.digest(definition_of(action_type))
    except Unprocessable as problem:
        return f"The evidence could not name its definition: {problem.detail}"
    return ""


def target_of(action_type: ActionType) -> str:
    return str(action_type.connector_config.get("target", ""))


@transaction.atomic
def ask(
    *, action_type: int, actor: Person | None = None, now: datetime, technical: Technical
) -> Drill:
    """Have an action type drilled; if it is being drilled already, return that drill.

    Args:
        action_type: primary key.
        actor: None: the schedule, or whoever has a shell.
        technical: the business span in which so many real seconds pass.

    Raises:
        NotFound: there is no such action type.
        NotYours: the actor is no operator.
        NotNow: it cannot be drilled; the sentence says what is missing.
    """
    if actor is not None and not may_ask(actor):
        raise NotYours("Operators have undoing rehearsed. Nothing was begun.")
    kind = ActionType.objects.select_for_update(no_key=True).filter(pk=action_type).first()
    if kind is None:
        raise NotFound("There is no such action type.")
    standing = Drill.objects.filter(action_type=kind, ended_at__isnull=True).first()
    if standing is not None:
        return standing
    missing = why_not(kind)
    if missing:
        raise NotNow(f"{missing} Nothing was begun.")
    units = _units_of(kind)
    target = target_of(kind)
    drill: Drill = Drill.objects.create(
        action_type=kind,
        target=target,
        sandbox=references.bare(settings.SANDBOXES[target]["url"])[:300],
        asked_by=actor,
        started_at=now,
        due_at=now + technical(WITHIN_S),
        units=units,
        points=len(points_of(units)),
        definition=canonical.digest(definition_of(kind)),
    )
    _record(drill, "drill.started", now=now, actor=_who(actor), points=drill.points)
    return drill


def waiting(now: datetime | Given) -> QuerySet[Drill]:
    """Return open drills that no worker has in hand, the oldest first."""
    free = Q(lease_until__isnull=True) | Q(lease_until__lte=now)
    rows: QuerySet[Drill] = Drill.objects.filter(free, ended_at__isnull=True, due_at__gt=now)
    return rows.order_by("started_at", "pk")


def settled(now: datetime | Given) -> QuerySet[Alert, tuple[str, str]]:
    """Return kind and key of each alert of a drill that stands for nothing any more.

    Its key is an action type's, of which several versions may live: one that passed
    ends nothing that holds for the one in production, and one that was retired
    needs nobody.
    """
    living = ActionType.objects.filter(key=OuterRef("key"), state__in=TESTABLE)
    over = Q(drill_due_at__isnull=True) | Q(drill_due_at__lte=now)
    overdue = living.filter(over, state=ActionType.State.PRODUCTION, is_financial=True).exclude(
        reversal=ActionType.Reversal.NONE
    )
    ended = Drill.objects.filter(action_type=OuterRef("pk"), ended_at__isnull=False)
    last = ended.order_by("-ended_at", "-pk").values("passed")[:1]
    failing = living.annotate(last=Subquery(last)).filter(last=False)
    moot = (Q(kind=OVERDUE) & ~Exists(overdue)) | (Q(kind=FAILED) & ~Exists(failing))
    rows: QuerySet[Alert, tuple[str, str]] = (
        Alert.objects.filter(moot, closed_at__isnull=True).order_by("pk").values_list("kind", "key")
    )
    return rows


@transaction.atomic
def take(*, drill: int | None = None, now: datetime, technical: Technical) -> Taken | None:
    """Take a drill in hand: this one, or the one that waits longest. None if there is none to take.

    What a dead worker had is taken over at the point it was at.
    """
    rows = waiting(now) if drill is None else waiting(now).filter(pk=drill)
    found = claim(rows.select_related("action_type"), limit=1)
    if not found:
        return None
    taken = found[0]
    taken.token, taken.lease_until = uuid4(), now + technical(LEASE_S)
    taken.save(update_fields=["token", "lease_until"])
    return Taken(
        drill=taken,
        token=taken.token,
        definition=definition_of(taken.action_type),
        left=points_of(taken.units)[len(taken.evidence) :],
        sandbox=settings.SANDBOXES.get(taken.target, {}),
    )


@transaction.atomic
def keep(taken: Taken, entry: dict[str, Any], *, now: datetime, technical: Technical) -> Drill:
    """Keep the evidence of one more point, and the lease. Raises Lost."""
    drill = _held(taken)
    kept = evidence.storable(entry)
    drill.evidence = [*drill.evidence, kept]
    drill.lease_until = now + technical(LEASE_S)
    drill.save(update_fields=["evidence", "lease_until"])
    _record(
        drill, "drill.rehearsed", now=now, actor=_who(drill.asked_by),
        point=len(drill.evidence), of=drill.points, outcome=kept["outcome"],
        evidence=canonical.digest(kept),
    )  # fmt: skip
    return drill


@transaction.atomic
def hand_back(taken: Taken) -> None:
    """Leave the rest to the next worker. Raises Lost."""
    drill = _held(taken)
    drill.token = drill.lease_until = None
    drill.save(update_fields=["token", "lease_until"])


@transaction.atomic
def finish(taken: Taken, *, now: datetime) -> Drill:
    """Judge a drill by its evidence, and sign it. It has passed only if each point of all has.

    Raises Lost.
    """
    drill = _held(taken)
    if drill.definition != canonical.digest(definition_of(drill.action_type)):
        _end(drill, Outcome.NOT_RUN, "The action type was changed while it was rehearsed.", now=now)
        return drill
    found = {entry["outcome"]: entry for entry in reversed(drill.evidence)}
    worst = next((found[each] for each in GRAVEST if each in found), None)
    if worst is not None:
        _end(drill, GRAVEST[worst["outcome"]], _why(worst), now=now)
    elif len(drill.evidence) == drill.points and set(found) == {PASSED}:
        _end(drill, Outcome.PASSED, "", now=now)
    else:
        _end(drill, Outcome.NOT_RUN, "Not all of it was rehearsed.", now=now)
    return drill


@transaction.atomic
def give_up(pk: int, now: datetime) -> int:
    """Fail a drill whose time is over, with the evidence it has. Returns 1 if it did."""
    drill = _locked(pk)
    if drill.ended_at is not None or drill.due_at is None or drill.due_at > now:
        return 0
    done = f"{len(drill.evidence)} of {drill.points}"
    _end(drill, Outcome.GIVEN_UP, f"It did not end in time: {done} points were rehearsed.", now=now)
    return 1


def _why(entry: Mapping[str, Any]) -> str:
    """Return in a line what an entry of the evidence failed by."""
    first = next(iter(entry.get("differences") or ()), None)
    if entry["outcome"] == DIFFERS and first is not None:
        place = f"{first['record']}{first['field']}"
        return (
            f"{place} was {_shown(first['before'])} and is {_shown(first['after'])}. {first['why']}"
        )
    return str(entry.get("said") or "It failed.")


def _shown(value: Any) -> str:
    return "not there" if value is None else wording.plain(str(value), 80)


def _end(drill: Drill, outcome: Drill.Outcome, said: str, *, now: datetime) -> None:
    drill.outcome, drill.said = outcome, wording.plain(said, 500)
    drill.passed, drill.ended_at = outcome == Outcome.PASSED, now
    drill.token = drill.lease_until = drill.due_at = None
    evidence.sign(drill)
    drill.save()
    _record(
        drill, "drill.passed" if drill.passed else "drill.failed", now=now, actor=_who(drill.asked_by),
        outcome=outcome, said=drill.said, evidence=drill.evidence_hash, key_id=drill.key_id,
    )  # fmt: skip
    kind, rows = drill.action_type, ActionType.objects.filter(pk=drill.action_type_id)
    if drill.passed:
        rows.update(drill_due_at=now + DRILL_COUNTS_FOR)
        for alert, key in settled(now).filter(key=kind.key):
            close_alert(kind=alert, key=key, now=now)
        return
    if outcome in REFUTED:
        rows.filter(drill_due_at__gt=now).update(drill_due_at=now)
    text = f"The drill of {kind} did not pass: {Outcome(outcome).label.lower()}. {drill.said}"
    raise_alert(kind=FAILED, key=kind.key, text=text, now=now)


def _units_of(action_type: ActionType) -> int:
    """Return how many units its example comes to."""
    connector = registry.connector_for(action_type)
    return len(connector.units(registry.example_of(action_type)))


def _held(taken: Taken) -> Drill:
    drill = _locked(taken.drill.pk)
    if drill.ended_at is not None or drill.token != taken.token:
        raise Lost(f"{drill} is another worker's, or has ended")
    return drill


def _locked(pk: int) -> Drill:
    rows = Drill.objects.select_related("action_type", "asked_by")
    drill: Drill = rows.select_for_update(no_key=True, of=("self",)).get(pk=pk)
    return drill


def _record(drill: Drill, kind: str, *, now: datetime, actor: str, **facts: Any) -> None:
    act = Act(now=now, actor=actor)
    act.record_named(
        Chain.ACTIONS, kind, drill=drill.pk, action=drill.action_type.key,
        version=drill.action_type.version, target=drill.target, definition=drill.definition, **facts,
    )  # fmt: skip
    act.write()


def _who(person: Person | None) -> str:
    return actors.person(person) if person is not None else SCHEDULE
