"""Keeps measures and weekly rollups: from new seals as they come, or anew from the whole ledger.

Seals are the feed: each event is under exactly one, whichever transaction was late,
and a seal never changes. So counting goes on from a mark, seal by seal, and nothing is
missed or counted twice. Each chain that has something new is read whole and what was
counted of it is replaced; only the difference moves the rollups. A chain that is broken
is left out, and a row says so (`Uncounted`): it stops nothing else.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from datetime import date, datetime
from itertools import groupby, islice
from operator import attrgetter
from typing import NamedTuple, TypeVar

from django.db import transaction
from django.db.models import BigIntegerField, Count, ExpressionWrapper, F, Max, QuerySet, Sum

from governance import bulk, calls, clock, ledger, signs, verify, wording
from governance.metrics import folding, weeks
from governance.metrics.folding import Counted
from governance.models import (
    AuditEvent,
    Measure,
    Metric,
    MetricsMark,
    Seal,
    SealedEvent,
    Uncounted,
    WeeklyRollup,
)
from governance.vocabulary import Chain, Level

T = TypeVar("T")

SIGN = "metrics"  # its Heartbeat
EVERY_S = 60.0  # real seconds
BATCH = 2000  # sealed events read in one transaction
CHAINS = 500  # read whole at a time
PIECE = 100  # chains between two times at which a rebuild holds the mark
# What a row raises that holds what its column cannot, as SQLite allows; and what a chain
# raises whose events do not hold what they should.
BROKEN = (KeyError, TypeError, ValueError, AttributeError)
COLUMNS = Counted._fields
COUNTS = {
    Measure.Outcome.HIT: "hits",
    Measure.Outcome.MISS: "misses",
    Measure.Outcome.ABSENT: "absent",
    Measure.Outcome.WITHDRAWN: "withdrawn",
    Measure.Outcome.LAPSED: "lapsed",
}


class Folded(NamedTuple):
    """What counts of one chain; or nothing, and why."""

    chain: str
    length: int  # the number of its last event
    measures: Sequence[Counted]
    broken: str = ""


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
        leaf.chain for leaf in leaves if leaf.kind in folding.TRIGGERS and leaf.chain not in named
    }
    _keep(
        Measure.objects.filter(chain__in=chains),
        Uncounted.objects.filter(chain__in=chains),
        list(_folded(chains)),
        now,
    )
    found = [leaf for leaf in leaves if leaf.kind == folding.FINDING]
    _replace(_silent([leaf.seq for leaf in found]), _of_findings([leaf.event for leaf in found]))
    mark.leaves += len(leaves)
    mark.counted_at = leaves[-1].sealed_at
    mark.save()
    return len(leaves)


class _Leaf(NamedTuple):
    """A sealed event, without its facts: those of one that is broken cannot even be read."""

    event: int  # primary key
    chain: str
    seq: int
    kind: str
    sealed_at: datetime


def _leaves(seal: int, after: int, size: int) -> Sequence[_Leaf]:
    rows = SealedEvent.objects.filter(seal=seal, position__gte=after).order_by("position")
    names = "event", "event__chain", "event__seq", "event__kind", "seal__sealed_at"
    return [_Leaf(*row) for row in rows.values_list(*names)[:size]]


def _see_that_all_was_counted(mark: MetricsMark, now: datetime) -> None:
    """Note up to when the figures hold: until now, or until the first event that no seal covers yet."""
    last = SealedEvent.objects.filter(seal=mark.seal).order_by("-position").first()
    unsealed = AuditEvent.objects.filter(pk__gt=last.event_id if last else 0).order_by("pk").first()
    mark.counted_at = min(now, unsealed.at) if unsealed is not None else now
    mark.save(update_fields=["counted_at"])


def _folded(names: Iterable[str]) -> Iterator[Folded]:
    """Yield what counts of each of these chains."""
    for some in _batches(sorted(names), CHAINS):
        for chain, events in _read(some):
            yield _fold(chain, events)


def _read(names: Sequence[str]) -> Iterator[tuple[str, Sequence[AuditEvent] | None]]:
    """Yield these chains and their events, in order; None for one that cannot be read."""
    try:
        events = list(AuditEvent.objects.filter(chain__in=names).order_by("chain", "seq"))
    except BROKEN:
        if len(names) == 1:
            yield names[0], None  # becomes a row: see `_keep`
            return
        half = len(names) // 2
        yield from _read(names[:half])
        yield from _read(names[half:])
        return
    for chain, own in groupby(events, attrgetter("chain")):
        yield chain, list(own)


def _fold(chain: str, events: Sequence[AuditEvent] | None) -> Folded:
    if events is None:
        return Folded(chain, 0, (), "an event of it cannot be read")
    length = events[-1].seq
    broken = verify.problem_of(chain, events)
    if broken:
        return Folded(chain, length, (), broken)
    try:
        return Folded(chain, length, folding.measures_of(events))
    except BROKEN as problem:
        return Folded(chain, length, (), f"{type(problem).__name__}: {problem}")


def _keep(
    own: QuerySet[Measure], uncounted: QuerySet[Uncounted], folded: Sequence[Folded], now: datetime
) -> None:
    """Have this be what is counted of some chains, and say which of them are not.

    Args:
        own: what is stored of them.
        uncounted: those of them that were not counted the last time.
    """
    _replace(own, [each for one in folded for each in one.measures])
    broken = {one.chain: one for one in folded if one.broken}
    uncounted.exclude(chain__in=broken).delete()
    for chain, one in broken.items():
        Uncounted.objects.update_or_create(
            chain=chain,
            defaults={"why": wording.plain(one.broken, 300)},
            create_defaults={"why": wording.plain(one.broken, 300), "found_at": now},
        )


def _silent(seqs: Iterable[int]) -> QuerySet[Measure]:
    return Measure.objects.filter(chain=Chain.SYSTEM, seq__in=list(seqs))


def _of_findings(pks: Sequence[int]) -> list[Counted]:
    """Return the silent failures that these events are. One that is broken is one all the same."""
    if not pks:
        return []
    events = _events(AuditEvent.objects.filter(pk__in=pks).order_by("seq"))
    told = [folding.measure_of_finding(event, None) for event in events]
    first = AuditEvent.objects.filter(chain__in={each.request for each in told} - {""}, seq=1)
    submitted = {event.chain: event.facts for event in _events(first)}
    return [
        folding.measure_of_finding(event, submitted.get(each.request))
        for event, each in zip(events, told, strict=True)
    ]


def _events(rows: QuerySet[AuditEvent]) -> list[AuditEvent]:
    """Return single events; one that cannot be read has no facts."""
    try:
        return list(rows)
    except BROKEN:
        return [_event(pk) for pk in rows.values_list("pk", flat=True)]


def _event(pk: int) -> AuditEvent:
    try:
        return AuditEvent.objects.get(pk=pk)
    except BROKEN:
        event = AuditEvent.objects.defer("facts", "cause").get(pk=pk)
        event.facts = {}
        return event


def _replace(own: QuerySet[Measure], counted: Iterable[Counted]) -> None:
    """Have these be the measures of what `own` finds; move the rollups by the difference."""
    stored = {
        (row[0], row[1], row[4]): (pk, Counted(*row))
        for pk, *row in own.values_list("pk", *COLUMNS)
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

    def add(self, each: Counted, count: int = 1) -> None:
        """Count one measure in all, and in its department, action and path; or, by -1, take it out again."""
        minute = None if each.seconds is None else each.seconds // 60
        self.add_alike(each, count, minute, count * (each.seconds or 0))

    def add_alike(self, each: Counted, count: int, minute: int | None, seconds: int) -> None:
        """Count so many measures that are like this one and took this minute, and so many seconds together."""
        field = COUNTS[Measure.Outcome(each.outcome)]
        timed = minute is not None and field in ("hits", "misses")
        for key in keys_of(each):
            self._counts[key][field] += count
            if timed:
                self._counts[key]["seconds"] += seconds
                self._minutes[key][str(minute)] += count

    def rows(self) -> list[WeeklyRollup]:
        """Return what was added up, as rows that are not stored."""
        return [
            WeeklyRollup(**key._asdict(), **counts, minutes=_merged({}, self._minutes[key]))
            for key, counts in self._counts.items()
        ]

    def save(self) -> None:
        """Write what was added up on top of what is stored. The caller holds the mark."""
        metrics = {key.metric for key in self._counts}
        rows = WeeklyRollup.objects.filter(
            week__in={key.week for key in self._counts}, metric__in=metrics
        )
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


def rebuild(*, now: datetime, actor: str) -> int:
    """Make all measures and rollups anew from the ledger's events alone. Returns how many measures.

    In pieces: nobody who writes waits longer than for one, and readers see figures that move
    from the old ones to the new. Done again after it was interrupted, it comes to the same.
    Memory does not grow with the ledger. It is recorded who had it done.
    """
    return sum(rebuilding(now=now, actor=actor))


def rebuilding(*, now: datetime, actor: str, size: int = PIECE) -> Iterator[int]:
    """Do what `rebuild` does, a piece at a time, and yield of each how many measures it came to.

    No lock is held between two pieces, nor while a piece's events are read.
    """
    last = Seal.objects.order_by("number").last()
    # First have rollups be the sums of what is stored: from there on differences move them.
    for week, metric in sorted(_weeks_and_metrics()):
        yield _add_up(week, metric)
    total = 0
    for some in _pieces(size):
        count = _make_anew(some, now)
        total += count
        yield count
    _finish(last, total, now, actor)


@transaction.atomic
def _finish(last: Seal | None, total: int, now: datetime, actor: str) -> None:
    mark = _locked_mark()
    if last is not None and mark.seal < last.number:
        # All of what that seal covers was read. What was committed since is counted, too, and
        # will be found to be so.
        mark.seal, mark.leaves = last.number, last.size
    mark.counted_at = max(now, mark.counted_at or now)
    mark.save()
    act = ledger.Act(now=now, actor=actor)
    act.record_named(Chain.SYSTEM, "metrics.rebuilt", measures=total)
    act.write()


def _locked_mark() -> MetricsMark:
    MetricsMark.objects.get_or_create(id=1)
    return MetricsMark.objects.select_for_update().get(id=1)


class _Piece(NamedTuple):
    """Some chains whose names follow each other."""

    names: Sequence[str]
    own: QuerySet[Measure]  # theirs, and of chains between them that are gone
    uncounted: QuerySet[Uncounted]  # likewise


def _pieces(size: int) -> Iterator[_Piece | Sequence[tuple[int, int]]]:
    """Yield all requests' chains, and then all findings, as (seq, primary key)."""
    of_requests = AuditEvent.objects.exclude(chain__in=Chain.values)
    measures, uncounted = Measure.objects.exclude(chain__in=Chain.values), Uncounted.objects.all()
    after = ""
    while True:
        rows = of_requests.filter(chain__gt=after).order_by("chain").values_list("chain", flat=True)
        names = list(rows.distinct()[:size])
        upto = {"chain__lte": names[-1]} if len(names) == size else {}
        yield _Piece(
            names,
            measures.filter(chain__gt=after, **upto),
            uncounted.filter(chain__gt=after, **upto),
        )
        if not upto:
            break
        after = names[-1]
    seq = 0
    found = AuditEvent.objects.filter(chain=Chain.SYSTEM, kind=folding.FINDING).order_by("seq")
    while some := list(found.filter(seq__gt=seq).values_list("seq", "pk")[:size]):
        yield some
        seq = some[-1][0]


