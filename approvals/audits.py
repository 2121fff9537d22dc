"""Counts what should not exist among requests, their steps, messages and reviews. See `governance.audits`."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from datetime import datetime
from itertools import islice
from typing import TypeVar

from django.db.models import Case as CaseOf
from django.db.models import (
    CharField,
    Exists,
    F,
    Model,
    OuterRef,
    Prefetch,
    Q,
    QuerySet,
    Value,
    When,
)
from django.db.models.functions import Cast, Coalesce, Concat
from django_q.models import Failure

from approvals.batches import PARKED_FOR
from approvals.due import due_of
from approvals.models import (
    ENDED,
    ActionRequest,
    Alert,
    Ask,
    Case,
    ConflictParty,
    Decision,
    Finding,
    Notice,
    Review,
    Step,
)
from governance import courier
from governance.audits import (
    OVERDUE_AFTER_S,
    SHOWN,
    Found,
    Look,
    audit,
    mark_of,
    numbers_in,
    overdue_before,
)
from governance.ladder import AUTOMATIC, BEGIN_WITHIN, BEGIN_WITHIN_PERSON_PRESENT
from governance.models import TaskAttempt
from governance.vocabulary import ExceptionType

T = TypeVar("T", bound=Model)
S = ActionRequest.State
PARKED_TOO_OFTEN = 3  # times, before a request that is due counts as stuck
UNDERWAY = (S.BLOCKED, S.EXECUTING, S.TROUBLED, S.ROLLING_BACK)
UNDERWAY_CHECKED = 1000
PAST = "Somebody wrote rows past the services: find who, in the database's log."
TASK, BYPASS = "task ", "bypass "  # what the keys of their findings begin with
# What an operator saw who acknowledged a bare bypass.
OF_A_DECISION = (
    "step", "request", "person", "verdict", "note", "digest", "severity", "details", "via",
    "reauthenticated_at", "at", "is_bypass", "review",
)  # fmt: skip
# What the queue brings again, or gives up, comes back or leaves an alert well within this time.
LOST_AFTER_S = 240.0  # real seconds: its retry, its time-out, and as much again as that


@audit("Are clock and worker running? manage.py clock --once shows whether a sweep fails.")
def clock_overdue(now: datetime) -> Iterator[Found]:
    """An open request whose instant has passed, and nothing moved it."""
    due = ActionRequest.objects.filter(due_at__lt=overdue_before(now, after_s=OVERDUE_AFTER_S))
    # One that is parked again and again is as stuck as one that nobody looks at.
    unparked = Q(parked_until__isnull=True) | Q(parked_until__lt=now)
    due = due.filter(unparked | Q(due_at__lt=now - PARKED_TOO_OFTEN * PARKED_FOR))
    for pk, ref, due_at in due.order_by("due_at").values_list("pk", "ref", "due_at")[:SHOWN]:
        yield Found(ref, f"{ref} was due at {due_at:%d %b %H:%M:%S} UTC and nothing moved it.", pk)


@audit(f"{PAST} The request's page still has the step's own times.")
def due_at_differs(now: datetime) -> Iterator[Found]:
    """A clock on a request that is not the clock of its source."""
    waiting = Step.objects.filter(
        request=OuterRef("pk"), state=Step.State.WAITING, due_at=OuterRef("due_at")
    )
    pending = ActionRequest.objects.filter(~Exists(waiting), state=S.PENDING).order_by("pk")
    for pk, ref in pending.values_list("pk", "ref")[:SHOWN]:
        yield Found(ref, f"{ref} waits, and its clock is not its step's.", pk)
    since = Coalesce("ready_at", "approved_at")
    right = Q(person_present=False, due_at=since + BEGIN_WITHIN) | Q(
        person_present=True, due_at=since + BEGIN_WITHIN_PERSON_PRESENT
    )
    approved = ActionRequest.objects.filter(~right, state=S.APPROVED).order_by("due_at")
    for pk, ref in approved.values_list("pk", "ref")[:SHOWN]:
        yield Found(ref, f"{ref} is approved, and its clock is another one.", pk)
    for request in ActionRequest.objects.filter(state=S.HELD).order_by("pk")[:UNDERWAY_CHECKED]:
        if request.due_at != _due_of_held(request):
            yield Found(
                request.ref, f"{request.ref} is held, and its clock is another one.", request.pk
            )
    # Few are underway at a time, and their clocks have several sources each.
    steps = Prefetch(
        "steps", Step.objects.filter(state=Step.State.WAITING), to_attr="waiting_steps"
    )
    underway = ActionRequest.objects.filter(state__in=UNDERWAY, due_at__isnull=False)
    for request in underway.prefetch_related(steps).order_by("due_at")[:UNDERWAY_CHECKED]:
        waiting = next(iter(request.waiting_steps), None)
        if request.due_at != _due_or_none(request, waiting):
            state = request.get_state_display().lower()
            yield Found(
                request.ref, f"{request.ref} is {state}, and its clock is another one.", request.pk
            )


def _due_or_none(request: ActionRequest, waiting: Step | None) -> datetime | None:
    try:
        return due_of(request, waiting=waiting)
    except LookupError:
        return None  # a row without any source for its clock: it differs


def _due_of_held(request: ActionRequest) -> datetime | None:
    party = ConflictParty.objects.filter(request=request, was_held=True, left_at=None).first()
    waiting = Step.objects.filter(request=request, state=Step.State.WAITING).first()
    held_until = party.held_until if party is not None else None
    try:
        return due_of(request, waiting=waiting, held_until=held_until)
    except LookupError:
        return None


@audit(f"{PAST} When its clock runs out it is parked, with the alert sweep.failed.")
def held_by_nothing(now: datetime) -> Iterator[Found]:
    """A request that is held, and no conflict holds it."""
    party = ConflictParty.objects.filter(request=OuterRef("pk"), was_held=True, left_at=None)
    held = ActionRequest.objects.filter(~Exists(party), state=S.HELD).order_by("pk")
    for pk, ref in held.values_list("pk", "ref")[:SHOWN]:
        yield Found(ref, f"{ref} is held, and no conflict holds it.", pk)


@audit(PAST)
def failures_without_a_case(now: datetime) -> Iterator[Found]:
    """Something failed, and no case says so."""
    told = Case.objects.filter(
        request=OuterRef("pk"), exception=ExceptionType.SYSTEM_FAILURE, state=Case.State.OPEN
    )
    troubled = ActionRequest.objects.filter(~Exists(told), state=S.TROUBLED).order_by("pk")
    for pk, ref in troubled.values_list("pk", "ref")[:SHOWN]:
        yield Found(ref, f"{ref} has failed, and no case says so.", pk)


@audit(PAST)
def asks_out_of_step(now: datetime) -> Iterator[Found]:
    """Somebody asked by a step that does not wait, or a step that waits on nobody."""
    astray = Ask.objects.filter(due_at__isnull=False).exclude(
        step__state=Step.State.WAITING, step__due_at=F("due_at")
    )
    for pk, request, ref in astray.order_by("pk").values_list(
        "pk", "step__request", "step__request__ref"
    )[:SHOWN]:
        yield Found(
            f"ask {pk}", f"Somebody is asked about {ref} by a step that does not wait.", request
        )
    asked = Ask.objects.filter(step=OuterRef("pk"), due_at__isnull=False)
    automatic = Q()
    for path, level in AUTOMATIC:
        automatic |= Q(path=path, level=level)
    alone = Step.objects.filter(~Exists(asked), state=Step.State.WAITING).exclude(automatic)
    for pk, request, ref in alone.order_by("pk").values_list("pk", "request", "request__ref")[
        :SHOWN
    ]:
        yield Found(f"step {pk}", f"A step of {ref} waits on nobody.", request)


@audit(PAST)
def ended_with_open_parts(now: datetime) -> Iterator[Found]:
    """A request that has ended while a step still waits, or a case is still open."""
    waiting = Step.objects.filter(state__in=[Step.State.WAITING, Step.State.SUSPENDED]).order_by(
        "pk"
    )
    for request, ref in waiting.filter(request__state__in=ENDED).values_list(
        "request", "request__ref"
    )[:SHOWN]:
        yield Found(f"step of {ref}", f"{ref} has ended, and a step of it waits.", request)
    cases = Case.objects.filter(state=Case.State.OPEN, request__state__in=ENDED)
    for request, ref in cases.order_by("pk").values_list("request", "request__ref")[:SHOWN]:
        yield Found(f"case of {ref}", f"{ref} has ended, and a case of it is open.", request)


@audit("Tell the person, or send the message again from the dead letters.")
def notices_out_of_tries(now: datetime) -> Iterator[Found]:
    """A message that will never be delivered, and no alert says so."""
    # All alerts of alerts that were not delivered are one.
    of_alerts = When(kind=Notice.Kind.ALERT, then=Value("alerts"))
    own = Concat(Value("notice "), Cast("pk", CharField()))
    said = Alert.objects.filter(kind="notice.failed", key=OuterRef("told_as"))
    failed = Notice.objects.annotate(told_as=CaseOf(of_alerts, default=own)).filter(
        ~Exists(said), state=Notice.State.FAILED
    )
    for pk, request in failed.order_by("pk").values_list("pk", "request")[:SHOWN]:
        yield Found(f"notice {pk}", f"Message {pk} is out of tries, and no alert says so.", request)


def _failed_tasks_again(keys: Collection[str], now: datetime) -> Iterator[Found]:
    tasks = [key.removeprefix(TASK) for key in keys]
    yield from _failed(_untold(Failure.objects.filter(pk__in=tasks)))


@audit(
    "Read its error among the dead letters, and run it again or put it aside.",
    again=_failed_tasks_again,
)
def failed_tasks(now: datetime) -> Iterator[Found]:
    """A task in the queue's table of failures, and no alert says so."""
    yield from _failed(_untold(Failure.objects.order_by("-stopped"))[:SHOWN])


