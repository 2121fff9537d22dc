"""Loops the clock drives. Each takes `now`, does one batch, and says how many rows it moved.

Safe to run from any number of processes at once, and safe to run again.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime

from django.db import transaction
from django.db.models import Exists, OuterRef, Q, QuerySet

from approvals import notifying
from approvals.batches import in_halves
from approvals.locks import lock_where_free
from approvals.models import ActionRequest, Alert, Ask, Finding, Notice, Step, Violation
from approvals.services import alerts, asking, conflicts, endings, failures, violations
from approvals.services.asking import subject_of
from approvals.services.escalate import Climb
from approvals.services.gather import climbs
from approvals.services.writes import Writes
from governance import actors, bulk, ladder
from governance.claims import Claim, claim
from governance.ledger import Act
from governance.models import Absence, ContactChannel, Person
from governance.reads import NOW, GivenKeys, Read
from governance.routing import GIVES_LEAVE, Passed, Why, hindrance
from governance.vocabulary import Chain, Duty, Path

BATCH = 500
LOOKED_AT = 10 * BATCH  # open asks of people who cannot answer, some of them of parked requests
S = ActionRequest.State


class Due:
    """The requests that one sweep is for: looked for without a lock, then claimed and looked at again."""

    def __init__(self, rows: Callable[[], QuerySet[ActionRequest]]) -> None:
        """Nothing is asked yet. `rows` has NOW in the place of the instant."""
        self._find = Read(
            lambda: rows().order_by("due_at", "pk").values_list("pk", flat=True)[:BATCH]
        )
        self.claim: Claim[ActionRequest] = Claim(
            lambda: (
                rows()
                .filter(pk__among=GivenKeys("pks"))
                .defer(
                    "payload"
                )  # of five hundred it takes a while to read, and no climb looks at it
                .order_by("due_at", "pk")
            )
        )

    def candidates(self, now: datetime, limit: int) -> list[int]:
        """Return the keys of those due first, at most `limit`, and BATCH."""
        return [pk for (pk,) in self._find(now=now)[:limit]]


def _unparked() -> Q:
    return Q(parked_until__isnull=True) | Q(parked_until__lte=NOW)


def _waiting() -> QuerySet[Step]:
    waiting: QuerySet[Step] = Step.objects.filter(request=OuterRef("pk"), state=Step.State.WAITING)
    return waiting


def _due(state: str) -> QuerySet[ActionRequest]:
    due: QuerySet[ActionRequest] = ActionRequest.objects.filter(
        _unparked(), state=state, due_at__lte=NOW
    )
    return due


STEP_DUE = Due(lambda: _due(S.PENDING))


def climb_due_steps(*, now: datetime, limit: int = BATCH) -> int:
    """Expire waiting steps whose time is up; each request climbs to the next rung, or ends.

    A rung begins at the instant the one before it was over, not at the sweep.
    Returns how many requests moved, at most `limit`.
    """

    def move(climb: Climb) -> bool:
        if climb.step is None or climb.step.due_at is None or climb.step.due_at > now:
            raise ValueError(f"{climb.request.ref} is due, and no step of it is")
        climb.run_out()
        return True

    candidates = STEP_DUE.candidates(now, limit)
    return _move(candidates, STEP_DUE, move, sweep="climb_due_steps", now=now)


# A reversal may be in the call, and its answer is taken before the path comes to its end.
UNDERWAY_DUE = Due(
    lambda: ActionRequest.objects.filter(
        _unparked(),
        Exists(_waiting().filter(due_at__lte=NOW)),
        Q(state=S.TROUBLED)
        | Q(Q(lease_until__isnull=True) | Q(lease_until__lte=NOW), state=S.ROLLING_BACK),
        due_at__lte=NOW,
    )
)


def climb_underway(*, now: datetime, limit: int = BATCH) -> int:
    """Likewise for what has failed or is being undone, where the next attempt has a clock of its own."""

    def move(climb: Climb) -> bool:
        climb.run_out()
        return True

    candidates = UNDERWAY_DUE.candidates(now, limit)
    return _move(candidates, UNDERWAY_DUE, move, sweep="climb_underway", now=now)


# First the paths of the conflicts, then those who wait for them: they may have to wait on.
CARRIERS_DUE = Due(lambda: _due(S.HELD).filter(Exists(_waiting())))
HELD_DUE = Due(lambda: _due(S.HELD).filter(~Exists(_waiting())))


def end_holds(*, now: datetime, limit: int = BATCH) -> int:
    """Likewise for what a conflict holds: climb its path, or let go of those who waited long enough."""
    moved = 0
    for due in (CARRIERS_DUE, HELD_DUE):
        candidates = due.candidates(now, limit)
        moved += _move(candidates, due, conflicts.run_out, sweep="end_holds", now=now)
    return moved


APPROVAL_DUE = Due(lambda: _due(S.APPROVED))


BLOCKED_DUE = Due(lambda: _due(S.BLOCKED))


def climb_blocked(*, now: datetime, limit: int = BATCH) -> int:
    """Likewise for what breaks a rule, on the path of compliance; at its end it is denied."""

    def move(climb: Climb) -> bool:
        climb.run_out()
        return True

    candidates = BLOCKED_DUE.candidates(now, limit)
    return _move(candidates, BLOCKED_DUE, move, sweep="climb_blocked", now=now)


# What was reported while a worker had the lease, and it has none any more: it may have died.
REPORTED = Due(
    lambda: ActionRequest.objects.filter(
        _unparked(), Q(lease_until__isnull=True) | Q(lease_until__lte=NOW), Exists(_reports())
    )
)
read_reported = Read(
    lambda: (
        Violation.objects.filter(case__isnull=True, settled_at__isnull=True)
        .order_by("request")
        .values_list("request", flat=True)[:BATCH]
    )
)


def _reports() -> QuerySet[Violation]:
    return Violation.objects.filter(
        request=OuterRef("pk"), case__isnull=True, settled_at__isnull=True
    )


def block_what_was_reported(*, now: datetime, limit: int = BATCH) -> int:
    """Block what a run did not come to stop for itself. Returns how many requests."""

    def obey(climb: Climb) -> bool:
        violations.obey(climb)
        return True

    found = dict.fromkeys(pk for (pk,) in read_reported())
    return _move(list(found)[:limit], REPORTED, obey, sweep="block_what_was_reported", now=now)


def end_lapsed_approvals(*, now: datetime, limit: int = BATCH) -> int:
    """Look after approvals that nothing began in time. Returns how many, at most `limit`.

    That is a system failure, tried again from here on. Where a person had to be
    present the approval ends: they are gone.
    """

    def end(climb: Climb) -> bool:
        request = climb.request
        if not request.person_present:
            failures.fail(
                climb, "It was approved, and nothing began it in time.", facts={}, retry_at=now
            )
            return True
        request.expire(now=now, reason="lapsed")
        climb.act.record(
            request, "request.expired", reason="lapsed", approved_at=request.approved_at
        )
        told = climb.everybody_asked
        notifying.told(climb.writes, told, request, climb.people, what="lapsed", now=now)
        notifying.state_changed(climb.writes, request, now=now)
        climb.writes.alerts.append(alerts.lapsed(request, now=now))
        return True

    candidates = APPROVAL_DUE.candidates(now, limit)
    return _move(candidates, APPROVAL_DUE, end, sweep="end_lapsed_approvals", now=now)


RUN_OVERDUE = Due(lambda: _due(S.EXECUTING).filter(run_deadline__lte=NOW))
RETRY_OVERDUE = Due(lambda: _due(S.TROUBLED).filter(~Exists(_waiting()), run_deadline__lte=NOW))


def trouble_overdue_runs(*, now: datetime, limit: int = BATCH) -> int:
    """Take the leave to go on from runs past their deadline: a system failure. Returns how many.

    Likewise from attempts that somebody ordered, and that nothing began.

    The lease stays until it ends by itself, and nothing is tried before: a call
    may be under way, and its answer is still taken.
    """

    def fail(climb: Climb) -> bool:
        request = climb.request
        leased = request.lease_until is not None and request.lease_until > now
        retry_at = request.lease_until if leased else now
        step = climb.step
        if step is not None and step.due_at is not None and step.due_at <= now:
            failures.fail(climb, "Its time was over while it ran.", facts={}, retry_at=retry_at)
            climb.run_out()
        else:
            failures.fail(climb, "It was not done within its time.", facts={}, retry_at=retry_at)
        if request.state == S.TROUBLED and not leased:
            request.let_go()
        return True

    def fail_again(climb: Climb) -> bool:
        climb.request.let_go()
        if climb.claim is not None:  # its path ended in the middle of a call, which is over now
            endings.end_of_path(climb, Path.SYSTEM_FAILURE)
            return True
        reason = "Somebody had it tried again, and nothing began it in time."
        failures.fail(climb, reason, facts={}, retry_at=now)
        return True

    moved = 0
    for due, move in ((RUN_OVERDUE, fail), (RETRY_OVERDUE, fail_again)):
        candidates = due.candidates(now, limit)
        moved += _move(candidates, due, move, sweep="trouble_overdue_runs", now=now)
    return moved


UNDO_OVERDUE = Due(lambda: _due(S.ROLLING_BACK).filter(~Exists(_waiting()), run_deadline__lte=NOW))


def ask_about_overdue_undos(*, now: datetime, limit: int = BATCH) -> int:
    """Ask whoever is on call about undos that are not done within their time. Returns how many."""

    def ask(climb: Climb) -> bool:
        failures.ask_about_undo(climb, "It was not undone within its time.")
        return True

    candidates = UNDO_OVERDUE.candidates(now, limit)
    return _move(candidates, UNDO_OVERDUE, ask, sweep="ask_about_overdue_undos", now=now)


def _still_running() -> QuerySet[ActionRequest]:
    """Return the requests that wait and have time left. What ran out has to climb, whoever looks first."""
    waiting = Exists(_waiting().filter(due_at__gt=NOW))
    running: QuerySet[ActionRequest] = ActionRequest.objects.filter(
        Q(state=S.PENDING, due_at__gt=NOW)
        | Q(waiting, state__in=(S.HELD, S.BLOCKED, S.TROUBLED, S.ROLLING_BACK)),
        _unparked(),
    )
    return running


def _gone() -> QuerySet[Person]:
    away = Absence.objects.filter(
        person=OuterRef("pk"), cancelled_at__isnull=True, starts_at__lte=NOW, ends_at__gt=NOW
    )
    return Person.objects.filter(Q(is_active=False) | Exists(away))


def _unreachable() -> QuerySet[Person]:
    usable = ContactChannel.objects.filter(
        person=OuterRef("pk"), confirmed_at__isnull=False, refused_at__isnull=True
    )
    return Person.objects.filter(is_active=True).exclude(Exists(usable))


def _open_asks() -> QuerySet[Ask]:
    return Ask.objects.filter(due_at__isnull=False, person__among=GivenKeys("people")).order_by()


STILL_RUNNING = Due(_still_running)
read_gone = Read(lambda: _gone().values_list("pk", flat=True))
read_unreachable = Read(lambda: _unreachable().values_list("pk", flat=True))
# People first, then their asks, then the requests of these, each by key. In one query PostgreSQL,
# which cannot know that hardly any ask of somebody absent is open, reads every step there is.
read_steps_of = Read(lambda: _open_asks().values_list("step")[:LOOKED_AT])
read_steps_unaware = Read(
    lambda: _open_asks().filter(unreachable_at__isnull=True).values_list("step")[:LOOKED_AT]
)
read_requests_of = Read(
    lambda: (
        _still_running()
        .filter(steps__among=GivenKeys("steps"))
        .values_list("pk", flat=True)[:BATCH]
    )
)


def pass_over_absent(*, now: datetime, limit: int = BATCH) -> int:
    """Pass over people who were asked and can no longer answer; the next ones are asked on the same clock.

    Somebody whom no channel reaches any more is passed over only for somebody
    reachable; otherwise they stay asked, and an alert is raised once. Returns
    how many requests changed.
    """
    gone = [pk for (pk,) in read_gone(now=now)]
    unreachable = [pk for (pk,) in read_unreachable()]
    steps = read_steps_of(people=gone) if gone else []
    if unreachable:
        steps += read_steps_unaware(people=unreachable)
    found = read_requests_of(steps={pk for (pk,) in steps}, now=now) if steps else []
    candidates = list(dict.fromkeys(pk for (pk,) in found))[:limit]

    def replace(climb: Climb) -> bool:
        return _replace_gone(climb) | _replace_unreachable(climb)

    return _move(candidates, STILL_RUNNING, replace, sweep="pass_over_absent", now=now)


read_to_ping = Read(
    lambda: (
        Ask.objects.filter(next_ping_at__lte=NOW, step__request__in=_still_running())
        .order_by("next_ping_at", "pk")
        .values_list("step__request", flat=True)[:BATCH]
    )
)


def ping_again(*, now: datetime, limit: int = BATCH) -> int:
    """Remind people who were asked again, at widening intervals. Returns how many requests were pinged."""
    candidates = list(dict.fromkeys(pk for (pk,) in read_to_ping(now=now)[:limit]))

    def ping(climb: Climb) -> bool:
        pinged = [
            ask for ask in climb.asks if ask.next_ping_at is not None and ask.next_ping_at <= now
        ]
        for ask in pinged:
            _ping(climb, ask)
        climb.writes.pinged_asks += pinged
        return bool(pinged)

    return _move(candidates, STILL_RUNNING, ping, sweep="ping_again", now=now)


read_untold = Read(lambda: Alert.objects.filter(told_at__isnull=True).values_list("pk")[:1])


def tell_of_alerts(*, now: datetime, limit: int = BATCH) -> int:
    """Tell the operators, through their channels, of alerts that nobody was told of yet. Returns how many.

    More than a few at once are one message: a flood must not hide itself.
    """
    return _tell(now, limit) if read_untold() else 0


# Who must know of what beside the operators.
OTHERS_TOLD = {
    Duty.COMPLIANCE: ("bypass.expired", "review.nobody", "review.overdue"),
    Duty.POLICY_ADMIN: ("policy.hole",),
}


@transaction.atomic
def _tell(now: datetime, limit: int) -> int:
    untold = claim(Alert.objects.filter(told_at__isnull=True).order_by("pk"), limit=limit)
    if not untold:
        return 0
    act = Act(now=now, actor=actors.CLOCK)
    act.record_named(
        Chain.SYSTEM, "alert.told", alerts=[f"{alert.kind} {alert.key}" for alert in untold]
    )
    Alert.objects.filter(pk__in=[alert.pk for alert in untold]).update(told_at=now)
    notifying.of_alerts(untold, _channels_of(Duty.OPERATOR), now=now)
    for duty, kinds in OTHERS_TOLD.items():
        theirs = [alert for alert in untold if alert.kind in kinds]
        if theirs:
            notifying.of_alerts(theirs, _channels_of(duty), now=now)
    act.write()
    return len(untold)


def _channels_of(duty: Duty) -> list[ContactChannel]:
    people = Person.objects.filter(is_active=True, roles__key=duty)
    usable = Q(confirmed_at__isnull=False, refused_at__isnull=True)
    return list(ContactChannel.objects.filter(usable, person__in=people).order_by("pk"))


# --- The common way ---


def _move(
    candidates: Sequence[int],
    due: Due,
    move: Callable[[Climb], bool],
    *,
    sweep: str,
    now: datetime,
) -> int:
    """Claim the candidates that are still what the sweep is for, move each, write all at once."""

    @transaction.atomic
    def work(pks: Sequence[int]) -> int:
        requests = due.claim(pks=lock_where_free(pks), now=now)
        writes = Writes()
        moved = []
        for climb in climbs(requests, writes, actor=actors.CLOCK, now=now):
            if move(climb):
                climb.settle()
                moved.append(climb)
        conflicts.save(writes, now=now)
        _report_late([climb for climb in moved if climb.late], sweep=sweep, now=now)
        return len(moved)

    return in_halves(candidates, work, sweep=sweep, now=now)


def _report_late(late: Sequence[Climb], *, sweep: str, now: datetime) -> None:
    """A clock that was too late for the new rung's window is a finding: people lost time they had."""
    if not late:
        return
    worst = max(climb.late for climb in late)
    act = Act(now=now, actor=actors.CLOCK)
    text = f"The clock was up to {int(worst.total_seconds())} s late. Rungs began anew instead of in the past."
    alert = alerts.sound(by=actors.CLOCK, kind="clock.late", key=sweep, text=text, now=now)
    bulk.insert([
        Finding(
            audit="clock.late",
            key=f"{climb.request.ref} {now.isoformat()}",
            text=f"A rung of {climb.request.ref} began {int(climb.late.total_seconds())} s late.",
            facts={"late_s": int(climb.late.total_seconds())},
            request=climb.request,
            alert=alert,
            found_at=now,
            cleared_at=now,  # nothing is left to mend: the rung has its full window
        )
        for climb in late
    ])  # fmt: skip
    for climb in late:
        act.record_named(
            Chain.SYSTEM, "finding.opened", audit="clock.late", request=climb.request.ref,
            key=f"{climb.request.ref} {now.isoformat()}",
            text=f"A rung of {climb.request.ref} began {int(climb.late.total_seconds())} s late.",
        )  # fmt: skip
    act.write()


