"""Keeps measures and weekly rollups: from new seals as they come, or anew from the whole ledger.

Seals are the feed: each event is under exactly one, whichever transaction was late,
and a seal never changes. So counting goes on from a mark, seal by seal, and nothing is
missed or counted twice. Each chain that has something new is read whole and what was
counted of it is replaced; only the difference moves the rollups.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from datetime import date, datetime
from itertools import groupby, islice
from operator import attrgetter
from typing import NamedTuple, TypeVar

from django.db import transaction
from django.db.models import Q

from governance import bulk, calls, clock, ledger, signs
from governance.metrics import folding
from governance.metrics.folding import Counted
from governance.models import (
    AuditEvent,
    Measure,
    Metric,
    MetricsMark,
    Seal,
    SealedEvent,
    WeeklyRollup,
)
from governance.vocabulary import Chain, Level

T = TypeVar("T")

SIGN = "metrics"  # its Heartbeat
EVERY_S = 60.0  # real seconds
BATCH = 2000  # sealed events read in one transaction
CHAINS = 500  # read whole at a time, when all is made anew
COLUMNS = Counted._fields
COUNTS = {
    Measure.Outcome.HIT: "hits",
    Measure.Outcome.MISS: "misses",
    Measure.Outcome.ABSENT: "absent",
    Measure.Outcome.WITHDRAWN: "withdrawn",
    Measure.Outcome.LAPSED: "lapsed",
}


class Key(NamedTuple):
    """Which rollup."""

    week: date
    metric: str
    by: str
    value: str
    level: int


def call_for_metrics(*, now: datetime) -> int:
    """Have the worker count each minute; if nobody did for three, count here.

    A sweep. Returns 1 if it was asked for or done, else 0.
    """
    return calls.delegate(
        "governance.courier.count",
        sign=SIGN,
        every=clock.technical(EVERY_S),
        here=count_sealed,
        now=now,
    )


def count_sealed(now: datetime, *, batches: int = 20, size: int = BATCH) -> int:
    """Count what was sealed since it was last done, and return how many events that were.

    Safe to run from any number of workers at once: one counts, the others return 0. What
    is left after so many batches, each of so many events, is for the next call.
    """
    total = 0
    for _ in range(batches):
        done = _count_batch(now, size)
        total += done
        if not done:
            break
    signs.beat(SIGN, now=now, counted=total)
    return total


@transaction.atomic
def _count_batch(now: datetime, size: int) -> int:
    MetricsMark.objects.get_or_create(id=1)
    mark = MetricsMark.objects.select_for_update(skip_locked=True).filter(id=1).first()
    if mark is None:
        return 0  # another worker counts
    leaves = _leaves(mark.seal, mark.leaves, size)
    if not leaves:
        if not Seal.objects.filter(number=mark.seal + 1).exists():
            _see_that_all_was_counted(mark, now)
            return 0
        mark.seal, mark.leaves = mark.seal + 1, 0
        leaves = _leaves(mark.seal, 0, size)
    named = set(Chain.values)
    chains = {
        leaf.event.chain
        for leaf in leaves
        if leaf.event.kind in folding.TRIGGERS and leaf.event.chain not in named
    }
    findings = [leaf.event for leaf in leaves if leaf.event.kind == folding.FINDING]
    counted = [each for chain in _chains(chains) for each in folding.measures_of(chain)]
    _replace(chains, [*counted, *_of_findings(findings)], findings)
    mark.leaves += len(leaves)
    mark.counted_at = leaves[-1].seal.sealed_at
    mark.save()
    return len(leaves)


def _leaves(seal: int, after: int, size: int) -> Sequence[SealedEvent]:
    rows = SealedEvent.objects.filter(seal=seal, position__gte=after).select_related(
        "event", "seal"
    )
    return list(rows.order_by("position")[:size])


def _see_that_all_was_counted(mark: MetricsMark, now: datetime) -> None:
    """Note up to when the figures hold: until now, or until the first event that no seal covers yet."""
    last = SealedEvent.objects.filter(seal=mark.seal).order_by("-position").first()
    unsealed = AuditEvent.objects.filter(pk__gt=last.event_id if last else 0).order_by("pk").first()
    mark.counted_at = min(now, unsealed.at) if unsealed is not None else now
    mark.save(update_fields=["counted_at"])


def _chains(names: Iterable[str]) -> Iterator[list[AuditEvent]]:
    """Yield the events of each of these chains, in order."""
    for some in _batches(sorted(names), CHAINS):
        rows = AuditEvent.objects.filter(chain__in=some).order_by("chain", "seq")
        for _, events in groupby(rows.iterator(), attrgetter("chain")):
            yield list(events)


def _of_findings(events: Sequence[AuditEvent]) -> list[Counted]:
    refs = {str(event.facts.get("request") or "") for event in events} - {""}
    first = AuditEvent.objects.filter(chain__in=refs, seq=1)
    submitted = dict(first.values_list("chain", "facts"))
    return [
        folding.measure_of_finding(event, submitted.get(str(event.facts.get("request"))))
        for event in events
    ]


def _replace(
    chains: Iterable[str], counted: Iterable[Counted], findings: Sequence[AuditEvent]
) -> None:
    """Have these be the measures of these chains, and of these findings; move the rollups by the difference."""
    own = Q(chain__in=list(chains))
    own |= Q(chain=Chain.SYSTEM, seq__in=[event.seq for event in findings])
    stored = {
        (row[0], row[1], row[4]): (pk, Counted(*row))
        for pk, *row in Measure.objects.filter(own).values_list("pk", *COLUMNS)
    }
    wanted = {(each.chain, each.seq, each.metric): each for each in counted}
    gone = [kept for key, kept in stored.items() if wanted.get(key) != kept[1]]
    new = [each for key, each in wanted.items() if key not in stored or stored[key][1] != each]
    if not gone and not new:
        return
    Measure.objects.filter(pk__in=[pk for pk, _ in gone]).delete()
    bulk.insert_rows(Measure, COLUMNS, new)
    sums = Sums()
    for each in new:
        sums.add(each)
    for _, each in gone:
        sums.add(each, -1)
    sums.save()


class Sums:
    """Changes of rollups, added up in memory before they are written."""

    def __init__(self) -> None:
        self._counts: dict[Key, dict[str, int]] = defaultdict(lambda: defaultdict(int))
        self._minutes: dict[Key, dict[str, int]] = defaultdict(lambda: defaultdict(int))

    def add(self, each: Counted, sign: int = 1) -> None:
        """Count one measure in all, and in its department, action and path; or take it out again."""
        field = COUNTS[Measure.Outcome(each.outcome)]
        timed = each.seconds is not None and field in ("hits", "misses")
        for key in keys_of(each):
            self._counts[key][field] += sign
            if timed and each.seconds is not None:
                self._counts[key]["seconds"] += sign * each.seconds
                self._minutes[key][str(each.seconds // 60)] += sign

    def save(self) -> None:
        """Write what was added up on top of what is stored. The caller holds the mark."""
        weeks = {key.week for key in self._counts}
        metrics = {key.metric for key in self._counts}
        rows = WeeklyRollup.objects.filter(week__in=weeks, metric__in=metrics)
        stored = {Key(r.week, r.metric, r.by, r.value, r.level): r for r in rows}
        fields = [*COUNTS.values(), "seconds", "minutes"]
        new: list[WeeklyRollup] = []
        changed: list[WeeklyRollup] = []
        for key, counts in self._counts.items():
            row = stored.get(key) or WeeklyRollup(**key._asdict())
            for field, count in counts.items():
                setattr(row, field, getattr(row, field) + count)
            row.minutes = _merged(row.minutes, self._minutes[key])
            (changed if row.pk else new).append(row)
        bulk.insert(new)
        bulk.save_differing(WeeklyRollup, changed, fields)
        WeeklyRollup.objects.filter(**dict.fromkeys(COUNTS.values(), 0)).delete()


def keys_of(each: Counted) -> tuple[Key, ...]:
    """Return the rollups that a measure counts in."""
    # Only times are told apart by level: they have a target for each.
    level = each.level if each.metric == Metric.RESOLUTION else int(Level.L0)
    values = {
        WeeklyRollup.By.ALL: "",
        WeeklyRollup.By.DEPARTMENT: each.department,
        WeeklyRollup.By.ACTION: each.action,
        WeeklyRollup.By.PATH: each.path,
    }
    return tuple(Key(each.week, each.metric, by, value, level) for by, value in values.items())


def _merged(minutes: dict[str, int], more: dict[str, int]) -> dict[str, int]:
    merged = {key: minutes.get(key, 0) + more.get(key, 0) for key in minutes.keys() | more.keys()}
    # In order, so that the same sums are the same row whatever the order they came in.
    return {key: count for key, count in sorted(merged.items(), key=lambda m: int(m[0])) if count}


@transaction.atomic
def rebuild(*, now: datetime, actor: str) -> int:
    """Make all measures and rollups anew from the ledger's events alone. Returns how many measures.

    One transaction: readers see the old figures until it ends, and whoever counts waits for
    the next time. Memory does not grow with the ledger. It is recorded who had it done.
    """
    MetricsMark.objects.get_or_create(id=1)
    mark = MetricsMark.objects.select_for_update().get(id=1)
    last = Seal.objects.order_by("number").last()
    Measure.objects.all().delete()
    WeeklyRollup.objects.all().delete()
    sums, total = Sums(), 0
    for some in _batches(_all_measures(), BATCH):
        bulk.insert_rows(Measure, COLUMNS, some)
        for each in some:
            sums.add(each)
        total += len(some)
    sums.save()
    # What was committed since that seal is counted already, and will be found to be so.
    mark.seal, mark.leaves = (last.number, last.size) if last is not None else (0, 0)
    mark.counted_at = now
    mark.save()
    act = ledger.Act(now=now, actor=actor)
    act.record_named(Chain.SYSTEM, "metrics.rebuilt", measures=total)
    act.write()
    return total


def _all_measures() -> Iterator[Counted]:
    rows = AuditEvent.objects.exclude(chain__in=Chain.values).order_by("chain", "seq")
    for _, events in groupby(rows.iterator(chunk_size=BATCH), attrgetter("chain")):
        yield from folding.measures_of(events)
    findings = AuditEvent.objects.filter(chain=Chain.SYSTEM, kind=folding.FINDING).order_by("seq")
    for some in _batches(findings.iterator(chunk_size=BATCH), CHAINS):
        yield from _of_findings(some)


def _batches(each: Iterable[T], size: int) -> Iterator[list[T]]:
    left = iter(each)
    while some := list(islice(left, size)):
        yield some
