"""Counts what should not exist. Each finding is a row, an alert, and a silent failure.

An audit is a function of `now` that yields what it found; `run` keeps the rows
in step with it. A finding stands until its audit no longer finds it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from datetime import datetime
from typing import NamedTuple

import httpx2
from django.conf import settings
from django.db import transaction
from django.db.models import Exists, F, OuterRef, Prefetch, Q, Subquery
from django.db.models.functions import Coalesce
from django.utils.module_loading import import_string
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
from approvals.services.alerts import close_alert, raise_alert
from governance import calls, clock
from governance.ladder import AUTOMATIC, BEGIN_WITHIN, BEGIN_WITHIN_PERSON_PRESENT
from governance.ledger import Act
from governance.models import (
    ActionChange,
    AuditEvent,
    ChainHead,
    PeopleChange,
    PolicyVersion,
    SealedEvent,
)
from governance.signs import beat
from governance.vocabulary import Chain, ExceptionType

S = ActionRequest.State
EVERY_S = 60.0  # real seconds between two rounds
OVERDUE_AFTER_S = 60.0  # real seconds a clock may be late before that is a finding
UNSEALED_AFTER_S = 600.0
PARKED_TOO_OFTEN = 3  # times, before a request that is due counts as stuck
SHOWN = 100  # findings of one audit in one round; a hundred and a million say the same
CHAINS_CHECKED = 200
UNDERWAY = (S.BLOCKED, S.EXECUTING, S.TROUBLED, S.ROLLING_BACK)
UNDERWAY_CHECKED = 1000


class Found(NamedTuple):
    """One thing that should not exist."""

    key: str
    text: str
    request: int | None = None  # primary key


Audit = Callable[[datetime], Iterable[Found]]


def clock_overdue(now: datetime) -> Iterator[Found]:
    """An open request whose instant has passed, and nothing moved it."""
    due = ActionRequest.objects.filter(due_at__lt=now - clock.technical(OVERDUE_AFTER_S))
    # One that is parked again and again is as stuck as one that nobody looks at.
    unparked = Q(parked_until__isnull=True) | Q(parked_until__lt=now)
    due = due.filter(unparked | Q(due_at__lt=now - PARKED_TOO_OFTEN * PARKED_FOR))
    for pk, ref, due_at in due.order_by("due_at").values_list("pk", "ref", "due_at")[:SHOWN]:
        yield Found(ref, f"{ref} was due at {due_at:%d %b %H:%M:%S} UTC and nothing moved it.", pk)


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


def held_by_nothing(now: datetime) -> Iterator[Found]:
    """A request that is held, and no conflict holds it."""
    party = ConflictParty.objects.filter(request=OuterRef("pk"), was_held=True, left_at=None)
    held = ActionRequest.objects.filter(~Exists(party), state=S.HELD).order_by("pk")
    for pk, ref in held.values_list("pk", "ref")[:SHOWN]:
        yield Found(ref, f"{ref} is held, and no conflict holds it.", pk)


def failures_without_a_case(now: datetime) -> Iterator[Found]:
    """Something failed, and no case says so."""
    told = Case.objects.filter(
        request=OuterRef("pk"), exception=ExceptionType.SYSTEM_FAILURE, state=Case.State.OPEN
    )
    troubled = ActionRequest.objects.filter(~Exists(told), state=S.TROUBLED).order_by("pk")
    for pk, ref in troubled.values_list("pk", "ref")[:SHOWN]:
        yield Found(ref, f"{ref} has failed, and no case says so.", pk)


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


def notices_out_of_tries(now: datetime) -> Iterator[Found]:
    """A message that will never be delivered, and no alert says so."""
    said = Alert.objects.filter(
        Q(request=OuterRef("request")) | Q(request__isnull=True), kind="notice.failed"
    )
    failed = Notice.objects.filter(~Exists(said), state=Notice.State.FAILED)
    for pk, request in failed.order_by("pk").values_list("pk", "request")[:SHOWN]:
        yield Found(f"notice {pk}", f"Message {pk} is out of tries, and no alert says so.", request)


def failed_tasks(now: datetime) -> Iterator[Found]:
    """A task in the queue's failed table. It stands until somebody has acknowledged its alert."""
    acknowledged = Alert.objects.filter(kind="audit.failed_tasks", acknowledged_at__isnull=False)
    known = set(acknowledged.order_by("-pk").values_list("key", flat=True)[: SHOWN * 10])
    for pk, func in Failure.objects.order_by("-stopped").values_list("id", "func")[:SHOWN]:
        if f"task {pk}" not in known:
            yield Found(f"task {pk}", f"A task of the worker failed: {func}.")