def _replace_gone(climb: Climb) -> bool:
    gone: list[Passed] = []
    for ask in climb.asks:
        if ask.due_at is None:
            continue
        person = climb.people.by_pk[ask.person_id]
        if person.enabled and person.away_until is None:
            continue
        found = hindrance(
            person,
            subject=subject_of(climb.request),
            history=climb.history,
            now=climb.now,
            deciding=ask.path in GIVES_LEAVE,
        )
        if found is not None:
            gone.append(found)
    return asking.pass_over(climb, gone) if gone else False


def _replace_unreachable(climb: Climb) -> bool:
    if climb.step is None or climb.step.pk is None:
        return False  # it climbed just now, and routing knew
    changed = False
    for ask in [each for each in climb.asks if each.pk and each.due_at and not each.unreachable_at]:
        person = climb.people.by_pk[ask.person_id]
        if person.reachable:
            continue
        passed = Passed(
            ask.person_id, Why.UNREACHABLE, "has no confirmed channel besides the inbox"
        )
        if not asking.pass_over(climb, [passed], only_for_reachable=True):
            ask.unreachable_at = climb.now
            bulk.save_alike(Ask, [ask], ["unreachable_at"])
            climb.writes.alerts.append(
                alerts.unreachable(climb.request, person.name, now=climb.now)
            )
            climb.act.record(climb.request, "ask.unreachable", person=f"person:{person.username}")
        changed = True
    return changed


def _ping(climb: Climb, ask: Ask) -> None:
    if climb.step is None or ask.next_ping_at is None or ask.due_at is None:
        raise ValueError(f"ask {ask.pk} is to be pinged, and nothing waits")
    ask.pings += 1
    following: datetime | None = ask.next_ping_at
    while following is not None and following <= climb.now:
        following += ladder.ping_wait(climb.step.window, ask.pings)
    ask.next_ping_at = following if following is not None and following < ask.due_at else None
    username = climb.people.by_pk[ask.person_id].username
    climb.act.record(climb.request, "ask.pinged", person=f"person:{username}", ping=ask.pings)
    notifying.asked(
        climb.writes, ask, climb.request, climb.people, now=climb.now, kind=Notice.Kind.PINGED
    )
