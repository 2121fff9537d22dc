"""Counts what should not exist in the record, among rules and people. Each finding is a silent failure.

An audit is a function of `now` that yields what it found. The first line of its
docstring says what should not exist, `mend` what to do about it: people read both.
`settings.RECOURSE_AUDITS` names those of every package; `approvals.auditing` runs
them and keeps the findings.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Collection, Iterable, Iterator
from datetime import datetime
from typing import NamedTuple

from django.conf import settings
from django.db.models import Exists, OuterRef, Q, QuerySet, Subquery
from django.utils.module_loading import import_string

from governance import clock, signs, verifications, wording
from governance.models import (
    ActionChange,
    AuditEvent,
    ChainHead,
    Heartbeat,
    PeopleChange,
    PolicyVersion,
    SealedEvent,
    Uncounted,
    Verification,
)

OVERDUE_AFTER_S = 60.0  # real seconds a clock may be late before that is a finding
UNSEALED_AFTER_S = 600.0
PLANNED_S = 3600.0  # real seconds that a planned stop may last before it is an outage
ALONE_S = 120.0  # real seconds from one process's stop or start to the others', in a planned stop
SHOWN = 100  # findings of one audit in one round; a hundred and a million say the same
CHAINS_CHECKED = 200
KEY_LENGTH = 200  # of Finding.key
CHAIN = "chain "  # what the keys of its findings begin with


SIGN = "audit"  # the heartbeat of a round that came to its end, perhaps the clock's, which asks no target
WHOLE = "audit-whole"  # likewise of one of all audits
STALE_AFTER_S = 300.0  # real seconds without one


def last_round() -> datetime | None:
    """Return when all audits were last run to their end, None if they never were."""
    return Heartbeat.objects.filter(name=WHOLE).values_list("beat_at", flat=True).first()


def why_held(*, findings: int, looked_at: datetime | None, now: datetime) -> str:
    """Return why nothing is promoted now, "" if no audit holds it.

    Args:
        findings: how many stand.
        looked_at: when a round of all audits last came to its end.
    """
    if findings:
        return wording.held_by_findings(findings)
    if looked_at is None or now - looked_at > clock.technical(STALE_AFTER_S):
        return wording.held_unlooked(looked_at)
    return ""


def overdue_before(now: datetime, *, after_s: float) -> datetime:
    """Return before when something must have been due to be overdue, `after_s` real seconds being its grace.

    While everything was stopped as planned nothing was due to be moved: the clock
    said so with its last beat, and once it is back it has the grace anew. A clock
    that was killed said nothing, one that nobody starts again is missed after
    PLANNED_S, and one that was stopped alone as soon as a worker is seen to go on.
    """
    grace = clock.technical(after_s)
    last = Heartbeat.objects.filter(name="clock").values_list("facts", flat=True).first() or {}
    stopped_at, resumed_at = (
        datetime.fromisoformat(last[name]) if last.get(name) else None
        for name in ("stopped_at", "resumed_at")
    )
    if stopped_at is None:
        return now - grace
    if resumed_at is None:
        planned = now - stopped_at <= clock.technical(PLANNED_S)
        excused = planned and not _a_worker_goes_on(stopped_at)
    else:
        excused = now - resumed_at <= grace
    return min(now, stopped_at) - grace if excused else now - grace


def _a_worker_goes_on(stopped_at: datetime) -> bool:
    """Whether a worker was seen ALONE_S after the clock was stopped, and after its own start if that was later."""
    named = Q(name__startswith=signs.WORKER) | Q(name__startswith=signs.WATCHDOG)
    beats = {beat.name: beat for beat in Heartbeat.objects.filter(named)}
    for name in (each for each in beats if each.startswith(signs.WORKER)):
        watchdog = beats.get(name.replace(signs.WORKER, signs.WATCHDOG, 1))
        began = datetime.fromisoformat(watchdog.facts["since"]) if watchdog else stopped_at
        if beats[name].beat_at - max(began, stopped_at) > clock.technical(ALONE_S):
            return True
    return False


class Found(NamedTuple):
    """One thing that should not exist."""

    key: str
    text: str
    request: int | None = None  # primary key


class Look(NamedTuple):
    """One audit: what finds, and what its findings mean to people."""

    find: Callable[[datetime], Iterable[Found]]
    mend: str  # what to do about what it finds
    # Of the keys on which its findings stand, and which it did not name: those that are still so.
    # For an audit that looks at the last ones alone; nothing clears by going out of its sight.
    again: Callable[[Collection[str], datetime], Iterable[Found]] | None = None
    # The name of the URL where a person says that one was seen to; "" where it goes by itself.
    page: str = ""

    def __call__(self, now: datetime) -> Iterable[Found]:
        return self.find(now)

    @property
    def means(self) -> str:
        """What should not exist, in one sentence."""
        return (self.find.__doc__ or "").partition("\n")[0]


def audit(
    mend: str,
    *,
    again: Callable[[Collection[str], datetime], Iterable[Found]] | None = None,
    page: str = "",
) -> Callable[[Callable[[datetime], Iterable[Found]]], Look]:
    """Make a generator of findings an audit.

    Args:
        mend: what to do about them, in whole sentences.
        again, page: see `Look`.
    """
    return lambda find: Look(find, mend, again, page)


def numbers_in(keys: Iterable[str], prefix: str) -> dict[int, str]:
    """Return by primary key the keys of findings that are a prefix, a primary key, and perhaps a mark."""
    own = [key for key in keys if key.startswith(prefix)]
    return {int(key.removeprefix(prefix).partition(" ")[0]): key for key in own}


def mark_of(content: object) -> str:
    """Return what tells this content of a row from any other it may have later, for the key of a finding.

    Who acknowledges a finding has seen this content, and no other.
    """
    text = json.dumps(content, default=str, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _chains_again(keys: Collection[str], now: datetime) -> Iterator[Found]:
    yield from _chains_unlike_their_heads({key.removeprefix(CHAIN) for key in keys})


@audit(
    "Run manage.py verify_ledger at once, and read “Findings of verify_ledger” in operations.md.",
    again=_chains_again,
)
def chains_broken(now: datetime) -> Iterator[Found]:
    """A chain of the record whose head is not its last event, among those that moved last."""
    recent = AuditEvent.objects.order_by("-pk").values_list("chain", flat=True)[:CHAINS_CHECKED]
    yield from _chains_unlike_their_heads(set(recent))


def _chains_unlike_their_heads(chains: set[str]) -> Iterator[Found]:
    named = ChainHead.objects.filter(name__in=chains).annotate(end=end_of_chain("name"))
    heads = list(named.values_list("name", "length", "end"))
    for name in settings.RECOURSE_HEADS_OF:
        heads += import_string(name)(chains)
    for chain, length, end in heads:
        if length != (end or 0):
            yield Found(
                f"{CHAIN}{chain}",
                f"Chain {chain} has {end or 0} events, and its head says {length}.",
            )
    for chain in sorted(chains - {chain for chain, *_ in heads}):
        yield Found(f"{CHAIN}{chain}", f"Chain {chain} has events, and no head.")


def end_of_chain(name: str) -> Subquery:
    """Return the number of the last event of the chain that a row's field `name` names.

    To be read in one statement with the head, so that both are of one instant:
    they move together.
    """
    last = AuditEvent.objects.filter(chain=OuterRef(name)).order_by("-seq")
    return Subquery(last.values("seq")[:1])


def _unsealed_again(keys: Collection[str], now: datetime) -> Iterator[Found]:
    # All of them, which takes a second of a million: only while the finding stands.
    yield from _unsealed_of(AuditEvent.objects.all(), now)


@audit(
    "The alert sweep.failed says why sealing fails: a folder that cannot be written, a key that is"
    " none. Without one: is the worker running?",
    again=_unsealed_again,
)
def unsealed(now: datetime) -> Iterator[Found]:
    """Events of the record that no seal covers, although several should have."""
    # The first behind the last leaf, and, for one that was committed late, the newest before it.
    # `verify_ledger` looks at all.
    leaf = (
        SealedEvent.objects.order_by("-seal", "-position").values_list("event", flat=True).first()
    )
    events = AuditEvent.objects.values("pk")
    waiting = events.filter(pk__gt=leaf or 0).order_by("pk")[: SHOWN * 10]
    newest = events.order_by("-pk")[: SHOWN * 10]
    looked_at = Q(pk__in=waiting) | Q(pk__in=newest)
    yield from _unsealed_of(AuditEvent.objects.filter(looked_at), now)


def _unsealed_of(events: QuerySet[AuditEvent], now: datetime) -> Iterator[Found]:
    old = overdue_before(now, after_s=UNSEALED_AFTER_S)
    covered = SealedEvent.objects.filter(event=OuterRef("pk"))
    count = events.filter(~Exists(covered), at__lt=old).count()
    if count:
        yield Found("unsealed", f"{count} events of the record are not sealed.")


@audit("Read “Findings of verify_ledger” in operations.md. The page Audit has all of them.")
def record_not_as_written(now: datetime) -> Iterator[Found]:
    """A place where the last reading of the whole record found it other than it was written."""
    last = Verification.objects.order_by("-ended_at", "-pk").first()
    for chain, seq, what in last.findings[:SHOWN] if last is not None else ():
        yield Found(f"{chain} {seq} {what}"[:KEY_LENGTH], f"{chain} {seq}: {what}")


@audit(
    "Run manage.py verify_ledger, and read “Findings of verify_ledger” in operations.md. Once the"
    " record is as it was written, manage.py rebuild_metrics counts it."
)
def records_not_counted(now: datetime) -> Iterator[Found]:
    """A request that the figures leave out, because its record is broken."""
    for row in Uncounted.objects.order_by("found_at", "pk")[:SHOWN]:
        yield Found(f"uncounted {row.chain}", f"{row.chain} is in no figure: {row.why}")


@audit(
    "Is the worker running? It reads the record for some seconds at a time, until all of it is read."
)
def record_not_read(now: datetime) -> Iterator[Found]:
    """A record that nobody has read as a whole for two days."""
    late = now - clock.technical(verifications.LATE_S)
    last = Verification.objects.order_by("-ended_at", "-pk").first()
    if last is not None and last.ended_at < late:
        yield Found("record", f"The record was last read at {last.ended_at:%d %b %H:%M} UTC.")
    first = AuditEvent.objects.order_by("at", "pk").values_list("at", flat=True).first()
    if last is None and first is not None and first < late:
        yield Found(
            "record", f"The record begins at {first:%d %b %H:%M} UTC, and nobody ever read it."
        )


@audit("Is the clock running? It ends a change whose time is over within a second.")
def changes_overdue(now: datetime) -> Iterator[Found]:
    """A change of people whose time for a second person is over, and nothing ended it."""
    late = PeopleChange.objects.filter(state=PeopleChange.State.OPEN)
    yield from _overdue(late, "people", now)


@audit("Is the clock running? It ends a change whose time is over within a second.")
def action_changes_overdue(now: datetime) -> Iterator[Found]:
    """A change of an action type whose time for a second person is over, and nothing ended it."""
    late = ActionChange.objects.filter(state=ActionChange.State.OPEN)
    yield from _overdue(late, "an action type", now)


def _overdue(
    rows: QuerySet[PeopleChange] | QuerySet[ActionChange], of: str, now: datetime
) -> Iterator[Found]:
    late = rows.filter(due_at__lt=overdue_before(now, after_s=OVERDUE_AFTER_S)).order_by("due_at")
    for pk, due_at in late.values_list("pk", "due_at")[:SHOWN]:
        text = f"Change {pk} of {of} ran out at {due_at:%d %b %H:%M:%S} UTC and nothing ended it."
        yield Found(f"change {pk}", text)


@audit("Activate a policy: until there is one every submission is refused.")
def no_policy(now: datetime) -> Iterator[Found]:
    """No policy is active, so that nobody is named to decide anything."""
    if not PolicyVersion.objects.filter(state=PolicyVersion.State.ACTIVE).exists():
        yield Found("policy", "No policy version is active. Nobody is named to decide anything.")


AUDITS: dict[str, Look] = {
    "chains_broken": chains_broken,
    "unsealed": unsealed,
    "record_not_as_written": record_not_as_written,
    "records_not_counted": records_not_counted,
    "record_not_read": record_not_read,
    "changes_overdue": changes_overdue,
    "action_changes_overdue": action_changes_overdue,
    "no_policy": no_policy,
}
