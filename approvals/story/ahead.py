"""What lies ahead, routed by the functions that will route it, over the people as they are now."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta

from approvals.packets import Packet
from approvals.services.asking import subject_of
from approvals.story.shapes import Ahead
from approvals.story.words import plural_of
from governance import ladder
from governance.decision_tree import ENTERS_AT
from governance.models import ActionType
from governance.routing import MENDS, Limit, route
from governance.vocabulary import ExceptionType, Impact, Level, Path, Response, Severity

INTERRUPTS = (Path.CONFLICT, Path.POLICY_VIOLATION)


def drawn_path(packet: Packet) -> Path:
    """Return the ladder drawn: of what interrupts or failed while that is asked; after a no that of rejections."""
    if packet.waiting is not None and packet.waiting.path in (*INTERRUPTS, *MENDS):
        return Path(packet.waiting.path)
    noes = any(step.path == Path.REJECTION for step in packet.steps)
    return Path.REJECTION if noes else Path.TIMEOUT


def ahead_of(packet: Packet, *, now: datetime) -> tuple[list[Ahead], datetime | None]:
    """Return the rungs not reached yet, lowest first, and when the last of them is over.

    Nothing for a request on which no step waits.
    """
    request, step = packet.request, packet.waiting
    if step is None or step.due_at is None:
        return [], None
    path = Path.TIMEOUT if step.path == Path.APPROVAL else Path(step.path)
    enters, response = Level(step.level), _response(packet)
    if step.path == Path.APPROVAL:
        enters = ENTERS_AT[response]
    found: list[Ahead] = []
    since = step.due_at
    for level in (Level.L1, Level.L2, Level.L3, Level.L4):
        if level <= step.level:
            continue
        if step.path == Path.APPROVAL and level < enters:
            why = (
                f"Left out: {request.severity} severity and {request.impact} impact"
                f" go to L{enters:d} at once"
            )
            found.append(Ahead(level, False, since, reason=why))
        elif path == Path.REJECTION and level == Level.L4:
            found.append(Ahead(level, False, since, reason="A no is never bypassed"))
        elif path == Path.POLICY_VIOLATION and level > Level.L3:
            found.append(Ahead(level, False, since, reason="A violation is never bypassed"))
        elif path in MENDS and (path, level) not in ladder.DEFAULT_WINDOWS:
            continue
        elif level not in ladder.rungs(path, critical=request.action_type.is_critical):
            found.append(Ahead(level, False, since, reason=why_no_bypass(request.action_type)))
        else:
            rung = _rung_ahead(packet, path, level, response, since, now)
            found.append(rung)
            since += rung.window
    return found, since


def after_a_no(packet: Packet, reader: int, severity: Severity, *, now: datetime) -> list[str]:
    """Return the names of whom a no of this person would have asked next; empty if it would be the last word.

    Args:
        reader: primary key of whoever may say no on the step that waits.
    """
    request, step = packet.request, packet.waiting
    cell = ExceptionType.REJECTION, severity, Impact(request.impact)
    enters = ENTERS_AT[packet.policy.cells[cell].response]
    own = Level(step.level) if step is not None else enters
    history = packet.history
    limit = packet.people.by_pk[reader].limit if reader in packet.people.by_pk else None
    if limit is not None:
        least = Limit(limit, packet.people.by_pk[reader].limit_currency)
        history = replace(history, at_least=max(least, history.at_least or least))
    history = replace(history, deciders=history.deciders | {reader})
    for level in ladder.rungs(Path.REJECTION, critical=False):
        if level < max(enters, own):
            continue
        routing = route(
            Path.REJECTION,
            level,
            row=packet.policy.rows[request.matrix_row_id],
            subject=subject_of(request),
            people=packet.people,
            history=history,
            now=now,
            policy=packet.policy.number,
            offices=packet.offices,
        )
        if routing.opens:
            return [packet.people.by_pk[asked.person].name for asked in routing.asked]
    return []


def _rung_ahead(
    packet: Packet, path: Path, level: Level, response: Response, since: datetime, now: datetime
) -> Ahead:
    request = packet.request
    routing = route(
        path,
        level,
        row=packet.policy.rows[request.matrix_row_id],
        subject=subject_of(request),
        people=packet.people,
        history=replace(packet.history, barred=packet.barred if level == Level.L4 else {}),
        now=now,
        policy=packet.policy.number,
        offices=packet.offices,
    )
    if not routing.opens:
        return Ahead(level, False, since, reason="Nobody can be asked here, as things stand")
    window = packet.policy.windows.get((path, level), timedelta(0))
    window = ladder.hurried(
        path,
        level,
        ladder.granted(window, response, level),
        windows=packet.policy.windows,
        after_silence=response,
        since=since,
        by=request.needed_by,
        critical=request.action_type.is_critical,
    )
    pks = tuple(asked.person for asked in routing.asked)
    names = tuple(packet.people.by_pk[pk].name for pk in pks)
    return Ahead(level, True, since, window, pks, names)


def _response(packet: Packet) -> Response:
    case = next((each for each in packet.cases if each.exception == ExceptionType.TIMEOUT), None)
    if case is not None:
        return Response(case.response)
    request = packet.request
    cell = ExceptionType.TIMEOUT, Severity(request.severity), Impact(request.impact)
    return packet.policy.cells[cell].response


def why_no_bypass(action: ActionType) -> str:
    """Say why nobody may bypass the ladder for this action."""
    return f"{plural_of(action.name)} are not a critical process"