def _failed(rows: QuerySet[Failure]) -> Iterator[Found]:
    for pk, func in rows.values_list("id", "func"):
        yield Found(f"{TASK}{pk}", f"A task of the worker failed: {func}.")


def _tasks_lost_again(keys: Collection[str], now: datetime) -> Iterator[Found]:
    # One that was brought again has not come to its end by that.
    tasks = [key.removeprefix(TASK) for key in keys]
    yield from _lost(_untold(TaskAttempt.objects.filter(pk__in=tasks)))


@audit(
    "Is the worker running? If the queue has lost it, the next sweep finds its work again.",
    again=_tasks_lost_again,
)
def tasks_lost(now: datetime) -> Iterator[Found]:
    """A task that was begun and did not come to its end, and no alert says so."""
    since = overdue_before(now, after_s=LOST_AFTER_S)
    lost = TaskAttempt.objects.filter(last_at__lt=since).order_by("-last_at")
    yield from _lost(_untold(lost)[:SHOWN])


def _lost(rows: QuerySet[TaskAttempt]) -> Iterator[Found]:
    for pk, name in rows.values_list("pk", "name"):
        yield Found(f"{TASK}{pk}", f"{name} was begun and never ended.")


def _untold(rows: QuerySet[T]) -> QuerySet[T]:
    """Leave out the tasks that an alert was ever raised of, or whose finding somebody acknowledged."""
    told = Alert.objects.filter(kind__in=courier.ALERTS, key=OuterRef("pk"))
    seen = Alert.objects.filter(
        kind__in=("audit.failed_tasks", "audit.tasks_lost"),
        key=Concat(Value(TASK), OuterRef("pk"), output_field=CharField()),
        acknowledged_at__isnull=False,
    )
    return rows.filter(~Exists(told), ~Exists(seen))


