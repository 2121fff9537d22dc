"""Asks the rules of a policy about a request. Pure: what was asked and what was read in, broken rules out.

An expression is given `payload`, where each sum of money has its `minor`, the
`request`, the `facts` that its action type declares, and what is `done` of it so far.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from approvals.templating import at_pointer, exact
from governance import cel, wording
from governance.models import ActionType
from governance.tables import Check

Json = dict[str, Any]
SHOWN = 12  # values of one broken rule
VALUE_LENGTH = 200
_PATH = re.compile(r"\b(payload|request|facts|done)((?:\.[A-Za-z_]\w*)+)")
_SUM = re.compile(r"\btotal\(")
_FACT = re.compile(r"\bfacts\.([A-Za-z_]\w*)")
_NO_KEY = "facts["


class Asked(NamedTuple):
    """What a rule may know of a request besides its payload."""

    action: str
    department: str
    severity: str
    impact: str
    amount: int | None  # in the smallest unit of its currency
    currency: str
    counterparty: str
    agent: str


class Done(NamedTuple):
    """What of a request is in its target already."""

    units: int = 0
    minor: int = 0  # their amounts, in the smallest unit of the request's currency


class Broken(NamedTuple):
    """One rule that does not hold, with what it was asked about."""

    check: Check
    why: str  # what went wrong with the question itself, "" for a plain no
    values: Sequence[dict[str, str]]  # [{"name": "facts.credit_limit", "value": "10,000.00 USD"}]

    @property
    def text(self) -> str:
        return f"{self.check.on_break} {self.why}".strip()


def ask_all(
    checks: Iterable[Check],
    *,
    payload: Json,
    asked: Asked,
    facts: Mapping[str, Any] | None = None,
    done: Done | None = None,
) -> list[Broken]:
    """Return the rules that do not hold, in their order.

    A rule that speaks of a fact nobody knows is broken, whatever it makes of it.
    """
    values = values_of(payload=payload, asked=asked, facts=facts, done=done)
    found = []
    for check in checks:
        unknown = unknown_facts(check.expression, values["facts"])
        if unknown:
            answer = cel.Asked(False, f"Not known: {', '.join(unknown)}.")
        else:
            answer = cel.ask(check.expression, check.expression_hash, values)
        if not answer.holds:
            found.append(Broken(check, answer.why, shown(check.expression, values)))
    return found


def values_of(
    *,
    payload: Json,
    asked: Asked,
    facts: Mapping[str, Any] | None = None,
    done: Done | None = None,
) -> dict[str, Any]:
    """Return what an expression is given."""
    return {
        "payload": cel.with_minor(payload),
        "request": {"minor" if name == "amount" else name: value for name, value in asked._asdict().items()},
        "facts": dict(facts or {}),
        "done": (done or Done())._asdict(),
    }  # fmt: skip


def unknown_facts(expression: str, facts: Mapping[str, Any]) -> list[str]:
    """Return the facts that an expression names and nobody knows."""
    if _NO_KEY in expression.replace(" ", ""):
        return ["facts by another name than facts.name"]
    return [name for name in dict.fromkeys(_FACT.findall(expression)) if facts.get(name) is None]


def shown(expression: str, values: Mapping[str, Any]) -> list[dict[str, str]]:
    """Return the values that an expression names, in words and made safe to show: sums first."""
    found: dict[str, str] = {}
    currency = str(values["request"].get("currency", ""))
    for part in _sums(expression):
        sum_ = _sum_of(part, values)
        if sum_ is not None:
            found[part] = _money(sum_, currency)
    for root, path in _PATH.findall(expression):
        value = values[root]
        for name in path.split(".")[1:]:
            value = value.get(name) if isinstance(value, dict) else None
        found[f"{root}{path}"] = _said(value, root, path, currency)
    return [
        {"name": wording.plain(name, 100), "value": value}
        for name, value in list(found.items())[:SHOWN]
    ]


def _sums(expression: str) -> Iterable[str]:
    """Yield the calls of `total`, parentheses and all."""
    for found in _SUM.finditer(expression):
        depth = 0
        for end in range(found.end() - 1, len(expression)):
            depth += {"(": 1, ")": -1}.get(expression[end], 0)
            if depth == 0:
                yield expression[found.start() : end + 1]
                break


def _sum_of(part: str, values: Mapping[str, Any]) -> int | None:
    """Return what `total(payload.a.map(x, x.b.c))` comes to, the one form in which sums are shown."""
    form = re.fullmatch(r"total\((\w+(?:\.\w+)*)\.map\((\w+),\s*\2((?:\.\w+)+)\)\)", part)
    if form is None:
        return None
    root, _, inner = form.groups()
    each = at_pointer(dict(values), "/" + root.replace(".", "/"))
    found = (
        [at_pointer(one, inner.replace(".", "/")) for one in each] if isinstance(each, list) else []
    )
    return sum(found) if all(type(one) is int for one in found) else None


def _said(value: Any, root: str, path: str, currency: str) -> str:
    if value is None:
        return "not known"
    if isinstance(value, list):
        return wording.plural(len(value), "entry", "entries")
    is_money = path.endswith(".minor") or root == "facts"
    if type(value) is int and is_money and currency:
        return _money(value, currency)
    return wording.plain(str(value), VALUE_LENGTH)


def _money(units: int, currency: str) -> str:
    return wording.money(cel.major(units, currency), currency)


# --- Facts of the target -------------------------------------------------------------------------


def records_to_read(action: ActionType, payload: Json, *, with_facts: bool) -> list[str]:
    """Return the keys of the records that are read for a request: its basis, and what its facts are in."""
    config = action.connector_config
    templates = list(config.get("basis", ()))
    if with_facts:
        templates += [each["record"] for each in config.get("facts", {}).values()]
    return list(dict.fromkeys(exact(template, payload) for template in templates))


def basis_of(action: ActionType, payload: Json) -> list[str]:
    """Return the keys of the records that must be as they were at submission for an approval to hold."""
    return list(
        dict.fromkeys(exact(each, payload) for each in action.connector_config.get("basis", ()))
    )


def facts_of(action: ActionType, payload: Json, states: Mapping[str, Any]) -> dict[str, Any]:
    """Return an action type's facts by name, from the records as read; None for what is not known.

    Args:
        states: by record: its state, or None where the target does not have it.
    """
    found = {}
    for name, declared in action.connector_config.get("facts", {}).items():
        state = states.get(exact(declared["record"], payload))
        value = at_pointer(state, declared["pointer"]) if state is not None else None
        if value is None:
            value = declared.get("default") if state is not None else None
        if "money" in declared and value is not None:
            value = cel.minor(value, declared["money"])
        found[name] = value
    return found