def _make_anew(piece: _Piece | Sequence[tuple[int, int]], now: datetime) -> int:
    if not isinstance(piece, _Piece):
        measures = _of_findings([pk for _, pk in piece])
        with transaction.atomic():
            _locked_mark()
            _replace(_silent(seq for seq, _ in piece), measures)
        return len(measures)
    folded = {one.chain: one for one in _folded(piece.names)}
    with transaction.atomic():
        _locked_mark()
        last = AuditEvent.objects.filter(chain__in=piece.names).values_list("chain")
        grown = [
            chain for chain, seq in last.annotate(last=Max("seq")) if folded[chain].length != seq
        ]
        # And what was counted since the names were read.
        new = set(piece.own.values_list("chain", flat=True)) - folded.keys()
        folded |= {one.chain: one for one in _folded([*grown, *new])}
        _keep(piece.own, piece.uncounted, list(folded.values()), now)
    return sum(len(one.measures) for one in folded.values())


def _weeks_and_metrics() -> set[tuple[date, str]]:
    found = (
        model.objects.values_list("week", "metric").distinct() for model in (Measure, WeeklyRollup)
    )
    return {pair for pairs in found for pair in pairs}


def _add_up(week: date, metric: str) -> int:
    """Have the rollups of one week and metric be the sums of its measures. Returns 0: it makes none."""
    if not _differs(week, metric):
        return 0
    with transaction.atomic():
        _locked_mark()
        rows = _sums_of(week, metric).rows()
        WeeklyRollup.objects.filter(week=week, metric=metric).delete()
        bulk.insert(rows)
    return 0


