"""The parts of a version beside its matrix, as they are typed: windows, cells, offices, rules."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import timedelta
from typing import NamedTuple

from django.utils.text import slugify

from governance import cel, decision_tree, wording
from governance.drafting import Mistake, NotRight
from governance.drafting.names import Names, Unknown, words_of
from governance.ladder import DEFAULT_WINDOWS
from governance.models import Appointment, PolicyCheck
from governance.vocabulary import (
    ExceptionType,
    Impact,
    Level,
    Path,
    Response,
    RuleSource,
    Severity,
)

Office = Appointment.Office
# Offices that one person holds for one thing; of the others several people hold one.
BY_SCOPE = (Office.DEPARTMENT_HEAD, Office.RESOURCE_OWNER, Office.ONCALL_FALLBACK)
IN_ORDER = (Office.COMPLIANCE, Office.HEAD_OF_COMPLIANCE, Office.REVIEWER, Office.EXECUTIVE)
SHORTEST, LONGEST = timedelta(minutes=1), timedelta(days=30)
PATTERN = 200  # characters
MOST_HOLDERS = 50

_UNITS = {"s": 1, "min": 60, "m": 60, "h": 3600, "d": 86400, "day": 86400, "days": 86400}
_SPAN = re.compile(r"(\d{1,6})\s*(days|day|min|d|h|m|s)")
_FACTS = re.compile(r"\b(?:facts|done)\b")
_KEY = re.compile(r"[a-z0-9]+(?:-[a-z0-9]+)*")


# --- Windows ---


def window_key(path: Path, level: Level) -> str:
    return f"{path.value}/L{level:d}"


WINDOWS = {window_key(path, level): (path, level) for path, level in DEFAULT_WINDOWS}
CAP = "queue_cap"


def read_span(text: str) -> timedelta:
    """Return a length of time: "30 min", "2 h", "1 h 30 min", "1 day". Raises Unknown."""
    text = " ".join(text.lower().split())
    if not text.isascii() or _SPAN.sub("", text).strip() or not text:
        raise Unknown("Write a length of time, as 30 min or 1 h 30 min.")
    found = timedelta(
        seconds=sum(int(number) * _UNITS[unit] for number, unit in _SPAN.findall(text))
    )
    if not SHORTEST <= found <= LONGEST:
        raise Unknown(f"Between {wording.span(SHORTEST)} and {wording.span(LONGEST)}.")
    return found


def write_span(span: timedelta) -> str:
    """Write a length of time so that `read_span` gives it back, to the second."""
    seconds = int(span.total_seconds())
    parts = []
    for unit, length in (("d", 86400), ("h", 3600), ("min", 60), ("s", 1)):
        if seconds >= length:
            parts.append(f"{seconds // length} {unit}")
            seconds %= length
    return " ".join(parts)


def read_windows(typed: Mapping[str, str]) -> dict[str, timedelta]:
    """Read every window, and the queue's cap, by their keys. Raises NotRight, key by key."""
    found, wrong = {}, []
    for key in (*WINDOWS, CAP):
        try:
            found[key] = read_span(typed.get(key, ""))
        except Unknown as unknown:
            wrong.append(Mistake(None, key, str(unknown)))
    if wrong:
        raise NotRight(wrong)
    return found


# --- Cells ---

Cell = tuple[ExceptionType, Severity, Impact]


def cell_key(cell: Cell) -> str:
    return "/".join(cell)


CELLS: dict[str, Cell] = {
    cell_key((exception, severity, impact)): (exception, severity, impact)
    for exception, severity, impact, _ in decision_tree.cells()
}


def read_cells(typed: Mapping[str, str]) -> dict[str, Response]:
    """Read the responses of some cells, by their keys. Raises NotRight for one of another path than the cell's."""
    found, wrong = {}, []
    for key, response in typed.items():
        allowed = decision_tree.RESPONSES[CELLS[key][0]] if key in CELLS else ()
        if response in allowed:
            found[key] = Response(response)
        else:
            wrong.append(
                Mistake(None, key, "Choose one of the answers of this exception's own path.")
            )
    if wrong:
        raise NotRight(wrong)
    return found


def source_of(cell: Cell, response: Response) -> RuleSource:
    """Return whose answer this is: the tree's own, or, where it differs from that, ours here."""
    rule = decision_tree.respond(*cell)
    return rule.source if rule.response == response else RuleSource.LOCAL


# --- Offices ---


class Holder(NamedTuple):
    """Somebody in an office, by primary key."""

    office: str
    scope: str
    person: int