def chains_broken(now: datetime) -> Iterator[Found]:
    """A chain whose head is not its last event, among those that moved last. `verify_ledger` looks at all."""
    recent = AuditEvent.objects.order_by("-pk").values_list("chain", flat=True)[:CHAINS_CHECKED]
    chains = set(recent)
    # Head and end in one statement each, so that both are of one instant: they move together.
    requests = ActionRequest.objects.filter(ref__in=chains).annotate(end=_end_of("ref"))
    named = ChainHead.objects.filter(name__in=chains).annotate(end=_end_of("name"))
    heads = [
        *requests.values_list("ref", "chain_length", "end"),
        *named.values_list("name", "length", "end"),
    ]
    for chain, length, end in heads:
        if length != end:
            yield Found(
                f"chain {chain}", f"Chain {chain} has {end} events, and its head says {length}."
            )
    for chain in sorted(chains - {chain for chain, *_ in heads}):
        yield Found(f"chain {chain}", f"Chain {chain} has events, and no head.")


def _end_of(name: str) -> Subquery:
    last = AuditEvent.objects.filter(chain=OuterRef(name)).order_by("-seq")
    return Subquery(last.values("seq")[:1])


def unsealed(now: datetime) -> Iterator[Found]:
    """An event that no seal covers although several should have."""
    old = now - clock.technical(UNSEALED_AFTER_S)
    # The newest events only: what is older was looked at before, and `verify_ledger` looks at all.
    newest = AuditEvent.objects.order_by("-pk").values("pk")[: SHOWN * 10]
    covered = SealedEvent.objects.filter(event=OuterRef("pk"))
    count = AuditEvent.objects.filter(~Exists(covered), pk__in=newest, at__lt=old).count()
    if count:
        yield Found("unsealed", f"{count} events of the record are not sealed.")


def reviews_out_of_step(now: datetime) -> Iterator[Found]:
    """An open review whose clock ran out and nothing moved it, or that nobody is asked to do."""
    late = now - clock.technical(OVERDUE_AFTER_S)
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


def bypasses_without_a_factor(now: datetime) -> Iterator[Found]:
    """A bypass that was decided without a second factor, or without its review."""
    bare = Decision.objects.filter(
        Q(reauthenticated_at__isnull=True) | Q(review__isnull=True), is_bypass=True
    )
    for pk, request, ref in bare.order_by("-pk").values_list("pk", "request", "request__ref")[
        :SHOWN
    ]:
        yield Found(f"bypass {pk}", f"{ref} was bypassed without a second factor.", request)


def changes_overdue(now: datetime) -> Iterator[Found]:
    """A change of people whose time for a second person is over, and nothing ended it."""
    late = now - clock.technical(OVERDUE_AFTER_S)
    open_ = PeopleChange.objects.filter(state=PeopleChange.State.OPEN, due_at__lt=late)
    for pk, due_at in open_.order_by("due_at").values_list("pk", "due_at")[:SHOWN]:
        text = f"Change {pk} of people ran out at {due_at:%d %b %H:%M:%S} UTC and nothing ended it."
        yield Found(f"change {pk}", text)


def action_changes_overdue(now: datetime) -> Iterator[Found]:
    """A change of an action type whose time for a second person is over, and nothing ended it."""
    late = now - clock.technical(OVERDUE_AFTER_S)
    open_ = ActionChange.objects.filter(state=ActionChange.State.OPEN, due_at__lt=late)
    for pk, due_at in open_.order_by("due_at").values_list("pk", "due_at")[:SHOWN]:
        text = f"Change {pk} of an action type ran out at {due_at:%d %b %H:%M:%S} UTC and nothing ended it."
        yield Found(f"change {pk}", text)


def no_policy(now: datetime) -> Iterator[Found]:
    """No policy is active, so that every submission is refused."""
    if not PolicyVersion.objects.filter(state=PolicyVersion.State.ACTIVE).exists():
        yield Found("policy", "No policy version is active. Nobody is named to decide anything.")