def _differs(week: date, metric: str) -> bool:
    columns = [*Key._fields, *COUNTS.values(), "seconds", "minutes"]
    stored = WeeklyRollup.objects.filter(week=week, metric=metric)
    return sorted(_told(columns, stored)) != sorted(_told(columns, _sums_of(week, metric).rows()))


def _told(columns: Sequence[str], rows: Iterable[WeeklyRollup]) -> list[str]:
    return [repr([getattr(row, name) for name in columns]) for row in rows]


def _sums_of(week: date, metric: str) -> Sums:
    alike = "outcome", "department", "action", "path", "level", "minute"
    minute = ExpressionWrapper(F("seconds") / 60, output_field=BigIntegerField())
    rows = Measure.objects.filter(week=week, metric=metric).annotate(minute=minute)
    sums = Sums()
    for outcome, department, action, path, level, minutes, count, seconds in (
        rows.values_list(*alike).order_by().annotate(count=Count("pk"), total=Sum("seconds"))
    ):  # fmt: skip
        like = Counted(
            "", 0, weeks.begin_of(week), week, metric, outcome, "", department, action, path, level,
            None, {},
        )  # fmt: skip
        sums.add_alike(like, count, minutes, seconds or 0)
    return sums


def _batches(each: Iterable[T], size: int) -> Iterator[list[T]]:
    left = iter(each)
    while some := list(islice(left, size)):
        yield some
