"""Why a target was missed, most likely: the matrix, a clock, a channel, a person, or the target system.

Pure but for reading a bounded number of measures. A guess from what the record says, and
said as one: the cause that most of the cases have, if it is a third of them at least.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Literal, NamedTuple

from django.urls import reverse
from django.utils.http import urlencode

from governance import wording
from governance.metrics import cases, weeks
from governance.metrics.figures import Figure
from governance.models import Absence, ActionType, Measure, Metric, Person, PolicyVersion
from governance.vocabulary import Path

READ = 200  # of the latest cases behind a missed target
AT_LEAST = 3  # a cause is had by one in so many

What = Literal["matrix", "clock", "channel", "person", "target", "action", "audit"]
WORDS: dict[What, str] = {
    "matrix": "the matrix",
    "clock": "a clock",
    "channel": "a channel",
    "person": "a person",
    "target": "the target system",
    "action": "how it is undone",
    "audit": "what an audit found",
}
# Of two that are as frequent, the one that says more comes first.
ORDER: tuple[What, ...] = (
    "channel", "matrix", "person", "clock", "target", "action", "audit",
)  # fmt: skip


class Sign(NamedTuple):
    """One possible cause of one case: what, and which of them."""

    what: What
    which: str


@dataclass(frozen=True, slots=True)
class Cause:
    """The likely cause of one missed target, in a sentence, and where to look."""

    what: str
    text: str
    url: str
    link: str


def cause_of(figure: Figure) -> Cause | None:
    """Return why a figure misses its target; None where it does not, or nothing stands out."""
    if figure.met is not False:
        return None
    rows = _behind(figure)
    return _told(figure, rows, likeliest(rows))


def _behind(figure: Figure) -> Sequence[Measure]:
    kind = figure.kind
    key = {Metric.RESOLUTION: "late"}.get(kind.metric, "")
    levels = kind.levels if kind.metric == Metric.RESOLUTION else ()
    chosen = cases.Chosen(kind.metric, figure.week, cases.part_of(kind.metric, key), levels=levels)
    return list(cases.measures(chosen)[:READ])


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
    """Yield what may have caused one case. Pure."""
    facts = row.facts
    first = facts.get("first_asked") or []
    match row.metric:
        case Metric.ESCALATION | Metric.BYPASS | Metric.ASKED_AGAIN:
            exceptions = facts.get("exceptions") or [row.path]
            if facts.get("unreachable"):
                yield from (Sign("channel", who) for who in facts["unreachable"])
            elif Path.SYSTEM_FAILURE in exceptions:
                yield Sign("target", row.action)
            elif facts.get("nobody_first") or not first:
                yield Sign("matrix", f"{facts.get('policy')}/{facts.get('matrix_row')}")
            elif Path.TIMEOUT in exceptions:
                yield from (Sign("person", who) for who in first)
        case Metric.RESOLUTION:
            if row.path == Path.SYSTEM_FAILURE and not facts.get("silent"):
                yield Sign("target", row.action)
            elif facts.get("unreachable"):
                yield from (Sign("channel", who) for who in facts["unreachable"])
            elif facts.get("expired"):
                yield Sign("clock", row.path)
                yield from (Sign("person", who) for who in facts.get("silent") or [])
        case Metric.ROLLBACK:
            yield Sign("action", row.action)
        case Metric.UNATTENDED:
            yield Sign("target", row.action)
        case Metric.SILENT:
            yield Sign("audit", str(facts.get("audit", "")))


def _told(figure: Figure, rows: Sequence[Measure], found: tuple[Sign, int] | None) -> Cause | None:
    if not rows:
        return None
    if found is None:
        return Cause("nothing that stands out", _common(rows), _list(figure), "Look at the cases")
    sign, count = found
    of = f"{count:,} of {'the last ' if len(rows) == READ else ''}{len(rows):,}"
    return _SAYS[sign.what](figure, sign, of)


def _common(rows: Sequence[Measure]) -> str:
    path, count = Counter(row.path for row in rows).most_common(1)[0]
    word = wording.SIGNS[path].word.lower() if path in wording.SIGNS else "of no path"
    return f"No cause is behind a third of these {len(rows):,}. {count:,} are {word}."


def _person(figure: Figure, sign: Sign, of: str) -> Cause:
    username = sign.which.removeprefix("person:")
    name = _name(username)
    week = figure.week
    away = Absence.objects.filter(
        person__username=username, cancelled_at__isnull=True,
        starts_at__lt=weeks.end_of(week), ends_at__gt=weeks.begin_of(week),
    ).exists()  # fmt: skip
    absence = "an absence for a part of that week only" if away else "no absence entered"
    text = f"{of} waited for the {name}, who did not answer in time and has {absence}."
    url = reverse("governance:absences")
    return Cause(WORDS["person"], text, url, "Look at absences")


def _channel(figure: Figure, sign: Sign, of: str) -> Cause:
    username = sign.which.removeprefix("person:")
    text = f"{of} were put to the {_name(username)}, whom no channel reaches."
    url = reverse("governance:person", args=[username])
    return Cause(WORDS["channel"], text, url, "Look at the channels")


def _matrix(figure: Figure, sign: Sign, of: str) -> Cause:
    policy, _, row = sign.which.partition("/")
    text = f"{of} had nobody to ask first: row {row} of policy {policy} names who was away or may not decide."
    return Cause(WORDS["matrix"], text, _policy_url(policy), f"Look at row {row}")


def _clock(figure: Figure, sign: Sign, of: str) -> Cause:
    word = wording.SIGNS[sign.which].word.lower()
    text = f"{of} let at least one window of the {word} path run out, so that the clocks made them late."
    active = PolicyVersion.objects.filter(state="active").values_list("number", flat=True).first()
    return Cause(WORDS["clock"], text, _policy_url(str(active or "")), "Look at the windows")


def _target(figure: Figure, sign: Sign, of: str) -> Cause:
    text = f"{of} are {_action(sign.which)}, whose target failed or was not there."
    return Cause(WORDS["target"], text, _list(figure, "action", sign.which), "Look at these")


def _undo(figure: Figure, sign: Sign, of: str) -> Cause:
    text = f"{of} are {_action(sign.which)}, which was not taken back without a person."
    return Cause(WORDS["action"], text, _list(figure, "action", sign.which), "Look at these")


def _audit(figure: Figure, sign: Sign, of: str) -> Cause:
    text = f"{of} were found by {sign.which.replace('_', ' ')}."
    return Cause(WORDS["audit"], text, reverse("approvals:findings"), "Look at the findings")


_SAYS = {
    "person": _person,
    "channel": _channel,
    "matrix": _matrix,
    "clock": _clock,
    "target": _target,
    "action": _undo,
    "audit": _audit,
}


def _name(username: str) -> str:
    return Person.objects.filter(username=username).values_list("name", flat=True).first() or (
        username
    )


def _action(key: str) -> str:
    names = ActionType.objects.filter(key=key).order_by("-version")
    return f"of “{names.values_list('name', flat=True).first() or key}”"


def _policy_url(number: str) -> str:
    if number.isdigit() and PolicyVersion.objects.filter(number=number).exists():
        return reverse("governance:policy-version", args=[int(number)])
    return reverse("governance:policy")


def _list(figure: Figure, by: str = "", value: str = "") -> str:
    return cases_url(figure.kind.metric, figure.week, by=by, value=value)


def cases_url(metric: str, week: date, *, part: str = "", by: str = "", value: str = "") -> str:
    """Return the address of a list of cases."""
    query = {"metric": metric, "week": weeks.name_of(week)}
    query |= {"show": part} if part else {}
    query |= {"by": by, "of": value} if by else {}
    return f"{reverse('governance:metrics')}?{urlencode(query)}#cases"


def causes(figures: Iterable[Figure]) -> list[tuple[Figure, Cause]]:
    """Return the likely cause of each figure that misses its target."""
    found = [(figure, cause_of(figure)) for figure in figures]
    return [(figure, cause) for figure, cause in found if cause is not None]