def acknowledged(audit: str, keys: Iterable[str]) -> set[str]:
    """Return the keys of those findings of an audit whose alert an operator has acknowledged.

    For what is past and cannot be mended: it stands until somebody says that they look after it.
    """
    seen = Alert.objects.filter(
        kind=f"audit.{audit}", key__in=list(keys), acknowledged_at__isnull=False
    )
    return set(seen.values_list("key", flat=True))


@audit("Are clock and worker running? If nobody is asked, name another reviewer in the policy.")
def reviews_out_of_step(now: datetime) -> Iterator[Found]:
    """An open review whose clock ran out and nothing moved it, or that nobody is asked to do."""
    late = overdue_before(now, after_s=OVERDUE_AFTER_S)
    open_ = Review.objects.filter(state=Review.State.OPEN)
    for pk, request, ref in (
        open_.filter(Q(due_at__lt=late) | Q(due_at__isnull=True))
        .order_by("due_at")
        .values_list("pk", "request", "request__ref")[:SHOWN]
    ):
        yield Found(f"review {pk}", f"A review of {ref} ran over, and nothing moved it.", request)
    alone = open_.filter(asked__isnull=True).order_by("due_at")
    for pk, request, ref in alone.values_list("pk", "request", "request__ref")[:SHOWN]:
        yield Found(f"review {pk}", f"A review of {ref} is open, and nobody is asked.", request)