def read_offices(
    *,
    heads: Mapping[str, str],
    owners: Sequence[tuple[str, str]],
    fallbacks: Mapping[str, str],
    several: Mapping[str, str],
    names: Names,
) -> list[Holder]:
    """Read who holds the offices.

    Args:
        heads: by a department's key, a person; empty for nobody.
        owners: patterns of resource keys, each with a person. One without a pattern is required.
        fallbacks: by a target's key, a person; empty for nobody.
        several: by an office of IN_ORDER, people in their order.

    Raises NotRight: what is to be mended, field by field.
    """
    found: list[Holder] = []
    wrong: list[Mistake] = []

    def held(office: str, scope: str, text: str, field: str) -> None:
        try:
            found.append(Holder(office, scope, names.person(text)))
        except Unknown as unknown:
            wrong.append(Mistake(None, field, str(unknown)))

    for department, text in heads.items():
        if text.strip():
            held(Office.DEPARTMENT_HEAD, department, text, f"head:{department}")
    for target, text in fallbacks.items():
        if text.strip():
            held(Office.ONCALL_FALLBACK, target, text, f"fallback:{target}")
    wrong += _owners(owners, held)
    for office in IN_ORDER:
        people = words_of(several.get(office, ""))
        if len(people) > MOST_HOLDERS:
            wrong.append(Mistake(None, office, f"At most {MOST_HOLDERS} people."))
            continue
        for text in people:
            held(office, "", text, office)
    wrong += _doubled(found, names)
    if wrong:
        raise NotRight(wrong)
    return found


def _owners(
    owners: Sequence[tuple[str, str]], held: Callable[[str, str, str, str], None]
) -> list[Mistake]:
    wrong: list[Mistake] = []
    seen: set[str] = set()
    for place, (typed, text) in enumerate(owners):
        pattern, field = typed.strip(), f"owner:{place}"
        if not text.strip():
            if pattern:
                wrong.append(Mistake(None, field, "Say who owns these records."))
            continue
        if len(pattern) > PATTERN or not pattern.isprintable():
            wrong.append(
                Mistake(None, field, f"A pattern is plain text of at most {PATTERN} characters.")
            )
        elif pattern in seen:
            wrong.append(Mistake(None, field, "This pattern stands here twice."))
        seen.add(pattern)
        held(Office.RESOURCE_OWNER, pattern, text, field)
    if "" not in seen:
        wrong.append(
            Mistake(None, "owner:0", "Say who owns every record that no pattern fits. A conflict would ask nobody.")
        )  # fmt: skip
    return wrong


def _doubled(found: Iterable[Holder], names: Names) -> list[Mistake]:
    wrong = []
    found = list(found)
    for office in IN_ORDER:
        people = [each.person for each in found if each.office == office]
        twice = next((each for each in people if people.count(each) > 1), None)
        if twice is not None:
            wrong.append(
                Mistake(None, office, f"{names.people.by_pk[twice].name} stands here twice.")
            )
        if office == Office.HEAD_OF_COMPLIANCE and len(people) > 1:
            wrong.append(Mistake(None, office, "One person."))
    return wrong


# --- Rules ---

RULE_FIELDS = ("key", "name", "action", "reads", "expression", "on_break")


class RuleParts(NamedTuple):
    """A rule of the policy as it is stored, without its revision."""

    key: str
    name: str
    action: str
    reads: str
    expression: str
    expression_hash: str
    on_break: str


def read_rule(typed: Mapping[str, str], names: Names) -> RuleParts:
    """Read a rule, its expression compiled in the limited child. Raises NotRight, field by field."""
    wrong: list[Mistake] = []
    given = {field: typed.get(field, "").strip() for field in RULE_FIELDS}
    if not _KEY.fullmatch(given["key"]) or len(given["key"]) > 60:
        hint = slugify(given["key"])[:60]
        such = f" As {hint}." if hint else ""
        wrong.append(Mistake(None, "key", f"Small letters, figures and hyphens, at most 60.{such}"))
    for field, most, words in (
        ("name", 200, "Say in a few words what must hold."),
        ("on_break", 300, "Say what compliance is told when it does not hold."),
    ):
        if not given[field] or len(given[field]) > most or not given[field].isprintable():
            wrong.append(Mistake(None, field, f"{words} At most {most} characters."))
    action = ""
    try:
        action = names.action(given["action"])
    except Unknown as unknown:
        wrong.append(Mistake(None, "action", str(unknown)))
    if given["reads"] not in PolicyCheck.Reads.values:
        wrong.append(Mistake(None, "reads", "Choose what it looks at."))
    elif given["reads"] == PolicyCheck.Reads.PAYLOAD and _FACTS.search(given["expression"]):
        wrong.append(
            Mistake(
                None,
                "expression",
                "At submission nothing of the target is known yet, so it would always be broken."
                " Have it read facts of the target.",
            )
        )
    hashed = ""
    try:
        hashed = cel.checked(given["expression"])
    except cel.BadExpression as refused:
        wrong.append(Mistake(None, "expression", refused.detail))
    if wrong:
        raise NotRight(wrong)
    return RuleParts(
        key=given["key"],
        name=given["name"],
        action=action,
        reads=given["reads"],
        expression=given["expression"],
        expression_hash=hashed,
        on_break=given["on_break"],
    )