AUDITS: dict[str, Audit] = {
    "clock_overdue": clock_overdue,
    "due_at_differs": due_at_differs,
    "held_by_nothing": held_by_nothing,
    "failures_without_a_case": failures_without_a_case,
    "asks_out_of_step": asks_out_of_step,
    "ended_with_open_parts": ended_with_open_parts,
    "notices_out_of_tries": notices_out_of_tries,
    "failed_tasks": failed_tasks,
    "chains_broken": chains_broken,
    "unsealed": unsealed,
    "reviews_out_of_step": reviews_out_of_step,
    "bypasses_without_a_factor": bypasses_without_a_factor,
    "changes_overdue": changes_overdue,
    "action_changes_overdue": action_changes_overdue,
    "no_policy": no_policy,
}


def all_audits(*, outside: bool = True) -> dict[str, Audit]:
    """Return the audits of every package: ours, and those that settings.RECOURSE_AUDITS names.

    Args:
        outside: with those that call targets.
    """
    found = dict(AUDITS)
    names = settings.RECOURSE_AUDITS + (settings.RECOURSE_AUDITS_OUTSIDE if outside else [])
    for name in names:
        found.update(import_string(name))
    return found


def run(*, now: datetime, outside: bool = True) -> list[Finding]:
    """Run every audit, bring the findings up to date, and return those that stand.

    An audit that itself fails is a finding. Safe to run again; each audit's
    findings are written in a transaction of their own.

    Args:
        outside: with those that call targets.
    """
    for name, audit in all_audits(outside=outside).items():
        whole = True
        try:
            found = list(audit(now))
        except (TypeError, ValueError, LookupError, ArithmeticError) as problem:
            found = [
                Found(
                    "failed", f"The audit {name} itself failed: {type(problem).__name__}: {problem}"
                )
            ]
            whole = False
        _bring_up_to_date(name, found, now, whole=whole)
    standing = list(Finding.objects.filter(cleared_at__isnull=True).order_by("pk"))
    beat("audit", now=now, findings=len(standing))
    return standing


@transaction.atomic
def _bring_up_to_date(audit: str, found: list[Found], now: datetime, *, whole: bool) -> None:
    """Open what was found, and clear what was not, unless the audit did not come to its end."""
    standing = {
        finding.key: finding
        for finding in Finding.objects.select_for_update().filter(
            audit=audit, cleared_at__isnull=True
        )
    }
    keys = {each.key for each in found}
    about = {each.request for each in found if each.request and each.key not in standing}
    refs = dict(ActionRequest.objects.filter(pk__in=about).values_list("pk", "ref"))
    act = Act(now=now, actor="audit")
    for each in found:
        if each.key in standing:
            continue
        alert = raise_alert(kind=f"audit.{audit}", key=each.key, text=each.text, now=now)
        finding = Finding(
            audit=audit,
            key=each.key,
            text=each.text[:500],
            request_id=each.request,
            alert=alert,
            found_at=now,
        )
        Finding.objects.bulk_create([finding], ignore_conflicts=True)  # another round may be first
        act.record_named(
            Chain.SYSTEM, "finding.opened", audit=audit, key=each.key, text=each.text[:300],
            request=refs.get(each.request or 0, ""),
        )  # fmt: skip
    for key, finding in standing.items():
        if whole and key not in keys:
            finding.cleared_at = now
            finding.save(update_fields=["cleared_at"])
            close_alert(kind=f"audit.{audit}", key=key, now=now)
            act.record_named(Chain.SYSTEM, "finding.cleared", audit=audit, key=key)
    act.write()


class HeartbeatNotTaken(Exception):
    """Whoever listens at HEARTBEAT_URL did not take it. Never with the address: whoever knows it can beat."""


def tell_outside(standing: list[Finding]) -> None:
    """Send the heartbeat to HEARTBEAT_URL, only when nothing was found: silence itself is noticed outside.

    Raises HeartbeatNotTaken if the outside does not take it; the task that calls this then fails visibly.
    """
    if not settings.HEARTBEAT_URL or standing:
        return
    try:
        httpx2.get(settings.HEARTBEAT_URL, timeout=5).raise_for_status()
    except httpx2.HTTPStatusError as problem:
        raise HeartbeatNotTaken(f"answered {problem.response.status_code}") from None
    except httpx2.HTTPError as problem:
        raise HeartbeatNotTaken(type(problem).__name__) from None


def call_for_audit(*, now: datetime) -> int:
    """Have the worker audit each minute; if no audit came back for three, audit here.

    A sweep. Returns 1 if one was asked for or run, else 0.
    """
    return calls.delegate(
        "approvals.tasks.audit",
        sign="audit",
        every=clock.technical(EVERY_S),
        here=lambda now: run(now=now, outside=False),
        now=now,
    )