def _bypasses_again(keys: Collection[str], now: datetime) -> Iterator[Found]:
    known = numbers_in(keys, BYPASS)
    yield from _bare(Decision.objects.filter(pk__in=known))
    there = set(Decision.objects.filter(pk__in=known).values_list("pk", flat=True))
    # A finding of its own: who saw the other one has not seen this.
    gone = {f"{BYPASS}{pk} gone": key for pk, key in known.items() if pk not in there}
    seen = acknowledged("bypasses_without_a_factor", gone)
    before = Finding.objects.filter(
        audit="bypasses_without_a_factor", key__in=gone.values(), cleared_at__isnull=True
    )
    of = {
        key: (request, ref)
        for key, request, ref in before.values_list("key", "request", "request__ref")
    }
    for key in sorted(gone.keys() - seen):
        request, ref = of.get(gone[key], (None, None))
        text = f"A bypass of {ref or 'a request'} without a second factor is gone: its decision was deleted."
        yield Found(key, text, request)


@audit(f"{PAST} Then acknowledge its alert: what was decided stays so.", again=_bypasses_again)
def bypasses_without_a_factor(now: datetime) -> Iterator[Found]:
    """A bypass that was decided without a second factor, or without its review."""
    yield from islice(_bare(Decision.objects.all()), SHOWN)


def _bare(decisions: QuerySet[Decision]) -> Iterator[Found]:
    """Yield all those that nobody has acknowledged as they are, the last one first."""
    bare = decisions.filter(
        Q(reauthenticated_at__isnull=True) | Q(review__isnull=True), is_bypass=True
    )
    rows = left = bare.order_by("-pk").values("pk", "request__ref", *OF_A_DECISION)
    while page := list(left[:SHOWN]):
        left = rows.filter(pk__lt=page[-1]["pk"])
        found = {}
        for row in page:
            content = {name: row[name] for name in OF_A_DECISION}
            found[f"{BYPASS}{row['pk']} {mark_of(content)}"] = row
        seen = acknowledged("bypasses_without_a_factor", found)
        for key, row in found.items():
            if key not in seen:
                text = f"{row['request__ref']} was bypassed without a second factor."
                yield Found(key, text, row["request"])


AUDITS: dict[str, Look] = {
    "clock_overdue": clock_overdue,
    "due_at_differs": due_at_differs,
    "held_by_nothing": held_by_nothing,
    "failures_without_a_case": failures_without_a_case,
    "asks_out_of_step": asks_out_of_step,
    "ended_with_open_parts": ended_with_open_parts,
    "notices_out_of_tries": notices_out_of_tries,
    "failed_tasks": failed_tasks,
    "tasks_lost": tasks_lost,
    "reviews_out_of_step": reviews_out_of_step,
    "bypasses_without_a_factor": bypasses_without_a_factor,
}
