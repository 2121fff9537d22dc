"""What pages, endpoints and processes read. Selectors change nothing."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db.models import Count, Exists, Max, OuterRef, Q, QuerySet
from django_q.models import Failure

from approvals.models import OPEN, ActionRequest, Alert, Ask, Finding, Notice, Order, Review
from approvals.services import reviews
from approvals.services.dead_letters import may_tend
from governance import clock, courier
from governance.audits import end_of_chain
from governance.ledger import by_name
from governance.models import (
    ActionChange,
    Appointment,
    Department,
    Heartbeat,
    PeopleChange,
    Person,
    PolicyVersion,
    TaskAttempt,
)
from governance.reads import NOW, Read, together
from governance.simulation import Past
from governance.vocabulary import Duty, Impact, Path, Severity
from governance.wording import LANES

COUNTED = 100  # counts are bounded, so that a page costs the same at any load
SEES_FINDINGS = (Duty.OPERATOR, Duty.POLICY_ADMIN, Duty.AUDITOR)
SEES_ALL = (Duty.OPERATOR, Duty.AUDITOR, Duty.COMPLIANCE, Duty.POLICY_ADMIN)
PATHS = tuple(Path)
# What is due among these is the worker's to take up, and the clock only calls it.
UNDERWAY = (
    ActionRequest.State.EXECUTING,
    ActionRequest.State.TROUBLED,
    ActionRequest.State.ROLLING_BACK,
)
CLOCK_SILENT_AFTER_S = 90.0  # real seconds; the schedule alone beats each minute


def visible_to(person: Person) -> QuerySet[ActionRequest]:
    """Return the requests a person may see, with what their pages show first.

    Operators, auditors, compliance and policy admins see all; others those they
    were named for, asked or passed over, those of agents they own, those made on
    their behalf, those they were asked to review, and those of departments they head or control: whoever may have
    something undone can see it.
    """
    rows: QuerySet[ActionRequest] = ActionRequest.objects.select_related(
        "action_type", "agent", "department", "policy", "matrix_row", "on_behalf_of"
    )
    if not person.is_active:
        return rows.none()
    if person.is_superuser or person.has_duty(*SEES_ALL):
        return rows
    named = Ask.objects.filter(step__request=OuterRef("pk"), person=person)
    to_review = Review.objects.filter(request=OuterRef("pk"), asked=person)
    own = Exists(named) | Exists(to_review) | Q(agent__owner=person) | Q(on_behalf_of=person)
    overseen = _overseen_by(person)
    return rows.filter(own | Q(department__in=overseen)) if overseen else rows.filter(own)


def _overseen_by(person: Person) -> list[int]:
    """Return the departments a person heads by the active policy or, as a controller, looks after.

    See `approvals.undoing`.
    """
    headed = Appointment.objects.filter(
        office=Appointment.Office.DEPARTMENT_HEAD,
        person=person,
        version__state=PolicyVersion.State.ACTIVE,
    )
    theirs = Q(key__in=headed.values("scope"))
    if person.has_duty(Duty.CONTROLLER):
        theirs |= Q(pk=person.department_id)
    return list(Department.objects.filter(theirs).values_list("pk", flat=True))


def inbox_for(
    person: Person, path: str, *, after: tuple[datetime, int] | None = None
) -> QuerySet[Ask]:
    """Return the asks that wait on a person on one path, the first to run out first.

    Args:
        after: (due_at, id) of the last one shown before.
    """
    rows = Ask.objects.filter(person=person, path=path, due_at__isnull=False)
    if after is not None:
        due_at, pk = after
        rows = rows.filter(Q(due_at__gt=due_at) | Q(due_at=due_at, pk__gt=pk))
    return rows.select_related(
        "step__request__action_type", "step__request__agent", "step__case"
    ).order_by("due_at", "pk")


def open_requests(*, after: tuple[datetime, int] | None = None) -> QuerySet[ActionRequest]:
    """Return all open requests, the next to move first. Answers "why is this still open?"."""
    rows: QuerySet[ActionRequest] = ActionRequest.objects.filter(due_at__isnull=False)
    if after is not None:
        due_at, pk = after
        rows = rows.filter(Q(due_at__gt=due_at) | Q(due_at=due_at, pk__gt=pk))
    return rows.select_related("action_type", "agent").order_by("due_at", "pk")


def unseen_notices(person: Person) -> QuerySet[Notice]:
    """Return what a person was told in the inbox and has not seen, the newest first."""
    return (
        Notice.objects.filter(person=person, via=Notice.Via.INBOX, seen_at__isnull=True)
        .select_related("request")
        .order_by("-pk")
    )


def reviews_seen_by(person: Person) -> QuerySet[Review]:
    """Return the reviews a person may see: see `approvals.services.reviews.may_see`."""
    rows: QuerySet[Review] = Review.objects.filter(reviews.may_see(person))
    return rows.select_related(
        "request__action_type", "request__agent", "request__department", "asked", "closed_by"
    )


def open_reviews(person: Person, *, after: tuple[datetime, int] | None = None) -> QuerySet[Review]:
    """Return the open reviews a person may see, the first to run out first.

    Args:
        after: (due_at, id) of the last one shown before.
    """
    rows = reviews_seen_by(person).filter(state=Review.State.OPEN)
    if after is not None:
        due_at, pk = after
        rows = rows.filter(Q(due_at__gt=due_at) | Q(due_at=due_at, pk__gt=pk))
    return rows.order_by("due_at", "pk")


def open_alerts() -> QuerySet[Alert]:
    return (
        Alert.objects.filter(closed_at__isnull=True)
        .select_related("request")
        .order_by("-raised_at")
    )


def open_findings() -> int:
    """Return how many silent failures stand: findings of audits that nobody mended."""
    return Finding.objects.filter(cleared_at__isnull=True).count()


def sees_findings(person: Person) -> bool:
    """Whether somebody may see what failed unseen, and what was given up."""
    return person.is_superuser or person.has_duty(*SEES_FINDINGS)


def standing_findings() -> QuerySet[Finding]:
    """Return the findings that stand, the oldest first."""
    rows = Finding.objects.filter(cleared_at__isnull=True).select_related(
        "request", "alert__acknowledged_by"
    )
    return rows.order_by("found_at", "pk")


def past_findings(*, after: tuple[datetime, int] | None = None) -> QuerySet[Finding]:
    """Return the findings that were cleared, the last one first.

    Args:
        after: (cleared_at, id) of the last one shown before.
    """
    rows = Finding.objects.filter(cleared_at__isnull=False)
    if after is not None:
        at, pk = after
        rows = rows.filter(Q(cleared_at__lt=at) | Q(cleared_at=at, pk__lt=pk))
    return rows.select_related("request").order_by("-cleared_at", "-pk")


def findings_by_audit() -> dict[str, int]:
    """Return by audit how many of its findings stand."""
    rows = Finding.objects.filter(cleared_at__isnull=True).values_list("audit")
    return dict(rows.annotate(count=Count("pk")).order_by("audit"))


def dead_letters(*, before: int | None = None) -> QuerySet[Notice]:
    """Return the messages that are out of tries, the last one first.

    Args:
        before: primary key of the last one shown before.
    """
    rows = Notice.objects.filter(state=Notice.State.FAILED)
    if before is not None:
        rows = rows.filter(pk__lt=before)
    return rows.select_related("request__agent", "person").order_by("-pk")


@dataclass(frozen=True, slots=True)
class DeadTask:
    """A task that the queue brings no more, or whose failure it kept."""

    task: str
    name: str
    error: str
    attempts: int
    last_at: datetime


def dead_tasks(*, limit: int, after: tuple[datetime, str] | None = None) -> list[DeadTask]:
    """Return the tasks that were given up, the last one first. Those that are tried again are none.

    Args:
        after: (last_at, task) of the last one shown before.
    """
    given_up = TaskAttempt.objects.filter(courier.given_up()).order_by("-last_at", "-task")
    # Never the row itself: what the task returned would be unpickled from the database.
    failed = Failure.objects.exclude(pk__in=TaskAttempt.objects.values("pk"))
    failed = failed.order_by("-stopped", "-id")
    if after is not None:
        at, task = after
        given_up = given_up.filter(Q(last_at__lt=at) | Q(last_at=at, task__lt=task))
        failed = failed.filter(Q(stopped__lt=at) | Q(stopped=at, id__lt=task))
    found = [
        DeadTask(each.pk, each.name, each.last_error or "Its worker died each time.",
                 each.attempts, each.last_at)
        for each in given_up[:limit]
    ]  # fmt: skip
    error = "It raised an error, which is in the worker's log."
    found += [
        DeadTask(pk, func, error, attempts, stopped)
        for pk, func, attempts, stopped in failed.values_list(
            "id", "func", "attempt_count", "stopped"
        )[:limit]
    ]
    return sorted(found, key=lambda each: (each.last_at, each.task), reverse=True)[:limit]


def rows_in_use() -> dict[int, frozenset[int]]:
    """Return by policy version the rows of the matrix that route its open requests: primary keys."""
    pairs = (
        ActionRequest.objects.filter(state__in=OPEN).values_list("policy", "matrix_row").distinct()
    )
    found: dict[int, set[int]] = {}
    for version, row in pairs.order_by():
        found.setdefault(version, set()).add(row)
    return {version: frozenset(rows) for version, rows in found.items()}


def past_requests(since: datetime, until: datetime) -> Iterator[Past]:
    """Yield what was submitted in [since, until), oldest first, as far as routing reads it."""
    asked: dict[int, list[str]] = {}
    first = Ask.objects.filter(
        step__request__submitted_at__gte=since,
        step__request__submitted_at__lt=until,
        path=Path.APPROVAL,
        asked_at__isnull=False,
        handed_over_from__isnull=True,
    )
    for request, person in first.order_by("position", "pk").values_list(
        "step__request", "person__name"
    ):
        asked.setdefault(request, []).append(person)
    made = ActionRequest.objects.filter(submitted_at__gte=since, submitted_at__lt=until)
    for pk, *facts, severity, impact in (
        made.order_by("submitted_at", "pk")
        .values_list(
            "pk", "ref", "title", "submitted_at", "department", "action_type__key",
            "action_type__name", "routed_amount", "currency", "agent__owner", "on_behalf_of",
            "severity", "impact",
        )
        .iterator()
    ):  # fmt: skip
        grades = Severity(severity), Impact(impact)
        yield Past._make([*facts, *grades, tuple(asked.get(pk, ()))])


def next_due_at(now: datetime) -> datetime | None:
    """Return when the clock has something to do next; at or before `now` if it has already."""
    firsts = [at for found in together(*CLOCKS, now=now) for (at,) in found]
    return min(firsts, default=None)


def _first(rows: Callable[[], QuerySet[Any]], at: str = "due_at") -> Read:
    return Read(lambda: rows().order_by(at).values_list(at)[:1])


_unparked = Q(parked_until__isnull=True, due_at__isnull=False)
CLOCKS = (
    _first(lambda: ActionRequest.objects.filter(_unparked, state=ActionRequest.State.PENDING)),
    _first(lambda: ActionRequest.objects.filter(_unparked, state=ActionRequest.State.APPROVED)),
    _first(lambda: ActionRequest.objects.filter(_unparked, state=ActionRequest.State.HELD)),
    _first(lambda: ActionRequest.objects.filter(_unparked, state=ActionRequest.State.BLOCKED)),
    _first(lambda: ActionRequest.objects.filter(_unparked, state__in=UNDERWAY, due_at__gt=NOW)),
    _first(lambda: Ask.objects.filter(next_ping_at__isnull=False), "next_ping_at"),
    _first(lambda: Notice.objects.filter(next_attempt_at__gt=NOW), "next_attempt_at"),
    _first(lambda: Order.objects.filter(closed_at__isnull=True, due_at__gt=NOW)),
    _first(lambda: Review.objects.filter(state=Review.State.OPEN)),
    _first(
        lambda: Review.objects.filter(state=Review.State.OPEN, remind_at__isnull=False),
        "remind_at",
    ),
    _first(lambda: PeopleChange.objects.filter(state=PeopleChange.State.OPEN)),
    _first(lambda: ActionChange.objects.filter(state=ActionChange.State.OPEN)),
)


def chain_heads() -> Iterator[tuple[str, int, str]]:
    """Yield (chain, length, last hash) of every request, for `governance.verify`."""
    heads = ActionRequest.objects.order_by(by_name("ref")).values_list(
        "ref", "chain_length", "chain_hash"
    )
    yield from heads.iterator()


def heads_of(chains: Collection[str]) -> list[tuple[str, int, int | None]]:
    """Return (chain, length, number of its last event) of the requests among some chains, for `governance.audits`."""
    requests = ActionRequest.objects.filter(ref__in=chains).annotate(end=end_of_chain("ref"))
    return list(requests.values_list("ref", "chain_length", "end"))


@dataclass(frozen=True, slots=True)
class Lane:
    """How many asks of one path wait on somebody, and when the first runs out."""

    count: int  # at most COUNTED
    first_due_at: datetime | None


@dataclass(frozen=True, slots=True)
class Health:
    ok: bool
    checked_at: datetime | None
    silent_failures: int
    words: str


@dataclass(frozen=True, slots=True)
class Frame:
    """What stands around every page."""

    counts: dict[str, Lane]
    inbox_count: int
    open_count: int | None
    health: Health
    sees_findings: bool = False  # of audits, and may go to them
    told_of_findings: bool = False  # on every page, while one stands
    review_count: int | None = None  # open ones; None for who has nothing to do with any
    reviews_overdue: int = 0


def frame_for(person: Person, now: datetime) -> Frame:
    """Return the lanes' counts and the product's health, in a fixed number of queries."""
    counts = {}
    for path in PATHS:
        waiting = Ask.objects.filter(person=person, path=path, due_at__isnull=False)
        dues = list(waiting.order_by("due_at", "pk").values_list("due_at", flat=True)[:COUNTED])
        counts[str(path)] = Lane(len(dues), dues[0] if dues else None)
    open_count = None
    if person.has_duty(*SEES_ALL):
        open_count = ActionRequest.objects.filter(due_at__isnull=False)[:COUNTED].count()
    to_review = Review.objects.filter(reviews.may_see(person), state=Review.State.OPEN)
    clocks = list(to_review.order_by("due_at").values_list("due_at", "times_overdue")[:COUNTED])
    overseen = person.is_superuser or person.has_duty(Duty.AUDITOR, Duty.COMPLIANCE)
    return Frame(
        counts,
        sum(lane.count for lane in counts.values()),
        open_count,
        health(now),
        sees_findings=sees_findings(person),
        told_of_findings=may_tend(person),
        review_count=len(clocks) if clocks or overseen else None,
        reviews_overdue=sum(1 for due_at, times in clocks if times or due_at <= now),
    )


def health(now: datetime) -> Health:
    """Return whether the clock runs and nothing failed in silence, in words for the rail.

    The beat of either pair of hands counts: the clock process, or the schedule.
    """
    beats = Heartbeat.objects.filter(pk__in=("clock", "schedule"))
    beat = beats.aggregate(last=Max("beat_at"))["last"]
    failures = open_findings()
    if beat is None or beat < now - clock.technical(CLOCK_SILENT_AFTER_S):
        return Health(False, beat, failures, "The clock is silent")
    if failures:
        return Health(False, beat, failures, "Something failed unseen")
    return Health(True, beat, failures, "Every clock is running")


def next_ask(person: Person, *, after: Ask | None) -> Ask | None:
    """Return what to offer a person next: the next of the same lane, then of the lanes below, then above.

    Args:
        after: the ask they have just answered.
    """
    lanes = [*(str(path) for path in LANES), str(Path.UNDO)]
    if after is not None and after.path in lanes and after.due_at is not None:
        later = inbox_for(person, after.path, after=(after.due_at, after.pk)).first()
        if later is not None:
            return later
        start = lanes.index(after.path)
        lanes = lanes[start:] + lanes[:start]
    found = (inbox_for(person, path).first() for path in lanes)
    return next((ask for ask in found if ask is not None), None)


def places_in_lane(ask: Ask, *, most: int) -> tuple[int, int] | None:
    """Return an open ask's place in its lane and how many there are, both counted up to `most` + 1.

    None beyond that.
    """
    waiting = Ask.objects.filter(person=ask.person_id, path=ask.path, due_at__isnull=False)
    pks = list(waiting.order_by("due_at", "pk").values_list("pk", flat=True)[: most + 1])
    return (pks.index(ask.pk) + 1, len(pks)) if ask.pk in pks else None
