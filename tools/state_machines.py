"""Draw docs/state-machines.md from the code: `python -m tools.state_machines`.

The charts come from the transitions of the models, the sentences from their
docstrings. A test fails when the file and the code differ.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple

FILE = Path(__file__).resolve().parent.parent / "docs" / "state-machines.md"

OPENING = """\
# State machines

Generated from the models' transitions by `python -m tools.state_machines`. Do not edit: change the
code, run that, and commit both. A transition moves its own row and nothing else; a service calls it,
under a lock, and records it.
"""


class Mover(NamedTuple):
    """What `due_at` of an open request is in one state, and what the clock then does."""

    state: str
    due_at: str
    swept_by: tuple[str, ...]  # dotted names, as in settings.RECOURSE_SWEEPS
    then: str


def movers() -> tuple[Mover, ...]:
    """Return who moves an open request, and when: one line for each state that `approvals.due` knows."""
    from approvals.models import ActionRequest
    from governance import ladder, wording

    begin = wording.span(ladder.BEGIN_WITHIN)
    present = wording.span(ladder.BEGIN_WITHIN_PERSON_PRESENT)
    run, undo = wording.span(ladder.RUN_WITHIN), wording.span(ladder.UNDO_WITHIN)
    worker = "rollback.sweeps.call_the_worker"
    climbs = "approvals.sweeps.climb_underway"
    state = ActionRequest.State
    return (
        Mover(
            state.PENDING,
            "the waiting step's clock",
            ("approvals.sweeps.climb_due_steps",),
            "the step expires; the request climbs to the next rung that can be asked, or ends `expired`",
        ),
        Mover(
            state.HELD,
            "the newcomer that carries the case: its waiting step's clock; other parties: the sum of"
            " the conflict's windows; queued: the queue's cap",
            ("approvals.sweeps.end_holds",),
            "the conflict's path climbs, or ends: newcomers `expired`, the earlier goes on where it"
            " stood; queued: `expired`, reason `queue`, with an alert",
        ),
        Mover(
            state.BLOCKED,
            "the waiting step's clock",
            ("approvals.sweeps.climb_blocked",),
            "the path of compliance climbs, or ends: `denied`; with effects, undone and `rolled_back`",
        ),
        Mover(
            state.APPROVED,
            f"approval, or what held or blocked it being over, + {begin}; a person present: + {present}",
            (worker, "approvals.sweeps.end_lapsed_approvals"),
            "the worker begins it at once; not begun by then it is `troubled`, with a case;"
            " a person present: `expired`, reason `lapsed`, with an alert",
        ),
        Mover(
            state.EXECUTING,
            f"the earlier of lease and run deadline ({run} from the first lease, kept by take-overs)",
            (worker, "approvals.sweeps.trouble_overdue_runs"),
            "a lease that ran out is taken over and resumed; at the deadline nothing more is sent:"
            " `troubled`, with a case",
        ),
        Mover(
            state.TROUBLED,
            "the earlier of the next attempt and the waiting step's clock",
            (worker, climbs),
            "it is tried again; or the step expires and the path goes on: undone, or `expired` if"
            " nothing was done",
        ),
        Mover(
            state.ROLLING_BACK,
            f"the earliest of lease, next attempt, deadline ({undo}) and the `undo` step's clock",
            (worker, "approvals.sweeps.ask_about_overdue_undos", climbs),
            "it is taken over or tried again; at the deadline whoever is on call is asked; at the end"
            " of that path it is `stranded`",
        ),
    )


def drawn() -> list[Any]:
    """Return the models whose life is drawn, in the order of the page."""
    from approvals.models import ActionRequest, Case, Review, Step
    from governance.models import ActionChange, ActionType, PeopleChange, PolicyVersion
    from rollback.models import Recovery, Run, Unit

    return [
        ActionRequest, Step, Case, Review, Run, Unit, Recovery, ActionType, ActionChange, PolicyVersion,
        PeopleChange,
    ]  # fmt: skip


def render() -> str:
    """Return the whole page. Django is set up."""
    parts = chain([OPENING], (_section(model) for model in drawn()), [_table_of_movers()])
    return "\n".join(parts)


def _section(model: Any) -> str:
    lines = [f"## {model.__name__}", "", _first_sentence(model.__doc__), ""]
    lines += ["```mermaid", "stateDiagram-v2", *_chart(model), "```", ""]
    lines += ["| transition | from | to | meaning |", "|---|---|---|---|", *_rows(model)]
    return "\n".join(lines) + "\n"


def _chart(model: Any) -> Iterator[str]:
    moves = _moves(model)
    yield f"    [*] --> {_value(model._meta.get_field('state').default)}"
    for source, target, name, _ in moves:
        yield f"    {source} --> {target}: {name}"
    for state in _ends(model, moves):
        yield f"    {state} --> [*]"


def _rows(model: Any) -> Iterator[str]:
    by_name: dict[tuple[str, str, str], list[str]] = {}
    for source, target, name, meaning in _moves(model):
        by_name.setdefault((name, target, meaning), []).append(source)
    for (name, target, meaning), sources in by_name.items():
        yield f"| `{name}` | {', '.join(sources)} | {target} | {meaning} |"


def _moves(model: Any) -> list[tuple[str, str, str, str]]:
    """Return (from, to, name, meaning) of every transition, in the order of the states."""
    field = model._meta.get_field("state")
    order = [_value(value) for value, _ in field.choices]
    moves = [
        (
            _value(each.source),
            _value(each.target),
            each.name,
            _first_sentence(each.method.__doc__),
        )
        for each in field.get_all_transitions(model)
    ]
    return sorted(moves, key=lambda move: (order.index(move[0]), order.index(move[1]), move[2]))


def _ends(model: Any, moves: Iterable[tuple[str, str, str, str]]) -> list[str]:
    """Return the states in which nothing more is waited for, though a few can still be left."""
    from approvals.models import ENDED, ActionRequest

    if model is ActionRequest:
        return [_value(state) for state in ENDED]
    left = {source for source, *_ in moves}
    choices = model._meta.get_field("state").choices
    return [_value(value) for value, _ in choices if _value(value) not in left]


def _table_of_movers() -> str:
    lines = [
        "## Who moves an open request, and when",
        "",
        "`due_at` is written by `approvals.due.set_due` alone, in the transaction of its source.",
        "",
        "| state | `due_at` is | swept by | at that instant |",
        "|---|---|---|---|",
    ]
    lines += [
        f"| {each.state} | {each.due_at} | {', '.join(f'`{name}`' for name in each.swept_by)}"
        f" | {each.then} |".replace("\u00a0", " ")
        for each in movers()
    ]
    return "\n".join(lines) + "\n"


def _first_sentence(doc: str | None) -> str:
    """Return the first paragraph of a docstring, on one line."""
    return " ".join((doc or "").strip().split("\n\n")[0].split())


def _value(state: Any) -> str:
    return str(getattr(state, "value", state))


def main() -> None:
    import django

    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "governance.settings")
    django.setup()
    FILE.parent.mkdir(parents=True, exist_ok=True)
    FILE.write_text(render())
    print(f"{FILE.relative_to(FILE.parent.parent)} is as the code is.")


if __name__ == "__main__":
    main()
