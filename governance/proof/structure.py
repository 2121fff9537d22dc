"""What no instant changes: gaps, circles, reviewers, second signatures, clocks. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import timedelta
from itertools import product

from governance import ladder, wording
from governance.decision_tree import ENTERS_AT
from governance.proof.bands import Stretch
from governance.proof.findings import Finding
from governance.proof.questions import KEY_LENGTH, Rung, leave_rungs, scope_of
from governance.proof.world import World, subject_of
from governance.routing import (
    Candidate,
    History,
    Offices,
    Row,
    Why,
    barred,
    candidates,
    hindrance,
    is_independent,
)
from governance.vocabulary import ExceptionType, Impact, Level, Path, Severity

# Time to resolution, by the highest level reached. Source: runbook, "Metrics".
TARGETS = {Level.L2: timedelta(hours=2), Level.L3: timedelta(hours=8)}


def tables_are_whole(world: World) -> Iterator[Finding]:
    """Yield a hole for each cell of the decision tree without an answer, and each rung without a window."""
    policy = world.policy
    for exception, severity, impact in product(ExceptionType, Severity, Impact):
        if (exception, severity, impact) not in policy.cells:
            path = wording.SIGNS[Path(exception.value)].word
            yield Finding(
                f"cell|{exception}|{severity}|{impact}",
                f"The decision tree does not say what answers a {path.lower()} of {severity} severity"
                f" and {impact} impact.",
                "cell",
            )
    for path, level in sorted(ladder.DEFAULT_WINDOWS.keys() - policy.windows.keys()):
        yield Finding(
            f"window|{path}|{level}",
            f"{wording.SIGNS[path].word}, L{level}: no window says how long it waits.",
            "window",
        )


def circles(world: World) -> Iterator[Finding]:
    """Yield a hole for each circle in the reporting lines."""
    people = world.people.by_pk
    managers = {pk: {each.manager} for pk, each in people.items() if each.manager in people}
    for circle in _circles({pk: {m for m in ms if m is not None} for pk, ms in managers.items()}):
        names = _links("the {0} reports to the {1}", "the {0} to the {1}", circle, people)
        usernames = "+".join(sorted(people[pk].username for pk in circle))
        yield Finding(
            f"line|{usernames}"[:KEY_LENGTH],
            f"The reporting line goes in a circle: {names}, so that nobody stands above them.",
            "circle",
        )


def delegates_in_a_circle(world: World) -> Iterator[Finding]:
    """Yield a warning for each circle of people who stand in for each other in one department."""
    rows: dict[int, list[Row]] = {}
    for row in world.policy.rows.values():
        rows.setdefault(row.department, []).append(row)
    for department, theirs in sorted(rows.items()):
        stands_in: dict[int, set[int]] = {}
        for row in theirs:
            for pk in world.people.named(row.approver):
                delegates = {each for who in row.delegates for each in world.people.named(who)}
                stands_in.setdefault(pk, set()).update(delegates)
        for circle in _circles(stands_in):
            yield _stand_in(world, department, circle, theirs)


def _stand_in(world: World, department: int, circle: tuple[int, ...], rows: list[Row]) -> Finding:
    people, place = world.people, world.departments[department]
    links = set(zip(circle, (*circle[1:], circle[0]), strict=True))
    numbers = sorted(
        row.number
        for row in rows
        if any(
            pk in people.named(row.approver)
            and any(to in people.named(who) for who in row.delegates)
            for pk, to in links
        )
    )
    names = _links("the {1} stands in for the {0}", "the {1} for the {0}", circle, people.by_pk)
    usernames = "+".join(sorted(people.by_pk[pk].username for pk in circle))
    return Finding(
        f"delegates|{place.key}|{usernames}"[:KEY_LENGTH],
        f"Delegates go in a circle in {place.name} (matrix {_rows(numbers)}): {names}.",
        "circle",
        numbers[0],
    )


def _links(first: str, then: str, circle: tuple[int, ...], people: Mapping[int, Candidate]) -> str:
    pairs = zip(circle, (*circle[1:], circle[0]), strict=True)
    return ", ".join(
        (then if n else first).format(people[one].name, people[other].name)
        for n, (one, other) in enumerate(pairs)
    )


def _rows(numbers: list[int]) -> str:
    return f"row{'s' if len(numbers) > 1 else ''} {', '.join(map(str, numbers))}"


def _circles(above: Mapping[int, Iterable[int]]) -> Iterator[tuple[int, ...]]:
    """Yield the circles of a graph, one through each node that lies on any: the shortest found from it."""
    seen: set[int] = set()
    for start in sorted(above):
        if start in seen:
            continue
        before: dict[int, int] = {}
        rank = [start]
        while rank and start not in before:
            following = []
            for pk in rank:
                for to in sorted(above.get(pk, ())):
                    if to not in before:
                        before[to] = pk
                        following.append(to)
            rank = following
        if start in before:
            circle = [before[start]]
            while circle[-1] != start:
                circle.append(before[circle[-1]])
            circle.reverse()
            seen.update(circle)
            yield tuple(circle)


def unknown_actions(world: World) -> Iterator[Finding]:
    """Yield a warning for each row that names an action which is not in production."""
    for row in world.policy.rows.values():
        if row.action and row.action not in world.kinds:
            yield Finding(
                f"action|{world.departments[row.department].key}|{row.action}"[:KEY_LENGTH],
                f"Matrix row {row.number} is for {row.action}, which is not in production.",
                "action",
                row.number,
            )


def reviewers(world: World, classes: Iterable[tuple[Stretch, int]]) -> Iterator[Finding]:
    """Yield a hole for each class that nobody independent could review, or no two could have undone."""
    done: set[object] = set()
    for part, owner in classes:
        same = (part.row.pk, part.kind.critical, part.kind.financial, owner)
        if same in done:
            continue
        done.add(same)
        yield from _of_class(world, part, owner)


def _of_class(world: World, part: Stretch, owner: int) -> Iterator[Finding]:
    policy, people, row = world.policy, world.people, part.row
    critical = part.kind.critical
    chain = _may_act(world, part, owner, leave_rungs(critical=critical))
    scope = scope_of(world, row) + (
        f"|{people.by_pk[owner].username}" if owner in people.by_pk else ""
    )
    what = (
        f"{part.kind.name} requests {row.band()} in {row.department_name} (matrix row {row.number})"
    )
    out = chain | {owner}
    if not any(is_independent(pk, of=0, people=people) for pk in policy.reviewers if pk not in out):
        why = "no reviewer is named"
        if policy.reviewers:
            names = ", ".join(people.by_pk[pk].name for pk in policy.reviewers)
            why = f"of the reviewers ({names}) each may be asked about it, owns the agent or is disabled"
        yield Finding(
            f"reviewer|{scope}"[:KEY_LENGTH],
            f"Nobody independent can review {what}: {why}.",
            "reviewer",
            row.number,
        )
    elif critical:
        yield from _unreviewed(world, part, owner, scope, what)
    if part.kind.financial and world.signed_by_two is not None:
        orderers = world.orderers.get(row.department, frozenset())
        head = next((pk for pk in policy.head_of_compliance if people.by_pk[pk].enabled), None)
        most = row.quorum + (not part.kind.first_no_is_final)
        for deciders in _worst_deciders(chain & orderers, chain & {head}, most):
            if not world.signed_by_two(
                orderers=orderers,
                head_of_compliance=head,
                owner=owner,
                deciders=frozenset(deciders),
            ):
                yield Finding(
                    f"signer|{scope}"[:KEY_LENGTH],
                    f"No two people can sign a rollback of {what}: {_too_few(world, orderers, head, deciders)}.",
                    "second_signer",
                    row.number,
                )
                break


def _worst_deciders(
    orderers: Iterable[int], head: Iterable[int | None], most: int
) -> Iterator[tuple[int, ...]]:
    """Yield who decided before, so that the fewest are left to sign: one orderer is as good as another."""
    alike, first = sorted(orderers), [pk for pk in head if pk is not None and pk not in orderers]
    yield tuple(alike[:most])
    if first:
        yield (*first, *alike[: most - 1])


def _too_few(
    world: World, orderers: frozenset[int], head: int | None, deciders: tuple[int, ...]
) -> str:
    people = world.people.by_pk
    signers = orderers if head is None else orderers | {head}
    may = sorted({people[pk].name for pk in signers if pk in people})
    said = f"only the {', the '.join(may)} may sign" if may else "nobody may order one"
    decided = ", the ".join(people[pk].name for pk in deciders)
    return f"{said}, and the {decided} decided on it" if decided else said


def _unreviewed(
    world: World, part: Stretch, owner: int, scope: str, what: str
) -> Iterator[Finding]:
    """Say which executives nobody could review, where there is no other who might override."""
    policy = world.policy
    below = (
        (Path.APPROVAL, Level.L0),
        *((Path.TIMEOUT, level) for level in ladder.rungs(Path.TIMEOUT, critical=False)),
    )
    earlier = _may_act(world, part, owner, below) | {owner}
    offices = Offices(executives=policy.executives_for(part.row), reviewers=policy.reviewers)
    out = barred(offices, people=world.people, earlier=earlier, debtors=())
    free = [pk for pk in offices.executives if pk not in out]
    unreviewed = [each for each in out.values() if each.code == Why.UNREVIEWED]
    if unreviewed and not free:
        names = " and ".join(f"the {world.people.by_pk[each.person].name}" for each in unreviewed)
        yield Finding(
            f"reviewer|L4|{scope}"[:KEY_LENGTH],
            f"Nobody independent could review an override by {names} of {what}: every reviewer reports"
            " to them.",
            "reviewer",
            part.row.number,
        )
    elif not free:
        # The caller takes this one for a warning: L4 is no rung that a request may count on.
        yield Finding(
            f"l4|nobody|{scope}"[:KEY_LENGTH],
            f"At L4 nobody is left to override {what}: every executive may have been asked before.",
            "l4_nobody",
            part.row.number,
        )


def _may_act(world: World, part: Stretch, owner: int, rungs: Iterable[Rung]) -> frozenset[int]:
    """Return everybody who may be asked to approve it on these rungs, absences aside."""
    head = world.policy.heads.get(part.row.department)
    offices = Offices(head=() if head is None else (head,))
    subject = subject_of(world, part.kind, part.row, amount=part.low, owner=owner, acts_for=None)
    return frozenset(
        pk
        for path, level in rungs
        if level < Level.L4
        for pk, _ in candidates(
            path, level, part.row, world.people, History(), subject, world.policy.number, offices
        )
        if hindrance(world.people.by_pk[pk], subject=subject, history=History(), now=world.now)
        is None
    )


def clocks(world: World) -> Iterator[Finding]:
    """Yield a warning for each path whose clocks cannot meet the target of a level."""
    policy = world.policy
    for exception, (level, target) in product(ExceptionType, TARGETS.items()):
        path = Path(exception.value)
        longest = max(
            (
                _until(world, path, ENTERS_AT[policy.cells[cell].response], level, cell)
                for cell in policy.cells
                if cell[0] == exception
            ),
            default=timedelta(0),
        )
        if longest > target:
            word = wording.SIGNS[path].word
            yield Finding(
                f"clock|{path}|{level}",
                f"{word}: up to L{level} the clocks allow {wording.span(longest)}, above the target of"
                f" {wording.span(target)}.",
                "clock",
            )


def _until(
    world: World,
    path: Path,
    enters: Level,
    level: Level,
    cell: tuple[ExceptionType, Severity, Impact],
) -> timedelta:
    """Return how long it may take until the rung `level` is over, if the path comes to it."""
    rungs = [each for each in ladder.rungs(path, critical=False) if enters <= each <= level]
    if level not in rungs:
        return timedelta(0)
    response = world.policy.cells[cell].response
    return sum(
        (
            ladder.granted(world.policy.windows[path, each], response, each)
            for each in rungs
            if (path, each) in world.policy.windows
        ),
        timedelta(0),
    )
