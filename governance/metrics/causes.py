"""Why a target was missed, most likely: the matrix, a clock, a channel, a person, or the target system.

Pure but for reading a bounded number of measures. Which cause is the likely one is a guess: the
one that most of the cases have, if it is a third of them at least. What its sentence says of them
is none: it holds for each case that it counts, by the events of that case, and its link leads
to exactly these.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Literal, NamedTuple

from django.urls import reverse

from governance import wording
from governance.metrics import cases, weeks
from governance.metrics.figures import Figure
from governance.metrics.folding import RESOLVE_WITHIN_S
from governance.models import Absence, ActionType, Measure, Metric, Person, PolicyVersion
from governance.vocabulary import Level, Path

READ = 200  # of the latest cases behind a missed target
AT_LEAST = 3  # a cause is had by one in so many

What = Literal["matrix", "clock", "channel", "person", "target", "retry", "action", "audit"]
WORDS: dict[What, str] = {
    "matrix": "the matrix",
    "clock": "a clock",
    "channel": "a channel",
    "person": "a person",
    "target": "the target system",
    "retry": "the target system",
    "action": "how it is undone",
    "audit": "what an audit found",
}
# What a figure that misses its target counts against it: one, and several.
OF: dict[str, tuple[str, str]] = {
    Metric.ESCALATION: ("escalated request", "escalated requests"),
    Metric.RESOLUTION: ("late case", "late cases"),
    Metric.ROLLBACK: (
        "recovery that failed or needed a person", "recoveries that failed or needed a person",
    ),
    Metric.SILENT: ("finding", "findings"),
    Metric.BYPASS: ("bypass", "bypasses"),
    Metric.UNATTENDED: ("failure left to a person", "failures left to a person"),
}  # fmt: skip
# Of two that are as frequent, the one that says more comes first.
ORDER: tuple[What, ...] = (
    "channel", "matrix", "person", "clock", "target", "retry", "action", "audit",
)  # fmt: skip


class Sign(NamedTuple):
    """One possible cause of one case: what, and which of them."""

    what: What
    which: str

    def __str__(self) -> str:
        """As addresses have it: "clock~timeout"."""
        return f"{self.what}~{self.which}"

    @classmethod
    def read(cls, text: str) -> Sign | None:
        """Read what `str` gave; None for anything else."""
        what, between, which = text.partition("~")
        found = next((word for word in WORDS if word == what), None)
        return cls(found, which) if found is not None and between else None


@dataclass(frozen=True, slots=True)
class Cause:
    """The likely cause of one missed target, in a sentence, its cases, and where it may be mended."""

    what: str
    text: str
    cases: str  # the address of exactly those that it counts
    url: str = ""
    link: str = ""


def cause_of(figure: Figure) -> Cause | None:
    """Return why a figure misses its target; None where it does not, or nothing stands out."""
    if figure.met is not False:
        return None
    rows = _behind(figure)
    return _told(figure, rows, likeliest(rows))


def _behind(figure: Figure) -> Sequence[Measure]:
    return list(cases.measures(chosen_behind(figure))[:READ])


def chosen_behind(figure: Figure) -> cases.Chosen:
    """Return which cases make a figure miss its target."""
    kind = figure.kind
    late = "late" if kind.metric == Metric.RESOLUTION else ""
    return cases.Chosen(kind, figure.week, cases.part_of(kind, late))


def having(figure: Figure, sign: Sign) -> tuple[list[Measure], int]:
    """Return the cases that a cause is said of, and among how many: READ at most, the newest."""
    rows = _behind(figure)
    return [row for row in rows if sign in signs_of(row)], len(rows)


def likeliest(rows: Sequence[Measure]) -> tuple[Sign, int] | None:
    """Return the cause that most of these have, and how many; None if less than a third have it. Pure."""
    counted = Counter(sign for row in rows for sign in set(signs_of(row)))
    if not counted:
        return None
    sign, count = min(
        counted.items(), key=lambda each: (-each[1], ORDER.index(each[0].what), each[0].which)
    )
    return (sign, count) if count * AT_LEAST >= len(rows) else None


def signs_of(row: Measure) -> Iterator[Sign]:
    """Yield what may have caused one case, and nothing that its events do not show. Pure."""
    facts, paths = row.facts, (Path.TIMEOUT, Path.SYSTEM_FAILURE)
    match row.metric:
        case Metric.ESCALATION if row.path in paths:
            # `path` is the one on which somebody else was asked: no other is why they were.
            yield from _of_first(row) if row.path == Path.TIMEOUT else _of_failure(row)
        case Metric.BYPASS:
            yield from _of_first(row)
        case Metric.RESOLUTION:
            yield from _of_failure(row) if row.path == Path.SYSTEM_FAILURE else ()
            yield from _of_silence(row)
            within = RESOLVE_WITHIN_S.get(Level(row.level))
            ran_out = facts.get("ran_out_s", 0)
            if within and row.seconds is not None and row.seconds - ran_out < within <= row.seconds:
                yield Sign("clock", row.path)
        case Metric.ROLLBACK:
            # What was stranded before anything was taken back shows no undoing that failed.
            if str(facts.get("how", "")).startswith("recovery."):
                what: What = "retry" if facts.get("pattern") == "retry" else "action"
                yield Sign(what, row.action)
        case Metric.UNATTENDED:
            yield from _of_failure(row)
        case Metric.SILENT:
            yield Sign("audit", str(facts.get("audit", "")))


def _of_first(row: Measure) -> Iterator[Sign]:
    if row.facts.get("nobody_first"):
        yield Sign("matrix", f"{row.facts.get('policy')}/{row.facts.get('matrix_row')}")
    yield from _of_silence(row)


def _of_silence(row: Measure) -> Iterator[Sign]:
    yield from (Sign("channel", who) for who in row.facts.get("inbox_alone", ()))
    yield from (Sign("person", who) for who in row.facts.get("let_run_out", ()))


def _of_failure(row: Measure) -> Iterator[Sign]:
    if row.facts.get("failed"):
        yield Sign("target", row.action)


def _told(figure: Figure, rows: Sequence[Measure], found: tuple[Sign, int] | None) -> Cause | None:
    if not rows:
        return None
    noun = OF[figure.kind.metric][len(rows) != 1]
    many = f"{'the last ' if len(rows) == READ else ''}{len(rows):,} {noun}"
    if found is None:
        behind = chosen_behind(figure)
        url = cases.url_of(figure.kind, figure.week, part=behind.part.key)
        return Cause("nothing that stands out", _common(rows, many), url)
    sign, count = found
    url = cases.url_of(
        figure.kind, figure.week, part=chosen_behind(figure).part.key, because=str(sign)
    )
    text, *way = _SAYS[sign.what](figure, sign.which, f"{count:,} of {many}")
    return Cause(WORDS[sign.what], text, url, *way)


def _common(rows: Sequence[Measure], many: str) -> str:
    said = f"No one cause stands behind a third of {many}."
    path, count = Counter(row.path for row in rows).most_common(1)[0]
    if path in wording.SIGNS:
        said += f" {count:,} came by the {wording.SIGNS[path].word.lower()} path."
    return said


Told = tuple[str, str, str] | tuple[str]  # the sentence, and, if there is one, where it is mended


def _person(figure: Figure, which: str, of: str) -> Told:
    username = which.removeprefix("person:")
    text = (
        f"In {of} the {_name(username)} was asked, could be reached and did not decide in time."
        f" {_away(username, figure.week)}"
    )
    return text, reverse("governance:absences"), "Look at absences"


def _away(username: str, week: date) -> str:
    begin, end = weeks.begin_of(week), weeks.end_of(week)
    spans = Absence.objects.filter(
        person__username=username, cancelled_at__isnull=True, starts_at__lt=end, ends_at__gt=begin
    ).values_list("starts_at", "ends_at")  # fmt: skip
    if not spans:
        return "No absence is entered for them in that week."
    part = "all" if _cover(spans, begin, end) else "a part"
    return f"An absence is entered for them for {part} of that week."


def _cover(spans: Iterable[tuple[datetime, datetime]], begin: datetime, end: datetime) -> bool:
    """Whether spans leave nothing between two instants. Pure."""
    upto = begin
    for since, until in sorted(spans):
        if since > upto:
            return False
        upto = max(upto, until)
    return upto >= end


def _channel(figure: Figure, which: str, of: str) -> Told:
    username = which.removeprefix("person:")
    text = (
        f"In {of} the time ran out, and the {_name(username)} was asked in the inbox alone:"
        " no other channel led to them then."
    )
    return text, reverse("governance:person", args=[username]), "Look at their channels"


def _matrix(figure: Figure, which: str, of: str) -> Told:
    policy, _, row = which.partition("/")
    text = (
        f"In {of} nobody could be asked first: row {row} of policy {policy} led to nobody who could"
        " decide then."
    )
    return text, _policy_url(policy), f"Look at row {row}"


def _clock(figure: Figure, which: str, of: str) -> Told:
    word = wording.SIGNS[which].word.lower()
    text = (
        f"{of} would have been in time without the windows of the {word} path that ran out first."
    )
    active = PolicyVersion.objects.filter(state="active").values_list("number", flat=True).first()
    return text, _policy_url(str(active or "")), "Look at the windows"


def _target(figure: Figure, which: str, of: str) -> Told:
    return (f"In {of} an attempt at {_action(which)} failed while it was carried out.",)


def _retry(figure: Figure, which: str, of: str) -> Told:
    return (f"In {of} {_action(which)} was tried again.",)


def _undo(figure: Figure, which: str, of: str) -> Told:
    return (f"In {of} {_action(which)} was to be undone.",)


def _audit(figure: Figure, which: str, of: str) -> Told:
    text = f"The audit “{which.replace('_', ' ')}” made {of}."
    return text, reverse("approvals:findings"), "Look at what stands"


_SAYS = {
    "person": _person,
    "channel": _channel,
    "matrix": _matrix,
    "clock": _clock,
    "target": _target,
    "retry": _retry,
    "action": _undo,
    "audit": _audit,
}


def _name(username: str) -> str:
    return Person.objects.filter(username=username).values_list("name", flat=True).first() or (
        username
    )


def _action(key: str) -> str:
    names = ActionType.objects.filter(key=key).order_by("-version")
    return f"“{names.values_list('name', flat=True).first() or key}”"


def _policy_url(number: str) -> str:
    if number.isdigit() and PolicyVersion.objects.filter(number=number).exists():
        return reverse("governance:policy-version", args=[int(number)])
    return reverse("governance:policy")


def causes(figures: Iterable[Figure]) -> list[tuple[Figure, Cause]]:
    """Return the likely cause of each figure that misses its target."""
    found = [(figure, cause_of(figure)) for figure in figures]
    return [(figure, cause) for figure, cause in found if cause is not None]
